"""Words of a model or a server on their way into a record, a sentence, a terminal."""

import io
import json

import pytest
from rich.console import Console

from agent.edits.errors import EditError, Wrong
from agent.nouns import Proposal
from agent.proposers.dialogue import Refused
from agent.text import clean, one_line
from agent.ui.live import Live
from agent.ui.plain import Plain

NASTY = "\x1b[2J\x1b]0;owned\x07X \ud800\x00 of\u202e\r\ntwo\x9b31m lines"


@pytest.mark.parametrize("made", [clean(NASTY), str(EditError(NASTY, Wrong.VALUE)), str(Refused(NASTY, Wrong.VALUE))])
def test_what_is_cleaned_keeps_its_words_and_its_lines_only(made):
    assert made == "X ? of\ntwo lines"


@pytest.mark.parametrize(
    "made",
    [one_line(NASTY), Refused("", Wrong.VALUE, NASTY).title, Proposal(source="x", title=NASTY).title],
)
def test_a_title_is_one_line_that_can_be_written(made):
    assert made == "X ? of two lines"
    json.dumps(made, ensure_ascii=False).encode()


def test_plain_words_stay_as_they_are():
    text = "Block 2:\n\tif x:  # größer, 長い\n\n    return 1\n"
    assert clean(text) == text
    assert one_line("wider, größer, 長い") == "wider, größer, 長い"


def test_neither_view_lets_a_line_move_the_cursor():
    out = io.StringIO()
    Plain(out).say(NASTY)
    Live(Console(file=out, force_terminal=True, width=80)).say(NASTY)
    assert out.getvalue() == "X ? of\ntwo lines\n" * 2
    out.getvalue().encode()
