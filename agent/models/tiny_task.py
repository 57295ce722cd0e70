"""The tiny task of preflight: a script of twenty lines, and constants of it to change. Data and pure functions.

It is a task that every model understands, so what fails in it is the form of the answer.
"""

import ast
from dataclasses import dataclass

from agent.calls import Contract, ModelFacts
from agent.edits.blocks import Answer
from agent.edits.errors import EditError, Wrong
from agent.edits.read import read
from agent.edits.rules import Rules
from agent.models.base import Message
from agent.prompts.ask import Ask
from agent.prompts.form import form
from agent.prompts.texts import part
from agent.space import find_space
from agent.state import State
from agent.target import Metric, Target

FILE = "script.py"
SCRIPT = '''\
"""Train a small model."""

import math

WIDTH = 32  # units of a layer
DEPTH = 2
LEARNING_RATE = 3e-3  # of the first step
BATCH_SIZE = 16
STEPS = 200


def rate(step):
    """The learning rate of a step: a cosine from LEARNING_RATE to zero."""
    done = step / STEPS
    return 0.5 * LEARNING_RATE * (1 + math.cos(math.pi * done))


def units():
    """How many units the model has."""
    return [WIDTH for _ in range(DEPTH)]
'''
_RULES = Rules(editable=(FILE,), metric="the loss")


@dataclass(frozen=True)
class Task:
    """Change the constant `name`, which has the text `old`, to `new`."""

    name: str
    old: str
    new: str

    @property
    def solved(self) -> str:
        """The script with the change made."""
        return SCRIPT.replace(f"\n{self.name} = {self.old}", f"\n{self.name} = {self.new}")


TASKS = (Task("WIDTH", "32", "48"), Task("LEARNING_RATE", "3e-3", "1e-3"), Task("BATCH_SIZE", "16", "24"))


def messages(task: Task, contract: Contract) -> tuple[Message, ...]:
    """The question, with the form of `contract` in the words of a run's prompts."""
    constants = ", ".join(each.name for each in TASKS)
    values = {"constants": constants, "name": task.name, "old": task.old, "new": task.new, "form": _form(contract)}
    asked = part("preflight", "task", script=SCRIPT.strip(), **values)
    return (Message("system", part("preflight", "system")), Message("user", asked))


def _form(contract: Contract) -> str:
    metric = Metric(name="the loss", pattern=r"^loss: (\S+)")
    target = Target(name="script", edit=(FILE,), run=("python", FILE), metric=metric)
    files = {FILE: SCRIPT}
    facts = ModelFacts(name="", endpoint="", contract=contract)
    return form(Ask(State(), target, files, "", facts, _RULES, find_space(files, {})))


def check(task: Task, answer: Answer) -> None:
    """Whether an answer makes the change.

    Raises:
        EditError: it keeps no form, or makes another change.
    """
    made = read(answer, {FILE: SCRIPT}, _RULES).files[FILE]
    if _tree(made) != _tree(task.solved):
        raise EditError(f"it changes something else than {task.name}", Wrong.VALUE)


def _tree(text: str) -> str:
    try:
        return ast.dump(ast.parse(text))
    except SyntaxError as error:
        raise EditError(f"its edit leaves code that does not compile ({error.msg})", Wrong.SYNTAX) from error
