"""Checks of the figures' arguments; each error names the function and the argument."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.engine.constants import plain
from tinygrad_ce.losses import validate
from tinygrad_ce.nn.module import Module


def numbers(where: str, name: str, value: Any, ndim: int | None, finite: bool = True) -> np.ndarray:
    """An argument as a float64 array, not empty, with so many axes (None: any)."""
    try:
        array = plain(value, name)
    except ValueError:
        raise ValueError(f"{where}: {name} is no array of numbers: rows of different lengths?") from None
    shape = {None: "any shape", 1: "shape (n)", 2: "shape (n, m)"}[ndim]
    if array.dtype.kind not in "fiub" or (ndim is not None and array.ndim != ndim) or not array.size:
        raise ValueError(
            f"{where}: {name} has dtype {array.dtype} and shape {array.shape}, expected numbers of {shape}"
        )
    if finite:
        check_entries(where, name, array, np.isfinite(array), "a finite number")
    return array.astype(float)


def check_entries(where: str, name: str, array: np.ndarray, right: np.ndarray, expected: str) -> None:
    """Name the first entry that isn't right."""
    if not right.all():
        raise ValueError(f"{where}: {name}{validate.first(~right)} is {array[~right][0]}, expected {expected}")


def logit_row(where: str, logits: Any) -> np.ndarray:
    x = numbers(where, "logits", logits, 1, finite=False)
    check_entries(where, "logits", x, x < np.inf, "a finite number or -inf")
    if not np.isfinite(x).any():
        raise ValueError(f"{where}: every logit is -inf, expected at least one finite number")
    return x


def names_of(where: str, names: Any, count: int, name: str = "names") -> list[str]:
    if names is None:
        return [str(i) for i in range(count)]
    words = [str(word) for word in names]
    if isinstance(names, str) or len(words) != count:
        raise ValueError(f"{where}: {name} is {names!r}, expected {count} names, one for each")
    return words


def check_module(where: str, model: Any) -> None:
    if not isinstance(model, Module):
        raise TypeError(f"{where}: model is of type {type(model).__name__}, expected a Module")


def check_positive(where: str, name: str, value: Any) -> None:
    if not isinstance(value, int | float | np.integer | np.floating) or not 0 < value < np.inf:
        raise ValueError(f"{where}: {name} is {value!r}, expected a number above 0")
