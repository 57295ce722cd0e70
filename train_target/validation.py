"""Tokens, the fixed questions cut from the validation text, and numbers to compare with. Frozen.

Tokens are bytes today; judge and loader ask here, so that a later version may have another tokenizer.
"""

import gzip
import lzma
import math

import numpy as np

EVAL_CONTEXT = 256  # tokens of a row of questions
EVAL_ROWS = 512  # rows that are scored, 131,072 positions
REPEATED_ROWS = 16  # probes that are rows asked again as they are
REFERENCE_BYTES = 4 << 20  # compressors are given so much of the validation text at most
VOCAB_SIZE = 256


def tokenize(text: bytes) -> np.ndarray:
    """Return the tokens of a text, uint8 [tokens]."""
    return np.frombuffer(text, dtype=np.uint8)


def token_byte_lengths() -> np.ndarray:
    """Return how many bytes of raw text each token stands for, int64 [VOCAB_SIZE]."""
    return np.ones(VOCAB_SIZE, dtype=np.int64)


def evaluation_set(tokens: np.ndarray, context: int = EVAL_CONTEXT) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut the fixed questions from the validation text, evenly spread.

    Returns inputs uint8 [rows + probes, context], targets uint8 [rows, context] (the next token of every position of
    the first rows), and probes int64 [probes, 2]: input rows + k begins as the scored row probes[k, 0] does, up to
    and with position probes[k, 1], and goes on as another row, from a token that differs. Every position is the last
    equal one of one probe, but for the final position, which has no later one to look at: probes that are equal up to
    there are repeats.
    """
    rows, final = min(EVAL_ROWS, (len(tokens) - 1) // context), context - 1
    starts = np.linspace(0, len(tokens) - context - 1, rows).astype(np.int64)
    windows = tokens[starts[:, None] + np.arange(context + 1)]
    scored, targets = windows[:, :-1], windows[:, 1:]
    generator = np.random.default_rng(0)
    last = generator.permutation(np.concatenate([np.arange(final), np.full(REPEATED_ROWS, final)]))
    row = np.resize(generator.permutation(rows), len(last))
    probed = scored[row]
    for probe, (origin, at) in enumerate(zip(row, last, strict=True)):
        if at < final:
            others = np.roll(scored, -(origin + rows // 2), axis=0)[:, at + 1 :]
            probed[probe, at + 1 :] = others[(others[:, 0] != scored[origin, at + 1]).argmax()]
    return np.concatenate([scored, probed]), targets, np.stack([row, last], axis=1)


def reference_numbers(train: np.ndarray, validation: bytes) -> dict[str, float]:
    """Return bits per byte of the validation text under models that anyone can check."""
    share = np.bincount(train, minlength=VOCAB_SIZE) + 1.0
    unigram = -np.log2(share / share.sum())[tokenize(validation)].mean()
    text = validation[:REFERENCE_BYTES]
    return {
        "uniform": math.log2(VOCAB_SIZE),
        "unigram": float(unigram),
        "gzip -9": 8 * len(gzip.compress(text, 9)) / len(text),
        "xz -9": 8 * len(lzma.compress(text, preset=9)) / len(text),
    }
