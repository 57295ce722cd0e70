# b28_memory_unmapped
# MUST HAPPEN: memory that no process maps (memfd, socket and pipe buffers) must count and be bounded
# EXPECT: all levels: BLOCKED (counted, or killed by the memory watchdog)
import json
import os
import time

T = json.loads(os.environ["ATTACK_TARGETS"])


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


block = b"x" * (8 << 20)
held = 0
for k in range(24):  # 3 GiB where 1 GiB is allowed
    number = os.memfd_create(f"m{k}")
    for _ in range(16):
        held += os.write(number, block)
time.sleep(1)
print("ATTACK", "SUCCESS" if held > 2 << 30 else "BLOCKED", "held", held >> 20, "MiB")
