"""How much of a run's wall-clock was neither training nor judging."""

from agent.state import State, seconds_by_use
from agent.units import show_duration


def overhead_lines(state: State) -> list[str]:
    """Where the wall-clock of a run went; start-up of the script (Python, torch, data) counts as overhead."""
    used = seconds_by_use(state)
    if not state.elapsed:
        return ["nothing has run yet"]
    share = (state.elapsed - used.train - used.judge) / state.elapsed
    parts = {
        "training": used.train,
        "judging": used.judge,
        "start-up": used.startup,
        "proposing": used.propose,
        "the rest": used.overhead,
    }
    lines = [f"{name:<10} {show_duration(s):>8}  {s / state.elapsed:6.1%}" for name, s in parts.items()]
    return [
        *lines,
        f"overhead   {share:.1%} of {show_duration(state.elapsed)} is neither training nor judging (aim: below 25 %)",
    ]
