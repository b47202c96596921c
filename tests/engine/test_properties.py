"""Every operator over generated calls: value and gradient are those of plain NumPy, and so are the dtypes."""

import contextlib
import importlib
import operator
import warnings
from unittest import mock

import calls
import numpy as np
import pytest
from calls import OPERATORS, Call
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tinygrad_ce as tg
from benchmarks import random_graphs

primitive_module = importlib.import_module("tinygrad_ce.engine.primitive")
reverse_module = importlib.import_module("tinygrad_ce.engine.reverse")
transforms = importlib.import_module("tinygrad_ce.transforms")
unbroadcast = reverse_module.unbroadcast
TOLERANCE = {2: 5e-2, 4: 1e-4, 8: 1e-9}  # by a number's bytes
REFUSALS = (ValueError, TypeError, IndexError, OverflowError, ZeroDivisionError)

# Those whose numbers may be infinite or nan: not the losses, which check theirs.
CHECKED = ("loss", "entropy", "logits", "div", "onehot", "log_softmax_gradient", "gumbel_softmax")
ANY_NUMBER = [name for name in OPERATORS if not name.endswith(CHECKED)]

FEWER = settings(max_examples=settings().max_examples // 2)


def operator_named(name):
    """An operator, public or not; or a function made of some."""
    return primitive_module.registry.get(name) or getattr(tg, name)


def test_every_operator_is_here():
    assert set(primitive_module.registry) - set(OPERATORS) == set()


# What is done to calls


@st.composite
def a_call(draw, name, **other):
    """A call of an operator; others than its own domain and the rest where given."""
    kind = OPERATORS[name]._replace(**other)
    dtypes = kind.dtypes if kind.mixed and draw(st.booleans()) else [draw(st.sampled_from(kind.dtypes))]
    return kind.call(draw, calls.Numbers(draw, kind.domain, dtypes, kind.layouts))


def exchanged(part, exchange):
    """A call with its float arrays exchanged, in their order."""
    if isinstance(part, np.ndarray) and part.dtype.kind == "f":
        return exchange(part)
    if isinstance(part, Call):
        return Call(*(exchanged(p, exchange) for p in part))
    if type(part) in (list, tuple):
        return type(part)([exchanged(p, exchange) for p in part])
    return {name: exchanged(p, exchange) for name, p in part.items()} if isinstance(part, dict) else part


def operands_of(call):
    found = []
    exchanged(call, found.append)
    return found


def with_operands(call, operands):
    rest = iter(operands)
    return exchanged(call, lambda _: next(rest))


def run(f, call):
    """The outputs as a list."""
    y = f(*call.args, **call.kwargs)
    return list(y) if isinstance(y, list | tuple) else [y]


@contextlib.contextmanager
def silent():
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def truth_of(definition, call):
    """Values in long double, or the refusal; and whether NumPy may warn: of the mean of nothing, say."""
    exact = exchanged(call, lambda x: x.astype(np.longdouble))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            outputs = run(definition, exact)
        except REFUSALS as error:
            return error, True
    empty = not all(x.size for x in operands_of(call))
    return outputs, bool(caught) or empty or any(np.isnan(y).any() for y in outputs)


def dtype_of(name, call):
    """NumPy's, where it has the function; else that of the operands together."""
    if hasattr(np, name):
        with silent():
            return run(getattr(np, name), call)[0].dtype
    return np.result_type(*(x.dtype for x in operands_of(call)))


def as_leaf(x):
    """A Tensor that holds this very array, in its own layout."""
    leaf = tg.Tensor(x, requires_grad=True)
    leaf._value = x
    return leaf


def as_list(x):
    """Nested lists, where they say as much as the array."""
    return x.tolist() if x.dtype == np.float64 and x.ndim and x.size else x


ROLES = {"leaf": as_leaf, "array": lambda x: x, "constant": tg.Tensor, "list": as_list}


def assert_close(found, truth, tolerance, what):
    """Relative to the largest number; nan and inf in the same places."""
    scale = max(1.0, float(np.max(np.abs(truth), where=np.isfinite(truth), initial=0)))
    found = np.asarray(found, np.longdouble)
    np.testing.assert_allclose(found, truth, rtol=tolerance, atol=tolerance * scale, err_msg=what)


def slopes(kind, call, k, directions, weights):
    """Of Σ weights · outputs, along directions of operand k: by the complex step, or by differences of fourth order."""
    operands = [x.astype(np.float64 if kind.analytic else np.longdouble) for x in operands_of(call)]

    def total(step):
        moved = [x + step if i == k else x for i, x in enumerate(operands)]
        outputs = run(kind.definition, with_operands(call, moved))
        outputs = [np.imag(y) for y in outputs] if kind.analytic else outputs
        return sum(np.sum(w * y) for w, y in zip(weights, outputs, strict=True))

    h = 1e-30 if kind.analytic else 1e-3
    with silent():
        if kind.analytic:
            return [total(h * 1j * v) / h for v in directions]
        return [
            (8 * (total(h * v) - total(-h * v)) - (total(2 * h * v) - total(-2 * h * v))) / (12 * h) for v in directions
        ]


def directions_of(shape, rng):
    """Every entry's own direction where there are few, else random ones."""
    size = int(np.prod(shape))
    rows = np.eye(size) if size <= 4 else rng.standard_normal((4, size))
    return [row.reshape(shape) for row in rows]


# Value, dtype, layout, gradient


@pytest.mark.parametrize("name", OPERATORS)
@given(data=st.data())
def test_value_and_gradient_are_those_of_the_definition(name, data):
    call = data.draw(a_call(name), label=name)
    roles = [data.draw(st.sampled_from(["leaf", "leaf", *ROLES])) for _ in operands_of(call)]
    check_value_and_gradient(name, call, roles if "leaf" in roles else ["leaf", *roles[1:]])


def single(*numbers):
    return np.array(numbers, np.float32)


# Calls that once went wrong, beside those in the tests of the file's other sections.
ONCE_WRONG = [
    ("power", Call((1.5, single(0.5)), {})),  # the rule of b left float32
    ("xlogy", Call((single(0.5), 1.5), {})),  # and so did the value of these two
    ("xlog1py", Call((single(0.5), 1.5), {})),
    ("softmax_minus_onehot", Call((single([0.5, 1.0]), np.array([0]), None, None, -100, "mean", 0.0), {})),
    ("sum", Call((np.array(0.5), -1), {})),  # an axis of a single number
    ("einsum", Call(("i,i", np.ones(1), np.arange(3.0)), {})),  # a letter that is broadcast
    ("einsum", Call(("ij,jk", np.ones((2, 1)), np.ones((3, 2))), {})),
    ("linear_cross_entropy", Call((np.ones((2, 0)), np.ones((3, 0)), [0, 2]), {})),  # no features
]


@pytest.mark.parametrize(("name", "call"), ONCE_WRONG, ids=[name for name, _ in ONCE_WRONG])
def test_calls_that_once_went_wrong(name, call):
    check_value_and_gradient(name, call, ["leaf"] * len(operands_of(call)))


def check_value_and_gradient(name, call, roles):
    operands = operands_of(call)
    before = [x.tobytes() for x in operands]
    inputs = [ROLES[role](x) for role, x in zip(roles, operands, strict=True)]
    on_tensors = with_operands(call, inputs)
    truth, may_warn = truth_of(OPERATORS[name].definition, call)
    if isinstance(truth, Exception):
        assert_refused(name, call)
        assert_refused(name, on_tensors)
        return
    with silent() if may_warn else contextlib.nullcontext():
        plain, outputs = run(operator_named(name), call), run(operator_named(name), on_tensors)
    tolerance = check_values(name, call, plain, outputs, truth)
    check_gradients(name, call, roles, inputs, outputs, truth, tolerance)
    check_dispatch(name, on_tensors, outputs)
    assert [x.tobytes() for x in operands] == before


def assert_refused(name, call):
    with pytest.raises(REFUSALS):
        run(operator_named(name), call)


def check_values(name, call, plain, outputs, truth):
    """Arrays in, arrays out; Tensors in, Tensors out. Returns the tolerance that the dtypes allow."""
    dtype = dtype_of(name, call)
    dtypes = [dtype, *(x.dtype for x in operands_of(call))]
    tolerance, coarsest = max(TOLERANCE[d.itemsize] for d in dtypes), max(np.finfo(d).eps for d in dtypes)
    for y, tensor, exact in zip(plain, outputs, truth, strict=True):
        assert isinstance(y, np.ndarray | np.generic)
        assert isinstance(tensor, tg.Tensor)
        assert y.dtype == tensor.dtype == dtype
        assert y.shape == tensor.shape == exact.shape
        assert_close(y, exact, tolerance, "value")
        assert_close(tensor.data, y, 8 * coarsest, "on Tensors")
    return tolerance


def check_gradients(name, call, roles, inputs, outputs, truth, tolerance):
    """Each leaf's gradient has its shape and dtype, and along some directions the slope of the definition."""
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(y.shape).astype(y.dtype) for y in outputs]
    before = [w.copy() for w in weights]
    single = {x.dtype for x in [*operands_of(call), *outputs]} == {np.dtype(np.float32)}
    leaves = [x for x, role in zip(inputs, roles, strict=True) if role == "leaf"]
    with silent(), mock.patch.object(reverse_module, "unbroadcast", strict_unbroadcast if single else unbroadcast):
        found = iter(tg.grad(outputs, leaves, weights))
    for k, x in enumerate(inputs):
        if roles[k] == "leaf":
            g = next(found)
            assert (g.shape, g.dtype) == (x.shape, x.dtype)
            if not any(np.isnan(y).any() for y in truth):
                directions = directions_of(x.shape, rng)
                along = [np.sum(g.data * v, dtype=float) for v in directions]
                expected = np.array(slopes(OPERATORS[name], call, k, directions, weights), float)
                assert_close(along, expected, tolerance, f"slopes in operand {k}")
    for w, w0 in zip(weights, before, strict=True):
        np.testing.assert_array_equal(w, w0)


def strict_unbroadcast(dx, x, primitive, position):
    """Where all is float32, a rule that gives float64 is a leak that the cast to the operand's dtype would hide."""
    assert dx.dtype == np.float32, f"the rule of {primitive.argument(position)} of {primitive.name} gave {dx.dtype}"
    return unbroadcast(dx, x, primitive, position)


def check_dispatch(name, on_tensors, outputs):
    """NumPy's own function of that name, given Tensors, is the operator."""
    for function, found in primitive_module.numpy_functions.items():
        if found is operator_named(name):
            with silent():
                again = run(function, on_tensors)
            for y, y2 in zip(outputs, again, strict=True):
                np.testing.assert_array_equal(y2.data, y.data, strict=True)


# Infinities, nan and -0

# Which of 0 · nan and inf - inf a sum of products meets is up to BLAS, which leaves some out and takes others first.
PRODUCTS = ("dot", "inner", "vdot", "tensordot", "linear", "conv2d", "fold")


def in_numpy(name, call):
    """What NumPy's own function gives, if there is one whose bits are ours. (NumPy's var of equal numbers isn't 0.)"""
    f = OPERATORS[name].definition if name in PRODUCTS else None if name in ("var", "std") else getattr(np, name, None)
    return f and run(f, call)


@pytest.mark.parametrize("name", [name for name in ANY_NUMBER if name not in PRODUCTS])
@given(data=st.data())
@FEWER
def test_special_numbers_give_what_they_give_in_numpy(name, data):
    call = data.draw(a_call(name, domain=calls.special, layouts=tuple(calls.LAYOUTS)), label=name)
    truth, _ = truth_of(OPERATORS[name].definition, call)
    assume(not isinstance(truth, Exception))
    leaves = [as_leaf(x) for x in operands_of(call)]
    with silent():
        outputs = run(operator_named(name), with_operands(call, leaves))
        expected = in_numpy(name, call)
        for i, y in enumerate(outputs):
            if expected:
                np.testing.assert_array_equal(y.data, expected[i], strict=True)
                np.testing.assert_array_equal(np.signbit(y.data), np.signbit(expected[i]))
            else:
                tolerance = max(TOLERANCE[x.dtype.itemsize] for x in leaves)
                np.testing.assert_allclose(y.data, truth[i].astype(y.dtype), rtol=tolerance, atol=tolerance)
        for g, x in zip(tg.grad(outputs, leaves, [np.ones(y.shape) for y in outputs]), leaves, strict=True):
            assert (g.shape, g.dtype) == (x.shape, x.dtype)


# Integers, truth values and Python numbers among the operands

DTYPES = (np.float64, np.float32, np.float16, np.int64, np.int32, np.int8, np.uint8, np.bool_)


def whole(rng, shape, place):
    return rng.integers(0, 4, shape).astype(float)


@pytest.mark.parametrize("name", ANY_NUMBER)
@given(data=st.data())
@FEWER
def test_other_dtypes_are_promoted_as_numpy_does(name, data):
    call = data.draw(a_call(name, domain=whole, dtypes=DTYPES, mixed=True), label=name)
    as_floats = Call(*(in_floats(part) for part in call))
    truth, _ = truth_of(OPERATORS[name].definition, as_floats)
    assume(not isinstance(truth, Exception))
    arrays = [x for x in (*call.args, *call.kwargs.values()) if isinstance(x, np.ndarray)]
    tolerance = max(TOLERANCE[np.result_type(x, np.float16).itemsize] for x in [np.zeros(0), *arrays])
    with silent():
        try:
            expected = in_numpy(name, call)
        except REFUSALS:  # NumPy negates no truth values, and raises integers to no negative power
            assert_refused(name, call)
            return
        plain = run(operator_named(name), call)
        outputs = run(operator_named(name), exchanged(call, as_leaf))
        for i, y in enumerate(plain):
            assert isinstance(outputs[i], tg.Tensor) == bool(operands_of(call))
            np.testing.assert_array_equal(np.asarray(getattr(outputs[i], "data", outputs[i])), y, strict=True)
            if expected:
                np.testing.assert_array_equal(y, expected[i], strict=True)
            elif y.dtype.kind == "f":
                np.testing.assert_allclose(y, truth[i].astype(float), rtol=tolerance)
            else:
                np.testing.assert_array_equal(y, truth[i].astype(y.dtype))


@pytest.mark.parametrize("kind", [bool, np.uint8, np.uint16, np.uint64, np.int8])
@pytest.mark.parametrize("name", ["sigmoid", "softplus", "logsigmoid", "normal_cdf", "gelu", "silu", "softmin"])
def test_unsigned_integers_and_truth_values_have_negatives(name, kind):
    x = np.array([0, 1, 3, 100]).astype(kind)
    y = operator_named(name)(x)
    np.testing.assert_allclose(y, operator_named(name)(x.astype(float)), rtol=2e-3, atol=1e-3)
    assert name in ("softplus", "softmin") or y.dtype == np.sqrt(x).dtype


def in_floats(part):
    if isinstance(part, np.ndarray):
        return part.astype(float)
    return type(part)([in_floats(p) for p in part]) if type(part) in (list, tuple) else part


# Second derivatives


@pytest.mark.parametrize("name", OPERATORS)
@given(data=st.data())
@FEWER
def test_second_derivatives_are_the_slopes_of_the_first(name, data):
    call = data.draw(a_call(name, dtypes=(np.float64,)), label=name)
    with silent():
        truth, _ = truth_of(OPERATORS[name].definition, call)
        assume(not isinstance(truth, Exception))
        assume(all(np.isfinite(y).all() for y in truth))
        assume(name != "astype" or call.args[1] is np.float64)  # whose rounding no difference survives
        assume(name != "categorical_cross_entropy" or call.args[0].max(initial=0) < 0.9)  # none steps beyond 1
        check_second_derivatives(name, call, truth)


def check_second_derivatives(name, call, truth):
    """Of q = Σ u · gradient, with the outputs' weights as variables like the operands: d q along v, by differences."""
    rng = np.random.default_rng(0)
    operands = operands_of(call)
    values = [*operands, *(rng.standard_normal(y.shape) for y in truth)]
    us = [rng.standard_normal(x.shape) for x in operands]
    vs = [rng.standard_normal(x.shape) for x in values]

    def gradient(values, create_graph=False):
        leaves = [tg.Tensor(x, requires_grad=True) for x in values]
        outputs = run(operator_named(name), with_operands(call, leaves[: len(operands)]))
        weights = leaves[len(operands) :]
        first = tg.grad(outputs, leaves[: len(operands)], weights, create_graph)
        return leaves, sum((g * u).sum() for g, u in zip(first, us, strict=True))

    leaves, q = gradient(values, create_graph=True)
    second = [x.data * 0 if d is None else d.data for x, d in zip(leaves, gradients([q], leaves), strict=True)]
    found = sum(np.sum(d * v) for d, v in zip(second, vs, strict=True))
    h = 2e-4
    moved = {k: gradient([x + k * h * v for x, v in zip(values, vs, strict=True)])[1].item() for k in (-2, -1, 1, 2)}
    slope = (8 * (moved[1] - moved[-1]) - (moved[2] - moved[-2])) / (12 * h)
    assert_close(found, np.asarray(slope), 1e-7, "slope of the gradient")


def gradients(outputs, leaves):
    """As tg.grad, with None for a leaf that the outputs don't depend on."""
    return transforms.gradients(outputs, leaves, [None] * len(outputs), False)


# Python's operators

SIGNS = ["add", "sub", "mul", "truediv", "pow", "matmul"]
COMPARISONS = ["eq", "ne", "lt", "le", "gt", "ge"]


@pytest.mark.parametrize("sign", SIGNS + COMPARISONS)
@given(data=st.data())
def test_pythons_operators_are_numpys(sign, data):
    """Of a leaf with another leaf, a Tensor, an array or a Python number, on either side."""
    call = data.draw(a_call("matmul" if sign == "matmul" else "maximum", domain=calls.positive), label=sign)
    sides = [np.asarray(x) for x in call.args]
    kind = data.draw(st.sampled_from([*ROLES, "number"] if sign != "matmul" else [*ROLES]))
    k = data.draw(st.integers(0, 1), label="the other one")
    arrays, operands = list(sides), [as_leaf(x) for x in sides]
    operands[k] = arrays[k] = float(sides[k].max(initial=0.5))
    if kind != "number":
        arrays[k], operands[k] = sides[k], ROLES[kind](sides[k])
    f = getattr(operator, sign)
    expected, y = f(*arrays), f(*operands)
    if sign in COMPARISONS:
        np.testing.assert_array_equal(y, expected, strict=True)
        return
    assert y.dtype == expected.dtype
    assert_close(y.data, expected, 8 * np.finfo(y.dtype).eps, sign)
    leaves = [x for x in operands if isinstance(x, tg.Tensor) and x.requires_grad]
    for g, x in zip(tg.grad(y, leaves, np.ones(y.shape)), leaves, strict=True):
        assert (g.shape, g.dtype) == (x.shape, x.dtype)


# Many operators at once


def test_a_hundred_random_graphs_agree():
    found = random_graphs.agreement(100)
    assert found.seeds == []
    assert found.second == 25
    assert found.values > 1000
