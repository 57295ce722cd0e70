"""What a jail must defeat, tried for real on this machine: `selfcheck(jail)`, for `agent doctor` and for tests.

It lays out bait, runs every attempt of `sandbox.probes` in the jail, one after the other, and says what held. It takes
a few seconds. A check that fails for a promise that the jail does not make is no failure: it shows what the jail
leaves open.

Not covered: attacks on the kernel itself, and what a hostile program could do with more patience.
"""

import contextlib
import json
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox.jail import Jail
from sandbox.probes import LIMITS, PRELUDE, PROBES, Bait, Probe
from sandbox.spec import Phase, Promise, Spec, Watch
from sandbox.supervise import run

SECONDS = {Promise.TIME: 0.3}  # for the probe of that promise; the others have plenty
PLENTY = 20.0


@dataclass(frozen=True)
class Check:
    """The result of one probe.

    Attributes:
        name: what was tried.
        promise: the promise that it tried to break.
        promised: whether the jail makes that promise.
        held: whether it held.
        detail: what got through; empty when it held.
    """

    name: str
    promise: Promise
    promised: bool
    held: bool
    detail: str

    @property
    def ok(self) -> bool:
        """Whether the jail keeps its word here."""
        return self.held or not self.promised


def selfcheck(jail: Jail) -> tuple[Check, ...]:
    """Tries every probe in `jail`, one after the other."""
    with _laid_out() as bait:
        return tuple(_try(probe, jail, bait) for probe in PROBES)


def _try(probe: Probe, jail: Jail, bait: Bait) -> Check:
    shutil.rmtree(bait.work, ignore_errors=True)  # of the probe before
    bait.work.mkdir()
    told = {
        "secret": str(bait.folder / "secret"),
        "folder": str(bait.folder),
        "nekot": bait.token[::-1],
        "port": bait.port,
        "abstract": bait.abstract,
        "pid": bait.victim.pid,
    }
    spec = Spec(
        argv=("python", "-I", "-S", "-c", PRELUDE % probe.code),
        work=bait.work,
        env={"BAIT": json.dumps(told)},
        phases=((Phase.TRAIN, SECONDS.get(probe.promise, PLENTY)),),
        limits=LIMITS,
    )
    evidence = run(spec, jail, Watch(bait.folder / "log"))
    detail = probe.breach(evidence, bait)
    return Check(probe.name, probe.promise, probe.promise in jail.promises(), not detail, detail)


@contextlib.contextmanager
def _laid_out() -> Iterator[Bait]:
    """Bait in a temporary folder, with a listening port and a process; all gone afterwards."""
    token = secrets.token_hex(16)
    with (
        tempfile.TemporaryDirectory() as name,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as by_path,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        folder = Path(name).resolve()
        folder.chmod(0o755)  # what keeps the program out shall be the jail
        (folder / "secret").write_text(token)
        by_path.bind(str(folder / "socket"))
        by_path.listen()
        abstract.bind(f"\0bait-{token[:16]}")
        abstract.listen()
        sleeper = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)", token]
        victim = subprocess.Popen(sleeper, env={"SECRET": token}, start_new_session=True)
        try:
            yield Bait(folder, folder / "work", token, server.getsockname()[1], f"bait-{token[:16]}", victim)
        finally:
            victim.kill()
            victim.wait()
