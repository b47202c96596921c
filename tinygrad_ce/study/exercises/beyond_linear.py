"""Exercises of 07 · Beyond linear."""

import numpy as np

from tinygrad_ce import optim
from tinygrad_ce.study.exercise import blank, exercise
from tinygrad_ce.tensor import Tensor


@exercise(
    lambda rng: (rng.normal(size=(3, 3)), rng.normal(size=3), rng.normal(size=(3, 3)), rng.normal(size=3)),
    parts=("the weight", "the bias"),
    mistakes={
        "the weights are multiplied in the other order: W₂ is applied last, so it stands left": (
            lambda w1, b1, w2, b2: (w1 @ w2, w2 @ b1 + b2)
        ),
        "b₁ goes through the second layer too: W₂ b₁": lambda w1, b1, w2, b2: (w2 @ w1, b1 + b2),
        "b₂ is missing": lambda w1, b1, w2, b2: (w2 @ w1, w2 @ b1),
        "b₁ is missing": lambda w1, b1, w2, b2: (w2 @ w1, b2),
        "entries are multiplied (*), where a matrix product (@) is asked for": lambda w1, b1, w2, b2: (
            w2 * w1,
            w2 @ b1 + b2,
        ),
        "the weights are added": lambda w1, b1, w2, b2: (w1 + w2, w2 @ b1 + b2),
        "the biases are swapped: b₁ goes through W₂": lambda w1, b1, w2, b2: (w2 @ w1, w2 @ b2 + b1),
        "it is transposed": lambda w1, b1, w2, b2: ((w2 @ w1).T, w2 @ b1 + b2),
    },
)
def composed(w1, b1, w2, b2):
    bias = w2 @ b1 + b2
    return np.stack([w2 @ (w1 @ unit + b1) + b2 - bias for unit in np.eye(w1.shape[1])], axis=1), bias


def _points(rng):
    return np.cumsum(rng.uniform(0.1, 1, size=5)).round(2), rng.normal(size=5).round(2)


def _chain(answer, t, y):
    """The chain of relus through an answer's kinks, at places between the points and at them."""
    c = answer(t, y)
    if blank(c):
        return c
    if np.shape(c) != (len(t) - 1,):
        raise ValueError(f"kinks returned the shape {np.shape(c)}, expected ({len(t) - 1},)")
    return y[0] + np.maximum(np.linspace(t[0], t[-1], 9)[:, None] - t[:-1], 0) @ c


@exercise(
    _points,
    use=_chain,
    forbidden="interp",
    mistakes={
        "these are the slopes; a kink is how much the slope changes": lambda t, y: np.diff(y) / np.diff(t),
        "the steps in y aren't divided by those in t": lambda t, y: np.diff(np.diff(y), prepend=0),
        "the sign: the new slope less the old one": lambda t, y: -np.diff(np.diff(y) / np.diff(t), prepend=0),
        "slopes are steps in y divided by those in t, not the other way round": lambda t, y: np.diff(
            np.diff(t) / np.diff(y), prepend=0
        ),
        "the first slope is lost: before t₀ the slope is 0": lambda t, y: np.append(
            0, np.diff(np.diff(y) / np.diff(t))
        ),
        "these are the y themselves": lambda t, y: y[:-1],
    },
)
def kinks(t, y):
    slopes = (y[1:] - y[:-1]) / (t[1:] - t[:-1])
    return slopes - np.append(0, slopes[:-1])


@exercise(
    lambda rng: (int(rng.integers(8, 200)), round(rng.uniform(0.05, 0.6), 3)),
    mistakes={
        "relu is missing: it takes half of the mean square": lambda n, bound: n * bound**2 / 3,
        "the variance of numbers in [−β, β] is β²/3, not β²": lambda n, bound: n * bound**2 / 2,
        "the n terms of the sum are missing": lambda n, bound: bound**2 / 6,
        "the square is missing: β²": lambda n, bound: n * bound / 6,
        "that is the factor of the root mean square": lambda n, bound: np.sqrt(n * bound**2 / 6),
        "relu halves it: the factor is ½, not 2": lambda n, bound: n * bound**2 / 3 * 2,
        "a width of 2β gives (2β)²/12 = β²/3, not β²/12": lambda n, bound: n * bound**2 / 24,
    },
)
def growth(n, bound):
    return n * ((2 * bound) ** 2 / 12) / 2


def _steps(rng):
    return (
        rng.normal(size=2),
        rng.normal(size=(5, 2)),
        round(rng.uniform(0.05, 0.3), 2),
        round(rng.uniform(0.5, 0.95), 2),
    )


def _moved(velocity, sign=-1, scale=lambda lr: lr):
    """Where the steps end, for a rule of the velocity."""

    def answer(theta, gradients, lr, mu):
        v = np.zeros_like(theta)
        for g in gradients:
            v = velocity(v, g, lr, mu)
            theta = theta + sign * scale(lr) * v
        return theta

    return answer


def _momentum(v, g, lr, mu):
    return mu * v + g


@exercise(
    _steps,
    forbidden="sgd step",
    mistakes={
        "momentum is missing: that is plain gradient descent": _moved(lambda v, g, lr, mu: g),
        "the gradient is multiplied by 1 − μ; here it is added whole": _moved(
            lambda v, g, lr, mu: mu * v + (1 - mu) * g
        ),
        "the velocity isn't multiplied by μ": _moved(lambda v, g, lr, mu: v + g),
        "μ multiplies the gradient, and not the velocity": _moved(lambda v, g, lr, mu: v + mu * g),
        "the sign: one goes against the gradient": _moved(_momentum, sign=1),
        "the learning rate is missing": _moved(_momentum, scale=lambda lr: 1),
        "the learning rate is applied twice": _moved(lambda v, g, lr, mu: mu * v + lr * g),
        "only the last step is taken": lambda theta, gradients, lr, mu: theta - lr * gradients[-1],
        "that is the velocity after the steps, not where θ stands": lambda theta, gradients, lr, mu: sum(
            mu ** (len(gradients) - 1 - k) * g for k, g in enumerate(gradients)
        ),
    },
)
def with_momentum(theta, gradients, lr, mu):
    parameter = Tensor(theta, requires_grad=True)
    sgd = optim.SGD([parameter], lr=lr, momentum=mu)
    for g in gradients:
        parameter.grad = g
        sgd.step()
    return parameter.numpy()


def _stopping(rng):
    """Losses that fall, wait, fall, fail for as long as is allowed, once as low as before, and go on; the patience."""
    patience, first = int(rng.integers(3, 5)), int(rng.integers(2, 6))
    fall = [5.0 - 0.5 * k for k in range(first)]
    low = fall[-1] - 0.5
    wait, fail = [fall[-1] + 0.2] * (patience - 1), [low + 0.3, low + 0.1, low, low + 0.2][:patience]
    late = [low + d for d in (0.4, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, -0.9, -0.8)]
    return [round(loss, 1) for loss in (*fall, *wait, low, *fail, *late)], patience


def _counted(progress, end):
    """An answer that keeps the best epoch by a rule of progress, and ends by another."""

    def answer(losses, patience):
        best = 0
        for epoch, loss in enumerate(losses):
            if progress(loss, losses, best, epoch):
                best = epoch
            if end(epoch - best, patience):
                return epoch + 1
        return len(losses)

    return answer


def _lower(loss, losses, best, epoch):
    return loss < losses[best]


@exercise(
    _stopping,
    mistakes={
        "that is the epoch's index, which counts from 0": lambda losses, patience: (
            _counted(_lower, lambda since, patience: since == patience)(losses, patience) - 1
        ),
        "one epoch too many: it ends as soon as the last `patience` epochs have failed": _counted(
            _lower, lambda since, patience: since > patience
        ),
        "one epoch too few: `patience` epochs may fail, not one less": _counted(
            _lower, lambda since, patience: since == patience - 1
        ),
        "an equal loss is no progress: compare by <, not by <=": _counted(
            lambda loss, losses, best, epoch: loss <= losses[best], lambda since, patience: since == patience
        ),
        "it is compared with the epoch before, not with the lowest so far": _counted(
            lambda loss, losses, best, epoch: epoch == 0 or loss < losses[epoch - 1],
            lambda since, patience: since == patience,
        ),
        "it never ends early: that is how many losses there are": lambda losses, patience: len(losses),
        "that is the epoch with the lowest loss": lambda losses, patience: int(np.argmin(losses)) + 1,
    },
)
def epochs_trained(losses, patience):
    for n in range(patience + 1, len(losses) + 1):
        if min(losses[n - patience : n]) >= min(losses[: n - patience]):
            return n
    return len(losses)
