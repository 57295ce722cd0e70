# b31_kernel_calls
# MUST HAPPEN: calls with a history of holes must not be there
# EXPECT: none=SUCCESS for root landlock=BLOCKED namespace=BLOCKED
import ctypes
import json
import os
import errno

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


def there(number, *arguments):
    """Whether the kernel looks at what it is asked, however senseless: EPERM and ENOSYS mean that it does not."""
    got = C.syscall(number, *arguments)
    if got < 0 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS, errno.EACCES):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return True


attempt("userfaultfd", lambda: call(323, 0))
attempt("bpf", lambda: there(321, 0, None, 0))
attempt("perf_event_open", lambda: there(298, None, 0, -1, -1, 0))
attempt("kexec_load", lambda: there(246, 0, 17, None, 1 << 30))
attempt("init_module", lambda: there(175, None, 0, None))
attempt("finit_module", lambda: there(313, -1, b"", 0))
attempt("kcmp", lambda: there(312, os.getpid(), T["pid"], 0, 0, 0))
attempt("quotactl", lambda: there(179, 0, None, 0, None))
attempt("acct", lambda: there(163, b"/nowhere"))
attempt("swapon", lambda: there(167, b"/nowhere", 0))
attempt("clock_settime", lambda: there(227, 0, (ctypes.c_long * 2)(-1, -1)))
attempt("syslog", lambda: there(103, 3, ctypes.create_string_buffer(64), 64))
attempt("fanotify_init", lambda: there(300, 0x4, 0))
