"""Control groups: where they may be made, what they stop, what they leave.

Three kinds of test: of what is decided from texts and folders; of groups without controllers, in any cgroup v2 tree
that may be written to; and of real limits, where this machine delegates them.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from functools import partial
from pathlib import Path, PurePosixPath

import pytest

from sandbox import cgroup, launch, systemd
from sandbox.cgroup import clear, delegation, located, made, offered, settled, strangers
from sandbox.group import Group, discard, kill_each, members
from sandbox.meter import Meter
from sandbox.processes import born
from sandbox.spec import Limits, SandboxError
from sandbox.systemd import NotDelegated
from sandbox.tree import Tree

MIB = 2**20
ROOT = Path(__file__).resolve().parent.parent
RESPAWNER = "import os\nwhile True:\n    if os.fork(): os._exit(0)\n    os.setsid()"
GO = "import sys; sys.stdin.readline()\n"  # as a trial: nothing runs before it is in its group


def until(true, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not (answer := true()) and time.monotonic() < end:
        time.sleep(0.005)
    return bool(answer)


@contextlib.contextmanager
def program(code: str, group: Group):
    """A Python program in `group` from its first line on."""
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", GO + code], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        group.add([child.pid])
        child.stdin.write(b"\n")
        child.stdin.flush()
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdin.close()


# --- decided from texts and folders ---


@pytest.fixture
def tree(tmp_path):
    """A folder that stands for a mounted cgroup v2."""
    (tmp_path / "a b" / "own").mkdir(parents=True)
    return tmp_path


def mountinfo(root: str, point: Path, kind: str = "cgroup2") -> str:
    escaped = str(point).replace(" ", "\\040")
    return f"23 1 0:1 / / rw - ext4 /dev/vda rw\n31 23 0:2 {root} {escaped} rw,nosuid shared:9 - {kind} cgroup rw\n"


@pytest.mark.parametrize(
    ("inside", "root", "point", "folder"),
    [
        ("/a b/own", "/", ".", "a b/own"),
        ("/", "/", ".", "."),
        ("/own", "/", "a b", "a b/own"),  # the mount point is written with an escape
        ("/docker/1/own", "/docker/1", "a b", "a b/own"),  # a bind mount of a part
    ],
)
def test_own_group_is_found_below_its_mount(tree, inside, root, point, folder) -> None:
    text = f"4:memory:/elsewhere\n0::{inside}\n"
    assert located(text, mountinfo(root, tree / point)) == tree / folder


@pytest.mark.parametrize(
    ("text", "root", "kind"),
    [
        ("4:memory:/own\n", "/", "cgroup2"),  # cgroup v1 alone
        ("0::/own\n", "/", "cgroup"),
        ("0::/docker/12/own\n", "/docker/1", "cgroup2"),  # a name that only begins like the mounted part
        ("0::/../own\n", "/", "cgroup2"),  # outside of our cgroup namespace
        ("0::/gone (deleted)\n", "/", "cgroup2"),
    ],
)
def test_own_group_that_is_not_shown_is_not_guessed(tree, text, root, kind) -> None:
    (tree / "own").mkdir()
    with pytest.raises(NotDelegated, match="no cgroup v2"):
        located(text, mountinfo(root, tree, kind))


def test_controllers_held_by_cgroup_v1_are_told(tree) -> None:
    (tree / "cgroup.controllers").write_text("hugetlb pids\n")
    with pytest.raises(NotDelegated, match="memory are not offered.*v1") as told:
        offered(tree, "4:cpu,memory:/x\n0::/\n")
    assert "unified_cgroup_hierarchy" in told.value.advice
    with pytest.raises(NotDelegated) as told:
        offered(tree, "0::/\n")
    assert "unified" not in told.value.advice


def test_offered_controllers_are_enough(tree) -> None:
    (tree / "cgroup.controllers").write_text("cpu memory pids\n")
    offered(tree, "0::/\n")


def test_only_this_process_and_its_children_are_ours(tree) -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        (tree / "cgroup.procs").write_text(f"{os.getpid()}\n{child.pid}\n{os.getppid()}\n0\n")
        assert strangers(tree) == [os.getppid(), 0]
    finally:
        child.kill()
        child.wait()


def test_group_that_cannot_be_written_to_is_not_ours(tree, monkeypatch) -> None:
    (tree / "cgroup.controllers").write_text("memory pids")
    (tree / "cgroup.subtree_control").symlink_to("/dev/full")
    monkeypatch.setattr(systemd, "RUNS", tree / "none")
    with pytest.raises(NotDelegated, match="not ours to divide"):
        settled(tree)


def test_agent_below_an_agent_makes_its_groups_beside_it(tree) -> None:
    leaf = tree / f"agent-17-{cgroup.LEAF}"
    leaf.mkdir()
    assert settled(leaf)[0] == tree


SCOPE = "/user.slice/user-7.slice/user@7.service/app.slice/vte-spawn-1.scope"


@pytest.mark.parametrize(
    ("group", "user", "lingers"),
    [
        (SCOPE, 7, False),  # our life is tied to that of the user's systemd already
        ("/user.slice/user-7.slice/session-3.scope", 7, True),
        ("/user.slice/user-7.slice/session-3.scope", 0, False),
        ("/system.slice/run-r12ab.scope", 0, False),
    ],
)
def test_process_of_a_terminal_may_be_moved(group, user, lingers) -> None:
    systemd.check(PurePosixPath(group), user, lingers)


@pytest.mark.parametrize(
    ("group", "user", "lingers", "advice"),
    [
        ("/user.slice/user-7.slice/session-3.scope", 7, False, "enable-linger"),  # it would die with the last login
        (SCOPE, 8, False, "systemd-run --user"),  # of another user's systemd
        ("/system.slice/nightly.service", 0, False, "Delegate=yes"),
        ("/user.slice/user-7.slice/user@7.service/app.slice/editor.service", 7, True, "Delegate=yes"),
        ("/system.slice/slurmstepd.scope", 0, False, "systemd-run --scope"),
        ("/system.slice/slurmstepd.scope/job_7/step_0", 7, True, "systemd-run --user"),  # a batch system counts on us
        ("/system.slice/docker-0123abcd.scope", 0, False, "systemd-run --scope"),
        ("/", 0, False, "systemd-run --scope"),
    ],
)
def test_process_that_would_lose_by_a_move_is_left_alone(group, user, lingers, advice) -> None:
    with pytest.raises(NotDelegated) as told:
        systemd.check(PurePosixPath(group), user, lingers)
    assert advice in told.value.advice


def test_delegation_says_what_would_help_where_there_is_none() -> None:
    found = delegation()
    assert found.how
    assert found.works == (not found.advice)
    assert delegation() is found


def test_files_that_cannot_be_read_mean_that_there_are_no_groups(tree, monkeypatch) -> None:
    """A kernel without control groups, or a /proc that hides them: told, with the next step."""
    monkeypatch.setattr(cgroup, "CGROUP", tree / "none")
    found = cgroup._settled.__wrapped__()
    assert not found.works and found.advice and str(tree / "none") in found.how


def test_trying_needs_no_program_of_the_machine(tree, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tree))
    with pytest.raises(NotDelegated, match="does not do"):
        cgroup.tried(tree)


class Shut(Group):
    """A group which the kernel lets nobody kill."""

    def kill(self) -> None:
        raise PermissionError(self.path)


@pytest.fixture
def sleeper():
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield child
    child.kill()
    child.wait()


def test_group_that_does_not_take_the_stroke_is_killed_one_by_one(tmp_path, monkeypatch, sleeper) -> None:
    monkeypatch.setattr("sandbox.group.PATIENCE_SECONDS", 0.05)
    (tmp_path / "cgroup.kill").mkdir()  # an error on writing, whoever we are
    (tmp_path / "cgroup.procs").write_text(f"{sleeper.pid}\n")
    Group(tmp_path).kill()
    assert sleeper.wait(10) == -signal.SIGKILL


HELD = "import subprocess, time; subprocess.Popen(['sleep', '60']); print('ready', flush=True); time.sleep(60)"


def held(group: Group | None) -> Tree:
    """A process and its child, neither of which hears anything."""
    line = [sys.executable, "-I", "-S", "-c", HELD]
    return Tree(line, dict(os.environ), partial(Meter, token=uuid.uuid4().hex), group)


def two(tree: Tree) -> list[int]:
    """Both of them."""
    assert os.read(tree.output, 100) == b"ready\n"
    assert len(both := tree.meter.everyone()) == 2
    return both


def test_nobody_is_left_when_the_group_cannot_be_killed(tmp_path) -> None:
    with pytest.raises(PermissionError), held(Shut(tmp_path)) as tree:
        both = two(tree)
    assert [born(pid) for pid in both] == [None, None]


def test_nobody_is_left_where_processes_cannot_be_waited_for_by_descriptor(monkeypatch) -> None:
    """Containers refuse `pidfd_open`, and old kernels do not have it."""

    def refused(_: int) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "pidfd_open", refused)
    with held(None) as tree:
        both = two(tree)
    assert [born(pid) for pid in both] == [None, None]


# --- groups without controllers, in any tree that may be written to ---


@pytest.fixture
def group():
    """A group of our own, if only one without limits; the test may remove it, and nothing of it stays."""
    try:
        group = Group((delegation().home or cgroup.own()) / f"agent-{os.getpid()}-{uuid.uuid4().hex}")
        group.path.mkdir()
    except (NotDelegated, OSError) as error:
        pytest.skip(f"no cgroup v2 tree may be written to: {error}")
    try:
        if not (group.path / "cgroup.procs").exists():
            pytest.skip("not a cgroup v2 tree")
        yield group
    finally:
        kill_each(group.path)
        until(lambda: discard(group.path) or not group.path.exists())
        assert not group.path.exists()


def populated(group: Group) -> bool:
    return "populated 1" in (group.path / "cgroup.events").read_text()


def test_what_a_member_starts_is_a_member(group) -> None:
    with program("import os; os.fork() or os.setsid(); sys.stdin.read()", group):
        assert until(lambda: len(members(group.path)) == 2)


def test_ended_process_is_passed_over(group) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    group.add([child.pid])
    assert members(group.path) == []


def test_process_that_cannot_be_added_is_an_error_of_the_house(group) -> None:
    group.path.rmdir()
    with pytest.raises(SandboxError, match="agent doctor"):
        group.add([os.getpid()])


@pytest.mark.parametrize("kill", [Group.kill, lambda group: kill_each(group.path)], ids=["at once", "one by one"])
def test_kill_reaches_who_always_forks_and_leaves(group, kill) -> None:
    with program(RESPAWNER, group) as child:
        child.wait()
        assert until(lambda: populated(group))
        kill(group)
        assert until(lambda: not populated(group))


def test_kill_reaches_groups_below(group) -> None:
    below = Group(group.path / "below")
    below.path.mkdir()
    with program("sys.stdin.read()", below) as child:
        kill_each(group.path)
        assert child.wait(10) == -signal.SIGKILL


def test_removal_kills_and_takes_groups_below_with_it(group) -> None:
    below = Group(group.path / "below")
    below.path.mkdir()
    with program(RESPAWNER, below) as child:
        child.wait()
        group.remove()
        assert not group.path.exists()


def test_group_that_cannot_be_removed_is_an_error_of_the_house(tmp_path, monkeypatch) -> None:
    (tmp_path / "in the way").write_text("")
    monkeypatch.setattr("sandbox.group.PATIENCE_SECONDS", 0.05)
    with pytest.raises(SandboxError, match="cannot be removed"):
        Group(tmp_path).remove()


def age(folder: Path) -> None:
    """Has a folder look as if nobody had touched it for an hour."""
    os.utime(folder, (folder.stat().st_atime - 3600, folder.stat().st_mtime - 3600))


def test_fresh_group_of_somebody_whom_we_cannot_see_stays(tmp_path) -> None:
    """Its agent may live in another container, and be about to fill it."""
    fresh, old = (tmp_path / f"agent-{2**22 + 1}-{name}" for name in ("aa", "bb"))  # no number of a process on Linux
    fresh.mkdir()
    old.mkdir()
    age(old)
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [fresh.name]


def test_next_agent_clears_what_a_killed_one_left(group) -> None:
    """Empty groups of the dead go; those of the living, those with members and those of others stay."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    names = {
        name: group.path / name for name in (f"agent-{dead.pid}-aa", f"agent-{dead.pid}-bb", "agent-1-cc", "other")
    }
    for path in names.values():
        path.mkdir()
        age(path)
    (names[f"agent-{dead.pid}-aa"] / "below").mkdir()
    age(names[f"agent-{dead.pid}-aa"])
    with program("sys.stdin.read()", Group(names[f"agent-{dead.pid}-bb"])):
        clear(group.path)
        assert sorted(path.name for path in group.path.iterdir() if path.is_dir()) == sorted(
            [f"agent-{dead.pid}-bb", "agent-1-cc", "other"]
        )


# --- real limits ---


@pytest.fixture
def limited():
    """Makes limited groups, where this machine delegates them."""
    found = delegation()
    if not found.works:
        pytest.skip(f"no delegated control groups: {found.how}")
    before = set(found.home.iterdir())
    yield lambda memory=64 * MIB, processes=256: made(uuid.uuid4().hex, Limits(memory, processes=processes))
    assert set(found.home.iterdir()) == before


HOG = "blocks = []\nwhile True: blocks.append(bytearray(b'x' * 2**20))"


def test_memory_hog_dies_and_the_kernel_says_so(limited) -> None:
    with limited() as group, program(HOG, group) as child:
        assert child.wait(60) == -signal.SIGKILL
        assert group.oom_kills() >= 1
        assert 48 * MIB < group.peak_bytes() <= 64 * MIB


def test_group_dies_as_one(limited) -> None:
    """The small process beside the hog goes with it: no half of a trial goes on."""
    with limited() as group, program("sys.stdin.read()", group) as small, program(HOG, group):
        assert small.wait(60) == -signal.SIGKILL
        assert group.oom_kills() >= 2  # the kernel counts the first one twice


def test_files_in_shared_memory_are_counted(limited) -> None:
    name = f"/dev/shm/{uuid.uuid4().hex}"
    code = f"import os\nos.close(0)\nfd = os.open({name!r}, os.O_CREAT | os.O_WRONLY)\nos.unlink({name!r})\n"
    with limited() as group, program(code + "while os.write(fd, b'x' * 2**20): pass", group) as child:
        assert child.wait(60) == -signal.SIGKILL
        assert group.oom_kills() >= 1


def test_quiet_program_has_no_oom_kill_and_a_true_peak(limited) -> None:
    with limited() as group, program("block = b'x' * int(2**25); del block", group) as child:
        assert child.wait(60) == 0
        assert group.oom_kills() == 0
        assert 32 * MIB < group.peak_bytes() < 60 * MIB


def test_killed_by_hand_is_no_oom_kill(limited) -> None:
    with limited() as group, program("sys.stdin.read()", group) as child:
        group.kill()
        assert child.wait(10) == -signal.SIGKILL
        assert group.oom_kills() == 0


def test_fork_bomb_is_stopped(limited, monkeypatch) -> None:
    monkeypatch.setattr("sandbox.launch.POOLS", 1)
    fence = launch.most_tasks(2)
    code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    with limited(processes=2) as group, program(code, group):
        assert until(lambda: "max 0" not in (group.path / "pids.events").read_text())
        assert len(members(group.path)) <= fence
    assert not group.path.exists()


def test_trials_at_a_time_do_not_meet(limited) -> None:
    with (
        limited() as hungry,
        limited() as other,
        program("sys.stdin.read()", other) as calm,
        program(HOG, hungry) as hog,
    ):
        assert hog.wait(60) == -signal.SIGKILL
        assert (other.oom_kills(), calm.poll()) == (0, None)
        assert other.path.parent == hungry.path.parent


def test_error_inside_leaves_no_group(limited) -> None:
    with pytest.raises(ZeroDivisionError), limited() as group, program(RESPAWNER, group) as child:
        child.wait()
        raise ZeroDivisionError
    assert not group.path.exists()


DAEMON = "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nos.fork()\ntime.sleep(60)"


def test_room_is_made_by_moving_our_children_into_a_leaf(limited) -> None:
    with limited() as group, program("sys.stdin.read()", group):
        moving = members(group.path)
        cgroup.enable(group.path)
        leaf = group.path / f"agent-{os.getpid()}-{cgroup.LEAF}"
        assert members(leaf) == moving
        assert {"memory", "pids"} <= set((group.path / "cgroup.subtree_control").read_text().split())


def test_others_are_never_moved(limited) -> None:
    """A process that is no child of ours: no limit and no leaf is made, and our own stay where they were."""
    with limited() as group, program(DAEMON, group) as gone, program("sys.stdin.read()", group):
        gone.wait()
        assert until(lambda: len(members(group.path)) == 3)
        before = sorted(members(group.path))
        with pytest.raises(NotDelegated, match="of others"):
            cgroup.enable(group.path)
        assert sorted(cgroup.lone(group.path)) == before
        assert not [path for path in group.path.iterdir() if path.is_dir()]
        assert (group.path / "cgroup.subtree_control").read_text().strip() == ""


def test_process_that_this_one_starts_finds_the_same_place(limited) -> None:
    """So a pool of workers and several agents in one delegated group do not ask for places of their own."""
    code = "from sandbox.cgroup import delegation; print(delegation().home)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == str(delegation().home)
