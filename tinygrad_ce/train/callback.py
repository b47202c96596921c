"""Callback: what takes part in a training. Every hook does nothing until a subclass says what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tinygrad_ce.optim import Schedule
from tinygrad_ce.train.training import HOOKS, Training


class Callback:
    """What ``fit`` calls at the turns of a training: inherit, and say what happens at those that matter.

    A training goes like this::

        on_train_begin
        for each epoch:
            on_epoch_begin
            for each step:                    # a batch, or the batches that share a step
                before_update                 # each parameter has its gradient
                after_update                  # the parameters have moved
            before_validation                 # all rows were seen; nothing is measured on held-out rows yet
            on_epoch_end                      # training.history has the epoch's numbers
        on_train_end                          # always, also after an error or Ctrl-C

    Each is given the Training: its ``model``, ``optimizer``, ``history``, ``epoch`` (of those done), ``step`` (of this
    epoch) and ``updates`` (in all). ``training.stop(why)`` ends it after the epoch. Callbacks are called in their order
    in ``fit(callbacks=[…])``. An error in a hook ends the training; the model keeps the weights of its last whole step.

    Example:
        >>> import tinygrad_ce as tg
        >>> class GoodEnough(tg.train.Callback):
        ...     def on_epoch_end(self, training):
        ...         if training.history["accuracy"][-1] > 0.9:
        ...             training.stop("good enough")
        >>> model = tg.nn.Linear(4, 3, rng=0)
        >>> history = tg.fit(model, tg.data.load_iris(), epochs=99, callbacks=[GoodEnough()], progress=False)
        >>> history.stopped
        'good enough'
    """

    writes = False
    """Whether it shows or writes things: of several processes that train together, the first alone runs it."""

    def __init_subclass__(cls) -> None:
        """Refuse a hook that nobody would call.

        Raises:
            TypeError: a method is named like a hook, but there is none of that name.
        """
        for name in vars(cls):
            if name.startswith(("on_", "before_", "after_")) and name not in HOOKS:
                hooks = ", ".join(HOOKS)
                raise TypeError(f"{cls.__name__}.{name} is no hook, nothing would call it; there are {hooks}")

    def on_train_begin(self, training: Training) -> None:
        """Before the first step; what a checkpoint held is restored already."""

    def on_epoch_begin(self, training: Training) -> None:
        """Before an epoch's first step; not called again where training goes on in the middle of an epoch."""

    def before_update(self, training: Training) -> None:
        """The parameters have the gradients of the whole step; the optimiser has not moved them yet."""

    def after_update(self, training: Training) -> None:
        """The optimiser has moved the parameters."""

    def before_validation(self, training: Training) -> None:
        """An epoch's rows were all seen; the held-out ones, if there are any, are measured next."""

    def on_epoch_end(self, training: Training) -> None:
        """The epoch's numbers are in ``training.history``."""

    def on_train_end(self, training: Training) -> None:
        """Training is over, as planned or not."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint has to keep for going on to the same bits: arrays or numbers by name."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` gave.

        Raises:
            ValueError: it doesn't fit; nothing has changed then.
        """
        if state:
            raise ValueError(f"{type(self).__name__} keeps nothing, but the state has {sorted(state)}")


def as_list(callbacks: Iterable[Callback | Schedule] | Callback | Schedule) -> list[Callback | Schedule]:
    """Callbacks and schedules as a list, also where one is given alone."""
    return [callbacks] if isinstance(callbacks, Callback | Schedule) else [*callbacks]
