"""Output of programs: what reaches a log, a callback, a terminal."""

from hypothesis import given
from hypothesis import strategies as st

from sandbox.output import CUT, LINE_BYTES, Lines, Log, clean

PIECES = st.sampled_from([b"a", b"loss 1.5", b"\r", b"\n", b"\r\n", b"\x1b[31m", b"\xff", "é".encode(), b"x" * 5000])


def split(chunks):
    lines = Lines()
    found = [line for chunk in chunks for line in lines.feed(chunk)]
    return found + lines.end()


@given(st.lists(PIECES, max_size=20), st.data())
def test_how_a_stream_is_cut_into_chunks_makes_no_difference(pieces, data):
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert split(chunks) == split([stream])


@given(st.binary(max_size=300))
def test_no_line_holds_a_control_character(data):
    for line in split([data]):
        assert line and all(c == "\t" or (ord(c) >= 32 and not 127 <= ord(c) < 160) for c in line)


def test_each_state_of_a_progress_bar_is_a_line():
    assert split([b"\r 10%\r 20%\r100%\ndone\r\n\r\n"]) == [" 10%", " 20%", "100%", "done"]


def test_only_carriage_returns_are_no_lines():
    assert split([b"\r" * 10000]) == []


def test_a_line_without_end_is_cut_and_the_next_is_whole():
    lines = split([b"A" * 10**6 + b"\nnext\n"])
    assert lines == ["A" * LINE_BYTES + CUT, "next"]


def test_colours_titles_and_direction_marks_are_removed():
    assert (
        clean(b"\x1b[1;31mred\x1b[0m \x1b]0;pwned\x07title \x1b(B\xe2\x80\xaeback \x9b31m")
        == "red title back \ufffd31m"
    )


def log_of(tmp_path, lines, size):
    log = Log(tmp_path / "log", size)
    for line in lines:
        log.add(line)
    tail = log.tail()
    log.close()
    return (tmp_path / "log").read_text(), tail


def test_a_short_log_is_kept_whole(tmp_path):
    lines = [f"line {k}" for k in range(20)]
    assert log_of(tmp_path, lines, 10000) == ("\n".join(lines) + "\n",) * 2


@given(count=st.integers(0, 200), size=st.integers(2, 2000))
def test_a_long_log_keeps_head_and_tail_and_says_what_is_missing(tmp_path_factory, count, size):
    lines = [f"line {k}" for k in range(count)]
    whole = "".join(f"{line}\n" for line in lines)
    text, tail = log_of(tmp_path_factory.mktemp("log"), lines, size)
    assert whole.endswith(tail) and len(tail) <= max(1, size // 2)
    if "left out" in text:
        head, _, rest = text.partition("[... ")
        missing = int(rest.split()[0])
        assert whole.startswith(head) and rest.partition("...]\n")[2] == tail
        assert len(head) + missing + len(tail) == len(whole)
    else:
        assert text == whole
