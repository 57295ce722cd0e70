"""Options and arguments that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from agent.models.config import ModelConfig

F = TypeVar("F", bound=Callable[..., Any])


def runs_dir(command: F) -> F:
    """`--runs-dir`."""
    return click.option(
        "--runs-dir",
        type=click.Path(path_type=Path),
        default=Path("runs"),
        show_default=True,
        help="Folder of all runs.",
    )(command)


def run_argument(command: F) -> F:
    """`[RUN]`: a run's name or folder; the latest one if left out."""
    return click.argument("run", required=False)(command)


def as_json(command: F) -> F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")(command)


def outage(command: F) -> F:
    """`--on-model-outage`."""
    return click.option(
        "--on-model-outage",
        type=click.Choice(["wait", "constants", "stop"]),
        help="When the model has not answered for ten minutes: wait as long as the budget lasts (the default), search "
        "the constants without it, named so in every record, or stop.",
    )(command)


def named_model(text: str) -> "ModelConfig":
    """What `--model` names; profiles are those of agent.toml."""
    from agent.models.choose import parse_model
    from agent.models.profiles import load_profiles

    return parse_model(text, load_profiles())


def jail_level(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Callback: the name of a jail, checked."""
    from sandbox.jail import LEVELS

    if value is not None and value not in LEVELS:
        raise click.BadParameter(f"{value!r} is none of {', '.join(LEVELS)}", ctx, param)
    return value


def promises(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Callback: 'FILES,NETWORK' to the names of promises; 'none' is for none."""
    from sandbox.spec import Promise

    if value is None:
        return None
    named = tuple(word.strip().lower() for word in value.split(","))
    if named == ("none",):
        return ()
    known = [promise.value for promise in Promise]
    if unknown := [word for word in named if word not in known]:
        raise click.BadParameter(f"{unknown[0]!r} is no promise: they are {', '.join(known)}", ctx, param)
    return named


def duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Callback: '5h' to seconds."""
    from agent.units import parse_duration

    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error
