"""What a program may touch at the landlock level, as rules for `sandbox.lock`, and where its Python looks for modules.

Landlock only gives: what no rule names is closed. It shows everything at its own path, so that a mount is a link, and
one that stands in for another file (a mask) works by leaving that file out: of a folder that holds it, what lies
around it is allowed instead. A stand-in for a folder of Python's own library is put on the import path.

Protected files (links in the work folder to files outside) come first on the import path where that changes nothing
else: where the folder they lie in holds nothing else, and no package is half in it and half in the work folder.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from sandbox import devices, launch
from sandbox.places import CPU, ETC, SYSTEM, interpreters
from sandbox.spec import Mount, SandboxError, Spec

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def rules(spec: Spec) -> list[tuple[str, str]]:
    """(HOW, path) for everything that `spec` may touch; see `sandbox.ruleset.HOW`."""
    hidden = {Path(mount.target).resolve() for mount in masks(spec)}
    given = [*SYSTEM, *(f"/etc/{name}" for name in ETC), "/etc/hosts", *CPU]
    given += ["/etc/resolv.conf"] if spec.network else []
    given += interpreters(launch.program(spec.argv)[0])
    given += devices.FILES if spec.gpu else ()
    found = [("read-try", path) for folder in given for path in around(Path(folder), hidden)]
    found += [("read", "/proc"), ("read", str(launch.PACKAGE)), ("write", str(spec.work)), ("write-try", "/dev/shm")]
    found += [("write" if mount.writable else "read", str(mount.source)) for mount in spec.mounts]
    found += [("list", str(folder)) for folder in protected(spec)]
    found += [("device", path) for path in DEVICES]
    if spec.gpu:
        found += [("device", str(path)) for path in devices.nodes(spec.env)]
    return list(dict.fromkeys(found))


def masks(spec: Spec) -> list[Mount]:
    """The mounts that stand in for something else.

    Raises:
        SandboxError: a mount is to be seen where there is nothing to stand in for.
    """
    found = []
    for mount in spec.mounts:
        target = Path(mount.target)
        if target.is_absolute() and target.resolve() != mount.source.resolve() and not inside(target, spec.work):
            if not target.exists() or mount.writable:
                reason = f"{mount.source} cannot be shown as {target} without a mount namespace"
                raise SandboxError(f"{reason}: use --sandbox namespace, or a path in the work folder")
            found.append(mount)
    return found


def inside(path: Path, folder: Path) -> bool:
    """Whether a path lies below a folder, by its text."""
    return path != folder and path.is_relative_to(folder)


def around(folder: Path, hidden: Iterable[Path]) -> list[str]:
    """`folder`, or where it holds hidden files what lies around these. Links are left out then: they lead elsewhere."""
    real = folder.resolve()
    if any(real.is_relative_to(path) for path in hidden):
        return []
    if not any(path.is_relative_to(real) for path in hidden) or not real.is_dir():
        return [str(folder)]
    with os.scandir(real) as entries:
        names = sorted(entry.path for entry in entries if not entry.is_symlink())
    return [path for name in names for path in around(Path(name), hidden)]


def links(spec: Spec, home: Path) -> list[tuple[Path, Path]]:
    """(source, target) of what is shown in the work folder and in the home."""
    found = []
    for mount in spec.mounts:
        target = home / mount.target[2:] if mount.target.startswith("~/") else spec.work / mount.target
        if inside(target, spec.work) and target != mount.source:
            found.append((mount.source, target))
    return found


def modules(spec: Spec, given_path: str) -> dict[str, str]:
    """What tells Python where to look: first for protected files, last for a stand-in of its own library.

    `given_path` is the PYTHONPATH that it would have otherwise; empty for none.
    """
    first = [str(folder) for folder in protected(spec)]
    library = [Path(part).resolve() for part in sys.path if part]
    last = [str(mount.source) for mount in masks(spec) if Path(mount.target).resolve() in library]
    given = [given_path] if given_path else []
    if first:
        return {"PYTHONSAFEPATH": "1", "PYTHONPATH": ":".join([*first, *given, str(script(spec).parent), *last])}
    return {"PYTHONPATH": ":".join([*given, *last])} if last else {}


def script(spec: Spec) -> Path:
    """The script that Python is given; a name in the work folder where it is given none."""
    named = [word for word in spec.argv[1:] if word.endswith(".py")]
    return (spec.work / named[0]).absolute() if named else spec.work / "none"


def protected(spec: Spec) -> list[Path]:
    """Folders outside of the work folder that hold protected modules at the paths they have inside, and only these."""
    files = [mount for mount in spec.mounts if mount.target.endswith(".py") and not mount.writable]
    files = [mount for mount in files if not mount.target.startswith(("/", "~", "."))]
    targets = {Path(mount.target) for mount in spec.mounts}
    roots = {mount.source.parents[len(Path(mount.target).parts) - 1] for mount in files if same_path(mount)}
    return sorted(root for root in roots if only(root, targets) and whole(root, spec.work))


def same_path(mount: Mount) -> bool:
    """Whether the source ends as the target does."""
    parts = Path(mount.target).parts
    return mount.source.is_absolute() and mount.source.parts[-len(parts) :] == parts


def only(root: Path, targets: set[Path]) -> bool:
    """Whether every file below `root` is one of `targets`."""
    return all(path.relative_to(root) in targets for path in root.rglob("*") if not path.is_dir())


def whole(root: Path, work: Path) -> bool:
    """Whether each package below `root` is all there: what lies beside it in the work folder would not be found."""
    for package in (path.parent.relative_to(root) for path in root.rglob("__init__.py")):
        names = {path.name for path in (work / package).glob("*") if path.suffix == ".py" or path.is_dir()}
        if names - {path.name for path in (root / package).iterdir()} - {"__pycache__"}:
            return False
    return True


def shown_for(reach: Iterable[Path]) -> tuple[Mount, ...]:
    """Mounts of `reach`, each where it is."""
    return tuple(Mount(path.absolute(), str(path.absolute())) for path in reach)
