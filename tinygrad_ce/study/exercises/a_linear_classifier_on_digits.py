"""Exercises of 06 · A linear classifier on digits."""

import numpy as np

from tinygrad_ce import losses, ops
from tinygrad_ce.study.exercise import exercise

ENGINE = "backward grad value_and_grad jacobian"


@exercise(
    lambda rng: (int(rng.integers(2, 2000)),),
    forbidden="cross_entropy",
    mistakes={
        "the sign: a loss is positive": lambda classes: -np.log(classes),
        "that is the probability of each class; its −log is missing": lambda classes: 1 / classes,
        "the logarithm to the base 2, not the natural one": np.log2,
        "the logarithm to the base 10, not the natural one": np.log10,
        "the logarithm is missing": lambda classes: classes,
        "it is divided by the number of classes; only the right class counts": lambda classes: (
            np.log(classes) / classes
        ),
        "0 logits aren't 0 loss: each class gets the same probability": lambda classes: 0.0,
    },
)
def loss_of_ignorance(classes):
    return -np.log(1 / classes)


def _batch(rng):
    return rng.normal(size=(8, 10)), rng.integers(0, 10, 8)


def _error(z, y, sign=1, onehot=1):
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return sign * (p - onehot * np.eye(10)[y])


@exercise(
    _batch,
    forbidden=ENGINE,
    mistakes={
        "the mean over the rows is missing: that is their sum": lambda z, y: _error(z, y).sum(axis=0),
        "the mean is over the wrong axis: over the classes": lambda z, y: _error(z, y).mean(axis=1),
        "the rows aren't averaged: that is the gradient in the logits": _error,
        "the onehot is missing": lambda z, y: _error(z, y, onehot=0).mean(axis=0),
        "the sign: softmax − onehot": lambda z, y: _error(z, y, sign=-1).mean(axis=0),
        "softmax is missing: the logits stand in its place": lambda z, y: (z - np.eye(10)[y]).mean(axis=0),
        "softmax ran along the wrong axis, down the rows": lambda z, y: (
            np.exp(z) / np.exp(z).sum(axis=0) - np.eye(10)[y]
        ).mean(axis=0),
    },
    rtol=1e-4,
)
def bias_gradient(z, y):
    return (ops.softmax(z) - np.eye(10)[y]).sum(axis=0) / len(y)


def _batch_with_rows(rng):
    z, y = _batch(rng)
    return z, rng.normal(size=(8, 64)), y


@exercise(
    _batch_with_rows,
    forbidden=ENGINE,
    mistakes={
        "the mean is missing: divide by the number of rows": lambda z, x, y: _error(z, y).T @ x,
        "it is transposed: the weights are (10, 64)": lambda z, x, y: x.T @ _error(z, y) / len(y),
        "the onehot is missing": lambda z, x, y: _error(z, y, onehot=0).T @ x / len(y),
        "the sign: softmax − onehot": lambda z, x, y: _error(z, y, sign=-1).T @ x / len(y),
        "it is divided by the number of classes, not of rows": lambda z, x, y: _error(z, y).T @ x / 10,
        "it is divided by the number of features, not of rows": lambda z, x, y: _error(z, y).T @ x / 64,
        "softmax is missing: the logits stand in its place": lambda z, x, y: (z - np.eye(10)[y]).T @ x / len(y),
        "the sum runs before the product: each row has its own error": lambda z, x, y: np.outer(
            _error(z, y).mean(axis=0), x.mean(axis=0)
        ),
    },
    rtol=1e-4,
)
def weight_gradient(z, x, y):
    return np.einsum("nc,nd->cd", ops.softmax(z) - np.eye(10)[y], x) / len(y)


def _gradients(rng):
    return [rng.normal(size=(3, 4)), rng.normal(size=3)], round(rng.uniform(0.01, 0.1), 3)


@exercise(
    _gradients,
    mistakes={
        "the sign: how far it falls is asked for, a positive number": lambda gradients, eta: (
            -eta * sum((g**2).sum() for g in gradients)
        ),
        "η is missing": lambda gradients, eta: sum((g**2).sum() for g in gradients),
        "the square is missing: the gradient is multiplied by the move, which is η times itself": (
            lambda gradients, eta: eta * sum(g.sum() for g in gradients)
        ),
        "that is the gradient's length; its square is asked for": lambda gradients, eta: (
            eta * np.sqrt(sum((g**2).sum() for g in gradients))
        ),
        "the bias is missing": lambda gradients, eta: eta * (gradients[0] ** 2).sum(),
        "the squares are averaged; all of them add up": lambda gradients, eta: (
            eta * sum((g**2).mean() for g in gradients)
        ),
        "η is squared; the first order has η alone": lambda gradients, eta: (
            eta**2 * sum((g**2).sum() for g in gradients)
        ),
        "a half is too much: that belongs to the second order": lambda gradients, eta: (
            eta / 2 * sum((g**2).sum() for g in gradients)
        ),
    },
)
def promised_fall(gradients, eta):
    return eta * sum(float(np.vdot(g, g)) for g in gradients)


def _digit(rng):
    a, b = rng.permutation(10)[:2]
    return rng.uniform(size=64), rng.normal(size=(10, 64)), int(a), int(b)


@exercise(
    _digit,
    mistakes={
        "the sign: what it said comes first, the right class is subtracted": lambda x, weight, a, b: (
            (weight[b] - weight[a]) * x
        ),
        "that is their sum; the 64 terms are asked for": lambda x, weight, a, b: (weight[a] - weight[b]) @ x,
        "the right class is missing": lambda x, weight, a, b: weight[a] * x,
        "the pixels are missing": lambda x, weight, a, b: weight[a] - weight[b],
        "the two are added; their gap is asked for": lambda x, weight, a, b: (weight[a] + weight[b]) * x,
    },
    rtol=1e-4,
)
def contributions(x, weight, a, b):
    return x * weight[a] - x * weight[b]


def _two_logits(rng):
    gap = rng.uniform(18, 40)
    first = rng.normal()
    return (np.array([first, first - gap], np.float32).round(1),)


@exercise(
    _two_logits,
    forbidden="cross_entropy log_softmax logsumexp nll_loss softplus logaddexp",
    mistakes={
        "1 + e^−20 was formed and has rounded to 1: log1p takes the logarithm without forming it": lambda z: np.log(
            1 + np.exp(z[1] - z[0])
        ),
        "the 1 + is missing: log1p, not log": lambda z: np.log(np.exp(z[1] - z[0])),
        "the sign of the difference: z₁ − z₀": lambda z: np.log1p(np.exp(z[0] - z[1])),
        "the logit of the right class isn't subtracted": lambda z: np.log1p(np.exp(z[1])),
        "the sign: a loss is positive": lambda z: -np.log1p(np.exp(z[1] - z[0])),
    },
    rtol=1e-4,
    atol=0,
)
def confident_loss(z):
    return losses.cross_entropy(z, 0)
