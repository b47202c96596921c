"""A model's parameters: weights as images, the size of their gradients, and the loss around them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ce import losses
from tinygrad_ce.common.options import whole
from tinygrad_ce.data.dataset import as_dataset
from tinygrad_ce.study.plot import drawing
from tinygrad_ce.study.plot.arguments import check_module, check_positive, names_of, numbers
from tinygrad_ce.train.metrics import logits as evaluate


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
    w = numbers(where, "weight", weight, None)
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise ValueError(f"{where}: shape is {shape!r}, expected (height, width)")
    for name, value in (("shape[0]", shape[0]), ("shape[1]", shape[1]), ("columns", 1 if columns is None else columns)):
        whole(where, name, value, 1)
    height, width = shape
    if w.ndim < 2 or w[0].size != height * width:
        raise ValueError(
            f"{where}: weight has shape {w.shape}, expected (K, {height * width}): rows of {height} · {width} numbers"
        )
    words = names_of(where, names, len(w))
    ax = drawing.axes_of(where, ax)
    longest = max(map(len, words))
    columns, above, letters = _tiling(ax, len(w), height, width, columns, longest)
    down, across = height + above, width + max(1, width // 8)
    mosaic = np.full((down * -(-len(w) // columns), across * columns), np.nan)
    for k, image in enumerate(w.reshape(-1, height, width)):
        top, left = k // columns * down + above, k % columns * across
        mosaic[top : top + height, left : left + width] = image
        if letters:
            where_to = {"x": left + (width - 1) / 2, "y": top - 0.6, "ha": "center", "va": "bottom"}
            ax.text(s=drawing.name_of(words[k], letters), fontsize=drawing.NOTE, **where_to, **drawing.PLAIN)
    most = np.abs(w).max() or 1.0
    drawing.colour_bar(ax, ax.imshow(mosaic, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest"), "weight")
    ax.set_title("Weights", fontsize=drawing.TITLE)
    ax.set_axis_off()
    return ax


def _tiling(ax: Any, count: int, height: int, width: int, columns: int | None, longest: int) -> tuple[int, int, int]:
    """How many images stand in a row, for large pixels; how many pixels stay free above each; and how many letters of
    its name fit there (0: no names, where they would be cut short or leave the images too little room).
    """
    across, down = drawing.inches(ax)
    text = 1.5 * drawing.NOTE / 72

    def pixel(columns: int, text: float) -> float:
        return min(across * 0.85 / columns / (width * 1.125), (down / -(-count // columns) - text) / height)

    def best(text: float) -> int:
        def filled(columns: int) -> float:
            return pixel(columns, text) * (count / (columns * -(-count // columns))) ** 2

        return min(columns or max(range(1, count + 1), key=filled), count)

    named, nameless = best(text), best(0)
    size = pixel(named, text)
    letters = int(72 * size * width * 1.125 / drawing.text_width("n"))
    if size < 0.6 * pixel(nameless, 0) or letters < min(longest, 6):
        return nameless, max(1, height // 8), 0
    return named, math.ceil(text / size), letters


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
    check_module(where, model)
    check_positive(where, "span", span)
    whole(where, "points", points, 3)
    rows = as_dataset(where, data)
    steps = np.linspace(-span, span, points)
    heights, centre = landscape(where, model, rows, loss, steps, seed)
    finite = heights[np.isfinite(heights)]
    if not finite.size:
        raise ValueError(f"{where}: the loss is nowhere finite; lower span, now {span}")
    ax = drawing.axes_of(where, ax)
    low, high = float(finite.min()), float(finite.max())
    logarithmic = low > 0 and high > 10 * low
    levels = np.geomspace(low, high, 21) if logarithmic else _round_levels(low, high, 20)
    kind = {"norm": "log"} if logarithmic else {}
    filled = ax.contourf(steps, steps, heights, levels=levels, cmap="viridis", **kind)
    ax.contour(steps, steps, heights, levels=levels, colors="white", linewidths=0.3, alpha=0.6)
    said = f"these weights: {centre:.3g}"
    ax.plot(0, 0, "o", color=drawing.VERMILLION, markeredgecolor="white", markersize=7, label=said, linestyle="")
    bar = drawing.colour_bar(ax, filled, "loss")
    ticks = levels[::5] if logarithmic else _round_levels(low, high, 5)[1:-1]
    bar.set_ticks(ticks, labels=[f"{tick:.{2 if logarithmic else 6}g}" for tick in ticks])
    bar.minorticks_off()
    drawing.finish(ax, "Loss landscape", "along δ", "along η", grid="")
    drawing.legend(ax)
    return ax


def _round_levels(low: float, high: float, count: int) -> np.ndarray:
    """About so many round numbers from below low to above high."""
    from matplotlib.ticker import MaxNLocator

    return np.asarray(MaxNLocator(count).tick_values(low, high))


def landscape(
    where: str, model: Any, rows: Any, loss: Callable[[Any, Any], Any], steps: np.ndarray, seed: int
) -> tuple[np.ndarray, float]:
    """The loss at every point of the grid (a along the second axis, b along the first), and at the weights."""
    parameters = model.parameters()
    before = [p._value for p in parameters]
    rng = np.random.default_rng(seed)
    one, other = ([_direction(data, rng) for data in before] for _ in range(2))
    if not any(d.any() for d in one):
        raise ValueError(f"{where}: every weight is 0, so directions as long as the weights are 0 as well; train first")

    def height(a: float, b: float) -> float:
        for p, data, d, e in zip(parameters, before, one, other, strict=True):
            p._value = (data + a * d + b * e).astype(data.dtype)
        value = loss(evaluate(model, rows.x), rows.y)
        if np.size(value) != 1:
            raise ValueError(f"{where}: loss gave shape {np.shape(value)}, expected a single number")
        return float(value)

    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return np.array([[height(a, b) for a in steps] for b in steps]), height(0, 0)
    finally:
        for p, data in zip(parameters, before, strict=True):
            p._value = data


def _direction(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random direction with the norm of a parameter, filter by filter."""
    direction = rng.standard_normal(data.shape)
    axes = tuple(range(1, data.ndim)) if data.ndim > 1 else None
    norm = np.sqrt(np.sum(np.square(data, dtype=float), axis=axes, keepdims=True))
    length = np.sqrt(np.sum(direction**2, axis=axes, keepdims=True))
    return np.asarray(direction * norm / np.where(length > 0, length, 1))


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
    check_module(where, model)
    sizes = {name: np.abs(t.grad, dtype=float) for name, t in model.named_parameters() if t.grad is not None and t.size}
    if not sizes:
        raise ValueError(f"{where}: no parameter has a gradient; call loss.backward() first, and don't zero_grad() yet")
    wrong = [name for name, size in sizes.items() if not np.isfinite(size).all()]
    if wrong:
        raise ValueError(f"{where}: the gradient of {wrong[0]} holds nan or inf; did the loss overflow?")
    mean, largest = (np.array([f(size) for size in sizes.values()]) for f in (np.mean, np.max))
    ax = drawing.axes_of(where, ax)
    shown = np.flatnonzero(largest)
    ax.hlines(shown, mean[shown], largest[shown], color="#BBBBBB", linewidth=1.5, zorder=1)
    ax.scatter(mean[shown], shown, color=drawing.BLUE, s=24, label="mean")
    ax.scatter(largest[shown], shown, color=drawing.VERMILLION, s=24, marker="D", label="maximum")
    drawing.log_scale(ax.xaxis, mean[shown], largest[shown])
    ax.set_xlim((mean[shown].min() / 2, 2 * largest.max()) if shown.size else (0.1, 1))
    for k in np.flatnonzero(largest == 0):
        ax.text(0.01, k, "0", transform=ax.get_yaxis_transform(), va="center", fontsize=drawing.NOTE)
    ax.set_ylim(len(sizes) - 0.5, -0.5)
    ends = [name if len(name) <= 16 else "…" + name[-15:] for name in sizes]
    drawing.name_ticks(ax, "y", ends, drawing.inches(ax)[1])
    drawing.finish(ax, "Gradient flow", "size of the gradient", "parameter", grid="x")
    drawing.legend(ax)
    return ax
