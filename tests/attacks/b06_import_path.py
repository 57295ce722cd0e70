# b06_import_path
# MUST HAPPEN: nothing may be planted where the next trial or the harness imports from
# EXPECT: none=SUCCESS landlock=BLOCKED namespace=BLOCKED
import json
import os
import sys
import sysconfig

T = json.loads(os.environ["ATTACK_TARGETS"])


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


def plant(folder, name="attack_planted.pth"):
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{name}", "w") as file:
        file.write("# a line that begins with import would run at every start\n")
    return True


def nameless(folder):
    """A file without a name: shows that one could be made, and leaves nothing."""
    os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))
    return folder


version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
attempt("user's site-packages", lambda: plant(f"{T['home']}/.local/lib/{version}/site-packages"))
attempt("beside the protected module", lambda: plant(T["lib"], "sitecustomize.py"))
attempt(
    "bytecode of the protected module", lambda: plant(T["lib"] + "/__pycache__", f"prepare.cpython-{version[6:]}.pyc")
)
attempt("in the harness", lambda: plant(T["harness"], "sitecustomize.py"))
attempt("site-packages", lambda: nameless(sysconfig.get_path("purelib")))
attempt("standard library", lambda: nameless(sysconfig.get_path("stdlib")))
attempt("standard library, a module", lambda: os.close(os.open(json.__file__, os.O_WRONLY)) or json.__file__)
