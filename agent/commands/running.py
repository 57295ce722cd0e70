"""`agent run` and `agent resume`."""

import re
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.commands.options import duration, jail_level, named_model, outage, promises, run_argument, runs_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.state import State
    from agent.study import Stop, Study
    from agent.ui.live import Live
    from agent.ui.plain import Plain


@click.command()
@click.argument("target", type=click.Path(path_type=Path), required=False)
@click.option("--budget", required=True, callback=duration, help="Wall-clock for everything: 10m, 5h, 1h30m.")
@click.option("--trial-time", callback=duration, help="Training time of one trial; the target's own by default.")
@click.option("--model", help="The LLM: NAME@URL, litellm:provider/name, scripted:FILE, or a profile of agent.toml.")
@click.option(
    "--proposer",
    help="Search method: code, llm-constants, pattern, cma, random, or mypkg.mod:Mine; "
    "by default code with a --model, and pattern without.",
)
@outage
@click.option("--name", help="Name of the run; target and date by default.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Everything random follows from it."
)
@click.option(
    "--repeats", type=click.IntRange(1, 20), help="Trainings of the baseline before the search; by default up to 3."
)
@click.option("--keep", type=click.Choice(["margin", "greedy"]), default="margin", show_default=True,
              help="Keep what is better by 2 sd of the baseline's repeats, or by anything.")  # fmt: skip
@click.option("--sandbox", callback=jail_level, default="auto", show_default=True,
              help="auto, namespace, landlock, or none: by its name only.")  # fmt: skip
@click.option("--require", callback=promises, metavar="FILES,NETWORK,...",
              help="Do not run unless the sandbox keeps these promises; `agent doctor` lists them.")  # fmt: skip
@click.option("--trials", type=click.IntRange(min=1), help="Stop after this many trials beside the baseline.")
@click.option("--target", "goal", type=float, help="Stop once the metric is this good.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override target.toml: limits.memory=8GiB."
)
@runs_dir
def run(target: Path | None, name: str | None, runs_dir: Path, **flags: Any) -> None:
    """Improve the script in the folder TARGET (ours, a small GPT, if left out)."""
    from agent.assemble import new_run
    from agent.budget import Clock
    from agent.config import RunConfig, checked
    from agent.errors import UsageError
    from agent.reading import free_name
    from agent.run_folder import check_free

    clock = Clock()
    folder = target or own_target()
    values = {key: value for key, value in flags.items() if value is not None}
    if "model" in values:
        values["model"] = named_model(values["model"])
    values.setdefault("proposer", "code" if "model" in values else "pattern")
    _check_model(values)
    values["target_loss"] = values.pop("goal", None)
    config = checked(RunConfig, values, "agent run")
    if name is not None and not re.fullmatch(r"\w[\w.+-]{0,99}", name):
        raise UsageError(f"{name[:100]!r} cannot be the name of a run: use letters, digits, '.', '-', '_' and '+'")
    run_folder = runs_dir / (name or free_name(runs_dir, folder.resolve().name))
    check_free(run_folder)  # before the time that looking at the model takes
    view = _view()
    with new_run(config, folder, run_folder, clock, view) as study:
        _session(study, view)


@click.command()
@run_argument
@click.option("--budget", callback=duration, help="New total budget; the old one by default.")
@click.option("--trials", type=click.IntRange(min=1), help="New number of trials to stop after.")
@click.option("--target", "goal", type=float, help="New metric to stop at.")
@click.option("--sandbox", callback=jail_level, help="Another jail than the run began with.")
@click.option("--require", callback=promises, metavar="FILES,NETWORK,...",
              help="Other promises than the run began with, or none.")  # fmt: skip
@click.option("--model", help="Another LLM from here on; the history shows where it was swapped.")
@outage
@runs_dir
def resume(run: str | None, runs_dir: Path, **changes: Any) -> None:
    """Go on with a run that was stopped, killed, or has used its budget (then give a larger --budget)."""
    if changes["model"] is not None:
        changes["model"] = named_model(changes["model"])
    from agent.assemble import resumed_run
    from agent.reading import find_run
    from agent.session import Changes

    view = _view()
    with resumed_run(find_run(run, runs_dir), Changes(**changes), view) as study:
        _session(study, view)


def _check_model(values: dict[str, Any]) -> None:
    """Nothing is said of a model that is not asked."""
    from agent.errors import UsageError
    from agent.registry import ASK_A_MODEL, PROPOSERS

    if "model" in values and values["proposer"] in set(PROPOSERS) - ASK_A_MODEL:
        name = values["proposer"]
        raise UsageError(f"{name} asks no model: leave out --model, or --proposer {name} for the model to edit code")
    if "model" not in values and "on_model_outage" in values:
        raise UsageError("--on-model-outage is about a model: name one with --model NAME@URL, or leave it out")


def own_target() -> Path:
    """The folder of our own target: in this checkout, or installed beside the package."""
    here = Path("train_target")
    return here if (here / "target.toml").is_file() else Path(__file__).parents[2] / "train_target"


def _session(study: "Study", view: "Live | Plain") -> None:
    from agent.errors import AgentError
    from agent.loop import run as run_loop
    from agent.ui.words import opening, result_lines
    from sandbox.spec import SandboxError

    state = study.store.state
    for label, text in opening(state, _search(study), _plan(study)):
        view.say(f"  {label:<8} {text}")
    folder, here = study.store.paths.folder, Path.cwd()
    folder = folder.relative_to(here) if folder.is_relative_to(here) else folder
    try:
        with _signals(study.stop), view.watching(study):
            state = run_loop(study)
    except (AgentError, SandboxError):
        view.say(f"next: `agent resume {folder}` goes on with this run, once what is said below is mended")
        raise
    for line in [*result_lines(state), *_next_steps(state, folder)]:
        view.say(line)
    if state.baseline is not None and not state.baseline.kept:
        sys.exit(1)
    if study.stop.asked:
        sys.exit(130)


def _search(study: "Study") -> str:
    from agent.registry import PROPOSERS
    from agent.units import counted

    files = ", ".join(study.target.edit)
    name = study.config.proposer
    if name == "code" or name not in PROPOSERS:
        return f"code: the model edits {files}" if name == "code" else f"{name} on {files}"
    return f"{name} over {counted(len(study.space.knobs), 'constant')} of {files}"


def _plan(study: "Study") -> str:
    """What is going to happen: the whole plan, or what is left of it."""
    from agent.budget import expected_seconds
    from agent.units import show_duration

    state = study.store.state
    if state.session is None or not state.trials:
        return study.plan.sentence()
    left, each = state.session.budget_seconds - state.elapsed, expected_seconds(state, study.target.limits)
    more = max(0, int(left / (each + study.plan.propose_seconds)))
    if state.session.max_trials is not None:
        more = min(more, max(0, state.session.max_trials + 1 - len(state.closed_trials)))
    return f"about {more} more training{'s' if more != 1 else ''} of {show_duration(each)}"


def _next_steps(state: "State", folder: Path) -> list[str]:
    from agent.nouns import End

    lines = []
    if state.champion is not None and state.champion.id:
        lines.append(f"next: `agent best {folder} --patch` prints the improvement as a patch for your own file")
    if state.ended is not None and state.ended.by is End.USER:
        lines.append(f"next: `agent resume {folder}` goes on with this run")
    elif state.ended is not None and state.ended.by is End.STUCK:
        another = " --model OTHER` goes on with another model" if state.calls else "` tries again"
        lines.append(f"next: `agent resume {folder}{another}")
    elif state.ended is not None and state.ended.by in (End.BUDGET, End.TRIALS):
        more = "budget" if state.ended.by is End.BUDGET else "trials"
        lines.append(f"next: `agent resume {folder} --{more} ...` goes on with a larger --{more}")
    return [
        *lines,
        f"next: `agent log {folder}` lists all trials; `git -C {folder} log best` is the story of what worked",
    ]


def _view() -> "Live | Plain":
    from agent.config import interactive

    if interactive():
        from agent.ui import live

        return live.on_terminal()
    from agent.ui import plain

    return plain.Plain(sys.stdout)


@contextmanager
def _signals(stop: "Stop") -> "Iterator[None]":
    """Ctrl-C asks for an end, twice for one at once; so do SIGTERM and a lost terminal."""

    def interrupt(number: int, frame: object) -> None:
        if number != signal.SIGINT or stop.soon.is_set():
            stop.now.set()
        else:
            stop.soon.set()

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
