"""Exercises of 04 · Backprop by hand."""

from types import SimpleNamespace

import numpy as np

from tinygrad_ce import losses, ops
from tinygrad_ce.study.exercise import blank, exercise
from tinygrad_ce.tensor import Tensor

ENGINE = "backward grad value_and_grad jacobian"
GRADIENTS = ("the gradient in w", "the gradient in x", "the gradient in b")


def _gradients(loss, *arrays):
    """The engine's gradients of a loss of these arrays."""
    leaves = [Tensor(a, requires_grad=True) for a in arrays]
    loss(*leaves).backward()
    return [leaf.grad for leaf in leaves]


def _neuron(slope):
    """The gradients of a neuron in which v has this gradient."""
    return lambda w, x, b: [slope(w * x + b) * x, slope(w * x + b) * w, slope(w * x + b)]


def _yes(v):
    return 1 / (1 + np.exp(-v))


@exercise(
    lambda rng: tuple(float(value) for value in rng.normal(scale=1.5, size=3).round(2)),
    forbidden=ENGINE,
    parts=GRADIENTS,
    mistakes={
        "the sign: the gradient in v is d − 1": _neuron(lambda v: 1 - _yes(v)),
        "the sigmoid's derivative is missing: −1/d is multiplied by d (1 − d)": _neuron(lambda v: -1 / _yes(v)),
        "the logarithm's derivative is missing: d (1 − d) is multiplied by −1/d": _neuron(
            lambda v: _yes(v) * (1 - _yes(v))
        ),
        "the onehot is missing: d − 1, not d": _neuron(_yes),
        "the gradients in w and x are swapped: that in w is multiplied by x, and that in x by w": lambda w, x, b: [
            (_yes(w * x + b) - 1) * w,
            (_yes(w * x + b) - 1) * x,
            _yes(w * x + b) - 1,
        ],
    },
)
def yes_neuron(w, x, b):
    return _gradients(lambda w, x, b: -ops.log(ops.sigmoid(w * x + b)), w, x, b)


def _value_and_pair(answer, number):
    """What exp makes of a value: its number and its local derivative."""
    value = SimpleNamespace(data=number, grad=0.0, parents=())
    made = answer(value)
    if blank(made):
        return made
    if not hasattr(made, "parents"):
        raise TypeError(f"exp returned a {type(made).__name__}, expected a Value")
    pairs = made.parents
    if not isinstance(pairs, list | tuple) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs
    ):
        raise TypeError("exp returned a Value whose parents are no pairs (Value, local derivative)")
    if [parent for parent, _ in pairs] != [value]:
        raise ValueError(f"exp returned a Value with {len(pairs)} parents, expected one: the value it was given")
    return made.data, pairs[0][1]


def _exp(data, local):
    return lambda value: SimpleNamespace(data=data(value.data), parents=[(value, local(value.data))])


@exercise(
    lambda rng: (round(rng.uniform(-2, 2), 2),),
    use=_value_and_pair,
    parts=("the number", "the local derivative"),
    mistakes={
        "the local derivative of an exponential isn't 1: it is the exponential itself": _exp(np.exp, lambda x: 1.0),
        "the local derivative is the exponential, not what it was taken of": _exp(np.exp, lambda x: x),
        "the exponential is missing": _exp(lambda x: x, np.exp),
        "that is the rule of a power, x · exp(x − 1)": _exp(np.exp, lambda x: x * np.exp(x - 1)),
        "the exponential is taken twice": _exp(np.exp, lambda x: np.exp(np.exp(x))),
    },
)
def exp(value):
    return SimpleNamespace(data=np.exp(value.data), parents=[(value, np.exp(value.data))])


@exercise(
    lambda rng: (rng.normal(size=(3, 3)), rng.normal(size=(3, 3)), rng.normal(size=(3, 3))),
    forbidden=ENGINE,
    parts=("the gradient in X", "the gradient in W"),
    mistakes={
        "W isn't transposed: the sum runs over its columns": lambda G, X, W: (G @ W, X.T @ G),
        "X isn't transposed: the sum runs over its rows": lambda G, X, W: (G @ W.T, X @ G),
        "the gradients of X and W are swapped": lambda G, X, W: (X.T @ G, G @ W.T),
        "the factors of the gradient in X are in the other order": lambda G, X, W: (W.T @ G, X.T @ G),
        "the factors of the gradient in W are in the other order": lambda G, X, W: (G @ W.T, G @ X.T),
        "it is transposed: it is to have the shape of what it is the gradient of": lambda G, X, W: (
            W @ G.T,
            G.T @ X,
        ),
        "entries are multiplied (*), where a matrix product (@) is asked for": lambda G, X, W: (G * W.T, X.T * G),
    },
)
def matmul_rules(G, X, W):
    return _gradients(lambda X, W: ops.sum((X @ W) * G), X, W)


def _of_shape(*shape):
    return lambda rng: (rng.normal(size=(2, 5, 3)), shape)


@exercise(
    {
        "axes that are missing in front": _of_shape(3),
        "axes of length 1": _of_shape(2, 1, 3),
        "both at once": _of_shape(5, 1),
        "no broadcasting": _of_shape(2, 5, 3),
    },
    forbidden=ENGINE,
    mistakes={
        "it is the mean; uses add, so it is the sum": lambda G, shape: _summed(G, shape, np.mean),
        "axes of length 1 aren't summed": lambda G, shape: G.sum(axis=tuple(range(G.ndim - len(shape)))),
        "axes of length 1 are summed, but they are lost: keepdims is missing": lambda G, shape: _summed(
            G, shape
        ).reshape([n for n in shape if n != 1]),
        "missing axes aren't summed": lambda G, shape: G.sum(
            axis=tuple(i + G.ndim - len(shape) for i, n in enumerate(shape) if n == 1), keepdims=True
        ),
        "one entry of each is taken; all uses are to be summed": lambda G, shape: _summed(G, shape, np.min),
    },
)
def unbroadcast(G, shape):
    return _gradients(lambda a: ops.sum((a + np.zeros(G.shape)) * G), np.zeros(shape))[0]


def _summed(G, shape, reduce=np.sum):
    G = reduce(G, axis=tuple(range(G.ndim - len(shape))))
    return reduce(G, axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)


def _network(rng):
    shapes = (6, 4), (7, 4), (7,), (3, 7), (3,)
    X, W1, b1, W2, b2 = (rng.normal(size=shape) for shape in shapes)
    return X, rng.integers(0, 3, 6), W1, b1, W2, b2


def _hidden(mask, rows=1.0, onehot=1.0, sign=1.0):
    """The gradients of W1 and b1, where the hidden layer hands on what ``mask`` lets through."""

    def answer(X, t, W1, b1, W2, b2):
        V = X @ W1.T + b1
        Z = np.maximum(V, 0) @ W2.T + b2
        P = np.exp(Z - Z.max(axis=1, keepdims=True))
        G = sign * (P / P.sum(axis=1, keepdims=True) - onehot * np.eye(len(b2))[t]) / len(t) ** rows
        V_bar = (G @ W2) * mask(V)
        return V_bar.T @ X, V_bar.sum(axis=0)

    return answer


@exercise(
    _network,
    forbidden=ENGINE,
    parts=("the gradient in W1", "the gradient in b1"),
    mistakes={
        "relu's mask is missing: where its input was negative, nothing goes through": _hidden(np.ones_like),
        "relu's mask is the other way round": _hidden(lambda V: V <= 0),
        "it is multiplied by relu's value; its derivative is 0 or 1": _hidden(lambda V: np.maximum(V, 0)),
        "the mean is missing: divide by the number of rows": _hidden(lambda V: V > 0, rows=0.0),
        "the onehot is missing": _hidden(lambda V: V > 0, onehot=0.0),
        "the sign is the other one": _hidden(lambda V: V > 0, sign=-1.0),
        "W1's gradient is transposed, and b1's is a mean": lambda *inputs: (
            _hidden(lambda V: V > 0)(*inputs)[0].T,
            _hidden(lambda V: V > 0)(*inputs)[1] / len(inputs[0]),
        ),
    },
)
def hidden_gradients(X, t, W1, b1, W2, b2):
    return _gradients(lambda W, b: losses.cross_entropy(ops.linear(ops.relu(ops.linear(X, W, b)), W2, b2), t), W1, b1)


def _parts(rng):
    a, b = rng.permutation(np.arange(2, 9))[:2]
    return int(a), int(b)


@exercise(
    _parts,
    mistakes={
        "that is the plain sum: each part's mean counts as much as all rows together": lambda a, b: [1.0, 1.0],
        "both parts count alike, although one has more rows": lambda a, b: [0.5, 0.5],
        "the parts are swapped": lambda a, b: [b / (a + b), a / (a + b)],
        "these are the numbers of rows; divide by all of them": lambda a, b: [a, b],
        "upside down: a part of few rows counts less": lambda a, b: [(a + b) / a, (a + b) / b],
        "that undoes each part's mean, but the mean over all rows is missing": lambda a, b: [1 / a, 1 / b],
    },
)
def factors(a, b):
    return [a / (a + b), b / (a + b)]
