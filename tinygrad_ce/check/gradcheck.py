"""Gradient checks: the rules against numeric derivatives, entry by entry, with the likely cause of what is wrong."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.check import differences
from tinygrad_ce.check.differences import Closer, Derivative, Line, central, power_of_two
from tinygrad_ce.check.entry import Entry
from tinygrad_ce.check.report import GradientError, Report
from tinygrad_ce.engine.constants import plain
from tinygrad_ce.tensor import Tensor
from tinygrad_ce.transforms import gradients

WHOLE = 1 << 18  # numbers in a Jacobian, above which only directions are checked unless it is asked for
LOOKED_INTO = 64  # columns that are looked into at most; where so many disagree, the rest adds nothing


class Settings(NamedTuple):
    """How finely a dtype can be checked."""

    step: float  # of the difference, relative to the larger of 1 and the entry
    rtol: float  # what a right rule's relative error stays below
    eps: float  # the rounding of one number


# The error of the four-point difference is step⁴ by truncation and eps / step by rounding: the best step is eps^(1/5).
SETTINGS = {
    np.dtype(np.float64): Settings(7e-4, 1e-7, 2.0**-52),
    np.dtype(np.float32): Settings(3e-2, 1e-3, 2.0**-23),
    np.dtype(np.float16): Settings(0.25, 3e-2, 2.0**-10),
}

Invariant = Callable[..., Any]

# What a gradient must fulfil whatever its numbers: each gives numbers that should be 0, and the size of their terms.
INVARIANTS: dict[str, Invariant] = {
    "rows sum to 0": lambda x, dx: (dx.sum(axis=-1), np.abs(dx).sum(axis=-1)),
    "columns sum to 0": lambda x, dx: (dx.sum(axis=0), np.abs(dx).sum(axis=0)),
    "orthogonal to the input": lambda x, dx: (np.sum(x * dx), np.sum(np.abs(x * dx))),
}


def gradcheck(
    f: Callable[..., Any],
    inputs: Any,
    *,
    order: int = 1,
    mode: str | None = None,
    directions: int = 4,
    method: str = "differences",
    step: float | None = None,
    rtol: float | None = None,
    invariants: Sequence[str] | Mapping[str, Invariant] = (),
    seed: int = 0,
    raises: bool = True,
) -> Report:
    r"""Compare the gradient of f, as its rules give it, with numeric derivatives.

    An entry :math:`\partial f_k / \partial x_i` of the Jacobian agrees when the rule and
    :math:`(8 (f_{+h} - f_{-h}) - (f_{+2h} - f_{-2h})) / 12 h` differ by at most rtol times the larger of them,
    plus what rounding :math:`f_k` by a few eps does to the difference. So small entries are judged by their own size: a
    gradient of zeros fails at cross-entropy's logits [30, 0]. An entry that doesn't agree is looked into, with many
    steps (was it the step?) and from both sides (is it a kink?). At a kink any slope between those of the two sides is
    right, and the report names it.

    It also checks that f and its rules leave their inputs unchanged, that two runs agree in every bit, and that
    gradients have their inputs' shapes and dtypes.

    Args:
        f: a function of Tensors that returns a Tensor or a list of them.
        inputs: an array or Tensor, or a list of them; every floating one is differentiated in, in its own dtype.
        order: 1, or 2 to check the gradient of the gradient.
        mode: "jacobian": every entry; "directions": the derivatives along some random directions, and every entry where
            one of them disagrees; None takes the Jacobian up to 262,144 entries.
        directions: how many, in each input; no component of them is near 0.
        method: "differences", or "complex" for the complex step, which is right to 1e-14: f is then called with plain
            complex arrays, and must be made of analytic functions (no abs, max, comparisons).
        step: h relative to max(1, abs(x)); by dtype unless given (7e-4 in float64, 0.03 in float32).
        rtol: the relative tolerance; by dtype unless given (1e-7 in float64, 1e-3 in float32; complex step 1e-11).
        invariants: what the gradient must fulfil besides: names ("rows sum to 0", "columns sum to 0", "orthogonal to
            the input"), or functions ``g(*inputs, *gradients)`` by name, which return numbers that should be 0 and the
            size of what they were made of. They are given the gradients of the sum of all outputs.
        seed: of directions and cotangents.
        raises: whether a disagreement raises GradientError; otherwise look at the report.

    Returns:
        A Report: true if all agree; printing it shows the worst entries, kinks, and the likely cause.

    Raises:
        GradientError: something disagrees; the first line tells input, index, both numbers and the likely cause.
        ValueError, TypeError: an option out of range, nothing to differentiate in, or f returns no Tensor.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> bool(tg.gradcheck(tg.softmax, np.array([0.1, 2.0, -1.0])))
        True
        >>> bool(tg.gradcheck(lambda x: tg.cross_entropy(x, [0]), np.array([[30.0, 0.0]]), order=2))
        True
        >>> tg.gradcheck(lambda x: tg.relu(x), np.array([0.0, 1.0])).kinks[0].slopes
        (0.0, 1.0)

    Source:
        Fornberg, Generation of finite difference formulas on arbitrarily spaced grids, 1988.
    """
    _check_choice("order", order, (1, 2))
    _check_choice("mode", mode, (None, "jacobian", "directions"))
    _check_choice("method", method, ("differences", "complex"))
    several = isinstance(inputs, list | tuple) and any(isinstance(x, np.ndarray | Tensor) for x in inputs)
    given = inputs if several else [inputs]
    check = _Check(f, [plain(x) for x in given], order, seed)
    check.set_tolerances(step, rtol, method)
    if mode is None:
        mode = "jacobian" if check.size <= WHOLE else "directions"
    report = check.along(directions) if mode == "directions" else check.jacobian(method)
    if mode == "directions" and not report and check.size <= 16 * WHOLE:
        report = check.jacobian(method)  # slower, but it says where, and knows a kink from a wrong rule
    report.broken += check.repeat()
    report.broken += check.invariants(invariants)
    if raises and not report:
        raise GradientError(report)
    return report


def _check_choice(name: str, value: Any, valid: tuple[Any, ...]) -> None:
    if value not in valid:
        raise ValueError(f"gradcheck: {name} is {value!r}, expected one of {', '.join(map(repr, valid))}")


def gradgradcheck(f: Callable[..., Any], inputs: Any, **options: Any) -> Report:
    """gradcheck of the gradient: whether the rules' own derivatives are right. Its options are gradcheck's.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> bool(tg.gradgradcheck(tg.softmax, np.array([0.1, 2.0, -1.0])))
        True
    """
    return gradcheck(f, inputs, order=2, **options)


def _listed(y: Any) -> list[Any]:
    return list(y) if isinstance(y, list | tuple) else [y]


def _outputs(y: Any) -> list[Tensor]:
    for part in _listed(y):
        if not isinstance(part, Tensor):
            raise TypeError(f"gradcheck: f returned {type(part).__name__}, expected a Tensor or a list of them")
    return _listed(y)


class _Check:
    """A function at a point, and what its rules say there."""

    def __init__(self, f: Callable[..., Any], arrays: list[np.ndarray], order: int, seed: int) -> None:
        self.order = order
        self.rng = np.random.default_rng(seed)
        self.smooth = [i for i, x in enumerate(arrays) if x.dtype.kind == "f"]
        if not self.smooth:
            raise ValueError("gradcheck: no input is floating, so there is nothing to differentiate in")
        if order == 2:
            f, arrays = _with_cotangents(f, arrays, self.smooth, self.rng)
            self.smooth = [i for i, x in enumerate(arrays) if x.dtype.kind == "f"]
        self.f, self.arrays = f, arrays
        self.leaves, self.outputs = self.run()
        self.looked_into = 0
        self.places = [(k, at) for k, y in enumerate(self.outputs) for at in np.ndindex(y.shape)]
        self.count = len(self.places)
        self.size = self.count * sum(arrays[i].size for i in self.smooth)

    def set_tolerances(self, step: float | None, rtol: float | None, method: str) -> None:
        """Those of the coarsest dtype that takes part, unless given."""
        dtypes = [self.arrays[i].dtype for i in self.smooth] + [y.dtype for y in self.outputs]
        usual = max((SETTINGS[d] for d in dtypes if d in SETTINGS), default=SETTINGS[np.dtype(np.float64)])
        exact = method == "complex" and usual.eps < 1e-10
        self.settings = Settings(step or usual.step, rtol or (1e-11 if exact else usual.rtol), usual.eps)

    def run(self) -> tuple[list[Tensor], list[Tensor]]:
        """f on Tensors that require grad."""
        leaves = [Tensor(x, requires_grad=i in self.smooth) for i, x in enumerate(self.arrays)]
        return leaves, _outputs(self.f(*leaves))

    def analytic(self, leaves: list[Tensor], outputs: list[Tensor], cotangents: list[np.ndarray]) -> list[np.ndarray]:
        """The gradients of every smooth input, by the rules."""
        wanted = [leaves[i] for i in self.smooth]
        with np.errstate(all="ignore"):
            return [dx._value for dx in _gradients(outputs, wanted, cotangents, create_graph=False)]

    def flat(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """All outputs where the inputs are others, as one array in double precision."""
        with warnings.catch_warnings(), np.errstate(all="ignore"):  # a step may leave the simplex, or f's domain
            warnings.simplefilter("ignore", UserWarning)
            ys = _outputs(self.f(*(Tensor(a) for a in arrays)))
        return np.concatenate([y._value.ravel() for y in ys]).astype(float)

    def line(self, directions: Mapping[int, np.ndarray]) -> Line:
        """The outputs as a function of how far some inputs have moved, each along its direction."""

        def moved(t: float) -> np.ndarray:
            arrays = [
                a + (t * directions[i]).astype(a.dtype) if i in directions else a for i, a in enumerate(self.arrays)
            ]
            try:
                return self.flat(arrays)
            except (ValueError, ArithmeticError):  # outside of where f is defined; a smaller step may stay inside
                return np.full(self.count, np.nan)

        return functools.cache(moved)  # the steps of a sweep are doubled from one to the next, and meet again

    def report(self, what: str) -> Report:
        return Report(self.order, [self.arrays[i].dtype for i in self.smooth], what)

    def jacobian(self, method: str) -> Report:
        """Every entry of the Jacobian."""
        rules = [np.empty((self.count, self.arrays[i].size)) for i in self.smooth]
        factors = _far_from_zero(self.rng, self.count)  # a rule must not rely on a cotangent of 1
        for k, factor in enumerate(factors.tolist()):
            unit = np.zeros(self.count)
            unit[k] = factor
            for rows, dx in zip(rules, self.analytic(self.leaves, self.outputs, self.split(unit)), strict=True):
                rows[k] = dx.ravel() / float(self.outputs[0].dtype.type(factor))
        report = self.report("every entry of the Jacobian")
        for i, rows in zip(self.smooth, rules, strict=True):
            self._columns(i, rows, method, report)
        report.entries += self._ties(report.kinks)
        return report

    def split(self, flat: np.ndarray) -> list[np.ndarray]:
        """A flat array as cotangents of the outputs."""
        parts = np.split(flat, np.cumsum([y.size for y in self.outputs])[:-1])
        return [part.reshape(y.shape).astype(y.dtype) for part, y in zip(parts, self.outputs, strict=True)]

    def _columns(self, i: int, rows: np.ndarray, method: str, report: Report) -> None:
        """Compare one input's columns; look into those that disagree."""
        x = self.arrays[i]
        # Where terms cancel within a rule, their rounding is left.
        floor = 4 * self.settings.eps * np.max(np.abs(np.where(np.isfinite(rows), rows, 0)), axis=1, initial=0.0)
        for place, index in enumerate(np.ndindex(x.shape)):
            unit = np.zeros(x.shape)
            unit[index] = 1.0
            h = power_of_two(self.settings.step * max(1.0, abs(float(x[index]))))
            line = self.line({i: unit})
            derivative = central(line, h, self.settings.eps)
            entries = self._entries(i, index, rows[:, place], derivative, floor)
            if method == "complex":
                entries = self._exact(entries, self._entries(i, index, rows[:, place], self._complex(i, unit), floor))
            doubtful = [not e.excess <= 1 or e.unresolved or r for e, r in zip(entries, derivative.rough, strict=True)]
            if method != "complex" and any(doubtful) and self.looked_into < LOOKED_INTO:
                self.looked_into += 1
                entries = self._looked_into(entries, doubtful, line, h, floor)
            report.entries += entries

    def _entries(
        self, i: int, index: tuple[int, ...], column: np.ndarray, derivative: Derivative, floor: np.ndarray
    ) -> list[Entry]:
        """The rule's column beside the differences'."""
        rtol, doubts = self.settings.rtol, (derivative.uncertainty + floor).tolist()
        return [
            Entry(i, index, a, n, rtol * max(abs(a), abs(n)) + doubt, output)
            for a, n, doubt, output in zip(column.tolist(), derivative.value.tolist(), doubts, self.places, strict=True)
        ]

    def _looked_into(
        self, entries: list[Entry], doubtful: list[bool], line: Line, h: float, floor: np.ndarray
    ) -> list[Entry]:
        """Those in doubt, once more: by the best of many steps, and from both sides."""
        eps, rtol = self.settings.eps, self.settings.rtol
        near = differences.look_closer(line, h, eps)
        found = list(entries)
        for k in np.flatnonzero(doubtful).tolist():
            entry = entries[k]
            # In single precision a sweep is no finer than the step was: it can excuse, but not accuse.
            if not entry.excess <= 1 or (entry.unresolved and eps < 1e-10):
                a, n = entry.analytic, float(near.best.value[k])
                allowed = rtol * max(abs(a), abs(n)) + float(near.best.uncertainty[k] + floor[k])
                entry = entry._replace(numeric=n, allowed=allowed, note="step")
            found[k] = _singular(entry, near, k, rtol, self.order)
        return found

    def _ties(self, kinks: list[Entry]) -> Iterator[Entry]:
        """Where an output has several kinks, as max has at a tie: all of its entries there, moved together."""
        for output in dict.fromkeys(entry.output for entry in kinks):
            tied = [entry for entry in kinks if entry.output == output and entry.excess <= 1]
            if len(tied) < 2:
                continue
            directions = {e.input: np.zeros(self.arrays[e.input].shape) for e in tied}
            for entry in tied:
                directions[entry.input][entry.at] = 1.0
            line, k, h = self.line(directions), self.places.index(output), power_of_two(self.settings.step)
            sides = [differences.one_sided(line, h, self.settings.eps, side) for side in (-1, 1)]
            low, high = sorted(float(side.value[k]) for side in sides)
            slack = float(sides[0].uncertainty[k] + sides[1].uncertainty[k])
            slack += self.settings.rtol * max(abs(low), abs(high))
            total = sum(entry.analytic for entry in tied)
            nearest = min(max(total, low), high)
            yield Entry(tied[0].input, tied[0].at, total, nearest, max(slack, 1e-300), output, note="together")

    def _exact(self, usual: list[Entry], exact: list[Entry]) -> list[Entry]:
        """Entries by the complex step, if it says what the differences say."""
        for near, entry in zip(usual, exact, strict=True):
            if not entry.excess <= 1 and near.excess <= 1 and not near.unresolved:
                raise ValueError(
                    f"gradcheck: method 'complex' doesn't fit f: at {entry.place} it gives {entry.numeric:.6g}, but "
                    f"differences and the rule {near.analytic:.6g}; abs, max and comparisons have no complex derivative"
                )
        return exact

    def _complex(self, i: int, unit: np.ndarray) -> Derivative:
        def line(t: complex) -> np.ndarray:
            arrays = [a + t * unit if k == i else a for k, a in enumerate(self.arrays)]
            try:
                return np.concatenate([np.asarray(y).ravel() for y in _listed(self.f(*arrays))])
            except (TypeError, ValueError, AttributeError) as error:
                raise ValueError(
                    f"gradcheck: method 'complex' calls f with plain complex arrays, which it doesn't take: {error}"
                ) from error

        if self.order == 2:
            raise ValueError("gradcheck: method 'complex' is for order 1; order 2 needs Tensors, which are real")
        return differences.complex_step(line, max(1.0, float(np.abs(self.arrays[i][unit > 0]).max())))

    def along(self, directions: int) -> Report:
        """Derivatives along random directions, of the outputs weighted at random."""
        report = self.report(f"{directions} directions in each input")
        eps, rtol = self.settings.eps, self.settings.rtol
        for _ in range(directions):
            v = _far_from_zero(self.rng, self.count)
            found = self.analytic(self.leaves, self.outputs, self.split(v))
            for i, dx in zip(self.smooth, found, strict=True):
                x = self.arrays[i]
                u = _far_from_zero(self.rng, x.shape) * np.maximum(1.0, np.abs(x))
                derivative = central(self.line({i: u}), power_of_two(self.settings.step), eps)
                terms = dx.astype(float) * u
                a, n = float(np.sum(terms)), float(derivative.value @ v)
                doubt = float(derivative.uncertainty @ np.abs(v)) + 4 * eps * float(np.sum(np.abs(terms)))
                report.entries.append(Entry(i, (), a, n, rtol * max(abs(a), abs(n)) + doubt, note="direction"))
        return report

    def repeat(self) -> list[str]:
        """What must hold whatever the numbers are: nothing is written to, and a second run gives the same bits."""
        ones = self.split(np.ones(self.count))
        others, outputs = self.run()
        leaves, again = self.run()  # two fresh graphs: what a forward keeps for its rules is there in both
        first, second = self.analytic(others, outputs, ones), self.analytic(leaves, again, ones)
        broken = [
            f"input {i} was changed by f or by a rule, which may write to no argument"
            for i, x in enumerate(self.arrays)
            if any(group[i]._value.tobytes() != x.tobytes() for group in (self.leaves, others, leaves))
        ]
        if [y._value.tobytes() for y in outputs] != [y._value.tobytes() for y in self.outputs]:
            broken.append("f gives other numbers when it is called twice; is something in it random, or kept?")
        elif [dx.tobytes() for dx in first] != [dx.tobytes() for dx in second]:
            broken.append("the gradient has other bits the second time; is something in a rule random, or kept?")
        return broken

    def invariants(self, wanted: Sequence[str] | Mapping[str, Invariant]) -> list[str]:
        """The invariants that the gradient of the sum of all outputs breaks."""
        named = wanted if isinstance(wanted, Mapping) else {name: INVARIANTS.get(name) for name in wanted}
        found = self.analytic(self.leaves, self.outputs, self.split(_far_from_zero(self.rng, self.count)))
        broken = []
        for name, invariant in named.items():
            if invariant is None:
                raise ValueError(f"gradcheck: no invariant {name!r}; there are {', '.join(map(repr, INVARIANTS))}")
            zero, size = (np.asarray(part, float) for part in invariant(*self.arrays, *found))
            off = np.abs(zero) > 256 * self.settings.eps * size
            if off.any():
                index = tuple(int(k) for k in np.argwhere(off)[0])
                broken.append(f"the gradient breaks {name!r}: {zero[index]:.3g} at {list(index)}, expected 0")
        return broken


def _far_from_zero(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """Random numbers of either sign, none close to 0: an error in any component shows."""
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape))


def _singular(entry: Entry, near: Closer, k: int, rtol: float, order: int) -> Entry:
    """The entry, with a note if it stands at a jump, at a kink or where f is rough: differences mislead there."""
    if near.jumps[k]:  # the gradient of a kink jumps, and has no derivative there
        return entry._replace(note="jump", allowed=np.inf if order == 2 else 0.0)
    slopes = (float(near.left.value[k]) + 0.0, float(near.right.value[k]) + 0.0)
    low, high = sorted(slopes)
    doubt = float(near.left.uncertainty[k] + near.right.uncertainty[k])
    if high - low > 10 * doubt + 0.01 * max(abs(low), abs(high)):
        slack = doubt + rtol * max(abs(low), abs(high))
        inside = low - slack <= entry.analytic <= high + slack
        return entry._replace(note="kink", slopes=slopes, allowed=np.inf if inside else 0.0)
    if near.best.rough[k] and entry.allowed > _tolerable(rtol) * max(abs(entry.analytic), abs(entry.numeric)):
        return entry._replace(note="rough", allowed=0.0)
    return entry if entry.excess <= 1 else entry._replace(note="")


def _tolerable(rtol: float) -> float:
    """How much of an entry differences may leave open: a thousandth, or half of it in single precision."""
    return 1e-3 if rtol < 1e-5 else 0.5


def _with_cotangents(
    f: Callable[..., Any], arrays: list[np.ndarray], smooth: list[int], rng: np.random.Generator
) -> tuple[Callable[..., Any], list[np.ndarray]]:
    """The gradient of v · f(x) as a function of x and v, to be checked in its turn."""
    outputs = _outputs(f(*(Tensor(x) for x in arrays)))
    vs = [_far_from_zero(rng, y.shape).astype(y.dtype) for y in outputs]

    def gradient(*given: Tensor) -> list[Tensor]:
        # Differences are taken on Tensors that require no grad; the gradient itself needs ones that do.
        xs = [x if i not in smooth or x.requires_grad else Tensor(x, requires_grad=True) for i, x in enumerate(given)]
        points, cotangents = xs[: len(arrays)], xs[len(arrays) :]
        return _gradients(_outputs(f(*points)), [points[i] for i in smooth], cotangents, create_graph=True)

    return gradient, [*arrays, *vs]


def _gradients(
    outputs: list[Tensor], inputs: list[Tensor], cotangents: Sequence[Any], create_graph: bool
) -> list[Tensor]:
    """The gradients by the rules; 0 where an output doesn't depend on an input."""
    live = [k for k, y in enumerate(outputs) if y.requires_grad]
    found = gradients([outputs[k] for k in live], inputs, [cotangents[k] for k in live], create_graph=create_graph)
    return [Tensor(np.zeros_like(x._value)) if dx is None else dx for x, dx in zip(inputs, found, strict=True)]
