"""Labels: names of classes, the numbers among them, and what none can be."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np

from tinygrad_ce.common.words import normal
from tinygrad_ce.data import arrays
from tinygrad_ce.data.arrays import DataError
from tinygrad_ce.data.numerals import plain as plain_number

FLOAT32_END = 2.0**128 - 2.0**103  # from here on a number rounds to float32's infinity
_WHOLE = re.compile(r"([+-]?)([0-9]+)(?:\.0*)?")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,100}(?:\.[0-9]{0,100})?")
SURROGATES = re.compile("[\ud800-\udfff]")
CODING = "the file isn't UTF-8: save it as UTF-8"


def check_name(where: str, name: str) -> None:
    """Refuse a label that is nothing, or that a terminal would obey."""
    if not name:
        raise DataError(f"{where}: no label, expected a class name")
    if not arrays.is_printable(name):
        more = f" ({CODING})" if SURROGATES.search(name) else ""
        expected = f"expected a class name in UTF-8 without control characters{more}"
        raise DataError(f"{where}: {arrays.shown(name)}, {expected}")


def check_forms(path: Any, names: Sequence[str]) -> None:
    """Refuse classes that were told apart by nothing but the form of a letter."""
    composed = sorted(name for name in names if not name.isascii())
    for name, other in pairwise(composed):
        if name == other:
            raise DataError(f"{path}: classes: {arrays.shown(name)} stands there in two forms of Unicode, expected one")


def check_count(path: Any, classes: int, rows: int) -> None:
    """Refuse so many classes that the labels are likely something else."""
    if classes > max(1000, 10 * rows):
        raise DataError(f"{path}: {classes:,} classes in {rows:,} rows, expected fewer; are these class labels?")


def words(path: Any, name: str, array: np.ndarray) -> np.ndarray:
    """An array of names, in bytes or as text, as text in Unicode's composed form; others as they are."""
    try:
        array = array.astype(str) if array.dtype.kind == "S" else array
        return np.array(list(map(normal, array.tolist()))) if array.dtype.kind == "U" else array
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: {name}: {error}, expected names in ASCII, or an array of str") from None


def class_index(found: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """The index of every label found in tables, and the names of the classes, in order."""
    whole = all(map(_WHOLE.fullmatch, found))
    names = list(map(plain, found)) if whole else found
    classes = in_order(names)
    place = {name: i for i, name in enumerate(classes)}
    return {label: place[name] for label, name in zip(found, names, strict=True)}, classes


def plain(label: str) -> str:
    """A whole number as it is usually written: 1.0 and 1 are one name. Others stay, 01 too: codes begin with zeros."""
    found = _WHOLE.fullmatch(label)
    if not found or found[2] != (found[2].lstrip("0") or "0"):
        return label
    return found[2] if found[1] != "-" or found[2] == "0" else f"-{found[2]}"


def finder(known: Sequence[str]) -> Callable[[str], int | None]:
    """What finds the place of a name among known ones: the same one, or else the only one that is the same number.

    1.0 is found as 1, and 1067 as 01067, a code that lost its zero; where both 1 and 01 are known, 1.0 is neither.
    """
    place, numbers = {name: i for i, name in enumerate(known)}, dict[Decimal, list[int]]()
    for name, i in place.items():
        if _DECIMAL.fullmatch(name):
            numbers.setdefault(Decimal(name), []).append(i)

    def find(name: str) -> int | None:
        if name in place or not _DECIMAL.fullmatch(name):
            return place.get(name)
        same = numbers.get(Decimal(name), [])
        return same[0] if len(same) == 1 else None

    return find


def in_order(names: Sequence[str]) -> list[str]:
    """Names of classes, each once, sorted as numbers where all of them are."""
    key = (lambda name: (float(name), name)) if all(map(is_number, names)) else str
    return sorted(set(names), key=key)


def number(cell: str) -> float:
    """The number in a cell; nan if there is none that float32 can hold."""
    value = plain_number(cell)
    return value if abs(value) < FLOAT32_END else math.nan


def is_number(cell: str) -> bool:
    return not math.isnan(number(cell))
