"""Model servers and profiles as text: pure functions, for `agent models`."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from agent.models.config import ModelConfig
from agent.models.discover import Found
from agent.ui.tables import draw


def models_table(found: Sequence[Found], profiles: Mapping[str, ModelConfig]) -> str:
    """One line a model, with what to write for `--model`."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("server", "context", "--model", "note"):
        table.add_column(name, justify="right" if name == "context" else "left", no_wrap=True)
    for server in found:
        for model in server.models:
            context = f"{model.context_tokens:,}" if model.context_tokens else "?"
            table.add_row(*map(Text, (server.kind, context, f"{model.name}@{server.url}", server.note)))
        if not server.models:
            table.add_row(*map(Text, (server.kind, "-", f"NAME@{server.url}", server.note)))
    for name, config in profiles.items():
        context = f"{config.context_tokens:,}" if config.context_tokens else "?"
        table.add_row(*map(Text, ("agent.toml", context, name, config.label)))
    return draw(table)


def models_record(found: Sequence[Found], profiles: Mapping[str, ModelConfig]) -> dict[str, Any]:
    """The same for machines."""
    return {
        "servers": [server.model_dump() for server in found],
        "profiles": {name: config.model_dump(mode="json") for name, config in profiles.items()},
    }
