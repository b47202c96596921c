"""Class-parallel linear_cross_entropy: every rank has all rows, and a slice of the classes.

A row's loss needs three numbers of all classes: the largest logit m, the sum s of the other exponentials exp(z - m),
and the label's logit. Each rank makes them of its own classes, and two small Allreduces join them: the maximum of m,
then the sum of the rest, made relative to that maximum. Nothing of the size of the classes is ever sent.
"""

from __future__ import annotations

import zlib
from typing import Any, NoReturn

import numpy as np

from tinygrad_ce import losses
from tinygrad_ce.engine.node import Node, is_recording
from tinygrad_ce.losses.linear_cross_entropy import blocked_linear_cross_entropy, check_shapes
from tinygrad_ce.losses.others import given, plain
from tinygrad_ce.mpi.ranks import MPI, communicator

_WHERE = "linear_cross_entropy"


def linear_cross_entropy(
    input: Any,
    linear_weight: Any,
    target: Any,
    *,
    linear_bias: Any = None,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    comm: Any = None,
) -> Any:
    r"""tg.linear_cross_entropy where each rank holds a slice of the classes: :math:`C = \sum_r C_r`, in rank order.

    The loss is that of the whole weight, the same bits on every rank, and a confident row's doesn't read 0. The
    gradients in linear_weight and linear_bias are those of the slice that is here, and made here; that in input is
    summed over the ranks, so that layers below it, which every rank has, get the whole of it. All ranks call it, and
    ``backward``, together and in the same order.

    Args:
        input: (…, F) rows of features, the same on every rank.
        linear_weight: (C_r, F), this rank's classes: any number of them, also none.
        target: indices among all C classes, of shape (…), or soft targets of shape (…, C); the same on every rank.
        linear_bias: (C_r), or None.
        weight: a factor for each of all C classes, or None.
        ignore_index, reduction, label_smoothing: as for cross_entropy.
        comm: an mpi4py communicator; MPI.COMM_WORLD by default.

    Returns:
        A scalar, or with "none" one loss per row; of input's dtype.

    An error on one rank is raised on all.

    Raises:
        ValueError: ranks that differ in what must be the same, shapes that don't fit, and all that cross_entropy
            rejects: a label out of range is held against C.
        TypeError: soft targets that require grad.
        RuntimeError: a second derivative (``create_graph=True``), which there isn't over ranks.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> x, w = tg.Tensor(np.eye(2), requires_grad=True), tg.Tensor(np.eye(2, 2) * 3, requires_grad=True)
        >>> round(tg.mpi.linear_cross_entropy(x, w, [0, 1]).item(), 6)  # alone, it holds all classes
        0.048587

    Source:
        the softmax of Shoeybi et al., Megatron-LM: training multi-billion parameter language models using model
        parallelism, 2019, arXiv:1909.08053; here with every digit.
    """
    comm = communicator(comm)
    options = (weight, ignore_index, reduction, label_smoothing)
    if comm.size == 1:
        return losses.linear_cross_entropy(
            input, linear_weight, target, linear_bias=linear_bias, weight=weight, ignore_index=ignore_index,
            reduction=reduction, label_smoothing=label_smoothing,
        )  # fmt: skip
    slices = Slices(comm, input, linear_weight, target, linear_bias, options)
    return blocked_linear_cross_entropy(given(input), given(linear_weight), target, linear_bias, *options, slices)


class Slices:
    """The ranks' slices of the classes in one call.

    Attributes:
        classes: how many classes there are in all.
        first: the index of the first that is here.
    """

    def __init__(
        self, comm: Any, input: Any, linear_weight: Any, target: Any, linear_bias: Any, options: tuple[Any, ...]
    ) -> None:
        self.comm = comm
        here, parts, error = 0, {}, None
        try:
            parts = _shared(input, linear_weight, target, linear_bias, options)
            here = len(plain(linear_weight))
        except (TypeError, ValueError) as found:
            error = found
        mine = np.array([here, zlib.crc32(repr(parts).encode()), error is not None], np.int64)
        every = np.empty((comm.size, 3), np.int64)
        comm.Allgather(mine, every)
        if every[:, 2].any() or np.ptp(every[:, 1]):
            _fail(comm.allgather((error, parts)))
        self.classes = int(every[:, 0].sum())
        self.first = int(every[: comm.rank, 0].sum())

    def __deepcopy__(self, memo: Any) -> Slices:
        """The same: a recorded call copies what could change under it, and a communicator can't be."""
        return self

    def max(self, array: np.ndarray) -> np.ndarray:
        """The largest of the ranks' numbers, place by place."""
        return self._joined(array, MPI.MAX)

    def sum(self, array: np.ndarray) -> np.ndarray:
        """The sum of the ranks' numbers, place by place."""
        return self._joined(array, MPI.SUM)

    def _joined(self, array: np.ndarray, operation: MPI.Op) -> np.ndarray:
        result = np.empty_like(array)
        self.comm.Allreduce(array, result, operation)
        return result


def _shared(input: Any, linear_weight: Any, target: Any, linear_bias: Any, options: tuple[Any, ...]) -> dict[str, str]:
    """What must be the same on all ranks, in a few words each; arrays with a checksum of their bytes."""
    x, w = plain(input), plain(linear_weight)
    b = None if linear_bias is None else plain(linear_bias)
    check_shapes(_WHERE, x.shape, w.shape, b)
    if getattr(target, "requires_grad", False):
        raise TypeError(f"{_WHERE}: over ranks there is no gradient in soft targets; pass target.detach()")
    operands = {"input": input, "linear_weight": linear_weight, "linear_bias": linear_bias}
    slopes = [name for name, a in operands.items() if is_recording() and isinstance(a, Node) and a._requires_grad]
    weight, *others = options
    return {
        "input": _described(x),
        "target": _described(plain(target)),
        "weight": "None" if weight is None else _described(plain(weight)),
        "linear_weight's dtype": str(w.dtype),
        "linear_bias's dtype": "None" if b is None else str(b.dtype),
        "(ignore_index, reduction, label_smoothing)": str(tuple(others)),
        "what requires grad": ", ".join(slopes) or "nothing",
    }


def _described(a: np.ndarray) -> str:
    return f"{a.dtype} of shape {a.shape} with checksum {zlib.crc32(np.ascontiguousarray(a).data):08x}"


def _fail(found: list[tuple[Exception | None, dict[str, str]]]) -> NoReturn:
    """Raise the same error on all ranks: the first that one of them met, or the first thing that they differ in."""
    for rank, (error, _) in enumerate(found):
        if error is not None:
            raise type(error)(f"{error} (on rank {rank})")
    mine = found[0][1]
    rank, name = next((r, n) for n in mine for r, (_, parts) in enumerate(found) if parts[n] != mine[n])
    raise ValueError(
        f"{_WHERE}: {name} is {mine[name]} on rank 0, but {found[rank][1][name]} on rank {rank}; the ranks need the "
        f"same rows, targets and options, and differ only in their slices of linear_weight and linear_bias; where an "
        f"array was made on each of them, comm.Bcast it from one"
    )
