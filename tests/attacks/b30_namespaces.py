# b30_namespaces
# MUST HAPPEN: no new namespace by clone3, none of another process by setns, no mount by the new calls
# EXPECT: none=SUCCESS landlock=BLOCKED namespace=BLOCKED
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


def clone3(flags):
    arguments = (ctypes.c_uint64 * 11)(flags, 0, 0, 0, 17)
    child = call(435, arguments, 88)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return True


def write(path, text):
    """At once: a buffered write would fail only later, unseen."""
    return os.write(os.open(path, os.O_WRONLY), text)


def enter(flags):
    """setns into the namespaces of the victim. Ours stay, for a child does it."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(call(308, call(434, T["pid"], 0), flags))
        except OSError:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


attempt("clone3, user", lambda: clone3(0x10000000))
attempt("clone3, user and mount", lambda: clone3(0x10020000))
attempt("clone3, network", lambda: clone3(0x40000000))
attempt("enter user", lambda: enter(0x10000000))
attempt("enter mount", lambda: enter(0x00020000))
attempt("enter network", lambda: enter(0x40000000))
attempt("fsopen", lambda: call(430, b"tmpfs", 0))
attempt("open_tree", lambda: call(428, -100, b"/", 1))
attempt("chroot", lambda: os.getuid() == 0 and call(161, b"/") == 0)
attempt("umount", lambda: call(166, b"/nothing", 0) == 0)
attempt("keep capabilities", lambda: write("/proc/self/uid_map", b"0 0 1"))
