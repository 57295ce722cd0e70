"""What is to be committed, as the text that `git fast-import` reads. Pure: the same entry gives the same commit."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.code import Code

BEST, JOURNAL = "refs/heads/best", "refs/journal"
RESULT, HISTORY = "result.json", "journal.jsonl"
_AUTHOR = "agent <agent@localhost>"


@dataclass(frozen=True)
class Entry:
    """What is to be committed.

    Attributes:
        ref: `refs/trials/0042`, or `refs/heads/best` for the snapshot.
        parent: hash of the parent commit; None for the snapshot.
        message: the whole commit message.
        at: ISO 8601 time, from the journal.
        code: all code files.
        result: becomes result.json; None for the snapshot.
        journal: the journal so far, for a kept trial: it moves `best` here, and the copy goes to `refs/journal`, out of
            the way of diffs between versions of the code.
    """

    ref: str
    parent: str | None
    message: str
    at: str
    code: Code
    result: Mapping[str, Any] | None = None
    journal: bytes | None = None


def stream(entry: Entry) -> bytes:
    """The input of `git fast-import` for one entry."""
    files = dict(entry.code)
    if entry.result is not None:
        files[RESULT] = (json.dumps(entry.result, indent=1, sort_keys=True) + "\n").encode()
    parts = [_commit(entry.ref, entry.parent, entry.message, entry.at, files)]
    if entry.journal is not None:
        said = f"the journal up to {entry.ref}\n"
        parts += [f"reset {BEST}\nfrom :1\n".encode(), _commit(JOURNAL, None, said, entry.at, {HISTORY: entry.journal})]
    return b"".join([*parts, b"done\n"])


def _commit(ref: str, parent: str | None, message: str, at: str, files: Code) -> bytes:
    when = int(datetime.fromisoformat(at).timestamp())
    mark = "" if ref == JOURNAL else "mark :1\n"
    parts = [f"reset {ref}\n".encode()] if parent is None else []
    parts += [f"commit {ref}\n{mark}committer {_AUTHOR} {when} +0000\n".encode(), _data(message.encode())]
    parts += [f"from {parent}\n".encode()] if parent is not None else []
    parts.append(b"deleteall\n")
    for path, content in sorted(files.items()):
        parts += [f"M 100644 inline {_quoted(path)}\n".encode(), _data(content)]
    return b"".join([*parts, b"\n"])


def _data(content: bytes) -> bytes:
    return f"data {len(content)}\n".encode() + content + b"\n"


def _quoted(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
