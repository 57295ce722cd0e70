# b32_dotfiles
# MUST HAPPEN: nothing that the user's shell, editor, git or scheduler runs may be planted
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


def plant(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a") as file:
        file.write("# planted by an attack\n")
    os.chmod(path, 0o755)
    return path


runs = os.path.dirname(T["work"])
for path in (
    T["home"] + "/.bashrc",
    T["home"] + "/.config/systemd/user/attack.service",
    T["home"] + "/.gitconfig",
    T["home"] + "/.ssh/authorized_keys",
    T["harness"] + "/.git/config",
    T["harness"] + "/.git/hooks/post-commit",
    runs + "/.git/hooks/pre-commit",
    runs + "/.git/config",
    T["harness"] + "/.vscode/tasks.json",
):
    attempt("plant " + path, lambda p=path: plant(p))
