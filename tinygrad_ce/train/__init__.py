"""Training: fit, what takes part in it, its history, checkpoints and metrics."""

# ruff: noqa: F403
from tinygrad_ce.common import spellings
from tinygrad_ce.train import (
    checkpoint,
    classifier,
    leaving,  # noqa: F401  (it looks at how a rank ends)
)
from tinygrad_ce.train.callback import Callback
from tinygrad_ce.train.callbacks import EMA, Checkpoint, ClipGradNorm, ClipGradValue, EarlyStopping
from tinygrad_ce.train.checkpoint import CheckpointError
from tinygrad_ce.train.fit import fit
from tinygrad_ce.train.history import History
from tinygrad_ce.train.logs import CSVLog, TensorBoard
from tinygrad_ce.train.metrics import *
from tinygrad_ce.train.metrics import __all__ as _metrics
from tinygrad_ce.train.training import Training

__all__ = [
    "EMA", "CSVLog", "Callback", "Checkpoint", "CheckpointError", "ClipGradNorm", "ClipGradValue", "EarlyStopping",
    "History", "TensorBoard", "Training", "checkpoint", "classifier", "fit", *_metrics,
]  # fmt: skip

__getattr__ = spellings.missing(__name__, __all__)
