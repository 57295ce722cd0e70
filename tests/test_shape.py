"""The shape of code: equal for what differs in form, different for what differs in what it does."""

import time

import pytest

from agent.edits.gates.shape import shape, without_seeds

CODE = '''"""A script."""
import torch

SEED = 0
TOKENS = 2**19  # a batch


def f(x, *, seed=0, rate=0.1):
    """Twice x."""
    return 2 * x


torch.manual_seed(1337)
print(f({"seed": 1, "lr": 3}))
'''


def one(text: str) -> str:
    return shape({"train.py": text})


def blind(text: str) -> str:
    return without_seeds({"train.py": text})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A script."""', '"""Another docstring."""'),
        ('    """Twice x."""\n', ""),
        ("  # a batch", ""),
        ("2**19", "524_288"),
        ("2**19", "(1024 * 512)"),
        ("0.1", "1e-1"),
        ("return 2 * x", "return (2*x)  # done"),
        ("return 2 * x", "pass\n    return 2 * x"),
        ("\n", "\r\n"),
        ('"""A script."""', '\ufeff"""A script."""'),
        ('"seed"', "'seed'"),
    ],
)
def test_form_does_not_count(old: str, new: str) -> None:
    assert old in CODE
    assert one(CODE.replace(old, new)) == one(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2**19", "524_289"),
        ("2**19", "524288.0"),
        ("SEED = 0", "SEED = False"),
        ("SEED = 0", "SEED = -0.0"),
        ("return 2 * x", "return x * 2"),
        ("return 2 * x", "return 2 * x,"),
        ("return 2 * x", "return '2 * x'"),
        ("*, seed=0, rate=0.1", "seed=0, *, rate=0.1"),
        ("rate=0.1", "rate"),
        ("import torch", "import torch as t"),
        ("f({", "f(*{"),
        ("2**19", "2**19 if SEED else None"),
    ],
)
def test_what_the_code_does_counts(old: str, new: str) -> None:
    assert old in CODE
    assert one(CODE.replace(old, new)) != one(CODE)


@pytest.mark.parametrize(
    ("one_way", "another"),
    [
        ("f(**a)", "f({None: a})"),
        ("{**a}", "{None: a}"),
        ("def f(*, a): return", "def f(*, a=None): return"),
        ("x = 'y'", "x = y"),
        ("x = None", "x: None"),
        ("f(a=b)", "f(a == b)"),
        ("x = 0xf" + "f" * 5000, "x = 0xe" + "f" * 5000),
    ],
)
def test_shapes_do_not_collide(one_way: str, another: str) -> None:
    assert one(one_way) != one(another)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SEED = 0", "SEED = 7 + 1"),
        ("SEED = 0\n", ""),
        ("manual_seed(1337)", "manual_seed(42)"),
        ("torch.manual_seed(1337)\n", "torch.manual_seed(1337)\ntorch.cuda.manual_seed_all(1)\n"),
        ("seed=0", "seed=5"),
        ('"seed": 1', '"seed": 2'),
        ("SEED = 0", "RANDOM_SEED: int = 3"),
    ],
)
def test_a_change_of_seeds_is_seen_as_nothing_else(old: str, new: str) -> None:
    assert old in CODE
    changed = CODE.replace(old, new)
    assert blind(changed) == blind(CODE)
    assert one(changed) != one(CODE)


@pytest.mark.parametrize(
    ("code", "old", "new"),
    [
        ("rng = random.Random(0)", "0", "1"),
        ("rng = np.random.default_rng(SEED)", "SEED", "9"),
        ("g = torch.Generator().manual_seed(3)", "3", "4"),
        ("split(x, random_state=3)", "3", "4"),
        ("p.add_argument('--seed', type=int, default=3)", "3", "4"),
        ("torch.manual_seed(int(os.environ.get('AGENT_SEED', '1')))", "'1'", "'2'"),
        ("self.seed = 1", "1", "2"),
    ],
)
def test_seeds_are_found_where_scripts_put_them(code: str, old: str, new: str) -> None:
    assert blind(code) == blind(code.replace(old, new))
    assert one(code) != one(code.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SEED = 0", "SEED = 1\nDEPTH = 2"),
        ("rate=0.1", "rate=0.2"),
        ('"lr": 3', '"lr": 4'),
        ("2**19", "2**20"),
        ("print(f(", "print(train(seed, lr=1), f("),
    ],
)
def test_a_change_beside_the_seed_is_seen(old: str, new: str) -> None:
    assert old in CODE
    assert blind(CODE.replace(old, new)) != blind(CODE)


def test_what_a_seed_is_passed_along_with_counts() -> None:
    assert blind("train(seed, lr=1)") != blind("train(seed, lr=2)")


def test_a_file_that_is_no_python_counts_by_its_text() -> None:
    assert shape({"a.yaml": "lr: 1"}) != shape({"a.yaml": "lr:  1"})
    assert shape({"a.py": "lr: 1"}) == shape({"a.py": "lr:  1"})
    assert shape({"a.py": "def ("}) != shape({"a.py": "def  ("})


def test_names_of_files_count() -> None:
    assert shape({"a.py": "x", "b.py": "y"}) != shape({"a.py": "y", "b.py": "x"})


@pytest.mark.parametrize(
    "text", ["x = '\udcff'", "a\0b", "(" * 300, "1+" * 20000 + "1", "not " * 20000 + "x", "\ufeff"]
)
def test_any_text_has_a_shape(text: str) -> None:
    assert one(text) == one(text)
    assert len(blind(text)) == 64


def test_a_long_file_takes_less_than_fifty_milliseconds() -> None:
    text = "".join(
        f"class Layer{i}:\n    def f(self, x, y=2**{i % 9}):\n        return x * y + {i}\n" for i in range(240)
    )
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        one(text)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.05
