"""Every operator, checked in every way, from its own examples."""

import importlib

import numpy as np
import pytest

import tinygrad_ce as tg
from benchmarks import mutants
from tinygrad_ce.check.gradcheck import gradcheck
from tinygrad_ce.check.operators import check_operator, example_calls

primitive_module = importlib.import_module("tinygrad_ce.engine.primitive")
registry = primitive_module.registry
OPERATORS = sorted(registry)


def calls(name, dtype=np.float64):
    return list(example_calls(registry[name], dtype, seed=0))


def run(f, inputs, weights=1.0):
    """The output arrays, and the gradient of their weighted sum in each input."""
    leaves = [tg.Tensor(x, requires_grad=True) for x in inputs]
    outputs = f(*leaves)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    total = sum((y * weights).sum() for y in outputs)
    return [y.data for y in outputs], tg.grad(total, leaves)


def test_every_operator_has_an_example():
    assert [name for name in OPERATORS if not registry[name].examples] == []


# Parts of other operators, and gradients that are recorded where second derivatives are asked for.
PARTS = {
    "conv2d_images",
    "conv2d_kernels",
    "max_unpool2d",
    "blocked_linear_cross_entropy", "join", "log_softmax_gradient", "scatter", "softmax_minus_onehot",
    "unreduced_focal_loss",
}  # fmt: skip


def test_every_operator_is_public_but_those_that_are_parts_of_others():
    assert {name for name in OPERATORS if getattr(tg, name, None) is not registry[name]} == PARTS
    assert not PARTS & {*dir(tg), *tg.__all__, *dir(tg.ops), *tg.ops.__all__, *tg.losses.__all__}


def test_an_operator_without_an_example_fails_the_check(monkeypatch):
    monkeypatch.setattr(registry["exp"], "examples", [])
    assert check_operator("exp").examples == 0


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", OPERATORS)
def test_rules_agree_with_finite_differences(name, dtype):
    check = check_operator(name, dtype)
    assert check.failed is None, str(check.failed)
    assert check.first < (1e-9 if dtype is np.float64 else 1e-3)
    assert check.second < (1e-9 if dtype is np.float64 else 1e-3)


RULES = [
    (name, argument, rule)
    for name in OPERATORS
    if (made := registry[name].primitive)
    for argument, rule in made.vjps.items()
]


@pytest.mark.parametrize(("name", "argument", "rule"), RULES, ids=[f"{name}-{argument}" for name, argument, _ in RULES])
def test_a_rule_wrong_by_a_thousandth_is_caught(name, argument, rule):
    with mutants.in_place_of(registry[name].primitive, argument, lambda *args: rule(*args) * 1.001):
        checks = (gradcheck(f, x, order=order, raises=False) for order in (1, 2) for f, x in calls(name))
        assert not all(checks)  # the first that fails is enough: looking into what is wrong takes its time


@pytest.mark.parametrize("name", OPERATORS)
def test_float32_in_float32_out_and_close_to_float64(name):
    for (f, double), (_, single) in zip(calls(name), calls(name, np.float32), strict=True):
        values, gradients = run(f, [x.astype(np.float32).astype(np.float64) for x in double])
        values32, gradients32 = run(f, single)
        if name != "astype":
            assert {y.dtype for y in values32} == {np.dtype(np.float32)}
        for g, g32, x in zip(gradients, gradients32, single, strict=True):
            assert g32.dtype == np.float32
            assert g32.shape == x.shape
            np.testing.assert_allclose(g32.data, g.data, rtol=2e-5, atol=2e-5 * np.abs(g.data).max(initial=0.1))
        for y, y32 in zip(values, values32, strict=True):
            np.testing.assert_allclose(y32, y, rtol=2e-5, atol=1e-6)


def strided(x):
    """The same numbers with other strides: every other entry, backwards, the first axis the quickest."""
    wide = np.zeros([2 * n + 1 for n in x.shape], order="F")
    view = wide[tuple(slice(2 * n - 1 if n else 0, None, -2) for n in x.shape)]
    view = view[tuple(slice(0, n) for n in x.shape)]
    view[...] = x
    return view


@pytest.mark.parametrize("name", OPERATORS)
def test_layout_of_inputs_does_not_matter(name):
    for f, inputs in calls(name):
        values, gradients = run(f, inputs)
        # Tensors copy; the operator itself is given the odd strides as a read-only array.
        odd = []
        for x in inputs:
            t = tg.Tensor(x, requires_grad=True)
            t._value = strided(x) if x.ndim else x
            odd.append(t)
        outputs = f(*odd)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        found = tg.grad(sum(y.sum() for y in outputs), odd)
        for y, y2 in zip(values, outputs, strict=True):
            np.testing.assert_allclose(y2.data, y, rtol=1e-13, atol=1e-15)
        for g, g2 in zip(gradients, found, strict=True):
            np.testing.assert_allclose(g2.data, g.data, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", OPERATORS)
def test_inputs_unchanged_and_the_same_bits_twice(name):
    for f, inputs in calls(name):
        before = [x.copy() for x in inputs]
        values, gradients = run(f, inputs)
        again, gradients_again = run(f, inputs)
        plain = f(*inputs)
        plain = plain if isinstance(plain, list) else [plain]
        for x, x0 in zip(inputs, before, strict=True):
            np.testing.assert_array_equal(x, x0)
        for a, b, c in zip(values, again, plain, strict=True):
            assert a.tobytes() == b.tobytes() == np.asarray(c).tobytes()
            assert not isinstance(c, tg.Tensor)
        for a, b in zip(gradients, gradients_again, strict=True):
            assert a.data.tobytes() == b.data.tobytes()


@pytest.mark.parametrize("name", OPERATORS)
def test_a_residual_is_only_a_cache(name):
    """A second reverse pass has nothing kept; it must give what the first one gave."""
    for f, inputs in calls(name):
        leaves = [tg.Tensor(x, requires_grad=True) for x in inputs]
        outputs = f(*leaves)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        total = sum((y * 0.7).sum() for y in outputs)
        first, second = tg.grad(total, leaves), tg.grad(total, leaves)
        recorded = tg.grad(total, leaves, create_graph=True)
        for a, b, c in zip(first, second, recorded, strict=True):
            np.testing.assert_allclose(b.data, a.data, rtol=1e-14, atol=1e-16)
            np.testing.assert_allclose(c.data, a.data, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", OPERATORS)
def test_gradients_never_alias(name):
    for f, inputs in calls(name):
        leaves = [tg.Tensor(x, requires_grad=True) for x in inputs]
        outputs = f(*leaves)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        total = sum(y.sum() for y in outputs)
        total.backward()
        expected = [leaf.grad.copy() for leaf in leaves]
        for leaf in leaves:
            assert leaf.grad.flags.writeable
            leaf.grad[...] = 123.0
            for other in leaves:
                assert other is leaf or not np.shares_memory(other.grad, leaf.grad)
        for leaf, x in zip(leaves, inputs, strict=True):
            np.testing.assert_array_equal(leaf.data, x)
        for leaf in leaves:
            leaf.grad = None
        total.backward()
        for leaf, g in zip(leaves, expected, strict=True):
            np.testing.assert_allclose(leaf.grad, g, rtol=1e-14, atol=1e-16)


EMPTY = {
    "add": (np.zeros((0, 3)), np.zeros(3)),
    "exp": (np.zeros((0, 3)),),
    "sum": (np.zeros((0, 3)),),
    "prod": (np.zeros((0, 3)),),
    "cumsum": (np.zeros((0, 3)),),
    "softmax": (np.zeros((0, 3)),),
    "log_softmax": (np.zeros((0, 3)),),
    "matmul": (np.zeros((0, 3)), np.zeros((3, 2))),
    "linear": (np.zeros((0, 3)), np.zeros((2, 3)), np.zeros(2)),
    "reshape": (np.zeros((0, 3)), (3, 0)),
    "transpose": (np.zeros((0, 3)),),
    "flip": (np.zeros((0, 3)),),
    "concatenate": ([np.zeros((0, 3)), np.zeros((2, 3))],),
    "take": (np.zeros((2, 3)), np.zeros(0, int), 0),
    "getitem": (np.zeros((2, 3)), slice(0, 0)),
    "where": (np.zeros((0, 3), bool), np.zeros((0, 3)), np.zeros(3)),
    "relu": (np.zeros((0, 3)),),
    "sigmoid": (np.zeros((0, 3)),),
    "pad": (np.zeros((0, 3)), 1),
    "einsum": ("ij,jk->ik", np.zeros((0, 3)), np.zeros((3, 2))),
}


@pytest.mark.parametrize("name", EMPTY)
def test_arrays_of_size_zero(name):
    def wrap(a):
        if isinstance(a, list):
            return [wrap(e) for e in a]
        return tg.Tensor(a, requires_grad=True) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a

    args = [wrap(a) for a in EMPTY[name]]
    y = getattr(tg, name)(*args)
    expected = getattr(tg, name)(*EMPTY[name])
    assert y.shape == np.shape(expected)
    leaves = [a for a in args if isinstance(a, tg.Tensor)] or [t for t in args[0] if isinstance(t, tg.Tensor)]
    for leaf, g in zip(leaves, tg.grad(y.sum(), leaves), strict=True):
        assert g.shape == leaf.shape


ELEMENTWISE = {
    "power 0": lambda x: tg.power(x, 0),
    "power 3": lambda x: x**3,
    "clip": lambda x: tg.clip(x, -1.0, 1.0),
    "maximum": lambda x: tg.maximum(x, tg.Tensor(np.zeros(x.shape), requires_grad=True)),
    "minimum": lambda x: tg.minimum(x, np.ones(x.shape)),
    "gelu tanh": lambda x: tg.gelu(x, "tanh"),
    "elu 0.5": lambda x: tg.elu(x, 0.5),
    "max": lambda x: tg.max(tg.stack([x, x]), axis=0),
    "std": lambda x: tg.std(tg.stack([x, x]), axis=0),
    "prod": lambda x: tg.prod(tg.stack([x, x * 0.5, x - x]), axis=0),
}


def test_kinks_ties_and_tails_as_pytorch(torch_figures):
    x = np.array(torch_figures["elementwise"]["x"])
    for name, figure in torch_figures["elementwise"]["functions"].items():
        f = ELEMENTWISE.get(name) or getattr(tg, name)
        t = tg.Tensor(x, requires_grad=True)
        y = f(t)
        y.sum().backward()
        np.testing.assert_allclose(y.data, figure["value"], rtol=1e-12, atol=1e-14, err_msg=name)
        np.testing.assert_allclose(t.grad, figure["gradient"], rtol=1e-12, atol=1e-14, err_msg=name)


def test_sigmoid_keeps_its_slope_in_both_tails():
    x = tg.Tensor([40.0, -40.0, 500.0], requires_grad=True)
    tg.sigmoid(x).sum().backward()
    np.testing.assert_allclose(x.grad, [np.exp(-40.0), np.exp(-40.0), np.exp(-500.0)], rtol=1e-15)


def test_complex_step_agrees_to_the_last_digits():
    """Rules against Im f(x + ih) / h with h = 1e-20, which no subtraction spoils."""
    functions = [
        lambda x: tg.exp(x) / (1 + x * x),
        lambda x: tg.log(x) * tg.sin(x) + tg.cos(x) ** 3,
        lambda x: tg.sqrt(x) @ np.arange(4.0) + tg.prod(x),
        lambda x: tg.tanh(x[1:] * x[:-1]).sum() + tg.expm1(tg.square(x)).sum(),
    ]
    x = np.array([0.3, 0.7, 1.1, 1.9])
    for f in functions:
        t = tg.Tensor(x, requires_grad=True)
        f(t).sum().backward()
        for i in range(4):
            step = np.zeros(4, complex)
            step[i] = 1e-20j
            exact = np.sum(f(x + step)).imag / 1e-20
            np.testing.assert_allclose(t.grad[i], exact, rtol=1e-13)


def test_gradcheck_names_input_index_and_numbers():
    @tg.primitive
    def wrong(x):
        return x * x

    wrong.vjp(x=lambda g, y, x: 2.002 * g * x)
    with pytest.raises(tg.GradientError, match=r"input 0, index \[\d\], of output \[\d\]: the rule gives") as caught:
        gradcheck(wrong, np.array([1.0, 2.0, 3.0]))
    assert not caught.value.report
    assert len(caught.value.report.failed) == 3
    assert caught.value.report.worst.relative == pytest.approx(0.001, rel=0.01)


def test_gradcheck_catches_a_zero_gradient_of_a_confident_row():
    @tg.primitive
    def lazy(x):
        return tg.cross_entropy(x, [0])

    lazy.vjp(x=lambda g, y, x: g * np.zeros_like(x))
    assert not gradcheck(lazy, np.array([[30.0, 0.0]]), raises=False)
    assert gradcheck(lambda x: tg.cross_entropy(x, [0]), np.array([[30.0, 0.0]]))


def test_gradcheck_at_order_two_catches_what_order_one_does_not():
    @tg.primitive
    def cubed(x):
        return x**3

    cubed.vjp(x=lambda g, y, x: g * 3 * np.square(getattr(x, "data", x)))  # the graph is cut: no second derivative
    assert gradcheck(cubed, np.array([1.0, 2.0]))
    assert not gradcheck(cubed, np.array([1.0, 2.0]), order=2, raises=False)
