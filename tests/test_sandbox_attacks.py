"""Attacks, run as trials at every level, as root and as an ordinary user, judged from outside; and the judge's eyes."""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from sandbox_kit import CASES

from sandbox import leftovers
from sandbox.attacks import traces
from sandbox.attacks.assault import assail
from sandbox.attacks.expectations import Demand, expected, read
from sandbox.attacks.family import Family, adopting
from sandbox.identity import claimed
from sandbox.jail import pick
from sandbox.processes import born
from sandbox.spec import JailUnavailable, Stopped

ROOT = Path(__file__).resolve().parent.parent
OWN = ROOT / "tests/attacks"
FOLDERS = [OWN, CASES / "attacks"]
SECONDS = 400  # for a folder of them on a busy machine: about 30 on a calm one
# whose trials are the same user as the supervisor and the victim: these may come out otherwise
OF_AN_ORDINARY_USER = (1, 4, 5, 6, 7, 8, 12, 13, 14, 15, 16, 18, 20, 21, 22, 23, 26, 27, 30, 32, 34)
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
            [*change, python, "-c", "import click, agent.cli"], capture_output=True, cwd="/", timeout=60
        )
        if tried and tried.returncode == 0:
            return [*change, str(python), *line]
    pytest.skip(f"no Python here that user {user} can run the agent with")


@pytest.fixture
def other():
    """A user who is nobody else, and an empty home; all that this user leaves on the machine goes with it."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can become another user, with setpriv")
    with claimed() as user:
        home = Path(f"/var/tmp/home-of-{user}")
        home.mkdir()
        os.chown(home, user, user)
        yield user, home
        leftovers.remove(user)


def all_as_expected(folder: Path, level: str, user: int | None = None, home: Path = Path("/")) -> None:
    if not folder.is_dir():
        pytest.skip(f"no {folder} beside this checkout")
    with contextlib.suppress(JailUnavailable):
        pick(level)
        line = command(folder, level, user, home)
        ran = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=SECONDS)
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
    if folder == OWN:
        folder = other[1] / "attacks"
        folder.mkdir()
        for number in OF_AN_ORDINARY_USER:
            (path,) = OWN.glob(f"b{number:02}_*.py")
            shutil.copy(path, folder)
    all_as_expected(folder, level, *other)


@pytest.mark.jail
def test_an_ordinary_user_is_not_left_out_where_one_can_be_had(other):
    """The tests above skip where they must; here none may: root, setpriv and bubblewrap are all they need."""
    if not shutil.which("bwrap"):
        pytest.skip("no bubblewrap here")
    try:
        line = command(OWN / "b03_terminal_escapes.py", "auto", *other)
    except pytest.skip.Exception as error:
        pytest.fail(f"the attacks of an ordinary user are all left out: {error}")
    ran = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=SECONDS)
    assert ran.stdout.endswith("1 of 1 as expected\n"), ran.stdout + ran.stderr


@pytest.mark.parametrize("what", ["oom", "sandbox"])
def test_a_folder_that_cannot_be_measured_is_the_users_to_mend(what, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "silent").mkdir()
    (tmp_path / "silent/a.py").write_text("print('no header')\n")
    for name, said in ("empty", "there are no "), ("silent", "does not say "), ("missing", "there is no "):
        line = [sys.executable, "-m", "agent", "bench", what, str(tmp_path / name)]
        ran = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=60)
        assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1), ran
        assert said in ran.stderr and str(tmp_path / name) in ran.stderr and ": " in ran.stderr


@pytest.mark.parametrize("name", SEEN_FROM_OUTSIDE)
def test_what_gets_through_without_a_jail_is_seen_from_outside(name):
    """The control: a judge who sees nothing would find every jail perfect."""
    (verdict,) = assail([OWN / f"{name}.py"], "none")
    assert not verdict.contained
    assert any(SEEN_FROM_OUTSIDE[name] in breach for breach in verdict.breaches), verdict.breaches


TOKEN = "0123456789abcdef"


def shared_memory(key: int) -> int:
    number = ctypes.CDLL(None).shmget(key, 4096, 0o1600)  # IPC_CREAT
    assert number >= 0
    return number


def test_what_others_make_meanwhile_is_told_and_left(tmp_path, monkeypatch):
    """Only what bears the victim's token is surely the attack's where it is the same user as everybody else."""
    monkeypatch.setattr(traces, "SHARED", (str(tmp_path),))
    before = traces.machine()
    key = traces.key_of(TOKEN)
    theirs, its = shared_memory(key ^ os.getpid()), shared_memory(key)
    try:
        for name in "notes-of-mine", f"notes-{TOKEN}":
            (tmp_path / name).mkdir()
            (tmp_path / name / "file").touch()
        after = traces.machine()
        made = traces.new(before, after, "open('notes-of-mine')", os.geteuid(), TOKEN)
        ipc = traces.new_ipc(before, after, os.geteuid())
        assert made == [str(tmp_path / f"notes-{TOKEN}"), str(tmp_path / "notes-of-mine")]
        assert {theirs, its} <= {one.number for one in ipc}
        traces.remove(made, ipc, before, os.geteuid(), TOKEN)
        left = {one.number for one in traces.machine().ipc}
        assert theirs in left and its not in left
        assert [path.name for path in tmp_path.iterdir()] == ["notes-of-mine"]
    finally:
        for number in theirs, its:
            ctypes.CDLL(None).shmctl(number, traces.IPC_RMID, None)


BYSTANDER = """
import glob, os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
for _ in range(1000):
    if glob.glob(sys.argv[1] + "/attacked-*/harness/sock"):
        break
    time.sleep(0.02)
time.sleep(0.3)
if os.fork():
    os._exit(0)
os.chdir(glob.glob(sys.argv[1] + "/attacked-*/runs")[0])
open(sys.argv[2], "w").write(str(os.getpid()))
time.sleep(60)
"""


def test_a_bystander_is_told_and_not_killed():
    """An indexer or a shell may look at the victim's folder: it is none of the attack's processes."""
    with tempfile.TemporaryDirectory(prefix="t-") as name:  # short: a socket's path has 107 bytes
        folder = Path(name)
        until = f"import os, time\nwhile not os.path.exists({str(folder / 'pid')!r}):\n    time.sleep(0.02)\n"
        (folder / "a.py").write_text(f"# a\n# EXPECT: all levels: BLOCKED\n{until}time.sleep(0.1)\n")
        line = [sys.executable, "-I", "-S", "-c", BYSTANDER, str(folder), str(folder / "pid")]
        subprocess.run(line, check=True, timeout=60)
        (verdict,) = assail([folder / "a.py"], "none", folder)
        pid = int((folder / "pid").read_text())
        try:
            assert any(f"process {pid} has to do with the victim" in breach for breach in verdict.breaches), verdict
            assert born(pid) is not None
        finally:
            os.kill(pid, signal.SIGKILL)


def test_an_orphan_comes_back_to_the_judge_and_is_ended():
    with adopting():
        family = Family()
        line = ["sh", "-c", "setsid sleep 60 > /dev/null 2>&1 & echo $!"]
        pid = int(subprocess.run(line, stdout=subprocess.PIPE, check=True, timeout=60).stdout)
        assert family.alive(os.geteuid()) == {pid}
        family.end(os.geteuid())
        assert not Path(f"/proc/{pid}").exists()


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
