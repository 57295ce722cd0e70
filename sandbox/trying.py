"""Whether a form of a jail works here, found by running a check in it as a trial would run: `complaint(jail, claim)`.

The check (`sandbox.confined`) says in one line what is not as the form claims, or which path is closed to it.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from sandbox import confined, identity, launch
from sandbox.places import interpreters
from sandbox.spec import Limits, Mount, Phase, SandboxError, Spec

SECONDS = 20.0  # for one form to show that it works
LAST_SECONDS = 1.0  # for one that did not, to end what it has started
NO_OTHER_USERS = "this root cannot become other users: start the agent as an ordinary user"


class Form(Protocol):
    """What is tried: see `sandbox.jail.Jail`."""

    @property
    def own_user(self) -> bool:
        """Whether a program becomes a user of its own."""

    def wrap(self, spec: Spec) -> list[str]:
        """The command line for `spec`."""


@dataclass(frozen=True)
class Claim:
    """What is to be true of a program in the jail.

    Attributes:
        package: where this package is.
        user: (user, group) that it is without a user of its own.
        mounts: what it reaches.
        above: the folder that its work folder is made in.
        kept: the capabilities that it keeps, as a mask.
        bound: those that it could get if it were allowed new privileges, as a mask; -1 for any.
        entries: so many of each folder are looked at.
    """

    package: Path
    user: tuple[int, int]
    mounts: tuple[Mount, ...] = ()
    above: Path = Path("/tmp")
    kept: int = 0
    bound: int = 0
    entries: int = confined.ENTRIES


def split(reach: tuple[Path, ...]) -> tuple[Path, tuple[Path, ...]]:
    """Where to work and what to reach: in the first of `reach`, as a trial will, if that is a folder to write to."""
    if reach and reach[0].is_dir() and os.access(reach[0], os.W_OK):
        return reach[0], reach[1:]
    return Claim.above, reach


def complaint(jail: Form, claim: Claim) -> str:
    """What is wrong with this form; nothing if it works."""
    places = [*(mount.target for mount in claim.mounts), *interpreters(sys.executable)]
    try:
        with tempfile.TemporaryDirectory(prefix=".probe-", dir=claim.above) as name, user_of(jail) as user:
            work = Path(name).resolve()
            work.chmod(0o755)
            if user is not None:
                identity.give(user, [work])
            who = claim.user if user is None else (user, user)
            numbers = (*who, claim.kept, claim.bound, claim.entries)
            argv = ("python", "-I", "-S", f"{claim.package}/confined.py", *map(str, numbers), *places)
            env = {"LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", "")}  # noqa: TID251 (our own Python may need it)
            spec = Spec(argv, work, env, ((Phase.STARTUP, SECONDS),), Limits(2**30), claim.mounts, user=user)
            said = told(jail.wrap(spec), launch.loader(spec), SECONDS)
    except SandboxError as error:
        return str(error)
    for mount in claim.mounts:
        said = said.replace(mount.target, str(mount.source))
    return "" if said == "fine" else said


@contextlib.contextmanager
def user_of(jail: Form) -> Iterator[int | None]:
    """A user for it, if it wants one."""
    if jail.own_user:
        with identity.claimed() as user:
            yield user
    else:
        yield None


def told(line: list[str], env: dict[str, str], seconds: float) -> str:
    """What the check says in the jail that this command line starts, or why it could not. Nothing of it stays."""
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                line, env=env, stdin=theirs.fileno(), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            return str(error)
        theirs.close()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            return f"the check did not end within {seconds:g} seconds"
        finally:
            end(process, ours)
        return heard(ours, output) or f"exit code {process.returncode}"


def end(process: subprocess.Popen[bytes], control: socket.socket) -> None:
    """Ends the keeper, which ends the rest when nobody holds the other end of its socket, by force if need be."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        control.shutdown(socket.SHUT_WR)
        process.wait(LAST_SECONDS)
    process.kill()
    process.wait()


def heard(control: socket.socket, output: IO[bytes]) -> str:
    """The last failure that the keeper tells of, or else the last line that was printed; nothing without either."""
    control.settimeout(LAST_SECONDS)
    words = b""
    with contextlib.suppress(OSError):
        while chunk := control.recv(4096):
            words += chunk
    lines = words.decode(errors="replace").splitlines()
    failed = [line.removeprefix("failed ") for line in lines if line.startswith("failed ")]
    output.seek(0)
    printed = output.read().decode(errors="replace").strip().splitlines()
    return (failed or printed or [""])[-1].strip()
