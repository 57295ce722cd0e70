# b26_limits_of_others
# MUST HAPPEN: limits, priority and processors of processes outside must not change
# EXPECT: none=SUCCESS landlock=BLOCKED namespace=BLOCKED
import ctypes
import json
import os
import resource

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


victim = T["pid"]


def write(path, text):
    """At once: a buffered write would fail only later, unseen."""
    return os.write(os.open(path, os.O_WRONLY), text)


for what, act in {
    "open files": lambda: resource.prlimit(victim, resource.RLIMIT_NOFILE, (64, 64)) or True,
    "core": lambda: resource.prlimit(victim, resource.RLIMIT_CORE, (0, 0)) or True,
    "priority": lambda: os.setpriority(os.PRIO_PROCESS, victim, 19) or True,
    "scheduler": lambda: os.sched_setscheduler(victim, os.SCHED_IDLE, os.sched_param(0)) or True,
    "processors": lambda: os.sched_setaffinity(victim, {min(os.sched_getaffinity(0))}) or True,
    "input and output": lambda: call(251, 1, victim, 3 << 13) == 0,
    "chosen first when memory is short": lambda: write(f"/proc/{victim}/oom_score_adj", b"1000"),
    "its name": lambda: write(f"/proc/{victim}/comm", b"pwned"),
    "those of the harness": lambda: resource.prlimit(T["ppid"], resource.RLIMIT_CORE) or True,
}.items():
    attempt(what, act)
