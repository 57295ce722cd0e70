# b13_respawner
# MUST HAPPEN: processes that keep forking, hide their environment and change session must be dead after the run
# EXPECT: all levels: BLOCKED (dead after the run)
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
import os, sys, time
n = 0
while True:
    if os.fork():
        os._exit(0)
    os.setsid()
    n += 1
    if n % 20 == 0:
        open(sys.argv[1], 'w').write(str(n))
    time.sleep(0.002)
"""
for k in range(4):
    if os.fork() == 0:
        for number in (1, 2, 3, 15):
            signal.signal(number, signal.SIG_IGN)
        os.setsid()
        if os.fork():
            os._exit(0)
        os.chdir("/")
        os.closerange(0, 64)
        beat = f"{T['work']}/heartbeat_{k}"
        os.execve(sys.executable, ["kworker/u8:1", "-I", "-S", "-c", CODE, beat], {})
time.sleep(0.5)
print("main leaves")
