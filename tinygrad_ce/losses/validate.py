"""The one validator of targets: class indices, soft targets, class weights and the options that go with them.

Every loss, metric and the trainer ask here, so a wrong label gets the same words everywhere: the first wrong row, its
value, what is valid, and the likely cause.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import numpy as np

from tinygrad_ce.common.options import number

_PACKAGE = os.path.dirname(os.path.dirname(__file__))

REDUCTIONS = ("mean", "sum", "none")
_ONE_LOGIT = (
    "; input has one logit in each row, whose softmax is always 1: give one for each class, or use "
    "binary_cross_entropy_with_logits"
)


def check_options(where: str, reduction: Any, label_smoothing: Any = 0.0, ignore_index: Any = None) -> None:
    """Reject an unknown reduction, a smoothing outside [0, 1), or an ignored label that no integer label can be."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"{where}: reduction is {reduction!r}, expected one of {', '.join(map(repr, REDUCTIONS))}")
    if type(label_smoothing) is not float:
        number(where, "label_smoothing", label_smoothing)
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"{where}: label_smoothing is {label_smoothing!r}, expected a number in [0, 1)")
    if type(ignore_index) is not int:
        _check_ignored(where, ignore_index)


def _check_ignored(where: str, ignore_index: Any) -> None:
    """Reject what isn't one whole number, or None for none."""
    if ignore_index is not None and (np.ndim(ignore_index) or np.asarray(ignore_index).dtype.kind not in "iu"):
        raise TypeError(f"{where}: ignore_index is {ignore_index!r}, expected an integer, the label of rows to ignore")


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
    classes = input_shape[axis]
    shape = (input_shape[1 - axis],) if len(input_shape) == 2 else input_shape[:axis] + input_shape[axis + 1 :]
    t = target
    if type(ignore_index) is not int:
        _check_ignored(where, ignore_index)
    if t.dtype.kind not in "iu":
        raise TypeError(
            f"{where}: target has dtype {t.dtype} and shape {t.shape}; expected class indices, integers of shape "
            f"{shape}, or soft targets, floats of shape {input_shape}{_why_dtype(t, shape)}"
        )
    if t.shape != shape:
        raise ValueError(f"{where}: target has shape {t.shape}, expected {shape}{_why_shape(t, shape, classes)}")
    t = t.ravel()
    if t.size == 0:
        return t.astype(np.intp), None
    no_class = ignore_index is None or not 0 <= ignore_index < classes
    if no_class and t.item(t.argmax()) < classes and t.item(t.argmin()) >= 0:  # argmax is much quicker than max
        return t if t.dtype == np.intp else t.astype(np.intp), None
    counts = np.ones(t.shape, bool) if ignore_index is None else t != ignore_index
    wrong = np.flatnonzero(counts & ((t < 0) | (t >= classes)))
    if wrong.size:
        raise ValueError(_wrong_index(where, t, shape, wrong, classes))
    return t.astype(np.intp), None if counts.all() else counts


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
    if classes == 1 and t.shape == (*shape, 1):
        return _ONE_LOGIT
    if t.shape == (*shape, 1):
        return "; a column of labels: use target[..., 0]"
    if t.ndim == len(shape) + 1 and classes in t.shape and t.size and t.min() >= 0 and t.max() <= 1:
        return (
            "; one-hot rows of integers? use target.argmax(axis) for indices, or target.astype(float) as soft targets"
        )
    if t.ndim == len(shape) and t.size != np.prod(shape):
        return f"; {t.size} labels for {int(np.prod(shape))} rows of logits"
    return ""


def first(mask: np.ndarray) -> str:
    """The first position where a mask holds, for messages."""
    return _at(np.argwhere(mask)[0])


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
    cause = _ONE_LOGIT if classes == 1 else cause
    return f"{where}: target{position} is {first}{others}; valid are 0 to {classes - 1}, for {classes} classes{cause}"


def one_hot(target: Any, num_classes: int | None = None, dtype: Any = np.int64) -> np.ndarray:
    """Rows with a 1 at each index and 0 elsewhere, on a new last axis; num_classes is the largest index + 1 by default.

    Raises:
        ValueError, TypeError: an index that isn't one of the classes; the first is named.

    Example:
        >>> one_hot([0, 2])
        array([[1, 0, 0],
               [0, 0, 1]])
    """
    t = np.asarray(target)
    classes = num_classes if num_classes is not None else int(t.max()) + 1 if t.size and t.dtype.kind in "iu" else 0
    index, _ = check_indices("one_hot", t, (*t.shape, classes), t.ndim)
    rows = np.zeros((t.size, classes), dtype)
    rows[np.arange(t.size), index] = 1
    return rows.reshape(*t.shape, classes)


def warn_of_probabilities(where: str, rows: np.ndarray) -> None:
    """Warn where logits look like probabilities: every row without a negative and summing to 1.

    A handful of numbers tells nearly all logits apart, so a loss pays next to nothing for the question.
    """
    if rows.shape[1] < 2 or not len(rows) or rows.item(0) < 0 or rows.item(1) < 0 or rows.item(-1) < 0:
        return
    few = rows[:16]
    if few.min() >= 0 and few.max() <= 1.001 and np.abs(few.sum(axis=1) - 1).max() < 1e-3:
        warn(
            f"{where}: input looks like probabilities (rows ≥ 0 that sum to 1), but logits belong there: give the "
            f"logits, or log(p), or use categorical_cross_entropy(p, target); if these are logits, silence this with "
            f"warnings.filterwarnings('ignore', message='.*looks like probabilities')"
        )


def warn(message: str) -> None:
    """Warn at the innermost line outside of this package."""
    frame: Any = sys._getframe(1)
    level = 2
    while frame.f_back and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)


def check_probabilities(where: str, name: str, p: np.ndarray, axis: int | None = None) -> None:
    """Reject what is no probability; warn where rows along an axis don't sum to 1: they may be logits."""
    if p.size and not (p.min() >= 0 and p.max() <= 1 + 1e-6):
        bad = np.argwhere(~((p >= 0) & (p <= 1 + 1e-6)) & ~np.isnan(p))
        if len(bad):
            raise ValueError(
                f"{where}: {name}{_at(bad[0])} is {p[tuple(bad[0])]}, expected a probability from 0 to 1; "
                f"for logits use the loss that takes them"
            )
    if axis is not None and p.size:
        off = np.abs(p.sum(axis=axis, dtype=np.float64) - 1)
        if (off > 1e-3).any():
            row = np.argwhere(off > 1e-3)[0]
            total = float(p.sum(axis=axis)[tuple(row)])
            warn(
                f"{where}: row {_at(row)} of {name} sums to {total:.4g}, not 1; "
                f"for logits use cross_entropy; if this is meant, silence it with "
                f"warnings.filterwarnings('ignore', message='.*not 1')"
            )


def check_soft(where: str, target: np.ndarray) -> np.ndarray:
    """Soft targets: a finite number ≥ 0 for each class."""
    if target.size and not (target.min() >= 0 and target.max() < np.inf):
        wrong = np.argwhere(~((target >= 0) & (target < np.inf)))[0]
        raise ValueError(f"{where}: target{_at(wrong)} is {target[tuple(wrong)]}; a soft target is a finite mass ≥ 0")
    return target
