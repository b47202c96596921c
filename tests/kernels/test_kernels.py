"""The kernels' blocks and threads: every kind of row in one large array, the same bits for any number of threads."""

import os
import subprocess
import sys
import threading
import weakref

import mpmath
import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.kernels import softmax as kernels
from tinygrad_ce.kernels import threads

KINDS = [
    "ordinary",
    "confident",
    "wide",
    "wider",
    "far up",
    "far down",
    "low",
    "beyond",
    "steep",
    "masked",
    "masked by -1e9",
]


def row(kind, classes, rng):
    x = rng.standard_normal(classes)
    if kind == "confident":
        x[rng.integers(classes)] += 30
    if kind.startswith("masked"):
        x[rng.random(classes) < 0.5] = -np.inf if kind == "masked" else -1e9
        x[0] = 0.5
    scale = {"wide": 60, "wider": 1000}.get(kind, 1)
    if kind == "steep":
        x = np.where(x > 0, 65.0, -62.0) + x / 8
    offset = {"far up": 1e4, "far down": -1e4, "low": -75.3, "beyond": 95.1}.get(kind, 0)
    return scale * x + offset


def matrix(count, classes, dtype, kinds=KINDS, seed=0):
    rng = np.random.default_rng(seed)
    which = rng.integers(len(kinds), size=count)
    x = np.array([row(kinds[k], classes, rng) for k in which]).astype(dtype)
    return x, rng.integers(0, classes, count), which


def truth(x, t):
    """Loss and gradient of one row, in 50 digits."""
    with mpmath.workdps(50):
        e = [mpmath.e ** mpmath.mpf(float(v)) if np.isfinite(v) else mpmath.mpf(0) for v in x]
        total = mpmath.fsum(e)
        others = mpmath.fsum(v for j, v in enumerate(e) if j != t)
        loss = mpmath.log1p(others / e[t]) if e[t] else mpmath.inf
        return loss, [-others / total if j == t else v / total for j, v in enumerate(e)]


def eps_off(number, exact, dtype):
    """The relative error in eps; 0 where the truth is too small for the dtype to hold it with all digits."""
    info = np.finfo(dtype)
    if abs(exact) == mpmath.inf:
        return 0.0 if np.isinf(number) else np.inf
    if abs(exact) < 2.1 * float(info.tiny):
        return 0.0 if abs(number) <= 2.2 * info.tiny else np.inf
    return float(abs(mpmath.mpf(float(number)) / exact - 1)) / float(info.eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kinds", [KINDS, *([kind] for kind in KINDS), ["ordinary"] * 9 + KINDS])
@pytest.mark.parametrize(
    ("count", "classes"), [(8, 2), (30, 5), (20_000, 2), (8000, 5), (600, 70), (130, 300), (40, 1500)]
)
def test_every_kind_of_row_is_right_to_the_last_digits(count, kinds, classes, dtype):
    x, t, _ = matrix(count, classes, dtype, kinds)
    loss, slope = kernels.index_cross_entropy(x, t, dtype(1), keep=True)
    p, logs = kernels.softmax(x), kernels.log_softmax(x)
    soft_loss, soft_slope = kernels.soft_cross_entropy(x, np.eye(classes, dtype=dtype)[t], dtype(1), keep=True)
    for i in np.random.default_rng(1).choice(len(x), min(count, max(3, 60 // classes)), replace=False):
        exact_loss, exact_slope = truth(x[i], t[i])
        for found in (loss[i], soft_loss[i], -logs[i, t[i]]):
            assert eps_off(found, exact_loss, dtype) < 4
        for j in {0, t[i], int(x[i].argmax()), classes - 1}:
            assert eps_off(slope[i, j], exact_slope[j], dtype) < 4
            if exact_loss != mpmath.inf:
                assert eps_off(soft_slope[i, j], exact_slope[j], dtype) < 4
            if j != t[i]:
                assert eps_off(p[i, j], exact_slope[j], dtype) < 4


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_undefined_row_leaves_the_others_alone(bad):
    x, t, _ = matrix(9000, 70, np.float32)
    clean = [*kernels.index_cross_entropy(x, t, np.float32(1), keep=True), kernels.softmax(x), kernels.log_softmax(x)]
    x[17, 3] = bad
    x[18] = -np.inf
    dirty = [*kernels.index_cross_entropy(x, t, np.float32(1), keep=True), kernels.softmax(x), kernels.log_softmax(x)]
    others = np.delete(np.arange(len(x)), [17, 18])
    for before, after in zip(clean, dirty, strict=True):
        assert np.isnan(after[[17, 18]]).all()
        np.testing.assert_allclose(after[others], before[others], rtol=5e-7, atol=3e-38)


CALLS = {
    "softmax": lambda x, t: [kernels.softmax(x)],
    "log_softmax": lambda x, t: [kernels.log_softmax(x)],
    "logsumexp": lambda x, t: [kernels.logsumexp(x)],
    "index": lambda x, t: kernels.index_cross_entropy(x, t, x.dtype.type(0.5), keep=True),
    "index, factors": lambda x, t: kernels.index_cross_entropy(x, t, np.abs(x[:, 0]) + 1, keep=True),
    "index, loss alone": lambda x, t: kernels.index_cross_entropy(x, t, 1, keep=False)[:1],
    "soft": lambda x, t: kernels.soft_cross_entropy(x, np.abs(x), x.dtype.type(0.5), keep=True),
    "linear": lambda x, t: linear_loss(x, t % 70_000),
}


def linear_loss(x, t):
    features = tg.Tensor(x[:40, :3], requires_grad=True)
    w = tg.Tensor(np.resize(x, (70_000, 3)) / 100, requires_grad=True)
    loss = tg.linear_cross_entropy(features, w, t[:40])
    loss.backward()
    return loss.data, features.grad, w.grad


@pytest.fixture
def some_threads():
    yield
    tg.set_num_threads(None)


@pytest.mark.parametrize("shape", [(120_001, 11), (3, 500_000), (1, 700_000)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CALLS)
def test_the_same_bits_for_any_number_of_threads(name, dtype, shape, some_threads):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(dtype) * rng.choice([1, 40, 3000], (shape[0], 1)).astype(dtype)
    x = np.ascontiguousarray(x, dtype)
    t = rng.integers(0, shape[1], shape[0])
    found = []
    for n in (1, 2, 3, 5):
        tg.set_num_threads(n)
        found.append([np.array(a) for a in CALLS[name](x, t)])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert one.tobytes() == two.tobytes()


def test_who_says_how_many_threads(monkeypatch, some_threads):
    monkeypatch.delenv("TINYGRAD_CE_NUM_THREADS", raising=False)
    assert tg.get_num_threads() == threads.cores()
    monkeypatch.setenv("TINYGRAD_CE_NUM_THREADS", "3")
    assert tg.get_num_threads() == 3
    tg.set_num_threads(5)
    assert tg.get_num_threads() == 5
    for wrong in (0, -1, 1.5, "2", True):
        with pytest.raises(ValueError, match="at least 1"):
            tg.set_num_threads(wrong)
    assert tg.get_num_threads() == 5
    tg.set_num_threads(None)
    monkeypatch.setenv("TINYGRAD_CE_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="TINYGRAD_CE_NUM_THREADS is 'many'"):
        tg.get_num_threads()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")
def test_no_more_threads_than_cores_to_run_on():
    code = "import os, tinygrad_ce as tg; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    command = [sys.executable, "-c", f"{code}; print(tg.get_num_threads())"]
    environment = {k: v for k, v in os.environ.items() if k != "TINYGRAD_CE_NUM_THREADS"}
    assert subprocess.run(command, capture_output=True, text=True, env=environment).stdout.strip() == "1"


def test_small_inputs_start_no_thread():
    code = (
        "import threading, numpy as np, tinygrad_ce as tg; tg.set_num_threads(4); tg.softmax(np.ones((1000, 100)));"
        "print(threading.active_count()); tg.softmax(np.ones((100_000, 100))); print(threading.active_count())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["1", "4"], done.stderr


def test_an_error_in_a_helper_reaches_the_caller_and_ends_the_work(some_threads):
    tg.set_num_threads(2)
    x = np.zeros((64, 1 << 18))
    begun = []
    here = threading.get_ident()

    def work(block):
        begun.append(len(block))
        if threading.get_ident() != here:
            raise RuntimeError("in a helper")
        helper_has_failed.wait(10)

    helper_has_failed = threading.Event()
    original = work

    def watched(block):
        try:
            original(block)
        except RuntimeError:
            helper_has_failed.set()
            raise

    with pytest.raises(RuntimeError, match="in a helper"):
        threads.by_rows(watched, x)
    threads.by_rows(lambda block: block.fill(1), x)  # and the next call is none the worse
    assert x.all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_makes_its_own_threads():
    code = (
        "import os, warnings, numpy as np, tinygrad_ce as tg; warnings.simplefilter('ignore'); tg.set_num_threads(2);"
        "x = np.ones((100_000, 100)); p = tg.softmax(x); pid = os.fork()\n"
        "if pid == 0: os._exit(0 if (tg.softmax(x) == p).all() else 1)\n"
        "print(os.waitpid(pid, 0)[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "0", done.stderr


def test_a_helper_that_comes_too_late_holds_nothing(some_threads):
    tg.set_num_threads(2)
    x = np.zeros((64, 1 << 18))
    threads.by_rows(lambda block: None, x)  # the pool is there
    assert threads._pool is not None
    busy = threading.Event()
    threads._pool.submit(busy.wait, 10)
    try:
        array = weakref.ref(marker := np.zeros(64))
        threads.by_rows(lambda block, m: None, x, marker)
        del marker
        assert array() is None
    finally:
        busy.set()


def loss_and_gradient(x, target, **options):
    t = tg.Tensor(x, requires_grad=True)
    loss = tg.cross_entropy(t, np.array(target), **options)
    loss.backward()
    return loss.data, t.grad


def test_many_terms_that_are_nearly_0_add_up():
    x = np.full((1, 1000), -707.75)
    x[0, 0] = 0
    for shift in (0, 800):
        loss, slope = loss_and_gradient(x + shift, [0])
        np.testing.assert_allclose([loss, -slope[0, 0], -tg.log_softmax(x + shift)[0, 0]], 4.247e-305, rtol=2e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("rows", "classes"), [(2, 256), (3, 200), (1000, 200), (2, 1023), (3, 1024), (2, 100_000), (700, 33), (5, 100)]
)
def test_equal_logits_have_equal_probabilities(rows, classes, dtype):
    for value in np.random.default_rng(0).standard_normal(20):
        x = np.full((rows, classes), value, dtype)
        assert np.abs(tg.softmax(x) * classes - 1).max() < 4 * np.finfo(dtype).eps
        loss, slope = loss_and_gradient(x, np.zeros(rows, int), reduction="sum")
        assert abs(loss / (rows * np.log(classes)) - 1) < 4 * np.finfo(dtype).eps
        assert np.abs(slope[:, 1] * classes - 1).max() < 4 * np.finfo(dtype).eps


def test_no_warning_escapes_and_large_numbers_lose_nothing():
    f32 = np.float32
    with np.errstate(all="raise"):
        assert loss_and_gradient(np.array([[1e30, -1e30]], f32), [0])[0] == 0
        assert loss_and_gradient(np.array([[1e200, 0.0]]), [0])[0] == 0
        assert loss_and_gradient(np.array([[1e-30, -1e-30]], f32), [0])[0] == f32(np.log(2))
        assert loss_and_gradient(np.array([[0, -110]], f32), [0])[0] >= 0
        assert loss_and_gradient(np.array([[3e38, -3e38]], f32), np.array([[1, 0]], f32))[0] == 0
        assert loss_and_gradient(np.array([[60000, -60000]], np.float16), [1])[0] == np.inf
        assert loss_and_gradient(np.array([[3e38, 3e38]], f32), [0])[0] == f32(np.log(2))
        assert tg.softmax(np.array([[0, -20]], np.float16))[0, 1] >= 0


@pytest.mark.parametrize(("dtype", "exponents"), [(np.float32, range(18, 128)), (np.float64, range(18, 1023, 5))])
@pytest.mark.parametrize("count", [3, 9000])
def test_numbers_of_every_size_are_shifted_exactly(count, dtype, exponents):
    for size in (dtype(sign * f * 2.0**k) for k in exponents for f in (1, 1.3, 1.999) for sign in (1, -1)):
        x = np.full((count, 5), size)
        loss, gradient = kernels.index_cross_entropy(x, np.zeros(count, int), 1.0, keep=True)
        for found, right in [(kernels.softmax(x), 0.2), (loss, np.log(5)), (gradient[:, 1:], 0.2)]:
            np.testing.assert_allclose(found, right, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [-300, -100, 0, 130, 1e4])
@pytest.mark.parametrize(
    "odd",
    [
        [0.1, -0.03],
        [-0.3, -50],
        [-0.4, -70.3],
        [-0.4, -695.3],
        [40.7, 40.1],
        [87.5, 18.0],
        [708.6, 38.0],
        [-260.3, -259.9],
        [-670.4, -684.3],
        [600.1, 0.3],
        [-1e9, 3e7],
    ],
)
def test_a_row_unlike_all_others_is_right(odd, offset, dtype):
    x = np.random.default_rng(0).standard_normal((10_000, 2)).astype(dtype) + dtype(offset)
    x[-1] = odd
    loss, slope = kernels.index_cross_entropy(x, np.zeros(len(x), np.intp), 1.0, keep=True)
    for i in (0, -1):
        exact, slopes = truth(x[i], 0)
        assert max(eps_off(a, b, dtype) for a, b in zip([loss[i], *slope[i]], [exact, *slopes], strict=True)) < 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0, -60])
@pytest.mark.parametrize("odd", [[-30, -103], [-300, -744.9], [-0.3, -12.6]])
def test_a_row_unlike_all_others_is_right_beside_an_undefined_one(odd, offset, dtype):
    x = np.full((20_000, 2), offset, dtype)
    x[-1], x[100] = odd, np.nan
    loss, slope = kernels.index_cross_entropy(x, np.ones(len(x), np.intp), 1.0, keep=True)
    exact, slopes = truth(x[-1], 1)
    assert max(eps_off(a, b, dtype) for a, b in zip([loss[-1], *slope[-1]], [exact, *slopes], strict=True)) < 4
    assert np.isnan(loss[100])
    assert not np.isnan(loss[99])


def test_rows_without_classes_have_no_numbers():
    assert kernels.softmax(np.empty((70_000, 0))).shape == (70_000, 0)
    assert (kernels.logsumexp(np.empty((70_000, 0))) == -np.inf).all()


@pytest.mark.parametrize("count", [1, 10_000])
def test_powers_down_to_the_least_number(count):
    x = np.tile(-np.array([0, 510.9, 511.1, 699.3, 707.1, 708.3, 720.7, 744.1, 746, 1e3, 1e9, np.inf]), (count, 1))
    p = kernels.softmax(x)
    with mpmath.workdps(50):
        for found, v in zip(p[-1], x[-1], strict=True):
            exact = mpmath.e ** mpmath.mpf(float(v))
            assert abs(found - exact) <= max(2 * 2.0**-52 * exact, mpmath.mpf(2) ** -1074)


def test_a_far_label_among_large_sums():
    x = np.full((1, 12), 682.9)
    x[0, 5] = 643.5
    exact, _ = truth(x[0], 5)
    assert eps_off(loss_and_gradient(x, [5])[0], exact, np.float64) < 4


@pytest.mark.parametrize(("x", "weight"), [([34, 33.5], 1e-28), ([-34, -34.5], 1e30), ([69, 68], 1e-14), ([3, 5], 1e9)])
def test_a_factor_far_from_1_costs_no_digits(x, weight):
    x = np.array([x], np.float32)
    _, exact = truth(x[0], 0)
    weights = np.array([weight, 1], np.float32)
    _, slope = loss_and_gradient(x, [0], weight=weights, reduction="sum")
    t = tg.Tensor(x, requires_grad=True)
    tg.log_softmax(t).backward(np.array([[weight, 0]], np.float32))
    for found in (slope, -t.grad):
        np.testing.assert_allclose(found[0], [float(v) * float(weights[0]) for v in exact], rtol=6e-7)


def test_a_thread_that_cannot_be_started_loses_no_block(monkeypatch, some_threads):
    tg.set_num_threads(3)
    x = np.random.default_rng(0).standard_normal((300_000, 10))
    good = tg.softmax(x)
    start, calls = threading.Thread.start, []

    def failing(self):
        calls.append(self)
        if len(calls) == 2:
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", failing)
    for _ in range(10):
        monkeypatch.setattr(threads, "_pool", None)
        calls.clear()
        assert tg.softmax(x).tobytes() == good.tobytes()


def test_a_backward_that_failed_leaves_linear_cross_entropy_whole():
    rng = np.random.default_rng(0)
    x = tg.Tensor(rng.standard_normal((6, 3)), requires_grad=True)
    w = tg.Tensor(rng.standard_normal((5, 3)), requires_grad=True)
    loss = tg.linear_cross_entropy(x, w, [0, 1, 2, 3, 4, 0])
    right = tg.grad(tg.cross_entropy(tg.linear(x, w), [0, 1, 2, 3, 4, 0]), [x, w])
    made = loss._primitive
    right_rule = made.vjps["linear_weight"]

    def broken(*args):
        raise MemoryError

    made.vjp(linear_weight=broken)
    try:
        with pytest.raises(MemoryError):
            loss.backward(np.array(3.0))
    finally:
        made.vjp(linear_weight=right_rule)
    loss.backward()
    np.testing.assert_allclose(x.grad, right[0].data)
    np.testing.assert_allclose(w.grad, right[1].data)


def test_a_weight_of_0_silences_an_infinite_linear_loss():
    bias = np.array([0, -np.inf])
    options = {"linear_bias": bias, "weight": np.array([1.0, 0]), "reduction": "sum"}
    assert tg.linear_cross_entropy(np.ones((1, 2)), np.ones((2, 2)), np.array([1]), **options) == 0
