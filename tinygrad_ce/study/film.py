"""film: a training to scrub through, epoch by epoch, in one page; Recording is the callback that keeps its weights."""

from __future__ import annotations

import base64
import copy
import math
from typing import Any

import numpy as np

from tinygrad_ce.losses import cross_entropy
from tinygrad_ce.nn.module import Module
from tinygrad_ce.ops import softmax
from tinygrad_ce.study.page import Page, asset, frame
from tinygrad_ce.train.callback import Callback
from tinygrad_ce.train.metrics import confusion_matrix, logits
from tinygrad_ce.train.rows import ArrayRows, as_rows
from tinygrad_ce.train.team import ALONE
from tinygrad_ce.train.training import Training

FRAMES = 60  # of longer trainings every second epoch is kept, or every fourth, …
ROWS = 4096  # that are measured
WORST = 8  # rows of a frame
GRID = 48  # cells of decision regions along each feature
POINTS = 300
ROOM = 600_000  # bytes of all weights in a page
UNITS = 32


class Recording(Callback):
    """Keep the weights of each epoch, for :func:`film`. Of more than 60 epochs, evenly chosen ones and the last.

    Example:
        >>> import tinygrad_ce as tg
        >>> recording = tg.study.Recording()
        >>> model = tg.nn.Linear(4, 3, rng=0)
        >>> _ = tg.fit(model, tg.data.load_iris(), epochs=2, callbacks=recording, progress=False)
        >>> [epoch for epoch, _ in recording.frames]
        [0, 1, 2]
    """

    writes = True

    def __init__(self) -> None:
        self.training: Training | None = None
        self._kept: list[tuple[int, dict[str, np.ndarray]]] = []
        self._last: list[tuple[int, dict[str, np.ndarray]]] = []
        self._every = 1

    @property
    def frames(self) -> list[tuple[int, dict[str, np.ndarray]]]:
        """How many epochs were done, and the model's state_dict by then."""
        return [*self._kept, *self._last]

    def on_train_begin(self, training: Training) -> None:
        """Begin anew, with the weights that training begins with."""
        self.training, self._every = training, 1
        self._kept, self._last = [(training.epoch, training.model.state_dict())], []

    def on_epoch_end(self, training: Training) -> None:
        """Keep the weights; where there are too many, leave out every second epoch."""
        now = (training.epoch, training.model.state_dict())
        due = (training.epoch - self._kept[0][0]) % self._every == 0
        self._kept, self._last = [*self._kept, *([now] if due else [])], [] if due else [now]
        if len(self._kept) > FRAMES:
            self._every *= 2
            self._kept, self._last = self._kept[::2], self._last or self._kept[-1:] * (len(self._kept) % 2 == 0)


def film(run: Recording, data: Any = None) -> Page:
    """A page with a slider over the epochs of a training, and what each of them came to.

    It shows the losses, the confusion matrix and the rows with the highest loss; of two features the decision regions;
    and the first weight, unit by unit, as images where the features are some. Losses, counts and probabilities are the
    engine's, in full; colours are stored in 8 bits: weights as 255 steps between ± the largest of their epoch.

    Args:
        run: a Recording that took part in a training.
        data: the rows to measure, of which it takes up to 4,096: what ``fit`` takes; the rows of the training's
            validation, or else those that it was trained on, unless given.

    Returns:
        A Page: ``.save("training.html")`` writes it. On the command line, ``train --film`` does.

    Raises:
        TypeError: run is no Recording, such as the folder of a run, which keeps the last weights alone.
        ValueError: it took part in no training, or no row has a label.

    Example:
        >>> import tinygrad_ce as tg
        >>> recording = tg.study.Recording()
        >>> model = tg.nn.Linear(64, 10, rng=0)
        >>> _ = tg.fit(model, tg.data.load_digits(), epochs=2, callbacks=recording, progress=False)
        >>> tg.study.film(recording)
        <a page, "A training, epoch by epoch": .save("page.html") writes it, a browser shows it>
    """
    if not isinstance(run, Recording):
        expected = "expected a Recording: fit(callbacks=tg.study.Recording()), or tinygrad-ce train --film"
        raise TypeError(f"film: run is {run!r}, {expected}; a run's folder has the last weights alone")
    training = run.training
    if training is None:
        raise ValueError("film: the recording took part in no training; give it to fit(callbacks=…) first")
    rows = as_rows("film: data", data) if data is not None else training.held or training.rows
    part = next(iter(rows.all(ALONE)))
    known = np.flatnonzero(part.y >= 0)[:ROWS] if part.y.ndim == 1 else np.arange(min(len(part.y), ROWS))
    if not len(known):
        raise ValueError("film: no row has a label, so there is nothing to measure")
    x, y = part.x[known], part.y[known]
    y = y.argmax(axis=1) if y.ndim > 1 and y.size > len(y) else np.rint(y.reshape(-1)).astype(np.intp)
    places = rows.places[known] if isinstance(rows, ArrayRows) else known
    reel = _Reel(copy.deepcopy(training.model), run, x, y, places, rows.classes)
    measured = (
        "that film was given (by train --film: those held out)"
        if data is not None
        else "held out"
        if training.held
        else "trained on"
    )
    return frame(
        "A training, epoch by epoch", asset("film.html"), style=asset("film.css"), script=asset("film.js"), height=1000,
        data={**reel.data(training.history.history), "measured": measured},
    )  # fmt: skip


class _Reel:
    """What the page is given: each frame, and the arrays of all frames as text."""

    def __init__(
        self, model: Module, run: Recording, x: np.ndarray, y: np.ndarray, places: np.ndarray, classes: tuple[str, ...]
    ) -> None:
        self.model, self.run, self.x, self.y, self.places = model, run, x, y, places
        self.image = _image(x)
        self.shown: dict[int, int] = {}  # rows that are among the worst of any frame, and their places in the page
        count = max(self._logits(x[:1]).shape[1], int(y.max()) + 1)
        self.classes = (*classes, *map(str, range(len(classes), count)))[:count]

    def data(self, history: dict[str, list[float]]) -> dict[str, Any]:
        """All of it."""
        plane = _Plane(self.x, self.y) if self.x[0].size == 2 else None
        frames = []
        for epoch, state in self.run.frames:
            self.model.load_state_dict(state)
            frames.append(self._frame(epoch))
            if plane:
                plane.add(self._logits(plane.cells.reshape(-1, *self.x.shape[1:])))
        rows = self.x[list(self.shown)].reshape(len(self.shown), -1)
        return {
            "classes": self.classes, "count": len(self.y), "frames": frames, "image": self.image,
            "history": history,
            "rows": [{"place": int(self.places[i]), "label": int(self.y[i])} for i in self.shown],
            "pixels": _packed([rows]) if self.image else None,
            "features": None if self.image else [[float(f"{v:.4g}") for v in row[:8]] for row in rows],
            "weights": self._weights(), "plane": plane and plane.data(),
        }  # fmt: skip

    def _logits(self, x: np.ndarray) -> np.ndarray:
        """Two of a row at least: one logit z stands for 0 and z, whose softmax is its sigmoid."""
        output = logits(self.model, x)
        output = output.reshape(len(output), -1)
        return np.concatenate([np.zeros_like(output), output], axis=1) if output.shape[1] == 1 else output

    def _frame(self, epoch: int) -> dict[str, Any]:
        output = self._logits(self.x)
        losses, p = np.asarray(cross_entropy(output, self.y, reduction="none")), np.asarray(softmax(output))
        predicted = output.argmax(axis=1)
        worst = np.argsort(-losses, kind="stable")[:WORST]
        return {
            "epoch": epoch, "loss": float(cross_entropy(output, self.y)),
            "right": int(np.count_nonzero(predicted == self.y)),
            "confusion": confusion_matrix(self.y, predicted, len(self.classes)),
            "worst": [
                {"row": self.shown.setdefault(int(i), len(self.shown)), "predicted": int(predicted[i]),
                 "loss": float(losses[i]), "p": float(p[i, self.y[i]])} for i in worst
            ],
        }  # fmt: skip

    def _weights(self) -> dict[str, Any] | None:
        """The first weight that has a number for each feature, of all frames."""
        states, size = [state for _, state in self.run.frames], self.x[0].size
        names = [name for name, p in self.model.named_parameters() if p.ndim == 2 and p.shape[1] == size]
        room = ROOM // (len(states) * size)
        if not names or not room:
            return None
        arrays = [state[names[0]][: min(UNITS, room)] for state in states]
        return {
            "name": names[0], "all": len(states[0][names[0]]), "units": len(arrays[0]), "size": self.image or [1, size],
            "most": [float(np.abs(a).max()) for a in arrays], "bytes": _packed(arrays, signed=True),
        }  # fmt: skip


class _Plane:
    """Decision regions: a grid over two features, and what each frame says there."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        flat = x.reshape(len(x), 2)
        self.points = np.column_stack([flat, y])[:POINTS]
        low, high = flat.min(axis=0), flat.max(axis=0)
        margin = 0.08 * np.where(high > low, high - low, 1)
        self.low, self.high = low - margin, high + margin
        middles = (np.arange(GRID) + 0.5) / GRID
        across, down = (self.low[k] + (self.high[k] - self.low[k]) * middles for k in (0, 1))
        self.cells = np.stack(np.meshgrid(across, down[::-1]), axis=-1).reshape(-1, 2).astype(x.dtype)
        self.classes: list[np.ndarray] = []
        self.sure: list[np.ndarray] = []

    def add(self, output: np.ndarray) -> None:
        """A frame's logits of all cells."""
        self.classes.append(output.argmax(axis=1).astype(np.uint8))
        self.sure.append(np.rint(255 * np.asarray(softmax(output)).max(axis=1)).astype(np.uint8))

    def data(self) -> dict[str, Any]:
        """What the page draws."""
        points = [[float(f"{v:.5g}") for v in point] for point in self.points]
        return {"low": self.low, "high": self.high, "cells": GRID, "points": points,
                "classes": _text(np.stack(self.classes)), "sure": _text(np.stack(self.sure))}  # fmt: skip


def _image(x: np.ndarray) -> list[int] | None:
    """Height and width of rows that look like images: grey, of two axes; or a square of pixels, all of one range."""
    shape = x.shape[1:]
    axes = [n for n in shape if n > 1]
    side = math.isqrt(math.prod(shape))
    if len(axes) == 2:
        return axes
    square = len(axes) == 1 and side >= 4 and side * side == math.prod(shape)
    alike = x.min() == 0 and np.median(x.reshape(len(x), -1).max(axis=0)) > x.max() / 2
    return [side, side] if square and alike else None


def _packed(arrays: list[np.ndarray], signed: bool = False) -> str:
    """Arrays in 8 bits each: from their least to their largest, or with 128 for 0 between ± the largest."""
    packed = []
    for a in arrays:
        low, most = (0.0, float(np.abs(a).max(initial=0)) or 1.0) if signed else (a.min(initial=0), np.ptp(a) or 1.0)
        packed.append(np.rint((a - low) / most * (127 if signed else 255) + (128 if signed else 0)).astype(np.uint8))
    return _text(np.concatenate([a.reshape(-1) for a in packed]))


def _text(a: np.ndarray) -> str:
    return base64.b64encode(a.tobytes()).decode()
