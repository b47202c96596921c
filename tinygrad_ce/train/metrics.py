"""How good a classifier is: accuracy, confusion matrix, precision and recall.

What measures logits takes them first, as ``cross_entropy`` does, and as ``fit`` gives them to its metrics:
``accuracy(y_pred, y_true)``, ``macro_f1(y_pred, y_true)``, ``top_k_accuracy(logits, y_true)``. Of class indices,
accuracy and F1 are the same in either order. ``confusion_matrix(y_true, y_pred)`` is not: it has scikit-learn's order.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tinygrad_ce.common.options import whole
from tinygrad_ce.common.spellings import told
from tinygrad_ce.data.columns import Plan
from tinygrad_ce.data.frames import is_frame
from tinygrad_ce.data.stream import Stream
from tinygrad_ce.data.tables import load_rows
from tinygrad_ce.engine.atomic import at_once
from tinygrad_ce.engine.constants import plain
from tinygrad_ce.engine.no_grad import no_grad
from tinygrad_ce.losses import validate
from tinygrad_ce.nn.module import Module
from tinygrad_ce.tensor import Tensor

_KNOWN = "_rows_of_frames"  # where a model keeps how rows of a DataFrame become numbers

__all__ = [
    "accuracy", "confusion_matrix", "logits", "macro_f1", "precision_recall", "predict", "top_k_accuracy",
]  # fmt: skip


def predict(model: Any, x: Any, batch_size: int = 4096) -> np.ndarray:
    """The class with the largest logit for each row of x: an array, a Dataset, or a Stream, whose order is kept.

    Of a model that was trained on a table, x may be a DataFrame, too: new rows become numbers by the same plan.

    Of a model with one logit for each row, class 1 where it is above 0, else 0. The model runs in evaluation and is
    left as it was.

    Raises:
        ValueError: a logit is nan; the first row is named.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.predict(lambda x: x, np.eye(3))
        array([0, 1, 2])
    """
    return _largest("predict", logits(model, x, batch_size))


def logits(model: Any, x: Any, batch_size: int = 4096) -> np.ndarray:
    """The model's output for each row of x, as an array; computed in batches, in evaluation, without recording.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.train.logits(tg.nn.Linear(4, 3, rng=0), np.zeros((5, 4))).shape
        (5, 3)
    """
    if isinstance(x, tuple):  # a Dataset, or a pair with labels
        x = x[0]
    rows_of = getattr(model, _KNOWN, None)
    if rows_of is not None and is_frame(x):
        x = rows_of(x)
    if isinstance(x, Stream):
        pieces: Any = (rows for rows, _ in x.batches(batch_size, shuffle=False))
    elif np.ndim(x) >= 2:
        pieces = (x[i : i + batch_size] for i in range(0, max(len(x), 1), batch_size))
    else:
        raise ValueError(f"x has shape {np.shape(x)}, expected rows: (N, features); for a single row give x[None]")
    modes = [(m, "training", m.training) for _, m in model.named_modules()] if isinstance(model, Module) else []
    try:
        at_once((module, "training", False) for module, _, _ in modes)
        with no_grad():
            parts = [model(piece) for piece in pieces]
    finally:
        at_once(modes)
    return np.concatenate([plain(part) for part in parts])


def know(model: Module, plan: Plan | None) -> None:
    """Let a model take DataFrames in ``logits`` and ``predict``, by the plan of those that it was trained on."""
    if plan is not None:
        setattr(model, _KNOWN, functools.partial(load_rows, plan=plan))  # no Tensors are looked for in a function


def value_of(loss: Any, output: np.ndarray, y: np.ndarray) -> float:
    """A loss of logits and targets as a number, without recording."""
    with no_grad():
        return float(loss(Tensor._leaf(output), y))


@told
def accuracy(y_pred: Any, y_true: Any) -> float:
    """The fraction of rows whose prediction is the label.

    Args:
        y_pred: (N, C) logits, of which the largest counts; (N, 1), of which one above 0 is class 1; or (N) class
            indices.
        y_true: (N) class indices.

    Raises:
        ValueError: a logit is nan, or a label or prediction isn't a class; the first is named.
        TypeError: labels that are logits, or no integers.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.accuracy([[0.1, 2.0], [3.0, 0.0]], [1, 1])
        0.5
    """
    p, y, _ = _pair("accuracy(y_pred, y_true)", y_pred, y_true)
    return float(np.mean(p == y)) if y.size else float("nan")


@told
def confusion_matrix(y_true: Any, y_pred: Any, classes: int | None = None) -> np.ndarray:
    """Counts with a row for each true class and a column for each predicted one.

    The order is scikit-learn's, labels first: swapped, the counts would be transposed.

    Args:
        y_true: (N) class indices.
        y_pred: (N) class indices, or (N, C) logits, of which the largest counts.
        classes: how many there are; by default as many as logits say, or up to the largest index that occurs.

    Raises:
        ValueError: a logit is nan, or a label or prediction isn't a class; the first is named.
        TypeError: labels that are logits, or no integers.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.confusion_matrix([0, 0, 1], [0, 1, 1])
        array([[1, 1],
               [0, 1]])
    """
    if classes is not None:
        classes = whole("confusion_matrix", "classes", classes)
    p, y, classes = _pair("confusion_matrix(y_true, y_pred)", y_pred, y_true, classes)
    return np.bincount(y * classes + p, minlength=classes * classes).reshape(classes, classes)


def precision_recall(confusion: Any) -> tuple[np.ndarray, np.ndarray]:
    """Of each class: the fraction right among the rows predicted as it, and among the rows that are it; nan of none.

    Args:
        confusion: the counts of ``confusion_matrix(y_true, y_pred)``, with a row for each true class.

    Raises:
        ValueError: what is given isn't as high as wide, such as labels or logits.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.precision_recall([[1, 1], [0, 1]])
        (array([1. , 0.5]), array([0.5, 1. ]))
    """
    counts = np.asarray(confusion, float)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(
            f"precision_recall: confusion has shape {counts.shape}, expected (C, C), the counts of "
            f"confusion_matrix(y_true, y_pred)"
        )
    with np.errstate(invalid="ignore"):
        right = np.diag(counts)
        return right / counts.sum(axis=0), right / counts.sum(axis=1)


@told
def macro_f1(y_pred: Any, y_true: Any) -> float:
    """The mean of F1, the harmonic mean of precision and recall, over the classes that occur or are predicted.

    Args:
        y_pred: (N, C) logits, of which the largest counts, or (N) class indices.
        y_true: (N) class indices.

    Raises:
        ValueError: a logit is nan, or a label or prediction isn't a class; the first is named.
        TypeError: labels that are logits, or no integers.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.train.macro_f1([0, 1, 1], [0, 0, 1])
        0.6666666666666666

    Source:
        van Rijsbergen, Information retrieval, 1979.
    """
    p, y, classes = _pair("macro_f1(y_pred, y_true)", y_pred, y_true)
    if not y.size:
        return float("nan")
    counts = confusion_matrix(y, p, classes)
    right, both = np.diag(counts), counts.sum(axis=0) + counts.sum(axis=1)
    return float(np.mean((2 * right / np.maximum(both, 1))[both > 0]))


@told
def top_k_accuracy(logits: Any, y_true: Any, k: int = 5) -> float:
    """The fraction of rows whose label is among the k largest logits.

    Args:
        logits: (N, C).
        y_true: (N) class indices.
        k: from 1 to C.

    Raises:
        ValueError: a logit is nan, a label isn't a class (the first is named), or k is out of range.
        TypeError: labels that are logits, or no integers.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.train.top_k_accuracy([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]], [1, 2], k=2)
        0.5
    """
    z, (_, y, _) = plain(logits), _pair("top_k_accuracy(logits, y_true)", logits, y_true)
    if not isinstance(k, int | np.integer) or z.ndim != 2 or len(y) != len(z) or not 1 <= k <= z.shape[1]:
        raise ValueError(f"top_k_accuracy: k is {k!r} for logits of shape {z.shape}, expected 1 to C of (N, C)")
    best = np.argpartition(-z, k - 1, axis=1)[:, :k]
    return float(np.mean((best == y[:, None]).any(axis=1))) if y.size else float("nan")


def _largest(where: str, logits: np.ndarray) -> np.ndarray:
    """The class of each row's largest logit, or of its only one: 1 above 0. argmax would take nan for the largest."""
    if logits.ndim == 1:  # one for each row, without a column
        logits = logits[:, None]
    none = np.isnan(logits).any(axis=-1) if logits.dtype.kind == "f" else np.zeros(0, bool)
    if none.any():
        row = np.argwhere(none)[0].tolist()
        raise ValueError(f"{where}: the logits of row {row} hold nan, so none is the largest; are x or the model nan?")
    return np.asarray(logits.argmax(axis=-1) if logits.shape[-1] != 1 else (logits[..., 0] > 0).astype(np.intp))


def _pair(call: str, y_pred: Any, y_true: Any, classes: int | None = None) -> tuple[np.ndarray, np.ndarray, int]:
    """Predictions and labels as class indices, flat, and how many classes there are. The call is for errors."""
    where = call.partition("(")[0]
    p, y = plain(y_pred, f"{where}: predictions"), plain(y_true, f"{where}: y_true")
    scores = y.dtype.kind == "f" and ((y != np.round(y)) & ~np.isnan(y)).any()
    if (y.ndim == p.ndim + 1 and y.shape[-1] > 1) or (scores and p.dtype.kind in "iu"):
        raise TypeError(
            f"{where}: y_true has dtype {y.dtype} and shape {y.shape}, as logits or scores have, but labels are class "
            f"indices, integers of shape {p.shape}; are labels and predictions swapped? It is {call}"
        )
    if p.ndim == y.ndim + 1:
        classes = max(p.shape[-1], 2) if classes is None else classes
        p = _largest(where, p)
    if classes is None:
        classes = 1 + max((int(a.max()) for a in (p, y) if a.size and a.dtype.kind in "iu"), default=0)
    index, _ = validate.check_indices(where, y, (*y.shape, classes), y.ndim)
    if p.shape != y.shape:
        raise ValueError(f"{where}: {p.shape} predictions for labels of shape {y.shape}")
    return validate.check_indices(f"{where} (predictions)", p, (*p.shape, classes), p.ndim)[0], index, classes
