"""DataFrames of pandas, polars and pyarrow as columns of cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tinygrad_ce.data.arrays import Damage, shown
from tinygrad_ce.data.kinds import Cells, Text, as_cells, is_missing


class Frame(NamedTuple):
    """A table in memory."""

    cells: dict[str, Cells]
    codes: Sequence[str] = ()
    """The columns that it says are categories, though they may look like numbers."""


def is_frame(thing: Any) -> bool:
    """Whether something is a table of another library, or a dict of columns."""
    return isinstance(thing, Mapping) or hasattr(type(thing), "columns")


def read(frame: Any) -> Frame:
    """The columns of a table.

    Raises:
        Damage: no table in memory, or columns of one name or of different lengths.
        ImportError: narwhals, which reads all kinds of DataFrames, isn't installed.
    """
    if isinstance(frame, Frame):
        return frame
    found, codes, count = dict[str, Cells](), list[str](), -1
    for name, cells, is_category in _columns(frame):
        if str(name) in found:
            raise Damage(f"more than one column {shown(str(name))}, expected each name once")
        if count not in (-1, len(is_missing(cells))):
            raise Damage(
                f"column {shown(str(name))} has {len(is_missing(cells))} cells, expected {count} as the others"
            )
        count = len(is_missing(cells))
        found[str(name)] = cells
        codes += [str(name)] * is_category
    return Frame(found, codes)


def _columns(frame: Any) -> Iterator[tuple[Any, Cells, bool]]:
    """Name and cells of each column, and whether it says that it is a category."""
    if isinstance(frame, Mapping):
        for name, column in frame.items():
            try:
                yield name, as_cells(column), False
            except Damage as error:
                raise Damage(f"column {shown(str(name))}: {error}") from None
        return
    try:
        import narwhals.stable.v2 as nw
        from narwhals.exceptions import NarwhalsError
    except ImportError as error:
        words = f"a {type(frame).__name__} is read through narwhals: pip install 'tinygrad-ce[tables]'"
        raise ImportError(f"{words} ({error})", name=error.name) from None
    try:
        table = nw.from_native(frame, eager_only=True)
    except (TypeError, NarwhalsError) as error:
        expected = "expected a DataFrame of pandas or polars (of a LazyFrame .collect()), or a pyarrow.Table"
        raise Damage(f"{expected}; {' '.join(str(error).split())}") from None
    for series in table.iter_columns():
        if series.dtype.is_integer() and not series.null_count():
            cells = as_cells(series.to_numpy())
        elif series.dtype.is_numeric():
            cells = as_cells(series.cast(nw.Float64).to_numpy())
        else:
            gone = series.is_null().to_list()
            cells = Text.of([None if none else _plain(cell) for cell, none in zip(series.to_list(), gone, strict=True)])
        yield series.name, cells, series.dtype in (nw.Categorical, nw.Enum)


def _plain(cell: Any) -> Any:
    """A number or a truth value as it is, anything else as text."""
    return cell if isinstance(cell, bool | int | float) else str(cell)
