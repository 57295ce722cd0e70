# b19_inodes
# MUST HAPPEN: the number of files must stay bounded, in the work folder and in the temporary ones
# EXPECT: all levels: killed by the disk watchdog
import json
import os

T = json.loads(os.environ["ATTACK_TARGETS"])


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


made = 0
while made < 3_000_000:
    folder = f"{T['work']}/many/{made}"
    os.makedirs(folder)
    for k in range(1000):
        os.close(os.open(f"{folder}/{k}", os.O_CREAT | os.O_WRONLY))
    made += 1000
print("ATTACK SUCCESS made", made, "files")
