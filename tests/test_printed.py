"""The pattern that is read off a print statement must match what the statement really prints."""

import contextlib
import io
import re

import pytest

from agent.inspect_script import Found, inspect


def script(**files: str) -> Found:
    return inspect({name.replace("__", "."): text for name, text in files.items()})


def read(pattern: str | None, *lines: str) -> dict[str, str] | str | None:
    """What a pattern reads from the first line it matches."""
    assert pattern is not None
    for line in lines:
        match = re.search(pattern, line)
        if match:
            return match.groupdict() or match.group(1)
    return None


def printed(statement: str) -> list[str]:
    """What a print statement really prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(statement, {"v": 0.98765, "t": 1.5, "i": 12, "n": 100})
    return re.split(r"[\r\n]", out.getvalue())


@pytest.mark.parametrize(
    ("statement", "name", "goal"),
    [
        ('print(f"val_loss: {v:.4f}")', "val_loss", "minimize"),
        ('print("val_loss:", v)', "val_loss", "minimize"),
        ('print("val loss", v)', "val_loss", "minimize"),
        ('print(f"val_loss={v:.4f} train_loss={t:.4f}")', "val_loss", "minimize"),
        ('print(f"train loss {t:.4f}, val loss {v:.4f}, {n}")', "val_loss", "minimize"),
        ('print(f"test_acc={v:10.4f}")', "test_acc", "maximize"),
        ('print(f"  Test Accuracy: {v}!")', "test_accuracy", "maximize"),
        ('print("Final validation perplexity is", v)', "validation_perplexity", "minimize"),
        ('print("epoch %d | val f1 = %.4f | %d%%" % (i, v, n))', "val_f1", "maximize"),
        (
            'print("Test set: Average loss: {:.3f}, Accuracy: {}/{} ({:.0f}%)\\n".format(t, v, n, 3))',
            "accuracy",
            "maximize",
        ),
        ('print("eval rmse -> " + str(v))', "eval_rmse", "minimize"),
        ('print(f"{v=} val_mae({v:.3f})")', "val_mae", "minimize"),
        ('print(f"\\033[92mval_error: {v}\\033[0m")', "val_error", "minimize"),
        ('print("a", f"val_bpb:{v}", sep="\\n")', "val_bpb", "minimize"),
        ('import sys; sys.stdout.write(f"val_nll {v}\\n")', "val_nll", "minimize"),
    ],
)
def test_the_pattern_reads_the_number_that_the_statement_prints(statement: str, name: str, goal: str):
    metric = script(train__py=statement).metric
    assert metric is not None
    assert (metric.name, metric.goal) == (name, goal)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in printed(statement)]
    number = read(metric.pattern, *lines)
    assert isinstance(number, str) and float(number) == pytest.approx(0.98765, abs=1e-3)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "9.979e-01", "-0.5", "3"])
def test_the_pattern_reads_every_form_of_number(number: str):
    for statement in ('print(f"val_loss: {v}")', 'print(f"val_loss: {v}, done")'):
        metric = script(train__py=statement).metric
        assert metric is not None and read(metric.pattern, f"val_loss: {number}, done".removesuffix(", done")) == number


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ('print("val_loss:", v)\nprint("train_loss:", t)', "val_loss"),
        ('print("train_loss:", t)\nprint("val_loss:", v)', "val_loss"),
        ('print("val_loss:", v)\nprint("val_acc:", t)', "val_acc"),
        ('for i in x:\n    print("val_acc:", v)\nprint("val_loss:", v)', "val_loss"),
        ('print("val_loss:", v)\nfor i in x:\n    print("val_acc:", v)', "val_loss"),
        ('for i in x:\n    print("test loss", v)\nprint("loss", v)', "test_loss"),
        ('for i in x:\n    print("val ppl", v)\n    if i:\n        print("val loss", v)', "val_loss"),
        ('for i in x: pass\nelse: print("val loss", v)', "val_loss"),
        ('logger.info("val_loss: %.3f", v)', "val_loss"),
        ('logging.info(f"val_loss: {v}")', "val_loss"),
        ('print0(f"val_loss: {v}")', "val_loss"),
    ],
)
def test_held_out_and_final_lines_come_first(source: str, name: str):
    metric = script(train__py=source).metric
    assert metric is not None and metric.name == name


@pytest.mark.parametrize(
    "source",
    [
        "print('hello')",
        "print(x)",
        "print(f'{x}')",
        "print('seconds:', t)",
        "print('val_loss: ', v, file=log)",
        "self.log('val_loss', v)",
        "wandb.log({'val_loss': v})",
        "x = f'val_loss: {v}'",
        "'{'.format(3)",
    ],
)
def test_nothing_found_is_none(source: str):
    assert script(train__py=source).metric is None


def test_a_loggers_line_is_found_behind_its_prefix():
    metric = script(train__py='logger.info("val_loss: %.3f", v)').metric
    assert metric is not None
    assert read(metric.pattern, "2024-01-01 10:00:00 INFO val_loss: 1.25") == "1.25"


def test_doubts_are_said():
    metric = script(train__py='for i in x:\n    print("loss:", v)').metric
    assert metric is not None and "held-out" in metric.note and "again and again" in metric.note


def test_metric_of_another_file_is_found_when_the_edited_one_prints_none():
    found = script(train__py="import engine", engine__py='print("val_loss:", v)')
    assert found.metric is not None and found.metric.file == "engine.py"


@pytest.mark.parametrize(
    ("statement", "line", "step", "loss"),
    [
        ('print(f"iter {i}: loss {v:.4f}, time {t}ms")', "iter 12: loss 2.5000, time 3ms", "12", "2.5000"),
        ('print("step", i, "loss", v)', "step 12 loss 2.5", "12", "2.5"),
        ('print("Epoch [%d/%d], Step [%d/%d], Loss: %.4f" % z)', "Epoch [1/5], Step [12/99], Loss: 2.5", "12", "2.5"),
        (
            'print("Train Epoch: {} [{}/{} ({:.0f}%)]\\tLoss: {:.6f}".format(*z))',
            "Train Epoch: 12 [64/60000 (1%)]\tLoss: 2.5",
            "12",
            "2.5",
        ),
        ('print(f"loss={v} step={i}")', "loss=2.5 step=12", "12", "2.5"),
        (
            'if i % 10 == 0: print(f"it {i:>5d} | train_loss {v:8.3f} |")',
            "it    12 | train_loss    2.500 |",
            "12",
            "2.500",
        ),
    ],
)
def test_progress_lines_of_loops(statement: str, line: str, step: str, loss: str):
    found = script(train__py=f"for i in range(9):\n    {statement}")
    assert read(found.progress, line) == {"step": step, "loss": loss}


def test_a_training_line_is_preferred_to_an_evaluation_line():
    source = 'for i in x:\n  if a: print(f"step {i}: val loss {v}")\n  if b: print(f"iter {i}: loss {v}")'
    assert script(train__py=source).progress == r"^iter\s+(?P<step>\d+):\s+loss\s+(?P<loss>\S+)"


def test_a_function_called_in_a_loop_prints_as_often_as_it_is_called():
    say = 'def say(i, v):\n    print(f"step {i} loss {v}")\n'
    assert script(train__py=say + "for i in x:\n    if i % 9 == 0: say(i, v)").progress is not None
    assert script(train__py=say + "for i in x: pass\nsay(i, v)").progress is None


@pytest.mark.parametrize(
    "source", ['print("step", i, "loss", v)', 'for i in x: print("loss", v)', "for i in x: print(i)"]
)
def test_no_progress_line_is_none(source: str):
    assert script(train__py=source).progress is None
