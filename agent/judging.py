"""The judge's side of a trial: ask the trained model in a jail of its own, score its answers in a program we trust.

Three programs never meet: the training (neither questions nor answers), the answering program (the edited code with the
checkpoint and the questions, no answers) and the judge (logits and answers, no edited code). What passes from one to
the next is copied by us, and only if it is a plain file.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from agent.errors import AgentError
from agent.workdir import lay_out, take
from agent.workshop import Follow, Workshop, launch
from sandbox.classify import classify
from sandbox.spec import Evidence, Finding, Kind, Mount, Outcome, Phase

CHECKPOINT, LOGITS = "out/model.pt", "out/logits.npy"
_OK = Finding(Outcome.OK, "", kind=Kind.OK)


@dataclass(frozen=True)
class Judged:
    """What came of judging: the finding, the metric if it is ok, and the seconds both programs took."""

    finding: Finding
    metric: float | None
    seconds: float


def judge(shop: Workshop, follow: Follow, trained: Path, place: Path) -> Judged:
    """Judge the checkpoint that the training left in the work folder `trained`, working below `place`.

    Raises:
        Cut: the job was ended by us.
        AgentError: the judge itself failed.
        SandboxError: the sandbox failed.
    """
    if shop.data is None:
        raise AgentError("this target names a judge but no prepare command: the judge has no data")
    asking, scoring = place / "answer", place / "judge"
    target, job = shop.target, follow.job
    name = str(target.metric.judge)
    laid_out = lay_out(asking, job.code, set(target.edit), {name, *target.hide})
    missing = take(trained, CHECKPOINT, asking / "model.pt", target.limits.disk)
    if missing:
        return Judged(Finding(Outcome.REJECTED, f"no checkpoint to judge: {missing}"), None, 0.0)
    evidence = _ask(shop, follow, asking, shop.protecting(laid_out.mounts))
    asked = sum(evidence.seconds.values())
    finding = classify(evidence)
    if finding.outcome is not Outcome.OK:
        return Judged(_blamed(finding), None, asked)
    lay_out(scoring, {name: job.code[name]}, {name}, set())
    missing = take(asking, LOGITS, scoring / "logits.npy", target.limits.disk)
    if missing:
        return Judged(Finding(Outcome.REJECTED, f"the trained model gave no answers: {missing}"), None, asked)
    return _score(shop, follow, scoring, asked)


def _ask(shop: Workshop, follow: Follow, asking: Path, mounts: tuple[Mount, ...]) -> Evidence:
    phases = ((Phase.JUDGE, shop.target.limits.judge_seconds),)
    spec = shop.spec(("python", str(shop.target.metric.answer)), asking, phases)
    spec = replace(spec, mounts=(*mounts, *shop.mounts, *shop.masks(), *shop.data_mount("questions")))
    return launch(spec, shop, follow, "answer", lambda line: None)


def _blamed(finding: Finding) -> Finding:
    """An out-of-memory or a full disk stays what it is; any other failure to answer is a rejection."""
    if finding.outcome in (Outcome.OOM_GPU, Outcome.OOM_HOST, Outcome.DISK_FULL, Outcome.LOST):
        return replace(finding, reason=f"while judging: {finding.reason}")
    return Finding(Outcome.REJECTED, f"the trained model gave no answers: {finding.reason}")


def _score(shop: Workshop, follow: Follow, scoring: Path, asked: float) -> Judged:
    metric = shop.target.metric
    phases = ((Phase.JUDGE, shop.target.limits.judge_seconds),)
    spec = shop.spec(("python", str(metric.judge), "logits.npy", "answers"), scoring, phases)
    lines: list[str] = []
    evidence = launch(replace(spec, mounts=shop.data_mount("answers")), shop, follow, "judge", lines.append)
    verdict = _read(lines, classify(evidence))
    seconds = asked + sum(evidence.seconds.values())
    if "rejected" in verdict:
        return Judged(Finding(Outcome.REJECTED, str(verdict["rejected"])), None, seconds)
    return Judged(_OK, _number(verdict, metric.name), seconds)


def _read(lines: list[str], finding: Finding) -> dict[str, object]:
    said = next((line for line in reversed(lines) if line.strip()), "")
    if finding.outcome is not Outcome.OK:
        raise AgentError(f"the judge failed ({finding.reason}): its output is in the trial's logs")
    try:
        verdict = json.loads(said)
    except json.JSONDecodeError as error:
        raise AgentError(f"the judge's last line is no JSON: {said[:80]!r}") from error
    if not isinstance(verdict, dict):
        raise AgentError(f"the judge's last line is no JSON object: {said[:80]!r}")
    return verdict


def _number(verdict: dict[str, object], name: str) -> float:
    value = verdict.get(name)
    if not isinstance(value, int | float):
        raise AgentError(f"the judge gave no number for {name}: its last line was {json.dumps(verdict)[:80]}")
    return float(value)
