"""What the figures share: colours, sizes of text, axes, legends, and how much room a text takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_ce.common.words import visible
from tinygrad_ce.study.numbers import shortened

__all__ = ["BLACK", "BLUE", "GREEN", "GREY", "ORANGE", "PALETTE", "PURPLE", "SKY", "VERMILLION", "YELLOW"]

# Okabe and Ito's palette (jfly.uni-koeln.de/color, 2008), which colour-blind readers tell apart too; yellow, faint on
# white, comes last.
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, BLACK, YELLOW = "#CC79A7", "#56B4E9", "#000000", "#F0E442"
PALETTE = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK, YELLOW)
GREY = "#767676"
STYLES = ("-", "--", ":", "-.")
TITLE, LABEL, TICK, NOTE = 11, 10, 9, 8  # sizes of text, in points
PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}  # a text with names: a $ in it is no mathematics
TIGHT: dict[str, Any] = {  # a legend
    "handlelength": 1.5, "handletextpad": 0.5, "columnspacing": 1, "borderaxespad": 0.3, "framealpha": 0.9,
}  # fmt: skip


def axes_of(where: str, ax: Any) -> Any:
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


def inches(ax: Any) -> tuple[float, float]:
    """About how wide and high the axes will be. In a grid of axes, labels take some of the room."""
    box, spec = ax.get_window_extent(), ax.get_subplotspec()
    share = 0.85 if spec is not None and spec.get_gridspec().nrows * spec.get_gridspec().ncols > 1 else 1
    return share * box.width / ax.figure.dpi, share * box.height / ax.figure.dpi


def finish(ax: Any, title: str, xlabel: str, ylabel: str, grid: str) -> None:
    """Title, names of the axes, sizes of text; a light grid along the axes named ("" for none)."""
    ax.set_title(title, fontsize=TITLE, **PLAIN)
    ax.set_xlabel(xlabel, fontsize=LABEL, **PLAIN)
    ax.set_ylabel(ylabel, fontsize=LABEL, **PLAIN)
    ax.tick_params(labelsize=TICK)
    ax.spines[["top", "right"]].set_visible(False)
    if grid:
        ax.grid(axis=grid, color="#DDDDDD", linewidth=0.6)
        ax.set_axisbelow(True)


def log_scale(axis: Any, *values: np.ndarray) -> None:
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


def colour_bar(ax: Any, image: Any, label: str) -> Any:
    """The scale of an image's colours, beside it."""
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.05, pad=0.03)
    bar.set_label(label, fontsize=LABEL)
    bar.ax.tick_params(labelsize=TICK)
    return bar


def right_scale(right: Any, label: str, ticks: np.ndarray) -> None:
    """The scale on the right of axes that have two."""
    right.set_yticks(ticks)
    right.set_ylabel(label, fontsize=LABEL)
    right.tick_params(labelsize=TICK)
    right.spines["top"].set_visible(False)


def legend(ax: Any, title: str | None = None) -> None:
    """A legend where it hides least: in small columns where there are many entries, and no more than 16 of them."""
    handles, words = ax.get_legend_handles_labels()
    every = max(1, math.ceil(len(words) / 16))
    shown = [name_of(word, 24) for word in words[::every]]
    ncols, fontsize = (2, 6) if len(words) > 8 else (1, NOTE)
    options = {"title_fontsize": NOTE, "ncols": ncols, "fontsize": fontsize, **TIGHT}
    for text in ax.legend(handles[::every], shown, title=title, **options).get_texts():
        text.set(**PLAIN)


def palette(count: int) -> np.ndarray:
    """A colour (r, g, b) for each of count things: the palette, and from its second round on, darker ones."""
    from matplotlib.colors import to_rgb

    table = np.array([to_rgb(colour) for colour in PALETTE])
    k = np.arange(count)
    return np.asarray(table[k % len(table)] * 0.6 ** (k // len(table) % 3)[:, None])


def name_ticks(ax: Any, axis: str, words: Sequence[str], length: float) -> None:
    """Names along an axis of this length in inches: upright if they would touch, and fewer if that isn't enough."""
    room = length / len(words)
    words = [name_of(word, 16) for word in words]
    upright = axis == "x" and max(text_width(word + " ", TICK) for word in words) / 72 > room
    every = max(1, math.ceil(1.35 * TICK / 72 / room)) if upright or axis == "y" else 1
    set_ticks = ax.set_xticks if axis == "x" else ax.set_yticks
    set_ticks(range(0, len(words), every), words[::every], rotation=90 if upright else 0, **PLAIN)


def name_of(word: str, letters: int) -> str:
    """A name as it is drawn: cut if it has more letters, and nothing in it unseen."""
    return shortened(visible(word), letters)


def text_width(text: str, size: float = NOTE) -> float:
    """About how wide a text is, in points."""
    return size * sum(0.32 if c in ".,;:il| '" else 0.64 for c in text)
