"""Exercises of 01 · Softmax."""

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.study.exercise import exercise

SHORTCUTS = "softmax log_softmax logsumexp cross_entropy"
DIVIDE = "the exponentials aren't divided by their sum"


@exercise(
    lambda rng: (rng.normal(scale=2, size=4).round(2),),
    forbidden=SHORTCUTS,
    mistakes={
        DIVIDE: np.exp,
        "the exponentials are divided by the number of classes, not by their sum": lambda x: np.exp(x) / len(x),
        "the logits are divided by their sum; the exponential is missing": lambda x: x / x.sum(),
        "the exponentials are divided by the sum of the logits": lambda x: np.exp(x) / x.sum(),
        "the exponentials are divided by the largest of them": lambda x: np.exp(x - x.max()),
        "the sign of the logits is turned round": lambda x: np.exp(-x) / np.exp(-x).sum(),
        "that is its logarithm": lambda x: x - np.log(np.exp(x).sum()),
    },
)
def my_softmax(x):
    return ops.softmax(x)


BATCHES = {
    "the exponentials are summed over the wrong axis: over the rows": lambda x: np.exp(x) / np.exp(x).sum(axis=0),
    "the exponentials are divided by the sum of the whole batch": lambda x: np.exp(x) / np.exp(x).sum(),
    DIVIDE: np.exp,
}


@exercise(
    lambda rng: (rng.normal(scale=2, size=(3, 3)),),
    forbidden=SHORTCUTS,
    mistakes={
        **BATCHES,
        "keepdims is missing, so each column is divided by the sum of a row": lambda x: (
            np.exp(x) / np.exp(x).sum(axis=1)
        ),
    },
)
def batch_softmax(x):
    return ops.softmax(x)


@exercise(
    lambda rng: (round(rng.uniform(0.05, 0.95), 3),),
    mistakes={
        "the other sign: the odds are p to 1 − p": lambda p: np.log((1 - p) / p),
        "these are the odds; their logarithm is missing": lambda p: p / (1 - p),
        "that is log p; the second class has a logit too": np.log,
        "the logarithm to the base 10, not the natural one": lambda p: np.log10(p / (1 - p)),
        "the logarithm to the base 2, not the natural one": lambda p: np.log2(p / (1 - p)),
        "that is the way there, the sigmoid; the way back is asked for": lambda p: 1 / (1 + np.exp(-p)),
    },
)
def lead(p):
    return np.log(p / (1 - p))


def _huge(rng):
    """Rows far from 0, on both sides."""
    return (rng.normal(scale=3, size=(3, 4)) + np.array([[2000.0], [-2000.0], [0.0]]),)


@exercise(
    _huge,
    forbidden=SHORTCUTS,
    mistakes={
        "an exponential overflows or all are 0: the shift by the row's maximum is missing": lambda x: (
            np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
        ),
        "the maximum of the whole batch is subtracted, not each row's": lambda x: (
            np.exp(x - x.max()) / np.exp(x - x.max()).sum(axis=1, keepdims=True)
        ),
        "the exponentials are summed over the wrong axis: over the rows": lambda x: (
            np.exp(x - x.max(axis=1, keepdims=True)) / np.exp(x - x.max(axis=1, keepdims=True)).sum(axis=0)
        ),
        DIVIDE: lambda x: np.exp(x - x.max(axis=1, keepdims=True)),
    },
)
def safe_softmax(x):
    return ops.softmax(x)


@exercise(
    lambda rng: (round(rng.uniform(0.55, 0.95), 3),),
    mistakes={
        "the 2 is missing: the logits are 2 apart": lambda p: 1 / np.log(p / (1 - p)),
        "upside down: that is 1/T": lambda p: np.log(p / (1 - p)) / 2,
        "the sign: the odds are p to 1 − p": lambda p: 2 / np.log((1 - p) / p),
        "that is 2 / log p; the second class has a logit too": lambda p: 2 / np.log(p),
    },
)
def temperature(p):
    return 2 / np.log(p / (1 - p))
