# b08_kernel_settings
# MUST HAPPEN: no setting of the kernel may be writable
# EXPECT: none=SUCCESS for root landlock=BLOCKED namespace=BLOCKED
import ctypes
import json
import os
import glob

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


def opened(path):
    """Open for writing is enough: nothing is written."""
    os.close(os.open(path, os.O_WRONLY))
    return path


for path in (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/self/../sys/kernel/core_pattern",
    "/proc/thread-self/../../sys/kernel/core_pattern",
    "/sys/kernel/uevent_helper",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/proc/irq/default_smp_affinity",
    *glob.glob("/sys/fs/cgroup/*/release_agent"),
    *glob.glob("/sys/fs/cgroup/*/cgroup.procs"),
    *glob.glob("/proc/sys/net/ipv4/ip_forward"),
):
    attempt("open " + path, lambda p=path: opened(p))
attempt("sethostname", lambda: call(170, os.uname().nodename.encode(), len(os.uname().nodename)) or True)
