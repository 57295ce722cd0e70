"""System calls that Python has no name for, with failures as exceptions. Fast to import: every start of a jail does."""

import ctypes
import os


def control(what: str, option: int, *arguments: object) -> None:
    """Calls prctl(2).

    Raises:
        OSError: it fails; the message says at what.
    """
    padded = [*arguments, 0, 0, 0, 0][:4]
    plain = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in padded]
    if ctypes.CDLL(None, use_errno=True).prctl(option, *plain) < 0:
        complain(what)


def system_call(what: str, number: int, *arguments: object) -> int:
    """Makes a system call; raises OSError like `control`."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    plain = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = int(call(ctypes.c_long(number), *plain))
    if result < 0:
        complain(what)
    return result


def complain(what: str) -> None:
    """Raises what the last call of the C library met."""
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")
