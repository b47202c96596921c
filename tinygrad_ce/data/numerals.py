"""Numbers as people write them: with a sign or in parentheses, a unit, marks between thousands, a decimal mark.

A cell such as 1.234 may be read in two ways. Which one it is, is decided once for a column, by its decimal mark.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

# How tables write that a value is missing: what pandas takes for it, and a question mark.
MISSING = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
     "NAN", "NULL", "NaN", "Nan", "None", "n/a", "nan", "null", "?"}
)  # fmt: skip
_UNIT = (
    r"[A-Z]{0,2}\$|[€£¥₹₽₩₺₪₫₴₦₱฿%‰]|kr\.?|Fr\.?|zł|Kč"
    "|EUR|USD|GBP|JPY|CNY|INR|CHF|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|RUB|TRY|BRL|MXN|ZAR|KRW"
)
_CELL = re.compile(
    rf"(?P<open>\(?) ?(?P<sign>[+−–-]?) ?(?P<before>{_UNIT})? ?(?P<later>[+−–-]?) ?"
    rf"(?P<digits>[0-9.,'’\u00a0\u202f ]*[0-9.,](?:[eE][+-]?[0-9]+)?) ?(?P<after>{_UNIT})? ?(?P<close>\)?)"
)
_FORMS = {
    point: re.compile(
        rf"(?:[0-9]+|[1-9][0-9]{{0,2}}([{comma}'’\u00a0\u202f ])[0-9]{{3}}(?:\1[0-9]{{3}})*)?"
        rf"(?:[{point}](?:[0-9]+|(?<=[0-9].)))?(?:[eE][+-]?[0-9]+)?"
    )
    for point, comma in (".,", ",.")
}
_OTHER = {".": ",", ",": "."}
_LONGEST = 100  # characters of a number, but for one of digits alone


class _Parts(NamedTuple):
    """A cell that writes a number, or would with the right marks."""

    negative: bool
    digits: str
    """With their marks."""
    unit: str


def _parts(cell: str) -> _Parts | None:
    """The parts of a cell; None if it can't be a number."""
    if not cell.strip("0123456789.,"):  # the usual case
        return _Parts(False, cell, "") if cell else None
    found = _CELL.fullmatch(cell.strip()) if len(cell) <= _LONGEST else None
    if found is None or bool(found["open"]) != bool(found["close"]) or (found["before"] and found["after"]):
        return None
    signs = found["open"] + found["sign"] + found["later"]
    if len(signs) > 1:
        return None
    return _Parts(signs not in ("", "+"), found["digits"], found["before"] or found["after"] or "")


def plain(cell: str) -> float:
    """The finite number that float() reads; nan if there is none."""
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) and "_" not in cell else math.nan


def number(cell: str, decimal: str = ".") -> float | None:
    """The number that a cell writes, with this decimal mark. None if it is none.

    Example:
        >>> number("€ 1.234,50", ","), number("12%"), number("(4.50)"), number("12a")
        (1234.5, 12.0, -4.5, None)
    """
    if decimal == "." and not math.isnan(value := plain(cell)):
        return value
    found = _parts(cell)
    form = _FORMS[decimal].fullmatch(found.digits) if found else None
    if not found or not form:
        return None
    digits = found.digits.replace(form[1], "") if form[1] else found.digits
    value = plain(digits.replace(",", "."))
    return None if math.isnan(value) else -value if found.negative else value


def are_numbers(cells: Sequence[str], decimal: str) -> np.ndarray | None:
    """Cells that are written plainly as numbers, nan where they are missing; None if one is neither.

    Args:
        cells: what is written.
        decimal: the decimal mark; "" if it isn't known, so that a cell with a mark is doubtful.
    """
    if decimal != "." and any("." in cell for cell in cells):
        return None
    texts = [cell.replace(",", ".") for cell in cells] if decimal == "," else cells
    try:
        found = np.array(list(map(float, texts)))
    except ValueError:
        try:
            found = np.array([math.nan if cell.strip() in MISSING else float(cell) for cell in texts])
        except ValueError:
            return None
    odd = np.flatnonzero(~np.isfinite(found)).tolist()
    sound = all(cells[i].strip() in MISSING for i in odd) and not any("_" in cell for cell in cells)
    return found if sound else None


def decimal_mark(cells: Sequence[str], known: str = "") -> str:
    """The decimal mark of a column, "." or ",".

    It is the one that the column's cells show, as 1,5 or 1.234.567 do; else the one that is known, of the file; else,
    if all that have a mark look like 1.234, it is between thousands where all others are below 1000.

    Args:
        cells: those of a column.
        known: the mark of the file, if any column shows it.
    """
    if mark := shown_mark(cells) or known:
        return mark
    digits = [parts.digits for cell in cells if (parts := _parts(cell))]
    doubtful = next((mark for cell in digits for mark in ".," if mark in cell), "")
    below = [len(cell) <= 3 for cell in digits if doubtful not in cell]
    return _OTHER[doubtful] if doubtful and (all(below) if below else doubtful == ",") else doubtful or "."


def shown_mark(cells: Iterable[str]) -> str:
    """The decimal mark that (most of) a column's cells show without doubt; "" if none does."""
    shown = Counter(_shown(parts.digits) for cell in cells if _has_mark(cell) and (parts := _parts(cell)))
    del shown[""]
    return max(shown, key=shown.__getitem__, default="")


def is_doubtful(cell: str) -> bool:
    """Whether a cell is one number by each decimal mark, and not the same."""
    return _has_mark(cell) and len({number(cell, mark) for mark in _OTHER} - {None}) > 1


def mark_of_file(columns: Iterable[Sequence[str]]) -> str:
    """The decimal mark that stands without doubt in columns of numbers; "" if none does (1.234.567), or both do."""
    found = Counter[str]()
    for cells in columns:
        parts = list(map(_parts, cells))
        if sum(cell in MISSING or part is not None for cell, part in zip(cells, parts, strict=True)) > len(cells) / 2:
            digits = [part.digits for part in parts if part and _has_mark(part.digits)]
            found.update(mark for each in digits if (mark := _shown(each)) and mark in each)
    mark = max(found, key=found.__getitem__, default="")
    return mark if found[mark] > 0.9 * found.total() else ""


def _has_mark(cell: str) -> bool:
    return "." in cell or "," in cell


def _shown(digits: str) -> str:
    """The decimal mark that a number shows without doubt; "" if none: 1.234 may be either."""
    reads = [mark for mark, form in _FORMS.items() if form.fullmatch(digits)]
    return reads[0] if len(reads) == 1 else ""


def units(cells: Iterable[str]) -> list[str]:
    """The units that stand beside a column's numbers, each once, with "" if some have none; none if none has one."""
    found = {parts.unit for cell in cells if (parts := _parts(cell))}
    return sorted(found) if found != {""} else []
