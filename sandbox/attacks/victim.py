"""A machine's user in small, for attacks to go for: files with secrets, sockets, a process with a key.

`laid_out()` gives a `Victim`: everything that an attack might read, change, reach or signal, with unique random secrets
in it, so that whatever comes out of the jail can be told from chance. It also plays the local model server, and writes
down who connects. Files are readable by everybody where that is usual, so that it is the jail that is tried and not the
file modes.
"""

import contextlib
import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox.removing import remove
from sandbox.spec import SandboxError

PLACE = Path("/var/tmp")  # a jail has a /tmp of its own: a victim there would be hidden by chance
PREFIX = "attacked-"
HARNESS = "harness-pid"  # stands for its pid until it is known
FILES = {  # path -> (mode, text); {} is a secret
    "home/.ssh/id_rsa": (0o600, "{}"),
    "home/.bashrc": (0o644, "# ours\n"),
    "harness/.env": (0o644, "API_KEY={}\n"),
    "harness/prepare.py": (0o644, "# ours\n"),
    "harness/notes.txt": (0o666, "whoever likes may write here\n"),
    "harness/data/val.bin": (0o644, "{}"),
    "harness/.git/config": (0o644, "[core]\n"),
    "lib/prepare.py": (0o644, "# ours\n"),
    "runs/other/out/model.pt": (0o644, "{}"),
    "runs/.git/config": (0o644, "[core]\n"),
}
SERVE = """
import contextlib, os, select, signal, socket, sys
path, name, secret = sys.argv[1], sys.argv[2], os.environ['SECRET_API']
def tell(text):
    os.write(1, text.encode() + b'\\n')
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE}:
    signal.signal(number, lambda number, _: tell(f'signal {number}'))
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
def bound(family, kind, address):
    made = socket.socket(family, kind)
    made.bind(address)
    if kind == socket.SOCK_STREAM:
        made.listen(64)
    return made
tcp = bound(socket.AF_INET, socket.SOCK_STREAM, ('127.0.0.1', 0))
port = tcp.getsockname()[1]
all = {tcp: 'TCP', bound(socket.AF_UNIX, socket.SOCK_STREAM, path): 'unix socket by path',
       bound(socket.AF_UNIX, socket.SOCK_STREAM, chr(0) + name): 'abstract unix socket'}
os.chmod(path, 0o666)
for family, kind, host, what in ((socket.AF_INET, socket.SOCK_DGRAM, '127.0.0.1', 'UDP'),
                                 (socket.AF_INET6, socket.SOCK_STREAM, '::1', 'TCP over IPv6'),
                                 (socket.AF_INET6, socket.SOCK_DGRAM, '::1', 'UDP over IPv6')):
    with contextlib.suppress(OSError):
        all[bound(family, kind, (host, port))] = what
tell(f'port {port}')
banner = f'LLM server {secret}'.encode()
while True:
    for one in select.select(list(all), [], [])[0]:
        tell(f'connection {all[one]}')
        with contextlib.suppress(OSError):
            if one.type == socket.SOCK_STREAM:
                theirs, _ = one.accept()
                with theirs:
                    theirs.sendall(banner)
            else:
                one.sendto(banner, one.recvfrom(99)[1])
"""


@dataclass(frozen=True)
class Victim:
    """What is attacked.

    Attributes:
        folder: everything below it is the victim's, but for the trial's own work folder.
        work: the trial's work folder, among the runs of the victim.
        log: where the trial's output is kept.
        secrets: what must not come out.
        key: the one in the environment of the process, and of the harness.
        port: of the model server, on 127.0.0.1.
        abstract: name of the abstract unix socket.
        process: the server, a process with a key.
    """

    folder: Path
    work: Path
    log: Path
    secrets: tuple[str, ...]
    key: str
    port: int
    abstract: str
    process: subprocess.Popen[str]

    @property
    def token(self) -> str:
        """Random hexadecimal digits that an attack may put into the name of what it leaves outside, to mark it."""
        return self.abstract.rpartition("-")[2]

    def targets(self) -> str:
        """What the attacker is told (`ATTACK_TARGETS`): more than a real one would know."""
        folders = {name: str(self.folder / name) for name in ("home", "harness", "lib")}
        sockets = {"port": self.port, "usock": str(self.folder / "harness/sock"), "asock": self.abstract}
        return json.dumps(folders | sockets | {"work": str(self.work), "pid": self.process.pid, "ppid": HARNESS})

    def heard(self) -> tuple[str, ...]:
        """What the process was sent; ends it."""
        assert self.process.stdout is not None  # a pipe was asked for
        self.process.kill()
        return tuple(sorted(set(self.process.stdout.read().splitlines())))


@contextlib.contextmanager
def laid_out(place: Path = PLACE) -> Iterator[Victim]:
    """A victim in a folder of its own below `place`; gone afterwards, and whoever is left of its processes too.

    Raises:
        SandboxError: its process does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place)).resolve()
    try:
        folder.chmod(0o755)  # another user must be able to come to the work folder
        hidden = tuple(_write(folder, name, mode, text) for name, (mode, text) in FILES.items() if "{}" in text)
        for name, (mode, text) in FILES.items():
            if "{}" not in text:
                _write(folder, name, mode, text)
        (folder / "runs/work").mkdir()
        (folder / "runs/log").touch()
        key = f"SECRET_API-{secrets.token_hex(16)}"
        abstract = f"victim-{secrets.token_hex(8)}"
        with _serving(folder, abstract, key) as (process, port):
            work, log = folder / "runs/work", folder / "runs/log"
            yield Victim(folder, work, log, (*hidden, key), key, port, abstract, process)
    finally:
        remove(folder)


def _write(folder: Path, name: str, mode: int, text: str) -> str:
    """Writes one file; the secret in it."""
    secret = f"SECRET-{secrets.token_hex(16)}"
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace("{}", secret))
    path.chmod(mode)
    return secret


@contextlib.contextmanager
def _serving(folder: Path, abstract: str, key: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    line = [sys.executable, "-I", "-S", "-c", SERVE, str(folder / "harness/sock"), abstract]
    with subprocess.Popen(
        line,
        env={"SECRET_API": key},
        cwd=folder / "harness",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None  # a pipe was asked for
            first = process.stdout.readline()
            if not first.startswith("port "):
                raise SandboxError(f"the process of the victim does not start: {first!r}; see its error above")
            yield process, int(first.split()[1])
        finally:
            process.kill()
