"""The line to a model: what passes is retried, an outage is said once, every attempt is booked."""

import hashlib
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.calls import spent
from agent.models.base import Interrupted, Message, ModelError, Reply, Request, Trouble, Watch
from agent.models.booking import prompt_sha256
from agent.models.line import MAY_BE_THE_QUESTION, RETRIED, Line, Outage, Patience, Unanswered, pause
from agent.models.pace import first_seconds
from agent.models.scripted import Scripted

REQUEST = Request((Message("system", "Sei freundlich."), Message("user", "lower val_bpb")), 100)
PASSING = [trouble for trouble in Trouble if RETRIED[trouble]]
LASTING = [trouble for trouble in Trouble if not RETRIED[trouble] and trouble is not Trouble.ENDED]


@dataclass
class FakeTime(Watch):
    """A watch whose time passes only by sleeping, and by the seconds that a `Model` below says it takes."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.clock = lambda: self.now
        self.began = 0.0
        self.say = self.said.append

    def sleep(self, seconds):
        if seconds:
            self.slept.append(seconds)
        self.now += seconds
        self.check()


@dataclass
class Answers:
    """A model that answers, or raises, what it was given; each call takes `seconds`."""

    given: list
    seconds: float = 0.0
    asked: list[Request] = field(default_factory=list)
    label: str = "m@http://x/v1"

    def complete(self, request, watch):
        self.asked.append(request)
        watch.now += self.seconds
        one = self.given.pop(0) if len(self.given) > 1 else self.given[0]
        if isinstance(one, BaseException):
            raise one
        return one


def failing(trouble, retry_after=None):
    return ModelError(f"it failed by {trouble}", trouble, retry_after)


def script(tmp_path: Path, *replies: str) -> Path:
    path = tmp_path / "s.toml"
    path.write_text("".join(f"[[reply]]\n{reply}\n" for reply in replies))
    return path


def test_the_table_knows_every_trouble():
    assert set(RETRIED) == set(Trouble)


@pytest.mark.parametrize("trouble", PASSING)
def test_what_passes_is_asked_again(tmp_path, trouble):
    watch = FakeTime()
    line = Line(Scripted(script(tmp_path, f'error = "{trouble}"', 'content = "there"')), watch)
    assert line.ask(REQUEST, "propose").text == "there"
    assert [call.error for call in line.drain()] == [trouble, ""]
    assert len(watch.slept) == 1


@pytest.mark.parametrize("trouble", LASTING)
def test_what_lasts_is_raised_at_once(tmp_path, trouble):
    watch = FakeTime()
    line = Line(Scripted(script(tmp_path, f'error = "{trouble}"', 'content = "there"')), watch)
    with pytest.raises(ModelError) as caught:
        line.ask(REQUEST, "propose")
    assert caught.value.trouble is trouble
    assert not isinstance(caught.value, Outage)
    assert watch.slept == []
    assert [call.error for call in line.drain()] == [trouble]


def test_the_end_of_a_script_ends_the_asking(tmp_path):
    line = Line(Scripted(script(tmp_path, 'content = "one"')), FakeTime())
    line.ask(REQUEST, "propose")
    with pytest.raises(ModelError) as caught:
        line.ask(REQUEST, "propose")
    assert caught.value.trouble is Trouble.ENDED


def test_a_server_that_says_when_is_taken_at_its_word(tmp_path):
    watch = FakeTime()
    model = Scripted(script(tmp_path, 'error = "rate_limited"\nretry_after = 17', 'content = "x"'))
    Line(model, watch).ask(REQUEST, "propose")
    assert watch.slept == [17]


def test_a_server_that_says_now_again_and_again_is_not_hammered():
    watch = FakeTime()
    Line(Answers([*[failing(Trouble.RATE_LIMITED, 0.0)] * 5, Reply("x")]), watch).ask(REQUEST, "propose")
    assert sum(watch.slept) > 15


def test_pauses_grow_to_half_a_minute_and_are_the_same_each_time():
    first = [pause(failures, number=5) for failures in range(1, 12)]
    assert first == [pause(failures, number=5) for failures in range(1, 12)]
    assert first == sorted(first)
    assert 0.7 < first[0] < 1.3
    assert 20 < first[-1] < 40
    assert len({pause(1, number) for number in range(50)}) > 40  # runs that lost one server do not come back in step


def test_an_outage_is_said_once_with_its_beginning_and_once_with_its_end():
    watch, model = FakeTime(), Answers([failing(Trouble.UNREACHABLE)] * 20 + [Reply("x")])
    Line(model, watch).ask(REQUEST, "propose")
    begin, end = watch.said
    assert begin.startswith("the model has not answered since ")
    assert "it failed by unreachable; waiting, the run's budget goes on" in begin
    assert end.startswith("the model answers again, after ")


def test_a_short_hiccup_is_not_worth_a_word():
    watch, model = FakeTime(), Answers([failing(Trouble.SERVER)] * 3 + [Reply("x")])
    Line(model, watch).ask(REQUEST, "propose")
    assert watch.said == []


def test_patience_ends_an_outage_in_time_and_with_the_reason():
    watch, model = FakeTime(), Answers([failing(Trouble.UNREACHABLE)])
    with pytest.raises(Outage, match="has not answered for 10m: it failed by unreachable") as caught:
        Line(model, watch, Patience(600.0)).ask(REQUEST, "propose")
    assert caught.value.trouble is Trouble.UNREACHABLE
    assert watch.now == pytest.approx(600, abs=1)


def test_a_wait_that_the_server_asks_for_does_not_outlast_patience():
    watch, model = FakeTime(), Answers([failing(Trouble.RATE_LIMITED, 86400.0)])
    with pytest.raises(Outage):
        Line(model, watch, Patience(60.0)).ask(REQUEST, "propose")
    assert watch.now == pytest.approx(60, abs=1)


def test_after_an_outage_each_question_is_one_attempt_until_an_answer_comes():
    watch, model = FakeTime(), Answers([failing(Trouble.UNREACHABLE)])
    line = Line(model, watch, Patience(60.0))
    with pytest.raises(Outage):
        line.ask(REQUEST, "propose")
    line.drain()
    watch.now += 500
    with pytest.raises(Outage):
        line.ask(REQUEST, "propose")
    assert len(line.drain()) == 1
    model.given = [Reply("back"), failing(Trouble.UNREACHABLE)]
    assert line.ask(REQUEST, "propose").text == "back"
    before = watch.now
    with pytest.raises(Outage):
        line.ask(REQUEST, "propose")
    assert watch.now - before == pytest.approx(60, abs=1)  # patience is whole again


def test_without_an_end_to_patience_the_run_waits_until_it_is_stopped():
    watch, model = FakeTime(), Answers([failing(Trouble.UNREACHABLE)])
    watch.deadline = lambda: 36000.0
    line, portions = Line(model, watch), []
    with pytest.raises(Interrupted):
        while True:
            with pytest.raises(Unanswered, match="50 attempts have failed: it failed by unreachable"):
                line.ask(REQUEST, "propose")
            portions.append(len(line.drain()))
    assert 36000 <= watch.now < 36100
    assert len(watch.said) == 1, "it is one outage"
    assert set(portions) == {50} and sum(portions) > 900


def test_patience_may_be_given_later():
    watch, model = FakeTime(), Answers([failing(Trouble.SERVER)])
    line = Line(model, watch)
    line.patience = Patience(5.0)
    with pytest.raises(Outage):
        line.ask(REQUEST, "propose")


def test_a_stop_ends_the_waiting_within_a_second(tmp_path):
    stop = threading.Event()
    line = Line(Scripted(script(tmp_path, 'error = "rate_limited"\nretry_after = 60')), Watch(cancelled=stop.is_set))
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        line.ask(REQUEST, "propose")
    assert time.monotonic() - began < 1.3


def test_every_attempt_is_booked_and_kept_with_what_came_of_it():
    reply = Reply("x" * 30, finish_reason="length", prompt_tokens=7, completion_tokens=9, reasoning_tokens=4, cost=0.5)
    kept, watch = [], FakeTime()
    model = Answers([failing(Trouble.SERVER), reply])
    line = Line(model, watch, number=41, keep=lambda call, request, answer: kept.append((call, request, answer)))
    line.ask(REQUEST, "repair")
    failed, answered = line.drain()
    assert (failed.number, failed.error, failed.completion_tokens) == (41, "server", 0)
    assert (answered.number, answered.error, answered.finish_reason) == (42, "", "length")
    assert (answered.prompt_tokens, answered.completion_tokens, answered.reasoning_tokens) == (7, 9, 4)
    assert (answered.cost, answered.estimated, answered.purpose, answered.model) == (0.5, False, "repair", model.label)
    assert answered.prompt_sha256 == prompt_sha256(REQUEST.messages)
    assert [(call.number, request, type(answer)) for call, request, answer in kept] == [
        (41, REQUEST, ModelError),
        (42, REQUEST, Reply),
    ]
    assert line.drain() == ()
    assert (spent((failed, answered)).calls, spent((failed, answered)).failed) == (2, 1)


def test_tokens_are_estimated_and_marked_where_the_server_counts_none():
    line = Line(Answers([Reply("x" * 30, reasoning="y" * 60)]), FakeTime())
    line.ask(REQUEST, "propose")
    (call,) = line.drain()
    assert call.estimated
    assert call.completion_tokens == 30
    assert 5 <= call.prompt_tokens <= 20


def test_an_attempt_that_was_stopped_is_booked_too():
    line = Line(Answers([Interrupted()]), FakeTime())
    with pytest.raises(Interrupted):
        line.ask(REQUEST, "propose")
    assert [call.error for call in line.drain()] == ["interrupted"]


def test_nothing_is_asked_after_a_stop():
    model = Answers([Reply("x")])
    watch = FakeTime()
    watch.cancelled = lambda: True
    with pytest.raises(Interrupted):
        Line(model, watch).ask(REQUEST, "propose")
    assert model.asked == []


def test_the_time_limit_follows_the_measured_speed():
    fast = Reply("x", completion_tokens=1000, prompt_tokens=5, seconds=12.0, first_token_seconds=2.0)
    model, watch = Answers([fast]), FakeTime()
    line = Line(model, watch)
    big = Request(REQUEST.messages, 8000)
    for _ in range(2):
        line.ask(big, "propose")
    first, later = (request.seconds for request in model.asked)
    assert first > 8000  # nothing is known of its speed: one token a second
    assert later - (first - 8000) == pytest.approx(4 * 8000 / 100)
    line.ask(Request(REQUEST.messages, 8000, seconds=33.0), "propose")
    assert model.asked[-1].seconds == 33.0


def test_a_server_that_grew_slow_gets_the_time_it_needs():
    fast = Reply("x", completion_tokens=1000, prompt_tokens=5, seconds=10.0)
    model = Begun([fast, failing(Trouble.TIMEOUT), fast])
    line = Line(model, FakeTime())
    line.ask(REQUEST, "propose")
    line.ask(REQUEST, "propose")
    first, second, third = (request.seconds for request in model.asked)
    assert second < third < first
    model.given = [failing(Trouble.TIMEOUT), fast]
    line.ask(REQUEST, "propose")
    assert model.asked[-1].seconds > model.asked[-2].seconds


@dataclass
class Begun(Answers):
    """Answers whose failures come after a piece."""

    def complete(self, request, watch):
        watch.tokens = 1
        return super().complete(request, watch)


def test_a_server_that_hangs_says_nothing_about_its_speed():
    fast = Reply("x", completion_tokens=1000, prompt_tokens=5, seconds=10.0)
    model = Answers([fast, failing(Trouble.TIMEOUT), fast])
    line = Line(model, FakeTime())
    line.ask(REQUEST, "propose")
    line.ask(REQUEST, "propose")
    _, second, third = (request.seconds for request in model.asked)
    assert second == third


def test_the_speed_that_preflight_found_counts_for_the_first_answer():
    model = Answers([Reply("x", completion_tokens=1000, seconds=1000 / 30)])
    line, big = Line(model, FakeTime()), Request(REQUEST.messages, 16000)
    line.expect(100.0)
    line.ask(big, "propose")
    line.ask(big, "propose")
    assert model.asked[0].seconds - first_seconds(big) == pytest.approx(4 * 160)
    assert model.asked[1].seconds - first_seconds(big) == pytest.approx(4 * 16000 / 30), "measured is better"


@dataclass
class Hung:
    """A server that takes the question and says nothing, until the time for a first piece is over."""

    label: str = "m@http://x/v1"
    asked: int = 0

    def complete(self, request, watch):
        self.asked += 1
        watch.now += min(first_seconds(request), request.seconds)
        raise failing(Trouble.TIMEOUT)


def test_a_hung_server_costs_what_patience_allows_and_little_for_each_question_after_that():
    watch, long = FakeTime(), Request((Message("user", "x" * 24000),), 16384)
    line = Line(Hung(), watch, Patience(600.0))
    spent = []
    for _ in range(4):
        before = watch.now
        with pytest.raises(Outage):
            line.ask(long, "propose")
        spent.append(watch.now - before)
    assert spent[0] == pytest.approx(600, abs=20)
    assert max(spent[1:]) <= 15


def test_a_server_that_always_took_a_minute_to_begin_gets_that_after_an_outage_too():
    slow = Reply("x" * 90, completion_tokens=30, seconds=70.0, first_token_seconds=60.0)
    model, watch = Answers([slow, failing(Trouble.UNREACHABLE)]), FakeTime()
    line = Line(model, watch, Patience(60.0))
    line.ask(REQUEST, "propose")
    for _ in range(2):
        with pytest.raises(Outage):
            line.ask(REQUEST, "propose")
    assert model.asked[-1].first_seconds > 100


def test_without_an_end_to_patience_an_answer_may_take_the_usual_time_to_begin():
    model = Answers([failing(Trouble.TIMEOUT), Reply("x")])
    Line(model, FakeTime()).ask(REQUEST, "propose")
    assert [request.first_seconds for request in model.asked] == [None, None]


def test_an_answer_cut_after_a_long_time_is_no_outage_yet():
    model, watch = Begun([failing(Trouble.CUT), Reply("x")], seconds=900.0), FakeTime()
    assert Line(model, watch, Patience(600.0)).ask(REQUEST, "propose").text == "x"


def test_a_wait_of_hours_that_a_server_asks_for_is_cut_to_ten_minutes():
    watch = FakeTime()
    Line(Answers([failing(Trouble.RATE_LIMITED, 36000.0), Reply("x")]), watch).ask(REQUEST, "propose")
    assert watch.slept == [600]


@pytest.mark.parametrize("trouble", PASSING)
def test_failures_that_may_lie_in_the_question_are_counted_where_the_asker_wants(trouble):
    watch, model = FakeTime(), Answers([failing(trouble)])
    line = Line(model, watch)
    with pytest.raises(Unanswered) as caught:
        line.ask(REQUEST, "repair", tries=8)
    assert caught.value.trouble is trouble and not isinstance(caught.value, Outage)
    assert len(line.drain()) == (8 if trouble in MAY_BE_THE_QUESTION else 50)


def test_the_hash_of_a_prompt_is_that_of_canonical_json():
    text = '[{"content":"Grüße","role":"user"}]'
    assert prompt_sha256((Message("user", "Grüße"),)) == hashlib.sha256(text.encode()).hexdigest()
    assert prompt_sha256((Message("user", "a"),)) != prompt_sha256((Message("system", "a"),))


def test_the_view_is_told_of_the_waiting_and_of_its_end():
    doing, watch = [], FakeTime()
    sleep = watch.sleep
    watch.sleep = lambda seconds: (doing.append(watch.doing), sleep(seconds))
    Line(Answers([failing(Trouble.TIMEOUT), Reply("x")]), watch).ask(REQUEST, "propose")
    assert "to ask m@http://x/v1 again: timeout" in doing[0]
    assert watch.doing == ""
