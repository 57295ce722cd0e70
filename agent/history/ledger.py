"""The ledger: the run's own git repository, a projection of the journal.

One commit for every closed trial on `refs/trials/NNNN`, its parent the commit it was derived from; branch `best`
follows the kept ones, and the work tree shows the best version. A commit is a function of the journal alone (dates
included), so one that a crash swallowed is made again with the same hash. Commits are written through one
`git fast-import` a trial; hooks, signing and the user's and the system's git configuration are out of play.
"""

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.errors import AgentError
from agent.history.fast_import import RESULT, Entry, stream
from agent.snapshot import OWN_NAMES

_CONFIG = {
    "core.hooksPath": os.devnull, "core.autocrlf": "false", "core.fsync": "committed,loose-object",
    "commit.gpgsign": "false", "gc.auto": "0", "user.name": "agent", "user.email": "agent@localhost",
}  # fmt: skip
_PRIVATE = "".join(f"/{name}\n" for name in OWN_NAMES if name != RESULT)


class Ledger:
    """The git repository of a run."""

    def __init__(self, folder: Path) -> None:
        """Open the repository in `folder`, or make one.

        Raises:
            AgentError: git is not installed, or cannot make it.
        """
        if shutil.which("git") is None:
            raise AgentError("git is not installed: install it (`apt install git`), then try again")
        import git  # GitPython looks for the git command when imported: after the check above

        folder = folder.resolve()  # git runs in it
        env = _environment(folder)
        exclude = folder / ".git" / "info" / "exclude"  # written last: with it, the repository is complete
        try:
            if not exclude.exists():
                git.Repo.init(folder, template="", initial_branch="best", env=env, allow_unsafe_options=True).close()
            self._repo = git.Repo(folder)
            self._repo.git.update_environment(**env)
            self._folder = folder
            if not exclude.exists():
                for key, value in _CONFIG.items():
                    self._repo.git.config(key, value)
                exclude.parent.mkdir(exist_ok=True)
                exclude.write_text(_PRIVATE)
        except git.GitCommandError as error:
            raise AgentError(f"cannot make a git repository in {folder}: {_complaint(error.stderr)}") from error

    def break_locks(self) -> None:
        """Remove what a killed git left. Only for the holder of the run's own lock: nobody else writes here."""
        for stale in (self._folder / ".git").rglob("*.lock"):
            stale.unlink()

    def commit(self, entry: Entry) -> str:
        """Write one commit and its ref (and `best`, for a kept trial); the same entry gives the same hash.

        Raises:
            AgentError: git failed, for example on a full disk.
        """
        with tempfile.TemporaryFile() as file:
            file.write(stream(entry))
            file.seek(0)
            self._git("fast_import", "--quiet", "--force", "--date-format=raw", istream=file)
        return self.resolve(entry.ref)

    def resolve(self, ref: str) -> str:
        """The commit hash that `ref` points to.

        Raises:
            AgentError: there is no such ref.
        """
        return str(self._git("rev_parse", "--verify", f"{ref}^{{commit}}"))

    def trial_refs(self) -> dict[int, str]:
        """Trial id -> commit hash of every `refs/trials/NNNN`."""
        lines = str(self._git("for_each_ref", "--format=%(refname) %(objectname)", "refs/trials")).splitlines()
        pairs = (line.split() for line in lines)
        return {int(name.rpartition("/")[2]): sha for name, sha in pairs}

    def code(self, commit: str) -> dict[str, bytes]:
        """All code files of a commit."""
        return {path: content for path, content in self._files(commit) if path != RESULT}

    def file(self, commit: str, path: str) -> bytes:
        """One file of a commit.

        Raises:
            AgentError: the commit has no such file.
        """
        found = dict(self._files(commit)).get(path)
        if found is None:
            raise AgentError(f"commit {commit[:10]} has no {path}")
        return found

    def describe(self, commit: str) -> tuple[str, tuple[str, ...], Any]:
        """Message, parents' hashes and result.json of a commit."""
        with self._reading(commit):
            found = self._repo.commit(commit)
            parents = tuple(parent.hexsha for parent in found.parents)
            message = str(found.message)
        return message, parents, json.loads(self.file(commit, RESULT))

    def _files(self, commit: str) -> Iterator[tuple[str, bytes]]:
        import git

        with self._reading(commit):
            for item in self._repo.commit(commit).tree.traverse():
                if isinstance(item, git.Blob):
                    yield str(item.path), item.data_stream.read()

    @contextmanager
    def _reading(self, commit: str) -> Iterator[None]:
        import git

        try:
            with _undisturbed():
                yield
        except (ValueError, OSError, git.GitError, git.ODBError) as error:  # an object is missing or damaged
            raise AgentError(f"commit {commit[:10]} of {self._folder} cannot be read: {error}") from error

    def show_best(self) -> bool:
        """Bring the work tree to branch `best`; False if the user's own edits there stand in the way and were left."""
        shown = self._git("write_tree")
        try:
            self._git("read_tree", "-m", "-u", shown, "best")
        except AgentError:
            return False
        return True

    def check_objects(self) -> str:
        """What `git fsck` complains of; empty if all objects and refs are whole."""
        try:
            self._git("fsck", "--no-dangling", "--no-progress", "--strict")
        except AgentError as error:
            return str(error)
        return ""

    def close(self) -> None:
        """Close the repository's helper processes."""
        self._repo.close()

    def _git(self, command: str, *arguments: str, **options: Any) -> Any:
        import git

        try:
            with _undisturbed():
                return getattr(self._repo.git, command)(*arguments, **options)
        except git.GitCommandError as error:
            said = _complaint(error.stderr)
            raise AgentError(f"git {command.replace('_', '-')} failed in {self._folder}: {said}") from error


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C in a terminal goes to every process of ours; git, started in here, never sees it: a child inherits this
    mask. Ours is delivered afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _complaint(stderr: object) -> str:
    """What git said, in one line: its reason rather than what followed from it."""
    lines = [line.strip() for line in str(stderr).replace("stderr: '", "").strip("'\n ").splitlines()]
    return next((line for line in lines if line.startswith(("error:", "fatal:"))), " ".join(lines))


def trial_ref(trial: int) -> str:
    """`refs/trials/0042`."""
    return f"refs/trials/{trial:04d}"


def _environment(folder: Path) -> dict[str, str]:
    git_dir = folder / ".git"
    return {
        "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C",
        # a git command around us (a hook, a rebase) exports these for its own repository
        "GIT_DIR": str(git_dir), "GIT_WORK_TREE": str(folder), "GIT_INDEX_FILE": str(git_dir / "index"),
        "GIT_OBJECT_DIRECTORY": str(git_dir / "objects"),
    }  # fmt: skip
