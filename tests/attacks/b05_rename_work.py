# b05_rename_work
# MUST HAPPEN: the work folder must stay where it is, and what it is
# EXPECT: none=SUCCESS landlock=BLOCKED namespace=BLOCKED
import ctypes
import json
import os

T = json.loads(os.environ["ATTACK_TARGETS"])
C = ctypes.CDLL(None, use_errno=True)


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


work = T["work"]


def swap():
    os.rename(work, work + "-away")
    os.symlink(T["harness"], work)
    return True


def exchange():
    """renameat2 with RENAME_EXCHANGE: the work folder for the harness."""
    if C.renameat2(-100, work.encode(), -100, T["harness"].encode(), 2) < 0:
        raise OSError(ctypes.get_errno(), "renameat2")
    return True


attempt("exchange with the harness", exchange)
attempt("link in its place", swap)
attempt("remove it", lambda: os.rmdir(work) or True)
