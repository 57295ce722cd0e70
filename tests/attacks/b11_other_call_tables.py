# b11_other_call_tables
# MUST HAPPEN: the 32-bit and x32 tables of system calls must not be a way past the filter
# EXPECT: none=SUCCESS landlock=BLOCKED namespace=BLOCKED
import ctypes
import json
import os
import mmap

T = json.loads(os.environ["ATTACK_TARGETS"])
C = ctypes.CDLL(None, use_errno=True)


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


def call(number, *arguments):
    """A system call by its number (x86_64)."""
    got = C.syscall(number, *arguments)
    if got < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return got


def old_table(number, first, second, third):
    """The call by `int 0x80`, in a child, for it may be killed by it."""
    code = b"\x53\xb8%b\xbb%b\xb9%b\xba%b\xcd\x80\x5b\xc3" % tuple(
        value.to_bytes(4, "little") for value in (number, first, second, third)
    )
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    act = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    child = os.fork()
    if child == 0:
        os._exit(0 if act() >= 0 else 1)
    status = os.waitpid(child, 0)[1]
    if status:
        raise OSError(f"status {status}")
    return True


attempt("vsock by int 0x80", lambda: old_table(359, 40, 1, 0))
attempt("ptrace by int 0x80", lambda: old_table(26, 16, T["pid"], 0))
attempt("unshare by int 0x80", lambda: old_table(310, 0x10000000, 0, 0))
attempt("io_uring_setup by int 0x80", lambda: old_table(425, 8, 0, 0))
attempt("vsock by x32", lambda: call(0x40000000 | 41, 40, 1, 0) or True)
attempt("unshare by x32", lambda: call(0x40000000 | 272, 0x10000000) == 0)
