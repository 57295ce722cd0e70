"""The judge: bits per byte of the validation text, from logits that untrusted code has written.

It meets no edited code, only what that wrote, and believes nothing of it: the logits are plain numbers of a known
shape or they are refused. It normalises them itself, so a model cannot give itself a better number than its
predictions deserve. Beside the scored rows the questions hold probes, which are beginnings of scored rows with other
text after them, or the same row again: what a model says at a position may not depend on what comes later, nor on
when and beside what it is asked. There is one probe for every position, of another row each.

Not covered: code that compares the rows it is asked with each other on purpose, to tell probes from scored rows, can
still look ahead; against that, the probes would have to be asked of a second process. Looking ahead that is worth
less than LEAK, or that happens at fewer than about 1 in 100 places and is told by text alone, may pass.

    python judge.py LOGITS_FILE ANSWERS_DIR

The last line of its output is one JSON object, {"val_bpb": ..., "bytes": ...} or {"rejected": "why"}, and
the exit code is 0 for both. Any other exit code is a failure of the house, never of the candidate.
"""

import io
import json
import math
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np

BLOCK_ROWS = 8
LEAK = 0.002  # nats; honest models agree to 1e-5 in float32, and the smallest leak that helps is worth more
REPEAT = 0.02  # nats; how far a model may be from itself, on average, when the same row is asked again


class Rejected(Exception):
    """The logits are not what an honest model would have answered; the message says why in one sentence."""


@dataclass(frozen=True)
class Answers:
    """What only the judge holds: next tokens [rows, T], probes [K, 2] of (scored row, last equal token)"""

    targets: np.ndarray
    probes: np.ndarray
    vocabulary: int
    bytes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the logits that are asked for: scored rows first, then the probes."""
        rows, length = self.targets.shape
        return rows + len(self.probes), length, self.vocabulary


def read_answers(folder: Path) -> Answers:
    """Read the trusted side, as prepare.py wrote it."""
    meta = json.loads((folder / "meta.json").read_text())
    targets = np.load(folder / "targets.npy", allow_pickle=False)
    probes = np.load(folder / "probes.npy", allow_pickle=False)
    return Answers(targets, probes, meta["vocab_size"], meta["bytes"])


@contextmanager
def open_untrusted(path: Path) -> Iterator[BufferedReader]:
    """Open a regular file, following no link in its name or its folder's, and never waiting for a writer."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        folder = os.open(path.parent, flags | os.O_DIRECTORY)
        try:
            file = os.open(path.name, flags, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise Rejected(f"{path.name} cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise Rejected(f"{path.name} is not a regular file")
    with os.fdopen(file, "rb", buffering=0) as stream:
        yield stream


def expected_header(shape: tuple[int, ...]) -> bytes:
    """Return the opening bytes of a float32 .npy file of this shape: compared, so that nothing is parsed."""
    header = io.BytesIO()
    layout = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, layout)
    return header.getvalue()


def check_layout(stream: BufferedReader, shape: tuple[int, int, int]) -> None:
    """Read the header, and leave the stream at the first number."""
    header = expected_header(shape)
    found = stream.read(len(header))
    if found != header:
        printable = "".join(chr(byte) for byte in found if 32 <= byte < 127)
        raise Rejected(f"the logits are not float32 of shape {shape}, their header is {printable.strip()!r}")
    size, expected = os.fstat(stream.fileno()).st_size, len(header) + 4 * math.prod(shape)
    if size != expected:
        raise Rejected(f"the logits file has {size} bytes instead of {expected}")


def log_probabilities(stream: BufferedReader, targets: np.ndarray, vocabulary: int) -> np.ndarray:
    """Read the logits once, in blocks; return each target's log-probability in nats, float64 [rows, T]."""
    rows, length = targets.shape
    result = np.empty((rows, length))
    for start in range(0, rows, BLOCK_ROWS):
        wanted = targets[start : start + BLOCK_ROWS, :, None].astype(np.int64)
        block = np.empty((len(wanted), length, vocabulary), dtype="<f4")
        read_exactly(stream, memoryview(block).cast("B"))
        if not (np.isfinite(block.min()) and np.isfinite(block.max())):
            raise Rejected("a logit is not finite")
        block -= block.max(axis=-1, keepdims=True)
        chosen = np.take_along_axis(block, wanted, axis=-1)  # copied, before the block is overwritten
        total = np.exp(block, out=block).sum(axis=-1, dtype=np.float64)
        result[start : start + BLOCK_ROWS] = chosen[:, :, 0].astype(np.float64) - np.log(total)
    return result


def read_exactly(stream: BufferedReader, buffer: memoryview) -> None:
    """Fill the buffer, or refuse a file that ended meanwhile."""
    done = 0
    while done < len(buffer):
        got = stream.readinto(buffer[done:])
        if not got:
            raise Rejected("the logits file ended while it was read")
        done += got


def check_probes(scored: np.ndarray, probed: np.ndarray, probes: np.ndarray) -> None:
    """Hold the probes' log-probabilities [K, T] against those of the rows they were made from."""
    length = scored.shape[1]
    row, last = probes[:, 0], probes[:, 1]
    ahead = scored[row] - probed  # above 0 where the true continuation helped to predict what comes before it
    repeated = last == length - 1
    disagreement = float(np.abs(ahead[repeated]).mean())
    if disagreement > REPEAT:
        raise Rejected(f"the same row, asked again, is answered differently (by {disagreement:.3f} nats)")
    back = np.arange(length // 4)  # a leak shows at the last equal position, or some way before it: each by itself
    place = last[~repeated, None] - back
    better = np.ma.masked_where(place < 0, np.take_along_axis(ahead[~repeated], np.maximum(place, 0), axis=1))
    leak = float(np.abs(better).mean(axis=0).max())
    gain = float(better.mean(axis=0).max())  # disagreement has no direction, and cannot hide a leak that pays
    if leak > max(LEAK, 4 * disagreement) or gain > LEAK + disagreement:
        raise Rejected(f"what the model says at a position depends on later tokens (by {leak:.3f} nats)")


def judge(logits: Path, answers: Answers) -> dict[str, float | int]:
    """Return the loss in bits per byte; raise `Rejected` for what an honest model would not write."""
    targets = np.concatenate([answers.targets, answers.targets[answers.probes[:, 0]]])
    with open_untrusted(logits) as stream:
        check_layout(stream, answers.shape)
        found = log_probabilities(stream, targets, answers.vocabulary)
    rows = len(answers.targets)
    check_probes(found[:rows], found[rows:], answers.probes)
    bits = -float(found[:rows].sum()) / math.log(2)
    return {"val_bpb": bits / answers.bytes, "bytes": answers.bytes}


def main() -> None:
    """Judge one file of logits, and print the verdict as the last line."""
    if len(sys.argv) != 3:
        sys.exit("usage: python judge.py LOGITS_FILE ANSWERS_DIR")
    answers = read_answers(Path(sys.argv[2]))
    try:
        print(json.dumps(judge(Path(sys.argv[1]), answers)))
    except Rejected as reason:
        print(json.dumps({"rejected": str(reason)}))


if __name__ == "__main__":
    main()
