"""The prompts and replies of a run, one JSON file a call: too long for the journal, which holds their digests.

`calls/0042.json` has the messages as they were sent and the reply as it came. A file is written before the event that
books the call, so a call that a kill swallowed is overwritten by the one that takes its number.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.calls import Call
from agent.models.base import ModelError, Reply, Request


class CallStore:
    """The calls of the run in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "calls"

    def path(self, number: int) -> Path:
        """Where call `number` is."""
        return self._folder / f"{number:04d}.json"

    def keep(self, call: Call, request: Request, answer: Reply | ModelError) -> None:
        """Write one call. It is there whole or not at all."""
        reply = {"error": str(answer)} if isinstance(answer, ModelError) else asdict(answer)
        record = {"call": call.model_dump(mode="json"), "request": asdict(request), "reply": reply}
        self._folder.mkdir(exist_ok=True)
        written = self._folder / f".{call.number:04d}"
        written.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
        written.rename(self.path(call.number))

    def read(self, number: int) -> dict[str, Any]:
        """One call as it was written. Raises OSError or ValueError where it is not there or damaged."""
        record = json.loads(self.path(number).read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError(f"{self.path(number)} holds no call")
        return record
