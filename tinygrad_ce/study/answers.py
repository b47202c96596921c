"""Answers in a notebook: the statements that one needs, taken out of the cells, and loaded as a module."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import symtable
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "answer.py"
_PARSER = threading.Lock()  # Python 3.11 counts the depth of what it parses for all threads together
_MAGIC = re.compile(r"^(\s*)(?:[%!].*|[\w.]+\?+\s*)$", re.M)  # what Jupyter understands, and Python doesn't


@dataclass(frozen=True)
class Statement:
    """A statement: its text, the global names that it makes, those whose contents it changes, and those it needs."""

    text: str
    makes: frozenset[str]
    changes: frozenset[str]
    needs: frozenset[str]
    imports: bool


@dataclass(frozen=True)
class Notebook:
    """A notebook's statements, and what else there is to know of its cells."""

    statements: list[Statement]
    broken: list[tuple[str, str]]  # the cells that are no Python, and why
    was_run: bool

    @property
    def imports(self) -> set[str]:
        """The names that are imported."""
        return {name for statement in self.statements if statement.imports for name in statement.makes}


def read(path: Path) -> Notebook:
    """Read a notebook's statements.

    Raises:
        OSError, ValueError: it can't be read, or is no notebook.
    """
    try:
        cells = [cell for cell in json.loads(path.read_bytes())["cells"] if cell["cell_type"] == "code"]
        texts = ["".join(cell["source"]) for cell in cells]
        was_run = any(cell.get("execution_count") for cell in cells)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no notebook ({type(error).__name__}: {error})") from None
    found = Notebook([], [], was_run)
    for text in texts:
        try:
            with _PARSER:
                found.statements.extend(_statements(text))
        except (SyntaxError, ValueError, RecursionError) as error:
            where = f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else str(error)
            found.broken.append((text, where))
    return found


def needed(notebook: Notebook, name: str) -> str | None:
    """The text of all statements that a name needs, in their order; None if no statement makes it."""
    wanted, before, imports = {name}, 0, notebook.imports
    while len(wanted) > before:
        before = len(wanted)
        for statement in notebook.statements:
            if (statement.makes | statement.changes - imports) & wanted:
                wanted |= statement.needs
    if not any(name in statement.makes for statement in notebook.statements):
        return None
    return "\n".join(s.text for s in notebook.statements if (s.makes | s.changes - imports) & wanted)


def load(text: str, name: str, folder: Path) -> Any:
    """Run statements as a module of their own, and return what a name is in it then."""
    path = folder / FILE
    path.write_text(text, "utf-8")
    spec = importlib.util.spec_from_file_location("answer", path)
    assert spec is not None and spec.loader is not None  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def _statements(text: str) -> list[Statement]:
    try:
        nodes = ast.parse(text).body
    except SyntaxError:
        text = _MAGIC.sub(r"\1pass", text)
        nodes = ast.parse(text).body
    return [_statement(node, text.splitlines()) for node in nodes]


def _statement(node: ast.stmt, lines: list[str]) -> Statement:
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])
    makes, needs = _names(symtable.symtable(ast.unparse(node), "a cell", "exec"))
    return Statement(
        "\n".join(lines[first - 1 : node.end_lineno]),
        frozenset(makes),
        frozenset(_changed(node)),
        frozenset(needs),
        isinstance(node, ast.Import | ast.ImportFrom),
    )


def _names(table: symtable.SymbolTable) -> tuple[set[str], set[str]]:
    """The global names that a statement makes, and those that it uses, in functions of its own too."""
    symbols = table.get_symbols()
    makes = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported() or s.is_namespace()}
    return makes, {s.get_name() for s in symbols if s.is_referenced()} | set(_inside(table))


def _inside(table: symtable.SymbolTable) -> Iterator[str]:
    for child in table.get_children():
        yield from (s.get_name() for s in child.get_symbols() if s.is_global())
        yield from _inside(child)


def _changed(node: ast.stmt) -> Iterator[str]:
    """Names whose attributes or entries are set, or whose methods are called for what they change."""
    for one in ast.walk(node):
        place = one.value.func if isinstance(one, ast.Expr) and isinstance(one.value, ast.Call) else one
        if isinstance(place, ast.Attribute | ast.Subscript) and (place is not one or isinstance(place.ctx, ast.Store)):
            while isinstance(place, ast.Attribute | ast.Subscript):
                place = place.value
            if isinstance(place, ast.Name):
                yield place.id
