"""What an error message says was missing, and the sizes that it names.

The forms are those that Python, numpy, torch, CUDA, ROCm, MPS, XPU, NCCL, Triton, JAX, TensorFlow, CuPy and the
runtimes of C++ and Rust print; from their sources and from what programs were seen to print. Every form is bounded:
the time to search a text grows with its length and with nothing else, whatever the text is.
"""

import re
from enum import StrEnum


class Lack(StrEnum):
    """What was missing."""

    GPU = "GPU memory"
    MAYBE_GPU = "GPU memory, maybe"
    HOST = "host memory"
    SHARED = "shared memory in /dev/shm"
    DISK = "disk space"
    KERNEL = "on-chip memory of a GPU kernel"
    PROCESSES = "processes or threads"


_FORMS = (  # strongest first: the first form found decides
    (
        Lack.KERNEL,
        r"OutOfResources\b|\bout of resource: |too many resources requested for launch|LAUNCH_OUT_OF_RESOURCES"
        r"|uses too much shared data",
    ),
    (
        Lack.SHARED,
        r"insufficient shared memory|out of shared memory|killed by signal: Bus error"
        r"|unable to (?:open shared memory object|write to file </torch_|allocate shared memory)"
        r"|Couldn't allocate shared memory segment|No space left on device: '/(?:dev/shm|psm_)"
        r"|shared memory segment /dev/shm/",
    ),
    (
        Lack.GPU,
        r"\bcuda\.OutOfMemoryError|torch\.OutOfMemoryError|(?:CUDA|HIP|XPU|MPS backend) out of memory"
        r"|(?:CUDA|CUDA driver|HIP|XPU|Triton) [Ee]rror(?: \[\w{1,9}\])?: out of memory"
        r"|cuda runtime error \(2\) : out of memory"
        r"|[Cc]uda failure.{0,20}out of memory|cuda(?:Malloc|HostAlloc)\w{0,20} failed.{0,60}out of memory"
        r"|would exceed allowed memory|(?:CUBLAS|CUDNN|CUSOLVER|CUSPARSE|HIPBLAS|ROCBLAS|MIOPEN)_STATUS_ALLOC_FAILED"
        r"|CUFFT_ALLOC_FAILED|cudaErrorMemoryAllocation|hipErrorOutOfMemory|(?:CUDA|HIP)_ERROR_OUT_OF_MEMORY"
        r"|miopenStatusAllocFailed|NCCL.{0,80}out of memory|OUT_OF_DEVICE_MEMORY|OUT_OF_RESOURCES\b"
        r"|RESOURCE_EXHAUSTED: (?:[Oo]ut of memory|Failed to allocate|Allocating)|device:GPU:\d{1,3} by allocator"
        r"|Out of memory allocating [\d,]{1,30} bytes \(allocated so far",
    ),
    (
        Lack.MAYBE_GPU,
        r"(?:CUBLAS|CUDNN|CUSOLVER|CUSPARSE|HIPBLAS)_STATUS_NOT_INITIALIZED|[Uu]nable to find an engine"
        r"|Unable to find a valid cuDNN algorithm|GET was unable to find an engine"
        r"|CUDNN_STATUS_INTERNAL_ERROR_(?:HOST|DEVICE)_ALLOCATION_FAILED",
    ),
    (
        Lack.HOST,
        r"\b_?(?:Array|Arrow)?MemoryError\b|can't allocate memory|not enough memory: you tried|std::bad_alloc"
        r"|C10 Out of Memory\. Trying|\[Errno 12\]|Cannot allocate memory|unable to mmap"
        r"|Unable to allocate \S{1,20} \S{1,5} for an array|memory allocation of \d{1,20} bytes failed"
        r"|libgomp: Out of memory|LLVM ERROR: out of memory|node running low on memory"
        r"|C error: out of memory|device:CPU:\d{1,3} by allocator",
    ),
    (
        Lack.DISK,
        r"\[Errno (?:28|27|122)\]|No space left on device|File too large|Disk quota exceeded"
        r"|PytorchStreamWriter failed writing|unexpected pos \d|basic_ios::clear: iostream error|os error 28\b",
    ),
    (Lack.PROCESSES, r"can't start new thread|Thread creation failed: Resource temporarily|pthread_create failed"),
)
_EVERY = tuple((kind, re.compile(form)) for kind, form in _FORMS)

_SIZE = r"(\d[\d,]{0,30}(?:\.\d{0,9})?) ?([KMGTPE]i?B|[Bb]ytes|B)"
_NUMBERS = (
    ("requested_bytes", rf"(?:[Tt]ried to allocate|[Uu]nable to allocate|trying to allocate|allocating) {_SIZE}"),
    ("requested_bytes", rf"Requested {{1,30}}: {_SIZE}|memory allocation of {_SIZE} failed"),
    ("limit_bytes", rf"{_SIZE} allowed;|max allowed: {_SIZE}|memory fraction\)\s{{1,40}}: {_SIZE}"),
    ("limit_bytes", rf"total capacity of {_SIZE}|{_SIZE} total capacity|Device limit {{1,30}}: {_SIZE}"),
    ("limit_bytes", rf"limit set to: {_SIZE}"),
    ("free_bytes", rf"of which {_SIZE} is free|{_SIZE} free;|Free \(according to CUDA\): {_SIZE}"),
    ("in_use_bytes", rf"this process has {_SIZE} memory in use|MPS allocated: {_SIZE}|allocated so far: {_SIZE}"),
    ("in_use_bytes", rf"{_SIZE} reserved in total|Currently allocated {{1,30}}: {_SIZE}"),
    ("in_use_bytes", rf"{_SIZE} already allocated"),
    ("allocated_bytes", rf"{_SIZE} is allocated by PyTorch|{_SIZE} already allocated"),
    ("fragmented_bytes", rf"{_SIZE} is reserved by PyTorch but unallocated"),
)
_KERNEL = re.compile(r"Required: (\d{1,18}),? Hardware limit: ?(\d{1,18})")
_POWERS = {"B": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_MOST_BYTES = 2**63 - 1


def lack(text: str) -> Lack | None:
    """What a message says was missing; None when it is about something else."""
    return next((kind for kind, form in _EVERY if form.search(text)), None)


def numbers(text: str) -> dict[str, int]:
    """The sizes in an out-of-memory message, in bytes.

    `requested_bytes`, `in_use_bytes`, `free_bytes`, `limit_bytes` (what the process may use, else what the device
    has), `allocated_bytes` (by tensors), `fragmented_bytes` (held by the allocator between tensors and of no use for
    this request). What the message does not tell is not there.
    """
    found: dict[str, int] = {}
    for name, form in _NUMBERS:
        if name not in found and (match := re.search(form, text)):
            amount, unit = (group for group in match.groups() if group is not None)
            found[name] = size(amount, unit)
    if kernel := _KERNEL.search(text):
        found |= {"requested_bytes": int(kernel[1]), "limit_bytes": int(kernel[2])}
    if "reserved in total" in text and {"in_use_bytes", "allocated_bytes"} <= found.keys():  # torch before 2.1
        found["fragmented_bytes"] = max(0, found["in_use_bytes"] - found["allocated_bytes"])
    if " allowed; " in text and {"allocated_bytes", "fragmented_bytes"} <= found.keys():  # a cap, not the device, binds
        used = found["allocated_bytes"] + found["fragmented_bytes"]
        found["free_bytes"] = max(0, found.get("limit_bytes", 0) - used)
    return found


def size(amount: str, unit: str) -> int:
    """`("2.00", "GiB")` in bytes. torch says GB and means GiB."""
    return min(_MOST_BYTES, int(float(amount.replace(",", "")) * 1024 ** _POWERS[unit[0].upper()]))
