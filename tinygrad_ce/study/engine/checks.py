"""The list of all that an engine is asked for, milestone by milestone, with what the usual mistakes give."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_ce.study.engine.case import OUTPUT, REPEATED, Check, Fault, compared, single_precision
from tinygrad_ce.study.engine.graphs import check_graphs
from tinygrad_ce.study.engine.layers import CHECKS as LAYERS
from tinygrad_ce.study.engine.protocol import Engine

MILESTONES = (
    "scalars", "topological order", "arrays and broadcasting", "matmul", "softmax and cross-entropy",
    "a module and SGD", "digits to 0.95",
)  # fmt: skip

# Milestone 1: g is what arrives, and a rule gives what is handed on.

BASE = "another base: log is the natural one"

PRODUCT = [
    (0, "the gradient in a is g · b", lambda g, a, b: g * a),
    (1, "the gradient in b is g · a", lambda g, a, b: g * b),
    (1, "an in-place write: the rule of a changes g, and the rule of b is given what is left",
     lambda g, a, b: g * b * a),
]  # fmt: skip

SCALARS = [
    compared(1, "a * b", lambda E, a, b: a * b, 2.0, -3.0, about="mul", mistakes=PRODUCT),
    compared(1, "(a * b) * c", lambda E, a, b, c: (a * b) * c, 2.0, -3.0, 0.7,
             hint="the chain rule: begin at the output with 1; a value hands on what has arrived in it, times its own "
             "derivative"),
    compared(1, "a + b", lambda E, a, b: a + b, 2.0, -3.0, about="add"),
    compared(1, "-a", lambda E, a: -a, 2.0, about="neg", mistakes=[(0, "the sign: −g", lambda g, a: g)]),
    compared(1, "a - b", lambda E, a, b: a - b, 2.0, -3.0, about="sub",
             mistakes=[(1, "the sign: the gradient in b is −g", lambda g, a, b: g)]),
    *(compared(1, f"a ** {n:g}", lambda E, a, n=n: a**n, 1.5, about="pow", mistakes=[
        (0, "the exponent goes down by 1: g · n · aⁿ⁻¹", lambda g, a, n=n: g * n * a**n),
        (0, "the factor n: g · n · aⁿ⁻¹", lambda g, a, n=n: g * a ** (n - 1)),
        (0, "the exponent goes down, not up: g · n · aⁿ⁻¹", lambda g, a, n=n: g * n * a ** (n + 1)),
        (0, "the factor is n, not n − 1: g · n · aⁿ⁻¹", lambda g, a, n=n: g * (n - 1) * a ** (n - 1)),
    ]) for n in (3.0, 2.0, -1.0)),
    compared(1, "a / b", lambda E, a, b: a / b, 2.0, -3.0, about="truediv", mistakes=[
        (0, "the gradient in a is g / b", lambda g, a, b: g * b),
        (1, "the sign: the gradient in b is −g · a / b²", lambda g, a, b: g * a / b**2),
        (1, "the factor a: the gradient in b is −g · a / b²", lambda g, a, b: -g / b**2),
        (1, "the square: the gradient in b is −g · a / b²", lambda g, a, b: -g * a / b),
    ]),
    compared(1, "exp", lambda E, a: E.exp(a), 0.7, about="exp", mistakes=[
        (0, "exp is its own derivative: g · exp(a), not g · a", lambda g, a: g * a)]),
    compared(1, "log", lambda E, a: E.log(a), 0.7, about="log", optional=True, mistakes=[
        (0, "the derivative is 1 / a", lambda g, a: g * a),
        (OUTPUT, BASE, np.log2), (OUTPUT, BASE, np.log10),
    ]),
    compared(1, "tanh", lambda E, a: E.tanh(a), 0.7, about="tanh", optional=True, mistakes=[
        (0, "1 − y² with y = tanh(a), not a itself", lambda g, a: g * (1 - a**2)),
        (0, "the square: 1 − y²", lambda g, a: g * (1 - np.tanh(a))),
        (0, "that is the sigmoid's y (1 − y); tanh has 1 − y²", lambda g, a: g * np.tanh(a) * (1 - np.tanh(a))),
    ]),
    *(compared(1, f"relu at {x:g}", lambda E, a: E.relu(a), x, about="relu", optional=True, mistakes=[
        (OUTPUT, "the sign: relu keeps what is above 0", lambda a: min(a, 0.0)),
        (0, "the mask: g passes where a > 0, and only there", lambda g, a: g * (a < 0)),
        (0, "the mask: g passes where a > 0, and only there", lambda g, a: g),
        (0, "the mask is missing a factor g", lambda g, a: 1.0 * (a > 0)),
        (0, "g is multiplied by a's number, not by whether it is above 0", lambda g, a: g * max(a, 0.0)),
    ]) for x in (1.5, -2.0)),
    compared(1, "relu at 0", lambda E, a: E.relu(a), 0.0, about="relu", optional=True, mistakes=[
        (0, "at the kink, 0, the gradient is 0 by custom: a > 0, not a ≥ 0", lambda g, a: g)]),
    compared(1, "a + 2", lambda E, a: a + 2.0, 1.5, about="add", optional=True,
             hint="a number as operand: make a Tensor of it"),
    compared(1, "2 * a", lambda E, a: 2.0 * a, 1.5, about="mul", optional=True,
             hint="a number as operand: make a Tensor of it, in __rmul__"),
    compared(1, "1 - a", lambda E, a: 1.0 - a, 1.5, about="sub", optional=True,
             hint="__rsub__(self, other) is other − self, not self − other"),
    compared(1, "1 / a", lambda E, a: 1.0 / a, 1.5, about="truediv", optional=True,
             hint="__rtruediv__(self, other) is other / self, not self / other"),
]  # fmt: skip

# Milestone 2: operators are right one by one; now the way back through a graph.

ORDER = (
    "no topological order: a value hands on its gradient before all of its uses have reported. Visit it after all that "
    "were made of it"
)
LAST_WINS = "= in the place of +=: a value that is used twice gets two gradients, and they add"
TWICE = "no topological order: a value is visited twice, and hands on twice what has arrived in it"
GRAPHS = "every operator alone is right, so it is the reverse pass: its order, or = in the place of +="


def _doubled(E: Engine, a: Any) -> Any:
    for _ in range(60):
        a = a + a
    return a


def _long(E: Engine, a: Any) -> Any:
    b = a
    for _ in range(300):
        b = b + a
    return b


def _twice(engine: Engine) -> Iterator[Fault]:
    """Backward twice through one graph: gradients of leaves add, or are those of the last pass."""
    a = engine.leaf(1.5)
    y = (a * a) * (a * a) + a
    y.backward()
    once = float(a.grad)
    try:
        y.backward()
    except RecursionError:
        raise
    except Exception as error:
        if str(error):
            return  # a graph that is used up, and says so
        raise
    if not any(np.isclose(float(a.grad), times * once, rtol=1e-4) for times in (1, 2)):
        yield Fault("backward twice", f"the gradient is {float(a.grad):.6g} after the second call, expected "
                      f"{once:.6g} once more, or anew", "backward twice accumulates: values in between still hold the "
                      "gradients of the first call. Begin each call with gradients of its own")  # fmt: skip


def _diamond(E: Engine, a: Any, b: Any, c: Any, d: Any) -> Any:
    """A short way and a long one from each of four values, in all orders of operands and of creation."""
    p = a * a
    q = b * b
    r = c * c
    s = d * d
    left, right = p * (p * p), (q * q) * q
    deep = r + ((r * r) * r) * r
    return left + right + deep + (((s * s) + s) * s + s)


PASS = [
    compared(2, "a * a", lambda E, a: a * a, 3.0, hint=GRAPHS, mistakes=[
        (0, LAST_WINS, lambda g, a: g * a), (0, TWICE, lambda g, a: g * 4 * a)]),
    compared(2, "a + a", lambda E, a: a + a, 3.0, hint=GRAPHS, mistakes=[
        (0, LAST_WINS, lambda g, a: g), (0, TWICE, lambda g, a: g * 4)]),
    compared(2, "a * b + a", lambda E, a, b: a * b + a, 3.0, 2.0, hint=GRAPHS, mistakes=[
        (0, LAST_WINS, lambda g, a, b: g), (0, LAST_WINS, lambda g, a, b: g * b)]),
    compared(2, "shared values", _diamond, 0.9, -1.1, 0.8, 1.2, hint=ORDER),
    Check(2, "random graphs", functools.partial(check_graphs, title="random graphs", shapes=[()] * 3, hint=GRAPHS)),
    Check(2, "backward twice", _twice, ("twice",)),  # nothing else depends on it
    compared(2, "a chain of 300", _long, 1.0),
    compared(2, "60 doublings", _doubled, 1.0, hint="no topological order: the reverse pass goes along every path, of "
             "which there are 2⁶⁰. Visit each value once, when all that were made of it have reported"),
]  # fmt: skip

# Milestone 3

ROWS, ROW, COLUMN = (
    np.array([[0.5, -1.2, 2.0], [1.5, 0.3, -0.7]]),
    np.array([1.1, -0.4, 0.8]),
    np.array([[0.6], [-1.3]]),
)
SQUARE = np.array([[0.5, -1.2, 2.0], [1.5, 0.3, -0.7], [0.2, 0.9, -0.1]])
BACK = "g has fewer axes than the operand: put the one that was summed away back in its place, then repeat g along it"
ALONG = "g is spread along the wrong axis: put the one that was summed away back in its place (expand_dims)"
ALIAS = (
    "two gradients are one array: += writes into what another value holds, too. Add with a = a + b, which makes a new "
    "array"
)


def _dtype(engine: Engine) -> Iterator[Fault]:
    if single_precision(engine):
        yield Fault("Tensor", "0.1 in float64 is kept as float32", "wrong dtype: half of its digits are gone; "
                      "np.asarray(data, dtype=float) keeps them")  # fmt: skip
    try:
        a = engine.leaf(np.array([1, 2, 3]))
    except (TypeError, ValueError):
        return  # whole numbers are refused
    (a * engine.leaf(np.array([0.5, 0.25, -1.5]))).sum().backward()
    if not np.allclose(a.grad, [0.5, 0.25, -1.5], rtol=1e-4):
        yield Fault("Tensor", f"the gradient of whole numbers is {a.grad.tolist()}, expected [0.5, 0.25, -1.5]",
                      "wrong dtype: the gradient is kept in that of whole numbers; make them float")  # fmt: skip


def _alias(E: Engine, a: Any, b: Any) -> Any:
    return (a + b).sum() + (a + b).sum()


def _square(about: str, axis: int) -> Check:
    """A reduction of as many rows as columns, where the wrong axis raises no error."""
    scale = 1 / 3 if about == "mean" else 1
    mistakes = [(0, ALONG, lambda g, x: scale * np.expand_dims(g, 1 - axis)), *([] if about == "sum" else WITHOUT_N)]
    return compared(3, f"{about}(axis={axis})", lambda E, x: getattr(x, about)(axis=axis), SQUARE, about=about,
                    hint=BACK, optional=True, mistakes=mistakes)  # fmt: skip


WITHOUT_N = [
    (0, "mean's 1/N is missing", lambda g, x: np.broadcast_to(g if not g.ndim else g[None], x.shape)),
    (0, "mean's 1/N is missing", lambda g, x: np.broadcast_to(g[:, None], x.shape)),
    (0, "1/N with the number of all, not of those along the axis", lambda g, x: np.broadcast_to(g, x.shape) / x.size),
    (0, "1/N with the number of rows, not of all", lambda g, x: np.broadcast_to(g, x.shape) / len(x)),
    (OUTPUT, "mean's 1/N is missing", lambda x: x.sum()),
]

ARRAYS = [
    compared(3, "sum", lambda E, x: x.sum(), ROWS, about="sum",
             hint="g comes as one number: repeat it in the operand's shape"),
    compared(3, "a * b of (2, 3)", lambda E, a, b: a * b, ROWS, ROWS[::-1], about="mul", mistakes=PRODUCT),
    *(compared(3, f"a {sign} b of {x.shape} and {y.shape}", f, x, y, about=name, error=REPEATED)
      for sign, name, f in (("+", "add", lambda E, a, b: a + b), ("*", "mul", lambda E, a, b: a * b))
      for x, y in ((ROWS, ROW), (COLUMN, ROWS), (ROWS, np.array(0.7)), (COLUMN, ROW))),
    compared(3, "a - b of (3,) and (2, 3)", lambda E, a, b: a - b, ROW, ROWS, about="sub", error=REPEATED),
    compared(3, "a / b of (2, 3) and (2, 1)", lambda E, a, b: a / b, ROWS, COLUMN, about="truediv",
             error=REPEATED),
    *(compared(3, f"{name} of (2, 3)", lambda E, x, name=name: E.apply(name, x), ROWS if name != "log" else ROWS**2,
               about=name, optional=name != "exp") for name in ("exp", "log", "tanh", "relu")),
    _square("sum", 0), _square("sum", 1),
    compared(3, "sum(axis=1) of (2, 3)", lambda E, x: x.sum(axis=1), ROWS, about="sum", hint=BACK, optional=True),
    compared(3, "sum(axis=0, keepdims=True)", lambda E, x: x.sum(axis=0, keepdims=True), ROWS, about="sum",
             optional=True),
    compared(3, "mean", lambda E, x: x.mean(), ROWS, about="mean", optional=True, mistakes=WITHOUT_N),
    _square("mean", 0),
    compared(3, "one array, two gradients", _alias, ROW, ROW[::-1], hint=ALIAS),
    Check(3, "whole numbers and float64", _dtype, ("Tensor",)),
    Check(3, "random graphs of arrays", functools.partial(
        check_graphs, title="random graphs of arrays", shapes=[(2, 3), (3,), (2, 1)], hint=f"{GRAPHS}; or {ALIAS}"
    )),
]  # fmt: skip

# Milestone 4

WIDE = np.array([[0.3, -0.6, 1.2, 0.1], [0.8, 0.5, -0.9, 0.4], [-1.0, 0.7, 0.2, 1.3]])
TRANSPOSED = "matmul transposed: with Y = a @ b it is g @ b.T for a, and a.T @ g for b"


def _layers(E: Engine, x: Any, w: Any, b: Any, v: Any) -> Any:
    hidden = E.exp(x @ w + b)
    return (hidden @ v) * (x @ w @ v)


PRODUCTS = [
    compared(4, "a @ b of (3, 3)", lambda E, a, b: a @ b, SQUARE, SQUARE[::-1] + 0.3, about="matmul", hint=TRANSPOSED),
    compared(4, "a @ b of (2, 3) and (3, 4)", lambda E, a, b: a @ b, ROWS, WIDE, about="matmul", hint=TRANSPOSED),
    compared(4, "two layers", _layers, ROWS, 0.5 * WIDE, np.array([0.1, -0.2, 0.3, 0.4]), WIDE.T.copy()),
]

# Milestone 5

SHIFT = "overflow, for softmax comes without its shift: subtract each row's largest logit before exp"
AXIS = "another axis: softmax is of each row, along the last axis"
LOGITS, LABELS = (
    np.array([[2.0, -1.0, 0.1], [3.0, -1.0, 1.0], [0.2, 0.5, -0.3], [0.0, 1.5, 0.7]]),
    np.array([1, 2, 0, 1]),
)
ONEHOT = np.eye(3)[LABELS]
ONE_AND = "the loss reads 0: 1 + e⁻⁴⁰ rounds to 1. Leave the label's own term out of the sum: log1p(others / own)"
CANCELS = "p − 1 cancels to 0: the label's gradient is −(sum of the others) / (sum of all)"


def shifted(x: np.ndarray) -> np.ndarray:
    """The exponentials of softmax."""
    return np.asarray(np.exp(x - x.max(axis=-1, keepdims=True)))


def softmax(x: np.ndarray, axis: int | None = -1) -> np.ndarray:
    """Softmax as the book has it."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def loss(x: np.ndarray) -> np.ndarray:
    """Each row's cross-entropy, in the usual way."""
    return np.asarray(-np.log(softmax(x)[np.arange(len(x)), LABELS]))


GATHER = "the label gather is wrong: p[rows, labels] is one number of each row; p[:, labels] and p[labels] are others"

CROSS_ENTROPY = [
    (OUTPUT, "batch mean missing: the sum of the rows' losses, divided by the number of rows", lambda x: loss(x).sum()),
    (OUTPUT, "the sign: −log p", lambda x: -loss(x).mean()),
    (OUTPUT, "the logarithm is missing", lambda x: -softmax(x)[np.arange(4), LABELS].mean()),
    (OUTPUT, "softmax twice: cross_entropy takes logits", lambda x: loss(softmax(x)).mean()),
    (OUTPUT, "softmax is missing: cross_entropy takes logits",
     lambda x: -np.log(np.abs(x))[np.arange(4), LABELS].mean()),
    (OUTPUT, AXIS, lambda x: -np.log(softmax(x, 0)[np.arange(4), LABELS]).mean()),
    (OUTPUT, GATHER, lambda x: -np.log(softmax(x)[:, LABELS]).mean()),
    (OUTPUT, GATHER, lambda x: -np.log(softmax(x)[LABELS]).mean()),
    (OUTPUT, "divided by rows times classes: the mean is over rows", lambda x: loss(x).mean() / 3),
    (OUTPUT, BASE, lambda x: loss(x).mean() / np.log(2)),
    (0, "batch mean missing: softmax − onehot, divided by the number of rows", lambda g, x: g * (softmax(x) - ONEHOT)),
    (0, "the sign: softmax − onehot", lambda g, x: g * (ONEHOT - softmax(x)) / 4),
    (0, "the onehot is missing: softmax − onehot", lambda g, x: g * softmax(x) / 4),
    (0, "softmax − onehot, not softmax · (1 − onehot)", lambda g, x: g * softmax(x) * (1 - ONEHOT) / 4),
    (0, "g, the gradient that arrives, isn't multiplied in", lambda g, x: (softmax(x) - ONEHOT) / 4),
    (0, "divided by rows times classes: the mean is over rows", lambda g, x: g * (softmax(x) - ONEHOT) / 12),
    (0, "the elementwise trap: p (1 − p) isn't softmax's whole derivative",
     lambda g, x: -g * ONEHOT * (1 - softmax(x)) / 4),
    (0, GATHER, lambda g, x: g * (softmax(x) - np.isin(np.arange(3), LABELS)) / 4),
    (0, GATHER, lambda g, x: g * (softmax(x) - 1) / 4),
]  # fmt: skip


def _row(logits: list[float], label: int, hint: str, *mistakes: tuple[Any, ...]) -> Check:
    """A single row whose loss is lost easily."""
    shown = f"cross_entropy([{', '.join(f'{x:g}' for x in logits)}], {label})"
    f = lambda E, logits: E.cross_entropy(logits, np.array([label]))
    return compared(5, shown, f, [logits], about="cross_entropy", hint=hint, mistakes=mistakes)


LOST = [(OUTPUT, ONE_AND, lambda x: 0.0), (0, CANCELS, lambda g, x: 0.0)]
DIGITS = "digits are lost: log(1 + e⁻ˣ) and p − 1 cancel, so leave the label's own term out of the sum, and take log1p"

CLASSES = [
    compared(5, "softmax", lambda E, x: E.softmax(x), SQUARE, about="softmax", mistakes=[
        (OUTPUT, AXIS, lambda x: softmax(x, 0)), (OUTPUT, AXIS, lambda x: softmax(x, None)),
        (OUTPUT, AXIS, lambda x: shifted(x) / shifted(x).sum(axis=0)),
        (OUTPUT, "it isn't divided by its sum", np.exp),
        (OUTPUT, "it isn't divided by its sum", shifted),
        (0, "the elementwise trap: p (1 − p) is the diagonal alone; each p depends on every logit of its row",
         lambda g, x: g * softmax(x) * (1 - softmax(x))),
        (0, "the row's sum is missing: p (g − Σ g p)", lambda g, x: g * softmax(x)),
        (0, "the sum over each row, not over all: p (g − Σ g p)",
         lambda g, x: softmax(x) * (g - (g * softmax(x)).sum())),
        (0, "the sum along each row (axis=-1): p (g − Σ g p)",
         lambda g, x: softmax(x) * (g - (g * softmax(x)).sum(axis=0))),
        (0, "p in the sum: p (g − Σ g p)", lambda g, x: softmax(x) * (g - g.sum(axis=-1, keepdims=True))),
    ]),
    compared(5, "softmax of [1000, 998]", lambda E, x: E.softmax(x), [[1000.0, 998.0]], about="softmax", hint=SHIFT),
    compared(5, "cross_entropy of a batch", lambda E, x: E.cross_entropy(x, LABELS), LOGITS, about="cross_entropy",
             mistakes=CROSS_ENTROPY),
    _row([0, -40], 0, DIGITS, *LOST),
    _row([100, 80], 0, f"{SHIFT}; or {DIGITS}", *LOST),
    _row([0, -800], 1, "−log of a p that has become 0 or was clipped: take log(S) + (m − x of the label)"),
    _row([1e8, 1e8], 0, "x and log(S) are added before they are subtracted, and S's digits are lost: subtract the "
         "row's largest logit first", (OUTPUT, SHIFT, lambda x: np.nan), (OUTPUT, SHIFT, lambda x: np.inf)),
    _row([0, 1, float("-inf")], 1, "0 · inf is nan: pick the label's number instead of a product with onehot"),
]  # fmt: skip

CHECKS: list[Check] = [*SCALARS, *PASS, *ARRAYS, *PRODUCTS, *CLASSES, *LAYERS]
