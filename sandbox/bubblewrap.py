"""The namespace jail: bubblewrap builds a new root in which the rest of the machine does not exist.

Inside are the system's programs and libraries, the Python that runs the program, the mounts of the spec (all
read-only unless said otherwise), the writable work folder at its own path, and private /tmp, /dev/shm, home,
processes, network and terminal. The stub is process 1 of its namespace: it cannot be killed from inside, and
when it ends the kernel kills everything else. No daemon, no set-user-id program, no capability is left
inside.

Not covered here: system calls and devices of the kernel itself (the program talks to the same kernel), a
limit on memory beyond the watchdog, vsock sockets (no network namespace holds them), and, where /proc cannot
be mounted afresh, sight of the processes outside (then PROCESSES is not promised). When root starts it, the
program is still user 0 to the kernel, without capabilities.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sandbox import launch
from sandbox.spec import JailUnavailable, Limits, Mount, Phase, Promise, Spec

HOME = "/home/trial"
STUB = "/run/stub.py"
NAMESPACES = ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
LIFE = ("--die-with-parent", "--new-session", "--as-pid-1")
IDENTITY = ("--uid", "1000", "--gid", "1000", "--hostname", "trial", "--cap-drop", "ALL", "--clearenv")
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
LOADER = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives")
ETC = (*LOADER, "nsswitch.conf", "localtime", "ssl/certs", "pki")
OWN_ETC = ("passwd", "group", "hosts")  # ours, so that the names of the machine's users stay outside
CPU = ("/sys/devices/system/cpu", "/sys/devices/system/node")  # thread pools count processors there
KERNEL = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi")  # of /proc
NVIDIA = ("nvidia[0-9]*", "nvidiactl", "nvidia-uvm*", "nvidia-modeset", "nvidia-caps")
GPU_DEVICES = (*NVIDIA, "kfd", "dri", "dxg")  # of /dev
GPU_FILES = (
    "/sys/devices",
    "/sys/module",
    "/sys/bus/pci",
    "/sys/class",
    "/run/nvidia-persistenced",
    "/opt/rocm",
)
NAMESPACE_ADVICE = (
    "user namespaces are not allowed here: as root, `sysctl kernel.unprivileged_userns_clone=1` (Debian) or "
    "`sysctl kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu), or start the container with "
    "`--security-opt seccomp=unconfined`"
)


@dataclass(frozen=True)
class Place:
    """One mount: bubblewrap's option, where it is on the host (empty for none), and where inside."""

    option: str
    source: str
    target: str


@dataclass(frozen=True)
class Bubblewrap:
    """A jail of namespaces.

    Attributes:
        program: path of bwrap.
        fresh_proc: whether /proc can be mounted anew; otherwise the outer one is shown, read-only.
        disable_userns: whether this bwrap can forbid further user namespaces.
    """

    program: str
    fresh_proc: bool = True
    disable_userns: bool = True
    name: str = "namespace"

    def promises(self) -> frozenset[Promise]:
        """Everything, but for the sight of other processes where /proc is the outer one."""
        return frozenset(Promise) if self.fresh_proc else frozenset(Promise) - {Promise.PROCESSES}

    def wrap(self, spec: Spec) -> list[str]:
        """The bwrap command line that starts the stub inside."""
        env = launch.environment(spec, HOME, "/tmp")
        return [*self.confine(spec), "--", *launch.command(spec, STUB, env)]

    def confine(self, spec: Spec) -> list[str]:
        """The part of the command line that builds the jail."""
        line = [self.program, *NAMESPACES, *LIFE, *IDENTITY]
        for name, text in launch.loader(spec).items():
            line += ["--setenv", name, text]
        line += [] if spec.network else ["--unshare-net"]
        line += ["--disable-userns"] if self.disable_userns else []
        line += system() + self.proc() + ["--dev", "/dev"] + (gpu() if spec.gpu else [])
        made: set[str] = set()
        for place in sorted(places(spec), key=lambda place: len(Path(place.target).parts)):
            for parent in reversed(Path(place.target).parents[:-1]):
                if str(parent) not in made:  # bwrap itself would make it with mode 0700
                    made.add(str(parent))
                    line += ["--perms", "0755", "--dir", str(parent)]
            line += [*place.option.split(), *([place.source] if place.source else []), place.target]
        return [*line, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", str(spec.work)]

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


def system() -> list[str]:
    """System folders as on the host (symbolic link or folder), and the few files of /etc that are needed."""
    line: list[str] = []
    for folder in SYSTEM:
        path = Path(folder)
        if path.is_symlink():
            line += ["--symlink", str(path.readlink()), folder]
        elif path.is_dir():
            line += ["--ro-bind", folder, folder]
    for folder in ("/etc", "/etc/ssl", "/run"):
        line += ["--perms", "0755", "--dir", folder]
    for name in ETC:
        line += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for name in OWN_ETC:
        line += ["--ro-bind", str(launch.STUB.parent / "etc" / name), f"/etc/{name}"]
    for folder in CPU:
        line += ["--ro-bind-try", folder, folder]
    return line


def gpu() -> list[str]:
    """Device nodes and files that the drivers of NVIDIA, AMD and WSL need. From their documentation."""
    line: list[str] = []
    for pattern in GPU_DEVICES:
        for device in sorted(Path("/dev").glob(pattern)):
            line += ["--dev-bind", str(device), str(device)]
    for path in GPU_FILES:
        line += ["--ro-bind-try", path, path]
    return line


def places(spec: Spec) -> list[Place]:
    """Everything of this spec that is mounted, in no particular order: the caller mounts parents first."""
    memory = spec.limits.memory_bytes  # what lies in these three is host memory too
    found = [
        Place(f"--perms 0755 --size {memory // 8} --tmpfs", "", HOME),
        Place(f"--perms 1777 --size {memory // 4} --tmpfs", "", "/tmp"),
        Place(f"--perms 1777 --size {memory // 4} --tmpfs", "", "/dev/shm"),
        Place("--ro-bind", str(launch.STUB), STUB),
        Place("--bind", str(spec.work), str(spec.work)),
    ]
    if spec.network:
        found.append(Place("--ro-bind-try", "/etc/resolv.conf", "/etc/resolv.conf"))
    found += [Place("--ro-bind", path, path) for path in interpreters(launch.program(spec.argv)[0])]
    return found + [shown(mount, spec.work) for mount in spec.mounts]


def shown(mount: Mount, work: Path) -> Place:
    """The place of a mount: `~/x` below the private home, relative paths over the work folder."""
    target = f"{HOME}/{mount.target[2:]}" if mount.target.startswith("~/") else str(work / mount.target)
    return Place("--bind" if mount.writable else "--ro-bind", str(mount.source), target)


def interpreters(executable: str) -> list[str]:
    """What is shown of the Python that runs the agent, and of the program's own if given by an absolute path."""
    prefixes = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent.parent}
    path = Path(executable)
    files = {path, path.resolve()} if path.is_absolute() and path.exists() else set()
    prefixes |= {file.parent.parent for file in files}
    prefixes |= {prefix.resolve() for prefix in prefixes}
    folders = {part for prefix in prefixes for part in installed(prefix)}
    files = {file for file in files if not any(file.is_relative_to(folder) for folder in folders)}
    return sorted(str(part) for part in folders | files if not any(part.is_relative_to(folder) for folder in SYSTEM))


def installed(prefix: Path) -> list[Path]:
    """The folders of a Python installation. Not the whole prefix: that may be a project, or a home."""
    if (prefix / "conda-meta").is_dir():
        return [prefix]
    if (prefix / "pyvenv.cfg").exists() or any(prefix.glob("lib*/python3*/os.py")):
        return [prefix / part for part in ("bin", "lib", "lib64", "include", "pyvenv.cfg") if (prefix / part).exists()]
    return []


def candidates(program: str) -> Iterable[Bubblewrap]:
    """The forms of the jail, strongest first."""
    for fresh_proc in (True, False):
        for disable_userns in (True, False):
            yield Bubblewrap(program, fresh_proc, disable_userns)


def probe() -> Bubblewrap:
    """The strongest form that works here, found by starting `true` in each.

    Raises:
        JailUnavailable: none works; the message is the next step.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise JailUnavailable("bubblewrap is not installed: `apt install bubblewrap` (or dnf, pacman)")
    complaint = ""
    with tempfile.TemporaryDirectory() as work:
        spec = Spec(("true",), Path(work).resolve(), {}, ((Phase.STARTUP, 10.0),), Limits(memory_bytes=2**30))
        for jail in candidates(program):
            line = [*jail.confine(spec), "--", "/usr/bin/env", "true"]
            done = subprocess.run(line, env={}, capture_output=True, text=True, timeout=20, check=False)
            if done.returncode == 0:
                return jail
            complaint = complaint or (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    if any(word in complaint for word in ("namespace", "uid map", "ermission", "not permitted")):
        raise JailUnavailable(f"bubblewrap does not work here ({complaint}): {NAMESPACE_ADVICE}")
    raise JailUnavailable(f"bubblewrap does not work here ({complaint}): try `bwrap --ro-bind / / true`")
