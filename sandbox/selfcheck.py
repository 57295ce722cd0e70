"""What a jail must defeat, tried for real on this machine: `selfcheck(jail)`, for `agent doctor` and for tests.

Each probe runs a few lines of Python in the jail that try to break one promise, against bait laid out for it (a secret
file, a listening port, a process); whether it was broken is judged from outside where that is possible, and by the
probe's own word where not. It takes a second or two. A check that fails for a promise that the jail does not make is no
failure: it shows what the jail leaves open.

Not covered: attacks on the kernel itself, and what a hostile program could do with more patience.
"""

import contextlib
import json
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox.jail import Jail
from sandbox.spec import Evidence, Limits, Phase, Promise, Spec, Stopped, Watch
from sandbox.supervise import run

LIMITS = Limits(memory_bytes=2**28, processes=32, disk_bytes=2**26, log_bytes=2**16)
SECONDS = {Promise.TIME: 0.3}  # for the probe of that promise; the others have plenty
PLENTY = 20.0
ALLOWED_ENV = ("HOME", "TMPDIR", "PATH", "LANG", "USER", "LOGNAME", "PWD", "LC_CTYPE", "BAIT", "SANDBOX_RUN")


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


@dataclass(frozen=True)
class Bait:
    """What the probes go for, outside the jail."""

    folder: Path  # holds `secret`; nothing may be written here
    work: Path
    token: str  # in the secret, and in the victim's command line and environment
    port: int
    victim: subprocess.Popen[bytes]


@dataclass(frozen=True)
class Probe:
    """An attempt: code to run in the jail with `bait` at hand, and how to read what came of it ("" is: held)."""

    name: str
    promise: Promise
    code: str
    breach: Callable[[Evidence, Bait], str]


def said(evidence: Evidence, _: Bait) -> str:
    """The probe's own word: a line `BREACH ...`, or that it did not come to its end."""
    lines = evidence.tail.splitlines()
    found = [line.removeprefix("BREACH ") for line in lines if line.startswith("BREACH ")]
    if found:
        return "; ".join(found)
    return "" if "TRIED" in lines else f"the probe itself failed: {evidence.tail[-300:]}"


def written(evidence: Evidence, bait: Bait) -> str:
    """Whether a file has appeared beside the secret."""
    found = [path.name for path in bait.folder.iterdir() if path.name not in ("secret", "work", "log")]
    return f"wrote {', '.join(found)}" if found else said(evidence, bait)


def signalled(evidence: Evidence, bait: Bait) -> str:
    """Whether the victim is dead."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        bait.victim.wait(0.05)
        return "killed a process outside"
    return said(evidence, bait)


def survived(_: Evidence, bait: Bait) -> str:
    """Whether the daemon's heart still beats."""
    beat = bait.work / "beat"
    if not beat.exists():
        return "the probe itself failed: no daemon came to life"
    before = beat.read_bytes()
    time.sleep(0.1)
    return "a daemon outlived the run" if beat.read_bytes() != before else ""


def stopped_for(reason: Stopped) -> Callable[[Evidence, Bait], str]:
    """Whether the supervisor ended it for that reason."""
    return lambda evidence, _: "" if evidence.stopped is reason else f"it ended as {evidence.stopped}"


def flooded(evidence: Evidence, bait: Bait) -> str:
    """Whether more output was kept than allowed."""
    kept = max((bait.folder / "log").stat().st_size, len(evidence.tail))
    return "" if kept < LIMITS.log_bytes + 100 else f"kept {kept} bytes of output"


PROBES = (
    Probe(
        "read a secret file",
        Promise.FILES,
        "if token in open(bait['secret']).read(): print('BREACH read', bait['secret'])",
        said,
    ),
    Probe("write outside", Promise.FILES, "open(bait['folder'] + '/pwned', 'w').write('x')", written),
    Probe(
        "write to system folders",
        Promise.FILES,
        "[print('BREACH', p, 'is writable') for p in ('/', '/etc', '/usr', '/bin', '/lib') if os.access(p, os.W_OK)]",
        said,
    ),
    Probe(
        "reach a port on this machine",
        Promise.NETWORK,
        "socket.create_connection(('127.0.0.1', bait['port']), 2); print('BREACH connected')",
        said,
    ),
    Probe(
        "see a process outside",
        Promise.PROCESSES,
        "[print('BREACH saw process', p) for p in pids() if look(p, 'cmdline')]",
        said,
    ),
    Probe(
        "read the environment of others",
        Promise.SECRETS,
        "[print('BREACH read environment of', p) for p in pids() if look(p, 'environ')]",
        said,
    ),
    Probe("signal a process outside", Promise.PROCESSES, "os.kill(bait['pid'], 15)", signalled),
    Probe(
        "inherit the environment",
        Promise.SECRETS,
        f"[print('BREACH has', k) for k in os.environ if k not in {ALLOWED_ENV}]",
        said,
    ),
    Probe(
        "leave a daemon behind",
        Promise.SURVIVORS,
        "daemon()",
        survived,
    ),
    Probe("run for ever", Promise.TIME, "while True: pass", stopped_for(Stopped.TIME)),
    Probe(
        "take too much memory",
        Promise.MEMORY,
        "a = [bytearray(b'x' * 2**25) for _ in range(20)]; time.sleep(5)",
        stopped_for(Stopped.MEMORY),
    ),
    Probe("flood the output", Promise.OUTPUT, "for _ in range(2**6): print('x' * 2**16)", flooded),
)

PRELUDE = """
import json, os, signal, socket, sys, time
bait = json.loads(os.environ['BAIT'])
token = bait['nekot'][::-1]  # so that this very program is not taken for the victim
def pids():
    return [p for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()]
def look(pid, what):
    try: return token.encode() in open(f'/proc/{pid}/{what}', 'rb').read()
    except OSError: return False
def daemon():
    for _ in range(2):
        if os.fork(): time.sleep(0.3); os._exit(0)
        os.setsid()
    for number in (1, 2, 3, 15): signal.signal(number, signal.SIG_IGN)
    os.closerange(0, 64)
    while True:
        open('beat', 'w').write(str(time.monotonic())); time.sleep(0.01)
try:
    %s
except OSError as error: print('blocked:', error)
print('TRIED')
"""


def selfcheck(jail: Jail) -> tuple[Check, ...]:
    """Tries every probe in `jail`, one after the other."""
    with _laid_out() as bait:
        return tuple(_try(probe, jail, bait) for probe in PROBES)


def _try(probe: Probe, jail: Jail, bait: Bait) -> Check:
    told = {
        "secret": str(bait.folder / "secret"),
        "folder": str(bait.folder),
        "nekot": bait.token[::-1],
        "port": bait.port,
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
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as server:
        folder = Path(name).resolve()
        (folder / "secret").write_text(token)
        (folder / "work").mkdir()
        sleeper = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)", token]
        victim = subprocess.Popen(sleeper, env={"SECRET": token}, start_new_session=True)
        try:
            yield Bait(folder, folder / "work", token, server.getsockname()[1], victim)
        finally:
            victim.kill()
            victim.wait()
