"""`classify(evidence) -> Finding`: how a run ended, by the strongest evidence there is.

In this order: what the supervisor itself did; a kill while the kernel was killing for memory; exit code 0,
whatever was printed; the last uncaught exception; the signal. A pure table: the same evidence gives the same
finding, on any machine.

Not covered: a loss that is not finite (`diverged`) and a candidate that the judge refuses (`rejected`) are
found by those who see numbers. Outcomes without a class of their own: too many processes, a kernel that wants
more on-chip memory than there is, and failures that *may* come from a full GPU are crashes with that reason;
an exhausted /dev/shm is `oom_host`.
"""

import os
import signal

from sandbox.failure_text import Failure, Lack, aborted, lack, numbers, uncaught
from sandbox.spec import Evidence, Finding, Outcome, Phase, Stopped

_NATIVE = (signal.SIGSEGV, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGSYS, signal.SIGTRAP)
_OUTCOMES = {
    Lack.GPU: Outcome.OOM_GPU,
    Lack.HOST: Outcome.OOM_HOST,
    Lack.SHARED: Outcome.OOM_HOST,
    Lack.DISK: Outcome.DISK_FULL,
    Lack.MAYBE_GPU: Outcome.CRASH,
    Lack.KERNEL: Outcome.CRASH,
}
_TIMEOUTS = {
    Phase.STARTUP: Outcome.TIMEOUT_STARTUP,
    Phase.TRAIN: Outcome.TIMEOUT_TRAIN,
    Phase.JUDGE: Outcome.REJECTED,
}


def classify(evidence: Evidence) -> Finding:
    """The outcome, one sentence of reason, and numbers where memory ran out."""
    if evidence.stopped is not None:
        return _stopped(evidence, evidence.stopped)
    status = evidence.wait_status
    killed = status is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL)
    if killed and evidence.kernel_oom_kills:
        return Finding(Outcome.OOM_HOST, "the kernel killed it for lack of memory", _host_numbers(evidence))
    if status is None:
        return Finding(Outcome.LOST, "it ended without a status: its keeper in the jail was killed")
    if os.WIFSIGNALED(status):
        return _signalled(evidence, os.WTERMSIG(status))
    code = os.WEXITSTATUS(status)
    return _finished(evidence) if code == 0 else _failed(evidence, code)


def _stopped(evidence: Evidence, reason: Stopped) -> Finding:
    phase = evidence.phase
    if reason is Stopped.TIME:
        spent = evidence.seconds.get(phase, 0.0)
        return Finding(_TIMEOUTS[phase], f"its time was up after {spent:.1f} s of phase {phase}")
    if reason is Stopped.MEMORY:
        peak, limit = _gib(evidence.peak_memory_bytes), _gib(evidence.memory_limit_bytes)
        sentence = f"it used {peak} of host memory in phase {phase}, its limit is {limit}"
        return Finding(Outcome.OOM_HOST, sentence, _host_numbers(evidence))
    if reason is Stopped.DISK:
        return Finding(Outcome.DISK_FULL, f"its work folder passed the disk limit in phase {phase}")
    if reason is Stopped.PROCESSES:
        return Finding(Outcome.CRASH, f"it started more processes than its limit in phase {phase}")
    return Finding(Outcome.LOST, f"it was cancelled in phase {phase}")


def _finished(evidence: Evidence) -> Finding:
    seen = lack(evidence.tail)
    note = f"; its log shows a lack of {seen} that it survived" if seen else ""
    return Finding(Outcome.OK, f"it finished{note}")


def _failed(evidence: Evidence, code: int) -> Finding:
    failure = uncaught(evidence.tail) if code == 1 else None  # Python ends with 1 on an uncaught exception
    if failure is None:
        last = evidence.tail.rstrip().rpartition("\n")[2][:300]
        return Finding(Outcome.CRASH, f"exit code {code}{_note(evidence)}" + (f": {last}" if last else ""))
    missing = _missing(evidence, failure)
    if missing is None:
        return Finding(Outcome.CRASH, failure.line[:500])
    found = numbers(failure.block)
    if missing in (Lack.HOST, Lack.SHARED):
        found = _host_numbers(evidence) | found
    return Finding(_OUTCOMES[missing], f"out of {missing}: {failure.line[:500]}", found)


def _missing(evidence: Evidence, failure: Failure) -> Lack | None:
    """What the exception says was missing; of a dead loader worker the log or the kernel knows the reason."""
    found = lack(failure.block)
    if found is None and "DataLoader worker" in failure.line:
        if "insufficient shared memory" in evidence.tail:
            return Lack.SHARED
        if evidence.kernel_oom_kills and "Killed" in failure.line:
            return Lack.HOST
    return found


def _signalled(evidence: Evidence, number: int) -> Finding:
    if number == signal.SIGKILL:
        return Finding(Outcome.LOST, "it was killed (SIGKILL), neither by us nor by the kernel for memory")
    if number == signal.SIGBUS:
        reason = f"bus error: most likely {Lack.SHARED} ran out"
        return Finding(Outcome.OOM_HOST, reason, _host_numbers(evidence))
    if number == signal.SIGXFSZ:
        return Finding(Outcome.DISK_FULL, "a file passed the disk limit (SIGXFSZ)")
    said = aborted(evidence.tail) if number == signal.SIGABRT else ""
    missing = lack(said)
    if missing in (Lack.HOST, Lack.GPU):
        found = _host_numbers(evidence) if missing is Lack.HOST else numbers(said)
        reason = f"out of {missing}, aborted: {said.splitlines()[-1].strip()[:300]}"
        return Finding(_OUTCOMES[missing], reason, found)
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    how = "native crash" if number in _NATIVE else "ended by a signal"
    return Finding(Outcome.CRASH, f"{how} ({name}){_note(evidence)}")


def _note(evidence: Evidence) -> str:
    """A lack seen in the log of a run that ended in another way."""
    seen = lack(evidence.tail)
    return f"; its log shows a lack of {seen}" if seen else ""


def _host_numbers(evidence: Evidence) -> dict[str, int]:
    return {"in_use_bytes": evidence.peak_memory_bytes, "limit_bytes": evidence.memory_limit_bytes}


def _gib(amount: int) -> str:
    return f"{amount / 2**30:.2f} GiB"
