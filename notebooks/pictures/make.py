"""The README's pictures: a small classifier's graph as SVG, and its player as a screenshot taken in Chromium.

The loss has two parts that both depend on W2, so that the picture of the player shows two shares of a gradient add up.
"""

import pathlib
import shutil
import tempfile

import numpy as np
from playwright.sync_api import sync_playwright

import tinygrad_ce as tg

FOLDER = pathlib.Path(__file__).parent


def small_loss():
    """The loss of a classifier with a hidden layer, and what its parts are called."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 2)).round(1)
    y = np.array([0, 1, 1])
    W1 = tg.Tensor(rng.normal(size=(3, 2)).round(2), requires_grad=True)
    b1 = tg.Tensor(np.zeros(3), requires_grad=True)
    W2 = tg.Tensor(rng.normal(size=(2, 3)).round(2), requires_grad=True)
    h = tg.tanh(tg.linear(x, W1, b1))
    logits = tg.linear(h, W2)
    error = tg.cross_entropy(logits, y)
    decay = (W2**2).mean()
    loss = error + decay
    names = {"x": x, "y": y, "W1": W1, "b1": b1, "W2": W2, "h": h, "logits": logits, "error": error}
    return loss, {**names, "decay": decay, "loss": loss}


def screenshot(page, path):
    """The player where the second share of W2's gradient arrives."""
    saved = pathlib.Path(tempfile.mkdtemp()) / "backprop.html"
    page.save(saved)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--disable-gpu"])
        view = browser.new_page(viewport={"width": 1200, "height": 750}, reduced_motion="reduce")
        view.goto(saved.as_uri())
        added = "steps.findIndex((s) => s.title.startsWith('gradient of W2') && s.formula.includes('+='))"
        view.goto(f"{saved.as_uri()}#step={view.evaluate(added)}")
        view.reload()
        view.screenshot(path=path)
        browser.close()


if __name__ == "__main__":
    loss, names = small_loss()
    tg.study.graph(loss, names=names).save(FOLDER / "graph.svg")
    screenshot(tg.study.player(loss, names=names), FOLDER / "player.png")
