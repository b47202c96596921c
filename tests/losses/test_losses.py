"""The losses beside cross_entropy, masks, and linear_cross_entropy."""

import tracemalloc
import warnings

import mpmath
import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import nn
from tinygrad_ce.kernels import linear as blocks

INF = np.inf


def value_and_slope(f, x):
    t = tg.Tensor(x, requires_grad=True)
    y = f(t)
    y.sum().backward()
    return y.numpy(), t.grad


def test_values_and_gradients_as_pytorch(torch_figures):
    layers = {
        "nll_loss": nn.NLLLoss,
        "binary_cross_entropy_with_logits": nn.BCEWithLogitsLoss,
        "binary_cross_entropy": nn.BCELoss,
        "kl_div": nn.KLDivLoss,
        "mse_loss": nn.MSELoss,
        "l1_loss": nn.L1Loss,
        "huber_loss": nn.HuberLoss,
    }
    for row in torch_figures["losses"]:
        target, options = np.array(row["target"]), row["options"]
        for loss in (lambda t, y: getattr(tg, row["name"])(t, y, **options), layers[row["name"]](**options)):
            t = tg.Tensor(row["input"], requires_grad=True)
            value = loss(t, target)
            value.sum().backward()
            np.testing.assert_allclose(value.data, row["loss"], rtol=1e-12, err_msg=row["name"])
            np.testing.assert_allclose(t.grad, row["gradient"], rtol=1e-12, atol=1e-15, err_msg=row["name"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_cross_entropy_keeps_every_digit(dtype):
    rng = np.random.default_rng(0)
    x = (60 * rng.uniform(-1, 1, 1000)).astype(dtype)
    y = rng.choice([0.0, 1.0], 1000).astype(dtype)
    loss, slope = value_and_slope(lambda t: tg.binary_cross_entropy_with_logits(t, y, reduction="none"), x)
    worst = 0.0
    with mpmath.workdps(60):
        for xi, yi, li, gi in zip(x, y, loss, slope, strict=True):
            signed = mpmath.mpf(float(xi)) * (1 if yi else -1)
            e = mpmath.e**-signed
            for found, truth in ((li, mpmath.log1p(e)), (abs(gi), e / (1 + e))):
                worst = max(worst, float(abs(mpmath.mpf(float(found)) / truth - 1)))
    assert worst < 8 * np.finfo(dtype).eps


def test_categorical_cross_entropy_is_exact_and_warns_of_logits():
    assert float(tg.categorical_cross_entropy([[0.1, 0.8, 0.1]], [[0.0, 0.0, 1.0]])) == pytest.approx(
        np.log(10), rel=1e-15
    )
    assert tg.categorical_cross_entropy([[0.2, 0.3, 0.5]], [2]) == pytest.approx(np.log(2), rel=1e-15)
    assert tg.categorical_cross_entropy([[1.0, 0.0]], [1]) == INF
    assert tg.categorical_cross_entropy([[1.0, 0.0]], [0]) == 0
    tiny = tg.categorical_cross_entropy([[1 - 1e-16, 1e-300]], [[0.0, 1.0]])
    assert tiny == pytest.approx(300 * np.log(10))
    with pytest.warns(UserWarning, match=r"row \[1\] of input sums to 1.5, not 1"):
        tg.categorical_cross_entropy([[0.5, 0.5], [0.5, 1.0]], [0, 1])
    with pytest.raises(ValueError, match=r"input\[0, 0\] is 2.0, expected a probability"):
        tg.categorical_cross_entropy([[2.0, -1.0]], [0])


def test_probabilities_given_as_logits_are_warned_about_and_can_be_silenced():
    p = tg.softmax(np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]]))
    with pytest.warns(UserWarning, match="looks like probabilities") as caught:
        tg.cross_entropy(p, [0, 1])
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*looks like probabilities")
        tg.cross_entropy(p, [0, 1])
    tg.cross_entropy(np.array([[0.2, 0.3, 0.6]]), [0])
    tg.cross_entropy(np.array([[0.2, 0.3, 0.5], [0.1, 2.0, 0.0]]), [0, 1])


def test_focal_loss_is_cross_entropy_at_gamma_0_and_keeps_confident_rows():
    x, y, w = np.random.default_rng(0).standard_normal((5, 3)), np.array([0, 2, 1, -100, 1]), [0.5, 1.0, 2.0]
    for reduction in ("mean", "sum", "none"):
        options = {"weight": w, "reduction": reduction}
        np.testing.assert_allclose(
            tg.focal_loss(x, y, gamma=0.0, **options), tg.cross_entropy(x, y, **options), rtol=1e-14
        )
    p = np.exp(-40.0)
    assert tg.focal_loss(np.array([[40.0, 0.0]]), [0]) == pytest.approx(p**3, rel=1e-14)
    with pytest.raises(ValueError, match="gamma is -1"):
        tg.focal_loss(x, y, gamma=-1)


def test_z_loss_one_hot_softmin_logsigmoid():
    x = np.array([[1.0, 2.0, 3.0]])
    assert tg.z_loss(x) == pytest.approx(float(tg.logsumexp(x)) ** 2)
    assert tg.one_hot([[0, 2]], 4).tolist() == [[[1, 0, 0, 0], [0, 0, 1, 0]]]
    with pytest.raises(ValueError, match=r"one_hot: target\[1\] is 4; valid are 0 to 3"):
        tg.one_hot([0, 4], 4)
    np.testing.assert_array_equal(tg.softmin(x), tg.softmax(-x))
    np.testing.assert_array_equal(nn.Softmin()(x), tg.softmin(x))
    np.testing.assert_array_equal(nn.LogSigmoid()(x), tg.logsigmoid(x))


def test_gumbel_softmax_draws_from_the_softmax():
    x = tg.Tensor(np.tile([0.0, 1.0, 2.0], (20_000, 1)), requires_grad=True)
    y = tg.gumbel_softmax(x, tau=0.5, hard=True, rng=0)
    np.testing.assert_allclose(y.data.mean(axis=0), tg.softmax(np.array([0.0, 1.0, 2.0])), atol=0.012)
    assert np.abs(y.data - y.data.round()).max() < 1e-15
    (y * np.arange(3.0)).sum().backward()
    assert np.abs(x.grad).max() > 0
    soft = tg.gumbel_softmax(x, rng=1)
    np.testing.assert_allclose(soft.data.sum(axis=1), 1, rtol=1e-14)
    with pytest.raises(ValueError, match="tau is 0"):
        tg.gumbel_softmax(x, tau=0)


def test_masks_leave_classes_out():
    x = np.array([[1.0, 50.0, 2.0], [0.0, 1.0, np.nan]])
    mask = np.array([[True, False, True], [True, True, False]])
    p, slope = value_and_slope(lambda t: tg.softmax(t, where=mask)[:, 0], x)
    np.testing.assert_allclose(p, [1 / (1 + np.e), 1 / (1 + np.e)], rtol=1e-15)
    assert (slope[~mask] == 0).all()
    assert tg.softmax(x, where=mask)[~mask].tolist() == [0, 0]
    assert tg.log_softmax(x, where=mask)[~mask].tolist() == [-INF, -INF]
    np.testing.assert_allclose(
        tg.logsumexp(x, axis=1, where=mask), [2 + np.log1p(np.exp(-1)), 1 + np.log1p(np.exp(-1))]
    )
    assert tg.logsumexp(x, axis=1, where=np.zeros(3, bool)).tolist() == [-INF, -INF]
    _, slope = value_and_slope(lambda t: tg.logsumexp(t, axis=1, where=mask), x)
    assert (slope[~mask] == 0).all()
    _, slope = value_and_slope(lambda t: tg.where(mask, tg.log_softmax(t, where=mask), 0.0), x)
    assert np.isfinite(slope).all()


def test_log_softmax_gradient_of_a_confident_row_keeps_its_digits():
    t = tg.Tensor([[40.0, 0.0]], requires_grad=True)
    tg.nll_loss(tg.log_softmax(t), [0]).backward()
    np.testing.assert_allclose(t.grad, [[-np.exp(-40.0), np.exp(-40.0)]], rtol=1e-15)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: tg.binary_cross_entropy_with_logits(np.zeros(3), np.zeros((3, 1))), ValueError, "it is not broadcast"),
        (lambda: tg.binary_cross_entropy_with_logits(np.zeros(2), [0.0, 2.0]), ValueError, r"target\[1\] is 2.0"),
        (lambda: tg.binary_cross_entropy_with_logits(np.zeros(2), [0.0, np.nan]), ValueError, r"target\[1\] is nan"),
        (lambda: tg.binary_cross_entropy([0.5, 1.5], [0.0, 1.0]), ValueError, r"input\[1\] is 1.5"),
        (lambda: tg.binary_cross_entropy([0.5], [0.0], weight=[1.0, 2.0]), ValueError, r"weight has shape \(2,\)"),
        (lambda: tg.kl_div(np.zeros((2, 2)), np.zeros(2)), ValueError, r"target has shape \(2,\)"),
        (
            lambda: tg.mse_loss(np.zeros((3, 1)), np.zeros(3)),
            ValueError,
            r"mse_loss: target has shape \(3,\)",
        ),
        (lambda: tg.l1_loss(np.zeros((2, 3)), np.zeros(3)), ValueError, r"expected input's shape \(2, 3\)"),
        (lambda: tg.huber_loss(np.zeros(3), 0.0), ValueError, r"huber_loss: target has shape \(\).* not broadcast"),
        (lambda: tg.huber_loss([1.0], [0.0], delta=0), ValueError, "huber_loss: delta is 0, expected a number above 0"),
        (lambda: tg.huber_loss([1.0], [0.0], delta="1"), TypeError, "huber_loss: delta is '1', of type str"),
        (lambda: tg.mse_loss([1.0], [0.0], reduction="avg"), ValueError, "mse_loss: reduction is 'avg'"),
        (lambda: tg.focal_loss(np.zeros((2, 3)), [0, 1], gamma="2"), TypeError, "focal_loss: gamma is '2'"),
        (lambda: tg.gumbel_softmax(np.zeros(3), "1"), TypeError, "gumbel_softmax: tau is '1'"),
        (lambda: tg.cross_entropy([[0.0, 2]], [0], label_smoothing="0.1"), TypeError, "label_smoothing is '0.1'"),
        (lambda: tg.kl_div(np.zeros(2), np.zeros(2), reduction="avg"), ValueError, "reduction is 'avg'"),
        (lambda: tg.nll_loss(np.zeros((2, 3)), [0, 3]), ValueError, r"nll_loss: target\[1\] is 3"),
        (lambda: tg.focal_loss(np.zeros((2, 3)), [0, 3]), ValueError, r"target\[1\] is 3"),
        (lambda: tg.linear_cross_entropy(np.zeros((2, 3)), np.zeros((4, 2)), [0, 1]), ValueError, r"\(4, 2\)"),
        (lambda: tg.linear_cross_entropy(np.zeros((2, 3)), np.zeros((4, 3)), [0, 4]), ValueError, r"target\[1\] is 4"),
        (
            lambda: tg.linear_cross_entropy(np.zeros((2, 3)), np.zeros((4, 3)), [0, 1], linear_bias=np.zeros(3)),
            ValueError,
            r"linear_bias has shape \(3,\), expected \(4,\)",
        ),
    ],
)
def test_bad_input_is_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


# linear_cross_entropy

RNG = np.random.default_rng(5)
ROWS = RNG.standard_normal((9, 4))
WEIGHTS = RNG.standard_normal((7, 4))
BIAS = RNG.standard_normal(7)
LABELS = np.array([0, 6, 3, -100, 2, 2, 5, -100, 1])
SOFT = RNG.dirichlet(np.ones(7), 9)
SOFT[0] = np.eye(7)[3]


@pytest.mark.parametrize("block", [1, 18, 1 << 20])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("target", [LABELS, SOFT])
def test_blocks_give_what_the_two_steps_give(block, reduction, smoothing, weighted, target, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", block)
    monkeypatch.setattr(blocks, "_ROWS", 4)
    options = {"reduction": reduction, "label_smoothing": smoothing}
    options["weight"] = np.linspace(0.5, 2, 7) if weighted else None
    found, expected = [], []
    for results, one in ((found, True), (expected, False)):
        x, w, b = (tg.Tensor(a, requires_grad=True) for a in (ROWS, WEIGHTS, BIAS))
        if one:
            loss = tg.linear_cross_entropy(x, w, target, linear_bias=b, **options)
        else:
            loss = tg.cross_entropy(tg.linear(x, w, b), target, **options)
        (loss * np.arange(1.0, 10.0) if reduction == "none" else loss).sum().backward()
        results += [loss.data, x.grad, w.grad, b.grad]
        x.grad = w.grad = b.grad = None
        again = loss if reduction != "none" else loss * np.arange(1.0, 10.0)
        again.sum().backward()  # without what the forward kept
        results += [x.grad, w.grad, b.grad]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_blocks_tell_the_accuracy_of_the_rows_that_count():
    z = ROWS @ WEIGHTS.T + BIAS
    counted = LABELS >= 0
    _, accuracy = tg.linear_cross_entropy(ROWS, WEIGHTS, LABELS, linear_bias=BIAS, return_accuracy=True)
    assert accuracy == pytest.approx((z.argmax(axis=1) == LABELS)[counted].mean())
    recorded = tg.Tensor(WEIGHTS, requires_grad=True)
    assert tg.linear_cross_entropy(ROWS, recorded, LABELS, linear_bias=BIAS, return_accuracy=True)[1] == accuracy


def test_blocks_keep_confident_rows_and_nan_to_themselves(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 4)
    x = np.array([[1.0, 0.0], [np.nan, 0.0], [0.0, 1.0]])
    w = np.array([[40.0, 0.0], [0.0, 1.0], [-800.0, 0.0]])
    t = tg.Tensor(x, requires_grad=True)
    loss = tg.linear_cross_entropy(t, w, [0, 0, 1], reduction="none")
    assert loss.data[0] == pytest.approx(np.exp(-40.0), rel=1e-14)
    assert np.isnan(loss.data).tolist() == [False, True, False]
    loss.sum().backward()
    assert t.grad[0, 0] == pytest.approx(-40 * np.exp(-40.0), rel=1e-13)
    assert np.isnan(t.grad).any(axis=1).tolist() == [False, True, False]


def test_nothing_to_average_in_blocks():
    loss, accuracy = tg.linear_cross_entropy(ROWS[:2], WEIGHTS, [-100, -100], return_accuracy=True)
    assert np.isnan(loss)
    assert np.isnan(accuracy)
    assert tg.linear_cross_entropy(ROWS[:2], WEIGHTS, [-100, -100], reduction="sum") == 0


def test_memory_stays_a_block_where_the_logits_would_be_64_mib():
    rng = np.random.default_rng(0)
    x = tg.Tensor(rng.standard_normal((256, 8)), requires_grad=True, dtype=np.float32)
    w = tg.Tensor(rng.standard_normal((65536, 8)), requires_grad=True, dtype=np.float32)
    y = rng.integers(0, 65536, 256)
    tracemalloc.start()
    tg.linear_cross_entropy(x, w, y).backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - x.grad.nbytes - w.grad.nbytes < 12 * 2**20


@pytest.mark.parametrize("gamma", [0.01, 0.5, 1, 2.0])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_focal_loss_of_a_certain_row_has_no_gradient(gamma, dtype):
    x = np.array([[0.0, -2000.0], [-INF, 0.0], [0.0, 0.0]], dtype)
    value, slope = value_and_slope(lambda t: tg.focal_loss(t, [0, 1, 0], gamma=gamma, reduction="none"), x)
    np.testing.assert_array_equal(value[:2], 0)
    np.testing.assert_array_equal(slope[:2], 0)
    assert np.isfinite(slope).all()
    assert slope[2, 0] < 0
    second = tg.hessian(lambda t: tg.focal_loss(t, [0], gamma=gamma), x[:1])
    np.testing.assert_array_equal(second, 0)


@pytest.mark.parametrize("away", [3.0, 40.0, 90.0, 103.0])
def test_focal_losses_gradient_of_an_all_but_certain_row_keeps_its_digits(away):
    """With n the negative log-likelihood, the gradient is n'(x) (1 - p)^γ (1 + γ n p / (1 - p))."""
    for dtype in (np.float32, np.float64):
        _, slope = value_and_slope(lambda t: tg.focal_loss(t, [0], gamma=0.05), np.array([[0.0, -away]], dtype))
        with mpmath.workprec(500):
            e = mpmath.exp(-away)
            n, p = mpmath.log1p(e), 1 / (1 + e)
            right = (1 - p) ** (1 + mpmath.mpf(0.05)) * (1 + mpmath.mpf(0.05) * n * p / (1 - p))
        atol = 2.0**-148 if dtype == np.float32 else 0
        np.testing.assert_allclose(slope, [[-float(right), float(right)]], rtol=8 * np.finfo(dtype).eps, atol=atol)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nll_loss_without_any_weight_is_cross_entropys(reduction):
    options = {"weight": [0.0, 0, 0], "reduction": reduction}
    x = tg.log_softmax(np.zeros((2, 3)))
    with np.errstate(invalid="ignore"):
        value, slope = value_and_slope(lambda t: tg.nll_loss(t, [0, 1], **options), x)
    expected = np.nan if reduction == "mean" else 0
    np.testing.assert_array_equal(value, np.full(value.shape, expected))
    assert not np.signbit(value).any()
    np.testing.assert_array_equal(slope[[0, 1], [0, 1]], expected)
    sure, _ = value_and_slope(lambda t: tg.nll_loss(t, [0], reduction="none"), np.array([[0.0, -INF]]))
    assert not np.signbit(sure).any()


@pytest.mark.parametrize("loss", [tg.mse_loss, tg.l1_loss, tg.huber_loss])
def test_losses_of_numbers_take_whole_ones_and_give_both_sides_their_gradient(loss):
    assert (
        loss(tg.Tensor([1, 2]), [1.5, 4.5], reduction="none").data.tolist()
        == loss([1.0, 2.0], [1.5, 4.5], reduction="none").tolist()
    )
    x, y = tg.Tensor([1.0, 2.0, 7.0], requires_grad=True), tg.Tensor([1.5, 4.5, 6.0], requires_grad=True)
    loss(x, y).backward()
    np.testing.assert_array_equal(x.grad, -y.grad)
    assert loss(x.astype("float32"), [1.0, 2.0, 3.0]).dtype == np.float32
    assert loss(x.astype("float16"), [1.0, 2.0, 3.0]).dtype == np.float16
    assert np.isnan(loss(np.zeros(0), np.zeros(0)))  # the mean of nothing, as cross_entropy's


def test_huber_loss_far_away_is_a_line_and_near_0_a_parabola():
    x = tg.Tensor([0.0, 1e-160, 1e200, -np.inf], requires_grad=True)
    loss = tg.huber_loss(x, np.zeros(4), delta=2.0, reduction="none")
    np.testing.assert_array_equal(loss.data, [0, 0.5e-320, 2e200, np.inf])
    loss.backward(np.ones(4))
    np.testing.assert_array_equal(x.grad, [0, 1e-160, 2, -2])
    at_0 = tg.hessian(lambda x: tg.huber_loss(x, np.zeros(1)), np.zeros(1))
    assert np.asarray(at_0).item() == 1


def test_integer_tensors_are_floats_to_a_loss():
    soft = tg.binary_cross_entropy_with_logits(tg.Tensor([0, 1]), [0.5, 0.25], reduction="none")
    np.testing.assert_allclose(soft.data, [np.log(2), 0.75 * (1 + np.log1p(np.exp(-1))) + 0.25 * np.log1p(np.exp(-1))])
