"""`scripted:FILE`: canned replies in the order of a TOML file, for the demo, for tests, and for trying a setup offline.

It answers call N of a run with reply N of the file, so a resumed run goes on where it stopped. It looks at the prompt
only where a reply says what it `expect`s there. It counts no tokens: they are estimated as for a server that does not.

    [[reply]]
    expect = "val_bpb"          # the prompt must contain this
    content = '''
    IDEA: ...
    '''
    [[reply]]
    error = "timeout"           # a Trouble to raise instead of an answer
"""

import time
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from agent.config import checked
from agent.errors import UsageError
from agent.models.base import ModelError, Reply, Request, Trouble, Watch
from agent.noun import Noun

DEMO = Path(__file__).with_name("demo.toml")


class Canned(Noun):
    """One reply of a script.

    Attributes:
        content: the answer's text.
        reasoning: the thinking that comes beside it.
        finish_reason: `length` for an answer that is cut.
        expect: what the prompt must contain; empty for anything.
        error: the failure to raise instead of answering.
        retry_after: seconds that go with it.
        seconds: to wait first.
    """

    content: str = ""
    reasoning: str = ""
    finish_reason: str = "stop"
    expect: str = ""
    error: Trouble | None = None
    retry_after: float | None = Field(default=None, ge=0)
    seconds: float = Field(default=0.0, ge=0)

    @field_validator("error")
    @classmethod
    def _no_content_beside_an_error(cls, error: Trouble | None, info: ValidationInfo) -> Trouble | None:
        if error is not None and (info.data.get("content") or info.data.get("reasoning")):
            raise ValueError("a reply is an error or has content, not both")
        return error


class Script(Noun):
    """A file of replies, each as it stands there."""

    reply: tuple[dict[str, Any], ...]


class Scripted:
    """A model that answers from a file.

    Args:
        path: the TOML file.
        made: how many calls the run booked before.
    """

    def __init__(self, path: Path, made: int = 0) -> None:
        self._replies = read_script(path)
        self._next = made
        self._name = "demo" if path == DEMO else path.name

    @property
    def label(self) -> str:
        """`demo@scripted`, or the file's name."""
        return f"{self._name}@scripted"

    def complete(self, request: Request, watch: Watch) -> Reply:
        """The next reply of the script.

        Raises:
            ModelError: it is an error, the prompt lacks what it expects, or none is left.
            Interrupted: `watch` ended the waiting.
        """
        began = time.monotonic()
        watch.doing = f"waiting for {self.label}"
        if self._next >= len(self._replies):
            raise ModelError(f"the script of replies has ended after {len(self._replies)} replies", Trouble.ENDED)
        number, canned = self._next, self._replies[self._next]
        self._next += 1
        watch.sleep(canned.seconds)
        if canned.expect and not any(canned.expect in message.content for message in request.messages):
            raise ModelError(
                f"reply {number} of {self._name} expects {canned.expect!r} in the prompt, which is not there: "
                "the script and the run have parted",
                Trouble.BAD_REQUEST,
            )
        if canned.error is not None:
            sentence = f"reply {number} of {self._name} is a failure of kind {canned.error}"
            raise ModelError(sentence, canned.error, canned.retry_after)
        watch.tokens = len(canned.content.split())
        return Reply(
            text=canned.content,
            reasoning=canned.reasoning,
            reasoning_field="reasoning" if canned.reasoning else "",
            finish_reason=canned.finish_reason,
            model=self._name,
            seconds=time.monotonic() - began,
        )


def read_script(path: Path) -> tuple[Canned, ...]:
    """The replies in a file.

    Raises:
        UsageError: there is no such file, or it is no script of replies.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the replies in {path}: {error.strerror}; name a TOML file, or `demo`") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML file: {error}") from error
    replies = checked(Script, table, str(path)).reply
    return tuple(checked(Canned, values, f"{path}: reply {number}") for number, values in enumerate(replies))
