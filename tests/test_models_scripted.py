"""Canned replies: in order, from where a run stopped, and loud where script and run part."""

import time
import tomllib

import pytest

from agent.errors import UsageError
from agent.models.base import Interrupted, Message, ModelError, Request, Trouble, Watch
from agent.models.scripted import DEMO, Scripted, read_script

THREE = """
[[reply]]
content = '''
first
'''
[[reply]]
expect = "val_bpb"
content = "second"
reasoning = "because"
finish_reason = "length"
[[reply]]
error = "rate_limited"
retry_after = 3
"""


@pytest.fixture
def script(tmp_path):
    def write(text=THREE):
        path = tmp_path / "replies.toml"
        path.write_text(text)
        return path

    return write


def ask(model, prompt="lower val_bpb", watch=None):
    return model.complete(Request((Message("system", "s"), Message("user", prompt)), 100), watch or Watch())


def test_replies_come_in_order_and_whole(script):
    model = Scripted(script())
    assert ask(model).text == "first\n"
    second = ask(model)
    assert (second.text, second.reasoning, second.reasoning_field) == ("second", "because", "reasoning")
    assert second.finish_reason == "length"


def test_a_resumed_run_goes_on_with_the_next_reply(script):
    assert ask(Scripted(script(), made=1)).text == "second"


def test_an_error_of_the_script_is_raised_with_its_wait(script):
    with pytest.raises(ModelError) as caught:
        ask(Scripted(script(), made=2))
    assert (caught.value.trouble, caught.value.retry_after) == (Trouble.RATE_LIMITED, 3)


def test_a_prompt_without_what_a_reply_expects_is_told_by_name(script):
    with pytest.raises(ModelError, match="reply 1 of replies.toml expects 'val_bpb' in the prompt") as caught:
        ask(Scripted(script(), made=1), prompt="something else")
    assert caught.value.trouble is Trouble.BAD_REQUEST


def test_it_ends_after_the_last_reply(script):
    model = Scripted(script(), made=3)
    for _ in range(2):
        with pytest.raises(ModelError, match="the script of replies has ended after 3 replies") as caught:
            ask(model)
        assert caught.value.trouble is Trouble.ENDED


def test_a_wait_of_the_script_can_be_stopped(script):
    model, began = Scripted(script("[[reply]]\nseconds = 60\ncontent = 'x'")), time.monotonic()
    with pytest.raises(Interrupted):
        ask(model, watch=Watch(deadline=lambda: began + 0.2))
    assert time.monotonic() - began < 2


def test_the_label_is_free_of_paths(script):
    assert Scripted(script()).label == "replies.toml@scripted"
    assert Scripted(DEMO).label == "demo@scripted"


def test_the_demo_that_ships_is_a_script():
    assert len(read_script(DEMO)) == len(tomllib.loads(DEMO.read_text("utf-8"))["reply"]) > 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[reply]]\ncontents = 'x'", "reply 0: unknown key 'contents': did you mean 'content'?"),
        ("[[reply]]\nerror = 'gone'", "reply 0: error"),
        ("[[reply]]\nerror = 'cut'\ncontent = 'x'", "an error or has content, not both"),
        ("reply = 3", "reply"),
        ("", "reply: it is missing"),
        ("[[reply", "no TOML file"),
    ],
)
def test_a_wrong_script_is_refused_in_a_sentence(script, text, says):
    with pytest.raises(UsageError) as caught:
        Scripted(script(text))
    assert says in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="nowhere.toml: No such file"):
        Scripted(tmp_path / "nowhere.toml")
