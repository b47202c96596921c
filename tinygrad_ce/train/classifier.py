"""A classifier as the command line makes, saves and loads it: standardised features, hidden layers, logits."""

from __future__ import annotations

import itertools
import os
from typing import Any

import numpy as np

from tinygrad_ce import nn
from tinygrad_ce.data.arrays import Damage, is_printable
from tinygrad_ce.data.columns import Plan
from tinygrad_ce.train import checkpoint
from tinygrad_ce.train.checkpoint import is_list, require
from tinygrad_ce.train.metrics import know

ACTIVATIONS: dict[str, Any] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU}


def make(
    features: int, classes: int, hidden: Any = (), activation: str = "relu", *, x: Any = None, moments: Any = None,
    seed: int = 0,
) -> nn.Sequential:  # fmt: skip
    """Standardize, then Linear layers with an activation between them; without hidden ones a linear classifier.

    Args:
        features: how wide a row is.
        classes: how many logits come out.
        hidden: the widths of the hidden layers.
        activation: "relu", "tanh", "gelu" or "silu".
        x: the rows to measure mean and deviation of.
        moments: mean and deviation, of each feature, instead; without either features are left as they are.
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
    as_they_are = np.zeros(features), np.ones(features)
    first = nn.Standardize.of(x) if x is not None else nn.Standardize(*(as_they_are if moments is None else moments))
    layers: list[nn.Module] = [first]
    widths = [features, *hidden, classes]
    for i, (width, out) in enumerate(itertools.pairwise(widths)):
        if i:
            layers.append(ACTIVATIONS[activation]())
        layers.append(nn.Linear(width, out, rng=rng))
    return nn.Sequential(*layers)


def load(path: str | os.PathLike[str]) -> tuple[nn.Sequential, dict[str, Any]]:
    """The classifier in a checkpoint that the command line wrote, and what that says of it: features, classes, ….

    Raises:
        CheckpointError: the file is damaged, or holds another kind of model.
        OSError: it can't be opened.

    Example:
        >>> import os, tempfile, tinygrad_ce as tg
        >>> path = os.path.join(tempfile.mkdtemp(), "flowers.npz")
        >>> model = tg.train.classifier.make(4, 2, [8])
        >>> about = {"features": 4, "hidden": [8], "activation": "relu", "classes": ["iris", "rose"]}
        >>> tg.train.checkpoint.save(path, {"model": model.state_dict()}, {"classifier": about})
        >>> model, about = tg.train.classifier.load(path)
        >>> model(tg.Tensor([[1.0, 2.0, 3.0, 4.0]])).shape, about["classes"]
        ((1, 2), ['iris', 'rose'])
    """
    groups, meta = checkpoint.load(path)
    state = groups.get("best") or groups.get("model") or {}
    try:
        about = _check_about(meta.get("classifier"))
        _check_state(state, about["features"], len(about["classes"]), about["hidden"])
    except Damage as error:
        raise checkpoint.CheckpointError(f"{path}: holds no classifier of the command line: {error}") from None
    model = make(about["features"], len(about["classes"]), about["hidden"], about["activation"])
    model.load_state_dict(state)
    model.eval()
    if "columns" in about:
        know(model, Plan.from_json(about["columns"]))
    return model, about


def _check_about(about: Any) -> dict[str, Any]:
    """What a checkpoint says of its classifier, every field that is used being of its type."""
    require(isinstance(about, dict), "classifier:", about, "a dict")
    features, classes, hidden = about.get("features"), about.get("classes"), about.get("hidden")
    require(type(features) is int and features > 0, "features:", features, "a whole number of at least 1")
    named = is_list(classes, str) and len(classes) > 0 and all(map(is_printable, classes))
    require(named, "classes:", classes, "a list of names without control characters")
    require(is_list(hidden, int) and all(n > 0 for n in hidden), "hidden:", hidden, "a list of widths")
    activation, names = about.get("activation"), about.get("names", [])
    known = isinstance(activation, str) and activation in ACTIVATIONS
    require(known, "activation:", activation, " or ".join(ACTIVATIONS))
    require(is_list(names, str) and len(names) in (0, features), "names:", names, f"none, or {features} names")
    rows = about.get("rows", [])
    require(is_list(rows, int), "rows:", rows, "how many there were to train on, to validate and to test with")
    if "columns" in about:
        made = Plan.from_json(about["columns"]).features
        require(len(made) == features, "columns: they make", len(made), f"{features} features")
    return about  # type: ignore[no-any-return]


def _check_state(state: dict[str, np.ndarray], features: int, classes: int, hidden: list[int]) -> None:
    """Hold the arrays against the widths announced, before a model of these widths takes memory."""
    require(len(state) == 4 + 2 * len(hidden), "arrays:", sorted(state), f"{4 + 2 * len(hidden)} of them")
    shapes: dict[str, tuple[int, ...]] = {"0.mean": (features,), "0.scale": (features,)}
    for i, (width, out) in enumerate(itertools.pairwise([features, *hidden, classes])):
        shapes |= {f"{2 * i + 1}.weight": (out, width), f"{2 * i + 1}.bias": (out,)}
    for name, shape in shapes.items():
        require(name in state, "arrays:", sorted(state), f"{name} among them")
        array = state[name]
        require(array.shape == shape, f"{name} has shape", array.shape, f"{shape}")
        require(array.dtype.newbyteorder("=") == np.float32, f"{name} has dtype", str(array.dtype), "float32")
        first = int(np.isfinite(array).argmin())
        require(bool(np.isfinite(array.flat[first])), f"{name}[{first}]:", float(array.flat[first]), "a finite number")
    require(bool((state["0.scale"] > 0).all()), "0.scale:", float(state["0.scale"].min()), "positive numbers")
