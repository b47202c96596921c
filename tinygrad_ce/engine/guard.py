"""A layer over the engine: users' own forwards and rules can't write to the arrays of a graph.

The operators of this package write to nothing, as their tests show. A forward or a rule that a user writes is wrapped
when it is registered; the engine does not know of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from tinygrad_ce.engine import anomaly
from tinygrad_ce.engine.node import Node
from tinygrad_ce.engine.primitive import Primitive, Rule, numpy_functions, operator
from tinygrad_ce.engine.reverse import owned


def shown(value: Any) -> Any:
    """A read-only copy of an array; likewise of the arrays in a tuple, list or dict.

    Read-only, so that most attempts to write to it are an error. A copy, as ``np.add.at`` and other libraries write to
    read-only arrays all the same.
    """
    if isinstance(value, np.ndarray):
        value = value.copy("K")
        value.setflags(write=False)
    elif type(value) in (tuple, list):
        value = type(value)(map(shown, value))
    elif type(value) is dict:
        value = {key: shown(part) for key, part in value.items()}
    return value


def primitive(function: Callable[..., Any] | None = None, *, forward: Callable[..., Any] | None = None) -> Any:
    """Make an operator of a function of plain arrays, its forward. Rules and an example follow right under it.

    ``@primitive(forward=np.exp)`` takes NumPy's own function for the forward: what follows gives arguments and words,
    and from then on that function is recorded where it meets a Tensor.

    On plain arrays the operator is its forward. On Tensors it is recorded for the reverse pass. Callers don't see a
    last argument ``keep=()``. In a recorded call it lists the positions that need a gradient, and the forward returns
    ``(y, kept)``: the rules get kept as their last argument in the first reverse pass, and None later.

    Where Tensors take part, the arrays that a forward or a rule is given are read-only copies, and one that it returns
    but holds on to is copied: it can't change a graph by anything but its results.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> @tg.primitive
        ... def cube(x):
        ...     return x * x * x
        >>> cube.vjp(x=lambda g, y, x: 3 * g * x * x)
        >>> x = tg.Tensor(2.0, requires_grad=True)
        >>> cube(x).backward()
        >>> float(x.grad)
        12.0
        >>> cube(3.0)
        27.0
    """
    if function is None:
        return functools.partial(primitive, forward=forward)
    call = operator(function, forward)
    made: Primitive = call.primitive
    made.forward, made.always_copies = guarded_forward(made), True  # it freezes its arguments, so they must be copies
    anomaly.look_at(made)

    @functools.wraps(call)
    def guarded(*args: Any, **named: Any) -> Any:
        bound = made.signature.bind(*args, **named)
        bound.apply_defaults()  # a default may be written to as well
        y = call(*bound.args, **bound.kwargs)
        kind = y._value.dtype.kind if isinstance(y, Node) else "f"
        if kind != "f" and (y._requires_grad or kind not in "iub"):
            expected = "floating numbers, as the result requires grad" if y._requires_grad else "real numbers"
            raise TypeError(
                f"{made.name}: the forward returned {_kind(y._value)}, expected {expected}; has it a return?"
            )
        return y

    if forward is not None:
        numpy_functions.setdefault(forward, cast(Any, guarded))
    return guard_rules(guarded)


def guard_rules(function: Any) -> Any:
    """Wrap the rules that an operator is given from now on."""
    made = function.primitive

    def vjp(**rules: Rule) -> None:
        made.vjp(**{argument: guarded_rule(made, argument, rule) for argument, rule in rules.items()})
        anomaly.look_at(made)

    function.vjp = functools.wraps(made.vjp)(vjp)
    return function


def guarded_forward(made: Primitive) -> Callable[..., Any]:
    """A user's forward as it is called with Tensors: it can't change them, and what it returns is the graph's."""

    def call(*arguments: Any, **options: Any) -> Any:
        arguments, options = shown(arguments), shown(options)
        if not options.get("keep"):
            return owned(_explained(made.function, *arguments, **options))
        y = _explained(made.function, *arguments, **options)
        if type(y) is not tuple or len(y) != 2:
            raise TypeError(f"{made.name}: the forward returned {_kind(y)}, expected (y, kept) as keep isn't empty")
        return owned(y[0]), shown(y[1])

    return call


def guarded_rule(made: Primitive, argument: str, rule: Rule) -> Rule:
    """A user's rule as the reverse pass calls it: no gradient changes but by what it returns."""

    @functools.wraps(rule, updated=())
    def call(*given: Any) -> Any:
        found = [_explained(rule, *shown(given))]  # in no variable: owned asks who holds it
        if isinstance(found[0], Node):
            return found[0]
        if not isinstance(found[0], np.ndarray | np.generic):
            name = f"{argument}[{given[0]}]" if argument == made.many else argument
            raise TypeError(
                f"{made.name}: the rule of argument {name!r} returned {_kind(found[0])}, expected the gradient in "
                f"it, an array; has it a return?"
            )
        return owned(found.pop())

    return call


def _explained(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a user's function; if it wrote to an array that it was given, the error says what that means."""
    try:
        return function(*arguments, **options)
    except Exception as error:
        if "read-only" in str(error):
            error.add_note("arrays given to a forward or a rule belong to the graph; make a new one to write to")
        raise


def _kind(value: Any) -> str:
    """What a value is, for messages."""
    return f"an array of {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
