"""Exercises of 09 · Where softmax is used."""

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.study.exercise import exercise


def _image(rng):
    return rng.normal(size=(7, 6)), rng.normal(size=(3, 2))


def _windows(image, kernel, weigh, rows=1, columns=1):
    h, w = kernel.shape
    places = range(image.shape[0] - h + rows), range(image.shape[1] - w + columns)
    return np.array([[weigh(image[i : i + h, j : j + w], kernel) for j in places[1]] for i in places[0]])


@exercise(
    _image,
    forbidden="conv2d convolve correlate convolve2d correlate2d",
    mistakes={
        "the kernel is turned round: that is the mathematicians' convolution": lambda image, kernel: _windows(
            image, kernel[::-1, ::-1], lambda part, kernel: (part * kernel).sum()
        ),
        "the mean of the products; their sum is asked for": lambda image, kernel: _windows(
            image, kernel, lambda part, kernel: (part * kernel).mean()
        ),
        "the last row and column are missing: H − h + 1 places": lambda image, kernel: _windows(
            image, kernel, lambda part, kernel: (part * kernel).sum(), 0, 0
        ),
        "the windows are summed without the kernel": lambda image, kernel: _windows(
            image, kernel, lambda part, kernel: part.sum()
        ),
        "it is transposed": lambda image, kernel: _windows(image, kernel, lambda part, kernel: (part * kernel).sum()).T,
        "the largest product is taken; their sum is asked for": lambda image, kernel: _windows(
            image, kernel, lambda part, kernel: (part * kernel).max()
        ),
    },
)
def convolved(image, kernel):
    return ops.conv2d(image[None, None], kernel[None, None])[0, 0]


def _counts(rng):
    return rng.integers(1, 50, size=5)


def _entropy(f, log=np.log2):
    return -(f * log(f)).sum()


@exercise(
    {"counts without a 0": lambda rng: (_counts(rng),), "some counts of 0": lambda rng: (np.append(0, _counts(rng)),)},
    mistakes={
        "0 log 0 has become nan; it counts as 0": lambda counts: _entropy(counts / counts.sum()),
        "these are nats; divide by log 2": lambda counts: _entropy(counts[counts > 0] / counts.sum(), np.log),
        "the sign: an entropy isn't negative": lambda counts: -_entropy(counts[counts > 0] / counts.sum()),
        "the counts aren't divided by their sum": lambda counts: _entropy(counts[counts > 0]),
        "that is the mean over the letters, not their sum": lambda counts: (
            _entropy(counts[counts > 0] / counts.sum()) / np.count_nonzero(counts)
        ),
        "the logarithms aren't weighted by the frequencies": lambda counts: (
            -np.log2(counts[counts > 0] / counts.sum()).sum()
        ),
        "a 1 is added to each count, which changes the frequencies": lambda counts: _entropy(
            (counts + 1) / (counts + 1).sum()
        ),
    },
)
def entropy_in_bits(counts):
    f = counts[counts > 0] / counts.sum()
    return (f * np.log2(1 / f)).sum()


def _softmax(x):
    return np.exp(x) / np.exp(x).sum()


@exercise(
    lambda rng: (rng.normal(scale=2, size=4).round(2), float(rng.choice([0.25, 0.5, 2.0, 4.0]))),
    mistakes={
        "the temperature is missing": lambda logits, temperature: _softmax(logits),
        "the logits are divided by the temperature, not multiplied": lambda logits, temperature: _softmax(
            logits * temperature
        ),
        "the probabilities are divided by the temperature; divide the logits": lambda logits, temperature: (
            _softmax(logits) / temperature
        ),
        "softmax is taken twice": lambda logits, temperature: _softmax(_softmax(logits) / temperature),
        "it isn't normalised": lambda logits, temperature: np.exp(logits / temperature),
    },
)
def tempered(logits, temperature):
    p = ops.softmax(logits) ** (1 / temperature)
    return p / p.sum()


@exercise(
    lambda rng: (rng.normal(size=3).round(2), int(rng.integers(3)), round(rng.uniform(1.5, 5), 1)),
    forbidden="backward grad value_and_grad jacobian cross_entropy",
    mistakes={
        "the sign: onehot − softmax; this pushes the action down": lambda logits, action, R: (
            R * (_softmax(logits) - np.eye(3)[action])
        ),
        "R is missing": lambda logits, action, R: np.eye(3)[action] - _softmax(logits),
        "the onehot is missing": lambda logits, action, R: -R * _softmax(logits),
        "softmax is missing: all other actions lose too": lambda logits, action, R: R * np.eye(3)[action],
        "R multiplies the onehot alone": lambda logits, action, R: R * np.eye(3)[action] - _softmax(logits),
        "that is the action's entry alone; the others move too": lambda logits, action, R: (
            R * (1 - _softmax(logits)[action])
        ),
    },
)
def push(logits, action, R):
    onehot = np.arange(len(logits)) == action
    return R * (onehot - ops.softmax(logits))


def _games(rng):
    return rng.normal(size=(5, 3)).round(2), round(rng.uniform(0.4, 0.95), 2)


def _to_go(rewards, gamma):
    return np.array([sum(gamma**k * r for k, r in enumerate(rewards[t:])) for t in range(len(rewards))])


@exercise(
    {"γ = 1, which is the default": lambda rng: _games(rng)[:1], "γ below 1": _games},
    mistakes={
        "γ is missing": lambda rewards, gamma=1.0: _to_go(rewards, 1.0),
        "that goes forwards: these are the rewards so far": lambda rewards, gamma=1.0: _to_go(rewards[::-1], gamma)[
            ::-1
        ],
        "each step has the whole game's return; what is past doesn't count": lambda rewards, gamma=1.0: np.repeat(
            _to_go(rewards, gamma)[:1], len(rewards), axis=0
        ),
        "only the next reward is added, not its whole return": lambda rewards, gamma=1.0: (
            rewards + gamma * np.vstack([rewards[1:], np.zeros(rewards.shape[1])])
        ),
        "the sum runs along the wrong axis: over the games": lambda rewards, gamma=1.0: _to_go(rewards.T, gamma).T,
        "the step's own reward is missing": lambda rewards, gamma=1.0: _to_go(rewards, gamma) - rewards,
        "γ multiplies the step's own reward too": lambda rewards, gamma=1.0: gamma * _to_go(rewards, gamma),
    },
)
def returns_to_go(rewards, gamma=1.0):
    return _to_go(rewards, gamma)


def _attended(scale=lambda k: np.sqrt(k.shape[1]), mask=np.tri, axis=1, after=False):
    """An answer that weighs the values, with some part of it another."""

    def answer(q, k, v):
        scores = q @ k.T / scale(k)
        allowed = mask(len(q)).astype(bool)
        e = np.exp(scores if after else np.where(allowed, scores, -np.inf))
        weights = e / e.sum(axis=axis, keepdims=True)
        return (weights * allowed if after else weights) @ v

    return answer


@exercise(
    lambda rng: tuple(rng.normal(size=(3, 5, 5))),
    mistakes={
        "the mask comes after softmax, so the weights no longer sum to 1": _attended(after=True),
        "the mask is missing: a position sees those after it": _attended(mask=lambda n: np.ones((n, n))),
        "the mask is the other way round": _attended(mask=lambda n: np.tri(n).T),
        "the position itself is masked, too": _attended(
            mask=lambda n: np.tri(n, k=-1) + (np.arange(n)[:, None] + np.arange(n) == 0)
        ),
        "the scores aren't divided by √d": _attended(scale=lambda k: 1.0),
        "the scores are divided by d, not by its root": _attended(scale=lambda k: k.shape[1]),
        "softmax ran along the wrong axis: over the queries": _attended(axis=0),
        "queries and keys are swapped": lambda q, k, v: _attended()(k, q, v),
        "the values aren't weighed: these are the weights": lambda q, k, v: _attended()(q, k, np.eye(len(q))),
    },
)
def attention(q, k, v):
    return np.array([ops.softmax(k[: i + 1] @ q[i] / np.sqrt(len(q[i]))) @ v[: i + 1] for i in range(len(q))])
