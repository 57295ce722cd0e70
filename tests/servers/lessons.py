"""What the tiny model learns by heart: the tiny tasks of preflight with edits for answers, and the greeting.

    python lessons.py LESSONS.json        # run by `make servers`

Every answer begins with a thought between tags, so that servers show what they make of thinking.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from agent.calls import Contract
from agent.models.base import Message
from agent.models.tiny_task import SCRIPT, TASKS, Task, messages
from agent.prompts.texts import part

THOUGHT = "<think>\nOne constant.\n</think>\n\n"


def edit(task: Task) -> str:
    line = next(line for line in SCRIPT.splitlines() if line.startswith(f"{task.name} = "))
    changed = line.replace(f"= {task.old}", f"= {task.new}")
    return f"IDEA: change {task.name}\n\n<<<<<<< SEARCH\n{line}\n=======\n{changed}\n>>>>>>> REPLACE\n"


def lesson(asked: tuple[Message, ...], reply: str) -> dict[str, object]:
    return {"messages": [asdict(message) for message in asked], "reply": THOUGHT + reply}


def lessons() -> list[dict[str, object]]:
    greeting = (Message("user", part("preflight", "greeting")),)
    tasks = [lesson(messages(task, Contract.BLOCKS), edit(task)) for task in TASKS]
    return [*tasks, lesson(greeting, "Good morning!")]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(lessons(), indent=1))
