# b01_proc_mem
# MUST HAPPEN: the memory of the victim, where its key lies, must not be readable
# EXPECT: none=SUCCESS landlock=BLOCKED namespace=BLOCKED
import ctypes
import json
import os
import re

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


def memory(pid):
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            first, last = (int(part, 16) for part in line.split()[0].split("-"))
            if "[stack]" in line or "[heap]" in line:
                memory.seek(first)
                found = re.search(rb"SECRET[\w-]{8,}", memory.read(last - first))
                if found:
                    return found.group()


def readv(pid):
    """process_vm_readv of one byte, at an address that is in every map."""
    with open(f"/proc/{pid}/maps") as maps:
        address = int(maps.readline().split("-")[0], 16)
    into = ctypes.create_string_buffer(64)
    here = (ctypes.c_void_p * 2)(ctypes.addressof(into), 64)
    there = (ctypes.c_void_p * 2)(address, 64)
    return call(310, pid, here, 1, there, 1, 0)


attempt("mem of the victim", lambda: memory(T["pid"]))
attempt("mem of the harness", lambda: memory(T["ppid"]))
attempt("process_vm_readv", lambda: readv(T["pid"]))
