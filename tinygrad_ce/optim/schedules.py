"""Learning-rate schedules: they set an optimiser's rate as training goes on. Their numbers are PyTorch's."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_ce.common.options import choice, finite, number, whole
from tinygrad_ce.engine.atomic import at_once
from tinygrad_ce.optim.optimizers import Optimizer, Rate, as_rate


class Schedule:
    """A learning rate that changes as training goes on: inherit, and say in ``rate`` what it is.

    ``fit(schedule=…)`` calls ``step`` after every epoch, or with ``per="step"`` after every update; a loop of one's own
    calls it itself. The optimiser's rate is set only where the schedule's changes, so others may set it in between.

    Where the optimiser has groups, ``start`` is an array with the rate of each, and so is what ``rate`` makes of it.

    It also goes among ``fit(callbacks=[…])``: to a training, ``after_update`` and ``on_epoch_end`` are hooks.

    Args:
        optimizer: whose rate it sets; the rate that it has now is the ``start``.
        per: "epoch" or "step": what is counted, also by numbers of epochs such as step_size, T_max and total_iters.

    Example:
        >>> import tinygrad_ce as tg
        >>> class Halved(tg.optim.Schedule):
        ...     def rate(self, epoch):
        ...         return self.start / 2**epoch
        >>> sgd = tg.optim.SGD([tg.Tensor(1.0, requires_grad=True)], lr=0.4)
        >>> schedule = Halved(sgd)
        >>> for _ in range(3):
        ...     sgd.step()
        ...     schedule.step()
        >>> sgd.lr
        0.05
    """

    def __init__(self, optimizer: Optimizer, per: str = "epoch") -> None:
        name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{name}: optimizer is of type {type(optimizer).__name__}, expected an optimiser")
        self.optimizer = optimizer
        self.per = choice(name, "per", per, "epoch", "step")
        before, scheduled = optimizer.scheduled
        first = before if np.array_equal(optimizer.lr, scheduled) else optimizer.lr
        self.start: Rate = np.array(first) if np.ndim(first) else first
        self.epoch = 0

    def rate(self, epoch: int) -> Rate:
        """The learning rate after so many epochs (with per="step": updates); a subclass says it."""
        raise TypeError(f"{type(self).__name__} has no rate: say what it is after `epoch` epochs")

    def step(self) -> None:
        """Another epoch is over: set the optimiser's rate for the next."""
        epoch, rate, before = self.epoch + 1, self.rate(self.epoch + 1), self.rate(self.epoch)
        lr = _chosen(rate != before, rate, self.optimizer.lr)
        at_once([(self, "epoch", epoch), (self.optimizer, "lr", lr), *self._beside(epoch)])

    def _beside(self, epoch: int) -> list[tuple[Any, str, Any]]:
        """What it sets beside the rate after so many epochs, as at_once takes it."""
        return []

    def _begin(self) -> None:
        """Set the first rate, where it isn't ``start``. A schedule made later has the same start, not this rate."""
        lr = self.rate(0)
        at_once([(self.optimizer, "lr", lr), (self.optimizer, "scheduled", (self.start, lr)), *self._beside(0)])

    def after_update(self, training: Any) -> None:
        """In a training, with per="step": step."""
        if self.per == "step":
            self.step()

    def on_epoch_end(self, training: Any) -> None:
        """In a training, with per="epoch": step."""
        if self.per == "epoch":
            self.step()

    def state_dict(self) -> dict[str, Any]:
        """How often it was stepped, the rate it started from, and the one that the optimiser has now."""
        return {"epoch": self.epoch, "start": self.start, "lr": self.optimizer.lr}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; the optimiser gets the rate that it had then, whichever of the two is loaded first.

        Raises:
            ValueError: it isn't a schedule's; nothing has changed then.
        """
        self._load(_numbers(type(self).__name__, state, ("epoch", "start")))

    def _load(self, found: Mapping[str, Any], **more: Any) -> None:
        """Set epoch, start and rate from a state's numbers, and more attributes of this kind of schedule."""
        name, groups = type(self).__name__, len(self.optimizer.groups)
        epoch = _whole(name, "epoch", found["epoch"], 0)
        start = as_rate(name, "start", found["start"], groups)
        lr = as_rate(name, "lr", found.get("lr", self.optimizer.lr), groups)  # a state of an older version has none
        changes = {"epoch": epoch, "start": start, **more}
        set_here = [(self, what, value) for what, value in changes.items()]
        at_once([*set_here, (self.optimizer, "lr", lr), *self._beside(epoch)])


class StepLR(Schedule):
    r"""The rate times gamma after every step_size epochs: :math:`η_0\, γ^{\lfloor t / s \rfloor}`.

    Args:
        optimizer: whose rate it sets.
        step_size: s, a whole number of epochs.
        gamma: γ ≥ 0.
        per: "epoch" or "step", what is counted.

    Example:
        >>> import tinygrad_ce as tg
        >>> model = tg.nn.Linear(4, 3, rng=0)
        >>> sgd = tg.optim.SGD(model.parameters(), lr=1.0)
        >>> schedule = tg.optim.StepLR(sgd, step_size=2, gamma=0.5)
        >>> history = tg.fit(model, tg.data.load_iris(), epochs=5, optimizer=sgd, schedule=schedule, progress=False)
        >>> history["lr"]
        [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, per: str = "epoch") -> None:
        super().__init__(optimizer, per)
        self.step_size = _whole("StepLR", "step_size", step_size, 1)
        self.gamma = finite("StepLR", "gamma", gamma)

    def rate(self, epoch: int) -> Rate:
        """The learning rate after so many epochs."""
        return self.start * self.gamma ** (epoch // self.step_size)


class ExponentialLR(Schedule):
    r"""The rate times gamma after every epoch: :math:`η_0\, γ^t`.

    Args:
        optimizer: whose rate it sets.
        gamma: γ ≥ 0.
        per: "epoch" or "step", what is counted.

    Example:
        >>> import tinygrad_ce as tg
        >>> sgd = tg.optim.SGD([tg.Tensor(1.0, requires_grad=True)], lr=1.0)
        >>> schedule = tg.optim.ExponentialLR(sgd, gamma=0.5)
        >>> [schedule.rate(t) for t in range(4)]
        [1.0, 0.5, 0.25, 0.125]

    Source:
        Li, Arora, An exponential learning rate schedule for deep learning, 2019, arXiv:1910.07454.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, per: str = "epoch") -> None:
        super().__init__(optimizer, per)
        self.gamma = finite("ExponentialLR", "gamma", gamma)

    def rate(self, epoch: int) -> Rate:
        """The learning rate after so many epochs."""
        return self.start * self.gamma**epoch


class CosineAnnealingLR(Schedule):
    r"""The rate along half a cosine, :math:`η_{min} + (η_0 - η_{min}) (1 + \cos(π t / T)) / 2`.

    Args:
        optimizer: whose rate it sets.
        T_max: T, after how many epochs it is lowest; it rises again after them.
        eta_min: the lowest rate.
        per: "epoch" or "step", what is counted.

    Example:
        >>> import tinygrad_ce as tg
        >>> sgd = tg.optim.SGD([tg.Tensor(1.0, requires_grad=True)], lr=1.0)
        >>> round(tg.optim.CosineAnnealingLR(sgd, T_max=10).rate(5), 12)
        0.5

    Source:
        Loshchilov, Hutter, SGDR, 2016, arXiv:1608.03983.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, per: str = "epoch") -> None:
        super().__init__(optimizer, per)
        self.T_max = _whole("CosineAnnealingLR", "T_max", T_max, 1)
        self.eta_min = finite("CosineAnnealingLR", "eta_min", eta_min)

    def rate(self, epoch: int) -> Rate:
        """The learning rate after so many epochs."""
        return self.eta_min + (self.start - self.eta_min) * (1 + math.cos(math.pi * epoch / self.T_max)) / 2


class LinearLR(Schedule):
    r"""Warm-up: the rate times a factor that moves in a line, :math:`η_0 (a + (b - a) t / T)`.

    The optimiser has the first rate, η₀ a, as soon as the schedule is made.

    Args:
        optimizer: whose rate it sets.
        start_factor: a, above 0 and at most 1.
        end_factor: b, from 0 to 1.
        total_iters: T, after how many epochs the factor is b, and stays.
        per: "epoch" or "step", what is counted.

    Example:
        >>> import tinygrad_ce as tg
        >>> sgd = tg.optim.SGD([tg.Tensor(1.0, requires_grad=True)], lr=1.0)
        >>> warmup = tg.optim.LinearLR(sgd, start_factor=0.25, total_iters=3)
        >>> sgd.lr, [warmup.rate(t) for t in range(5)]
        (0.25, [0.25, 0.5, 0.75, 1.0, 1.0])

    Source:
        Goyal et al., Accurate, large minibatch SGD, 2017, arXiv:1706.02677.
    """

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5,
        per: str = "epoch",
    ) -> None:  # fmt: skip
        super().__init__(optimizer, per)
        for factor, name in ((start_factor, "start_factor"), (end_factor, "end_factor")):
            if not 0 <= number("LinearLR", name, factor) <= 1 or (factor == 0 and factor is start_factor):
                span = "above 0, and at most 1" if name == "start_factor" else "from 0 to 1"
                raise ValueError(f"LinearLR: {name} is {factor!r}, expected a number {span}")
        self.start_factor, self.end_factor = float(start_factor), float(end_factor)
        self.total_iters = _whole("LinearLR", "total_iters", total_iters, 1)
        self._begin()

    def rate(self, epoch: int) -> Rate:
        """The learning rate after so many epochs."""
        done = min(epoch, self.total_iters) / self.total_iters
        return self.start * (self.start_factor + (self.end_factor - self.start_factor) * done)


class SequentialLR(Schedule):
    """One schedule after another, each as if it began at its milestone; for instance warm-up, then a cosine.

    Args:
        optimizer: whose rate it sets; the schedules are made for it, too.
        schedules: in their order; all count epochs, or all steps.
        milestones: after how many epochs the second begins, the third, and so on.

    Example:
        >>> import tinygrad_ce as tg
        >>> sgd = tg.optim.SGD([tg.Tensor(1.0, requires_grad=True)], lr=1.0)
        >>> warmup = tg.optim.LinearLR(sgd, start_factor=0.5, total_iters=2)
        >>> cosine = tg.optim.CosineAnnealingLR(sgd, T_max=4)
        >>> schedule = tg.optim.SequentialLR(sgd, [warmup, cosine], milestones=[2])
        >>> [round(schedule.rate(t), 3) for t in range(7)]
        [0.5, 0.75, 1.0, 0.854, 0.5, 0.146, 0.0]
    """

    def __init__(self, optimizer: Optimizer, schedules: Sequence[Schedule], milestones: Sequence[int]) -> None:
        self.schedules = list(schedules)
        self.milestones = [_whole("SequentialLR", f"milestones[{i}]", m, 1) for i, m in enumerate(milestones)]
        for i, schedule in enumerate(self.schedules):
            if not isinstance(schedule, Schedule) or isinstance(schedule, ReduceLROnPlateau):
                what = type(schedule).__name__
                raise TypeError(f"SequentialLR: schedules[{i}] is a {what}, expected a Schedule that has a rate")
            if schedule.optimizer is not optimizer:
                raise ValueError(f"SequentialLR: schedules[{i}] was made for another optimizer")
            if schedule.per != (per := self.schedules[0].per):
                raise ValueError(f"SequentialLR: schedules[{i}] has per={schedule.per!r}, the first one per={per!r}")
        if not self.schedules or len(self.milestones) != len(self.schedules) - 1:
            counts = f"{len(self.schedules)} schedules and {len(self.milestones)} milestones"
            raise ValueError(f"SequentialLR: {counts}, expected a milestone between each two schedules")
        if any(b <= a for a, b in itertools.pairwise(self.milestones)):
            raise ValueError(f"SequentialLR: milestones are {self.milestones}, expected rising ones")
        super().__init__(optimizer, self.schedules[0].per)
        self._begin()

    @property
    def start(self) -> Rate:
        """The rate that each of them starts from."""
        return self.schedules[0].start

    @start.setter
    def start(self, start: Rate) -> None:
        for schedule in self.schedules:
            schedule.start = start

    def rate(self, epoch: int) -> Rate:
        """The learning rate after so many epochs."""
        schedule, since = self._at(epoch)
        return schedule.rate(since)

    def _beside(self, epoch: int) -> list[tuple[Any, str, Any]]:
        schedule, since = self._at(epoch)
        return schedule._beside(since)

    def _at(self, epoch: int) -> tuple[Schedule, int]:
        """The schedule that counts after so many epochs, and how many of them are its own."""
        i = bisect_right(self.milestones, epoch)
        return self.schedules[i], epoch - [0, *self.milestones][i]


class OneCycleLR(Schedule):
    r"""One rise and one fall: from max_lr / div_factor to max_lr, then down to 1 / final_div_factor of the first rate.

    With p from 0 to 1 over each phase, the rate goes from a to b along :math:`b + (a - b) (1 + \cos(π p)) / 2`. The
    optimiser has the first rate as soon as the schedule is made; its own does not count. Momentum (of Adam, the first
    of betas) goes the other way, from max_momentum to base_momentum and back.

    Args:
        optimizer: whose rate it sets.
        max_lr: the highest rate; with groups, one for all or one for each.
        total_steps: T, how many updates there are in all: epochs times the steps of each.
        epochs, steps_per_epoch: their product instead.
        pct_start: the part of the steps in which the rate rises.
        anneal_strategy: "cos", or "linear" for straight lines.
        cycle_momentum: whether the momentum is set, too; then the optimiser has to have one.
        base_momentum, max_momentum: its lowest and its highest value.
        div_factor: max_lr over the first rate.
        final_div_factor: the first rate over the last.
        three_phase: whether the rate falls back to the first one as it rose, and then to the last.
        per: "step" or "epoch", what is counted.

    Raises:
        ValueError: an option out of range; an optimiser without momentum; in training, more steps than total_steps.

    Example:
        >>> import tinygrad_ce as tg
        >>> sgd = tg.optim.SGD([tg.Tensor(1.0, requires_grad=True)], lr=1.0, momentum=0.9)
        >>> schedule = tg.optim.OneCycleLR(sgd, max_lr=1.0, total_steps=9, pct_start=0.5, anneal_strategy="linear")
        >>> [round(schedule.rate(t), 2) for t in (0, 3, 7, 8)], sgd.momentum
        ([0.04, 0.86, 0.22, 0.0], 0.95)

    Source:
        Smith, Topin, Super-convergence, 2017, arXiv:1708.07120.
    """

    def __init__(
        self, optimizer: Optimizer, max_lr: Any, total_steps: int | None = None, epochs: int | None = None,
        steps_per_epoch: int | None = None, pct_start: float = 0.3, anneal_strategy: str = "cos",
        cycle_momentum: bool = True, base_momentum: float = 0.85, max_momentum: float = 0.95, div_factor: float = 25.0,
        final_div_factor: float = 1e4, three_phase: bool = False, per: str = "step",
    ) -> None:  # fmt: skip
        super().__init__(optimizer, per)
        name = "OneCycleLR"
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(f"{name}: give total_steps, or epochs and steps_per_epoch")
            total_steps = _whole(name, "epochs", epochs, 1) * _whole(name, "steps_per_epoch", steps_per_epoch, 1)
        self.total_steps = _whole(name, "total_steps", total_steps, 1)
        if not 0 <= number(name, "pct_start", pct_start) <= 1:
            raise ValueError(f"{name}: pct_start is {pct_start!r}, expected a part of the steps, from 0 to 1")
        self.anneal_strategy = choice(name, "anneal_strategy", anneal_strategy, "cos", "linear")
        highest = as_rate(name, "max_lr", max_lr, len(optimizer.groups))
        first = highest / self._above_0("div_factor", div_factor)
        last = first / self._above_0("final_div_factor", final_div_factor)
        low = finite(name, "base_momentum", base_momentum, below=1.0)
        high = finite(name, "max_momentum", max_momentum, below=1.0)
        rise, end = float(pct_start * self.total_steps), self.total_steps - 1
        # The ends of the phases, and the rates and momenta at them.
        self._ends: list[float] = [0, rise - 1, *[2 * rise - 2] * three_phase, end]
        self._rates: list[Rate] = [first, highest, *[first] * three_phase, last]
        self._momenta: list[float] = [high, low, *[high] * three_phase, high]
        self._sets = [each for each in (optimizer, *optimizer.groups) if cycle_momentum]
        if self._sets and not hasattr(optimizer, "momentum") and not hasattr(optimizer, "betas"):
            raise ValueError(f"{name}: {type(optimizer).__name__} has no momentum to cycle; give cycle_momentum=False")
        self._begin()

    @staticmethod
    def _above_0(name: str, value: Any) -> float:
        if not finite("OneCycleLR", name, value):
            raise ValueError(f"OneCycleLR: {name} is {value!r}, expected a number above 0")
        return float(value)

    def rate(self, epoch: int) -> Rate:
        """The learning rate after so many steps; after the last one it stays."""
        rate: Rate = self._between(epoch, self._rates)
        return rate

    def _between(self, epoch: int, values: Sequence[Any]) -> Any:
        """The value after so many steps, of those at the ends of the phases."""
        t = min(epoch, self.total_steps - 1)
        i = bisect_left(self._ends, t, 1, len(self._ends) - 1)
        begin, width = self._ends[i - 1], self._ends[i] - self._ends[i - 1]
        p = (t - begin) / width if width else 1.0
        a, b = values[i - 1], values[i]
        return b + (a - b) * (1 + math.cos(math.pi * p)) / 2 if self.anneal_strategy == "cos" else a + (b - a) * p

    def on_train_begin(self, training: Any) -> None:
        """Refuse a training of more steps, before its first one."""
        planned = training.epochs * (training.steps if self.per == "step" else 1)
        if planned > self.total_steps:
            raise ValueError(f"OneCycleLR: total_steps is {self.total_steps}, but the training has {planned}")

    def _beside(self, epoch: int) -> list[tuple[Any, str, Any]]:
        momentum = self._between(epoch, self._momenta)
        return [
            (each, "betas", (momentum, each.betas[1])) if hasattr(each, "betas") else (each, "momentum", momentum)
            for each in self._sets
        ]

    def step(self) -> None:
        """Another step is done: set the optimiser's rate for the next.

        Raises:
            ValueError: there were total_steps already.
        """
        if self.epoch >= self.total_steps:
            cause = "is it the epochs times the steps of each?"
            raise ValueError(f"OneCycleLR: one step more than total_steps, which is {self.total_steps}; {cause}")
        super().step()


class ReduceLROnPlateau(Schedule):
    r"""The rate times factor, whenever a measured number has not improved for more than patience epochs.

    A number improves on the best one, :math:`b`, if it is below :math:`b (1 - θ)` (threshold_mode "abs": below
    :math:`b - θ`); with mode "max", above :math:`b (1 + θ)` or :math:`b + θ`. ``fit(schedule=…)`` gives it the
    validation's loss, or the training's where there is no validation; a loop of one's own calls ``step(value)`` after
    each epoch.

    Args:
        optimizer: whose rate it sets.
        mode: "min" or "max": whether lower or higher is better. None: "max" if monitor names an accuracy, else "min".
        factor: in [0, 1).
        patience: how many epochs without improvement pass before the rate is lowered at the next one.
        threshold: θ ≥ 0; for numbers above 0 if threshold_mode is "rel".
        threshold_mode: "rel" or "abs".
        cooldown: for how many epochs after a change nothing counts against patience.
        min_lr: the rate is never lowered below; with groups, one for all or one for each.
        eps: a change that is no larger isn't made.
        monitor: the number in the history to watch, such as "val_accuracy".

    Example:
        >>> import tinygrad_ce as tg
        >>> sgd = tg.optim.SGD([tg.Tensor(1.0, requires_grad=True)], lr=1.0)
        >>> schedule = tg.optim.ReduceLROnPlateau(sgd, factor=0.5, patience=1)
        >>> for loss in (3.0, 2.0, 2.0, 2.0):
        ...     schedule.step(loss)
        >>> sgd.lr
        0.5
    """

    def __init__(
        self, optimizer: Optimizer, mode: str | None = None, factor: float = 0.1, patience: int = 10,
        threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0, min_lr: Any = 0.0,
        eps: float = 1e-8, monitor: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(optimizer)
        name = "ReduceLROnPlateau"
        self.mode, self.monitor = direction(name, mode, monitor), monitor
        self.factor = finite(name, "factor", factor, below=1.0)
        self.patience, self.cooldown = _whole(name, "patience", patience, 0), _whole(name, "cooldown", cooldown, 0)
        self.threshold_mode = choice(name, "threshold_mode", threshold_mode, "rel", "abs")
        self.threshold = finite(name, "threshold", threshold, below=1.0 if threshold_mode == "rel" else math.inf)
        self.min_lr = as_rate(name, "min_lr", min_lr, len(optimizer.groups))
        self.eps = finite(name, "eps", eps)
        self.best = math.inf if self.mode == "min" else -math.inf
        self.bad_epochs = 0  # since the best, or since the rate was lowered
        self.cooling = 0  # epochs that are left of cooldown

    def step(self, value: float) -> None:  # type: ignore[override]
        """Another epoch is over, and this was measured: lower the optimiser's rate if it is time."""
        value, lr, cooling = float(value), self.optimizer.lr, self.cooling
        best, bad = (value, 0) if self._improves(value) else (self.best, self.bad_epochs + 1)
        if cooling:
            cooling, bad = cooling - 1, 0
        if bad > self.patience:
            lower = _chosen(lr * self.factor > self.min_lr, lr * self.factor, self.min_lr)
            lr = _chosen(lr - lower > self.eps, lower, lr)
            cooling, bad = self.cooldown, 0
        changes = {"epoch": self.epoch + 1, "best": best, "bad_epochs": bad, "cooling": cooling}
        at_once([*((self, what, new) for what, new in changes.items()), (self.optimizer, "lr", lr)])

    def _improves(self, value: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        relative = self.threshold_mode == "rel"
        bound = self.best * (1 - sign * self.threshold) if relative else self.best - sign * self.threshold
        return sign * value < sign * bound

    def on_epoch_end(self, training: Any) -> None:
        """In a training: step with what the epoch measured."""
        self.step(training.history.measured("ReduceLROnPlateau", self.monitor)[-1])

    def state_dict(self) -> dict[str, Any]:
        """The best number so far, and how many epochs passed since."""
        return {**super().state_dict(), "best": self.best, "bad_epochs": self.bad_epochs, "cooling": self.cooling}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        name = "ReduceLROnPlateau"
        found = _numbers(name, state, ("epoch", "start", "best", "bad_epochs", "cooling"))
        counts = {what: _whole(name, what, found[what], 0) for what in ("bad_epochs", "cooling")}
        self._load(found, best=found["best"], **counts)


def direction(where: str, mode: str | None, monitor: str | None) -> str:
    """Whether lower ("min") or higher ("max") is better, guessed from the name where nobody says it."""
    if mode is None:
        return "max" if monitor is not None and "accuracy" in monitor else "min"
    return choice(where, "mode", mode, "min", "max")


def _chosen(first: Any, a: Any, b: Any) -> Any:
    """a where first holds, else b: of numbers, or of arrays with an entry for each group."""
    return np.where(first, a, b) if isinstance(first, np.ndarray) else a if first else b


def _whole(where: str, name: str, value: Any, low: int) -> int:
    """Also one in a float, as ``epochs / 2`` and a state hold it."""
    in_float = isinstance(value, float) and value.is_integer() and value < 2**53
    return whole(where, name, int(value) if in_float else value, low)


def _numbers(where: str, state: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The numbers of a state that has these, and no others but the rate; rates may be one for each group."""
    if {*state, "lr"} != {*names, "lr"}:
        raise ValueError(f"{where}: the state has {sorted(state) or 'nothing'}, expected {sorted([*names, 'lr'])}")
    for name in state:
        if np.ndim(state[name]) > (name in ("lr", "start")):
            raise ValueError(f"{where}: {name} has shape {np.shape(state[name])}, expected a number")
    return {name: np.asarray(value, float) if np.ndim(value) else float(value) for name, value in state.items()}
