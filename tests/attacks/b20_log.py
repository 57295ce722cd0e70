# b20_log
# MUST HAPPEN: the kept output and what lies beside the work folder must be out of reach
# EXPECT: none=SUCCESS landlock=BLOCKED namespace=BLOCKED(writes land on private tmpfs at most)
import json
import os
import fcntl

T = json.loads(os.environ["ATTACK_TARGETS"])


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


beside = os.path.dirname(T["work"])


def names():
    return [name for name in os.listdir(beside) if name != os.path.basename(T["work"])] or None


def remove_all():
    gone = []
    for folder, _, files in os.walk(beside):
        if not folder.startswith(T["work"]):
            for name in files:
                os.unlink(f"{folder}/{name}")
                gone.append(name)
    return gone or None


print("an honest line", flush=True)
attempt("list", names)
attempt("remove", remove_all)
attempt("cut off what was said", lambda: os.ftruncate(1, 0) or True)
fcntl.fcntl(1, fcntl.F_SETFL, os.O_NONBLOCK)  # shared with whoever holds the same end of the pipe
fcntl.fcntl(2, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)
print("another honest line", flush=True)
os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
