"""Where a block belongs: exactly one place in the editable files, or an error that says why not.

Strict on code, loose on form, and never first come, first served: from the exact lines to a quotation with a slip,
each way of comparing must give one place. Nothing is applied here.
"""

from collections.abc import Iterator, Mapping

from agent.edits.blocks import Block
from agent.edits.placement.closest import ambiguous
from agent.edits.placement.document import Document, indent
from agent.edits.placement.fuzzy import fuzzy_place
from agent.edits.placement.inline import inline_places
from agent.edits.placement.place import Place
from agent.edits.placement.retab import Pair, retabbed
from agent.edits.placement.scopes import scopes
from agent.edits.placement.tolerant import tolerant_places

Documents = Mapping[str, Document]


def locate(block: Block, documents: Documents) -> Place | None:
    """The one place of `block`; None if it is nowhere.

    Args:
        block: with at least one line that is not blank.
        documents: the files it may mean, by path.

    Raises:
        EditError: it fits several places (`ambiguous`).
    """
    readings = [pair for pair in _readings(block, documents) if any(line.strip() for line in pair[0])]
    for search, replace in readings:
        for find in (_exact_places, _trailing_places, tolerant_places):
            found = [place for path, document in documents.items() for place in find(path, document, search, replace)]
            if found:
                return _only(found, block, documents)
    for search, replace in readings:
        found = [
            place for path, document in documents.items() for place in inline_places(path, document, search, replace)
        ]
        if found:
            return _only(found, block, documents)
    near = (fuzzy_place(documents, search, replace) for search, replace in readings)
    return next((place for place in near if place is not None), None)


def _readings(block: Block, documents: Documents) -> Iterator[Pair]:
    """The readings of a block; in the files' style of indentation first where its lines to find show none."""
    pairs = ((block.search, block.replace), *block.readings)
    later: list[Pair] = []
    for search, replace in pairs:
        converted = (retabbed(document, search, replace) for document in documents.values())
        styled = list(dict.fromkeys(pair for pair in converted if pair is not None))
        shown = any(indent(line) for line in search)
        yield from () if shown else styled
        yield search, replace
        later += styled
    yield from later


def _exact_places(path: str, document: Document, search: tuple[str, ...], replace: tuple[str, ...]) -> list[Place]:
    size = len(search)
    return [
        Place(path, search, replace, tuple(range(start, start + size)), "exact")
        for start in range(len(document.lines) - size + 1)
        if document.lines[start] == search[0] and document.lines[start : start + size] == search
    ]


def _trailing_places(path: str, document: Document, search: tuple[str, ...], replace: tuple[str, ...]) -> list[Place]:
    wanted = [line.rstrip() for line in search]
    have = [line.rstrip() for line in document.lines]
    return [
        Place(path, search, replace, tuple(range(start, start + len(wanted))), "trailing")
        for start in range(len(have) - len(wanted) + 1)
        if have[start] == wanted[0] and have[start : start + len(wanted)] == wanted
    ]


def _only(found: list[Place], block: Block, documents: Documents) -> Place:
    """The one place among several that the headings speak of, or that starts at the line stated. Never the nearest."""
    places = found
    if len(places) > 1 and block.headings:
        under = [place for place in places if _under(block, place, documents[place.path])]
        places = under or places
    if len(places) > 1 and block.line is not None:
        places = [place for place in places if place.first_row + 1 == block.line] or places
    if len(places) > 1:
        raise ambiguous(block, places)
    return places[0]


def _under(block: Block, place: Place, document: Document) -> bool:
    return any(place.first_row in scope for scope in scopes(document, block.headings))
