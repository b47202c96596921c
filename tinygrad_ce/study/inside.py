"""What softmax and cross-entropy do inside one step: maximum, shifted logits, exponentials, sum, probabilities."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.kernels import softmax as kernels
from tinygrad_ce.losses.cross_entropy import as_rows, row_losses
from tinygrad_ce.losses.targets import Targets
from tinygrad_ce.ops.softmax import centred, masked
from tinygrad_ce.study.arithmetic import Factor, Origin, Part, Row, positions, product
from tinygrad_ce.study.trace import Call, Share


class Inside(NamedTuple):
    """The inner steps of a step, with a row for each row of logits, and where its result's entries come from."""

    rows: list[Row]
    origin: Origin | None = None
    local: Origin | None = None  # where those of the local derivative come from


def _row(label: str, array: Any, *parts: Part, by: str = "") -> Row:
    return Row(label, np.asarray(array), True, Origin([*parts], by) if parts else None)


class _Logits:
    """The logits of a call as rows, with the place of each in the operand; -1 for one that is masked."""

    def __init__(self, call: Call, axis: Any, where: Any = None) -> None:
        position = next(i for i, a in enumerate(call.node._primitive.arguments) if a in ("x", "input"))
        argument, x = call.node._primitive.arguments[position], call.node._arguments[position]
        self.places = kernels.rows(positions(x), axis)[0].astype(int)
        unmasked, self.restore = kernels.rows(masked(positions(x), where), axis)
        self.unmasked = np.where(np.isfinite(unmasked), unmasked, -1).astype(int)
        self.x = Factor(call.operands[argument].name, x, self.unmasked, argument)
        self.array = kernels.rows(masked(x, where), axis)[0]


def inside_forward(call: Call) -> Inside:
    """What a call of the softmax family does."""
    if call.is_known and call.operator in ("softmax", "log_softmax", "logsumexp"):
        return _softmax(call)
    if call.is_known and call.operator == "cross_entropy":
        return _cross_entropy(call)
    return Inside([])


def _exponentials(array: np.ndarray, x: Factor) -> list[Row]:
    """From rows of logits, and where they stand in the operand, to probabilities."""
    if not array.size:
        return []
    entries, of_row = positions(array), np.arange(len(array))[:, None]
    with np.errstate(all="ignore"):
        m = array.max(axis=1, keepdims=True)
        e = np.exp(array - m)
        largest = _row("m, the largest logit of each row", m[:, 0], product([x], of_row), by="max")
        masked_one = Factor("masked", np.asarray(-np.inf), np.where(x.places < 0, 0, -1))
        parts = [Part(("", " − ", ""), [logit, largest.factor(of_row)], entries) for logit in (x, masked_one)]
        shifted = _row("x − m, shifted", array - m, *parts[: 1 + bool(np.any(x.places < 0))])
        powers = _row("e = exp(x − m)", e, Part(("exp(", ")"), [shifted.factor()], entries))
        sums = _row("S = Σ e", e.sum(axis=1), product([powers.factor()], of_row))
        p = Part(("", " / ", ""), [powers.factor(), sums.factor(of_row)], entries)
        return [largest, shifted, powers, sums, _row("p = e / S", kernels.softmax(array), p)]


def _softmax(call: Call) -> Inside:
    given = dict(zip(call.node._primitive.arguments, call.node._arguments, strict=False))
    logits = _Logits(call, given["axis"], given["where"])
    rows = _exponentials(logits.array, logits.x)
    if not rows:
        return Inside([])
    m, shifted, e, s, _ = rows
    of_row = np.arange(len(logits.array))[:, None]
    if call.operator == "softmax":
        part = Part(("", " / ", ""), [e.factor(), s.factor(of_row)], logits.unmasked)
    elif call.operator == "log_softmax":
        part = Part(("", " − log ", ""), [shifted.factor(), s.factor(of_row)], logits.unmasked)
    else:
        some = np.where(np.isfinite(m.array), of_row[:, 0], -1)
        row_of = logits.restore(some[:, None], 1).astype(int).reshape(call.result.array.shape)
        part = Part(("", " + log ", ""), [m.factor(row_of), s.factor(row_of)], positions(call.result.array))
    return Inside(rows, Origin([part]))


def _rows(call: Call) -> tuple[np.ndarray, Factor, Targets]:
    """The logits of a call of cross_entropy as rows, with their places, and what their targets weigh."""
    *arguments, _ = call.node._arguments
    x, targets, _ = as_rows(*arguments)
    logits = _Logits(call, targets.axis)
    return x, logits.x._replace(places=targets.counted(logits.places)), targets


def _cross_entropy(call: Call) -> Inside:
    array, x, targets = _rows(call)
    rows = _exponentials(array, x)
    if not rows:
        return Inside([])
    p, of_row, entries = rows[-1], np.arange(len(array)), positions(array)
    losses, _ = row_losses(array, targets, False)
    if targets.others is not None:
        y = _row("y, what each class counts", targets.weights())
        term = Part(("−", " · log ", ""), [y.factor(), p.factor()], of_row[:, None])
        rows += [y, _row("loss of each row, −Σ y log p", losses, term)]
    else:
        of_target = p.factor(entries[of_row, targets.label])
        chosen = _row("p of each target t", p.array[of_row, targets.label], product([of_target], of_row))
        # The target's own term is left out of the sum: nothing cancels, and no confident row reads 0.
        if np.ndim(targets.label_weights):
            weights = Factor("w", targets.label_weights, of_row)
            label, term = (
                "loss of each row, −w_t log p_t",
                Part(("−", " · log ", ""), [weights, chosen.factor()], of_row),
            )
        else:
            label, term = "loss of each row, −log p_t", Part(("−log ", ""), [chosen.factor()], of_row)
        rows += [chosen, _row(label, losses, term)]
    if targets.reduction == "none":
        whence = (targets.spread(of_row + 1) - 1).reshape(targets.shape)
        return Inside(rows, Origin([product([rows[-1].factor(whence)], positions(whence))]))
    return Inside(rows, Origin([product([rows[-1].factor(), *_scale(targets)], np.zeros(of_row.shape, int))]))


def _scale(targets: Targets) -> list[Factor]:
    """What the reduction multiplies each row by, unless it is 1."""
    scale = Factor("1/N", np.asarray(targets.scale), np.zeros((), int))
    return [] if targets.scale == 1 else [scale]


def inside_backward(share: Share, forward: list[Row]) -> Inside:
    """What a rule of the softmax family does, with the rows of its forward step."""
    call = share.call
    rows = {row.name: row for row in forward if row.indent}
    if not call.is_known or "p" not in rows:
        return Inside([])
    if call.operator == "cross_entropy" and share.argument == "input":
        return _gradient_of_cross_entropy(share, rows)
    if call.operator == "softmax":
        return _gradient_of_softmax(share)
    if call.operator == "log_softmax" and call.settings["where"] is None:
        return _gradient_of_log_softmax(share, rows["p"])
    return Inside([])


def _gradient_of_cross_entropy(share: Share, rows: dict[str, Row]) -> Inside:
    """softmax − onehot before it is scaled, for the gradient of cross-entropy in its logits."""
    array, x, targets = _rows(share.call)
    p, entries, of_row = rows["p"], positions(array), np.arange(len(array))[:, None]
    if targets.others is not None:
        y = rows["y"]
        total = _row("Σ y of each row", y.array.sum(axis=1), product([y.factor()], of_row))
        term = Part(("", " · ", " − ", ""), [p.factor(), total.factor(of_row), y.factor()], entries)
        difference = _row("p Σy − y", kernels.soft_cross_entropy(array, y.array, 1.0, True)[1], term)
        shown, times = [p, y, total, difference], np.asarray(targets.scale)
    else:
        onehot = _row("onehot of each target", np.eye(array.shape[1], dtype=array.dtype)[targets.label])
        term = Part(("", " − ", ""), [p.factor(), onehot.factor()], entries)
        difference = _row("p − onehot", kernels.index_cross_entropy(array, targets.label, 1.0, True)[1], term)
        shown, times = [p, onehot, difference], np.asarray(targets.label_weights * targets.scale)
    scale = Factor("the reduction's factor", times, of_row if times.ndim else np.zeros((), int))
    rows_of_g = targets.counted(np.arange(int(np.prod(targets.shape))))[:, None]
    g = Factor("g", share.upstream, rows_of_g if share.upstream.ndim else np.zeros((), int))
    return Inside(
        [*shown, Row("times, for the reduction", times, True)],
        Origin([product([g, difference.factor(), scale], x.places)]),
        Origin([product([difference.factor(), scale], x.places)]),
    )


def _gradient_of_softmax(share: Share) -> Inside:
    call, p = share.call, share.call.result.array
    logits = _Logits(call, call.settings["axis"])
    at, of_row = logits.places, np.arange(len(logits.places))[:, None]
    y, g = Factor(call.result.name, p, at), Factor("g", share.upstream, at)
    each = _row(
        "g · p",
        share.upstream * p,
        product([g._replace(places=positions(p)), y._replace(places=positions(p))], positions(p)),
    )
    total = _row("s = Σ g · p of each row", each.array.ravel()[at].sum(axis=1), product([each.factor(at)], of_row))
    rows = [each, total]
    if p.size <= 6 and p.ndim == 1:
        rows.append(_row("Jacobian diag(p) − p pᵀ", p * centred(np.eye(p.size, dtype=p.dtype), p, -1)))
    part = Part(("", " · (", " − ", ")"), [y, g, total.factor(of_row)], at)
    return Inside(rows, Origin([part]))


def _gradient_of_log_softmax(share: Share, p: Row) -> Inside:
    logits = _Logits(share.call, share.call.settings["axis"])
    at, of_row = logits.places, np.arange(len(logits.places))[:, None]
    g = Factor("g", share.upstream, at)
    total = _row("s = Σ g of each row", share.upstream.ravel()[at].sum(axis=1), product([g], of_row))
    part = Part(("", " − ", " · ", ""), [g, p.factor(), total.factor(of_row)], at)
    return Inside([p, total], Origin([part]))
