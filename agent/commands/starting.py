"""Commands for the beginning: init, space, doctor."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from agent.commands.options import as_json, named_model
from agent.errors import AgentError


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Write a target.toml for the script in FOLDER, by looking at it."""
    from agent.starting import write_target

    for line in write_target(folder):
        click.echo(line)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@as_json
def space(file: Path, as_json: bool) -> None:
    """The constants of FILE (a script, or a folder with a target.toml) that can be searched, and those left alone."""
    from agent.starting import space_of
    from agent.ui.setup_tables import space_record, space_table

    found = space_of(file)
    if as_json:
        click.echo(json.dumps(space_record(found), indent=1))
    else:
        click.echo(space_table(found))


@click.command()
@click.option("--model", help="Also look at this LLM, as a run does when it starts: NAME@URL, or as for `agent run`.")
@as_json
def doctor(model: str | None, as_json: bool) -> None:
    """What this machine has and can enforce, and the one command that would improve each point."""
    from agent.doctor import examine
    from agent.ui.setup_tables import checks_table

    config = None if model is None else named_model(model)
    checks = examine()
    if config is not None:
        from agent.doctor_model import examine_model

        checks = (*checks, *examine_model(config))
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        click.echo(checks_table(checks))
    if failed := [check for check in checks if check.needed and not check.fine]:
        raise AgentError("; ".join(f"{check.name}: {check.advice}" for check in failed))
