"""What softmax and cross-entropy do inside one step: maximum, shifted logits, exponentials, sum, probabilities."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinygrad_ce.kernels import softmax as kernels
from tinygrad_ce.losses.cross_entropy import Rows, rows_of
from tinygrad_ce.ops.softmax import centred, masked
from tinygrad_ce.study.trace import Call, Share

Named = Iterable[tuple[str, np.ndarray]]


def inside_forward(call: Call) -> Named:
    """The inner steps of a call of the softmax family, as labelled arrays with a row for each row of logits."""
    if not call.is_known:
        return
    if call.operator in ("softmax", "log_softmax", "logsumexp"):
        x, axis, where = _logits(call)
        rows, _ = kernels.rows(masked(x, where), axis)
        yield from _exponentials(rows)
    elif call.operator == "cross_entropy":
        yield from _cross_entropy(call)


def _logits(call: Call) -> tuple[np.ndarray, Any, Any]:
    """The logits, class axis and mask of a call."""
    given = dict(zip(call.node._primitive.arguments, call.node._arguments, strict=False))
    return given["x"], given["axis"], given["where"]


def _exponentials(x: np.ndarray) -> Named:
    if not x.size:
        return
    with np.errstate(all="ignore"):
        m = x.max(axis=1, keepdims=True)
        e = np.exp(x - m)
        yield "m, the largest logit of each row", m[:, 0]
        yield "x − m, shifted", x - m
        yield "e = exp(x − m)", e
        yield "S = Σ e", e.sum(axis=1)
        yield "p = e / S", kernels.softmax(x)


def _rows(call: Call) -> Rows:
    """A call of cross_entropy laid out as rows."""
    found: Rows = rows_of(*call.node._arguments[:7])  # type: ignore[no-untyped-call]
    return found


def _cross_entropy(call: Call) -> Named:
    rows = _rows(call)
    yield from _exponentials(rows.x)
    losses, _ = rows.losses(False)
    if rows.mass is not None:
        yield "y, what each class counts", rows.mass
        yield "loss of each row, −Σ y log p", losses
    else:
        yield "p of each target t", kernels.softmax(rows.x)[np.arange(len(rows.x)), rows.label]
        # The target's own term is left out of the sum: nothing cancels, and no confident row reads 0.
        yield "loss of each row, −log p_t" if rows.weight is None else "loss of each row, −w_t log p_t", losses


def inside_backward(share: Share) -> Named:
    """softmax − onehot before it is scaled, for the gradient of cross-entropy in its logits."""
    if not share.call.is_known:
        return
    if share.call.operator == "cross_entropy" and share.argument == "input":
        rows = _rows(share.call)
        if rows.mass is not None:
            slope = kernels.soft_cross_entropy(rows.x, rows.mass, 1.0, True)[1]
        else:
            slope = kernels.index_cross_entropy(rows.x, rows.label, 1.0, True)[1]
        yield "p − onehot" if rows.mass is None else "p Σy − y", np.asarray(slope)
        yield "times, for the reduction", np.asarray(rows.factor if rows.mass is None else rows.scale)
    elif share.call.operator == "softmax" and share.call.result.array.size <= 6 and share.call.result.array.ndim == 1:
        p = share.call.result.array
        yield "Jacobian diag(p) − p pᵀ", p * centred(np.eye(p.size, dtype=p.dtype), p, -1)
