"""Data sets that ship with the package, and seeded toy sets."""

from __future__ import annotations

from importlib import resources

import numpy as np

from tinygrad_ce.data.dataset import Dataset


def _load(name: str, scale: float) -> Dataset:
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
    return _load("digits", 16)


def load_iris() -> Dataset:
    """150 irises: length and width of sepal and petal in cm, 3 species.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.data.load_iris().classes
        ('setosa', 'versicolor', 'virginica')

    Source:
        Fisher, 1936; UCI, doi:10.24432/C56C76, CC BY 4.0.
    """
    return _load("iris", 10)


def _dataset(x: np.ndarray, y: np.ndarray, classes: int, rng: np.random.Generator) -> Dataset:
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
    return _dataset(centres[y] + spread * rng.standard_normal((n, features)), y, classes, rng)


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
    return _dataset(x + noise * rng.standard_normal((n, 2)), y, 2, rng)


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
    return _dataset(x + noise * rng.standard_normal((n, 2)), y, classes, rng)
