"""Exercises of 12 · Write your own primitive."""

import numpy as np

from tinygrad_ce import losses, ops
from tinygrad_ce.engine.guard import primitive
from tinygrad_ce.study.exercise import blank, exercise
from tinygrad_ce.tensor import Tensor


def _asked(*differentiated):
    """How an operator is asked: for its value, and for the gradient of its sum in the arguments at these positions."""

    def use(answer, *inputs):
        given = [Tensor(x, requires_grad=True) if i in differentiated else x for i, x in enumerate(inputs)]
        y = answer(*given)
        if blank(y):
            return y
        if not isinstance(y, Tensor):
            raise TypeError(f"a {type(y).__name__} came back for a Tensor: is @tg.primitive missing?")
        y.sum().backward()
        return [y.numpy(), *(given[i].grad for i in differentiated)]

    return use


def _made(function, **rules):
    """A wrong answer: an operator of this forward and these rules, made when it is asked."""

    def answer(*inputs):
        made = primitive(function)
        made.vjp(**rules)
        return made(*inputs)

    return answer


_arsinh, _hypot = (lambda x: np.arcsinh(x)), (lambda a, b: np.hypot(a, b))


@exercise(
    lambda rng: (rng.normal(scale=2, size=4).round(2),),
    use=_asked(0),
    parts=("the value", "the gradient"),
    mistakes={
        "the root is missing in the rule": _made(_arsinh, x=lambda g, y, x: g / (x * x + 1)),
        "that is the derivative of the arcsine, with 1 − x²": _made(
            _arsinh, x=lambda g, y, x: g / np.sqrt(np.abs(1 - x * x))
        ),
        "it is multiplied by the root, not divided": _made(_arsinh, x=lambda g, y, x: g * np.sqrt(x * x + 1)),
        "the sign of the rule": _made(_arsinh, x=lambda g, y, x: -g / np.sqrt(x * x + 1)),
        "that is the hyperbolic sine, not its inverse": _made(lambda x: np.sinh(x), x=lambda g, y, x: g * np.cosh(x)),
    },
)
def arsinh(x):
    return 2 * ops.log(ops.sqrt((ops.sqrt(x * x + 1) + 1) / 2) + x / ops.sqrt(2 * (ops.sqrt(x * x + 1) + 1)))


@exercise(
    lambda rng: (rng.uniform(0.5, 5, size=(3, 1)).round(2), rng.uniform(0.5, 5, size=2).round(2)),
    use=_asked(0, 1),
    parts=("the value", "the gradient in a", "the gradient in b"),
    mistakes={
        "y is missing: divide by it": _made(_hypot, a=lambda g, y, a, b: g * a, b=lambda g, y, a, b: g * b),
        "a and b are swapped in the rules": _made(
            _hypot, a=lambda g, y, a, b: g * b / y, b=lambda g, y, a, b: g * a / y
        ),
        "it is divided by y², not by y": _made(
            _hypot, a=lambda g, y, a, b: g * a / y**2, b=lambda g, y, a, b: g * b / y**2
        ),
        "the 2 of the squares cancels against the root's ½": _made(
            _hypot, a=lambda g, y, a, b: 2 * g * a / y, b=lambda g, y, a, b: 2 * g * b / y
        ),
        "upside down: a / y, not y / a": _made(_hypot, a=lambda g, y, a, b: g * y / a, b=lambda g, y, a, b: g * y / b),
        "the root is missing": _made(
            lambda a, b: a * a + b * b, a=lambda g, y, a, b: 2 * g * a, b=lambda g, y, a, b: 2 * g * b
        ),
    },
)
def hypot(a, b):
    return ops.sqrt(a * a + b * b)


def _far(rng):
    return (np.array([-1000.0, 800.0, 20.0]) + rng.normal(size=3).round(2),)


def _stable(x):
    return np.abs(x) + np.log1p(np.exp(-2 * np.abs(x))) - np.log(2)


@exercise(
    {"small numbers": lambda rng: (rng.uniform(-3, 3, size=3).round(2),), "numbers of a thousand": _far},
    use=_asked(0),
    parts=("the value", "the gradient"),
    mistakes={
        "cosh overflows where x is large: take |x| out of the exponential": _made(
            lambda x: np.log(np.cosh(x)), x=lambda g, y, x: g * np.tanh(x)
        ),
        "log 2 is to be subtracted: the ½ of cosh": _made(
            lambda x: _stable(x) + np.log(2), x=lambda g, y, x: g * np.tanh(x)
        ),
        "|x| is missing in the value": _made(lambda x: _stable(x) - np.abs(x), x=lambda g, y, x: g * np.tanh(x)),
        "x stands in the place of |x|, so the exponential overflows": _made(
            lambda x: x + np.log1p(np.exp(-2 * x)) - np.log(2), x=lambda g, y, x: g * np.tanh(x)
        ),
        "the rule is the hyperbolic tangent, not its inverse's or a sine": _made(
            _stable, x=lambda g, y, x: g * np.sinh(x)
        ),
        "the rule is the sign of x, which is right far from 0 alone": _made(_stable, x=lambda g, y, x: g * np.sign(x)),
        "the sign of the rule": _made(_stable, x=lambda g, y, x: -g * np.tanh(x)),
        "the rule is that of the whole, not of cosh alone": _made(_stable, x=lambda g, y, x: g / np.cosh(x)),
    },
)
def logcosh(x):
    return ops.abs(x) + ops.softplus(-2 * ops.abs(x)) - np.log(2)


def _yes_or_no(rng):
    return np.append([-40.0, 40.0], rng.normal(size=2).round(2)), np.append([0.0, 1.0], rng.uniform(size=2).round(2))


def _softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _sigmoid(x):
    return np.exp(-_softplus(-x))


def _binary(x, t):
    return np.sum(t * _softplus(-x) + (1 - t) * _softplus(x))


def _of_arrays(rule):
    """A rule as NumPy sees it, of arrays alone: second derivatives aren't asked for."""
    return lambda g, y, x, t: g * rule(x, t)


@exercise(
    _yes_or_no,
    use=_asked(0),
    parts=("the value", "the gradient"),
    mistakes={
        "σ(x) − t cancels: at 40 and t = 1 nothing is left of it": _made(
            _binary, x=_of_arrays(lambda x, t: _sigmoid(x) - t)
        ),
        "t and 1 − t are swapped in the value": _made(
            lambda x, t: _binary(x, 1 - t), x=_of_arrays(lambda x, t: (1 - t) * _sigmoid(x) - t * _sigmoid(-x))
        ),
        "t and 1 − t are swapped in the rule": _made(
            _binary, x=_of_arrays(lambda x, t: t * _sigmoid(x) - (1 - t) * _sigmoid(-x))
        ),
        "the sign of the rule": _made(_binary, x=_of_arrays(lambda x, t: t * _sigmoid(-x) - (1 - t) * _sigmoid(x))),
        "that is the mean; the sum is asked for": _made(
            lambda x, t: _binary(x, t) / len(x),
            x=_of_arrays(lambda x, t: ((1 - t) * _sigmoid(x) - t * _sigmoid(-x)) / 4),
        ),
        "the part of the targets t is missing in the rule": _made(
            _binary, x=_of_arrays(lambda x, t: (1 - t) * _sigmoid(x))
        ),
        "the sum is missing": _made(
            lambda x, t: t * _softplus(-x) + (1 - t) * _softplus(x),
            x=_of_arrays(lambda x, t: (1 - t) * _sigmoid(x) - t * _sigmoid(-x)),
        ),
    },
    atol=0,
)
def yes_or_no(x, t):
    return losses.binary_cross_entropy_with_logits(x, t, reduction="sum")


def _scores(rng):
    return round(rng.uniform(0.5, 2), 2), 0.0, rng.normal(scale=2, size=(4, 3)), rng.integers(0, 3, 4)


def _late(x, labels):
    """Which classes come too close to the label's."""
    late = 1 + x - x[np.arange(len(x)), labels][:, None] > 0
    late[np.arange(len(x)), labels] = False
    return late * 1.0


def _pushed(x, labels, up=1.0):
    late, onehot = _late(x, labels), np.eye(x.shape[1])[labels]
    return late - up * onehot * late.sum(axis=1, keepdims=True)


@exercise(
    _scores,
    mistakes={
        "g, the gradient that arrives, is missing": lambda g, y, x, labels: _pushed(x, labels) / len(labels),
        "the mean is missing: divide by the number of rows": lambda g, y, x, labels: g * _pushed(x, labels),
        "the label's own gradient is missing: each late class pushes it up": lambda g, y, x, labels: (
            g * _pushed(x, labels, 0.0) / len(labels)
        ),
        "the sign is the other one": lambda g, y, x, labels: -g * _pushed(x, labels) / len(labels),
        "the label is pushed up once, not once for each late class": lambda g, y, x, labels: (
            g
            * (_late(x, labels) - np.eye(x.shape[1])[labels] * (_late(x, labels).sum(axis=1, keepdims=True) > 0))
            / len(labels)
        ),
        "d itself is handed on; its derivative is 0 or 1": lambda g, y, x, labels: (
            g * _pushed(x, labels) * np.maximum(0, 1 + x - x[np.arange(len(x)), labels][:, None]) / len(labels)
        ),
        "it is divided by the number of classes, not of rows": lambda g, y, x, labels: (
            g * _pushed(x, labels) / x.shape[1]
        ),
    },
)
def hinge_rule(g, y, x, labels):
    x = Tensor(x, requires_grad=True)
    others = 1 - np.eye(x.shape[1])[labels]
    d = ops.relu(1 + x - x[np.arange(len(labels)), labels][:, None]) * others
    (g * d.sum(axis=1).mean()).backward()
    return x.grad
