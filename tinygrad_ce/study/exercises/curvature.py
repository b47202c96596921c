"""Exercises of 11 · Curvature."""

import numpy as np

from tinygrad_ce import losses, ops, transforms
from tinygrad_ce.study.exercise import exercise
from tinygrad_ce.study.exercises.why_fuse import JACOBIAN, probabilities
from tinygrad_ce.tensor import Tensor


@exercise(probabilities, forbidden="jacobian", mistakes=JACOBIAN)
def softmax_jacobian(p):
    return np.array([[p[i] * ((i == j) - p[j]) for j in range(len(p))] for i in range(len(p))])


@exercise(
    lambda rng: (rng.dirichlet(np.full(3, 2.0)), rng.normal(scale=2, size=3).round(2)),
    forbidden="hessian hvp",
    mistakes={
        "the mean isn't subtracted: that is the mean of v²": lambda p, v: p @ v**2,
        "the plain mean is subtracted; it is to be the mean under p": lambda p, v: p @ (v - v.mean()) ** 2,
        "the squares are averaged alike; p is to weigh them": lambda p, v: np.mean((v - p @ v) ** 2),
        "the square is missing, so it is 0": lambda p, v: p @ (v - p @ v),
        "that is the square of the mean": lambda p, v: (p @ v) ** 2,
        "that is the standard deviation; its square is asked for": lambda p, v: np.sqrt(p @ (v - p @ v) ** 2),
        "the squares are summed without p": lambda p, v: np.sum((v - p @ v) ** 2),
        "that is the plain variance of v, where p plays no role": lambda p, v: np.var(v),
    },
)
def curvature_along(p, v):
    return p @ v**2 - (p @ v) ** 2


def _regression(rng):
    return rng.normal(size=(3, 2)), rng.normal(size=(5, 2))


def _blocks(w, x):
    """The Jacobian of softmax for each row."""
    p = np.exp(x @ w.T)
    p /= p.sum(axis=1, keepdims=True)
    return p[:, :, None] * np.eye(len(w)) - p[:, :, None] * p[:, None, :]


def _hessian(curvature, x):
    return np.einsum("nck,nd,ne->cdke", curvature, x, x)


@exercise(
    _regression,
    forbidden="hessian hvp jacobian backward grad",
    mistakes={
        "the mean is missing: divide by the number of rows": lambda w, x: _hessian(_blocks(w, x), x),
        "the sign: diag(p) − p pᵀ": lambda w, x: -_hessian(_blocks(w, x), x) / len(x),
        "the products p_c p_k are missing": lambda w, x: (
            _hessian(_blocks(w, x) * np.eye(len(w)) + _diagonal_squares(w, x), x) / len(x)
        ),
        "the axes are in the order (C, C, D, D)": lambda w, x: (
            _hessian(_blocks(w, x), x).transpose(0, 2, 1, 3) / len(x)
        ),
        "the mean is taken before the product: each row has its own curvature": lambda w, x: (
            _hessian(np.broadcast_to(_blocks(w, x).mean(axis=0), (len(x), 3, 3)), x) / len(x)
        ),
        "classes don't only curve by themselves: the entries of two classes are missing": lambda w, x: (
            _hessian(_blocks(w, x) * np.eye(len(w)), x) / len(x)
        ),
        "it is divided by the number of classes, not of rows": lambda w, x: _hessian(_blocks(w, x), x) / len(w),
    },
)
def regression_hessian(w, x):
    p = ops.softmax(x @ w.T)
    rows = [np.einsum("ck,d,e->cdke", np.diag(q) - np.outer(q, q), r, r) for q, r in zip(p, x, strict=True)]
    return np.mean(rows, axis=0)


def _diagonal_squares(w, x):
    """p² on the diagonal, for each row: what diag(p) has and diag(p) − p pᵀ hasn't."""
    p = np.exp(x @ w.T)
    p /= p.sum(axis=1, keepdims=True)
    return p[:, :, None] ** 2 * np.eye(len(w))


def _cubic(rng):
    """A loss of a matrix whose Hessian is no multiple of it, a place, and a direction."""
    x, y = rng.normal(size=(5, 2)), rng.integers(0, 3, 5)
    return lambda w: losses.cross_entropy(ops.linear(x, w), y), rng.normal(size=(3, 2)), rng.normal(size=(3, 2))


def _differentiated(f, w):
    """The gradient of f, on the tape."""
    w = Tensor(w, requires_grad=True)
    return transforms.grad(f(w), w, create_graph=True), w


def _gradient(f, w):
    return transforms.value_and_grad(f)(w)[1]


@exercise(
    _cubic,
    forbidden="hvp hessian jacobian",
    mistakes={
        "that is the gradient; it is to be differentiated again, along v": lambda f, w, v: _gradient(f, w),
        "the gradient is multiplied by v, but not differentiated again": lambda f, w, v: _gradient(f, w) * v,
        "that is the derivative of f along v, one number": lambda f, w, v: (_gradient(f, w) * v).sum(),
        "v is missing: the gradient's sum is differentiated": lambda f, w, v: _again(f, w, lambda g: ops.sum(g)),
        "that is vᵀ H v, one number": lambda f, w, v: np.sum(v * _again(f, w, lambda g: ops.sum(g * v))),
        "the gradient is squared: that is H times the gradient": lambda f, w, v: (
            _again(f, w, lambda g: ops.sum(g * g)) / 2
        ),
        "that is a difference of gradients, with its errors": lambda f, w, v: (
            (_gradient(f, w + 1e-3 * v) - _gradient(f, w)) / 1e-3
        ),
    },
)
def my_hvp(f, w, v):
    return transforms.hvp(f, w, v)


def _again(f, w, of):
    gradient, leaf = _differentiated(f, w)
    return transforms.grad(of(gradient), leaf).numpy()


def _singular(rng):
    """The Hessian and gradient of a softmax regression without penalty: a shift of all classes changes nothing."""
    x, y = rng.normal(size=(12, 2)), np.arange(12) % 3
    w = rng.normal(scale=0.3, size=(3, 2))
    p = ops.softmax(x @ w.T)
    return _hessian(_blocks(w, x), x) / 12, (p - np.eye(3)[y]).T @ x / 12


def _solved(H, g, sign=-1):
    return sign * np.linalg.pinv(H.reshape(g.size, g.size), rcond=1e-10) @ g.ravel()


@exercise(
    _singular,
    mistakes={
        "the sign: H d = −g": lambda H, g: _solved(H, g, 1).reshape(g.shape),
        "it moves along the flat directions: another solution is shorter": lambda H, g: (
            _solved(H, g).reshape(g.shape) - _solved(H, g).reshape(g.shape)[:1]
        ),
        "its shape is to be that of g": _solved,
        "that is gradient descent: H plays no role": lambda H, g: -g,
        "that is the right side of the equation multiplied by H, not solved for": lambda H, g: (
            -np.einsum("cdke,ke->cd", H, g)
        ),
        "only the diagonal of H is used": lambda H, g: -g / np.einsum("cdcd->cd", H),
        "a penalty has been added to H": lambda H, g: (
            -np.linalg.solve(H.reshape(g.size, g.size) + 0.01 * np.eye(g.size), g.ravel()).reshape(g.shape)
        ),
    },
    rtol=1e-5,
)
def shortest_newton(H, g):
    values, vectors = np.linalg.eigh(H.reshape(g.size, g.size))
    kept = values > 1e-10 * values[-1]
    return -(vectors[:, kept] / values[kept] @ vectors[:, kept].T @ g.ravel()).reshape(g.shape)
