"""Training: fit, its history, checkpoints and metrics."""

from tinygrad_ce.train import checkpoint, classifier
from tinygrad_ce.train.checkpoint import CheckpointError
from tinygrad_ce.train.fit import fit
from tinygrad_ce.train.history import History
from tinygrad_ce.train.metrics import accuracy, confusion_matrix, logits, precision_recall, predict

__all__ = [
    "CheckpointError", "History", "accuracy", "checkpoint", "classifier", "confusion_matrix", "fit", "logits",
    "precision_recall", "predict",
]  # fmt: skip
