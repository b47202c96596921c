"""player: a page in which one steps and scrubs through the forward and the backward pass."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_ce.study.explain import Row, Step, explanation
from tinygrad_ce.study.graph import STYLE, Graph, brief, draw, trace_of
from tinygrad_ce.study.numbers import DIGITS, numbers, spread
from tinygrad_ce.study.page import Page, asset, frame
from tinygrad_ce.study.trace import Trace, Value, names_in

LARGEST = 24, 32  # rows and columns of an array that the page holds; of a larger one it holds this corner


def player(loss: Any, *, fold: bool = True, names: Mapping[str, Any] | None = None) -> Page:
    """A page that plays backprop: step or scrub through the forward and the backward pass of a loss.

    The current operator is lit in the graph, with its formula and the numbers that flow in and out; on the way back,
    the gradients arrive and add up. It is one file that needs no network, with the numbers of the engine in it.

    Args:
        loss: the Tensor to play, usually a scalar; another one is played with the gradients of its sum.
        fold: whether blocks that repeat are one box of the drawing.
        names: what to call Tensors, arrays and Modules; the variables of the caller unless given.

    Returns:
        A Page: ``.save("backprop.html")`` writes it; in a notebook it shows itself.

    Errors:
        TypeError: loss is no Tensor.
        RuntimeError, ValueError: it requires no grad, or was made by no operator.

    Example:
        >>> import tinygrad_ce as tg
        >>> w = tg.Tensor(3.0, requires_grad=True)
        >>> tg.study.player(w * w)
        <a page, "Backprop, step by step": .save("page.html") writes it, a browser shows it>
    """
    found = trace_of(loss, names_in(sys._getframe(1)) if names is None else names, "player")
    drawing = Graph(found, fold=fold)
    return frame(
        "Backprop, step by step",
        asset("player.html").replace("<!-- the graph -->", draw(drawing, styled=False)),
        style=STYLE + asset("player.css"),
        script=asset("player.js"),
        data=Script(found, drawing).data(),
        height=900,
    )


class Script:
    """What the page plays: arrays, each once, and the steps that show them."""

    def __init__(self, found: Trace, drawing: Graph) -> None:
        self.found = found
        self.account = explanation(found)  # it holds every array, so that none gets another's id
        self.drawing = drawing
        self.arrays: list[dict[str, Any]] = []
        self.places: dict[int, int] = {}
        self.boxes = {id(item.value): k for k, item in enumerate(drawing.items) if item.value}
        self.folded = {call.number: k for k, item in enumerate(drawing.items) if not item.value for call in item.calls}
        self.edges = {(arrow.call.number, arrow.argument): k for k, arrow in enumerate(drawing.arrows) if arrow.call}

    def data(self) -> dict[str, Any]:
        """All that the page's script gets."""
        forward = [self._forward(step) for step in self.account.steps if step.phase == "forward"]
        backward = [self._backward(step) for step in self.account.steps if step.phase == "backward"]
        return {
            "loss": self.found.output.name,
            "steps": [self._start(), *forward, self._turn(), *backward],
            "arrays": self.arrays,
        }

    def _start(self) -> dict[str, Any]:
        leaves = [leaf for leaf in self.found.leaves if id(leaf) in self.boxes]
        return {
            "phase": "start", "title": "What it starts from", "formula": "", "shapes": "",
            "rows": [self._row(Row(leaf.name, leaf.array)) for leaf in leaves],
            "lit": [self.boxes[id(leaf)] for leaf in leaves], "edges": [],
            "sets": [self._set(leaf, "value", leaf.array) for leaf in leaves],
        }  # fmt: skip

    def _turn(self) -> dict[str, Any]:
        output, start = self.found.output, self.found.start
        return {
            "phase": "turn", "title": f"From here on backward: the gradient of {output.name} in itself",
            "formula": f"∂{output.name}/∂{output.name} = {numbers(start)}", "shapes": "",
            "rows": [self._row(Row(f"∂{output.name}/∂{output.name}", start))],
            "lit": [self.boxes[id(output)]], "edges": [], "sets": [self._set(output, "grad", start)],
        }  # fmt: skip

    def _forward(self, step: Step) -> dict[str, Any]:
        call = step.call
        assert call is not None
        inputs = [Row(f"in: {o.name}", o.array) for o in call.operands.values()]
        shown = self._shown(step, inputs)
        shown["edges"] = [self.edges[key] for name in call.operands if (key := (call.number, name)) in self.edges]
        shown["lit"] = [self._box(call.number, call.result)]
        shown["sets"] = [self._set(call.result, "value", call.result.array)] if id(call.result) in self.boxes else []
        return shown

    def _backward(self, step: Step) -> dict[str, Any]:
        share = step.share
        assert share is not None
        operand, number = share.operand, share.call.number
        shown = self._shown(step, [])
        shown["edges"] = [self.edges[number, share.argument]] if (number, share.argument) in self.edges else []
        shown["lit"] = [self._box(number, share.call.result)]
        if id(operand) in self.boxes:
            shown["lit"].append(self.boxes[id(operand)])
            shown["sets"] = [self._set(operand, "grad", share.total)]
        return shown

    def _shown(self, step: Step, before: list[Row]) -> dict[str, Any]:
        return {
            "phase": step.phase, "title": step.title, "formula": step.formula.text, "shapes": step.shapes,
            "rows": [self._row(row) for row in [*before, *step.rows]], "sets": [],
        }  # fmt: skip

    def _box(self, number: int, result: Value) -> int:
        return self.boxes[id(result)] if id(result) in self.boxes else self.folded[number]

    def _set(self, value: Value, line: str, array: np.ndarray) -> dict[str, Any]:
        text = brief(array)
        return {"box": self.boxes[id(value)], "line": line, "text": f"grad {text}" if line == "grad" else text}

    def _row(self, row: Row) -> dict[str, Any]:
        return {"label": row.label, "array": self._array(row.array), "indent": row.indent}

    def _array(self, array: np.ndarray) -> int:
        """The place of an array among those of the page."""
        place = self.places.get(id(array))
        if place is None:
            place = self.places[id(array)] = len(self.arrays)
            self.arrays.append(_held(array))
        return place


def _held(array: np.ndarray) -> dict[str, Any]:
    """An array as rows of numbers, or its first rows and columns."""
    rows = array.reshape((1, -1)) if array.ndim < 2 else array.reshape((-1, array.shape[-1]))
    corner = rows[: LARGEST[0], : LARGEST[1]]
    return {
        "shape": list(array.shape), "dtype": str(array.dtype), "summary": spread(array) if array.size else "empty",
        "rows": [[_rounded(v) for v in row] for row in corner.tolist()], "whole": corner.size == array.size,
    }  # fmt: skip


def _rounded(value: Any) -> Any:
    """A number with as many digits as are shown."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
