"""The landlock level: what it refuses, what it leaves open and says so, and that real work runs in it unchanged.

As root and as an ordinary user, and as far as an older Landlock goes: a kernel can be asked for less than it has.
"""

import dataclasses
import errno
import json
import os
import shutil
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from landlock_house import TRIES
from sandbox_kit import Runner, wait_until_gone

from sandbox import allowed, covers, gaps, identity, landlock, lock, ruleset
from sandbox.landlock import Landlock
from sandbox.spec import JailUnavailable, Limits, Mount, Outcome, Phase, Promise, SandboxError, Spec, Watch
from sandbox.supervise import run

ROOT = Path(__file__).resolve().parents[1]
ORDINARY = 4242
SYSTEM_PYTHON = Path("/usr/bin/python3.11")
NEWEST = ruleset.abi()
REFUSED = {"EACCES", "EPERM", "EXDEV", "ENOSYS", "EAFNOSUPPORT", "EPROTONOSUPPORT", "ENOTSUP", "ENOTTY", "ENXIO"}
REFUSED |= {"ENOENT", "ENODEV"}  # no such thing on this machine
SILENT = {"signal by input", *(name for name in TRIES if name.startswith("change "))}  # the victim tells
OPEN = {"shared memory of others", "socket in the file system"}  # to the caller's own user
OWN = {"file in /tmp", "list temporary files"}  # to who has a /tmp of its own
ABSTRACT = {"abstract socket", "abstract datagram"}
PROTECTED = "NAME = 'ours'\n"
pytestmark = [pytest.mark.jail, pytest.mark.skipif(NEWEST == 0, reason="this kernel has no Landlock")]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
needs_python = pytest.mark.skipif(not SYSTEM_PYTHON.exists(), reason=f"no {SYSTEM_PYTHON}")


@pytest.fixture
def jail(tmp_path):
    try:
        return landlock.probe((tmp_path,))
    except JailUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def inside(jail, tmp_path):
    return Runner(jail, tmp_path)


@pytest.fixture(scope="module")
def ours():
    """A copy of the package, and of the house, that every user can reach."""
    folder = Path("/tmp") / f"landlock-{os.getpid()}"
    shutil.copytree(ROOT / "sandbox", folder / "sandbox", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "tests/landlock_house.py", folder)
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def tried(ours):
    """All attempts, by (form, version), each combination run once."""
    known = {}

    def attempts(form, abi):
        if abi > NEWEST:
            pytest.skip(f"this kernel has Landlock {NEWEST}")
        if (form, abi) not in known:
            known[form, abi] = house(ours, form, abi)
        return known[form, abi]

    return attempts


def house(ours, form, abi):
    python = sys.executable if form in ("mounts", "searching") else str(SYSTEM_PYTHON)
    other = {"user": ORDINARY, "group": ORDINARY, "extra_groups": []} if form == "ordinary" and not os.getuid() else {}
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ours), "PYTHONDONTWRITEBYTECODE": "1"}
    line = [python, str(ours / "landlock_house.py"), "stay" if form == "ordinary" else form, str(abi)]
    done = subprocess.run(line, env=env, cwd="/", capture_output=True, text=True, timeout=120, **other)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def got_through(seen):
    assert set(seen["said"]) == set(TRIES), seen["lines"]
    assert not [said for said in seen["said"].values() if said.startswith("bug")]
    return {name for name, said in seen["said"].items() if said not in REFUSED} - SILENT


def unharmed(seen):
    files = seen["secret"] == "SECRET" and not seen["names"] and not seen["left"] and not seen["changed"]
    return seen["alive"] and seen["limits"] == ["unlimited"] * 2 and files


@as_root
@pytest.mark.parametrize("abi", [NEWEST, 6])
def test_with_mounts_of_its_own_it_gets_through_with_nothing_but_a_tmp_of_its_own(tried, abi):
    if not covers.possible():
        pytest.skip("this root may not mount")
    seen = tried("mounts", abi)
    assert got_through(seen) == OWN and unharmed(seen)


@as_root
@needs_python
@pytest.mark.parametrize("abi", [NEWEST, 6])
def test_a_user_of_its_own_gets_through_with_nothing(tried, abi):
    seen = tried("user", abi)
    assert got_through(seen) == set() and unharmed(seen)


@as_root
@needs_python
@pytest.mark.parametrize("abi", [5, 1])
def test_a_user_of_its_own_needs_a_newer_landlock_for_abstract_sockets_only(tried, abi):
    seen = tried("user", abi)
    assert got_through(seen) == ABSTRACT and unharmed(seen)


@as_root
def test_with_the_capability_to_search_it_reads_shared_memory_of_others_and_no_other_file(tried):
    seen = tried("searching", NEWEST)
    assert got_through(seen) == {"shared memory of others"} and unharmed(seen)


@needs_python
def test_an_ordinary_user_gets_through_with_what_is_stated(tried):
    seen = tried("ordinary", NEWEST)
    assert got_through(seen) == OPEN and unharmed(seen)


@needs_python
@pytest.mark.parametrize("abi", [3, 1])
def test_with_an_old_landlock_an_ordinary_user_still_reads_and_writes_nothing(tried, abi):
    seen = tried("ordinary", abi)
    signals = {"signal", "signal by descriptor", "signal the keeper"}
    assert got_through(seen) - OPEN - signals == ABSTRACT
    assert seen["secret"] == "SECRET" and not seen["names"] and not seen["changed"]


@as_root
@needs_python
def test_user_0_gets_through_with_no_more(tried):
    seen = tried("stay", NEWEST)
    assert got_through(seen) == {*OPEN, "become root"} and unharmed(seen)


def test_what_is_promised_follows_from_the_form():
    strong, old = Landlock(7, own_user=True).promises(), Landlock(1).promises()
    assert set(Promise) - strong == {Promise.PROCESSES, Promise.SOCKETS, Promise.MEMORY}
    assert set(Promise) - Landlock(7, own_user=True, mounts=True).promises() == {Promise.PROCESSES, Promise.SOCKETS}
    assert {Promise.FILES, Promise.KERNEL} <= old
    assert not old & {Promise.SIGNALS, Promise.SURVIVORS, Promise.PIDS}
    assert Promise.SOCKETS in Landlock(9).promises()
    assert Promise.KERNEL not in Landlock(7, own_user=True, searching=True).promises()
    assert Promise.KERNEL not in Landlock(7, root=True).promises()


@as_root
def test_the_strongest_form_that_reaches_the_paths_is_taken(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    own_mounts = covers.possible()
    for reach in ((), (tmp_path,), (closed,)):
        assert landlock.probe(reach).mounts is own_mounts
    assert landlock.probe((tmp_path, closed)).searching  # what is itself closed to others no mount opens


@as_root
def test_without_the_right_to_mount_a_closed_folder_costs_the_promise_of_few_privileges(tmp_path):
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv")
    (tmp_path / "closed").mkdir(mode=0o700)
    code = "import sys, pathlib, sandbox.jail as jail; print(jail.pick('landlock', (pathlib.Path(sys.argv[1]),)))"
    line = ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-c", code, str(tmp_path / "closed")]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "searching=True" in done.stdout and "mounts=False" in done.stdout, done.stdout + done.stderr
    assert "chmod o+x" in done.stdout.partition("why=")[2]


def test_a_weaker_form_says_why_and_what_to_do(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o700)
    complaint = f"{tmp_path}/closed/file is closed to the program"
    best, user = Landlock(7, own_user=True, mounts=True), Landlock(7, own_user=True)
    assert landlock.shortfall(best, []) == "" == landlock.shortfall(Landlock(6), [])
    assert "chmod o+x" in landlock.shortfall(user, [complaint])
    assert "apparmor=unconfined" in landlock.shortfall(user, ["a lock does not shut: hiding /root: Permission denied"])
    assert "--cap-add SYS_ADMIN" in landlock.shortfall(user, [])
    assert "as an ordinary user" in landlock.shortfall(Landlock(7, root=True), [])
    assert "Linux 6.12" in landlock.shortfall(Landlock(3), [])
    assert "chmod -R a+rX /usr/bin/env" in landlock.advice("/usr/bin/env is closed to the program")


def test_the_first_closed_folder_on_a_way_is_named(tmp_path):
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "a").chmod(0o700)
    ways = [folder for folder in reversed((tmp_path / "a/b").parents) if not folder.stat().st_mode & 0o001]
    assert landlock.closed((tmp_path / "a/b/c",)) == ways[0]
    assert landlock.closed((Path("/usr/bin/env"),)) is None


def test_a_path_that_nobody_reaches_is_no_jail(tmp_path):
    with pytest.raises(JailUnavailable, match="missing.*paths that exist"):
        landlock.probe((tmp_path / "missing",))


def test_a_kernel_without_landlock_is_told(monkeypatch):
    monkeypatch.setattr(ruleset, "CREATE_RULESET", 9999)  # no such call
    with pytest.raises(JailUnavailable, match=r"Linux 5\.13"):
        landlock.probe()


@dataclasses.dataclass(frozen=True)
class Broken(Landlock):
    """A jail with a lock that does not shut."""

    wrong: tuple[str, ...] = ()

    def locks(self, spec):
        return [*super().locks(spec), *self.wrong]


@pytest.mark.parametrize(
    ("abi", "wrong", "complaint"),
    [
        (1, ("--allow", "read", "/no/such/folder"), "/no/such/folder"),
        (999, (), "Landlock 999"),
        (1, ("--filter", "ff" * 8), "filtering system calls"),
        (1, ("--show", "/no/such/file", "/dev/shm/x"), "/no/such/file"),
        (1, ("--user", "no number"), "no number"),
        (1, ("--hide", "/no/such/folder"), "hiding /no/such/folder|mounts of its own"),
    ],
)
def test_a_lock_that_does_not_shut_is_a_failure_of_the_house_and_nothing_runs(tmp_path, abi, wrong, complaint):
    work = tmp_path / "work"
    work.mkdir()
    spec = Spec(("python", "-c", "open('ran', 'w')"), work, {}, ((Phase.TRAIN, 20.0),), Limits(2**30))
    with pytest.raises(SandboxError, match=complaint):
        run(spec, Broken(abi, wrong=wrong), Watch(tmp_path / "log"))
    assert not (work / "ran").exists()


def test_what_may_be_missing_is_told_apart_from_what_must_not(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    spec = Spec(("python", "-c", "print('ran')"), work, {}, ((Phase.TRAIN, 20.0),), Limits(2**30))
    lines = []
    run(spec, Broken(1, wrong=("--allow", "read-try", "/no/such/folder")), Watch(tmp_path / "log", lines.append))
    assert lines == ["ran"]


def test_what_it_starts_inherits_every_lock(inside):
    (inside.folder / "secret").write_text("x")
    code = f"""
import multiprocessing, os, subprocess, sys
def look():
    try: open({str(inside.folder / "secret")!r}); print('read')
    except (FileNotFoundError, PermissionError): print('refused')
    told = open('/proc/self/status').read()
    print([line.split()[1] for line in told.splitlines() if line.startswith(('NoNewPrivs', 'Seccomp:'))], flush=True)
if __name__ == '__main__':
    if len(sys.argv) > 1:
        look()
    else:
        subprocess.run([sys.executable, 'train.py', 'x'])
        subprocess.Popen([sys.executable, 'train.py', 'x'], start_new_session=True).wait()
        for how in ('fork', 'spawn', 'forkserver'):
            child = multiprocessing.get_context(how).Process(target=look)
            child.start()
            child.join()
"""
    assert inside(code).lines == ["refused", "['1', '2']"] * 5


def test_nothing_survives_the_run(inside):
    code = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0: time.sleep(60)
    os._exit(0)
time.sleep(0.3)
"""
    ran = inside(code)
    assert ran.finding.outcome is Outcome.OK and wait_until_gone(inside.tag, 1.0) == []


def test_home_and_temporary_folder_are_its_own(inside):
    code = """
import os, tempfile
from pathlib import Path
print(Path.home().is_relative_to(os.getcwd()), Path(tempfile.gettempdir()).resolve().is_relative_to(os.getcwd()))
Path('~/x').expanduser().write_text('x'); tempfile.NamedTemporaryFile().write(b'x')
"""
    assert inside(code).lines == ["True True"]


def test_a_long_work_folder_gets_a_short_name_for_sockets_which_vanishes(jail, tmp_path):
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    code = """
import multiprocessing.connection as c, os, tempfile
print(len(os.environ['TMPDIR']) < 40, os.path.realpath(os.environ['TMPDIR']).startswith(os.getcwd()))
print(os.environ['TMPDIR']); c.Listener(family='AF_UNIX'); print('listening')
"""
    ran = Runner(jail, folder)(code)
    assert ran.lines[0] == "True True" and ran.lines[2] == "listening"
    assert not Path(ran.lines[1]).is_symlink()


def test_shared_memory_of_a_user_of_its_own_is_removed(jail, inside):
    if not jail.own_user:
        pytest.skip("only a user of its own can be told from others")
    name = f"notes-{inside.tag}"
    ran = inside(f"import os; os.makedirs('/dev/shm/{name}/a'); open('/dev/shm/{name}/a/b', 'w'); print('noted')")
    assert ran.lines == ["noted"] and not (Path("/dev/shm") / name).exists()


@as_root
def test_the_program_has_no_group_and_no_capability_but_the_one_it_needs(jail, inside):
    code = """
import os
told = dict(line.split(':') for line in open('/proc/self/status').read().splitlines())
print(*(told[name].strip() for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')))
print(os.getuid(), os.getgid(), os.getgroups())
"""
    capabilities, user = inside(code).lines
    assert set(capabilities.split()) == {f"{1 << lock.CAP_DAC_READ_SEARCH if jail.searching else 0:016x}"}
    if jail.own_user:
        number = int(user.split()[0])
        assert number in identity.USERS and user == f"{number} {number} []"


@pytest.fixture
def protected(inside):
    """A work folder with a plain copy of a protected file, and the protected one outside of it."""
    frozen = inside.folder / "work.frozen"
    frozen.mkdir()
    for folder in (frozen, inside.work):
        (folder / "prepare.py").write_text(PROTECTED)
    return inside, (Mount(frozen / "prepare.py", "prepare.py"),)


def test_a_protected_file_cannot_be_changed(protected):
    inside, mounts = protected
    code = """
import os
for path in ('prepare.py', '../work.frozen/prepare.py'):
    for act in (lambda p: open(p, 'a'), lambda p: os.truncate(p, 0), os.unlink):
        try: act(path); print('changed', path)
        except OSError: pass
    try: open('new.py', 'w').write('NAME = 1'); os.replace('new.py', path); print('replaced', path)
    except OSError: pass
try: os.chmod('.', 0o777); print('opened')
except OSError: pass
"""
    ran = inside(code, mounts=mounts)
    if inside.jail.own_user:  # else the link can be replaced, and only that
        assert ran.lines == []
    assert (inside.folder / "work.frozen/prepare.py").read_text() == PROTECTED


def test_a_protected_module_is_imported_from_outside_of_the_work_folder(protected):
    inside, mounts = protected
    (inside.work / "sibling.py").write_text("from prepare import NAME")
    code = """
import os, subprocess, sys
from pathlib import Path
try: os.unlink('prepare.py')
except OSError: pass
try: Path('prepare.py').write_text("NAME = 'theirs'")
except OSError: pass
import sibling
print(sibling.NAME, os.path.dirname(sibling.__file__) == os.getcwd(), flush=True)
subprocess.run([sys.executable, '-c', 'import prepare; print(prepare.NAME)'])
"""
    assert inside(code, mounts=mounts).lines == ["ours True", "ours"]


def test_a_protected_script_finds_what_lies_beside_it_in_the_work_folder(protected):
    inside, mounts = protected
    main = mounts[0].source.with_name("main.py")
    main.write_text("import train; print(train.X)")
    spec = inside.spec("X = 3", mounts=(*mounts, Mount(main, "main.py")))
    lines = []
    run(dataclasses.replace(spec, argv=("python", "main.py")), inside.jail, Watch(inside.folder / "log", lines.append))
    assert lines == ["3"]


def spec_of(folder, *mounts):
    (folder / "work").mkdir(exist_ok=True)
    return Spec(("python", "train.py"), folder / "work", {}, ((Phase.TRAIN, 9.0),), Limits(2**30), mounts=mounts)


def test_a_folder_that_holds_more_than_protected_files_is_not_put_on_the_import_path(tmp_path):
    spec = spec_of(tmp_path, Mount(tmp_path / "house/prepare.py", "prepare.py"))
    (tmp_path / "house").mkdir()
    (tmp_path / "house/prepare.py").touch()
    assert allowed.protected(spec) == [tmp_path / "house"]
    (tmp_path / "house/.env").touch()
    assert allowed.protected(spec) == []


def test_half_a_package_is_not_put_on_the_import_path(tmp_path):
    spec = spec_of(tmp_path, Mount(tmp_path / "house/pkg/__init__.py", "pkg/__init__.py"))
    for place in ("house", "work"):
        (tmp_path / place / "pkg").mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "pkg/__init__.py").touch()
    assert allowed.protected(spec) == [tmp_path / "house"]
    (tmp_path / "work/pkg/model.py").touch()
    assert allowed.protected(spec) == []


def test_a_mount_is_shown_and_read_only_unless_it_says_otherwise(inside):
    a, b = inside.folder / "a", inside.folder / "b"
    for folder in (a, b):
        folder.mkdir()
        (folder / "x").write_text(folder.name)
    mounts = (Mount(a, "data"), Mount(a, "~/.cache/a"), Mount(b, str(b), writable=True))
    code = f"""
import os
print(open('data/x').read(), open(os.path.expanduser('~/.cache/a/x')).read(), open({str(b / "x")!r}).read())
for path in ('data/x', {str(a / "x")!r}, {str(b / "y")!r}):
    try: open(path, 'w'); print('written')
    except OSError as error: print('refused' if error.errno in ({errno.EACCES}, {errno.EROFS}) else error)
"""
    assert inside(code, mounts=mounts).lines == ["a a b", "refused", "refused", "written"]


@pytest.mark.parametrize("name", [".sandbox", "deep"])
def test_links_that_an_earlier_program_left_lead_nowhere(inside, name):
    """The keeper may be root: what is made for a program must stay in its folders, and nothing else changes owner."""
    victim = inside.folder / "victim"
    (victim / "home").mkdir(parents=True)
    (inside.folder / "x").touch()
    (inside.work / name).symlink_to(victim)
    try:
        inside("pass", mounts=(Mount(inside.folder / "x", "deep/x"),))
    except SandboxError:
        assert name == "deep"  # what is shown is not moved elsewhere
    else:
        assert not (inside.work / name).is_symlink()
    assert [(path, path.stat().st_uid) for path in victim.rglob("*")] == [(victim / "home", os.getuid())]


def test_a_mask_leaves_out_what_it_stands_in_for_and_no_link_leads_around_it(tmp_path):
    shown, secret = tmp_path / "shown", tmp_path / "shown/deep/secret"
    secret.mkdir(parents=True)
    (shown / "deep/beside").touch()
    (shown / "deep/link").symlink_to(secret)
    assert allowed.around(shown, {secret}) == [str(shown / "deep/beside")]
    assert allowed.around(secret / "text", {secret}) == []
    assert allowed.around(shown, set()) == [str(shown)]


def test_a_stand_in_for_the_library_is_what_python_uses(inside):
    """As the mask of the default corpus: the library cannot be read, a copy of it can, and everything imports."""
    library, copy = Path(sysconfig.get_path("stdlib")), inside.folder / "library"
    left_out = ("test", "idlelib", "lib2to3", "site-packages", "lib-dynload", "ensurepip", "config-*")
    shutil.copytree(library, copy, ignore=shutil.ignore_patterns(*left_out))
    loaded = library / "lib-dynload"
    (copy / "lib-dynload").mkdir()  # to mount something on it, as in the masks
    with (copy / "wave.py").open("a") as file:
        file.write("STAND_IN = 1\n")
    code = f"""
import ctypes, json, wave
print(wave.STAND_IN)
try: print('STAND_IN' in open({str(library / "wave.py")!r}).read())
except PermissionError: print(True)
"""
    mounts = (Mount(copy, str(library)), Mount(loaded, str(loaded)))
    assert inside(code, mounts=mounts).lines == ["1", "True"]


def test_what_cannot_be_shown_without_a_mount_namespace_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(SandboxError, match="--sandbox namespace"):
        Landlock(1).wrap(spec_of(tmp_path, Mount(tmp_path / "a", "/somewhere/else")))


def test_there_is_a_filter_for_both_machines_and_no_other():
    for machine in ("x86_64", "aarch64"):
        code = list(struct.iter_unpack("=HBBI", gaps.program(True, machine)))
        assert all(at + 1 + max(jump, other) < len(code) for at, (_, jump, other, _) in enumerate(code[:-1]))
    with pytest.raises(SandboxError, match="riscv64"):
        gaps.program(True, "riscv64")


def test_importing_the_keeper_costs_little():
    code = "import sys; sys.path.insert(0, sys.argv[1]); import sandbox.keeper"
    code += "; print('pathlib' in sys.modules or 'sandbox.mounts' in sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, str(ROOT)], capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_an_honest_script_that_shares_its_user_notices_little(tmp_path):
    """Modes and times cannot be changed there: what sets them by the way goes on, with the content right."""
    code = """
import os, shutil, tarfile, zipfile
from pathlib import Path
Path('a').mkdir(); Path('a/x').write_text('x'); Path('a/y').touch(); Path('a/y').touch(); print(Path('a/y').exists())
shutil.copy('a/x', 'b'); shutil.copy2('a/x', 'c'); shutil.copytree('a', 'd'); shutil.move('b', '/dev/shm/moved-by-test')
shutil.move('/dev/shm/moved-by-test', 'b'); shutil.make_archive('e', 'gztar', 'a'); shutil.make_archive('f', 'zip', 'a')
tarfile.open('e.tar.gz').extractall('g', filter='data'); zipfile.ZipFile('f.zip').extractall('h')
print(*(Path(p).read_text() for p in ('b', 'c', 'd/x', 'g/x', 'h/x')))
os.chmod('a/x', 0o400); print(oct(os.stat('a/x').st_mode & 0o777)); os.utime('a/x', (1, 1))
print(os.stat('a/x').st_mtime > 1)
try: os.utime('a/x')
except PermissionError: print('refused')
try: os.chown('a/x', os.getuid(), os.getgid())
except PermissionError: print('refused')
done = 'cp -r --preserve=mode,timestamps a i && cp --reflink=auto a/x j && touch k && touch k && mkdir -p l/m'
print(os.system(done), Path('i/x').read_text(), Path('j').read_text(), Path('k').exists())
"""
    ran = Runner(Landlock(NEWEST, root=os.geteuid() == 0), tmp_path)(code)
    assert ran.lines[:4] == ["True", "x x x x x", "0o644", "True"], ran.lines
    assert ran.lines[4:6] == ["refused"] * 2 and ran.lines[6:] == ["0 x x True"], ran.lines


def test_data_loaders_work(inside):
    pytest.importorskip("torch")
    code = """
import torch, torch.multiprocessing as mp
class Rows(torch.utils.data.Dataset):
    def __len__(self): return 64
    def __getitem__(self, at): return torch.full((1000,), float(at))
if __name__ == '__main__':
    for strategy, how in (('file_descriptor', 'fork'), ('file_system', 'fork'), ('file_descriptor', 'spawn')):
        mp.set_sharing_strategy(strategy)
        loader = torch.utils.data.DataLoader(Rows(), 8, num_workers=2, multiprocessing_context=how)
        print(strategy, how, int(sum(batch.sum() for batch in loader)))
"""
    ran = inside(code, seconds=90.0)
    assert [line.split()[-1] for line in ran.lines] == ["2016000"] * 3, ran.lines


def test_torch_compile_works_with_its_compiler_and_workers(inside):
    pytest.importorskip("torch")
    if shutil.which("g++") is None:
        pytest.skip("no compiler")
    code = """
import torch
if __name__ == '__main__':
    f = torch.compile(lambda x: (x.sin() + 1).relu().sum())
    x = torch.linspace(0, 1, 1000)
    print(torch.allclose(f(x), (x.sin() + 1).relu().sum()))
"""
    ran = inside(code, seconds=120.0, env={"TORCHINDUCTOR_COMPILE_THREADS": "2"})
    assert ran.lines[-1:] == ["True"], ran.lines[-20:]
