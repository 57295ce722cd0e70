"""What the tests of the namespace jail share: its forms, and an ordinary user of this machine to start it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox import identity
from sandbox.bubblewrap import Bubblewrap

ROOT = Path(__file__).resolve().parents[1]
SYSTEM_PYTHON = Path("/usr/bin/python3")
ORDINARY = 4242
FORMS = {  # name -> (own_user, fresh_proc)
    "own user": (True, True),
    "own user, outer /proc": (True, False),
    "user namespace": (False, True),
    "user namespace, outer /proc": (False, False),
}


def form(name: str) -> Bubblewrap:
    """One form of the jail; skips the test where this machine cannot have it, whatever our own probe would say."""
    own_user, fresh_proc = FORMS[name]
    program = shutil.which("bwrap") or pytest.skip("no bubblewrap")
    line = [program, *([] if own_user else ["--unshare-user"]), "--unshare-pid", "--unshare-net", "--ro-bind", "/", "/"]
    line += ["--proc", "/proc", "true"] if fresh_proc else ["true"]
    if (own_user and not identity.can_change()) or subprocess.run(line, capture_output=True, check=False).returncode:
        pytest.skip(f"the form {name!r} cannot work here")
    known = subprocess.run([program, "--help"], capture_output=True, text=True, check=False).stdout
    return Bubblewrap(program, fresh_proc, "--disable-userns" in known, own_user)


def new_enough(python: Path) -> bool:
    """Whether the package can run on this Python."""
    code = "import sys; sys.exit(sys.version_info < (3, 11))"
    return python.exists() and subprocess.run([str(python), "-c", code], check=False).returncode == 0


@contextmanager
def ordinary_house() -> Iterator[Path]:
    """A folder of the ordinary user that holds the package; everybody can come to it."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become an ordinary user, with setpriv")
    if not new_enough(SYSTEM_PYTHON):
        pytest.skip(f"{SYSTEM_PYTHON} is not there or too old, and that of the tests may be out of others' reach")
    folder = Path(tempfile.mkdtemp(prefix="ordinary-", dir="/tmp"))
    try:
        shutil.copytree(ROOT / "sandbox", folder / "sandbox", ignore=shutil.ignore_patterns("__pycache__"))
        folder.chmod(0o755)
        os.chown(folder, ORDINARY, ORDINARY)
        yield folder
    finally:
        shutil.rmtree(folder)


def ordinary(code: str, house: Path, told: str = "") -> str:
    """What `code` prints when the ordinary user runs it."""
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(house), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(house)}
    who = [f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups", "--inh-caps=-all", "--no-new-privs"]
    line = ["setpriv", *who, str(SYSTEM_PYTHON), "-c", code]
    done = subprocess.run(line, env=env, cwd=house, input=told, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def started_by_root(code: str, house: Path) -> str:
    """What `code` prints when root runs it on a Python that every user can reach."""
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(house), "PYTHONDONTWRITEBYTECODE": "1"}
    line = [str(SYSTEM_PYTHON), "-c", code]
    done = subprocess.run(line, env=env, cwd=house, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
