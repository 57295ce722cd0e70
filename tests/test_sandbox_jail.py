"""Which jail is picked, what it shows, and what it keeps: tried on this machine, as root and as an ordinary user."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from sandbox_kit import LEVELS, Runner, jail_of

from sandbox.bubblewrap import Bubblewrap, interpreters
from sandbox.jail import LEVELS as NAMES
from sandbox.jail import pick
from sandbox.selfcheck import selfcheck
from sandbox.spec import JailUnavailable, Limits, Mount, Outcome, Phase, Promise, Spec, Watch
from sandbox.supervise import run

ROOT = Path(__file__).resolve().parents[1]
NOBODY = 65534
SYSTEM_PYTHON = Path("/usr/bin/python3.11")


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


def test_none_says_what_it_leaves_open():
    picked = pick("none")
    assert picked.jail.name == "none" and "can read, write and reach" in picked.why
    assert picked.jail.promises() == {Promise.TIME, Promise.MEMORY, Promise.OUTPUT}


@pytest.mark.parametrize(
    ("script", "advice"),
    [
        (None, "apt install bubblewrap"),
        ("echo 'bwrap: No permissions to create a new namespace' >&2; exit 1", "sysctl kernel"),
        ("echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1", "sysctl kernel"),
        ("echo 'bwrap: Unknown option --size' >&2; exit 1", "Unknown option --size"),
        ("exit 3", "exit code 3"),
    ],
)
def test_without_a_working_bubblewrap_auto_says_why_and_namespace_refuses(tmp_path, monkeypatch, script, advice):
    monkeypatch.setenv("PATH", str(tmp_path))
    if script is not None:
        fake_bwrap(tmp_path, monkeypatch, script)
    picked = pick("auto")
    assert picked.jail.name == "none" and advice in picked.why and "without a jail" in picked.why
    with pytest.raises(JailUnavailable, match=advice):
        pick("namespace")


@pytest.mark.jail
def test_an_old_bubblewrap_is_used_without_what_it_cannot_do(tmp_path, monkeypatch):
    real = jail_of("namespace").program
    refuse = 'case " $* " in *" --disable-userns "*) echo "bwrap: Unknown option" >&2; exit 1;; esac'
    fake_bwrap(tmp_path, monkeypatch, f'{refuse}\nexec {real} "$@"')
    jail = pick("auto").jail
    assert jail.name == "namespace" and jail.fresh_proc and not jail.disable_userns


@pytest.mark.parametrize("level", LEVELS)
def test_every_promise_holds_when_attacked(level):
    jail = jail_of(level)
    checks = selfcheck(jail)
    assert [check for check in checks if not check.ok] == []
    assert {check.promise for check in checks} == set(Promise)


def test_selfcheck_shows_what_no_jail_leaves_open():
    broken = {check.name for check in selfcheck(jail_of("none")) if not check.held}
    assert {"read a secret file", "write outside", "reach a port on this machine", "see a process outside"} <= broken


@pytest.mark.jail
def test_where_proc_is_the_outer_one_all_but_the_sight_of_processes_holds():
    real = jail_of("namespace")
    jail = Bubblewrap(real.program, fresh_proc=False, disable_userns=real.disable_userns)
    assert Promise.PROCESSES not in jail.promises()
    assert [check for check in selfcheck(jail) if not check.ok] == []


@pytest.mark.jail
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become an ordinary user")
@pytest.mark.skipif(not SYSTEM_PYTHON.exists(), reason=f"no {SYSTEM_PYTHON}")
def test_every_promise_holds_for_an_ordinary_user_too(tmp_path_factory):
    jail_of("namespace")
    folder = Path("/tmp") / f"ordinary-{os.getpid()}"
    shutil.copytree(ROOT / "sandbox", folder / "sandbox", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "from sandbox.jail import pick\nfrom sandbox.selfcheck import selfcheck\n"
        "picked = pick('auto')\nprint(picked.jail.name, [c for c in selfcheck(picked.jail) if not c.ok])"
    )
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [str(SYSTEM_PYTHON), "-c", code], user=NOBODY, group=NOBODY, extra_groups=[], env=env, cwd="/",
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)
    assert done.stdout == "namespace []\n", done.stderr


@pytest.mark.jail
def test_the_rest_of_the_machine_does_not_exist(inside):
    code = """
import os, pwd
print([path for path in ('/var', '/mnt', '/boot', '/etc/shadow', '/etc/hostname', '/run/user') if os.path.exists(path)])
print(sorted(user.pw_name for user in pwd.getpwall()), os.uname().nodename, os.getuid())
print(sorted(os.listdir(os.path.dirname(os.getcwd()))))
print([path for path in ('/', '/usr', '/dev') if os.access(path, os.W_OK)])
"""
    (inside.folder / "sibling").mkdir()
    assert inside(code).lines == ["[]", "['nobody', 'root', 'trial'] trial 1000", "['work']", "[]"]


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
    """Measured in a quiet machine: 20 to 30 ms over a bare start of Python; the bound leaves room for a busy one."""
    runner = Runner(jail_of(level), tmp_path)
    jailed = min(runner("pass").seconds for _ in range(5))
    assert jailed < 0.25
