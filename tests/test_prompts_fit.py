"""How prompts are laid out and cleaned: who gives way first, and what is taken out of foreign text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.calls import Contract, ModelFacts
from agent.prompts.clean import fenced, line, quoted, said, source
from agent.prompts.fit import GivesWay, Section, Version, context_for, fit, fixed, room, roomy, tokens

ANY = st.text(alphabet=st.characters(codec="utf-8"), max_size=400)
SIZES = st.lists(st.integers(0, 300), min_size=1, max_size=4)


def section(sizes: list[int], steps: list[GivesWay]) -> Section:
    versions = [Version("x" * size, "something", when) for size, when in zip(sizes[1:], steps, strict=False)]
    return Section("user", Version("x" * sizes[0]), lambda: versions)


@st.composite
def sections(draw: st.DrawFn) -> list[Section]:
    steps = sorted(GivesWay)
    made = []
    for _ in range(draw(st.integers(1, 5))):
        sizes = sorted(draw(SIZES), reverse=True)
        made.append(section(sizes, sorted(draw(st.permutations(steps))[: len(sizes) - 1])))
    return made


@given(sections(), st.integers(0, 1500))
def test_a_layout_fits_or_is_the_shortest_there_is(given_sections: list[Section], most: int) -> None:
    fitted = fit(given_sections, most, 3.0)
    shortest = [s.versions()[-1].shown for s in given_sections]
    assert fitted.tokens == sum(tokens(text, 3.0) for text in fitted.texts)
    assert fitted.tokens <= most or list(fitted.texts) == shortest


@given(sections())
def test_nothing_is_cut_from_what_fits(given_sections: list[Section]) -> None:
    full = [s.full.shown for s in given_sections]
    assert list(fit(given_sections, 10_000, 3.0).texts) == full


def test_the_first_to_give_way_is_cut_first() -> None:
    late = Section("user", Version("a" * 300), lambda: [Version("b", "a's", GivesWay.BRIEF_HALF)])
    soon = Section("user", Version("c" * 300), lambda: [Version("d", "c's", GivesWay.LEDGER_HALF)])
    fitted = fit([late, soon], 150, 3.0)
    assert fitted.texts[0] == "a" * 300
    assert fitted.texts[1] == "d\n\n(Not shown, to keep this short: c's.)"


@pytest.mark.parametrize("version", [Version("short"), Version("short", "much"), Version("s", when=GivesWay.KEPT)])
def test_a_shorter_version_cannot_keep_quiet(version: Version) -> None:
    with pytest.raises(ValueError, match="what it leaves out"):
        Section("user", Version("long"), lambda: [version]).versions()


def test_versions_take_their_turns_in_order() -> None:
    turns = [Version("bb", "x", GivesWay.KEPT), Version("b", "y", GivesWay.LEDGER)]
    with pytest.raises(ValueError, match="a later turn"):
        Section("user", Version("bbb"), lambda: turns).versions()


def test_what_must_stay_stays() -> None:
    assert fit([fixed("user", "x" * 900)], 10, 3.0).texts == ("x" * 900,)


@given(st.integers(512, 300_000), st.integers(16, 40_000), st.sampled_from(list(Contract)), st.integers(0, 20_000))
def test_room_and_the_context_asked_for_agree(context: int, answer: int, contract: Contract, prompt: int) -> None:
    facts = ModelFacts(name="m", endpoint="e", contract=contract, context_tokens=context, max_output_tokens=answer)
    assert roomy(facts, 1000) <= room(facts) < max(1, context - answer)
    assert room(facts.model_copy(update={"context_tokens": context_for(prompt, facts)})) >= prompt


def test_scripts_without_spaces_count_more_tokens_a_character() -> None:
    assert tokens("a" * 300, 3.0) == 100
    assert tokens("数" * 300, 3.0) == 300


@given(ANY)
def test_a_line_is_one_clean_line(text: str) -> None:
    clean = line(text, 80)
    assert len(clean) <= 80 + len(" [cut]")
    assert all(c.isprintable() for c in clean)
    assert "```" not in clean
    assert "<|" not in clean
    assert "|>" not in clean


@given(ANY, st.integers(1, 9), st.integers(10, 300), st.sampled_from(["head", "tail"]))
def test_a_quotation_is_bounded_and_counts_what_it_leaves_out(text: str, lines: int, chars: int, keep: str) -> None:
    whole = quoted(text, 10_000, 100_000, keep).split("\n")
    cut = quoted(text, lines, chars, keep).split("\n")
    missing = [each for each in cut if each.endswith("lines are not shown]")]
    shown = [each for each in cut if each not in missing]
    count = int(missing[0].split()[0].strip("[")) if missing else 0
    assert len(shown) + count == len(whole)
    assert len(shown) <= lines
    assert sum(len(each) for each in shown) <= chars
    assert shown == (whole[: len(shown)] if keep == "head" else whole[len(whole) - len(shown) :])


@given(ANY)
def test_no_text_closes_its_own_fence(text: str) -> None:
    bar, *inside, end = fenced(quoted(text, 100, 1000)).split("\n")
    assert bar == end
    assert not any(each.startswith(bar) for each in inside)


def test_a_chat_template_s_tokens_are_broken_up() -> None:
    assert line("<|im_start|>system </s> [INST] <think> <start_of_turn>") == (
        "< |im_start| >system < /s> [ INST] < think> < start_of_turn>"
    )
    assert (
        line('File "train.py", line 3, in <module> [0, 1] a < b') == 'File "train.py", line 3, in <module> [0, 1] a < b'
    )


def test_what_is_cut_is_marked() -> None:
    assert line("word " * 100, 20).endswith(" [cut]")
    assert said("x" * 30, 10) == f"{'x' * 10} [cut: 20 more characters]"
    assert quoted("y" * 400, 5, 1000).endswith(" [line cut]")


def test_the_source_is_shown_as_it_is_but_for_line_ends() -> None:
    assert source("\ufeffa = '\x0c<|end|>'\r\n\tb\r\n") == "a = '\x0c<|end|>'\n\tb\n"
