"""Where names become objects: a configuration becomes a study, ready to run.

The only module that knows concrete parts. It makes a new run's folder or opens an old one, and hands out one `Study`.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent.asking import Asking
from agent.budget import Clock, Plan, make_plan
from agent.code import Code, fingerprints
from agent.config import RunConfig
from agent.errors import AgentError, UsageError
from agent.executors.base import Executor
from agent.executors.local import LocalExecutor
from agent.history.events import Resumed, Started
from agent.history.fast_import import BEST, Entry
from agent.history.heartbeat import beating
from agent.history.store import Paths, Store
from agent.models.preflight import proposal_seconds
from agent.preparing import prepare
from agent.proposers.base import Proposer, Setup
from agent.proposers.instead import INSTEAD, DuringOutage
from agent.registry import PROPOSERS, load
from agent.run_folder import make_folder, readable
from agent.session import Changes, session_after, session_of
from agent.shown import demand, has_gpu, jail_for, mounts_of, unwatched
from agent.snapshot import take_snapshot
from agent.space import Space, find_space
from agent.state import State
from agent.study import Stop, Study, Voice
from agent.target import Target, load_target
from agent.workshop import Data, Workshop
from sandbox.jail import Picked
from sandbox.spec import Mount

MakeExecutor = Callable[[Workshop, threading.Event], Executor]


def configure(config: RunConfig, folder: Path) -> Target:
    """The target in `folder` with the run's overrides and trial time applied."""
    target = load_target(folder, config.overrides)
    if config.trial_time is None:
        return target
    return target.model_copy(update={"limits": target.limits.model_copy(update={"train_seconds": config.trial_time})})


@contextmanager
def new_run(
    config: RunConfig,
    folder: Path,
    run_folder: Path,
    clock: Clock,
    voice: Voice,
    make_executor: MakeExecutor = LocalExecutor,
) -> Iterator[Study]:
    """Make the run's folder and its study.

    Raises:
        UsageError: the target, the settings or the name are off.
        AgentError, SandboxError: git, the data or the sandbox failed.
    """
    target = configure(config, folder)
    make_plan(config.budget, target.limits, config.repeats, config.trials)
    snapshot = take_snapshot(folder, target)
    space = _space(target, snapshot.code)
    asking = Asking(config.model, clock, config.budget, voice) if config.model else None
    proposer = _proposer(config, target, space, snapshot.code, asking)
    mounts = mounts_of(target, folder.resolve(), snapshot.large)
    picked = demand(jail_for(config.sandbox, target, mounts, run_folder), target, config.require)
    facts = asking.preflight() if asking else None
    make_folder(run_folder)
    voice.say(f"setting up {run_folder}")
    if snapshot.left_out:
        names = ", ".join(snapshot.left_out)
        voice.say(f"not part of the run (names that runs use, links that lead outside, odd names): {names}")
    with Store(run_folder) as store, beating(store.paths.heartbeat, clock.elapsed):
        data = prepare(target, snapshot.code, store.paths.folder / "work", config.budget, voice.say)
        root = store.ledger.commit(
            Entry(BEST, None, f"{target.name}: the target as it was brought\n", _utc_now(), snapshot.code)
        )
        started = Started(
            name=run_folder.name,
            folder=str(folder.resolve()),
            settings=config,
            target=target,
            files=fingerprints(snapshot.code),
            large=snapshot.large,
            data_sha256=data.sha256 if data else "",
            root=root,
            session=session_of(config, target, picked, facts),
        )
        (run_folder / "run.toml").write_text(readable(run_folder.name, folder, config, target))
        voice.tell(store.append(started, clock.elapsed()), started)
        store.heal(clock.elapsed())
        parts = Parts(config, target, space, proposer, asking, picked, mounts, data, make_executor)
        with _study(store, parts, clock, voice) as study:
            yield study


@contextmanager
def resumed_run(
    run_folder: Path, changes: Changes, voice: Voice, make_executor: MakeExecutor = LocalExecutor
) -> Iterator[Study]:
    """Open a run that was interrupted, killed or has used its budget.

    Raises:
        UsageError: no run is there, or another process works on it.
        AgentError, SandboxError: the history is damaged, or the house failed.
    """
    if not Paths(run_folder).journal.is_file():
        raise UsageError(f"{run_folder} is no run: `agent status` lists the runs")
    with Store(run_folder) as store:
        started, before = store.state.started, store.state.session
        if started is None or before is None:
            raise UsageError(f"{run_folder} never began: `agent run --name {run_folder.name}` begins it")
        lost = store.lost_seconds()
        clock = Clock(store.state.elapsed + lost)
        store.heal(clock.elapsed())
        config, target = changes.settings(started.settings, before), started.target
        mounts = mounts_of(target, Path(started.folder), started.large)
        picked = jail_for(changes.sandbox or config.sandbox, target, mounts, run_folder)
        picked = demand(picked, target, config.require)
        code = store.code_of(None)
        space = _space(target, code)
        budget = changes.budget or before.budget_seconds
        asking = Asking(config.model, clock, budget, voice, _booked(store.state)) if config.model else None
        proposer = _proposer(config, target, space, code, asking)
        with beating(store.paths.heartbeat, clock.elapsed):
            facts = asking.preflight() if asking and clock.elapsed() < budget else before.model
            session = session_after(before, session_of(config, target, picked, facts), changes, target.metric.sign)
            left = max(1.0, budget - clock.elapsed())
            data = prepare(target, code, store.paths.folder / "work", left, voice.say)
            if data is not None and data.sha256 != started.data_sha256:
                raise AgentError("the prepared data is not what this run began with: results would not compare")
            event = Resumed(session=session, lost_seconds=round(lost, 3))
            voice.tell(store.append(event, clock.elapsed()), event)
            parts = Parts(config, target, space, proposer, asking, picked, mounts, data, make_executor)
            with _study(store, parts, clock, voice) as study:
                yield study


@dataclass(frozen=True)
class Parts:
    """The parts of a study that depend on the settings, the target and the machine."""

    config: RunConfig
    target: Target
    space: Space
    proposer: Proposer
    asking: Asking | None
    picked: Picked
    mounts: tuple[Mount, ...]
    data: Data | None
    make_executor: MakeExecutor


@contextmanager
def _study(store: Store, parts: Parts, clock: Clock, voice: Voice) -> Iterator[Study]:
    config = parts.config
    shop = Workshop(
        target=parts.target,
        jail=parts.picked.jail,
        work=store.paths.work,
        logs=store.paths.logs,
        data=parts.data,
        mounts=parts.mounts,
        gpu=has_gpu(),
    )
    if told := unwatched(parts.target):
        voice.say(told)
    stop = Stop()
    executor = parts.make_executor(shop, stop.now)
    try:
        study = Study(
            config=config,
            target=parts.target,
            space=parts.space,
            plan=_plan(store, parts),
            store=store,
            proposer=parts.proposer,
            line=parts.asking.line if parts.asking else None,
            watch=parts.asking.watch if parts.asking else None,
            executor=executor,
            clock=clock,
            stop=stop,
            voice=voice,
        )
        if parts.asking is not None:
            parts.asking.bind(study)
        yield study
    finally:
        executor.close()


def _booked(state: State) -> int:
    """How many calls of models the run has booked."""
    return max((call.number + 1 for call in state.calls), default=0)


def _plan(store: Store, parts: Parts) -> Plan:
    config, session = parts.config, store.state.session
    facts = session.model if session else None
    asking = (proposal_seconds(facts) or 0.0) if facts else 0.0
    return make_plan(config.budget, parts.target.limits, config.repeats, config.trials, asking)


def _proposer(config: RunConfig, target: Target, space: Space, code: Code, asking: Asking | None) -> Proposer:
    workbench = asking.workbench(target, _brief(target, code)) if asking else None
    setup = Setup(space, config.seed, workbench)
    if workbench is None or config.on_model_outage != "constants":
        proposer: Proposer = load(PROPOSERS, config.proposer, "proposer")(setup)
        return proposer
    chosen, instead = (load(PROPOSERS, name, "proposer") for name in (config.proposer, INSTEAD))
    return DuringOutage(chosen(setup), instead, setup)


def _brief(target: Target, code: Code) -> str:
    if target.brief is None:
        return ""
    return code[target.brief if target.brief in code else Path(target.brief).name].decode(errors="replace")


def _space(target: Target, code: Code) -> Space:
    """The search space of the target's editable files.

    Raises:
        UsageError: an editable file is no text, or a declared constant is not there.
    """
    try:
        return find_space({path: code[path].decode() for path in target.edit}, target.space)
    except UnicodeDecodeError as error:
        raise UsageError(f"an editable file of {target.name} is no UTF-8 text: {error}") from error


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
