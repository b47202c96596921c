"""float16 stores: what is computed with it is computed in float32, and rounded once."""

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.engine.primitive import registry

HALF = np.float16
ULP = 2.0**-10
MANY = 70_000  # more than the largest float16


def both(f, x):
    """Value and gradient from float16, and from the same numbers in float64."""
    for dtype in (HALF, np.float64):
        t = tg.Tensor(np.asarray(x, HALF).astype(dtype), requires_grad=True)
        y = f(t)
        y.sum().backward()
        assert y.dtype == t.grad.dtype == dtype
        yield y.data.astype(float), t.grad.astype(float)


def check(f, x, rtol=ULP / 2):
    (y, g), (right, slope) = both(f, x)
    np.testing.assert_allclose(y, right, rtol=rtol * 1.01, atol=2.0**-25)
    np.testing.assert_allclose(g, slope, rtol=2 * rtol, atol=2.0**-21)  # a rule may read the stored value


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("name", ["mean", "var", "std"])
def test_means_and_spreads_of_more_numbers_than_float16_can_count(name, axis):
    x = np.ones((MANY, 2))
    x[::2] = 3
    check(lambda t: getattr(tg, name)(t, axis=axis), x)


CALLS = {
    "sum": lambda t: tg.sum(t, axis=0) * 0.01,
    "cumsum": lambda t: tg.cumsum(t, axis=0)[-1],
    "matmul": lambda t: tg.matmul(t.T, t),
    "linear": lambda t: tg.linear(t.T, t.T, tg.Tensor(np.ones(3, HALF)).astype(t.dtype)),
    "einsum": lambda t: tg.einsum("ij,ik->jk", t, t),
    "broadcast": lambda t: (t[0] + np.zeros((3000, 3), t.dtype)).sum(axis=0),
    "sigmoid": tg.sigmoid,
    "gelu": tg.gelu,
    "gelu of tanh": lambda t: tg.gelu(t, "tanh"),
    "silu": tg.silu,
    "tanh": tg.tanh,
    "power": lambda t: t**3 * HALF(0.125),
    "softmax": lambda t: tg.softmax(t, axis=0),
    "log_softmax": lambda t: tg.log_softmax(t, axis=0),
    "logsumexp": lambda t: tg.logsumexp(t, axis=0),
    "prod": lambda t: tg.prod(t[:9], axis=0),
    "take": lambda t: tg.take(t, np.zeros(5000, int), axis=0).sum(axis=0),
    "conv2d": lambda t: tg.conv2d(t[:48].reshape(1, 1, 12, 12), t[:12].reshape(1, 1, 6, 6)),
}


@pytest.mark.parametrize("name", CALLS)
def test_operators_round_once(name):
    # Values are one rounding away from the truth; what several operators made is a few.
    check(CALLS[name], np.random.default_rng(0).uniform(0.5, 1.5, (200, 3)), rtol=3 * ULP)


def test_single_operators_are_right_to_half_an_ulp():
    x = np.random.default_rng(0).uniform(0.5, 1.5, (200, 3))
    for name in ("sigmoid", "gelu", "silu", "tanh", "softmax", "log_softmax", "logsumexp", "mean", "var", "std"):
        (y, _), (right, _) = both(registry[name], x)
        np.testing.assert_allclose(y, right, rtol=1.01 * ULP / 2, err_msg=name)


def test_gradients_add_up_in_float32():
    w = tg.Tensor(np.ones(1, HALF), requires_grad=True)
    total = sum((w * HALF(1)).sum() for _ in range(3000))
    total.backward()
    assert w.grad == 3000
    (again,) = tg.grad(sum((w * HALF(1)).sum() for _ in range(3000)), [w])
    assert (again.item(), again.dtype) == (3000, HALF)


def test_a_gradient_between_two_operators_does_not_vanish():
    x = tg.Tensor(np.ones(4, HALF), requires_grad=True)
    (tg.mean(x * HALF(2**12)) * HALF(2.0**-24)).backward()  # what arrives at the product is 2**-26
    np.testing.assert_array_equal(x.grad, HALF(2.0**-14))


def test_second_derivatives_and_dtypes():
    x = np.array([1.0, 2.0], HALF)
    for found, right in [
        (tg.hessian(lambda t: (t**3).sum(), x), [[6, 0], [0, 12]]),
        (tg.hvp(lambda t: (t**3).sum(), x, np.ones(2, HALF)), [6, 12]),
        (tg.jacobian(lambda t: t * t, x), [[2, 0], [0, 4]]),
    ]:
        assert found.dtype == HALF
        np.testing.assert_array_equal(found, right)
    wide = tg.Tensor(np.ones(2, np.float32), requires_grad=True)
    narrow = tg.Tensor(x, requires_grad=True)
    y = tg.matmul(narrow, wide)
    y.backward()
    assert (y.dtype, wide.grad.dtype, narrow.grad.dtype) == (np.float32, np.float32, HALF)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss", "focal_loss", "bce", "kl_div", "z_loss", "categorical"])
def test_losses_round_once(name, reduction):
    count = MANY if reduction == "mean" else 40
    x, label = np.random.default_rng(0).standard_normal((count, 3)), np.arange(count) % 3
    p = np.full((count, 3), 0.25)
    f = {
        "cross_entropy": lambda t: tg.cross_entropy(t, label, reduction=reduction),
        "nll_loss": lambda t: tg.nll_loss(t - HALF(4), label, reduction=reduction),
        "focal_loss": lambda t: tg.focal_loss(t, label, gamma=0.5, reduction=reduction),
        "bce": lambda t: tg.binary_cross_entropy_with_logits(t, p, reduction=reduction),
        "kl_div": lambda t: tg.kl_div(t, p.astype(t.dtype), reduction=reduction),
        "z_loss": lambda t: tg.z_loss(t, reduction=reduction),
        "categorical": lambda t: tg.categorical_cross_entropy(tg.softmax(t), label, reduction=reduction),
    }[name]
    check(f, x, rtol=ULP * (4 if name == "categorical" else 1))


def test_layer_norm_in_float16():
    layer = nn.LayerNorm(4, dtype=HALF)
    y = layer(np.array([[300, 600, 900, 1200]], HALF))
    assert y.dtype == HALF
    np.testing.assert_allclose(y.data[0], np.array([-3, -1, 1, 3]) / np.sqrt(5), rtol=ULP)
    zeros = tg.Tensor(np.zeros((2, 4), HALF), requires_grad=True)
    y = nn.LayerNorm(4, eps=1e-12, dtype=HALF)(zeros)
    y.sum().backward()
    np.testing.assert_array_equal(y.data, 0)
    np.testing.assert_array_equal(zeros.grad, 0)


OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=1e-4),
    "momentum": lambda p: optim.SGD(p, lr=1e-5, momentum=0.9, nesterov=True, weight_decay=1e-4),
    "Adam": lambda p: optim.Adam(p, lr=1e-4),
    "AdamW": lambda p: optim.AdamW(p, lr=1e-4),
}


def steps(made, dtype, count=100):
    w = tg.Tensor(np.ones(3, dtype), requires_grad=True)
    optimizer = OPTIMIZERS[made]([w])
    for i in range(count):
        w.grad = np.array([1, 0, 2.0**-12 * (i % 3)], dtype)
        optimizer.step()
    return w, optimizer


@pytest.mark.parametrize("made", OPTIMIZERS)
def test_optimisers_keep_float32_weights_and_state(made):
    """A step of 1e-4 is less than float16 has room for beside 1: it would never move."""
    half, optimizer = steps(made, HALF)
    single, _ = steps(made, np.float32)
    assert half.dtype == HALF
    np.testing.assert_array_equal(half.data, single.data.astype(HALF))
    assert half.data[0] < 1
    state = optimizer.state_dict()
    assert {a.dtype for key, a in state.items() if key[0] == "0" and "count" not in key} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(state["0.weights"], single.data)


@pytest.mark.parametrize("made", OPTIMIZERS)
def test_an_optimiser_goes_on_from_its_state_in_the_same_bits(made):
    straight, _ = steps(made, HALF, 41)
    half, optimizer = steps(made, HALF, 40)
    resumed = tg.Tensor(half.data, requires_grad=True)
    again = OPTIMIZERS[made]([resumed])
    again.load_state_dict(optimizer.state_dict())
    resumed.grad = np.array([1, 0, 2.0**-12], HALF)
    again.step()
    assert resumed.data.tobytes() == straight.data.tobytes()


def test_weights_that_the_user_sets_are_the_ones_that_move():
    w, optimizer = steps("SGD", HALF)
    w.data = [5.0, 5.0, 5.0]
    w.grad = np.array([1, 0, 0], HALF)
    optimizer.step()
    np.testing.assert_array_equal(optimizer.memory[0]["weights"], np.float32([5 - 1e-4, 5, 5]))


@pytest.mark.parametrize("dtype", [HALF, np.float32])
def test_adams_eps_is_not_rounded_to_0(dtype):
    w = tg.Tensor(np.ones(2, dtype), requires_grad=True)
    adam = optim.Adam([w], eps=1e-60)
    for _ in range(3):
        w.grad = np.array([1, 0], dtype)
        adam.step()
    assert np.isfinite(w.data).all()
    assert w.data[1] == 1


def test_clipping_in_float16_scales_by_a_factor_smaller_than_its_numbers():
    w = tg.Tensor(np.ones(2, HALF), requires_grad=True)
    w.grad = np.array([60000, 30000], HALF)
    optim.clip_grad_norm([w], 1e-3)
    np.testing.assert_allclose(w.grad, 1e-3 * np.array([2, 1]) / np.sqrt(5), rtol=ULP)


def test_a_float16_model_learns_digits():
    train, test = tg.data.split(tg.data.load_digits(), 0.2)
    model = nn.Sequential(
        nn.Linear(64, 32, rng=0, dtype=HALF), nn.LayerNorm(32, dtype=HALF), nn.ReLU(),
        nn.Linear(32, 10, rng=1, dtype=HALF),
    )  # fmt: skip
    adam, x = optim.Adam(model.parameters(), lr=0.02), tg.Tensor(train.x.astype(HALF))
    for _ in range(30):
        model.zero_grad()
        tg.cross_entropy(model(x), train.y).backward()
        adam.step()
    assert tg.accuracy(model(tg.Tensor(test.x.astype(HALF))), test.y) > 0.9
