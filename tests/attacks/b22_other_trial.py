# b22_other_trial
# MUST HAPPEN: the checkpoints of other trials must not be readable, nor passed off as one's own
# EXPECT: none=SUCCESS landlock=BLOCKED namespace=BLOCKED
import json
import os
import shutil

T = json.loads(os.environ["ATTACK_TARGETS"])


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


runs = os.path.dirname(T["work"])


def take():
    for name in os.listdir(runs):
        theirs = f"{runs}/{name}"
        if theirs != T["work"] and os.path.isdir(theirs):
            for folder, _, files in os.walk(theirs):
                for file in (name for name in files if name.endswith(".pt")):
                    os.makedirs(T["work"] + "/out", exist_ok=True)
                    shutil.copy(f"{folder}/{file}", T["work"] + "/out/model.pt")
                    return open(T["work"] + "/out/model.pt", "rb").read()


def change():
    for folder, _, files in os.walk(runs):
        if not folder.startswith(T["work"]):
            for file in (name for name in files if name.endswith(".pt")):
                with open(f"{folder}/{file}", "ab") as theirs:
                    theirs.write(b"poison")
                return True


attempt("take", take)
attempt("poison", change)
