"""What users say to a run while it runs: files in its folder, which the running process takes into the journal.

Only the process that holds the lock writes the journal, so another one leaves its word as a file. A word that was
journalled by a process killed before it removed the file is recognised by its id, and not heard twice.
"""

import os
import time
from pathlib import Path

from pydantic import ValidationError

from agent.history.events import Said, Word


class Inbox:
    """The words left for the run in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "inbox"

    def leave(self, word: Word, text: str = "") -> None:
        """Leave a word. It is there whole or not at all."""
        self._folder.mkdir(exist_ok=True)
        name = f"{time.time_ns():020d}-{os.getpid()}"
        said = Said(word=word, text=text, id=name)
        written = self._folder / f".{name}"
        written.write_text(said.model_dump_json(), encoding="utf-8")
        written.rename(self._folder / f"{name}.{word}.json")

    def waiting(self) -> tuple[Said, ...]:
        """The words that were left, oldest first."""
        found = []
        for path in sorted(self._folder.glob("[0-9]*.json")):
            try:
                found.append(Said.model_validate_json(path.read_bytes()))
            except ValidationError:
                path.rename(path.with_suffix(".unreadable"))  # not ours: `leave` writes whole files
        return tuple(found)

    def asks_to_stop(self) -> bool:
        """Whether one of the words is to stop."""
        return any(self._folder.glob(f"[0-9]*.{Word.STOP}.json"))

    def done(self, said: Said) -> None:
        """Remove a word that is in the journal."""
        (self._folder / f"{said.id}.{said.word}.json").unlink(missing_ok=True)
