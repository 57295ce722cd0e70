"""The diff of record: written by us from the code before and after, and checked by a second reader before it counts.

A diff that a model wrote is never given to either: its counts and paths prove nothing.
"""

from collections.abc import Mapping

from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchedFile, PatchSet

from agent.code import diff, patch


def record_diff(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Unified diff of the files that changed, with `a/` and `b/` paths.

    Args:
        before, after: text by path; both have the same files.

    Raises:
        ValueError: the diff does not say what changed. That is a bug of ours.
    """
    old = {path: before[path].encode() for path in before if before[path] != after[path]}
    new = {path: after[path].encode() for path in old}
    text = diff(old, new)
    try:
        read = PatchSet(text)
    except UnidiffParseError as error:
        raise _bug(str(error)) from error
    if sorted(patched.path for patched in read) != sorted(old):
        raise _bug(f"it reads as one of {[patched.path for patched in read]}, and {sorted(old)} changed")
    for patched in read:
        _check_counts(patched, before[patched.path], after[patched.path])
    if patch(old, text) != new:
        raise _bug("it does not lead from the old code to the new")
    return text


def _check_counts(patched: PatchedFile, before: str, after: str) -> None:
    if not all(hunk.is_valid() for hunk in patched):
        raise _bug(f"a hunk of {patched.path} has wrong counts")
    grown = _count(after) - _count(before)
    if patched.added - patched.removed != grown:
        raise _bug(f"{patched.path} has {grown:+} lines, and the diff +{patched.added} -{patched.removed}")


def _count(text: str) -> int:
    return text.count("\n") + (not text.endswith("\n") and text != "")


def _bug(what: str) -> ValueError:
    return ValueError(f"the diff to record is wrong: {what}. Please report this bug.")
