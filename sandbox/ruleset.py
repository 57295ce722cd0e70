"""Landlock: rules about paths that a process gives itself for good, and hands on to everything that it starts.

Runs between `fork` and `exec`, see `sandbox.lock`, whose flags `--abi`, `--allow`, `--scope` and `--tcp` it obeys.
Source: `linux/landlock.h` and the kernel's Documentation/userspace-api/landlock.rst.
"""

import ctypes
import errno
import os
import stat
import struct
import sys

from sandbox.calls import system_call

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # on every machine
VERSION, PATH_BENEATH = 1, 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_BLOCK = 1 << 6, 1 << 11
REFER, TRUNCATE, IOCTL_DEV, RESOLVE_UNIX = 1 << 13, 1 << 14, 1 << 15, 1 << 16
BASE = (1 << 13) - 1  # the rights of version 1
NEWER = ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV), (9, RESOLVE_UNIX))
TCP_SINCE, BIND_AND_CONNECT = 4, 0x3
SIGNALS_AND_ABSTRACT_SOCKETS = 0x3
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV | RESOLVE_UNIX
HOW = {  # what a rule gives; the kernel knows no rule that takes away
    "list": READ_DIR,
    "read": EXECUTE | READ_FILE | READ_DIR,
    "write": ~(MAKE_CHAR | MAKE_BLOCK | IOCTL_DEV),
    "device": READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | IOCTL_DEV,
}


def abi() -> int:
    """The version of Landlock that this kernel has; 0 where it has none, or it is switched off, or is not Linux."""
    if sys.platform != "linux":  # the number means another call there
        return 0
    try:
        return system_call("asking for Landlock", CREATE_RULESET, None, 0, VERSION)
    except OSError:
        return 0


def confine(flags: dict[str, list[list[str]]]) -> None:
    """Landlock: from here on every file that no rule names is out of reach, for good and for everything started.

    A path is opened as the user that we still are: folders on the way to it may be closed to the one we become.
    """
    version = int(flags["--abi"][0][0])
    if abi() < version:
        raise OSError(errno.EOPNOTSUPP, f"Landlock {version} was promised and this kernel has {abi()}")
    handled = BASE | sum(right for since, right in NEWER if since <= version)
    ports = BIND_AND_CONNECT if flags["--tcp"] and version >= TCP_SINCE else 0
    scopes = SIGNALS_AND_ABSTRACT_SOCKETS if flags["--scope"] else 0
    about = struct.pack("=QQQ", handled, ports, scopes)
    ruleset = system_call("making a Landlock ruleset", CREATE_RULESET, ctypes.c_char_p(about), len(about), 0)
    try:
        for how, path in flags["--allow"]:
            allow(ruleset, handled, how, path)
        system_call("restricting itself by Landlock", RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def allow(ruleset: int, handled: int, how: str, path: str) -> None:
    """Adds one rule: this file, or this folder and everything below it."""
    rights = HOW[how.removesuffix("-try")] & handled
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        if how.endswith("-try"):
            return
        raise
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= OF_FILES
        rule = ctypes.c_char_p(struct.pack("=Qi", rights, place))
        system_call(f"allowing {path}", ADD_RULE, ruleset, PATH_BENEATH, rule, 0)
    finally:
        os.close(place)
