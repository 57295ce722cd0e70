"""A user of its own for each program: nobody else's, and the owner of what it is given and of nothing else."""

import contextlib
import ctypes
import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import identity, leftovers
from sandbox.spec import SandboxError

ROOT = Path(__file__).resolve().parents[1]
USER = 58_123
as_root = pytest.mark.skipif(not identity.can_change(), reason="only root gives files away")


@pytest.fixture
def small_range(monkeypatch):
    """Three numbers that no other process of the tests claims."""
    first = 30_000 + os.getpid() % 5000 * 3
    monkeypatch.setattr(identity, "USERS", range(first, first + 3))
    return identity.USERS


def owners(folder):
    found = {folder.name: folder.lstat().st_uid}
    return found | {path.name: path.lstat().st_uid for path in folder.rglob("*")}


def test_two_runs_at_once_are_different_users():
    with identity.claimed() as one, identity.claimed() as other:
        assert one != other and {one, other} <= set(identity.USERS)


def test_a_user_can_be_claimed_again_when_the_first_has_ended(small_range):
    for _ in range(2 * len(small_range)):
        with identity.claimed():
            pass


def test_when_all_are_taken_that_is_told(small_range):
    told = f"no free user between {small_range[0]} and {small_range[2]}"
    with contextlib.ExitStack() as stack:
        for _ in small_range:
            stack.enter_context(identity.claimed())
        with pytest.raises(SandboxError, match=told), identity.claimed():
            pass


def test_a_killed_run_gives_its_user_back(small_range):
    code = (
        f"import sys, time; sys.path.insert(0, {str(ROOT)!r}); from sandbox import identity\n"
        f"identity.USERS = range({small_range.start}, {small_range.stop})\n"
        "with identity.claimed(), identity.claimed(), identity.claimed(): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(SandboxError), identity.claimed():
            pass
        holder.kill()
        holder.wait()
    with identity.claimed() as user:
        assert user in small_range


@pytest.mark.parametrize("name", ["pw_uid", "pw_gid"])
def test_nobody_whom_the_machine_knows_is_taken(monkeypatch, name):
    someone = next(entry for entry in pwd.getpwall() if entry.pw_uid)
    monkeypatch.setattr(identity, "USERS", range(getattr(someone, name), getattr(someone, name) + 1))
    with pytest.raises(SandboxError), identity.claimed():
        pass


@as_root
@pytest.mark.parametrize("how", ["user", "group"])
def test_nobody_who_runs_something_is_taken(small_range, how):
    """A group of that number is the same: files are given to both."""
    with subprocess.Popen(["sleep", "60"], **{how: small_range[1]}) as sleeper:
        try:
            claimed = []
            for _ in range(20):
                with identity.claimed() as user:
                    claimed.append(user)
        finally:
            sleeper.kill()
    assert small_range[1] not in claimed


@as_root
@pytest.mark.parametrize("what", ["file", "shared memory"])
def test_nobody_to_whom_something_belongs_in_a_shared_folder_is_taken(small_range, tmp_path, monkeypatch, what):
    """It would be removed as the program's own."""
    monkeypatch.setattr(leftovers, "FOLDERS", (tmp_path,))
    kept = tmp_path / "of somebody else"
    kept.touch()
    with belongings(what, kept, small_range[1]) as there:
        for _ in range(20):
            with identity.claimed() as user:
                assert user != small_range[1]
        assert there()


@contextlib.contextmanager
def belongings(what, path, user):
    """A file or an object of System V that belongs to `user`; gives a question whether it is still there."""
    if what == "file":
        os.chown(path, user, user)
        yield path.exists
        return
    libc = ctypes.CDLL(None)
    if (child := os.fork()) == 0:
        os.setresuid(user, user, user)
        libc.shmget(0, 4096, 0o1600)  # private, to be made
        os._exit(0)
    os.waitpid(child, 0)
    assert len(leftovers.segments("shm", user)) == 1
    try:
        yield lambda: len(leftovers.segments("shm", user)) == 1
    finally:
        leftovers.remove(user)


@as_root
@pytest.mark.parametrize("under_way", [None, SandboxError("processes do not die")])
def test_what_cannot_be_removed_is_told_and_hides_no_error(small_range, monkeypatch, under_way):
    """Played by the descriptors of a process: entries that belong to the user and that nobody can remove."""
    process = None
    try:
        with pytest.raises(SandboxError) as told, identity.claimed() as user:
            process = subprocess.Popen(["sleep", "60"], user=user, stdin=subprocess.DEVNULL)
            monkeypatch.setattr(leftovers, "FOLDERS", (Path(f"/proc/{process.pid}/fd"),))
            if under_way:
                raise under_way
    finally:
        process.kill()
        process.wait()
    words = under_way.__notes__ if under_way else [str(told.value)]
    assert told.value is under_way or under_way is None
    assert len(words) == 1 and f"/proc/{process.pid}/fd/0" in words[0] and "by hand" in words[0]


@as_root
def test_what_a_user_left_is_gone_when_another_can_have_its_number(tmp_path, monkeypatch):
    monkeypatch.setattr(leftovers, "FOLDERS", (tmp_path,))
    with identity.claimed() as user:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder/file").touch()
        os.chown(tmp_path / "folder", user, user)
    assert not list(tmp_path.iterdir())


def test_the_lock_is_no_file(small_range):
    taken = pytest.raises(OSError, match="in use")
    with identity.claimed() as user, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, taken:
        other.bind(f"\0autoresearch-user-{user}")


@as_root
def test_a_folder_is_given_with_all_that_is_in_it(tmp_path):
    work = tmp_path / "work"
    (work / "a" / "b").mkdir(parents=True)
    (work / "a" / "b" / "file").touch()
    os.mkfifo(work / "fifo")
    identity.give(USER, [work])
    assert set(owners(work).values()) == {USER}
    assert {path.lstat().st_gid for path in work.rglob("*")} == {USER}
    assert tmp_path.stat().st_uid == os.geteuid()


@as_root
def test_no_link_is_followed(tmp_path):
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "file").touch()
    work = tmp_path / "work"
    work.mkdir()
    (work / "folder").symlink_to(outside)
    (work / "file").symlink_to(outside / "file")
    identity.give(USER, [work])
    assert owners(work) == {"work": USER, "folder": USER, "file": USER}
    assert set(owners(outside).values()) == {os.geteuid()}


@as_root
def test_a_folder_that_has_become_a_link_is_refused(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "work").symlink_to(tmp_path / "outside")
    with pytest.raises(SandboxError, match="is a symbolic link"):
        identity.give(USER, [tmp_path / "work"])
    assert set(owners(tmp_path).values()) == {os.geteuid()}


@as_root
def test_a_hard_link_to_a_file_outside_is_refused_before_anything_is_given(tmp_path):
    (tmp_path / "precious").touch()
    work = tmp_path / "work"
    work.mkdir()
    (work / "model.pt").hardlink_to(tmp_path / "precious")
    with pytest.raises(SandboxError, match=r"'model.pt' .* hard link to a file outside"):
        identity.give(USER, [work])
    assert set(owners(tmp_path).values()) == {os.geteuid()}


@as_root
def test_hard_links_among_the_folders_are_given(tmp_path):
    """A program may make them, and its folder is then given to the next one."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    (one / "last.pt").touch()
    (one / "best.pt").hardlink_to(one / "last.pt")
    (other / "best.pt").hardlink_to(one / "last.pt")
    identity.give(USER, [one, other])
    assert set(owners(one).values()) | set(owners(other).values()) == {USER}


@as_root
def test_a_device_stays_roots(tmp_path):
    try:
        os.mknod(tmp_path / "node", 0o020600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no device can be made here")
    identity.give(USER, [tmp_path])
    assert owners(tmp_path) == {tmp_path.name: USER, "node": 0}


@as_root
def test_a_very_deep_tree_is_no_trouble(tmp_path):
    """A program can make one: deeper than a path is long, or Python recurses, or files can be open."""
    home = Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(3000):
            Path("d").mkdir()
            os.chdir("d")
    finally:
        os.chdir(home)
    try:
        identity.give(USER, [tmp_path])
        assert (tmp_path / "d/d/d").stat().st_uid == USER
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path)], check=True)


@as_root
def test_what_cannot_be_given_is_told_with_the_next_step(tmp_path):
    with pytest.raises(SandboxError, match=r"cannot be given .*gone.*No such file.*: keep runs elsewhere"):
        identity.give(USER, [tmp_path / "gone"])


@as_root
def test_one_file_can_be_given(tmp_path):
    (tmp_path / "file").touch()
    identity.give(USER, [tmp_path / "file"])
    assert owners(tmp_path) == {tmp_path.name: os.geteuid(), "file": USER}


def answer_of(*line):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from sandbox import identity; print(identity.can_change())"
    return subprocess.run([*line, sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()


@as_root
@pytest.mark.parametrize(
    "line",
    [
        ("setpriv", "--bounding-set", "-setuid", "--inh-caps", "-setuid"),
        ("setpriv", "--bounding-set", "-chown", "--inh-caps", "-chown"),
        ("unshare", "--user", "--map-root-user"),
    ],
)
def test_a_root_who_cannot_become_others_is_told_apart(line):
    assert answer_of("env") == "True"
    assert answer_of(*line) == "False"
