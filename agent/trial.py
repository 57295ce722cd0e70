"""One training of a trial: lay out its code, train it in a jail, have the result measured, and say what was seen.

The loss of a judged target comes from the judge alone (`agent.judging`). A target without a judge reports its own
number, which is read by the declared pattern only and marked as self-reported.
"""

import re
import shutil
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from agent import caches
from agent.errors import AgentError
from agent.judging import Judged, judge
from agent.metric import NoMetric, is_number, last_metric
from agent.nouns import Measurement
from agent.shown import kept
from agent.target import Target
from agent.workdir import LaidOut, clear, lay_out
from agent.workshop import Follow, Job, Workshop, launch
from sandbox.classify import classify
from sandbox.removing import remove
from sandbox.spec import Evidence, Finding, Kind, Outcome, Phase

_TAIL_CHARS = 3000


def measure(shop: Workshop, follow: Follow) -> Measurement:
    """Do one job: `follow.job`.

    Raises:
        Cut: it was ended by `follow.cancel` or at `follow.deadline`.
        AgentError, SandboxError: the house failed, which says nothing about the candidate.
    """
    job = follow.job
    work = shop.work(job.trial, job.repeat)
    place = work.with_name(f"{work.name}.judging")
    shop.logs(job.trial).mkdir(parents=True, exist_ok=True)
    try:
        laid_out = lay_out(work, job.code, set(shop.target.edit), shop.target.hidden())
        evidence = _train(shop, follow, work, laid_out)
        judged = Judged(classify(evidence), None, 0.0)
        if judged.finding.outcome is Outcome.OK:
            if _first(job):
                _keep_cache(shop, work)
            judged = _measured(shop, follow, work, place)
    finally:
        with ExitStack() as rest:
            for folder in (caches.place_of(work), place):
                rest.callback(remove, folder)
            clear(work)
    if judged.finding.outcome is Outcome.DISK_FULL:
        _check_disk(work.parent, shop.target.limits.free_disk)
    return _measurement(shop, follow, evidence, judged, laid_out.code_sha256)


def _first(job: Job) -> bool:
    """Whether this is the first training of the code as it was brought: only what it compiles is shared."""
    return job.trial == 0 and job.repeat == 0


def _keep_cache(shop: Workshop, work: Path) -> None:
    """Take what the first training compiled for all that follow; a reason why not stands in its log."""
    refused = caches.seed(caches.place_of(work), caches.seed_of(work))
    if refused is not None:
        (shop.logs(0) / "cache.log").write_text(f"{refused}\n")


def _check_disk(folder: Path, least: int) -> None:
    """A disk that is still full when all that the trial left is removed is the house's failure, not the candidate's."""
    if shutil.disk_usage(folder).free < least:
        raise AgentError(f"the disk of {folder} is nearly full: make room, then `agent resume`")


def _train(shop: Workshop, follow: Follow, work: Path, laid_out: LaidOut) -> Evidence:
    target, job = shop.target, follow.job
    spec = shop.spec(target.run, work, phases_of(target, job.startup_seconds))
    env = spec.env | {"AGENT_SEED": str(job.seed), "AGENT_TRAIN_SECONDS": f"{target.limits.train_seconds:g}"}
    if shop.data is not None:
        env["AGENT_DATA"] = str(work / "data")
    cache = caches.offer(work, _first(job))
    env |= caches.environment(caches.INSIDE) if cache else {}
    mounts = (*shop.protecting(laid_out.mounts), *shop.mounts, *shop.masks(), *shop.data_mount("train"), *cache)
    spec = replace(spec, env=env, mounts=mounts, begins=begins_of(target), network=target.limits.network)
    return launch(spec, shop, follow, "train", follow.curve.feed)


def phases_of(target: Target, startup_seconds: float | None = None) -> tuple[tuple[Phase, float], ...]:
    """Deadlines of a training.

    A script that judges itself does so in its training phase. Without a progress pattern the start-up cannot be told
    from the training, and both share one deadline.
    """
    limits = target.limits
    finish = max(3.0, 0.1 * limits.train_seconds)  # to save the checkpoint, on a busy machine
    train = limits.train_seconds + finish + (limits.judge_seconds if target.metric.self_reported else 0.0)
    if target.progress is None:
        whole = limits.startup_seconds + train
        return ((Phase.TRAIN, min(whole, max(limits.train_seconds + finish, startup_seconds or whole))),)
    startup = min(limits.startup_seconds, startup_seconds or limits.startup_seconds)
    return ((Phase.STARTUP, startup), (Phase.TRAIN, train))


def begins_of(target: Target) -> tuple[tuple[Phase, re.Pattern[str]], ...]:
    """The lines of output that begin a phase, for a target that says what its progress looks like."""
    progress = target.progress
    if progress is None:
        return ()
    smoke = ((Phase.SMOKE, re.compile(progress.smoke)),) if progress.smoke else ()
    return (*smoke, (Phase.TRAIN, re.compile(progress.pattern)))


def _measured(shop: Workshop, follow: Follow, work: Path, place: Path) -> Judged:
    metric = shop.target.metric
    judged = _reported(shop, follow) if metric.self_reported else judge(shop, follow, work, place)
    if judged.metric is not None and not is_number(judged.metric):
        return replace(judged, finding=Finding(Outcome.DIVERGED, f"{metric.name} is {judged.metric}"), metric=None)
    return judged


def _reported(shop: Workshop, follow: Follow) -> Judged:
    log = shop.logs(follow.job.trial) / f"train-{follow.job.repeat}.log"
    try:
        value = last_metric(log.read_text(errors="replace"), str(shop.target.metric.pattern))
    except NoMetric as missing:
        return Judged(Finding(Outcome.CRASH, str(missing)), None, 0.0)
    return Judged(Finding(Outcome.OK, "", kind=Kind.OK), value, 0.0)


def _last_words(tail: str) -> str:
    """The end of a failed program's output, short enough for a record and a prompt."""
    return tail[-_TAIL_CHARS:].partition("\n")[2].rstrip() if len(tail) > _TAIL_CHARS else tail.rstrip()


def _measurement(shop: Workshop, follow: Follow, evidence: Evidence, judged: Judged, code_sha256: str) -> Measurement:
    seconds = dict(evidence.seconds)
    if judged.seconds:
        seconds[Phase.JUDGE] = judged.seconds
    metric = shop.target.metric
    return Measurement(
        seed=follow.job.seed,
        outcome=judged.finding.outcome,
        reason=judged.finding.reason,
        kind=judged.finding.kind,
        tail="" if judged.finding.outcome is Outcome.OK else _last_words(evidence.tail),
        loss=None if judged.metric is None else metric.sign * judged.metric,
        seconds={phase: round(value, 3) for phase, value in seconds.items()},
        total_seconds=round(time.monotonic() - follow.began, 3),
        peak_memory_bytes=evidence.peak_memory_bytes,
        memory_limit_bytes=evidence.memory_limit_bytes,
        peak_gpu_bytes=evidence.peak_gpu_bytes,
        gpu_limit_bytes=evidence.gpu_limit_bytes,
        numbers=judged.finding.numbers,
        curve=follow.curve.thinned(),
        code_sha256=code_sha256,
        jail=evidence.jail,
        promises=tuple(sorted(kept(shop.jail, shop.target))),
        self_reported=metric.self_reported,
    )
