# b18_chmod_outside
# MUST HAPPEN: mode, owner, times and attributes of files outside must not change
# EXPECT: none=SUCCESS landlock=depends on the user (HOLE: Landlock mediates neither chmod nor utime of one's own files) namespace=BLOCKED
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


env, lib, key = T["harness"] + "/.env", T["lib"] + "/prepare.py", T["home"] + "/.ssh/id_rsa"
attempt("chmod", lambda: os.chmod(env, 0o666) or True)
attempt("chmod of a folder", lambda: os.chmod(T["home"] + "/.ssh", 0o777) or True)
attempt("chmod of what is mounted", lambda: os.chmod(lib, 0o777) or True)
attempt("chown", lambda: os.chown(key, os.getuid(), 12345) or True)
attempt("utime", lambda: os.utime(lib, (1, 1)) or True)
attempt("setxattr", lambda: os.setxattr(env, "user.attack", b"x") or True)
attempt("setxattr of what is mounted", lambda: os.setxattr(lib, "user.attack", b"x") or True)


def by_descriptor():
    number = os.open(lib, os.O_RDONLY)
    os.fchmod(number, 0o777)
    return True


attempt("fchmod of what is mounted", by_descriptor)
attempt("fchmodat2", lambda: call(452, -100, env.encode(), 0o666, 0) == 0)
