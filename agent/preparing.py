"""The target's `prepare` command: the user's own trusted program, run once a session, outside of the jail.

It makes (or finds) the data and says where it is: its last line of output is a JSON object with the folders `train`,
`questions` and `answers`, the `sha256` of the data and, if this machine shows validation text elsewhere, `masks` (path
to what is shown in its place). It runs from the run's own copy of the code.
"""

import json
from collections.abc import Callable
from pathlib import Path

from agent.code import Code
from agent.config import home, trusted_environment
from agent.errors import AgentError
from agent.target import Target
from agent.workdir import clear, lay_out
from agent.workshop import Data
from sandbox.classify import classify
from sandbox.spec import Limits, Outcome, Phase, Spec, Watch
from sandbox.supervise import run
from sandbox.unconfined import Unconfined


def prepare(target: Target, code: Code, folder: Path, seconds: float, say: Callable[[str], None]) -> Data | None:
    """Run the target's prepare command below `folder`, for at most `seconds`; None for a target without one.

    Raises:
        AgentError: it failed, or its last line is not what it should be.
    """
    if target.prepare is None:
        return None
    work = folder / "prepare"
    lines: list[str] = []

    def heard(line: str) -> None:
        if lines and lines[-1].strip():
            say(lines[-1])  # one line late: the last one is for us
        lines.append(line)

    try:
        lay_out(work, code, set(target.edit), set())
        limits = Limits(memory_bytes=2**50, disk_bytes=2**50)
        phases = ((Phase.STARTUP, seconds),)
        spec = Spec(target.prepare, work, trusted_environment(), phases, limits, network=True)
        log = folder.parent / "logs" / "prepare.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        finding = classify(run(spec, Unconfined(home=home()), Watch(log=log, on_line=heard)))
    finally:
        clear(work)
    if finding.outcome is not Outcome.OK:
        last = next((line for line in reversed(lines) if line.strip()), "")
        raise AgentError(f"preparing the data failed ({finding.reason}): {last}")
    return _read(lines)


def _read(lines: list[str]) -> Data:
    last = next((line for line in reversed(lines) if line.strip()), "")
    try:
        said = json.loads(last)
        train, questions, answers = (Path(said[part]) for part in ("train", "questions", "answers"))
        masks = tuple((str(path), Path(instead)) for path, instead in said.get("masks", {}).items())
        return Data(train, questions, answers, str(said["sha256"]), masks)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise AgentError(
            "the prepare command must end with one JSON line that has train, questions, answers and sha256; "
            f"it ended with {last[:80]!r}"
        ) from error
