"""`classify`: what the evidence of a run means. The texts are what the programs of this field really print."""

import signal
import time

import pytest

from sandbox.classify import classify
from sandbox.failure_text import uncaught, where
from sandbox.lack import Lack, lack, numbers, size
from sandbox.spec import Evidence, Kind, Outcome, Phase, Stopped

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
    ("stopped", "phase", "outcome", "kind"),
    [
        (Stopped.TIME, Phase.STARTUP, Outcome.TIMEOUT_STARTUP, Kind.TIMEOUT),
        (Stopped.TIME, Phase.SMOKE, Outcome.TIMEOUT_STARTUP, Kind.TIMEOUT),
        (Stopped.TIME, Phase.TRAIN, Outcome.TIMEOUT_TRAIN, Kind.TIMEOUT),
        (Stopped.TIME, Phase.JUDGE, Outcome.REJECTED, Kind.TIMEOUT),
        (Stopped.MEMORY, Phase.SMOKE, Outcome.OOM_HOST, Kind.OOM_HOST),
        (Stopped.GPU_MEMORY, Phase.TRAIN, Outcome.OOM_GPU, Kind.OOM_GPU),
        (Stopped.DISK, Phase.TRAIN, Outcome.DISK_FULL, Kind.DISK_FULL),
        (Stopped.FREE_DISK, Phase.TRAIN, Outcome.DISK_FULL, Kind.DISK_FULL),
        (Stopped.PROCESSES, Phase.TRAIN, Outcome.CRASH, Kind.PROCESS_LIMIT),
        (Stopped.OUTPUT, Phase.TRAIN, Outcome.CRASH, Kind.OUTPUT_LIMIT),
        (Stopped.STALLED, Phase.TRAIN, Outcome.STALLED, Kind.STALLED),
        (Stopped.CANCELLED, Phase.TRAIN, Outcome.LOST, Kind.CANCELLED),
    ],
)
@pytest.mark.parametrize("status", [0, 9, 15, 256, None])
def test_what_the_supervisor_did_counts_before_all_else(stopped, phase, outcome, kind, status):
    tail = raised("torch.OutOfMemoryError: CUDA out of memory.")
    seen = {"stopped": stopped, "phase": phase, "wait_status": status, "kernel_oom_kills": 1, "group_oom_kills": 1}
    found = classify(evidence(tail=tail, **seen))
    assert (found.outcome, found.kind) == (outcome, kind)
    assert phase in found.reason


@pytest.mark.parametrize("stopped", Stopped)
@pytest.mark.parametrize("phase", Phase)
def test_every_reason_of_the_supervisor_has_a_finding_in_every_phase(stopped, phase):
    assert classify(evidence(stopped=stopped, phase=phase)).outcome is not Outcome.OK


def test_gpu_watchdog_gives_numbers_where_it_has_them():
    seen = {"stopped": Stopped.GPU_MEMORY, "peak_gpu_bytes": 9 * GIB, "gpu_limit_bytes": 8 * GIB}
    found = classify(evidence(**seen))
    assert found.numbers == {"in_use_bytes": 9 * GIB, "limit_bytes": 8 * GIB}
    assert "9.00 GiB" in found.reason and "8.00 GiB" in found.reason


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
    "ValueError: RESOURCE_EXHAUSTED: Out of memory allocating 4294967296 bytes.",
    "torch.OutOfMemoryError: Allocation on device 0 would exceed allowed memory. (out of memory)",
    "cupy.cuda.memory.OutOfMemoryError: Out of memory allocating 8,000,000,000 bytes (allocated so far: 512 bytes).",
    "numba.cuda.cudadrv.driver.CudaAPIError: [2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY",
    "MemoryError: std::bad_alloc: out_of_memory: CUDA error at: x.hpp:70: cudaErrorMemoryAllocation out of memory",
    "RuntimeError: Triton Error [CUDA]: out of memory",
    "RuntimeError: UR error: UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY",
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
    "pyarrow.lib.ArrowMemoryError: malloc of size 7036874417766400 failed",
    "ImportError: libtorch_cpu.so: failed to map segment from shared object: Cannot allocate memory",
]
SHARED_FORMS = [
    "RuntimeError: DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that dataloader's "
    "workers are out of shared memory. Please try to raise your shared memory limit.",
    "RuntimeError: unable to write to file </torch_12_345>: No space left on device (28)",
    "RuntimeError: unable to allocate shared memory(shm) for file </torch_1_2>: No space left on device (28)",
    "OSError: [Errno 28] No space left on device: '/dev/shm/pymp-1'",
]
DISK_FORMS = [
    "OSError: [Errno 28] No space left on device",
    "OSError: [Errno 27] File too large",
    "OSError: [Errno 122] Disk quota exceeded: 'x'",
    "RuntimeError: [enforce fail at inline_container.cc:664] . unexpected pos 128 vs 22",
    "RuntimeError: PytorchStreamWriter failed writing file data/0: file write failed",
]
MAYBE_FORMS = [
    "RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "RuntimeError: Unable to find an engine to execute this computation",
    "RuntimeError: cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
]
KERNEL_FORMS = [
    "triton.errors.OutOfResources: out of resource: shared memory, Required: 131072, Hardware limit: 101376.",
    "torch._inductor.exc.InductorError: RuntimeError: No valid triton configs. OutOfMemoryError: out of resource: "
    "triton_red_fused_1 Required: 131072 Hardware limit:101376 Reducing block sizes or `num_stages` may help.",
    "torch.AcceleratorError: CUDA error: too many resources requested for launch",
]
OTHER_FORMS = {
    "ValueError: shapes do not match": Kind.EXCEPTION,
    "AssertionError: loss is nan": Kind.ASSERTION,
    "AssertionError": Kind.ASSERTION,
    "AssertionError: expected CUDA out of memory": Kind.ASSERTION,
    "ModuleNotFoundError: No module named 'flash_attn'": Kind.IMPORT_ERROR,
    "ImportError: libgomp.so.1: cannot allocate memory in static TLS block": Kind.IMPORT_ERROR,
    "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)": Kind.EXCEPTION,
    "RuntimeError: expected contiguous memory format, got a tensor of 3 GiB": Kind.EXCEPTION,
    "RuntimeError: CUDA error: device-side assert triggered": Kind.EXCEPTION,
    "RuntimeError: CUDA error: an illegal memory access was encountered": Kind.EXCEPTION,
    "KeyError: 'CUDA out of memory'": Kind.EXCEPTION,
    "RuntimeError: can't start new thread": Kind.PROCESS_LIMIT,
    "train.<locals>.Diverged: loss is inf": Kind.EXCEPTION,
    "zlib.error: Error -3 while decompressing data": Kind.EXCEPTION,
    "FileNotFoundError: [Errno 2] No such file or directory: 'CUDA out of memory'": Kind.EXCEPTION,
}
FORMS = [
    *((form, Outcome.OOM_GPU, Kind.OOM_GPU) for form in GPU_FORMS),
    *((form, Outcome.OOM_HOST, Kind.OOM_HOST) for form in HOST_FORMS),
    *((form, Outcome.OOM_HOST, Kind.SHM_EXHAUSTED) for form in SHARED_FORMS),
    *((form, Outcome.DISK_FULL, Kind.DISK_FULL) for form in DISK_FORMS),
    *((form, Outcome.CRASH, Kind.MAYBE_OOM_GPU) for form in MAYBE_FORMS),
    *((form, Outcome.CRASH, Kind.KERNEL_RESOURCES) for form in KERNEL_FORMS),
    *((form, Outcome.CRASH, kind) for form, kind in OTHER_FORMS.items()),
]


@pytest.mark.parametrize(("line", "outcome", "kind"), FORMS)
def test_the_last_uncaught_exception_tells_how_it_failed(line, outcome, kind):
    found = classify(evidence(code=1, tail=raised(line)))
    assert (found.outcome, found.kind) == (outcome, kind)
    assert line[:300] in found.reason or "asked for" in found.reason


@pytest.mark.parametrize(("line", "outcome", "kind"), FORMS)
def test_text_never_fails_a_run_that_succeeded(line, outcome, kind):
    found = classify(evidence(code=0, tail=raised(line), kernel_oom_kills=1))
    assert (found.outcome, found.kind) == (Outcome.OK, Kind.OK)


@pytest.mark.parametrize(("line", "outcome", "kind"), FORMS)
@pytest.mark.parametrize("code", [1, 2, 137])
def test_an_exception_that_was_caught_and_logged_is_a_crash_with_a_note(line, outcome, kind, code):
    found = classify(evidence(code=code, tail=f"caught {line}\ngiving up\n"))
    assert (found.outcome, found.kind) == (Outcome.CRASH, Kind.NONZERO_EXIT)
    if outcome in (Outcome.OOM_GPU, Outcome.OOM_HOST):
        assert "its log shows a lack of" in found.reason


@pytest.mark.parametrize(("line", "outcome", "kind"), FORMS)
def test_a_lack_that_was_survived_does_not_explain_the_failure_that_follows(line, outcome, kind):
    flushed_at_exit = f"caught {line}: retrying\n"
    found = classify(evidence(code=1, tail=raised(line) + raised("ValueError: real") + flushed_at_exit))
    assert (found.outcome, found.kind) == (Outcome.CRASH, Kind.EXCEPTION)
    assert found.reason.startswith("ValueError: real")


def test_numbers_of_a_cuda_oom():
    found = classify(evidence(code=1, tail=raised(CUDA)))
    assert found.numbers == {
        "requested_bytes": 5 * GIB // 2,
        "limit_bytes": int(79.11 * GIB),
        "free_bytes": GIB // 2,
        "in_use_bytes": int(78.5 * GIB),
        "allocated_bytes": 70 * GIB,
        "fragmented_bytes": 5 * GIB // 4,
    }


def test_numbers_of_a_host_oom_name_request_and_limit():
    found = classify(evidence(code=1, tail=raised(HOST_FORMS[3])))
    assert found.numbers == {"requested_bytes": 70368744177664, "limit_bytes": 2 * GIB, "in_use_bytes": GIB}


@pytest.mark.parametrize("form", KERNEL_FORMS[:2])
def test_numbers_of_a_triton_kernel(form):
    found = classify(evidence(code=1, tail=raised(form)))
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
    assert found.kind is Kind.EXCEPTION and found.reason.startswith("KeyError: 'x'; its log shows")


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
    assert found.kind is Kind.EXCEPTION and found.reason.startswith("ValueError: real; its log shows")


def test_a_syntax_error_has_no_traceback_and_is_found():
    tail = '  File "train.py", line 2\n    def f(:\n          ^\nSyntaxError: invalid syntax\n'
    assert classify(evidence(code=1, tail=tail)).reason == "SyntaxError: invalid syntax"


def test_a_traceback_cut_off_at_its_end_is_an_ordinary_failure():
    tail = 'Traceback (most recent call last):\n  File "train.py", line 2\n'
    assert classify(evidence(code=1, tail=tail)).outcome is Outcome.CRASH


def test_empty_output_is_no_trouble():
    assert classify(evidence(code=1)).reason == "exit code 1"


# --- whose exception it was --------------------------------------------------------------------------------------

FRAMES = '  File "train.py", line 3, in <module>\n    main()\n'
HEADER = "Traceback (most recent call last):\n"
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."


def of_rank(rank, text):
    return "".join(f"[rank{rank}]: {line}\n" for line in text.splitlines())


def mixed(*texts):
    """The lines of several processes, as they arrive on one pipe: turn about."""
    lines = [text.splitlines() for text in texts]
    return "\n".join(each[k] for k in range(max(map(len, lines))) for each in lines if k < len(each)) + "\n"


TORCHRUN = """{header}  File "/x/bin/torchrun", line 6, in <module>
    sys.exit(main())
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
------------------------------------------------------------
Failures:
[1]:
  time      : 2026-01-01_00:00:00
  rank      : 0 (local_rank: 0)
  exitcode  : 1 (pid: 10)
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-01-01_00:00:00
  host      : here
  rank      : {rank} (local_rank: {rank})
  exitcode  : {code} (pid: 11)
  error_file: <N/A>
  traceback : {why}
============================================================
"""


def torchrun(rank=1, code=1, why="To enable traceback see: https://x"):
    return TORCHRUN.format(header=HEADER, rank=rank, code=code, why=why)


def test_of_ranks_the_first_to_fail_counts_though_their_lines_are_mixed():
    lost = of_rank(0, raised("torch.distributed.DistBackendError: Connection closed by peer"))
    tail = mixed("[rank1]: a line of its own\n" + of_rank(1, raised(OOM)), "one\ntwo\nthree\n" + lost)
    assert classify(evidence(code=1, tail=tail)).kind is Kind.OOM_GPU


def test_torchrun_names_the_rank_that_failed():
    tail = of_rank(0, raised("RuntimeError: Connection closed by peer")) + of_rank(1, raised(OOM))
    assert classify(evidence(code=1, tail=tail + torchrun(rank=1))).kind is Kind.OOM_GPU
    assert classify(evidence(code=1, tail=tail + torchrun(rank=0))).kind is Kind.EXCEPTION


def test_torchrun_without_ranks_in_the_output_takes_the_exception_before_its_own():
    assert classify(evidence(code=1, tail=raised("MemoryError") + torchrun())).kind is Kind.OOM_HOST


def test_a_rank_that_was_killed_is_an_oom_only_if_the_kernel_killed():
    tail = torchrun(code=-9, why="Signal 9 (SIGKILL) received by PID 11")
    assert classify(evidence(code=1, tail=tail, kernel_oom_kills=1)).kind is Kind.OOM_HOST
    assert classify(evidence(code=1, tail=tail, kernel_oom_kills=1, group_oom_kills=0)).kind is Kind.EXCEPTION
    alone = classify(evidence(code=1, tail=tail))
    assert alone.kind is Kind.EXCEPTION and "Signal 9 (SIGKILL) received by PID 11" in alone.reason


def test_prefixes_of_ranks_may_stand_twice_and_colours_may_be_in_between():
    coloured = HEADER + '  File \x1b[35m"train.py"\x1b[0m, line \x1b[35m3\x1b[0m, in f\n\x1b[1;35mMemoryError\x1b[0m\n'
    tail = "".join(f"[default0]:[rank0]: {line}\n" for line in coloured.splitlines())
    assert classify(evidence(code=1, tail=tail)).kind is Kind.OOM_HOST


GROUP = """  + Exception Group Traceback (most recent call last):
  |   File "train.py", line 3, in <module>
  |     raise ExceptionGroup("CUDA out of memory", found)
  | ExceptionGroup: two things (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "train.py", line 2, in f
    |     raise ValueError("MemoryError")
    | ValueError: nothing
    +---------------- 2 ----------------
    | {line}
    +------------------------------------
"""


@pytest.mark.parametrize(
    ("line", "kind"), [("MemoryError", Kind.OOM_HOST), (OOM, Kind.OOM_GPU), ("KeyError: 1", Kind.EXCEPTION)]
)
def test_of_a_group_each_exception_counts_and_no_line_of_source(line, kind):
    assert classify(evidence(code=1, tail=GROUP.format(line=line))).kind is kind


def test_a_line_of_source_is_no_message():
    tail = HEADER + '  File "t.py", line 3, in f\n    raise ValueError("torch.OutOfMemoryError")\nValueError: x\n'
    assert classify(evidence(code=1, tail=tail)).kind is Kind.EXCEPTION


def test_lines_of_other_processes_within_a_traceback_do_not_end_it():
    tail = HEADER + FRAMES + "step 3 of 9\n" + FRAMES + "loss 2.0\nMemoryError\n"
    assert classify(evidence(code=1, tail=tail)).kind is Kind.OOM_HOST


@pytest.mark.parametrize(
    "before",
    [
        "Exception in thread Thread-1 (f):\n",
        "Exception ignored in: <function f>\n",
        "Process SpawnProcess-1:\n",
        "--- Logging error ---\n",
        "Error in atexit._run_exitfuncs:\n",
        "Task exception was never retrieved\nfuture: <Task finished>\n",
        'Exception in thread Thread-2:\nmultiprocessing.pool.RemoteTraceback: \n"""\n',
    ],
)
@pytest.mark.parametrize("chained", [False, True])
def test_the_exceptions_of_others_do_not_end_the_program(before, chained):
    tail = before + HEADER + FRAMES + "MemoryError\n"
    if chained:
        tail += "During handling of the above exception, another exception occurred:\n" + HEADER + FRAMES + OOM + "\n"
    found = classify(evidence(code=1, tail=tail))
    assert found.kind is Kind.NONZERO_EXIT and "its log shows a lack of" in found.reason
    assert classify(evidence(tail=tail)).kind is Kind.OK


def test_the_exception_of_a_spawned_process_is_raised_again_in_its_parent():
    again = "torch.multiprocessing.spawn.ProcessRaisedException:\n-- Process 0 terminated with the following error:\n"
    assert classify(evidence(code=1, tail=raised(again) + raised(OOM))).kind is Kind.OOM_GPU


def test_a_remote_traceback_is_a_cause_and_the_last_exception_counts():
    cause = 'multiprocessing.pool.RemoteTraceback: \n"""\n' + raised("MemoryError") + '"""\n'
    cause += "The above exception was the direct cause of the following exception:\n"
    assert classify(evidence(code=1, tail=cause + raised("MemoryError"))).kind is Kind.OOM_HOST
    assert classify(evidence(code=1, tail=cause + raised("ValueError: no pool"))).kind is Kind.EXCEPTION


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (
            ["torch._dynamo.exc.BackendCompilerFailed: backend='inductor' raised:", OOM.removeprefix("torch.")],
            "oom_gpu",
        ),
        (
            [
                "torch.distributed.DistBackendError: NCCL error in: x.cpp:9, unhandled cuda error",
                "ncclUnhandledCudaError: Call to CUDA function failed.",
                "Last error:",
                "Cuda failure 2 'out of memory'",
            ],
            "oom_gpu",
        ),
        (["ray.exceptions.RayTaskError(OutOfMemoryError): ray::f()", "node running low on memory"], "oom_host"),
        (["RuntimeError: ", "CUDA out of memory. Tried to allocate 1.00 GiB"], "oom_gpu"),
        (["ValueError: too long", "the note of it: CUDA out of memory is likely"], "exception"),
    ],
)
def test_a_message_of_many_lines_counts_where_a_library_writes_so(lines, kind):
    assert classify(evidence(code=1, tail=raised(*lines))).kind == kind


def test_a_syntax_error_in_an_imported_module_and_one_of_indentation():
    imported = HEADER + FRAMES + '  File "model.py", line 2\n    def f(:\n          ^\nSyntaxError: invalid syntax\n'
    indented = '  File "t.py", line 3\n    return 1\n    ^\nIndentationError: expected an indented block\n'
    for tail in imported, indented:
        assert classify(evidence(code=1, tail=tail)).kind is Kind.SYNTAX_ERROR


def test_a_full_dev_shm_is_told_from_a_full_disk_by_who_wrote():
    frames = '  File "/usr/lib/python3.11/multiprocessing/shared_memory.py", line 108, in __init__\n'
    line = "OSError: [Errno 28] No space left on device\n"
    assert classify(evidence(code=1, tail=HEADER + FRAMES + frames + line)).kind is Kind.SHM_EXHAUSTED
    assert classify(evidence(code=1, tail=HEADER + FRAMES + line)).kind is Kind.DISK_FULL


@pytest.mark.parametrize(("source", "kind"), [("os.fork()", Kind.PROCESS_LIMIT), ("lock(f)", Kind.EXCEPTION)])
def test_a_fork_that_is_refused_is_told_from_a_lock_that_is_taken(source, kind):
    line = "BlockingIOError: [Errno 11] Resource temporarily unavailable\n"
    assert classify(evidence(code=1, tail=HEADER + f'  File "t.py", line 3, in f\n    {source}\n' + line)).kind is kind


# --- kills by the kernel -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "group", "machine", "kind"),
    [
        (9, 1, 1, Kind.OOM_HOST),
        (1 << 8, 1, 1, Kind.OOM_HOST),  # a child was killed, and it could not go on
        (0, 1, 1, Kind.OK),
        (9, 0, 1, Kind.KILLED_UNEXPLAINED),  # the kernel killed somebody else
        (9, None, 1, Kind.OOM_HOST),
        (9, None, 0, Kind.KILLED_UNEXPLAINED),
        (None, 0, 1, Kind.KILLED_UNEXPLAINED),
        (137 << 8, None, 0, Kind.NONZERO_EXIT),
        (137 << 8, None, 1, Kind.OOM_HOST),  # what a shell makes of a child that was killed
        (137 << 8, 0, 1, Kind.NONZERO_EXIT),
        (1 << 8, None, 1, Kind.NONZERO_EXIT),
        (139 << 8, None, 1, Kind.NONZERO_EXIT),
        (11, None, 1, Kind.NATIVE_CRASH),
        (15, None, 1, Kind.SIGNAL),
    ],
)
def test_a_kill_counts_as_an_oom_only_with_the_kernel_as_its_witness(status, group, machine, kind):
    found = classify(evidence(wait_status=status, group_oom_kills=group, kernel_oom_kills=machine))
    assert found.kind is kind
    assert found.numbers == ({"in_use_bytes": GIB, "limit_bytes": 2 * GIB} if kind is Kind.OOM_HOST else {})


def test_a_child_that_the_kernel_killed_and_that_was_survived_is_noted():
    assert "survived" in classify(evidence(group_oom_kills=2)).reason


@pytest.mark.parametrize(
    "line",
    [
        "concurrent.futures.process.BrokenProcessPool: A process in the process pool was terminated abruptly",
        "torch.multiprocessing.spawn.ProcessExitedException: process 0 terminated with signal SIGKILL",
        "subprocess.CalledProcessError: Command '['x']' died with <Signals.SIGKILL: 9>.",
        "RuntimeError: DataLoader worker (pid(s) 12) exited unexpectedly",
    ],
)
def test_a_child_that_died_is_an_oom_only_if_the_kernel_killed(line):
    assert classify(evidence(code=1, tail=raised(line), kernel_oom_kills=1)).kind is Kind.OOM_HOST
    assert classify(evidence(code=1, tail=raised(line))).kind is Kind.EXCEPTION


@pytest.mark.parametrize(
    "said", ["memory allocation of 137438953472 bytes failed", "LLVM ERROR: out of memory", "  what():  std::bad_alloc"]
)
def test_a_runtime_that_aborts_says_why(said):
    assert classify(evidence(signal=6, tail=f"step 1\n{said}\n")).kind is Kind.OOM_HOST
    assert classify(evidence(signal=11, tail=f"step 1\n{said}\n")).kind is Kind.NATIVE_CRASH


# --- where, and how much -----------------------------------------------------------------------------------------


def of_frames(*frames, line=OOM):
    return HEADER + "".join(f'  File "{path}", line 9, in {name}\n    x()\n' for path, name in frames) + line + "\n"


TORCH = "/venv/lib/python3.12/site-packages/torch"
CALL = (f"{TORCH}/nn/modules/module.py", "_call_impl")
BACKWARD = ((f"{TORCH}/_tensor.py", "backward"), (f"{TORCH}/autograd/graph.py", "_engine_run_backward"))


@pytest.mark.parametrize(
    ("frames", "place"),
    [
        ([CALL, ("train.py", "forward")], "forward"),
        ([*BACKWARD], "backward"),
        ([*BACKWARD, (f"{TORCH}/utils/checkpoint.py", "recompute_fn"), CALL], "backward"),
        ([(f"{TORCH}/optim/adamw.py", "step")], "optimizer"),
        ([(f"{TORCH}/optim/lbfgs.py", "step"), ("train.py", "closure"), CALL], "forward"),
        ([CALL, (f"{TORCH}/_dynamo/convert_frame.py", "_compile")], "compile"),
        ([(f"{TORCH}/_dynamo/eval_frame.py", "compile_wrapper"), CALL], "forward"),
        ([(f"{TORCH}/utils/data/dataloader.py", "__next__")], "data"),
        ([(f"{TORCH}/serialization.py", "save")], "checkpoint"),
        ([("train.py", "main")], None),
    ],
)
def test_the_frames_tell_the_part_of_the_training(frames, place):
    assert where(uncaught(of_frames(("train.py", "<module>"), *frames))) == place


def test_the_reason_says_where_and_how_much():
    line = (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 "
        "GiB of which 1.20 GiB is free."
    )
    found = classify(evidence(code=1, tail=of_frames(*BACKWARD, line=line), phase=Phase.SMOKE))
    assert found.reason == (
        "out of GPU memory in the backward pass (phase smoke): asked for 2.00 GiB, 1.20 GiB free of 79.10 GiB"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "CUDA out of memory. Tried to allocate 36.00 MiB (GPU 0; 8.00 GiB total capacity; 5.00 GiB already "
            "allocated; 47.00 MiB free; 7.00 GiB reserved in total by PyTorch)",
            {"requested": 36 * 2**20, "limit": 8 * GIB, "free": 47 * 2**20, "in_use": 7 * GIB, "allocated": 5 * GIB,
             "fragmented": 2 * GIB},
        ),
        (
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 80.00 GiB of which 60.00 "
            "GiB is free. Process 7 has 1.00 GiB memory in use. Including non-PyTorch memory, this process has 19.00 "
            "GiB memory in use. 20.00 GiB allowed; Of the allocated memory 17.00 GiB is allocated by PyTorch, with "
            "1.00 GiB allocated in private pools (e.g., CUDA Graphs), and 2.00 GiB is reserved by PyTorch but "
            "unallocated.",
            {"requested": 2 * GIB, "limit": 20 * GIB, "free": GIB, "in_use": 19 * GIB, "allocated": 17 * GIB,
             "fragmented": 2 * GIB},
        ),
        (
            "Allocation on device 0 would exceed allowed memory. (out of memory)\nCurrently allocated     : 9.00 GiB\n"
            "Requested               : 640.00 MiB\nDevice limit            : 12.00 GiB\nFree (according to CUDA): "
            "7.00 MiB\nPyTorch limit (set by user-supplied memory fraction)\n                        : 10.00 GiB",
            {"requested": 640 * 2**20, "limit": 10 * GIB, "free": 7 * 2**20, "in_use": 9 * GIB},
        ),
        (
            "Out of memory allocating 8,000,000 bytes (allocated so far: 1,024 bytes, limit set to: 2,048 bytes).",
            {"requested": 8_000_000, "in_use": 1024, "limit": 2048},
        ),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 12.00GiB.", {"requested": 12 * GIB}),
        (
            "MPS backend out of memory (MPS allocated: 18.00 GB, other allocations: 1.00 MB, max allowed: 20.00 GB). "
            "Tried to allocate 3.00 GB on private pool.",
            {"requested": 3 * GIB, "in_use": 18 * GIB, "limit": 20 * GIB},
        ),
    ],
)  # fmt: skip
def test_sizes_are_read_from_the_messages_of_each_allocator(text, told):
    assert numbers(text) == {f"{name}_bytes": amount for name, amount in told.items()}


def test_without_sizes_in_its_message_an_oom_takes_those_seen_from_outside():
    seen = {"peak_gpu_bytes": 3 * GIB, "gpu_limit_bytes": 4 * GIB}
    found = classify(evidence(code=1, tail=raised("RuntimeError: CUDA error: out of memory"), **seen))
    assert found.numbers == {"in_use_bytes": 3 * GIB, "limit_bytes": 4 * GIB}


@pytest.mark.parametrize("amount", ["9" * 4000, "1.2.3", "...", "1,,,", "9" * 31, "0", "٣", "1e999"])
@pytest.mark.parametrize("unit", ["EiB", "bytes", "XiB", ""])
def test_no_size_that_a_candidate_prints_breaks_the_reading(amount, unit):
    line = (
        f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {amount} {unit}. Required: {amount}, Hardware"
    )
    found = classify(evidence(code=1, tail=raised(f"{line} limit: {amount}")))
    assert found.kind is Kind.OOM_GPU
    assert all(0 <= number < 2**63 for number in found.numbers.values())


def test_a_size_is_read_in_powers_of_1024():
    assert [size("1.50", "KiB"), size("2", "GB"), size("1,000", "bytes"), size("7", "B")] == [1536, 2 * GIB, 1000, 7]


# --- whatever it prints ------------------------------------------------------------------------------------------

PIECES = [
    *("step 12 loss 2.3456\n", "x" * 5000 + "\n", "CUDA " * 900 + "\n", HEADER, FRAMES, "NCCL " * 900 + "\n"),
    *("[rank0]: [rank1]: x\n", "Unable to allocate " * 90 + "\n", "SyntaxError: x\n  y\n", "[rank1]:" * 500),
    *("  + Exception Group Traceback (most recent call last):\n", "  | a.b.c.d.e" * 300 + "\n", "a." * 2000 + "\n"),
    *("RemoteTraceback:\n", "1,1" * 1300 + " free", "Root Cause rank  : \n", "Requested" + " " * 4000 + "\n"),
    *("torch.distributed.elastic.multiprocessing.errors.ChildFailedError:\n", "\x1b[0;1m" * 99, '"""\n', "|" * 4000),
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("code", [0, 1])
def test_the_time_to_read_a_log_grows_with_its_length_alone(piece, code):
    def seconds(size):
        tail = (HEADER + FRAMES + "torch.X: y\n") + piece * (size // len(piece))
        began = time.process_time()
        classify(evidence(code=code, tail=tail))
        return time.process_time() - began

    short, long = min(seconds(2**15) for _ in range(3)), min(seconds(2**17) for _ in range(2))
    assert long < 10 * short + 0.05  # four times the length; a square would be sixteen


def test_a_long_log_before_the_last_exception_is_read_to_its_end():
    tail = "step 1 loss 2.0\n" * 100_000 + raised("MemoryError")
    assert classify(evidence(code=1, tail=tail)).kind is Kind.OOM_HOST


def test_every_pair_of_pieces_gives_some_finding():
    for first in PIECES:
        for second in PIECES:
            for code in (0, 1):
                found = classify(evidence(code=code, tail=first + second))
                assert (found.kind is Kind.OK) == (code == 0)


def test_a_lack_has_one_name_in_the_table_of_forms():
    assert {lack(form) for form in GPU_FORMS} == {Lack.GPU}
    assert {lack(form) for form in DISK_FORMS} == {Lack.DISK}
