"""A classifier as the command line makes, saves and loads it: standardised features, hidden layers, logits."""

from __future__ import annotations

import itertools
import os
from typing import Any

import numpy as np

from tinygrad_ce import nn
from tinygrad_ce.train import checkpoint

ACTIVATIONS: dict[str, Any] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU}


def make(
    features: int, classes: int, hidden: Any = (), activation: str = "relu", *, x: Any = None, seed: int = 0
) -> nn.Sequential:
    """Standardize, then Linear layers with an activation between them; without hidden ones a linear classifier.

    Args:
        features: how wide a row is.
        classes: how many logits come out.
        hidden: the widths of the hidden layers.
        activation: "relu", "tanh", "gelu" or "silu".
        x: the rows to measure mean and deviation of; None leaves features as they are until weights are loaded.
        seed: of the weights.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.train.classifier.make(4, 3, [8])
        Sequential(
          (0): Standardize(4 features)
          (1): Linear(4, 8)
          (2): ReLU()
          (3): Linear(8, 3)
        )
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}, expected one of {', '.join(ACTIVATIONS)}")
    rng = np.random.default_rng(seed)
    first = nn.Standardize(np.zeros(features), np.ones(features)) if x is None else nn.Standardize.of(x)
    layers: list[nn.Module] = [first]
    widths = [features, *hidden, classes]
    for i, (width, out) in enumerate(itertools.pairwise(widths)):
        if i:
            layers.append(ACTIVATIONS[activation]())
        layers.append(nn.Linear(width, out, rng=rng))
    return nn.Sequential(*layers)


def load(path: str | os.PathLike[str]) -> tuple[nn.Sequential, dict[str, Any]]:
    """The classifier in a checkpoint that the command line wrote, and what that says of it: features, classes, ….

    Errors:
        CheckpointError: the file is damaged, or holds another kind of model.
        OSError: it can't be opened.
    """
    groups, meta = checkpoint.load(path)
    try:
        about = meta["classifier"]
        if groups["model"]["0.mean"].shape != (about["features"],):
            raise ValueError(f"{about['features']} features announced, {groups['model']['0.mean'].shape} there")
        model = make(about["features"], len(about["classes"]), about["hidden"], about["activation"])
        model.load_state_dict(groups["best"] or groups["model"])
    except (KeyError, ValueError, TypeError) as error:
        raise checkpoint.CheckpointError(f"{path}: holds no classifier of the command line: {error}") from None
    model.eval()
    return model, about
