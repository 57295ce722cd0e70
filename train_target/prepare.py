"""Data of the target: a corpus of bytes, split for training and judging. Frozen: the agent never edits it.

The default corpus needs no download: the source of the running Python's standard library. `--data` takes a
folder of the user's own text, `--dataset` one of the field's public corpora. It is prepared once, in
seconds, into a cache outside the repository:

    <cache>/autoresearch-agent/<corpus hash>/
      train/      train.bin, meta.json       all that a training jail may see
      questions/  inputs.npy, meta.json      all that the answering jail may see: rows of validation text
      answers/    targets.npy, probes.npy, meta.json     for the judge alone
      masks/      what a jail shows in place of the standard library (see masks.py); the default corpus alone
      meta.json   reference numbers, and a sha256 for every file of the first three folders

Documents are split by the hash of their name, 1 in 20 to validation; a validation document whose content is
also in the training text is dropped. Near copies (the same text with one line changed) are not looked for.

    python prepare.py [--data DIR | --dataset NAME [--max-mb N]]

The last line of the output is a JSON object: the three folders, the sha256 of documents and prepared files as
they lie there now, and for the default corpus `masks`, {absolute path: what a jail has to show there instead}.
Exit code 2 means bad input, 1 that a download failed, the disk did, or the cache is damaged.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from cache import cache_home, check, hashes, publish
from documents import READERS, CorpusError, Documents, folder_documents, library_documents, up_to
from masks import can_hide, make_masks
from public_corpora import DATASETS, fetch_dataset
from validation import EVAL_CONTEXT, VOCAB_SIZE, evaluation_set, reference_numbers, token_byte_lengths, tokenize

RECIPE = "2"  # part of the corpus hash: change it with anything below that changes the prepared bytes
VALIDATION_SHARE = 20  # 1 document in so many is for validation
FEWEST_ROWS = 64
DOCUMENT_END = b"\0"
PARTS = ("train", "questions", "answers")


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus: its folder in the cache, its hash, what its meta.json says, and what hides it in a jail."""

    root: Path
    sha256: str
    meta: dict[str, Any]
    masks: dict[str, str] = field(default_factory=dict)

    @property
    def train(self) -> Path:
        """What the training jail sees."""
        return self.root / "train"

    @property
    def questions(self) -> Path:
        """What the answering jail sees."""
        return self.root / "questions"

    @property
    def answers(self) -> Path:
        """What the judge alone sees."""
        return self.root / "answers"


HeldOut = Callable[[str], bool]


def standard_library() -> Corpus:
    """Return the default corpus, prepared if it was not: where train.py looks when it is told nothing."""
    held = {name for name, text in library_documents() if is_validation(name) and can_hide(name, text)}
    corpus = prepare(library_documents, held.__contains__)
    return replace(corpus, masks=make_masks(corpus.root / "masks", held))


def is_validation(name: str) -> bool:
    """Tell a validation document by the hash of its name."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % VALIDATION_SHARE == 0


def prepare(documents: Callable[[], Documents], held_out: HeldOut = is_validation) -> Corpus:
    """Return the prepared corpus of these documents, from the cache or made now."""
    recipe = corpus_hash(documents(), held_out)
    root = cache_home() / recipe[:16]
    if not root.exists():
        publish(root, partial(write_corpus, documents(), held_out))
    meta = json.loads((root / "meta.json").read_text())
    found = prepared_files(root)
    check(root, found, meta["sha256"])
    return Corpus(root, hashlib.sha256(json.dumps([recipe, found], sort_keys=True).encode()).hexdigest(), meta)


def corpus_hash(documents: Documents, held_out: HeldOut) -> str:
    """Return a hash of the recipe and of every document's name, content and side of the split."""
    digest = hashlib.sha256(RECIPE.encode())
    for name, text in documents:
        side = b"validation" if held_out(name) else b"train"
        digest.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(text).digest() + side)
    return digest.hexdigest()


def prepared_files(root: Path) -> dict[str, str]:
    """Return the sha256 of everything that a trial or its judge will read."""
    return {name: sha256 for part in PARTS for name, sha256 in hashes(root / part).items()}


def write_corpus(documents: Documents, held_out: HeldOut, root: Path) -> None:
    """Write all files of a corpus."""
    for part in PARTS:
        (root / part).mkdir()
    validation, counts = write_training_text(documents, held_out, root / "train" / "train.bin")
    inputs, targets, probes = evaluation_set(tokenize(validation))
    np.save(root / "questions" / "inputs.npy", inputs)
    np.save(root / "answers" / "targets.npy", targets)
    np.save(root / "answers" / "probes.npy", probes)
    tokens = np.memmap(root / "train" / "train.bin", dtype=np.uint8, mode="r")
    vocabulary = {"tokenizer": "bytes", "vocab_size": VOCAB_SIZE}
    write_json(root / "train" / "meta.json", {**vocabulary, "tokens": len(tokens)})
    write_json(root / "questions" / "meta.json", {**vocabulary, "rows": len(inputs), "context": EVAL_CONTEXT})
    scored = int(token_byte_lengths()[targets].sum())
    write_json(root / "answers" / "meta.json", {**vocabulary, "rows": len(targets), "bytes": scored})
    reference = reference_numbers(tokens, validation)
    write_json(root / "meta.json", {"corpus": counts, "bits_per_byte": reference, "sha256": prepared_files(root)})


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write one meta.json."""
    path.write_text(json.dumps(value, indent=1) + "\n")


def write_training_text(documents: Documents, held_out: HeldOut, path: Path) -> tuple[bytes, dict[str, int]]:
    """Write the training documents as they come; return the validation text, without copies, and counts."""
    seen: set[bytes] = set()
    held: list[bytes] = []
    documents_written = 0
    with path.open("wb") as file:
        for name, text in documents:
            if held_out(name):
                held.append(text)
            else:
                seen.add(hashlib.sha256(text).digest())
                file.write(tokenize(text + DOCUMENT_END))
                documents_written += 1
        train_bytes = file.tell()
    kept = [text for text in held if hashlib.sha256(text).digest() not in seen]
    validation = b"".join(text + DOCUMENT_END for text in kept)
    if len(validation) < FEWEST_ROWS * EVAL_CONTEXT + 1 or train_bytes < len(validation):
        raise CorpusError(
            f"too little text: {train_bytes:,} bytes to train on and {len(validation):,} to validate, "
            "a corpus should have a megabyte or more"
        )
    counts = {
        "train_bytes": train_bytes,
        "train_documents": documents_written,
        "validation_bytes": len(validation),
        "validation_documents": len(kept),
        "validation_copies_dropped": len(held) - len(kept),
    }
    return validation, counts


# --- command line ---


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Prepare a corpus: this Python's standard library, or ...")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data", type=Path, metavar="DIR", help=f"a folder with {', '.join(READERS)} files")
    source.add_argument("--dataset", choices=DATASETS, help="a public corpus to download")
    parser.add_argument("--max-mb", type=float, default=200, metavar="N", help="how much of it (%(default)s)")
    return parser.parse_args()


def chosen(arguments: argparse.Namespace) -> Corpus:
    """Return the corpus that the command line asks for, downloaded where it has to be."""
    if arguments.data:
        return prepare(lambda: folder_documents(arguments.data))
    if arguments.dataset:
        limit = arguments.max_mb * 1e6
        folder = fetch_dataset(arguments.dataset, limit)
        return prepare(lambda: up_to(limit, folder_documents(folder)))
    return standard_library()


def report(corpus: Corpus) -> None:
    """Print what was prepared, and as the last line where it lies."""
    counts, reference = corpus.meta["corpus"], corpus.meta["bits_per_byte"]
    for part in ("train", "validation"):
        size, documents = counts[f"{part}_bytes"] / 1e6, counts[f"{part}_documents"]
        print(f"{part + ':':12}{documents:,} documents, {size:.2f} MB")
    print(f"overlap:    {counts['validation_copies_dropped']} validation documents dropped as copies")
    numbers = ", ".join(f"{name} {value:.2f}" for name, value in reference.items())
    print(f"reference:  {numbers} bits per byte of the validation text")
    last: dict[str, Any] = {part: str(getattr(corpus, part)) for part in PARTS}
    last["sha256"] = corpus.sha256
    if corpus.masks:
        last["masks"] = corpus.masks
    print(json.dumps(last))


def main() -> None:
    """Prepare, and say what came of it; a user's mistake is one sentence."""
    try:
        report(chosen(parse()))
    except CorpusError as error:
        print(error, file=sys.stderr)
        sys.exit(error.code)
    except OSError as error:
        sys.exit(f"cannot prepare the corpus: {error}")


if __name__ == "__main__":
    main()
