# b35_deaf_and_silent
# MUST HAPPEN: a program that ignores every signal and says nothing is ended by the clock
# EXPECT: all levels: timeout
import ctypes
import json
import os
import signal

T = json.loads(os.environ["ATTACK_TARGETS"])
C = ctypes.CDLL(None, use_errno=True)


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


# attack: the clock cannot be argued with
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
C.prctl(1, 0, 0, 0, 0)
os.closerange(0, 64)
while True:
    signal.pause()
