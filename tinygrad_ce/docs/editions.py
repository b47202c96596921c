"""Editions of a notebook: the teacher's, with the solutions in place, the student's, without any, and translations."""

from __future__ import annotations

import ast
import copy
import itertools
import json
import re
from collections.abc import Callable
from typing import Any

from tinygrad_ce.study.language import languages, translate

_WORD = "|".join(translate("Solution", lang) for lang in languages())
_SOLUTION = re.compile(rf"<details><summary>(?:{_WORD})</summary>\n(.*?)</details>\n*", re.S)
_CODE = re.compile(r"^```python\n(.*?)\n```$", re.S | re.M)
_CHECK = re.compile(r"^study\.check\((\w+), exercises\.\w+\)$", re.M)

Cell = dict[str, Any]


def of(edition: str, notebook: bytes) -> bytes:
    """A notebook in the edition "teacher" or "student"."""
    book = json.loads(notebook)
    book["cells"] = _EDITIONS[edition](book["cells"])
    return (json.dumps(book, indent=1, ensure_ascii=False) + "\n").encode()


def in_language(lang: str, notebook: bytes) -> bytes | None:
    """A notebook in another language, its code shared; None if it isn't translated.

    A cell of code below the title chooses the language of the checks.
    """
    book = json.loads(notebook)
    cells = book["cells"]
    if translate(_text(cells[0]), lang) == _text(cells[0]):
        return None
    for cell in cells:
        if cell["cell_type"] == "markdown":
            _write(cell, translate(_text(cell), lang))
        for output in cell.get("outputs", ()):
            if "text" in output:  # what a check says of an exercise that isn't done yet
                output["text"] = [
                    translate(line.rstrip("\n"), lang) + "\n" * line.endswith("\n") for line in output["text"]
                ]
    chosen = {**copy.deepcopy(cells[1]), "id": "language", "outputs": []}
    _write(chosen, f'from tinygrad_ce import study\n\nstudy.language("{lang}");')
    cells.insert(1, chosen)
    book["metadata"]["language"] = lang
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
