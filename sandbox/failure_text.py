"""What the output of a failed program says: its last uncaught exception, and what that says was missing.

Text is the weakest evidence: it refines how a run failed and never says that one did. The forms are those
that Python, numpy, torch, CUDA, ROCm, MPS, XPU, NCCL, Triton and JAX print.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Lack(StrEnum):
    """What was missing."""

    GPU = "GPU memory"
    MAYBE_GPU = "GPU memory, maybe"
    HOST = "host memory"
    SHARED = "shared memory in /dev/shm"
    DISK = "disk space"
    KERNEL = "on-chip memory of a GPU kernel"


@dataclass(frozen=True)
class Failure:
    """An uncaught exception.

    Attributes:
        line: its line, `ValueError: ...`.
        block: that line and the few after it: some messages are longer than a line.
    """

    line: str
    block: str


_RANK = re.compile(r"^\[(?:rank|default)\d+\]: ?", re.MULTILINE)
_HEADER = re.compile(r"(?:Original )?Traceback \(most recent call last\):$")
_NOT_MAIN = ("Exception ignored", "Exception in thread", "--- Logging error ---")
_SYNTAX = re.compile(r"(?:SyntaxError|IndentationError|TabError)\b")
_BLOCK_LINES = 8

_FORMS = (  # strongest first: the first form found decides
    (Lack.KERNEL, r"OutOfResources\b|out of resource: (?:shared memory|threads|registers)"),
    (
        Lack.SHARED,
        r"insufficient shared memory|out of shared memory|killed by signal: Bus error"
        r"|unable to (?:open shared memory object|write to file </torch_|allocate shared memory)",
    ),
    (
        Lack.GPU,
        r"\bcuda\.OutOfMemoryError|torch\.OutOfMemoryError|(?:CUDA|HIP|XPU|MPS backend) out of memory"
        r"|(?:CUDA|CUDA driver|HIP) error: out of memory|[Cc]uda failure.{0,20}out of memory"
        r"|(?:CUBLAS|CUDNN|CUSOLVER|CUSPARSE|HIPBLAS|MIOPEN)_STATUS_ALLOC_FAILED|CUFFT_ALLOC_FAILED"
        r"|cudaErrorMemoryAllocation|hipErrorOutOfMemory|CUDA_ERROR_OUT_OF_MEMORY|miopenStatusAllocFailed"
        r"|NCCL.{0,80}out of memory|OUT_OF_DEVICE_MEMORY|RESOURCE_EXHAUSTED",
    ),
    (
        Lack.MAYBE_GPU,
        r"(?:CUBLAS|CUDNN|CUSOLVER|CUSPARSE|HIPBLAS)_STATUS_NOT_INITIALIZED|[Uu]nable to find an engine",
    ),
    (
        Lack.HOST,
        r"\b_?(?:Array)?MemoryError\b|can't allocate memory|not enough memory: you tried|std::bad_alloc"
        r"|\[Errno 12\]|Cannot allocate memory|unable to mmap|Unable to allocate \S+ \S+ for an array",
    ),
    (
        Lack.DISK,
        r"\[Errno (?:28|27|122)\]|No space left on device|File too large|Disk quota exceeded"
        r"|PytorchStreamWriter failed writing|unexpected pos \d+",
    ),
)
_SIZE = r"([\d.]+) ?([KMGTPE]i?B|[Bb]ytes|B)"
_NUMBERS = (
    ("requested_bytes", rf"(?:[Tt]ried to allocate|Unable to allocate|while trying to allocate) {_SIZE}"),
    ("limit_bytes", rf"{_SIZE} allowed;|max allowed: {_SIZE}"),
    ("limit_bytes", rf"total capacity of {_SIZE}|{_SIZE} total capacity"),
    ("free_bytes", rf"of which {_SIZE} is free|{_SIZE} free;"),
    (
        "in_use_bytes",
        rf"this process has {_SIZE} memory in use|{_SIZE} already allocated|MPS allocated: {_SIZE}",
    ),
    ("allocated_bytes", rf"{_SIZE} is allocated by PyTorch"),
    ("reserved_unused_bytes", rf"{_SIZE} is reserved by PyTorch but unallocated"),
)
_POWERS = {"B": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}


def uncaught(tail: str) -> Failure | None:
    """The last exception that ended the program, if its output shows one.

    Of chained exceptions the last counts; one in another thread, or ignored in a destructor, does not.
    """
    lines = _RANK.sub("", tail).splitlines()
    for at in range(len(lines) - 1, -1, -1):
        if _HEADER.match(lines[at]) and not (at and lines[at - 1].startswith(_NOT_MAIN)):
            end = next((k for k in range(at + 1, len(lines)) if not lines[k].startswith(" ")), None)
            return None if end is None else _failure(lines, end)
        if _SYNTAX.match(lines[at]) and at and lines[at - 1].startswith("  "):
            return _failure(lines, at)
    return None


def _failure(lines: list[str], at: int) -> Failure:
    block = lines[at : at + _BLOCK_LINES]
    foreign = (k for k, line in enumerate(block) if k and (_HEADER.match(line) or line.startswith(_NOT_MAIN)))
    return Failure(block[0], "\n".join(block[: next(foreign, None)]))


def aborted(tail: str) -> str:
    """What the C++ runtime says when it ends a program: `terminate called ...` and `what(): ...`."""
    lines = tail.splitlines()[-30:]
    return "\n".join(line for line in lines if line.startswith("terminate called") or "what():" in line)


def lack(text: str) -> Lack | None:
    """What a message says was missing; None when it is about something else."""
    return next((kind for kind, form in _FORMS if re.search(form, text)), None)


def numbers(text: str) -> dict[str, int]:
    """The sizes in an out-of-memory message."""
    found: dict[str, int] = {}
    for name, form in _NUMBERS:
        if (match := re.search(form, text)) and name not in found:
            amount, unit = (group for group in match.groups() if group is not None)
            found[name] = size(amount, unit)
    if kernel := re.search(r"Required: (\d+), Hardware limit: (\d+)", text):
        found |= {"requested_bytes": int(kernel[1]), "limit_bytes": int(kernel[2])}
    return found


def size(amount: str, unit: str) -> int:
    """`("2.00", "GiB")` in bytes. torch says GB and means GiB."""
    return int(float(amount.rstrip(".")) * 1024 ** _POWERS[unit[0].upper()])
