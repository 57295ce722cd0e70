"""What an answer holds beside the edits that were read: a second form in it would be dropped without a word.

Half of an answer is another change than the one its author thought of. Code without markers is an illustration, and so
is a diff that shows again what the edits change. Whole files and JSON beside edits are not looked at.
"""

from collections.abc import Sequence

from agent.edits.answer import diff_text, patch_text, search_replace, set_lines
from agent.edits.blocks import Block, Parsed
from agent.edits.errors import EditError, Wrong


def check_rest(lines: Sequence[str], parsed: Parsed) -> None:
    """Refuse an answer of blocks or of patches that holds edits in another form too.

    Args:
        lines: of the answer.
        parsed: what was read of them.

    Raises:
        EditError: it does (`conflict`), or has markers that are none (`markers`).
    """
    if parsed.form not in ("blocks", "patch"):
        return
    rest = search_replace.outside(lines) if parsed.form == "blocks" else patch_text.outside(lines)
    search_replace.check_outside(rest)
    blocks = [edit for edit in parsed.edits if isinstance(edit, Block)]
    shown = {line.strip() for block in blocks for line in (*block.search, *block.replace)}
    further = any(change not in shown for change in diff_text.changes(rest))
    if further or patch_text.start(rest) is not None or set_lines.start(rest) is not None:
        raise EditError(
            "The answer holds edits in two forms, and only those of one would be read: send all of them in the form "
            "asked for.",
            Wrong.CONFLICT,
        )
