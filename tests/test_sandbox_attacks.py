"""Attacks, run as trials at every level, as root and as an ordinary user, judged from outside; and the judge's eyes."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sandbox_kit import CASES

from sandbox.attacks import traces
from sandbox.attacks.assault import assail
from sandbox.attacks.expectations import Demand, expected, read
from sandbox.jail import pick
from sandbox.spec import JailUnavailable, Stopped

ROOT = Path(__file__).resolve().parent.parent
OWN = ROOT / "tests/attacks"
FOLDERS = [OWN, CASES / "attacks"]
USER = 4242  # nobody's
SEEN_FROM_OUTSIDE = {  # at level `none`, whoever runs it: what is to be seen of it
    "b01_proc_mem": "printed a secret",
    "b02_abstract_socket": "connection abstract unix socket",
    "b04_hard_links": "a secret in",
    "b05_rename_work": "replaced",
    "b06_import_path": "attack_planted.pth",
    "b07_note_for_the_next": "left /dev/shm/attack-note-for-the-next",
    "b18_chmod_outside": "changed",
    "b20_log": "removed",
    "b22_other_trial": "a secret in",
    "b25_other_ways_out": "connection UDP",
    "b26_limits_of_others": "of the victim: its priority",
    "b27_other_signals": "signal 12",
    "b32_dotfiles": "authorized_keys",
}


def command(folder: Path, level: str, user: int | None, home: Path) -> list[str]:
    """`agent bench sandbox`, as another user if wanted: with an interpreter that this one can reach."""
    line = ["-m", "agent", "bench", "sandbox", str(folder), "--sandbox", level]
    if user is None:
        return [sys.executable, *line]
    paths = [str(ROOT), *(path for path in sys.path if "site-packages" in path)]
    env = ["env", f"HOME={home}", f"PYTHONPATH={os.pathsep.join(paths)}", "PYTHONDONTWRITEBYTECODE=1"]
    change = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", *env]
    for python in (sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin")):
        tried = python and subprocess.run(
            [*change, python, "-c", "import click, agent.cli"], capture_output=True, cwd="/"
        )
        if tried and tried.returncode == 0:
            return [*change, str(python), *line]
    pytest.skip(f"no Python here that user {user} can run the agent with")


@pytest.fixture
def other(tmp_path_factory):
    """A user who is nobody, with an empty home."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can become another user, with setpriv")
    home = Path(f"/var/tmp/home-of-{USER}-{os.getpid()}")
    home.mkdir()
    os.chown(home, USER, USER)
    yield home
    shutil.rmtree(home)


def all_as_expected(folder: Path, level: str, user: int | None = None, home: Path = Path("/")) -> None:
    if not folder.is_dir():
        pytest.skip(f"no {folder} beside this checkout")
    with contextlib.suppress(JailUnavailable):
        pick(level)
        ran = subprocess.run(command(folder, level, user, home), capture_output=True, text=True, cwd=ROOT)
        total = len(list(folder.glob("*.py")))
        wrong = [line for line in ran.stdout.splitlines() if line.startswith("FAIL")]
        assert not wrong, "\n".join(wrong)
        assert ran.stdout.endswith(f"{level}: {total} of {total} as expected\n"), ran.stdout + ran.stderr
        assert ran.returncode == 0
        return
    pytest.skip(f"no jail {level} here")


@pytest.mark.jail
@pytest.mark.parametrize("level", ["namespace", "landlock"])
@pytest.mark.parametrize("folder", FOLDERS, ids=["own", "cases"])
def test_attacks_are_contained(folder, level):
    all_as_expected(folder, level)


@pytest.mark.jail
@pytest.mark.parametrize("level", ["namespace", "landlock"])
@pytest.mark.parametrize("folder", FOLDERS, ids=["own", "cases"])
def test_attacks_are_contained_for_an_ordinary_user(folder, level, other):
    all_as_expected(folder, level, USER, other)


@pytest.mark.parametrize("name", SEEN_FROM_OUTSIDE)
def test_what_gets_through_without_a_jail_is_seen_from_outside(name):
    """The control: a judge who sees nothing would find every jail perfect."""
    (verdict,) = assail([OWN / f"{name}.py"], "none")
    assert not verdict.contained
    assert any(SEEN_FROM_OUTSIDE[name] in breach for breach in verdict.breaches), verdict.breaches


def test_an_attack_that_does_not_run_is_not_contained(tmp_path):
    (tmp_path / "broken.py").write_text("# broken\n# EXPECT: all levels: BLOCKED\nthis is no Python\n")
    (verdict,) = assail([tmp_path / "broken.py"], "none")
    assert "did not run" in verdict.failure and not verdict.as_expected


def test_the_attackers_word_counts_where_nothing_else_can_tell(tmp_path):
    (tmp_path / "a.py").write_text("# a\n# EXPECT: none=BLOCKED\nprint('ATTACK SUCCESS I hold a descriptor')\n")
    (tmp_path / "b.py").write_text("# b\n# EXPECT: none: harmless\nprint('ATTACK SUCCESS I wrote my own file')\n")
    assert [verdict.as_expected for verdict in assail(sorted(tmp_path.glob("*.py")), "none")] == [False, True]


def test_a_harness_that_is_killed_is_seen(tmp_path):
    (tmp_path / "k.py").write_text(
        "# k\n# EXPECT: none=BLOCKED\nimport json, os\nos.kill(json.loads(os.environ['ATTACK_TARGETS'])['ppid'], 9)\n"
    )
    (verdict,) = assail([tmp_path / "k.py"], "none")
    assert "the harness was killed by signal 9" in verdict.breaches and not verdict.as_expected


def test_an_end_by_another_limit_is_not_as_expected(tmp_path):
    (tmp_path / "e.py").write_text("# e\n# EXPECT: all levels: timeout\nprint('done')\n")
    (verdict,) = assail([tmp_path / "e.py"], "none")
    assert verdict.breaches == ("ended by itself, not by time",) and not verdict.as_expected


@pytest.mark.parametrize("disguise", [str, lambda s: s[::-1], lambda s: s.encode().hex(), str.upper])
def test_a_secret_is_found_in_disguise(disguise):
    assert traces.forms(("SECRET-0123456789abcdef",)).search(f"x{disguise('SECRET-0123456789abcdef')}y")


@pytest.mark.parametrize("before", ["", "a", "ab"])
def test_a_secret_is_found_in_base64_wherever_it_begins(before):
    import base64

    text = base64.b64encode(f"{before}0123456789abcdef and more".encode()).decode()
    assert traces.forms(("SECRET-0123456789abcdef",)).search(text)


@pytest.mark.parametrize(
    ("text", "abi", "demand", "end"),
    [
        ("SUCCESS", 7, Demand.OPEN, None),
        ("BLOCKED", 7, Demand.STRICT, None),
        ("BLOCKED(own netns)", 7, Demand.STRICT, None),
        ("BLOCKED(writes land on private tmpfs at most)", 7, Demand.OUTSIDE, None),
        ("BLOCKED on ABI>=6, SUCCESS below", 7, Demand.STRICT, None),
        ("BLOCKED on ABI>=6, SUCCESS below", 5, Demand.OPEN, None),
        ("SUCCESS on ABI<9 (HOLE: by path)", 7, Demand.OPEN, None),
        ("SUCCESS on ABI<9 (HOLE: by path)", 9, Demand.STRICT, None),
        ("SUCCESS below ABI 6", 6, Demand.STRICT, None),
        ("BLOCKED from ABI 4", 3, Demand.OPEN, None),
        ("BLOCKED (ABI 6+)", 6, Demand.STRICT, None),
        ("BLOCKED if it lives outside (a copy inside is writable: HOLE by layout)", 7, Demand.OUTSIDE, None),
        ("BLOCKED(own env is clean) but ancestors readable", 7, Demand.OPEN, None),
        ("BLOCKED (not reachable)", 7, Demand.STRICT, None),
        ("real /dev/shm is reachable (RAM!)", 7, Demand.OPEN, None),
        ("not reachable", 7, Demand.OUTSIDE, None),
        ("depends", 7, Demand.OPEN, None),
        ("n/a", 7, Demand.OPEN, None),
        ("harmless (bytes kept)", 7, Demand.OUTSIDE, None),
        ("timeout", 7, Demand.OUTSIDE, Stopped.TIME),
        ("output_limit", 7, Demand.OUTSIDE, Stopped.OUTPUT),
        ("output_limit or ok with a bounded tail", 7, Demand.OUTSIDE, None),
        ("killed by the disk watchdog (RLIMIT_FSIZE bounds each file)", 7, Demand.OUTSIDE, Stopped.DISK),
    ],
)
def test_what_a_text_demands(text, abi, demand, end):
    got = expected(text, abi)
    assert (got.demand, got.end) == (demand, end)


@pytest.mark.parametrize(
    ("line", "demands"),  # of none, landlock, namespace
    [
        ("none=SUCCESS landlock=BLOCKED namespace=BLOCKED", (Demand.OPEN, Demand.STRICT, Demand.STRICT)),
        ("none/landlock: reachable namespace=BLOCKED", (Demand.OPEN, Demand.OPEN, Demand.STRICT)),
        ("none: SUCCESS landlock: same", (Demand.OPEN, Demand.OPEN, Demand.STRICT)),
        ("all levels: BLOCKED (none/landlock by sweep)", (Demand.STRICT,) * 3),
        ("none=SUCCESS all levels: harmless", (Demand.OPEN, Demand.OUTSIDE, Demand.OUTSIDE)),
        ("none=depends; namespace and landlock: BLOCKED", (Demand.OPEN, Demand.STRICT, Demand.STRICT)),
        ("BLOCKED everywhere", (Demand.STRICT,) * 3),
        ("", (Demand.STRICT,) * 3),
    ],
)
def test_which_text_is_a_levels(line, demands):
    header = read(f"# name\n# MUST HAPPEN: nothing\n# EXPECT: {line}\nimport os\n")
    assert tuple(header.at(level, 7).demand for level in ("none", "landlock", "namespace")) == demands
