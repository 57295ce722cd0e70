# b15_stop_keeper
# MUST HAPPEN: stopping whatever keeps the trial must not stop the clock
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


def parent(pid):
    return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])


if not os.path.exists(f"/proc/{T['pid']}"):  # a process namespace of our own
    for pid in (1, 2):
        attempt(f"stop {pid}", lambda p=pid: p != os.getpid() and os.kill(p, signal.SIGSTOP))
above = [os.getppid()]
while above[-1] not in (0, 1, T["ppid"]):
    above.append(parent(above[-1]))
for pid in above[:-1]:
    attempt(f"stop {pid}", lambda p=pid: os.kill(p, signal.SIGSTOP) or True)
end = time.monotonic() + 0.7
while time.monotonic() < end:
    open(T["work"] + "/heartbeat", "w").write(str(time.monotonic()))
    time.sleep(0.02)
