"""The words of the prompts: .md files beside the code, with $names for what is filled in."""

import re
from importlib import resources
from string import Template


def part(file: str, heading: str, /, **values: object) -> str:
    """What stands below `# heading` in `file`.md, with its $names filled in.

    Raises:
        KeyError: there is no such heading, or a name has no value.
    """
    whole = (resources.files("agent.prompts") / f"{file}.md").read_text(encoding="utf-8")
    pieces = re.split(r"^# (.+)\n", whole, flags=re.MULTILINE)
    found = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    return Template(found[heading]).substitute(values).strip()
