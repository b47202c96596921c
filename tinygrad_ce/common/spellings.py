"""What PyTorch's users and NumPy's type, and how it is spelled here: for the errors that say so."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

ARGUMENTS = {
    "dim": "axis", "dims": "axis", "keepdim": "keepdims", "a_min": "min", "a_max": "max",
    "unbiased": "ddof", "logits": "input", "labels": "target", "targets": "target", "y_true": "target",
    "y_pred": "input", "size_average": "reduction", "reduce": "reduction", "num_epochs": "epochs",
    "validation_data": "validation", "validation_split": "validation", "criterion": "loss", "loss_fn": "loss",
    "learning_rate": "lr", "lr": "optimizer=tg.optim.SGD(model.parameters(), lr=…)", "verbose": "progress",
    "params": "parameters", "seed": "rng", "generator": "rng", "random_state": "rng",
    "predicted": "y_pred", "y": "y_true", "y_score": "logits",
}  # fmt: skip

# Attributes of a Tensor and names of the package alike. np and rng are NumPy and a generator of its.
NAMES = {
    "Parameter": "tg.Tensor(…, requires_grad=True)", "Value": "tg.Tensor", "add_": "w += …, inside tg.no_grad()",
    "amax": "max", "amin": "min", "arange": "tg.Tensor(np.arange(n))", "array": "tg.Tensor", "as_tensor": "tg.Tensor",
    "bmm": "matmul", "cat": "concatenate", "chunk": "split", "clamp": "clip", "clone": "copy",
    "contiguous": "not needed", "copy_": "w.data = …", "cpu": "not needed", "cuda": "not there, nor any other GPU",
    "detach_": "detach", "device": "always the CPU", "dim": "ndim", "div": "divide", "double": "astype('float64')",
    "expand": "broadcast_to", "eye": "tg.Tensor(np.eye(n))", "fill_": "w.data = …", "float": "astype('float32')",
    "from_numpy": "tg.Tensor", "functional": "tg itself", "gather": "t[index]", "grad_fn": "told by repr",
    "half": "astype('float16')", "inference_mode": "no_grad", "int": "numpy().astype(int)",
    "load": "tg.train.checkpoint.load", "long": "numpy().astype(int)", "manual_seed": "rng=, where something draws",
    "masked_fill": "tg.where(mask, value, t)", "mm": "matmul", "mul": "multiply", "mul_": "w *= …, inside tg.no_grad()",
    "neg": "negative", "numel": "size", "ones": "tg.Tensor(np.ones(shape))",
    "param_groups": "groups, and lr: a number, or one for each group", "permute": "transpose", "pow": "power",
    "randn": "tg.Tensor(rng.standard_normal(shape))", "register_hook": "retain_grad",
    "requires_grad_": "t.requires_grad = True", "save": "tg.train.checkpoint.save", "set_grad_enabled": "no_grad",
    "sub": "subtract", "sub_": "w -= …, inside tg.no_grad()", "tensor": "tg.Tensor", "to": "astype",
    "type": "astype", "unsqueeze": "expand_dims", "view": "reshape", "zero_": "zero_grad, or w.data = …",
    "zeros": "tg.Tensor(np.zeros(shape))",
}  # fmt: skip


def instead(name: str, known: Iterable[str], table: Mapping[str, str] = NAMES) -> str:
    """What to write for a name that isn't there: by the table, or the nearest of the known ones; "" if there is none.

    Example:
        >>> instead("view", []), instead("reshap", ["reshape"])
        ('; here it is reshape', "; did you mean 'reshape'?")
    """
    if name in table:
        return f"; here it is {table[name]}"
    import difflib  # takes longer than all of this file

    near = difflib.get_close_matches(name, known, 1, 0.7)
    return f"; did you mean {near[0]!r}?" if near else ""


def unexpected(function: str, name: str, known: Iterable[str]) -> str:
    """What is said of an argument that a function has not; the table's word counts where the function has it.

    Example:
        >>> unexpected("sum", "dim", ["x", "axis"])
        "sum() got an unexpected keyword argument 'dim'; here it is axis"
    """
    known = [*known]
    spelled = {there: here for there, here in ARGUMENTS.items() if here.partition("=")[0] in known}
    return f"{function}() got an unexpected keyword argument {name!r}{instead(name, known, spelled)}"


def told(function: F) -> F:
    """A function whose error for an unknown argument says how it is spelled here."""
    names = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in names.values()):
        return function

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        for name in named:
            if name not in names:
                raise TypeError(unexpected(function.__qualname__, name, names))
        return function(*args, **named)

    return cast(F, call)


def missing(module: str, names: Iterable[str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module: what it says of a name that isn't there."""

    def attribute(name: str) -> Any:
        raise AttributeError(f"module {module!r} has no attribute {name!r}{instead(name, names)}")

    return attribute
