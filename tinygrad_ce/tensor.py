"""Tensor: an array that remembers how it was made. Python's operators and NumPy's functions on it are recorded."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.common import spellings
from tinygrad_ce.contents import numbers, shown
from tinygrad_ce.engine.atomic import at_once
from tinygrad_ce.engine.constants import real
from tinygrad_ce.engine.node import Node, is_recording
from tinygrad_ce.engine.primitive import Operator
from tinygrad_ce.engine.reverse import backward
from tinygrad_ce.ops import protocol
from tinygrad_ce.ops.protocol import read_only


def _reflected(operator: Operator) -> Any:
    return lambda self, other: operator(other, self)


def _comparison(compare: Callable[..., Any]) -> Any:
    return lambda self, other: compare(self._value, read_only(other))


def _in_place(operator: Operator) -> Any:
    """``w += d``: an update of a leaf that requires grad, inside no_grad() alone; else a new Tensor, as for numbers."""

    def update(self: Tensor, other: Any) -> Any:
        if self._parents or not self._requires_grad:
            return operator(self, other)
        if is_recording():
            raise RuntimeError(
                f"{operator.__name__} in place on a leaf that requires grad would lose track of it; "
                f"update inside `with tg.no_grad():`, or write `y = w + d` for a new Tensor"
            )
        self.data = operator(self._value, read_only(other))
        return self

    return update


class _Size(int):
    """A number that says what PyTorch's ``t.size()`` is here."""

    def __call__(self, *axes: Any) -> Any:
        raise TypeError("t.size is the number of entries; here it is t.shape, or t.shape[axis]")


class Tensor(Node):
    """An array that remembers how it was made, so that a result can be differentiated in it.

    Args:
        data: numbers as NumPy takes them, of any shape; copied. Python floats become float64.
        requires_grad: whether ``backward`` shall leave a gradient in ``.grad``; for floating dtypes only.
        dtype: a NumPy dtype to convert to.

    What operators need of a Tensor cannot change under them: its array is never written. ``.data`` shows a copy;
    assigning ``t.data = array`` gives the Tensor other numbers, and graphs made before keep theirs.

    Raises:
        ValueError: ragged or non-numeric data.
        TypeError: a dtype that isn't real, or an integer Tensor that shall require grad.

    Example:
        >>> import tinygrad_ce as tg
        >>> w = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> y = (w * w).sum()
        >>> y
        Tensor(5., dtype=float64, made by sum)
        >>> y.backward()
        >>> w.grad
        array([2., 4.])
    """

    __slots__ = ()
    __hash__ = object.__hash__

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        leaf = self._leaf(numbers(data, dtype))
        for slot in ("_value", "_parents", "_order", "_requires_grad", "_grad"):
            setattr(self, slot, getattr(leaf, slot))
        self.requires_grad = requires_grad

    # What it holds

    @property
    def data(self) -> np.ndarray:
        """The numbers, as a copy that is read-only. Assign an array of the same shape to give the Tensor others.

        ``t.data = array`` and ``t.data -= step`` give a leaf other numbers; graphs made before keep theirs.
        """
        return shown(self._value)

    @data.setter
    def data(self, data: Any) -> None:
        self._value = self._fitting(data)

    def _fitting(self, data: Any) -> np.ndarray:
        """A copy of data that this leaf can take for its own."""
        array = numbers(data, self.dtype)
        if array.shape != self.shape:
            raise ValueError(f"data: got shape {array.shape}, expected this Tensor's shape {self.shape}")
        if self._parents:
            raise RuntimeError(f"data: this Tensor was made by {self._primitive.name}; only a leaf's data can be set")
        return array

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow into this Tensor."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        if requires_grad and self.dtype.kind != "f":
            raise TypeError(
                f"requires_grad: this Tensor has dtype {self.dtype}, and only floating ones have gradients; "
                f"give floats, or dtype=float"
            )
        if self._parents and not requires_grad:
            raise RuntimeError("requires_grad: only a leaf's can be cleared; use detach()")
        self._requires_grad = bool(requires_grad)

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by hand rather than by a recorded operator."""
        return not self._parents

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self._value.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._value.ndim

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return _Size(self._value.size)

    @property
    def dtype(self) -> np.dtype:
        """The NumPy dtype."""
        return self._value.dtype

    @property
    def T(self) -> Any:
        """The transpose."""
        return ops.transpose(self)

    def numpy(self) -> np.ndarray:
        """A copy of the numbers, yours to write."""
        return self._value.copy()

    def tolist(self) -> Any:
        """The numbers as nested lists."""
        return self._value.tolist()

    def item(self) -> Any:
        """The one number it holds, as Python's."""
        if self.size != 1:
            raise ValueError(
                f"item: this Tensor has shape {self.shape}; only one that holds a single number has an item"
            )
        return self._value.item()

    def detach(self) -> Tensor:
        """The same numbers, with no memory of how they were made."""
        return self._leaf(self._value)  # type: ignore[no-any-return]

    @property
    def grad(self) -> np.ndarray | None:
        """The gradient that ``backward`` added up: an array of this Tensor's shape, yours to write; None before.

        A result has one if its ``retain_grad()`` was called before ``backward``.
        """
        if self._parents and self._requires_grad and self._grad is None:
            warnings.warn(
                f"grad: this Tensor was made by {self._primitive.name}, and backward keeps gradients of leaves alone; "
                f"call its retain_grad() before backward, or use tg.grad(loss, t)",
                stacklevel=2,
            )
        return self._gradient()

    @grad.setter
    def grad(self, grad: Any) -> None:
        if grad is not None:
            grad = real("grad", grad)
            if grad.shape != self.shape:
                raise ValueError(f"grad: got shape {grad.shape}, expected this Tensor's shape {self.shape}")
            grad = grad.astype(self.dtype)  # a copy: no two Tensors share one
        self._grad = grad

    def _gradient(self) -> np.ndarray | None:
        found: np.ndarray | None = self._grad._grad if isinstance(self._grad, Node) else self._grad
        return found

    def zero_grad(self) -> None:
        """Forget the gradient: ``.grad`` becomes None."""
        (self._grad if isinstance(self._grad, Node) else self)._grad = None

    def retain_grad(self) -> None:
        """Let ``backward`` leave a gradient in ``.grad``, though this Tensor is a result and no leaf.

        Example:
            >>> import tinygrad_ce as tg
            >>> x = tg.Tensor(3.0, requires_grad=True)
            >>> h = x * x
            >>> h.retain_grad()
            >>> (h * h).backward()
            >>> h.grad, x.grad
            (array(18.), array(108.))
        """
        if not self._requires_grad:
            raise RuntimeError("retain_grad: this Tensor requires no grad")
        if not self._parents or isinstance(self._grad, Node):
            return
        # It becomes what it was, plus a leaf of zeros, to which its gradient flows, too. Both are a bit older than it.
        made, zeros = (
            object.__new__(type(self)),
            self._leaf(np.broadcast_to(np.zeros((), self.dtype), self.shape), True),
        )
        for slot in Node.__slots__:
            setattr(made, slot, getattr(self, slot))
        made._order, zeros._order = self._order - 0.5, self._order - 0.25  # type: ignore[assignment]
        changes = {
            "_primitive": ops.add.primitive, "_arguments": (self._value, zeros._value),
            "_parents": ((0, made), (1, zeros)), "_grad": zeros,
        }  # fmt: skip
        at_once((self, slot, value) for slot, value in changes.items())

    backward = backward

    # How it computes

    __add__ = ops.add
    __radd__ = _reflected(ops.add)
    __iadd__ = _in_place(ops.add)
    __sub__ = ops.subtract
    __rsub__ = _reflected(ops.subtract)
    __isub__ = _in_place(ops.subtract)
    __mul__ = ops.multiply
    __rmul__ = _reflected(ops.multiply)
    __imul__ = _in_place(ops.multiply)
    __truediv__ = ops.divide
    __rtruediv__ = _reflected(ops.divide)
    __itruediv__ = _in_place(ops.divide)
    __pow__ = ops.power
    __ipow__ = _in_place(ops.power)
    __rpow__ = _reflected(ops.power)
    __matmul__ = ops.matmul
    __imatmul__ = _in_place(ops.matmul)
    __rmatmul__ = _reflected(ops.matmul)
    __mod__ = ops.mod
    __rmod__ = _reflected(ops.mod)
    __floordiv__ = _comparison(np.floor_divide)
    __neg__ = ops.negative
    __pos__ = ops.positive
    __abs__ = ops.abs

    __eq__ = _comparison(np.equal)
    __ne__ = _comparison(np.not_equal)
    __lt__ = _comparison(np.less)
    __le__ = _comparison(np.less_equal)
    __gt__ = _comparison(np.greater)
    __ge__ = _comparison(np.greater_equal)

    copy = ops.copy
    relu = ops.relu
    exp = ops.exp
    log = ops.log
    log1p = ops.log1p
    sqrt = ops.sqrt
    square = ops.square
    abs = ops.abs
    sin = ops.sin
    cos = ops.cos
    tanh = ops.tanh
    sigmoid = ops.sigmoid
    softmax = ops.softmax
    log_softmax = ops.log_softmax
    dot = ops.dot
    sum = ops.sum
    prod = ops.prod
    mean = ops.mean
    max = ops.max
    min = ops.min
    var = ops.var
    std = ops.std
    cumsum = ops.cumsum
    clip = ops.clip
    take = ops.take
    swapaxes = ops.swapaxes
    squeeze = ops.squeeze
    astype = ops.astype

    def reshape(self, *shape: Any, order: str = "C") -> Any:
        """The same numbers in another shape: ``t.reshape(2, 3)`` or ``t.reshape((2, 3))``."""
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape, order)

    ravel = ops.ravel
    flatten = ops.ravel
    repeat = ops.repeat
    norm = ops.norm

    def transpose(self, *axes: Any) -> Any:
        """The axes in another order: ``t.transpose(1, 0)``, ``t.transpose((1, 0))``, or reversed without arguments."""
        if len(axes) == 1 and not isinstance(axes[0], int):
            axes = axes[0]
        return ops.transpose(self, axes or None)

    @spellings.told
    def argmax(self, axis: int | None = None) -> Any:
        """Where the largest number stands, as a plain array."""
        return self._value.argmax(axis)

    @spellings.told
    def argmin(self, axis: int | None = None) -> Any:
        """Where the smallest number stands, as a plain array."""
        return self._value.argmin(axis)

    @spellings.told
    def argsort(self, axis: int | None = -1) -> Any:
        """Where the numbers stand in rising order, as a plain array; of equal ones, the first comes first."""
        return self._value.argsort(axis, kind="stable")

    def round(self, decimals: int = 0) -> Any:
        """The numbers rounded, as a plain array: their gradient is 0 wherever there is one."""
        return self._value.round(decimals)

    # How Python and NumPy see it

    def __getitem__(self, index: Any) -> Any:
        return ops.getitem(self, read_only(index) if isinstance(index, tuple) else index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "a Tensor's numbers are never written, so that gradients stay right; make a new one with tg.where, or "
            "change a copy and assign it: a = t.numpy(); a[index] = value; t.data = a"
        )

    def __len__(self) -> int:
        return len(self._value)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth value of a Tensor of shape {self.shape} is ambiguous; compare it and use .all() or .any()"
            )
        return bool(self._value)

    def __float__(self) -> float:
        return float(self._cut_off("float"))

    def __int__(self) -> int:
        return int(self._cut_off("int"))

    def _cut_off(self, name: str) -> Any:
        """The one number, for Python's own functions: they record nothing."""
        if self._requires_grad and is_recording():
            warnings.warn(
                f"{name}() of a Tensor that requires grad: what is made of this number has no gradient in it. If that "
                f"is meant, write .item(); else use operators of tinygrad_ce, such as tg.exp for math.exp, or tg.stack",
                stacklevel=3,
            )
        return self.item()

    def __index__(self) -> int:
        return self._value.__index__()

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        if self.size != 1:
            raise TypeError(f"a Tensor of shape {self.shape} can't be formatted as {spec!r}; only a single number can")
        return format(self.item(), spec)

    def __repr__(self) -> str:
        words = [np.array2string(self._value, separator=", ", prefix="Tensor("), f"dtype={self.dtype}"]
        return f"Tensor({', '.join([*words, *self._origin()])})"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """In a notebook: what it is, its numbers, and its gradient if there is one."""
        import html  # its table of entities takes longer than all of this file

        what = ", ".join([f"shape {self.shape}", str(self.dtype), *self._origin()])
        cells = "".join(
            f'<td style="text-align: left; vertical-align: top">{name}<pre>'
            f"{html.escape(np.array2string(array, separator=', ', threshold=100))}</pre></td>"
            for name, array in (("value", self._value), ("grad", self._gradient()))
            if array is not None
        )
        return f"<div>Tensor: {html.escape(what)}</div><table><tr>{cells}</tr></table>"

    def _origin(self) -> list[str]:
        """What made it, or whether it is a leaf that requires grad, in words."""
        if self._parents:
            return [f"made by {self._primitive.name}"]
        return ["requires_grad=True"] if self._requires_grad else []

    def __reduce__(self) -> Any:
        if self._parents:
            made = self._primitive.name
            raise TypeError(f"a Tensor made by {made} can't be copied or pickled with its graph; detach() it first")
        return _unpickle, (type(self), self._value, self._requires_grad, self._grad), getattr(self, "__dict__", None)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self._requires_grad:
            raise TypeError(
                "this Tensor requires grad, and a plain array would lose its gradient without a word; "
                "say so with .detach() or .numpy(). A list of Tensors becomes one Tensor by tg.stack, not np.array"
            )
        if copy is False:
            raise ValueError("a Tensor gives NumPy a copy, as nobody else may write to its array; copy=False can't be")
        return np.array(self._value, dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return protocol.call_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return protocol.call_function(function, args, kwargs)


class _Elsewhere:
    """A name that Tensors have in other packages."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: Any) -> Any:
        raise AttributeError(f"'Tensor' has no attribute {self.name!r}{spellings.instead(self.name, ())}")


for _name in spellings.NAMES.keys() - dir(Tensor):
    setattr(Tensor, _name, _Elsewhere(_name))


def _unpickle(kind: type[Tensor], data: np.ndarray, requires_grad: bool, grad: np.ndarray | None) -> Tensor:
    tensor: Tensor = kind._leaf(np.array(data), requires_grad)
    tensor.grad = grad
    return tensor
