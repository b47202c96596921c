"""Figures with matplotlib: softmax and its temperature, training, decision regions, weights, calibration, checks.

Every function draws into ``ax`` (None: a new figure) and returns the axes. Nothing here changes matplotlib's settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_ce import losses, ops
from tinygrad_ce.data.dataset import as_dataset
from tinygrad_ce.engine.primitive import recording
from tinygrad_ce.engine.reverse import grad
from tinygrad_ce.losses import targets
from tinygrad_ce.nn.module import Module
from tinygrad_ce.tensor import Tensor
from tinygrad_ce.train.history import History
from tinygrad_ce.train.metrics import logits as evaluate

__all__ = [
    "confusion_matrix", "decision_boundary", "gradient_flow", "loss_curves", "loss_landscape", "probabilities",
    "reliability", "step_sweep", "temperature_sweep", "weights",
]  # fmt: skip

# Okabe and Ito's palette (jfly.uni-koeln.de/color, 2008), which colour-blind readers tell apart too; yellow, faint on
# white, comes last.
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, BLACK, YELLOW = "#CC79A7", "#56B4E9", "#000000", "#F0E442"
PALETTE = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK, YELLOW)
GREY = "#767676"
TITLE, LABEL, TICK, NOTE = 11, 10, 9, 8  # sizes of text, in points


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
    x = _logits(where, logits)
    words = _names(where, names, len(x))
    _positive(where, "temperature", temperature)
    ax = _axes(where, ax)
    right = ax.twinx()
    p = ops.softmax(x / temperature)
    height = np.where(np.isfinite(x), x, 0)
    places = np.arange(len(x))
    bars = [
        ax.bar(places - 0.2, height, 0.38, color=BLUE, label="logit"),
        right.bar(places + 0.2, p, 0.38, color=ORANGE, label="probability"),
    ]
    lowest = min(height.min(), 0.0)
    top = max(height.max(), -0.7 * lowest) or 1.0  # where there are but negative logits, probabilities need room too
    numbers, upright = _words_at_bars(ax, (x, p), np.stack([height, p * top]) / (top - lowest))
    inch = 1.6 / _inches(ax)[1] * (top - lowest)  # of what the bars take, so that the limits leave room for text
    margin = inch / 72 * (4 + (max(_width(word, NOTE) for row in numbers for word in row) if upright else NOTE))
    limits = np.array([lowest - margin if lowest < 0 else 0, top + margin + 0.25 * inch])
    ax.set_ylim(limits)
    right.set_ylim(limits / top)
    _write_at_bars(ax, places - 0.2, height, numbers[0], upright)
    _write_at_bars(right, places + 0.2, p, numbers[1], upright)
    _ticks(ax, "x", words, _inches(ax)[0])
    at = "" if temperature == 1 else f" at T = {temperature:g}"
    _finish(ax, f"Logits and softmax{at}", "class", "logit", grid="")
    unit = _inches(ax)[1] * top / np.ptp(limits)
    _right_scale(right, "probability", np.linspace(0, 1, 5 if unit > 0.8 else 3))
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.legend(handles=bars, loc="upper center", ncols=2, frameon=False, fontsize=NOTE, **_TIGHT)
    return ax


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
    curves = _curves(where, history, names)
    if log and not any((y > 0).any() for *_, y in curves):
        raise ValueError(f"{where}: no value is above 0, so there is nothing to draw with log=True")
    ax = _axes(where, ax)
    colours = _colours(1 + max(colour for _, colour, *_ in curves))
    for label, colour, style, x, y in curves:
        marker = "o" if len(x) == 1 else None
        ax.plot(x, y, color=colours[colour], linestyle=_STYLES[style % 4], marker=marker, label=label)
    if log:
        _log_scale(ax.yaxis, *(y for *_, y in curves))
    stems = {name.removeprefix("val_") for name in names}
    what = stems.pop() if len(stems) == 1 else "value"
    lists = isinstance(history, Mapping) and not any(isinstance(h, History) for h in history.values())
    _finish(ax, what.capitalize(), "step" if lists else "epoch", what, grid="both")
    ax.xaxis.get_major_locator().set_params(integer=True)
    _legend(ax)
    return ax


_SAID = {"loss": "training", "accuracy": "training", "val_loss": "validation", "val_accuracy": "validation"}


def _curves(where: str, history: Any, names: Sequence[str]) -> list[tuple[str, int, int, np.ndarray, np.ndarray]]:
    """Label, number of the colour, number of the line style, x and y of each curve."""
    several = isinstance(history, Mapping)
    if not several and not isinstance(history, History):
        raise TypeError(
            f"{where}: history is of type {type(history).__name__}, expected a History, or a dict of label -> History "
            f"or list of floats"
        )
    entries = dict(history) if several else {"": history}
    known = {label: h.history for label, h in entries.items() if isinstance(h, History)}
    drawn = {label: [name for name in names if name in measured] for label, measured in known.items()}
    distinct = len({_SAID.get(name, name) for name in names}) == len(names)
    curves = []
    for k, (label, measured) in enumerate(entries.items()):
        if label not in known:
            y = _numbers(where, f"history[{label!r}]", measured, 1, finite=False)
            curves.append((str(label), k, 0, np.arange(1, len(y) + 1), y))
            continue
        for i, name in enumerate(drawn[label]):
            words = [str(label)] * several
            if not several or any(len(found) > 1 for found in drawn.values()):
                words.append(_SAID.get(name, name) if distinct else name)
            y = np.asarray(measured[name], float)
            curves.append((", ".join(words), k if several else i, i, np.array(measured.epoch) + 1, y))
    if not curves:
        there = sorted({name for measured in known.values() for name in measured})
        raise ValueError(f"{where}: nothing to draw: names is {tuple(names)}, history has {there or 'no epochs'}")
    return curves


def decision_boundary(
    model: Any, data: Any, *, resolution: int = 200, probabilities: bool = True, ax: Any = None
) -> Any:
    """What a classifier of two features answers all over the plane, with the data on top.

    Each region has the colour of the class that wins there, and white lines part them.

    Args:
        model: what turns rows (N, 2) into logits (N, C): a Module, which is left as it was, or a function.
        data: a Dataset or pair (x, y) of two features, x (N, 2) and y (N).
        resolution: how many points the grid has along each axis.
        probabilities: whether the colour is the stronger, the higher the winner's probability.

    Raises:
        ValueError: data doesn't have two features, a label isn't one of the model's classes, or the model doesn't
                give finite logits (N, C).

    Example:
        >>> import matplotlib.pyplot as plt, tinygrad_ce as tg
        >>> from tinygrad_ce.study import plot
        >>> ax = plot.decision_boundary(tg.nn.Linear(2, 3, rng=0), tg.data.make_blobs(60), resolution=40)
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['0', '1', '2']
        >>> plt.close(ax.figure)
    """
    where = "plot.decision_boundary"
    rows = as_dataset(where, data)
    if rows.x.shape[1:] != (2,):
        raise ValueError(f"{where}: x has shape {rows.x.shape}, expected (N, 2): a plane has two features")
    _whole(where, "resolution", resolution, 2)
    xs, ys, z = _on_grid(where, model, rows.x, resolution)
    classes = z.shape[-1]
    y = rows.y.argmax(axis=-1) if targets.is_soft(rows.y, (len(rows.x), classes)) else rows.y
    y, _ = targets.check_indices(where, y, (len(rows.x), classes), 1)
    names = rows.classes if len(rows.classes) == classes else [str(i) for i in range(classes)]
    ax = _axes(where, ax)
    colours = _colours(classes)
    extent = (xs[0], xs[-1], ys[0], ys[-1])
    ax.imshow(_shades(z, colours, probabilities), extent=extent, origin="lower", aspect="auto", interpolation="nearest")
    for k in range(classes):
        lead = z[..., k] - np.delete(z, k, axis=-1).max(axis=-1)
        if lead.min() < 0 < lead.max():
            ax.contour(xs, ys, lead, levels=[0], colors="white", linewidths=1)
    size = float(np.clip(4000 / len(y), 6, 30))
    for k in np.unique(y):
        x = rows.x[y == k]
        marker = "os^D"[k // len(PALETTE) % 4]
        ax.scatter(*x.T, s=size, color=[colours[k]], marker=marker, edgecolor="white", linewidth=0.5, label=names[k])
    _finish(ax, "Decision regions", "feature 0", "feature 1", grid="")
    ax.set(xlim=extent[:2], ylim=extent[2:])
    _legend(ax, title="class")
    return ax


def _on_grid(where: str, model: Any, x: np.ndarray, resolution: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grid around the points x, and the model's logits on it, of shape (resolution, resolution, C)."""
    low, high = x.min(axis=0).astype(float), x.max(axis=0).astype(float)
    margin = 0.08 * np.where(high > low, high - low, 1)
    xs, ys = np.linspace(low - margin, high + margin, resolution).T
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(np.float32)
    z = evaluate(model, grid)
    if z.ndim != 2 or z.shape[1] < 2 or not np.isfinite(z).all():
        raise ValueError(
            f"{where}: model gave shape {z.shape} for x of {grid.shape}, expected finite logits (N, C) of at least two "
            f"classes; of a single logit z, give those of both classes: [0, z]"
        )
    return xs, ys, z.reshape(resolution, resolution, -1)


def _shades(z: np.ndarray, colours: np.ndarray, probabilities: bool) -> np.ndarray:
    """Logits as colours (…, 3): the winner's, on white, the stronger the higher its probability."""
    strength = np.full((*z.shape[:-1], 1), 0.4)
    if probabilities:
        chance = 1 / z.shape[-1]
        p = ops.softmax(z.astype(float)).max(axis=-1, keepdims=True)
        strength = 0.08 + 0.47 * (p - chance) / (1 - chance)
    return np.asarray(1 - strength * (1 - colours[z.argmax(axis=-1)]))


def confusion_matrix(confusion: Any, classes: Any = None, *, ax: Any = None) -> Any:
    """Counts with a row for each true class and a column for each predicted one, as tg.confusion_matrix gives them.

    A cell is the darker, the larger its share of the true class. A count of 0 is left blank. Where the cells are too
    small for numbers, a colour bar says the shares.

    Args:
        confusion: (C, C) whole numbers.
        classes: the names of the classes; their indices unless given.

    Raises:
        ValueError: confusion isn't a square of counts, or there isn't a name for each class.

    Example:
        >>> import matplotlib.pyplot as plt, tinygrad_ce as tg
        >>> from tinygrad_ce.study import plot
        >>> ax = plot.confusion_matrix(tg.confusion_matrix([0, 1, 1], [0, 0, 1], 2), ["cat", "dog"])
        >>> [text.get_text() for text in ax.texts]
        ['1', '1', '1']
        >>> plt.close(ax.figure)
    """
    where = "plot.confusion_matrix"
    counts = _numbers(where, "confusion", confusion, 2)
    if counts.shape[0] != counts.shape[1]:
        raise ValueError(f"{where}: confusion has shape {counts.shape}, expected a square: (C, C)")
    wrong = (counts < 0) | (counts != np.round(counts))
    if wrong.any():
        raise ValueError(f"{where}: confusion{targets.first(wrong)} is {counts[wrong][0]}, expected a count")
    words = _names(where, classes, len(counts), "classes")
    ax = _axes(where, ax)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(np.where(counts > 0, share, np.nan), cmap="Blues", vmin=0, vmax=1)
    side = min(_inches(ax))
    cell = 72 * side / len(counts)
    size = min(LABEL, 0.75 * cell / _width(f"{counts.max():.0f}", 1), 0.6 * cell)
    if size < 5:
        _colour_bar(ax, image, "share of the true class")
    else:
        for i, j in np.argwhere(counts):
            colour = "white" if share[i, j] > 0.5 else "black"
            ax.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", color=colour, fontsize=size)
    _ticks(ax, "x", words, side)
    _ticks(ax, "y", words, side)
    _finish(ax, "Confusion matrix", "predicted class", "true class", grid="")
    ax.spines[["top", "right"]].set_visible(True)
    return ax


def weights(
    weight: Any, shape: tuple[int, int], *, names: Any = None, columns: int | None = None, ax: Any = None
) -> Any:
    """Each row of a weight as an image: red where it is above 0, blue where below, white at 0, on one scale.

    Args:
        weight: (K, D), a row for each class or hidden unit, or (K, …) with D numbers in each row, such as kernels.
        shape: of an image, (height, width), with height · width = D.
        names: what stands above each image; the rows' indices unless given.
        columns: how many images stand side by side; what fills the axes best unless given.

    Raises:
        ValueError: rows don't have height · width finite numbers, or there isn't a name for each.

    Example:
        >>> import matplotlib.pyplot as plt, tinygrad_ce as tg
        >>> from tinygrad_ce.study import plot
        >>> ax = plot.weights(tg.nn.Linear(64, 10, rng=0).weight, (8, 8))
        >>> [text.get_text() for text in ax.texts]
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']
        >>> plt.close(ax.figure)
    """
    where = "plot.weights"
    w = _numbers(where, "weight", weight, None)
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise ValueError(f"{where}: shape is {shape!r}, expected (height, width)")
    for name, value in (("shape[0]", shape[0]), ("shape[1]", shape[1]), ("columns", 1 if columns is None else columns)):
        _whole(where, name, value, 1)
    height, width = shape
    if w.ndim < 2 or w[0].size != height * width:
        raise ValueError(
            f"{where}: weight has shape {w.shape}, expected (K, {height * width}): rows of {height} · {width} numbers"
        )
    words = _names(where, names, len(w))
    ax = _axes(where, ax)
    longest = max(map(len, words))
    columns, above, letters = _tiling(ax, len(w), height, width, columns, longest)
    down, across = height + above, width + max(1, width // 8)
    mosaic = np.full((down * -(-len(w) // columns), across * columns), np.nan)
    for k, image in enumerate(w.reshape(-1, height, width)):
        top, left = k // columns * down + above, k % columns * across
        mosaic[top : top + height, left : left + width] = image
        if letters:
            name = _short(words[k], letters)
            ax.text(left + (width - 1) / 2, top - 0.6, name, ha="center", va="bottom", fontsize=NOTE)
    most = np.abs(w).max() or 1.0
    _colour_bar(ax, ax.imshow(mosaic, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest"), "weight")
    ax.set_title("Weights", fontsize=TITLE)
    ax.set_axis_off()
    return ax


def _tiling(ax: Any, count: int, height: int, width: int, columns: int | None, longest: int) -> tuple[int, int, int]:
    """How many images to a row, so that their pixels are large; the pixels left free above each, and the letters
    of its name that have room there (0: no names, as they would take more room than the images or be cut short).
    """
    across, down = _inches(ax)
    text = 1.5 * NOTE / 72

    def pixel(columns: int, text: float) -> float:
        return min(across * 0.85 / columns / (width * 1.125), (down / -(-count // columns) - text) / height)

    def best(text: float) -> int:
        def filled(columns: int) -> float:
            return pixel(columns, text) * (count / (columns * -(-count // columns))) ** 2

        return min(columns or max(range(1, count + 1), key=filled), count)

    named, nameless = best(text), best(0)
    size = pixel(named, text)
    letters = int(72 * size * width * 1.125 / _width("n", NOTE))
    if size < 0.6 * pixel(nameless, 0) or letters < min(longest, 6):
        return nameless, max(1, height // 8), 0
    return named, math.ceil(text / size), letters


def gradient_flow(model: Any, *, ax: Any = None) -> Any:
    r"""How large the gradient of each parameter is: mean and maximum of :math:`|\partial L / \partial \theta_i|`.

    Parameters stand from the first (top) to the last. Gradients that shrink by orders of magnitude towards the top
    vanish on their way back; ones that grow explode. A gradient of nothing but 0 has a 0 at the left.

    Args:
        model: a Module after ``loss.backward()``; parameters without a gradient are left out.

    Raises:
        TypeError: model isn't a Module.
        ValueError: no parameter has a gradient, or one holds nan or inf.

    Example:
        >>> import matplotlib.pyplot as plt, tinygrad_ce as tg
        >>> from tinygrad_ce.study import plot
        >>> model = tg.nn.Linear(4, 3, rng=0)
        >>> tg.cross_entropy(model(tg.data.load_iris().x), tg.data.load_iris().y).backward()
        >>> ax = plot.gradient_flow(model)
        >>> [label.get_text() for label in ax.get_yticklabels()]
        ['weight', 'bias']
        >>> plt.close(ax.figure)

    Source:
        Glorot, Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010.
    """
    where = "plot.gradient_flow"
    _module(where, model)
    sizes = {name: np.abs(t.grad, dtype=float) for name, t in model.named_parameters() if t.grad is not None and t.size}
    if not sizes:
        raise ValueError(f"{where}: no parameter has a gradient; call loss.backward() first, and don't zero_grad() yet")
    wrong = [name for name, size in sizes.items() if not np.isfinite(size).all()]
    if wrong:
        raise ValueError(f"{where}: the gradient of {wrong[0]} holds nan or inf; did the loss overflow?")
    mean, largest = (np.array([f(size) for size in sizes.values()]) for f in (np.mean, np.max))
    ax = _axes(where, ax)
    shown = np.flatnonzero(largest)
    ax.hlines(shown, mean[shown], largest[shown], color="#BBBBBB", linewidth=1.5, zorder=1)
    ax.scatter(mean[shown], shown, color=BLUE, s=24, label="mean")
    ax.scatter(largest[shown], shown, color=VERMILLION, s=24, marker="D", label="maximum")
    _log_scale(ax.xaxis, mean[shown], largest[shown])
    ax.set_xlim((mean[shown].min() / 2, 2 * largest.max()) if shown.size else (0.1, 1))
    for k in np.flatnonzero(largest == 0):
        ax.text(0.01, k, "0", transform=ax.get_yaxis_transform(), va="center", fontsize=NOTE)
    ax.set_ylim(len(sizes) - 0.5, -0.5)
    _ticks(ax, "y", [name if len(name) <= 16 else "…" + name[-15:] for name in sizes], _inches(ax)[1])
    _finish(ax, "Gradient flow", "size of the gradient", "parameter", grid="x")
    _legend(ax)
    return ax


def loss_landscape(
    model: Any,
    data: Any,
    *,
    loss: Callable[[Any, Any], Any] = losses.cross_entropy,
    span: float = 1.0,
    points: int = 25,
    seed: int = 0,
    ax: Any = None,
) -> Any:
    r"""Contours of the loss around a model's weights: :math:`L(\theta + a \delta + b \eta)` over a and b.

    δ and η are random directions, scaled filter by filter to the norm of the weights,
    :math:`\delta_i \leftarrow \delta_i \|\theta_i\| / \|\delta_i\|`, so that 1 is a step as long as the weights
    themselves and models of different scale can be compared. A filter is a row of a weight's first axis; a bias is one.

    Args:
        model: a Module, run in evaluation; it is left unchanged, to the bit.
        data: a Dataset or pair (x, y); the loss is taken over all of it, once for each point.
        loss: a function of logits and labels.
        span: the grid reaches from -span to span in both directions.
        points: how many points the grid has along each direction.
        seed: of the directions.

    The levels are evenly spaced in the loss, or in its logarithm where the loss spans more than a factor of ten.

    Raises:
        TypeError: model isn't a Module.
        ValueError: every weight is 0, so that there is no direction; the loss is no number or nowhere finite; span or
                points out of range.

    Example:
        >>> import matplotlib.pyplot as plt, tinygrad_ce as tg
        >>> from tinygrad_ce.study import plot
        >>> ax = plot.loss_landscape(tg.nn.Linear(4, 3, rng=0), tg.data.load_iris(), points=9)
        >>> ax.get_legend().get_texts()[0].get_text()
        'these weights: 1.9'
        >>> plt.close(ax.figure)

    Source:
        Li et al., Visualizing the loss landscape of neural nets, 2018, arXiv:1712.09913.
    """
    where = "plot.loss_landscape"
    _module(where, model)
    _positive(where, "span", span)
    _whole(where, "points", points, 3)
    rows = as_dataset(where, data)
    steps = np.linspace(-span, span, points)
    heights, centre = _landscape(where, model, rows, loss, steps, seed)
    finite = heights[np.isfinite(heights)]
    if not finite.size:
        raise ValueError(f"{where}: the loss is nowhere finite; lower span, now {span}")
    ax = _axes(where, ax)
    low, high = float(finite.min()), float(finite.max())
    logarithmic = low > 0 and high > 10 * low
    levels = np.geomspace(low, high, 21) if logarithmic else _round_levels(low, high, 20)
    kind = {"norm": "log"} if logarithmic else {}
    filled = ax.contourf(steps, steps, heights, levels=levels, cmap="viridis", **kind)
    ax.contour(steps, steps, heights, levels=levels, colors="white", linewidths=0.3, alpha=0.6)
    said = f"these weights: {centre:.3g}"
    ax.plot(0, 0, "o", color=VERMILLION, markeredgecolor="white", markersize=7, label=said, linestyle="")
    bar = _colour_bar(ax, filled, "loss")
    ticks = levels[::5] if logarithmic else _round_levels(low, high, 5)[1:-1]
    bar.set_ticks(ticks, labels=[f"{tick:.{2 if logarithmic else 6}g}" for tick in ticks])
    bar.minorticks_off()
    _finish(ax, "Loss landscape", "along δ", "along η", grid="")
    _legend(ax)
    return ax


def _round_levels(low: float, high: float, count: int) -> np.ndarray:
    """About so many round numbers from below low to above high."""
    from matplotlib.ticker import MaxNLocator

    return np.asarray(MaxNLocator(count).tick_values(low, high))


def _landscape(
    where: str, model: Any, rows: Any, loss: Callable[[Any, Any], Any], steps: np.ndarray, seed: int
) -> tuple[np.ndarray, float]:
    """The loss at every point of the grid (a along the second axis, b along the first), and at the weights."""
    parameters = model.parameters()
    before = [p._data for p in parameters]
    rng = np.random.default_rng(seed)
    one, other = ([_direction(data, rng) for data in before] for _ in range(2))
    if not any(d.any() for d in one):
        raise ValueError(f"{where}: every weight is 0, so directions as long as the weights are 0 as well; train first")

    def height(a: float, b: float) -> float:
        for p, data, d, e in zip(parameters, before, one, other, strict=True):
            p._data = (data + a * d + b * e).astype(data.dtype)
        value = loss(evaluate(model, rows.x), rows.y)
        if np.size(value) != 1:
            raise ValueError(f"{where}: loss gave shape {np.shape(value)}, expected a single number")
        return float(value)

    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return np.array([[height(a, b) for a in steps] for b in steps]), height(0, 0)
    finally:
        for p, data in zip(parameters, before, strict=True):
            p._data = data


def _direction(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random direction with the norm of a parameter, filter by filter."""
    direction = rng.standard_normal(data.shape)
    axes = tuple(range(1, data.ndim)) if data.ndim > 1 else None
    norm = np.sqrt(np.sum(np.square(data, dtype=float), axis=axes, keepdims=True))
    length = np.sqrt(np.sum(direction**2, axis=axes, keepdims=True))
    return np.asarray(direction * norm / np.where(length > 0, length, 1))


def reliability(probabilities: Any, labels: Any, *, bins: int = 10, ax: Any = None) -> Any:
    r"""Whether a classifier is right as often as it says: accuracy against confidence, and the ECE.

    A row's confidence is the largest of its probabilities; rows are put into equal bins of confidence. A bar is the
    accuracy of its bin, the hatched gap reaches from there to the bin's mean confidence, and the number is how many
    rows there are. On the diagonal the classifier is calibrated; gaps above the bars are overconfidence. The title has
    the expected calibration error, :math:`\mathrm{ECE} = \sum_b \frac{n_b}{N} |\mathrm{acc}_b - \mathrm{conf}_b|`.

    Args:
        probabilities: (N, C), rows that sum to 1.
        labels: (N) class indices.
        bins: how many; bin b holds confidences above (b - 1) / bins up to b / bins.

    Raises:
        ValueError, TypeError: probabilities aren't any, or a label isn't one of the classes (the first is named).

    Example:
        >>> import matplotlib.pyplot as plt
        >>> from tinygrad_ce.study import plot
        >>> ax = plot.reliability([[0.9, 0.1], [0.8, 0.2]], [0, 1])
        >>> ax.get_title()
        'Reliability (ECE 0.450)'
        >>> plt.close(ax.figure)

    Source:
        Guo et al., On calibration of modern neural networks, 2017, arXiv:1706.04599.
    """
    where = "plot.reliability"
    p = _checked_probabilities(where, probabilities)
    y, _ = targets.check_indices(where, labels._data if isinstance(labels, Tensor) else np.asarray(labels), p.shape, 1)
    _whole(where, "bins", bins, 1)
    count, accuracy, confidence = _calibration(p, y, bins)
    error = float(np.sum(count / count.sum() * np.abs(accuracy - confidence)))
    ax = _axes(where, ax)
    some = count > 0
    middle = (np.arange(bins)[some] + 0.5) / bins
    width = 0.94 / bins
    ax.bar(middle, accuracy[some], width, color=SKY, label="accuracy")
    gap = (confidence - accuracy)[some]
    ax.bar(
        middle, gap, width, bottom=accuracy[some], fill=False, hatch="////", edgecolor=VERMILLION, linewidth=0.8,
        label="gap",
    )  # fmt: skip
    ax.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    _counts(ax, middle, count[some], bins)
    ax.set(xlim=(0, 1), ylim=(0, 1.18), yticks=np.linspace(0, 1, 6))
    _finish(ax, f"Reliability (ECE {error:.3f})", "confidence", "accuracy", grid="both")
    ax.legend(loc="upper center", ncols=2, frameon=False, fontsize=NOTE, **_TIGHT)
    return ax


def _checked_probabilities(where: str, probabilities: Any) -> np.ndarray:
    p = probabilities._data if isinstance(probabilities, Tensor) else np.asarray(probabilities)
    if p.ndim == 1:
        raise ValueError(
            f"{where}: probabilities has shape {p.shape}, expected (N, C); of two classes with p for class 1, give "
            f"np.stack([1 - p, p], axis=1)"
        )
    p = _numbers(where, "probabilities", p, 2)
    wrong = (p < 0) | (np.abs(p.sum(axis=1, keepdims=True) - 1) > 1e-3)
    if wrong.any():
        row = int(np.argwhere(wrong)[0, 0])
        raise ValueError(
            f"{where}: row {row} of probabilities is {p[row]}, expected numbers from 0 that sum to 1; of logits, give "
            f"tg.softmax(logits)"
        )
    return p


def _calibration(p: np.ndarray, y: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each bin of confidence: how many rows, their accuracy and their mean confidence (0 of none)."""
    confidence = p.max(axis=1)
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(which, minlength=bins)
    right, sure = (np.bincount(which, v, bins) / np.maximum(count, 1) for v in (p.argmax(axis=1) == y, confidence))
    return count, right, sure


def _counts(ax: Any, places: np.ndarray, counts: np.ndarray, bins: int) -> None:
    """How many rows a bin has, at the foot of its bar."""
    room = 72 * _inches(ax)[0] / bins
    if room < NOTE + 2:
        return
    upright = max(_width(str(n), NOTE) for n in counts) > 0.8 * room
    for place, n in zip(places, counts, strict=True):
        ax.text(place, 0.015, str(n), ha="center", va="bottom", rotation=90 if upright else 0, fontsize=NOTE)


def step_sweep(
    f: Callable[[Any], Any], x: Any, *, steps: Any = None, complex_step: bool = False, ax: Any = None
) -> Any:
    r"""The error of finite differences against the engine's gradient, over the step h: the V.

    One-sided, :math:`(f(x + h) - f(x)) / h`, has a truncation of order h; central, :math:`(f(x + h) - f(x - h)) / 2h`,
    of order h²; both lose eps / h to rounding, so each is best at a step between. The complex step,
    :math:`\mathrm{Im} f(x + ih) / h`, subtracts nothing and loses nothing. A dot marks the best step of each. The
    error is the largest over the entries of x, relative to the largest entry of the gradient; one below eps is drawn
    at eps.

    Args:
        f: a function of x made of tg's operators that returns a single number.
        x: a number or an array, taken as float64.
        steps: the steps h, above 0; 1e-16 to 1, three to a decade, unless given.
        complex_step: whether to draw the complex step; f is then called with complex arrays.

    Raises:
        TypeError: f leaves the graph, or doesn't take complex arrays though complex_step asks for it.
        ValueError: f isn't a single finite number, its gradient is 0 or not finite, or a step isn't above 0.

    Example:
        >>> import matplotlib.pyplot as plt, tinygrad_ce as tg
        >>> from tinygrad_ce.study import plot
        >>> ax = plot.step_sweep(tg.exp, 1.0, complex_step=True)
        >>> [bool(min(line.get_ydata()) < 1e-9) for line in ax.lines]
        [False, True, True]
        >>> plt.close(ax.figure)

    Source:
        Squire, Trapp, Using complex variables to estimate derivatives of real functions, 1998.
    """
    where = "plot.step_sweep"
    point = np.array(_numbers(where, "x", x, None))
    hs = np.logspace(-16, 0, 49) if steps is None else _numbers(where, "steps", steps, 1)
    if not (hs > 0).all():
        raise ValueError(f"{where}: steps{targets.first(hs <= 0)} is {hs[hs <= 0][0]}, expected a step above 0")
    hs = np.sort(hs)
    exact = _gradient(where, f, point)
    errors = _difference_errors(where, f, point, exact, hs, complex_step)
    ax = _axes(where, ax)
    for (name, error), colour, marker in zip(errors.items(), (BLUE, VERMILLION, GREEN), "os^", strict=False):
        best = int(np.argmin(error))
        ax.plot(hs, error, color=colour, label=name, marker=marker, markevery=[best], markersize=6)
    ax.set(xscale="log", yscale="log")
    _finish(ax, "Finite differences, by step", "step h", "relative error", grid="both")
    ax.legend(loc="upper center", fontsize=NOTE, framealpha=0.9, **_TIGHT)
    return ax


def _gradient(where: str, f: Callable[[Any], Any], point: np.ndarray) -> np.ndarray:
    """The engine's gradient of f."""
    leaf = Tensor(point, requires_grad=True)
    with recording():
        y = f(leaf)
        if not isinstance(y, Tensor):
            raise TypeError(
                f"{where}: f returned {type(y).__name__}, expected a Tensor; does it leave the graph, by .data, "
                f".numpy(), .item() or float(), or by a function of another library?"
            )
        if y.size != 1 or not np.isfinite(y._data).all():
            raise ValueError(f"{where}: f(x) is {y._data} of shape {y.shape}, expected a single finite number")
        exact = np.asarray(grad(y, leaf, np.ones(y.shape))._data) if y.requires_grad else np.zeros(point.shape)
    if not np.isfinite(exact).all() or not exact.any():
        raise ValueError(
            f"{where}: the gradient at x is {exact}, and there is no error relative to it; choose another x"
        )
    return exact


def _difference_errors(
    where: str, f: Callable[[Any], Any], point: np.ndarray, exact: np.ndarray, hs: np.ndarray, complex_step: bool
) -> dict[str, np.ndarray]:
    """The error of each formula for each step."""
    directions = np.eye(point.size).reshape(-1, *point.shape)

    def value(x: np.ndarray) -> Any:
        return np.asarray(f(Tensor(x))._data, float).item()

    def imaginary(x: np.ndarray) -> float:
        try:
            y = np.asarray(f(x))
        except (TypeError, ValueError) as error:
            raise TypeError(f"{where}: f does not take complex arrays, as complex_step needs: {error}") from None
        if y.dtype.kind != "c" or y.size != 1:
            raise TypeError(
                f"{where}: f made {y.dtype} {y.shape} of complex numbers, and complex_step needs one complex number; "
                f"an operator that is not analytic, such as abs or max?"
            )
        return float(y.item().imag)

    start = value(point)
    formulas: dict[str, Callable[[Any, float], float]] = {
        "one-sided": lambda d, h: (value(point + h * d) - start) / h,
        "central": lambda d, h: (value(point + h * d) - value(point - h * d)) / (2 * h),
        "complex step": lambda d, h: imaginary(point + 1j * h * d) / h,
    }
    if not complex_step:
        del formulas["complex step"]
    return {
        name: np.array([_worst([formula(d, h) for d in directions], exact) for h in hs])
        for name, formula in formulas.items()
    }


def _worst(found: Sequence[float], exact: np.ndarray) -> float:
    """The largest error, relative to the largest entry of the gradient; at least eps, for a logarithmic axis."""
    error = np.abs(np.array(found) - exact.ravel()).max() / np.abs(exact).max()
    return max(float(error), float(np.finfo(float).eps))


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
    x = _logits(where, logits)
    words = _names(where, names, len(x))
    ts = np.geomspace(0.05, 50, 201) if temperatures is None else _numbers(where, "temperatures", temperatures, 1)
    ts = np.unique(ts)
    if len(ts) < 2 or ts[0] <= 0:
        raise ValueError(f"{where}: temperatures is {ts}, expected at least two different numbers above 0")
    ax = _axes(where, ax)
    p = ops.softmax(x / ts[:, None])
    few = list(range(len(x))) if len(x) <= 10 else np.argsort(-x, kind="stable")[:8].tolist()
    for k in sorted(set(range(len(x))) - set(few)):
        ax.plot(ts, p[:, k], color="#BBBBBB", linewidth=0.8, label="_")
    colours = _colours(len(few))
    for i, k in enumerate(few):
        ax.plot(ts, p[:, k], color=colours[i], linestyle=_STYLES[i // len(PALETTE)], label=words[k])
    ax.axhline(1 / len(x), color=GREY, linewidth=1, linestyle=":")
    ax.axvline(1, color=GREY, linewidth=1, linestyle="--")
    ax.set(xscale="log", xlim=(ts[0], ts[-1]), ylim=(-0.03, 1.03))
    _finish(ax, "Softmax, by temperature", "temperature T", "probability", grid="both")
    _legend(ax, title="class" if len(few) == len(x) else f"top {len(few)} of {len(x)}")
    return ax


# What the figures share.

_STYLES = ("-", "--", ":", "-.")
_TIGHT = {"handlelength": 1.5, "handletextpad": 0.5, "columnspacing": 1, "borderaxespad": 0.3}  # of a legend


def _axes(where: str, ax: Any) -> Any:
    """The axes to draw into: those given, or those of a new figure."""
    try:
        from matplotlib.axes import Axes
    except ImportError:
        raise ImportError(f"{where} needs matplotlib: pip install 'tinygrad-ce[plot]'") from None
    if ax is None:
        import matplotlib.pyplot as plt

        return plt.subplots(figsize=(6, 4), layout="constrained")[1]
    if not isinstance(ax, Axes):
        why = "; it holds several, take one: ax[0]" if isinstance(ax, np.ndarray | list | tuple) else ""
        raise TypeError(f"{where}: ax is of type {type(ax).__name__}, expected matplotlib axes{why}")
    return ax


def _inches(ax: Any) -> tuple[float, float]:
    """About how wide and high the axes will be: among others, their labels take some of the room."""
    box, spec = ax.get_window_extent(), ax.get_subplotspec()
    share = 0.85 if spec is not None and spec.get_gridspec().nrows * spec.get_gridspec().ncols > 1 else 1
    return share * box.width / ax.figure.dpi, share * box.height / ax.figure.dpi


def _finish(ax: Any, title: str, xlabel: str, ylabel: str, grid: str) -> None:
    """Title, names of the axes, sizes of text; a light grid along the axes named ("" for none)."""
    ax.set_title(title, fontsize=TITLE)
    ax.set_xlabel(xlabel, fontsize=LABEL)
    ax.set_ylabel(ylabel, fontsize=LABEL)
    ax.tick_params(labelsize=TICK)
    ax.spines[["top", "right"]].set_visible(False)
    if grid:
        ax.grid(axis=grid, color="#DDDDDD", linewidth=0.6)
        ax.set_axisbelow(True)


def _log_scale(axis: Any, *values: np.ndarray) -> None:
    """A logarithmic axis. Where the values span few decades, there are ticks between them, in plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_minor_formatter(NullFormatter())
    drawn = np.concatenate(values)
    drawn = drawn[np.isfinite(drawn) & (drawn > 0)]
    decades = math.log10(drawn.max() / drawn.min()) if drawn.size else math.inf
    if decades < 2:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1 else (1, 3)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _colour_bar(ax: Any, image: Any, label: str) -> Any:
    """The scale of an image's colours, beside it."""
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.05, pad=0.03)
    bar.set_label(label, fontsize=LABEL)
    bar.ax.tick_params(labelsize=TICK)
    return bar


def _right_scale(right: Any, label: str, ticks: np.ndarray) -> None:
    """The scale on the right of axes that have two."""
    right.set_yticks(ticks)
    right.set_ylabel(label, fontsize=LABEL)
    right.tick_params(labelsize=TICK)
    right.spines["top"].set_visible(False)


def _legend(ax: Any, title: str | None = None) -> None:
    """A legend where it hides least: in small columns where there are many entries, and no more than 16 of them."""
    handles, words = ax.get_legend_handles_labels()
    every = max(1, math.ceil(len(words) / 16))
    many = len(words) > 8
    ax.legend(
        handles[::every],
        [_short(word, 24) for word in words[::every]],
        title=title,
        fontsize=6 if many else NOTE,
        title_fontsize=NOTE,
        ncols=2 if many else 1,
        framealpha=0.9,
        **_TIGHT,
    )


def _colours(count: int) -> np.ndarray:
    """A colour (r, g, b) for each of count things: the palette, and from its second round on, darker ones."""
    from matplotlib.colors import to_rgb

    table = np.array([to_rgb(colour) for colour in PALETTE])
    k = np.arange(count)
    return np.asarray(table[k % len(table)] * 0.6 ** (k // len(table) % 3)[:, None])


def _words_at_bars(ax: Any, values: Sequence[np.ndarray], ends: np.ndarray) -> tuple[list[list[str]], bool]:
    """Numbers for the ends of bars in pairs, and whether upright: in three digits, in two, upright, or "" for none.

    Ends are in parts of what the bars take. Two numbers side by side must not touch each other, and the lower one
    must not touch the other's bar.
    """
    width, height = (72 * inches for inches in _inches(ax))
    room = 0.4 * width / len(values[0])
    if room < NOTE + 1:
        return [[""] * len(row) for row in values], False
    apart = ends[0] < 0
    level = np.abs(ends[0] - ends[1]) * height / 1.6 < NOTE + 3
    for digits in (3, 2):
        words = [[_brief(value, digits) for value in row] for row in values]
        wide = np.array([[_width(word, NOTE) for word in row] for row in words])
        lower = np.where(ends[0] < ends[1], wide[0], wide[1])
        beside = np.maximum(lower / 1.1, np.where(level, wide.mean(axis=0), 0))
        needed = np.where(apart, wide.max(axis=0) / 1.5, beside)
        if (needed <= room).all():
            return words, False
    return [[_brief(value, 3) for value in row] for row in values], True


def _write_at_bars(ax: Any, places: np.ndarray, ends: np.ndarray, words: Sequence[str], upright: bool) -> None:
    """Numbers just beyond the ends of bars."""
    for place, end, word in zip(places, ends, words, strict=True):
        ax.annotate(
            word,
            (place, end),
            (0, 2 if end >= 0 else -2),
            textcoords="offset points",
            ha="center",
            va="bottom" if end >= 0 else "top",
            rotation=90 if upright else 0,
            fontsize=NOTE,
        )


def _brief(value: float, digits: int) -> str:
    """A number in a few characters: so many significant digits, and decimals at most."""
    size = abs(value)
    if 0 < size < 1e-3:
        text = f"{value:.0e}".replace("e-0", "e-")
    elif size < 1:
        text = f"{value:.{digits}f}".rstrip("0").rstrip(".") if size >= 0.1 else f"{value:.{digits - 1}g}"
    else:
        text = f"{value:.0f}" if 100 <= size < 1e6 else f"{value:.{digits}g}"
    return text.replace("-", "−").replace("inf", "∞")


def _short(word: str, letters: int) -> str:
    return word if len(word) <= letters else word[: letters - 1] + "…"


def _width(text: str, size: float) -> float:
    """About how wide a text is, in points."""
    return size * sum(0.32 if c in ".,;:il| '" else 0.64 for c in text)


def _ticks(ax: Any, axis: str, words: Sequence[str], length: float) -> None:
    """Names along an axis of so many inches: upright where they'd touch, and only every so many if need be."""
    room = length / len(words)
    words = [_short(word, 16) for word in words]
    upright = axis == "x" and max(_width(word + " ", TICK) for word in words) / 72 > room
    every = max(1, math.ceil(1.35 * TICK / 72 / room)) if upright or axis == "y" else 1
    set_ticks = ax.set_xticks if axis == "x" else ax.set_yticks
    set_ticks(range(0, len(words), every), words[::every], rotation=90 if upright else 0)


def _numbers(where: str, name: str, value: Any, ndim: int | None, finite: bool = True) -> np.ndarray:
    """An argument as float64 of so many axes, with something in it."""
    try:
        array = value._data if isinstance(value, Tensor) else np.asarray(value)
    except ValueError:
        raise ValueError(f"{where}: {name} is no array of numbers: rows of different lengths?") from None
    shape = {None: "any shape", 1: "shape (n)", 2: "shape (n, m)"}[ndim]
    if array.dtype.kind not in "fiub" or (ndim is not None and array.ndim != ndim) or not array.size:
        raise ValueError(
            f"{where}: {name} has dtype {array.dtype} and shape {array.shape}, expected numbers of {shape}"
        )
    if finite and not np.isfinite(array).all():
        wrong = ~np.isfinite(array)
        raise ValueError(f"{where}: {name}{targets.first(wrong)} is {array[wrong][0]}, expected a finite number")
    return array.astype(float)


def _logits(where: str, logits: Any) -> np.ndarray:
    x = _numbers(where, "logits", logits, 1, finite=False)
    wrong = np.isnan(x) | (x == np.inf)
    if wrong.any():
        raise ValueError(f"{where}: logits{targets.first(wrong)} is {x[wrong][0]}, expected a finite number or -inf")
    if not np.isfinite(x).any():
        raise ValueError(f"{where}: every logit is -inf, expected at least one finite number")
    return x


def _names(where: str, names: Any, count: int, name: str = "names") -> list[str]:
    if names is None:
        return [str(i) for i in range(count)]
    words = [str(word) for word in names]
    if isinstance(names, str) or len(words) != count:
        raise ValueError(f"{where}: {name} is {names!r}, expected {count} names, one for each")
    return words


def _module(where: str, model: Any) -> None:
    if not isinstance(model, Module):
        raise TypeError(f"{where}: model is of type {type(model).__name__}, expected a Module")


def _positive(where: str, name: str, value: Any) -> None:
    if not isinstance(value, int | float | np.integer | np.floating) or not 0 < value < np.inf:
        raise ValueError(f"{where}: {name} is {value!r}, expected a number above 0")


def _whole(where: str, name: str, value: Any, least: int) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise ValueError(f"{where}: {name} is {value!r}, expected a whole number of at least {least}")
