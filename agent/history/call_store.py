"""The prompts and replies of a run, one JSON file a call: too long for the journal, which holds their digests.

`calls/0042.json` has the messages as they were sent and the reply as it came. A file is written before the event that
books the call, so a call that a kill swallowed is overwritten by the one that takes its number.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.calls import Call
from agent.models.base import Message, ModelError, Reply, Request
from agent.models.booking import prompt_sha256, reply_sha256

_ANSWER = ("text", "reasoning", "finish_reason")


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
        with written.open("w", encoding="utf-8", errors="surrogatepass") as file:
            json.dump(record, file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        written.rename(self.path(call.number))

    def read(self, number: int) -> dict[str, Any]:
        """One call as it was written. Raises OSError or ValueError where it is not there or damaged."""
        record = json.loads(self.path(number).read_text(encoding="utf-8", errors="surrogatepass"))
        if not isinstance(record, dict):
            raise ValueError(f"{self.path(number)} holds no call")
        return record

    def problems(self, calls: Iterable[Call]) -> Iterator[str]:
        """Where what is stored is not what the journal has the digests of, one sentence each."""
        for call in calls:
            name = self.path(call.number).relative_to(self._folder.parent)
            try:
                record = self.read(call.number)
                prompt = prompt_sha256(tuple(Message(**message) for message in record["request"]["messages"]))
                answer = "" if call.error else reply_sha256(*(record["reply"][key] for key in _ANSWER))
            except (OSError, ValueError, KeyError, TypeError) as error:
                yield f"{name} cannot be read: {error}"
                continue
            if (prompt, answer) != (call.prompt_sha256, call.reply_sha256):
                yield f"{name} is not what was asked and answered in call {call.number}"
