"""A streamed answer put together from its chunks, whatever the server leaves out of them."""

from typing import Any

from agent.models.base import Reply, Watch
from agent.models.pace import Pace
from agent.models.troubles import Place, cut, garbage, late

_FIELDS = ("reasoning", "reasoning_content")
_GIVEN_UP = ("abort", "error")  # finish reasons with which a server drops an answer


class Hearing:
    """What was heard of one answer so far."""

    def __init__(self, place: Place, pace: Pace, watch: Watch) -> None:
        self._place, self._pace, self._watch = place, pace, watch
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._field = ""
        self._finish = ""
        self._model = ""
        self._usage: dict[str, Any] = {}
        self._chosen = False

    def check(self) -> None:
        """Go on, or not.

        Raises:
            ModelError: the answer is late.
            Interrupted: the watch ended the call.
        """
        self._watch.check()
        if what := self._pace.late():
            raise late(self._place, what)

    @property
    def finished(self) -> bool:
        """Whether the server has said why its answer ends."""
        return bool(self._finish)

    def add(self, chunk: Any) -> None:
        """One chunk of a stream, or a whole completion, as a dictionary.

        Raises:
            ModelError: it is none.
        """
        if not isinstance(chunk, dict) or not isinstance(choices := chunk.get("choices") or [], list):
            raise garbage(self._place, str(chunk))
        self._model = chunk["model"] if isinstance(chunk.get("model"), str) else self._model
        self._usage = chunk["usage"] if isinstance(chunk.get("usage"), dict) else self._usage
        for choice in choices[:1]:
            said = (choice.get("delta") or choice.get("message") or {}) if isinstance(choice, dict) else None
            if not isinstance(said, dict):
                raise garbage(self._place, str(choice))
            self._chosen = True
            self._say(said)
            self._finish = str(choice.get("finish_reason") or self._finish)

    def _say(self, said: dict[str, Any]) -> None:
        text = said.get("content") or ""
        field = next((name for name in _FIELDS if said.get(name)), "")
        thought = said[field] if field else ""
        if not isinstance(text, str) or not isinstance(thought, str):
            raise garbage(self._place, str(said))
        if text or thought:
            self._pace.piece()
            self._watch.doing = f"{self._place.model} {'answers' if text else 'thinks'}"
        self._text.append(text)
        self._reasoning.append(thought)
        self._field = field or self._field

    def reply(self, price: tuple[float, float] | None = None) -> Reply:
        """The answer, once no more comes. `price` is in US dollars for a token of the prompt and of the answer.

        Raises:
            ModelError: it is not whole.
        """
        if not self._chosen:
            raise garbage(self._place, "an answer without choices")
        if not self._finish or self._finish in _GIVEN_UP:
            raise cut(self._place, self._watch.tokens)
        details = self._usage.get("completion_tokens_details")
        asked, answered = _count(self._usage, "prompt_tokens"), _count(self._usage, "completion_tokens")
        return Reply(
            text=_writable("".join(self._text)),
            reasoning=_writable("".join(self._reasoning)),
            reasoning_field=self._field,
            finish_reason=self._place.clean(self._finish),
            model=self._place.clean(self._model),
            prompt_tokens=asked,
            completion_tokens=answered,
            reasoning_tokens=_count(details, "reasoning_tokens") if isinstance(details, dict) else None,
            seconds=self._pace.seconds,
            first_token_seconds=self._pace.first_token_seconds,
            cost=_cost(price, asked, answered),
        )


def _count(usage: dict[str, Any], name: str) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _cost(price: tuple[float, float] | None, asked: int | None, answered: int | None) -> float | None:
    if price is None or asked is None or answered is None:
        return None
    return asked * price[0] + answered * price[1]


def _writable(text: str) -> str:
    """Text that can be written as UTF-8: JSON may hold half a character."""
    return text.encode("utf-8", "replace").decode("utf-8")
