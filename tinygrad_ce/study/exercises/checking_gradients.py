"""Exercises of 05 · Checking gradients."""

import numpy as np

from tinygrad_ce import losses, ops, transforms
from tinygrad_ce.study.exercise import exercise

ENGINE = "backward grad value_and_grad jacobian gradcheck"


def _function(rng):
    """A function with all its derivatives, a place, and a step that is small and no rounding."""
    a, b = rng.uniform(0.5, 2, size=2)
    return lambda x: np.exp(a * x) * np.cos(b * x), round(rng.uniform(0.5, 1.5), 2), 1e-3


@exercise(
    _function,
    forbidden=ENGINE,
    mistakes={
        "that is a one-sided difference, forwards: step to both sides": lambda f, x, h: (f(x + h) - f(x)) / h,
        "that is a one-sided difference, backwards: step to both sides": lambda f, x, h: (f(x) - f(x - h)) / h,
        "it is divided by h; the two points are 2h apart": lambda f, x, h: (f(x + h) - f(x - h)) / h,
        "it isn't divided by the step": lambda f, x, h: f(x + h) - f(x - h),
        "it is multiplied by the step: brackets around (2 * h) are missing": lambda f, x, h: (
            (f(x + h) - f(x - h)) / 2 * h
        ),
        "the sign: f(x + h) comes first": lambda f, x, h: (f(x - h) - f(x + h)) / (2 * h),
        "the two values are added; their difference is asked for": lambda f, x, h: (f(x + h) + f(x - h)) / (2 * h),
        "that is the second derivative": lambda f, x, h: (f(x + h) - 2 * f(x) + f(x - h)) / h**2,
    },
    rtol=1e-9,
)
def central(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


@exercise(
    lambda rng: (int(rng.integers(1, 9)),),
    mistakes={
        "that balances hⁿ with ε; the rounding is like ε/h": lambda n: 1 / n,
        "that is the power of the error that is left, hⁿ": lambda n: n / (n + 1),
        "upside down: h is a root of ε": lambda n: n + 1,
        "one too many: hⁿ balanced with ε/h": lambda n: 1 / (n + 2),
        "the sign: a smaller ε allows a smaller step": lambda n: -1 / (n + 1),
    },
)
def best_power(n):
    return 1 / (n + 1)


def row_loss(z, label=1):
    """The cross-entropy of a row, also of complex logits."""
    m = z.real.max()
    return np.log(np.exp(z - m).sum()) + m - z[label]


def _entrywise(derivative, dtype=complex):
    """An answer that asks for each entry by itself: ``derivative(f, z, unit, h)`` for a unit step in that entry."""

    def answer(f, x, h=1e-20):
        gradient = np.empty(x.shape)
        for i in np.ndindex(x.shape):
            unit = np.zeros(x.shape)
            unit[i] = 1
            gradient[i] = derivative(f, x.astype(dtype), unit, h)
        return gradient

    return answer


@exercise(
    lambda rng: (row_loss, rng.normal(size=3).round(2)),
    forbidden=ENGINE,
    mistakes={
        "the division by h is missing": _entrywise(lambda f, z, unit, h: f(z + 1j * h * unit).imag),
        "the step isn't imaginary, h in the place of ih: at 1e-20 nothing of it is left": _entrywise(
            lambda f, z, unit, h: f(z + h * unit).imag / h
        ),
        "that is the real part; the derivative is in the imaginary one": _entrywise(
            lambda f, z, unit, h: f(z + 1j * h * unit).real / h
        ),
        "that is a real difference, which has not so many digits": _entrywise(
            lambda f, z, unit, h: (f(z + 1e-5 * unit) - f(z - 1e-5 * unit)).real / 2e-5
        ),
        "the sign is the other one": _entrywise(lambda f, z, unit, h: f(z - 1j * h * unit).imag / h),
    },
    rtol=1e-12,
    atol=0,
)
def complex_gradient(f, x, h=1e-20):
    return transforms.value_and_grad(lambda z: losses.cross_entropy(z, 1))(x)[1]


def _batch_loss(rng):
    labels = rng.integers(0, 3, 4)
    return lambda z: float(losses.cross_entropy(z, labels)), rng.normal(size=(4, 3))


H = np.finfo(float).eps ** (1 / 3)


@exercise(
    _batch_loss,
    forbidden=ENGINE,
    mistakes={
        "that is a one-sided difference: step to both sides": _entrywise(
            lambda f, x, unit, h: (f(x + H * unit) - f(x)) / H, float
        ),
        "it is divided by h; the two points are 2h apart": _entrywise(
            lambda f, x, unit, h: (f(x + H * unit) - f(x - H * unit)) / H, float
        ),
        "it isn't divided by the step": _entrywise(lambda f, x, unit, h: f(x + H * unit) - f(x - H * unit), float),
        "the sign: f(x + h) comes first": _entrywise(
            lambda f, x, unit, h: (f(x - H * unit) - f(x + H * unit)) / (2 * H), float
        ),
        "a whole row steps at once; one entry at a time": lambda f, x: np.array(
            [[(f(x + H * np.eye(4)[:, [i]]) - f(x - H * np.eye(4)[:, [i]])) / (2 * H)] * 3 for i in range(4)]
        ),
        "a whole column steps at once; one entry at a time": lambda f, x: np.array(
            [[(f(x + H * np.eye(3)[j]) - f(x - H * np.eye(3)[j])) / (2 * H) for j in range(3)]] * 4
        ),
    },
    rtol=1e-8,
    atol=5e-10,
)
def numerical_gradient(f, x):
    return _entrywise(
        lambda f, x, u, h: (8 * (f(x + 1e-3 * u) - f(x - 1e-3 * u)) - (f(x + 2e-3 * u) - f(x - 2e-3 * u))) / 12e-3,
        float,
    )(f, x)


def _asked(answer, pairs, noise):
    """What is said of each pair of gradients."""
    return [answer(analytic.copy(), numeric.copy(), noise) for analytic, numeric in pairs]


def _pairs(rng):
    """Gradients that agree, and that don't, with the noise of the differences."""
    large = np.append(rng.uniform(500, 1000), rng.uniform(1, 2, size=2)) * rng.choice([-1, 1])
    small, one = np.array([1.0, 2e-15, -1e-14]), np.array([0.0, 1.0, 0.0])
    pairs = [
        (large, large * (1 + 3e-7)),  # within a relative 1e-6
        (large, large + 1e-4 * one),  # little beside the largest entry, but not beside its own
        (large, large - 1e-4 * one),
        (small, np.array([1.0, 0.0, 0.0])),  # rounding alone
        (np.full(3, 1e-2), 1e-2 + 1e-7 * one),  # little, but not beside a hundredth
        (large, -large),
        (np.zeros(3), one),
    ]
    return [pairs[i] for i in rng.permutation(len(pairs))], 1e-10


def _agrees(bound, join=np.all, size=np.abs):
    return lambda a, b, noise: bool(join(size(a - b) <= bound(np.maximum(np.abs(a), np.abs(b)), noise)))


@exercise(
    _pairs,
    use=_asked,
    forbidden="allclose isclose assert_allclose",
    mistakes={
        "the noise is missing, so rounding alone counts as a mistake": _agrees(lambda larger, noise: 1e-6 * larger),
        "the relative part is missing": _agrees(lambda larger, noise: noise),
        "it is relative to the largest entry of all, which hides mistakes in the small ones": _agrees(
            lambda larger, noise: 1e-6 * larger.max() + noise
        ),
        "one entry that agrees is enough there; all are to": _agrees(
            lambda larger, noise: 1e-6 * larger + noise, join=np.any
        ),
        "the absolute value of the difference is missing": _agrees(
            lambda larger, noise: 1e-6 * larger + noise, size=lambda d: d
        ),
        "1e-6 is taken as an absolute difference": _agrees(lambda larger, noise: 1e-6 + noise),
        "true and false are swapped": lambda a, b, noise: (
            not np.all(np.abs(a - b) <= 1e-6 * np.maximum(np.abs(a), np.abs(b)) + noise)
        ),
    },
)
def agrees(analytic, numeric, noise):
    return all(abs(a - b) <= 1e-6 * max(abs(a), abs(b)) + noise for a, b in zip(analytic, numeric, strict=True))


def _kink(rng):
    h = round(rng.uniform(0.05, 0.5), 2)
    return np.sort(rng.uniform(-h, h, size=5)), h


@exercise(
    _kink,
    forbidden="relu",
    mistakes={
        "it is divided by h; the two points are 2h apart": lambda x, h: (x + h) / h,
        "that is the difference of the two values, not divided by 2h": lambda x, h: x + h,
        "the left point gives relu 0 here, so nothing of x − h is left": lambda x, h: np.ones_like(x),
        "that is relu's derivative, a step": lambda x, h: (x > 0) * 1.0,
        "the sign: the right point is x + h": lambda x, h: (h - x) / (2 * h),
        "that is a ramp through 0; at x = 0 it is ½": lambda x, h: x / (2 * h),
        "that is the one-sided difference": lambda x, h: (np.maximum(x + h, 0) - np.maximum(x, 0)) / h,
    },
)
def ramp(x, h):
    return (ops.relu(x + h) - ops.relu(x - h)) / (2 * h)
