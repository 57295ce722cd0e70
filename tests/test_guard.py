"""The gates: what is not worth a trial is refused, with a sentence that teaches; what is worth one passes."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.edits.errors import EditError, Wrong
from agent.edits.gates.duplicates import duplicate_sentence, same_as
from agent.edits.gates.guard import check, rules_of
from agent.edits.rules import Rules
from agent.history.events import Started
from agent.nouns import Decision, Measurement, Proposal, Trial, Verdict, Void
from agent.snapshot import take_snapshot
from agent.state import State
from agent.target import Metric, Target, load_target
from sandbox.spec import Outcome

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = '''"""Train a small model."""
import math
import os

import numpy as np

import prepare as data
from prepare import TIME_BUDGET, evaluate_bpb, make_batches

LR = 0.1
SEED = 3
np.random.seed(SEED)


class Net:
    def forward(self, x):
        scale = math.sqrt(2)
        return x * scale


def schedule(step):
    return LR * min(1.0, step / 10)


model = Net()
for step, batch in zip(range(TIME_BUDGET), make_batches("train", 8), strict=False):
    print(f"step {step} lr {schedule(step):.3f}")
val_bpb = evaluate_bpb(model, 8)
print("---")
print(f"val_bpb:          {val_bpb:.6f}")
print(f"seconds:          {data.clock():.1f}")
'''
PREPARE = "TIME_BUDGET = 3\n"
METRIC = Metric(name="val_bpb", pattern=r"^val_bpb:\s+(\S+)")
JUDGED = Metric(name="val_bpb", judge="judge.py", answer="answer.py")
CODE = {"train.py": SCRIPT, "prepare.py": PREPARE, "judge.py": "", "answer.py": "", "data.bin": "", "LICENSE": ""}


def target(metric: Metric = METRIC, **more: object) -> Target:
    fields = {"name": "toy", "edit": ("train.py",), "run": ("python", "train.py"), "metric": metric} | more
    return Target.model_validate(fields)


def rules(of: Target | None = None, script: str = SCRIPT) -> Rules:
    code = CODE | {"train.py": script}
    return rules_of(of or target(), {path: text.encode() for path, text in code.items()})


def refused(after: str, before: str = SCRIPT, by: Rules | None = None) -> EditError:
    with pytest.raises(EditError) as caught:
        check({"train.py": before}, {"train.py": after}, by or rules(script=before))
    return caught.value


def passes(after: str, before: str = SCRIPT, by: Rules | None = None) -> None:
    check({"train.py": before}, {"train.py": after}, by or rules(script=before))


def put(old: str, new: str) -> str:
    assert SCRIPT.count(old) == 1
    return SCRIPT.replace(old, new)


def before_model(lines: str) -> str:
    return put("model = Net()\n", f"{lines}\nmodel = Net()\n")


GOOD: dict[str, Callable[[], str]] = {
    "a constant": lambda: put("LR = 0.1", "LR = 0.2"),
    "a harmless import": lambda: put("import math\n", "import itertools\nimport math\n"),
    "an import in a function": lambda: put("    scale =", "    from collections import deque\n        scale ="),
    "an installed package": lambda: put("import numpy as np\n", "import numpy as np\nimport pydantic\n"),
    "a further import from a protected module": lambda: before_model("from prepare import tokenizer"),
    "a protected name shadowed in a function": lambda: before_model("def f(evaluate_bpb):\n    evaluate_bpb.x = 1"),
    "an attribute of the model": lambda: before_model("Net.name = 'x'\nsetattr(Net, 'y', 1)\n"),
    "a dict of its own": lambda: before_model("config = {}\nconfig.update(a=1)\nconfig['b'] = 2"),
    "another model under the same name": lambda: put("val_bpb = eval", "model = np.copy(model)\nval_bpb = eval"),
    "the metric's name in another function": lambda: before_model("def f():\n    val_bpb = 1\n    return val_bpb"),
    "a print that only looks alike": lambda: before_model("print(f'val_tokens: {LR}')"),
    "eval as a method": lambda: before_model("Net.eval = lambda self: self\nNet().eval()"),
    "a name in a quoted annotation": lambda: before_model("def f(x: 'b t') -> 'q':\n    return x"),
    "a docstring with a ruler": lambda: put('model."""', 'model.\n\n=======\nNotes\n=======\n"""') + "LR = 2\n",
    "a docstring that names a file": lambda: put('model."""', 'model with prepare.py."""') + "LR = 2\n",
    "a word of a file without a suffix": lambda: before_model("text = 'LICENSE'"),
    "a new seed and a new rate": lambda: put("LR = 0.1\nSEED = 3", "LR = 0.2\nSEED = 4"),
    "a text that is no marker": lambda: before_model("print('>>>>>>> REPLACE')"),
    "a backslash the compiler warns of": lambda: before_model("pattern = '\\d'"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_change_that_is_worth_a_trial_passes(name: str) -> None:
    passes(GOOD[name]())


BAD: dict[str, tuple[Callable[[], str], Wrong, str]] = {
    "nothing": (lambda: SCRIPT, Wrong.NOOP, "nothing changes"),
    "a comment": (lambda: put("LR = 0.1", "LR = 0.1  # high"), Wrong.NOOP, "only comments"),
    "the same number": (lambda: put("LR = 0.1", "LR = 1e-1"), Wrong.NOOP, "only comments"),
    "the seed": (lambda: put("SEED = 3", "SEED = 4"), Wrong.SEED, "by chance"),
    "a bracket": (lambda: put("math.sqrt(2)", "math.sqrt(2"), Wrong.SYNTAX, "> "),
    "a return outside": (lambda: before_model("return"), Wrong.SYNTAX, "'return' outside function"),
    "curly quotes": (lambda: before_model("x = “a”"), Wrong.SYNTAX, "> x = “a”"),
    "an end": (lambda: put('"""Train a small model."""', '"""Train\n>>>>>>> REPLACE\n"""'), Wrong.MARKERS, "REPLACE"),
    "a head": (lambda: put('"""Train', '"""Train\n<<<<<<< SEARCH left over\n'), Wrong.MARKERS, "<<<<<<< SEARCH"),
    "an undefined name": (lambda: put("x * scale", "x * gain"), Wrong.UNDEFINED, "return x * gain"),
    "a renamed name": (lambda: put("scale = math", "scaling = math"), Wrong.UNDEFINED, "did you mean scaling?"),
    "a renamed constant": (lambda: put("LR = 0.1", "RATE = 0.1"), Wrong.UNDEFINED, "uses LR"),
    "a local too early": (
        lambda: put("    return LR * min", "    LR = LR / 2\n    return LR * min"),
        Wrong.UNDEFINED,
        "uses LR",
    ),
    "a package that is not there": (
        lambda: before_model("import apex_of_all"),
        Wrong.IMPORT,
        "not installed, so use n",
    ),
    "subprocess": (lambda: before_model("import subprocess"), Wrong.IMPORT, "starts no other programs"),
    "urllib in a function": (lambda: before_model("def f():\n    import urllib.request as u"), Wrong.IMPORT, "network"),
    "from shutil": (lambda: before_model("from shutil import rmtree"), Wrong.IMPORT, "shutil"),
    "os.system": (lambda: before_model("os.system('ls')"), Wrong.IMPORT, "os.system"),
    "os.system by name": (lambda: before_model("from os import system"), Wrong.IMPORT, "os.system"),
    "__import__": (lambda: before_model("__import__('socket')"), Wrong.IMPORT, "__import__"),
    "exec": (lambda: before_model("exec('x = 1')"), Wrong.IMPORT, "write it out"),
    "the metric capped": (
        lambda: put("evaluate_bpb(model, 8)", "min(evaluate_bpb(model, 8), 0.9)"),
        Wrong.CONTRACT,
        "`val_bpb = evaluate_bpb(model, 8)`, not `val_bpb = min(",
    ),
    "the metric again": (
        lambda: put("print('---')".replace("'", '"'), "val_bpb = 0.5"),
        Wrong.CONTRACT,
        "sets val_bpb",
    ),
    "the metric less": (lambda: put('print("---")', "val_bpb -= 0.5"), Wrong.CONTRACT, "sets val_bpb"),
    "the print": (lambda: put("{val_bpb:.6f}", "{val_bpb / 2:.6f}"), Wrong.CONTRACT, "must stay as it is"),
    "the print taken out": (lambda: put('print(f"val_bpb:          {val_bpb:.6f}")\n', ""), Wrong.CONTRACT, "print"),
    "the print twice": (lambda: SCRIPT + 'print(f"val_bpb:          {val_bpb:.6f}")\n', Wrong.CONTRACT, "take out"),
    "a print that reads like it": (lambda: SCRIPT + "print('val_bpb: ' + str(LR))\n", Wrong.CONTRACT, "val_bpb: "),
    "print itself": (lambda: before_model("def print(*a):\n    pass"), Wrong.CONTRACT, "sets print"),
    "the import": (lambda: put(", make_batches\n", ", make_batches, x\n"), Wrong.CONTRACT, "line of their own"),
    "a protected name": (lambda: before_model("TIME_BUDGET = 9"), Wrong.CONTRACT, "sets TIME_BUDGET"),
    "a protected name by a loop": (lambda: put("for step,", "for make_batches,"), Wrong.CONTRACT, "sets make_batches"),
    "a protected name by global": (
        lambda: before_model("def f():\n    global evaluate_bpb\n    evaluate_bpb = len\nf()"),
        Wrong.CONTRACT,
        "sets evaluate_bpb",
    ),
    "a protected name imported": (
        lambda: before_model("from math import cos as evaluate_bpb"),
        Wrong.CONTRACT,
        "sets",
    ),
}
PATCHES = [
    "import prepare\nprepare.evaluate_bpb = lambda *a: 0.5",
    "data.evaluate_bpb = len",
    "data.x.y[0] = 1",
    "data.table['a'] += 1",
    "del data.evaluate_bpb",
    "setattr(data, 'evaluate_bpb', len)",
    "object.__setattr__(data, 'evaluate_bpb', len)",
    "data.__dict__['evaluate_bpb'] = len",
    "data.__dict__.update(evaluate_bpb=len)",
    "vars(data)['evaluate_bpb'] = len",
    "evaluate_bpb.__code__ = schedule.__code__",
    "globals()['evaluate_bpb'] = len",
    "globals().update(evaluate_bpb=len)",
    "import sys\nsys.modules['prepare'] = Net",
    "import sys\nsys.stdout = Net()",
    "import builtins\nbuiltins.print = len",
    "def f():\n    import prepare as p\n    p.evaluate_bpb = len\nf()",
    "for data.evaluate_bpb in [len]:\n    pass",
    "with open('x') as data.evaluate_bpb:\n    pass",
    "f = lambda: setattr(data, 'evaluate_bpb', len)",
    "class A:\n    data.x = 1",
]
READS = ["open('prepare.py')", "open(f'{LR}/prepare.py')", "np.fromfile('./data.bin')", "x = ['judge.py']"]


@pytest.mark.parametrize("name", BAD)
def test_a_change_that_is_not_worth_a_trial_is_refused(name: str) -> None:
    make, wrong, says = BAD[name]
    error = refused(make())
    assert (error.wrong, says in str(error)) == (wrong, True), str(error)


@pytest.mark.parametrize("line", PATCHES)
def test_protected_modules_cannot_be_patched(line: str) -> None:
    error = refused(before_model(line))
    assert error.wrong is Wrong.CONTRACT
    assert "may be used, not changed" in str(error)


@pytest.mark.parametrize("line", READS)
def test_protected_files_cannot_be_named(line: str) -> None:
    error = refused(before_model(line))
    assert error.wrong is Wrong.CONTRACT
    assert "not for the script to open" in str(error)


def test_what_the_parent_does_already_is_no_offence() -> None:
    rough = before_model(
        "import subprocess\nimport apex_of_all\nimport sys\nundefined_name\nsubprocess.run(open('prepare.py'))\n"
        "os.system('')\ndata.x = 1\nsys.modules['x'] = 1\nexec('')\nprint('val_bpb: 1')\n'''\n<<<<<<< SEARCH\n'''\n"
    )
    passes(rough.replace("LR = 0.1", "LR = 0.2"), before=rough)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    error = refused(before_model("import subprocess\nx = gain\nval_bpb = 1"))
    assert error.wrong is Wrong.CONTRACT
    assert [word in str(error) for word in ("subprocess", "gain", "val_bpb")] == [True] * 3


def test_where_a_judge_measures_nothing_is_frozen() -> None:
    judged = rules(target(JUDGED))
    assert judged.frozen == ()
    changed = put("from prepare import TIME_BUDGET, evaluate_bpb, make_batches", "from prepare import *")
    passes(changed.replace("val_bpb = evaluate_bpb(model, 8)\n", "val_bpb = 0.1\n"), by=judged)
    assert refused(before_model("data.evaluate_bpb = len"), by=judged).wrong is Wrong.CONTRACT
    assert refused(before_model("import judge"), by=judged).wrong is Wrong.IMPORT


def test_rules_of_a_target() -> None:
    found = rules()
    assert found.editable == ("train.py",)
    assert set(found.protected) == set(CODE) - {"train.py"}
    assert found.modules == ("answer", "judge", "prepare")
    assert found.frozen == (
        "import prepare as data",
        "from prepare import TIME_BUDGET, evaluate_bpb, make_batches",
        "val_bpb = evaluate_bpb(model, 8)",
        "print(f'val_bpb:          {val_bpb:.6f}')",
    )
    assert found.region is None
    assert rules(target(JUDGED)).modules == ("prepare",)


def test_the_region_is_what_its_owner_marked() -> None:
    marked = f"# EVOLVE-BLOCK-START\n{SCRIPT}# EVOLVE-BLOCK-END\n"
    assert rules(script=marked).region == ("# EVOLVE-BLOCK-START", "# EVOLVE-BLOCK-END")
    assert rules(script=marked.replace("# EVOLVE-BLOCK-END\n", "")).region is None


def test_modules_are_found_beside_the_script_and_in_packages() -> None:
    code = dict.fromkeys(
        ("src/train.py", "src/loader.py", "src/__init__.py", "lib/a.py", "src/deep/b.py", "top.py", "x.txt"), b""
    )
    assert rules_of(target(edit=("src/train.py",)), code).modules == ("lib", "loader", "top")


REPORTS = {
    "plain": 'v = score(net)\nprint("val_acc:", v)',
    "format": 'v = score(net)\nprint("val_acc: {:.3f}".format(v))',
    "percent": 'v = score(net)\nprint("val_acc: %.3f" % v)',
    "sum": 'v = score(net)\nprint("val_acc: " + str(v))',
    "write": 'v = score(net)\nsys.stdout.write(f"val_acc: {v}\\n")',
    "item": 'v = score(net)\nprint(f"val_acc: {v.item():.2f}")',
    "annotated": 'v: float = score(net)\nprint(f"val_acc: {v}")',
    "subscript": 'v = score(net)\nprint(f"val_acc: {v[0]}")',
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_is_found_however_it_is_written(name: str) -> None:
    script = f"import sys\nfrom prepare import score, size\nnet = [size()]\n{REPORTS[name]}\nprint('seconds: 1')\n"
    of = target(Metric(name="val_acc", goal="maximize", pattern=r"^val_acc: (\S+)"))
    assert [s.split("(")[0] for s in rules(of, script).frozen] == [
        "from prepare import score, size",
        *(line.split("(")[0] for line in REPORTS[name].split("\n")),
    ]


def test_a_conversion_between_measuring_and_printing_is_frozen() -> None:
    script = "from prepare import f\nloss = f(1)\nbpb = loss / 0.69\nprint(f'val_bpb: {bpb}')\n"
    assert len(rules(script=script).frozen) == 4


def test_a_report_that_the_pattern_does_not_show_is_found_by_the_metrics_name() -> None:
    script = "import json\nfrom prepare import f\nv = f(1)\nprint(json.dumps(dict(val_bpb=v, a='val_bpb')), 1)\n"
    of = target(Metric(name="val_bpb", pattern=r"^RESULT (\S+)"))
    assert len(rules(of, script).frozen) == 2


def test_a_script_that_measures_itself_has_its_print_frozen_alone() -> None:
    script = "total = 0\nfor x in range(3):\n    total += x\nprint(f'val_bpb: {total / 3}')\n"
    assert rules(script=script).frozen == ("print(f'val_bpb: {total / 3}')",)


def test_another_interpreter_may_have_other_packages() -> None:
    passes(before_model("import apex_of_all"), by=rules(target(run=("uv", "run", "train.py"))))


def test_looking_for_a_module_does_not_import_it() -> None:
    assert "pydoc_data" not in sys.modules
    passes(before_model("import pydoc_data.topics"))
    assert "pydoc_data" not in sys.modules


@pytest.mark.parametrize("text", ["a\0b", "x = '\udcff'", "(" * 300, "1+" * 20000 + "1", "x" + ".a" * 3000, "\ufeff"])
def test_any_text_passes_or_is_refused(text: str) -> None:
    assert refused(text).wrong in (Wrong.SYNTAX, Wrong.CONTRACT)


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from(["", "del data.x", "    return", "x = (", "@f"])), max_size=4
    )
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_done_to_the_lines_nothing_but_a_refusal_is_raised(changes: list[tuple[int, str]]) -> None:
    lines = SCRIPT.split("\n")
    for row, line in changes:
        lines[row % len(lines)] = line
    try:
        passes("\n".join(lines))
    except EditError as error:
        assert str(error)


def test_files_that_are_no_python_are_not_compiled() -> None:
    both = Rules(("train.py", "net.yaml"))
    check({"train.py": SCRIPT, "net.yaml": "a: [1"}, {"train.py": SCRIPT, "net.yaml": "a: [2"}, both)


def test_our_own_target_has_rules_and_lets_a_constant_change() -> None:
    own = load_target(ROOT / "train_target")
    code = take_snapshot(ROOT / "train_target", own).code
    script = code["train.py"].decode()
    by = rules_of(own, code)
    passes(script.replace("DEPTH = 4 ", "DEPTH = 6 "), before=script, by=by)
    assert refused(script.replace("DEPTH = 4 ", "DEEP = 4 "), before=script, by=by).wrong is Wrong.UNDEFINED


def state(*trials: Trial) -> State:
    return State(started=Started.model_construct(target=target()), trials=trials)


def trial(number: int, shape: str, decision: Decision | None, reason: str = "", outcome: Outcome = Outcome.OK) -> Trial:
    loss = 0.9931 if outcome is Outcome.OK else None
    measured = Measurement(
        seed=0, outcome=outcome, reason=reason, loss=loss, total_seconds=1, code_sha256="", jail="none"
    )
    return Trial(
        id=number,
        parent=None if number == 0 else 0,
        proposal=Proposal(source="code", title="x"),
        diff="",
        code_sha256="",
        shape_sha256=shape,
        measurements=(measured,) if decision else (),
        verdict=Verdict(decision=decision, reason=reason) if decision else None,
    )


def test_a_duplicate_is_told_what_became_of_the_first() -> None:
    base = trial(0, "s0", Decision.KEEP, "the baseline, trained twice")
    worse = trial(1, "s1", Decision.DISCARD, "worse than trial 0 by 0.0012")
    crash = trial(2, "s2", Decision.DISCARD, "crash: ValueError", Outcome.CRASH)
    still = trial(3, "s3", None)
    now = state(base, worse, crash, still)
    sentences = [duplicate_sentence(now, found) for found in now.trials]
    assert sentences == [
        "this is the same code as the baseline, trial 0 (val_bpb 0.9931): change something else",
        "this is the same code as trial 1 (val_bpb 0.9931), discarded because: worse than trial 0 by 0.0012: "
        "change something else",
        "this is the same code as trial 2, discarded because: crash: ValueError: change something else",
        "this is the same code as trial 3, which is still open: change something else",
    ]
    assert same_as(now, "s1") == worse
    assert same_as(now, "s9") is None
    assert same_as(state(trial(0, "", Decision.KEEP)), "") is None


def test_code_that_was_never_trained_is_no_duplicate() -> None:
    void = trial(1, "s1", None).model_copy(update={"void": Void(outcome=Outcome.BAD_PATCH, reason="no")})
    lost = trial(2, "s1", Decision.DISCARD, "lost: the machine", Outcome.LOST)
    assert same_as(state(void, lost), "s1") is None


NET = """from prepare import evaluate


class GPT:
    def forward(self, idx, targets=None, *, reduction="mean"):
        return idx


def build_model(depth=2):
    return GPT()


model = GPT()
val_bpb = evaluate(model, 8)
print(f"val_bpb: {val_bpb}")
"""
SIGNATURES = {
    "a parameter more": ('reduction="mean"', 'reduction="mean", cache=None', True),
    "any keyword": ('targets=None, *, reduction="mean"', "targets=None, **more", True),
    "a default": ("depth=2", "depth=3", True),
    "a parameter renamed": ("targets=None", "labels=None", False),
    "a parameter less": (', *, reduction="mean"', "", False),
    "a parameter without its default": ("targets=None", "targets", False),
    "a parameter that must be given": ('reduction="mean"', "reduction", False),
    "a function renamed": ("def build_model(depth=2)", "def build(depth=2)", False),
    "a function by other means": ("def build_model(depth=2)", "build_model = GPT\n\n\ndef build(depth=2)", True),
    "another model": ("model = GPT()", "class Other(GPT):\n    pass\n\n\nmodel = Other()", True),
    "another model that takes less": (
        "model = GPT()",
        "class Other(GPT):\n    def forward(self, idx):\n        return 0\n\n\nmodel = Other()",
        False,
    ),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_what_is_called_from_outside_stays_callable(name: str) -> None:
    old, new, fits = SIGNATURES[name]
    assert NET.count(old) == 1
    code = CODE | {"train.py": NET, "tool.py": "import train\ntrain.build_model(2)\n"}
    by = rules_of(target(), {path: text.encode() for path, text in code.items()})
    changed = NET.replace(old, new).replace("return idx", "return -idx")
    if fits:
        passes(changed, before=NET, by=by)
    else:
        error = refused(changed, before=NET, by=by)
        assert (error.wrong, "from outside" in str(error)) == (Wrong.CONTRACT, True)


def test_our_own_target_keeps_what_its_answering_program_calls() -> None:
    own = load_target(ROOT / "train_target")
    assert rules_of(own, take_snapshot(ROOT / "train_target", own).code).needed == ("build_model",)
