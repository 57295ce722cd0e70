"""From a model's answer to the files as it wants them: the one door to reading, placing and applying. Pure.

All or nothing. Whether the result is code worth running (that it compiles, imports only what is there, repeats no
earlier trial) is `agent.edits.gates.guard`'s to say.
"""

from collections.abc import Mapping

from agent.edits.answer.lazy import check_lazy
from agent.edits.answer.parse import parse
from agent.edits.blocks import Answer, Edited
from agent.edits.errors import EditError, Wrong
from agent.edits.placement.placing import place_all
from agent.edits.placement.regions import check_region
from agent.edits.rules import Rules


def read(answer: Answer, files: Mapping[str, str], rules: Rules) -> Edited:
    """The editable files after `answer`.

    Args:
        answer: as the model gave it.
        files: text of every editable file, by path, as the model was shown them and byte for byte.
        rules: what may change.

    Raises:
        EditError: nothing was applied, and why; `noop` if the answer changes nothing. Nothing else is raised.
    """
    parsed = parse(answer, files, rules)
    check_lazy(parsed, files)
    after = place_all(parsed.edits, files, rules)
    if rules.region is not None:
        check_region(files, after, rules.region)
    if after == dict(files):
        raise EditError("Nothing changes: the new lines are those that are there. Change something.", Wrong.NOOP)
    _check_text(after)
    return Edited(after, parsed)


def _check_text(files: Mapping[str, str]) -> None:
    """An escape like `\\ud800` becomes a character that no file can hold."""
    for path, text in files.items():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise EditError(f"{path} would hold what no file can: write plain text.", Wrong.SYNTAX) from error
