"""Derivatives of functions: argnums, keywords, containers, what is returned beside, and transforms of transforms."""

import collections
import threading

import numpy as np
import pytest

import tinygrad_ce as tg

W, B = np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([0.25, -1.0])
X = np.array([1.5, -0.5])


def energy(w, b, scale=1.0):
    """Σ (w x + b)² · scale: the gradients are 2 scale (w x + b) xᵀ and 2 scale (w x + b)."""
    return ((w @ X + b) ** 2).sum() * scale


DB = 2 * (W @ X + B)
DW = np.outer(DB, X)


def check(found, expected):
    """The same containers, of the same types, with the same numbers."""
    if isinstance(expected, dict):
        assert type(found) is type(expected)
        assert list(found) == list(expected)
        found, expected = list(found.values()), list(expected.values())
    if isinstance(expected, list | tuple):
        assert type(found) is type(expected)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            check(one, other)
    else:
        assert isinstance(found, np.ndarray)
        assert found.shape == np.shape(expected)
        np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(
    ("argnums", "expected"),
    [(0, DW), (1, DB), (-1, DB), (np.int64(1), DB), ((0, 1), (DW, DB)), ([1, 0], (DB, DW)), ((1,), (DB,))],
)
def test_argnums_say_which_arguments_and_keywords_are_passed_on(argnums, expected):
    check(tg.grad(energy, argnums)(W, B), expected)
    check(tg.grad(energy, argnums=argnums)(W, B, scale=1.0), expected)
    value, found = tg.value_and_grad(energy, argnums)(W, B, scale=1.0)
    check(value, energy(W, B))
    check(found, expected)
    check(tg.jacobian(energy, W, B, argnums=argnums, scale=1.0), expected)


Pair = collections.namedtuple("Pair", "w b")


@pytest.mark.parametrize(
    ("put", "take"),
    [
        (lambda w, b: [w, b], lambda p: p),
        (lambda w, b: (w, b), lambda p: p),
        (lambda w, b: {"w": w, "b": b}, lambda p: (p["w"], p["b"])),
        (lambda w, b: Pair(w, b), lambda p: (p.w, p.b)),
        (lambda w, b: collections.OrderedDict(b=b, w=w), lambda p: (p["w"], p["b"])),
        (lambda w, b: collections.defaultdict(list, w=w, b=b), lambda p: (p["w"], p["b"])),
        (lambda w, b: [{"layers": [(w,), {}]}, [], b], lambda p: (p[0]["layers"][0][0], p[2])),
    ],
    ids=["list", "tuple", "dict", "NamedTuple", "OrderedDict", "defaultdict", "nested"],
)
def test_derivatives_come_in_the_containers_of_the_parameters(put, take):
    def f(p, scale=1.0):
        return energy(*take(p), scale=scale)

    given = put(W, B)
    check(tg.grad(f)(given), put(DW, DB))
    check(tg.value_and_grad(f)(given, scale=2.0)[1], put(2 * DW, 2 * DB))
    check(tg.grad(lambda x, p: f(p), (1, 0))(B, given), (put(DW, DB), 0 * B))
    check(tg.jacobian(f, given, scale=1.0), put(DW, DB))
    eye, rows = np.eye(2), np.einsum("ik,j->ikj", np.eye(2), X)  # of w x + b in b, and in w
    ww, wb = 2 * np.einsum("ikj,l->kjil", rows, X), 2 * np.einsum("ikj->kji", rows)
    check(tg.hessian(f, given), put(put(ww, wb), put(2 * rows, 2 * eye)))
    v = put(W - 1, B + 2)
    check(tg.hvp(f, given, v), put(np.outer(2 * ((W - 1) @ X + B + 2), X), 2 * ((W - 1) @ X + B + 2)))
    assert take(given)[0] is W


def test_numbers_in_a_list_are_parameters():
    check(tg.grad(lambda p: p[0] ** 2 * p[1])([3.0, 2]), [np.array(12.0), np.array(9.0)])

    def first(p):
        assert isinstance(p, tuple)
        return p[0]

    check(tg.grad(first)((1.0, 2.0)), (np.array(1.0), np.array(0.0)))
    with pytest.raises(TypeError) as caught:
        tg.grad(lambda x: (x * x).sum())([1.0, 2.0])
    assert "for one array give np.array" in caught.value.__notes__[0]


def test_a_gradient_is_a_tensor_where_its_parameter_is():
    found = tg.grad(lambda p: (p["w"] * p["b"]).sum())({"w": tg.Tensor(B), "b": B})
    assert isinstance(found["w"], tg.Tensor)
    assert type(found["b"]) is np.ndarray


def test_jacobian_of_outputs_in_containers():
    found = tg.jacobian(lambda x, y: {"sum": (x * y).sum(), "both": [x * y, y]}, X, B, argnums=(0, 1))
    expected = {"sum": (B, X), "both": [(np.diag(B), np.diag(X)), (np.zeros((2, 2)), np.eye(2))]}
    check(found, expected)
    check(tg.jacobian(lambda p: p[0][:0], [W]), [np.zeros((0, 2, 2, 2))])


def test_without_arguments_the_function_comes():
    check(tg.jacobian(lambda x: x * x)(X), np.diag(2 * X))
    check(tg.hessian(lambda a, x: a * (x**3).sum(), argnums=1)(2.0, X), np.diag(12 * X))
    check(tg.hvp(lambda a, x: a * (x**3).sum(), argnums=1)(2.0, X, B), 12 * X * B)
    check(tg.hvp(lambda a, x: a * (x**3).sum(), 2.0, X, v=B, argnums=1), 12 * X * B)
    check(tg.hvp(lambda a, x: (a * x).sum(), X, X, (B, 2 * B), argnums=(0, 1)), (2 * B, B))


def test_has_aux_hands_on_what_else_f_returns():
    def f(x, scale=1.0):
        return (x**3).sum() * scale, {"twice": [x * 2], "note": "n", "none": None}

    more = {"twice": [2 * X], "note": "n", "none": None}

    def check_more(found):
        assert (found["note"], found["none"]) == ("n", None)
        check(found["twice"], more["twice"])

    for found, expected in [
        (tg.grad(f, has_aux=True)(X), 3 * X**2),
        (tg.jacobian(f, X, has_aux=True), 3 * X**2),
        (tg.hessian(f, X, scale=2.0, has_aux=True), np.diag(12 * X)),
        (tg.hvp(f, X, B, has_aux=True), 6 * X * B),
    ]:
        check(found[0], expected)
        check_more(found[1])
    (value, found), slope = tg.value_and_grad(f, has_aux=True)(X)
    check(value, (X**3).sum())
    check(slope, 3 * X**2)
    check_more(found)
    assert not tg.grad(f, has_aux=True)(tg.Tensor(X))[1]["twice"][0].requires_grad


def test_transforms_of_transforms():
    check(tg.grad(tg.grad(tg.grad(lambda x: x**4)))(2.0), np.array(48.0))
    check(tg.grad(tg.grad(lambda x, y: x * y**3, 1), 0)(2.0, 3.0), np.array(27.0))
    check(tg.jacobian(tg.jacobian(lambda x: x**3))(X), np.einsum("ij,jk->ijk", np.eye(2), np.diag(6 * X)))
    check(tg.grad(lambda v: tg.jacobian(tg.exp, v).sum())(X), np.exp(X))
    check(tg.grad(lambda p: (tg.grad(lambda q: (q["a"] ** 3).sum())(p)["a"] ** 2).sum())({"a": X}), {"a": 36 * X**3})
    check(tg.grad(lambda x: tg.hvp(lambda y: (y**4).sum(), x, x).sum())(X), 36 * X**2)


def test_an_inner_transform_differentiates_in_its_own_argument_alone():
    check(tg.grad(lambda x: x * tg.grad(lambda y: x + y)(x))(2.0), np.array(1.0))
    x = tg.Tensor(X, requires_grad=True)
    slope = tg.grad(lambda y: (x * y * y).sum())(x)
    check(slope.numpy(), 2 * X**2)
    slope.sum().backward()
    check(x.grad, 4 * X)


@pytest.mark.parametrize(
    "inner",
    [
        lambda x: tg.grad(lambda y: x * y**2)(3.0),
        lambda x: tg.value_and_grad(lambda y: x * y**2 / 9 * 6)(3.0)[0],
        lambda x: tg.grad(lambda y: (y**2, x * 6), has_aux=True)(3.0)[1],
        lambda x: tg.hessian(lambda y: (x * y**3)[0] / 3, np.array([3.0]))[0, 0],
        lambda x: tg.hvp(lambda y: x * y**2, 3.0, 3.0),
        lambda x: tg.jacobian(lambda y: x * y, np.ones(6)).sum(),
    ],
    ids=["grad", "value", "aux", "hessian", "hvp", "jacobian"],
)
def test_what_an_inner_transform_takes_from_outside_is_differentiated_too(inner):
    # Each is 6 x, from a derivative in something else than x.
    check(tg.grad(lambda x: x + inner(x))(2.0), np.array(7.0))


def test_an_inner_transform_of_what_is_constant_gives_arrays():
    kinds = []

    def f(x):
        kinds.append(type(tg.grad(lambda y: y**2)(3.0)))
        with tg.no_grad():
            kinds.append(type(tg.grad(lambda y: x * y**2)(3.0)))
        thread = threading.Thread(target=lambda: kinds.append(type(tg.grad(lambda y: y**2)(3.0))))
        thread.start()
        thread.join()
        return x * 1.0

    tg.grad(f)(2.0)
    assert kinds == [np.ndarray] * 3


def test_grad_of_tensors_takes_inputs_in_containers():
    w, b = tg.Tensor(W, requires_grad=True), tg.Tensor(B, requires_grad=True)
    loss = energy(w, b)
    found = tg.grad(loss, {"layer": (w, [b])})
    check({"layer": (found["layer"][0].numpy(), [found["layer"][1][0].numpy()])}, {"layer": (DW, [DB])})
    with pytest.raises(RuntimeError, match=r"inputs\['c'\] had no part"):
        tg.grad(loss, {"w": w, "c": tg.Tensor(1.0, requires_grad=True)})


def square(x):
    return (x * x).sum()


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: tg.grad(square, X), TypeError, r"argnums is array.*grad\(f\)\(x\)"),
        (lambda: tg.grad(square, argnum=1), TypeError, "did you mean 'argnums'"),
        (lambda: tg.grad(square, create_graph=True), TypeError, r"create_graph are for Tensors.*grad\(grad\(f\)\)"),
        (lambda: tg.grad(tg.Tensor(1.0)), TypeError, r"got Tensor; expected grad\(outputs, inputs\)"),
        (lambda: tg.grad(tg.Tensor(1.0), tg.Tensor(1.0), argnums=1), TypeError, r"or a function: grad\(f\)"),
        (lambda: tg.grad(square, 1)(X), ValueError, "grad: argnums is 1, but f got 1 arguments by position"),
        (lambda: tg.grad(square)(x=X), ValueError, "f got 0 arguments by position"),
        (lambda: tg.grad(energy, (0, -2))(W, B), ValueError, "name each once"),
        (lambda: tg.value_and_grad(square, "x"), TypeError, "value_and_grad: argnums is 'x'"),
        (lambda: tg.hvp(square, X), ValueError, "hvp: argnums is 0, but f got 0"),
        (lambda: tg.hvp(lambda p: square(p[0]), [X], X), ValueError, r"v holds \[''\], expected .* \['\[0\]'\]"),
        (lambda: tg.hvp(lambda p: square(p[0]), [X], [W]), ValueError, r"v\[0\] has shape \(2, 2\), expected .*\(2,\)"),
        (lambda: tg.jacobian(tg.Tensor(1.0), X), TypeError, "jacobian: got Tensor, expected a function"),
        (lambda: tg.jacobian(lambda x: [x, 3], X), TypeError, r"f returned int at \[1\], expected a Tensor"),
        (
            lambda: tg.grad(lambda p: square(p["w"]))({"w": X, "b": None}),
            TypeError,
            r"args\[0\]\['b'\] has dtype object",
        ),
        (lambda: tg.grad(lambda p: square(p[0]))([X, "relu"]), TypeError, r"args\[0\]\[1\] has dtype <U4"),
        (lambda: tg.grad(lambda x: (square(x), x))(X), TypeError, "f returned tuple.*has_aux=True"),
        (lambda: tg.grad(square, has_aux=True)(X), TypeError, r"expected \(value, more\) for has_aux=True"),
    ],
)
def test_wrong_input_says_what_is_expected(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("inner", [tg.grad, lambda f: lambda y: tg.value_and_grad(f)(y)[1]], ids=["grad", "value"])
def test_a_gradient_keeps_what_it_depends_on_beside_its_variable(inner):
    """x · ∂(x y²)/∂y at y = 2 is 4 x²: the gradient is x's too."""
    x = tg.Tensor(3.0, requires_grad=True)
    y = x * inner(lambda y: x * y * y)(2.0)
    y.backward()
    assert y.item() == 36.0
    assert x.grad.item() == 24.0
    with tg.no_grad():
        assert isinstance(inner(lambda y: x * y * y)(2.0), np.ndarray)
    assert isinstance(inner(lambda y: x.detach() * y * y)(2.0), np.ndarray)
