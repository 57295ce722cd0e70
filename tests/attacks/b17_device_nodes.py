# b17_device_nodes
# MUST HAPPEN: no node of a device can be made, and none but harmless ones opened
# EXPECT: none=SUCCESS for root landlock=BLOCKED namespace=BLOCKED
import json
import os
import glob
import stat

T = json.loads(os.environ["ATTACK_TARGETS"])


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


def make(kind, major, minor):
    path = f"{T['work']}/node-{major}-{minor}"
    os.mknod(path, kind | 0o600, os.makedev(major, minor))
    try:
        with open(path, "rb", buffering=0) as node:
            return len(node.read(16))
    finally:
        os.unlink(path)


def opened(path, how):
    os.close(os.open(path, how | os.O_NONBLOCK | os.O_NOCTTY))
    return path


where = os.stat(T["lib"]).st_dev
attempt("the disk itself", lambda: make(stat.S_IFBLK, os.major(where), os.minor(where)))
attempt("/dev/mem", lambda: make(stat.S_IFCHR, 1, 1))
attempt("/dev/kmsg", lambda: make(stat.S_IFCHR, 1, 11))
for name in (
    "mem",
    "kmsg",
    "kvm",
    "fuse",
    "net/tun",
    "vhost-vsock",
    "loop-control",
    "userfaultfd",
    "btrfs-control",
    "uinput",
):
    attempt("open /dev/" + name, lambda n=name: opened("/dev/" + n, os.O_RDWR))
for path in (*glob.glob("/dev/[svx]d[a-z]"), *glob.glob("/dev/nvme*"), *glob.glob("/dev/loop*")):
    attempt("open " + path, lambda p=path: opened(p, os.O_RDONLY))
for path in glob.glob("/dev/pts/[0-9]*"):
    attempt("open " + path, lambda p=path: opened(p, os.O_WRONLY))
