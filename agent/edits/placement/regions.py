"""Where only the lines between two marker comments may change, everything else must stay as it is, byte for byte."""

from collections.abc import Mapping

from agent.edits.errors import EditError, Wrong


def check_region(before: Mapping[str, str], after: Mapping[str, str], region: tuple[str, str]) -> None:
    """Raise where a change touches a line outside of the region, or a marker.

    Args:
        before, after: text of the editable files.
        region: the comments that start and end what may change, each alone on its line.

    Raises:
        EditError: it does (`contract`).
    """
    for path in before:
        old, new = _outside(before[path], region), _outside(after[path], region)
        if old != new:
            touched = next((number for number, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), len(new))
            shown = [line.strip() for line in old[touched : touched + 1]]
            raise EditError(
                f"{path}: only the lines between `{region[0]}` and `{region[1]}` may change; these two and all others "
                f"must stay{f' ({shown[0]})' if any(shown) else ''}. Edit what is between.",
                Wrong.CONTRACT,
            )


def _outside(text: str, region: tuple[str, str]) -> list[str]:
    """The lines outside of the region, markers included."""
    start, end = region
    inside = False
    kept: list[str] = []
    for line in text.split("\n"):
        inside = inside and line.strip() != end.strip()
        if not inside:
            kept.append(line)
        inside = inside or line.strip() == start.strip()
    return kept
