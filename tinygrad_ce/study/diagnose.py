"""diagnose: what is wrong with a training, each finding with its number, why it matters and what to do."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tinygrad_ce.losses import cross_entropy
from tinygrad_ce.nn.module import Module
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.study.checks import CHECKS
from tinygrad_ce.study.facts import TRIED, Facts, collect
from tinygrad_ce.study.figures import bars, curve
from tinygrad_ce.study.page import Page, asset, frame
from tinygrad_ce.train.history import History


class Finding(NamedTuple):
    """One thing that is wrong.

    Example:
        >>> import tinygrad_ce as tg
        >>> x, y, classes = tg.data.load_iris()
        >>> tg.study.diagnose(tg.nn.Linear(4, 3, rng=0), (x[:50], y[:50])).findings[0].name
        'one class alone'
    """

    name: str
    """What, such as "features unscaled"."""
    number: str
    """What was measured."""
    why: str
    """Why it matters."""
    do: str
    """What to do."""

    def __str__(self) -> str:
        return f"{self.name}: {self.number}\n  why it matters: {self.why}\n  what to do: {self.do}"


class Diagnosis:
    """The findings of :func:`diagnose`, and the facts that they come from. In a notebook it shows its page.

    Example:
        >>> import tinygrad_ce as tg
        >>> x, y, classes = tg.data.load_iris()
        >>> print(tg.study.diagnose(tg.nn.Linear(4, 3, rng=0), (x[:50], y[:50])).findings[0])
        one class alone: all 50 rows are '0'
          why it matters: a model that always says it is right, and learns nothing else
          what to do: look at how the labels were read and the rows chosen
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        found = ((name, check(facts), why, do) for name, (check, why, do) in CHECKS.items())
        self.findings = [Finding(name, number, why, do) for name, number, why, do in found if number]

    def __repr__(self) -> str:
        return "\n\n".join(map(str, self.findings)) or f"nothing found by {len(CHECKS)} checks"

    def page(self) -> Page:
        """The findings, and below them what was measured, in small figures."""
        told = "".join(
            f'<article class="panel"><h2>{found.name}</h2><p class="number">{html.escape(found.number)}</p>'
            f"<p>Why it matters: {html.escape(found.why)}.</p><p>What to do: {html.escape(found.do)}.</p></article>"
            for found in self.findings
        )
        told = told or f'<p class="panel">{html.escape(repr(self))}</p>'
        body = f'{told}<h2>What was measured</h2><div class="figures">{"".join(_figures(self.facts))}</div>'
        return frame("What is wrong with my training", body, style=asset("diagnose.css"))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to an ``.html`` file."""
        self.page().save(path)

    def _repr_html_(self) -> str:
        return self.page()._repr_html_()


def _figures(facts: Facts) -> list[str]:
    cut = any(fall > 2 for fall in facts.rates.values())
    rates = sorted((math.log10(rate), min(fall, 2.0)) for rate, fall in facts.rates.items() if fall == fall)
    tried = f"{TRIED} steps at a learning rate: loss after over loss before{'; 2 stands for ≥ 2' if cut else ''}"
    history = {name: list(enumerate(facts.history[name], 1)) for name in ("loss", "val_loss") if name in facts.history}
    return [
        bars("Rows of each class", dict(zip(facts.classes, facts.counts.tolist(), strict=True))),
        bars("Gradient of each parameter, root mean square", facts.gradients),
        bars("Length of the first step over that of the parameter", facts.updates),
        curve("One batch, learned by heart", {"loss": list(enumerate(facts.batch))}, "step"),
        curve(tried, {"": rates}, "log10 of the rate"),
        *([curve("The training", history, "epoch")] if history else []),
    ]


def diagnose(
    model: Module, data: Any, *, optimizer: Optimizer | None = None, loss: Callable[..., Any] = cross_entropy,
    history: History | Mapping[str, list[float]] | None = None, start: Module | None = None, seed: int = 0,
) -> Diagnosis:  # fmt: skip
    r"""Find what is wrong with a training.

    It looks at up to 2,000 rows, at a forward and a backward pass, and at short trainings of copies: one batch learned
    by heart, and some steps at each of many learning rates. The loss at the start is held against that of a model which
    knows nothing, :math:`\log C`.

    Args:
        model: the Module that is to be trained, or was; it is left as it is.
        data: what ``fit`` takes: a Dataset, a pair (x, y) of shapes (N, …) and (N), or a Stream.
        optimizer: the training's, made for this model (for ``start``, if that is given); SGD with a learning rate of
            0.1 unless given, as in ``fit``.
        loss: a function of logits and targets.
        history: what ``fit`` returned, if it was trained.
        start: the model as it was before, if ``model`` was trained: the short trainings begin there.
        seed: of the rows that are drawn.

    Returns:
        A Diagnosis: ``findings``, each with name, number, why and do; ``print`` shows them, ``save`` writes a page.

    Raises:
        TypeError: model is no Module.
        ValueError: it has no parameters, or can't take the rows; fewer than two rows have a label; a label is no
            class of the model's.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.study.diagnose(tg.nn.Linear(64, 10, rng=0), tg.data.load_digits())
        nothing found by 22 checks

    Source:
        Karpathy, A recipe for training neural networks, 2019; Smith, Cyclical learning rates for training neural
        networks, 2017, arXiv:1506.01186.
    """
    if not isinstance(model, Module):
        raise TypeError(f"diagnose: model is of type {type(model).__name__}, expected a Module")
    return Diagnosis(collect(model, data, optimizer, loss, history, model if start is None else start, seed))
