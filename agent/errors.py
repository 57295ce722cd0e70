"""The errors a user may see: one sentence and the next step each. Everything else is a bug and shows its traceback."""


class AgentError(Exception):
    """Failure of the house: the run stops, nothing is recorded in a candidate's name. Exit code 1."""

    exit_code = 1


class UsageError(AgentError):
    """The user's input is off: wrong flag, target or run. Exit code 2."""

    exit_code = 2
