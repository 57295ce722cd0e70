"""Apply a proposal to code: all of it or nothing. Pure: code in, code and diff out."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from agent.code import Code, diff, patch
from agent.edits.constants import ConstantError, write
from agent.edits.errors import EditError
from agent.nouns import Proposal, Value
from agent.space import Space


@dataclass(frozen=True)
class Patched:
    """Code after a proposal, and the unified diff of the files that changed."""

    code: Code
    diff: str


def apply(proposal: Proposal, code: Code, space: Space) -> Patched:
    """Apply the proposal's patch to `code`, or set its constants.

    Raises:
        EditError: a patch that was not made from this code, a constant that the space or the code does not have, or a
            file that is no UTF-8 text.
    """
    if proposal.patch:
        return Patched(_patched(code, proposal.patch), proposal.patch)
    files = {knob.name: knob.file for knob in space.knobs}
    by_file: dict[str, dict[str, Value]] = defaultdict(dict)
    for name, value in proposal.constants.items():
        if name not in files:
            raise EditError(f"there is no constant {name} in the search space")
        by_file[files[name]][name] = value
    changed = dict(code)
    for path, values in by_file.items():
        changed[path] = _written(path, code, values)
    return Patched(changed, diff(code, changed))


def _patched(code: Code, text: str) -> Code:
    try:
        return patch(code, text)
    except ValueError as error:
        raise EditError(str(error)) from error


def _written(path: str, code: Code, values: Mapping[str, Value]) -> bytes:
    try:
        return write(code[path].decode(), values).encode()
    except (ConstantError, UnicodeDecodeError, KeyError) as error:
        raise EditError(f"{path}: {error}") from error
