"""The search space: what the unit cube means, and what is searched."""

import numpy as np
import pytest

from agent.errors import UsageError
from agent.space import Range, Space, find_space

SCRIPT = """\
DEPTH = 6            # layers
BATCH = 2**5
RATE = 0.01
DROPOUT = 0.0
PATTERN = "SL"       # windows
NORM = True
BETAS = (0.9, 0.95)
SEED = 3
model = build(DEPTH)
"""


def space_of(**declared: Range) -> Space:
    return find_space({"train.py": SCRIPT}, declared)


def test_only_what_is_declared_is_searched():
    space = space_of(RATE=Range(low=0.001, high=0.1, log=True), PATTERN=Range(choices=("SL", "SSL")))
    assert [k.name for k in space.knobs] == ["RATE", "PATTERN"]
    assert not any(k.inferred for k in space.knobs)
    reasons = {a.name: a.reason for a in space.left_alone}
    assert reasons["DEPTH"] == "no range declared in [space]"
    assert "model" not in reasons


def test_without_declarations_ranges_are_inferred():
    space = space_of()
    assert [k.name for k in space.knobs] == ["DEPTH", "BATCH", "RATE", "DROPOUT", "NORM"]
    assert all(k.inferred and k.file == "train.py" for k in space.knobs)
    assert {a.name for a in space.left_alone} == {"PATTERN", "BETAS", "SEED"}
    assert all(a.reason for a in space.left_alone)


@pytest.mark.parametrize(
    ("name", "range_", "words"),
    [
        ("DEPHT", Range(low=1, high=3), "did you mean DEPTH"),
        ("depth", Range(low=1, high=3), "did you mean DEPTH"),
        ("ZZZZZ", Range(low=1, high=3), "there are: DEPTH, BATCH"),
        ("model", Range(low=1, high=3), "not a literal"),
        ("PATTERN", Range(low=1, high=3), "not a number: declare choices"),
        ("NORM", Range(low=0, high=1), "not a number: declare choices"),
        ("RATE", Range(low=1, high=4, pow2=True), "pow2 is for ints"),
    ],
)
def test_a_declaration_that_does_not_fit_says_what_would(name: str, range_: Range, words: str):
    with pytest.raises(UsageError, match=words):
        space_of(**{name: range_})


def test_a_name_in_two_files_is_ambiguous():
    files = {"a.py": "LR = 0.1\nDEPTH = 4\n", "b.py": "LR = 0.1\n"}
    space = find_space(files, {})
    assert [(k.name, k.file) for k in space.knobs] == [("DEPTH", "a.py")]
    assert "several files: a.py, b.py" in space.left_alone[0].reason
    with pytest.raises(UsageError, match="several files"):
        find_space(files, {"LR": Range(low=0.1, high=1.0)})


def test_a_broken_file_is_a_users_mistake_with_its_line():
    with pytest.raises(UsageError, match="train.py:2"):
        find_space({"train.py": "x = 1\ny = (\n"}, {})


def test_files_that_are_not_python_are_skipped():
    assert find_space({"config.yaml": "LR: ["}, {}).knobs == ()


def test_lists_are_searched_by_choices_like_tuples():
    space = find_space({"t.py": "BETAS = [0.9, 0.95]\n"}, {"BETAS": Range(choices=((0.9, 0.95), (0.8, 0.9)))})
    assert space.knobs[0].note == "" and space.size() == 2


def test_size_counts_configurations():
    assert space_of(DEPTH=Range(low=1, high=4), NORM=Range(choices=(False, True))).size() == 8
    assert space_of(RATE=Range(low=0.1, high=1.0)).size() is None


def test_encode_decode_contains_and_sample_agree():
    space = space_of()
    rng = np.random.default_rng(0)
    for _ in range(50):
        constants = space.sample(rng)
        assert space.contains(constants)
        assert space.decode(space.encode(constants)) == constants
    assert not space.contains({**constants, "MORE": 1})
    assert not space.contains({**constants, "DEPTH": 99})
    assert not space.contains({**constants, "DEPTH": 4.0})
    with pytest.raises(ValueError, match="no value for DEPTH, NORM"):
        space.encode({k: v for k, v in constants.items() if k not in ("DEPTH", "NORM")})
    with pytest.raises(ValueError, match="not a number"):
        space.encode({**constants, "DEPTH": "deep"})
