"""One comparison of somebody's engine with this one: a function's value and gradients, and what is wrong with them."""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.check.causes import Pattern, likely_cause
from tinygrad_ce.check.entry import Entry
from tinygrad_ce.losses.cross_entropy import cross_entropy
from tinygrad_ce.ops import elementwise
from tinygrad_ce.ops.softmax import softmax
from tinygrad_ce.study.engine.protocol import Engine
from tinygrad_ce.study.numbers import number
from tinygrad_ce.tensor import Tensor

OUTPUT = -1  # a mistake in the value itself; others are in the gradient of an input, by its number

REPEATED = "broadcasting isn't undone (no unbroadcast): sum g over the axes along which the operand was repeated"
WRITES = "an in-place write: an operator or a rule writes into an array that isn't its own; make a new one"

OURS = SimpleNamespace(
    Tensor=Tensor, exp=elementwise.exp, log=elementwise.log, tanh=elementwise.tanh, relu=elementwise.relu,
    softmax=softmax, cross_entropy=cross_entropy,
)  # fmt: skip


class Mistake(NamedTuple):
    """What a usual mistake gives: of an input's gradient, from g and the inputs; of the value, from the inputs."""

    of: int
    words: str
    gives: Callable[..., Any]


class Fault(NamedTuple):
    """What is wrong with an engine: of which operator or part, what was seen, and the likely cause."""

    what: str
    seen: str
    cause: str

    def __str__(self) -> str:
        return f"{self.what}: {self.seen}" + (f"\n    likely cause: {self.cause}" if self.cause else "")


class Check(NamedTuple):
    """One thing that an engine is asked for: a function of the engine that yields what is wrong."""

    milestone: int
    title: str
    run: Callable[[Engine], Iterator[Fault]]
    about: tuple[str, ...] = ()  # the operators that it judges; none: the reverse pass
    hint: str = ""  # the likely cause of whatever is wrong, where no mistake fits
    optional: bool = False  # whether a milestone stands without what isn't there


Function = Callable[..., Any]


def compared(
    milestone: int, title: str, f: Function, *inputs: Any, about: str = "", mistakes: Sequence[tuple[Any, ...]] = (),
    hint: str = "", error: str = "", optional: bool = False,
) -> Check:  # fmt: skip
    """The check of a function f(engine, *operands): its value and its gradients are this package's.

    Where no mistake fits, the likely cause is the hint; of an exception that, or else the one for errors.
    """
    known = [Mistake(*mistake) for mistake in mistakes]

    def run(engine: Engine) -> Iterator[Fault]:
        # The product with g, which shows whether a rule forgets g, would tell a wrong * twice.
        return differences(engine, title, f, [np.array(x, float) for x in inputs], known, hint, ones="mul" in about)

    return Check(milestone, title, run, tuple(about.split()), hint or error, optional)


class Outcome(NamedTuple):
    """What a function and its reverse pass leave."""

    output: np.ndarray
    gradients: list[np.ndarray]
    inputs: list[np.ndarray]


def outcome(engine: Engine, f: Function, inputs: Sequence[np.ndarray], g: np.ndarray) -> Outcome:
    """Run f, and the reverse pass of its product with g."""
    leaves = [engine.leaf(x.copy() if x.ndim else float(x)) for x in inputs]
    y = f(engine, *leaves)
    output = y.data.copy()
    alike = g.shape == output.shape or g.size == output.size == 1  # another shape is a finding of its own
    if alike and np.any(g != 1):
        y = y * engine.leaf(g.reshape(output.shape) if output.ndim else float(g.item()))
    (y.sum() if output.ndim else y).backward()
    return Outcome(output, [leaf.grad for leaf in leaves], [leaf.data for leaf in leaves])


def differences(
    engine: Engine, title: str, f: Function, inputs: list[np.ndarray], mistakes: Sequence[Mistake], hint: str,
    names: Sequence[str] = (), ones: bool = False, slack: float = 1.0,
) -> Iterator[Fault]:  # fmt: skip
    """What is wrong with the value and the gradients of f, by this package's engine."""
    single = single_precision(engine)
    inputs = [x.astype(np.float32).astype(float) for x in inputs] if single else inputs
    ours, names = Engine(OURS), names or _names(f)
    shape = f(ours, *(ours.leaf(x) for x in inputs)).data.shape
    drawn = np.random.default_rng(len(title)).normal(size=shape)
    g = np.ones(shape) if ones else np.where(drawn < 0, -1.0, 1.0) * (0.5 + np.abs(drawn))
    truth = outcome(ours, f, inputs, g)
    found = outcome(engine, f, inputs, g)
    rtol = slack * (1e-4 if single else 1e-9)

    def fault(of: int, place: str, there: np.ndarray, expected: np.ndarray) -> Iterator[Fault]:
        if there.shape != expected.shape and not there.size == expected.size == 1:
            yield Fault(title, f"{place} has shape {there.shape}, expected {expected.shape}",
                          _of_shape(of, there.shape, truth.output.shape))  # fmt: skip
            return
        there = there.reshape(expected.shape)
        wrong = ~same(there, expected, rtol)
        if wrong.any():
            at = tuple(np.argwhere(wrong)[0].tolist())
            where = f"{place}, index {list(at)}," if at else place
            seen = f"{where} is {number(float(there[at]), 8)}, expected {number(float(expected[at]), 8)}"
            given = inputs if of == OUTPUT else [g, *inputs]
            known = [m for m in mistakes if m.of == of and fits(m, given, there, wrong)]
            cause = known[0].words if known else hint or _usual(of, there, expected, wrong, g)
            yield Fault(title, seen, cause)

    wrong_value = list(fault(OUTPUT, "the value", found.output, truth.output))
    yield from wrong_value
    if wrong_value:  # its gradients are those of something else
        return
    for k, (name, before, after) in enumerate(zip(names, inputs, found.inputs, strict=True)):
        if after.shape == before.shape and not same(after, before, rtol).all():
            yield Fault(title, f"{name} holds other numbers after it than before", WRITES)
        yield from fault(k, f"the gradient in {name}", found.gradients[k], truth.gradients[k])


def _names(f: Function) -> list[str]:
    """What f calls its operands."""
    parameters = list(inspect.signature(f).parameters.values())[1:]
    return [p.name for p in parameters if p.default is p.empty]


def single_precision(engine: Engine) -> bool:
    """Whether the engine computes in float32."""
    return bool(engine.leaf(np.array([0.1])).data.dtype.itemsize < 8)


def same(found: np.ndarray, expected: np.ndarray, rtol: float) -> np.ndarray:
    """Which numbers are right, each by its own size; what cancels within a sum leaves rounding."""
    largest = np.max(np.abs(expected), where=np.isfinite(expected), initial=0.0)
    return np.asarray(np.isclose(found, expected, rtol=rtol, atol=1e-6 * rtol * largest, equal_nan=True))


def fits(mistake: Mistake, given: list[np.ndarray], found: np.ndarray, wrong: np.ndarray) -> bool:
    """Whether the numbers that are wrong are those that a mistake gives."""
    try:
        given_by_it = np.broadcast_to(mistake.gives(*given), found.shape)
    except (ValueError, IndexError):  # it has no such thing
        return False
    return bool(np.allclose(found[wrong], given_by_it[wrong], rtol=1e-4, atol=0, equal_nan=True))


def _of_shape(of: int, shape: tuple[int, ...], output: tuple[int, ...]) -> str:
    if of == OUTPUT:
        return "another axis, or keepdims?"
    if shape == output:
        return REPEATED
    return "a gradient has the shape of what it is the gradient of"


# How wrong gradients look, what was found beside what is true; the first that holds is the one told.
LOOKS: list[tuple[Callable[[np.ndarray, np.ndarray, np.ndarray], Any], str]] = [
    (lambda found, true, g: np.isclose(found, true, rtol=1e-5, atol=0, equal_nan=True).all(),
     "only the first digits are right: is something float32 in between (wrong dtype)?"),
    (lambda found, true, g: g.shape in (found.shape, ()) and (g != 1).any() and same(found * g, true, 1e-9).all(),
     "g, the gradient that arrives, isn't multiplied in"),
    (lambda found, true, g: not np.isfinite(found).any(),
     "no gradient has come: is an operand missing among those that the result was made of?"),
    (lambda found, true, g: found.ndim and found.any() and _whole(found) and not _whole(true),
     "whole numbers alone: has the gradient the dtype of whole numbers (wrong dtype)?"),
]  # fmt: skip


def _whole(x: np.ndarray) -> bool:
    return bool((x == np.trunc(x)).all())


def _usual(of: int, found: np.ndarray, expected: np.ndarray, wrong: np.ndarray, g: np.ndarray) -> str:
    """The likely cause, by how wrong numbers look."""
    with np.errstate(all="ignore"):
        looks = LOOKS[:1] if of == OUTPUT else LOOKS
        known = [words for holds, words in looks if holds(found, expected, g)]
    if known:
        return known[0]
    each = [(at, float(found[at]), float(expected[at])) for at in np.ndindex(found.shape)]
    entries = [Entry(max(of, 0), at, there, right, 1e-9 * abs(right)) for at, there, right in each]
    failed = [entry for entry in entries if wrong[entry.at]]
    return likely_cause(failed, entries) if of != OUTPUT else _of_value(Pattern(failed, entries))


def _of_value(pattern: Pattern) -> str:
    if math.isclose(pattern.factor, -1):
        return "the sign is wrong"
    if pattern.factor != 1:
        return f"it is {pattern.factor:.6g} times what it should be"
    return "the right numbers in other places: a transpose, or another axis?" if pattern.shuffled else ""


def raised(title: str, error: BaseException, hint: str) -> Fault:
    """What an error in the engine comes to: its words, and the line in which it was raised."""
    words = str(error).split("\n")[0]
    seen = f"raises {type(error).__name__}" + (f": {words}" if words else "")
    others = (Path(__file__).parent, Path(np.__file__).parent)
    frames = [
        f for f in traceback.extract_tb(error.__traceback__)
        if not {*Path(f.filename).parents} & {*others} and not f.filename.startswith("<frozen ")
    ]  # fmt: skip
    if frames:
        last = frames[-1]
        place = Path(last.filename).name if Path(last.filename).exists() else "a cell"
        seen += f" (line {last.lineno} of {place}" + (f", `{last.line}`)" if last.line else ")")
    endless = "a recursion that never ends, or goes one call deeper for each operator: a loop needs none"
    return Fault(title, seen, endless if isinstance(error, RecursionError) else hint)
