"""`agent models`: which model servers answer on this machine, and the profiles of agent.toml."""

import json

import click

from agent.commands.options import as_json


@click.command()
@as_json
def models(as_json: bool) -> None:
    """The models that answer on this machine's usual ports, and the profiles of agent.toml."""
    from agent.models.discover import PORTS, discover
    from agent.models.profiles import load_profiles
    from agent.ui.model_tables import models_record, models_table

    profiles = load_profiles()
    found = discover()
    if as_json:
        click.echo(json.dumps(models_record(found, profiles), indent=1))
        return
    if found or profiles:
        click.echo(models_table(found, profiles))
    if not found:
        ports = ", ".join(f"{port} ({kind})" for port, kind in PORTS.items())
        click.echo(f"no model server answers on this machine at port {ports}", err=bool(profiles))
        click.echo("start one, or name one elsewhere: --model NAME@http://HOST:PORT/v1", err=bool(profiles))
