"""Runs a folder of scripts that each end in a way of their own, and compares what `classify` says with what they say.

A script's first line is `# EXPECT class: why` or `# EXPECT class (why)`. The class is a kind (`spec.Kind`), an outcome
(`spec.Outcome`) or one of a few older words; `a|b` allows both. Each script runs in a jail of its own, in an empty
folder, under these limits: 2 GiB of host memory, 40 s (4 s if its name begins with `timeout`), files of 512 MiB
(4 GiB if its name begins with `shm_`).

A script that has to fill /dev/shm is run only by a jail whose /dev/shm is its own and small: elsewhere it would fill
that of the machine. It is then counted as not tried, never as passed.
"""

import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox.classify import classify
from sandbox.jail import Jail, pick
from sandbox.spec import Finding, Kind, Limits, Outcome, Phase, SandboxError, Spec, Watch
from sandbox.supervise import run

MEMORY_BYTES = 2 * 2**30
FILE_BYTES, SHARED_FILE_BYTES = 2**29, 4 * 2**30
SECONDS, SHORT_SECONDS = 40.0, 4.0
EXAMPLE = "`# EXPECT oom_host: why`"
OWN_SHARED_MEMORY = ("namespace",)  # jails in which /dev/shm is the trial's own
_EXPECT = re.compile(r"#\s*EXPECT\s+(\w+(?:\s?\|\s?\w+)*)\s*(?:$|[:(\s,])\s*(.*)")
_OLDER: dict[str, tuple[Kind | Outcome, ...]] = {
    "maybe_oom": (Kind.MAYBE_OOM_GPU,),
    "oom": (Outcome.OOM_HOST, Outcome.OOM_GPU),
    "success": (Kind.OK,),
    "python_exception": (Kind.EXCEPTION,),
    "killed": (Kind.KILLED_UNEXPLAINED,),
    "exit": (Kind.NONZERO_EXIT,),
}


@dataclass(frozen=True)
class Case:
    """One script, and the classes that it allows."""

    path: Path
    text: str
    allowed: tuple[Kind | Outcome, ...]
    why: str = ""

    @property
    def expected(self) -> str:
        """The classes as they are shown."""
        return " or ".join(self.allowed)

    @property
    def fills_shared_memory(self) -> bool:
        """Whether it needs a small /dev/shm."""
        return self.path.name.startswith("shm_") and Kind.SHM_EXHAUSTED in self.allowed


@dataclass(frozen=True)
class Death:
    """What came of a case. `finding` is None where it was not tried; `wrong` is empty where all is as expected."""

    case: Case
    finding: Finding | None
    wrong: str = ""
    seconds: float = 0.0


def load(folder: Path) -> list[Case]:
    """The scripts of a folder, by name.

    Raises:
        SandboxError: no such folder, no scripts in it, or one that cannot be read or does not say what to expect.
    """
    if not folder.is_dir():
        raise SandboxError(f"there is no folder {folder}: name one of .py files that begin with {EXAMPLE}")
    paths = sorted(folder.glob("*.py"))
    if not paths:
        raise SandboxError(f"there are no scripts in {folder}: name a folder of .py files that begin with {EXAMPLE}")
    return [case_of(path, _text(path)) for path in paths]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SandboxError(f"{path} cannot be read as a script ({error}): leave it out") from error


def case_of(path: Path, text: str) -> Case:
    """The case of one script's text.

    Raises:
        SandboxError: its first line does not say what to expect, or names no class.
    """
    match = _EXPECT.match(text.partition("\n")[0])
    if match is None:
        raise SandboxError(f"{path} does not say how it ends: begin it with a line like {EXAMPLE}")
    allowed = tuple(known for word in match[1].split("|") for known in _class(path, word.strip()))
    return Case(path, text, allowed, match[2].rstrip(")"))


def _class(path: Path, word: str) -> tuple[Kind | Outcome, ...]:
    """What a word stands for: the finer meaning where it is a kind and an outcome."""
    if word in set(Kind):
        return (Kind(word),)
    if word in set(Outcome):
        return (Outcome(word),)
    if word in _OLDER:
        return _OLDER[word]
    known = ", ".join(sorted({*Kind, *Outcome}))
    raise SandboxError(f"{path} expects {word!r}, which is no class: use one of {known}")


def tried(case: Case, jail: Jail, folder: Path) -> Death:
    """Runs one case in `jail`, in a new folder below `folder`.

    Raises:
        SandboxError: the sandbox failed, which says nothing about the case.
    """
    if case.fills_shared_memory and jail.name not in OWN_SHARED_MEMORY:
        return Death(case, None)
    name = case.path.name
    work = folder / case.path.stem
    work.mkdir()
    (work / name).write_text(case.text, encoding="utf-8")
    limits = Limits(MEMORY_BYTES, disk_bytes=SHARED_FILE_BYTES if name.startswith("shm_") else FILE_BYTES)
    seconds = SHORT_SECONDS if name.startswith("timeout") else SECONDS
    spec = Spec(("python", name), work, {}, ((Phase.TRAIN, seconds),), limits)
    began = time.monotonic()
    finding = classify(run(spec, jail, Watch(folder / f"{case.path.stem}.log")))
    return Death(case, finding, wrong(case, finding), time.monotonic() - began)


def wrong(case: Case, finding: Finding) -> str:
    """What is not as expected: the class, or evidence that has to be there with it."""
    # by identity: a word that is in both tables is equal in both
    if not any(known is finding.kind or known is finding.outcome for known in case.allowed):
        return f"expected {case.expected}"
    if finding.kind is Kind.OOM_HOST and not {"in_use_bytes", "limit_bytes"} <= finding.numbers.keys():
        return "without the numbers of the memory that was in use and allowed"
    if finding.kind is not Kind.OK and not finding.reason:
        return "without a reason"
    return ""


def deaths(cases: Iterable[Case], level: str) -> Iterator[Death]:
    """Each case, one after the other, at a level of `sandbox.jail`.

    Raises:
        SandboxError: the level does not work here, or the sandbox failed.
    """
    with tempfile.TemporaryDirectory(prefix="deaths-") as name:
        folder = Path(os.path.realpath(name))
        folder.chmod(0o711)  # a trial that is another user has to reach what is below
        jail = pick(level, (folder,)).jail
        for case in cases:
            yield tried(case, jail, folder)


def line(death: Death) -> str:
    """One case: whether it came as expected, as what, and by which evidence."""
    name = death.case.path.stem
    if death.finding is None:
        return f"skip   {name:<20} {death.case.expected}: not tried at this level, its /dev/shm is the machine's own"
    verdict = "wrong" if death.wrong else "right"
    kind = death.finding.kind or death.finding.outcome
    text = f"{verdict}  {name:<20} {kind}: {death.finding.reason[:200]} ({death.seconds:.1f} s)"
    return f"{text}\n       {death.wrong}: {death.case.why}".rstrip(": ") if death.wrong else text


def total(found: list[Death]) -> str:
    """`22 of 22 as expected, 1 not tried here`."""
    ran = [death for death in found if death.finding is not None]
    left = len(found) - len(ran)
    right = sum(not death.wrong for death in ran)
    return f"{right} of {len(ran)} as expected" + (f", {left} not tried here" if left else "")
