"""Memory that no page of a process shows, and that is limited all the same."""

import pytest
from sandbox_kit import LEVELS, Runner, jail_of

from sandbox.spec import Kind, Limits

DEAD_LEADER = """
import ctypes, platform, threading, time
def hog():
    a = []
    for _ in range(60): a.append(bytearray(b'x' * 2**24)); time.sleep(.01)
    time.sleep(20)
threading.Thread(target=hog).start()
ctypes.CDLL(None).syscall(60 if platform.machine() == 'x86_64' else 93, 0)  # exit: of the first thread only
"""
PAGE_TABLES = """
import ctypes, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
place = libc.mmap(None, 1 << 39, 1, 0x4022, -1, 0)  # readable, private, no reserve: zero pages, each with a table
for offset in range(0, 1 << 39, 1 << 21): ctypes.string_at(place + offset, 1)
time.sleep(10)
"""
EMPTY_FILES = """
import os, time
for n in range(500_000): os.close(os.open(f'/tmp/f{n}', os.O_CREAT | os.O_WRONLY))
time.sleep(5)
"""
SYSTEM_V = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
assert libc.shmget(0, 2**20, 0o1600) == -1 and ctypes.get_errno() == errno.EPERM
"""


@pytest.mark.parametrize("level", LEVELS[1:])
@pytest.mark.parametrize("code", [DEAD_LEADER, PAGE_TABLES], ids=["a first thread that has ended", "page tables"])
def test_memory_that_the_first_thread_does_not_show_counts(level, code, tmp_path):
    ran = Runner(jail_of(level, tmp_path), tmp_path)(code, limits=Limits(2**28), seconds=25)
    assert ran.finding.kind is Kind.OOM_HOST, ran.finding
    assert ran.left == []


@pytest.mark.jail
def test_empty_files_in_a_private_tmp_are_memory(tmp_path):
    ran = Runner(jail_of("namespace", tmp_path), tmp_path)(EMPTY_FILES, limits=Limits(2**28), seconds=25)
    assert ran.finding.kind is Kind.OOM_HOST, ran.finding


@pytest.mark.parametrize("level", LEVELS[1:])
def test_system_v_memory_which_outlives_its_maker_is_refused(level, tmp_path):
    assert Runner(jail_of(level, tmp_path), tmp_path)(SYSTEM_V).finding.kind is Kind.OK
