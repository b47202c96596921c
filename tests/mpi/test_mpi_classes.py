"""Class-parallel linear_cross_entropy against the loss by one process, on one to four real ranks."""

import functools
import pathlib
import pickle
import subprocess
import sys
import tempfile

import definitions
import numpy as np
import pytest
from programs.classes import cases, gradients

import tinygrad_ce as tg
from tinygrad_ce.kernels import linear as blocks

HERE = pathlib.Path(__file__).parent
NAMES = list(cases("float64"))
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


@functools.cache
def run(ranks):
    """The program on so many ranks: how it ended, and the bytes that it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        result = pathlib.Path(folder) / "found.pkl"
        command = [pathlib.Path(sys.executable).with_name("mpiexec"), "-n", str(ranks), sys.executable]
        command += [HERE / "programs" / "classes.py", result]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done, result.read_bytes() if result.exists() else b""


def found(ranks):
    """What the ranks found."""
    done, result = run(ranks)
    assert done.returncode == 0, done.stderr
    return pickle.loads(result)


@functools.cache
def serial(name, dtype):
    """The loss by one process, and its gradients."""
    x, w, b, y, options = cases(dtype)[name]
    leaves = [tg.Tensor(a, requires_grad=True) for a in (x, w, *([] if b is None else [b]))]
    loss = tg.linear_cross_entropy(*leaves[:2], y, linear_bias=dict(enumerate(leaves)).get(2), **options)
    return loss.data, gradients(loss, leaves)


def assert_close(one, other):
    """To a few eps; a sum of numbers of both signs is held against the largest there."""
    rtol = TOLERANCE[str(other.dtype)]
    size = np.abs(other, where=np.isfinite(other), out=np.zeros_like(other)).max(initial=0)
    np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * size)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_slices_of_the_classes_give_the_loss_and_the_gradients_of_the_whole(name, ranks, dtype):
    every = found(ranks)["cases"][name, dtype]
    loss, passes = serial(name, dtype)
    assert len({value.tobytes() for value, _, _ in every}) == 1
    assert len({value.tobytes() for _, value, _ in every} | {every[0][0].tobytes()}) == 1  # also on plain arrays
    assert every[0][0].dtype == dtype
    np.testing.assert_allclose(every[0][0], loss, rtol=TOLERANCE[dtype])
    for k, (x, *rest) in enumerate(passes):
        for _, _, mine in every:
            assert_close(mine[k][0], x)
            assert mine[k][0].tobytes() == every[0][2][k][0].tobytes()
        for i, whole in enumerate(rest, 1):
            assert_close(np.concatenate([mine[k][i] for _, _, mine in every]), whole)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("confident", "masked", "masked, no weight")])
def test_the_loss_is_that_of_the_definition(name):
    x, w, b, y, options = cases("float64")[name]
    with np.errstate(all="ignore"):
        truth = definitions.linear_cross_entropy(x, w, y, linear_bias=b, **options)
    np.testing.assert_allclose(found(3)["cases"][name, "float64"][0][0], truth, rtol=1e-12)


def test_a_whole_slice_or_block_of_masked_classes_counts_nothing(monkeypatch):
    x, w, b, y, options = cases("float64")["masked"]
    there = np.isfinite(b)
    index = np.where(y < 0, y, np.cumsum(there)[np.maximum(y, 0)] - 1)
    truth = definitions.linear_cross_entropy(x, w[there], index, linear_bias=b[there], **options)
    for ranks in (2, 3, 4):  # on 4 ranks the first holds masked classes only, the second nothing
        np.testing.assert_allclose(found(ranks)["cases"]["masked", "float64"][0][0], truth, rtol=1e-13)
    monkeypatch.setattr(blocks, "BLOCK", 2)
    monkeypatch.setattr(blocks, "_ROWS", 1)
    np.testing.assert_allclose(tg.linear_cross_entropy(x, w, y, linear_bias=b, **options), truth, rtol=1e-13)
    assert np.isinf(tg.linear_cross_entropy(x, w, y, linear_bias=b, label_smoothing=0.1))  # it gives them mass


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize(("dtype", "gap"), [("float32", 20), ("float64", 40)])
def test_a_confident_row_keeps_every_digit(ranks, dtype, gap):
    rtol = 4 * np.finfo(dtype).eps
    value, _, ((slope, *_), _) = found(ranks)["cases"]["confident", dtype][0]
    np.testing.assert_allclose(value, [np.exp(-gap), gap, np.exp(-gap)], rtol=rtol)
    # Each row's cotangent is 1, 2, 3: Σ_c p_c w_c, less the label's w.
    np.testing.assert_allclose(slope[:, 0], [-gap * np.exp(-gap), 2 * gap, -3 * gap * np.exp(-gap)], rtol=rtol)


def test_one_rank_gives_the_same_bits_as_no_ranks():
    for (name, dtype), ((value, plain, passes),) in found(1)["cases"].items():
        loss, expected = serial(name, dtype)
        assert value.tobytes() == plain.tobytes() == loss.tobytes()
        for one, other in zip(passes, expected, strict=True):
            assert [a.tobytes() for a in one] == [a.tobytes() for a in other]


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_a_layer_below_gets_the_whole_gradient_and_a_communicator_its_own_classes(ranks):
    x, w, _, y, _ = cases("float64")["plain"]
    below = tg.Tensor(np.eye(4) / 2, requires_grad=True)
    tg.linear_cross_entropy(tg.tanh(tg.Tensor(x) @ below), w, y).backward()
    loss = tg.linear_cross_entropy(x, w, y).item()
    for slope, value in found(ranks)["stacked"]:
        np.testing.assert_allclose(slope, below.grad, rtol=1e-12)
        assert value == pytest.approx(loss, rel=1e-13)


FAULTS = {
    "label": "ValueError: linear_cross_entropy: target[1] is 7 (and 2 more like it); valid are 0 to 6, for 7 classes",
    "rows": "ValueError: linear_cross_entropy: input is float64 of shape (9, 4) with checksum ",
    "order": "ValueError: linear_cross_entropy: input is float64 of shape (9, 4) with checksum ",
    "dtype": "on rank 0, but float32 of shape (9, 4) with checksum ",
    "target": "ValueError: linear_cross_entropy: target is int64 of shape (9,) with checksum ",
    "smoothing": "label_smoothing) is (-100, 'mean', 0.0) on rank 0, but (-100, 'mean', 0.1) on rank ",
    "reduction": "ValueError: linear_cross_entropy: reduction is 'average'",
    "bias": "ValueError: linear_cross_entropy: linear_bias has shape ",
    "features": "ValueError: linear_cross_entropy: input has shape (9, 3) and linear_weight ",
    "requires grad": "what requires grad is input on rank 0, but nothing on rank ",
    "soft target": "TypeError: linear_cross_entropy: over ranks there is no gradient in soft targets",
    "second derivative": "RuntimeError: linear_cross_entropy: no second derivatives",
    "communicator": "TypeError: comm is of type int",
}


@pytest.mark.parametrize("ranks", [2, 3])
def test_what_is_wrong_on_one_rank_is_the_same_error_on_all(ranks):
    messages = found(ranks)["faults"]
    assert messages.keys() == FAULTS.keys()
    for name, every in messages.items():
        assert len(every) == ranks
        assert len(set(every)) == 1, name
        assert FAULTS[name] in every[0], name
