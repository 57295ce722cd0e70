"""The settings of a run, from flags, and the only reader of the environment.

A `RunConfig` is journalled whole, so a resumed run has the settings it began with. What belongs to the script (how it
runs, what is measured, its limits) is in `agent.target`.
"""

import difflib
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from agent.errors import UsageError
from agent.models.config import ModelConfig
from agent.noun import Noun
from agent.units import Duration
from sandbox.spec import Promise

N = TypeVar("N", bound=Noun)
_KEY_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
_LEAST_KEY = 8  # characters; a shorter value could be part of any word
WhatInOutage = Literal["wait", "constants", "stop"]


class RunConfig(Noun):
    """What `agent run` was asked for.

    Attributes:
        budget: wall-clock seconds for everything.
        trial_time: training seconds a trial; None leaves it to the target.
        proposer: name of the search method, or a dotted path.
        model: the language model, for search methods that ask one.
        on_model_outage: what to do when the model has not answered for ten minutes: wait as long as the budget lasts,
            search the constants without it, or stop.
        seed: seed of the run; everything random follows from it and the trial's id.
        repeats: how often the baseline is trained first; None lets the budget decide (at most 3).
        keep: how strict the keep decision is.
        sandbox: the jail: auto, namespace, landlock or none.
        require: promises that the jail has to keep; without one of them nothing runs.
        trials: stop after this many trials beside the baseline.
        target_loss: stop as soon as the champion's metric is this good.
        overrides: `key=value` settings of the target, by dotted key.
    """

    budget: Duration
    trial_time: Duration | None = None
    proposer: str = "pattern"
    model: ModelConfig | None = None
    on_model_outage: WhatInOutage = "wait"
    seed: int = Field(0, ge=0)
    repeats: int | None = Field(None, ge=1, le=20)
    keep: Literal["greedy", "margin"] = "margin"
    sandbox: str = "auto"
    require: tuple[Promise, ...] = ()
    trials: int | None = Field(None, ge=1)
    target_loss: float | None = None
    overrides: tuple[str, ...] = ()


def checked(model: type[N], values: Mapping[str, Any], where: str) -> N:
    """Build a noun from a user's values.

    Raises:
        UsageError: one sentence that names the key, what is wrong with it and, for an unknown key, the likely one.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = error.errors()
        first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])  # explains the others
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UsageError(f"{where}: unknown key {key!r}{_nearest(model, first['loc'])}") from error
        wrong = "it is missing" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{where}: {key}: {wrong}" if key else f"{where}: {wrong}") from error


def _nearest(model: type[Noun], loc: tuple[int | str, ...]) -> str:
    """': did you mean ...?' for an unknown key, or the keys that exist."""
    for part in loc[:-1]:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, Noun)):
            return ""
        model = annotation
    names = list(model.model_fields)
    near = difflib.get_close_matches(str(loc[-1]), names, n=1)
    return f": did you mean {near[0]!r}?" if near else f": the keys are {', '.join(names)}"


def apply_overrides(table: dict[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    """A copy of a TOML table with `a.b=value` settings applied; a value is TOML, or else plain text.

    Raises:
        UsageError: a setting without '=', or a path that runs through a value.
    """
    result = {key: dict(value) if isinstance(value, dict) else value for key, value in table.items()}
    for setting in overrides:
        path, equals, text = setting.partition("=")
        if not equals or not path.strip():
            raise UsageError(f"--set {setting!r}: write key=value, such as --set limits.memory=8GiB")
        *parents, last = path.strip().split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise UsageError(f"--set {setting!r}: {parent!r} is a value, not a table")
        place[last] = _toml_value(text.strip())
    return result


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def program_environment() -> dict[str, str]:
    """What a trial's program gets of our environment: the names that make programs run, never a key or a token."""
    allowed = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    kept = {name: os.environ[name] for name in allowed if name in os.environ}
    kept.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
    return kept | {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def trusted_environment() -> dict[str, str]:
    """The environment of the user's own trusted programs (data preparation): the user's, whole."""
    return dict(os.environ)


def api_key(name: str) -> str | None:
    """The key in this environment variable; None if it is not set, or empty.

    Raises:
        UsageError: it holds what cannot be sent as a key.
    """
    key = os.environ.get(name, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"{name} holds characters that no key has (line breaks, letters with accents): set it again")
    return key or None


def keys_at_hand() -> tuple[str, ...]:
    """All keys in the environment, by the names that keys have: what no sentence may quote. The longest first."""
    values = {value.strip() for name, value in os.environ.items() if _KEY_NAME.search(name)}
    return tuple(sorted((value for value in values if len(value) >= _LEAST_KEY), key=len, reverse=True))


def offline_litellm(*near: str) -> None:
    """Before litellm is imported: it fetches no tables, loads no `.env`, and reaches these hosts without a proxy."""
    for name in ("MODEL_COST_MAP", "ANTHROPIC_BETA_HEADERS", "BLOG_POSTS", "AUTOROUTER_PRESETS"):
        os.environ[f"LITELLM_LOCAL_{name}"] = "True"
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    hosts = [*filter(None, os.environ.get("NO_PROXY", os.environ.get("no_proxy", "")).split(",")), *near]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(dict.fromkeys(hosts))


def home() -> Path:
    """The user's home folder."""
    return Path(os.path.expanduser("~"))  # noqa: PTH111 (Path.home() raises where HOME is unset)


def interactive() -> bool:
    """Whether a person watches: a terminal that can move its cursor."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
