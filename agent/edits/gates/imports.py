"""What a change may newly import: what is installed where trials run, and no doors out of the trial.

The sandbox is the wall; this only says so before a trial is spent on it. What the parent imports or calls already
stays allowed. Nothing is imported to find out: the top-level name alone is looked up.
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from agent.edits.rules import Rules
from agent.edits.trees import dotted, imported

_PROCESSES = "a trial starts no other programs, so do it in this process"
_NETWORK = "a trial has no network, so use the data that the script loads already"
_MODULES = "import what the script needs by a plain import"
_DENIED = {
    **dict.fromkeys(("subprocess", "pty", "pexpect"), _PROCESSES),
    **dict.fromkeys(("socket", "socketserver", "ssl", "http", "urllib", "urllib3", "requests", "httpx"), _NETWORK),
    **dict.fromkeys(("aiohttp", "ftplib", "smtplib", "telnetlib", "xmlrpc", "websocket", "websockets"), _NETWORK),
    **dict.fromkeys(("ctypes", "_ctypes", "cffi"), "a trial calls no foreign libraries, so write it in Python"),
    **dict.fromkeys(("importlib", "imp", "runpy", "pkgutil", "zipimport"), _MODULES),
    **dict.fromkeys(("pip", "ensurepip", "venv", "setuptools"), "nothing can be installed in a trial"),
    "shutil": "a trial has no files to move, so keep what it needs in memory",
}
_STARTS = re.compile(r"os\.(?:system|popen|fork\w*|exec[lv]p?e?|spawn[lv]p?e?|posix_spawnp?)")
_EVALUATES = re.compile(r"(?:builtins\.)?(?:exec|eval|__import__)")


def forbidden(before: Mapping[str, ast.Module], after: Mapping[str, ast.Module], rules: Rules) -> Iterator[str]:
    """A sentence for each new import that does not go, and for each new call that would do the same."""
    old = {name for tree in before.values() for name in _calls(tree)}
    known = {module for tree in before.values() for module in _modules(tree)}
    local = {part.removesuffix(".py") for path in rules.editable for part in path.split("/")} | set(rules.modules)
    for path, tree in after.items():
        for module, line in _modules(tree).items():
            reason = None if module in known | local else _why_not(module, rules, known)
            if reason:
                yield f"{path} may not import {module} (line {line}): {reason}"
        for name, line in _calls(tree).items():
            if name not in old:
                reason = _PROCESSES if _STARTS.fullmatch(name) else "code in a text cannot be checked, so write it out"
                yield f"{path} may not call {name} (line {line}): {reason}"


def _why_not(module: str, rules: Rules, known: set[str]) -> str | None:
    if module in _DENIED:
        return _DENIED[module]
    if f"{module}.py" in rules.protected:
        return "a trial does not see that file"
    if module in sys.stdlib_module_names or _is_installed(module, rules):
        return None
    others = sorted(known - sys.stdlib_module_names)
    return f"it is not installed, so use {', '.join([*others, 'the standard library'])}"


def _is_installed(module: str, rules: Rules) -> bool:
    if isinstance(rules.installed, tuple):
        return module in rules.installed
    if rules.installed == "unknown":
        return True
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _modules(tree: ast.Module) -> dict[str, int]:
    """Top-level module that is imported by its full name -> line of the first import."""
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) or isinstance(node, ast.ImportFrom) and not node.level:
            for module, _ in imported(node):
                found[module] = min(node.lineno, found.get(module, node.lineno))
    return found


def _calls(tree: ast.Module) -> dict[str, int]:
    """Call that starts programs or runs text -> line of the first one. Importing it by name counts."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            names = [dotted(node.func)]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name not in own and (_STARTS.fullmatch(name) or _EVALUATES.fullmatch(name)):
                found[name] = min(node.lineno, found.get(name, node.lineno))
    return found
