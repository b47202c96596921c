"""Training: fit, what takes part in it, its history, checkpoints and metrics."""

from tinygrad_ce.train import checkpoint, classifier
from tinygrad_ce.train.callback import Callback
from tinygrad_ce.train.callbacks import EMA, Checkpoint, ClipGradNorm, ClipGradValue, EarlyStopping
from tinygrad_ce.train.checkpoint import CheckpointError
from tinygrad_ce.train.fit import fit
from tinygrad_ce.train.history import History
from tinygrad_ce.train.logs import CSVLog, TensorBoard
from tinygrad_ce.train.metrics import (
    accuracy,
    confusion_matrix,
    logits,
    macro_f1,
    precision_recall,
    predict,
    top_k_accuracy,
)  # fmt: skip
from tinygrad_ce.train.training import Training

__all__ = [
    "EMA", "CSVLog", "Callback", "Checkpoint", "CheckpointError", "ClipGradNorm", "ClipGradValue", "EarlyStopping",
    "History", "TensorBoard", "Training", "accuracy", "checkpoint", "classifier", "confusion_matrix", "fit", "logits",
    "macro_f1", "precision_recall", "predict", "top_k_accuracy",
]  # fmt: skip
