"""The landlock level with mounts of its own: what is hidden, what stays, what is private, and that it is counted."""

import dataclasses
import shutil
import tempfile
from pathlib import Path

import pytest
from sandbox_kit import Runner

from sandbox import covers, identity, landlock, ruleset
from sandbox.covers import Place
from sandbox.spec import JailUnavailable, Limits, Mount, Promise, SandboxError, Stopped

MIB = 2**20
pytestmark = [
    pytest.mark.jail,
    pytest.mark.skipif(ruleset.abi() == 0, reason="this kernel has no Landlock"),
    pytest.mark.skipif(not identity.can_change() or not covers.possible(), reason="only root that may mount"),
]


@pytest.fixture
def jail():
    try:
        return landlock.probe()
    except JailUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def inside(jail, tmp_path):
    assert jail.mounts
    return Runner(jail, tmp_path)


@pytest.fixture
def elsewhere():
    """A folder that is not in a private one."""
    folder = Path(tempfile.mkdtemp(prefix="mounts-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_of_closed_folders_nothing_exists_but_what_is_allowed(jail, elsewhere):
    closed = elsewhere / "closed"
    for name in ("closed/work", "closed/data", "closed/deep/deeper/shown", "closed/deep/secret", "closed/secret"):
        (elsewhere / name).mkdir(parents=True)
        (elsewhere / name / "x").write_text(name)
    for folder in (closed / "deep/deeper", closed / "deep", closed):
        folder.chmod(0o700)
    shown = closed / "deep/deeper/shown"
    mounts = (Mount(shown, str(shown), writable=True), Mount(closed / "data/x", str(closed / "data/x")))
    code = f"""
import os
os.chdir({str(closed)!r})
for path in ('secret', 'secret/x', 'deep/secret', 'deep/secret/x', 'data/x', 'deep/deeper/shown/x', 'work/train.py'):
    print(path, os.path.exists(path))
open('deep/deeper/shown/y', 'w').write('y'); print(open('data/x').read())
for path in ('new', 'deep/new', 'data/new', 'data/x'):
    try: open(path, 'w'); print('wrote', path)
    except OSError: pass
print(*[line.split()[1] for line in open('/proc/self/status') if line.startswith(('CapEff', 'CapBnd'))])
"""
    ran = Runner(jail, closed)(code, mounts=mounts)
    hidden = ["secret", "secret/x", "deep/secret", "deep/secret/x"]
    kept = ["data/x", "deep/deeper/shown/x", "work/train.py"]
    told = [*(f"{path} False" for path in hidden), *(f"{path} True" for path in kept), "closed/data"]
    assert ran.lines == [*told, "0" * 16 + " " + "0" * 16]
    assert (shown / "y").read_text() == "y"  # and outside all is as it was
    assert (closed / "secret/x").read_text() == "closed/secret" and closed.stat().st_mode & 0o777 == 0o700


def test_what_is_shown_below_a_private_folder_cannot_be_changed(inside):
    """The program may write to all of /tmp: there only the mount keeps it from what is everybody's to write."""
    assert str(inside.folder).startswith("/tmp/"), "this test is about a folder in /tmp"
    shown = inside.folder / "shown"
    shown.write_text("ours")
    shown.chmod(0o666)
    code = f"""
open('/tmp/mine', 'w').write('x')
try: open({str(shown)!r}, 'a').write('x'); print('written')
except OSError: print('refused')
"""
    assert inside(code, mounts=(Mount(shown, str(shown)),)).lines == ["refused"]
    assert shown.read_text() == "ours"


def test_temporary_folder_and_shared_memory_are_its_own_and_of_a_size(inside):
    name = f"test-{inside.tag}"
    theirs = [Path(folder) / f"theirs-{inside.tag}" for folder in ("/tmp", "/dev/shm")]
    code = f"""
import os
for folder in ('/tmp', '/dev/shm'):
    print(os.path.exists(folder + '/theirs-{inside.tag}'), oct(os.stat(folder).st_mode))
    open(f'{{folder}}/{name}', 'w').write('x')
    status = os.statvfs(folder)
    print(status.f_blocks * status.f_frsize, status.f_files)
print(os.listdir('/dev/shm'))
"""
    try:
        for path in theirs:
            path.touch()
        ran = inside(code, limits=Limits(512 * MIB, files=5000))
    finally:
        for path in theirs:
            path.unlink()
    assert ran.lines == ["False 0o41777", f"{128 * MIB} 5000"] * 2 + [f"['{name}']"]
    assert not any((Path(folder) / name).exists() for folder in ("/tmp", "/dev/shm"))


def test_what_lies_in_private_folders_counts_as_memory(inside):
    assert Promise.MEMORY in inside.jail.promises()
    code = """
import time
for path in ('/tmp/x', '/dev/shm/x'):
    open(path, 'wb').write(bytes(60 << 20))
print('written', flush=True)
own = bytearray(b'x' * (%d << 20))
time.sleep(%d)
"""
    held = inside(code % (1, 1), limits=Limits(256 * MIB))
    assert held.evidence.stopped is None and held.evidence.peak_memory_bytes > 120 * MIB
    over = inside(code % (160, 20), limits=Limits(256 * MIB))
    assert over.evidence.stopped is Stopped.MEMORY and over.lines == ["written"]


def test_nothing_of_its_mounts_is_seen_outside_or_stays(inside):
    before = Path("/proc/self/mountinfo").read_text()
    during = []
    watch = {"on_line": lambda _: during.append(Path("/proc/self/mountinfo").read_text())}
    inside("print(open('/proc/self/mountinfo').read().count('tmpfs') and 'here')", watch=watch)
    assert during == [before] and Path("/proc/self/mountinfo").read_text() == before


def test_the_keeper_still_ends_everything_of_the_program(inside):
    code = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0: time.sleep(60)
print('up', flush=True); time.sleep(60)
"""
    ran = inside(code, seconds=1.0)
    assert ran.evidence.stopped is Stopped.TIME and ran.left == [] and ran.seconds < 5


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (("--keep", "read", "/no/such/file", "/tmp/x"), "taking /no/such/file"),
        (("--keep", "read", "/usr", "/proc/nowhere"), "nowhere"),
        (("--private", "/dev/shm", "nonsense", "1"), "covering /dev/shm"),
    ],
)
def test_a_mount_that_cannot_be_had_is_a_failure_of_the_house_and_nothing_runs(inside, wrong, complaint):
    broken = Broken(**vars(inside.jail), wrong=wrong)
    with pytest.raises(SandboxError, match=complaint):
        Runner(broken, inside.folder)("open('ran', 'w')")
    assert not (inside.work / "ran").exists()


@dataclasses.dataclass(frozen=True)
class Broken(landlock.Landlock):
    """A jail with a mount that cannot be had."""

    wrong: tuple[str, ...] = ()

    def locks(self, spec):
        return [*super().locks(spec), *self.wrong]


def test_a_link_in_a_closed_folder_does_not_hide_what_it_leads_to(jail, elsewhere):
    closed = elsewhere / "closed"
    (closed / "version-1").mkdir(parents=True)
    (closed / "version-1/x").write_text("x")
    (closed / "current").symlink_to("version-1")
    closed.chmod(0o700)
    data = closed / "current"
    ran = Runner(jail, elsewhere)(f"print(open({str(data / 'x')!r}).read())", mounts=(Mount(data, str(data)),))
    assert ran.lines == ["x"]


def test_what_comes_with_a_folder_is_put_there_once():
    folder, inner, work = Path("/a/b"), Path("/a/b/c"), Path("/a/b/work")
    places = {folder: Place(folder, False), inner: Place(inner, False), work: Place(work, True)}
    places[Path("/z")] = Place(Path("/z"), False)
    assert [path for path, _ in covers.kept(places, [Path("/a")], {})] == [folder, work]
    mask = {folder: Place(Path("/z"), False)}
    assert covers.kept(places, [], mask) == [(folder, mask[folder]), (inner, places[inner]), (work, places[work])]
    assert covers.outermost([folder, inner, Path("/c")]) == [folder, Path("/c")]
    assert covers.shut([Path("/usr/bin/env")]) == set()


def test_files_in_closed_mounts_that_others_may_not_read_cost_the_form(elsewhere):
    """What no mount opens: the probe looks into the folders that a trial will read."""
    (elsewhere / "data").mkdir()
    (elsewhere / "data/x").touch(0o600)
    (elsewhere / "data/x").chmod(0o600)
    assert landlock.probe((elsewhere, elsewhere / "data")).searching
    (elsewhere / "data/x").chmod(0o644)
    assert landlock.probe((elsewhere, elsewhere / "data")).mounts
