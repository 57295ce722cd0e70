"""The landlock jail: for machines where no namespace can be had. The kernel's own rules about paths, and filters.

The program sees the machine's own paths and may touch what `sandbox.allowed` names: system folders and its Python to
read, its work folder (home and temporary folder in it), the shared memory and a few devices to use. Sockets other than
those between its own processes are refused by the filter of system calls, with the network allowed they are not.

Started by root it becomes a user of its own, and that in the first of these forms that works:

* with mounts of its own (`sandbox.mounts`), where root may mount: folders on the way that are closed to that user
  (`/root`) hold nothing but what is allowed, and /tmp and /dev/shm are its own, in memory, and count as that;
* without, where no folder on the way is closed;
* with the one capability to read and enter what is closed, within what is allowed: KERNEL is not promised.

Where there are no other users it stays the caller; as user 0, KERNEL is not promised. Then it shares its user with
others, and Landlock does not judge who changes modes, times and owners. `sandbox.gaps` does: they cannot be changed at
all, and it says what a program notices of that.

What it does not keep, whatever the version of Landlock:

* the list of processes and their command lines are visible (PROCESSES), and so are names' existence, size and times
  (`stat`) of all files that nothing covers, though no content and no listing;
* sockets that lie in the file system and that the user may write to can be connected to, below version 9 (SOCKETS);
* without mounts of its own, /dev/shm is the machine's, by design: files there can escape the count of memory (MEMORY),
  and what others leave there for everybody can be read. What a user of its own leaves there is removed; the caller's
  user can also change and remove what is the caller's there, and what it leaves stays: FILES is about all else;
* a process as the caller's user can, below version 6, signal everything of that user, the keeper included (SIGNALS,
  SURVIVORS, PIDS).

Below version 2 nothing can be moved from one folder to another, its own included. Below 3 a file cannot be emptied
by its path or by opening it for reading, its own included.
"""

import hashlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from sandbox import allowed, confined, covers, devices, gaps, identity, launch, ruleset, seccomp, trying
from sandbox.meter import MARKER
from sandbox.spec import JailUnavailable, Promise, Spec
from sandbox.unconfined import LONGEST_TEMPORARY, PRIVATE

NO_TRUNCATE, NO_SCOPE, NO_SOCKET = 3, 6, 9  # the versions from which Landlock knows of these
ALWAYS = frozenset({Promise.FILES, Promise.NETWORK, Promise.SECRETS, Promise.TIME, Promise.DISK, Promise.OUTPUT})
CAP_DAC_READ_SEARCH = 1 << 2
MOUNTING = ("getting mounts", "keeping mounts", "hiding ", "covering ", "taking ")  # words of `sandbox.mounts`
NO_MOUNTS = "this root may not mount: start the container with `--cap-add SYS_ADMIN --cap-add SYS_PTRACE`"
APART = frozenset({Promise.SIGNALS, Promise.SURVIVORS, Promise.PIDS})


@dataclass(frozen=True)
class Landlock:
    """A jail of rules about paths and system calls.

    Attributes:
        abi: the version of Landlock that is used.
        own_user: whether a program becomes a user of its own.
        searching: whether it then keeps the capability to read and enter what permissions close.
        root: whether it stays user 0 to the kernel.
        mounts: whether the user of its own has mounts of its own.
        short: why it is not a form that keeps more, and the next step; empty where this user can have no better one.
    """

    abi: int
    own_user: bool = False
    searching: bool = False
    root: bool = False
    mounts: bool = False
    short: str = ""
    name: str = "landlock"

    def promises(self) -> frozenset[Promise]:
        """What this form of it keeps; see above for what is missing."""
        kept = set(ALWAYS)
        kept |= APART if self.own_user or self.abi >= NO_SCOPE else set()
        kept |= {Promise.MEMORY} if self.mounts else set()
        kept |= set() if self.root or self.searching else {Promise.KERNEL}
        kept |= {Promise.SOCKETS} if self.abi >= NO_SOCKET else set()
        return frozenset(kept)

    def wrap(self, spec: Spec) -> list[str]:
        """The stub, with its locks as flags.

        Raises:
            SandboxError: a mount cannot be shown without a mount namespace, or this machine has no filter.
        """
        home, temporary = spec.work / PRIVATE / "home", spec.work / PRIVATE / "tmp"
        flags = ["--make", str(home), "--make", str(temporary), "--abi", str(self.abi)]
        if len(str(temporary)) > LONGEST_TEMPORARY:
            short = alias(spec)
            flags += ["--alias", str(temporary), short]
            temporary = Path(short)
        rules = allowed.rules(spec)
        if self.mounts:
            flags += covers.flags(spec, rules)
            rules.append(("write", "/tmp"))
        for how, path in rules:
            flags += ["--allow", how, path]
        for source, target in allowed.links(spec, home):
            flags += ["--show", str(source), str(target)]
        env = launch.environment(spec, str(home), str(temporary))
        env |= allowed.modules(spec, env.get("PYTHONPATH", ""))
        if spec.gpu:
            nodes = devices.nodes(spec.env)
            env |= devices.renumbered(spec.env)
            if self.own_user:
                devices.refuse_closed(nodes)
        return launch.command(spec, launch.PACKAGE, env, [*flags, *self.locks(spec)])

    def locks(self, spec: Spec) -> list[str]:
        """The flags that are not about files."""
        flags = ["--scope", "yes"] if self.abi >= NO_SCOPE else []
        flags += [] if spec.network else ["--tcp", "no"]
        flags += ["--search", "yes"] if self.searching else []
        families = seccomp.NAMESPACE if spec.network else seccomp.UNIX_ONLY
        first = seccomp.program(families, deny_truncate=self.abi < NO_TRUNCATE)
        return [*flags, "--filter", gaps.program(shared_user=not self.own_user).hex(), "--filter", first.hex()]


def alias(spec: Spec) -> str:
    """A short name for the temporary folder, no other run's: the path of a socket ends at 107 characters."""
    told = f"{spec.env.get(MARKER, '')} {spec.work}"
    return f"/tmp/trial-{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def candidates(version: int) -> Iterable[Landlock]:
    """The forms of the jail, strongest first."""
    if identity.can_change():
        if covers.possible():
            yield Landlock(version, own_user=True, mounts=True)
        yield Landlock(version, own_user=True)
        yield Landlock(version, own_user=True, searching=True)
    yield Landlock(version, root=os.geteuid() == 0)


def probe(reach: tuple[Path, ...] = ()) -> Landlock:
    """The strongest form that works here, found by starting a program in each that reaches for the paths of `reach`.

    Raises:
        JailUnavailable: none works; the message is the next step.
    """
    version = ruleset.abi()
    if version == 0:
        needed = "Linux 5.13 or newer with `landlock` in its `lsm=` parameter has it (see /sys/kernel/security/lsm)"
        raise JailUnavailable(f"Landlock is not available here: {needed}")
    complaints: list[str] = []
    for jail in candidates(version):
        complaint = attempt(jail, reach)
        if not complaint:
            return replace(jail, short=shortfall(jail, complaints))
        complaints.append(complaint)
    raise JailUnavailable(f"landlock does not work here ({complaints[-1]}): {advice(complaints[-1], reach)}")


def attempt(jail: Landlock, reach: tuple[Path, ...]) -> str:
    """What is wrong with this form; nothing if it works.

    As a user of its own it looks into all of `reach`: what the caller can read may be closed to that one.
    """
    above, others = trying.split(reach)
    claim = trying.Claim(
        package=launch.PACKAGE,
        user=(os.geteuid(), os.getegid()),
        mounts=allowed.shown_for(others),
        above=above,
        kept=CAP_DAC_READ_SEARCH if jail.searching else 0,
        bound=-1,  # only root can give those up
        entries=confined.ENTRIES if jail.own_user else 1,
    )
    return trying.complaint(jail, claim)


def shortfall(jail: Landlock, complaints: list[str]) -> str:
    """Why it is not a form that keeps more, and the next step; nothing where this user can have no better one."""
    if complaints:
        return f"{complaints[0]}: {advice(complaints[0])}"
    if jail.root:  # the others were not even tried
        return trying.NO_OTHER_USERS
    if jail.own_user:
        return "" if jail.mounts else NO_MOUNTS
    return "" if jail.abi >= NO_SCOPE else f"Landlock {jail.abi} does not stop signals: Linux 6.12 or newer does"


def advice(complaint: str, reach: tuple[Path, ...] = ()) -> str:
    """The next step after a complaint."""
    path, is_closed, _ = complaint.partition(" is closed to the program")
    if "No such file" in complaint:
        return "give it paths that exist"
    if any(word in complaint for word in MOUNTING):
        return "start the container with `--security-opt apparmor=unconfined`"
    if shut := closed([Path(path)] if is_closed else [*reach, Path(sys.executable).resolve()]):
        return f"`chmod o+x {shut}`, or keep the project and its Python elsewhere"
    if is_closed:
        return f"let everybody read it: `chmod -R a+rX {path}`"
    return "`agent doctor` says what else works here"


def closed(paths: Iterable[Path]) -> Path | None:
    """The first folder on the way to one of `paths` that other users cannot enter; None where there is none."""
    for path in paths:
        for folder in reversed(path.absolute().parents):
            if folder.exists() and not folder.stat().st_mode & 0o001:
                return folder
    return None
