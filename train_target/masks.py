"""What a jail shows in place of the standard library, so that validation text cannot be read there. Frozen.

The default corpus is the running Python's own library, which a jail has to show, or no Python runs in it. So the
jail shows a copy instead, in which every validation document is a stand-in: its compiled code without comments,
docstrings, assertions and columns, which does the same when it is imported. Tests and installers are left out of
the copy. Another Python's library that the jail would show, such as one in /usr/lib, is an empty folder. Documents
whose text would still be in some file are not validated on.

Not covered: compiled code still holds a module's names, its short strings and its order, and a script that sets out
to decompile the stand-ins gets those. Files of other packages and programs are shown as they are.
"""

import ast
import hashlib
import importlib.util
import json
import marshal
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import partial
from importlib.machinery import FrozenImporter
from pathlib import Path
from types import CodeType

from cache import check, hashes, publish
from documents import CorpusError

LONGEST_TEXT = 100  # bytes; a document whose compiled code holds more of it in a row is not validated on
COPIED = ("distutils/", "importlib/metadata/", "importlib/resources/")  # setuptools and others ship these
COPIED += ("chunk.py", "lib2to3/pgen2/tokenize.py")  # much of these is in wave.py and tokenize.py
LEFT_OUT = ("test", "tests", "idle_test", "site-packages", "dist-packages", "_bundled", "*.a", "*.o")
DEPTH = 5  # folders below /usr at most to the prefix of a Python that some other program has brought
STAND_IN = 'exec(__import__("marshal").loads(bytes.fromhex("{}")))  # the text of this module is validation data\n'


def library() -> Path:
    """Return the folder of the running Python's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def can_hide(name: str, text: bytes) -> bool:
    """Tell whether a document of the library can be validated on: whether its text is nowhere else in a jail."""
    module = name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    if name.startswith(COPIED) or FrozenImporter.find_spec(module):  # a frozen one is in the interpreter
        return False
    return not any(len(constant) >= LONGEST_TEXT for constant in strings(compiled(name, text)))


def compiled(name: str, text: bytes) -> CodeType:
    """Compile a document to what it does, at the lines where it does it."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if hasattr(node, "lineno"):
            node.col_offset = node.end_col_offset = 0  # columns would tell the layout
            node.end_lineno = node.lineno
    return compile(tree, str(library() / name), "exec", dont_inherit=True, optimize=2)


def strings(constant: object) -> Iterator[str | bytes]:
    """Yield all strings in the constants of some code."""
    if isinstance(constant, CodeType):
        constant = constant.co_consts
    if isinstance(constant, tuple | frozenset):
        for part in constant:
            yield from strings(part)
    elif isinstance(constant, str | bytes):
        yield constant


def make_masks(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return what to show at which absolute path so that these documents of the library are hidden.

    The copy is made once below `folder` for each version of Python and each installation of it.
    """
    made = folder / fingerprint()
    if not made.exists():
        publish(made, partial(write_masks, names=set(names)))
    found, listed = hashes(made / "library"), made / "sha256.json"
    if not listed.exists() or list((made / "empty").glob("*")):
        raise CorpusError(f"{made} is damaged: remove it and prepare again", code=1)
    check(made, found, json.loads(listed.read_text()))
    return dict(places(made))


def fingerprint() -> str:
    """Return a name for this installation's library: compiled code fits one version, and copies one installation."""
    root = library()
    digest = hashlib.sha256(importlib.util.MAGIC_NUMBER + os.fsencode(root))
    for path in sorted(root.glob("*.py")):  # times too: bytecode in the copy is good as long as they are the same
        about = path.stat()
        digest.update(os.fsencode(path) + f"{about.st_size} {about.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def write_masks(folder: Path, names: set[str]) -> None:
    """Write the copy of the library, with stand-ins for these documents, and the empty folder."""
    copy = folder / "library"
    (folder / "empty").mkdir()
    kept_out = shutil.ignore_patterns(*LEFT_OUT, *(inner.name for inner in shown_as_is()))
    shutil.copytree(library(), copy, ignore=kept_out, ignore_dangling_symlinks=True)
    for inner in shown_as_is():
        (copy / inner).mkdir(parents=True)
    for name in names:
        source = copy / name
        bytecode = source.parent / "__pycache__"
        for path in bytecode.glob(f"{source.stem}.*"):
            path.unlink()
        code = marshal.dumps(compiled(name, source.read_bytes()))
        source.write_text(STAND_IN.format(code.hex()))  # where bytecode is not used, else the next is: no frame of exec
        bytecode.mkdir(exist_ok=True)
        unchecked = importlib.util.MAGIC_NUMBER + b"\1\0\0\0" + importlib.util.source_hash(source.read_bytes())
        (bytecode / f"{source.stem}.{sys.implementation.cache_tag}.pyc").write_bytes(unchecked + code)  # PEP 552
    (folder / "sha256.json").write_text(json.dumps(hashes(copy)))


def shown_as_is() -> list[Path]:
    """Folders in the library that hold other things that Python imports: extensions, and packages outside a venv."""
    root = library().resolve()
    entries = [Path(entry).resolve() for entry in sys.path]
    return [entry.relative_to(root) for entry in entries if root in entry.parents and entry.is_dir()]


def places(made: Path) -> Iterator[tuple[str, str]]:
    """Yield (path, what to show there) for the library of every Python that a jail may show."""
    prefixes = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent.parent}
    prefixes |= {prefix.resolve() for prefix in prefixes}
    found = {path for prefix in prefixes for path in prefix.glob("lib*/python3*")} | {library()}
    for depth in range(DEPTH):
        found.update(Path("/usr").glob("*/" * depth + "lib*/python3*"))
    for path in sorted(path for path in found if path.is_dir()):
        if path.samefile(library()):
            yield str(path), str(made / "library")
            for inner in shown_as_is():
                yield str(path / inner), str(library() / inner)
        elif not any(Path(entry).resolve().is_relative_to(path.resolve()) for entry in sys.path):
            yield str(path), str(made / "empty")
