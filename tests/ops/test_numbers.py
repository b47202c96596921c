"""The digits of sums, means, tails and edges, against closed forms and mpmath."""

import tracemalloc

import mpmath
import numpy as np
import pytest

import tinygrad_ce as tg

NAN, INF = np.nan, np.inf


def gradient(f, x, dtype=np.float64):
    t = tg.Tensor(np.asarray(x, dtype), requires_grad=True)
    f(t).sum().backward()
    return t.grad


# Sums over a first axis


def bias_gradients(rows):
    """The gradient of a bias that is added to rows, by each way that adds it, where theirs are given."""
    b = tg.Tensor(np.zeros(rows.shape[1], np.float32), requires_grad=True)
    x = tg.Tensor(np.zeros((len(rows), 1), np.float32))
    w = tg.Tensor(np.zeros((rows.shape[1], 1), np.float32))
    yield tg.grad(tg.linear(x, w, b), b, rows).data
    yield tg.grad(tg.Tensor(np.zeros_like(rows)) + b, b, rows).data
    yield tg.grad(tg.broadcast_to(b, rows.shape), b, rows).data
    images = tg.Tensor(np.zeros((len(rows), 1, 1, 1), np.float32))
    yield tg.grad(tg.conv2d(images, w.data[:, :, None, None], b), b, rows[:, :, None, None]).data
    yield tg.sum(rows, 0)
    yield tg.mean(rows, axis=0) * np.float32(len(rows))


def test_a_bias_gradient_over_many_rows_counts_them_all():
    rows = np.broadcast_to(np.float32(1), (2**24 + 2, 2))
    b = tg.Tensor(np.zeros(2, np.float32), requires_grad=True)
    x, w = np.broadcast_to(np.float32(0), (len(rows), 1)), np.zeros((2, 1), np.float32)
    for y in (tg.linear(x, w, b), tg.broadcast_to(b, rows.shape)):
        np.testing.assert_array_equal(tg.grad(y, b, rows).data, np.float32(len(rows)))


@pytest.mark.parametrize("numbers", [0.1, 0.7, "random"])
@pytest.mark.parametrize("count", [2**20, 70_001, 500])
def test_sums_over_a_first_axis_lose_no_digits(count, numbers):
    rng = np.random.default_rng(0)
    rows = rng.random((count, 5)) if numbers == "random" else np.full((count, 5), numbers)
    rows = rows.astype(np.float32)
    for found in bias_gradients(rows):
        np.testing.assert_allclose(found, rows.sum(0, dtype=np.float64), rtol=4e-7)


@pytest.mark.parametrize("axes", [0, 1, 2, (0, 1), (0, 2), (1, 2), (0, 1, 2), None])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("shape", [(40, 300, 7), (700, 3, 40), (1, 1, 9000), (9000, 1, 1)])
def test_sums_means_and_spreads_over_any_axes(shape, order, axes):
    x = (np.random.default_rng(0).random(shape).astype(np.float32) + np.float32(1)).transpose(order)
    for name in ("sum", "mean", "var", "std"):
        right = getattr(np, name)(x.astype(np.float64), axis=axes)
        found = getattr(tg, name)(x, axis=axes)
        assert found.shape == right.shape
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, right, rtol=1e-6, atol=1e-7, err_msg=name)
        np.testing.assert_array_equal(getattr(tg, name)(x, axes, keepdims=True).ravel(), np.ravel(found))


def test_spreads_over_many_rows_lose_no_digits():
    x = np.tile(np.array([[100.0], [102.0]], np.float32), (2**19, 3))
    np.testing.assert_array_equal(tg.var(x, axis=0), np.float32(1))
    np.testing.assert_array_equal(tg.mean(x, axis=0), np.float32(101))


def test_running_sums_lose_no_digits():
    x = np.full(2**20, 0.1, np.float32)
    np.testing.assert_allclose(tg.cumsum(x)[-1], 2**20 * np.float64(x[0]), rtol=1e-7)
    np.testing.assert_allclose(gradient(lambda t: tg.cumsum(t) * x, x, np.float32)[0], 2**20 * float(x[0]), rtol=1e-7)


def test_a_row_of_a_table_that_is_looked_up_often_gets_every_gradient():
    table = tg.Tensor(np.zeros((2, 1), np.float32), requires_grad=True)
    tg.embedding(np.zeros(2**24 + 2, np.int8), table).backward(np.ones((2**24 + 2, 1), np.float32))
    np.testing.assert_array_equal(table.grad, [[2**24 + 2], [0]])


def test_a_linear_cross_entropys_bias_gradient_over_many_rows():
    x, w = np.zeros((2**18 + 5, 1), np.float32), np.zeros((3, 1), np.float32)
    b = tg.Tensor(np.zeros(3, np.float32), requires_grad=True)
    tg.linear_cross_entropy(x, w, np.zeros(len(x), int), linear_bias=b, reduction="sum").backward()
    np.testing.assert_allclose(b.grad, np.array([-2, 1, 1]) / 3 * len(x), rtol=2e-7)


# Softmax in float32


@pytest.mark.parametrize("scale", [1, 30, 1e3, 1e8, 1e38])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_few_float32_numbers_are_right_to_half_an_ulp(name, scale):
    x = np.clip(np.random.default_rng(1).standard_normal((60, 10)) * scale, -3e38, 3e38).astype(np.float32)
    for row, found in zip(x, getattr(tg, name)(x), strict=True):
        with mpmath.workprec(600):
            z = [mpmath.mpf(float(v)) - float(row.max()) for v in row]
            total = mpmath.fsum(map(mpmath.exp, z))
            right = [mpmath.exp(v) / total if name == "softmax" else v - mpmath.log(total) for v in z]
            for y, truth in zip(found, right, strict=True):
                if 1e-36 < abs(truth) < 3e38:
                    ulp = float(np.spacing(np.float32(abs(truth))))
                    assert abs(float(y) - truth) <= 0.50001 * ulp


def test_a_known_softmax_prints_the_truths_own_rounding():
    assert str(tg.softmax(np.array([1.2, 0.9, 0.4], np.float32))) == "[0.45659032 0.33825043 0.20515925]"


def test_float32_rows_at_the_edge_are_as_ever():
    x = np.array([[-INF, -INF], [-INF, 0], [NAN, 0], [3e38, -3e38]], np.float32)
    with np.errstate(all="raise"):
        p, log_p = tg.softmax(x), tg.log_softmax(x)
    np.testing.assert_array_equal(p, [[NAN, NAN], [0, 1], [NAN, NAN], [1, 0]])
    np.testing.assert_array_equal(log_p, [[NAN, NAN], [-INF, 0], [NAN, NAN], [0, -INF]])
    assert (p.dtype, log_p.dtype) == (np.float32, np.float32)


# Tails of the normal distribution


@pytest.mark.parametrize("x", [-37.3, -36.9, -30.123, -20.7, -10.1, -2.0, -0.3, 0.0, 1.1, 5.5, 40.0])
def test_normal_cdf_and_gelu_keep_their_digits_in_the_tail(x):
    with mpmath.workprec(300):
        v = mpmath.mpf(x)
        cdf, density = mpmath.ncdf(v), mpmath.npdf(v)
        right = [cdf, v * cdf, density, cdf + v * density, -v * density]
    found = [
        tg.normal_cdf(np.array([x]))[0],
        tg.gelu(np.array([x]))[0],
        gradient(tg.normal_cdf, [x])[0],
        gradient(tg.gelu, [x])[0],
        tg.hessian(lambda t: tg.normal_cdf(t).sum(), np.array([x]))[0, 0],
    ]
    for y, truth in zip(found, right, strict=True):
        assert abs(y - truth) <= 3 * 2.0**-52 * abs(truth) + 1e-323


def test_normal_cdf_in_float32_and_beyond_every_tail():
    x = np.float32([-12.9, -10.1, -5.3])
    right = [float(mpmath.ncdf(float(v))) for v in x]
    np.testing.assert_allclose(tg.normal_cdf(x), right, rtol=2.0**-23)
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_array_equal(tg.normal_cdf(np.array([-INF, -1e300, 1e300, INF])), [0, 0, 1, 1])
        np.testing.assert_array_equal(gradient(tg.normal_cdf, [-1e300, 1e5, INF]), 0)
    assert np.isnan(tg.normal_cdf(np.array([NAN])))


# Edges


@pytest.mark.parametrize("name", ["max", "min"])
def test_the_gradient_of_an_extreme_that_is_nan_goes_to_the_nan(name):
    f = getattr(tg, name)
    np.testing.assert_array_equal(gradient(f, [1.0, NAN, 2.0]), [0, 1, 0])
    np.testing.assert_array_equal(gradient(f, [NAN, INF, NAN, -INF]), [0.5, 0, 0.5, 0])
    rows = gradient(lambda t: f(t, axis=1), [[1.0, NAN], [1.0, 1.0], [0.0, 3.0]])
    np.testing.assert_array_equal(rows, [[0, 1], [0.5, 0.5], [0, 1] if name == "max" else [1, 0]])


def test_relu_hands_a_gradient_to_a_nan():
    np.testing.assert_array_equal(gradient(tg.relu, [NAN, -1.0, 0.0, 1.0]), [1, 0, 0, 1])


def test_the_hessian_of_a_deviation_of_0_is_0():
    np.testing.assert_array_equal(tg.hessian(tg.std, np.ones(3)), 0)
    some = tg.hessian(lambda x: tg.std(x, axis=1).sum(), np.array([[2.0, 2.0], [1.0, 4.0]]))
    np.testing.assert_array_equal(some[0], 0)
    assert np.isfinite(some).all()


@pytest.mark.parametrize(
    "x", [[0.0, 2, 3], [0, 0, 5.0], [2.0, 3, 4, 0, 5], [1.5], [0.0], [0, 2.0, 3, 4, 5, 6, 7], [1e200, 1e-100, 1e-300]]
)
def test_a_products_derivatives_leave_one_factor_out_and_two(x):
    x, n = np.array(x), len(x)
    with np.errstate(over="ignore"):
        found, right = gradient(tg.prod, x), [np.prod(np.delete(x, i)) for i in range(n)]
    np.testing.assert_allclose(found, right, rtol=1e-14)
    if np.prod(x) == 0:
        right = [[0 if i == j else np.prod(np.delete(x, [i, j])) for j in range(n)] for i in range(n)]
        np.testing.assert_array_equal(tg.hessian(tg.prod, x), right)


def test_a_product_with_a_zero_takes_memory_for_its_numbers_alone():
    x = tg.Tensor(np.r_[np.ones(7999), 0], requires_grad=True)
    y = tg.prod(x)
    tracemalloc.start()
    y.backward()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * x.data.nbytes
    np.testing.assert_array_equal(x.grad, np.r_[np.zeros(7999), 1])


# LayerNorm far from 1


@pytest.mark.parametrize("scale", [1e20, 1e38, -1e30])
def test_layer_norm_of_large_numbers_is_that_of_usual_ones(scale):
    x = np.array([[0.3, 0.6, 0.9, 1.2], [3, 1, 2, 2]])
    centred = x - x.mean(1, keepdims=True)
    right = np.sign(scale) * centred / centred.std(1, keepdims=True)
    with np.errstate(all="raise", under="ignore"):
        layer = tg.nn.LayerNorm(4)
        t = tg.Tensor((x * scale).astype(np.float32), requires_grad=True)
        y = layer(t)
        y[0, 1].backward()
        np.testing.assert_allclose(y.data, right, rtol=1e-5, atol=1e-6)
    usual = tg.Tensor(x * np.sign(scale), requires_grad=True)
    tg.nn.LayerNorm(4, eps=0, dtype=np.float64)(usual)[0, 1].backward()
    np.testing.assert_allclose(t.grad * np.float64(abs(scale)), usual.grad, rtol=1e-4, atol=1e-5)


def test_layer_norms_eps_is_not_rounded_to_0():
    for dtype in (np.float16, np.float32, np.float64):
        layer = tg.nn.LayerNorm(3, eps=1e-60, dtype=dtype)
        np.testing.assert_array_equal(layer(np.ones((2, 3), dtype)).data, 0)


def test_a_product_too_large_for_any_array_says_so():
    tall = np.broadcast_to(np.ones(1), (2**31, 1))
    with pytest.raises(ValueError, match=r"too big|[Mm]aximum"):
        tg.matmul(tall, tall.T)
    with pytest.raises(ValueError, match="the axes ahead don't broadcast"):
        tg.matmul(np.ones((2, 1, 3)), np.ones((3, 3, 1)))


# Weights


@pytest.mark.parametrize("shape", [(300, 64, 3), (300, 3, 64), (20, 64, 3), (3, 100, 64, 3)])
def test_a_linear_layers_weight_gradient_is_the_same_product_however_many_rows_there_are(shape):
    *rows, width, outputs = shape
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((*rows, width)), rng.standard_normal((*rows, outputs))
    leaf, w = (tg.Tensor(a, requires_grad=True) for a in (x, np.zeros((outputs, width))))
    found = tg.grad(tg.linear(leaf, w), w, tg.Tensor(g), create_graph=True)
    np.testing.assert_allclose(found.data, g.reshape(-1, outputs).T @ x.reshape(-1, width), rtol=1e-12, atol=1e-12)
    v = rng.standard_normal(w.shape)
    np.testing.assert_allclose(tg.grad(found, leaf, v).data, g @ v, rtol=1e-12, atol=1e-12)
