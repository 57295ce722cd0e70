"""What of the host is shown inside the namespace jail, and where: pure text for bubblewrap's command line."""

import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from sandbox import launch
from sandbox.spec import Mount, SandboxError, Spec

HOME = "/home/trial"
PACKAGE = "/run/sandbox"  # this package
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
LOADER = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives")
ETC = (*LOADER, "nsswitch.conf", "localtime", "ssl/certs", "pki")
OWN_ETC = Path(__file__).parent / "etc"  # ours, so that the names of the machine's users stay outside
NAMES = ("passwd", "group")
ETC_BYTES = 2**20
CPU = ("/sys/devices/system/cpu", "/sys/devices/system/node")  # thread pools count processors there


@dataclass(frozen=True)
class Place:
    """One mount: bubblewrap's option, where it is on the host (empty for none), and where inside."""

    option: str
    source: str
    target: str


def system(own_user: bool) -> list[str]:
    """System folders as on the host (symbolic link or folder), and the few files of /etc that are needed.

    With a user of its own /etc is a file system to which the keeper adds the names of that user, see `names`.
    """
    line: list[str] = []
    for folder in SYSTEM:
        path = Path(folder)
        if path.is_symlink():
            line += ["--symlink", str(path.readlink()), folder]
        elif path.is_dir():
            line += ["--ro-bind", folder, folder]
    line += ["--perms", "0755", *(("--size", str(ETC_BYTES), "--tmpfs") if own_user else ("--dir",)), "/etc"]
    for folder in ("/etc/ssl", "/run"):
        line += ["--perms", "0755", "--dir", folder]
    for name in ETC:
        line += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for name in ("hosts",) if own_user else ("hosts", *NAMES):
        line += ["--ro-bind", str(OWN_ETC / name), f"/etc/{name}"]
    return line + optional(CPU)


def optional(paths: Collection[str]) -> list[str]:
    """Shows what the host has of these, where it has it. The folders on the way are everybody's to enter."""
    ways = {parent for path in paths for parent in Path(path).parents[:-1]}
    line = [word for way in sorted(ways) for word in ("--perms", "0755", "--dir", str(way))]
    return line + [word for path in paths for word in ("--ro-bind-try", path, path)]


def names(user: int) -> list[str]:
    """Flags by which the keeper writes /etc/passwd and /etc/group for a user of its own."""
    flags: list[str] = []
    for name in NAMES:
        flags += ["--file", f"/etc/{name}", (OWN_ETC / name).read_text().replace("1000", str(user))]
    return flags


def places(spec: Spec) -> list[Place]:
    """Everything of this spec that is mounted, in no particular order: `mounted` puts parents first."""
    memory = spec.limits.memory_bytes  # what lies in these three is host memory too
    found = [
        Place(f"--perms 0777 --size {memory // 8} --tmpfs", "", HOME),
        Place(f"--perms 1777 --size {memory // 4} --tmpfs", "", "/tmp"),
        Place(f"--perms 1777 --size {memory // 4} --tmpfs", "", "/dev/shm"),
        Place("--ro-bind", str(launch.PACKAGE), PACKAGE),
        Place("--bind", str(spec.work), str(spec.work)),
    ]
    if spec.network:
        found.append(Place("--ro-bind-try", "/etc/resolv.conf", "/etc/resolv.conf"))
    found += [Place("--ro-bind", path, path) for path in interpreters(launch.program(spec.argv)[0])]
    return found + [shown(mount, spec.work) for mount in spec.mounts]


def mounted(spec: Spec) -> list[str]:
    """The options that mount all of `places`, with the folders on the way to them.

    bubblewrap itself would make those with mode 0700. In the private folders they are everybody's: the program's user
    wants to put files beside a mount.
    """
    line: list[str] = []
    made: set[str] = set()
    for place in sorted(places(spec), key=lambda place: len(Path(place.target).parts)):
        for parent in reversed(Path(place.target).parents[:-1]):
            if str(parent) not in made:
                made.add(str(parent))
                private = parent.is_relative_to(HOME) or parent.is_relative_to("/tmp")
                line += ["--perms", "0777" if private else "0755", "--dir", str(parent)]
        line += [*place.option.split(), *([place.source] if place.source else []), place.target]
    return line


def shown(mount: Mount, work: Path) -> Place:
    """The place of a mount: `~/x` below the private home, relative paths over the work folder."""
    target = f"{HOME}/{mount.target[2:]}" if mount.target.startswith("~/") else str(work / mount.target)
    refuse_links(Path(target), work)
    return Place("--bind" if mount.writable else "--ro-bind", str(mount.source), target)


def refuse_links(target: Path, work: Path) -> None:
    """bubblewrap would follow a link that an earlier program has left in the work folder, as its caller.

    Raises:
        SandboxError: there is one on the way to `target`.
    """
    for path in (target, *target.parents):
        if path != work and path.is_relative_to(work) and path.is_symlink():
            raise SandboxError(f"{path} is a symbolic link, and something is to be mounted there: remove it")


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
