# b12_setuid_program
# MUST HAPPEN: a program with the set-uid bit must not run as its owner
# EXPECT: none=depends landlock=BLOCKED namespace=BLOCKED
import json
import os
import shutil
import subprocess
import time

T = json.loads(os.environ["ATTACK_TARGETS"])


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


def as_owner(program, *arguments):
    """Whether the kernel gives a process of this program another user than ours."""
    with subprocess.Popen([program, *arguments], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        time.sleep(0.1)
        try:
            status = open(f"/proc/{child.pid}/status").read()
        finally:
            child.kill()
    users = next(line.split()[1:] for line in status.splitlines() if line.startswith("Uid:"))
    return users[1] != str(os.getuid())


def own():
    """Our own set-uid copy is of no use to us, but it would be to others on the machine."""
    shutil.copy("/bin/sh", T["work"] + "/shell")
    os.chmod(T["work"] + "/shell", 0o4755)
    return os.getuid() == 0 and os.stat(T["work"] + "/shell").st_mode & 0o4000 != 0


for name in ("su", "passwd", "mount", "sudo", "newgrp"):
    attempt(name, lambda n=name: as_owner(shutil.which(n)))
attempt("a set-uid program of root's left behind", own)
attempt("become root", lambda: os.getuid() != 0 and (os.setuid(0) or True))
attempt("become another", lambda: os.setresuid(12345, 12345, 12345) or True)
