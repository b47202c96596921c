"""softmax_page: softmax, temperature and cross-entropy to play with in a browser, and what 32 bits do to them."""

from __future__ import annotations

from tinygrad_ce.study.page import Page, asset, fill, frame, page_texts


def softmax_page() -> Page:
    r"""A page with sliders for logits, temperature and target, and all that follows from them.

    It draws the probabilities :math:`p_i = e^{x_i/T} / \sum_j e^{x_j/T}`, the loss :math:`-\log p_t` and its gradient.
    It computes the loss in 32 bits in three ways, step by step: naively, shifted by the maximum, and without the
    target's term in the sum, as :func:`tinygrad_ce.cross_entropy` does.

    Returns:
        A Page: in a notebook it shows itself; ``.save("softmax.html")`` writes one file that needs no network.

    Example:
        >>> softmax_page()
        <a page, "Softmax and cross-entropy by hand": .save("page.html") writes it, a browser shows it>
    """
    texts = page_texts("softmax")
    return frame(
        texts["title"],
        fill(asset("softmax.html"), texts),
        style=asset("softmax.css"),
        script=asset("softmax.js"),
        texts=texts,
        height=900,
    )
