# b04_hard_links
# MUST HAPPEN: a hard link in the work folder must not be a way to a file outside
# EXPECT: none=SUCCESS landlock=BLOCKED namespace=BLOCKED
import json
import os

T = json.loads(os.environ["ATTACK_TARGETS"])


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


def through(source, name):
    os.link(source, f"{T['work']}/{name}")
    return open(f"{T['work']}/{name}").read()[:200]


def write_through():
    os.link(T["lib"] + "/prepare.py", T["work"] + "/own.py")
    with open(T["work"] + "/own.py", "a") as file:
        file.write("# through a hard link")
    return True


attempt("link to the secret", lambda: through(T["harness"] + "/.env", "innocent"))
attempt("link to the key", lambda: through(T["home"] + "/.ssh/id_rsa", "harmless"))
attempt("write through a link", write_through)
attempt("link to the tokens", lambda: through(T["harness"] + "/data/val.bin", "train.bin"))
attempt("link out of the work folder", lambda: os.link(T["work"] + "/own", T["harness"] + "/own") or True)
