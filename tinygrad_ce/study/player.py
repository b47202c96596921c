"""player: a page in which one steps and scrubs through the forward and the backward pass."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_ce.study.arithmetic import Origin, Part, Row, strided, whole
from tinygrad_ce.study.explain import Step, explanation, gradients
from tinygrad_ce.study.graph import STYLE, Graph, brief, draw, trace_of
from tinygrad_ce.study.language import known, language, speaking, translate
from tinygrad_ce.study.numbers import DIGITS, numbers, spread
from tinygrad_ce.study.page import Page, asset, fill, frame, page_texts
from tinygrad_ce.study.trace import Share, Trace, Value, names_in

WIDTH = 680.0  # of the graph in pixels: it leaves room for the numbers beside it
CORNERS = (32, 64), (24, 32), (12, 16), (6, 8)  # rows and columns that the page holds of a larger array
ROOM = 50_000  # numbers in all arrays of a page; if there are more, the corners get smaller
LISTED = 20_000  # numbers that a page holds to tell where entries come from, beside the arrays that it shows


def player(loss: Any, *, fold: bool = True, names: Mapping[str, Any] | None = None, lang: str | None = None) -> Page:
    """A page that plays backprop: step or scrub through the forward and the backward pass of a loss.

    The current operator is lit in the graph, with its formula and the numbers that flow in and out; on the way back,
    the gradients arrive and add up. It is one file that needs no network, with the numbers of the engine in it.

    Args:
        loss: the Tensor to play; if it is no scalar, with the gradients of its sum.
        fold: whether blocks that repeat are one box of the drawing.
        names: what to call Tensors, arrays and Modules; the variables of the caller unless given.
        lang: the language of its texts, "en", "es" or "de"; that of :func:`language` unless given.

    Returns:
        A Page: ``.save("backprop.html")`` writes it; in a notebook it shows itself.

    Raises:
        TypeError: loss is no Tensor.
        RuntimeError, ValueError: it requires no grad, or was made by no operator; there is no such language.

    Example:
        >>> import tinygrad_ce as tg
        >>> w = tg.Tensor(3.0, requires_grad=True)
        >>> tg.study.player(w * w)
        <a page, "Backprop, step by step": .save("page.html") writes it, a browser shows it>
    """
    found = trace_of(loss, names_in(sys._getframe(1)) if names is None else names, "player")
    drawing = Graph(found, fold=fold, width=WIDTH)
    with speaking(known("player", lang or language())):
        texts = {**page_texts("page"), **page_texts("player")}
        return frame(
            texts["title"],
            fill(asset("player.html"), texts).replace("<!-- the graph -->", draw(drawing, styled=False)),
            style=STYLE + asset("player.css"),
            script=asset("player.js"),
            data=Script(found, drawing).data(),
            texts=texts,
            height=900,
        )


class Script:
    """What the page plays: arrays, each once, and the steps that show them."""

    def __init__(self, found: Trace, drawing: Graph) -> None:
        self.found = found
        self.arrays: list[np.ndarray] = []
        self.places: dict[int, int] = {}  # by id: the arrays are kept alive by the list
        self.origins: list[tuple[Origin, np.ndarray]] = []
        self.made: dict[int, int] = {}  # of an array's place, the origin that is the first told
        self.boxes = {id(item.value): k for k, item in enumerate(drawing.items) if item.value}
        self.folded = {call.number: k for k, item in enumerate(drawing.items) if not item.value for call in item.calls}
        self.edges = {(arrow.call.number, arrow.argument): k for k, arrow in enumerate(drawing.arrows)}

    def data(self) -> dict[str, Any]:
        """All that the page's script gets."""
        account = explanation(self.found).steps
        forward = [self._forward(step) for step in account if not step.share]
        backward = [self._backward(step, step.share) for step in account if step.share]
        steps = [self._start(), *forward, self._turn(), *backward, self._end()]
        corner, shown = _corner(self.arrays), len(self.arrays)
        origins = [*self._origins()]
        arrays = [_held(array, corner if k < shown else None) for k, array in enumerate(self.arrays)]
        given = [self.places[id(leaf.array)] for leaf in self.found.leaves]
        return {"steps": steps, "arrays": arrays, "origins": origins, "made": self.made, "given": given}

    def _origins(self) -> Iterator[dict[str, Any]]:
        """Where entries come from. What no step shows, but takes part, is held as well, as long as there is room."""
        room = LISTED
        for origin, array in self.origins:
            factors = [factor for part in origin.parts for factor in part.factors]
            lists = [strided(v, p.shape)[1] for p in origin.parts for v in (p.at, *(f.places for f in p.factors))]
            hidden = {id(f.array): f.array.size for f in factors if id(f.array) not in self.places}
            size = sum(map(len, lists)) + sum(hidden.values())
            if size > room:  # too much to say which: it is all of what is shown
                shown = [factor for factor in factors if id(factor.array) not in hidden]
                origin, size = Origin(whole(shown, array), origin.by or translate("the rule")), 0
            room -= size
            yield {"by": origin.by, "parts": [self._part(part) for part in origin.parts]}

    def _part(self, part: Part) -> dict[str, Any]:
        of = [[self._place(f.array), *strided(f.places, part.shape), f.name] for f in part.factors]
        return {"words": part.words, "shape": part.shape, "at": strided(part.at, part.shape), "of": of}

    def _start(self) -> dict[str, Any]:
        leaves = self.found.leaves
        rows = [Row(leaf.name, leaf.array) for leaf in leaves]
        sets = [self._set(leaf, "value", leaf.array) for leaf in leaves if id(leaf) in self.boxes]
        return self._step("start", translate("What it starts from"), rows, lit=self._drawn(leaves), sets=sets)

    def _forward(self, shown: Step) -> dict[str, Any]:
        call = shown.call
        operands = [o for o in dict.fromkeys(call.operands.values()) if o.kind != "number"]
        rows = [*(Row(translate("in: {name}", name=o.name), o.array) for o in operands), *shown.rows]
        step = self._operation(shown, rows, call.operands)
        if call.number in self.folded:
            step["note"] = {"box": self.folded[call.number], "text": f"{call.result.name} = {call.operator}"}
        else:
            step["sets"] = [self._set(call.result, "value", call.result.array)]
        return step

    def _turn(self) -> dict[str, Any]:
        output, start = self.found.output, self.found.start
        name = f"∂{output.name}/∂{output.name}"
        title = translate("From here on backward: the gradient of {name} in itself", name=output.name)
        each = translate("{name} = 1 for every entry, as for their sum", name=name)
        formula = f"{name} = {numbers(start)}" if start.size == 1 else each
        rows, sets = [Row(output.name, output.array), Row(name, start)], [self._set(output, "grad", start)]
        return self._step("turn", title, rows, formula=formula, lit=self._drawn([output]), sets=sets)

    def _backward(self, shown: Step, share: Share) -> dict[str, Any]:
        operand, rows = share.operand, shown.rows
        if share.before is not None:
            now = Row(translate("= gradient now"), share.total, origin=rows[-1].origin)
            rows = [*rows[:-1], Row(translate("+ gradient so far"), share.before), now]
        step = self._operation(shown, rows, [share.argument])
        if id(operand) in self.boxes:
            step["lit"] += self._drawn([operand])
            step["sets"] = [self._set(operand, "grad", share.total)]
            if len(operand.shares) > 1:
                step["note"] = {"box": self.boxes[id(operand)], "text": _addition(share)}
        else:
            step["note"] = {"box": step["lit"][0], "text": f"∂{self.found.output.name}/∂{operand.name}"}
        return step

    def _end(self) -> dict[str, Any]:
        name = self.found.output.name
        rows = [row._replace(label=f"∂{name}/∂{row.label}") for row in gradients(self.found)]
        lit = self._drawn(leaf for leaf in self.found.leaves if leaf.gradient is not None)
        return self._step("end", translate("What it comes to: the gradients of {name}", name=name), rows, lit=lit)

    def _operation(self, shown: Step, rows: Iterable[Row], arguments: Iterable[str]) -> dict[str, Any]:
        """A step at a call, with its box and the edges of some of its arguments lit."""
        number, texts = shown.call.number, {"formula": shown.formula.text, "shapes": shown.shapes}
        box = self.folded[number] if number in self.folded else self.boxes[id(shown.call.result)]
        edges = [self.edges[number, argument] for argument in arguments if (number, argument) in self.edges]
        return self._step(shown.phase, shown.title, rows, lit=[box], edges=edges, **texts)

    def _step(self, phase: str, title: str, rows: Iterable[Row], **more: Any) -> dict[str, Any]:
        shown = [self._row(row) for row in rows]
        usual: dict[str, Any] = {"formula": "", "shapes": "", "lit": [], "edges": [], "sets": [], "note": None}
        return {"phase": phase, "title": title, "rows": shown, **usual, **more}

    def _row(self, row: Row) -> dict[str, Any]:
        place = self._place(row.array)
        shown: dict[str, Any] = {"label": row.label, "array": place, "indent": row.indent}
        if row.origin is not None:
            shown["made"] = len(self.origins)
            self.made.setdefault(place, len(self.origins))
            self.origins.append((row.origin, row.array))
        return shown

    def _drawn(self, values: Iterable[Value]) -> list[int]:
        return [self.boxes[id(value)] for value in values if id(value) in self.boxes]

    def _set(self, value: Value, line: str, array: np.ndarray) -> dict[str, Any]:
        text = brief(array)
        return {"box": self.boxes[id(value)], "line": line, "text": f"grad {text}" if line == "grad" else text}

    def _place(self, array: np.ndarray) -> int:
        """The place of an array among those of the page."""
        place = self.places.setdefault(id(array), len(self.arrays))
        if place == len(self.arrays):
            self.arrays.append(array)
        return place


def _addition(share: Share) -> str:
    """In a word, how a share changes a gradient that several add up to."""
    shares = share.operand.shares
    sign = "" if share.before is None else f"+= {brief(share.gradient)}, " if share.gradient.size == 1 else "+= "
    return sign + translate("share {k} of {n}", k=shares.index(share) + 1, n=len(shares))


def _as_rows(array: np.ndarray) -> np.ndarray:
    columns = array.shape[-1] if array.ndim > 1 else array.size
    return array.reshape(array.size // max(columns, 1), columns)


def _corner(arrays: Iterable[np.ndarray]) -> tuple[int, int]:
    """The largest corner with which all arrays fit into a page."""
    shapes = [_as_rows(array).shape for array in arrays]
    sizes = (sum(min(n, rows) * min(m, columns) for n, m in shapes) for rows, columns in CORNERS)
    return next((c for c, size in zip(CORNERS, sizes, strict=True) if size <= ROOM), CORNERS[-1])


def _held(array: np.ndarray, corner: tuple[int, int] | None) -> dict[str, Any]:
    """An array as rows of numbers, or its first rows and columns."""
    part = _as_rows(array)[: corner[0], : corner[1]] if corner else _as_rows(array)
    return {
        "shape": list(array.shape), "dtype": str(array.dtype),
        "summary": spread(array) if array.size else "",
        "rows": [[_rounded(v) for v in row] for row in part.tolist()], "whole": part.size == array.size,
    }  # fmt: skip


def _rounded(value: Any) -> Any:
    """A number with as many digits as are shown."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
