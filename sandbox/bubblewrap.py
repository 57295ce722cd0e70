"""The namespace jail: bubblewrap builds a new root in which the rest of the machine does not exist.

Inside are the system's programs and libraries, the Python that runs the program, the mounts of the spec (all
read-only unless said otherwise), the writable work folder at its own path, and private /tmp, /dev/shm, home,
processes, network and terminal. The keeper is process 1 of its namespace: it cannot be killed from inside, and when it
ends the kernel kills everything else. No daemon, no set-user-id program, and for the program no capability and few
system calls.

Started by an ordinary user, it is a user namespace of that user. Started by root it is none where that can be helped:
the keeper stays root with the few capabilities below, and the program becomes the user `Spec.user`. Where that does not
work (a container whose root may not mount), root takes the first form too, and the program is then still user 0 to
the kernel, without capabilities: KERNEL is not promised.

Not covered here: flaws of allowed system calls and of devices, a limit on memory beyond the watchdog, the number of
files in the private folders (bubblewrap limits their bytes only), the paths on the host of what is mounted, which
/proc/self/mountinfo tells, and, where /proc cannot be mounted afresh, sight of the processes outside (then PROCESSES is
not promised).
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sandbox import devices, identity, launch, seccomp, trying
from sandbox.places import HOME, PACKAGE, mounted, names, optional, system
from sandbox.spec import JailUnavailable, Mount, Promise, Spec

NAMESPACES = ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "trial")
LIFE = ("--die-with-parent", "--new-session", "--as-pid-1", "--clearenv", "--cap-drop", "ALL")
OWN_NAMESPACE = ("--unshare-user", "--uid", "1000", "--gid", "1000")
KEEPERS = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_KILL")  # change its child's user, and end it
KERNEL = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi")  # of /proc
REACH = "/run/reach"
FORBIDDEN = ("namespace", "uid map", "ermission", "not permitted")  # words of bubblewrap's complaints
SWITCHES = (  # (file of /proc/sys, the value that forbids namespaces, the command that allows them)
    ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),  # Debian
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
    ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),  # Red Hat
)


@dataclass(frozen=True)
class Bubblewrap:
    """A jail of namespaces.

    Attributes:
        program: path of bwrap.
        fresh_proc: whether /proc can be mounted anew; otherwise the outer one is shown, read-only.
        disable_userns: whether this bwrap can forbid further user namespaces (so does the filter of system calls).
        own_user: whether root starts it and the program becomes the user of its spec.
        short: why it is not a form that promises more, and the next step; empty where it promises everything.
    """

    program: str
    fresh_proc: bool = True
    disable_userns: bool = True
    own_user: bool = False
    short: str = ""
    name: str = "namespace"

    def promises(self) -> frozenset[Promise]:
        """Everything, but for the sight of other processes where /proc is the outer one, and for the kernel's user 0
        where root starts it and the program stays what it is."""
        kept = frozenset(Promise) if self.fresh_proc else frozenset(Promise) - {Promise.PROCESSES}
        return kept if self.own_user or os.geteuid() != 0 else kept - {Promise.KERNEL}

    def wrap(self, spec: Spec) -> list[str]:
        """The bwrap command line that starts the stub inside.

        Raises:
            SandboxError: there is no filter of system calls for this machine, a GPU is closed to the program's user, or
                a link is in the way of a mount.
        """
        renumbered = devices.renumbered(spec.env) if spec.gpu else {}
        env = launch.environment(spec, HOME, "/tmp") | renumbered
        flags = ["--filter", seccomp.program(seccomp.NAMESPACE).hex()]
        if spec.user is not None:
            flags += names(spec.user)
        return [*self.confine(spec), "--", *launch.command(spec, Path(PACKAGE), env, flags)]

    def confine(self, spec: Spec) -> list[str]:
        """The part of the command line that builds the jail."""
        line = [self.program, *NAMESPACES, *LIFE]
        line += [word for name in KEEPERS for word in ("--cap-add", name)] if self.own_user else OWN_NAMESPACE
        for name, text in launch.loader(spec).items():
            line += ["--setenv", name, text]
        line += [] if spec.network else ["--unshare-net"]
        line += ["--disable-userns"] if self.disable_userns and not self.own_user else []
        line += system(self.own_user) + self.proc() + ["--dev", "/dev"] + (self.gpu(spec) if spec.gpu else [])
        line += mounted(spec)
        return [*line, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]

    def gpu(self, spec: Spec) -> list[str]:
        """The device nodes and files that the drivers need."""
        nodes = devices.nodes(spec.env)
        if self.own_user:
            devices.refuse_closed(nodes)
        line = [word for node in nodes for word in ("--dev-bind", str(node), str(node))]
        return line + optional(devices.FILES)

    def proc(self) -> list[str]:
        """The process list, with the kernel's switches read-only.

        To the kernel a jail started by root is user 0, who can write to them even without capabilities.
        """
        if not self.fresh_proc:
            return ["--ro-bind", "/proc", "/proc"]
        line = ["--proc", "/proc"]
        for name in KERNEL:
            line += ["--ro-bind-try", f"/proc/{name}", f"/proc/{name}"]
        return line


def probe(reach: tuple[Path, ...] = ()) -> Bubblewrap:
    """The strongest form that works here, found by running a check in each as a trial runs.

    Args:
        reach: what a trial has to reach: first the folder in which runs are kept, then the sources of its mounts.

    Raises:
        JailUnavailable: none works; the message is the next step.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise JailUnavailable("bubblewrap is not installed: `apt install bubblewrap` (or dnf, pacman)")
    complaints: list[str] = []
    for jail in candidates(program):
        complaint = attempt(jail, reach)
        if not complaint:
            return jail if jail.promises() == set(Promise) else replace(jail, short=shortfall(complaints))
        complaints.append(complaint)
    raise JailUnavailable(f"bubblewrap does not work here ({complaints[0]}): {advice(complaints[0])}")


def shortfall(complaints: list[str]) -> str:
    """Why the strongest form was not taken, and the next step."""
    if not complaints:  # it was not even tried
        return trying.NO_OTHER_USERS
    return f"{complaints[0]}: {advice(complaints[0])}"


def candidates(program: str) -> Iterator[Bubblewrap]:
    """The forms of the jail, strongest first."""
    if identity.can_change():
        for fresh_proc in (True, False):
            yield Bubblewrap(program, fresh_proc, own_user=True)
    for fresh_proc in (True, False):
        for disable_userns in (True, False):
            yield Bubblewrap(program, fresh_proc, disable_userns)


def attempt(jail: Bubblewrap, reach: tuple[Path, ...]) -> str:
    """What is wrong with this form; nothing if it works."""
    above, others = trying.split(reach)
    mounts = tuple(Mount(path, f"{REACH}/{number}") for number, path in enumerate(others))
    return trying.complaint(jail, trying.Claim(Path(PACKAGE), (1000, 1000), mounts, above))


def advice(complaint: str, switches: Path = Path("/proc/sys")) -> str:
    """The next step after a complaint."""
    if " is closed to the program" in complaint:
        return f"let everybody read it: `chmod -R a+rX {complaint.split(' is closed')[0]}`"
    if "mount proc" in complaint:
        return "start the container with `--security-opt systempaths=unconfined`"
    if not any(word in complaint for word in FORBIDDEN):
        return "try `bwrap --ro-bind / / true`"
    for name, forbids, command in SWITCHES:
        with contextlib.suppress(OSError):
            if (switches / name).read_text().strip() == forbids:
                return f"user namespaces are not allowed here: as root, `{command}`"
    return "namespaces are not allowed here: start the container with `--security-opt seccomp=unconfined`"
