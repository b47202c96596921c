"""Readers of files: IDX (MNIST's), .npz and .npy. Nothing is executed; errors say where a file is wrong."""

from __future__ import annotations

import contextlib
import gzip
import math
import os
from collections.abc import Container, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np

from tinygrad_ce.common.files import AnyPath
from tinygrad_ce.data import arrays, naming
from tinygrad_ce.data.arrays import DataError
from tinygrad_ce.data.dataset import Dataset

__all__ = ["DataError", "load_idx", "load_npz", "read_idx"]

_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@contextlib.contextmanager
def reading(path: AnyPath, what: str = "") -> Iterator[BinaryIO]:
    """The file, open; what is wrong in it becomes a DataError that names it."""
    try:
        with arrays.open_file(path) as file:
            yield file
    except arrays.Damage as error:
        raise DataError(f"{path}: {what}{error}") from None


def read_idx(path: AnyPath, *, max_bytes: int | None = None) -> np.ndarray:
    """The array in an IDX file, gzipped or not.

    Args:
        path: the file.
        max_bytes: how many bytes a gzipped array may unpack to; 64 MiB or 100 times the file, the larger, unless given.

    Raises:
        DataError: the file, the offset, what stands there and what was expected.
        OSError: it can't be opened.

    Example:
        >>> import struct, tempfile, tinygrad_ce as tg
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp())
        >>> head = bytes([0, 0, 8, 2]) + struct.pack(">II", 2, 3)  # bytes (8) along two axes
        >>> _ = (folder / "x.idx").write_bytes(head + bytes(range(6)))
        >>> tg.data.read_idx(folder / "x.idx")
        array([[0, 1, 2],
               [3, 4, 5]], dtype=uint8)

    Source:
        LeCun, Cortes, Burges, The MNIST database, file formats.
    """
    with reading(path) as file:
        gzipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not gzipped:
            return _idx(arrays.ByteReader(file))
        size = os.fstat(file.fileno()).st_size
        with gzip.GzipFile(fileobj=file) as unpacked:
            return _idx(arrays.ByteReader(unpacked, packing="gzip data"), arrays.allowance(size, max_bytes))


def _idx(reader: arrays.ByteReader, most: int | None = None) -> np.ndarray:
    """The array in an IDX file's bytes, which may be so many at most."""
    head = bytes(reader.take(4, "the magic number"))
    if head[:2] != b"\0\0" or head[2] not in _IDX_TYPES:
        raise arrays.Damage(f"offset 0: {head.hex(' ')}, expected an IDX file's 00 00 TYPE DIMENSIONS")
    dims = head[3]
    if not 1 <= dims <= 32:
        raise arrays.Damage(f"offset 3: {dims} dimensions, expected 1 to 32")
    sizes = reader.take(4 * dims, f"{dims} sizes")
    shape = tuple(int.from_bytes(sizes[4 * i : 4 * i + 4], "big") for i in range(dims))
    dtype = np.dtype(_IDX_TYPES[head[2]])
    length = math.prod(shape) * dtype.itemsize
    if not length:
        raise arrays.Damage(f"offset 4: shape {arrays.shown(shape)} holds nothing, expected sizes of at least 1")
    arrays.check_allowance(reader.here(), length, most)
    body = reader.take(length, f"{length:,} bytes for shape {shape} of {dtype.name}")
    reader.end(f"shape {shape}")
    return np.ndarray(shape, dtype, body).astype(dtype.newbyteorder("="), copy=False)


def load_idx(images: AnyPath, labels: AnyPath, *, max_bytes: int | None = None) -> Dataset:
    """A pair of IDX files, as MNIST comes: images flattened to features (bytes to 0…1) and their labels.

    Args:
        images: a file of numbers, an entry along the first axis for each row.
        labels: a file of whole numbers, one for each row.
        max_bytes: how many bytes a gzipped array may unpack to; 64 MiB or 100 times the file, the larger, unless given.

    Raises:
        DataError: a damaged file, or two files that don't belong together.

    Example:
        >>> import struct, tempfile, tinygrad_ce as tg
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp())
        >>> head = bytes([0, 0, 8, 3]) + struct.pack(">III", 2, 1, 2)  # bytes (8) along three axes
        >>> _ = (folder / "x.idx").write_bytes(head + bytes([0, 255, 51, 0]))
        >>> _ = (folder / "y.idx").write_bytes(bytes([0, 0, 8, 1]) + struct.pack(">I", 2) + bytes([1, 0]))
        >>> data = tg.data.load_idx(folder / "x.idx", folder / "y.idx")
        >>> data.x, data.y
        (array([[0. , 1. ],
               [0.2, 0. ]], dtype=float32), array([1, 0]))
    """
    x, y = read_idx(images, max_bytes=max_bytes), read_idx(labels, max_bytes=max_bytes)
    if y.ndim != 1 or len(x) != len(y):
        raise DataError(f"{labels}: shape {y.shape}, expected a label for each of the {len(x)} rows of {images}")
    if x.dtype == np.uint8:
        x = np.divide(x, 255, dtype=np.float32)
    return dataset(labels, features(images, x.reshape(len(x), -1)), y, None)


def load_npz(path: AnyPath, *, max_bytes: int | None = None) -> Dataset:
    """A ``.npz`` with the arrays ``x`` (N, …) and ``y`` (N), and maybe ``classes``, the names.

    Args:
        path: the file.
        max_bytes: how many bytes the arrays may unpack to; 64 MiB or 100 times the file, the larger, unless given.

    Raises:
        DataError: a damaged file, a missing array, or arrays that don't fit.

    Example:
        >>> import numpy as np, os, tempfile, tinygrad_ce as tg
        >>> path = os.path.join(tempfile.mkdtemp(), "data.npz")
        >>> np.savez(path, x=np.ones((3, 4)), y=np.array(["cat", "dog", "cat"]))
        >>> tg.data.load_npz(path)
        Dataset(x: float32 (3, 4), y: int64 (3,), classes=('cat', 'dog'))
    """
    found = npz_arrays(path, max_bytes, "x", "y")
    x, y, classes = found["x"], found["y"], found.get("classes")
    if y.shape != x.shape[:1]:
        raise DataError(f"{path}: y has shape {y.shape}, expected {x.shape[:1]}: a label for each row of x")
    return dataset(path, features(path, x.reshape(len(x), -1)), y, classes)


def read_npy(path: Any) -> np.ndarray:
    """The array of a ``.npy``."""
    with reading(path, "no .npy file of a plain array: ") as file:
        return arrays.read_array(arrays.ByteReader(file), os.fstat(file.fileno()).st_size)


def npz_arrays(path: Any, max_bytes: int | None, *needed: str, outlined: Container[str] = ()) -> dict[str, np.ndarray]:
    """The arrays of a ``.npz`` that a data set may have; x is checked to be rows of numbers."""
    with reading(path, "no .npz file of plain arrays: ") as file:
        found, names = arrays.read_npz(file, ("x", "y", "classes"), max_bytes, outlined)
    for name in needed:
        if name not in found:
            there = arrays.listed(names) or "nothing"
            raise DataError(f"{path}: no array {name!r}; it holds {there}, expected {' and '.join(needed)}")
    check_rows(path, found["x"].shape, found["x"].dtype)
    classes = found.get("classes")
    if classes is not None and (classes.ndim != 1 or classes.dtype.kind not in "USiu"):
        raise DataError(f"{path}: classes has shape {classes.shape} and dtype {classes.dtype}, expected a row of names")
    return found


def check_rows(path: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse features that are no numbers, or have no row or no column."""
    if dtype.kind not in "fiub" or len(shape) < 2 or 0 in shape:
        raise DataError(f"{path}: x has shape {shape} and dtype {dtype}, expected numbers of shape (N, …)")


def features(path: Any, x: np.ndarray, first: int = 0) -> np.ndarray:
    """Rows of numbers, of which the first has this number in the file, as float32."""
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is looked at below
        found = x.astype(np.float32, copy=False)
    finite = np.isfinite(found)
    if not finite.all():
        place = np.unravel_index(int(finite.argmin()), found.shape)
        raise DataError(
            f"{path}: row {first + place[0]} has a feature that is {x[place]}, "
            "expected a finite number of float32; a missing value?"
        )
    return found


def dataset(path: Any, x: np.ndarray, y: np.ndarray, classes: Sequence[Any] | np.ndarray | None) -> Dataset:
    """Features and labels counted from 0."""
    if not len(y):
        raise DataError(f"{path}: no rows, expected at least one")
    if y.dtype.kind in "US":
        unique, y = np.unique(naming.words(path, "y", y), return_inverse=True)
        names = unique.tolist()
        classes = naming.in_order(names)
        place = {name: i for i, name in enumerate(classes)}
        y = np.array([place[name] for name in names], np.int64)[y]
    elif y.dtype.kind not in "iu":
        raise DataError(f"{path}: labels have dtype {y.dtype}, expected integers or names")
    count = int(y.max()) + 1 if classes is None else len(classes)
    if y.min() < 0 or y.max() >= count:
        wrong = int(np.flatnonzero((y < 0) | (y >= count))[0])
        raise DataError(f"{path}: y[{wrong}] is {y[wrong]}, expected labels from 0 to {count - 1}")
    naming.check_count(path, count, len(y))
    if isinstance(classes, np.ndarray):
        classes = naming.words(path, "classes", classes).tolist()
    names = tuple(map(str, range(count) if classes is None else classes))
    for name in names:
        naming.check_name(path, name)
    naming.check_forms(path, names)
    return Dataset(x, y.astype(np.int64, copy=False), names)
