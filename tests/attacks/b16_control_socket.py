# b16_control_socket
# MUST HAPPEN: the trial must not speak in the name of what keeps it
# EXPECT: none=depends landlock=BLOCKED namespace=BLOCKED
import ctypes
import json
import os
import socket
import stat

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


def speak(number):
    if not stat.S_ISSOCK(os.fstat(number).st_mode):
        return False
    return os.write(number, b"status 0\n")


def adopt(number):
    """pidfd_getfd: take a descriptor out of the parent."""
    return call(438, call(434, os.getppid(), 0), number, 0)


for number in range(3, 256):
    try:
        os.fstat(number)
    except OSError:
        continue
    attempt(f"speak on {number}", lambda n=number: speak(n))
for number in range(3, 12):
    attempt(f"adopt {number}", lambda n=number: adopt(n))
    attempt(
        f"open {number} of the parent",
        lambda n=number: os.open(f"/proc/{os.getppid()}/fd/{n}", os.O_WRONLY | os.O_NONBLOCK),
    )
attempt("what the harness holds", lambda: os.readlink(f"/proc/{T['ppid']}/fd/3"))
