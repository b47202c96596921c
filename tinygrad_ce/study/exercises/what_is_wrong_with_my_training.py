"""Exercises of 14 · What is wrong with my training."""

import numpy as np

from tinygrad_ce.study.exercise import exercise


def _entropy(counts):
    return np.log(counts.sum()) - np.average(np.log(counts), weights=counts)


@exercise(
    lambda rng: (rng.choice(np.arange(1, 60), 4, replace=False),),
    mistakes={
        "that is log C, which is right where all classes are equally common": lambda counts: np.log(len(counts)),
        "the sign: a loss is never negative": lambda counts: -_entropy(counts),
        "each −log is counted once; it counts as often as its class comes": lambda counts: (
            -np.log(counts / counts.sum()).mean()
        ),
        "that is in bits; the loss takes the natural logarithm": lambda counts: _entropy(counts) / np.log(2),
        "that model always says the commonest class, whose share it is sure of": lambda counts: (
            -np.log(counts.max() / counts.sum())
        ),
    },
)
def start_loss(counts):
    return _entropy(counts)


def _layer(rng):
    """Outputs of a relu layer: some units dead, others 0 at times."""
    outputs = np.maximum(rng.normal(size=(8, rng.integers(40, 90))), 0)
    outputs[0] = 1
    outputs[:, : rng.integers(3, 30)] = 0
    return (rng.permutation(rng.permutation(outputs), axis=1),)


@exercise(
    _layer,
    mistakes={
        "that is the share of zeros among all numbers; dead is 0 for every row": lambda H: (H == 0).mean(),
        "that counts units which are 0 for some row; dead is 0 for every row": lambda H: (H == 0).any(axis=0).mean(),
        "that is the share of the living": lambda H: (H > 0).any(axis=0).mean(),
        "the axis: rows are inputs, columns are units": lambda H: (H == 0).all(axis=1).mean(),
        "that is their number; the share is asked for": lambda H: (H == 0).all(axis=0).sum(),
    },
)
def dead_share(H):
    return np.mean(H.max(axis=0) == 0)


def _sigmoid(a):
    return 1 / (1 + np.exp(-a))


@exercise(
    lambda rng: (rng.normal(scale=2, size=5).round(2),),
    mistakes={
        "the derivative of the sigmoid, p(1 − p), is missing": lambda a: 2 * (_sigmoid(a) - 1),
        "that is the derivative of cross-entropy": lambda a: _sigmoid(a) - 1,
        "the 2 of the square is missing": lambda a: (_sigmoid(a) - 1) * _sigmoid(a) * (1 - _sigmoid(a)),
        "the sign: a larger logit makes the loss smaller": lambda a: 2 * (1 - _sigmoid(a)) ** 2 * _sigmoid(a),
        "that is the loss, not its derivative": lambda a: (_sigmoid(a) - 1) ** 2,
        "that is the derivative for the answer no": lambda a: 2 * _sigmoid(a) ** 2 * (1 - _sigmoid(a)),
    },
)
def squared_gradient(a):
    h = 1e-20  # a complex step
    return ((1 / (1 + np.exp(-a - 1j * h)) - 1) ** 2).imag / h


@exercise(
    lambda rng: (rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), 10 ** rng.uniform(-3, -0.5)),
    mistakes={
        "the learning rate is missing": lambda w, g, lr: np.linalg.norm(g) / np.linalg.norm(w),
        "upside down: the step's length by that of the weights": lambda w, g, lr: (
            np.linalg.norm(w) / np.linalg.norm(lr * g)
        ),
        "these are squares; the root is missing": lambda w, g, lr: ((lr * g) ** 2).sum() / (w**2).sum(),
        "that is the mean of the single ratios, in which a weight near 0 counts for all": lambda w, g, lr: np.abs(
            lr * g / w
        ).mean(),
        "that compares with the weights after the step": lambda w, g, lr: (
            np.linalg.norm(lr * g) / np.linalg.norm(w - lr * g)
        ),
    },
)
def step_ratio(w, g, lr):
    return lr * np.sqrt((g * g).sum() / (w * w).sum())


@exercise(
    lambda rng: (int(rng.integers(3, 5000)),),
    mistakes={
        "that is the loss of a model that knows nothing": np.log,
        "there are C − 1 wrong classes, not C": lambda C: np.log(np.e + C) - 1,
        "the numerator is missing: the right class has e, not 1": lambda C: np.log(np.e + C - 1),
        "the sign: −log of a probability is positive": lambda C: 1 - np.log(np.e + C - 1),
        "the wrong classes have exp(0) = 1 each, not 0": lambda C: 0.0,
    },
)
def lowest_loss(C):
    return np.log1p((C - 1) / np.e)


def _masked(rng):
    """Numbers on both sides of 0, and 0 itself."""
    return rng.normal(size=6), rng.permutation([0.0, *rng.uniform(0.1, 2, 3), *rng.uniform(-2, -0.1, 2)])


@exercise(
    _masked,
    mistakes={
        "0/0 is nan: the gradient is masked, and then divided by x": lambda g, x: np.where(x > 0, g, 0) / x,
        "the mask is missing: where x ≤ 0, y is constant, and its gradient is 0": lambda g, x: g / x,
        "that hands g on where y is constant": lambda g, x: g / np.where(x > 0, x, 1),
        "g is missing": lambda g, x: np.where(x > 0, 1 / np.where(x > 0, x, 1), 0),
        "that is log's value, not its derivative": lambda g, x: np.where(x > 0, g * np.log(np.where(x > 0, x, 1)), 0),
    },
)
def masked_log_rule(g, x):
    gradient = np.zeros(x.shape)
    gradient[x > 0] = g[x > 0] / x[x > 0]
    return gradient
