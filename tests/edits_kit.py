"""What tests of reading answers share: a script, answers about it, and the labelled answers beside the checkout."""

import json
from pathlib import Path
from typing import Any

from agent.edits.answer.parse import parse
from agent.edits.blocks import Answer, Block, Parsed
from agent.edits.errors import EditError
from agent.edits.rules import Rules

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "cases" / "edits"
CASES: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
RULES = Rules(editable=("train.py",), protected=("prepare.py",))
SCRIPT = '''"""Usage:
```
python train.py
```
"""
import math

from prepare import load

LR = 0.15
CLIP = 1.0  # of the norm
MU = "μ±"


class Net:
    def forward(self, x):
        x = self.up(x)
        return self.down(x)


def schedule(progress):
    if progress < 0.1:
        return progress / 0.1
    return 1.0


net = Net()
for step in range(100):
    net.train(load(step), LR * schedule(step / 100))
print("val_loss:", net.loss)
'''
FILES = {"train.py": SCRIPT}
BLOCK = "<<<<<<< SEARCH\nLR = 0.15\n=======\nLR = 0.3\n>>>>>>> REPLACE\n"
DRAFT = BLOCK.replace("0.3", "0.9")
DIFF = "--- a/train.py\n+++ b/train.py\n@@ -9,3 +9,3 @@\n \n-LR = 0.15\n+LR = 0.3\n CLIP = 1.0  # of the norm\n"
PATCH = "*** Begin Patch\n*** Update File: train.py\n@@\n-LR = 0.15\n+LR = 0.3\n*** End Patch\n"
CHANGED = SCRIPT.replace("LR = 0.15", "LR = 0.3")


def parsed(text: str, **answer: Any) -> Parsed:
    """What an answer about the script asks for."""
    return parse(Answer(text, **answer), FILES, RULES)


def blocks(text: str, **answer: Any) -> list[Block]:
    """The blocks of an answer."""
    return [edit for edit in parsed(text, **answer).edits if isinstance(edit, Block)]


def changes(text: str, **answer: Any) -> list[tuple[str, str]]:
    """(lines to find, new lines) of each block of an answer, as text."""
    return [("\n".join(block.search), "\n".join(block.replace)) for block in blocks(text, **answer)]


def wrong(text: str, **answer: Any) -> str:
    """The kind of error that an answer is refused with; empty if it is not."""
    try:
        parsed(text, **answer)
    except EditError as error:
        assert str(error).endswith("."), "a refusal is a sentence"
        return error.wrong.value
    return ""
