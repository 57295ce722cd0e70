"""What a jail must defeat, tried for real on this machine: `selfcheck(jail)`, for `agent doctor` and for tests.

It lays out bait, runs every attempt of `sandbox.probes` in the jail, one after the other, and says what held. It takes
a few seconds. The bait is everybody's to read and write, and lies where no jail has a folder of its own as well as in
/tmp: what keeps a program out shall be the jail, not permissions and not chance. A check that fails for a promise that
the jail does not make is no failure: it shows what the jail leaves open.

Not covered: attacks on the kernel itself, and what a hostile program could do with more patience.
"""

import contextlib
import json
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox.jail import Jail
from sandbox.probes import LIMITS, PRELUDE, PROBES, Bait, Probe
from sandbox.removing import remove
from sandbox.spec import Phase, Promise, SandboxError, Spec, Watch
from sandbox.supervise import run

SECONDS = {Promise.TIME: 0.3}  # for the probe of that promise; the others have plenty
PLENTY = 20.0
PLACE = Path("/var/tmp")  # which no form of a jail covers with a folder of its own


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


def selfcheck(jail: Jail, probes: Iterable[Probe] = PROBES) -> tuple[Check, ...]:
    """Tries every one of `probes` in `jail`, one after the other.

    Raises:
        SandboxError: there is no place for the bait, or the sandbox itself fails.
    """
    with _laid_out() as bait:
        return tuple(_try(probe, jail, bait) for probe in probes)


def _try(probe: Probe, jail: Jail, bait: Bait) -> Check:
    remove(bait.work)  # of the probe before
    bait.work.mkdir()
    told = {
        "folders": [str(folder) for folder in bait.folders],
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
    evidence = run(spec, jail, Watch(bait.log))
    detail = probe.breach(evidence, bait)
    return Check(probe.name, probe.promise, probe.promise in jail.promises(), not detail, detail)


@contextlib.contextmanager
def _laid_out() -> Iterator[Bait]:
    """Bait in temporary folders, with a listening port and a process; all gone afterwards."""
    token = secrets.token_hex(16)
    with (
        _bait_folder(PLACE, token) as folder,
        _bait_folder(Path("/tmp"), token) as temporary,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as by_path,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        by_path.bind(str(folder / "socket"))
        (folder / "socket").chmod(0o777)
        by_path.listen()
        abstract.bind(f"\0bait-{token[:16]}")
        abstract.listen()
        sleeper = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)", token]
        victim = subprocess.Popen(sleeper, env={"SECRET": token}, start_new_session=True)
        try:
            port = server.getsockname()[1]
            folders = (folder, temporary)
            yield Bait(folders, folder / "work", folder / "log", token, port, f"bait-{token[:16]}", victim)
        finally:
            victim.kill()
            victim.wait()


@contextlib.contextmanager
def _bait_folder(place: Path, token: str) -> Iterator[Path]:
    """A folder in `place` with a secret that every user may read, and a folder that every user may write to."""
    try:
        folder = tempfile.TemporaryDirectory(dir=place)
    except OSError as error:
        raise SandboxError(f"the self-check has no place for its bait ({error}): make {place} writable") from error
    with folder as name:
        path = Path(name).resolve()
        path.chmod(0o755)
        (path / "secret").write_text(token)
        (path / "secret").chmod(0o644)
        (path / "open").mkdir()
        (path / "open").chmod(0o777)
        yield path
