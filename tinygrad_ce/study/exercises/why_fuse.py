"""Exercises of 03 · Why fuse."""

import numpy as np

from tinygrad_ce import losses, ops
from tinygrad_ce.study.exercise import exercise

LOSSES = "cross_entropy categorical_cross_entropy nll_loss log_softmax logsumexp linear_cross_entropy"
SIGN = "the sign is the other one"


def _row(rng):
    return rng.normal(scale=3, size=4).round(2), int(rng.integers(4))


def _far(rng):
    return np.array([0.0, -800.0, 3.0]) + rng.normal(size=3).round(2), 1


def _huge(rng):
    return np.float32(1e8) + rng.permutation(np.array([0, 64, 64], np.float32)), int(rng.integers(3))


def _plain(x, t):
    return np.log(np.exp(x).sum()) - x[t]


def _shifted(x):
    return np.log(np.exp(x - x.max()).sum())


@exercise(
    {"ordinary logits": _row, "a target far below": _far, "logits of a hundred million": _huge},
    forbidden=LOSSES,
    mistakes={
        "the brackets: log S + m rounds log S away; the large numbers m and x_t must meet first": lambda x, t: (
            _shifted(x) + x.max() - x[t]
        ),
        "the shift by the maximum is missing, so an exponential overflows": _plain,
        "that is −log of the rounded probability, which is 0 where the target is far below": lambda x, t: (
            -np.log((np.exp(x - x.max()) / np.exp(x - x.max()).sum())[t])
        ),
        "the maximum isn't added again after the logarithm": lambda x, t: _shifted(x) - x[t],
        "the target's logit isn't subtracted": lambda x, t: _shifted(x) + x.max(),
        "m − x_t is missing": lambda x, t: _shifted(x),
        SIGN: lambda x, t: (x[t] - x.max()) - _shifted(x),
    },
)
def log_sum_exp_loss(x, t):
    return losses.cross_entropy(x, t)


def _confident(rng):
    x = rng.uniform(-45, -30, size=4)
    t = int(rng.integers(4))
    x[t] = rng.uniform(0, 3)
    return x.round(1).astype([np.float32, np.float64][int(rng.integers(2))]), t


def _others(x, t):
    return np.delete(np.exp(x - x[t]), t).sum()


@exercise(
    _confident,
    forbidden=LOSSES,
    mistakes={
        "a sum with a 1 in it has rounded, and what is small is lost: sum the others alone, and let log1p add the 1": (
            lambda x, t: np.log(1 + _others(x, t))
        ),
        "the 1 + is missing: log(1 + s) is asked for": lambda x, t: np.log(_others(x, t)),
        "the target's own term is still in the sum": lambda x, t: np.log1p(np.exp(x - x[t]).sum()),
        "the shift by the target's logit is missing": lambda x, t: np.log1p(np.delete(np.exp(x), t).sum()),
        SIGN: lambda x, t: -np.log1p(_others(x, t)),
    },
    rtol=1e-5,
    atol=0,
)
def confident_loss(x, t):
    return losses.cross_entropy(x, t)


def probabilities(rng):
    """One row of them."""
    return (rng.dirichlet(np.full(int(rng.integers(3, 5)), 2.0)),)


JACOBIAN = {
    "the diagonal is missing: its entries are p_i − p_i²": lambda p: -np.outer(p, p),
    "the products p_i p_j are missing: one logit moves all probabilities": np.diag,
    "that is the diagonal alone, p (1 − p), as for a sigmoid": lambda p: p * (1 - p),
    "off the diagonal everything is 0; one logit moves all probabilities": lambda p: np.diag(p * (1 - p)),
    "the sign is the other one": lambda p: np.outer(p, p) - np.diag(p),
    "the products are added; they are to be subtracted": lambda p: np.diag(p) + np.outer(p, p),
    "a 1 stands on the diagonal instead of p": lambda p: np.eye(len(p)) - np.outer(p, p),
    "p @ p is one number; the products of all pairs are `np.outer`": lambda p: np.diag(p) - p @ p,
}


@exercise(probabilities, forbidden="jacobian", mistakes=JACOBIAN)
def softmax_jacobian(p):
    return p[:, None] * (np.eye(len(p)) - p)


def _batch(rng):
    return rng.normal(size=(6, 4)), rng.integers(0, 4, 6)


def _p(x):
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)


def _error(x, t):
    return _p(x) - np.eye(x.shape[1])[t]


@exercise(
    _batch,
    forbidden=f"{LOSSES} backward grad value_and_grad jacobian",
    mistakes={
        "the mean is missing: divide by the number of rows": _error,
        "it is divided by the number of classes, not of rows": lambda x, t: _error(x, t) / x.shape[1],
        "it is divided by the number of entries, not of rows": lambda x, t: _error(x, t) / x.size,
        "the onehot is missing": lambda x, t: _p(x) / len(x),
        "the sign: softmax − onehot, not onehot − softmax": lambda x, t: -_error(x, t) / len(x),
        "softmax ran along the wrong axis, down the rows": lambda x, t: (
            (np.exp(x) / np.exp(x).sum(axis=0) - np.eye(x.shape[1])[t]) / len(x)
        ),
        "1 was subtracted from whole columns: an index for each row is missing": lambda x, t: (
            (_p(x) - np.isin(np.arange(x.shape[1]), t)) / len(x)
        ),
        "the logits themselves stand in the place of softmax": lambda x, t: (x - np.eye(x.shape[1])[t]) / len(x),
        "softmax is divided by the number of rows, and the onehot isn't": lambda x, t: (
            _p(x) / len(x) - np.eye(x.shape[1])[t]
        ),
        "it is summed over the rows; each has its own gradient": lambda x, t: _error(x, t).mean(axis=0),
    },
)
def gradient(x, t):
    return (ops.softmax(x) - np.eye(x.shape[1])[t]) / len(x)


@exercise(
    _confident,
    forbidden=f"{LOSSES} backward grad value_and_grad",
    mistakes={
        "p − 1 cancels: p has rounded to 1. Sum the others instead": lambda x, t: (
            (np.exp(x - x.max()) / np.exp(x - x.max()).sum())[t] - 1
        ),
        "the sign: the target's entry is negative": lambda x, t: _others(x, t) / (1 + _others(x, t)),
        "the target's own term is still in the sum": lambda x, t: -(1 + _others(x, t)) / (1 + _others(x, t)),
        "that is p of the target": lambda x, t: 1 / (1 + _others(x, t)),
    },
    rtol=1e-5,
    atol=0,
)
def target_gradient(x, t):
    return -ops.softmax(x)[np.arange(len(x)) != t].sum()
