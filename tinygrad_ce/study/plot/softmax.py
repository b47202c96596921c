"""Softmax: logits beside their probabilities, and what the temperature does to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.study.plot import drawing
from tinygrad_ce.study.plot.arguments import check_positive, logit_row, names_of, numbers


def probabilities(logits: Any, *, names: Any = None, temperature: float = 1.0, ax: Any = None) -> Any:
    r"""Bars of logits beside bars of their probabilities, :math:`p_i = e^{x_i / T} / \sum_j e^{x_j / T}`.

    Args:
        logits: (C) real numbers; -inf has no bar and the probability 0.
        names: of the classes; their indices unless given.
        temperature: T, above 0.
        ax: the axes to draw into; logits are on its left scale, probabilities on the right one, and both share the 0.

    Raises:
        ValueError: logits isn't one row of numbers, there isn't a name for each, or T isn't above 0.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> from tinygrad_ce.study import plot
        >>> ax = plot.probabilities([2.0, -1.0, 0.1], temperature=2)
        >>> ax.get_title()
        'Logits and softmax at T = 2'
        >>> plt.close(ax.figure)
    """
    where = "plot.probabilities"
    x = logit_row(where, logits)
    words = names_of(where, names, len(x))
    check_positive(where, "temperature", temperature)
    ax = drawing.axes_of(where, ax)
    right = ax.twinx()
    p = ops.softmax(x / temperature)
    height = np.where(np.isfinite(x), x, 0)
    places = np.arange(len(x))
    bars = [
        ax.bar(places - 0.2, height, 0.38, color=drawing.BLUE, label="logit"),
        right.bar(places + 0.2, p, 0.38, color=drawing.ORANGE, label="probability"),
    ]
    lowest = min(height.min(), 0.0)
    top = max(height.max(), -0.7 * lowest) or 1.0  # where there are but negative logits, probabilities need room too
    numbers, upright = _words_at_bars(ax, (x, p), np.stack([height, p * top]) / (top - lowest))
    inch = 1.6 / drawing.inches(ax)[1] * (top - lowest)  # of what the bars take, so that the limits leave room for text
    text = max(drawing.text_width(word) for row in numbers for word in row) if upright else drawing.NOTE
    margin = inch / 72 * (4 + text)
    limits = np.array([lowest - margin if lowest < 0 else 0, top + margin + 0.25 * inch])
    ax.set_ylim(limits)
    right.set_ylim(limits / top)
    for axes, container, texts in zip((ax, right), bars, numbers, strict=True):
        axes.bar_label(container, texts, padding=2, rotation=90 if upright else 0, fontsize=drawing.NOTE)
    drawing.name_ticks(ax, "x", words, drawing.inches(ax)[0])
    at = "" if temperature == 1 else f" at T = {temperature:g}"
    drawing.finish(ax, f"Logits and softmax{at}", "class", "logit", grid="")
    unit = drawing.inches(ax)[1] * top / np.ptp(limits)
    drawing.right_scale(right, "probability", np.linspace(0, 1, 5 if unit > 0.8 else 3))
    ax.axhline(0, color=drawing.GREY, linewidth=0.8)
    ax.legend(handles=bars, loc="upper center", ncols=2, frameon=False, fontsize=drawing.NOTE, **drawing.TIGHT)
    return ax


def _words_at_bars(ax: Any, values: Sequence[np.ndarray], ends: np.ndarray) -> tuple[list[list[str]], bool]:
    """The numbers at the ends of paired bars, and whether they stand upright.

    They have three digits, or two if room is short, or stand upright, or are left out (""). Ends are given as parts of
    the bars' range. Two numbers side by side must not touch each other, nor the lower one the other's bar.
    """
    width, height = (72 * inches for inches in drawing.inches(ax))
    room = 0.4 * width / len(values[0])
    if room < drawing.NOTE + 1:
        return [[""] * len(row) for row in values], False
    apart = ends[0] < 0
    level = np.abs(ends[0] - ends[1]) * height / 1.6 < drawing.NOTE + 3
    for digits in (3, 2):
        words = [[_brief(value, digits) for value in row] for row in values]
        wide = np.array([[drawing.text_width(word) for word in row] for row in words])
        lower = np.where(ends[0] < ends[1], wide[0], wide[1])
        beside = np.maximum(lower / 1.1, np.where(level, wide.mean(axis=0), 0))
        needed = np.where(apart, wide.max(axis=0) / 1.5, beside)
        if (needed <= room).all():
            return words, False
    return [[_brief(value, 3) for value in row] for row in values], True


def _brief(value: float, digits: int) -> str:
    """A number in a few characters: with at most so many significant digits, or decimals below 1."""
    size = abs(value)
    if 0 < size < 1e-3:
        text = f"{value:.0e}".replace("e-0", "e-")
    elif size < 1:
        text = f"{value:.{digits}f}".rstrip("0").rstrip(".") if size >= 0.1 else f"{value:.{digits - 1}g}"
    else:
        text = f"{value:.0f}" if 100 <= size < 1e6 else f"{value:.{digits}g}"
    return text.replace("-", "−").replace("inf", "∞")


def temperature_sweep(logits: Any, *, temperatures: Any = None, names: Any = None, ax: Any = None) -> Any:
    r"""The probability of each class, :math:`e^{x_i / T} / \sum_j e^{x_j / T}`, against the temperature T.

    Where T is small, the largest logit takes all; where it is large, all classes come to 1/C (dotted). The dashed
    line stands at T = 1.

    Args:
        logits: (C) real numbers; -inf has the probability 0. Beyond ten classes, the eight with the largest logits
            are in colour.
        temperatures: at least two, above 0; from 0.05 to 50 unless given.
        names: of the classes; their indices unless given.

    Raises:
        ValueError: logits isn't one row of numbers, a temperature isn't above 0, or there isn't a name for each class.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> from tinygrad_ce.study import plot
        >>> ax = plot.temperature_sweep([2.0, -1.0, 0.1], temperatures=[0.5, 1.0])
        >>> ax.lines[0].get_ydata().round(4)
        array([0.9758, 0.8338])
        >>> plt.close(ax.figure)

    Source:
        Hinton, Vinyals, Dean, Distilling the knowledge in a neural network, 2015, arXiv:1503.02531.
    """
    where = "plot.temperature_sweep"
    x = logit_row(where, logits)
    words = names_of(where, names, len(x))
    ts = np.geomspace(0.05, 50, 201) if temperatures is None else numbers(where, "temperatures", temperatures, 1)
    ts = np.unique(ts)
    if len(ts) < 2 or ts[0] <= 0:
        raise ValueError(f"{where}: temperatures is {ts}, expected at least two different numbers above 0")
    ax = drawing.axes_of(where, ax)
    p = ops.softmax(x / ts[:, None])
    few = list(range(len(x))) if len(x) <= 10 else np.argsort(-x, kind="stable")[:8].tolist()
    for k in sorted(set(range(len(x))) - set(few)):
        ax.plot(ts, p[:, k], color="#BBBBBB", linewidth=0.8, label="_")
    colours = drawing.palette(len(few))
    for i, k in enumerate(few):
        ax.plot(ts, p[:, k], color=colours[i], linestyle=drawing.STYLES[i // len(drawing.PALETTE)], label=words[k])
    ax.axhline(1 / len(x), color=drawing.GREY, linewidth=1, linestyle=":")
    ax.axvline(1, color=drawing.GREY, linewidth=1, linestyle="--")
    ax.set(xscale="log", xlim=(ts[0], ts[-1]), ylim=(-0.03, 1.03))
    drawing.finish(ax, "Softmax, by temperature", "temperature T", "probability", grid="both")
    drawing.legend(ax, title="class" if len(few) == len(x) else f"top {len(few)} of {len(x)}")
    return ax
