"""Gradient checks: the rules against finite differences, entry by entry."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.example import realise
from tinygrad_ce.primitive import Operator, registry
from tinygrad_ce.reverse import gradients
from tinygrad_ce.tensor import Tensor


class Settings(NamedTuple):
    """How finely a dtype can be checked."""

    step: float  # of the difference, relative to the larger of 1 and the entry
    rtol: float  # what a right rule's relative error stays below
    eps: float  # the rounding of one number


# The error of the four-point difference is step⁴ by truncation and eps / step by rounding: the best step is eps^(1/5).
SETTINGS = {
    np.dtype(np.float64): Settings(7e-4, 1e-7, 2.0**-52),
    np.dtype(np.float32): Settings(3e-2, 1e-3, 2.0**-23),
}


class Entry(NamedTuple):
    """One number of a gradient, by the rule and by differences."""

    input: int
    at: tuple[int, ...]
    analytic: float
    numeric: float
    allowed: float

    @property
    def difference(self) -> float:
        """|analytic - numeric|; infinite where one is nan."""
        difference = abs(self.analytic - self.numeric)
        return difference if difference == difference else np.inf

    @property
    def relative(self) -> float:
        """The difference over the larger of the two."""
        return self.difference / (max(abs(self.analytic), abs(self.numeric)) or 1.0)

    @property
    def excess(self) -> float:
        """The difference in units of what is allowed: above 1 it fails."""
        return self.difference / self.allowed if self.allowed else (np.inf if self.difference else 0.0)


class Report:
    """What a gradient check found: true if every entry agrees, printed as a table of the worst."""

    def __init__(self, entries: Sequence[Entry], order: int, dtypes: Sequence[np.dtype]) -> None:
        self.entries = sorted(entries, key=lambda entry: entry.excess, reverse=True)
        self.order = order
        self.dtypes = dtypes

    @property
    def worst(self) -> Entry | None:
        """The entry furthest outside, or closest to, what is allowed; None if there was nothing to check."""
        return self.entries[0] if self.entries else None

    @property
    def failed(self) -> list[Entry]:
        """The entries that disagree, the worst first."""
        return [entry for entry in self.entries if not entry.excess <= 1]

    @property
    def error(self) -> float:
        """The largest difference, relative to the largest gradient entry of its input."""
        sizes: dict[int, float] = {}
        for e in self.entries:
            sizes[e.input] = max(sizes.get(e.input, 0.0), abs(e.numeric))
        return max((e.difference / (sizes[e.input] or 1.0) for e in self.entries), default=0.0)

    def __bool__(self) -> bool:
        return not self.failed

    def __str__(self) -> str:
        count = len(self.entries)
        verdict = f"all {count} entries agree" if self else f"{len(self.failed)} of {count} entries DISAGREE"
        kinds = ", ".join(sorted({str(dtype) for dtype in self.dtypes}))
        lines = [f"gradcheck: order {self.order}, {kinds}: {verdict}"]
        if self.entries:
            lines.append(f"{'input':>5}  {'index':<12} {'analytic':>15} {'numeric':>15} {'relative error':>14}")
        for entry in self.entries[:5]:
            index = ", ".join(map(str, entry.at))
            lines.append(
                f"{entry.input:>5}  {f'[{index}]':<12} {entry.analytic:>15.8g} {entry.numeric:>15.8g} "
                f"{entry.relative:>14.2e}{'' if entry.excess <= 1 else '  <- wrong'}"
            )
        return "\n".join(lines)

    __repr__ = __str__


class GradientError(AssertionError):
    """A derivative rule disagrees with finite differences; ``report`` tells where."""

    def __init__(self, report: Report) -> None:
        self.report = report
        worst = report.failed[0]
        super().__init__(
            f"input {worst.input}, index {list(worst.at)}: the rule gives {worst.analytic:.8g}, finite differences "
            f"give {worst.numeric:.8g}\n{report}"
        )


def gradcheck(
    f: Callable[..., Any],
    inputs: Any,
    *,
    order: int = 1,
    step: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
    raises: bool = True,
) -> Report:
    r"""Compare the gradient of f by its rules with central finite differences, in every entry of every input.

    The output is contracted with a seeded random cotangent v to a scalar $s = \sum v \cdot f(x)$, and
    $\partial s / \partial x_i \approx (8 (s_{+h} - s_{-h}) - (s_{+2h} - s_{-2h})) / 12 h$. An entry agrees when the two
    differ by no more than rtol of the larger, beside what rounding s by a few eps does to the difference.

    Args:
        f: a function of Tensors that returns a Tensor or a list of them.
        inputs: an array or Tensor, or a list of them; every floating one is differentiated in, in its own dtype.
        order: 1, or 2 to check the gradient of the gradient.
        step: h relative to max(1, abs(x)); by dtype unless given (7e-4 in float64, 0.03 in float32).
        rtol: the relative tolerance; by dtype unless given (1e-7 in float64, 1e-3 in float32).
        seed: of the cotangent.
        raises: whether a disagreement raises GradientError; otherwise look at the report.

    Returns:
        A Report: true if all agree; printing it shows the worst entries.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> bool(tg.gradcheck(tg.softmax, np.array([0.1, 2.0, -1.0])))
        True
        >>> bool(tg.gradcheck(lambda x: tg.cross_entropy(x, [0]), np.array([[30.0, 0.0]]), order=2))
        True

    Source: Fornberg, Generation of finite difference formulas on arbitrarily spaced grids, 1988.
    """
    several = isinstance(inputs, list | tuple) and any(isinstance(x, np.ndarray | Tensor) for x in inputs)
    arrays = [_array(x) for x in (inputs if several else [inputs])]
    if order not in (1, 2):
        raise ValueError(f"gradcheck: order is {order!r}, expected 1 or 2")
    smooth = [i for i, x in enumerate(arrays) if x.dtype.kind == "f"]
    if not smooth:
        raise ValueError("gradcheck: no input is floating, so there is nothing to differentiate in")
    rng = np.random.default_rng(seed)
    if order == 2:
        f, arrays = _with_cotangents(f, arrays, smooth, rng)
        smooth = [i for i, x in enumerate(arrays) if x.dtype.kind == "f"]
    leaves = [Tensor(x, requires_grad=i in smooth) for i, x in enumerate(arrays)]
    outputs = _outputs(f(*leaves))
    vs = [_cotangent(y, rng) for y in outputs]
    found = gradients(*_recorded(outputs, vs, [leaves[i] for i in smooth]), create_graph=False)
    settings = _settings([arrays[i] for i in smooth] + vs)
    settings = Settings(step or settings.step, rtol or settings.rtol, settings.eps)
    entries: list[Entry] = []
    for i, dx in zip(smooth, found, strict=True):
        analytic = np.zeros_like(arrays[i]) if dx is None else dx._data
        entries += _compare(_scalar_function(f, arrays, vs, i), arrays[i], analytic, i, settings)
    report = Report(entries, order, [arrays[i].dtype for i in smooth])
    if raises and not report:
        raise GradientError(report)
    return report


def _settings(arrays: list[np.ndarray]) -> Settings:
    """Those of the coarsest dtype that takes part."""
    return max((SETTINGS[x.dtype] for x in arrays if x.dtype in SETTINGS), default=SETTINGS[np.dtype(np.float64)])


def _array(x: Any) -> np.ndarray:
    return np.asarray(x._data if isinstance(x, Tensor) else x)


def _outputs(y: Any) -> list[Tensor]:
    ys = list(y) if isinstance(y, list | tuple) else [y]
    for k in ys:
        if not isinstance(k, Tensor):
            raise TypeError(f"gradcheck: f returned {type(k).__name__}, expected a Tensor or a list of them")
    return ys


def _cotangent(y: Tensor, rng: np.random.Generator) -> np.ndarray:
    """Random numbers of either sign, none close to 0: an error in any output shows."""
    return np.asarray(rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1, 1], y.shape), y.dtype)


def _recorded(ys: list[Tensor], vs: list[Any], xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Any]]:
    """Outputs that depend on anything at all, the inputs, and the outputs' cotangents."""
    live = [k for k, y in enumerate(ys) if y.requires_grad]
    return [ys[k] for k in live], xs, [vs[k] for k in live]


def _with_cotangents(
    f: Callable[..., Any], arrays: list[np.ndarray], smooth: list[int], rng: np.random.Generator
) -> tuple[Callable[..., Any], list[np.ndarray]]:
    """The gradient of v · f(x) as a function of x and v, to be checked in its turn."""
    vs = [_cotangent(y, rng) for y in _outputs(f(*(Tensor(x) for x in arrays)))]

    def gradient(*given: Tensor) -> list[Tensor]:
        # Differences are taken on Tensors that require no grad; the gradient itself needs ones that do.
        xs = [x if i not in smooth or x.requires_grad else Tensor(x, requires_grad=True) for i, x in enumerate(given)]
        points, cotangents = xs[: len(arrays)], xs[len(arrays) :]
        wanted = [points[i] for i in smooth]
        found = gradients(*_recorded(_outputs(f(*points)), cotangents, wanted), create_graph=True)
        return [x * 0.0 if dx is None else dx for x, dx in zip(wanted, found, strict=True)]

    return gradient, [*arrays, *vs]


def _scalar_function(
    f: Callable[..., Any], arrays: list[np.ndarray], vs: list[np.ndarray], i: int
) -> Callable[[np.ndarray], tuple[float, float]]:
    """s and the sum of its terms' sizes, as a function of the i-th input."""

    def s(x: np.ndarray) -> tuple[float, float]:
        with warnings.catch_warnings():  # a difference may step off the simplex, which a loss would warn about
            warnings.simplefilter("ignore", UserWarning)
            ys = _outputs(f(*(Tensor(x if k == i else a) for k, a in enumerate(arrays))))
        terms = [v.astype(float) * y._data for v, y in zip(vs, ys, strict=True)]
        return sum(float(t.sum()) for t in terms), sum(float(np.abs(t).sum()) for t in terms)

    return s


def _compare(
    s: Callable[[np.ndarray], tuple[float, float]], x: np.ndarray, analytic: np.ndarray, i: int, settings: Settings
) -> Iterator[Entry]:
    for index in np.ndindex(x.shape):
        h = settings.step * max(1.0, abs(float(x[index])))
        values, size = [], 0.0
        for shift in (h, -h, 2 * h, -2 * h):
            moved = x.copy()
            moved[index] += shift
            value, terms = s(moved)
            values.append(value)
            size = max(size, terms)
        one, minus_one, two, minus_two = values
        numeric = (8 * (one - minus_one) - (two - minus_two)) / (12 * h)
        a = float(analytic[index])
        yield Entry(i, index, a, numeric, settings.rtol * max(abs(a), abs(numeric)) + 16 * settings.eps * size / h)


class Check(NamedTuple):
    """An operator's check: the larger relative error over its examples, by order, and the first report that fails."""

    name: str
    examples: int
    first: float
    second: float
    failed: Report | None


def check_operator(name: str, dtype: Any = np.float64, seed: int = 0) -> Check:
    """Check every example of a registered operator at order 1 and 2."""
    operator = registry[name]
    reports = [
        gradcheck(f, inputs, order=order, raises=False)
        for f, inputs in example_calls(operator, dtype, seed)
        for order in (1, 2)
    ]
    failed = next((report for report in reports if not report), None)
    return Check(name, len(operator.examples), _largest(reports, 1), _largest(reports, 2), failed)


def _largest(reports: list[Report], order: int) -> float:
    return max((report.error for report in reports if report.order == order), default=0.0)


def example_calls(operator: Operator, dtype: Any, seed: int) -> Iterator[tuple[Callable[..., Any], list[np.ndarray]]]:
    """Each example of an operator as a function of its drawn inputs, and those inputs in a dtype."""
    for k, example in enumerate(operator.examples):
        inputs, build = realise(example, np.random.default_rng([seed, k]))

        def call(*values: Any, build: Callable[[list[Any]], Any] = build) -> Any:
            args, kwargs = build(list(values))
            return operator(*args, **kwargs)

        yield call, [x.astype(dtype) for x in inputs]
