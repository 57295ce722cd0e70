"""A look at a model before a run relies on it: in seconds, by trying, not by asking.

Reachable, the name, the context, the longest answer, thinking, the form of edits, a schema for JSON, speed. What the
user states in agent.toml is not tried. Every finding becomes a note that begins with its topic: `context: ...`.
"""

import difflib
import json

from agent.calls import Contract, ModelFacts
from agent.config import api_key
from agent.models.asking import Asker
from agent.models.base import Message, Model, ModelError, Request, Trouble, Watch
from agent.models.choose import KEY_VARIABLE
from agent.models.config import ModelConfig
from agent.models.context_probe import WANTED, Context, ContextProbe
from agent.models.form_probe import Form, FormProbe, Limits
from agent.models.listing import Listed, list_models
from agent.prompts.texts import part

PREFLIGHT_SECONDS = 90.0
_CONTEXT_SHARE = 0.35  # of the time
_SCHEMA_SECONDS, _LIST_SECONDS = 15.0, 10.0
_PLAIN_ANSWER, _THINKING_ANSWER, _PROMPT = 400, 3_000, 8_000  # tokens of a proposal
_PROMPT_TO_ANSWER_SPEED = 20  # reading is faster than writing by about this, where it was not measured
_SCHEMA = {  # every keyword that a schema of constants has: some servers refuse one of them
    "type": "object",
    "properties": {
        "number": {"type": "integer", "minimum": 4711, "maximum": 4711},
        "share": {"type": "number", "enum": [0.5], "minimum": 0.25, "maximum": 0.75},
        "word": {"enum": ["yes"]},
        "why": {"type": "string", "enum": ["so"]},
    },
    "required": ["number", "share", "word", "why"],
    "additionalProperties": False,
}


def preflight(model: Model, config: ModelConfig | None, watch: Watch, seconds: float = PREFLIGHT_SECONDS) -> ModelFacts:
    """What a session needs to know of `model`; takes about `seconds` at most, and far less with a fast model.

    Args:
        model: the model as it will be asked.
        config: what the user named and stated; None for a scripted model or one made in code.
        watch: to follow and to end it.

    Raises:
        ModelError: it does not answer, or not under this name.
        UsageError: it answers, but a run with it is not possible; the sentence says what to change.
        Interrupted: `watch` ended it.
    """
    if config is None or config.script is not None:
        return scripted_facts(model.label, config)
    asker = Asker(model, watch, seconds)
    listed = _listed(config)
    try:
        context = _context(asker, config, listed)
        form = FormProbe(asker, _limits(config, context)).found()
        schema = _holds_to_schema(asker)
    except ModelError as error:
        if (told := _with_names(error, config, listed)) is None:
            raise
        raise told from error
    finally:
        watch.doing = ""
    return _facts(config, listed, context, form, schema)


def scripted_facts(label: str, config: ModelConfig | None = None) -> ModelFacts:
    """The facts of canned replies: nothing is tried, for every question would cost one of them."""
    name, _, endpoint = label.rpartition("@")
    stated = config or ModelConfig(model=name, script=name)
    return ModelFacts(
        name=name,
        endpoint=endpoint,
        contract=stated.contract or Contract.BLOCKS,
        context_tokens=stated.context_tokens or WANTED,
        max_output_tokens=stated.max_output_tokens or 4096,
        notes=("model: canned replies: nothing is tried",),
    )


def proposal_seconds(facts: ModelFacts) -> float | None:
    """Seconds that one proposal is expected to take: reading a prompt, thinking, answering. None if not measured."""
    if not facts.tokens_per_second:
        return None
    answer = _PLAIN_ANSWER if facts.thinking == "none" or facts.think is False else _THINKING_ANSWER
    prompt = min(_PROMPT, max(0, facts.context_tokens - facts.max_output_tokens))
    reading = facts.prompt_tokens_per_second or _PROMPT_TO_ANSWER_SPEED * facts.tokens_per_second
    return prompt / reading + min(answer, facts.max_output_tokens) / facts.tokens_per_second


def _listed(config: ModelConfig) -> tuple[Listed, ...]:
    """What the server lists; nothing where it has no list, which is not a failure.

    Raises:
        ModelError: nobody is there.
    """
    if config.url is None or config.litellm:
        return ()
    try:
        return list_models(config.url, api_key(config.api_key_env or KEY_VARIABLE), _LIST_SECONDS)
    except ModelError as error:
        if error.trouble is Trouble.UNREACHABLE:
            raise
        return ()


def _entry(config: ModelConfig, listed: tuple[Listed, ...]) -> Listed | None:
    """The list's entry of the model; Ollama adds `:latest` to names without a tag."""
    return next((entry for entry in listed if entry.name in (config.model, f"{config.model}:latest")), None)


def _context(asker: Asker, config: ModelConfig, listed: tuple[Listed, ...]) -> Context:
    entry = _entry(config, listed)
    claimed = entry.context_tokens if entry else None
    owner = listed[0].owned_by if listed else ""
    probe = ContextProbe(asker, claimed, _longer(owner, config), _CONTEXT_SHARE * asker.left)
    return probe.measured() if config.context_tokens is None else probe.given(config.context_tokens)


def _longer(owner: str, config: ModelConfig) -> str:
    """How a longer context is had at this kind of server."""
    if owner == "library" or ":11434" in (config.url or ""):
        return f"start Ollama with OLLAMA_CONTEXT_LENGTH={WANTED} in its environment (num_ctx has no effect here)"
    if owner in ("vllm", "vllm-omni"):
        return f"start vLLM with --max-model-len {WANTED}"
    if owner == "llamacpp":
        return f"start llama-server with -c {WANTED}, times its slots (-np)"
    return f"serve it with a context of {WANTED:,} tokens"


def _limits(config: ModelConfig, context: Context) -> Limits:
    temperature = 0.7 if config.temperature is None else config.temperature
    return Limits(context.tokens, config.max_output_tokens, config.contract, temperature)


def _holds_to_schema(asker: Asker) -> bool:
    """Whether a schema makes the answer JSON, though the question asks for a plain sentence."""
    message = Message("user", part("preflight", "greeting"))
    try:
        request = Request((message,), max_tokens=256, temperature=0.0, schema=_SCHEMA, think=False)
        answer = json.loads(asker.ask(request, _SCHEMA_SECONDS).text)
    except (ModelError, ValueError):
        return False
    return isinstance(answer, dict) and answer.get("number") == 4711


def _with_names(error: ModelError, config: ModelConfig, listed: tuple[Listed, ...]) -> ModelError | None:
    """The error of an unknown model, with those that there are; None for another error."""
    if error.trouble is not Trouble.NO_MODEL or not listed or _entry(config, listed) is not None:
        return None
    names = [entry.name for entry in listed]
    near = difflib.get_close_matches(config.model, names, n=1)
    hint = f"did you mean {near[0]!r}? It has" if near else "it has"
    sentence = f"{config.endpoint} has no model {config.model!r}: {hint} {_some(names)}"
    return ModelError(sentence, Trouble.NO_MODEL, error.retry_after)


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _facts(config: ModelConfig, listed: tuple[Listed, ...], context: Context, form: Form, schema: bool) -> ModelFacts:
    names = [entry.name for entry in listed]
    notes = [f"context: {context.tokens:,} tokens: {context.found}"]
    if names and _entry(config, listed) is None:
        lists = f"the server lists {_some(names)}, not {config.model!r}, and answers all the same"
        notes.insert(0, f"model: {lists}: check that it is the model you mean")
    elif not names and not config.litellm:
        notes.insert(0, "model: the server lists no names, so that its answering is all that is known of it")
    stated = ", as agent.toml says" if config.max_output_tokens else ""
    notes += [
        f"answer: up to {form.max_tokens:,} tokens{stated}",
        f"thinking: {_WHERE[form.thinking]}",
        f"edits: {_FORMS[form.contract]}: {form.kept}",
        f"speed: {_speed(form.tokens_per_second)}",
        "json: " + ("held to a schema" if schema else "not held to a schema by the server"),
    ]
    return ModelFacts(
        name=config.model,
        endpoint=config.endpoint,
        contract=form.contract,
        context_tokens=context.tokens,
        max_output_tokens=form.max_tokens,
        thinking=form.thinking,
        think=form.think,
        tokens_per_second=form.tokens_per_second,
        prompt_tokens_per_second=context.prompt_tokens_per_second,
        chars_per_token=context.chars_per_token or 3.0,
        json_schema=schema,
        notes=tuple(notes),
    )


def _speed(rate: float | None) -> str:
    return (
        "not measured: every answer was too short" if rate is None else f"{rate:,.{0 if rate >= 10 else 1}f} tokens/s"
    )


_FORMS = {
    Contract.BLOCKS: "SEARCH/REPLACE blocks",
    Contract.FEW_BLOCKS: "one or two small SEARCH/REPLACE blocks",
    Contract.FILE: "the whole file",
    Contract.SET: "SET NAME = value lines",
}
_WHERE = {
    "none": "none seen",
    "reasoning": "comes back apart from the answer, in `reasoning`",
    "reasoning_content": "comes back apart from the answer, in `reasoning_content`",
    "text": "comes back in the answer, between tags",
    "template": "comes back in the answer, before a closing tag alone",
}
