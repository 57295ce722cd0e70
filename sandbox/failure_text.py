"""What the output of a failed program says: its last uncaught exception, and where in the training it was raised.

Text is the weakest evidence: it refines how a run failed and never says that one did.

Read are the tracebacks of Python: chained, with notes, of exception groups, of one rank of several (`[rank0]: `,
torchrun's table of failures), raised again from loader workers and process pools, coloured, in rich's boxes, and
syntax errors, which have no header. Not read are those that did not end the program: of other threads, child
processes, destructors and logging.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Failure:
    """An uncaught exception.

    Attributes:
        line: its line, `ValueError: ...`.
        text: what of its message counts: that line, and those after it only where a library is known to write on.
            Behind the message of any other exception may stand output that Python flushed as it ended.
        frames: `path in function` of the calls, outermost first.
        source: the source line of the innermost call; empty where it is not shown.
    """

    line: str
    text: str
    frames: tuple[str, ...] = ()
    source: str = ""

    @property
    def name(self) -> str:
        """The name of the exception without its module."""
        return re.split(r"[(:\s]", self.line, maxsplit=1)[0].rpartition(".")[2]

    @property
    def said(self) -> str:
        """Its line in at most 500 characters; with the lines below it where it says nothing itself."""
        empty = self.line.rstrip().endswith(":")
        lines = [line.strip() for line in self.text.splitlines() if line.strip("=- ")] if empty else [self.line]
        return " ".join(lines)[:500]


@dataclass(frozen=True)
class _Line:
    at: int  # number in the whole output
    text: str


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_RANK = re.compile(r"(?:\[(?:rank|default)(\d{1,6})\]: ?)+")
_GROUP = re.compile(r"  \+ Exception Group Traceback \(most recent call last\):")
_HEADER = re.compile(r"(?:(?:Original )?Traceback \(most recent call last\):$|╭─.{0,300}Traceback \(most recent)")
_GROUP_PREFIX = re.compile(r" *[|+] ?")
_NOT_MAIN = re.compile(
    r"Exception ignored|Exception in (?:thread|callback)|Unhandled exception in thread|--- Logging error ---"
    r"|Error in atexit\.|Process [\w-]{1,100}:$|Task exception was never|future: <|handle: <"
)
_CHAIN = ("During handling of the above", "The above exception was the direct")
_SYNTAX = re.compile(r"(?:SyntaxError|IndentationError|TabError)\b")
_NAME = re.compile(r"(?:[\w<>]+\.)*(?:[A-Z]\w*|\w*[eE]rror|\w*[eE]xception|timeout)(?:\(\w+\))?(?::\s|:?\s?$)")
_FRAME = re.compile(r'\s*File "([^"]{1,1000})", line \d{1,9}(?:, in (.{1,300}))?')
_WRITE_ON = ("torch.", "triton.", "jax", "ray.")  # modules whose messages have several lines that matter
_ROOT_CAUSE = re.compile(r"Root Cause.{0,400}?rank\s{1,20}: (\d{1,6})", re.DOTALL)
_MESSAGE_LINES, _MESSAGE_CHARS, _NAME_CHARS, _PATIENCE = 60, 8000, 300, 50

_PLACES = (  # the first that is found decides
    ("compile", r"torch/_dynamo/(?:convert_frame|symbolic_convert|output_graph)\.py|triton/compiler/"),
    ("compile", r"torch/_inductor/(?:graph|scheduler|codecache|async_compile|select_algorithm)\.py"),
    ("backward", r"torch/(?:_tensor|autograd/__init__|autograd/graph)\.py in (?:backward|grad|_engine_run_backward)"),
    ("data", r"torch/utils/data/"),
    ("checkpoint", r"torch/serialization\.py|torch/distributed/checkpoint/|/safetensors/"),
    ("forward", r"torch/nn/modules/module\.py in \w*_call_impl| in forward$"),
    ("optimizer", r"torch/optim/"),
)
_EVERY_PLACE = tuple((place, re.compile(form, re.MULTILINE)) for place, form in _PLACES)


def uncaught(tail: str) -> Failure | None:
    """The last exception that ended the program, if its output shows one.

    Of chained exceptions the last counts; of several ranks the one that torchrun names, else the first to fail.
    """
    found = {rank: failures for rank, lines in _streams(tail).items() if (failures := list(_failures(lines)))}
    if None not in found:
        last = [failures[-1] for failures in found.values()]
        return min(last, key=lambda pair: pair[0])[1] if last else None
    own = found[None]
    if "ChildFailedError" not in own[-1][1].line:
        return own[-1][1]
    named = _ROOT_CAUSE.search(own[-1][1].text)
    guilty = found.get(int(named[1])) if named else None
    return (guilty or own[-2:])[-1 if guilty else 0][1]


def where(failure: Failure) -> str | None:
    """The part of the training it was raised in: forward, backward, optimizer, compile, data or checkpoint."""
    frames = "\n".join(failure.frames)
    return next((place for place, form in _EVERY_PLACE if form.search(frames)), None)


def aborted(tail: str) -> str:
    """The last words of a runtime that ends its program: of C++ (`terminate called ...`, `what(): ...`), Rust, LLVM."""
    lines = tail[-50_000:].splitlines()[-300:]
    said = ("terminate called", "terminating", "memory allocation of", "LLVM ERROR", "Fatal Python error")
    return "\n".join(line for line in lines if "what():" in line[:100] or any(word in line[:200] for word in said))


def _streams(tail: str) -> dict[int | None, list[_Line]]:
    """The lines of each rank, whose outputs are mixed, without prefix and colours; None for those without a rank."""
    streams: dict[int | None, list[_Line]] = {}
    for at, line in enumerate(_COLOUR.sub("", tail).splitlines()):
        rank = _RANK.match(line) if line.startswith("[") else None
        key = int(rank[1]) if rank else None
        streams.setdefault(key, []).append(_Line(at, line[rank.end() :] if rank else line))
    return streams


def _failures(lines: list[_Line]) -> Iterator[tuple[int, Failure]]:
    """What ended the main thread of one process, as (line number, failure), oldest first."""
    heads = [k for k, line in enumerate(lines) if _is_head(lines, k, line.text)]
    main = True
    for at, end in pairwise([*heads, len(lines)]):
        main = _is_main(lines, at, main)
        part = [line.text for line in lines[at:end]]
        failure = _of_group(part) if _GROUP.match(part[0]) else _of_traceback(part)
        if main and failure is not None:
            yield lines[at].at, failure


def _is_head(lines: list[_Line], at: int, text: str) -> bool:
    if "(most recent call last)" in text[:400]:
        return bool(_HEADER.match(text) or _GROUP.match(text))
    return bool(_SYNTAX.match(text)) and at > 0 and lines[at - 1].text.startswith("  ")


def _is_main(lines: list[_Line], at: int, before: bool) -> bool:
    """Whether a traceback is of the main thread: a chain, and what is raised again, is of the one it continues."""
    if lines[at].text.startswith("Original"):
        return before
    while at and (lines[at - 1].text == '"""' or lines[at - 1].text.rstrip().endswith("RemoteTraceback:")):
        at -= 1
    above = lines[at - 1].text if at else ""
    return before if above.startswith(_CHAIN) else not _NOT_MAIN.match(above)


def _of_traceback(part: list[str]) -> Failure | None:
    """The failure of the lines from one header to the next."""
    if _SYNTAX.match(part[0]):
        return Failure(part[0], part[0])
    at = _exception_at(part)
    if at is None:
        return None
    shown = [line.strip() for line in part[1:at] if line.strip() and not set(line) <= set(" ~^")]
    inner = shown[-1] if shown and not _FRAME.match(shown[-1]) else ""
    return Failure(part[at], _message(part[at:]), _frames(part[1:at]), inner)


def _exception_at(part: list[str]) -> int | None:
    """Where the frames end and the exception stands; other processes may have written lines in between."""
    first = None
    for k, line in enumerate(part):
        if not k or line[:1] in (" ", "│", "╰", "╭", ""):
            continue
        if _NAME.match(line[:_NAME_CHARS]):
            return k
        first = k if first is None else first
        if k - first > _PATIENCE or _NOT_MAIN.match(line):
            break
    return first


def _message(lines: list[str]) -> str:
    line = lines[0]
    if not (line.startswith(_WRITE_ON) or line.rstrip().endswith(":") or "NCCL" in line):
        return line
    rest = lines[1:_MESSAGE_LINES]
    foreign = next((k for k, line in enumerate(rest) if _NOT_MAIN.match(line) or line.startswith(_CHAIN)), len(rest))
    return "\n".join([line, *rest[:foreign]])[:_MESSAGE_CHARS]


def _of_group(part: list[str]) -> Failure | None:
    """An exception group: its own line, and the messages of all that are in it. That of the group is its author's."""
    inside = [line for line in part[1:] if line.startswith(("  |", "  +", "   "))]
    stripped = [_GROUP_PREFIX.sub("", line, count=1) for line in inside]
    said = [line for line in stripped if _NAME.match(line[:_NAME_CHARS]) and not line.startswith(" ")]
    if not said:
        return None
    single = [line for line in said if "ExceptionGroup:" not in line[:_NAME_CHARS]]
    return Failure(said[0], "\n".join(single)[:_MESSAGE_CHARS], _frames(stripped))


def _frames(lines: list[str]) -> tuple[str, ...]:
    found = (match for line in lines if (match := _FRAME.match(line[:2000])))
    return tuple(f"{match[1]} in {(match[2] or '').strip()}" for match in found)
