"""softmax_page: softmax and cross-entropy to play with in a browser, what 32 bits do to them, and how they train."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_ce.nn import Linear
from tinygrad_ce.study.language import known, language
from tinygrad_ce.study.page import Page, asset, fill, frame, page_texts

CLASSES = 3
UNITS = (0, 2, 3, 4, 6)  # of the hidden layer, where there is one


def softmax_page(*, lang: str | None = None) -> Page:
    r"""A page with sliders for logits, temperature and target, and a second part that trains on points of a plane.

    The first part draws the probabilities :math:`p_i = e^{x_i/T} / \sum_j e^{x_j/T}`, the loss :math:`-\log p_t` and
    its gradient. It computes the loss in 32 bits in three ways, step by step: naively, shifted by the maximum, and
    without the target's term in the sum, as :func:`tinygrad_ce.cross_entropy` does.

    The second part trains softmax regression, or one hidden layer before it, on points that one places and drags. It
    draws the decision regions, and shows every entry of the gradient as what it is: the mean over the points of
    :math:`(p - \mathrm{onehot})\, x^T`. It begins with the weights of :class:`tinygrad_ce.nn.Linear` and computes in
    the browser, in 64 bits, what the engine does.

    Args:
        lang: the language of its texts, "en", "es" or "de"; that of :func:`language` unless given.

    Returns:
        A Page: in a notebook it shows itself; ``.save("softmax.html")`` writes one file that needs no network. The
        address ``softmax.html#train`` opens the second part.

    Raises:
        ValueError: there is no such language.

    Example:
        >>> softmax_page()
        <a page, "Softmax and cross-entropy by hand": .save("page.html") writes it, a browser shows it>
    """
    lang = known("softmax_page", lang or language())
    return with_texts({**page_texts("page", lang), **page_texts("softmax", lang)})


def with_texts(texts: Mapping[str, str]) -> Page:
    """The page with all that it says: ``page_texts("softmax")``, or a translation, with or without the frame's."""
    return frame(
        texts["title"],
        fill(asset("softmax.html"), texts),
        style=asset("softmax.css"),
        script=asset("softmax.js") + asset("train.js"),
        data={"classes": CLASSES, "starts": {units: first_weights(units) for units in UNITS}, "places": places()},
        texts=texts,
        height=900,
    )


def first_weights(units: int) -> list[dict[str, Any]]:
    """The weights that a training begins with, layer by layer; units is 0 for softmax regression."""
    rng = np.random.default_rng(0)
    widths = [2, units, CLASSES] if units else [2, CLASSES]
    layers = [Linear(n, m, rng=rng, dtype=np.float64) for n, m in itertools.pairwise(widths)]
    return [layer.state_dict() for layer in layers]


def places() -> dict[str, list[list[float]]]:
    """Points to begin with, as x₀, x₁ and class: three groups, four corners of two classes, and a ring around one."""
    around = np.array([[0.0, 0.35], [0.4, -0.2], [-0.4, -0.25], [0.05, -0.5]])
    groups = [([-0.9, -0.8], 0), ([1.0, -0.6], 1), ([-0.1, 1.1], 2)]
    corners = [([1.1, 1.1], 0), ([-1.1, 1.1], 1), ([-1.1, -1.1], 0), ([1.1, -1.1], 1)]
    angles = 2 * np.pi * np.arange(11) / 11
    ring = np.column_stack([1.5 * np.cos(angles), 1.5 * np.sin(angles)])

    def points(middles: list[tuple[list[float], int]]) -> list[list[float]]:
        return [[*np.round(middle + offset, 2), k] for middle, k in middles for offset in around]

    outside = [[*np.round(x, 2), 1] for x in ring]
    return {"groups": points(groups), "corners": points(corners), "ring": points([([0, 0], 0)]) + outside, "none": []}
