"""What softmax and cross-entropy do inside one step: maximum, shifted logits, exponentials, sum, probabilities."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tinygrad_ce.kernels import softmax as kernels
from tinygrad_ce.losses.cross_entropy import as_rows, row_losses
from tinygrad_ce.losses.targets import Targets
from tinygrad_ce.ops.softmax import centred, masked
from tinygrad_ce.study.trace import Call, Share

Named = Iterable[tuple[str, np.ndarray]]


def inside_forward(call: Call) -> Named:
    """The inner steps of a call of the softmax family, as labelled arrays with a row for each row of logits."""
    if not call.is_known:
        return
    if call.operator in ("softmax", "log_softmax", "logsumexp"):
        given = dict(zip(call.node._primitive.arguments, call.node._arguments, strict=False))
        rows, _ = kernels.rows(masked(given["x"], given["where"]), given["axis"])
        yield from _exponentials(rows)
    elif call.operator == "cross_entropy":
        yield from _cross_entropy(call)


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


def _rows(call: Call) -> tuple[np.ndarray, Targets]:
    """The logits of a call of cross_entropy as rows, and what their targets weigh."""
    *arguments, _ = call.node._arguments
    x, targets, _ = as_rows(*arguments)
    return x, targets


def _cross_entropy(call: Call) -> Named:
    x, targets = _rows(call)
    yield from _exponentials(x)
    losses, _ = row_losses(x, targets, False)
    if targets.others is not None:
        yield "y, what each class counts", targets.weights()
        yield "loss of each row, −Σ y log p", losses
    else:
        yield "p of each target t", kernels.softmax(x)[np.arange(len(x)), targets.label]
        # The target's own term is left out of the sum: nothing cancels, and no confident row reads 0.
        weighted = np.ndim(targets.label_weights) > 0
        yield "loss of each row, −w_t log p_t" if weighted else "loss of each row, −log p_t", losses


def inside_backward(share: Share) -> Named:
    """softmax − onehot before it is scaled, for the gradient of cross-entropy in its logits."""
    if not share.call.is_known:
        return
    if share.call.operator == "cross_entropy" and share.argument == "input":
        x, targets = _rows(share.call)
        if targets.others is not None:
            yield "p Σy − y", np.asarray(kernels.soft_cross_entropy(x, targets.weights(), 1.0, True)[1])
            yield "times, for the reduction", np.asarray(targets.scale)
        else:
            yield "p − onehot", np.asarray(kernels.index_cross_entropy(x, targets.label, 1.0, True)[1])
            yield "times, for the reduction", np.asarray(targets.label_weights * targets.scale)
    elif share.call.operator == "softmax" and share.call.result.array.size <= 6 and share.call.result.array.ndim == 1:
        p = share.call.result.array
        yield "Jacobian diag(p) − p pᵀ", p * centred(np.eye(p.size, dtype=p.dtype), p, -1)
