"""Formulas that depend on a call: on its options, and on how many axes its operands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ce.losses import validate
from tinygrad_ce.study.trace import Call

Pair = tuple[str, str]  # text and LaTeX
Variants = dict[str, Pair]  # "" stands for the forward, an argument's name for its rule


def of(call: Call) -> Variants:
    """The formulas of a call that differ from the operator's usual ones."""
    find = _FIND.get(call.operator)
    return find(call) if find else {}


def _arrays(call: Call) -> dict[str, Any]:
    return dict(zip(call.node._primitive.arguments, call.node._arguments, strict=False))


def _cross_entropy(call: Call) -> Variants:
    loss, factor, slope, of_target = _loss_words(call, "⟨input⟩", "⟨target⟩")
    return {"": loss, "input": _times("g", factor, slope), "target": _times("−g", factor, of_target)}


def _loss_words(call: Call, logits: str, target: str) -> tuple[Pair, Pair, Pair, Pair]:
    """The loss; by what the reduction multiplies a row; the slope of a row; the slope in a soft target."""
    given = _arrays(call)
    smoothing, reduction, t = given["label_smoothing"], given["reduction"], np.asarray(given["target"])
    weighted, soft = given["weight"] is not None, t.dtype.kind == "f"
    p = (f"softmax({logits})", rf"\mathrm{{softmax}}({logits})")
    w = (f"w[{target}] ", rf"w_{{{target}}} ") if weighted else ("", "")
    if soft or smoothing:
        how = " and ".join(["smoothed"] * bool(smoothing) + ["weighted"] * weighted)
        row = (f"−Σ y log {p[0]}", rf"-\textstyle\sum_c y_c \log {p[1]}_c")
        slope = (f"({p[0]} Σy − y)" + (f", y {how}" if how else ""), rf"\left({p[1]} \textstyle\sum y - y\right)")
    else:
        row = (f"−{w[0]}log {p[0]}[{target}]", rf"-{w[1]}\log {p[1]}_{{{target}}}")
        slope = (f"{w[0]}({p[0]} − onehot({target}))", rf"{w[1]}\left({p[1]} - \mathrm{{onehot}}({target})\right)")
    word, factor = {"mean": "mean", "sum": "Σ", "none": "each"}[reduction], ("", "")
    if reduction == "mean" and weighted and not soft:
        word, factor = "weighted mean", (f"1/Σ {w[0].strip()}", rf"\frac{{1}}{{\sum {w[1]}}}")
    elif reduction == "mean" and (n := _rows_that_count(given, t, soft)) != 1:
        factor = (f"1/{n}", rf"\tfrac{{1}}{{{n}}}")
    tex = r"\textstyle\sum" if word == "Σ" else rf"\mathrm{{{word}}}".replace(" ", r"\ ")
    some = ", rows that count" if not soft and np.any(t == given["ignore_index"]) else ""
    kept = " · ".join([f"{1 - smoothing:g}"] * bool(smoothing) + ["w"] * weighted)
    of_target = (f"{kept + ' · ' if kept else ''}log {p[0]}", rf"{kept.replace('·', '')} \log {p[1]}")
    return (f"{word} {row[0]}{some}", rf"{tex}\left({row[1]}\right)"), factor, slope, of_target


def _rows_that_count(given: dict[str, Any], t: np.ndarray, soft: bool) -> int:
    if not soft:
        return int(np.count_nonzero(t != given["ignore_index"]))
    axis = -1 if "linear_weight" in given else validate.check_axis("explain", t.shape, given["axis"])
    return int(t.size // max(t.shape[axis], 1))


def _times(g: str, factor: Pair, slope: Pair) -> Pair:
    tex = g.replace("−", "-")
    middle = (f" · {factor[0]}", rf" \cdot {factor[1]}") if factor[0] else ("", "")
    return f"{g}{middle[0]} · {slope[0]}", rf"{tex}{middle[1]} \cdot {slope[1]}"


def _softmax_minus_onehot(call: Call) -> Variants:
    _, factor, slope, _ = _loss_words(call, "⟨input⟩", "⟨target⟩")
    forward = (f"{factor[0]} · {slope[0]}", rf"{factor[1]} \cdot {slope[1]}") if factor[0] else slope
    a = (f"{factor[0]} · ", rf"{factor[1]} \cdot ") if factor[0] else ("", "")
    inner = ("p · (g − Σ g p)", r"p \odot (g - \textstyle\sum_j g_j p_j)")
    outer = ("(Σ g p − g)", r"\left(\textstyle\sum_j g_j p_j - g\right)")
    return {"": forward, "input": (a[0] + inner[0], a[1] + inner[1]), "target": (a[0] + outer[0], a[1] + outer[1])}


def _linear_cross_entropy(call: Call) -> Variants:
    has_bias = _arrays(call)["linear_bias"] is not None
    logits = "⟨input⟩ ⟨linear_weight⟩ᵀ" + (" + ⟨linear_bias⟩" if has_bias else "")
    loss, factor, slope, of_target = _loss_words(call, logits, "⟨target⟩")
    tex = loss[1].replace("ᵀ", "^T")
    upstream = f"g · {factor[0]} · " if factor[0] else "g · "
    short = (
        (f"{upstream}(p Σy − y)", r"g\,(p - y)")
        if "Σy" in slope[0]
        else (f"{upstream}(p − onehot)", r"g\,(p - \mathrm{onehot})")
    )
    return {
        "": (f"{loss[0]}, the classes in blocks", tex),
        "input": (f"{short[0]} @ ⟨linear_weight⟩", rf"{short[1]}\, ⟨linear_weight⟩"),
        "linear_weight": (f"({short[0]})ᵀ @ ⟨input⟩", rf"({short[1]})^T ⟨input⟩"),
        "linear_bias": (f"{short[0]}, summed over the rows", rf"\textstyle\sum_n {short[1]}"),
        "target": _times("−g", factor, (of_target[0], of_target[1].replace("ᵀ", "^T"))),
    }


def _matmul(call: Call) -> Variants:
    given = _arrays(call)
    a, b = given["a"].ndim, given["b"].ndim
    if a == b == 1:
        return {
            "": ("Σ ⟨a⟩ · ⟨b⟩", r"⟨a⟩ \cdot ⟨b⟩"), "a": ("g · ⟨b⟩", r"g \cdot ⟨b⟩"), "b": ("g · ⟨a⟩", r"g \cdot ⟨a⟩"),
        }  # fmt: skip
    if a == 1 or b == 1:
        left = ("g @ ⟨b⟩ᵀ", r"g\, ⟨b⟩^T") if a == 1 else ("g ⊗ ⟨b⟩, each of g with all of ⟨b⟩", r"g \otimes ⟨b⟩")
        right = ("⟨a⟩ᵀ @ g", r"⟨a⟩^T g") if b == 1 else ("⟨a⟩ ⊗ g, each of ⟨a⟩ with all of g", r"⟨a⟩ \otimes g")
        return {"a": left, "b": right}
    if max(a, b) > 2:
        each = ", for each matrix of the stack"
        return {"a": (f"g @ ⟨b⟩ᵀ{each}", r"g\, ⟨b⟩^T"), "b": (f"⟨a⟩ᵀ @ g{each}", r"⟨a⟩^T g")}
    return {}


def _linear(call: Call) -> Variants:
    axes = _arrays(call)["x"].ndim
    if axes == 1:
        outer = ("g ⊗ ⟨x⟩, each of g with all of ⟨x⟩", r"g \otimes ⟨x⟩")
        return {"weight": outer, "bias": ("g", "g")}
    if axes > 2:
        return {
            "weight": ("gᵀ @ ⟨x⟩, over all rows", r"\textstyle\sum_n g_n ⟨x⟩_n^T"),
            "bias": ("g summed over all rows", r"\textstyle\sum_n g_n"),
        }
    return {}


def _transpose(call: Call) -> Variants:
    axes = _arrays(call)["axes"]
    if axes is None and _arrays(call)["x"].ndim <= 2:
        return {}
    order = "backwards" if axes is None else f"in the order {tuple(axes)}"
    return {
        "": (f"⟨x⟩ with its axes {order}", r"\mathrm{transpose}(⟨x⟩)"),
        "x": ("g with the axes put back", r"\mathrm{transpose}^{-1}(g)"),
    }


def _swapaxes(call: Call) -> Variants:
    return {} if _arrays(call)["x"].ndim == 2 else {
        "": ("⟨x⟩ with axes ⟨axis1⟩ and ⟨axis2⟩ exchanged", r"\mathrm{swapaxes}(⟨x⟩)"),
        "x": ("g with the axes put back", r"\mathrm{swapaxes}(g)"),
    }  # fmt: skip


def _spread(call: Call) -> Variants:
    ddof = _arrays(call)["ddof"]
    if not ddof:
        return {}
    if call.operator == "var":
        return {
            "x": (f"g · 2 (⟨x⟩ − mean) / (n − {ddof})", rf"g \cdot \frac{{2}}{{n - {ddof}}} (⟨x⟩ - \overline{{⟨x⟩}})")
        }
    below = rf"(n - {ddof})\, ⟨y⟩"
    text = f"g · (⟨x⟩ − mean) / ((n − {ddof}) ⟨y⟩)"
    return {"x": (text, rf"g \cdot \frac{{⟨x⟩ - \overline{{⟨x⟩}}}}{{{below}}}")}


def _gelu(call: Call) -> Variants:
    if _arrays(call)["approximate"] == "none":
        return {}
    inside = (r"√(8/π) (⟨x⟩ + 0.044715 ⟨x⟩³)", r"\sqrt{8/\pi}\,(⟨x⟩ + 0.044715\,⟨x⟩^3)")
    return {
        "": (f"⟨x⟩ · σ({inside[0]})", rf"⟨x⟩\, \sigma\left({inside[1]}\right)"),
        "x": ("g · (σ + ⟨x⟩ σ (1 − σ) √(8/π) (1 + 0.134145 ⟨x⟩²)), σ of the forward", r"g \cdot \frac{d}{d⟨x⟩} ⟨y⟩"),
    }


def _clip(call: Call) -> Variants:
    low, high = (_arrays(call)[name] is not None for name in ("min", "max"))
    if low and high:
        return {}
    bound = ("no less than ⟨min⟩", r"\max(⟨x⟩, ⟨min⟩)") if low else ("no more than ⟨max⟩", r"\min(⟨x⟩, ⟨max⟩)")
    return {
        "": (f"⟨x⟩, but {bound[0]}", bound[1]),
        "x": ("g where ⟨x⟩ is within the bound, else 0", r"g \cdot [⟨x⟩ = ⟨y⟩]"),
    }


_FIND: dict[str, Callable[[Call], Variants]] = {
    "cross_entropy": _cross_entropy, "softmax_minus_onehot": _softmax_minus_onehot,
    "blocked_linear_cross_entropy": _linear_cross_entropy, "matmul": _matmul, "linear": _linear,
    "transpose": _transpose, "swapaxes": _swapaxes, "var": _spread, "std": _spread, "gelu": _gelu, "clip": _clip,
}  # fmt: skip
