"""The loop: what is asked, run, decided and journalled, and when it ends."""

import statistics
from pathlib import Path

import pytest
from studies import Pretend, measured, study_in

from agent.budget import Clock, expected_seconds, make_plan
from agent.errors import AgentError, UsageError
from agent.executors.base import Done
from agent.history.events import Ended
from agent.loop import run
from agent.nouns import Decision, End, Measurement, Proposal, Trial, Verdict
from agent.proposers.base import Setup
from agent.state import State, seconds_by_use
from agent.study import Study
from agent.target import TargetLimits
from agent.verdict import decide
from sandbox.spec import Outcome

LIMITS = TargetLimits.model_validate({"train_seconds": 30})


class Stubborn:
    """Proposes the same thing for ever."""

    def __init__(self, setup: Setup) -> None:
        pass

    def ask(self, state: State) -> Proposal:
        return Proposal(source="stubborn", title="again", constants={"DEPTH": 5})

    def tell(self, trial: Trial) -> None:
        pass


class Confused(Stubborn):
    """Proposes constants that are not there."""

    def ask(self, state: State) -> Proposal:
        return Proposal(source="confused", title="what", constants={"WIDTH": 5})


def ran(folder: Path, **settings: object) -> State:
    with study_in(folder, **settings) as study:
        return run(study)


def test_the_baseline_comes_first_and_is_repeated_on_other_seeds(tmp_path: Path) -> None:
    state = ran(tmp_path)
    baseline = state.trials[0]
    assert [t.id for t in state.trials] == list(range(7))
    assert len(baseline.measurements) == 3
    assert len({m.seed for m in baseline.measurements}) == 3
    assert all(len(t.measurements) == 1 for t in state.trials[1:])
    assert state.noise == statistics.stdev(baseline.losses)
    assert state.ended is not None
    assert state.ended.reason == "6 trials are done"


def test_the_champion_is_the_best_of_what_beat_the_margin(tmp_path: Path) -> None:
    state = ran(tmp_path, proposer="cma", trials=40)
    kept = [t for t in state.trials if t.kept]
    losses = [t.loss for t in kept if t.loss is not None]
    assert losses == sorted(losses, reverse=True)
    assert len(kept) > 2
    assert state.champion == kept[-1]
    for before, after in zip(kept, kept[1:], strict=False):
        assert after.parent == before.id
        assert after.verdict is not None
        assert after.verdict.gain is not None
        assert after.verdict.gain > 2 * (state.noise or 0)
    failed = [t for t in state.trials if t.outcome is Outcome.OOM_HOST]
    assert all(t.loss is None and t.verdict and t.verdict.gain is None for t in failed)


def test_two_runs_of_one_seed_are_equal_and_of_two_seeds_are_not(tmp_path: Path) -> None:
    a, b, c = (ran(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    proposals = [[t.proposal.constants for t in state.trials] for state in (a, b, c)]
    assert proposals[0] == proposals[1] != proposals[2]


def test_duplicates_are_not_trained_and_a_stuck_search_ends(tmp_path: Path) -> None:
    state = ran(tmp_path, proposer="test_loop:Stubborn", trials=100)
    assert state.trials[1].outcome is Outcome.OK
    assert {t.outcome for t in state.trials[2:]} == {Outcome.DUPLICATE}
    assert all(t.loss is None for t in state.trials[2:])
    assert state.trials[2].failure == "the same code as trial 1"
    assert not state.trials[2].measurements
    assert state.ended is not None
    assert "duplicates, did not apply or were unusable" in state.ended.reason


def test_what_does_not_apply_is_an_outcome_without_a_number(tmp_path: Path) -> None:
    state = ran(tmp_path, proposer="test_loop:Confused", trials=3)
    assert [t.outcome for t in state.trials[1:]] == [Outcome.BAD_PATCH] * 3
    assert "WIDTH" in str(state.trials[1].failure)
    assert state.trials[1].diff == ""


def test_a_space_that_is_used_up_ends_the_run(tmp_path: Path) -> None:
    with study_in(tmp_path, trials=100, overrides=("space={DEPTH={low=3,high=5}}",)) as study:
        state = run(study)
    assert len(state.trials) == 3  # the baseline's 4, then 3 and 5
    assert state.ended is not None
    assert "have been tried" in state.ended.reason


def test_a_target_that_is_reached_ends_the_run(tmp_path: Path) -> None:
    state = ran(tmp_path, trials=500, target_loss=0.055)
    assert state.champion is not None
    assert state.champion.loss is not None
    assert state.champion.loss <= 0.055
    assert state.ended is not None
    assert state.ended.reason == f"trial {state.best} reached the target"


def test_the_end_of_the_budget_leaves_no_trial_half_done(tmp_path: Path) -> None:
    with study_in(tmp_path, budget="2m", trials=None) as study:
        study.clock._zero -= 100  # 20 s left: 6 s a trial, which says that it takes 8.5 s
        state = run_for(study, per_trial=6.0)
    assert not state.open_trials
    assert len(state.trials[0].measurements) == 2, "what was measured of the baseline counts"
    assert state.ended is not None
    assert state.ended.reason.startswith("the budget is used")


def run_for(study: Study, per_trial: float) -> State:
    """Run with trials that take `per_trial` budget seconds each."""
    executor = study.executor
    assert isinstance(executor, Pretend)
    take = executor.next_measurement

    def slow(timeout: float) -> Done | None:
        study.clock._zero -= per_trial
        done = take(timeout)
        assert done is not None
        assert done.measurement is not None
        return Done(done.job, done.measurement.model_copy(update={"total_seconds": 8.5}))

    executor.next_measurement = slow
    return run(study)


def test_a_stop_leaves_the_rest_for_a_resume(tmp_path: Path) -> None:
    with study_in(tmp_path) as study:
        executor = study.executor
        assert isinstance(executor, Pretend)
        take = executor.next_measurement

        def stopping(timeout: float) -> Done | None:
            study.stop.soon.set()
            return take(timeout)

        executor.next_measurement = stopping
        state = run(study)
    assert state.ended is not None
    assert state.ended.reason == "stopped by the user"
    assert len(state.trials[0].measurements) == 1
    assert state.open_trials == (state.trials[0],)
    assert ran(tmp_path).trials[0].losses == ran(tmp_path / "whole").trials[0].losses


def test_a_failing_house_raises_and_loses_nothing(tmp_path: Path) -> None:
    with study_in(tmp_path) as study:
        executor = study.executor
        assert isinstance(executor, Pretend)

        def failing(timeout: float) -> Done | None:
            job = executor.jobs[0]
            if job.trial == 3:
                raise AgentError("the judge failed")
            return Done(executor.jobs.pop(0), measured(job))

        executor.next_measurement = failing
        with pytest.raises(AgentError):
            run(study)
        assert study.store.state.trials[3].outcome is None
        assert study.store.state.ended == Ended(by=End.FAILURE, reason="the judge failed")
    assert len(ran(tmp_path).trials) == 7


def test_a_script_that_does_not_run_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    with study_in(tmp_path, script="LR = 0.1\nDEPTH = 7\n") as study:
        state = run(study)
    assert [t.outcome for t in state.trials] == [Outcome.OOM_HOST]
    assert state.ended is not None
    assert state.ended.reason == "the script does not run as it is: out of memory"


def test_a_run_works_on_its_own_copy_of_the_target(tmp_path: Path) -> None:
    with study_in(tmp_path) as study:
        (tmp_path / "target" / "train.py").write_text("LR = 0.1\nDEPTH = 7\n")
        state = run(study)
    assert state.trials[0].outcome is Outcome.OK


def test_seconds_by_use_add_up(tmp_path: Path) -> None:
    state = ran(tmp_path)
    used = seconds_by_use(state)
    assert used.train == 9.0  # three trainings of the baseline, six trials, a second each
    assert used.repeat == 2.0


@pytest.mark.parametrize(
    ("budget", "repeats", "trials"), [(600, 3, 12), (180, 2, 2), (100, 1, 1), (41, 1, 0), (18000, 3, 470)]
)
def test_the_plan_divides_the_budget(budget: float, repeats: int, trials: int) -> None:
    plan = make_plan(budget, LIMITS, None)
    assert (plan.baseline_repeats, plan.trials) == (repeats, trials)


def test_a_budget_below_one_trial_is_refused() -> None:
    with pytest.raises(UsageError, match="shorter than one trial"):
        make_plan(20, LIMITS, None)


def test_expected_seconds_follow_what_was_measured(tmp_path: Path) -> None:
    assert expected_seconds(State(), LIMITS) == 38
    assert expected_seconds(ran(tmp_path), LIMITS) == pytest.approx(1.1)


def test_the_clock_counts_what_earlier_sessions_used() -> None:
    now = 100.0
    clock = Clock(used=30.0, now=lambda: now)
    now = 105.0
    assert clock.elapsed() == 35.0
    assert clock.at(60.0) == 130.0


def trial(number: int, *losses: float | None, verdict: Verdict | None = None) -> Trial:
    measurements = tuple(
        Measurement(
            seed=i,
            outcome=Outcome.OK if loss is not None else Outcome.CRASH,
            reason="" if loss is not None else "boom",
            loss=loss,
            total_seconds=1,
            code_sha256="",
            jail="none",
        )
        for i, loss in enumerate(losses)
    )
    proposal = Proposal(source="cma", title="")
    return Trial(
        id=number, parent=0, proposal=proposal, diff="", code_sha256="", measurements=measurements, verdict=verdict
    )


KEEP = Verdict(decision=Decision.KEEP, reason="")
STATE = State(trials=(trial(0, 1.0, 1.02, 0.98, verdict=KEEP),), best=0)  # noise 0.02


@pytest.mark.parametrize(
    ("loss", "keep", "decision"),
    [
        (0.95, "margin", Decision.KEEP),
        (0.97, "margin", Decision.DISCARD),
        (0.97, "greedy", Decision.KEEP),
        (1.0, "greedy", Decision.DISCARD),
        (1.2, "margin", Decision.DISCARD),
    ],
)
def test_keep_decisions(loss: float, keep: str, decision: Decision) -> None:
    verdict = decide(STATE, trial(1, loss), keep, 3)
    assert verdict.decision is decision
    assert verdict.gain == pytest.approx(1.0 - loss)


def test_failures_are_discarded_without_a_gain() -> None:
    verdict = decide(STATE, trial(1, None), "greedy", 3)
    assert (verdict.decision, verdict.gain) == (Decision.DISCARD, None)
    assert "boom" in verdict.reason


def test_the_baseline_is_repeated_until_it_has_enough() -> None:
    assert decide(State(), trial(0, 1.0, 1.1), "margin", 3).decision is Decision.REPEAT
    assert decide(State(), trial(0, 1.0, 1.1, 1.2), "margin", 3).decision is Decision.KEEP
    assert decide(State(), trial(0, 1.0, None), "margin", 3).decision is Decision.DISCARD


@pytest.mark.parametrize(
    ("outcome", "loss"), [("ok", None), ("ok", float("nan")), ("ok", float("inf")), ("crash", 1.0)]
)
def test_a_loss_exists_exactly_when_ok_and_is_finite(outcome: str, loss: float | None) -> None:
    with pytest.raises(ValueError, match="loss"):
        Measurement(seed=0, outcome=Outcome(outcome), loss=loss, total_seconds=1, code_sha256="", jail="none")
