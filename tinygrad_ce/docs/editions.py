"""Editions of a notebook: the teacher's, with the solutions in place, and the student's, without any."""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Callable
from typing import Any

_SOLUTION = re.compile(r"<details><summary>Solution</summary>\n(.*?)</details>\n*", re.S)
_CODE = re.compile(r"^```python\n(.*?)\n```$", re.S | re.M)
_CHECK = re.compile(r"^study\.check\((\w+), exercises\.\w+\)$", re.M)

Cell = dict[str, Any]


def of(edition: str, notebook: bytes) -> bytes:
    """A notebook in the edition "teacher" or "student"."""
    book = json.loads(notebook)
    book["cells"] = _EDITIONS[edition](book["cells"])
    return (json.dumps(book, indent=1, ensure_ascii=False) + "\n").encode()


def _teacher(cells: list[Cell]) -> list[Cell]:
    """Each exercise with its solution in the place of what is left open; its cell is to be run."""
    for cell, following in itertools.pairwise(cells):
        checked, solution = _CHECK.search(_text(cell)), _SOLUTION.match(_text(following))
        if cell["cell_type"] == "code" and checked and solution:
            (code,) = _CODE.findall(solution[1])
            _write(cell, _replaced(_text(cell), checked[1], code))
            cell.update(outputs=[], execution_count=None)
    return cells


def _student(cells: list[Cell]) -> list[Cell]:
    """What is left where the solutions are left out."""
    for cell in cells:
        if cell["cell_type"] == "markdown":
            _write(cell, _SOLUTION.sub("", _text(cell)))
    return [cell for cell in cells if cell["source"]]


_EDITIONS: dict[str, Callable[[list[Cell]], list[Cell]]] = {"teacher": _teacher, "student": _student}


def _replaced(text: str, name: str, solution: str) -> str:
    """Code in which the statement that makes a name has given way to its solution."""
    lines = text.split("\n")
    for node in ast.parse(text).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if getattr(node, "name", "") == name or any(isinstance(t, ast.Name) and t.id == name for t in targets):
            return "\n".join([*lines[: node.lineno - 1], solution, *lines[node.end_lineno :]])
    raise ValueError(f"no statement makes {name} in\n{text}")


def _text(cell: Cell) -> str:
    return "".join(cell["source"])


def _write(cell: Cell, text: str) -> None:
    cell["source"] = text.splitlines(keepends=True)
