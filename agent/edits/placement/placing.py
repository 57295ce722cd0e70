"""All edits of an answer on all files: every one finds its one place, or nothing is applied.

Edits refer to the files as the model was shown them. Only a block that is nowhere in those is looked up in the result
of the others, because models do build one block on another.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from agent.edits.answer.paths import resolve
from agent.edits.blocks import Block, Edit, NewFunction, SetLine, WholeFile
from agent.edits.errors import EditError, Wrong
from agent.edits.placement.closest import not_found
from agent.edits.placement.delta import Operation, applied, difference, operations
from agent.edits.placement.document import Document
from agent.edits.placement.elisions import pieces
from agent.edits.placement.functions import with_function
from agent.edits.placement.locate import locate
from agent.edits.placement.place import Place
from agent.edits.placement.set_values import with_value
from agent.edits.rules import Rules

Documents = Mapping[str, Document]


def place_all(edits: Sequence[Edit], files: Mapping[str, str], rules: Rules) -> dict[str, str]:
    """The files after all `edits`.

    Args:
        edits: in the order of the answer.
        files: text of each editable file, by path.
        rules: names the files that may change.

    Raises:
        EditError: an edit has no place or several, two contradict each other, or one means a file that may not change.
    """
    documents = {path: Document.of(text) for path, text in files.items()}
    wanted: list[Operation] = []
    later: list[Block] = []
    for edit in edits:
        if not isinstance(edit, Block):
            wanted += _whole(edit, _meant(edit.path, documents, rules))
            continue
        found = _found(edit, _meant(edit.path, documents, rules))
        later += [] if found else [edit]
        wanted += _operations(found, documents, edit.number)
    after = applied(documents, wanted)
    for block in later:
        meant = _meant(block.path, after, rules)
        found = _found(block, meant) if wanted else []
        if not found:
            raise not_found(block, _meant(block.path, documents, rules))
        after = applied(after, _operations(found, after, block.number))
    return {path: document.text for path, document in after.items()}


def _meant(path: str | None, documents: Documents, rules: Rules) -> dict[str, Document]:
    """The files that an edit may mean: the one it names, or all."""
    return {resolve(path, rules): documents[resolve(path, rules)]} if path is not None else dict(documents)


def _found(block: Block, documents: Documents) -> list[Place]:
    """The places of a block and its pieces, in order; empty if one of them is nowhere."""
    known = {line.strip() for document in documents.values() for line in document.lines}
    places: list[Place] = []
    for piece in pieces(block, known):
        place = locate(piece, documents)
        if place is None:
            return []
        places.append(place)
    for first, second in pairwise(places):
        if first.path != second.path or first.first_row >= second.first_row:
            return []
    return places


def _operations(places: Sequence[Place], documents: Documents, number: int) -> list[Operation]:
    return [operation for place in places for operation in operations(place, documents[place.path], number)]


def _whole(edit: WholeFile | SetLine | NewFunction, documents: Documents) -> list[Operation]:
    """An edit that gives a new text: what it changes, line by line."""
    if isinstance(edit, WholeFile):
        if len(documents) != 1:
            raise EditError(f"Say which file it is: {' or '.join(documents)}.", Wrong.PATH)
        ((path, document),) = documents.items()
        return difference(path, document, Document.of(edit.text).lines)
    texts = {path: document.text for path, document in documents.items()}
    path, text = with_value(edit, texts) if isinstance(edit, SetLine) else with_function(edit, texts)
    return difference(path, documents[path], Document.of(text).lines)
