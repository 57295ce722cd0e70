"""Which folders a program with mounts of its own does not see, and what of them it does: flags for `sandbox.mounts`.

Folders on the way to something allowed that other users cannot enter (`/root`) are hidden, and only what is allowed
stays there. What stands in for another file or folder does so at its place. /tmp and /dev/shm are its own, in memory:
their sizes are parts of its limit of memory, as at the namespace level. Looks at the machine and changes nothing.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sandbox import allowed
from sandbox.spec import Spec

IN_MEMORY = ("/tmp", "/dev/shm")  # its own
SHARE = 4  # each of them has this part of the memory
NEEDED = (19, 21)  # CAP_SYS_PTRACE, to look into these folders from outside, and CAP_SYS_ADMIN


def possible() -> bool:
    """Whether this process may mount, and count what is used there."""
    held = int(Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0], 16)
    return all(held >> number & 1 for number in NEEDED)


@dataclass(frozen=True)
class Place:
    """What is to be seen at a path: the file or folder `source`, for writing or not."""

    source: Path
    writable: bool


def flags(spec: Spec, rules: Iterable[tuple[str, str]]) -> list[str]:
    """The flags for what `rules` (see `sandbox.allowed.rules`) allow, and for what stands in for something else."""
    private = [Path(folder).resolve() for folder in IN_MEMORY if Path(folder).is_dir()]
    places = placed(rules, private)
    over = outermost({*private, *shut(places)})
    masks = {Path(name): Place(mount.source, False) for mount in allowed.masks(spec) for name in names(mount.target)}
    line: list[str] = []
    for path, place in kept(places, over, masks):
        line += ["--keep", "write" if place.writable else "read", str(place.source), str(path)]
    for folder in over:
        if folder in private:
            line += ["--private", str(folder), str(spec.limits.memory_bytes // SHARE), str(spec.limits.files)]
        else:
            line += ["--hide", str(folder)]
    return line


def names(path: str) -> set[str]:
    """A path as it was given, and its real one: links on the way may be covered."""
    return {os.path.abspath(path), os.path.realpath(path)}  # noqa: PTH100 (that would follow links)


def placed(rules: Iterable[tuple[str, str]], private: Iterable[Path]) -> dict[Path, Place]:
    """Where everything is that is allowed."""
    found: dict[Path, Place] = {}
    for how, path in rules:
        for name in names(path):
            place = Path(name)
            if place not in private and place.exists():
                writable = how.startswith("write") or (place in found and found[place].writable)
                found[place] = Place(place, writable)
    return found


def shut(places: Iterable[Path]) -> set[Path]:
    """Folders on the way to `places` that other users cannot enter."""
    ways = {folder for path in places for folder in path.parents}
    return {folder for folder in ways if folder.exists() and not folder.stat().st_mode & 0o001}


def outermost(folders: Iterable[Path]) -> list[Path]:
    """Those that lie in no other, in order."""
    found = set(folders)
    return sorted(folder for folder in found if not found & set(folder.parents))


def kept(places: dict[Path, Place], over: Iterable[Path], masks: dict[Path, Place]) -> list[tuple[Path, Place]]:
    """What is to be put at or below covered folders, and what stands in for something else, parents first.

    What lies in a folder that is put there comes with it; it is put there by itself only if it is for writing, or if
    something else stands in for that folder.
    """
    covered = {*over, *masks}
    below = {path: place for path, place in (places | masks).items() if covered & {path, *path.parents}}
    chosen = {
        path: place
        for path, place in below.items()
        if place.writable or path in masks or masks.keys() & set(path.parents) or not below.keys() & set(path.parents)
    }
    return sorted(chosen.items(), key=lambda item: (len(item[0].parts), item[0]))
