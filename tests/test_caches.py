"""Compiled code for later trials: one seed, taken with suspicion, copied for each, and really found by the compiler."""

import os
import re
from pathlib import Path

import pytest
from sandbox_kit import GIB, jail_of

from agent import caches
from sandbox.spec import Limits, Mount, Phase, Spec, Watch
from sandbox.supervise import run

COMPILE = """
import torch
from torch._dynamo.utils import counters
print("value", torch.compile(lambda x: torch.sin(x) * 2 + torch.cos(x).sum())(torch.zeros(100))[0].item())
print("hits", counters["inductor"]["fxgraph_cache_hit"], "misses", counters["inductor"]["fxgraph_cache_miss"])
"""


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def left(tmp_path) -> Path:
    """What an honest training left."""
    folder = tmp_path / "0.cache"
    (folder / "inductor" / "ab").mkdir(parents=True)
    (folder / "inductor" / "ab" / "code.so").write_bytes(b"compiled")
    (folder / "triton").mkdir()
    return folder


@pytest.fixture
def to(tmp_path) -> Path:
    return tmp_path / "run" / "seed"


def test_a_seed_is_what_was_left(left, to):
    assert caches.seed(left, to) is None
    assert files(to) == files(left) == {"inductor/ab/code.so": b"compiled"}


def test_links_and_pipes_are_not_taken(left, to, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    (left / "file").symlink_to(secret / "key")
    (left / "folder").symlink_to(secret)
    os.mkfifo(left / "pipe")
    assert caches.seed(left, to) is None
    assert sorted(path.name for path in to.rglob("*")) == ["ab", "code.so", "inductor", "triton"]


def test_a_link_in_place_of_the_folder_is_not_followed(left, to, tmp_path):
    away = tmp_path / "away"
    left.rename(away)
    left.symlink_to(away)
    assert "not kept" in str(caches.seed(left, to)) and not to.exists()


@pytest.mark.parametrize("how", ["bytes", "sparse", "files", "depth"])
def test_too_much_is_not_taken_at_all(left, to, how, monkeypatch):
    if how == "bytes":
        (left / "big").write_bytes(b"x" * 1000)
    elif how == "sparse":
        with (left / "big").open("wb") as file:
            file.truncate(10**12)
    elif how == "files":
        monkeypatch.setattr(caches, "MOST_FILES", 5)
        for k in range(6):
            (left / str(k)).touch()
    else:
        left.joinpath(*"x" * 20).mkdir(parents=True)
    said = str(caches.seed(left, to, most_bytes=1000))
    assert re.search("more than (1,000 bytes or|16 deep)", said)
    assert not to.exists() and list(to.parent.iterdir()) == []


def test_a_target_that_compiles_nothing_leaves_no_seed(left, to):
    (left / "inductor" / "ab" / "code.so").unlink()
    assert caches.seed(left, to) == "nothing was compiled"
    assert not to.exists()


def test_each_training_has_a_copy_of_its_own(left, to, tmp_path):
    caches.seed(left, to)
    places = [caches.place_of(tmp_path / name) for name in ("1.0", "2.0")]
    for place in places:
        caches.lay_out(to, place)
    poison = places[0] / "inductor" / "ab" / "code.so"
    poison.write_bytes(b"poison")
    assert files(to) == files(places[1]) == {"inductor/ab/code.so": b"compiled"}


def test_what_an_earlier_training_left_in_its_place_is_gone(to, tmp_path):
    place = tmp_path / "1.0.cache"
    place.mkdir()
    (place / "old").touch()
    caches.lay_out(to, place)
    assert list(place.iterdir()) == []


def test_only_the_first_training_gets_a_cache_before_there_is_a_seed(tmp_path):
    work = tmp_path / "run" / "work" / "0001-0"
    assert caches.offer(work, first=False) == () and not caches.place_of(work).exists()
    first = work.with_name("0000-0")
    (mount,) = caches.offer(first, first=True)
    assert mount.writable and mount.source == caches.place_of(first) and list(mount.source.iterdir()) == []
    (mount.source / "code").write_bytes(b"compiled")
    assert caches.seed(mount.source, caches.seed_of(first)) is None
    (mount,) = caches.offer(work, first=False)
    assert files(mount.source) == {"code": b"compiled"} and caches.seed_of(work).parent == tmp_path / "run"


def compile_in(level: str, work: Path, seed: Path) -> str:
    """Compile in a jail, in a copy of the seed; what it printed."""
    work.mkdir()
    (work / "train.py").write_text(COMPILE)
    place = caches.place_of(work)
    caches.lay_out(seed, place)
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", **caches.environment(caches.INSIDE)}
    mounts = (Mount(place, caches.INSIDE, writable=True),)
    phases = ((Phase.TRAIN, 200.0),)
    spec = Spec(("python", "train.py"), work, env, phases, Limits(4 * GIB), mounts=mounts)
    return run(spec, jail_of(level), Watch(work.with_suffix(".log"))).tail


@pytest.mark.slow
@pytest.mark.jail
def test_the_compiler_finds_its_code_in_a_copy_of_the_seed(tmp_path):
    seed = tmp_path / "seed"
    cold = compile_in("namespace", tmp_path / "first", seed)
    assert "hits 0 misses 1" in cold, cold
    assert caches.seed(caches.place_of(tmp_path / "first"), seed) is None
    before = files(seed)
    assert "hits 1 misses 0" in compile_in("namespace", tmp_path / "second", seed)
    assert files(seed) == before
