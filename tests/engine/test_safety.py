"""Safety: nothing writes to what a graph needs; threads, errors, Ctrl-C, kills and copies leave everything whole."""

import array
import asyncio
import contextlib
import copy
import ctypes
import functools
import gc
import inspect
import io
import operator
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest
import scipy.linalg

import tinygrad_ce as tg
from benchmarks import interrupts, memory
from tinygrad_ce import nn, optim
from tinygrad_ce.engine.primitive import registry
from tinygrad_ce.kernels import threads
from tinygrad_ce.ops.example import realise
from tinygrad_ce.train import checkpoint


def leaf(*values, dtype=None):
    return tg.Tensor(values[0] if len(values) == 1 else list(values), requires_grad=True, dtype=dtype)


def bits(model):
    return {name: a.tobytes() for name, a in model.state_dict().items()}


# Writing through what a Tensor shows


class Interface:
    def __init__(self, shown):
        self.__array_interface__ = shown.__array_interface__


def with_nditer(d):
    with np.nditer(d, op_flags=[["readwrite"]]) as it:
        for x in it:
            x[...] = 9


WRITES = {
    "an index": lambda d: operator.setitem(d, 0, 9.0),
    "+=": lambda d: operator.iadd(d, 9.0),
    "a slice": lambda d: d[1:].fill(9.0),
    "a reshaped view": lambda d: operator.setitem(d.reshape(2, 2), 0, 9.0),
    "the transpose": lambda d: operator.setitem(d.T, 0, 9.0),
    "ravel": lambda d: operator.setitem(d.ravel(), 0, 9.0),
    "flat": lambda d: operator.setitem(d.flat, 0, 9.0),
    "real": lambda d: operator.setitem(d.real, 0, 9.0),
    "a view of another dtype": lambda d: operator.setitem(d.view(np.int64), 0, 9),
    "its base": lambda d: operator.setitem(d.base, 0, 9.0),
    "fill": lambda d: d.fill(9.0),
    "sort": lambda d: d.sort(),
    "partition": lambda d: d.partition(1),
    "put": lambda d: d.put(0, 9.0),
    "byteswap": lambda d: d.byteswap(inplace=True),
    "out=": lambda d: np.add(d, 1.0, out=d),
    "out= of a reduction": lambda d: np.sum(np.ones((2, 4)), axis=0, out=d),
    "copyto": lambda d: np.copyto(d, 9.0),
    "place": lambda d: np.place(d, [True] * 4, 9.0),
    "putmask": lambda d: np.putmask(d, True, 9.0),
    "put_along_axis": lambda d: np.put_along_axis(d, np.array([0]), 9.0, 0),
    "fill_diagonal": lambda d: np.fill_diagonal(d.reshape(2, 2), 9.0),
    "a memoryview": lambda d: operator.setitem(memoryview(d), 0, 9.0),
    "a memoryview's bytes": lambda d: operator.setitem(memoryview(d).cast("B"), 0, 9),
    "the array interface": lambda d: operator.setitem(np.asarray(Interface(d)), 0, 9.0),
    "frombuffer": lambda d: operator.setitem(np.frombuffer(d), 0, 9.0),
    "an array on its buffer": lambda d: operator.setitem(np.ndarray(4, buffer=d), 0, 9.0),
    "dlpack": lambda d: operator.setitem(np.from_dlpack(d), 0, 9.0),
    "as_strided": lambda d: operator.setitem(np.lib.stride_tricks.as_strided(d), 0, 9.0),
    "windows": lambda d: np.lib.stride_tricks.sliding_window_view(d, 2, writeable=True).fill(9.0),
    "nditer": with_nditer,
    "a shuffle": lambda d: np.random.default_rng(1).shuffle(d),
    "random numbers": lambda d: np.random.default_rng(1).random(out=d),
    "flags": lambda d: setattr(d.flags, "writeable", True),
    "a view's flags": lambda d: d[:].setflags(write=True),
    "readinto": lambda d: io.BytesIO(bytes(32)).readinto(d),
    "numbers without nan": lambda d: np.nan_to_num(d, copy=False),
    "a median": lambda d: np.median(d, overwrite_input=True),
    "a masked array": lambda d: operator.setitem(np.ma.array(d, copy=False), 0, 9.0),
    "a ufunc's at": lambda d: np.add.at(d, 0, 9.0),
    "its base made writable": lambda d: (d.base.setflags(write=True), d.base.fill(9.0)),
    "its own flag": lambda d: (d.setflags(write=True), d.fill(9.0)),
    "an address": lambda d: ctypes.memset(d.ctypes.data, 9, 32),
    "BLAS": lambda d: scipy.linalg.blas.dscal(9.0, d),
    "LAPACK": lambda d: scipy.linalg.solve(np.eye(4) * 2, d, overwrite_b=True),
    "a shape": lambda d: setattr(d, "shape", (2, 2)),
    "a dtype": lambda d: setattr(d, "dtype", np.int64),
}


@pytest.mark.filterwarnings("ignore:Setting the .* attribute on a NumPy array:DeprecationWarning")
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_what_is_written_through_data_reaches_no_graph(write):
    w = leaf(2.0, 1.0, 4.0, 3.0)
    result = w * w
    view = result.reshape(2, 2).reshape(4)
    constant = tg.Tensor([2.0, 1.0, 4.0, 3.0])
    y = (result * constant + view).sum()
    for t in (result, view, w.detach(), tg.grad(y, result), w, constant):
        before = t.numpy()
        for shown in (t.data, np.asarray(t.detach()), t.data.view(), t.data[:]):
            with contextlib.suppress(ValueError, TypeError, BufferError, AttributeError):
                write(shown)
        assert (t.numpy() == before).all()
    y.backward()
    assert w.grad.tolist() == [12, 4, 40, 24]
    assert result.tolist() == [4, 1, 16, 9]


class Lies:
    """Says that it gives a copy, and gives its own array."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


@pytest.mark.parametrize("wrap", [Lies, lambda a: a, memoryview, lambda a: a.view(np.matrix)])
def test_no_graph_shares_the_array_of_an_object(wrap):
    source = np.array([[1.0, 2.0]])
    made, given = tg.Tensor(wrap(source), requires_grad=True), leaf([[0.0, 0.0]])
    given.data = wrap(source)
    given.grad = wrap(source)
    w = leaf(2.0)
    y = (made * made).sum() + (given * given).sum() + (w * wrap(source)).sum()
    gradient = tg.grad(w * 1.0, w, np.array(1.0))
    source[:] = 100.0
    y.backward()
    assert made.grad.tolist() == [[2, 4]]
    assert given.grad.tolist() == [[3, 6]]
    assert w.grad == 3
    assert gradient.item() == 1


def test_what_other_names_find_in_a_tensor_is_not_its_array():
    """NumPy's masked arrays, for one, look for an attribute _data."""
    w = leaf(2.0, 1.0)
    y = (w * w).sum()
    with pytest.raises(TypeError, match="lose its gradient"):
        np.ma.getdata(w)
    np.ma.getdata(w.detach())[:] = 9.0
    for name in ("_data", "_array", "__array_interface__", "__dlpack__"):
        assert not hasattr(w, name)
    y.backward()
    assert w.grad.tolist() == [4, 2]


OUT = np.arange(8.0).reshape(2, 4)
AIMED = {
    "add": lambda t: np.add(OUT[0], 1.0, out=t),
    "add with a tuple": lambda t: np.add(OUT[0], 1.0, out=(t,)),
    "add, by position": lambda t: np.add(OUT[0], 1.0, t),
    "isnan": lambda t: np.isnan(OUT[0], t),
    "any": lambda t: np.any(OUT, axis=0, out=t),
    "any, by position": lambda t: np.any(OUT, 0, t),
    "all": lambda t: np.all(OUT, axis=0, out=t),
    "argmax": lambda t: np.argmax(OUT, axis=0, out=t),
    "argmin": lambda t: np.argmin(OUT, 0, t),
    "sum": lambda t: np.sum(OUT, axis=0, out=t),
    "mean": lambda t: np.mean(OUT, 0, None, t),
    "cumsum": lambda t: np.cumsum(OUT[0], 0, None, t),
    "take": lambda t: np.take(OUT[0], [0, 1, 2, 3], None, t),
    "clip": lambda t: np.clip(OUT[0], 0.0, 1.0, out=t),
    "concatenate": lambda t: np.concatenate([OUT[0, :2], OUT[1, :2]], out=t),
    "matmul": lambda t: np.matmul(OUT[0], np.eye(4), out=t),
    "einsum": lambda t: np.einsum("ij->j", OUT, out=t),
    "copyto": lambda t: np.copyto(t, 9.0),
    "put": lambda t: np.put(t, 0, 9.0),
    "place": lambda t: np.place(t, [True] * 4, 9.0),
    "putmask": lambda t: np.putmask(t, True, 9.0),
    "add.at": lambda t: np.add.at(t, 0, 9.0),
    "add.reduce": lambda t: np.add.reduce(OUT, axis=0, out=t),
    "random numbers": lambda t: np.random.default_rng(0).random(out=t),
    "NumPy's shuffle": lambda t: np.random.default_rng(0).shuffle(t),
    "Python's shuffle": lambda t: random.Random(0).shuffle(t),
    "an index": lambda t: operator.setitem(t, 0, 9.0),
    "a memoryview": lambda t: memoryview(t),
}


@pytest.mark.parametrize("write", AIMED.values(), ids=AIMED)
@pytest.mark.parametrize("dtype", [float, bool, np.intp])
def test_numpy_is_not_let_at_a_tensor(write, dtype):
    t = tg.Tensor(np.array([0, 1, 1, 0], dtype))
    with pytest.raises((ValueError, TypeError, UserWarning)):
        write(t)
    assert t.tolist() == [0, 1, 1, 0]


def test_a_plain_array_does_not_swallow_a_tensor():
    a, w = np.zeros(2), leaf(1.0, 2.0)
    with pytest.raises(TypeError, match="out="):
        a += w
    with pytest.raises(TypeError, match="lose its gradient"):
        a[:] = w
    assert a.tolist() == [0, 0]


# What a Tensor is made of, and what it meets


def memmap(tmp_path):
    m = np.memmap(tmp_path / "m", float, "w+", shape=3)
    m[:] = [1, 2, 3]
    return m


SOURCES = {
    "an array": lambda _: np.array([1.0, 2.0, 3.0]),
    "a view": lambda _: np.array([0.0, 1.0, 2.0, 3.0])[1:],
    "a list": lambda _: [1.0, 2.0, 3.0],
    "a buffer": lambda _: array.array("d", [1.0, 2.0, 3.0]),
    "bytes": lambda _: np.frombuffer(bytearray(np.array([1.0, 2.0, 3.0]).tobytes())),
    "a file in memory": memmap,
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_sources_may_change_afterwards(make, tmp_path):
    source = make(tmp_path)
    made, given, loaded = tg.Tensor(source, requires_grad=True), leaf(np.zeros(3)), nn.Linear(3, 1, bias=False, rng=0)
    given.data = source
    given.grad = source
    loaded.load_state_dict({"weight": [source]})
    y = (made * made + given * given + loaded.weight[0] * source).sum() + (made.detach() * source).sum()
    for i in range(3):
        source[i] = 99.0
    y.backward()
    assert made.grad.tolist() == [2, 4, 6]
    assert given.grad.tolist() == [3, 6, 9]  # what was put into it, and 2 x
    assert loaded.weight.grad.tolist() == [[1, 2, 3]]
    assert loaded.weight.data.tolist() == [[1, 2, 3]]


def test_slices_and_numbers_in_arrays_may_change_afterwards():
    start, stop, factor = np.array(0), np.array(2), np.array(3.0)
    x = leaf(1.0, 2.0, 4.0)
    y = (x[start:stop] * factor).sum() + x[None, start:stop].sum()
    start += 1
    stop += 1
    factor += 1
    y.backward()
    assert x.grad.tolist() == [4, 4, 0]


def test_what_a_model_is_given_between_forward_and_backward():
    model = nn.Linear(2, 1, bias=False, rng=0)
    x = leaf(1.0, 2.0)
    old = model.weight.numpy()
    y = model(x).sum()
    model.load_state_dict({"weight": np.full((1, 2), 9.0)})
    with tg.no_grad():
        model.weight -= 1.0
        model.weight *= 2.0
    y.backward()
    np.testing.assert_array_equal(x.grad, old[0])


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=0.1),
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda p: optim.Adam(p, lr=0.1, weight_decay=0.1),
        lambda p: optim.AdamW(p, lr=0.1),
    ],
)
@pytest.mark.parametrize("through", [lambda w: w, lambda w: w.reshape(2, 1).T, lambda w: w[::-1], lambda w: w.detach()])
def test_steps_between_forward_and_backward(make, through):
    """An optimiser writes into the arrays of two steps before: not into those that anybody still sees."""
    w, x = leaf(1.0, 2.0), leaf(1.0, 1.0)
    optimizer = make([w])

    def step():
        w.grad = np.ones(2)
        optimizer.step()
        w.zero_grad()

    shown, graphs = [], []
    for _ in range(6):
        now = through(w)
        shown.append((now.numpy(), w.data, w.numpy()))
        graphs.append((now * x).sum())
        step()
    for (seen, data, before), y in zip(shown, graphs, strict=True):
        x.zero_grad()
        y.backward()
        np.testing.assert_array_equal(x.grad, seen.reshape(2))
        np.testing.assert_array_equal(data, before)
    assert len({data.tobytes() for _, data, _ in shown}) == 6


def test_an_optimiser_of_ones_own_cannot_write_into_the_numbers_of_a_graph():
    class InPlace(optim.Optimizer):
        def _updated(self, w, g, memory):
            w -= self.lr * g
            return w

    w = leaf(3.0, 4.0)
    y = (w * w).sum()
    w.grad = np.ones(2)
    with pytest.raises(ValueError, match="read-only"):
        InPlace([w], lr=1.0).step()
    w.zero_grad()
    y.backward()
    assert w.grad.tolist() == [6, 8]


def test_an_optimiser_of_ones_own_may_give_a_view():
    class Views(optim.SGD):
        def _updated(self, w, g, memory):
            return super()._updated(w, g, memory)[:]

    w = leaf(3.0, 4.0)
    sgd = Views([w], lr=1.0)
    for _ in range(5):
        assert w.data.shape == (2,)
        w.grad = np.ones(2)
        sgd.step()
    assert w.data.tolist() == [-2, -1]


# Gradients that a user holds


def test_no_two_tensors_share_a_gradient():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (a + b).sum().backward()
    a.grad[...] = 7
    assert b.grad.tolist() == [1, 1]
    b.grad = a.grad
    c, d = copy.copy(a), copy.deepcopy(a)
    a.grad[...] = 0
    for t in (b, c, d):
        assert t.grad.tolist() == [7, 7]
    given = np.broadcast_to(1.0, 2)
    a.grad = given
    a.grad[0] = 5
    assert given.tolist() == [1, 1]


def test_a_gradient_is_the_users_to_write_whatever_the_rule_returned():
    mine = np.array([2.0, 3.0])
    returned = {
        "g": lambda g, y, x, kept: g,
        "a view of g": lambda g, y, x, kept: g[:],
        "y": lambda g, y, x, kept: y,
        "x": lambda g, y, x, kept: x,
        "kept": lambda g, y, x, kept: kept,
        "an array of its own": lambda g, y, x, kept: mine,
        "a broadcast number": lambda g, y, x, kept: np.broadcast_to(2.0, 2),
    }
    for name, rule in returned.items():

        @tg.primitive
        def odd(x, *, keep=()):
            return (x + 0.0, x * 5.0) if keep else x + 0.0

        odd.vjp(x=rule)
        x, z = leaf(1.0, 2.0), leaf(1.0, 2.0)
        (y := odd(x) + z).backward(np.ones(2))
        before, other = y.numpy(), z.grad.copy()
        x.grad[...] = 99.0
        assert (x.data == [1, 2]).all(), name
        assert (y.numpy() == before).all(), name
        assert (z.grad == other).all(), name
    assert mine.tolist() == [2, 3]


# Forwards and rules that write


def in_place(forward=None, rule=None):
    """x / 2 as a primitive, with a forward or a rule that does something it shouldn't before."""

    @tg.primitive
    def half(x, *, keep=()):
        if forward is not None:
            forward(x)
        y = x * 0.5
        return (y, [x + 0.0, {"x": x + 0.0}]) if keep else y

    def half_rule(g, y, x, kept):
        if rule is not None:
            rule(g, y, x, kept)
        return 0.5 * g

    half.vjp(x=half_rule)
    return half


@pytest.mark.parametrize(
    "write",
    [
        lambda g, y, x, kept: np.multiply(g, 0.5, out=g),
        lambda g, y, x, kept: g.reshape(-1).fill(0.5),
        lambda g, y, x, kept: y.fill(0.0),
        lambda g, y, x, kept: operator.iadd(x, 1.0),
        lambda g, y, x, kept: x.base.fill(0.0) if x.base is not None else x.fill(0.0),
        lambda g, y, x, kept: kept[0].fill(0.0),
        lambda g, y, x, kept: kept[1]["x"].fill(0.0),
        lambda g, y, x, kept: operator.setitem(memoryview(g), 0, 1.0),
    ],
)
def test_a_rule_cannot_write_into_anything_it_is_given(write):
    half = in_place(rule=write)
    x, z = leaf(1.0, 2.0, 3.0), leaf(1.0, 1.0, 1.0)
    h = x[:]
    y = half(h) + h * z
    z.grad = np.full(3, 5.0)
    with pytest.raises((ValueError, TypeError), match="read-only") as caught:
        y.backward(np.ones(3))
    assert "make a new one" in caught.value.__notes__[0]
    assert "argument 'x' of half" in caught.value.__notes__[1]
    assert x.grad is None
    assert z.grad.tolist() == [5, 5, 5]
    assert h.tolist() == [1, 2, 3]
    half.vjp(x=lambda g, y, x, kept: 0.5 * g)  # and once the rule is right, so is the graph
    y.backward(np.ones(3))
    assert x.grad.tolist() == [1.5, 1.5, 1.5]
    assert z.grad.tolist() == [6, 7, 8]


@contextlib.contextmanager
def rules_given_back():
    """Inside, operators of the package may be given other rules."""
    before = {made: dict(made.vjps) for op in registry.values() if (made := op.primitive)}
    try:
        yield before
    finally:
        for made, rules in before.items():
            made.vjp(**rules)


def test_a_rule_given_to_one_of_our_own_operators_cannot_write_either():
    with rules_given_back():
        for rule in (lambda g, y, x: np.multiply(g, y, out=g), lambda g, y, x: np.multiply(g, y, out=y)):
            tg.exp.vjp(x=rule)
            x = leaf(1.0, 2.0)
            with pytest.raises(ValueError, match="read-only"):
                (tg.exp(x) + x).sum().backward()


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("write", [lambda x: operator.iadd(x, 1.0), lambda x: x.fill(0.0), lambda x: x.sort()])
def test_a_forward_cannot_write_into_a_tensor(write, recorded):
    half = in_place(forward=write)
    x = tg.Tensor([2.0, 1.0], requires_grad=recorded)
    y = x * 3.0
    for t in (x, y, y.reshape(1, 2)):
        before = t.numpy()
        with pytest.raises(ValueError, match="read-only") as caught:
            half(t)
        assert "make a new one" in caught.value.__notes__[0]
        assert (t.data == before).all()
    if recorded:
        y.sum().backward()
        assert x.grad.tolist() == [3, 3]


@pytest.mark.parametrize("named", [False, True])
def test_a_forward_cannot_write_into_an_operand_that_the_graph_keeps(named):
    @tg.primitive
    def scaled(x, by, *, plus):
        (plus if named else by)[...] += 1.0
        return x * by + plus

    scaled.vjp(x=lambda g, y, x, by, plus: g * by)
    by, plus = np.array([1.0, 2.0]), np.array(1.0)
    with pytest.raises(ValueError, match="read-only"):
        scaled(leaf(1.0, 1.0), by, plus=plus)
    assert by.tolist() == [1, 2]
    assert plus == 1.0
    assert scaled(np.ones(2), by, plus=plus).tolist() == [3, 4]  # on plain arrays it is but the function
    assert (plus == 2.0) == named


def reused(view):
    """exp, by a forward and a rule that hand out the same array again and again."""
    room, slope = np.empty(2), np.empty(2)

    @tg.primitive
    def thrifty(x, *, keep=()):
        np.exp(x, out=room)
        return (view(room), None) if keep else view(room)

    def rule(g, y, x, kept):
        np.multiply(g, y, out=slope)
        return view(slope)

    thrifty.vjp(x=rule)
    return thrifty, room, slope


@pytest.mark.parametrize(
    "view", [lambda a: a, lambda a: a[:], lambda a: np.broadcast_to(a, 2), lambda a: a[::-1][::-1]]
)
def test_a_forward_or_a_rule_may_use_an_array_again_and_again(view):
    thrifty, room, slope = reused(view)
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    ya, yb = thrifty(a), thrifty(b)
    (ya * 2.0 + yb * 3.0).sum().backward()
    np.testing.assert_array_equal(ya.data, np.exp([1.0, 2.0]))
    np.testing.assert_array_equal(a.grad, 2.0 * np.exp([1.0, 2.0]))
    np.testing.assert_array_equal(b.grad, 3.0 * np.exp([3.0, 4.0]))
    with tg.no_grad():
        quiet = thrifty(a), thrifty(b)
    np.testing.assert_array_equal(quiet[0].data, np.exp([1.0, 2.0]))
    assert room.flags.writeable
    assert slope.flags.writeable


def test_plain_arrays_stay_the_users():
    constant, factor, index = np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.array([0, 1])

    parts = [np.array([5.0]), {"a": np.array([6.0])}]

    @tg.primitive
    def first(a, b, *, c=None, parts=parts):
        return a if c is None else constant

    first.vjp(a=lambda g, y, a, b, c, parts: constant, b=lambda g, y, a, b, c, parts: np.zeros_like(b))
    w = leaf(1.0, 1.0)
    assert first(factor, 1.0) is factor
    (first(w, factor, c=index) + first(factor, w)).sum().backward()
    with tg.no_grad():
        results = [first(factor, w), first(factor, w, c=index)]
    for result in results:
        shown = result.data
        assert not np.shares_memory(shown, factor)
        assert not np.shares_memory(shown, constant)
    tg.grad(first(w, factor), w, constant).data  # noqa: B018
    (w * 2).backward(factor)
    data = np.ones((4, 2), np.float32), np.array([0, 1, 0, 1])
    model = nn.Linear(2, 2, rng=0)
    tg.fit(model, data, epochs=1, batch_size=4, progress=False)
    tg.predict(model, data[0])
    tg.cross_entropy(model(data[0]), data[1]).backward()
    for a in (constant, factor, index, *data, parts[0], parts[1]["a"]):
        a[...] = a + 1
    assert constant.tolist() == [2, 3]


def test_a_random_generator_given_to_a_primitive_draws_on():
    @tg.primitive
    def noisy(x, rng):
        return x + rng.standard_normal(x.shape)

    noisy.vjp(x=lambda g, y, x, rng: g)
    x, rng, same = leaf(0.0, 0.0), np.random.default_rng(0), np.random.default_rng(0)
    for _ in range(3):
        np.testing.assert_array_equal(noisy(x, rng).data, same.standard_normal(2))


# What forwards and rules return


@pytest.mark.parametrize(
    ("returned", "what"),
    [
        (None, "NoneType"),
        (1.0, "float"),
        ([1.0, 2.0], "list"),
        ("g", "str"),
        ((np.ones(2),), "tuple"),
        (len, "builtin"),
    ],
)
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_rule_that_returns_no_array_is_named(returned, what, create_graph):
    @tg.primitive
    def product(a, b):
        return a * b

    product.vjp(a=lambda g, y, a, b: g * b, b=lambda g, y, a, b: returned)
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    with pytest.raises(TypeError, match=rf"product: the rule of argument 'b' returned a {what}.*expected the gradient"):
        tg.grad(product(a, b).sum(), [a, b], create_graph=create_graph)

    @tg.primitive
    def row(*arrays):
        return np.stack(arrays)

    row.vjp(arrays=lambda i, g, y, *arrays: returned if i else g[i])
    with pytest.raises(TypeError, match=rf"row: the rule of argument 'arrays\[1\]' returned a {what}"):
        row(a, b).sum().backward()


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda x: None, "returned an array of object, expected floating numbers"),
        (lambda x: "x", "returned an array of <U1, expected"),
        (lambda x: x > 0, "returned an array of bool, expected floating numbers, as the result requires grad"),
        (lambda x: np.round(x).astype(int), "returned an array of int64, expected floating"),
        (lambda x: x * 1j, "returned an array of complex128, expected"),
    ],
)
def test_a_forward_that_returns_no_numbers_is_named(returned, message):
    @tg.primitive
    def odd(x):
        return returned(x)

    odd.vjp(x=lambda g, y, x: g)
    with pytest.raises(TypeError, match=rf"odd: the forward {message}"):
        odd(leaf(1.2, 2.7))


def test_numbers_that_need_no_gradient_may_be_integers():
    @tg.primitive
    def rounded(x):
        return np.round(x).astype(int)

    assert rounded(tg.Tensor([1.2, 2.7])).tolist() == [1, 3]
    with tg.no_grad():
        assert rounded(leaf(1.2, 2.7)).tolist() == [1, 3]


def test_a_forward_that_is_asked_to_keep_returns_a_pair():
    @tg.primitive
    def forgetful(x, *, keep=()):
        return x * np.ones((2, 2))

    forgetful.vjp(x=lambda g, y, x, kept: g)
    with pytest.raises(TypeError, match=r"forgetful: the forward returned an array of float64, expected \(y, kept\)"):
        forgetful(leaf(1.0, 2.0))


# Our own operators are called without a guard: they write to nothing


def calls():
    """Every operator on each of its examples, with the arrays in it."""
    for name, op in sorted(registry.items()):
        for example in op.examples:
            drawn, put = realise(example, np.random.default_rng(0))
            yield name, op, drawn, put


def test_our_own_operators_write_to_nothing_and_hand_out_nothing_twice():
    """The same bits where all that a forward and a rule are given is read-only; and results are the graph's alone."""
    for name, op, drawn, put in calls():
        results = []
        for guarded in (False, True):
            leaves = [leaf(a) if a.dtype.kind == "f" else tg.Tensor(a) for a in drawn]
            for t in leaves if guarded else ():
                t.data  # noqa: B018
            args, kwargs = put(leaves)
            ys = op(*args, **kwargs)
            ys = ys if isinstance(ys, list) else [ys]
            if not all(isinstance(y, tg.Tensor) and y.requires_grad for y in ys):
                break
            with rules_given_back() as rules:
                for made in rules if guarded else ():  # as if a user had written them
                    registry[made.name].vjp(**rules[made])
                for k, y in enumerate(ys):
                    y.backward(np.random.default_rng(k).standard_normal(y.shape))
            results.append([t.grad.tobytes() for t in leaves if t.grad is not None])
            twice = op(*args, **kwargs)
            for y, again in zip(ys, twice if isinstance(twice, list) else [twice], strict=True):
                assert y.size < 2 or not np.shares_memory(y._value, again._value) or y._value.base is not None, name
        assert len({str(r) for r in results}) <= 1, name


def test_a_result_of_no_record_shares_no_memory_with_a_plain_operand():
    for name, op, drawn, put in calls():
        for k in range(len(drawn) if len(drawn) > 1 else 0):
            given = [tg.Tensor(a) if i == k else a for i, a in enumerate(drawn)]
            args, kwargs = put(given)
            ys = op(*args, **kwargs)
            for y in ys if isinstance(ys, list) else [ys]:
                for i, a in enumerate(drawn):
                    assert i == k or not np.shares_memory(y.data, a), name


# Threads


def parallel(*works):
    """Run functions in threads of their own; their results, in order."""
    results, errors = [None] * len(works), []
    barrier = threading.Barrier(len(works))

    def run(i):
        barrier.wait()
        try:
            results[i] = works[i]()
        except BaseException as error:
            errors.append(error)

    running = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for t in running:
            t.start()
        for t in running:
            t.join()
    finally:
        sys.setswitchinterval(before)
    if errors:
        raise errors[0]
    return results


def differentiated(seed):
    """The bits of gradients, first and second, of a graph that has a bit of everything."""
    rng = np.random.default_rng(seed)
    w, b = leaf(rng.standard_normal((4, 3))), leaf(rng.standard_normal(3))
    found = []
    for k in range(30):
        x, y = rng.standard_normal((5, 4)), rng.integers(0, 3, 5)
        loss = tg.cross_entropy(tg.tanh(x @ w + b), y) + tg.softmax(tg.concatenate([w, w * k])).max(axis=1).sum() * 0.1
        loss.backward(retain_graph=False)
        slope = tg.grad(tg.linear_cross_entropy(w[:2] * b, w, [0, 3]), w, create_graph=True)
        (slope * slope).sum().backward()
        with tg.no_grad():
            w -= 0.1 * w.grad
        found += [w.grad.tobytes(), b.grad.tobytes(), loss.item()]
        w.zero_grad()
    return found


def test_two_threads_differentiate_as_one_after_the_other():
    serial = [differentiated(seed) for seed in range(2)]
    for _ in range(5):
        assert parallel(*(lambda seed=seed: differentiated(seed) for seed in range(2))) == serial


def trained(seed):
    model = nn.Sequential(nn.Linear(2, 8, rng=seed), nn.ReLU(), nn.Dropout(0.2, rng=seed), nn.Linear(8, 3, rng=seed))
    adam = optim.Adam(model.parameters())
    history = tg.fit(model, tg.data.make_blobs(40, seed=seed), epochs=5, optimizer=adam, progress=False)
    return bits(model), history.history


def test_two_threads_train_as_one_after_the_other():
    assert parallel(lambda: trained(0), lambda: trained(1)) == [trained(0), trained(1)]


def test_a_leaf_that_threads_share_gets_the_sum():
    shared = [leaf(1.0) for _ in range(30)]

    def work():
        for _ in range(200):
            tg.stack(shared).sum().backward()

    parallel(work, work, work)
    assert [float(x.grad) for x in shared] == [600.0] * 30


def test_two_threads_go_back_through_the_same_graph():
    x, w = leaf(np.linspace(-1, 1, 12).reshape(3, 4)), leaf(np.linspace(0, 1, 20).reshape(5, 4))
    for _ in range(50):
        x.zero_grad()
        loss = tg.cross_entropy(tg.tanh(x) @ w.T, [0, 4, 2]) + tg.linear_cross_entropy(x, w, [0, 4, 2])
        loss.backward()
        once = x.grad
        x.zero_grad()
        loss = tg.cross_entropy(tg.tanh(x) @ w.T, [0, 4, 2]) + tg.linear_cross_entropy(x, w, [0, 4, 2])
        parallel(loss.backward, loss.backward)
        np.testing.assert_array_equal(x.grad, once + once)


def test_ctrl_c_in_no_grad_does_not_keep_it_on():
    def quiet():
        with tg.no_grad():
            pass

    whole = interrupts.Interrupt()
    whole.during(quiet)
    assert whole.seen
    for at in range(1, whole.seen + 1):
        with pytest.raises(KeyboardInterrupt):
            interrupts.Interrupt(at).during(quiet)
        assert (leaf(1.0) * 2).requires_grad


def test_no_grad_stays_in_its_thread_and_ends_with_it():
    def quiet():
        with tg.no_grad():
            return [(leaf(1.0) * 2).requires_grad for _ in range(300)]

    def loud():
        return [(leaf(1.0) * 2).requires_grad for _ in range(300)]

    def stopped():
        """A generator that is let go inside no_grad."""

        def steps():
            with tg.no_grad():
                yield

        g = steps()
        next(g)
        del g
        return loud()

    found = parallel(quiet, loud, stopped)
    assert found == [[False] * 300, [True] * 300, [True] * 300]


# no_grad as a decorator


def records():
    return (leaf(1.0) * 2).requires_grad


def test_no_grad_decorates_with_and_without_parentheses():
    class Model:
        @tg.no_grad
        def method(self, a, *, b):
            return records(), a, b

    decorated = tg.no_grad()(records)
    assert [tg.no_grad(records)(), decorated(), decorated(), records()] == [False, False, False, True]
    assert Model().method(1, b=2) == (False, 1, 2)
    assert (decorated.__name__, decorated.__wrapped__) == ("records", records)
    again = tg.no_grad()
    with again, again:
        assert not records()
    with again:
        assert not records()
    assert records()
    with pytest.raises(TypeError, match="no_grad: got 3, expected a function to decorate"):
        tg.no_grad(3)


@pytest.mark.parametrize("decorator", [tg.no_grad, tg.no_grad()])
def test_no_grad_holds_in_the_body_of_a_generator_and_not_around_it(decorator):
    seen = []

    @decorator
    def steps(first):
        sent = first
        try:
            while True:
                try:
                    sent = yield sent, records()
                except KeyError as error:
                    sent = error
                if sent == "end":
                    return records()
        finally:
            seen.append(records())

    assert inspect.isgeneratorfunction(steps)
    going, error = steps("a"), KeyError("b")
    assert [next(going), records(), going.send("c"), records()] == [("a", False), True, ("c", False), True]
    assert [going.throw(error), records()] == [(error, False), True]
    with pytest.raises(StopIteration) as end:
        going.send("end")
    assert [end.value.value, records(), seen] == [False, True, [False]]
    closed = steps("a")
    with tg.no_grad():
        next(closed)
    closed.close()
    assert [records(), seen] == [True, [False, False]]
    going = steps("a")
    next(going)
    with pytest.raises(ZeroDivisionError):
        going.throw(ZeroDivisionError)
    assert records()
    assert [tg.no_grad(functools.partial(steps, "a"))().send(None), records()] == [("a", False), True]


def test_no_grad_holds_in_the_body_of_coroutines():
    @tg.no_grad
    async def waits():
        await asyncio.sleep(0)
        return records()

    @tg.no_grad()
    async def values():
        for k in range(3):
            await asyncio.sleep(0)
            try:
                yield k, records()
            except KeyError:
                yield "caught", records()

    async def others():
        found = []
        for _ in range(6):
            found.append(records())
            await asyncio.sleep(0)
        return found

    async def main():
        assert inspect.iscoroutinefunction(waits)
        assert inspect.isasyncgenfunction(values)
        assert [*await asyncio.gather(waits(), others(), waits())] == [False, [True] * 6, False]
        found = [(k, inside, records()) async for k, inside in values()]
        assert found == [(0, False, True), (1, False, True), (2, False, True)]
        going = values()
        assert [await anext(going), await going.athrow(KeyError()), records()] == [(0, False), ("caught", False), True]
        await going.aclose()
        assert records()

    asyncio.run(main())


def test_create_graph_records_inside_no_grad_too():
    x = leaf(3.0)
    y = x**3
    with tg.no_grad():
        dy = tg.grad(y, x, create_graph=True)
        assert not records()
        assert dy.requires_grad
        assert tg.grad(dy, x).item() == 18
        assert not tg.grad(y, x).requires_grad


# Inside of each other


def test_backward_and_grad_inside_a_forward_and_inside_a_rule():
    inner = leaf(2.0)

    def slope_of_cube(x, order):
        """3 x² or 6 x, found by a graph of its own."""
        t = tg.Tensor(x, requires_grad=True)
        with tg.no_grad():
            assert not (t * t).requires_grad
        y = (t**3).sum()
        if order == 1:
            y.backward()
            (inner * inner).backward()
            return t.grad
        first = tg.grad(y, t, create_graph=True)
        return tg.grad(first.sum(), t).numpy()

    @tg.primitive
    def cubes_slope(x):
        return slope_of_cube(x, 1)

    cubes_slope.vjp(x=lambda g, y, x: g * slope_of_cube(x, 2))
    x = leaf(2.0, 3.0)
    for rounds in (1, 2):
        (cubes_slope(x) * x + x).sum().backward()  # 3 x³ + x
        np.testing.assert_array_equal(x.grad, rounds * (9 * x.data**2 + 1))
        assert inner.grad == 4.0 * rounds


def test_a_rule_that_goes_back_through_the_graph_it_is_in():
    graph = []

    @tg.primitive
    def same(x):
        return x + 0.0

    def rule(g, y, x):
        if graph:
            graph.pop().backward()
        return g

    same.vjp(x=rule)
    x = leaf(3.0)
    y = same(x * x)
    graph.append(y)
    y.backward()
    assert x.grad == 12.0  # once from inside, once from outside


# Errors on the way


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("create_graph", [False, True])
def test_an_error_in_the_middle_of_a_large_reverse_pass_changes_nothing(error, create_graph):
    failing = [False]

    @tg.primitive
    def fragile(x):
        return x * 1.0

    def rule(g, y, x):
        if failing:
            raise error("on purpose")
        return g

    fragile.vjp(x=rule)
    leaves = [leaf(float(k), 1.0) for k in range(100)]
    y = leaves[0]
    for k, x in enumerate(leaves):
        y = y + tg.softmax(x)[0] * x
        y = fragile(y) if k == 50 else tg.relu(y)
    loss = tg.cross_entropy(y, 1)
    for x in leaves[::2]:
        x.grad = np.full(2, 3.0)
    before = [None if x.grad is None else x.grad.tolist() for x in leaves]
    for run in (loss.backward, lambda: tg.grad(loss, leaves, create_graph=create_graph)):
        with pytest.raises(error, match="on purpose"):
            run()
        assert [None if x.grad is None else x.grad.tolist() for x in leaves] == before
    failing.clear()
    wanted = tg.grad(loss, leaves)
    loss.backward()
    for x, start, dx in zip(leaves, before, wanted, strict=True):
        np.testing.assert_array_equal(x.grad, dx.data if start is None else dx.data + start)


def test_an_error_in_a_graph_that_is_used_up_says_so_afterwards():
    @tg.primitive
    def broken(x):
        return x + 0

    broken.vjp(x=lambda g, y, x: 1 / 0)
    x, z = leaf(1.0), leaf(2.0)
    y = broken(x) * z
    with pytest.raises(ZeroDivisionError):
        y.backward(retain_graph=False)
    assert x.grad is None
    assert z.grad is None
    with pytest.raises(RuntimeError, match="used up"):
        y.backward()


def test_an_error_in_a_forward_leaves_the_graph_before_it():
    x = leaf(1.0, 2.0)
    h = x * x
    for call in (lambda: h + np.ones(3), lambda: tg.cross_entropy(h, 5), lambda: h @ np.ones((3, 3)), lambda: h[7]):
        with pytest.raises((ValueError, IndexError)):
            call()
    h.sum().backward()
    assert x.grad.tolist() == [2, 4]


def test_ctrl_c_in_a_reverse_pass_gives_all_gradients_or_none():
    leaves = [leaf(float(k)) for k in range(20)]
    y = tg.stack(leaves).sum()
    whole = interrupts.Interrupt()
    whole.during(y.backward)
    assert whole.seen
    for at in range(1, whole.seen + 1, 1 + whole.seen // 150):
        for x in leaves:
            x.zero_grad()
        with pytest.raises(KeyboardInterrupt):
            interrupts.Interrupt(at).during(y.backward)
        assert len({x.grad is None for x in leaves}) == 1
    y.backward()


class Handler(interrupts.Interrupt):
    """A signal handler that does some work."""

    def __init__(self, at, work):
        super().__init__(at)
        self.come = work


def test_a_signal_handler_that_calls_backward_within_a_backward_adds_its_own():
    shared, rows, classes = leaf(2.0), leaf(np.eye(3)), leaf(np.eye(3))
    y, z = shared * shared * leaf(1.0), shared * 3
    blocks = tg.linear_cross_entropy(rows, classes, [0, 1, 2]) * shared

    def outer():
        y.backward()
        blocks.backward()

    def once(work):
        for x in (shared, rows, classes):
            x.zero_grad()
        work()
        return [0 if x.grad is None else x.grad.copy() for x in (shared, rows, classes)]

    whole = interrupts.Interrupt()
    alone, handled = once(lambda: whole.during(outer)), once(lambda: (z.backward(), blocks.backward()))
    for at in range(1, whole.seen + 1, 1 + whole.seen // 400):
        both = once(lambda at=at: Handler(at, lambda: (z.backward(), blocks.backward())).during(outer))
        for got, a, b in zip(both, alone, handled, strict=True):
            np.testing.assert_allclose(got, a + b, rtol=1e-14)


def test_a_signal_handler_may_look_for_anomalies_and_use_threads_while_others_do(monkeypatch):
    monkeypatch.setattr(threads, "BLOCK", 64)
    x = np.linspace(-1, 1, 400).reshape(40, 10)
    expected = tg.softmax(x).tobytes()

    def work():
        with tg.detect_anomaly():
            assert tg.softmax(x).tobytes() == expected

    before = threads.get_num_threads()
    threads.set_num_threads(2)
    try:
        work()
        whole = interrupts.Interrupt()
        whole.during(work)
        for at in range(1, whole.seen + 1, 1 + whole.seen // 100):
            Handler(at, work).during(work)
        assert not threads._starting
    finally:
        threads.set_num_threads(before)


def test_a_signal_handler_within_the_pool_works_alone(monkeypatch):
    class Pool:
        def submit(self, task):
            handled.append(threads._start(task, 1))
            raise RuntimeError("shutting down")

    handled = []
    monkeypatch.setattr(threads, "_pool", Pool())
    monkeypatch.setattr(threads, "_size", 4)
    assert threads._start(lambda: None, 1) == []
    assert handled == [[]]
    assert not threads._starting


def stepped(make, work):
    """What the parameters and the optimiser's state are after some work on an optimiser that made a step already."""
    parameters = [leaf(1.0, 2.0), leaf(3.0), leaf(4.0)]
    optimizer = make(parameters)
    for p in parameters:
        p.grad = p.data * 0.5
    optimizer.step()
    with contextlib.suppress(KeyboardInterrupt):
        work(optimizer)
    state = {**dict(enumerate(p.data for p in parameters)), **optimizer.state_dict()}
    return {name: a.tobytes() for name, a in state.items()}


OPTIMISERS = [
    lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9),
    lambda ps: optim.Adam(ps, lr=0.1),
    lambda ps: optim.AdamW(ps, lr=0.1),
]


@pytest.mark.parametrize("make", OPTIMISERS)
def test_ctrl_c_in_a_step_of_ones_own_loop_gives_all_of_it_or_nothing(make):
    whole = interrupts.Interrupt()
    after = stepped(make, lambda o: whole.during(o.step))
    found = [stepped(make, lambda o, at=at: interrupts.Interrupt(at).during(o.step)) for at in range(1, whole.seen + 1)]
    before = stepped(make, lambda o: None)
    assert before != after
    assert all(state in (before, after) for state in found)
    assert found[0] == before


@pytest.mark.parametrize("make", OPTIMISERS)
def test_a_signal_handler_that_makes_a_step_within_a_step_makes_its_own(make):
    whole = interrupts.Interrupt()
    stepped(make, lambda o: whole.during(o.step))
    twice = stepped(make, lambda o: (o.step(), o.step()))
    for at in range(1, whole.seen + 1, 1 + whole.seen // 60):
        assert stepped(make, lambda o, at=at: Handler(at, o.step).during(o.step)) == twice


# Memory


def test_an_error_in_a_helping_thread_leaves_no_cycle():
    main, helped = threading.current_thread(), threading.Event()

    def work(x):
        if threading.current_thread() is main:
            helped.wait(5)
        else:
            helped.set()
            raise ValueError("on purpose")

    def step():
        helped.clear()
        with pytest.raises(ValueError, match="on purpose"):
            threads.by_rows(work, x)

    x = np.ones((4 * threads.BLOCK // 8, 1))
    tg.set_num_threads(2)
    try:
        assert memory.cycles(step, 5) == 0
    finally:
        tg.set_num_threads(None)


def in_arrays():
    """Bytes that NumPy holds for the numbers of arrays."""
    numbers = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([numbers]).traces)


@pytest.mark.parametrize("make", memory.KINDS.values(), ids=memory.KINDS)
def test_steps_leave_nothing_behind(make):
    step = make()
    assert memory.cycles(step, 30) == 0
    for _ in range(20):
        step()
    objects = len(gc.get_objects())
    tracemalloc.start()
    try:
        for _ in range(100):
            step()
        before = in_arrays()
        for _ in range(100):
            step()
        grown = in_arrays() - before
    finally:
        tracemalloc.stop()
    gc.collect()
    assert len(gc.get_objects()) < objects + 50  # half an object a step
    assert grown < 100 * 8  # less than a number a step
    assert memory.spread(step, 100, 0) < 2 * memory.MIB


def test_graphs_of_100_000_operators_come_and_go():
    gc.disable()  # reference counts alone let them go; looking for circles in them takes twice as long
    try:
        assert memory.chain(100_000) == 1.0
        assert memory.wide(100_000) == 100_000.0
    finally:
        gc.enable()


# Copies


class Nest(nn.Module):
    """A model with everything in it that a Module finds: lists, dicts, a shared weight, constants."""

    def __init__(self):
        shared = nn.Linear(3, 3, rng=0)
        self.rows = [nn.Linear(3, 3, rng=1), [nn.Linear(3, 3, rng=2)], shared]
        self.named = {"a": shared, "b": nn.Dropout(0.5, rng=3)}
        self.tied = shared.weight
        self.scale = tg.Tensor([2.0, 2.0, 2.0])
        self.norm = nn.LayerNorm(3)

    def forward(self, x):
        for layer in (self.rows[0], self.rows[1][0], self.rows[2], self.named["a"], self.named["b"], self.norm):
            x = layer(x)
        return x @ self.tied * self.scale


@pytest.mark.parametrize(
    "twin_of",
    [copy.deepcopy, *(lambda m, p=p: pickle.loads(pickle.dumps(m, p)) for p in range(pickle.HIGHEST_PROTOCOL + 1))],
)
def test_a_copied_model_is_a_model_of_its_own(twin_of):
    model, x = Nest(), np.ones((4, 3), np.float32)
    model.named["b"].eval()
    model(x).sum().backward()
    model.named["b"].train()
    model(x)  # the generator is somewhere in the middle
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    optimizer.step()
    twin, twins = twin_of((model, optimizer))
    assert bits(twin) == bits(model)
    assert twin.rows[2] is twin.named["a"]
    assert twin.tied is twin.rows[2].weight
    assert [id(p) for p in twin.parameters()] == [id(p) for p in twins.parameters]
    for (name, t), (other, u) in zip(model.named_tensors(), twin.named_tensors(), strict=True):
        assert name == other
        assert t.requires_grad == u.requires_grad
        assert (t.grad is None) == (u.grad is None)
        assert t.grad is None or (t.grad == u.grad).all()
    assert [m.training for _, m in twin.named_modules()] == [m.training for _, m in model.named_modules()]
    before = bits(model)
    for m, o in ((twin, twins), (model, optimizer)):
        o.zero_grad()
        m(x).sum().backward()
        o.step()
        if m is twin:
            assert bits(model) == before
    assert bits(twin) == bits(model)  # the same dropout, the same moments


def test_a_copy_of_a_kind_of_tensor_is_of_that_kind():
    class Named(tg.Tensor):
        pass

    t = Named([1.0, 2.0], requires_grad=True)
    t.name = "w"
    for twin in (copy.copy(t), copy.deepcopy(t)):
        assert type(twin) is Named
        assert twin.name == "w"
        assert twin.requires_grad


def test_a_tensor_unpickled_from_a_buffer_does_not_share_it():
    buffers = []
    text = pickle.dumps(leaf(1.0, 2.0), 5, buffer_callback=buffers.append)
    room = [bytearray(b) for b in buffers]
    twin = pickle.loads(text, buffers=room)
    for b in room:
        b[:] = bytes(len(b))
    assert twin.tolist() == [1, 2]


def test_a_graph_is_not_copied_without_a_word():
    model = nn.Linear(2, 2, rng=0)
    model.last = model(np.ones((1, 2)))
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"made by linear can't be copied or pickled with its graph; detach\(\)"):
            copied(model.last)
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"detach\(\) it first"):
            copied(model)
    with pytest.raises(RuntimeError, match="only a leaf's data can be set"):
        model.load_state_dict({name: a + 1 for name, a in model.state_dict().items()})
    assert bits(model)["weight"] == nn.Linear(2, 2, rng=0).weight.data.tobytes()  # nothing changed


# Ctrl-C and kills


def test_ctrl_c_at_any_point_of_fit_loses_nothing():
    tried = list(interrupts.interrupts(60, seed=2))
    assert len(tried) == 60
    assert [(which, lost) for which, lost in tried if lost] == []


def test_ctrl_c_in_a_checkpoint_is_not_hidden_by_what_zipfile_says_of_it(monkeypatch, tmp_path):
    def half_done(*_):
        try:
            raise KeyboardInterrupt
        finally:
            raise ValueError("Can't close the ZIP file while there is an open writing handle on it.")

    data = tg.data.make_blobs(20, seed=0)
    monkeypatch.setattr(checkpoint, "save", half_done)
    with pytest.raises(KeyboardInterrupt):
        tg.fit(nn.Linear(2, 3, rng=0), data, epochs=1, checkpoint=tmp_path / "c.npz", progress=False)

    def fails(*_):
        raise ValueError("on purpose")

    monkeypatch.setattr(checkpoint, "save", fails)
    with pytest.raises(ValueError, match="on purpose"):
        tg.fit(nn.Linear(2, 3, rng=0), data, epochs=1, checkpoint=tmp_path / "c.npz", progress=False)


def test_ctrl_c_while_a_state_is_loaded_leaves_the_old_or_the_new():
    model = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Dropout(0.5, rng=0), nn.Linear(2, 2, rng=1))
    old, new = bits(model), {name: a + 1 for name, a in model.state_dict().items()}
    back = model.state_dict()
    for work in (lambda: model.load_state_dict(new), model.eval, lambda: tg.predict(model, np.ones((2, 2)))):
        work()  # the first time, more may happen than later
        whole = interrupts.Interrupt()
        whole.during(work)
        assert whole.seen
        for at in range(1, whole.seen + 1):
            model.load_state_dict(back)
            model.train()
            with pytest.raises(KeyboardInterrupt):
                interrupts.Interrupt(at).during(work)
            assert bits(model) in (old, {name: a.tobytes() for name, a in new.items()})
            assert len({m.training for _, m in model.named_modules()}) == 1


KILLED = """
import os, signal, sys
import numpy as np
from tinygrad_ce.train import checkpoint

path, kills = sys.argv[1], int(sys.argv[2])

def save(k):
    checkpoint.save(path, {"model": {"w": np.full(20_000, float(k)), "v": np.full(3, k)}}, {"k": k})

class Killer:
    def __init__(self, at):
        self.at, self.seen = at, 0
    def trace(self, frame, event, argument):
        self.seen += 1
        if self.seen == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.trace
    def save(self, k):
        sys.settrace(self.trace)
        save(k)
        sys.settrace(None)

save(0)
count = Killer(0)
count.save(0)
for k in range(1, kills + 1):
    child = os.fork()
    if not child:
        Killer(k * count.seen // (kills + 1)).save(k)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    groups, meta = checkpoint.load(path)
    whole = (groups["model"]["w"] == meta["k"]).all() and (groups["model"]["v"] == meta["k"]).all()
    parts = [name for name in os.listdir(os.path.dirname(path)) if name.endswith(".part")]
    sizes = [os.path.getsize(os.path.join(os.path.dirname(path), name)) for name in parts]
    for name in parts:
        os.unlink(os.path.join(os.path.dirname(path), name))
    print(os.WTERMSIG(status), bool(whole), meta["k"] == k, *sizes)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_while_a_checkpoint_is_written_leaves_a_whole_one(tmp_path):
    one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "c.npz"), "40"],
        capture_output=True, text=True, env={**os.environ, **one},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [line.split() for line in done.stdout.splitlines()]
    assert len(found) == 40
    assert all(line[:2] == [str(int(signal.SIGKILL)), "True"] for line in found)
    sizes = {int(size) for line in found for size in line[3:]}
    assert len(sizes) > 1  # it was killed before the file was whole, and at several moments of it
    assert any(line[2] == "False" for line in found)
