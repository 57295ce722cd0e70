"""Mounts of its own for the keeper and its program: folders with something else over them, and what stays within.

For the keeper, started by root, before it starts anything. Flags: `--hide FOLDER` (an empty folder over it, which
everybody may enter and nobody change), `--private FOLDER BYTES FILES` (an empty one in memory over it, for everybody to
use), `--keep HOW SOURCE TARGET` (what of the outside is seen, and where: what stays in a covered folder, or stands in
for something else; HOW is `write` or, so that it cannot be changed, `read`). None of this is seen outside, and it ends
with the last process inside.

Sources: mount(2), mount_setattr(2), `linux/mount.h`; open_tree and move_mount are older than Landlock.
"""

# ruff: noqa: PTH103, PTH112, PTH120, PTH110
# (importing pathlib would double the start-up time)

import ctypes
import os
import struct

from sandbox.calls import system_call

UNSHARE, MOUNT = {"x86_64": 272, "aarch64": 97}, {"x86_64": 165, "aarch64": 40}
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442  # on every machine
CLONE_NEWNS = 0x20000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_REC, MS_PRIVATE = 1, 2, 4, 0x20, 0x4000, 0x40000
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV = 1, 2, 4
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH = 1, 4

Flags = dict[str, list[list[str]]]


def arrange(flags: Flags) -> None:
    """Does what the flags say.

    Raises:
        OSError: it cannot be done; the message says what.
    """
    system_call("getting mounts of its own", UNSHARE[os.uname().machine], CLONE_NEWNS)
    mount("keeping mounts apart", "/", MS_REC | MS_PRIVATE)
    os.chdir("/")  # not in a folder that is about to vanish
    mask = os.umask(0o022)
    kept = [(target, taken(how, source)) for how, source, target in flags["--keep"]]
    for (folder,) in flags["--hide"]:
        mount(f"hiding {folder}", folder, MS_NOSUID | MS_NODEV, "mode=755,size=64k")
    for folder, size, files in flags["--private"]:
        mount(f"covering {folder}", folder, MS_NOSUID | MS_NODEV, f"mode=1777,size={size},nr_inodes={files}")
    for path, tree in kept:
        put(path, tree)
    for (folder,) in flags["--hide"]:
        mount(f"closing {folder}", folder, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.umask(mask)


def mount(what: str, target: str, options: int, data: str | None = None) -> None:
    """Calls mount(2): a file system in memory, where there is `data` for it."""
    kind = None if data is None else b"tmpfs"
    told = None if data is None else data.encode()
    system_call(what, MOUNT[os.uname().machine], kind, os.fsencode(target), kind, options, told)


def taken(how: str, path: str) -> int:
    """A copy of what is mounted at and below `path`, not in any place yet: its descriptor."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | AT_RECURSIVE
    tree = system_call(f"taking {path}", OPEN_TREE, AT_FDCWD, os.fsencode(path), flags)
    about = ATTR_NOSUID | ATTR_NODEV | (ATTR_RDONLY if how == "read" else 0)
    attributes = ctypes.c_char_p(struct.pack("=QQQQ", about, 0, 0, 0))
    system_call(f"guarding {path}", MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH | AT_RECURSIVE, attributes, 32)
    return tree


def put(path: str, tree: int) -> None:
    """Puts it where it is to be seen; the folders on the way are everybody's to enter."""
    if not os.path.exists(path):
        if os.path.isdir(f"/proc/self/fd/{tree}"):
            os.makedirs(path)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
    system_call(f"keeping {path}", MOVE_MOUNT, tree, b"", AT_FDCWD, os.fsencode(path), MOVE_MOUNT_F_EMPTY_PATH)
    os.close(tree)
