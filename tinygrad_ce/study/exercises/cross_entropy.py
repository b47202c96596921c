"""Exercises of 02 · Cross-entropy."""

import numpy as np

from tinygrad_ce.study.exercise import exercise

SHORTCUTS = "cross_entropy categorical_cross_entropy nll_loss kl_div"
SIGN = "the sign: a logarithm of a probability is negative, and a loss is not"


def rows(rng, n=4, classes=3):
    """Rows of probabilities."""
    return rng.dirichlet(np.full(classes, 2.0), size=n)


def targets(rng, n=4, classes=3):
    """One-hot rows, of which no two classes are alike in number."""
    return np.eye(classes)[rng.permutation(np.arange(n) % classes)]


@exercise(
    lambda rng: (rows(rng), targets(rng)),
    forbidden=SHORTCUTS,
    mistakes={
        "the mean over the rows is missing: that is their sum": lambda p, y: -(y * np.log(p)).sum(),
        "that is one loss for each row; their mean is missing": lambda p, y: -(y * np.log(p)).sum(axis=1),
        "the mean is over all entries, also those of the other classes": lambda p, y: -(y * np.log(p)).mean(),
        "p and y are swapped": lambda p, y: -(p * np.log(y)).sum(axis=1).mean(),
        "the onehot is missing: all classes' logarithms are summed": lambda p, y: -np.log(p).sum(axis=1).mean(),
        SIGN: lambda p, y: (y * np.log(p)).sum(axis=1).mean(),
        "the logarithm is missing": lambda p, y: -(y * p).sum(axis=1).mean(),
        "these are bits, with the logarithm to the base 2; nats are asked for": lambda p, y: (
            -(y * np.log2(p)).sum(axis=1).mean()
        ),
    },
)
def mean_cross_entropy(p, y):
    return -np.log(p[np.arange(len(p)), y.argmax(axis=1)]).mean()


def _with_zero(rng):
    q = np.append(rows(rng, 1)[0].round(3), 0.0)
    q[2] = 1 - q[0] - q[1]
    return (rng.permutation(q),)


@exercise(
    {"rows without a 0": lambda rng: (rows(rng, 1, 4)[0],), "rows with a 0": _with_zero},
    forbidden=SHORTCUTS,
    mistakes={
        "these are nats; bits are asked for: the logarithm to the base 2": lambda q: -_times(q, np.log).sum(),
        "the sign: a logarithm of a probability is negative, and an entropy is not": lambda q: _times(q, np.log2).sum(),
        "0 log 0 has become nan; it counts as 0": lambda q: -(q * np.log2(q)).sum(),
        "the logarithms aren't weighted by q": lambda q: -np.log2(q[q > 0]).sum(),
        "that is the mean over the classes, not their sum": lambda q: -_times(q, np.log2).mean(),
        "nats become bits by dividing by log 2, not by multiplying": lambda q: -_times(q, np.log).sum() * np.log(2),
    },
)
def entropy_in_bits(q):
    return -_times(q, np.log2).sum()


def _times(q, log):
    """q log q, where q isn't 0."""
    return q[q > 0] * log(q[q > 0])


@exercise(
    lambda rng: (rows(rng, 1)[0].round(3), rows(rng, 1)[0].round(3)),
    forbidden=SHORTCUTS,
    mistakes={
        "p and q are swapped": lambda q, p: (p * np.log(p / q)).sum(),
        "the sign: p and q stand in the logarithm the other way round": lambda q, p: (q * np.log(p / q)).sum(),
        "that is the cross-entropy; the entropy of q is to be subtracted": lambda q, p: -(q * np.log(p)).sum(),
        "that is the entropy of q": lambda q, p: -(q * np.log(q)).sum(),
        "the weights are p's; the mean is under q": lambda q, p: (p * np.log(q / p)).sum(),
        "the logarithms aren't weighted by q": lambda q, p: np.log(q / p).sum(),
        "these are bits; nats are asked for": lambda q, p: (q * np.log2(q / p)).sum(),
        "that is the mean over the classes, not their sum": lambda q, p: (q * np.log(q / p)).mean(),
    },
)
def divergence(q, p):
    return (q * (np.log(q) - np.log(p))).sum()


@exercise(
    lambda rng: (np.log(rows(rng, 3)), np.roll(np.arange(3), rng.integers(1, 3))),
    forbidden=SHORTCUTS,
    mistakes={
        SIGN: lambda logp, t: logp[np.arange(len(t)), t],
        "`logp[:, t]` takes whole columns: an index for each row is missing": lambda logp, t: -logp[:, t],
        "`logp[t]` takes whole rows: an index for each row is missing": lambda logp, t: -logp[t],
        "rows and classes are swapped": lambda logp, t: -logp[t, np.arange(len(t))],
        "that is their mean; a loss for each row is asked for": lambda logp, t: -logp[np.arange(len(t)), t].mean(),
        "the onehot is missing: all classes are summed": lambda logp, t: -logp.sum(axis=1),
        "a logarithm was taken of what is one already": lambda logp, t: -np.log(logp[np.arange(len(t)), t]),
        "that is the probability, not its logarithm": lambda logp, t: np.exp(logp[np.arange(len(t)), t]),
    },
)
def losses_of_indices(logp, t):
    return -np.take_along_axis(logp, t[:, None], 1)[:, 0]


@exercise(
    lambda rng: (np.eye(n := int(rng.integers(3, 6)))[rng.integers(n)], round(rng.uniform(0.05, 0.3), 2)),
    mistakes={
        "ε isn't divided by the number of classes": lambda onehot, eps: (1 - eps) * onehot + eps,
        "the right class keeps its 1: it must give away ε": lambda onehot, eps: onehot + eps / len(onehot),
        "the others' share is missing": lambda onehot, eps: (1 - eps) * onehot,
        "ε is shared among the other classes alone; the right one gets its part too": lambda onehot, eps: (
            (1 - eps) * onehot + eps / (len(onehot) - 1) * (1 - onehot)
        ),
        "ε and 1 − ε are swapped": lambda onehot, eps: eps * onehot + (1 - eps) / len(onehot),
    },
)
def smoothed(onehot, eps):
    return onehot * (1 - eps) + np.full(len(onehot), eps) / len(onehot)
