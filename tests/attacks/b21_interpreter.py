# b21_interpreter
# MUST HAPPEN: the interpreter and the libraries that every trial runs must not change
# EXPECT: none=depends landlock=BLOCKED namespace=BLOCKED
import json
import os
import sys

T = json.loads(os.environ["ATTACK_TARGETS"])


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


def opened(path):
    os.close(os.open(path, os.O_WRONLY))
    return path


def nameless(folder):
    os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))
    return folder


def later():
    """The way of CVE-2019-5736: hold it by a path descriptor, open it for writing when nothing runs it."""
    number = os.open("/proc/self/exe", os.O_PATH)
    return opened(f"/proc/self/fd/{number}")


def of_the_keeper():
    return opened(f"/proc/{os.getppid()}/exe")


attempt("itself", lambda: opened("/proc/self/exe"))
attempt("itself, later", later)
attempt("that of the keeper", of_the_keeper)
attempt("where it lies", lambda: nameless(os.path.dirname(os.path.realpath(sys.executable))))
attempt("a library", lambda: opened(next(line.split()[-1] for line in open("/proc/self/maps") if "libc.so" in line)))
for folder in ("/usr/bin", "/usr/local/bin", "/usr/local/lib", "/etc", "/lib", "/opt"):
    attempt("something in " + folder, lambda f=folder: nameless(f))
