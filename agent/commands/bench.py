"""`agent bench ...`: measurements of the product that anyone can repeat."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from agent.commands.options import as_json, jail_level, run_argument, runs_dir
from agent.errors import UsageError

Loaded = TypeVar("Loaded")


@click.group()
def bench() -> None:
    """Measure this product on this machine."""


@bench.command()
@run_argument
@runs_dir
def overhead(run: str | None, runs_dir: Path) -> None:
    """Where the wall-clock of a run went (of the latest run if none is named)."""
    from agent.bench.overhead import overhead_lines
    from agent.reading import find_run, open_run

    folder = find_run(run, runs_dir)
    click.echo(f"{folder}:")
    click.echo("\n".join(overhead_lines(open_run(folder).state)))


@bench.command()
@click.option("--trials", type=click.IntRange(min=1), default=2000, show_default=True)
def history(trials: int) -> None:
    """Write a made-up run of many trials, and open it again."""
    from agent.bench.history import measure_history

    with tempfile.TemporaryDirectory() as folder, click.progressbar(length=trials, label="writing") as bar:
        times = measure_history(Path(folder), trials, lambda trial: bar.update(1))
    click.echo("\n".join(times.lines()))


@bench.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.pass_context
def edits(ctx: click.Context, folder: Path) -> None:
    """Read a folder of labelled model answers as edits, and count those that come out as they should."""
    from agent.bench.edits import lines, load_cases, run_cases

    findings = run_cases(load_cases(folder))
    click.echo("\n".join(lines(findings)))
    ctx.exit(0 if not any(finding.got for finding in findings) else 1)


@bench.command()
@click.option("--trials", type=click.IntRange(min=1), default=1000, show_default=True)
def prompts(trials: int) -> None:
    """Render every kind of prompt for a made-up run of many trials."""
    from agent.bench.prompts import measure_prompts

    click.echo("\n".join(measure_prompts(trials)))


@bench.command()
@click.option("--sandbox", "level", callback=jail_level, default="auto", show_default=True,
              help="The jail that is measured.")  # fmt: skip
@click.option("--quick", is_flag=True, help="A few rounds only, to see that it works.")
@as_json
def spawn(level: str, quick: bool, as_json: bool) -> None:
    """What running in a jail costs: the start, the watching, the kill, and memory beyond its limit."""
    from agent.bench.spawn import spawn_lines, spawn_record
    from sandbox.jail import pick
    from sandbox.spawn import Rounds, measure

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        costs = measure(pick(level, (folder,)).jail, folder, Rounds(3, 1.0, 2, 1) if quick else Rounds())
    click.echo(json.dumps(spawn_record(costs), indent=1) if as_json else "\n".join(spawn_lines(costs)))


@bench.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--sandbox", "level", callback=jail_level, default="auto", show_default=True,
              help="The jail that the scripts run in.")  # fmt: skip
@click.pass_context
def oom(ctx: click.Context, folder: Path, level: str) -> None:
    """Run a folder of scripts that each end in a way of their own, and count those that are told right."""
    from sandbox.deaths import deaths, line, load, total

    found = []
    for death in deaths(_input(load, folder), level):
        found.append(death)
        click.echo(line(death))
    click.echo(total(found))
    ctx.exit(1 if any(death.wrong for death in found) else 0)


@bench.command("sandbox")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--sandbox", "level", callback=jail_level, default="auto", show_default=True,
              help="The jail that is attacked.")  # fmt: skip
@click.pass_context
def attacks(ctx: click.Context, folder: Path, level: str) -> None:
    """Run a folder of attacks (or one of them) as trials, and say which of them the sandbox contains."""
    from sandbox.attacks.assault import assail, load
    from sandbox.jail import pick

    paths = _input(load, folder)
    jail = pick(level).jail
    good = 0
    for verdict in assail(paths, jail.name):
        good += verdict.as_expected
        click.echo(verdict.line())
    click.echo(f"{jail.name}: {good} of {len(paths)} as expected")
    ctx.exit(0 if good == len(paths) else 1)


def _input(load: Callable[[Path], list[Loaded]], folder: Path) -> list[Loaded]:
    """What a folder holds for a measurement; what is wrong with it is the user's to mend."""
    from sandbox.spec import SandboxError

    try:
        return load(folder)
    except SandboxError as error:
        raise UsageError(str(error)) from error
