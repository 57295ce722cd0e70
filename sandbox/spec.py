"""The contract of the sandbox: what is asked of it, what it saw, and what may come of a trial.

`sandbox.supervise.run(spec, jail, watch)` returns `Evidence`, and `sandbox.classify.classify(evidence)` reads
an outcome from it. Whatever goes wrong with the program is in the evidence; whatever goes wrong with the sandbox
itself raises a `SandboxError`, so that a failure of the house is never recorded in a candidate's name.
"""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Outcome(StrEnum):
    """How an attempt ended. Only `OK` comes with a loss; no other outcome ever carries a number."""

    OK = "ok"
    BAD_PATCH = "bad_patch"
    DUPLICATE = "duplicate"
    OOM_GPU = "oom_gpu"
    OOM_HOST = "oom_host"
    TIMEOUT_STARTUP = "timeout_startup"
    TIMEOUT_TRAIN = "timeout_train"
    STALLED = "stalled"
    CRASH = "crash"
    DIVERGED = "diverged"
    DISK_FULL = "disk_full"
    REJECTED = "rejected"
    LOST = "lost"


class Kind(StrEnum):
    """How a run ended, finer than its outcome: the search learns from it, and `agent bench oom` counts by it."""

    OK = "ok"
    OOM_GPU = "oom_gpu"
    MAYBE_OOM_GPU = "maybe_oom_gpu"  # a library that could not start: often a full GPU
    OOM_HOST = "oom_host"
    SHM_EXHAUSTED = "shm_exhausted"  # /dev/shm is full
    KERNEL_RESOURCES = "kernel_resources"  # a GPU kernel wants more on-chip memory than there is: no lack of memory
    DISK_FULL = "disk_full"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    OUTPUT_LIMIT = "output_limit"
    PROCESS_LIMIT = "process_limit"
    IMPORT_ERROR = "import_error"
    SYNTAX_ERROR = "syntax_error"
    ASSERTION = "assertion"
    EXCEPTION = "exception"  # any other uncaught one
    NONZERO_EXIT = "nonzero_exit"  # without an exception in its output
    NATIVE_CRASH = "native_crash"  # SIGSEGV, SIGABRT and the like
    SIGNAL = "signal"  # any other
    KILLED_UNEXPLAINED = "killed_unexplained"  # SIGKILL, by nobody we know
    CANCELLED = "cancelled"


class Promise(StrEnum):
    """What a jail enforces. A run states its jail's promises at the start and in every record."""

    FILES = "files"  # reads and writes only what was mounted for it
    NETWORK = "network"  # no network, loopback included
    SOCKETS = "sockets"  # no unix socket of others, by path or abstract
    PROCESSES = "processes"  # cannot see a process outside
    SIGNALS = "signals"  # cannot signal or trace a process outside
    SECRETS = "secrets"  # no environment, key or file of its user within reach
    KERNEL = "kernel"  # few system calls, no capability, not the kernel's user 0
    SURVIVORS = "survivors"  # nothing outlives the trial, nor a killed agent
    TIME = "time"  # wall-clock on the supervisor's clock
    MEMORY = "memory"  # host memory of the whole tree is limited
    PIDS = "pids"  # the number of processes is limited
    DISK = "disk"  # what it may write is limited, in bytes and in files
    OUTPUT = "output"  # a flood of output is capped and ended


class Phase(StrEnum):
    """The phases of a trial, each with a deadline of its own (the smoke step shares that of the start-up)."""

    STARTUP = "startup"
    SMOKE = "smoke"  # full-size steps before the time counts: they meet a lack of memory early
    TRAIN = "train"
    JUDGE = "judge"


class Stopped(StrEnum):
    """Why the supervisor itself ended a program."""

    TIME = "time"  # the phase's deadline
    MEMORY = "memory"  # the tree passed its memory limit
    GPU_MEMORY = "gpu_memory"  # the tree passed its limit of GPU memory
    DISK = "disk"  # its writable folders passed their limit, in bytes or in files
    FREE_DISK = "free_disk"  # the machine's disk is nearly full, whoever filled it
    PROCESSES = "processes"  # more processes than allowed
    OUTPUT = "output"  # more output than allowed
    STALLED = "stalled"  # no output and no activity for too long
    CANCELLED = "cancelled"  # the caller: end of the budget, or the user


@dataclass(frozen=True)
class Mount:
    """A file or folder shown inside the jail, read-only unless `writable`.

    Attributes:
        source: where it lives on the host.
        target: absolute path inside, `~/...` for a path below the program's private home, or a path relative
            to the work folder. Without a mount namespace an absolute target equal to its source is shown as it
            is, and the others are symbolic links.
    """

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Limits:
    """Resource limits of one program and everything it starts."""

    memory_bytes: int
    gpu_bytes: int | None = None  # on each GPU it is shown
    processes: int = 256
    disk_bytes: int = 4 * 2**30  # of each file, and of all its writable folders together
    files: int = 200_000  # files and folders in its writable folders
    free_disk_bytes: int = 2**28  # what must stay free on the disk of its work folder
    output_bytes: int = 2**28
    log_bytes: int = 2 * 2**20  # kept output: half from its head, half from its tail
    stall_seconds: float | None = None  # without output, processor or GPU activity; None for no such limit


@dataclass(frozen=True)
class Spec:
    """One program to run.

    Attributes:
        argv: program and arguments; `python` and `python3` mean the interpreter that runs the agent.
        work: writable work folder, also the working directory.
        env: the complete environment (the jail adds HOME, TMPDIR and the like, and nothing of the caller's); a value
            that begins with `~/` is a path below the program's private home.
        mounts: what it may see beside the system, the interpreter and its work folder.
        phases: (phase, seconds) in order; the first begins at the start. The smoke phase has no seconds of its own:
            it shares those of the phase before it.
        limits: resource limits.
        begins: (phase, pattern): the first line of output that matches begins that phase; those before it are over.
        network: whether the network is shared.
        gpu: whether the GPU devices are shown.
        user: the user of the kernel that it becomes; None for the caller's. Filled in by `run`.
        held: whether it is held before its start until it has been put into a control group. Filled in by `run`.
    """

    argv: tuple[str, ...]
    work: Path
    env: dict[str, str]
    phases: tuple[tuple[Phase, float], ...]
    limits: Limits
    mounts: tuple[Mount, ...] = ()
    begins: tuple[tuple[Phase, re.Pattern[str]], ...] = ()
    network: bool = False
    gpu: bool = False
    user: int | None = None
    held: bool = False


@dataclass(frozen=True)
class Watch:
    """How the caller follows and ends a running program.

    Attributes:
        log: file for the kept output (cleaned of control sequences).
        on_line: called with each cleaned output line, carriage-return progress lines included.
        on_sample: called about five times a second with (phase, seconds in it, memory in bytes).
        cancel: set it to end the program now (`Stopped.CANCELLED`).
        deadline: `time.monotonic()` value at which the program is ended as if cancelled; None for no end.
    """

    log: Path
    on_line: Callable[[str], None] = lambda line: None
    on_sample: Callable[[Phase, float, int], None] = lambda phase, seconds, memory: None
    cancel: threading.Event = field(default_factory=threading.Event)
    deadline: float | None = None


@dataclass(frozen=True)
class Evidence:
    """What was seen from outside of a program that has ended. Only `tail` is the program's own word.

    Attributes:
        jail: name of the jail it ran in.
        wait_status: raw status of the program as `os.waitpid` gives it (so that exit code 137 and signal 9
            differ); None when it ended before it could be told.
        stopped: why the supervisor ended it; None when it ended by itself.
        phase: the phase in which it ended.
        seconds: wall-clock seconds spent in each phase.
        peak_memory_bytes: highest memory of the tree that was sampled.
        memory_limit_bytes: the limit that was in force.
        kernel_oom_kills: by how much the machine's count of out-of-memory kills rose meanwhile.
        group_oom_kills: out-of-memory kills in the program's own control group; None where it had none.
        peak_gpu_bytes: highest GPU memory of the tree that was sampled; None where nobody looked.
        gpu_limit_bytes: the limit of GPU memory that was in force.
        peak_processes: highest number of processes.
        disk_bytes, disk_files: bytes, files and folders in its writable folders when last looked at.
        output_bytes: all output, kept or not.
        tail: the end of the cleaned output, at most half of `Limits.log_bytes`.
        kill_seconds: how long ending the tree took; None when nothing had to be ended.
    """

    jail: str
    wait_status: int | None
    stopped: Stopped | None
    phase: Phase
    seconds: dict[Phase, float]
    peak_memory_bytes: int
    memory_limit_bytes: int
    kernel_oom_kills: int
    output_bytes: int
    tail: str
    kill_seconds: float | None = None
    group_oom_kills: int | None = None
    peak_gpu_bytes: int | None = None
    gpu_limit_bytes: int | None = None
    peak_processes: int = 0
    disk_bytes: int = 0
    disk_files: int = 0


@dataclass(frozen=True)
class Finding:
    """What `classify` reads from evidence: the outcome, one sentence of reason, its kind, and the numbers of an OOM."""

    outcome: Outcome
    reason: str
    numbers: dict[str, int] = field(default_factory=dict)  # e.g. requested_bytes, in_use_bytes, limit_bytes
    kind: Kind | None = None  # None where it is not the end of a run that is told


class SandboxError(Exception):
    """The sandbox itself failed. The message is one sentence and the next step."""


class JailUnavailable(SandboxError):
    """The jail that was asked for does not work on this machine."""


class SurvivorsLeft(SandboxError):
    """Processes of a trial could not be killed."""


class GpuMemoryHeld(SandboxError):
    """GPU memory of a trial that has ended is not given back: nothing more may start on that GPU."""
