"""Exercises of 13 · Every gradient by hand."""

from typing import Any

import numpy as np

from tinygrad_ce import nn, ops
from tinygrad_ce.study.exercise import exercise
from tinygrad_ce.tensor import Tensor

EPS = 1e-5


def _softmax_of(p, p_bar):
    """The rule of softmax for rows."""
    return p * (p_bar - (p * p_bar).sum(axis=1, keepdims=True))


@exercise(
    lambda rng: (ops.softmax(rng.normal(size=(4, 5))), rng.normal(size=(4, 5))),
    mistakes={
        "p(1 − p) is the diagonal of the Jacobian only; each logit moves all probabilities": lambda p, p_bar: (
            p_bar * p * (1 - p)
        ),
        "the sum over the classes is missing": lambda p, p_bar: p * p_bar,
        "the sum runs over the rows; it belongs along the classes of each row": lambda p, p_bar: (
            p * (p_bar - (p * p_bar).sum(axis=0))
        ),
        "the sum runs over the whole batch; it belongs along the classes of each row": lambda p, p_bar: (
            p * (p_bar - (p * p_bar).sum())
        ),
        "in the sum the factor p is missing": lambda p, p_bar: p * (p_bar - p_bar.sum(axis=1, keepdims=True)),
        "the factor p in front of the sum is missing": lambda p, p_bar: (
            p * p_bar - (p * p_bar).sum(axis=1, keepdims=True)
        ),
    },
)
def softmax_rule(p, p_bar):
    return np.stack([(np.diag(row) - np.outer(row, row)) @ g for row, g in zip(p, p_bar, strict=True)])


def _two_batches(rng):
    m1, m2 = rng.choice(np.arange(2, 40), 2, replace=False)
    return rng.normal(size=(2, 3)), int(m1), rng.normal(size=(2, 3)), int(m2)


@exercise(
    _two_batches,
    mistakes={
        "the mean of the means counts each row of the smaller batch too much": lambda g1, m1, g2, m2: (g1 + g2) / 2,
        "the gradients are added; they are means, and have to be weighed": lambda g1, m1, g2, m2: g1 + g2,
        "that is the sum over all rows; it isn't divided by their number": lambda g1, m1, g2, m2: m1 * g1 + m2 * g2,
        "each batch is weighed by the other's rows": lambda g1, m1, g2, m2: (m2 * g1 + m1 * g2) / (m1 + m2),
        "the means are divided once more by the number of rows": lambda g1, m1, g2, m2: (g1 + g2) / (m1 + m2),
    },
)
def together(g1, m1, g2, m2):
    return np.average([g1, g2], axis=0, weights=[m1, m2])


def _norm(keep_mean=True, keep_variance=True, axis=1, inside=True):
    """A rule of LayerNorm, or one that lacks something of it."""

    def rule(y_bar, u, gamma):
        c = u - u.mean(axis=axis, keepdims=True)
        s = (np.mean(c * c, axis=axis, keepdims=True) + EPS) ** -0.5
        n, n_bar = c * s, y_bar * gamma if inside else y_bar
        rest = n_bar - n_bar.mean(axis=axis, keepdims=True) * keep_mean
        rest = rest - n * (n_bar * n).mean(axis=axis, keepdims=True) * keep_variance
        return s * rest if inside else gamma * s * rest

    return rule


@exercise(
    lambda rng: (rng.normal(size=(6, 7)), rng.normal(size=(6, 7)), rng.uniform(0.5, 2, 7)),
    mistakes={
        "γ differs along the axis that is summed over, so it can't be taken out of the sums": _norm(inside=False),
        "mean and variance are taken over the rows; that is BatchNorm": _norm(axis=0),
        "mean and variance are taken for constants; they depend on u, too": _norm(False, False),
        "the way through the variance is missing": _norm(keep_variance=False),
        "the way through the mean is missing": _norm(keep_mean=False),
        "γ is missing": lambda y_bar, u, gamma: _norm()(y_bar, u, np.ones_like(gamma)),
    },
)
def layer_norm_rule(y_bar, u, gamma):
    layer, row = nn.LayerNorm(gamma.size, EPS, dtype=float), Tensor(u, requires_grad=True)
    layer.weight.data = gamma
    layer(row).backward(y_bar)
    return row.grad


def _last(E_bar, X, V):
    """An index that comes twice keeps the last one only."""
    C_bar = np.zeros((V, E_bar.shape[-1]))
    C_bar[X] += E_bar
    return C_bar


def _product(E_bar, X, V):
    """The sum for each letter, as a product with onehot rows."""
    return np.eye(V)[X.ravel()].T @ E_bar.reshape(-1, E_bar.shape[-1])


def _mean(E_bar, X, V):
    return _product(E_bar, X, V) / np.maximum(np.bincount(X.ravel(), minlength=V), 1)[:, None]


@exercise(
    lambda rng: (rng.normal(size=(6, 2, 3)), rng.integers(0, 5, size=(6, 2)), 5),
    forbidden="at",
    mistakes={
        "of a letter that comes twice only the last gradient is kept; they must be added": _last,
        "that is the mean over a letter's places; gradients are summed": _mean,
        "only the first letter of each row is counted": lambda E_bar, X, V: np.eye(V)[X[:, 0]].T @ E_bar[:, 0],
        "the shape is turned: expected a row for each letter": lambda E_bar, X, V: _product(E_bar, X, V).T,
    },
)
def embedding_rule(E_bar, X, V):
    C_bar = np.zeros((V, E_bar.shape[-1]))
    for place in np.ndindex(X.shape):
        C_bar[X[place]] += E_bar[place]
    return C_bar


def _attention(scaled=True, rule=_softmax_of, axis=1):
    """A rule of attention, or one with something wrong in it."""

    def gradients(O_bar, Q, K, V):
        root = np.sqrt(Q.shape[1])
        A = ops.softmax(Q @ K.T / root, axis=axis)
        scores_bar = rule(A, O_bar @ V.T) / (root if scaled else 1)
        return scores_bar @ K, scores_bar.T @ Q, A.T @ O_bar

    return gradients


def _sizes(*shapes):
    return lambda rng: tuple(rng.normal(size=shape) for shape in shapes)


@exercise(
    _sizes((4, 2), (4, 3), (5, 3), (5, 2)),
    parts=("the gradient of Q", "the gradient of K", "the gradient of V"),
    mistakes={
        "the division by √d is missing on the way back": _attention(scaled=False),
        "p(1 − p) is the diagonal of softmax's Jacobian only": _attention(rule=lambda A, A_bar: A_bar * A * (1 - A)),
        "the rule of softmax is missing": _attention(rule=lambda A, A_bar: A_bar),
        "the softmax runs over the queries; it belongs along the keys, in each row": _attention(axis=0),
    },
)
def attention_rule(O_bar, Q, K, V):
    q, k, v = (Tensor(array, requires_grad=True) for array in (Q, K, V))
    (ops.softmax(q @ k.T / np.sqrt(Q.shape[1])) @ v).backward(O_bar)
    return q.grad, k.grad, v.grad


def _through_time(steps=None, bend=True, back=lambda a_bar, W: a_bar @ W.T, before=-2):
    """A rule of the recurrent net, or one with something wrong in it."""

    def gradients(h_bar, xs, W, U):
        states = [np.zeros(h_bar.shape)]
        for x in xs:
            states.append(np.tanh(states[-1] @ W + x @ U))
        W_bar, U_bar = np.zeros_like(W), np.zeros_like(U)
        for t in range(len(xs), 0, -1)[:steps]:
            a_bar = h_bar * (1 - states[t] ** 2 if bend else 1)
            W_bar += states[t + before + 1].T @ a_bar
            U_bar += xs[t - 1].T @ a_bar
            h_bar = back(a_bar, W)
        return W_bar, U_bar

    return gradients


@exercise(
    lambda rng: tuple(rng.normal(size=shape) / 2 for shape in [(3, 4), (5, 3, 2), (4, 4), (2, 4)]),
    parts=("the gradient of W", "the gradient of U"),
    mistakes={
        "that is the last step alone; the weights were used in each": _through_time(steps=1),
        "the derivative of tanh, 1 − h², is missing": _through_time(bend=False),
        "on the way to the state before, the product with Wᵀ is missing": _through_time(back=lambda a_bar, W: a_bar),
        "on the way to the state before stands W, it should be Wᵀ": _through_time(back=lambda a_bar, W: a_bar @ W),
        "W was multiplied by the state before the step, not by the one after it": _through_time(before=-1),
    },
)
def recurrent_rule(h_bar, xs, W, U):
    w, u = Tensor(W, requires_grad=True), Tensor(U, requires_grad=True)
    state: Any = np.zeros(h_bar.shape)
    for x in xs:
        state = np.tanh(state @ w + x @ u)
    state.backward(h_bar)
    return w.grad, u.grad
