"""Names become objects here: one lookup for every table of parts.

A part is named in its table (`name -> "module:attribute"`) or by a dotted path of the user's own (`mypkg.mod:Mine`),
and is imported only when asked for.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from agent.errors import UsageError

PROPOSERS: Mapping[str, str] = {
    "pattern": "agent.proposers.pattern:PatternSearch",
    "random": "agent.proposers.random_search:RandomSearch",
    "cma": "agent.proposers.cma_es:CmaEs",
    "code": "agent.proposers.code_editor:CodeEditor",
    "llm-constants": "agent.proposers.llm_constants:LlmConstants",
}


ASK_A_MODEL = frozenset({"code", "llm-constants"})


def load(table: Mapping[str, str], name: str, what: str) -> Any:
    """The object called `name` in `table`, or at the dotted path `name`.

    Raises:
        UsageError: no such name (the message lists the choices), or the module cannot be imported.
    """
    path = table.get(name, name)
    module, colon, attribute = path.partition(":")
    if not colon:
        choices = ", ".join(sorted(table))
        raise UsageError(f"unknown {what} {name!r}: choose one of {choices}, or a dotted path such as mypkg.mod:Mine")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise UsageError(f"cannot import {what} {name!r}: {error}") from error
    except AttributeError as error:
        raise UsageError(f"cannot import {what} {name!r}: {module} has no {attribute}") from error
