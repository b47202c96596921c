"""The package's house: which floor may import which, no circles, nothing too branched, no code made from text."""

import ast
import pathlib
import subprocess
import sys

import pytest

import tinygrad_ce as tg

PACKAGE = pathlib.Path(__file__).parents[2] / "tinygrad_ce"
FILES = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
MODULES = {name.removesuffix(".__init__"): ast.parse(path.read_text("utf-8")) for name, path in FILES.items()}

NUMPY_ALONE: set[str] = set()
BELOW = {  # the floors that a floor may import, beside itself
    "common": NUMPY_ALONE,
    "engine": NUMPY_ALONE,
    "kernels": NUMPY_ALONE,
    "ops": {"common", "engine", "kernels"},
    "losses": {"common", "engine", "kernels", "ops"},
    "contents": {"engine"},
    "tensor": {"common", "contents", "engine", "kernels", "ops", "losses"},
}


def imports(module):
    """Every import of a module, wherever it stands: in functions and for types alone, too."""
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported(module):
    """The package's modules that a module imports."""
    found = set()
    for name in imports(module):
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        found |= {name} - {"", module}
    return found


GRAPH = {module: imported(module) for module in MODULES}


def circles():
    """A circle of modules for each that is in one: itself, and the shortest way back to it."""
    for start in sorted(GRAPH):
        ways, seen = [[start]], set()
        for way in ways:
            for module in sorted(GRAPH[way[-1]]):
                if module == start:
                    yield " -> ".join([*way, start])
                    ways.clear()
                    break
                if module not in seen:
                    seen.add(module)
                    ways.append([*way, module])


def floor(module):
    return module.split(".")[1] if "." in module else ""


def test_no_circle_of_imports():
    assert list(circles()) == []


@pytest.mark.parametrize("name", BELOW)
def test_a_floor_imports_those_below_alone(name):
    wrong = [
        f"{module} imports {other}"
        for module in sorted(GRAPH)
        if floor(module) == name
        for other in sorted(GRAPH[module])
        if floor(other) not in BELOW[name] | {name}
    ]
    assert wrong == []


@pytest.mark.parametrize("name", BELOW)
def test_the_core_needs_numpy_alone(name):
    first = {other.partition(".")[0] for module in GRAPH if floor(module) == name for other in imports(module)}
    assert first - {*sys.stdlib_module_names, "tinygrad_ce"} <= {"numpy"}


def test_only_the_entries_know_the_whole_package():
    """What the package's front door imports doesn't come back through it; and no floor knows the command line."""
    entries = {"tinygrad_ce.__main__", "tinygrad_ce.docs.__main__"}
    know = {module for module in GRAPH if any(floor(other) == "cli" for other in GRAPH[module])}
    assert {module for module in know if floor(module) != "cli"} == entries
    assert {floor(module) for module in GRAPH if "tinygrad_ce" in GRAPH[module]} <= {"cli", "docs"}


def test_what_not_every_program_needs_is_imported_when_it_is_asked_for():
    """The door alone loads the engine and its operators; each name that comes later is known to type checkers."""
    code = "import sys, tinygrad_ce; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {floor(name) for name in loaded if name.startswith("tinygrad_ce.")} == {*BELOW, "transforms"}
    typed = next(node for node in MODULES["tinygrad_ce"].body if isinstance(node, ast.If))
    names = {alias.name for node in typed.body for alias in node.names}
    assert names == tg._LATER.keys() - {"mpi", "sklearn"}  # extras, which their users import by name
    assert names <= {*tg.__all__} <= {*dir(tg)}
    assert all(getattr(tg, name).__name__ in (name, f"tinygrad_ce.{name}") for name in names)


def test_few_modules_lie_at_the_root():
    assert len(list(PACKAGE.glob("*.py"))) <= 6


def test_no_code_is_made_from_text():
    calls = [
        f"{module}, line {node.lineno}: {node.func.id}"
        for module, tree in sorted(MODULES.items())
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("exec", "eval", "compile")
    ]
    assert calls == []


BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.Assert, ast.match_case)


def own(function):
    """All that stands in a function, but not in the functions in it."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node
            yield from own(node)


def complexity(function):
    """Cyclomatic complexity, as radon counts it: 1 and the branches."""
    total = 1
    for node in own(function):
        if isinstance(node, BRANCHES):
            total += 1
        if isinstance(node, ast.For | ast.AsyncFor | ast.While | ast.Try) and node.orelse:
            total += 1
        if isinstance(node, ast.BoolOp):
            total += len(node.values) - 1
        if isinstance(node, ast.comprehension):
            total += 1 + len(node.ifs)
    return total


def test_no_function_has_more_than_15_branches():
    hard = [
        f"{module}, line {node.lineno}: {node.name} has {complexity(node)}"
        for module, tree in sorted(MODULES.items())
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and complexity(node) > 15
    ]
    assert hard == []
