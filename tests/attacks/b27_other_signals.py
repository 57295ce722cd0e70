# b27_other_signals
# MUST HAPPEN: no signal to a process outside, by whatever call
# EXPECT: none=SUCCESS landlock=BLOCKED on ABI>=6, SUCCESS below namespace=BLOCKED(pidns)
import ctypes
import json
import os
import fcntl
import signal
import socket
import time

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


victim, USER = T["pid"], signal.SIGUSR2


def owner(of):
    """A socket whose owner is told of input by a signal: the kernel sends it, not we."""
    here, there = socket.socketpair()
    fcntl.fcntl(here, fcntl.F_SETOWN, of)
    fcntl.fcntl(here, 10, USER)  # F_SETSIG
    fcntl.fcntl(here, fcntl.F_SETFL, fcntl.fcntl(here, fcntl.F_GETFL) | os.O_ASYNC)
    there.send(b"x")
    time.sleep(0.2)
    return None  # what came of it shows outside


attempt("tgkill", lambda: call(234, victim, victim, USER) == 0)
attempt("tkill", lambda: call(200, victim, USER) == 0)
attempt("pidfd_send_signal", lambda: call(424, call(434, victim, 0), USER, None, 0) == 0)
attempt("rt_sigqueueinfo", lambda: call(129, victim, USER, (ctypes.c_int * 32)(USER, 0, -1)) == 0)
attempt("owner of a socket", lambda: owner(victim))
attempt("its group", lambda: os.killpg(os.getpgid(victim), USER) or True)
attempt("is it there", lambda: os.kill(T["ppid"], 0) or True)
