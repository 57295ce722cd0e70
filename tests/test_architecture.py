"""The shape of the house, as a test: no circles, imports look down, every tool has one room, nothing grows too tall."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sandbox", "agent", "train_target")
MAX_FILE, MAX_FUNCTION, MAX_PARAMS = 250, 50, 6
MAX_FILE_FOR = {"train_target/train.py": 450}
ONE_ROOM = {  # third-party or risky module -> the only places that may import it
    "subprocess": ("sandbox/",),
    "openai": ("agent/models/",),
    "litellm": ("agent/models/",),
    "git": ("agent/history/ledger.py",),
    "cmaes": ("agent/proposers/",),
    "pyflakes": ("agent/edits/gates/names.py",),
    "unidiff": ("agent/edits/unified.py", "agent/ui/"),
    "rich": ("agent/ui/",),
    "click": ("agent/cli.py", "agent/commands/"),
    "psutil": ("agent/session.py",),
    "pynvml": ("sandbox/gpu.py",),
    "torch": ("train_target/", "agent/tune/"),
    "ray": ("agent/executors/ray_pool.py",),
}
NEVER = {"sandbox": ("agent", "train_target"), "train_target": ("agent", "sandbox")}


def sources():
    return {
        p.relative_to(ROOT).as_posix(): ast.parse(p.read_text())
        for k in PACKAGES
        for p in sorted((ROOT / k).rglob("*.py"))
    }


def imported(tree):
    """Every import in the file, lazy ones too (`from a import b` counts as a and as a.b)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."
            yield from (f"{node.module}.{a.name}" for a in node.names)


def graph(files):
    name = {f: f.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for f in files}
    known = set(name.values())
    return {name[f]: {m for m in imported(t) if m in known} - {name[f]} for f, t in files.items()}


def circle(g):
    done, path = set(), []

    def visit(n):
        if n in path:
            return path[path.index(n) :] + [n]
        if n in done:
            return None
        path.append(n)
        found = next((c for m in sorted(g[n]) if (c := visit(m))), None)
        path.pop()
        done.add(n)
        return found

    return next((c for n in g if (c := visit(n))), None)


def test_no_circles():
    assert circle(graph(sources())) is None


def test_packages_only_look_down():
    bad = [
        (f, m) for f, t in sources().items() for m in imported(t) if m.split(".")[0] in NEVER.get(f.split("/")[0], ())
    ]
    assert not bad


def test_every_tool_has_one_room():
    bad = [
        (f, m)
        for f, t in sources().items()
        for m in imported(t)
        if not f.startswith(ONE_ROOM.get(m.split(".")[0], ("",)))
    ]
    assert not bad


def test_init_files_do_no_work():
    bad = [
        f
        for f, t in sources().items()
        if f.endswith("__init__.py")
        and any(
            not (isinstance(n, ast.Assign) or isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))
            for n in t.body
        )
    ]
    assert not bad


def test_nothing_grows_too_tall():
    bad = []
    for f, t in sources().items():
        tall = max((n.end_lineno for n in t.body), default=0)
        if tall > MAX_FILE_FOR.get(f, MAX_FILE):
            bad.append((f, tall))
        for n in ast.walk(t):
            if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)):
                if (size := n.end_lineno - n.lineno + 1) > MAX_FUNCTION:
                    bad.append((f, n.name, size))
                if len(n.args.args + n.args.kwonlyargs) > MAX_PARAMS:
                    bad.append((f, n.name, "parameters"))
    assert not bad


def test_nobody_swallows_errors():
    bad = [
        (f, handler.lineno)
        for f, tree in sources().items()
        for handler in ast.walk(tree)
        if isinstance(handler, ast.ExceptHandler)
        and (handler.type is None or getattr(handler.type, "id", "") in ("Exception", "BaseException"))
        and not any(isinstance(node, ast.Raise) for node in ast.walk(handler))
    ]
    assert not bad
