"""A tiny reverse-mode autograd engine over NumPy, with softmax and cross-entropy at its heart."""

import importlib
import os
from typing import TYPE_CHECKING, Any

from tinygrad_ce.common import spellings
from tinygrad_ce.engine.anomaly import AnomalyError, detect_anomaly
from tinygrad_ce.engine.guard import guard_rules, primitive
from tinygrad_ce.engine.no_grad import no_grad
from tinygrad_ce.engine.primitive import Primitive, registry
from tinygrad_ce.kernels.threads import get_num_threads, set_num_threads
from tinygrad_ce.losses import *  # noqa: F403
from tinygrad_ce.losses import __all__ as _losses
from tinygrad_ce.ops import __all__ as _operators
from tinygrad_ce.ops.arrange import *  # noqa: F403
from tinygrad_ce.ops.convolution import *  # noqa: F403
from tinygrad_ce.ops.elementwise import *  # noqa: F403
from tinygrad_ce.ops.matrix import *  # noqa: F403
from tinygrad_ce.ops.reduction import *  # noqa: F403
from tinygrad_ce.ops.shape import *  # noqa: F403
from tinygrad_ce.ops.softmax import *  # noqa: F403
from tinygrad_ce.tensor import Tensor
from tinygrad_ce.transforms import grad, hessian, hvp, jacobian, value_and_grad

Primitive.unexpected = staticmethod(spellings.unexpected)
del globals()["tensor"]  # the module, which would hide what __getattr__ says of PyTorch's torch.tensor
for _operator in registry.values():  # whoever gives one of them another rule from here on is a user
    if _operator.primitive is not None:
        guard_rules(_operator)

if TYPE_CHECKING:  # what is imported when it is first asked for, as not every program needs it: see _LATER
    from tinygrad_ce import data, export, nn, optim, study, train
    from tinygrad_ce.check.gradcheck import gradcheck, gradgradcheck
    from tinygrad_ce.check.report import GradientError
    from tinygrad_ce.train import CheckpointError, History, accuracy, confusion_matrix, precision_recall, predict
    from tinygrad_ce.train.fit import fit

__version__ = "1.0.0"

__all__ = [
    *_losses, *_operators, "AnomalyError", "CheckpointError", "GradientError", "History", "Tensor", "accuracy",
    "confusion_matrix", "data", "detect_anomaly", "export", "fit", "get_num_threads", "grad", "gradcheck",
    "gradgradcheck", "hessian", "hvp", "jacobian", "nn", "no_grad", "optim", "precision_recall", "predict",
    "primitive", "set_num_threads", "study", "train", "value_and_grad",
]  # fmt: skip

_LATER = {
    **dict.fromkeys(["data", "export", "mpi", "nn", "optim", "sklearn", "study", "train"], ""),
    **dict.fromkeys(["gradcheck", "gradgradcheck"], ".check.gradcheck"),
    **dict.fromkeys(["GradientError"], ".check.report"),
    **dict.fromkeys(
        ["CheckpointError", "History", "accuracy", "confusion_matrix", "fit", "precision_recall", "predict"], ".train"
    ),
}  # a module, or a name and the module that has it
_missing = spellings.missing(__name__, __all__)


def __getattr__(name: str) -> Any:
    """What ``import tinygrad_ce`` leaves out, imported when it is first asked for."""
    if name not in _LATER:
        return _missing(name)  # raises
    module = importlib.import_module(__name__ + (_LATER[name] or f".{name}"))
    return globals().setdefault(name, getattr(module, name) if _LATER[name] else module)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# How a rank of mpiexec's processes ends must be looked at from here on: others may wait for it (train/leaving.py).
if not {"PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_RANK"}.isdisjoint(os.environ):
    importlib.import_module(f"{__name__}.train")
