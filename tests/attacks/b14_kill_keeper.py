# b14_kill_keeper
# MUST HAPPEN: killing whatever keeps the trial must not set its processes free
# EXPECT: none=depends landlock=BLOCKED namespace=BLOCKED
import json
import os
import signal
import sys
import time

T = json.loads(os.environ["ATTACK_TARGETS"])


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


CODE = """
import sys, time
while True:
    open(sys.argv[1], 'w').write(str(time.monotonic())); time.sleep(0.02)
"""
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    os.closerange(0, 64)
    os.execve(sys.executable, ["kworker/u8:2", "-I", "-S", "-c", CODE, T["work"] + "/heartbeat"], {})
time.sleep(0.3)


def parent(pid):
    return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])


pid = os.getppid()
if not os.path.exists(f"/proc/{T['pid']}"):  # a process namespace of our own: its first process is no init of others
    for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGSEGV):
        attempt(f"signal {number} to the first and second", lambda n=number: os.kill(1, n) or os.kill(2, n))
    attempt("all but the first", lambda: os.kill(-1, signal.SIGSTOP))
while pid not in (0, 1, T["ppid"]):
    above = parent(pid)
    attempt(f"kill {pid}", lambda p=pid: os.kill(p, signal.SIGKILL) or True)
    pid = above
time.sleep(0.5)
