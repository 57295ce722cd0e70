"""Code as a value: relative paths to bytes, its identity, and the difference between two versions."""

import difflib
import hashlib
import re
from collections.abc import Mapping

Code = Mapping[str, bytes]


def fingerprints(code: Code) -> dict[str, str]:
    """sha256 of each file, by path."""
    return {path: hashlib.sha256(code[path]).hexdigest() for path in sorted(code)}


def digest(code: Code) -> str:
    """sha256 over the sorted (path, sha256 of content) pairs: the identity of a version of the code."""
    lines = (f"{path}\0{sha}\n" for path, sha in fingerprints(code).items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def diff(before: Code, after: Code) -> str:
    """Unified diff with `a/` and `b/` paths, as git and patch read it."""
    parts: list[str] = []
    for path in sorted(set(before) | set(after)):
        old, new = before.get(path, b""), after.get(path, b"")
        if old != new:
            parts.extend(_unified(path, old.decode(errors="replace"), new.decode(errors="replace")))
    return "".join(parts)


def _unified(path: str, old: str, new: str) -> list[str]:
    lines = difflib.unified_diff(_lines(old), _lines(new), f"a/{path}", f"b/{path}")
    return [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines]


def _lines(text: str) -> list[str]:
    # git knows no line end but "\n"; str.splitlines breaks at form feeds and more
    *complete, rest = text.split("\n")
    return [f"{line}\n" for line in complete] + ([rest] if rest else [])


def patch(code: Code, text: str) -> dict[str, bytes]:
    """`code` with a diff of ours applied: `patch(a, diff(a, b)) == b` for text files that both have.

    Strict: every context line must be where the diff says. Diffs that a model wrote are never given to it.

    Raises:
        ValueError: the diff was not made from this code.
    """
    result = dict(code)
    for section in re.split(r"^(?=--- a/[^\n]*\n\+\+\+ b/)", text, flags=re.MULTILINE)[1:]:
        header, _, rest = section.partition("\n+++ b/")
        path, _, hunks = rest.partition("\n")
        if header != f"--- a/{path}" or path not in code:
            raise ValueError(f"the diff is of a file that is not there: {path}")
        result[path] = _patched(code[path].decode(), hunks).encode()
    return result


def _patched(before: str, hunks: str) -> str:
    old = _lines(before)
    new: list[str] = []
    position = 0
    for hunk in re.split(r"^(?=@@ -)", hunks, flags=re.MULTILINE)[1:]:
        head, *body = _lines(hunk)
        place = re.match(r"@@ -(\d+)(?:,(\d+))?", head)
        if place is None:
            raise ValueError(f"the diff has a broken hunk: {head!r}")
        start = int(place[1]) - (place[2] != "0")  # a hunk of no old lines names the line before it
        new += old[position:start]
        position = start
        for mark, line in _marked(body):
            if mark != "+":
                if position >= len(old) or old[position] != line:
                    raise ValueError(f"the diff does not fit line {position + 1}")
                position += 1
            if mark != "-":
                new.append(line)
    return "".join(new + old[position:])


def _marked(body: list[str]) -> list[tuple[str, str]]:
    marked: list[tuple[str, str]] = []
    for line in body:
        if line.startswith("\\"):  # "\\ No newline at end of file" is about the line before it
            mark, text = marked[-1]
            marked[-1] = (mark, text.removesuffix("\n"))
        else:
            marked.append((line[0], line[1:]))
    return marked
