"""NumPy's functions on Tensors: its names of arguments, its refusals, and gradients where they are delicate."""

import inspect
import math

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.engine.primitive import numpy_functions


def leaf(numbers, dtype=float):
    return tg.Tensor(numbers, requires_grad=True, dtype=dtype)


def gradient(f, *numbers, dtype=float):
    """The gradients of the sum of f."""
    leaves = [leaf(x, dtype) for x in numbers]
    f(*leaves).sum().backward()
    return [x.grad for x in leaves]


MATRIX = np.arange(12.0).reshape(3, 4) * 0.3 - 1.7

# NumPy's own names of arguments

CALLS = {
    "sum": (lambda t: np.sum(a=t, axis=0), lambda x: np.sum(x, axis=0)),
    "what is left at its default": (lambda t: np.sum(t, axis=0, out=None, dtype=None), lambda x: np.sum(x, axis=0)),
    "all by position": (lambda t: np.sum(t, 0, None, None, True), lambda x: np.sum(x, 0, None, None, True)),
    "clip": (lambda t: np.clip(t, a_min=0, a_max=1), lambda x: np.clip(x, 0, 1)),
    "clip, one bound": (lambda t: np.clip(a=t, a_max=1), lambda x: np.clip(x, None, 1)),
    "concatenate": (lambda t: np.concatenate(arrays=[t, t], axis=1), lambda x: np.concatenate([x, x], axis=1)),
    "vstack": (lambda t: np.vstack(tup=[t, t]), lambda x: np.vstack([x, x])),
    "reshape": (lambda t: np.reshape(t, shape=(4, 3), order="F"), lambda x: np.reshape(x, (4, 3), order="F")),
    "reshape in C's order": (lambda t: np.reshape(t, (4, 3), order="C"), lambda x: np.reshape(x, (4, 3))),
    "tile": (lambda t: np.tile(A=t, reps=2), lambda x: np.tile(x, 2)),
    "repeat": (lambda t: np.repeat(a=t, repeats=2, axis=0), lambda x: np.repeat(x, 2, axis=0)),
    "tril": (lambda t: np.tril(m=t, k=1), lambda x: np.tril(x, 1)),
    "diag": (lambda t: np.diag(v=t), lambda x: np.diag(x)),
    "append": (lambda t: np.append(arr=t, values=1.0), lambda x: np.append(x, 1.0)),
    "take": (lambda t: np.take(t, [5, -1], 0, None, "clip"), lambda x: np.take(x, [5, -1], 0, None, "clip")),
    "var": (lambda t: np.var(t, axis=1, correction=1), lambda x: np.var(x, axis=1, correction=1)),
    "var by position": (lambda t: np.var(t, 1, None, None, 1), lambda x: np.var(x, 1, None, None, 1)),
    "std": (lambda t: np.std(a=t, ddof=1), lambda x: np.std(x, ddof=1)),
    "average": (lambda t: np.average(a=t, weights=[1, 2, 3], axis=0), lambda x: np.average(x, 0, [1, 2, 3])),
    "norm": (lambda t: np.linalg.norm(t, None, 1, True), lambda x: np.linalg.norm(x, None, 1, True)),
    "sort": (lambda t: np.sort(a=t, kind=None, axis=0), lambda x: np.sort(x, axis=0)),
    "copy": (lambda t: np.copy(t, order="K"), lambda x: np.copy(x)),
    "einsum": (lambda t: np.einsum("ij->j", t, optimize=False), lambda x: np.einsum("ij->j", x)),
    "transpose": (lambda t: np.transpose(t[0], 0), lambda x: x[0]),
    "maximum.reduce": (lambda t: np.maximum.reduce(t), lambda x: np.maximum.reduce(x)),
    "minimum.reduce": (lambda t: np.minimum.reduce(t, axis=None), lambda x: np.minimum.reduce(x, axis=None)),
    "add.reduce": (lambda t: np.add.reduce(t, 1, keepdims=True), lambda x: np.add.reduce(x, 1, keepdims=True)),
    "multiply.reduce": (lambda t: np.multiply.reduce(t), lambda x: np.multiply.reduce(x)),
    "logaddexp.reduce": (lambda t: np.logaddexp.reduce(t, axis=-1), lambda x: np.logaddexp.reduce(x, axis=-1)),
    "add.accumulate": (lambda t: np.add.accumulate(t), lambda x: np.add.accumulate(x)),
    "multiply.accumulate": (lambda t: np.multiply.accumulate(t, 1), lambda x: np.multiply.accumulate(x, 1)),
    "dot with a number": (lambda t: np.dot(t, 2.0), lambda x: np.dot(x, 2.0)),
    "dot of a number": (lambda t: np.dot(2.0, t), lambda x: np.dot(2.0, x)),
    "dot of more axes": (lambda t: np.dot(t, np.ones((2, 4, 3))), lambda x: np.dot(x, np.ones((2, 4, 3)))),
    "remainder": (lambda t: t % 0.77, lambda x: x % 0.77),
    "remainder, reflected": (lambda t: 0.77 % t, lambda x: 0.77 % x),
    "method norm": (lambda t: t.norm(1, axis=0), lambda x: np.linalg.norm(x, 1, axis=0)),
    "method repeat": (lambda t: t.repeat(2, axis=1), lambda x: x.repeat(2, axis=1)),
    "method ravel": (lambda t: t.ravel(order="F"), lambda x: x.ravel(order="F")),
    "method reshape": (lambda t: t.reshape(4, 3, order="F"), lambda x: x.reshape(4, 3, order="F")),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_as_numpy_has_them(name):
    ours, theirs = CALLS[name]
    y = ours(leaf(MATRIX))
    assert isinstance(y, tg.Tensor)
    assert y.requires_grad
    np.testing.assert_allclose(y.data, theirs(MATRIX), rtol=1e-13, strict=True)
    assert tg.gradcheck(ours, MATRIX)


def test_what_stands_at_one_position_is_one_thing():
    """Names that differ from NumPy's at the same position: what a keyword of NumPy's would be taken for."""
    differ = set()
    for function, operator in numpy_functions.items():
        if isinstance(function, np.ufunc) or operator is np:
            continue
        try:
            theirs = [p.name for p in inspect.signature(function).parameters.values() if p.kind is not p.KEYWORD_ONLY]
        except ValueError:
            continue
        ours = inspect.signature(operator).parameters.values()
        ours = [p.name for p in ours if p.kind is p.POSITIONAL_OR_KEYWORD]
        differ |= {(theirs[i], name) for i, name in enumerate(ours[: len(theirs)]) if theirs[i] != name}
    arrays = {(name, "x") for name in ("A", "a", "arr", "array", "ary", "m", "v")}
    others = {("tup", "arrays"), ("a_min", "min"), ("a_max", "max"), ("x", "a"), ("y", "b")}
    assert differ <= arrays | others | {("operands", "subscripts"), ("arys", "arrays")}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t: np.sum(t, dtype=np.float32), r"np.sum: dtype= is not taken with a Tensor; taken are x, axis"),
        (lambda t: np.sum(t, 0, np.float32), "np.sum: dtype= is not taken"),
        (lambda t: np.concatenate([t, t], out=np.zeros((6, 4))), "np.concatenate: out= is not taken"),
        (lambda t: np.average(t, returned=True), "np.average: returned= is not taken"),
        (lambda t: np.clip(t, 0, a_min=1, max=2), "min"),
        (lambda t: np.clip(t, a_max=1, max=2), "np.clip: max= is given twice"),
        (lambda t: np.sum(t, a=t), "'a'|'x'"),
        (lambda t: np.maximum.reduce(t, initial=0.0), "np.maximum.reduce with initial= has no primitive"),
        (lambda t: np.full_like(t, t[0, 0]), "np.full_like has no primitive"),
        (lambda t: np.histogram(np.ones(12), weights=t.ravel()), "np.histogram has no primitive"),
        (lambda t: np.array([t, t]), "tg.stack"),
        (lambda t: np.array([t[0, 0], t[1, 1]]), "tg.stack"),
        (lambda t: np.mean([t[0, 0], t[1, 1]]), "tg.stack"),
    ],
)
def test_what_is_not_taken_is_told(call, words):
    with pytest.raises(TypeError, match=words):
        call(leaf(MATRIX))


# What NumPy refuses

REFUSED = {
    "repeat": lambda x: np.repeat(x, [1, 2], axis=0),
    "repeat, axis": lambda x: np.repeat(x, 2, axis=2),
    "tile": lambda x: np.tile(x, -1),
    "roll": lambda x: np.roll(x, 1, axis=2),
    "moveaxis": lambda x: np.moveaxis(x, 0, 2),
    "moveaxis, lengths": lambda x: np.moveaxis(x, [0, 1], [0]),
    "flipud": lambda x: np.flipud(x[0, 0]),
    "fliplr": lambda x: np.fliplr(x[0]),
    "append": lambda x: np.append(x, np.ones((2, 3)), axis=0),
    "vstack": lambda x: np.vstack([x, np.ones(3)]),
    "hstack": lambda x: np.hstack([x, np.ones((2, 4))]),
    "column_stack": lambda x: np.column_stack([x, np.ones(4)]),
    "diag": lambda x: np.diag(x[None]),
    "diagonal": lambda x: np.diagonal(x[0]),
    "trace": lambda x: np.trace(x, axis1=0, axis2=0),
    "tril": lambda x: np.tril(x[0, 0]),
    "sort": lambda x: np.sort(x, axis=2),
    "tensordot": lambda x: np.tensordot(x, x, axes=1),
    "tensordot, axes": lambda x: np.tensordot(x, x, axes=3),
    "tensordot, pairs": lambda x: np.tensordot(x, x, axes=([0, 1], [0])),
    "inner": lambda x: np.inner(x, np.ones((2, 3))),
    "vdot": lambda x: np.vdot(x, np.ones(3)),
    "dot": lambda x: np.dot(x, np.ones((2, 3, 4))),
    "average": lambda x: np.average(x, weights=np.ones(3)),
    "average, axis": lambda x: np.average(x, axis=1, weights=np.ones(3)),
    "average, weights that cancel": lambda x: np.average(x[0, :2], weights=[1, -1]),
    "median": lambda x: np.median(x, axis=2),
    "cumprod": lambda x: np.cumprod(x, axis=2),
    "norm": lambda x: np.linalg.norm(x, "fro", axis=0),
    "norm of three axes": lambda x: np.linalg.norm(x[None], axis=(0, 1, 2)),
    "norm, ord": lambda x: np.linalg.norm(x, 7),
    "take": lambda x: np.take(x, 0, mode="around"),
    "reshape": lambda x: np.reshape(x, (4, 3), order="B"),
    "logaddexp": lambda x: np.logaddexp(x, np.ones(3)),
    "var": lambda x: np.var(x, ddof=1, correction=2),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_numpy_refuses_is_refused_by_name(name):
    with pytest.raises((ValueError, TypeError, IndexError, ZeroDivisionError)):
        REFUSED[name](MATRIX)
    with pytest.raises((ValueError, TypeError, IndexError, ZeroDivisionError)) as caught:
        REFUSED[name](leaf(MATRIX))
    words = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    function = {"vstack": "join", "hstack": "join", "column_stack": "join", "append": "join", "trace": "diagonal"}
    name = name.split(" ")[0].strip(",")
    assert function.get(name, name) in words


def test_singular_values_are_refused_with_what_is_possible():
    for order in (2, -2, "nuc"):
        with pytest.raises(ValueError, match=r"norm: ord is .* expected None, 'fro', 1, -1, inf or -inf for matrices"):
            tg.norm(MATRIX, order)


def test_the_order_of_memory_is_not_asked_for():
    with pytest.raises(ValueError, match="reshape: order is 'A', expected 'C' or 'F'"):
        leaf(MATRIX).reshape(12, order="A")


# Without gradient


def test_steps_and_counts_are_plain_arrays():
    t = leaf([1.25, -2.5, 1.25])
    for found, expected in [
        (np.round(t, 1), [1.2, -2.5, 1.2]),
        (np.around(t), [1, -2, 1]),
        (t.round(), [1, -2, 1]),
        (np.floor_divide(t, 2), [0, -2, 0]),
        (t // 2, [0, -2, 0]),
        (np.unique(t), [-2.5, 1.25]),
        (np.full_like(t, 3.0), [3, 3, 3]),
        (np.histogram(t, bins=2)[0], [1, 2]),
        (np.isreal(t), [True, True, True]),
        (t.argsort(), [1, 0, 2]),
        (leaf([[2.0, 1.0], [0.0, 3.0]]).argsort(axis=0), [[1, 0], [0, 1]]),
    ]:
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, expected)


def test_a_copy_keeps_the_gradient():
    t = leaf([1.0, 2.0])
    y = np.copy(t)
    assert y is not t
    assert not np.shares_memory(y._value, t._value)
    np.testing.assert_array_equal(tg.grad((y * y).sum(), t).data, [2, 4])


def test_a_number_does_not_widen_float32():
    t = leaf([1.0, 2.0], np.float32)
    for y in (np.dot(t, 2.0), np.inner(2.0, t), np.hypot(t, 1), np.logaddexp(0.0, t), np.arctan2(1.0, t), t % 2):
        assert y.dtype == np.float32


# Gradients where they are delicate


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_norms_of_nothing_have_the_gradient_0(dtype):
    for order in (None, 1, 1.5, 2, 3, math.inf, -math.inf, 0):
        np.testing.assert_array_equal(gradient(lambda t: np.linalg.norm(t, order), np.zeros(3), dtype=dtype), [[0] * 3])
    np.testing.assert_array_equal(gradient(np.linalg.norm, np.zeros((2, 3)), dtype=dtype), [np.zeros((2, 3))])
    t = leaf(np.zeros(3), dtype)
    first = tg.grad(np.linalg.norm(t), t, create_graph=True)
    assert np.isfinite(first.data).all()


def test_norms_of_float16_do_not_overflow():
    t = leaf([300.0, 400.0], np.float16)
    y = np.linalg.norm(t)
    y.backward()
    assert y.dtype == t.grad.dtype == np.float16
    assert y.item() == 500
    np.testing.assert_allclose(t.grad, [0.6, 0.8], rtol=1e-3)


@pytest.mark.parametrize("order", [1, -1, math.inf, -math.inf, "fro", None])
def test_norms_of_matrices(order):
    f = lambda x: np.linalg.norm(x, order, axis=(2, 0), keepdims=True)
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    np.testing.assert_allclose(f(leaf(x)).data, f(x), rtol=1e-14)
    assert tg.gradcheck(f, x)


def test_lengths_and_angles_far_from_and_at_the_origin():
    """No square of the operands overflows or underflows on the way; the gradients are those of exact arithmetic."""
    np.testing.assert_array_equal(gradient(np.hypot, [0.0], [0.0]), [[0], [0]])
    np.testing.assert_array_equal(gradient(np.arctan2, [0.0], [0.0]), [[0], [0]])
    np.testing.assert_allclose(gradient(np.hypot, [3e200, 3e-200], [4e200, 4e-200]), [[0.6] * 2, [0.8] * 2], rtol=1e-15)
    found = gradient(np.arctan2, [3e200, 3e-200], [4e200, 4e-200])
    np.testing.assert_allclose(found, [[1.6e-201, 1.6e199], [-1.2e-201, -1.2e199]], rtol=1e-14)
    np.testing.assert_allclose(gradient(np.arcsinh, [1e200, -1e-9, 0.0]), [[1e-200, 1, 1]], rtol=1e-15)
    np.testing.assert_allclose(gradient(np.arctan, [300.0], dtype=np.float16), [[1 / 90001]], rtol=5e-3)


def test_logaddexp_in_its_tails():
    a, b = [0.0, 1000.0, -np.inf, -np.inf, 0.0], [40.0, 0.0, -np.inf, 1.0, -np.inf]
    da, db = gradient(np.logaddexp, a, b)
    np.testing.assert_allclose(da, [math.exp(-40) / (1 + math.exp(-40)), 1, 0, 0, 1], rtol=1e-14)
    np.testing.assert_allclose(db, [1, 0, 0, 1, 0], rtol=1e-14)


def cumprod_jacobian(x):
    """∂y_k/∂x_i by leaving each factor out."""
    count = range(len(x))
    return np.array([[np.prod(np.delete(x[: k + 1], i)) if i <= k else 0.0 for i in count] for k in count])


@pytest.mark.parametrize(
    "x", [[2.0, -3.0, 0.5], [0.0, 2.0, 3.0, 4.0], [2.0, 0.0, 3.0, 0.0, 5.0], [1e-200, 1e-200, 1e200, 3.0], [7.0]]
)
def test_running_products_of_zeros_and_below_the_smallest_number(x):
    g = np.arange(1.0, len(x) + 1)
    t = leaf(x)
    y = np.cumprod(t)
    np.testing.assert_array_equal(y.data, np.cumprod(x))
    np.testing.assert_allclose(tg.grad(y, t, g).data, g @ cumprod_jacobian(np.array(x)), rtol=1e-14)


def test_gradients_go_back_where_sorted_numbers_came_from():
    t = leaf([[3.0, 1.0, 2.0], [5.0, 5.0, 4.0]])
    np.sort(t).backward(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]))
    np.testing.assert_array_equal(t.grad, [[3, 1, 2], [2, 3, 1]])  # of equal numbers, the first comes first
    found = gradient(lambda t: np.sort(t, axis=None)[:2], [[3.0, 1.0], [2.0, 4.0]])[0]
    np.testing.assert_array_equal(found, [[0, 1], [1, 0]])


def test_the_middle_numbers_share_the_gradient():
    np.testing.assert_array_equal(gradient(np.median, [5.0, 1.0, 3.0])[0], [0, 0, 1])
    np.testing.assert_array_equal(gradient(np.median, [5.0, 1.0, 3.0, 4.0])[0], [0, 0, 0.5, 0.5])
    found = gradient(lambda t: np.median(t, axis=(0, 2)), np.arange(8.0).reshape(2, 2, 2))[0]
    np.testing.assert_array_equal(found, np.array([[[0, 1], [0, 1]], [[1, 0], [1, 0]]]) / 2)


def test_sums_without_nan():
    t = leaf([1.0, np.nan, 2.0])
    y = np.nansum(t * t)
    y.backward()
    assert y.item() == 5
    np.testing.assert_array_equal(tg.grad(np.nansum(t), t).data, [1, 0, 1])


def test_indices_out_of_range_count_on_or_stop():
    x = [10.0, 20.0, 30.0]
    np.testing.assert_array_equal(gradient(lambda t: np.take(t, [4, -1, 5, 1], mode="wrap"), x)[0], [0, 2, 2])
    np.testing.assert_array_equal(gradient(lambda t: np.take(t, [4, -7, 5, 1], mode="clip"), x)[0], [1, 1, 2])


def test_averages_have_a_gradient_in_their_weights():
    x, w = np.array([[1.0, 2.0, 6.0], [0.0, 1.0, 5.0]]), np.array([1.0, 1.0, 2.0])
    assert tg.gradcheck(lambda x, w: np.average(x, axis=1, weights=w), [x, w], order=2)
    y = np.average(leaf([1, 2], np.float32), weights=leaf([1, 3], np.float32))
    assert (y.dtype, y.item()) == (np.float32, 1.75)


# Softmax without classes


def test_softmax_of_a_number():
    for x in (5.0, leaf(5.0), np.float32(5), leaf(5.0, np.float16)):
        for f, value in ((tg.softmax, 1), (tg.softmin, 1), (tg.log_softmax, 0), (tg.logsumexp, 5)):
            y = f(x)
            assert np.shape(y) == ()
            assert y == value
    for f in (tg.softmax, tg.log_softmax, tg.softmin):
        assert gradient(f, 5.0)[0] == 0
    assert gradient(tg.logsumexp, 5.0)[0] == 1
    with pytest.raises(ValueError, match="axis 1 is out of bounds"):
        tg.softmax(5.0, axis=1)


def test_logsumexp_of_nothing_but_minus_infinity_has_the_gradient_0():
    x = np.array([[-np.inf, -np.inf], [0.0, -np.inf], [np.nan, 0.0]])
    found = gradient(lambda t: tg.logsumexp(t, axis=1), x)[0]
    np.testing.assert_array_equal(found, [[0, 0], [1, 0], [np.nan, np.nan]])
    mask = np.array([[True, True], [False, False]])
    f = lambda t: tg.logsumexp(t, axis=1, where=mask)
    np.testing.assert_allclose(f(np.zeros((2, 2))), [math.log(2), -np.inf])
    np.testing.assert_array_equal(gradient(f, np.zeros((2, 2)))[0], [[0.5, 0.5], [0, 0]])
    t = leaf(x[:2])
    first = tg.grad(tg.logsumexp(t, axis=1).sum(), t, create_graph=True)
    np.testing.assert_array_equal(tg.grad((first * [1.0, 2.0]).sum(), t).data, np.zeros((2, 2)))


@pytest.mark.parametrize(("f", "value"), [(tg.softmax, 0), (tg.log_softmax, -np.inf)])
def test_a_row_with_every_class_masked_has_no_classes(f, value):
    mask = np.array([[True, False, True], [False, False, False]])
    x = np.array([[1.0, 9.0, 1.0], [1.0, 2.0, np.nan]])
    with np.errstate(all="raise"):
        y = f(x, where=mask)
        np.testing.assert_allclose(tg.softmax(x, where=mask), [[0.5, 0, 0.5], [0, 0, 0]])
        np.testing.assert_array_equal(y[1], [value] * 3)
        t = leaf(x[:, :2])
        first = tg.grad(f(t, where=mask[:, :2])[:, 0].sum(), t, create_graph=True)
        np.testing.assert_array_equal(first.data[1], [0, 0])
        np.testing.assert_array_equal(tg.grad((first * first).sum(), t).data[1], [0, 0])
    assert np.isnan(tg.softmax(np.full(3, -np.inf))).all()  # has classes, of which none is possible
