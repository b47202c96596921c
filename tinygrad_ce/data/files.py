"""Readers of files: IDX (MNIST's format), .npz and .csv. Nothing is executed; errors say where a file is wrong."""

from __future__ import annotations

import csv
import gzip
import math
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from tinygrad_ce.data.dataset import Dataset

# What NumPy and zipfile raise of a damaged .npz once it is open.
DAMAGE = (
    ValueError, TypeError, KeyError, AttributeError, EOFError, OSError, NotImplementedError, RuntimeError, MemoryError,
    OverflowError, SyntaxError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


class DataError(ValueError):
    """A file that isn't what it should be."""


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array in an IDX file, gzipped or not.

    Errors:
        DataError: the file, the offset, what stands there and what was expected.
        OSError: it can't be opened.

    Source: LeCun, Cortes, Burges, The MNIST database, file formats.
    """
    with _open(path) as file:
        head = _exactly(file, path, 0, 4, "the magic number")
        if head[:2] != b"\0\0" or head[2] not in _IDX_TYPES:
            raise DataError(f"{path}: offset 0: {head.hex(' ')}, expected an IDX file's 00 00 TYPE DIMENSIONS")
        dims = head[3]
        if not 1 <= dims <= 32:
            raise DataError(f"{path}: offset 3: {dims} dimensions, expected 1 to 32")
        sizes = _exactly(file, path, 4, 4 * dims, f"{dims} sizes")
        shape = tuple(int.from_bytes(sizes[4 * i : 4 * i + 4], "big") for i in range(dims))
        dtype = np.dtype(_IDX_TYPES[head[2]])
        start, length = 4 + 4 * dims, math.prod(shape) * dtype.itemsize
        body = _exactly(file, path, start, length, f"{length:,} bytes for shape {shape} of {dtype.name}")
        if _some(file, path, start + length, 1):
            raise DataError(f"{path}: offset {start + length}: more bytes, expected the end after shape {shape}")
    if not length:
        raise DataError(f"{path}: offset 4: shape {shape} holds nothing")
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _open(path: str | os.PathLike[str]) -> IO[bytes]:
    with open(path, "rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if gzipped else open(path, "rb")  # type: ignore[return-value]


def _some(file: IO[bytes], path: Any, offset: int, length: int) -> bytes:
    try:
        return file.read(length)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: offset {offset}: damaged gzip data: {error}") from None


def _exactly(file: IO[bytes], path: Any, offset: int, length: int, what: str) -> bytes:
    """So many bytes, read in pieces: a size that the file doesn't hold allocates nothing."""
    pieces, missing = [], length
    while missing and (piece := _some(file, path, offset, min(missing, 1 << 20))):
        pieces.append(piece)
        missing -= len(piece)
    if missing:
        raise DataError(f"{path}: offset {offset}: the file ends {missing:,} bytes short of {what}")
    return b"".join(pieces)


def load_idx(images: str | os.PathLike[str], labels: str | os.PathLike[str]) -> Dataset:
    """A pair of IDX files, as MNIST comes: images flattened to features (bytes to 0…1) and their labels.

    Errors:
        DataError: a damaged file, or two files that don't belong together.
    """
    x, y = read_idx(images), read_idx(labels)
    if y.ndim != 1 or len(x) != len(y):
        raise DataError(f"{labels}: shape {y.shape}, expected a label for each of the {len(x)} rows of {images}")
    return _dataset(labels, (x / 255 if x.dtype == np.uint8 else x).reshape(len(x), -1), y, None)


def load_npz(path: str | os.PathLike[str]) -> Dataset:
    """A ``.npz`` with the arrays ``x`` (N, …) and ``y`` (N), and maybe ``classes``, the names.

    Errors:
        DataError: a damaged file, a missing array, or arrays that don't fit.
    """
    found = _arrays(path, "x", "y")
    x, y = found["x"], found["y"]
    if not x.size:
        raise DataError(f"{path}: x has shape {x.shape}: it holds nothing")
    if y.shape != x.shape[:1]:
        raise DataError(f"{path}: y has shape {y.shape}, expected {x.shape[:1]}: a label for each row of x")
    return _dataset(path, x.reshape(len(x), -1), y, found.get("classes"))


def _arrays(path: Any, *needed: str) -> dict[str, np.ndarray]:
    """The arrays of a ``.npz`` that a data set may have; x is checked to be rows of numbers."""
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in ("x", "y", "classes") if name in arrays.files}
                names = arrays.files
        except DAMAGE as error:
            raise DataError(f"{path}: no .npz file of plain arrays: {error}") from None
    for name in needed:
        if name not in found:
            raise DataError(f"{path}: no array {name!r}; it holds {', '.join(names) or 'nothing'}")
    if found["x"].dtype.kind not in "fiub" or found["x"].ndim < 2:
        x = found["x"]
        raise DataError(f"{path}: x has shape {x.shape} and dtype {x.dtype}, expected numbers of shape (N, …)")
    return found


def load_csv(path: str | os.PathLike[str], label: int | str = -1) -> Dataset:
    """A ``.csv`` with a row of numbers and a label on each line; a first line of names is recognised.

    Args:
        path: the file, in UTF-8.
        label: the label's column, by position or name. Its values are class names; whole numbers keep their order.

    Errors:
        DataError: the file, the line, the column, what stands there and what was expected.
    """
    names, lines = _table(path)
    column = _column(path, names, label)
    y = [cells.pop(column).strip() for _, cells in lines]
    for (number, _), name in zip(lines, y, strict=True):
        if not name:
            raise DataError(f"{path}: line {number}, column {names[column]}: no label")
    if all(_is_number(name) and float(name).is_integer() for name in y):
        y = [str(int(float(name))) for name in y]  # 1 and 1.0 are one class
    return _dataset(path, _features(path, names[:column] + names[column + 1 :], lines), np.array(y), None)


def feature_names(path: str | os.PathLike[str], label: int | str = -1) -> list[str]:
    """The names that a ``.csv``'s first line gives its features; none if it has no such line."""
    names, _ = _table(path)
    del names[_column(path, names, label)]
    return [] if all(name.isdecimal() for name in names) else names


def load_features(path: str | os.PathLike[str], width: int, wanted: Sequence[str] = ()) -> np.ndarray:
    """Rows to predict, float32: a ``.npz``'s array ``x``, or a ``.csv``.

    Where the file and the training data both name their columns, the wanted ones are picked by name.

    Errors:
        DataError: a damaged file, or rows that aren't width wide.
    """
    if Path(path).suffix == ".npz":
        found = _arrays(path, "x")
        x = found["x"].reshape(len(found["x"]), -1).astype(np.float32)
    else:
        names, lines = _table(path)
        if wanted and not all(name.isdecimal() for name in names):
            missing = [name for name in wanted if name not in names]
            if missing:
                raise DataError(f"{path}: no column {missing[0]!r}, which the model was trained on; there are {names}")
            order = [names.index(name) for name in wanted]
            names, lines = list(wanted), [(number, [cells[i] for i in order]) for number, cells in lines]
        x = _features(path, names, lines) if len(names) == width else np.empty((0, len(names)), np.float32)
    if x.shape[1] != width:
        more = "; without the label's column" if x.shape[1] == width + 1 else ""
        raise DataError(f"{path}: rows of {x.shape[1]} columns, but the model takes {width} features{more}")
    return x


def _table(path: Any) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """A table's column names and its lines of equal length, with their numbers in the file."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: no text table in UTF-8: {error}") from None
    if not lines:
        raise DataError(f"{path}: the file is empty")
    names = [str(i) for i in range(len(lines[0][1]))]
    if not any(_is_number(cell) for cell in lines[0][1]):
        names = [cell.strip() for cell in lines.pop(0)[1]]
    for number, cells in lines:
        if len(cells) != len(names):
            raise DataError(f"{path}: line {number}: {len(cells)} columns, expected {len(names)}")
    return names, lines


def _features(path: Any, names: list[str], lines: list[tuple[int, list[str]]]) -> np.ndarray:
    x = np.empty((len(lines), len(names)), np.float32)
    for row, (number, cells) in enumerate(lines):
        for i, cell in enumerate(cells):
            if not _is_number(cell):
                raise DataError(
                    f"{path}: line {number}, column {names[i]}: {cell!r}, expected a finite number (is it the label?)"
                )
            x[row, i] = float(cell)
    return x


def _is_number(cell: str) -> bool:
    try:
        return "_" not in cell and math.isfinite(float(cell))
    except ValueError:
        return False


def _column(path: Any, names: list[str], label: int | str) -> int:
    if len(names) < 2:
        raise DataError(f"{path}: {len(names)} column, expected features and a label, separated by commas")
    if isinstance(label, str) and label in names:
        return names.index(label)
    if isinstance(label, int) and -len(names) <= label < len(names):
        return label % len(names)
    raise DataError(f"{path}: no column {label!r}; the columns are {', '.join(names)}")


def _dataset(path: Any, x: np.ndarray, y: np.ndarray, classes: np.ndarray | None) -> Dataset:
    """Float features and labels counted from 0."""
    if not len(x):
        raise DataError(f"{path}: no rows")
    x = x.astype(np.float32)
    if not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x))[0][0])
        raise DataError(f"{path}: row {row} has a feature that is nan or infinite; a missing value?")
    if y.dtype.kind in "iu":
        count = int(y.max()) + 1 if classes is None else len(classes)
        if y.min() < 0 or y.max() >= count:
            wrong = int(np.flatnonzero((y < 0) | (y >= count))[0])
            raise DataError(f"{path}: y[{wrong}] is {y[wrong]}, expected labels from 0 to {count - 1}")
        if count > max(1000, 10 * len(y)):
            raise DataError(f"{path}: the largest label is {y.max()} in {len(y)} rows; are these class labels?")
        names = tuple(map(str, range(count) if classes is None else classes.tolist()))
        return Dataset(x, y.astype(np.int64), names)
    if y.dtype.kind not in "US":
        raise DataError(f"{path}: labels have dtype {y.dtype}, expected integers or names")
    y = y.astype(str)
    unique = np.unique(y).tolist()
    names = tuple(sorted(unique, key=float if all(_is_number(name) for name in unique) else str))
    place = {name: i for i, name in enumerate(names)}
    return Dataset(x, np.array([place[name] for name in y.tolist()], np.int64), names)


def load_file(paths: list[str], label: int | str = -1) -> Dataset:
    """A data set from a ``.csv``, a ``.npz``, or a pair of IDX files (images, labels)."""
    if len(paths) == 2:
        return load_idx(*paths)
    if len(paths) == 1 and Path(paths[0]).suffix == ".csv":
        return load_csv(paths[0], label)
    if len(paths) == 1 and Path(paths[0]).suffix == ".npz":
        return load_npz(paths[0])
    raise DataError(f"{' '.join(paths)}: expected a .csv file, a .npz file, or two IDX files: images and labels")
