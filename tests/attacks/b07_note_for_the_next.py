# b07_note_for_the_next
# MUST HAPPEN: no note may stay behind for the next trial, outside of the work folder
# EXPECT: none/landlock: real /dev/shm is reachable (swept where the trial has a user of its own) namespace=BLOCKED(private tmpfs, own IPC namespace) at most on tmpfs
import ctypes
import json
import os
from glob import glob

T = json.loads(os.environ["ATTACK_TARGETS"])
C = ctypes.CDLL(None, use_errno=True)


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False, []) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


def call(number, *arguments):
    """A system call by its number (x86_64)."""
    got = C.syscall(number, *arguments)
    if got < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return got


MARK = "attack-note-for-the-next"
TOKEN = T["asock"].rpartition("-")[2]  # marks what is ours, for those who clean up
NAME, KEY = f"{MARK}-{TOKEN}", int(TOKEN[-8:], 16)
for folder in ("/dev/shm", "/tmp", "/var/tmp", "/run/lock", "/run/shm", os.environ.get("TMPDIR", "/tmp")):
    attempt(f"a note from the last one in {folder}", lambda f=folder: [open(p).read() for p in glob(f"{f}/{MARK}*")])
    attempt(f"a note in {folder}", lambda f=folder: open(f"{f}/{NAME}", "w").write("it worked"))
attempt("System V shared memory", lambda: call(29, KEY, 4096, 0o1666) or True)
attempt("System V message queue", lambda: call(68, KEY, 0o1666) or True)
attempt("POSIX message queue", lambda: call(240, NAME.encode(), os.O_CREAT | os.O_RDWR, 0o666, None) or True)
attempt("remove that again", lambda: call(241, NAME.encode()))  # nobody could see it from outside
