"""What trainings measured, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.study.plot import drawing
from tinygrad_ce.study.plot.arguments import numbers
from tinygrad_ce.train.history import History


def loss_curves(history: Any, *, names: Sequence[str] = ("loss", "val_loss"), log: bool = False, ax: Any = None) -> Any:
    """What a training measured, epoch by epoch: of one training, or of several to compare.

    Args:
        history: a History; or a dict of label -> History or list of floats (a loss for each step).
        names: which of a History's measures to draw; those it doesn't have are left out. Of several Histories, each
            has its colour and each name its line style.
        log: whether the vertical axis is logarithmic.

    Raises:
        TypeError: history is neither.
        ValueError: there is nothing to draw, or on a logarithmic axis nothing above 0.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> from tinygrad_ce.study import plot
        >>> ax = plot.loss_curves({"lr 0.1": [2.0, 1.0, 0.5], "lr 0.01": [2.0, 1.9, 1.8]}, log=True)
        >>> [line.get_label() for line in ax.lines]
        ['lr 0.1', 'lr 0.01']
        >>> plt.close(ax.figure)
    """
    where = "plot.loss_curves"
    names = (names,) if isinstance(names, str) else tuple(names)
    if not isinstance(history, History | Mapping):
        raise TypeError(
            f"{where}: history is of type {type(history).__name__}, expected a History, or a dict of label -> History "
            f"or list of floats"
        )
    entries = {None: history} if isinstance(history, History) else dict(history)  # a single one has no label
    curves = _curves(where, entries, names)
    if log and not any((curve.y > 0).any() for curve in curves):
        raise ValueError(f"{where}: no value is above 0, so there is nothing to draw with log=True")
    ax = drawing.axes_of(where, ax)
    colours = drawing.palette(1 + max(curve.colour for curve in curves))
    for label, colour, style, x, y in curves:
        style_of_line = {"color": colours[colour], "linestyle": drawing.STYLES[style % 4]}
        ax.plot(x, y, marker={1: "o"}.get(len(x)), label=label, **style_of_line)
    if log:
        drawing.log_scale(ax.yaxis, *(curve.y for curve in curves))
    stems = {name.removeprefix("val_") for name in names}
    what = stems.pop() if len(stems) == 1 else "value"
    epochs = any(isinstance(entry, History) for entry in entries.values())
    drawing.finish(ax, what.capitalize(), "epoch" if epochs else "step", what, grid="both")
    ax.xaxis.get_major_locator().set_params(integer=True)
    drawing.legend(ax)
    return ax


class _Curve(NamedTuple):
    label: str
    colour: int  # which of the palette,
    style: int  # and of the styles of line
    x: np.ndarray
    y: np.ndarray


def _curves(where: str, entries: dict[Any, Any], names: Sequence[str]) -> list[_Curve]:
    """One curve for each measure of each History, and one for each list."""
    found = {label: _measures(where, label, entry, names) for label, entry in entries.items()}
    # The legend calls a measure by the rows it is of, where that tells them apart.
    short = [_ROWS.get(name, name) for name in names]
    words = dict(zip(names, short if len(set(short)) == len(names) else names, strict=True))
    single = None in entries
    named = single or any(len(measures) > 1 for measures in found.values())
    curves = []
    for k, (label, measures) in enumerate(found.items()):
        for i, (name, (x, y)) in enumerate(measures.items()):
            parts = ([] if single else [str(label)]) + ([words[name]] if named and name else [])
            curves.append(_Curve(", ".join(parts), i if single else k, i, x, y))
    if not curves:
        there = sorted(set().union(*(entry.history for entry in entries.values())))
        raise ValueError(f"{where}: nothing to draw: names is {names}, history has {there or 'no epochs'}")
    return curves


_ROWS = {"loss": "training", "accuracy": "training", "val_loss": "validation", "val_accuracy": "validation"}


def _measures(where: str, label: Any, entry: Any, names: Sequence[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What is to be drawn of one training, each with its x and y; a list has no name."""
    if isinstance(entry, History):
        epochs = np.array(entry.epoch) + 1
        return {name: (epochs, np.asarray(entry.history[name], float)) for name in names if name in entry.history}
    y = numbers(where, f"history[{label!r}]", entry, 1, finite=False)
    return {"": (np.arange(1, len(y) + 1), y)}
