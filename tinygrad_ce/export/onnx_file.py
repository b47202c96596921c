"""A model as an ONNX file: its forward recorded, translated and checked."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from tinygrad_ce import nn
from tinygrad_ce.common.files import write
from tinygrad_ce.engine.constants import plain
from tinygrad_ce.engine.no_grad import no_grad
from tinygrad_ce.export.extra import extra_module
from tinygrad_ce.export.forward import batches, evaluation, recorded
from tinygrad_ce.export.graph import Graph
from tinygrad_ce.export.operators import translated
from tinygrad_ce.tensor import Tensor

OLDEST_OPSET = 20  # the first with Gelu


def onnx(model: nn.Module, path: str | os.PathLike[str], *, example: Any = None, opset: int = OLDEST_OPSET) -> None:
    """Write what a model computes in evaluation as an ONNX file, for batches of any size.

    The forward runs twice, on batches of 2 and of 3 rows, and what the tape recorded is translated, operator by
    operator: so a Module of one's own is written as well as a Sequential. An argument that differs between the two
    runs must come from the batch by recorded operators. Before the file replaces an earlier one, ``onnx.checker``
    checks it, and ONNX's reference evaluator must give the model's own answer for one row. The input is named "input",
    the result "output", and the parameters as in ``model.state_dict()``.

    Args:
        model: a Module with one input and one result.
        path: where to write.
        example: a batch of inputs with the shape (N, …) that the model takes; indices as integers, at least two
            different ones. Left out, it is that of the first layer, if that is Linear or Standardize.
        opset: the version of ONNX's operators, at least 20.

    Raises:
        ImportError: onnx isn't installed.
        NotImplementedError: an operator has no translation; it is named.
        ValueError: what the model computes depends on its input by other ways than recorded operators (plain NumPy on
                its numbers, a Python ``if``, ``len(x)``), or no example is given where one is needed.

    Example:
        >>> import os, tempfile, tinygrad_ce as tg
        >>> path = os.path.join(tempfile.mkdtemp(), "m.onnx")
        >>> tg.export.onnx(tg.nn.Sequential(tg.nn.Linear(4, 3, rng=0), tg.nn.Softmax()), path)
        >>> os.path.exists(path)
        True

    Source:
        https://onnx.ai/onnx/operators/.
    """
    library = extra_module("onnx", "onnx")
    newest = library.defs.onnx_opset_version()
    if not (isinstance(opset, int) and OLDEST_OPSET <= opset <= newest):
        raise ValueError(f"onnx: opset is {opset!r}, expected {OLDEST_OPSET} to {newest}, which this onnx knows")
    if not isinstance(model, nn.Module):
        raise TypeError(f"onnx: model is of type {type(model).__name__}, expected a Module")
    one, two, three = batches(model, example)
    with evaluation(model, two.dtype.kind == "i"):
        forwards = recorded(model, two), recorded(model, three)
        with no_grad():
            expected = model(one if one.dtype.kind == "i" else Tensor(one))
    file = translated(Graph(library, model, forwards)).file(opset)
    library.checker.check_model(file, full_check=True)
    _check_answer(file, one, plain(expected))
    write(path, file.SerializeToString())


def _check_answer(file: Any, x: np.ndarray, expected: np.ndarray) -> None:
    """Run what is about to be written, in ONNX's reference evaluator, against the model's own answer."""
    with np.errstate(all="ignore"):
        (y,) = extra_module("onnx.reference", "onnx").ReferenceEvaluator(file).run(None, {"input": x})
    close = math.sqrt(np.finfo(expected.dtype).eps) if expected.dtype.kind == "f" else 0
    if y.shape != expected.shape or y.dtype != expected.dtype or not np.allclose(
        y, expected, rtol=close, atol=close * float(np.abs(expected).max(initial=0, where=np.isfinite(expected))),
        equal_nan=True,
    ):  # fmt: skip
        raise ValueError(
            f"onnx: for one row the graph gives {y.dtype} {y.shape}, and the model {expected.dtype} {expected.shape} "
            f"with other numbers or another shape; does its forward depend on the size of the batch?"
        )
