"""What other files of a target call in an edited script: it must stay, and be callable as before.

A script that trains for five minutes and then cannot be asked (`build_model` renamed, a parameter of `forward` gone)
has wasted its trial. Found by name: what protected files import from the script or take as an attribute of what is no
import of theirs, and the classes whose instances the script hands to protected code for its metric.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from agent.edits.bindings import bindings
from agent.edits.gates.selfreport import protected_names, statements, targets
from agent.edits.rules import Rules
from agent.edits.trees import dotted, imported, trees

Trees = Mapping[str, ast.Module]
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_CALLED = ("forward", "__call__")


def needed_in(files: Mapping[str, str], others: Mapping[str, str], asking: str | None) -> tuple[str, ...]:
    """Names of top-level functions and classes of `files` that other files of the target use.

    Args:
        files: the editable files, by path.
        others: the protected ones.
        asking: the one of these that loads a script by its path and asks its model, if there is such a one.
    """
    defined = {name for tree in trees(files).values() for name in _definitions(tree)}
    stems = {PurePosixPath(path).stem for path in files}
    used = {name for path, tree in trees(others).items() for name in _used(tree, stems, path == asking)}
    return tuple(sorted(used & defined))


def lost(before: Trees, after: Trees, rules: Rules) -> Iterator[str]:
    """A sentence for each function that others call and that is gone, or is called otherwise than before."""
    for path, tree in before.items():
        changed = after.get(path, ast.Module([], []))
        for name in sorted(set(rules.needed) & _definitions(tree).keys() - bindings(changed).keys()):
            yield f"{name} must stay in {path}: it is called from outside the script"
        old, new = _callables(tree, rules), _callables(changed, rules)
        for name in sorted(old.keys() & new.keys()):
            if not _takes(new[name], old[name]):
                yield (
                    f"{name} in {path} is called from outside the script and must take what it took: "
                    f"({ast.unparse(old[name].args)}), and more only with defaults"
                )


def _used(tree: ast.Module, stems: set[str], asks: bool) -> Iterator[str]:
    bound = {name: top for node in ast.walk(tree) for top, name in imported(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            root = dotted(node).partition(".")[0]
            if bound.get(root) in stems or asks and root not in bound:
                yield node.attr
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in stems:
            yield from (alias.name for alias in node.names)


def _definitions(tree: ast.Module) -> dict[str, _Function | ast.ClassDef]:
    return {node.name: node for node in tree.body if isinstance(node, _Function | ast.ClassDef)}


def _callables(tree: ast.Module, rules: Rules) -> dict[str, _Function]:
    """Name -> function, for all that is called from outside; `model.forward` for what the metric asks of a model."""
    definitions = _definitions(tree)
    found = {name: node for name in rules.needed if isinstance(node := definitions.get(name), _Function)}
    for given, made_by in _handed_over(tree, rules) if rules.frozen else ():
        node = definitions.get(made_by)
        if isinstance(node, ast.ClassDef):
            methods = [part for part in node.body if isinstance(part, _Function) and part.name in _CALLED]
            found |= {f"{given}.{method.name}": method for method in methods}
    return found


def _handed_over(tree: ast.Module, rules: Rules) -> Iterator[tuple[str, str]]:
    """(name, what its value is made by) of what frozen statements give to protected code: `model`, `GPT`."""
    theirs = protected_names(tree, rules.modules)
    frozen, all_of = set(rules.frozen), statements(tree)
    calls = [n for s in all_of if ast.unparse(s) in frozen for n in ast.walk(s) if isinstance(n, ast.Call)]
    asked = [call for call in calls if dotted(call.func).partition(".")[0] in theirs]
    given = {arg.id for call in asked for arg in call.args if isinstance(arg, ast.Name)}
    for statement in all_of:
        for name in targets(statement) & given:
            made_by = [n.func for n in ast.walk(statement) if isinstance(n, ast.Call)]
            yield from ((name, func.id) for func in made_by if isinstance(func, ast.Name))


def _takes(new: _Function, old: _Function) -> bool:
    """Whether every call that fits `old` fits `new`: the same names in the same places, and defaults for the rest."""
    was, now = _positional(old), _positional(new)
    in_place = new.args.vararg is not None or now[: len(was)] == was
    by_name = new.args.kwarg is not None or _names(old) <= _names(new)
    return in_place and by_name and _required(new) <= _required(old)


def _positional(function: _Function) -> list[str]:
    return [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]


def _names(function: _Function) -> set[str]:
    return {*_positional(function), *(arg.arg for arg in function.args.kwonlyargs)}


def _required(function: _Function) -> set[str]:
    positional, arguments = _positional(function), function.args
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return {
        *positional[: len(positional) - len(arguments.defaults)],
        *(arg.arg for arg, default in pairs if default is None),
    }
