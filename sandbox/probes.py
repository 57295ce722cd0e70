"""What the self-check tries: attempts at each promise, and how to read from outside what came of them.

Each is a few lines of Python that run in the jail and try to break one promise, against bait that lies outside of it (a
secret file, sockets, a process). Whether it was broken is judged from outside where that is possible, and by the
attempt's own word where not.
"""

import contextlib
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandbox.meter import MARKER
from sandbox.spec import Evidence, Limits, Promise, Stopped

LIMITS = Limits(memory_bytes=2**28, processes=32, disk_bytes=2**25, files=200, output_bytes=2**20, log_bytes=2**16)
OUR_ENV = ("BAIT", MARKER, "PYTHONPATH", "PYTHONSAFEPATH")
ALLOWED_ENV = ("HOME", "TMPDIR", "PATH", "LANG", "USER", "LOGNAME", "PWD", "LC_CTYPE", *OUR_ENV)


@dataclass(frozen=True)
class Bait:
    """What the probes go for, outside the jail."""

    folders: tuple[Path, ...]  # each with a file `secret`, and a folder `open` for all users; nothing may be written
    work: Path
    log: Path
    token: str  # in the secret, and in the victim's command line and environment
    port: int
    abstract: str  # name of a listening abstract socket
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
    """Whether a file has appeared where every user may write."""
    found = [str(path) for folder in bait.folders for path in (folder / "open").iterdir()]
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
    """Whether more output was kept than allowed, or more was printed."""
    kept = max(bait.log.stat().st_size, len(evidence.tail))
    if kept > LIMITS.log_bytes + 100:
        return f"kept {kept} bytes of output"
    return stopped_for(Stopped.OUTPUT)(evidence, bait)


def owned_by_root(evidence: Evidence, bait: Bait) -> str:
    """Whether what it makes belongs to the kernel's user 0, or it has any other privilege."""
    made = bait.work / "owned"
    if made.exists() and made.stat().st_uid == 0:
        return "to the kernel it is root"
    return said(evidence, bait)


PROBES = (
    Probe(
        "read a secret file",
        Promise.FILES,
        "for p in bait['folders']: attempt(read, p + '/secret')",
        said,
    ),
    Probe("write outside", Promise.FILES, "for p in bait['folders']: attempt(open, p + '/open/x', 'w')", written),
    Probe(
        "write to system folders",
        Promise.FILES,
        "for p in ('/', '/etc', '/usr', '/bin', '/lib', '/run', '/dev'): attempt(made, p)",
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
    Probe(
        "trace a process outside",
        Promise.SIGNALS,
        "if libc.ptrace(16, bait['pid'], 0, 0) == 0: print('BREACH traced', bait['pid'])",
        said,
    ),
    Probe("signal a process outside", Promise.SIGNALS, "os.kill(bait['pid'], 15)", signalled),
    Probe(
        "connect to a unix socket by its path",
        Promise.SOCKETS,
        "socket.socket(socket.AF_UNIX).connect(bait['folders'][0] + '/socket'); print('BREACH connected')",
        said,
    ),
    Probe(
        "connect to an abstract unix socket",
        Promise.SOCKETS,
        "socket.socket(socket.AF_UNIX).connect('\\0' + bait['abstract']); print('BREACH connected')",
        said,
    ),
    Probe(
        "open a new user namespace",
        Promise.KERNEL,
        "if libc.unshare(0x10000000) == 0: print('BREACH unshared')",
        said,
    ),
    Probe(
        "keep a privilege",
        Promise.KERNEL,
        "[print('BREACH', line) for line in open('/proc/self/status') if privileged(line)]; open('owned', 'w')",
        owned_by_root,
    ),
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
    Probe("start too many processes", Promise.PIDS, "fork(10 * 32)", stopped_for(Stopped.PROCESSES)),
    Probe("fill the disk", Promise.DISK, "fill(16, 2**23)", stopped_for(Stopped.DISK)),
    Probe(
        "make too many files",
        Promise.DISK,
        "for n in range(2000): open(f'f{n}', 'w')\n    time.sleep(5)",
        stopped_for(Stopped.DISK),
    ),  # fmt: skip
    Probe("flood the output", Promise.OUTPUT, "while True: print('x' * 2**16)", flooded),
)

PRELUDE = """
import ctypes, json, os, signal, socket, sys, time
libc = ctypes.CDLL(None)
bait = json.loads(os.environ['BAIT'])
token = bait['nekot'][::-1]  # so that this very program is not taken for the victim
def pids():
    return [p for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()]
def look(pid, what):
    try: return token.encode() in open(f'/proc/{pid}/{what}', 'rb').read()
    except OSError: return False
def read(path):
    if token in open(path).read(): print('BREACH read', path)
def made(folder):
    path = folder + '/.probe-' + token[:8]
    os.mkdir(path); os.rmdir(path); print('BREACH', folder, 'is writable')
def attempt(what, *arguments):
    try: what(*arguments)
    except OSError as error: print('blocked:', error)
def privileged(line):
    name, _, value = line.partition(':')
    return name in ('CapEff', 'CapPrm') and int(value, 16) or name == 'Seccomp' and value.strip() != '2' \\
        or name == 'NoNewPrivs' and value.strip() != '1'
def fork(times):
    for _ in range(times):
        if os.fork() == 0: time.sleep(5); os._exit(0)
    time.sleep(5)
def fill(files, size):
    for number in range(files):
        with open(f'fill{number}', 'wb') as file: file.write(b'x' * size)
    time.sleep(5)
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
