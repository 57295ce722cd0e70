"""`agent bench ...`: measurements of the product that anyone can repeat."""

import tempfile
from pathlib import Path

import click

from agent.commands.options import run_argument, runs_dir


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
