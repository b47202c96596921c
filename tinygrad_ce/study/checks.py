"""The checks of a diagnosis: each looks at the facts, and says what it found in a number, or nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ce.study.facts import BATCH, STEPS, TRIED, Facts

Check = Callable[[Facts], str | None]

# ---- The rows.


def one_class(facts: Facts) -> str | None:
    """Labels that are all the same."""
    if np.count_nonzero(facts.counts) > 1:
        return None
    return f"all {len(facts.y):,} rows are {facts.classes[facts.y[0]]!r}"


def no_rows(facts: Facts) -> str | None:
    """Logits whose class never occurs."""
    missing = [name for name, count in zip(facts.classes, facts.counts, strict=True) if not count]
    if not missing or len(missing) == len(facts.classes) - 1:
        return None
    return f"{len(missing)} of {len(facts.classes)}, the first {missing[0]!r}"


def balance(facts: Facts) -> str | None:
    """A class with twenty rows for each of another."""
    counts = facts.counts[facts.counts > 0]
    if counts.max() < 20 * counts.min():
        return None
    share = counts.max() / counts.sum()
    return (
        f"the most frequent has {counts.max():,} rows, the rarest {counts.min():,}; always the first: {share:.1%} right"
    )


def scaling(facts: Facts) -> str | None:
    """The rows as the first weight meets them: after Standardize, or whatever comes before it."""
    met = next((given for call in facts.calls if (given := _weighed(call)) is not None), facts.x[:0])
    flat = met.reshape(-1, met.shape[-1])
    reach, spread = float(np.abs(flat).max(initial=0)), flat.std(axis=0)
    ratio = spread.max() / (np.median(spread[spread > 0]) if spread.any() else 1)
    if reach <= 100 and ratio <= 100:
        return None
    return f"they reach {reach:.3g}, and the widest spreads {ratio:.3g} times as far as the middle one"


def _weighed(call: Any) -> np.ndarray | None:
    """What a call multiplies by a weight, if it does."""
    inputs = [value.array for value in call.operands.values() if value.kind != "parameter"]
    layer = call.operator in ("linear", "matmul", "conv2d") and 0 < len(inputs) < len(call.operands)
    return inputs[0] if layer else None


def constant(facts: Facts) -> str | None:
    """Features that tell no row from another."""
    share = float(np.mean(np.ptp(facts.x, axis=0) == 0))
    return f"{share:.0%} of them are the same in all rows" if share > 0.9 else None


def leak(facts: Facts) -> str | None:
    """A feature that is the label, or one class of it, in other numbers."""
    if len(facts.y) < 20:
        return None
    x = facts.x - facts.x.mean(axis=0, dtype=float)
    wanted = np.stack([facts.y, *(facts.y == c for c in np.unique(facts.y))], axis=1).astype(float)
    wanted -= wanted.mean(axis=0)
    size = np.linalg.norm(x, axis=0)[:, None] * np.linalg.norm(wanted, axis=0)
    match = np.abs(x.T @ wanted / np.where(size > 0, size, 1)).max(axis=1)
    if match.max() < 0.9999:
        return None
    return f"feature {match.argmax()} has a correlation of {match.max():.6f} with it"


def _near(facts: Facts) -> bool:
    """Whether nearness means something: not between ids, nor where rows are few for their features."""
    ids = any(call.operator == "embedding" for call in facts.calls)
    return not ids and len(facts.y) >= max(50, 2 * facts.x.shape[1])


def shuffled(facts: Facts) -> str | None:
    """Whether near rows have the same label hardly more often than any two rows."""
    if not _near(facts):
        return None
    share = facts.counts / len(facts.y)
    chance, found = float(share @ share), float(np.mean(facts.neighbours == facts.y[:, None]))
    if chance > 0.9 or found > chance + 0.1 * (1 - chance):
        return None
    return f"{found:.1%} of a row's nearest rows have its label, and of any rows {chance:.1%}"


def mislabelled(facts: Facts) -> str | None:
    """Rows whose nearest are all but one at most of one other class, where classes don't overlap anyway."""
    if not _near(facts):
        return None
    near = np.sort(facts.neighbours, axis=1)
    most = near[:, near.shape[1] // 2]  # where there is a majority, it is in the middle
    agree = np.count_nonzero(near == most[:, None], axis=1)
    wrong = np.flatnonzero((most != facts.y) & (agree >= 0.9 * near.shape[1]))
    overlap = int((agree < 0.7 * near.shape[1]).sum())
    if len(wrong) < max(5, 0.015 * len(facts.y), 0.6 * overlap):
        return None
    names = [f"{facts.places[i]} ({facts.classes[facts.y[i]]}, like {facts.classes[most[i]]})" for i in wrong[:5]]
    return f"{len(wrong)} of {len(facts.y):,}: rows {', '.join(names)}{', …' if len(wrong) > 5 else ''}"


# ---- The model.


def first_loss(facts: Facts) -> str | None:
    """Far above the loss of knowing nothing."""
    if facts.chance is None or facts.loss <= 2 * facts.chance + 1:
        return None
    return f"{facts.loss:.4g}; knowing nothing gives log {len(facts.classes)} = {facts.chance:.4g}"


def twice(facts: Facts) -> str | None:
    """Logits that are probabilities."""
    z = facts.logits
    if facts.chance is None or z[0].size < 2 or z.min() < 0 or np.abs(z.sum(axis=1) - 1).max() > 1e-3:
        return None
    floor = math.log1p((z.shape[1] - 1) / math.e)
    return f"every row of logits is ≥ 0 and sums to 1; the loss can't fall below {floor:.3g}"


def cut(facts: Facts) -> str | None:
    """Logits that an activation has gone over."""
    zero = float(np.mean(facts.logits == 0))
    return f"none is negative, {zero:.0%} are 0" if facts.logits.min() >= 0 and 0.02 < zero < 1 else None


def dead(facts: Facts) -> str | None:
    """Units of relu that are 0 for every row."""
    for call in facts.calls:
        if call.operator == "relu":
            a = call.result.array
            units = np.moveaxis(a, 1, -1).reshape(-1, a.shape[1])  # of images, the channels
            share = float(np.mean((units == 0).all(axis=0)))
            if share > 0.5:
                return f"{share:.0%} of the {units.shape[1]} units of {call.operator} (operator {call.number})"
    return None


def saturated(facts: Facts) -> str | None:
    """Values of tanh or sigmoid where the slope is below a hundredth of the largest."""
    for call in facts.calls:
        a = call.result.array.astype(float)
        slope = {"tanh": 1 - a * a, "sigmoid": 4 * a * (1 - a)}.get(call.operator)
        if slope is not None and np.mean(slope < 0.01) > 0.5:
            return f"{np.mean(slope < 0.01):.0%} of the values of {call.operator} (operator {call.number})"
    return None


def symmetric(facts: Facts) -> str | None:
    """A layer before the last whose units have equal weights."""
    hidden = [(name, w) for name, w in facts.weights.items() if w.ndim > 1][:-1]
    alike = [f"all {len(w)} of {name}" for name, w in hidden if len(w) > 1 and (w == w[:1]).all()]
    return alike[0] if alike else None


def still(facts: Facts) -> str | None:
    """Parameters that a training leaves where they are."""
    first = next((f"{name}: {why}" for name, why in facts.still.items()), None)
    return first and f"{len(facts.still)} of {len(facts.weights)}, {first}"


def apart(facts: Facts) -> str | None:
    """Gradients of weights that differ by four powers of ten."""
    sizes = sorted((size, name) for name, size in facts.gradients.items() if size > 0 and facts.weights[name].ndim > 1)
    if not sizes or sizes[-1][0] < 1e4 * sizes[0][0]:
        return None
    return f"that of {sizes[0][1]} is {sizes[0][0] / sizes[-1][0]:.1e} times that of {sizes[-1][1]}"


def by_heart(facts: Facts) -> str | None:
    """A batch that is learned no better than by its classes' shares."""
    share = np.unique(facts.y[:BATCH], return_counts=True)[1] / min(BATCH, len(facts.y))
    guess, last = -float(share @ np.log(share)), facts.batch[-1]
    if facts.chance is None or not guess or last < 0.7 * guess:
        return None
    return f"{STEPS} steps of Adam leave a loss of {last:.3g}; their classes' shares alone give {guess:.3g}"


# ---- The steps.


def _rates(facts: Facts) -> tuple[float, float, str]:
    """The lowest rate that does half of what the best does, what the optimiser's makes of the loss, and words."""
    falls = {rate: fall if math.isfinite(fall) else math.inf for rate, fall in facts.rates.items()}
    own, least = falls[facts.rate], min(falls.values())
    if least >= 0.95:
        return facts.rate, 0.0, ""
    good = min(rate for rate, fall in falls.items() if 1 - fall >= (1 - least) / 2)
    words = (
        f"in {TRIED} steps, {facts.rate:.2g} makes {own:.3g} times the loss, {good:.2g} makes {falls[good]:.3g} times"
    )
    return good, own, words


def too_high(facts: Facts) -> str | None:
    """A rate that makes the loss grow where a lower one doesn't."""
    good, own, words = _rates(facts)
    return words if good < facts.rate and own > 1.2 else None


def too_low(facts: Facts) -> str | None:
    """A rate that does next to nothing, 0.3 % of the loss, where a higher one does."""
    good, own, words = _rates(facts)
    return words if good > facts.rate and 1 - own < 0.003 else None


def updates(facts: Facts) -> str | None:
    """A first step that is ten times as long as the weights."""
    size, name = max(((size, name) for name, size in facts.updates.items()), default=(0.0, ""))
    return f"the first step of {name} is {size:.3g} times as long as {name}; usual is 0.001" if size > 10 else None


def nothing_learned(facts: Facts) -> str | None:
    """A history in which the loss was never below that of knowing nothing."""
    losses = list(facts.history.get("loss", ()))
    if facts.chance is None or len(losses) < 3 or min(losses) < 0.99 * facts.chance:
        return None
    return f"in {len(losses)} epochs the loss was never below log {len(facts.classes)} = {facts.chance:.4g}"


def overfitted(facts: Facts) -> str | None:
    """A validation whose loss has risen while the training's fell."""
    train, held = (list(facts.history.get(name, ())) for name in ("loss", "val_loss"))
    if len(held) < 3 or held[-1] <= 1.3 * min(held) or train[-1] >= train[held.index(min(held))]:
        return None
    return (
        f"the validation's loss was {min(held):.4g} after epoch {held.index(min(held)) + 1}, {held[-1]:.4g} at the end"
    )


CHECKS: dict[str, tuple[Check, str, str]] = {
    "one class alone": (
        one_class, "a model that always says it is right, and learns nothing else",
        "look at how the labels were read and the rows chosen"),
    "classes without rows": (
        no_rows, "logits that are never right; do the labels begin at 1, or was a class lost?",
        "number the labels from 0, with one logit for each class"),
    "classes out of balance": (
        balance, "a model that never says the rare classes looks good",
        "fit(class_weight='balanced', metrics=macro_f1)"),
    "features unscaled": (
        scaling, "a weight's gradient is as large as its feature, so no learning rate suits all",
        "begin the model with nn.Standardize.of(x)"),
    "features constant": (constant, "they say nothing about the class", "look at how the columns were read"),
    "label among the features": (
        leak, "the model reads the answer, and fails where rows come without it", "leave the feature out"),
    "labels out of step with rows": (
        shuffled, "the rows of x and y may be shifted, or the features say nothing about the class",
        "look at ten rows with their labels; were x and y sorted or cut apart?"),
    "rows that look mislabelled": (
        mislabelled, "or lie among another class: the model learns them by heart, or learns wrongly",
        "look at these rows: are their labels right?"),
    "loss too high at the start": (
        first_loss, "the logits begin large and wrong, and the first steps only take them back",
        "scale the features, or draw the weights smaller, within ±1/√inputs"),
    "softmax twice": (twice, "the loss takes the softmax itself", "end the model in its last Linear"),
    "logits cut off at 0": (
        cut, "no gradient passes where a logit is cut off", "leave out the activation after the last layer"),
    "dead units": (
        dead, "no gradient passes a unit that is 0 for every row, so it never comes back",
        "scale the features, lower the learning rate, let biases begin at 0, or take nn.LeakyReLU"),
    "saturated units": (
        saturated, "their slope is below 1 % of the largest, and the gradient with it",
        "scale the features, or draw the weights smaller"),
    "units all alike": (
        symmetric, "they get the same gradient and stay alike: the layer does no more than one unit",
        "draw the weights at random; only a last layer may begin at 0"),
    "parameters that don't move": (
        still, "they stay as they were drawn",
        "give the optimiser model.parameters(), and look where the graph is cut or all units are 0"),
    "gradients far apart": (
        apart, "one learning rate can't suit both: the layer with the small one doesn't learn",
        "fewer layers, ReLU for sigmoid, nn.LayerNorm, or weights drawn within ±1/√inputs"),
    "one batch isn't learned": (
        by_heart, "what can't learn a few rows by heart can't learn many",
        "look at the model before learning rate and epochs: its logits, weights and size"),
    "learning rate too high": (too_high, "each step goes past the place where the loss is low", "take a lower one"),
    "learning rate too low": (too_low, "the training takes many times as long", "take a higher one"),
    "steps longer than the weights": (
        updates, "a step wipes out what the weights were", "lower the learning rate, or scale the features"),
    "nothing learned": (nothing_learned, "knowing nothing gives that loss", "see the other findings for the cause"),
    "overfitted": (
        overfitted, "since then the model learns its rows by heart",
        "fit(patience=5), more rows, weight decay, or a smaller model"),
}  # fmt: skip
"""By the name of what each finds: the check, why it matters, and what to do."""
