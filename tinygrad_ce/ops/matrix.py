"""Products of matrices and tensors."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from tinygrad_ce.engine.primitive import numpy_functions, primitive, registry
from tinygrad_ce.engine.single import in_single
from tinygrad_ce.ops.composite import composite
from tinygrad_ce.ops.example import normal
from tinygrad_ce.ops.reduction import sum
from tinygrad_ce.ops.shape import as_array

__all__ = ["dot", "einsum", "inner", "linear", "matmul", "outer", "tensordot", "vdot"]

_LETTERS = "abcdefghijklmnopqrstuvwxyz"  # those of the module string, whose import takes a millisecond


@primitive
@in_single
def matmul(a, b):
    """The matrix product a @ b, over stacks of matrices if there are more axes; 1-d arrays are vectors.

    Raises:
        ValueError: the shapes don't fit; both are named.

    Example:
        >>> matmul([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
        array([3., 7.])
    """
    try:
        return np.matmul(a, b)
    except ValueError:
        left, right = np.shape(a), np.shape(b)
        why = _misfit(left, right)
        if not why:  # the product would be larger than any array, and NumPy says so
            raise
        raise ValueError(f"matmul: shapes {left} and {right} don't fit: {why}") from None


def _misfit(a: tuple[int, ...], b: tuple[int, ...]) -> str:
    """Why two shapes have no matrix product; nothing if they have one."""
    if not a or not b:
        return "a single number is no matrix; use *"
    across, down = a[-1], b[max(len(b) - 2, 0)]
    if across != down:
        return f"rows of {across} against columns of {down}"
    try:
        np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:
        return "the axes ahead don't broadcast"
    return ""


def _as_matrices(g: Any, a: Any, b: Any) -> tuple[Any, Any, Any]:
    """A vector on the left as a row, one on the right as a column, and g to match."""
    if b.ndim == 1:
        g, b = g.reshape((*g.shape, 1)), b.reshape((-1, 1))
    if a.ndim == 1:
        g, a = g.reshape((*g.shape[:-1], 1, g.shape[-1])), a.reshape((1, -1))
    return g, a, b


def _left_rule(g, y, a, b):
    g, _, right = _as_matrices(g, a, b)
    da = g @ np.swapaxes(right, -1, -2)
    return da if a.ndim > 1 else da.reshape((*da.shape[:-2], da.shape[-1]))


def _right_rule(g, y, a, b):
    g, left, _ = _as_matrices(g, a, b)
    db = np.swapaxes(left, -1, -2) @ g
    return db if b.ndim > 1 else db.reshape(db.shape[:-1])


def _matmul_formula(a, b):
    return r"\sum a \cdot b" if a.ndim == b.ndim == 1 else r"a\; b"


def _left_formula(a, b):
    if b.ndim == 1:
        return r"g \cdot b" if a.ndim == 1 else r"g \otimes b\text{, each of } g \text{ with all of } b"
    return r"g\; b^T" + _stacked(a, b)


def _right_formula(a, b):
    if a.ndim == 1:
        return r"g \cdot a" if b.ndim == 1 else r"a \otimes g\text{, each of } a \text{ with all of } g"
    return r"a^T\; g" + _stacked(a, b)


def _stacked(a, b):
    return r"\text{, for each matrix of the stack}" if a.ndim > 2 or b.ndim > 2 else ""


matmul.vjp(a=_left_rule, b=_right_rule)
matmul.formula(_matmul_formula, a=_left_formula, b=_right_formula)
matmul.example(normal(3, 4), normal(4, 2))
matmul.example(normal(2, 1, 3, 4), normal(5, 4, 2))
matmul.example(normal(4), normal(5, 4, 2))
matmul.example(normal(2, 3, 4), normal(4))
matmul.example(normal(4), normal(4))


@primitive
@in_single
def linear(x, weight, bias=None):
    r"""A linear layer, :math:`x W^T + b`.

    Args:
        x: (…, in) rows of features.
        weight: (out, in).
        bias: (out), or None for none.

    Returns:
        (…, out).

    Raises:
        ValueError: the widths don't fit; both shapes are named.

    Example:
        >>> linear([[1.0, 2.0]], [[3.0, 4.0]], [0.5])
        array([[11.5]])
    """
    x, weight = np.asarray(x), np.asarray(weight)
    if weight.ndim != 2 or x.shape[-1:] != weight.shape[1:]:
        wanted = f"(…, {weight.shape[1]})" if weight.ndim == 2 else "(…, in)"
        shapes = f"expected {wanted} for a weight (out, in) of shape {weight.shape}"
        raise ValueError(f"linear: input has shape {x.shape}, {shapes}")
    if bias is not None and np.shape(bias) != weight.shape[:1]:
        raise ValueError(f"linear: bias has shape {np.shape(bias)}, expected ({weight.shape[0]},)")
    y = x.dot(weight.T)
    return y if bias is None else y + bias


def rows(x: Any) -> Any:
    """All rows of x as one matrix."""
    return x if x.ndim == 2 else x.reshape((math.prod(x.shape[:-1]), x.shape[-1]))


def _over_rows(g: Any) -> Any:
    """The sum over rows; of a usual batch BLAS takes it in a quarter of NumPy's time."""
    return g.T.dot(np.ones(len(g), g.dtype)) if len(g) <= 256 else sum(g, axis=0)


def _weight_rule(g, y, x, weight, bias):
    """gᵀ x. With many rows and few outputs BLAS is quicker with these on the right."""
    g, x = rows(g), rows(x)
    return x.T.dot(g).T if len(g) >= 256 and 8 * g.shape[1] < x.shape[1] else g.T.dot(x)


def _weight_formula(x, weight, bias):
    if x.ndim == 1:
        return r"g \otimes x\text{, each of } g \text{ with all of } x"
    return r"g^T\; x" if x.ndim == 2 else r"g^T\; x\text{, over all rows}"


linear.vjp(
    x=lambda g, y, x, weight, bias: g.dot(weight),
    weight=_weight_rule,
    bias=lambda g, y, x, weight, bias: _over_rows(rows(g)),
)
linear.formula(
    lambda x, weight, bias: r"x\, weight^T" if bias is None else r"x\, weight^T + bias",
    x=r"g\; weight",
    weight=_weight_formula,
    bias=lambda x, weight, bias: "g" if x.ndim == 1 else r"g \text{ summed over the rows}",
)
linear.example(normal(3, 4), normal(2, 4), normal(2))
linear.example(normal(2, 3, 4), normal(2, 4))
linear.example(normal(4), normal(2, 4), normal(2))


@composite
def dot(a, b):
    """Sums of products over a's last axis and b's last but one, or its only one. A single number multiplies.

    Example:
        >>> float(dot([1.0, 2.0], [3.0, 4.0]))
        11.0
    """
    return matmul(a, b) if np.ndim(a) and 0 < np.ndim(b) < 3 else _summed("dot", a, b, -1, -2)


dot.example(normal(3, 4), normal(4, 2))
dot.example(normal(3, 4), normal(2, 4, 2))
dot.example(normal(3, 4), 2.0)


@composite
def inner(a, b):
    """Sums of products over the last axes of both. A single number multiplies.

    Example:
        >>> inner([[1.0, 2.0], [0.0, 1.0]], [3.0, 4.0])
        array([11.,  4.])
    """
    return _summed("inner", a, b, -1, -1)


inner.example(normal(2, 3, 4), normal(3, 4))
inner.example(normal(), normal(3))


@composite
def vdot(a, b):
    """The sum of all products of two arrays with as many numbers, whatever their shapes.

    Example:
        >>> float(vdot([[1.0, 2.0]], [[3.0], [4.0]]))
        11.0
    """
    a, b = as_array(a), as_array(b)
    if a.size != b.size:
        raise ValueError(f"vdot: a has shape {a.shape}, and b {b.shape}; expected as many numbers in both")
    return matmul(a.reshape(-1), b.reshape(-1))


vdot.example(normal(3, 4), normal(2, 6))


@composite
def tensordot(a, b, axes=2):
    """Sums of products over some axes of a and of b; the result has the other axes, first a's.

    Args:
        a, b: arrays.
        axes: how many: the last of a and the first of b; or two axes or lists of axes, which belong together in order.

    Raises:
        ValueError: an axis doesn't exist, or two that belong together differ in length.

    Example:
        >>> tensordot(np.ones((2, 3, 4)), np.ones((4, 3)), axes=([1, 2], [1, 0]))
        array([12., 12.])
    """
    left, right = axes if isinstance(axes, tuple | list | np.ndarray) else (range(-axes, 0), range(axes))
    return _summed("tensordot", a, b, left, right)


def _summed(name: str, a: Any, b: Any, left: Any, right: Any) -> Any:
    """Sums of products over axes of a and of b, as one product of matrices. A single number with axis -1 multiplies."""
    if left == -1 and not (np.ndim(a) and np.ndim(b)):
        return np.multiply(a, b)
    a, b = as_array(a), as_array(b)
    left = np.lib.array_utils.normalize_axis_tuple(left, a.ndim, f"{name}: axes of a")
    right = np.lib.array_utils.normalize_axis_tuple(right, b.ndim, f"{name}: axes of b")
    lengths, others = [a.shape[i] for i in left], [b.shape[i] for i in right]
    if lengths != others:
        fit = f"axes {left} of a have {lengths}, {right} of b {others}"
        raise ValueError(f"{name}: shapes {a.shape} and {b.shape} don't fit: {fit}")
    rows, columns = ([i for i in range(v.ndim) if i not in axes] for v, axes in ((a, left), (b, right)))
    shape = [a.shape[i] for i in rows], [b.shape[i] for i in columns]
    m, k, n = map(math.prod, (shape[0], lengths, shape[1]))
    y = matmul(np.transpose(a, (*rows, *left)).reshape((m, k)), np.transpose(b, (*right, *columns)).reshape((k, n)))
    return y.reshape((*shape[0], *shape[1]))


tensordot.example(normal(2, 3, 4), normal(3, 4, 2))
tensordot.example(normal(2, 3, 4), normal(4, 3), axes=([1, 2], [1, 0]))
tensordot.example(normal(3), normal(2), axes=0)


@composite
def outer(a, b):
    """All products a_i b_j, as a matrix; the arguments are flattened.

    Example:
        >>> outer([1.0, 2.0], [3.0, 4.0])
        array([[3., 4.],
               [6., 8.]])
    """
    a, b = as_array(a), as_array(b)
    return a.reshape((-1, 1)) * b.reshape((1, -1))


outer.example(normal(3), normal(4))


@primitive
@in_single
def einsum(subscripts, *operands):
    """Einstein's summation: ``einsum("ij,jk->ik", a, b)`` is a @ b. Letters, ``...``, traces and diagonals.

    Or, as in NumPy, each operand is followed by a list that numbers its axes, and the last list is that of the result:
    ``einsum(a, [0, 1], b, [1, 2], [0, 2])``.

    Example:
        >>> float(einsum("i,i", [1.0, 2.0], [3.0, 4.0]))
        11.0
        >>> einsum([[1.0, 2.0]], [0, 1], [3.0, 4.0], [1], [0])
        array([11.])
    """
    return np.asarray(np.einsum(subscripts, *operands))


_einsum_of_letters = einsum


def _einsum_of_letters_or_lists(subscripts, *operands):
    if not isinstance(subscripts, str):
        return _einsum_of_letters(*_in_letters(subscripts, *operands))
    return _einsum_of_letters(subscripts, *operands)


_einsum: Any = functools.wraps(_einsum_of_letters)(_einsum_of_letters_or_lists)
einsum = numpy_functions[np.einsum] = registry["einsum"] = _einsum


def _in_letters(*given: Any) -> list[Any]:
    """A call of einsum with lists of axes, as one with letters."""
    count = len(given) // 2 * 2
    operands, lists, result = given[:count:2], given[1:count:2], given[count:]
    if not all(isinstance(axes, list | tuple) for axes in (*lists, *result)) or not lists:
        words = " or each operand followed by a list of its axes, einsum(a, [0, 1], b, [1, 2], [0, 2])"
        raise TypeError(f"einsum: subscripts is a {type(given[0]).__name__}, expected text such as 'ij,jk->ik',{words}")
    spelled = [",".join(map(_letters, lists)), *map(_letters, result)]
    return ["->".join(spelled), *operands]


def _letters(axes: Any) -> str:
    """Numbers of axes as letters, in NumPy's order."""
    letters = _LETTERS.upper() + _LETTERS
    for axis in axes:
        if axis is not ... and not (isinstance(axis, int | np.integer) and 0 <= axis < len(letters)):
            raise ValueError(f"einsum: the list {list(axes)} has {axis!r}, expected axes from 0 to 51, or ...")
    return "".join("..." if axis is ... else letters[axis] for axis in axes)


def spell_out(subscripts: str, operands: Any) -> tuple[list[str], str]:
    """The letters of each operand and of the result, with ... spelled out and the result always given."""
    left, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    named = sorted({c for c in left if c.isalpha()})
    spare = "".join(c for c in _LETTERS + _LETTERS.upper() if c not in named)
    lengths = [np.ndim(a) - len(term.replace("...", "")) for term, a in zip(terms, operands, strict=True)]
    longest = spare[: max(lengths, default=0)]
    dots = [longest[len(longest) - n :] for n in lengths]
    if not arrow:
        result = ("..." if "..." in left else "") + "".join(c for c in named if left.count(c) == 1)
    return [term.replace("...", d) for term, d in zip(terms, dots, strict=True)], result.replace("...", longest)


def _einsum_rule(i, g, y, subscripts, *operands):
    """The product of g and all operands but the i-th, summed to the i-th's letters.

    A letter that the i-th operand has twice gets a second name there, and an identity matrix ties the two. A letter
    that no other operand has in its full length gets a vector of ones.
    """
    terms, result = spell_out(subscripts, operands)
    spare = iter([c for c in _LETTERS + _LETTERS.upper() if c not in "".join(terms)])
    sources = [(result, g)] + [(t, a) for k, (t, a) in enumerate(zip(terms, operands, strict=True)) if k != i]
    target = ""
    for letter, length in zip(terms[i], operands[i].shape, strict=True):
        name = letter
        if letter in target:
            name = next(spare)
            sources.append((letter + name, np.eye(length, dtype=y.dtype)))
        elif not any(letter in t and length in (1, a.shape[t.index(letter)]) for t, a in sources):
            sources.append((letter, np.ones(length, y.dtype)))
        target += name
    return einsum(",".join(term for term, _ in sources) + "->" + target, *(a for _, a in sources))


einsum.vjp(operands=_einsum_rule)
einsum.formula(r"\text{einsum } subscripts", operands=r"\text{einsum of } g \text{ with the other operands}")
einsum.example("ij,jk->ik", normal(3, 4), normal(4, 2))
einsum.example("...i,ij->...", normal(2, 3), normal(3, 4))
einsum.example("ii,i", normal(3, 3), normal(3))
einsum.example("ij,jk", normal(2, 1), normal(3, 2))
einsum.example("...i,...", normal(2, 3, 2), normal(3))
einsum.example("b...,c->bc...", normal(2, 3), normal(4))
