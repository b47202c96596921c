"""Trace: a recorded pass with every number in it, forward and backward, for what explains and draws it."""

from __future__ import annotations

import itertools
import math
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_ce.common.names import free
from tinygrad_ce.engine.node import Node
from tinygrad_ce.engine.primitive import registry
from tinygrad_ce.engine.reverse import cotangent, tape, unbroadcast
from tinygrad_ce.engine.single import single
from tinygrad_ce.losses.linear_cross_entropy import Tally
from tinygrad_ce.nn.module import Module
from tinygrad_ce.study.loops import Loop, loops, name_states, written_over


@dataclass(eq=False)
class Value:
    """An array that took part: a leaf, a constant or a result, with the gradient that arrived at it."""

    name: str
    array: np.ndarray
    kind: str  # "parameter" requires grad, "constant" doesn't, "result" was made by a call
    made_by: Call | None = None
    named: bool = False  # whether the name is the caller's own
    gradient: np.ndarray | None = None
    shares: list[Share] = field(default_factory=list)  # what consumers handed back, in the order they are added


@dataclass(eq=False)
class Call:
    """An operator applied: its operands by argument name, its options, its result."""

    number: int
    operator: str
    operands: dict[str, Value]
    options: dict[str, Any]  # those that aren't the operator's defaults
    settings: dict[str, Any]  # all of them
    result: Value
    node: Node
    shares: list[Share] = field(default_factory=list)  # what it hands back to its operands

    @property
    def is_known(self) -> bool:
        """Whether the operator is this package's own, and not another one of its name."""
        return getattr(registry.get(self.operator), "primitive", None) is self.node._primitive

    def outdated(self) -> Iterable[tuple[str, np.ndarray]]:
        """The operands whose numbers here differ from those shown first: Tensors that were updated in between."""
        made = self.node._primitive
        for i, _ in self.node._parents:
            operand, used = self.operands[made.argument(i)], self.node._arguments[i]
            if used is not operand.array:
                yield operand.name, used

    def pull(self, i: int, g: Any) -> np.ndarray:
        """What the rule of the argument at a position makes of an upstream gradient."""
        arguments = [*map(single, self.node._arguments)]
        if self.node._primitive.keeps:
            arguments[-1] = None
        # The rules take the upstream gradient of a scalar as NumPy's scalar, as the reverse pass hands it to them.
        g = g if g is None or g.ndim else g[()]
        return np.asarray(self.node._primitive.rules[i](g, single(self.node._value), *arguments))

    def reopened(self, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
        """An array in the result's shape, to broadcast against a shape that the call reduced; None if it doesn't."""
        if array.size == 1:
            return array.reshape(())
        axis = self.settings.get("axis") if self.is_known else None
        if array.shape != shape and axis is not None:
            axes = {int(k) % max(len(shape), 1) for k in np.ravel(axis)}
            kept = tuple(1 if k in axes else n for k, n in enumerate(shape))
            array = array.reshape(kept) if math.prod(kept) == array.size else array
        fits = array.ndim == len(shape) and all(n in (1, m) for n, m in zip(array.shape, shape, strict=True))
        return array if fits else None

    @property
    def text(self) -> str:
        """The call as one would write it."""
        words = [operand.name for operand in self.operands.values()]
        words += [f"{name}={short(option)}" for name, option in self.options.items()]
        return f"{self.operator}({', '.join(words)})"


@dataclass(eq=False)
class Share:
    """What a call hands back to one operand: the rule's gradient, and that gradient with broadcasting undone."""

    call: Call
    argument: str
    operand: Value
    upstream: np.ndarray
    local: np.ndarray | None  # dy/dx where the gradient is upstream times it, entry by entry
    product: np.ndarray  # what the rule gave
    gradient: np.ndarray  # in the operand's shape and dtype
    total: np.ndarray  # the operand's gradient once this share is added
    before: np.ndarray | None  # and before that, where another consumer had handed back its own


@dataclass(eq=False)
class Trace:
    """A pass: its values, its calls oldest first, its shares in the order of the reverse pass."""

    output: Value
    start: np.ndarray  # the cotangent of the output
    values: list[Value]
    calls: list[Call]
    shares: list[Share]
    loops: list[Loop]

    @property
    def leaves(self) -> list[Value]:
        """What no call made."""
        return [value for value in self.values if value.made_by is None]


def trace(output: Any, names: Mapping[str, Any], g: Any = None, what: str = "explain") -> Trace:
    """Walk a recorded pass forward, then backward with the engine's own rules. Nothing recorded is changed.

    Args:
        output: the Tensor that the pass ended in, usually a loss.
        names: what the caller calls Tensors, arrays and Modules.
        g: the cotangent of an output that is no scalar.
        what: who asks, for messages.
    """
    if not isinstance(output, Node):
        raise TypeError(f"{what}: got {type(output).__name__}, expected a Tensor, as a loss is")
    start, nodes = _start(output, g, what)
    if not output._parents:
        raise ValueError(f"{what}: this Tensor was made by no operator, so there is nothing to show; give a result")
    values = _Values(names, nodes)
    calls = [values.call(k, node) for k, node in enumerate((node for node in nodes if node._parents), 1)]
    last = values.of[output._order]
    if not last.named:
        last.name = free("loss" if last.array.size == 1 else "y", values.used)
    found = loops([call.result for call in calls], getattr(names, "rewritten", ()))
    name_states(found, last, values.used)
    for call in calls:  # results that the caller has no name for: v1, v2, … after the step that made them
        call.result.name = call.result.name or free(f"v{call.number}", values.used)
    last.gradient = start
    shares = [share for call in reversed(calls) for share in _shares(call, values)]
    return Trace(last, start, values.all, calls, shares, found)


def _start(output: Node, g: Any, what: str) -> tuple[np.ndarray, list[Node]]:
    """What the reverse pass starts from, and its tape. Errors name who asks."""
    try:
        return np.asarray(cotangent(output, g._value if isinstance(g, Node) else g)), tape((output,))
    except (RuntimeError, ValueError, TypeError) as error:
        raise type(error)(str(error).replace("backward:", f"{what}:", 1)) from None


class _Values:
    """The values met so far, with their names."""

    def __init__(self, names: Mapping[str, Any], nodes: Iterable[Node]) -> None:
        self.names, self.arrays = _names(names)
        # A made-up name must not be one that the caller has given to something else.
        self.used = set(names) | {self.names[id(node)] for node in nodes if id(node) in self.names}
        self.of: dict[int, Value] = {}
        self.all: list[Value] = []
        self.constants: dict[int, Value] = {}

    def call(self, number: int, node: Node) -> Call:
        made, parents = node._primitive, dict(node._parents)
        arguments = node._arguments[:-1] if made.keeps else node._arguments
        operands: dict[str, Value] = {}
        options: dict[str, Any] = {}
        settings: dict[str, Any] = {}
        for i, a in enumerate(arguments):
            name = made.argument(i)
            if i in parents:
                parent = parents[i]
                if parent._order not in self.of:
                    self.of[parent._order] = self._leaf(a, "parameter", self.names.get(id(parent)), name)
                operands[name] = self.of[parent._order]
            elif isinstance(a, np.ndarray | np.generic) and made.differentiable(i):
                operands[name] = self._constant(np.asarray(a), name)
            elif made.differentiable(i) and isinstance(a, int | float) and not isinstance(a, bool):
                operands[name] = self._number(a)
            else:
                settings[name] = a
                if a is not None and not isinstance(a, Tally) and not self._is_default(node, name, a):
                    options[name] = a
        result = Value(self.names.get(id(node), ""), node._value, "result", named=id(node) in self.names)
        call = Call(number, made.name, operands, options, settings, result, node)
        result.made_by = call
        self.of[node._order] = result
        self.all.append(result)
        return call

    def _is_default(self, node: Node, name: str, option: Any) -> bool:
        default = node._primitive.defaults.get(name, node)
        return default is option or (type(default) is type(option) and bool(np.all(default == option)))

    def _leaf(self, array: np.ndarray, kind: str, name: str | None, argument: str) -> Value:
        """A new value that no call made, under the caller's name for it or that of the argument."""
        free_name = name or free(argument.replace("[", "").replace("]", ""), self.used)
        self.all.append(Value(free_name, array, kind, named=name is not None))
        return self.all[-1]

    def _constant(self, array: np.ndarray, argument: str) -> Value:
        if array.ndim == 0:
            return self._number(array.item())
        if id(array) not in self.constants:
            self.constants[id(array)] = self._leaf(array, "constant", self._name_of(array), argument)
        return self.constants[id(array)]

    def _name_of(self, array: np.ndarray) -> str | None:
        """What the caller calls an array. Calls copy arrays, so numbers that tell enough are compared."""
        own = next((name for name, known in self.arrays if known is array), None)
        if own or array.size < 2 or np.all(array == array.flat[0]):
            return own
        same = {id(known): name for name, known in reversed(self.arrays) if _same(known, array)}
        return next(iter(same.values())) if len(same) == 1 else None

    def _number(self, number: float) -> Value:
        text = f"{number:.6g}"
        return Value(f"({text})" if text.startswith("-") else text, np.asarray(number), "number", named=True)


def _same(known: np.ndarray, array: np.ndarray) -> bool:
    return (
        known.shape == array.shape and known.dtype == array.dtype and known.size <= 1 << 22
        and np.array_equal(known, array, equal_nan=known.dtype.kind == "f")
    )  # fmt: skip


def _names(given: Mapping[str, Any]) -> tuple[dict[int, str], list[tuple[str, np.ndarray]]]:
    """Names of Tensors by identity, those in Modules, lists and dicts included, and of arrays in order."""
    tensors: dict[int, str] = {}
    arrays: list[tuple[str, np.ndarray]] = []
    for name, thing in given.items():
        for full, part in _parts(name, thing):
            full = "g′" if full == "g" else full  # g is the upstream gradient
            if isinstance(part, Node):
                tensors.setdefault(id(part), full)
            arrays.append((full, part._value if isinstance(part, Node) else part))
    return tensors, arrays


def _parts(name: str, thing: Any) -> Iterable[tuple[str, Any]]:
    """The Tensors and arrays in a thing that has a name."""
    if isinstance(thing, Node | np.ndarray):
        yield name, thing
    elif isinstance(thing, Module):
        yield from ((f"{name}.{inner}", t) for inner, t in thing.named_tensors())
    elif type(thing) is list or (isinstance(thing, tuple) and len(thing) <= 64):
        yield from _parts_in_order(name, thing)
    elif type(thing) is dict:
        for key, t in itertools.islice(thing.items(), 64):
            if isinstance(t, Node | Module):
                yield from _parts(f"{name}[{key!r}]", t)


def _parts_in_order(name: str, things: Sequence[Any]) -> Iterable[tuple[str, Any]]:
    """The Tensors and arrays in a list or tuple; one of nothing but numbers is an array itself."""
    if things and all(isinstance(t, int | float) for t in things):
        yield name, np.asarray(things)
        return
    fields = getattr(things, "_fields", None)
    for i, t in enumerate(things[:64]):
        if isinstance(t, Node | Module | np.ndarray):
            yield from _parts(f"{name}.{fields[i]}" if fields else f"{name}[{i}]", t)


class Names(dict[str, Any]):
    """What things are called, and which of the names were written over."""

    rewritten: set[str]


def names_in(frame: types.FrameType) -> Names:
    """What a frame calls things: its locals, then its module's globals; a notebook's own history left out."""
    found = {**frame.f_locals, **{k: v for k, v in frame.f_globals.items() if k not in frame.f_locals}}
    names = Names((name, v) for name, v in found.items() if not name.startswith("_") and name not in ("In", "Out"))
    names.rewritten = written_over(frame.f_code)
    return names


def _shares(call: Call, values: _Values) -> Iterable[Share]:
    """What a call hands back to its operands, by its rules, added up in each operand."""
    node, made, g = call.node, call.node._primitive, call.result.gradient
    for i, parent in node._parents:
        operand = values.of[parent._order]
        product = call.pull(i, g)
        fitted = np.asarray(unbroadcast(product, operand.array, made, i))
        before = operand.gradient
        total = fitted if before is None else np.asarray(before + fitted)
        share = Share(
            call, made.argument(i), operand, np.asarray(g), _local(call, i, product), product, fitted, total, before
        )
        operand.gradient = total
        operand.shares.append(share)
        call.shares.append(share)
        yield share


def _local(call: Call, i: int, product: np.ndarray) -> np.ndarray | None:
    """dy/dx, where the rule multiplies upstream by it entry by entry: what the rule gives for an upstream of 1."""
    y = call.node._value
    with np.errstate(all="ignore"):
        # Tried with an upstream of its own: the one that arrived may be 0, or alike in all entries.
        other = (1 + np.arange(y.size) % 7).reshape(y.shape).astype(y.dtype)
        spread = call.reopened(other, product.shape)
        if spread is None:
            return None
        local = call.pull(i, np.ones(y.shape, y.dtype))
        if y.size == 1:
            return local
        close = np.isclose(spread * local, call.pull(i, other), rtol=1e-3, atol=0, equal_nan=True)
    return local if close.all() else None


def short(option: Any) -> str:
    """An option's value in a few words."""
    if isinstance(option, np.ndarray):
        whole = np.array2string(option, separator=", ").replace("\n", "")
        return f"array of {option.shape}" if option.size > 6 else whole
    return repr(option)
