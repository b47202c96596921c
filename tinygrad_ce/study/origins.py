"""Origins: out of what an operator makes its value, and each gradient that it hands back, entry by entry."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_ce.ops.convolution import unfold
from tinygrad_ce.ops.matrix import spell_out
from tinygrad_ce.study import formulas
from tinygrad_ce.study.arithmetic import Factor, Origin, Part, positions, product, whole
from tinygrad_ce.study.language import translate
from tinygrad_ce.study.trace import Call, Share, short

_REDUCTIONS = frozenset({"sum", "mean", "prod", "median", "max", "min", "var", "std", "norm"})
_MOVERS = frozenset({
    "reshape", "transpose", "swapaxes", "squeeze", "expand_dims", "broadcast_to", "join", "pad", "flip", "take",
    "embedding", "getitem", "scatter", "unfold", "where", "copy", "positive",
})  # fmt: skip
_PROBED = 512  # the most entries of a result whose derivatives are asked for one by one


def of_value(call: Call) -> Origin:
    """Where the entries of a call's result come from."""
    shape = call.result.array.shape
    if call.is_known:
        if call.operator in _SUMS_OF_PRODUCTS:
            return Origin(_SUMS_OF_PRODUCTS[call.operator](call))
        if call.operator in _REDUCTIONS:
            return _reduction(call)
        if call.operator in _MOVERS and (origin := _moved(call)):
            return origin
    fit = all(_fits(operand.array.shape, shape) for operand in call.operands.values())
    if fit and all(share.local is not None for share in call.shares):
        text, _ = formulas.forward(call, slots(call), slots(call))
        return Origin([_entrywise(text, call, shape)])
    return _linear(call)


def of_local(share: Share, value: Origin) -> Origin | None:
    """Where the entries of dy/dx come from, if the value's formula or the rule's says so."""
    call, shape = share.call, share.product.shape
    sums = call.is_known and call.operator in _SUMS_OF_PRODUCTS  # entry by entry where the other matrix is diagonal
    if sums or shape != call.result.array.shape:
        parts = [product(others, at) for _, others, at in _derivatives(share, value) if others]
        return Origin(parts) if parts else None
    if value.by or (call.is_known and call.operator in _REDUCTIONS | _MOVERS):
        return None
    words = {**slots(call), formulas.RESULT: f"⟨{formulas.RESULT}⟩"}
    text, _ = formulas.rule(call, share.argument, words, words)
    text = re.sub(r"(?<![\w⟨])g(?![\w⟩])", "1", text).removeprefix("1 · ")
    part = _entrywise(re.sub(r"^\(([^()]*)\)$", r"\1", text), call, shape)
    return Origin([part]) if part.factors else None


def of_product(share: Share, value: Origin) -> Origin:
    """Where the entries come from that a rule gave: each a sum of entries of g times a local derivative."""
    if share.local is not None:
        reopened = share.call.reopened(positions(share.upstream), share.product.shape)
        local = Factor("local", share.local, positions(share.local))
        return Origin([product([_g(share, reopened), local], positions(share.product))])
    parts = [product([_g(share, y), *others], at) for y, others, at in _derivatives(share, value)]
    return Origin(parts) if parts else _by_derivatives(share)


def of_gradient(share: Share) -> Origin:
    """Where the entries come from of a gradient whose broadcasting is undone: what was repeated is summed."""
    whole = Factor(
        translate("by the rule" if share.local is None else "g · local"), share.product, positions(share.product)
    )
    if share.product.shape == share.gradient.shape:
        return Origin([product([whole], positions(share.product))])
    return Origin([product([whole], np.broadcast_to(positions(share.gradient), share.product.shape))])


def of_total(share: Share) -> Origin:
    """Gradients that add up."""
    parts = {"gradient so far": share.before, "this share": share.gradient}
    factors = [Factor(name, array, positions(array)) for name, array in parts.items() if array is not None]
    return Origin([product([factor], factor.places) for factor in factors])


def slots(call: Call) -> dict[str, str]:
    """What stands for each argument of a call in a text with slots: ⟨the argument⟩, and of a number itself."""
    words = {name: o.name if o.kind == "number" else f"⟨{name}⟩" for name, o in call.operands.items()}
    return words | {name: s if isinstance(s, str) else short(s) for name, s in call.settings.items()}


def operands_named(share: Share) -> Iterator[tuple[str, np.ndarray]]:
    """The operands, and the result, that a rule's formula speaks of; all of them if it has none."""
    call = share.call
    words = {**slots(call), formulas.RESULT: f"⟨{formulas.RESULT}⟩"}
    text, _ = formulas.rule(call, share.argument, words, words)
    unknown = text.startswith("the rule of") or "other operands" in text
    names = [*words] if unknown else re.findall("⟨([^⟩]+)⟩", text)
    for name in dict.fromkeys(names):
        if name == formulas.RESULT and not unknown:
            yield call.result.name, call.result.array
        elif name in call.operands and call.operands[name].kind != "number":
            yield call.operands[name].name, _given(call)[name].array


def _g(share: Share, places: Any) -> Factor:
    return Factor("g", share.upstream, places)


def _given(call: Call) -> dict[str, Factor]:
    """The arrays that a call was given, entry by entry, and its result."""
    made, found = call.node._primitive, {}
    for i, a in enumerate(call.node._arguments):
        name = made.argument(i)
        if made.differentiable(i) and not isinstance(a, bool | str | None):
            array = np.asarray(a)
            known = call.operands.get(name)
            found[name] = Factor(known.name if known else name, array, positions(array), name)
    result = Factor(call.result.name, call.result.array, positions(call.result.array))
    return {**found, formulas.RESULT: result}


def _fits(shape: tuple[int, ...], into: tuple[int, ...]) -> bool:
    """Whether a shape broadcasts to another."""
    ahead = len(into) - len(shape)
    return ahead >= 0 and all(n in (1, m) for n, m in zip(shape, into[ahead:], strict=True))


def _entrywise(text: str, call: Call, shape: tuple[int, ...]) -> Part:
    """A formula as terms, one for each entry, with each entry's numbers in the slots."""
    given, pieces = _given(call), re.split("⟨([^⟩]+)⟩", text)
    factors = [given[name]._replace(places=np.broadcast_to(given[name].places, shape)) for name in pieces[1::2]]
    return Part(tuple(pieces[::2]), factors, np.arange(np.prod(shape, dtype=int)).reshape(shape))


def _sums(letters: Sequence[str], result: str, factors: Sequence[Factor]) -> Part:
    """Terms of a sum of products, as einsum's letters tell it: an axis for each letter, first the result's."""
    every = "".join(dict.fromkeys(result + "".join(letters)))
    aligned = []
    for spelled, factor in zip(letters, factors, strict=True):
        own = "".join(c for c in every if c in spelled)
        view = np.einsum(f"{spelled}->{own}", factor.places)
        index = tuple(slice(None) if c in own else None for c in every)
        aligned.append(factor._replace(places=view[index]))
    shape = np.broadcast_shapes(*(factor.places.shape for factor in aligned))
    own_shape = (*shape[: len(result)], *[1] * (len(every) - len(result)))
    return product(aligned, np.arange(np.prod(own_shape, dtype=int)).reshape(own_shape))


def _einsum(call: Call) -> list[Part]:
    subscripts, *operands = call.node._arguments
    letters, result = spell_out(subscripts, operands)
    return [_sums(letters, result, [f for name, f in _given(call).items() if name != formulas.RESULT])]


def _matmul(call: Call) -> list[Part]:
    given = _given(call)
    a, b = given["a"], given["b"]
    rows, columns = "...i" * (a.array.ndim > 1), "...k" * (b.array.ndim > 1)
    left = f"{rows}j" if rows else "j"
    right = "...jk" if columns else "j"
    batch = "..." * (a.array.ndim > 2 or b.array.ndim > 2)
    kept = batch + "i" * bool(rows) + "k" * bool(columns)
    left, right = (t if batch else t.replace("...", "") for t in (left, right))
    letters, result = spell_out(f"{left},{right}->{kept}", [a.array, b.array])
    return [_sums(letters, result, [a, b])]


def _linear_layer(call: Call) -> list[Part]:
    given = _given(call)
    operands = [given["x"], given["weight"]]
    letters, result = spell_out("...j,ij->...i", [f.array for f in operands])
    return [_sums(letters, result, operands), *_bias(call, given, -1)]


def _conv2d(call: Call) -> list[Part]:
    given, options = _given(call), call.settings
    x, weight = given["x"], given["weight"]
    y, size = call.result.array, weight.array.shape[1:]
    seen = unfold(x.places + 1, size[1:], stride=options["stride"], padding=options["padding"]) - 1
    seen = seen.reshape((len(seen), 1, *size, *y.shape[2:])).transpose(0, 1, 5, 6, 2, 3, 4)
    kernels = weight.places[None, :, None, None]
    at = positions(y)[..., None, None, None]
    return [product([x._replace(places=seen), weight._replace(places=kernels)], at), *_bias(call, given, 1)]


def _bias(call: Call, given: dict[str, Factor], axis: int) -> list[Part]:
    """What is added along an axis of the result."""
    if "bias" not in given:
        return []
    y = call.result.array
    shape = [1] * y.ndim
    shape[axis] = -1
    bias = given["bias"]._replace(places=given["bias"].places.reshape(shape))
    return [product([bias], positions(y))]


_SUMS_OF_PRODUCTS = {"matmul": _matmul, "linear": _linear_layer, "einsum": _einsum, "conv2d": _conv2d}


def _reduction(call: Call) -> Origin:
    """Numbers along axes, added up, averaged or taken together."""
    x, y = _given(call)["x"], call.result.array
    at = np.broadcast_to(np.asarray(call.reopened(positions(y), x.array.shape)), x.array.shape)
    factors = [x]
    if call.operator == "mean":
        factors.append(Factor("1/n", np.asarray(y.size / max(x.array.size, 1)), np.zeros((), int)))
    return Origin([product(factors, at)], by="" if call.operator in ("sum", "mean") else call.operator)


def _moved(call: Call) -> Origin | None:
    """Numbers that only change their places: found by running the operator on the places themselves."""
    y, parts = call.result.array, []
    found = np.zeros(y.shape, y.dtype)
    for name, factor in _given(call).items():
        if factor.argument and factor.array.size:
            places = _run_on_places(call, name)
            if places.max(initial=-1) >= factor.array.size or places.min(initial=0) < -1:
                return None
            found = found + np.where(places >= 0, factor.array.ravel()[places], 0)
            parts.append(product([factor._replace(places=places)], positions(y)))
    return Origin(parts) if np.array_equal(found, y, equal_nan=y.dtype.kind == "f") else None


def _run_on_places(call: Call, argument: str) -> np.ndarray:
    """For each entry of a call's result its place in an argument, -1 for none, if the call only moves numbers."""
    made, given = call.node._primitive, _given(call)
    by_name = {p.name for p in made.signature.parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    positional, named = [], {}
    for i, option in enumerate(call.node._arguments):
        name = made.argument(i)
        places = given[name].places if name in given else None
        stand_in = option if places is None else places + 1 if name == argument else np.zeros_like(places)
        if name in by_name:
            named[name] = stand_in
        else:
            positional.append(stand_in)
    return np.asarray(made.function(*positional, **named)).astype(int) - 1


def _derivatives(share: Share, value: Origin) -> Iterator[tuple[np.ndarray, list[Factor], np.ndarray]]:
    """Of each term that has the share's argument: the entry of y, the other factors, the entry of the gradient."""
    repeated = share.product.shape != share.operand.array.shape
    if value.by or (repeated and share.call.operator != "matmul"):
        return
    for part in value.parts:
        for factor in part.factors if set(part.words) <= {"", " · "} else ():
            if factor.argument == share.argument:
                at = _in_stack(share.product.shape, factor, len(part.shape)) if repeated else factor.places
                yield part.at, [f for f in part.factors if f is not factor], at


def _in_stack(shape: tuple[int, ...], factor: Factor, axes: int) -> np.ndarray:
    """Places in a matrix as places in a stack of it: along the axes on which it is repeated, those of the result."""
    own = factor.array.shape
    index = np.unravel_index(factor.places, own)
    at: Any = 0
    for k, n in enumerate(shape):
        back = k - len(shape)
        kept = -back <= len(own) and own[back] == n
        at = at * n + (index[back] if kept else np.arange(n).reshape((n,) + (1,) * (axes - k - 1)))
    return np.asarray(at)


def _probed(share: Share) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The derivatives that aren't 0: for each the entry of y, that of what the rule gives, and dy/dx."""
    call, y = share.call, share.call.result.array
    if y.size > _PROBED or share.product.size > 4 * _PROBED:
        return None
    i = next(i for i, _ in call.node._parents if call.node._primitive.argument(i) == share.argument)
    with np.errstate(all="ignore"):
        rows = [call.pull(i, one.reshape(y.shape)).ravel() for one in np.eye(y.size, dtype=y.dtype)]
    derivatives = np.array(rows).reshape(y.size, share.product.size)
    entries, of_product = np.nonzero(derivatives)
    return entries, of_product, derivatives[entries, of_product]


def _linear(call: Call) -> Origin:
    """A value by its derivatives: if it is the sum of their products with the operands, that; else by name."""
    given, y, parts, total = _given(call), call.result.array, [], np.zeros(call.result.array.size)
    for share in call.shares:
        probed, x = _probed(share), given[share.argument]
        if probed is None or share.product.shape != x.array.shape:
            return _by_name(call)
        entries, of_x, derivatives = probed
        with np.errstate(all="ignore"):
            total += np.bincount(entries, derivatives * x.array.ravel()[of_x], y.size)
        derivative = Factor(f"∂{call.result.name}/∂{x.name}", derivatives, np.arange(len(derivatives)))
        parts.append(product([derivative, x._replace(places=of_x)], entries))
    if np.allclose(total, y.ravel(), rtol=1e-4 if y.itemsize <= 4 else 1e-9, atol=0, equal_nan=True):
        return Origin(parts)
    return Origin([product(part.factors[1:], part.at) for part in parts], by=call.operator)


def _by_name(call: Call) -> Origin:
    """All that a call was given, where nothing says which of it made which entry."""
    given = [f for f in _given(call).values() if f.argument]
    return Origin(whole(given, call.result.array), by=call.operator)


def _by_derivatives(share: Share) -> Origin:
    """A gradient by the derivatives of the operator, one for each pair of entries; of large ones all that took part."""
    probed = _probed(share)
    if probed is None:
        given = [f for f in _given(share.call).values() if f.argument]
        return Origin(whole([_g(share, positions(share.upstream)), *given], share.product), by=translate("the rule"))
    entries, of_product, derivatives = probed
    return Origin([product([_g(share, entries), Factor("∂y/∂x", derivatives, np.arange(len(entries)))], of_product)])
