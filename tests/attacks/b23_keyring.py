# b23_keyring
# MUST HAPPEN: the kernel's keyrings of the user must be out of reach
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


def note():
    key = call(248, b"user", b"attack-note", b"it worked", 9, -4)  # into the user's keyring
    call(250, 15, key, 5)  # gone after five seconds
    return key


attempt("leave a note", note)
attempt("read it", lambda: call(249, b"user", b"attack-note", None, 0))
attempt("join a session", lambda: call(250, 1, b"attack"))
