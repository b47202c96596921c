"""What a classifier answers: its regions in the plane, its confusions, and whether it is as sure as it is right."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.common.options import whole
from tinygrad_ce.data.dataset import as_dataset
from tinygrad_ce.engine.constants import plain
from tinygrad_ce.losses import validate
from tinygrad_ce.study.plot import drawing
from tinygrad_ce.study.plot.arguments import check_entries, names_of, numbers
from tinygrad_ce.train.metrics import logits as evaluate


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
    whole(where, "resolution", resolution, 2)
    xs, ys, z = _on_grid(where, model, rows.x, resolution)
    classes = z.shape[-1]
    y = rows.y.argmax(axis=-1) if validate.is_soft(rows.y, (len(rows.x), classes)) else rows.y
    y, _ = validate.check_indices(where, y, (len(rows.x), classes), 1)
    names = rows.classes if len(rows.classes) == classes else [str(i) for i in range(classes)]
    ax = drawing.axes_of(where, ax)
    colours = drawing.palette(classes)
    extent = (xs[0], xs[-1], ys[0], ys[-1])
    ax.imshow(_shades(z, colours, probabilities), extent=extent, origin="lower", aspect="auto", interpolation="nearest")
    for k in range(classes):
        lead = z[..., k] - np.delete(z, k, axis=-1).max(axis=-1)
        if lead.min() < 0 < lead.max():
            ax.contour(xs, ys, lead, levels=[0], colors="white", linewidths=1)
    size = float(np.clip(4000 / len(y), 6, 30))
    for k in np.unique(y):
        x = rows.x[y == k]
        marker = "os^D"[k // len(drawing.PALETTE) % 4]
        ax.scatter(*x.T, s=size, color=[colours[k]], marker=marker, edgecolor="white", linewidth=0.5, label=names[k])
    drawing.finish(ax, "Decision regions", "feature 0", "feature 1", grid="")
    ax.set(xlim=extent[:2], ylim=extent[2:])
    drawing.legend(ax, title="class")
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
        >>> ax = plot.confusion_matrix(tg.confusion_matrix([0, 0, 1], [0, 1, 1]), ["cat", "dog"])
        >>> [text.get_text() for text in ax.texts]
        ['1', '1', '1']
        >>> plt.close(ax.figure)
    """
    where = "plot.confusion_matrix"
    counts = numbers(where, "confusion", confusion, 2)
    if counts.shape[0] != counts.shape[1]:
        raise ValueError(f"{where}: confusion has shape {counts.shape}, expected a square: (C, C)")
    check_entries(where, "confusion", counts, (counts >= 0) & (counts == np.round(counts)), "a count")
    words = names_of(where, classes, len(counts), "classes")
    ax = drawing.axes_of(where, ax)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(np.where(counts > 0, share, np.nan), cmap="Blues", vmin=0, vmax=1)
    side = min(drawing.inches(ax))
    cell = 72 * side / len(counts)
    size = min(drawing.LABEL, 0.75 * cell / drawing.text_width(f"{counts.max():.0f}", 1), 0.6 * cell)
    if size < 5:
        drawing.colour_bar(ax, image, "share of the true class")
    else:
        for i, j in np.argwhere(counts):
            colour = "white" if share[i, j] > 0.5 else "black"
            ax.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", color=colour, fontsize=size)
    drawing.name_ticks(ax, "x", words, side)
    drawing.name_ticks(ax, "y", words, side)
    drawing.finish(ax, "Confusion matrix", "predicted class", "true class", grid="")
    ax.spines[["top", "right"]].set_visible(True)
    return ax


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
    y, _ = validate.check_indices(where, plain(labels, "labels"), p.shape, 1)
    whole(where, "bins", bins, 1)
    count, accuracy, confidence = _calibration(p, y, bins)
    error = float(np.sum(count / count.sum() * np.abs(accuracy - confidence)))
    ax = drawing.axes_of(where, ax)
    some = count > 0
    middle = (np.arange(bins)[some] + 0.5) / bins
    width = 0.94 / bins
    ax.bar(middle, accuracy[some], width, color=drawing.SKY, label="accuracy")
    gap = (confidence - accuracy)[some]
    hatched = {"fill": False, "hatch": "////", "edgecolor": drawing.VERMILLION, "linewidth": 0.8}
    ax.bar(middle, gap, width, bottom=accuracy[some], label="gap", **hatched)
    ax.plot([0, 1], [0, 1], color=drawing.GREY, linestyle="--", linewidth=1)
    _counts(ax, middle, count[some], bins)
    ax.set(xlim=(0, 1), ylim=(0, 1.18), yticks=np.linspace(0, 1, 6))
    drawing.finish(ax, f"Reliability (ECE {error:.3f})", "confidence", "accuracy", grid="both")
    ax.legend(loc="upper center", ncols=2, frameon=False, fontsize=drawing.NOTE, **drawing.TIGHT)
    return ax


def _checked_probabilities(where: str, probabilities: Any) -> np.ndarray:
    p = plain(probabilities, "probabilities")
    if p.ndim == 1:
        raise ValueError(
            f"{where}: probabilities has shape {p.shape}, expected (N, C); of two classes with p for class 1, give "
            f"np.stack([1 - p, p], axis=1)"
        )
    p = numbers(where, "probabilities", p, 2)
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
    room = 72 * drawing.inches(ax)[0] / bins
    if room < drawing.NOTE + 2:
        return
    upright = max(drawing.text_width(str(n)) for n in counts) > 0.8 * room
    for place, n in zip(places, counts, strict=True):
        ax.text(place, 0.015, str(n), ha="center", va="bottom", rotation=90 if upright else 0, fontsize=drawing.NOTE)
