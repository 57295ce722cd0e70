# b33_left_in_work
# MUST HAPPEN: what a trial leaves in its work folder must not be imported, run or followed by the harness
# EXPECT: all levels: harmless (nothing there is imported, run or followed)
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


code = f"open({T['harness'] + '/planted_ran'!r}, 'w').write('yes')\n"
for name in ("sitecustomize", "usercustomize", "numpy", "torch", "json", "sandbox", "agent", "click", "psutil", "git"):
    with open(f"{T['work']}/{name}.py", "w") as file:
        file.write(code)
for name in (".env", "pyvenv.cfg", "python._pth", ".pdbrc", "conftest.py", "setup.cfg", ".gitattributes", "libc.so.6"):
    with open(f"{T['work']}/{name}", "w") as file:
        file.write("LD_PRELOAD=./libc.so.6\n")
for name in os.listdir(T["work"]):
    whole = f"{T['work']}/{name}"
    if os.path.isdir(whole) and not os.path.islink(whole):
        attempt("swap " + name, lambda w=whole: os.rename(w, w + "-away") or os.symlink(T["harness"], w))
os.makedirs(T["work"] + "/out", exist_ok=True)
for name, target in (("model.pt", T["home"] + "/.ssh/id_rsa"), ("log", T["harness"] + "/prepare.py")):
    attempt("link " + name, lambda n=name, t=target: os.symlink(t, f"{T['work']}/out/{n}"))
deep = T["work"]
for _ in range(60):
    deep += "/" + "d" * 60
    if len(deep) < 3800:
        os.mkdir(deep)
os.mkdir(T["work"] + "/closed", 0o000)
os.mkfifo(T["work"] + "/out/metrics.json")
open(T["work"] + "/bad\udcff\nname\x1b[2J", "w").close()
