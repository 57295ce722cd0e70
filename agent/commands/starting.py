"""Commands for the beginning: init, space, doctor."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from agent.commands.options import as_json


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
    from agent.ui.tables import space_record, space_table

    found = space_of(file)
    if as_json:
        click.echo(json.dumps(space_record(found), indent=1))
    else:
        click.echo(space_table(found))


@click.command()
@as_json
def doctor(as_json: bool) -> None:
    """What this machine has and can enforce, and the one command that would improve each point."""
    from agent.doctor import examine
    from agent.ui.tables import checks_table

    checks = examine()
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        click.echo(checks_table(checks))
    if any(check.needed and not check.fine for check in checks):
        sys.exit(1)
