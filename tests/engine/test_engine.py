"""The engine's contracts: what Tensor, record and the reverse pass promise."""

import array
import copy
import math
import operator
import pickle
import threading
import tracemalloc
import warnings
import weakref

import numpy as np
import pytest

import tinygrad_ce as tg


def leaf(*values, dtype=None):
    return tg.Tensor(values[0] if len(values) == 1 else list(values), requires_grad=True, dtype=dtype)


# The reverse pass


def test_a_chain_of_100_000_operators():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1e-6
    y.backward()
    assert x.grad == 1.0
    del y  # and its memory goes without recursion


def test_a_diamond_repeated_1000_times_visits_each_node_once():
    calls = 0

    @tg.primitive
    def half(x):
        return 0.5 * x

    def rule(g, y, x):
        nonlocal calls
        calls += 1
        return 0.5 * g

    half.vjp(x=rule)
    x = leaf(3.0)
    y = x
    for _ in range(1000):
        y = half(y) + half(y)
    y.backward()
    assert calls == 2000
    assert x.grad == 1.0


def test_backward_twice_adds_the_same_again():
    x = leaf(2.0)
    y = x**3
    y.backward()
    y.backward()
    assert x.grad == 24.0
    x.zero_grad()
    assert x.grad is None


def test_gradients_add_over_consumers_and_over_both_sides():
    x = leaf(3.0)
    (x * x + x).backward()
    assert x.grad == 7.0


def test_a_gradient_for_constants_is_never_computed():
    seen = []

    @tg.primitive
    def product(a, b):
        return a * b

    product.vjp(a=lambda g, y, a, b: seen.append("a") or g * b, b=lambda g, y, a, b: seen.append("b") or g * a)
    w = leaf(2.0)
    product(np.array(5.0), w).backward()
    assert seen == ["b"]
    seen.clear()
    x, w = leaf(1.0), leaf(2.0)
    tg.grad(product(x, w), w)
    assert seen == ["b"]


def test_grad_of_leaves_and_of_what_lies_between():
    x = leaf(2.0)
    h = x * 3
    y = h**2
    dh, dx = tg.grad(y, [h, x])
    assert (dh.item(), dx.item()) == (12.0, 36.0)
    assert x.grad is None
    assert tg.grad([y, h], x).item() == 39.0


def test_third_derivative():
    x = leaf(2.0)
    first = tg.grad(x**4, x, create_graph=True)
    second = tg.grad(first, x, create_graph=True)
    assert tg.grad(second, x).item() == 48.0


def test_grad_of_an_input_without_part_is_an_error():
    x, z = leaf(1.0), leaf(1.0)
    with pytest.raises(RuntimeError, match=r"inputs\[1\] had no part"):
        tg.grad(x * 2, [x, z])


def test_jacobian_and_hessian_of_softmax_cross_entropy():
    x = np.array([0.3, -1.0, 2.0])
    p = tg.softmax(x)
    expected = np.diag(p) - np.outer(p, p)
    np.testing.assert_allclose(tg.jacobian(tg.softmax, x), expected, rtol=1e-14, atol=1e-16)
    np.testing.assert_allclose(tg.hessian(lambda x: tg.cross_entropy(x, 1), x), expected, rtol=1e-13, atol=1e-16)
    v = np.array([1.0, 2.0, -1.0])
    np.testing.assert_allclose(tg.hvp(lambda x: tg.cross_entropy(x, 1), x, v), expected @ v, rtol=1e-13)


def test_transforms_give_zeros_where_nothing_depends():
    assert tg.hessian(lambda x: x.sum() * 3, np.ones(2)).tolist() == [[0, 0], [0, 0]]
    value, slope = tg.value_and_grad(lambda a, b: (a * a).sum(), (0, 1))(np.ones(2), np.ones(3))
    assert (value, slope[0].tolist(), slope[1].tolist()) == (2, [2, 2], [0, 0, 0])
    assert isinstance(tg.value_and_grad(lambda x: x * x)(tg.Tensor(3.0))[1], tg.Tensor)


def test_a_rule_of_the_wrong_shape_is_an_error_that_names_it():
    @tg.primitive
    def twice(x):
        return 2 * x

    twice.vjp(x=lambda g, y, x: np.ones(5))
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"twice: the rule of argument 'x' gave a gradient of shape \(5,\)"):
        twice(x).sum().backward()
    assert x.grad is None


def test_a_failing_rule_leaves_every_grad_as_it_was():
    @tg.primitive
    def broken(x):
        return x + 0

    broken.vjp(x=lambda g, y, x: 1 / 0)
    x, z = leaf(1.0), leaf(2.0)
    z.grad = np.array(5.0)
    with pytest.raises(ZeroDivisionError) as caught:
        (broken(x) * z).backward()
    assert "argument 'x' of broken" in "".join(caught.value.__notes__)
    assert x.grad is None
    assert z.grad == 5.0


# Nothing a recorded operator needs can change under it


def test_new_data_after_the_forward_changes_nothing():
    w = leaf(3.0)
    y = w * w
    w.data = 100.0
    y.backward()
    assert w.grad == 6.0
    with pytest.raises(RuntimeError, match="got new data after"):
        tg.grad(y, w, create_graph=True)


def test_data_is_assigned_not_written():
    w = leaf(1.0, 2.0)
    y = (w * w).sum()
    for write in (lambda d: operator.setitem(d, 0, 5.0), lambda d: d.fill(1.0), lambda d: np.add(d, 1.0, out=d)):
        with pytest.raises(ValueError, match="read-only"):
            write(w.data)
    with pytest.raises(ValueError, match=r"write t\.data = array, t\.data -= step"):
        w.data[...] -= 1
    with pytest.raises(TypeError, match="never written"):
        w[0] = 5.0
    a = w.numpy()
    a[0] = 9
    assert w.tolist() == [1, 2]
    w.data -= 0.5
    w.data *= [2, 2]
    assert w.tolist() == [1, 3]
    for bad in ([1.0], "ab", [[1.0, 2.0]], 1j):
        with pytest.raises((ValueError, TypeError), match="data"):
            w.data = bad
    with pytest.raises(ValueError, match="shape"):
        w.data += [[1.0, 2.0]]
    assert w.tolist() == [1, 3]
    y.backward()
    assert w.grad.tolist() == [2, 4]


def test_what_is_computed_from_data_is_plain_and_a_copy_of_it_is_yours():
    w = leaf(1.0, 2.0)
    for made in (w.data * 2, np.exp(w.data), w.data @ np.eye(2), np.add(1, w.data), np.stack([w.data])):
        assert type(made) is np.ndarray
    assert type(w.data.sum()) is type(leaf(3.0).data + 1) is np.float64
    assert repr(w.data) == "array([1., 2.])"
    mine = w.data.copy()
    mine[0] = 7
    mine -= 1
    held = w.data
    held -= 1
    assert mine.tolist() == [6, 1]
    assert held.tolist() == [0, 1]
    assert w.tolist() == [1, 2]


def test_a_tensor_owns_its_numbers():
    source = np.array([1.0, 2.0])
    w = tg.Tensor(source, requires_grad=True)
    y = (w * w).sum()
    source[...] = 0
    y.backward()
    assert w.grad.tolist() == [2, 4]


@pytest.mark.parametrize("frozen", [False, True])
def test_plain_operands_may_be_written_after_the_forward(frozen):
    x = np.array([3.0, 4.0])
    base = x
    if frozen:  # a read-only view of what can still be written
        x = x[:]
        x.flags.writeable = False
    w = leaf(1.0, 1.0)
    y = (w * x).sum()
    base[...] = 0
    y.backward()
    assert w.grad.tolist() == [3, 4]


def test_labels_and_indices_may_be_written_after_the_forward():
    target, rows, pair = np.array([1, 0]), np.array([0, 1]), [0, 2]
    x = leaf(np.eye(3)[:2])
    y = tg.cross_entropy(x[rows][:, pair], target, reduction="sum")
    expected = y.item()
    target[...], rows[...], pair[0] = 0, 0, 1
    y.backward()
    assert y.item() == expected
    assert x.grad[:, 1].tolist() == [0, 0]
    assert x.grad[1, 0] == pytest.approx(-0.5)


def test_an_optimiser_step_between_forward_and_backward():
    w = leaf(2.0)
    y = w**3
    w.grad = np.array(1.0)
    tg.optim.SGD([w], lr=1.0).step()
    w.grad = None
    y.backward()
    assert w.data == 1.0
    assert w.grad == 12.0


def test_writing_to_a_gradient_given_to_backward():
    g = np.ones(2)
    x = leaf(1.0, 2.0)
    (x + 0).backward(g)
    g[...] = 7
    assert x.grad.tolist() == [1, 1]


class Subclass(np.ndarray):
    pass


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.array([3.0, 4.0]).view(Subclass),
        lambda: np.array([3.0, 4.0]),
        lambda: array.array("d", [3.0, 4.0]),
        lambda: [3.0, 4.0],
    ],
)
def test_operands_of_any_kind_are_copied(make):
    m = make()
    if isinstance(m, np.ndarray):
        m.flags.writeable = False
    w = leaf(1.0, 1.0)
    y = (w * m).sum()
    if isinstance(m, np.ndarray):
        m.flags.writeable = True
    m[0] = m[1] = 0.0
    y.backward()
    assert w.grad.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("indices", lambda x, t: tg.take(x, t)),
        ("shape", lambda x, t: tg.reshape(x, t)),
        ("axis", lambda x, t: tg.sum(x, axis=t)),
    ],
)
def test_a_constant_that_requires_grad_is_named_also_where_the_forward_fails(name, call):
    x, t = tg.Tensor(np.ones((2, 3)), requires_grad=True), tg.Tensor([0.0, 1.0], requires_grad=True)
    with pytest.raises(TypeError, match=f"argument '{name}' is a Tensor that requires grad"):
        call(x, t)


MASKED = np.ma.MaskedArray([1.0, 2.0], mask=[True, False])


@pytest.mark.parametrize(
    "lose",
    [
        lambda w: w * MASKED,
        lambda w: MASKED * w,
        lambda w: w.detach() * MASKED,
        lambda w: np.multiply(MASKED, w),
        lambda w: tg.stack([w, MASKED]),
        lambda w: tg.Tensor(MASKED),
        lambda w: tg.Tensor([MASKED, MASKED]),
        lambda w: tg.Tensor([1.0, np.ma.masked]),
        lambda w: setattr(w, "data", MASKED),
        lambda w: setattr(w, "grad", MASKED),
        lambda w: (w * 1.0).backward(MASKED),
        lambda w: tg.grad(w * 1.0, w, MASKED),
        lambda w: tg.softmax(MASKED),
        lambda w: tg.softmax(w, where=MASKED > 0),
        lambda w: tg.sigmoid(MASKED),
        lambda w: tg.sum(MASKED),
        lambda w: tg.cross_entropy(MASKED[None], [0]),
        lambda w: tg.cross_entropy(w, np.ma.array(1)),
        lambda w: tg.cross_entropy(w, 1, weight=MASKED),
        lambda w: tg.linear(MASKED[None], w[None]),
        lambda w: w[np.ma.array([0, 1], mask=[True, False])],
        lambda w: tg.nn.Linear(2, 1, rng=0)(MASKED[None]),
        lambda w: tg.predict(tg.nn.Linear(2, 1, rng=0), MASKED[None]),
        lambda w: tg.fit(tg.nn.Linear(2, 2, rng=0), (MASKED[None], [0]), progress=False),
        lambda w: tg.fit(tg.nn.Linear(2, 2, rng=0), (np.eye(2), np.ma.array([0, 1])), progress=False),
        lambda w: tg.accuracy(MASKED[None], [0]),
    ],
)
def test_masked_arrays_are_refused_everywhere(lose):
    w = leaf(3.0, 4.0)
    with pytest.raises((TypeError, ValueError), match=r"masked array|lose its gradient"):
        lose(w)
    assert w.grad is None
    assert w.tolist() == [3, 4]


@pytest.mark.parametrize(
    "drop",
    [
        lambda w: tg.abs(w * 1j),
        lambda w: 1j * w,
        lambda w: w.detach() + 1j,
        lambda w: w + np.complex64(1j),
        lambda w: np.array([1j, 2.0]) @ w,
        lambda w: w * [1j, 2.0],
        lambda w: tg.stack([w, np.array([1j, 0])]),
        lambda w: tg.where([True, False], w, 1j),
        lambda w: tg.exp(w).astype(complex),
        lambda w: tg.Tensor([1j], dtype=float),
        lambda w: tg.Tensor(np.array([1 + 0j]), dtype="float32"),
        lambda w: setattr(w, "data", np.array([1j, 2])),
        lambda w: setattr(w, "grad", np.array([1j, 2])),
        lambda w: (w * 1.0).backward(np.array([1j, 2])),
        lambda w: tg.softmax(np.array([1j, 2.0])),
    ],
)
def test_complex_numbers_are_refused_everywhere(drop):
    w = leaf(3.0, 4.0)
    with pytest.raises((TypeError, ValueError), match=r"complex|real numbers"):
        drop(w)
    assert w.grad is None
    assert w.tolist() == [3, 4]


CUT_OFF = {
    "math.exp": lambda w: math.exp(w[0]),
    "float": lambda w: float(w[0]),
    "int": lambda w: int(w[0]),
    "np.float64": lambda w: np.float64(w[0]),
    "an item of an array": lambda w: operator.setitem(np.zeros(2), 0, w[0]),
    "fromiter": lambda w: np.fromiter(w, float),
    "math.floor": lambda w: math.floor(w[0]),
    "complex": lambda w: complex(w[0]),
    "a nested list": lambda w: tg.Tensor([[w[0]], [w[1]]]),
    "a list with a number": lambda w: tg.Tensor([(1.0, w[0])]),
    "an array of objects": lambda w: tg.Tensor(np.array([w[0], None], object)[:1], dtype=float),
}


@pytest.mark.parametrize("cut", CUT_OFF.values(), ids=CUT_OFF)
def test_what_cuts_a_gradient_off_says_so(cut):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            cut(leaf(2.0, 3.0))
        except TypeError as error:
            caught.append(error)
    said = " ".join(str(getattr(c, "message", c)) for c in caught)
    assert "require" in said
    assert ".item()" in said or "tg.stack" in said or ".detach()" in said


def test_float_warns_once_for_each_place_and_not_where_nothing_is_lost():
    w = leaf(2.0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            math.exp(w)
        float(w)
    assert [c.filename for c in caught] == [__file__] * 2
    with tg.no_grad():
        assert float(w) == int(w) == 2
    assert float(w.detach()) == w.item() == 2
    assert f"{w:.1f}" == "2.0"


@pytest.mark.parametrize(
    "view",
    [
        lambda x, t: tg.reshape(x, tg.Tensor([2, 2])),
        lambda x, t: tg.expand_dims(x, tg.Tensor(0)),
        lambda x, t: tg.broadcast_to(x, tg.Tensor([2, 4])),
        lambda x, t: tg.transpose(x[None], tg.Tensor([1, 0])),
        lambda x, t: tg.swapaxes(x[None], tg.Tensor(0), 1),
        lambda x, t: tg.squeeze(x[None], tg.Tensor(0)),
        lambda x, t: tg.flip(x, tg.Tensor(0)),
        lambda x, t: tg.reshape(x, shape=tg.Tensor([2, 2])),
        lambda x, t: tg.getitem(x, tg.Tensor(0)),
    ],
)
def test_a_view_that_a_tensor_chose_does_not_follow_its_array(view):
    x, w = np.array([1.0, 2.0, 3.0, 4.0]), leaf(2.0)
    r = view(x, None)
    before = r.numpy() if isinstance(r, tg.Tensor) else r.copy()
    y = (r * w).sum()
    x[:] = 100.0
    y.backward()
    assert w.grad == before.sum()


def test_lists_are_operands_too():
    t = leaf(1.0, 2.0)
    for y, expected in [
        (t @ [3.0, 4.0], [3, 4]),
        (tg.einsum("i,i", t, [3.0, 4.0]), [3, 4]),
        (tg.concatenate([[1.0, 2.0], t]), [1, 1]),
        (tg.minimum(t, [0.0, 5.0]), [0, 1]),
        (t ** [2.0, 1.0], [2, 1]),
    ]:
        assert tg.grad(y.sum(), t).data.tolist() == expected


@pytest.mark.parametrize("index", [((0, 0, 1),), array.array("q", [0, 0, 1]), [0, 0, 1], np.array([0, 0, 1])])
def test_an_index_that_repeats_adds_up(index):
    x = leaf(1.0, 2.0, 3.0)
    x[index].sum().backward()
    assert x.grad.tolist() == [2, 1, 0]


def test_the_tape_is_never_lost_without_a_word():
    t = leaf(1.0, 2.0)
    for call, kind, message in [
        (lambda: copy.copy(t * 2), TypeError, "detach"),
        (lambda: pickle.dumps(t * 2), TypeError, "detach"),
        (lambda: tg.Tensor([t * 2, t * 3]), TypeError, "use tg.stack"),
        (lambda: np.full_like(np.zeros(2), t[0]), TypeError, "no primitive"),
    ]:
        with pytest.raises(kind, match=message):
            call()


def test_transforms_record_inside_no_grad():
    with tg.no_grad():
        assert tg.value_and_grad(lambda x: (x * x).sum())(np.array([1.0, 2.0]))[1].tolist() == [2, 4]
        assert tg.jacobian(lambda x: x * x, np.array([1.0, 2.0])).tolist() == [[2, 0], [0, 4]]
        assert tg.hvp(lambda x: (x**3).sum(), np.array([1.0]), np.array([1.0])).tolist() == [6]


def test_no_gradient_comes_from_where_none_was_taken():
    x = leaf(-1.0, 4.0)
    for f in (tg.relu, lambda x: tg.clip(x, 0.0, None), lambda x: tg.maximum(x, 0.0)):
        with np.errstate(divide="ignore"):
            assert tg.grad(tg.sqrt(f(x)).sum(), x).data.tolist() == [0, 0.25]


def test_second_derivatives_of_power_at_exponent_0_commute():
    a, b = leaf(2.0), leaf(0.0)
    da, db = tg.grad(a**b, [a, b], create_graph=True)
    assert tg.grad(da, b).item() == pytest.approx(0.5)
    assert tg.grad(db, a).item() == pytest.approx(0.5)


def test_a_product_that_underflows_keeps_its_gradient():
    x = leaf(1e-200, 1e-200)
    assert tg.grad(tg.prod(x), x).data.tolist() == [1e-200, 1e-200]


def test_integer_operands_do_not_wrap():
    x = leaf(1.0, 5.0)
    assert tg.grad(tg.minimum(x, np.array([3, 3], np.uint8)).sum(), x).data.tolist() == [1, 0]
    assert tg.grad((x ** np.array([2, 0], np.int8)).sum(), x).data.tolist() == [2, 0]


def test_split_as_numpy_where_indices_fall():
    pieces = tg.split(np.arange(5.0), [3, 1])
    assert [p.tolist() for p in pieces] == [p.tolist() for p in np.split(np.arange(5.0), [3, 1])]


# no_grad, threads


def test_threads_that_share_an_operator_or_a_leaf():
    x = tg.Tensor(np.ones(1000), requires_grad=True)
    wrong = []

    @tg.primitive
    def join(*arrays):
        return np.concatenate(arrays)

    join.vjp(arrays=lambda i, g, y, *arrays: g[i : i + 1])

    def work():
        for n in range(1, 40):
            parts = [leaf([1.0]) for _ in range(n)]
            (join(*parts) * np.arange(n)).sum().backward()
            wrong.extend(k for k, p in enumerate(parts) if p.grad[0] != k)
            x.sum().backward()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
    assert (x.grad == 4 * 39).all()


def test_no_grad_and_plain_arrays_record_nothing():
    w = leaf(1.0)
    with tg.no_grad():
        y = w * 2
    assert not y.requires_grad
    assert y.is_leaf
    assert isinstance(tg.exp(np.zeros(2)), np.ndarray)

    @tg.no_grad()
    def quiet():
        return w * 2

    assert quiet().is_leaf
    assert (w * 2).requires_grad


def test_no_grad_in_one_thread_does_not_leak():
    inside, leave, seen = threading.Event(), threading.Event(), []

    def work():
        with tg.no_grad():
            inside.set()
            leave.wait(5)

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(5)
    seen.append((leaf(1.0) * 2).requires_grad)
    leave.set()
    thread.join()
    assert seen == [True]


def test_two_threads_with_their_own_graphs():
    results = {}

    def work(k):
        total = 0.0
        for i in range(200):
            x = leaf(float(k + 1))
            y = x
            for _ in range(20):
                y = y * 1.0 + x
            y.backward()
            total += float(x.grad)
            assert i >= 0
        results[k] = total

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == dict.fromkeys(range(4), 200 * 21.0)


def test_backward_inside_a_primitive():
    @tg.primitive
    def slope_of_cube(x):
        t = tg.Tensor(x, requires_grad=True)
        (t**3).sum().backward()
        return t.grad

    slope_of_cube.vjp(x=lambda g, y, x: g * 6 * x)
    x = leaf(2.0)
    slope_of_cube(x).backward()
    assert x.grad == 12.0


# What Python and NumPy see


@pytest.mark.parametrize(
    ("expression", "gradient"),
    [
        (lambda t: np.exp(t), np.exp([1.0, 2.0])),
        (lambda t: np.sum(t * t, axis=0), [2, 4]),
        (lambda t: np.where(np.array([True, False]), t, 0.0), [1, 0]),
        (lambda t: np.concatenate([t, np.ones(2)]), [1, 1]),
        (lambda t: np.array([[1.0, 2.0], [3.0, 4.0]]) @ t, [4, 6]),
        (lambda t: np.array([3.0, 5.0]) * t, [3, 5]),
        (lambda t: np.float64(2) * t, [2, 2]),
        (lambda t: 2 / t, [-2, -0.5]),
        (lambda t: 1 - t, [-1, -1]),
        (lambda t: 2**t, np.log(2) * np.array([2.0, 4.0])),
        (lambda t: t**2, [2, 4]),
        (lambda t: abs(-t), [1, 1]),
        (lambda t: np.maximum(t, 1.5), [0, 1]),
        (lambda t: np.mean(t), [0.5, 0.5]),
        (lambda t: np.einsum("i,i", t, t), [2, 4]),
        (lambda t: np.stack([t, t]), [2, 2]),
        (lambda t: np.amax(t), [0, 1]),
        (lambda t: t[-1], [0, 1]),
        (lambda t: t[[0, 0, 1]], [2, 1]),
        (lambda t: t[t > 1.5], [0, 1]),
        (lambda t: t[None, ..., tg.Tensor([1, 1])], [0, 2]),
        (lambda t: t[:, None].T.reshape(2), [1, 1]),
        (lambda t: sum(v * v for v in t), [2, 4]),
    ],
)
def test_numpy_and_python_differentiate_as_expected(expression, gradient):
    t = leaf(1.0, 2.0)
    y = expression(t)
    assert isinstance(y, tg.Tensor)
    y.sum().backward()
    np.testing.assert_allclose(t.grad, gradient, rtol=1e-14)


def test_numpy_functions_without_a_primitive_say_so():
    t = leaf(1.0, 2.0)
    for call, name in [
        (lambda: np.arcsin(t), "np.arcsin"),
        (lambda: np.linalg.det(t), r"np.linalg.det"),
        (lambda: np.subtract.reduce(t), "np.subtract.reduce"),
        (lambda: np.add.reduce(t, initial=1.0), "np.add.reduce with initial="),
        (lambda: np.exp(t, out=np.zeros(2)), "np.exp with out="),
        (lambda: np.percentile(t, 5), "np.percentile"),
    ]:
        with pytest.raises(TypeError, match=rf"{name} has no primitive"):
            call()
    with pytest.raises(TypeError, match="lose its gradient"):
        np.asarray(t)
    assert np.asarray(t.detach()).tolist() == [1, 2]


def test_a_primitive_over_a_numpy_function_serves_that_function():
    @tg.primitive(forward=np.arcsin)
    def arcsin(x):
        """The inverse of sin."""

    arcsin.vjp(x=lambda g, y, x: g / np.sqrt(1 - x * x))
    t = leaf(0.5)
    np.arcsin(t).backward()
    assert t.grad == pytest.approx(1 / np.sqrt(0.75))


def test_comparisons_and_shapes_are_plain():
    t = leaf(1.0, 2.0)
    assert type(t > 1) is np.ndarray
    assert (t == t).all()
    assert np.isfinite(t).all()
    assert np.shape(t) == (2,)
    assert np.argmax(t) == 1
    assert np.zeros_like(t).tolist() == [0, 0]
    assert {t: 1}[t] == 1


def test_repr_shows_values_dtype_and_what_made_it():
    assert repr(leaf(1.0, 2.0)) == "Tensor([1., 2.], dtype=float64, requires_grad=True)"
    assert repr(tg.Tensor([1, 2])) == f"Tensor([1, 2], dtype={np.dtype(int)})"
    assert repr(tg.exp(leaf(0.0))) == "Tensor(1., dtype=float64, made by exp)"
    assert f"{leaf(0.5):.2f}" == "0.50"
    assert f"{leaf(0.5)}" == "Tensor(0.5, dtype=float64, requires_grad=True)"
    assert f"{leaf(1.0, 2.0)}" == str(leaf(1.0, 2.0))


def test_scalars():
    assert float(leaf(2.0).detach()) == 2.0
    assert int(tg.Tensor(2)) == 2
    assert [10, 20, 30][tg.Tensor(1)] == 20
    assert bool(tg.Tensor([0.0])) is False
    assert len(leaf(1.0, 2.0)) == 2
    assert leaf(3.0).item() == 3.0


def test_dtypes_are_numpys():
    single = leaf(1.0, 2.0, dtype=np.float32)
    assert (single * 2.0).dtype == np.float32
    assert (2 * single + 1).dtype == np.float32
    assert (single * np.float64(2)).dtype == np.float64
    y = single * np.array([1.0, 2.0])
    assert y.dtype == np.float64
    y.sum().backward()
    assert single.grad.dtype == np.float32
    assert tg.Tensor(1.5).dtype == np.float64
    assert tg.Tensor(np.float16(1)).dtype == np.float16


def test_updates_in_place_are_for_leaves_inside_no_grad():
    w = alias = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="no_grad"):
        w -= 1.0
    with tg.no_grad():
        w -= np.array([1.0, 1.0])
        w *= 2
        w **= 2
    assert w is alias
    assert w.data.tolist() == [0, 4]
    y = w * 1
    before = y
    y += 1
    assert before is not y
    assert y.data.tolist() == [1, 5]


def test_pickle_and_deepcopy_keep_numbers_and_grad():
    w = leaf(1.0, 2.0)
    (w * w).sum().backward()
    for twin in (pickle.loads(pickle.dumps(w)), copy.deepcopy(w)):
        assert twin.data.tolist() == [1, 2]
        assert twin.grad.tolist() == [2, 4]
        assert twin.requires_grad
        twin.grad[...] = 0
    assert w.grad.tolist() == [2, 4]
    model = tg.nn.Sequential(tg.nn.Linear(2, 3, rng=0), tg.nn.ReLU())
    twin = copy.deepcopy(model)
    twin[0].weight.data = np.zeros((3, 2))
    assert (model[0].weight.data != 0).all()


def test_a_custom_primitive_with_a_residual():
    kept_seen = []

    @tg.primitive
    def cosine(x, *, keep=()):
        return (np.cos(x), np.sin(x)) if keep else np.cos(x)

    def rule(g, y, x, kept):
        kept_seen.append(kept is not None)
        return -g * (np.sin(x) if kept is None else kept)

    cosine.vjp(x=rule)
    assert cosine(0.0) == 1.0
    with pytest.raises(TypeError, match="keep"):
        cosine(0.0, keep=True)
    x = leaf(0.5)
    y = cosine(x)
    y.backward()
    y.backward()
    assert x.grad == pytest.approx(-2 * np.sin(0.5))
    assert kept_seen == [True, False]
    tg.gradcheck(cosine, np.array([0.5, 1.0]), order=2)


def test_arguments_may_have_any_name():
    @tg.primitive
    def odd(y, kind, type, node, list, made, new, forward):
        return y * kind + node * new

    odd.vjp(y=lambda g, *a: g * a[2], kind=lambda g, *a: g * a[1])
    y, kind = leaf(2.0), leaf(3.0)
    z = odd(y, kind, 1, 1.0, None, None, 1.0, None)
    assert z.item() == 7.0
    first = tg.grad(z, [y, kind], create_graph=True)
    assert [d.item() for d in first] == [3.0, 2.0]
    with pytest.raises(TypeError, match="leading underscores"):
        tg.primitive(lambda _x: _x)


# Bad input


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: tg.Tensor([[1, 2], [3]]), ValueError, "rows of different lengths"),
        (lambda: tg.Tensor(["a", "b"]), TypeError, "dtype <U1, expected real numbers"),
        (lambda: tg.Tensor([1 + 2j]), TypeError, "complex128"),
        (lambda: tg.Tensor(None), TypeError, "dtype object"),
        (lambda: tg.Tensor([1, 2], requires_grad=True), TypeError, "dtype int64, and only floating"),
        (lambda: leaf(1.0, 2.0).backward(), ValueError, r"shape \(2,\), and only a scalar"),
        (lambda: (leaf(1.0, 2.0) * 2).backward(np.ones(3)), ValueError, r"g has shape \(3,\), expected .* \(2,\)"),
        (lambda: (leaf(1.0, 2.0) * 2).backward(["a", "b"]), TypeError, "g has dtype"),
        (lambda: tg.Tensor(1.0).backward(), RuntimeError, "requires no grad"),
        (lambda: bool(leaf(1.0, 2.0)), ValueError, r"truth value of a Tensor of shape \(2,\)"),
        (lambda: leaf(1.0, 2.0).item(), ValueError, r"shape \(2,\)"),
        (lambda: leaf(1.0, 2.0) + leaf(1.0, 2.0, 3.0), ValueError, r"\(2,\) \(3,\)"),
        (lambda: tg.matmul(leaf(np.ones((2, 3))), np.ones((2, 3))), ValueError, r"\(2, 3\) and \(2, 3\)"),
        (lambda: tg.linear(np.ones((5, 3)), leaf(np.ones((2, 4)))), ValueError, r"\(5, 3\), expected \(…, 4\)"),
        (lambda: leaf(1.0, 2.0).sum(axis=1), np.exceptions.AxisError, "axis 1"),
        (lambda: tg.softmax(leaf(1.0, 2.0), axis=3), np.exceptions.AxisError, "axis 3"),
        (lambda: tg.where(leaf(1.0), 1.0, 2.0), TypeError, "argument 'condition' is a Tensor that requires grad"),
        (lambda: leaf(1.0, 2.0)[5], IndexError, "5"),
        (lambda: setattr(leaf(1.0, 2.0), "data", [1.0]), ValueError, r"shape \(1,\), expected .*\(2,\)"),
        (lambda: setattr(leaf(1.0) * 2, "data", 1.0), RuntimeError, "made by multiply"),
        (lambda: setattr(leaf(1.0) * 2, "requires_grad", False), RuntimeError, "detach"),
        (lambda: setattr(leaf(1.0, 2.0), "grad", np.zeros(3)), ValueError, r"grad: got shape \(3,\).*\(2,\)"),
        (lambda: f"{leaf(1.0, 2.0):.2f}", TypeError, r"shape \(2,\) can't be formatted"),
        (lambda: tg.astype(leaf(1.0), int), TypeError, "expected a floating"),
        (lambda: tg.hvp(lambda x: x.sum(), np.ones(2), np.ones(3)), ValueError, r"\(3,\), expected .*\(2,\)"),
        (lambda: tg.value_and_grad(lambda x: x * 2)(np.ones(2)), ValueError, "expected a scalar"),
        (lambda: tg.value_and_grad(lambda x: x.item())(1.0), TypeError, "expected a Tensor"),
        (lambda: tg.pad(leaf(1.0), 1, "mean"), ValueError, "mode is 'mean'"),
        (lambda: tg.gelu(1.0, "quick"), ValueError, "approximate is 'quick'"),
        (lambda: tg.exp.vjp(z=lambda g: g), TypeError, r"exp.vjp: no argument 'z'; the arguments are \['x'\]"),
    ],
)
def test_bad_input_is_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_an_error_in_a_forward_names_the_call():
    with pytest.raises(ValueError, match="broadcast") as caught:
        tg.add(leaf(1.0, 2.0), np.ones(3))
    assert caught.value.__notes__ == ["in add(a: float64 (2,), b: float64 (3,))"]


def test_requires_grad_refused_changes_nothing():
    t = tg.Tensor([1, 2])
    with pytest.raises(TypeError):
        t.requires_grad = True
    assert not t.requires_grad


def test_signature_and_help_are_the_forwards():
    import inspect

    assert str(inspect.signature(tg.softmax)) == "(x, axis=-1, *, where=None)"
    assert "keep" not in inspect.signature(tg.cross_entropy).parameters
    assert "softmax - onehot" in inspect.getmodule(tg.cross_entropy).__doc__
    assert tg.exp.__name__ == "exp"


def deep(x, layers=40):
    for _ in range(layers):
        x = tg.tanh(x)
    return x.sum()


def test_a_used_up_graph_frees_what_nobody_holds_and_says_so():
    x = tg.Tensor(np.linspace(-1, 1, 5), requires_grad=True)
    h = tg.exp(x)
    gone, loss = weakref.ref(h._value), (h * h).sum()
    del h
    loss.backward(retain_graph=False)
    np.testing.assert_allclose(x.grad, 2 * np.exp(2 * x.data))
    assert gone() is None
    assert not loss.is_leaf
    assert repr(loss).endswith("made by sum)")
    for again in (loss.backward, (loss * 2).backward, lambda: tg.grad(loss, x)):
        with pytest.raises(RuntimeError, match="used up by backward"):
            again()
    np.testing.assert_allclose(x.grad, 2 * np.exp(2 * x.data))


@pytest.mark.parametrize("retain_graph", [True, False])
def test_the_reverse_pass_of_a_deep_net_takes_no_memory_beside_a_few_gradients(retain_graph):
    x = tg.Tensor(np.linspace(-1, 1, 100_000), requires_grad=True)
    tracemalloc.start()
    try:
        loss = deep(x)
        activations = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        loss.backward(retain_graph=retain_graph)
        level, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert activations >= 40 * x.data.nbytes
    assert peak - activations < 6 * x.data.nbytes
    assert level < (1.1 * activations + x.data.nbytes if retain_graph else 3 * x.data.nbytes)


def test_gradients_of_many_consumers_add_up_in_one_array():
    x = tg.Tensor(np.linspace(-1, 1, 100_000), requires_grad=True)
    c = [float(k) for k in range(1, 31)]
    y = tg.Tensor(0.0)
    for k in c:
        y = y + (x * k).sum()
    tracemalloc.start()
    try:
        y.backward()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(x.grad, np.full(100_000, sum(c)))
    assert peak < 5 * x.data.nbytes
    first = x.grad
    y.backward()  # adds into a new array: the one handed out before stays as it was
    assert first[0] == sum(c)
    assert x.grad[0] == 2 * sum(c)


# Gradients of results


def test_a_result_keeps_its_gradient_where_it_was_asked_to():
    x = leaf(1.0, 2.0)
    h = x * x
    early = h.sum()
    h.retain_grad()
    h.retain_grad()
    (h * h).sum().backward()
    assert h.tolist() == [1, 4]
    assert h.grad.tolist() == [2, 8]
    assert x.grad.tolist() == [4, 32]
    early.backward(retain_graph=False)  # it was recorded before
    assert h.grad.tolist() == [3, 9]
    h.zero_grad()
    assert h.grad is None
    with pytest.raises(RuntimeError, match="used up"):
        h.sum().backward()


def test_a_retained_result_is_differentiated_twice_and_grad_touches_it_not():
    x = leaf(2.0)
    h = x**3
    h.retain_grad()
    first = tg.grad(h * x, x, create_graph=True)
    assert first == 32.0
    assert tg.grad(first, x) == 48.0
    assert h.grad is None
    x.retain_grad()  # a leaf does so anyway
    h.backward()
    assert h.grad == 1.0
    assert x.grad == 12.0
    with pytest.raises(RuntimeError, match="requires no grad"):
        x.detach().retain_grad()


def test_the_gradient_of_a_result_says_why_there_is_none():
    x = leaf(2.0)
    h = x * x
    h.backward()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            assert h.grad is None
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert "made by multiply" in str(caught[0].message)
    assert "retain_grad()" in str(caught[0].message)
    assert x.grad == 4
    assert x.detach().grad is None


@pytest.mark.parametrize("name", [
    "relu", "exp", "log", "log1p", "sqrt", "square", "abs", "tanh", "sigmoid", "softmax", "log_softmax", "sin", "cos",
    "prod", "std", "var", "cumsum", "ravel", "copy", "__pos__", "__neg__", "__abs__",
])  # fmt: skip
def test_methods_are_the_operators(name):
    x, u = leaf(0.5, 2.0), leaf(0.5, 2.0)
    operators = {"ravel": lambda t: tg.reshape(t, -1), "copy": tg.positive, "__pos__": tg.positive,
                 "__neg__": tg.negative, "__abs__": tg.abs}  # fmt: skip
    made, other = getattr(x, name)(), operators.get(name, getattr(tg, name, None))(u)
    made.sum().backward()
    other.sum().backward()
    np.testing.assert_array_equal(made.numpy(), other.numpy())
    np.testing.assert_array_equal(x.grad, u.grad)


@pytest.mark.parametrize("einsum", [tg.einsum, np.einsum])
@pytest.mark.parametrize(
    ("letters", "lists"),
    [
        ("ij,jk->ik", ([0, 1], [1, 2], [0, 2])),
        ("ij,jk", ([3, 1], [1, 30])),  # without a result it has the axes in their order, as in NumPy
        ("ji,ik->kj", ((40, 1), (1, 2))),
        ("...i,ij->...j", ([..., 0], [0, 1], [..., 1])),
        ("ij,jk->", ([0, np.int64(1)], [1, 2], [])),
    ],
)
def test_einsum_takes_numpys_lists_of_axes(einsum, letters, lists):
    def differentiated(call):
        a = tg.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
        b = tg.Tensor(np.arange(12.0).reshape(3, 4) ** 0.5, requires_grad=True)
        y = call(a, b)
        (y * np.arange(1.0, y.size + 1).reshape(y.shape)).sum().backward()
        return [y.data, a.grad, b.grad]

    result = lists[2:]
    got = differentiated(lambda a, b: einsum(a, lists[0], b, lists[1], *result))
    for one, other in zip(got, differentiated(lambda a, b: tg.einsum(letters, a, b)), strict=True):
        np.testing.assert_array_equal(one, other)
    plain = np.einsum(np.ones((2, 3)), lists[0], np.ones((3, 4)), lists[1], *result)
    np.testing.assert_array_equal(tg.einsum(np.ones((2, 3)), lists[0], np.ones((3, 4)), lists[1], *result), plain)


def test_einsum_takes_a_number_among_its_operands():
    a = tg.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    tg.einsum("ij,,ij->i", a, 2.0, a).sum().backward()
    np.testing.assert_array_equal(a.grad, 4 * a.data)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda t: tg.einsum(t, t), TypeError, "einsum: subscripts is a Tensor, expected text such as 'ij,jk->ik', or"),
        (lambda t: tg.einsum(t, 0, t, 1), TypeError, "subscripts is a Tensor, expected text"),
        (lambda t: tg.einsum(t, [0], t, [52]), ValueError, r"the list \[52\] has 52, expected axes from 0 to 51, or"),
        (lambda t: tg.einsum(t, [0], t, ["i"]), ValueError, "has 'i', expected axes"),
    ],
)
def test_einsum_says_what_it_takes(call, kind, message):
    with pytest.raises(kind, match=message):
        call(tg.Tensor([1.0, 2.0], requires_grad=True))


@pytest.mark.parametrize(("join", "axis"), [(tg.concatenate, 0), (np.concatenate, -1), (tg.concatenate, None),
                                            (tg.stack, 0), (np.stack, -1)])  # fmt: skip
def test_many_arrays_are_joined_as_few_are(join, axis):
    rng = np.random.default_rng(0)
    wide = [rng.standard_normal((2, 2)).astype(np.float32 if k % 3 else np.float16) for k in range(300)]
    wide[150] = wide[150].astype(np.float64)
    given = [tg.Tensor(a, requires_grad=True) if k % 2 else a for k, a in enumerate(wide)]
    y, expected = join(given, axis=axis), join(wide, axis=axis)
    assert y.dtype == expected.dtype == np.float64
    np.testing.assert_array_equal(y.data, expected)
    g = rng.integers(-8, 8, y.shape)
    y.backward(g)
    places = join([np.full((2, 2), k) for k in range(300)], axis=axis)
    for k, x in enumerate(given):
        if isinstance(x, tg.Tensor):
            np.testing.assert_array_equal(x.grad, g[places == k].reshape(2, 2))


def test_an_error_in_many_arrays_names_the_one_at_fault():
    given = [tg.Tensor(np.ones((2, 2)), requires_grad=True) for _ in range(300)]
    given[200] = tg.Tensor(np.ones((3, 3)))
    with pytest.raises(ValueError, match="index 200 has size 3"):
        tg.concatenate(given)
    for given, axis, message in (
        ([tg.Tensor(1.0)] * 300, 0, "zero-dimensional"),
        ([tg.Tensor([1.0])] * 300, 1, "axis 1 is out of bounds"),
    ):
        with pytest.raises(ValueError, match=message):
            tg.concatenate(given, axis)
    with pytest.raises(TypeError, match="'str' object cannot be interpreted as an integer"):
        tg.concatenate([tg.Tensor([1.0])] * 300, "x")


def test_the_rule_of_a_join_is_given_few_arrays_however_many_are_joined():
    for n in (300, 3000):
        node, most = tg.stack([tg.Tensor([1.0], requires_grad=True) for _ in range(n)]), 0
        nodes = [node]
        while nodes:
            node = nodes.pop()
            most = max(most, len(node._parents))
            nodes += [parent for _, parent in node._parents]
        assert most <= 64


@pytest.mark.parametrize("values", [[300], [300.0], [-1], [256, 0], [np.nan], [np.inf], [-np.inf, 0], [2**70]])
@pytest.mark.parametrize(
    "kind", [list, np.array, lambda v: np.array(v, object), lambda v: tg.Tensor(np.array(v, float))]
)
def test_numbers_that_an_integer_dtype_does_not_hold_are_an_error(values, kind):
    with pytest.raises(ValueError, match=r"overflow|cannot convert float (NaN|infinity) to integer"):
        tg.Tensor(kind(values), dtype=np.uint8)
    t = tg.Tensor([1] * len(values), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"overflow|cannot convert float (NaN|infinity) to integer"):
        t.data = kind(values)
    assert t.tolist() == [1] * len(values)


def test_an_integer_dtype_takes_what_it_holds():
    for dtype in (np.int8, np.uint8, np.int64, np.uint64):
        ends = [np.iinfo(dtype).min, np.iinfo(dtype).max]
        assert tg.Tensor(ends, dtype=dtype).tolist() == ends
        assert tg.Tensor(np.array(ends, object), dtype=dtype).tolist() == ends
    with pytest.raises(
        ValueError, match=r"overflow: data has 9.22\d+e\+18, expected numbers from -9223372036854775808 to"
    ):
        tg.Tensor(np.array([2.0**63]), dtype=np.int64)
    with pytest.raises(ValueError, match="data has 300, expected numbers from 0 to 255, as uint8 holds"):
        tg.Tensor(np.array([7, 300]), dtype=np.uint8)
    assert tg.Tensor(np.array([2.9, -2.9]), dtype=np.int8).tolist() == [2, -2]  # cut off, as NumPy does
    assert tg.Tensor([], dtype=np.uint8).shape == (0,)
