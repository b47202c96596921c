"""Exercises of 15 · Training for real."""

import numpy as np

from tinygrad_ce.study.exercise import exercise


def _by(mean, deviation):
    """New rows minus something, divided by something."""
    return lambda new, training: (new - mean(new, training)) / deviation(new, training)


@exercise(
    lambda rng: (rng.normal(size=(4, 3)), rng.normal(2, rng.uniform(0.5, 3, 3), size=(9, 3))),
    mistakes={
        "new rows are scaled by their own mean and deviation; a model knows the training's": _by(
            lambda new, training: new.mean(axis=0), lambda new, training: new.std(axis=0)
        ),
        "mean and deviation are those of both together": _by(
            lambda new, training: np.vstack([new, training]).mean(axis=0),
            lambda new, training: np.vstack([new, training]).std(axis=0),
        ),
        "it is divided by the variance, not by its root": _by(
            lambda new, training: training.mean(axis=0), lambda new, training: training.var(axis=0)
        ),
        "one mean and deviation for all columns; each has its own": _by(
            lambda new, training: training.mean(), lambda new, training: training.std()
        ),
        "the division by the deviation is missing": _by(lambda new, training: training.mean(axis=0), lambda *_: 1),
    },
)
def scaled(new, training):
    return np.stack([(row - np.average(training, axis=0)) / np.sqrt(training.var(axis=0)) for row in new])


def _blocks(rng):
    n1, n2 = rng.choice(np.arange(2, 30), 2, replace=False)
    (m1, m2), (v1, v2) = rng.normal(scale=3, size=(2, 4)), rng.uniform(0.2, 2, size=(2, 4))
    return int(n1), m1, v1, int(n2), m2, v2


def _mean(n1, a1, n2, a2):
    return (n1 * a1 + n2 * a2) / (n1 + n2)


@exercise(
    _blocks,
    parts=("the mean", "the variance"),
    mistakes={
        "the blocks are not of one size; each mean has to be weighed by its rows": lambda n1, m1, v1, n2, m2, v2: (
            (m1 + m2) / 2,
            (v1 + v2) / 2 + (m1 - m2) ** 2 / 4,
        ),
        "that is the mean of the variances; the blocks' means differ, too": lambda n1, m1, v1, n2, m2, v2: (
            _mean(n1, m1, n2, m2),
            _mean(n1, v1, n2, v2),
        ),
        "that is a sum; it isn't divided by the number of rows": lambda n1, m1, v1, n2, m2, v2: (
            n1 * m1 + n2 * m2,
            n1 * v1 + n2 * v2 + n1 * n2 / (n1 + n2) * (m1 - m2) ** 2,
        ),
        "the square of the mean isn't subtracted": lambda n1, m1, v1, n2, m2, v2: (
            _mean(n1, m1, n2, m2),
            _mean(n1, v1 + m1**2, n2, v2 + m2**2),
        ),
    },
)
def merged(n1, mean1, var1, n2, mean2, var2):
    mean = _mean(n1, mean1, n2, mean2)
    return mean, _mean(n1, var1, n2, var2) + n1 * n2 * ((mean1 - mean2) / (n1 + n2)) ** 2


def _epochs(rng):
    T = int(rng.integers(6, 60))
    return int(rng.integers(1, T // 2)), T, round(rng.uniform(0.01, 1), 3)


@exercise(
    _epochs,
    mistakes={
        "that is a whole cosine, which comes back up": lambda t, T, lr: lr * (1 + np.cos(2 * np.pi * t / T)) / 2,
        "it starts at twice the rate: a half is missing": lambda t, T, lr: lr * (1 + np.cos(np.pi * t / T)),
        "that goes down to −lr": lambda t, T, lr: lr * np.cos(np.pi * t / T),
        "that is a quarter of a cosine, steep at its end": lambda t, T, lr: lr * np.cos(np.pi * t / T / 2),
        "that is a straight line": lambda t, T, lr: lr * (1 - t / T),
        "that rises from 0": lambda t, T, lr: lr * (1 - np.cos(np.pi * t / T)) / 2,
    },
)
def cosine(t, T, lr):
    return lr * np.cos(np.pi * t / T / 2) ** 2


def _ranks(rng):
    return rng.normal(size=(3, 2, 4)), rng.permutation([rng.integers(3, 9), rng.integers(10, 20), rng.integers(21, 30)])


@exercise(
    _ranks,
    mistakes={
        "the mean of the ranks' means counts the rows of a small rank too much": lambda sums, counts: (
            sums / counts[:, None, None]
        ).mean(axis=0),
        "that is the sum over all rows; it isn't divided by their number": lambda sums, counts: sums.sum(axis=0),
        "it is divided by the number of ranks, not of rows": lambda sums, counts: sums.mean(axis=0),
        "it is divided by rows and by ranks": lambda sums, counts: sums.mean(axis=0) / counts.sum(),
        "the ranks' means are added": lambda sums, counts: (sums / counts[:, None, None]).sum(axis=0),
    },
)
def everybodys_gradient(sums, counts):
    return sum(sums) / sum(counts)
