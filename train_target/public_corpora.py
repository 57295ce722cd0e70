"""The public corpora of the field, downloaded by name into the cache. Frozen. Resumes what was cut off."""

import http
import http.client
import os
import sys
import urllib.request
from pathlib import Path
from typing import BinaryIO

from cache import cache_home
from documents import CorpusError

DATASETS = {  # name -> (Hugging Face dataset, its file names in order)
    "climbmix": ("karpathy/climbmix-400b-shuffle", [f"shard_{i:05d}.parquet" for i in range(6543)]),
    "fineweb-edu": ("karpathy/fineweb-edu-100b-shuffle", [f"shard_{i:05d}.parquet" for i in range(1823)]),
    "tinystories": ("karpathy/tinystories-gpt4-clean", ["tinystories_gpt4_clean.parquet"]),
}


def fetch_dataset(name: str, limit: float) -> Path:
    """Download whole files of a public corpus until they hold `limit` bytes; return their folder. Resumes."""
    repository, files = DATASETS[name]
    base = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    folder = cache_home() / "downloads" / name
    folder.mkdir(parents=True, exist_ok=True)
    total = 0
    for file in files:
        path = folder / file
        if not path.exists():
            fetch(f"{base}/datasets/{repository}/resolve/main/{file}", path)
        total += path.stat().st_size
        if total >= limit:
            break
    return folder


def fetch(url: str, path: Path) -> None:
    """Download one file: into NAME.part, which is resumed when it exists, and renamed when it is complete."""
    part = path.with_name(path.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            resumed = reply.status == http.HTTPStatus.PARTIAL_CONTENT
            with part.open("ab" if resumed else "wb") as file:
                copy_with_bar(reply, file, path.name)
    except (OSError, http.client.HTTPException) as error:
        complete = have and getattr(error, "code", None) == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        if not complete:
            reason = getattr(error, "reason", error)
            raise CorpusError(
                f"cannot download {url} ({reason}): run this where there is a network, "
                "or bring the files yourself and use --data DIR",
                code=1,
            ) from error
    part.rename(path)


def copy_with_bar(reply: http.client.HTTPResponse, file: BinaryIO, name: str) -> None:
    """Copy a reply's body, with a bar on stderr; a body shorter than promised raises."""
    start = file.tell()
    total = start + int(reply.headers.get("Content-Length", 0))
    while block := reply.read(1 << 20):
        file.write(block)
        done = file.tell()
        share = done / total if total else 0.0
        bar = "#" * round(30 * share)
        print(f"\r{name} [{bar:<30}] {done / 1e6:,.0f} MB", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    if total and file.tell() < total:
        raise http.client.IncompleteRead(b"", total - file.tell())
