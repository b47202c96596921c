"""Exercises of 08 · Sigmoid, softmax, calibration."""

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.study.exercise import exercise


@exercise(
    lambda rng: (rng.normal(size=(2, 5)), rng.normal(size=2)),
    parts=("w", "b"),
    mistakes={
        "the sign: that gives the first class's probability": lambda weight, bias: (
            weight[0] - weight[1],
            bias[0] - bias[1],
        ),
        "the first class's logit isn't subtracted": lambda weight, bias: (weight[1], bias[1]),
        "the two are added; only their difference counts": lambda weight, bias: (
            weight[0] + weight[1],
            bias[0] + bias[1],
        ),
        "the mean of both; only their difference counts": lambda weight, bias: (weight.mean(axis=0), bias.mean()),
        "half of it: the difference isn't divided by 2": lambda weight, bias: (
            (weight[1] - weight[0]) / 2,
            (bias[1] - bias[0]) / 2,
        ),
    },
)
def one_logit(weight, bias):
    return np.diff(weight, axis=0)[0], np.diff(bias)[0]


@exercise(
    lambda rng: (round(rng.uniform(0.5, 5), 1), round(rng.uniform(6, 20), 1)),
    mistakes={
        "alarm and miss are swapped: the dearer a miss, the sooner one says yes": lambda alarm, miss: (
            miss / (alarm + miss)
        ),
        "that is the odds; the probability divides by the sum of both": lambda alarm, miss: alarm / miss,
        "that is the difference; where both cost the same on average is asked for": lambda alarm, miss: miss - alarm,
        "upside down": lambda alarm, miss: (alarm + miss) / alarm,
        "costs play a role: ½ is right only if both are alike": lambda alarm, miss: 0.5,
    },
)
def threshold(alarm, miss):
    return 1 / (1 + miss / alarm)


@exercise(
    lambda rng: (rng.uniform(0.05, 0.95, size=3).round(2), round(rng.uniform(2, 9), 1)),
    mistakes={
        "the weight is missing": lambda q, w: np.log(q / (1 - q)),
        "the weight isn't in the logarithm": lambda q, w: np.log(q / (1 - q)) + w,
        "the weight multiplies the logit; it multiplies the odds": lambda q, w: w * np.log(q / (1 - q)),
        "the sign: the odds are q to 1 − q": lambda q, w: np.log((1 - q) / q) + np.log(w),
        "the sign: a weight above 1 raises the logit": lambda q, w: np.log(q / (1 - q)) - np.log(w),
        "that is the probability; its logit is asked for": lambda q, w: w * q / (w * q + 1 - q),
        "that is the odds; their logarithm is missing": lambda q, w: w * q / (1 - q),
    },
)
def best_logit(q, w):
    return np.log(w * q) - np.log1p(-q)


@exercise(
    lambda rng: (int(rng.integers(3, 50)), round(rng.uniform(0.05, 0.4), 2)),
    mistakes={
        "the right class's own share of ε is missing: it has 1 − ε + ε/C": lambda classes, smoothing: np.log(
            (1 - smoothing) * classes / smoothing
        ),
        "ε is shared among all C classes, not among C − 1": lambda classes, smoothing: np.log(
            (1 - smoothing) * (classes - 1) / smoothing
        ),
        "the logarithm is missing": lambda classes, smoothing: 1 + classes * (1 - smoothing) / smoothing,
        "the sign: the right class is above the others": lambda classes, smoothing: (
            -np.log1p(classes * (1 - smoothing) / smoothing)
        ),
        "ε isn't divided by the number of classes": lambda classes, smoothing: np.log(1 / smoothing),
        "that is the right class's log p alone; the others' is to be subtracted": lambda classes, smoothing: np.log(
            1 - smoothing + smoothing / classes
        ),
        "that is the odds of right against all others together": lambda classes, smoothing: np.log(
            (1 - smoothing + smoothing / classes) / (smoothing - smoothing / classes)
        ),
    },
)
def optimal_gap(classes, smoothing):
    share = smoothing / classes
    return np.log(1 - smoothing + share) - np.log(share)


def _predictions(rng):
    """Confidences in few bins, none at an edge."""
    confidence = (rng.integers(3, 7, size=24) + rng.uniform(0.1, 0.9, size=24)) / 10
    return confidence.round(3), rng.integers(0, 2, 24)


def _error(weigh, size=np.abs, over=lambda values: values.sum()):
    """An answer that sums what is wrong in each bin, weighed."""

    def answer(confidence, correct, bins=10):
        which = np.minimum((confidence * bins).astype(int), bins - 1)
        found = [
            weigh(which == b) * size(correct[which == b].mean() - confidence[which == b].mean())
            for b in np.unique(which)
        ]
        return over(np.array(found))

    return answer


@exercise(
    {
        "confidences inside the bins": _predictions,
        "a confidence of exactly 1": lambda rng: (
            np.append(_predictions(rng)[0], 1.0),
            np.append(rng.integers(0, 2, 24), 0),
        ),
    },
    mistakes={
        "each bin counts by its share of the rows; here all bins count alike": _error(lambda rows: 1.0, over=np.mean),
        "the bins aren't weighed by their share of the rows": _error(lambda rows: 1.0),
        "the bins are weighed by their number of rows; divide by all rows": _error(lambda rows: rows.sum()),
        "errors of both signs cancel: take the absolute value of each bin's": _error(
            lambda rows: rows.mean(), size=lambda d: d
        ),
        "the errors are squared; their absolute values are asked for": _error(lambda rows: rows.mean(), size=np.square),
        "that is the largest error; their weighted mean is asked for": _error(lambda rows: 1.0, over=np.max),
        "each row is a bin of its own": lambda confidence, correct, bins=10: np.abs(correct - confidence).mean(),
        "a confidence of 1 has fallen out of the last bin": lambda confidence, correct, bins=10: (
            _error(lambda rows: rows.mean())(confidence[confidence < 1], correct[confidence < 1])
            * np.mean(confidence < 1)
        ),
    },
)
def expected_error(confidence, correct, bins=10):
    error = 0.0
    for low in range(bins):
        rows = (confidence >= low / bins) & ((confidence < (low + 1) / bins) | (low == bins - 1))
        error += abs(np.sum(correct[rows] - confidence[rows])) / len(correct)
    return error


def _logits(rng):
    return rng.normal(scale=2, size=(6, 4)), rng.integers(0, 4, 6), round(rng.uniform(1.5, 3), 2)


def _pulled(z, t, temperature, cold=False):
    """The label's logit less the mean of all under the model's probabilities, for each row."""
    p = np.exp(z if cold else z / temperature)
    return z[np.arange(len(t)), t] - (p / p.sum(axis=1, keepdims=True) * z).sum(axis=1)


@exercise(
    _logits,
    forbidden="backward grad value_and_grad jacobian cross_entropy",
    mistakes={
        "the sign is the other one": lambda z, t, temperature: -_pulled(z, t, temperature).mean() / temperature**2,
        "the derivative of z/T is −z/T², so T is squared": lambda z, t, temperature: (
            _pulled(z, t, temperature).mean() / temperature
        ),
        "T² is missing: the inner derivative is −z/T²": lambda z, t, temperature: _pulled(z, t, temperature).mean(),
        "the mean over the rows is missing: that is their sum": lambda z, t, temperature: (
            _pulled(z, t, temperature).sum() / temperature**2
        ),
        "the rows aren't averaged": lambda z, t, temperature: _pulled(z, t, temperature) / temperature**2,
        "the probabilities are those at T = 1": lambda z, t, temperature: (
            _pulled(z, t, temperature, cold=True).mean() / temperature**2
        ),
        "the onehot is missing": lambda z, t, temperature: (
            (_pulled(z, t, temperature) - z[np.arange(len(t)), t]).mean() / temperature**2
        ),
    },
)
def gradient_in_temperature(z, t, temperature):
    p = ops.softmax(z / temperature)
    return -((p - np.eye(z.shape[1])[t]) * z).sum(axis=1).mean() / temperature**2
