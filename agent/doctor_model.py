"""`agent doctor --model`: what preflight finds of a language model, as rows beside those of the machine."""

from agent.calls import ModelFacts
from agent.doctor import Check
from agent.errors import AgentError
from agent.models.base import Watch
from agent.models.choose import open_model
from agent.models.config import ModelConfig
from agent.models.preflight import preflight, proposal_seconds


def examine_model(config: ModelConfig) -> tuple[Check, ...]:
    """One row for the model and one for each finding; a single failed one if a run with it is not possible."""
    try:
        facts = preflight(open_model(config, 0), config, Watch())
    except AgentError as error:
        return (Check("model", False, f"a run with {config.label} is not possible", str(error), needed=True),)
    rows = [note.partition(": ") for note in facts.notes]
    return (Check("model", True, f"{facts.label}{_pace(facts)}"), *(Check(f"  {row[0]}", True, row[2]) for row in rows))


def _pace(facts: ModelFacts) -> str:
    seconds = proposal_seconds(facts)
    return "" if seconds is None else f", about {3600 / seconds:,.0f} proposals an hour"
