"""Where text comes from: documents of the standard library or of a folder of the user's. Frozen."""

import json
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

PIECE_BYTES = 8192  # a text file of the user's is cut into documents of this size: one big file will do
LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
LEFT_OUT |= {"encodings"}  # generated tables, so alike that half of one is found in the others

Documents = Iterable[tuple[str, bytes]]


class CorpusError(Exception):
    """What the user has to know, in one sentence; `code` is the exit code."""

    def __init__(self, sentence: str, code: int = 2):
        super().__init__(sentence)
        self.code = code


def library_documents() -> Iterator[tuple[str, bytes]]:
    """Yield (name, text) of every source file of the running Python's standard library, without its tests."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        generated = path.name.startswith("_sysconfigdata")  # holds the paths of one machine
        if not generated and LEFT_OUT.isdisjoint(name.parts):
            yield name.as_posix(), path.read_bytes()


def folder_documents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, text) of everything readable in a folder of the user's."""
    if not folder.is_dir():
        raise CorpusError(f"there is no folder {folder}: --data takes a folder that holds text")
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in READERS and path.is_file()]
    if not paths:
        raise CorpusError(f"nothing to read in {folder}: give a folder with {', '.join(READERS)} files")
    for path in paths:
        for number, text in enumerate(READERS[path.suffix](path)):
            yield f"{path.relative_to(folder).as_posix()}#{number}", text


def read_text(path: Path) -> Iterator[bytes]:
    """Yield a text file in pieces that end at the end of a line."""
    with path.open("rb") as file:
        while lines := file.readlines(PIECE_BYTES):
            yield b"".join(lines)


def read_jsonl(path: Path) -> Iterator[bytes]:
    """Yield the field "text" of every line that is not blank."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)["text"].encode()
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                sentence = f'{path.name}, line {number}: expected a JSON object with a string "text"'
                raise CorpusError(sentence) from error


def read_parquet(path: Path) -> Iterator[bytes]:
    """Yield the column "text" of every row."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise CorpusError("parquet files need pyarrow: pip install 'autoresearch-agent[data]'") from error
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise CorpusError(f"{path.name} is not a parquet file") from error
    if "text" not in file.schema_arrow.names:
        raise CorpusError(f'{path.name} has no column "text", only {", ".join(file.schema_arrow.names)}')
    for batch in file.iter_batches(columns=["text"], batch_size=1024):
        yield from (text.encode() for text in batch.column("text").to_pylist() if text)


READERS: dict[str, Callable[[Path], Iterator[bytes]]] = {
    ".txt": read_text,
    ".md": read_text,
    ".py": read_text,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
}


def up_to(limit: float, documents: Documents) -> Iterator[tuple[str, bytes]]:
    """Yield documents until they hold `limit` bytes together."""
    total = 0
    for name, text in documents:
        yield name, text
        total += len(text)
        if total >= limit:
            return
