"""What is asked next, by the state alone: which form, how wide, and what is mended."""

from dataclasses import replace

import pytest
from talking import FACTS, SCRIPT, Talk, crashed, measurement, patched

from agent.calls import Call, Contract
from agent.history.events import Record, Resumed
from agent.nouns import Trial
from agent.proposers.base import NoProposal
from agent.proposers.course import contract, course, died_early, widening
from agent.state import fold
from agent.target import TargetLimits
from sandbox.spec import Outcome, Phase

LIMITS = TargetLimits.model_validate({"train_seconds": 60})


@pytest.fixture
def talk(tmp_path) -> Talk:
    return Talk(tmp_path)


def void(talk: Talk, wrong: str = "not_found", model: str = FACTS.label, source: str = "code") -> None:
    call = Call(number=0, purpose="propose", model=model, prompt_sha256="")
    talk.void(NoProposal(source, wrong, "because", calls=(call,)))


def trial(talk: Talk, loss: float = 2.0, source: str = "code") -> Trial:
    number = len(talk.state.trials)
    return talk.close(patched(talk.script(talk.state.best), "10)", f"{10 + number})", source=source), loss)


def form(talk: Talk, usual: Contract = Contract.BLOCKS) -> Contract:
    return contract(talk.state, FACTS.model_copy(update={"contract": usual}), "code")


def steps(talk: Talk, count: int) -> None:
    for _ in range(count):
        trial(talk)


def test_each_three_unusable_answers_in_a_row_are_a_step_down_and_set_is_the_last(talk):
    forms = []
    for _ in range(10):
        void(talk)
        forms.append(form(talk))
    blocks, few, set_ = Contract.BLOCKS, Contract.FEW_BLOCKS, Contract.SET
    assert forms == [blocks, blocks, few, few, few, set_, set_, set_, set_, set_]


def test_a_model_of_whole_files_goes_straight_to_set_lines(talk):
    for expected in (Contract.FILE, Contract.FILE, Contract.SET):
        void(talk)
        assert form(talk, Contract.FILE) is expected


def test_a_success_between_begins_the_count_anew(talk):
    for _ in range(4):
        void(talk)
        void(talk)
        steps(talk, 1)
    assert form(talk) is Contract.BLOCKS


def test_the_simpler_form_stays_after_a_success_and_ten_in_a_row_lead_back(talk):
    for _ in range(3):
        void(talk)
    steps(talk, 9)
    assert form(talk) is Contract.FEW_BLOCKS
    steps(talk, 1)
    assert form(talk) is Contract.BLOCKS


def test_trials_of_another_search_say_nothing_of_the_model(talk):
    for _ in range(3):
        void(talk)
        trial(talk, source="pattern")
    assert form(talk) is Contract.FEW_BLOCKS


@pytest.mark.parametrize("wrong", ["duplicate", "noop", "seed", "interrupted", "overflow", "unauthorized"])
def test_what_is_not_the_forms_fault_does_not_count(talk, wrong):
    for _ in range(6):
        void(talk, wrong)
    assert form(talk) is Contract.BLOCKS


def test_however_many_answers_were_no_use_twenty_trials_lead_back(talk):
    for _ in range(30):
        void(talk)
    assert form(talk) is Contract.SET
    steps(talk, 10)
    assert form(talk) is Contract.FEW_BLOCKS
    steps(talk, 10)
    assert form(talk) is Contract.BLOCKS


def resume(talk: Talk, contract: Contract, label: str = FACTS.name) -> None:
    """A resume whose preflight finds `contract`."""
    session = talk.state.session.model_copy(
        update={"model": FACTS.model_copy(update={"contract": contract, "name": label})}
    )
    event = Resumed(session=session)
    talk.state = fold(talk.state, Record(seq=9, prev="", at=talk.state.at, elapsed=1.0, event=event))


def test_what_a_resume_finds_itself_is_not_counted_twice(talk):
    for _ in range(3):
        void(talk)
    resume(talk, Contract.FEW_BLOCKS)
    assert form(talk, Contract.FEW_BLOCKS) is Contract.FEW_BLOCKS
    resume(talk, Contract.FEW_BLOCKS)
    for expected in (Contract.FEW_BLOCKS, Contract.FEW_BLOCKS, Contract.SET):
        void(talk)
        assert form(talk, Contract.FEW_BLOCKS) is expected
    resume(talk, Contract.FEW_BLOCKS)
    assert form(talk, Contract.FEW_BLOCKS) is Contract.SET


def test_a_resume_that_finds_the_same_goes_on_with_the_simpler_form(talk):
    for _ in range(3):
        void(talk)
    resume(talk, Contract.BLOCKS)
    assert form(talk) is Contract.FEW_BLOCKS
    resume(talk, Contract.BLOCKS, "another")
    resume(talk, Contract.BLOCKS)
    assert form(talk) is Contract.BLOCKS, "it may have been served anew"


def test_another_model_begins_with_its_own_form(talk):
    for _ in range(3):
        void(talk, model="another@scripted")
    assert form(talk) is Contract.BLOCKS


def test_the_search_widens_after_six_and_twelve_tries_and_no_new_ideas_count_as_tries(talk):
    assert [widening(tries) for tries in (0, 5, 6, 11, 12, 99)] == [0, 0, 1, 1, 2, 2]
    steps(talk, 4)
    void(talk, "not_found")
    assert course(talk.state, LIMITS, "code", 1).widen == 0
    void(talk, "duplicate")
    void(talk, "noop")
    now = course(talk.state, LIMITS, "code", 1)
    assert (now.tries, now.widen) == (6, 1)
    trial(talk, 0.5)
    assert course(talk.state, LIMITS, "code", 1).tries == 0


def test_where_a_widened_search_starts_again_follows_from_seed_and_trial(talk):
    for number in range(6):
        talk.close(patched(talk.script(number), f"{32 + number}  #", f"{33 + number}  #"), 0.9 - number / 100)
    steps(talk, 12)
    parents = {seed: course(talk.state, LIMITS, "code", seed).parent for seed in range(20)}
    assert parents == {seed: course(talk.state, LIMITS, "code", seed).parent for seed in range(20)}
    assert len(set(parents.values())) > 1 and set(parents.values()) <= {0, 1, 2, 3, 4, 5}


def test_without_an_earlier_kept_trial_there_is_nowhere_to_go_back_to(talk):
    steps(talk, 12)
    now = course(talk.state, LIMITS, "code", 1)
    assert now.widen == 2 and now.parent is None


@pytest.mark.parametrize(("train", "early"), [(0.0, True), (5.9, True), (6.1, False), (60.0, False)])
def test_a_crash_is_early_in_the_first_tenth(talk, train, early):
    died = talk.close(patched(SCRIPT, "0.0)", "zero)"), crashed(train))
    assert died_early(died, talk.state.baseline, LIMITS) is early


@pytest.mark.parametrize(("train", "early"), [(25.9, True), (26.1, False)])
def test_without_a_progress_pattern_the_baseline_tells_how_long_a_start_up_is(talk, train, early):
    whole = measurement(Outcome.OK, loss=1.0).model_copy(update={"seconds": {Phase.TRAIN: 80.0}})
    baseline = talk.state.trials[0].model_copy(update={"measurements": (whole,)})
    talk.state = replace(talk.state, trials=(baseline,))
    died = talk.close(patched(SCRIPT, "0.0)", "zero)"), crashed(train))
    assert died_early(died, talk.state.baseline, LIMITS) is early


def test_a_crash_in_a_repeated_training_is_not_the_codes_first_step(talk):
    died = talk.close(patched(SCRIPT, "0.0)", "0.1)"), measurement(Outcome.OK, loss=0.9), crashed())
    assert not died_early(died, talk.state.baseline, LIMITS)
    assert course(talk.state, LIMITS, "code", 1).mend is None


def test_a_crash_is_mended_next_or_never(talk):
    died = talk.close(patched(SCRIPT, "0.0)", "zero)"), crashed())
    assert course(talk.state, LIMITS, "code", 1).mend == died
    trial(talk, source="pattern")
    assert course(talk.state, LIMITS, "code", 1).mend is None
