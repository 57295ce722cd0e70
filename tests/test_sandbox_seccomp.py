"""The filter of system calls: its numbers, its judgement (interpreted, for both machines), and itself in force here."""

import errno
import platform
import re
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import seccomp
from sandbox.spec import SandboxError

ROOT = Path(__file__).resolve().parents[1]
HERE = platform.machine()
GENERIC = Path("/usr/include/asm-generic/unistd.h")
X86 = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
both = pytest.mark.parametrize("machine", sorted(seccomp.MACHINES))


def judge(program, machine, call, *args, arch=None):
    """Interprets the program on one system call, as the kernel would; the answer as a word."""
    column, own = seccomp.MACHINES[machine]
    number = call if isinstance(call, int) else (seccomp.DENIED | seccomp.JUDGED)[call][column]
    words = [number, own if arch is None else arch, 0, 0]
    for value in (*args, 0, 0, 0, 0, 0, 0)[:6]:
        words += [value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF]
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at, loaded = 0, 0
    while True:
        operation, yes, no, value = code[at]
        at += 1
        if operation == seccomp.RETURN:
            known = {seccomp.ALLOW: "allowed", seccomp.KILL: "killed"}
            return known.get(value) or errno.errorcode[value & 0xFFFF]
        if operation == seccomp.LOAD:
            loaded = words[value // 4]
        elif operation == seccomp.AND:
            loaded &= value
        else:
            tests = {seccomp.EQUAL: loaded == value, seccomp.AT_LEAST: loaded >= value}
            at += yes if tests.get(operation, bool(loaded & value)) else no


def header_numbers(header):
    found = dict(re.findall(r"^#define __NR_?(\w+)\s+(\d+)", header.read_text(), re.MULTILINE))
    return {name: int(number) for name, number in found.items()}


@pytest.mark.parametrize(("header", "column"), [(X86, 0), (GENERIC, 1)])
def test_every_number_is_that_of_the_kernels_headers(header, column):
    if not header.exists():
        pytest.skip(f"no {header}")
    known = header_numbers(header)
    newest = max(known.values())
    for name, numbers in (seccomp.DENIED | seccomp.JUDGED).items():
        told = known.get(name, known.get(f"3264_{name}"))
        ours = numbers[column]
        assert ours == told or (told is None and (ours is None or ours > newest)), name


def test_no_number_is_there_twice():
    for column in (0, 1):
        numbers = [n[column] for n in (seccomp.DENIED | seccomp.JUDGED).values() if n[column] is not None]
        assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("call", sorted(seccomp.DENIED))
def test_a_denied_call_is_refused(call):
    for machine, (column, _) in seccomp.MACHINES.items():
        if seccomp.DENIED[call][column] is not None:
            assert judge(seccomp.program(seccomp.NAMESPACE, machine=machine), machine, call) == "EPERM"


@both
@pytest.mark.parametrize(
    ("call", "args", "answer"),
    [
        ("clone3", (0,), "ENOSYS"),
        ("clone", (0x3D0F00,), "allowed"),  # what the C library starts a thread with
        ("clone", (0x01200011,), "allowed"),  # and a process
        ("clone", (0x10000011,), "EPERM"),
        ("clone", (0x40000011,), "EPERM"),
        ("unshare", (0x200,), "allowed"),
        *(("unshare", (flag,), "EPERM") for flag in (0x20000, 0x80, 0x02000000, 0x04000000, 0x08000000, 0x20000000)),
        ("ioctl", (0, 0x5412), "EPERM"),
        ("ioctl", (0, 0xFFFFFFFF00005412), "EPERM"),  # the kernel looks at the low half only
        ("ioctl", (0, 0x541C), "EPERM"),
        ("ioctl", (0, 0x5413), "allowed"),
        ("personality", (0xFFFFFFFF,), "allowed"),
        ("personality", (0,), "allowed"),
        ("personality", (0x0400000,), "EPERM"),  # READ_IMPLIES_EXEC
        ("personality", (0x0040000,), "EPERM"),  # ADDR_NO_RANDOMIZE
        ("socket", (socket.AF_INET, socket.SOCK_STREAM), "allowed"),
        ("socket", (socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK), "allowed"),
        ("socket", (socket.AF_UNIX, socket.SOCK_SEQPACKET), "allowed"),
        ("socket", (socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0), "allowed"),
        ("socket", (socket.AF_NETLINK, socket.SOCK_RAW, 9), "EPROTONOSUPPORT"),  # audit
        ("socket", (socket.AF_INET, socket.SOCK_RAW, 1), "EPERM"),
        ("socket", (socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 1), "EPERM"),
        ("socket", (socket.AF_INET, 10), "EPERM"),  # SOCK_PACKET
        ("socket", (17, socket.SOCK_RAW), "EAFNOSUPPORT"),  # AF_PACKET
        ("socket", (40, socket.SOCK_STREAM), "EAFNOSUPPORT"),  # AF_VSOCK
        ("socket", (38, socket.SOCK_SEQPACKET), "EAFNOSUPPORT"),  # AF_ALG
        ("socket", (0xFFFFFFFF00000028, socket.SOCK_STREAM), "EAFNOSUPPORT"),
        ("socketpair", (socket.AF_UNIX, socket.SOCK_STREAM), "allowed"),
        ("socketpair", (30, socket.SOCK_STREAM), "EAFNOSUPPORT"),  # AF_TIPC
        ("prlimit64", (0, 7), "allowed"),
        ("prlimit64", (1, 7), "EPERM"),  # somebody else's limits
        ("openat", (0, 0, 0x200), "allowed"),
        ("truncate", (), "allowed"),
        ("openat2", (), "allowed"),
        (1000, (), "allowed"),
    ],
)
def test_a_call_is_judged_by_its_arguments(machine, call, args, answer):
    assert judge(seccomp.program(seccomp.NAMESPACE, machine=machine), machine, call, *args) == answer


@both
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, 40])
def test_only_the_families_that_are_named_are_allowed(machine, family):
    program = seccomp.program(seccomp.UNIX_ONLY, machine=machine)
    assert judge(program, machine, "socket", family, socket.SOCK_STREAM) == "EAFNOSUPPORT"
    assert judge(program, machine, "socket", socket.AF_UNIX, socket.SOCK_STREAM) == "allowed"


@both
def test_no_file_is_cut_short_where_that_is_asked_for(machine):
    program = seccomp.program(seccomp.UNIX_ONLY, deny_truncate=True, machine=machine)
    opens = [("openat", 2), *([("open", 1)] if machine == "x86_64" else [])]
    for call, at in opens:
        flags = {0x200: "EPERM", 0x203: "EPERM", 0x80200: "EPERM", 0x241: "allowed", 0x202: "allowed", 0: "allowed"}
        for value, answer in flags.items():
            assert judge(program, machine, call, *[0] * at, value) == answer, hex(value)
    assert judge(program, machine, "truncate") == "EPERM"
    assert judge(program, machine, "openat2") == "ENOSYS"


@both
def test_a_call_of_another_architecture_ends_the_program(machine):
    program = seccomp.program(seccomp.NAMESPACE, machine=machine)
    assert judge(program, machine, 1, arch=0x40000003) == "killed"  # i386
    assert judge(program, machine, 1) == "allowed"


def test_the_32_bit_twin_of_x86_64_does_not_exist():
    program = seccomp.program(seccomp.NAMESPACE, machine="x86_64")
    for number in (0x40000000, 0x40000000 + 520, 0xFFFFFFFF):
        assert judge(program, "x86_64", number) == "ENOSYS"


@both
def test_the_program_is_one_that_the_kernel_takes(machine):
    """At most 4096 instructions, jumps that stay inside, an answer at the end (the rest is up to the kernel)."""
    program = seccomp.program(seccomp.NAMESPACE, deny_truncate=True, machine=machine)
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    assert len(code) < 300 and code[-1] == (seccomp.RETURN, 0, 0, seccomp.ALLOW)
    assert all(at + 1 + max(yes, no) < len(code) for at, (_, yes, no, _) in enumerate(code[:-1]))


def test_an_unknown_machine_has_no_filter_and_is_told_so():
    with pytest.raises(SandboxError, match="'riscv64', only for x86_64 and aarch64"):
        seccomp.program(seccomp.NAMESPACE, machine="riscv64")


APPLY = """
import ctypes, errno, os, struct, sys
sys.path.insert(0, {root!r})
from sandbox import seccomp
libc = ctypes.CDLL(None, use_errno=True)
code = seccomp.program(seccomp.{families}, deny_truncate={truncate})
buffer = ctypes.create_string_buffer(code, len(code))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, struct.pack('@HP', len(code) // 8, ctypes.addressof(buffer)), 0, 0) == 0
column = seccomp.MACHINES[os.uname().machine][0]
def call(name, *args):
    ctypes.set_errno(0)
    libc.syscall((seccomp.DENIED | seccomp.JUDGED)[name][column], *map(ctypes.c_long, args))
    return errno.errorcode.get(ctypes.get_errno(), 'ok')
"""
needs_filter = pytest.mark.skipif(HERE not in seccomp.MACHINES, reason="no filter for this machine")


def filtered(code, families="NAMESPACE", truncate=False, cwd=None):
    text = APPLY.format(root=str(ROOT), families=families, truncate=truncate) + code
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=60, cwd=cwd, start_new_session=True
    )


@needs_filter
def test_in_force_every_denied_call_fails_with_eperm():
    """With arguments that do no harm should a call be made all the same: it then fails with another error."""
    code = "print({name: call(name, *[-1] * 5) for name, n in seccomp.DENIED.items() if n[column] is not None})"
    done = filtered(code)
    answers = eval(done.stdout)
    assert {name: answer for name, answer in answers.items() if answer != "EPERM"} == {}
    assert len(answers) > 40


@needs_filter
def test_in_force_sockets_namespaces_and_typing_into_the_terminal_are_refused():
    code = """
import socket
for args in ((40, 1, 0), (17, 3, 0), (2, 3, 1), (16, 3, 9), (2, 1, 0), (10, 2, 0), (1, 5, 0), (16, 3, 0)):
    try: socket.socket(*args); print('ok')
    except OSError as error: print(errno.errorcode[error.errno])
print(call('unshare', 0x10000000), call('clone', 0x10000011), call('clone3', 0, 0), call('ioctl', 0, 0x5412, 0))
print(call('personality', 0x40000))
"""
    expected = ["EAFNOSUPPORT", "EAFNOSUPPORT", "EPERM", "EPROTONOSUPPORT", *["ok"] * 4]
    assert filtered(code).stdout.split() == [*expected, "EPERM", "EPERM", "ENOSYS", "EPERM", "EPERM"]


@needs_filter
def test_in_force_a_file_is_not_cut_short(tmp_path):
    (tmp_path / "file").write_text("text")
    code = """
for flags in (os.O_RDONLY | os.O_TRUNC, 3 | os.O_TRUNC):
    try: os.open('file', flags)
    except OSError as error: print(errno.errorcode[error.errno])
try: os.truncate('file', 0)
except OSError as error: print(errno.errorcode[error.errno])
print(open('file').read())
open('file', 'w').write('new')
print(open('file').read())
"""
    assert filtered(code, truncate=True, cwd=tmp_path).stdout.split() == ["EPERM", "EPERM", "EPERM", "text", "new"]


@needs_filter
def test_in_force_honest_work_runs():
    code = """
import multiprocessing, select, socket, subprocess, tempfile, threading
thread = threading.Thread(target=print, args=('thread',)); thread.start(); thread.join()
print(subprocess.run(['echo', 'process'], capture_output=True, text=True).stdout.strip())
print(socket.if_nameindex()[0][1], len(socket.socketpair()), os.path.exists(f'/proc/self/fd/{os.memfd_create("x")}'))
with multiprocessing.get_context('fork').Pool(1) as pool: print(pool.apply(len, ('four',)))
select.epoll().close()
print(os.get_terminal_size.__name__, os.isatty(0), len(os.sched_getaffinity(0)) > 0)
"""
    done = filtered(code)
    assert done.stdout.split()[:6] == ["thread", "process", "lo", "2", "True", "4"], done.stderr


@pytest.mark.skipif(HERE != "x86_64", reason="its instructions")
def test_in_force_the_other_tables_of_x86_64_are_closed():
    """`int 0x80` asks by the numbers of i386; numbers with bit 30 are those of x32."""
    code = """
print(libc.syscall(ctypes.c_long(0x40000000 + 39)), errno.errorcode[ctypes.get_errno()], flush=True)
import mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write(bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3]))  # getpid
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
print('survived')
"""
    done = filtered(code)
    assert done.stdout.split() == ["-1", "ENOSYS"] and done.returncode == -signal.SIGSYS
