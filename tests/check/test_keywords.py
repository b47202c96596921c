"""Arguments by keyword: for every operator the same bits, of the value and of every gradient, as by position."""

import inspect

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.engine.primitive import registry
from tinygrad_ce.ops.example import realise

KINDS = {name: [p.kind for p in inspect.signature(operator).parameters.values()] for name, operator in registry.items()}
OPERATORS = sorted(name for name, kinds in KINDS.items() if inspect.Parameter.VAR_POSITIONAL not in kinds)


def ways(operator, args, kwargs):
    """One call in all its ways: all that can be by position; the last of those by name, the last two, … all; turned."""
    bound = inspect.signature(operator).bind(*args, **kwargs)
    args, kwargs = bound.args, bound.kwargs
    named = list(zip(inspect.signature(operator).parameters, args, strict=False))
    for cut in range(len(args), -1, -1):
        yield args[:cut], dict(named[cut:]) | kwargs
    yield (), dict(reversed((dict(named) | kwargs).items()))


def results(operator, args, kwargs, leaves):
    """The bytes of all values and of the gradients in some leaves."""
    found = operator(*args, **kwargs)
    found = found if isinstance(found, list | tuple) else [found]
    values = [y.data.tobytes() if isinstance(y, tg.Tensor) else np.asarray(y).tobytes() for y in found]
    loss = sum((y * np.linspace(0.5, 1.5, y.size).reshape(y.shape)).sum() for y in found)
    return values, [dx.data.tobytes() for dx in tg.grad(loss, leaves)]


def calls(operator, example_number):
    """An example's inputs as Tensors that require grad: all of them, each one beside plain arrays, or none."""
    inputs, build = realise(operator.examples[example_number], np.random.default_rng([0, example_number]))
    chosen = [set(range(len(inputs))), *({i} for i in range(len(inputs)) if len(inputs) > 1)]
    for wanted in chosen:
        values = [tg.Tensor(x, requires_grad=True) if i in wanted else x for i, x in enumerate(inputs)]
        yield build(values), [values[i] for i in sorted(wanted)]


@pytest.mark.parametrize("name", OPERATORS)
def test_by_keyword_is_by_position(name):
    operator = registry[name]
    for k, _ in enumerate(operator.examples):
        for (args, kwargs), leaves in calls(operator, k):
            first, *others = (results(operator, *way, leaves) for way in ways(operator, args, kwargs))
            assert others
            assert all(other == first for other in others)


@pytest.mark.parametrize("name", OPERATORS)
def test_plain_arrays_by_keyword_are_plain_arrays_by_position(name):
    operator = registry[name]
    for k, example in enumerate(operator.examples):
        inputs, build = realise(example, np.random.default_rng([0, k]))
        found = [operator(*args, **kwargs) for args, kwargs in ways(operator, *build(inputs))]
        parts = [y if isinstance(y, list | tuple) else [y] for y in found]
        assert not any(isinstance(y, tg.Tensor) for part in parts for y in part)
        assert len({tuple(np.asarray(y).tobytes() for y in part) for part in parts}) == 1


@pytest.mark.parametrize("name", OPERATORS)
def test_an_argument_given_twice_or_unknown_is_an_error(name):
    operator = registry[name]
    (args, kwargs), _ = next(calls(operator, 0))
    with pytest.raises(TypeError, match="nobody"):
        operator(*args, **kwargs, nobody=1)
    with pytest.raises(TypeError, match=next(iter(inspect.signature(operator).parameters))):
        operator(*args, **kwargs, **{next(iter(inspect.signature(operator).parameters)): args[0]})
