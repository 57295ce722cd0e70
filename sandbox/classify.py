"""`classify(evidence) -> Finding`: how a run ended, by the strongest evidence there is.

In this order: what the supervisor itself did; a kill for lack of memory in the run's own control group; a SIGKILL
while the machine killed for lack of memory; exit code 0, whatever was printed; the last uncaught exception; the
signal. A pure table: the same evidence gives the same finding, on any machine.

What a candidate can fake: its output is its own word, so a script that fails anyway can print a traceback and look as
if it had failed for another reason: a crash as a lack of memory, or as a full disk. It never gains by it. A failed
run has no loss, no text makes a run fail that ended with 0, and no text hides a time that was up, a limit that was
passed or a kill: these are seen from outside. What it can reach is a wrong hint for the next proposal.

Not covered: a loss that is not finite (`diverged`) and a candidate that the judge refuses (`rejected`) are
found by those who see numbers. Outcomes are coarser than kinds: too many processes, too much output, a kernel that
wants more on-chip memory than there is, and failures that *may* come from a full GPU are crashes; an exhausted
/dev/shm is `oom_host`.
"""

import os
import re
import signal

from sandbox.failure_text import Failure, aborted, uncaught, where
from sandbox.lack import Lack, lack, numbers
from sandbox.spec import Evidence, Finding, Kind, Outcome, Phase, Stopped

_NATIVE = (signal.SIGSEGV, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGSYS, signal.SIGTRAP)
_LACKS = {
    Lack.GPU: (Outcome.OOM_GPU, Kind.OOM_GPU),
    Lack.MAYBE_GPU: (Outcome.CRASH, Kind.MAYBE_OOM_GPU),
    Lack.HOST: (Outcome.OOM_HOST, Kind.OOM_HOST),
    Lack.SHARED: (Outcome.OOM_HOST, Kind.SHM_EXHAUSTED),
    Lack.DISK: (Outcome.DISK_FULL, Kind.DISK_FULL),
    Lack.KERNEL: (Outcome.CRASH, Kind.KERNEL_RESOURCES),
    Lack.PROCESSES: (Outcome.CRASH, Kind.PROCESS_LIMIT),
}
_TIMEOUTS = {
    Phase.STARTUP: Outcome.TIMEOUT_STARTUP,
    Phase.SMOKE: Outcome.TIMEOUT_STARTUP,
    Phase.TRAIN: Outcome.TIMEOUT_TRAIN,
    Phase.JUDGE: Outcome.REJECTED,
}
_KINDS = {
    "ImportError": Kind.IMPORT_ERROR,
    "ModuleNotFoundError": Kind.IMPORT_ERROR,
    "SyntaxError": Kind.SYNTAX_ERROR,
    "IndentationError": Kind.SYNTAX_ERROR,
    "TabError": Kind.SYNTAX_ERROR,
    "AssertionError": Kind.ASSERTION,
}
_NEVER_A_LACK = {  # raised about the code itself: what else their message names was written by its author
    *("AssertionError", "SyntaxError", "IndentationError", "TabError", "ModuleNotFoundError", "NameError", "KeyError"),
    *("AttributeError", "TypeError", "IndexError", "ZeroDivisionError", "UnboundLocalError", "RecursionError"),
    *("KeyboardInterrupt", "NotImplementedError", "StopIteration", "FileNotFoundError", "PermissionError"),
}
_PLACES = {
    "forward": " in the forward pass",
    "backward": " in the backward pass",
    "optimizer": " in the optimizer step",
    "compile": " while compiling",
    "data": " in the data loader",
    "checkpoint": " while saving or loading a checkpoint",
}
_CHILD_KILLED = re.compile(  # what a program says of a child that was killed
    r"is killed by signal: Killed|exited unexpectedly|process pool was terminated abruptly|signal SIGKILL|SIGKILL: 9"
    r"|Signal 9 \(SIGKILL\)|exitcode\s{1,20}: -9|Killed signal terminated program|returned non-zero exit status 137"
)
_SHARED_FRAMES = ("multiprocessing/shared_memory.py", "multiprocessing/synchronize.py", "multiprocessing/heap.py")


def classify(evidence: Evidence) -> Finding:
    """The outcome, one sentence of reason, the kind, and numbers where memory ran out."""
    if evidence.stopped is not None:
        return _stopped(evidence, evidence.stopped)
    status = evidence.wait_status
    if _killed_for_memory(evidence):
        reason = f"the kernel killed it for lack of memory{_phase(evidence)}"
        return Finding(Outcome.OOM_HOST, reason, _host_numbers(evidence), Kind.OOM_HOST)
    if status is None:
        reason = "it ended without a status: its keeper in the jail was killed"
        return Finding(Outcome.LOST, reason, kind=Kind.KILLED_UNEXPLAINED)
    if os.WIFSIGNALED(status):
        return _signalled(evidence, os.WTERMSIG(status))
    code = os.WEXITSTATUS(status)
    return _finished(evidence) if code == 0 else _failed(evidence, code)


def _killed_for_memory(evidence: Evidence) -> bool:
    """Whether the kernel ended it, or a part of it that it could not do without, for lack of memory."""
    status = evidence.wait_status
    if status == 0:
        return False
    if evidence.group_oom_kills is not None:  # counts every such kill in the group, and none outside
        return evidence.group_oom_kills > 0
    killed = status is None or status & 0x7F == signal.SIGKILL or status == 137 << 8  # 137: a shell's word for it
    return killed and evidence.kernel_oom_kills > 0


def _stopped(evidence: Evidence, reason: Stopped) -> Finding:
    phase = f"in phase {evidence.phase}"
    note = _note(evidence)
    match reason:
        case Stopped.TIME:
            spent = evidence.seconds.get(evidence.phase, 0.0)
            sentence = f"its time was up after {spent:.1f} s of phase {evidence.phase}{note}"
            return Finding(_TIMEOUTS[evidence.phase], sentence, kind=Kind.TIMEOUT)
        case Stopped.MEMORY:
            found = _host_numbers(evidence)
            sentence = f"it used {_size(found['in_use_bytes'])} of host memory {phase}"
            sentence += f", its limit is {_size(found['limit_bytes'])}"
            return Finding(Outcome.OOM_HOST, sentence, found, Kind.OOM_HOST)
        case Stopped.GPU_MEMORY:
            found = _gpu_numbers(evidence)
            said = [f"{word} {_size(found[key])}" for key, word in _GPU_WORDS.items() if key in found]
            sentence = f"it passed its limit of GPU memory {phase}" + (f": {', '.join(said)}" if said else "")
            return Finding(Outcome.OOM_GPU, sentence, found, Kind.OOM_GPU)
    outcome, kind, said_of_it = _STOPPED[reason]
    return Finding(outcome, f"{said_of_it} {phase}{_amount(evidence, reason)}{note}", kind=kind)


def _amount(evidence: Evidence, reason: Stopped) -> str:
    """How much it was when it was ended."""
    if reason is Stopped.DISK:
        return f": {_size(evidence.disk_bytes)} in {evidence.disk_files:,} files and folders"
    if reason is Stopped.PROCESSES:
        return f": {evidence.peak_processes:,}"
    return f": {_size(evidence.output_bytes)}" if reason is Stopped.OUTPUT else ""


_GPU_WORDS = {"in_use_bytes": "in use", "limit_bytes": "limit"}
_STOPPED: dict[Stopped, tuple[Outcome, Kind | None, str]] = {
    Stopped.DISK: (Outcome.DISK_FULL, Kind.DISK_FULL, "its writable folders passed the disk limit"),
    Stopped.FREE_DISK: (Outcome.DISK_FULL, Kind.DISK_FULL, "the machine's disk was nearly full, whoever filled it"),
    Stopped.PROCESSES: (Outcome.CRASH, Kind.PROCESS_LIMIT, "it started more processes than its limit"),
    Stopped.OUTPUT: (Outcome.CRASH, Kind.OUTPUT_LIMIT, "it printed more than its limit"),
    Stopped.STALLED: (Outcome.STALLED, Kind.STALLED, "it showed no output and no activity for too long"),
    Stopped.CANCELLED: (Outcome.LOST, Kind.CANCELLED, "it was cancelled"),
}


def _finished(evidence: Evidence) -> Finding:
    notes = ""
    if evidence.group_oom_kills:
        notes += "; the kernel killed a process of it for lack of memory, which it survived"
    if seen := lack(evidence.tail):
        notes += f"; its log shows a lack of {seen} that it survived"
    return Finding(Outcome.OK, f"it finished{notes}", kind=Kind.OK)


def _failed(evidence: Evidence, code: int) -> Finding:
    failure = uncaught(evidence.tail) if code == 1 else None  # Python ends with 1 on an uncaught exception
    if failure is None:
        last = evidence.tail.rstrip().rpartition("\n")[2][:300]
        reason = f"exit code {code}{_note(evidence)}" + (f": {last}" if last else "")
        return Finding(Outcome.CRASH, reason, kind=Kind.NONZERO_EXIT)
    missing = _missing(evidence, failure)
    if missing is not None:
        return _lacking(evidence, missing, failure)
    kind = _KINDS.get(failure.name, Kind.EXCEPTION)
    return Finding(Outcome.CRASH, f"{failure.said}{_note(evidence)}", kind=kind)


def _lacking(evidence: Evidence, missing: Lack, failure: Failure) -> Finding:
    found = numbers(failure.text)
    if missing in (Lack.HOST, Lack.SHARED):
        found = _host_numbers(evidence) | found
    elif missing in (Lack.GPU, Lack.MAYBE_GPU):
        found = _gpu_numbers(evidence) | found
    what = _sizes(found) if missing is Lack.GPU else ""
    place = _PLACES.get(where(failure) or "", "")
    outcome, kind = _LACKS[missing]
    return Finding(outcome, f"out of {missing}{place}{_phase(evidence)}: {what or failure.said}", found, kind)


def _missing(evidence: Evidence, failure: Failure) -> Lack | None:
    """What the exception says was missing; of a dead child the log or the kernel knows the reason."""
    if failure.name in _NEVER_A_LACK or "cannot import name" in failure.line:
        return None
    found = lack(failure.text)
    if found is Lack.DISK and any(frame.partition(" in ")[0].endswith(_SHARED_FRAMES) for frame in failure.frames):
        return Lack.SHARED
    if found is None and "[Errno 11]" in failure.line and "fork" in " ".join((failure.source, *failure.frames[-1:])):
        return Lack.PROCESSES
    if found is None and _CHILD_KILLED.search(failure.text):
        if "insufficient shared memory" in evidence.tail:
            return Lack.SHARED
        if evidence.group_oom_kills is None and evidence.kernel_oom_kills:
            return Lack.HOST
    return found


def _signalled(evidence: Evidence, number: int) -> Finding:
    if number == signal.SIGKILL:
        peak, limit = _size(evidence.peak_memory_bytes), _size(evidence.memory_limit_bytes)
        reason = "it was killed (SIGKILL), neither by us nor by the kernel for memory"
        reason += f" (its peak was {peak} of {limit}){_note(evidence)}"
        return Finding(Outcome.LOST, reason, kind=Kind.KILLED_UNEXPLAINED)
    if number == signal.SIGBUS:
        reason = f"bus error: most likely {Lack.SHARED} ran out{_phase(evidence)}"
        return Finding(Outcome.OOM_HOST, reason, _host_numbers(evidence), Kind.SHM_EXHAUSTED)
    if number == signal.SIGXFSZ:
        return Finding(Outcome.DISK_FULL, "a file passed the disk limit (SIGXFSZ)", kind=Kind.DISK_FULL)
    said = aborted(evidence.tail) if number == signal.SIGABRT else ""
    missing = lack(said)
    if missing in (Lack.HOST, Lack.GPU):
        found = (_host_numbers if missing is Lack.HOST else _gpu_numbers)(evidence) | numbers(said)
        reason = f"out of {missing}{_phase(evidence)}, aborted: {said.splitlines()[-1].strip()[:300]}"
        return Finding(_LACKS[missing][0], reason, found, _LACKS[missing][1])
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    how, kind = ("native crash", Kind.NATIVE_CRASH) if number in _NATIVE else ("ended by a signal", Kind.SIGNAL)
    return Finding(Outcome.CRASH, f"{how} ({name}){_note(evidence)}", kind=kind)


def _note(evidence: Evidence) -> str:
    """A lack seen in the log of a run that ended in another way."""
    seen = lack(evidence.tail)
    return f"; its log shows a lack of {seen}" if seen else ""


def _phase(evidence: Evidence) -> str:
    return f" (phase {evidence.phase})"


def _host_numbers(evidence: Evidence) -> dict[str, int]:
    return {"in_use_bytes": evidence.peak_memory_bytes, "limit_bytes": evidence.memory_limit_bytes}


def _gpu_numbers(evidence: Evidence) -> dict[str, int]:
    """What was seen from outside; the message, where it has numbers, was there at the moment itself."""
    found = {"in_use_bytes": evidence.peak_gpu_bytes, "limit_bytes": evidence.gpu_limit_bytes}
    return {name: amount for name, amount in found.items() if amount is not None}


def _sizes(found: dict[str, int]) -> str:
    """`asked for 2.00 GiB, 1.20 GiB free of 79.10 GiB`; empty where the request is not known."""
    if "requested_bytes" not in found or not {"free_bytes", "in_use_bytes"} & found.keys():
        return ""
    word, key = ("free", "free_bytes") if "free_bytes" in found else ("in use", "in_use_bytes")
    said = f"asked for {_size(found['requested_bytes'])}, {_size(found[key])} {word}"
    said += f" of {_size(found['limit_bytes'])}" if "limit_bytes" in found else ""
    pieces = found.get("fragmented_bytes", 0)
    short = found["requested_bytes"] - found.get("free_bytes", 0)
    return said + (f"; {_size(pieces)} more in pieces (fragmented)" if 0 < short <= pieces else "")


def _size(amount: int) -> str:
    return f"{amount / 2**30:.2f} GiB" if amount >= 2**30 else f"{amount / 2**20:.2f} MiB"
