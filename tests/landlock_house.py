"""A machine in small and everything a trial might try against it, at the landlock level: run as a program, by any user.

`python landlock_house.py FORM ABI` prints one JSON object: what each attempt came to (an error's name, or what it got),
and what was seen of the house from outside afterwards.
"""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from sandbox.landlock import Landlock
from sandbox.spec import Limits, Mount, Phase, Spec, Watch
from sandbox.supervise import run

PLACE = Path("/var/tmp")  # not where a jail has a folder of its own
FORMS = {
    "mounts": {"own_user": True, "mounts": True},
    "user": {"own_user": True},
    "searching": {"own_user": True, "searching": True},
    "stay": {"root": os.geteuid() == 0},
}
ATTEMPTS = r"""
import ctypes, errno, fcntl, json, os, resource, signal, socket, struct
t = json.loads(os.environ["HOUSE"])
libc = ctypes.CDLL(None, use_errno=True)
out, secret, victim = t["folder"], t["folder"] + "/secret", t["victim"]
shown = out + "/shown"
old = struct.pack("=4q", 1, 0, 1, 0)  # two times, in either form
def call(numbers, *arguments):
    number = numbers if isinstance(numbers, int) else numbers[os.uname().machine == "aarch64"]
    if libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]) < 0:
        raise OSError(ctypes.get_errno(), "")
    return "done"
def mine(name="mine"):
    open(name, "w").close()
    return name
def sigio():
    a, b = socket.socketpair()
    fcntl.fcntl(a, fcntl.F_SETOWN, victim); fcntl.fcntl(a, 10, 15)
    fcntl.fcntl(a, fcntl.F_SETFL, os.O_ASYNC); b.send(b"x")
def path(place): return os.open(place, os.O_PATH)
def read(place): return os.open(place, os.O_RDONLY)
def link(place): return f"/proc/self/fd/{path(place)}"
def memfd():
    fd = os.memfd_create("x", 0)
    os.write(fd, open("/usr/bin/cat", "rb").read())
    return os.popen(f"/proc/self/fd/{fd} {secret} 2>&1").read() if not os.set_inheritable(fd, True) else ""
said = {}
for name, code in json.loads(os.environ["ATTEMPTS"]).items():
    try: said[name] = repr(eval(code))[:200]
    except OSError as error: said[name] = errno.errorcode.get(error.errno, "OSError")
    except Exception as error: said[name] = f"bug: {error!r}"
print("SAID " + json.dumps(said))
"""
TRIES = {
    "read": "open(secret).read()",
    "read by a descriptor's link": "open('/proc/self/fd/%d' % os.open(secret, os.O_PATH)).read()",
    "read by the root of itself": "open('/proc/self/root' + secret).read()",
    "read by a handle": "call((304, 265), -100, ctypes.create_string_buffer(200), 0)",
    "read from its folder": "(os.chdir(out), open('secret').read(), os.chdir(t['work']))",
    "read by another program": "os.popen('cat ' + secret).read() or os.strerror(1) and open(secret)",
    "read by a program in memory": "memfd() if 'SECRET' in memfd() else open(secret)",
    "read by io_uring": "call(425, 4, ctypes.create_string_buffer(200))",
    "openat2": "call(437, -100, secret.encode(), ctypes.c_char_p(bytes(24)), 24)",
    "map": "os.open(secret, os.O_RDWR)",
    "list": "os.listdir(out)",
    "list the root": "os.listdir('/')",
    "list temporary files": "os.listdir('/tmp')",
    "watch a folder": "call((254, 27), call((294, 26), 0) and 3, out.encode(), 0xfff)",
    "users of the machine": "open('/etc/passwd').read(20)",
    "write": "open(out + '/new', 'w')",
    "append": "open(secret, 'a')",
    "truncate": "os.truncate(secret, 0)",
    "truncate by opening to read": "os.open(secret, os.O_RDONLY | os.O_TRUNC)",
    "truncate with no mode": "os.open(secret, 3 | os.O_TRUNC)",
    "creat": "os.open(secret, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)",
    "link in": "os.link(secret, 'got')",
    "move in": "os.rename(secret, 'got')",
    "link out": "os.link(mine(), out + '/mine')",
    "move out": "os.rename(mine(), out + '/mine')",
    "symbolic link outside": "os.symlink('x', out + '/symbolic')",
    "folder outside": "os.mkdir(out + '/made')",
    "pipe outside": "os.mkfifo(out + '/pipe')",
    "remove": "os.unlink(secret)",
    "file in /tmp": "open('/tmp/new-' + t['name'], 'w')",
    "device in the work folder": "os.mknod('device', 0o20666, os.makedev(1, 1))",
    "socket outside": "socket.socket(socket.AF_UNIX).bind(out + '/bound')",
    "attribute": "os.setxattr(secret, 'user.x', b'1')",
    "environment of another": "open(f'/proc/{victim}/environ').read()",
    "memory of another": "open(f'/proc/{victim}/mem', 'rb')",
    "map of another": "open(f'/proc/{victim}/maps').read() or open(secret)",
    "file of another": "open(f'/proc/{victim}/fd/0').read()",
    "folder of another": "open(f'/proc/{victim}/cwd/secret').read()",
    "root of another": "os.listdir(f'/proc/{victim}/root/')",
    "environment of the keeper": "open(f'/proc/{os.getppid()}/environ').read()",
    "ptrace": "call((101, 117), 16, victim, 0, 0)",
    "process_vm_readv": "call((310, 270), victim, 0, 0, 0, 0, 0)",
    "pidfd_getfd": "call(438, os.pidfd_open(victim), 0, 0)",
    "signal": "os.kill(victim, 15)",
    "signal by descriptor": "signal.pidfd_send_signal(os.pidfd_open(victim), 15)",
    "signal the keeper": "os.kill(os.getppid(), 0)",
    "signal by input": "sigio()",  # fails in silence: the victim tells
    "limits of another": "resource.prlimit(victim, resource.RLIMIT_CPU, (0, 0))",
    "priority of another": "os.setpriority(os.PRIO_PROCESS, victim, 5)",
    "priority of its user": "os.setpriority(os.PRIO_USER, os.getuid(), 5) if t['shared'] else open(secret)",
    "processors of another": "os.sched_setaffinity(victim, {min(os.sched_getaffinity(0))})",
    "scheduler of another": "os.sched_setscheduler(victim, os.SCHED_BATCH, os.sched_param(0))",
    "disk priority of another": "call((251, 30), 1, victim, 3 << 13)",
    "name of another": "open(f'/proc/{victim}/comm', 'w')",
    "make another the first to die": "open(f'/proc/{victim}/oom_score_adj', 'w')",
    "TCP": "socket.create_connection(('127.0.0.1', t['port']), 1)",
    "UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', t['port']))",
    "IPv6": "socket.socket(socket.AF_INET6)",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "vsock": "socket.socket(40, socket.SOCK_STREAM)",
    "raw": "socket.socket(17, socket.SOCK_RAW)",
    "abstract socket": "socket.socket(socket.AF_UNIX).connect('\\0' + t['abstract'])",
    "abstract datagram": "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', '\\0' + t['abstract'] + 'd')",
    "TIOCSTI": "fcntl.ioctl(0, 0x5412, b'x')",
    "terminal": "os.open('/dev/tty', os.O_RDWR)",
    "new terminal": "os.open('/dev/ptmx', os.O_RDWR)",
    "kernel messages": "os.open('/dev/kmsg', os.O_RDONLY)",
    "host name": "open('/proc/sys/kernel/hostname', 'w')",
    "core pattern": "open('/proc/sys/kernel/core_pattern', 'w')",
    "sysrq": "open('/proc/sysrq-trigger', 'w')",
    "user namespace": "call((272, 97), 0x10000000)",
    "mount namespace": "call((272, 97), 0x20000)",
    "clone3": "call(435, ctypes.create_string_buffer(88), 88)",
    "32-bit twin": "call(0x40000027)",
    "mount": "call((165, 40), b'a', b'/tmp', b'tmpfs', 0, 0)",
    "chroot": "os.chroot('.')",
    "become root": "os.setuid(0) or os.getuid() or 'root'",
    "a set-user-id program": "'euid=0' in os.popen('su -c id 2>&1; id').read() or open(secret)",
    "keys": "call((250, 219), 0, -3, 0)",
    "bpf": "call((321, 280), 0, 0, 0)",
    "perf": "call((298, 241), 0, 0, -1, -1, 0)",
    "shared memory of System V": "call((29, 194), 0, 4096, 0o1666)",
    "message queue": "call((240, 180), b'q', 0o102, 0o600, 0)",
    "shared memory of others": "open('/dev/shm/' + t['name']).read()",
    "change modes": "os.chmod(secret, 0o777)",
    "change modes of a folder": "os.chmod(out, 0o700)",
    "change modes by a descriptor's link": "os.chmod(link(secret), 0o777)",
    "change modes by a relative path": "(os.chdir(out), os.chmod('secret', 0), os.chdir(t['work']))",
    "change modes by fchmodat": "call((268, 53), -100, secret.encode(), 0o777)",
    "change modes by fchmodat2": "call(452, -100, secret.encode(), 0o777, 0)",
    "change modes by a descriptor of a path": "call(452, path(secret), b'', 0o777, 0x1000)",
    "change modes of what is shown": "os.fchmod(read(shown), 0o777)",
    "change times": "os.utime(secret, (1, 1))",
    "change times to now": "os.utime(secret)",
    "change times by a descriptor's link": "os.utime(link(secret), (1, 1))",
    "change times of a link": "os.utime(secret, (1, 1), follow_symlinks=False)",
    "change times of what is shown": "os.utime(read(shown), (1, 1))",
    "change times of what is shown to now": "os.utime(read(shown))",
    "change times by a descriptor of a path": "call((280, 88), path(secret), b'', old, 0x1000)",
    "change times by utime": "call((132, -1), secret.encode(), old)",
    "change times by utimes": "call((235, -1), secret.encode(), old)",
    "change times by futimesat": "call((261, -1), -100, secret.encode(), old)",
    "change times of what is shown by futimesat": "call((261, -1), read(shown), 0, old)",
    "owner": "os.chown(secret, -1, os.getgid())",
    "owner of a link": "os.lchown(secret, -1, os.getgid())",
    "owner of what is shown": "os.fchown(read(shown), -1, os.getgid())",
    "flags of what is shown": "fcntl.ioctl(read(shown), 0x40086602, struct.pack('l', 0x40))",
    "verity of what is shown": "fcntl.ioctl(read(shown), 0x40806685, struct.pack('3I', 1, 1, 4096) + bytes(116))",
    "attribute of what is shown": "os.setxattr(read(shown), 'user.x', b'1')",
    "socket in the file system": "socket.socket(socket.AF_UNIX).connect(out + '/socket')",
}


@contextlib.contextmanager
def house():
    """What is attacked, and by which names the attacker knows it."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=PLACE)))
        folder.chmod(0o755)
        (folder / "work").mkdir()
        (folder / "shown").write_text("SHOWN")
        (folder / "shown").chmod(0o644)
        (folder / "secret").write_text("SECRET")
        (folder / "secret").chmod(0o600)
        shared = Path("/dev/shm") / folder.name
        shared.write_text("SECRET")
        shared.chmod(0o600)
        stack.callback(shared.unlink)
        for address, kind in (
            (str(folder / "socket"), socket.SOCK_STREAM),
            (f"\0{folder.name}", socket.SOCK_STREAM),
            (f"\0{folder.name}d", socket.SOCK_DGRAM),
        ):
            server = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
            server.bind(address)
            if kind == socket.SOCK_STREAM:
                server.listen()
        port = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        stdin = stack.enter_context((folder / "secret").open())
        victim = subprocess.Popen(["/usr/bin/sleep", "100"], cwd=folder, env={"KEY": "SECRET"}, stdin=stdin)
        stack.callback(victim.wait)
        stack.callback(victim.kill)
        names = {"folder": str(folder), "work": str(folder / "work"), "name": folder.name}
        yield folder, victim, {**names, "victim": victim.pid, "port": port, "abstract": folder.name}


def limits(pid: int) -> list[str]:
    """The limits of processor time of a process; nothing when it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/limits").read_text().splitlines()[1].split()[3:5]
    return []


def states(folder: Path) -> dict:
    """What may not change of its files."""
    found = {path.name: path.stat() for path in (folder / "secret", folder / "shown") if path.exists()}
    seen = {name: (one.st_mode, one.st_uid, one.st_gid, one.st_size, one.st_mtime_ns) for name, one in found.items()}
    return {**seen, "folder": folder.stat().st_mode, "lsattr": flags(folder / "shown")}


def flags(path: Path) -> int:
    """The flags of a file (FS_IOC_GETFLAGS); 0 where its disk has none."""
    with contextlib.suppress(OSError), path.open() as file:
        return int.from_bytes(fcntl.ioctl(file, 0x80086601, bytes(8))[:4], "little")
    return 0


def main(form: str, abi: int) -> dict:
    """One run of all attempts."""
    jail = Landlock(abi, **FORMS[form])
    with house() as (folder, victim, names):
        before, was = set(folder.iterdir()), states(folder)
        mounts = (Mount(folder / "shown", str(folder / "shown")),)
        lines: list[str] = []
        env = {"HOUSE": json.dumps({**names, "shared": not jail.own_user}), "ATTEMPTS": json.dumps(TRIES)}
        (folder / "work/train.py").write_text(ATTEMPTS)
        spec = Spec(("python", "train.py"), folder / "work", env, ((Phase.TRAIN, 60.0),), Limits(2**30), mounts)
        log = Path(tempfile.mkdtemp(dir=PLACE)) / "log"
        try:
            evidence = run(spec, jail, Watch(log, lines.append))
        finally:
            shutil.rmtree(log.parent)
        said = next((line[5:] for line in lines if line.startswith("SAID ")), "{}")
        return {
            "said": json.loads(said),
            "lines": lines[-5:] if said == "{}" else [],
            "status": evidence.wait_status,
            "names": sorted(path.name for path in set(folder.iterdir()) ^ before),
            "left": [path for path in (f"/tmp/new-{folder.name}",) if Path(path).exists()],
            "secret": (folder / "secret").read_text() if (folder / "secret").exists() else None,
            "changed": sorted(name for name, state in was.items() if states(folder).get(name) != state),
            "alive": victim.poll() is None,
            "limits": limits(victim.pid),
        }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
