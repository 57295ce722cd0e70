"""Which jail is picked, what it shows, and what it keeps: tried on this machine, as root and as an ordinary user."""

import dataclasses
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from jail_kit import FORMS as NAMESPACE_FORMS
from jail_kit import ROOT, form, ordinary, ordinary_house, started_by_root
from landlock_house import FORMS
from sandbox_kit import LEVELS, Runner, jail_of

from sandbox import covers, identity, landlock, trying
from sandbox.bubblewrap import Bubblewrap, advice
from sandbox.jail import LEVELS as NAMES
from sandbox.jail import pick
from sandbox.places import interpreters
from sandbox.probes import PROBES
from sandbox.ruleset import abi as landlock_abi
from sandbox.selfcheck import selfcheck
from sandbox.spec import JailUnavailable, Limits, Mount, Outcome, Phase, Promise, Spec, Watch
from sandbox.supervise import run

as_root = pytest.mark.skipif(not identity.can_change(), reason="only root starts a program as another user")


@pytest.fixture
def inside(tmp_path):
    return Runner(jail_of("namespace"), tmp_path)


def fake_bwrap(folder, monkeypatch, text):
    (folder / "bwrap").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_an_unknown_level_lists_the_choices():
    with pytest.raises(JailUnavailable, match=", ".join(NAMES)):
        pick("docker")


@pytest.mark.parametrize("level", NAMES)
def test_where_it_is_not_linux_every_level_says_so(monkeypatch, level):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert landlock_abi() == 0
    with pytest.raises(JailUnavailable, match="trials need Linux"):
        pick(level)


def test_it_can_be_imported_where_python_knows_no_netlink():
    code = "import socket; del socket.AF_NETLINK; import sandbox.jail, sandbox.supervise"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_none_says_what_it_leaves_open():
    picked = pick("none")
    assert picked.jail.name == "none" and "can read, write and reach" in picked.why
    assert picked.jail.promises() == {Promise.TIME, Promise.MEMORY, Promise.OUTPUT}


@pytest.mark.parametrize(
    ("script", "advice"),
    [
        (None, "apt install bubblewrap"),
        ("echo 'bwrap: No permissions to create a new namespace' >&2; exit 1", "namespaces are not allowed here"),
        ("echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1", "namespaces are not allowed here"),
        ("echo 'bwrap: Unknown option --size' >&2; exit 1", "Unknown option --size"),
        ("exit 3", "exit code 3"),
    ],
)
def test_without_a_working_bubblewrap_auto_says_why_and_namespace_refuses(tmp_path, monkeypatch, script, advice):
    """And `auto` takes landlock or nothing: a run without a jail is never its choice."""
    monkeypatch.setenv("PATH", str(tmp_path))
    if script is not None:
        fake_bwrap(tmp_path, monkeypatch, script)
    with pytest.raises(JailUnavailable, match=advice):
        pick("namespace")
    try:
        picked = pick("auto")
    except JailUnavailable as error:
        assert landlock_abi() == 0 and advice in str(error) and "--sandbox none" in str(error)
    else:
        assert picked.jail.name == "landlock" and advice in picked.why and "landlock works here" in picked.why
        assert picked.jail.short in picked.why


def test_where_no_jail_works_auto_refuses_and_names_both_reasons_and_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    reach = (tmp_path / "gone",)  # no landlock form can show it
    with pytest.raises(JailUnavailable, match=r"bubblewrap is not installed.*(landlock|Landlock).*--sandbox none"):
        pick("auto", reach)


def test_a_form_that_hangs_is_a_complaint_and_nothing_of_it_stays(tmp_path):
    line = ["/bin/sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 100"]
    assert "within 0.3 seconds" in trying.told(line, {}, 0.3)
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_a_form_is_tried_with_the_libraries_that_our_python_needs(monkeypatch):
    class Telling:
        own_user = False

        def wrap(self, spec):
            return ["/bin/sh", "-c", "echo $LD_LIBRARY_PATH"]

    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/python/lib")
    assert trying.complaint(Telling(), trying.Claim(ROOT, (0, 0))) == "/opt/python/lib"


@pytest.mark.jail
def test_an_old_bubblewrap_is_used_without_what_it_cannot_do(tmp_path, monkeypatch):
    real = jail_of("namespace").program
    refuse = 'case " $* " in *" --disable-userns "*) echo "bwrap: Unknown option" >&2; exit 1;; esac'
    fake_bwrap(tmp_path, monkeypatch, f'{refuse}\nexec {real} "$@"')
    jail = pick("auto").jail
    assert jail.name == "namespace" and jail.fresh_proc and (jail.own_user or not jail.disable_userns)
    lines = jail.wrap(Spec(("true",), tmp_path, {}, ((Phase.TRAIN, 1.0),), Limits(2**30)))
    assert "--disable-userns" not in lines
    assert Runner(jail, tmp_path)("import ctypes; print(ctypes.CDLL(None).unshare(0x10000000))").lines == ["-1"]


@pytest.mark.parametrize("level", LEVELS)
def test_every_promise_holds_when_attacked(level):
    jail = jail_of(level)
    checks = selfcheck(jail)
    assert [check for check in checks if not check.ok] == []
    assert {check.promise for check in checks} == set(Promise)
    assert all(check.promised == (check.promise in jail.promises()) for check in checks)


def test_selfcheck_shows_what_no_jail_leaves_open():
    broken = {check.name for check in selfcheck(jail_of("none")) if not check.held}
    assert {"read a secret file", "write outside", "reach a port on this machine", "see a process outside"} <= broken


def told(jail, *names):
    """What the self-check says of these probes."""
    return {check.name: check for check in selfcheck(jail, [probe for probe in PROBES if probe.name in names])}


def without(line, *flags):
    """A jail's line without these flags and their words."""
    kept, at = [], 0
    end = line.index("--env") if "--env" in line else len(line)
    while at < len(line):
        dropped = line[at] in flags and at < end
        at += 1
        while dropped and not line[at].startswith("--"):
            at += 1
        if not dropped:
            kept.append(line[at - 1])
    return kept


@dataclasses.dataclass(frozen=True)
class Holed(landlock.Landlock):
    """A jail that has lost some of its flags."""

    lost: tuple[str, ...] = ()

    def wrap(self, spec):
        return without(super().wrap(spec), *self.lost)


@pytest.mark.jail
@pytest.mark.skipif(landlock_abi() == 0, reason="this kernel has no Landlock")
@pytest.mark.parametrize("kind", [name for name in FORMS if name == "stay" or identity.can_change()])
def test_a_landlock_jail_without_its_rules_is_told_broken(kind):
    form = landlock.Landlock(landlock_abi(), **FORMS[kind])
    if (kind == "mounts" and not covers.possible()) or (complaint := landlock.attempt(form, ())):
        pytest.skip(f"the form {kind!r} cannot work here: {complaint if kind != 'mounts' else 'no mounts'}")
    for lost, names in {
        ("--allow",): ("read a secret file", "write outside"),
        ("--filter", "--tcp"): ("reach a port on this machine", "keep a privilege"),
    }.items():
        sound, holed = told(form, *names), told(Holed(form.abi, **FORMS[kind], lost=lost), *names)
        assert all(check.ok for check in sound.values()), sound
        assert not any(check.held for check in holed.values()) and len(holed) == len(names), holed
        assert "the probe itself" not in str(holed)


@pytest.mark.jail
@pytest.mark.skipif(landlock_abi() == 0, reason="this kernel has no Landlock")
@pytest.mark.parametrize("own_user", [False, pytest.param(True, marks=as_root)])
def test_without_its_rules_a_landlock_jail_in_everybodys_reach_is_told_broken(own_user):
    """Of an ordinary user, whose secrets nothing else keeps, and of root without mounts."""
    code = """
import sys
from sandbox import landlock, ruleset
from sandbox.probes import PROBES
from sandbox.selfcheck import selfcheck
class Holed(landlock.Landlock):
    def wrap(self, spec):
        line = super().wrap(spec)
        while '--allow' in line:
            at = line.index('--allow'); del line[at:at + 3]
        return line
names = ('read a secret file', 'write outside', 'read the environment of others')
for jail in (landlock.Landlock, Holed):
    form = jail(ruleset.abi(), own_user=OWN_USER)
    print([check.held for check in selfcheck(form, [one for one in PROBES if one.name in names])])
"""
    code = code.replace("OWN_USER", str(own_user))
    with ordinary_house() as house:
        said = started_by_root(code, house) if own_user else ordinary(code, house)
    assert said.splitlines() == ["[True, True, True]", f"[False, False, {own_user}]"]


@dataclasses.dataclass(frozen=True)
class Open(Bubblewrap):
    """A namespace that shows too much, or has lost some of its flags."""

    lost: tuple[str, ...] = ()
    shown: str = ""

    def wrap(self, spec):
        return without(super().wrap(spec), *self.lost)

    def confine(self, spec):
        line = without(super().confine(spec), *self.lost)
        at = line.index("--remount-ro")
        return [*line[:at], *(("--bind", self.shown, self.shown) if self.shown else ()), *line[at:]]


@pytest.mark.jail
@pytest.mark.parametrize("kind", NAMESPACE_FORMS)
def test_a_namespace_jail_with_a_hole_is_told_broken(kind):
    sound = dataclasses.asdict(form(kind))
    for hole, names in (
        ({"shown": "/var/tmp"}, ("read a secret file", "write outside")),
        ({"lost": ("--unshare-net",)}, ("reach a port on this machine",)),
        ({"lost": ("--filter",)}, ("keep a privilege",)),
    ):
        whole, holed = told(Bubblewrap(**sound), *names), told(Open(**sound, **hole), *names)
        assert all(check.ok for check in whole.values()), whole
        assert not any(check.held for check in holed.values()) and len(holed) == len(names), holed
        assert "the probe itself" not in str(holed)


@pytest.mark.jail
def test_where_proc_is_the_outer_one_all_but_the_sight_of_processes_holds():
    jail = dataclasses.replace(jail_of("namespace"), fresh_proc=False)
    assert jail.promises() == set(Promise) - {Promise.PROCESSES}
    assert [check for check in selfcheck(jail) if not check.ok] == []


@pytest.mark.jail
@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user has no other form")
def test_a_user_namespace_started_by_root_keeps_all_but_kernel():
    jail = dataclasses.replace(jail_of("namespace"), own_user=False)
    assert jail.promises() == set(Promise) - {Promise.KERNEL}
    assert [check for check in selfcheck(jail) if not check.ok] == []


@pytest.mark.jail
def test_every_promise_holds_for_an_ordinary_user_too():
    jail_of("namespace")
    code = (
        "from sandbox.jail import pick\nfrom sandbox.selfcheck import selfcheck\nfrom sandbox.spec import Promise\n"
        "picked = pick('auto')\nprint(picked.jail.name, set(Promise) - picked.jail.promises())\n"
        "print([c for c in selfcheck(picked.jail) if not c.held])"
    )
    with ordinary_house() as house:
        assert ordinary(code, house) == "namespace set()\n[]\n"


@pytest.mark.jail
@as_root
def test_root_gets_the_form_with_a_user_of_its_own_where_the_machine_can_have_it():
    form("own user")
    assert jail_of("namespace").own_user


@pytest.mark.jail
@as_root
def test_what_the_own_user_cannot_read_makes_a_weaker_form_that_says_what_to_do(tmp_path):
    """And that form reads it: nothing is left out in silence."""
    closed = tmp_path / "data"
    (closed / "deep").mkdir(parents=True)
    (closed / "deep" / "shard").write_text("tokens")
    runs = tmp_path / "runs"
    runs.mkdir()
    strong = pick("namespace", (runs, closed))
    assert strong.jail.own_user and Promise.KERNEL in strong.jail.promises() and "every promise" in strong.why
    (closed / "deep" / "shard").chmod(0o600)
    picked = pick("namespace", (runs, closed))
    assert not picked.jail.own_user and Promise.KERNEL not in picked.jail.promises()
    assert "all but kernel" in picked.why and f"chmod -R a+rX {closed}/deep/shard" in picked.why
    ran = Runner(picked.jail, runs)("print(open('/data/deep/shard').read())", mounts=(Mount(closed, "/data"),))
    assert ran.lines == ["tokens"]


@pytest.mark.jail
def test_trying_leaves_nothing_in_the_folder_of_the_runs(tmp_path):
    jail_of("namespace", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.jail
def test_a_proc_that_cannot_be_mounted_makes_a_weaker_form_that_says_what_to_do(tmp_path, monkeypatch):
    real = jail_of("namespace").program
    told = "bwrap: Can't mount proc on /newroot/proc: Operation not permitted"
    refuse = f'case " $* " in *" --proc "*) echo "{told}" >&2; exit 1;; esac'
    fake_bwrap(tmp_path, monkeypatch, f'{refuse}\nexec {real} "$@"')
    picked = pick("auto")
    assert not picked.jail.fresh_proc and picked.jail.promises() == set(Promise) - {Promise.PROCESSES}
    assert "all but processes" in picked.why and "--security-opt systempaths=unconfined" in picked.why


def test_the_advice_names_the_switch_that_is_off(tmp_path):
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "max_user_namespaces").write_text("0\n")
    refused = "bwrap: No permissions to create a new namespace"
    assert "sysctl user.max_user_namespaces" in advice(refused, tmp_path)
    (tmp_path / "user" / "max_user_namespaces").write_text("15000\n")
    assert "seccomp=unconfined" in advice(refused, tmp_path)


@pytest.mark.jail
def test_the_rest_of_the_machine_does_not_exist(inside):
    code = """
import os, pwd
gone = ('/var/log', '/mnt', '/boot', '/etc/shadow', '/etc/hostname', '/run/user')
print([path for path in gone if os.path.exists(path)])
print(sorted(user.pw_name for user in pwd.getpwall()), os.uname().nodename, os.getuid())
print(sorted(os.listdir(os.path.dirname(os.getcwd()))))
print([path for path in ('/', '/usr', '/dev') if os.access(path, os.W_OK)])
"""
    (inside.folder / "sibling").mkdir()
    *first, who, siblings, writable = inside(code).lines
    names, number = who.rsplit(" ", 1)
    assert [*first, names, siblings, writable] == ["[]", "['nobody', 'root', 'trial'] trial", "['work']", "[]"]
    assert int(number) in identity.USERS if inside.jail.own_user else number == "1000"


@pytest.mark.jail
def test_parents_of_what_is_shown_can_be_entered(inside):
    code = """
import os, sys
for path in (os.getcwd(), sys.prefix):
    while path != '/':
        path = os.path.dirname(path)
        print(oct(os.stat(path).st_mode & 0o055))
"""
    assert set(inside(code).lines) <= {"0o55"}


@pytest.mark.jail
def test_a_mount_is_read_only_unless_it_says_otherwise(inside):
    for name in ("a", "b"):
        (inside.folder / name).mkdir()
    (inside.folder / "prepare.py").write_text("# ours")
    mounts = (
        Mount(inside.folder / "a", "/data/a"),
        Mount(inside.folder / "b", "/data/b", writable=True),
        Mount(inside.folder / "prepare.py", "prepare.py"),
    )
    code = """
for path in ('/data/a/x', '/data/b/x', 'prepare.py', 'x'):
    try: open(path, 'w'); print(path)
    except OSError as error: print(error.errno)
"""
    assert inside(code, mounts=mounts).lines == ["30", "/data/b/x", "30", "x"]
    assert (inside.folder / "b/x").exists() and (inside.folder / "prepare.py").read_text() == "# ours"


@pytest.mark.jail
def test_a_mount_below_the_work_folder_and_one_above_it_are_both_shown(inside):
    (inside.folder / "val").write_text("x")
    inside.folder.chmod(0o755)  # what cannot be reached is another test's
    mounts = (Mount(inside.folder / "val", str(inside.work / "deep/er/val")), Mount(inside.folder, str(inside.folder)))
    code = "import os; print(open('deep/er/val').read(), os.access('..', os.W_OK), os.access('.', os.W_OK))"
    assert inside(code, mounts=mounts).lines == ["x False True"]


@pytest.mark.jail
@pytest.mark.parametrize("network", [False, True])
def test_the_network_is_shared_only_when_asked_for(inside, network):
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = (
            f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2); print('connected')"
        )
        ran = inside(code, network=network)
    assert (ran.lines == ["connected"]) is network


@pytest.mark.jail
def test_an_own_server_on_loopback_works(inside):
    server = "import socket\ns = socket.create_server(('localhost', 0))\n"
    code = server + "socket.create_connection(s.getsockname())\nprint('ok')"
    assert inside(code).lines == ["ok"]


@pytest.mark.parametrize("level", LEVELS)
def test_an_interpreter_given_by_its_path_is_shown_with_its_packages(level, tmp_path):
    venv = tmp_path / "other venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (next(venv.glob("lib/python*/site-packages")) / "only_here.py").write_text("name = 'found'")
    work = tmp_path / "work"
    work.mkdir()
    argv = (str(venv / "bin/python"), "-c", "import only_here; print(only_here.name)")
    lines = []
    spec = Spec(argv, work, {}, ((Phase.TRAIN, 20.0),), Limits(2**30))
    run(spec, jail_of(level), Watch(tmp_path / "log", lines.append))
    assert lines == ["found"]


def test_an_interpreter_shows_its_own_folders_and_nothing_else_of_where_it_lies(tmp_path):
    """A link to Python in ~/bin must not show the home; nor must a virtual environment made in a project's folder."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "bin/python").symlink_to(sys.executable)
    ours = interpreters("python")
    assert set(interpreters(str(tmp_path / "bin/python"))) == {*ours, str(tmp_path / "bin/python")}
    (tmp_path / "pyvenv.cfg").touch()
    shown = set(interpreters(str(tmp_path / "bin/python"))) - set(ours)
    assert shown == {str(tmp_path / name) for name in ("bin", "lib", "pyvenv.cfg")}
    assert "/" not in interpreters("/python3") and interpreters("/bin/sh") == ours


@pytest.mark.parametrize("level", LEVELS)
def test_a_folder_with_odd_characters_is_no_trouble(level, tmp_path):
    folder = tmp_path / "my runs, 'été' $HOME"
    folder.mkdir()
    ran = Runner(jail_of(level), folder)("import os; print(os.path.basename(os.path.dirname(os.getcwd())))")
    assert ran.lines == ["my runs, 'été' $HOME"] and ran.finding.outcome is Outcome.OK


@pytest.mark.parametrize("level", LEVELS)
def test_starting_costs_little(level, tmp_path):
    """Over a bare start of Python, the two in turn: about 20 ms in a quiet machine; the bound is for a busy one."""
    runner = Runner(jail_of(level), tmp_path)
    jailed, bare = [], []
    for _ in range(7):
        jailed.append(runner("pass").seconds)
        began = time.monotonic()
        subprocess.run([sys.executable, runner.work / "train.py"], check=True)
        bare.append(time.monotonic() - began)
    assert min(jailed) - min(bare) < 0.1
