"""Dataset: rows of features with their labels; those that ship with the package, toy ones, splits and batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.common.words import normal
from tinygrad_ce.engine.constants import unmasked
from tinygrad_ce.losses import validate

__all__ = ["Dataset", "batches", "load_digits", "load_iris", "make_blobs", "make_moons", "make_spirals", "split"]

Pair = tuple[np.ndarray, np.ndarray]  # features and labels
BLOCK = 1 << 18  # bytes of rows that are read, or measured, together


class Dataset(NamedTuple):
    """Features, labels and the names of the classes; unpacks as ``x, y, classes = data``.

    Example:
        >>> import tinygrad_ce as tg
        >>> x, y, classes = tg.data.load_iris()
        >>> x.shape, classes[y[0]]
        ((150, 4), 'setosa')
    """

    x: np.ndarray
    """(N, …) features, float32."""
    y: np.ndarray
    """(N) class indices, int64."""
    classes: tuple[str, ...]
    """The name of each class."""

    def __repr__(self) -> str:
        return f"Dataset(x: {self.x.dtype} {self.x.shape}, y: {self.y.dtype} {self.y.shape}, classes={self.classes})"


def as_dataset(where: str, data: Any) -> Dataset:
    """A Dataset from one, or from a pair (x, y), with rows counted and features checked to be finite.

    Raises:
        TypeError, ValueError: not a pair, lengths that differ, no rows, or a feature that is nan or inf (its row is
            named).
    """
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        kind = type(data).__name__
        hint = "; of a DataFrame with its label's column, (frame, 'name')" if hasattr(data, "columns") else ""
        raise TypeError(f"{where}: data is of type {kind}, expected a Dataset, a pair (x, y) or a Stream{hint}")
    x, y = (np.asarray(unmasked(f"{where}: {name}", a)) for name, a in zip("xy", data[:2], strict=True))
    if x.ndim < 2 or x.dtype.kind not in "fiub":
        raise ValueError(f"{where}: x has shape {x.shape} and dtype {x.dtype}, expected numbers of shape (N, features)")
    x = x.astype(np.float32, copy=False)
    if y.shape[:1] != x.shape[:1]:
        raise ValueError(f"{where}: x has {len(x)} rows and y has shape {y.shape}; expected a label for each row")
    if not len(x):
        raise ValueError(f"{where}: there are no rows")
    if not np.isfinite(x).all():
        row = np.argwhere(~np.isfinite(x))[0].tolist()
        raise ValueError(f"{where}: x{row} is {x[tuple(row)]}; a missing value? fill it or drop the row")
    classes = tuple(normal(str(name)) for name in data[2]) if len(data) == 3 else _numbered(y)
    return data._replace(x=x, y=y, classes=classes) if isinstance(data, Dataset) else Dataset(x, y, classes)


def _numbered(y: np.ndarray) -> tuple[str, ...]:
    """Names for classes that have none."""
    if y.ndim == 1 and y.dtype.kind in "iu":
        count = int(y.max()) + 1
        return tuple(map(str, range(count if count <= max(1000, 10 * len(y)) else 0)))  # else a label is wrong
    return tuple(map(str, range(y.shape[-1] if y.ndim > 1 else 0)))


def _shipped(name: str, scale: float) -> Dataset:
    with resources.files("tinygrad_ce.data").joinpath("sets", f"{name}.npz").open("rb") as file:
        arrays = np.load(file, allow_pickle=False)
        x = (arrays["x"] / scale).astype(np.float32)
        return Dataset(x, arrays["y"].astype(np.int64), tuple(arrays["classes"].tolist()))


def load_digits() -> Dataset:
    """1,797 handwritten digits: 8×8 pixels from 0 to 1 as 64 features, 10 classes.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.data.load_digits().x.shape
        (1797, 64)

    Source:
        Alpaydin, Kaynak, UCI, 1998, doi:10.24432/C50P49, CC BY 4.0.
    """
    return _shipped("digits", 16)


def load_iris() -> Dataset:
    """150 irises: length and width of sepal and petal in cm, 3 species.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.data.load_iris().classes
        ('setosa', 'versicolor', 'virginica')

    Source:
        Fisher, 1936; UCI, doi:10.24432/C56C76, CC BY 4.0.
    """
    return _shipped("iris", 10)


def _shuffled(x: np.ndarray, y: np.ndarray, classes: int, rng: np.random.Generator) -> Dataset:
    order = rng.permutation(len(y))
    return Dataset(x[order].astype(np.float32), y[order].astype(np.int64), tuple(str(i) for i in range(classes)))


def _labels(n: int, classes: int) -> np.ndarray:
    if n < classes or classes < 1:
        raise ValueError(f"n is {n} and classes is {classes}; expected at least one row for each class")
    return np.arange(n) % classes


def make_blobs(n: int = 300, classes: int = 3, features: int = 2, spread: float = 1.0, seed: int = 0) -> Dataset:
    """Round clouds of points, one for each class, with a deviation of spread around centres within ±5.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.data.make_blobs(30).x.shape
        (30, 2)
    """
    rng = np.random.default_rng(seed)
    y = _labels(n, classes)
    centres = rng.uniform(-5, 5, (classes, features))
    return _shuffled(centres[y] + spread * rng.standard_normal((n, features)), y, classes, rng)


def make_moons(n: int = 300, noise: float = 0.1, seed: int = 0) -> Dataset:
    """Two interleaved half circles: no line separates them, a hidden layer does.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.data.make_moons(30).x.shape
        (30, 2)
    """
    rng = np.random.default_rng(seed)
    y = _labels(n, 2)
    angle = rng.uniform(0, np.pi, n)
    x = np.where(y == 0, [np.cos(angle), np.sin(angle)], [1 - np.cos(angle), 0.5 - np.sin(angle)]).T
    return _shuffled(x + noise * rng.standard_normal((n, 2)), y, 2, rng)


def make_spirals(n: int = 300, classes: int = 3, noise: float = 0.05, turns: float = 0.75, seed: int = 0) -> Dataset:
    """Arms that wind around each other out of one centre, one for each class.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.data.make_spirals(30).classes
        ('0', '1', '2')
    """
    rng = np.random.default_rng(seed)
    y = _labels(n, classes)
    radius = rng.uniform(0.05, 1, n)
    angle = 2 * np.pi * (turns * radius + y / classes)
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return _shuffled(x + noise * rng.standard_normal((n, 2)), y, classes, rng)


def split(data: Any, fraction: float = 0.2, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Hold out a fraction of the rows of each class: (train, held out). The same seed gives the same rows.

    Raises:
        ValueError: the fraction isn't between 0 and 1, or too small or large for any row on either side.

    Warns:
        UserWarning: a class has but one row, and so is on one side alone.

    Example:
        >>> import tinygrad_ce as tg
        >>> train, test = tg.data.split(tg.data.load_iris())
        >>> len(train.x), len(test.x)
        (120, 30)
    """
    data = as_dataset("split", data)
    held = hold_out(data.y, fraction, seed, data.classes)
    return data._replace(x=data.x[~held], y=data.y[~held]), data._replace(x=data.x[held], y=data.y[held])


def hold_out(y: np.ndarray, fraction: float, seed: int, classes: Sequence[str]) -> np.ndarray:
    """Which rows ``split`` holds out, given all labels and the names of the classes."""
    held = held_rows(y, fraction, seed)
    label = y if y.ndim == 1 else y.argmax(axis=-1)
    warn_of_single_rows("split", np.bincount(label[label >= 0]), classes)
    return held


def held_rows(y: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """The same without a warning."""
    if not 0 < fraction < 1:
        raise ValueError(f"split: fraction is {fraction!r}, expected a number between 0 and 1")
    rng = np.random.default_rng(seed)
    label = y if y.ndim == 1 else y.argmax(axis=-1)
    held = np.zeros(len(label), bool)
    for c in np.unique(label):
        rows = rng.permutation(np.flatnonzero(label == c))
        held[rows[: round(fraction * len(rows))]] = True
    if held.all() or not held.any():
        raise ValueError(f"split: fraction {fraction} of {len(label)} rows leaves one side empty")
    return held


def warn_of_single_rows(where: str, counts: np.ndarray, classes: Sequence[str]) -> None:
    """Warn of classes that have but one row, given how many rows each has."""
    single = [classes[c] if c < len(classes) else str(c) for c in np.flatnonzero(counts == 1).tolist()]
    if single:
        others = f" (and {len(single) - 1} more like it)" if len(single) > 1 else ""
        validate.warn(
            f"{where}: class {single[0]!r}{others} has but one row, so it is trained on or measured, not both; is the "
            f"label misspelt? leave the row out, or give more of them"
        )


def batches(
    data: Any, batch_size: int = 32, *, seed: int = 0, epoch: int = 0, start: int = 0, shuffle: bool = True
) -> Iterator[Pair]:
    """Rows in batches of (x, y), the last one smaller.

    Seed and epoch fix the order, so training can go on midway: with the batch number start, counted from 0.

    Example:
        >>> import tinygrad_ce as tg
        >>> [len(y) for x, y in tg.data.batches(tg.data.load_iris(), 64)]
        [64, 64, 22]
    """
    x, y = data[0], data[1]
    for rows in batch_rows(len(y), batch_size, seed, epoch, start, shuffle):
        yield x[rows], y[rows]


def batch_rows(
    count: int, batch_size: int, seed: int, epoch: int, start: int = 0, shuffle: bool = True
) -> Iterator[np.ndarray]:
    """Which of count rows are in each batch."""
    if batch_size < 1:
        raise ValueError(f"batches: batch_size is {batch_size!r}, expected at least 1")
    order = np.random.default_rng([seed, epoch]).permutation(count) if shuffle else np.arange(count)
    for first in range(start * batch_size, count, batch_size):
        yield order[first : first + batch_size]


def moments(shape: tuple[int, ...], pieces: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the deviation of each feature over rows that come in pieces, float64; of a constant one 1.

    Source:
        Chan, Golub, LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979.
    """
    count, mean, squares = 0, np.zeros(shape), np.zeros(shape)
    shift: Any = None
    for piece in pieces:
        shift = piece[0].astype(np.float64) if shift is None else shift
        x = piece - shift  # so that a constant feature is exactly one
        more = x.mean(axis=0)
        x -= more
        apart, total = more - mean, count + len(x)
        squares += np.square(x, out=x).sum(axis=0) + apart**2 * (count * len(x) / total)
        mean += apart * (len(x) / total)
        count = total
    deviation = np.sqrt(squares / count)
    return shift + mean, np.where(deviation > 0, deviation, 1)
