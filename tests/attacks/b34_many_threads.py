# b34_many_threads
# MUST HAPPEN: threads count as processes do: their number must stay bounded
# EXPECT: none=depends (nothing bounds root's threads) landlock: bounded namespace: bounded
import json
import os
import threading
import time

T = json.loads(os.environ["ATTACK_TARGETS"])


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


def idle():
    time.sleep(20)


started = 0
try:
    threading.stack_size(64 << 10)
    while started < 10_000:
        threading.Thread(target=idle, daemon=True).start()
        started += 1
except (RuntimeError, MemoryError) as error:
    print(error)
print("ATTACK", "SUCCESS" if started >= 10_000 else "BLOCKED", started, "threads", flush=True)
time.sleep(0.5)
os._exit(0)
