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
from tinygrad_ce import kernels, threads

KINDS = ["ordinary", "confident", "wide", "wider", "far up", "far down", "low", "beyond", "masked", "masked by -1e9"]


def row(kind, classes, rng):
    x = rng.standard_normal(classes)
    if kind == "confident":
        x[rng.integers(classes)] += 30
    if kind.startswith("masked"):
        x[rng.random(classes) < 0.5] = -np.inf if kind == "masked" else -1e9
        x[0] = 0.5
    scale = {"wide": 60, "wider": 1000}.get(kind, 1)
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
