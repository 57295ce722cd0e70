# b29_handles
# MUST HAPPEN: no file by its handle, past all paths
# EXPECT: none=SUCCESS for root landlock=BLOCKED namespace=BLOCKED
import ctypes
import json
import os

T = json.loads(os.environ["ATTACK_TARGETS"])
C = ctypes.CDLL(None, use_errno=True)


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


def call(number, *arguments):
    """A system call by its number (x86_64)."""
    got = C.syscall(number, *arguments)
    if got < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return got


def by_handle():
    """The root of the file system that holds the work folder: inode 2 of an ext4."""
    handle = (ctypes.c_uint32 * 34)(128, 0)
    mount = ctypes.c_int()
    call(303, -100, T["work"].encode(), handle, ctypes.byref(mount), 0)
    folder = os.open(T["work"], os.O_RDONLY)
    return call(304, folder, handle, os.O_RDONLY)


attempt("open_by_handle_at", by_handle)
