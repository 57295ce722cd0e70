"""The journal: one event a line, append-only, hash-chained, on disk before the next step.

Each line carries a sequence number and the hash of the line before it. A line without its end is what a kill leaves
behind: it was never acted upon, and is dropped with a note. Damage anywhere else is an error that names the line. One
process writes at a time (`agent.history.store` holds the lock).
"""

import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from agent.errors import AgentError
from agent.history.events import Event, Record


@dataclass(frozen=True)
class Replay:
    """What a journal holds.

    Attributes:
        records: all complete lines.
        torn: bytes of a last line without its end; 0 if there is none.
        size: bytes of the complete lines.
        head: sha256 of the last complete line; empty without one.
    """

    records: tuple[Record, ...]
    torn: int
    size: int
    head: str


def read(path: Path) -> Replay:
    """Read and check a journal.

    Raises:
        AgentError: no such file, or damage, with the line's number.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise AgentError(f"there is no journal at {path}: this is not a run, or it never started") from error
    lines = data.split(b"\n")
    torn = lines.pop()
    records: list[Record] = []
    head = ""
    for number, line in enumerate(lines):
        records.append(_checked(path, number, line, head))
        head = hashlib.sha256(line).hexdigest()
    return Replay(tuple(records), len(torn), len(data) - len(torn), head)


def _checked(path: Path, number: int, line: bytes, head: str) -> Record:
    where = f"{path} is damaged at line {number + 1}"
    advice = "restore it, or begin it with `git show refs/journal:journal.jsonl`, its copy up to the last kept trial"
    try:
        record = Record.model_validate_json(line)
    except ValidationError as error:
        raise AgentError(f"{where} (not a record of this version): {advice}") from error
    if record.seq != number or record.prev != head:
        raise AgentError(f"{where} (the chain of hashes breaks there): {advice}")
    return record


class Journal:
    """An open journal, ready to append."""

    def __init__(self, path: Path) -> None:
        """Open `path`, creating it if need be; a torn last line is cut off."""
        path.touch()
        replay = read(path)
        self.records = replay.records
        self.torn = replay.torn
        self._path, self._size, self._head, self._seq = path, replay.size, replay.head, len(replay.records)
        self._file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.ftruncate(self._file, self._size)

    def append(self, event: Event, elapsed: float) -> Record:
        """Write one event and wait until it is on disk.

        Raises:
            AgentError: the disk is full or the file cannot be written; the journal is then as it was before.
        """
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        record = Record(seq=self._seq, prev=self._head, at=at, elapsed=round(elapsed, 3), event=event)
        line = record.model_dump_json().encode()
        try:
            _write_all(self._file, line + b"\n", self._size)
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise AgentError(f"cannot write {self._path}: {error.strerror}; make room, then `agent resume`") from error
        self._size += len(line) + 1
        self._head = hashlib.sha256(line).hexdigest()
        self._seq += 1
        return record

    def through(self, seq: int) -> bytes:
        """The journal up to and with line `seq`, as it is on disk."""
        lines = self._path.read_bytes().split(b"\n")
        return b"".join(line + b"\n" for line in lines[: seq + 1])

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _write_all(file: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written
