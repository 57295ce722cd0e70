"""`classify`: what the evidence of a run means. The texts are what the programs of this field really print."""

import signal

import pytest

from sandbox.classify import classify
from sandbox.failure_text import uncaught
from sandbox.spec import Evidence, Outcome, Phase, Stopped

GIB = 2**30


def evidence(code=0, signal=0, tail="", **more):
    known = {
        "jail": "none",
        "wait_status": signal or code << 8,
        "stopped": None,
        "phase": Phase.TRAIN,
        "seconds": {Phase.TRAIN: 12.0},
        "peak_memory_bytes": GIB,
        "memory_limit_bytes": 2 * GIB,
        "kernel_oom_kills": 0,
        "output_bytes": len(tail),
        "tail": tail,
    }
    return Evidence(**(known | more))


def raised(line, *more):
    frames = [
        "Traceback (most recent call last):",
        '  File "train.py", line 3, in <module>',
        "    main()",
        "    ^^^^^^",
    ]
    return "\n".join(["step 1 loss 2.0", *frames, line, *more]) + "\n"


@pytest.mark.parametrize(
    ("stopped", "phase", "outcome"),
    [
        (Stopped.TIME, Phase.STARTUP, Outcome.TIMEOUT_STARTUP),
        (Stopped.TIME, Phase.TRAIN, Outcome.TIMEOUT_TRAIN),
        (Stopped.TIME, Phase.JUDGE, Outcome.REJECTED),
        (Stopped.MEMORY, Phase.TRAIN, Outcome.OOM_HOST),
        (Stopped.DISK, Phase.TRAIN, Outcome.DISK_FULL),
        (Stopped.PROCESSES, Phase.TRAIN, Outcome.CRASH),
        (Stopped.CANCELLED, Phase.TRAIN, Outcome.LOST),
    ],
)
@pytest.mark.parametrize("status", [0, 9, 15, 256, None])
def test_what_the_supervisor_did_counts_before_all_else(stopped, phase, outcome, status):
    tail = raised("torch.OutOfMemoryError: CUDA out of memory.")
    found = classify(evidence(tail=tail, stopped=stopped, phase=phase, wait_status=status, kernel_oom_kills=1))
    assert found.outcome is outcome
    assert phase in found.reason


def test_memory_watchdog_gives_numbers():
    found = classify(evidence(stopped=Stopped.MEMORY, peak_memory_bytes=3 * GIB))
    assert found.numbers == {"in_use_bytes": 3 * GIB, "limit_bytes": 2 * GIB}
    assert "3.00 GiB" in found.reason and "2.00 GiB" in found.reason


CUDA = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.11 "
    "GiB of which 512.00 MiB is free. Including non-PyTorch memory, this process has 78.50 GiB memory in use. Of the "
    "allocated memory 70.00 GiB is allocated by PyTorch, and 1.25 GiB is reserved by PyTorch but unallocated."
)
GPU_FORMS = [
    CUDA,
    "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 23.65 GiB total capacity)",
    "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB",
    "RuntimeError: CUDA error: out of memory",
    "torch.AcceleratorError: CUDA error: out of memory",
    "RuntimeError: CUDA driver error: out of memory",
    "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "RuntimeError: cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "RuntimeError: cuFFT error: CUFFT_ALLOC_FAILED",
    "RuntimeError: cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
    "RuntimeError: CUDA error: CUSPARSE_STATUS_ALLOC_FAILED when calling `cusparseCreate`",
    "torch.distributed.DistBackendError: NCCL error: unhandled cuda error, Cuda failure 2 'out of memory'",
    "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 20.00 MiB.",
    "RuntimeError: HIP error: out of memory",
    "RuntimeError: MPS backend out of memory (MPS allocated: 18.00 GiB, max allowed: 18.13 GiB).",
    "torch.OutOfMemoryError: XPU out of memory. Tried to allocate 1.00 GiB.",
    "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8192 bytes.",
]
HOST_FORMS = [
    "MemoryError",
    "MemoryError: Unable to allocate internal buffer.",
    "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 64.0 TiB for an array with shape (1,)",
    "RuntimeError: [enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 70368744177664 bytes. Error code 12 (Cannot allocate memory)",
    "RuntimeError: std::bad_alloc",
    "OSError: [Errno 12] Cannot allocate memory",
    "RuntimeError: unable to mmap 1073741824 bytes from file </x>: Cannot allocate memory (12)",
]
SHARED_FORMS = [
    "RuntimeError: DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that dataloader's "
    "workers are out of shared memory. Please try to raise your shared memory limit.",
    "RuntimeError: unable to write to file </torch_12_345>: No space left on device (28)",
]
DISK_FORMS = [
    "OSError: [Errno 28] No space left on device",
    "OSError: [Errno 27] File too large",
    "OSError: [Errno 122] Disk quota exceeded: 'x'",
    "RuntimeError: [enforce fail at inline_container.cc:664] . unexpected pos 128 vs 22",
    "RuntimeError: PytorchStreamWriter failed writing file data/0: file write failed",
]
CRASH_FORMS = [
    "ValueError: shapes do not match",
    "AssertionError: loss is nan",
    "ModuleNotFoundError: No module named 'flash_attn'",
    "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)",
    "RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "RuntimeError: Unable to find an engine to execute this computation",
    "triton.errors.OutOfResources: out of resource: shared memory, Required: 131072, Hardware limit: 101376.",
    "KeyboardInterrupt",
]
FORMS = [
    *((form, Outcome.OOM_GPU) for form in GPU_FORMS),
    *((form, Outcome.OOM_HOST) for form in HOST_FORMS + SHARED_FORMS),
    *((form, Outcome.DISK_FULL) for form in DISK_FORMS),
    *((form, Outcome.CRASH) for form in CRASH_FORMS),
]


@pytest.mark.parametrize(("line", "outcome"), FORMS)
def test_the_last_uncaught_exception_tells_how_it_failed(line, outcome):
    found = classify(evidence(code=1, tail=raised(line)))
    assert found.outcome is outcome
    assert line[:300] in found.reason


@pytest.mark.parametrize(("line", "outcome"), FORMS)
def test_text_never_fails_a_run_that_succeeded(line, outcome):
    assert classify(evidence(code=0, tail=raised(line))).outcome is Outcome.OK


@pytest.mark.parametrize(("line", "outcome"), FORMS)
def test_an_exception_that_was_caught_and_logged_is_a_crash_with_a_note(line, outcome):
    found = classify(evidence(code=1, tail=f"caught {line}\ngiving up\n"))
    assert found.outcome is Outcome.CRASH
    if outcome in (Outcome.OOM_GPU, Outcome.OOM_HOST):
        assert "its log shows a lack of" in found.reason


def test_numbers_of_a_cuda_oom():
    found = classify(evidence(code=1, tail=raised(CUDA)))
    assert found.numbers == {
        "requested_bytes": 5 * GIB // 2,
        "limit_bytes": int(79.11 * GIB),
        "free_bytes": GIB // 2,
        "in_use_bytes": int(78.5 * GIB),
        "allocated_bytes": 70 * GIB,
        "reserved_unused_bytes": 5 * GIB // 4,
    }


def test_numbers_of_a_host_oom_name_request_and_limit():
    found = classify(evidence(code=1, tail=raised(HOST_FORMS[3])))
    assert found.numbers == {"requested_bytes": 70368744177664, "limit_bytes": 2 * GIB, "in_use_bytes": GIB}


def test_numbers_of_a_triton_kernel():
    found = classify(evidence(code=1, tail=raised(CRASH_FORMS[6])))
    assert found.numbers == {"requested_bytes": 131072, "limit_bytes": 101376}


@pytest.mark.parametrize(
    ("number", "tail", "outcome"),
    [
        (signal.SIGKILL, "", Outcome.LOST),
        (signal.SIGKILL, "CUDA out of memory", Outcome.LOST),
        (signal.SIGBUS, "", Outcome.OOM_HOST),
        (signal.SIGXFSZ, "", Outcome.DISK_FULL),
        (signal.SIGSEGV, "", Outcome.CRASH),
        (signal.SIGFPE, "", Outcome.CRASH),
        (signal.SIGTERM, "", Outcome.CRASH),
        (signal.SIGABRT, "", Outcome.CRASH),
        (
            signal.SIGABRT,
            "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc",
            Outcome.OOM_HOST,
        ),
        (
            signal.SIGABRT,
            "terminate called after throwing an instance of 'c10::Error'\n  what():  CUDA error: out of memory",
            Outcome.OOM_GPU,
        ),
    ],
)
def test_signals(number, tail, outcome):
    found = classify(evidence(signal=int(number), tail=tail))
    assert found.outcome is outcome
    assert found.reason


def test_a_kill_while_the_kernel_killed_for_memory_is_an_oom():
    assert classify(evidence(signal=9, kernel_oom_kills=1)).outcome is Outcome.OOM_HOST
    assert classify(evidence(wait_status=None, kernel_oom_kills=1)).outcome is Outcome.OOM_HOST


def test_a_core_dump_flag_does_not_hide_the_signal():
    assert "SIGSEGV" in classify(evidence(signal=int(signal.SIGSEGV) | 128)).reason


def test_a_real_time_signal_has_no_name_and_is_a_crash():
    assert classify(evidence(signal=40)).outcome is Outcome.CRASH


def test_no_status_is_lost():
    assert classify(evidence(wait_status=None)).outcome is Outcome.LOST


def test_exit_137_is_an_ordinary_failure():
    found = classify(evidence(code=137))
    assert found.outcome is Outcome.CRASH and "137" in found.reason


def test_a_dead_loader_worker_takes_its_reason_from_the_log_or_the_kernel():
    line = "RuntimeError: DataLoader worker (pid(s) 12) exited unexpectedly"
    hint = "ERROR: Unexpected bus error encountered in worker. Maybe caused by insufficient shared memory (shm).\n"
    assert classify(evidence(code=1, tail=hint + raised(line))).outcome is Outcome.OOM_HOST
    assert classify(evidence(code=1, tail=raised(line))).outcome is Outcome.CRASH
    killed = "RuntimeError: DataLoader worker (pid 12) is killed by signal: Killed."
    assert classify(evidence(code=1, tail=raised(killed), kernel_oom_kills=1)).outcome is Outcome.OOM_HOST


def test_of_chained_exceptions_the_last_counts():
    tail = (
        raised("MemoryError")
        + "During handling of the above exception, another exception occurred:\n"
        + raised("KeyError: 'x'")
    )
    found = classify(evidence(code=1, tail=tail))
    assert found.outcome is Outcome.CRASH and found.reason == "KeyError: 'x'"


def test_the_original_exception_of_a_loader_worker_counts():
    inner = [
        "Original Traceback (most recent call last):",
        '  File "worker.py", line 1, in fetch',
        "    x()",
        "MemoryError",
    ]
    tail = raised("RuntimeError: Caught MemoryError in DataLoader worker process 0.", *inner)
    assert classify(evidence(code=1, tail=tail)).outcome is Outcome.OOM_HOST


def test_a_rank_prefix_is_no_part_of_the_exception():
    tail = "".join(f"[rank1]: {line}\n" for line in raised("torch.OutOfMemoryError: CUDA out of memory.").splitlines())
    assert classify(evidence(code=1, tail=tail)).outcome is Outcome.OOM_GPU


def test_an_exception_in_a_thread_or_a_destructor_did_not_end_the_program():
    thread = "Exception in thread Thread-1:\n" + raised("MemoryError").partition("\n")[2]
    ignored = "Exception ignored in: <function f>\n" + raised("OSError: [Errno 28] No space left").partition("\n")[2]
    assert uncaught(thread) is None
    found = classify(evidence(code=1, tail=raised("ValueError: real") + ignored))
    assert found.outcome is Outcome.CRASH and found.reason == "ValueError: real"


def test_a_syntax_error_has_no_traceback_and_is_found():
    tail = '  File "train.py", line 2\n    def f(:\n          ^\nSyntaxError: invalid syntax\n'
    assert classify(evidence(code=1, tail=tail)).reason == "SyntaxError: invalid syntax"


def test_a_traceback_cut_off_at_its_end_is_an_ordinary_failure():
    tail = 'Traceback (most recent call last):\n  File "train.py", line 2\n'
    assert classify(evidence(code=1, tail=tail)).outcome is Outcome.CRASH


def test_empty_output_is_no_trouble():
    assert classify(evidence(code=1)).reason == "exit code 1"
