"""Exercises of 10 · A million classes."""

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.study.exercise import exercise


@exercise(
    lambda rng: (int(2 ** rng.integers(28, 36)), int(rng.integers(1_000, 1_000_000))),
    mistakes={
        "the gradient is forgotten: it is as large as the logits": lambda memory, classes: memory // (4 * classes),
        "a float32 takes 4 bytes": lambda memory, classes: memory // (2 * classes),
        "a float32 takes 4 bytes, not 8": lambda memory, classes: memory // (2 * 8 * classes),
        "that is no whole number: half a row doesn't fit": lambda memory, classes: memory / (2 * 4 * classes) + 1e-3,
        "it is rounded up, and one row too many": lambda memory, classes: -(-memory // (2 * 4 * classes)),
    },
    rtol=0,
    atol=0,
)
def rows_that_fit(memory, classes):
    return memory // (classes * np.dtype(np.float32).itemsize * 2)


def _pair(z):
    m = z.max(axis=1)
    return m, np.exp(z - m[:, None]).sum(axis=1)


def _blocks(offset):
    def draw(rng):
        left, right = (rng.normal(scale=3, size=(4, 5)) + offset * rng.choice([-1, 1], size=(4, 1)) for _ in range(2))
        return *_pair(left), *_pair(right)

    return draw


def _empty(rng):
    m, s = _pair(rng.normal(scale=3, size=(4, 5)))
    return np.full(4, -np.inf), np.zeros(4), m, s


def _joined(m1, s1, m2, s2):
    m = np.maximum(m1, m2)
    return m, s1 * np.exp(m1 - m) + s2 * np.exp(m2 - m)


@exercise(
    {"ordinary logits": _blocks(0.0), "logits of thousands": _blocks(2000.0), "the empty pair": _empty},
    parts=("m", "s"),
    mistakes={
        "the sums are added as they are; each belongs to its own maximum": lambda m1, s1, m2, s2: (
            np.maximum(m1, m2),
            s1 + s2,
        ),
        "exp(m₁) and exp(m₂) overflow; take the differences to the new maximum": lambda m1, s1, m2, s2: (
            np.maximum(m1, m2),
            (s1 * np.exp(m1) + s2 * np.exp(m2)) / np.exp(np.maximum(m1, m2)),
        ),
        "the sign of the exponents: mᵢ − m is never positive": lambda m1, s1, m2, s2: (
            np.maximum(m1, m2),
            s1 * np.exp(np.maximum(m1, m2) - m1) + s2 * np.exp(np.maximum(m1, m2) - m2),
        ),
        "the maxima are added; the larger one is the new maximum": lambda m1, s1, m2, s2: (
            m1 + m2,
            _joined(m1, s1, m2, s2)[1],
        ),
        "that is the smaller of the two maxima": lambda m1, s1, m2, s2: (
            np.minimum(m1, m2),
            _joined(m1, s1, m2, s2)[1],
        ),
        "one maximum for all rows; each has its own": lambda m1, s1, m2, s2: (
            np.full(4, max(m1.max(), m2.max())),
            _joined(m1, s1, m2, s2)[1],
        ),
        "the larger sum alone is kept": lambda m1, s1, m2, s2: (np.maximum(m1, m2), np.maximum(s1, s2)),
    },
)
def join(m1, s1, m2, s2):
    m = np.where(m1 > m2, m1, m2)
    return m, np.exp(m1 - m + np.log(s1)) + np.exp(m2 - m + np.log(s2))


def _block(rng):
    z, y = rng.normal(scale=2, size=(5, 12)), rng.permutation([0, 11, 4, 5, 7])
    m, s = _pair(z)
    return z[:, 4:8], 4, y, m, s


def _dz(z, start, y, m, s, onehot=1, shift=None):
    dz = np.exp(z - m[:, None]) / s[:, None]
    here = (y >= start) & (y < start + z.shape[1])
    dz[here, y[here] - (start if shift is None else shift)] -= onehot
    return dz


@exercise(
    _block,
    mistakes={
        "the mean is missing: divide by the number of rows": _dz,
        "the onehot is missing": lambda z, start, y, m, s: _dz(z, start, y, m, s, onehot=0) / len(z),
        "the sign: softmax − onehot": lambda z, start, y, m, s: -_dz(z, start, y, m, s) / len(z),
        "labels of other blocks are counted here: a remainder, or an index from the end, is no class of this block": (
            lambda z, start, y, m, s: (
                (np.exp(z - m[:, None]) / s[:, None] - np.eye(z.shape[1])[(y - start) % z.shape[1]]) / len(z)
            )
        ),
        "the sum is the block's own; s is that of all classes": lambda z, start, y, m, s: (
            _dz(z, start, y, m, np.exp(z - m[:, None]).sum(axis=1)) / len(z)
        ),
        "it is divided by the number of classes, not of rows": lambda z, start, y, m, s: (
            _dz(z, start, y, m, s) / z.shape[1]
        ),
        "the shift by m is missing": lambda z, start, y, m, s: _dz(z, start, y, np.zeros_like(m), s) / len(z),
        "s isn't divided by": lambda z, start, y, m, s: _dz(z, start, y, m, np.ones_like(s)) / len(z),
    },
)
def gradient_of_block(z, start, y, m, s):
    onehot = y[:, None] == np.arange(start, start + z.shape[1])
    return (np.exp(z - m[:, None] - np.log(s)[:, None]) - onehot) / len(y)


def _sampled(rng):
    return rng.normal(), rng.normal(scale=2, size=6).round(2), int(rng.integers(100, 10_000))


def _estimate(factor):
    return lambda right_logit, sampled_logits, classes: (
        np.log(np.exp(right_logit) + factor(classes, len(sampled_logits)) * np.exp(sampled_logits).sum()) - right_logit
    )


@exercise(
    _sampled,
    mistakes={
        "the factor is missing: the samples stand for all other classes": _estimate(lambda classes, n: 1.0),
        "all other classes: C − 1, not C": _estimate(lambda classes, n: classes / n),
        "it isn't divided by the number of samples": _estimate(lambda classes, n: classes - 1),
        "the factor is upside down": _estimate(lambda classes, n: n / (classes - 1)),
        "the sign of the factor's logarithm": _estimate(lambda classes, n: (n / (classes - 1)) ** 2),
        "the factor is added to the logits; its logarithm is": lambda right_logit, sampled_logits, classes: _estimate(
            lambda c, n: np.exp(np.minimum((classes - 1) / n, 700))
        )(right_logit, sampled_logits, classes),
        "the right logit isn't the first class": lambda right_logit, sampled_logits, classes: (
            _estimate(lambda c, n: (c - 1) / n)(right_logit, sampled_logits, classes)
            + right_logit
            - sampled_logits[0]
            - np.log((classes - 1) / len(sampled_logits))
        ),
    },
)
def sampled_loss(right_logit, sampled_logits, classes):
    others = ops.logsumexp(sampled_logits) + np.log(classes - 1) - np.log(len(sampled_logits))
    return np.logaddexp(right_logit, others) - right_logit


def _tree(rng):
    groups, members = rng.normal(size=(10, 4)), rng.normal(size=(10, 10, 4))
    group, member = rng.permutation(10)[:2]
    return rng.normal(size=4), groups, members, int(10 * group + member)


def _nll(logits, k):
    return np.log(np.exp(logits).sum()) - logits[k]


@exercise(
    _tree,
    mistakes={
        "the group's loss is missing": lambda x, groups, members, c: _nll(members[c // 10] @ x, c % 10),
        "the member's loss is missing": lambda x, groups, members, c: _nll(groups @ x, c // 10),
        "group and member are swapped": lambda x, groups, members, c: (
            _nll(groups @ x, c % 10) + _nll(members[c % 10] @ x, c // 10)
        ),
        "the member is sought in the first group": lambda x, groups, members, c: (
            _nll(groups @ x, c // 10) + _nll(members[0] @ x, c % 10)
        ),
        "probabilities are multiplied, so their logarithms are added, not multiplied": lambda x, groups, members, c: (
            _nll(groups @ x, c // 10) * _nll(members[c // 10] @ x, c % 10)
        ),
        "the sign: a loss is positive": lambda x, groups, members, c: (
            -_nll(groups @ x, c // 10) - _nll(members[c // 10] @ x, c % 10)
        ),
        "that is their mean": lambda x, groups, members, c: (
            (_nll(groups @ x, c // 10) + _nll(members[c // 10] @ x, c % 10)) / 2
        ),
    },
)
def tree_loss(x, groups, members, c):
    p = ops.softmax(groups @ x)[c // 10] * ops.softmax(members[c // 10] @ x)[c % 10]
    return -np.log(p)
