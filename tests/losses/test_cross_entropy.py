"""softmax and cross-entropy against closed forms, 60-digit arithmetic and PyTorch's figures."""

import mpmath
import numpy as np
import pytest

import tinygrad_ce as tg

NAN, INF = np.nan, np.inf


def loss_and_gradient(x, target, **options):
    t = tg.Tensor(x, requires_grad=True)
    loss = tg.cross_entropy(t, target, **options)
    loss.sum().backward()
    return loss.numpy(), t.grad


# Each row: dtype, logits, label, loss, gradient at the label (exact values, rounded to 8 digits)
TRUTH = [
    (np.float32, [0, -20], 0, 2.0611537e-9, -2.0611537e-9),
    (np.float64, [0, -40], 0, 4.2483543e-18, -4.2483543e-18),
    (np.float32, [100, 80], 0, 2.0611537e-9, -2.0611537e-9),
    (np.float64, [0, -800], 1, 800.0, -1.0),
    (np.float32, [1e8, 1e8], 0, 0.69314718, -0.5),
    (np.float64, [0, 1, -INF], 1, 0.31326169, -0.26894142),
    (np.float64, [0, 1, -INF], 2, INF, -1.0),
    (np.float64, [-INF, 3, -INF], 1, 0.0, 0.0),
    (np.float64, [7.0], 0, 0.0, 0.0),
]


@pytest.mark.parametrize(("dtype", "logits", "label", "loss", "slope"), TRUTH)
def test_rows_whose_truth_is_known(dtype, logits, label, loss, slope):
    found, gradient = loss_and_gradient(np.array([logits], dtype), [label])
    np.testing.assert_allclose(found, loss, rtol=1e-7)
    np.testing.assert_allclose(gradient[0, label], slope, rtol=1e-7)
    soft = np.zeros((1, len(logits)), dtype)
    soft[0, label] = 1
    found, gradient = loss_and_gradient(np.array([logits], dtype), soft)
    np.testing.assert_allclose(found, loss, rtol=1e-7)
    np.testing.assert_allclose(gradient[0, label], slope, rtol=1e-7)


@pytest.mark.parametrize("bad", [[-INF, -INF], [0.0, NAN], [INF, 0.0]])
@pytest.mark.parametrize("soft", [False, True])
def test_an_undefined_row_is_nan_and_touches_no_other(bad, soft):
    x = np.array([[0.0, 1.0], bad, [2.0, 1.0]])
    target = np.eye(2)[[0, 0, 1]] if soft else np.array([0, 0, 1])
    loss, gradient = loss_and_gradient(x, target, reduction="none")
    assert np.isnan(loss).tolist() == [False, True, False]
    assert np.isnan(gradient).all(axis=1).tolist() == [False, True, False]
    assert np.isfinite(gradient[[0, 2]]).all()
    for f in (tg.softmax, tg.log_softmax):
        assert np.isnan(f(x)).all(axis=1).tolist() == [False, True, False]


def exact(row):
    """Logits as 60-digit numbers: e^x, their sum."""
    e = [mpmath.e ** mpmath.mpf(float(v)) for v in row]
    return e, mpmath.fsum(e)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_digit_of_loss_and_gradient(dtype):
    """2,000 rows of scales 1 to 60 and offsets to 1e4: within 4 eps of the truth, and no 0 where it isn't 0."""
    rng = np.random.default_rng(0)
    eps, tiny = np.finfo(dtype).eps, np.finfo(dtype).tiny
    scales = rng.uniform(1, 60, (2000, 1))
    offsets = rng.choice([0.0, 1.0, 100.0, 1e4], (2000, 1)) * rng.uniform(-1, 1, (2000, 1))
    x = (scales * rng.standard_normal((2000, 5)) + offsets).astype(dtype)
    labels = np.where(rng.random(2000) < 0.5, x.argmax(axis=1), rng.integers(0, 5, 2000))
    loss, gradient = loss_and_gradient(x, labels, reduction="none")
    loss_soft, gradient_soft = loss_and_gradient(x, np.eye(5, dtype=dtype)[labels], reduction="none")
    p, logp = tg.softmax(x), tg.log_softmax(x)
    worst = 0.0
    with mpmath.workdps(60):
        for i, label in enumerate(labels):
            e, total = exact(x[i])
            others = mpmath.fsum(v for j, v in enumerate(e) if j != label)
            truth = [(loss[i], mpmath.log1p(others / e[label])), (loss_soft[i], mpmath.log1p(others / e[label]))]
            truth += [(-logp[i, label], mpmath.log1p(others / e[label]))]
            for j in range(5):
                slope = -others / total if j == label else e[j] / total
                truth += [(gradient[i, j], slope), (gradient_soft[i, j], slope), (p[i, j], e[j] / total)]
            for found, value in truth:
                if abs(value) > tiny:
                    assert found != 0
                    worst = max(worst, float(abs(mpmath.mpf(float(found)) / value - 1)) / eps)
    assert worst < 4, f"{worst} eps"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradient_rows_sum_to_zero_and_shifts_change_nothing(dtype):
    rng = np.random.default_rng(1)
    x = (5 * rng.standard_normal((500, 7))).astype(dtype)
    labels = rng.integers(0, 7, 500)
    loss, gradient = loss_and_gradient(x, labels, reduction="none")
    assert np.abs(gradient.astype(np.float64).sum(axis=1)).max() < 4 * np.finfo(dtype).eps
    shift = 2.0 ** rng.integers(3, 6, (500, 1))
    x = np.round(x * 64) / 64  # exactly representable beside the shift
    a, b = loss_and_gradient(x, labels)[1], loss_and_gradient((x + shift).astype(dtype), labels)[1]
    np.testing.assert_allclose(b, a, rtol=64 * np.finfo(dtype).eps)
    assert loss.shape == (500,)


def test_options_as_pytorch(torch_figures):
    figures = torch_figures["cross_entropy"]
    for row in figures["rows"]:
        target = np.array(figures["soft" if row["soft"] else "index"])
        loss, gradient = loss_and_gradient(
            np.array(figures["logits"]),
            target,
            weight=figures["weight"] if row["weighted"] else None,
            reduction=row["reduction"],
            label_smoothing=row["smoothing"],
        )
        np.testing.assert_allclose(loss, row["loss"], rtol=1e-13, err_msg=str(row))
        np.testing.assert_allclose(gradient, row["gradient"], rtol=1e-12, atol=1e-16, err_msg=str(row))


def test_figures_of_the_textbook_rows():
    rows = np.array([[2, -1, 0.1], [3, -1, 1]])
    assert tg.cross_entropy(rows[:1], [1]) == pytest.approx(3.1818, abs=5e-5)
    assert tg.cross_entropy(rows, [1, 2]) == pytest.approx(2.6624, abs=5e-5)
    np.testing.assert_allclose(-tg.log_softmax(rows), [[0.1818, 3.1818, 2.0818], [0.1429, 4.1429, 2.1429]], atol=5e-5)


@pytest.mark.parametrize("soft", [False, True])
def test_class_axis_and_extra_axes(soft):
    rng = np.random.default_rng(2)
    x, labels = rng.standard_normal((2, 3, 4)), rng.integers(0, 3, (2, 4))
    flat = np.moveaxis(x, 1, -1).reshape(8, 3)
    target = np.moveaxis(np.eye(3)[labels], -1, 1) if soft else labels
    expected, slope = loss_and_gradient(flat, labels.reshape(8), reduction="none")
    loss, gradient = loss_and_gradient(x, target, reduction="none")
    np.testing.assert_allclose(loss, expected.reshape(2, 4), rtol=1e-14)
    np.testing.assert_allclose(gradient, np.moveaxis(slope.reshape(2, 4, 3), -1, 1), rtol=1e-12, atol=1e-16)
    last, gradient_last = loss_and_gradient(
        np.moveaxis(x, 1, -1), np.eye(3)[labels] if soft else labels, axis=-1, reduction="none"
    )
    np.testing.assert_array_equal(last, loss)
    np.testing.assert_array_equal(np.moveaxis(gradient_last, -1, 1), gradient)
    one = tg.cross_entropy(x[0, :, 0], np.eye(3)[labels[0, 0]] if soft else labels[0, 0])
    assert one.shape == ()
    assert one == pytest.approx(loss[0, 0])


def test_ignored_rows_cost_nothing_even_if_they_are_nan():
    x = np.array([[1.0, 2.0], [NAN, NAN], [0.5, -1.0]])
    loss, gradient = loss_and_gradient(x, [0, -100, 1])
    expected, slope = loss_and_gradient(x[[0, 2]], [0, 1])
    assert loss == expected
    np.testing.assert_array_equal(gradient[[0, 2]], slope)
    assert gradient[1].tolist() == [0, 0]
    loss, _ = loss_and_gradient(x, [0, 1, 1], ignore_index=1)
    assert loss == pytest.approx(float(np.log1p(np.e)))


@pytest.mark.parametrize(("x", "target"), [(np.ones((2, 3)), [-100, -100]), (np.ones((0, 3)), np.zeros(0, int))])
def test_nothing_to_average(x, target):
    loss, gradient = loss_and_gradient(x, target)
    assert np.isnan(loss)
    assert not gradient.any()
    assert loss_and_gradient(x, target, reduction="sum")[0] == 0
    assert loss_and_gradient(x, target, reduction="none")[0].tolist() == [0] * len(x)


def test_gradient_in_soft_targets_and_with_unnormalised_ones():
    x = np.array([[1.0, 0.0, -2.0]])
    y = tg.Tensor([[0.5, 1.0, 0.25]], requires_grad=True)
    t = tg.Tensor(x, requires_grad=True)
    tg.cross_entropy(t, y, reduction="sum").backward()
    np.testing.assert_allclose(y.grad, -tg.log_softmax(x), rtol=1e-14)
    np.testing.assert_allclose(t.grad, tg.softmax(x) * 1.75 - y.data, rtol=1e-13)


def test_a_weight_of_zero_silences_and_masked_classes_are_no_nan():
    loss, gradient = loss_and_gradient(np.array([[0.0, 1.0, -INF]]), [[0.5, 0.5, 0.0]])
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
    loss, _ = loss_and_gradient(np.array([[0.0, -INF], [1.0, 0.0]]), [1, 0], weight=[1.0, 0.0])
    assert loss == pytest.approx(float(np.log1p(np.exp(-1.0))))


def test_float16_is_computed_in_float32():
    x = np.array([[0.0, -9.0]], np.float16)
    loss, gradient = loss_and_gradient(x, [0])
    assert (loss.dtype, gradient.dtype) == (np.float16, np.float16)
    assert loss == np.float16(np.log1p(np.exp(-9.0)))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint64, ">i4", ">i8"])
def test_any_integer_dtype_of_labels(dtype):
    assert tg.cross_entropy(2 * np.eye(3), np.array([0, 1, 2], dtype)) == pytest.approx(0.2395447662)


def test_logsumexp_at_the_ends():
    assert tg.logsumexp([-INF, -INF]) == -INF
    assert tg.logsumexp([INF, 0.0]) == INF
    assert np.isnan(tg.logsumexp([NAN, 0.0]))
    assert tg.logsumexp(np.array([0.0, -40.0])) == pytest.approx(np.exp(-40.0), rel=1e-15)


def test_second_derivative_of_a_confident_row_keeps_its_digits():
    found = tg.hessian(lambda x: tg.cross_entropy(x, 0), np.array([40.0, 0.0]))
    p = np.exp(-40.0)
    np.testing.assert_allclose(found, [[p, -p], [-p, p]], rtol=1e-14)


# Bad targets and options

X = np.zeros((4, 3))


@pytest.mark.parametrize(
    ("target", "options", "kind", "message"),
    [
        ([0, 1, 3, 2], {}, ValueError, r"target\[2\] is 3; valid are 0 to 2, for 3 classes"),
        ([1, 2, 3, 1], {}, ValueError, r"target\[2\] is 3.*labels counted from 1\? use target - 1"),
        ([0, -1, 1, -1], {}, ValueError, r"target\[1\] is -1 \(and 1 more like it\).*padding\? give .* ignore_index"),
        ([0.0, 1.0, 2.0, 0.0], {}, TypeError, r"dtype float64 and shape \(4,\).*use target.astype\(int\)"),
        ([0.0, NAN, 2.0, 0.0], {}, TypeError, r"target\[1\] is nan"),
        ([[0], [1], [2], [0]], {}, ValueError, r"shape \(4, 1\), expected \(4,\); a column of labels"),
        ([0, 1], {}, ValueError, r"shape \(2,\), expected \(4,\); 2 labels for 4 rows"),
        (np.eye(3, dtype=int)[[0, 1, 2, 0]], {}, ValueError, "one-hot rows of integers"),
        ([True, False, True, True], {}, TypeError, "bool"),
        (np.ones((4, 2)), {}, TypeError, r"floats of shape \(4, 3\)"),
        (np.array([[0.5, 0.7, -0.2]] * 4), {}, ValueError, r"target\[0, 2\] is -0.2; a soft target is a finite mass"),
        (np.full((4, 3), NAN), {}, ValueError, r"target\[0, 0\] is nan"),
        ([0, 1, 2, 0], {"reduction": "avg"}, ValueError, "reduction is 'avg', expected one of 'mean', 'sum', 'none'"),
        ([0, 1, 2, 0], {"weight": [1.0, 2.0]}, ValueError, r"weight has shape \(2,\).*3 classes"),
        ([0, 1, 2, 0], {"weight": [1.0, NAN, 2.0]}, ValueError, r"weight\[1\] is nan"),
        ([0, 1, 2, 0], {"weight": [1.0, -1.0, 2.0]}, ValueError, r"weight\[1\] is -1.0"),
        ([0, 1, 2, 0], {"label_smoothing": 1.0}, ValueError, r"label_smoothing is 1.0, expected a number in \[0, 1\)"),
        ([0, 1, 2, 0], {"label_smoothing": -0.1}, ValueError, "label_smoothing is -0.1"),
        ([0, 1, 2, 0], {"axis": 2}, ValueError, r"axis is 2, but input has shape \(4, 3\)"),
        (["a", "b", "c", "a"], {}, TypeError, "dtype <U1"),
    ],
)
def test_bad_targets_and_options_are_named(target, options, kind, message):
    x = tg.Tensor(X, requires_grad=True)
    with pytest.raises(kind, match=message):
        tg.cross_entropy(x, target, **options)
    assert x.grad is None


def test_position_in_many_axes_is_named():
    with pytest.raises(ValueError, match=r"target\[1, 2\] is 9"):
        tg.cross_entropy(np.zeros((2, 3, 4)), [[0, 0, 0, 0], [0, 0, 9, 0]])
    with pytest.raises(ValueError, match="single number"):
        tg.cross_entropy(np.float64(1.0), 0)


@pytest.mark.parametrize("ignored", [0.5, -100.0, np.float64(1), True, "1", [1], np.array([1])])
@pytest.mark.parametrize("loss", [tg.cross_entropy, tg.nll_loss, tg.focal_loss])
def test_a_label_to_ignore_is_an_integer(loss, ignored):
    x = np.log(np.full((2, 2), 0.5))
    targets = [[0, 1], np.array([1, 1])] + ([np.full((2, 2), 0.5)] if loss is tg.cross_entropy else [])
    for target in targets:
        with pytest.raises(TypeError, match=r"ignore_index is .*, expected an integer, the label of rows to ignore"):
            loss(x, target, ignore_index=ignored)
    with pytest.raises(TypeError, match="linear_cross_entropy: ignore_index is"):
        tg.linear_cross_entropy(x, x, [0, 1], ignore_index=ignored)
    for fine in (1, np.int8(1), np.array(1)):
        assert loss(x, [0, 1], ignore_index=fine) == loss(x[:1], [0])
    assert loss(x, [0, 1], ignore_index=None) == loss(x, [0, 1])
