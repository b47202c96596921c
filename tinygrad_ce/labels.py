"""The one validator of targets: class indices, soft targets, class weights and the options that go with them.

Every loss, metric and the trainer ask here, so a wrong label gets the same words everywhere: the first wrong row, its
value, what is valid, and the likely cause.
"""

from __future__ import annotations

from typing import Any

import numpy as np

REDUCTIONS = ("mean", "sum", "none")


def check_options(where: str, reduction: Any, label_smoothing: Any = 0.0) -> None:
    """Reject an unknown reduction, or a smoothing outside [0, 1)."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"{where}: reduction is {reduction!r}, expected one of {', '.join(map(repr, REDUCTIONS))}")
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"{where}: label_smoothing is {label_smoothing!r}, expected a number in [0, 1)")


def check_axis(where: str, shape: tuple[int, ...], axis: int | None) -> int:
    """The class axis as a number from 0: given, or 1 (0 where there is but one axis)."""
    if not shape:
        raise ValueError(f"{where}: input is a single number; expected logits of shape (C), (N, C) or (N, C, d1, …)")
    if axis is None:
        return 0 if len(shape) == 1 else 1
    if not -len(shape) <= axis < len(shape):
        raise ValueError(
            f"{where}: axis is {axis}, but input has shape {shape}; expected {-len(shape)} to {len(shape) - 1}"
        )
    return axis % len(shape)


def check_weight(where: str, weight: Any, classes: int) -> np.ndarray:
    """One finite weight ≥ 0 for each class."""
    w = np.asarray(weight)
    if w.shape != (classes,) or w.dtype.kind not in "fiub":
        raise ValueError(
            f"{where}: weight has shape {w.shape} and dtype {w.dtype}, expected a number for each of {classes} classes"
        )
    wrong = np.flatnonzero(~(np.isfinite(w) & (w >= 0)))
    if wrong.size:
        raise ValueError(f"{where}: weight[{wrong[0]}] is {w[wrong[0]]}, expected a finite number ≥ 0")
    return w


def is_soft(target: Any, shape: tuple[int, ...]) -> bool:
    """Whether a target is soft: floats, in the input's own shape."""
    target = target if hasattr(target, "dtype") else np.asarray(target)
    return bool(target.dtype.kind == "f" and target.shape == shape)


def check_indices(
    where: str, target: np.ndarray, input_shape: tuple[int, ...], axis: int, ignore_index: int | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Class indices of an input's rows, flattened, and which of them count (None: all)."""
    classes, shape = input_shape[axis], input_shape[:axis] + input_shape[axis + 1 :]
    t = target
    if t.dtype.kind not in "iu":
        raise TypeError(
            f"{where}: target has dtype {t.dtype} and shape {t.shape}; expected class indices, integers of shape "
            f"{shape}, or soft targets, floats of shape {input_shape}{_why_dtype(t, shape)}"
        )
    if t.shape != shape:
        raise ValueError(f"{where}: target has shape {t.shape}, expected {shape}{_why_shape(t, shape, classes)}")
    t = t.reshape(-1)
    if t.size == 0:
        return t.astype(np.intp), None
    # Read as unsigned, a negative label is a huge one: one look finds both kinds.
    ignorable = ignore_index is not None and 0 <= ignore_index < classes
    if not ignorable and np.maximum.reduce(t.view(_UNSIGNED[t.dtype.itemsize])) < classes:
        return t.astype(np.intp, copy=False), None
    counts = np.ones(t.shape, bool) if ignore_index is None else t != ignore_index
    wrong = np.flatnonzero(counts & ((t < 0) | (t >= classes)))
    if wrong.size:
        raise ValueError(_wrong_index(where, t, shape, wrong, classes))
    return t.astype(np.intp), None if counts.all() else counts


_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def _why_dtype(t: np.ndarray, shape: tuple[int, ...]) -> str:
    if t.dtype.kind == "b":
        return "; for class indices use target.astype(int)"
    if t.dtype.kind == "f" and t.shape == shape and t.size:
        if not np.isfinite(t).all():
            wrong = np.argwhere(~np.isfinite(t))[0]
            return f"; target{_at(wrong)} is {t[tuple(wrong)]}: a missing label?"
        if (t == np.round(t)).all():
            return "; the values are whole numbers: use target.astype(int)"
    return ""


def _why_shape(t: np.ndarray, shape: tuple[int, ...], classes: int) -> str:
    if t.shape == (*shape, 1):
        return "; a column of labels: use target[..., 0]"
    if t.ndim == len(shape) + 1 and classes in t.shape and t.size and t.min() >= 0 and t.max() <= 1:
        return (
            "; one-hot rows of integers? use target.argmax(axis) for indices, or target.astype(float) as soft targets"
        )
    if t.ndim == len(shape) and t.size != np.prod(shape):
        return f"; {t.size} labels for {int(np.prod(shape))} rows of logits"
    return ""


def _at(index: Any) -> str:
    return f"[{', '.join(str(int(i)) for i in index)}]"


def _wrong_index(where: str, t: np.ndarray, shape: tuple[int, ...], wrong: np.ndarray, classes: int) -> str:
    first = t[wrong[0]]
    others = f" (and {wrong.size - 1} more like it)" if wrong.size > 1 else ""
    cause = ""
    if first < 0:
        cause = "; padding? give its value as ignore_index"
    elif t.max() == classes and t.min() >= 1:
        cause = "; labels counted from 1? use target - 1"
    position = _at(np.unravel_index(wrong[0], shape)) if shape else ""
    return f"{where}: target{position} is {first}{others}; valid are 0 to {classes - 1}, for {classes} classes{cause}"


def check_soft(where: str, target: np.ndarray) -> np.ndarray:
    """Soft targets: a finite mass ≥ 0 for each class."""
    if target.size and not (target.min() >= 0 and target.max() < np.inf):
        wrong = np.argwhere(~((target >= 0) & (target < np.inf)))[0]
        raise ValueError(f"{where}: target{_at(wrong)} is {target[tuple(wrong)]}; a soft target is a finite mass ≥ 0")
    return target
