"""What a diagnosis looks at: facts of a model, its rows and its optimiser, each collected once, on copies."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce import optim
from tinygrad_ce.data.dataset import batch_rows
from tinygrad_ce.nn.module import Module
from tinygrad_ce.study.trace import Call, trace
from tinygrad_ce.tensor import Tensor
from tinygrad_ce.train.metrics import logits, value_of
from tinygrad_ce.train.rows import ArrayRows, as_rows
from tinygrad_ce.train.team import ALONE
from tinygrad_ce.train.training import labels_for
from tinygrad_ce.train.watch import is_entropy

ROWS = 2000  # that are looked at, drawn from all
BATCH, STEPS = 16, 300  # the rows that a model has to learn by heart, and in how many steps
TRIED = 30  # steps at each learning rate
RATES = tuple(10.0**k for k in np.arange(-4, 1.6, 0.5).tolist())
NEIGHBOURS = 10


@dataclass(frozen=True)
class Facts:
    """What the checks are given."""

    x: np.ndarray
    """(N, features) of the rows that are looked at."""
    y: np.ndarray
    """(N) classes of theirs."""
    places: np.ndarray
    """(N) where they stand in the data; of a stream, in its first batch."""
    classes: tuple[str, ...]
    logits: np.ndarray
    """(N, classes), at the start."""
    loss: float
    """At the start."""
    chance: float | None
    """log C, the loss of knowing nothing; None where the loss isn't cross-entropy."""
    calls: list[Call]
    """The operators of a forward pass of the model as it is."""
    weights: dict[str, np.ndarray]
    """The parameters at the start."""
    gradients: dict[str, float]
    """The root mean square of each parameter's gradient at the start."""
    updates: dict[str, float]
    """How long the first step is, over how long the parameter is."""
    still: dict[str, str]
    """Parameters that a training doesn't move, and why."""
    batch: list[float]
    """The loss of one batch while it is learned by heart."""
    rate: float
    """The optimiser's learning rate."""
    rates: dict[float, float]
    """By learning rate: the loss after some steps over the loss before them."""
    neighbours: np.ndarray
    """(N, 10) classes of the rows nearest to each."""
    history: Mapping[str, list[float]]

    @property
    def counts(self) -> np.ndarray:
        """How many rows each class has."""
        return np.bincount(self.y, minlength=len(self.classes))


def collect(
    model: Module, data: Any, optimizer: Any, loss: Callable[..., Any], history: Any, start: Module, seed: int
) -> Facts:
    """Look at everything once. Model, optimiser and data are left as they are.

    Raises:
        ValueError: a model without parameters, or for rows of another shape; fewer than two labelled rows, labels that
            the logits don't have.
    """
    if not start.parameters():
        raise ValueError("diagnose: the model has no parameters, so there is nothing to train")
    rows = as_rows("diagnose", data)
    try:
        width = logits(start, rows.first).size
    except ValueError as error:
        raise ValueError(f"diagnose: the model can't take a row of data: {error}") from error
    rows.check_labels(width)
    part = next(iter(rows.batches(ROWS, seed, 0, 0, ALONE)))
    known = np.flatnonzero(part.y >= 0) if part.y.ndim == 1 else np.arange(len(part.y))
    if len(known) < 2:
        raise ValueError(f"diagnose: data has {len(known)} row with a label, expected at least 2")
    order = np.arange(len(part.y))
    if isinstance(rows, ArrayRows):
        order = rows.places[next(batch_rows(len(rows), ROWS, seed, 0))]
    x, target = part.x[known], part.y[known]
    soft = target.ndim > 1 and target.shape[1] > 1
    y = target.argmax(axis=1) if soft else np.rint(target.reshape(-1)).astype(np.intp)
    names = (*rows.classes, *map(str, range(len(rows.classes), max(width, 2))))
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        output = logits(start, x)
        target = labels_for(output, target)
        trial = _Trial(start, optimizer or optim.SGD(start.parameters(), lr=0.1), loss, x, target)
        now = model(Tensor(x[:256]))
        return Facts(
            x=x.reshape(len(x), -1), y=y, places=order[known], classes=names, logits=output,
            loss=trial.before,
            chance=math.log(len(names)) if is_entropy(loss) else None,
            calls=trace(loss(now, target[:256]), {}, what="diagnose").calls,
            weights={name: p.numpy() for name, p in start.named_parameters()},
            **trial.first_step(), **trial.by_heart(), rate=max(trial.optimizer.rates),
            rates={rate: trial.at(rate) for rate in {*RATES, max(trial.optimizer.rates)}},
            neighbours=_neighbours(x.reshape(len(x), -1), y), history=getattr(history, "history", history) or {},
        )  # fmt: skip


class _Trial:
    """Short trainings of copies."""

    def __init__(self, model: Module, optimizer: optim.Optimizer, loss: Any, x: np.ndarray, y: np.ndarray) -> None:
        self.model, self.optimizer, self.loss, self.x, self.y = model, optimizer, loss, x, y
        self.before = value_of(loss, logits(model, x), y)

    def _copy(self) -> tuple[Module, optim.Optimizer]:
        model, optimizer = copy.deepcopy((self.model, self.optimizer))
        model.train()
        optimizer.memory = [{} for _ in optimizer.parameters]
        return model, optimizer

    def _step(self, model: Module, optimizer: optim.Optimizer, first: int, size: int) -> float:
        """A step on some rows; the loss before it."""
        model.zero_grad()
        value = self.loss(model(Tensor(self.x[first : first + size])), self.y[first : first + size])
        value.backward()
        optimizer.step()
        return float(value)

    def first_step(self) -> dict[str, Any]:
        """The gradients of all rows, and how far the optimiser goes by them."""
        model, optimizer = self._copy()
        before = {name: p.numpy() for name, p in model.named_parameters()}
        self._step(model, optimizer, 0, len(self.x))
        gradients, updates = {}, {}
        for name, p in model.named_parameters():
            gradients[name] = 0.0 if p.grad is None else float(np.sqrt(np.mean(np.square(p.grad, dtype=float))))
            if size := float(np.linalg.norm(before[name])):
                updates[name] = float(np.linalg.norm(p.numpy() - before[name])) / size
        return {"gradients": gradients, "updates": updates}

    def by_heart(self) -> dict[str, Any]:
        """Learn a few rows by heart, with Adam; and the parameters that stay where they were, with the reason."""
        model, optimizer = self._copy()
        given = {id(p) for p in optimizer.parameters}
        before = {name: p.numpy() for name, p in model.named_parameters()}
        adam = optim.Adam(model.parameters(), lr=0.01)
        losses = [self._step(model, adam, 0, BATCH) for _ in range(STEPS)]
        still = {
            name: "the optimiser doesn't have it" if id(p) not in given else "no gradient reaches it"
            for name, p in model.named_parameters()
            if id(p) not in given or np.array_equal(p.numpy(), before[name])
        }
        return {"batch": losses, "still": still}

    def at(self, rate: float) -> float:
        """What some steps at a learning rate make of the loss of their rows."""
        model, optimizer = self._copy()
        optimizer.lr = rate
        size = min(32, len(self.x))
        starts = [i * size % (len(self.x) - size + 1) for i in range(TRIED)]
        for first in starts:
            self._step(model, optimizer, first, size)
        return value_of(self.loss, logits(model, self.x), self.y) / self.before


def _neighbours(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The classes of the rows nearest to each, of features in units of their deviations."""
    x = (x - x.mean(axis=0)) / np.where((s := x.std(axis=0)) > 0, s, 1)
    squares = np.sum(x * x, axis=1)
    apart = squares[:, None] + squares - 2 * (x @ x.T)
    np.fill_diagonal(apart, np.inf)
    count = min(NEIGHBOURS, len(x) - 1)
    return np.asarray(y[np.argpartition(apart, count - 1, axis=1)[:, :count]])
