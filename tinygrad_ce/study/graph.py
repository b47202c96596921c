"""graph: a recorded pass as a drawing. Boxes are values, with the operator that made them; arrows are operands."""

from __future__ import annotations

import html
import itertools
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_ce.study.layout import Box, Edge, path, place
from tinygrad_ce.study.loops import turns
from tinygrad_ce.study.numbers import number, numbers, shortened
from tinygrad_ce.study.page import save
from tinygrad_ce.study.trace import Call, Trace, Value, names_in, trace

CHARACTER, LINE, PADDING, HEADER = 6.65, 15.0, 8.0, 19.0  # of the font, in pixels
LETTERS = 34  # of a line; what is longer is cut
REPEATS = 4  # of a block, before all but its first and last are folded
SAID = 8  # operators of a drawing's alternative text
LONGEST = 12  # calls in a block that is looked for


@dataclass(eq=False, kw_only=True)
class Item(Box):
    """What a box shows: a leaf, a call and its result, or a run of calls folded into one."""

    kind: str
    title: str = ""
    lines: list[tuple[str, str]]  # a style, and the text
    tooltip: str
    value: Value | None = None
    calls: list[Call] = field(default_factory=list)
    origin: Item | None = None  # what a reference stands for

    @property
    def name(self) -> str:
        """That of the value, or of the last that a folded run made."""
        value = self.value or (self.calls[-1].result if self.calls else None)
        return value.name if value else ""

    def __post_init__(self) -> None:
        longest = max(len(text) for text in [self.title, *(text for _, text in self.lines)])
        self.width = longest * CHARACTER + 2 * PADDING
        self.short = min(len(self.name), LETTERS) * CHARACTER + 2 * PADDING
        self.height = len(self.lines) * LINE + 8 + (HEADER if self.title else 0)


@dataclass(eq=False, kw_only=True)
class Arrow(Edge):
    """An operand: which call takes it, as which argument."""

    call: Call
    argument: str


class Graph:
    """A drawing of a pass: shown in a notebook, saved as SVG, or handed to Graphviz as DOT.

    ``svg`` is the drawing as text. Nothing in it loads anything from elsewhere.

    Example:
        >>> import tinygrad_ce as tg
        >>> x = tg.Tensor(3.0, requires_grad=True)
        >>> tg.study.graph(x * x).svg[:4]
        '<svg'
    """

    def __init__(self, found: Trace, values: bool = True, fold: bool = True, width: float = 960.0) -> None:
        self.trace = found
        self.items, self.arrows = _content(found, values, fold)
        self.references: list[Item] = []  # which stand for items far from where these are
        self.frame = place(self.items, self.arrows, width, self._refer)
        self.svg = draw(self)

    def _refer(self, box: Box) -> Item:
        assert isinstance(box, Item)
        lines, tooltip = [("name", shortened(box.name, LETTERS))], f"{box.name}, as drawn elsewhere"
        self.references.append(Item(kind="reference", lines=lines, tooltip=tooltip, value=box.value, origin=box))
        return self.references[-1]

    def save(self, file: Any) -> None:
        """Write the drawing to a ``.svg`` file."""
        save("graph.save", file, self.svg, ".svg")

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        calls, leaves = len(self.trace.calls), len(self.trace.leaves)
        return f"Graph of {self.trace.output.name}: {calls} operators, {leaves} leaves; .save('graph.svg'), .to_dot()"

    def to_dot(self) -> str:
        """The whole graph, nothing folded, in Graphviz's language."""
        values = [*self.trace.leaves, *(call.result for call in self.trace.calls)]
        place = {value: f"v{k}" for k, value in enumerate(values)}
        lines = ["digraph {", "  rankdir=LR; node [shape=box, fontname=monospace];"]
        for value in values:
            words = [value.made_by.operator] if value.made_by else []
            words += [value.name, str(value.array.shape), brief(value.array)]
            words += [f"grad {brief(value.gradient)}"] if value.gradient is not None else []
            label = "\\n".join(word.replace("\\", "\\\\").replace('"', '\\"') for word in words)
            look = ", style=filled, fillcolor=lightgrey" if value.made_by else ""
            lines.append(f'  {place[value]} [label="{label}"{look}];')
        for call in self.trace.calls:
            for argument, operand in call.operands.items():
                if operand in place:
                    lines.append(f'  {place[operand]} -> {place[call.result]} [label="{argument}"];')
        return "\n".join([*lines, "}"])


def graph(
    loss: Any, *, values: bool = True, fold: bool = True, width: float = 960.0, names: Mapping[str, Any] | None = None
) -> Graph:
    """Draw the graph that a Tensor came from, as SVG: no Graphviz, nothing to install.

    A box is a value: its name, shape, numbers and gradient, and on top the operator that made it. An arrow is an
    operand; ``w * w`` has two. What is used first stands left. Long chains go on in the next row, and each turn of a
    loop has a row of its own; what a row takes from another stands there again, as a name. Of a block that repeats
    (layers of one width) the first and the last are drawn; the others are folded into one box between them.

    Args:
        loss: the Tensor to draw; if it is no scalar, with the gradients of its sum.
        values: whether boxes show numbers and gradients; otherwise name and shape alone.
        fold: whether repeated blocks are folded.
        width: how wide a row may get, in pixels.
        names: what to call Tensors, arrays and Modules; the variables of the caller unless given.

    Returns:
        A Graph: leave it at the end of a notebook's cell, ``save`` it, or take ``to_dot()``.

    Raises:
        TypeError: loss is no Tensor.
        RuntimeError, ValueError: it requires no grad, or was made by no operator.

    Example:
        >>> import tinygrad_ce as tg
        >>> w = tg.Tensor(3.0, requires_grad=True)
        >>> y = w * w
        >>> tg.study.graph(y)
        Graph of y: 1 operators, 1 leaves; .save('graph.svg'), .to_dot()
        >>> print(tg.study.graph(y).to_dot())
        digraph {
          rankdir=LR; node [shape=box, fontname=monospace];
          v0 [label="w\\n()\\n3\\ngrad 6"];
          v1 [label="multiply\\ny\\n()\\n9\\ngrad 1", style=filled, fillcolor=lightgrey];
          v0 -> v1 [label="a"];
          v0 -> v1 [label="b"];
        }
    """
    found = trace_of(loss, names_in(sys._getframe(1)) if names is None else names, "graph")
    return Graph(found, values, fold, width)


def trace_of(loss: Any, names: Mapping[str, Any], what: str) -> Trace:
    """The trace of a Tensor; of one that is no scalar, with the gradients of its sum."""
    shape = getattr(loss, "shape", ())
    several = isinstance(shape, tuple) and np.prod(shape, dtype=int) != 1
    return trace(loss, names, np.ones(shape) if several else None, what)


def _content(found: Trace, values: bool, fold: bool) -> tuple[list[Item], list[Arrow]]:
    """Boxes, those that are used before those that use them, and arrows."""
    folded = {call.number: run for run in _runs(found.calls) for call in run} if fold else {}
    inside = _absorbed(found, folded)
    cut = any(state.made_by and state.made_by.number in folded for loop in found.loops for state in loop.states)
    band = {} if cut else turns(found.loops, found.calls)  # a loop that is drawn whole has one for each turn
    items = {id(leaf): _leaf(leaf, values) for leaf in found.leaves if leaf not in inside}
    arrows: list[Arrow] = []
    joined: set[tuple[Item, Item]] = set()  # what all blocks of a fold use has one arrow into it
    for call in found.calls:
        run = folded.get(call.number)
        if run is None:
            target = _call(call, values, call.result is found.output)
        else:
            target = _run(run, inside) if call is run[0] else items[id(run[0].result)]
        target.band = band.get(call.number, 0)
        items[id(call.result)] = target
        arrows += _arrows(call, target, items, joined)
    return list(dict.fromkeys(items.values())), arrows


def _arrows(call: Call, target: Item, items: Mapping[int, Item], joined: set[tuple[Item, Item]]) -> list[Arrow]:
    """The arrows of a call into its box, from the operands that are drawn."""
    sources = [(a, items[id(o)]) for a, o in call.operands.items() if id(o) in items]
    sources = [(a, s) for a, s in sources if s is not target and (s, target) not in joined]
    joined |= {(s, target) for _, s in sources}
    return [Arrow(s, target, k, len(sources), call=call, argument=a) for k, (a, s) in enumerate(sources)]


def _absorbed(found: Trace, folded: Mapping[int, Any]) -> set[Value]:
    """Leaves that only folded calls use."""
    users: dict[Value, list[bool]] = {}
    for call in found.calls:
        for operand in call.operands.values():
            if operand.made_by is None:
                users.setdefault(operand, []).append(call.number in folded)
    return {leaf for leaf, within in users.items() if all(within)}


def _runs(calls: list[Call]) -> Iterator[list[Call]]:
    """Blocks of calls that repeat at least REPEATS times in a row, all but the first and the last of each."""
    kinds = [_kind(call) for call in calls]
    start = 0
    while start < len(calls):
        found = [(p, _repeats(kinds, start, p)) for p in range(1, LONGEST + 1)]
        period, repeats = max(found, key=lambda pair: pair[0] * (pair[1] - 2))
        if repeats < REPEATS:
            start += 1
            continue
        turns = [k for k in range(start, start + period) if _repeats(kinds, k, period) == repeats]
        # A block begins where something new comes in, as a layer does with its weight.
        first = next((k for k in turns if any(o.made_by is None for o in calls[k].operands.values())), start)
        yield calls[first + period : first + period * (repeats - 1)]
        start = first + period * repeats


def _repeats(kinds: list[Any], start: int, period: int) -> int:
    """How often the block of so many calls comes in a row."""
    same = itertools.takewhile(lambda k: kinds[k] == kinds[k + period], range(start, len(kinds) - period))
    return 1 + sum(1 for _ in same) // period


def _kind(call: Call) -> Any:
    """What makes two calls alike: operator, options, shapes, and how far back their operands were made."""
    operands = tuple(
        (name, _numbers_of(o.array, o.kind in ("number", "constant")), o.made_by and call.number - o.made_by.number)
        for name, o in call.operands.items()
    )
    options = tuple(
        (name, _numbers_of(option, True) if isinstance(option, np.ndarray) else repr(option))
        for name, option in sorted(call.options.items())
    )
    return call.operator, options, _numbers_of(call.result.array, False), operands


def _numbers_of(array: np.ndarray, values: bool) -> Any:
    """Shape and dtype of an array, and maybe its numbers, to compare."""
    return array.shape, array.dtype.str, array.tobytes() if values else b""


def _described(value: Value, values: bool) -> list[tuple[str, str]]:
    lines = [("name", shortened(f"{value.name} {value.array.shape}" if value.array.ndim else value.name, LETTERS))]
    if values:
        lines.append(("value", brief(value.array)))
        if value.gradient is not None:
            lines.append(("grad", f"grad {brief(value.gradient)}"))
    return lines


def _tooltip(value: Value) -> str:
    text = f"{value.name}: {value.array.dtype} {value.array.shape}\n{numbers(value.array)}"
    return text if value.gradient is None else f"{text}\ngradient\n{numbers(value.gradient)}"


def _leaf(value: Value, values: bool) -> Item:
    return Item(kind=value.kind, lines=_described(value, values), tooltip=_tooltip(value), value=value)


def _call(call: Call, values: bool, last: bool) -> Item:
    given = [o.name for o in call.operands.values() if o.kind == "number"]
    title = shortened(" ".join([call.operator, *given]), LETTERS)
    lines = _described(call.result, values)
    tooltip = f"{call.result.name} = {call.text}\n{_tooltip(call.result)}"
    kind = "output" if last else "result"
    return Item(kind=kind, title=title, lines=lines, tooltip=tooltip, value=call.result, calls=[call])


def _run(run: list[Call], inside: set[Value]) -> Item:
    kinds = [_kind(call) for call in run]
    period = next(p for p in range(1, len(run) + 1) if all(a == b for a, b in zip(kinds, kinds[p:], strict=False)))
    block = " → ".join(call.operator for call in run[:period])
    held = {o for call in run for o in call.operands.values() if o in inside and o.kind == "parameter"}
    lines = [("name", shortened(block, LETTERS)), ("value", f"{len(run)} operators folded")]
    if held:
        lines.append(("value", f"{sum(o.array.size for o in held):,} parameters"))
    tooltip = f"{len(run) // period} times {block}"
    return Item(kind="fold", title=f"× {len(run) // period}", lines=lines, tooltip=tooltip, calls=list(run))


def brief(array: np.ndarray) -> str:
    """An array in one short line: up to four numbers, or its range."""
    array = np.asarray(array)
    if array.size <= 4 and array.ndim <= 1:
        return ", ".join(number(v, 4) for v in array.ravel()) or "empty"
    if array.size == 0:
        return "empty"
    low, high = array.min(), array.max()
    return f"{number(low, 4)} … {number(high, 4)}" if low != high else f"all {number(low, 4)}"


STYLE = """
.tg-graph { max-width: 100%; height: auto; font: 11px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.tg-graph .paper { fill: var(--tg-paper, #fff); }
.tg-graph rect.box { fill: var(--tg-box, #fff); stroke: var(--tg-line, #667); stroke-width: 1; }
.tg-graph .parameter rect.box { fill: var(--tg-parameter, #e3f1e7); stroke: var(--tg-parameter-line, #2c7a4b); }
.tg-graph .constant rect.box { fill: var(--tg-constant, #f1f1f4); }
.tg-graph .output rect.box { stroke-width: 2.2; }
.tg-graph .fold rect.box { stroke-dasharray: 5 3; }
.tg-graph .reference rect.box { stroke-dasharray: 2 3; }
.tg-graph rect.head { fill: var(--tg-head, #dfe7f5); }
.tg-graph text { fill: var(--tg-ink, #1b1b22); white-space: pre; }
.tg-graph text.title, .tg-graph text.name { font-weight: 600; }
.tg-graph text.grad { fill: var(--tg-grad, #a3330b); }
.tg-graph path.edge { fill: none; stroke: var(--tg-edge, #667); stroke-width: 1.3; }
.tg-graph path.tip { fill: var(--tg-edge, #667); stroke: none; }
"""


def draw(drawing: Graph, styled: bool = True) -> str:
    """The drawing as SVG, with its style or, for a page that brings STYLE itself, without.

    Boxes and edges are numbered in ``data-box`` and ``data-edge`` as in the drawing's items (references follow) and
    arrows; ``data-origin`` is the box that a reference stands for.
    """
    frame = drawing.frame
    side = 10.0
    width, height = frame.width + 2 * side, frame.height + 2 * side
    boxes = {item: k for k, item in enumerate([*drawing.items, *drawing.references])}
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" class="tg-graph" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="{-side:.0f} {-side:.0f} {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{html.escape(in_words(drawing.trace))}">',
        *([f"<style>{STYLE}</style>"] if styled else []),
        f'<rect class="paper" x="{-side:.0f}" y="{-side:.0f}" width="{width:.0f}" height="{height:.0f}" rx="6"/>',
        *(_edge(k, arrow) for k, arrow in enumerate(drawing.arrows)),
        *(_group(k, item, boxes) for item, k in boxes.items()),
        "</svg>",
    ])  # fmt: skip


def in_words(found: Trace) -> str:
    """What a drawing shows, for who doesn't see it: its operators in their order, the first and the last of many."""
    said = [f"{call.result.name} = {call.text}" for call in found.calls[:SAID]]
    if len(found.calls) > SAID:
        last = found.calls[-1]
        said += [f"{len(found.calls) - SAID - 1} more"] * (len(found.calls) > SAID + 1)
        said.append(f"{last.result.name} = {last.text}")
    return f"The graph of {found.output.name}: {len(found.calls)} operators. {'; '.join(said)}"


def _edge(k: int, arrow: Arrow) -> str:
    x, y = arrow.end
    words = html.escape(f"argument {arrow.argument} of {arrow.call.operator}")
    return (
        f'<g class="arrow" data-edge="{k}"><title>{words}</title>'
        f'<path class="edge" d="{path(arrow)}"/>'
        f'<path class="tip" d="M{x:.1f} {y:.1f} l-7 -3.5 v7 z"/></g>'
    )


def _group(k: int, item: Item, boxes: Mapping[Item, int]) -> str:
    x, y, width = item.x, item.y - item.height / 2, item.width
    origin = f' data-origin="{boxes[item.origin]}"' if item.origin else ""
    parts = [f'<g class="{item.kind}" data-box="{k}"{origin}><title>{html.escape(item.tooltip)}</title>']
    parts.append(_rect("box", x, y, width, item.height, 4))
    if item.title:
        parts.append(_rect("head", x + 1, y + 1, width - 2, HEADER - 1, 3))
        parts.append(_text("title", x + width / 2, y + 13.5, item.title, ' text-anchor="middle"'))
    top = y + 15 + (HEADER if item.title else 0)
    parts += [_text(style, x + PADDING, top + LINE * k, text) for k, (style, text) in enumerate(item.lines)]
    return " ".join([*parts, "</g>"])  # spaces, for whoever reads the texts as one


def _rect(style: str, x: float, y: float, width: float, height: float, radius: int) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{style}" {place} rx="{radius}"/>'


def _text(style: str, x: float, y: float, text: str, more: str = "") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}"{more}>{html.escape(text)}</text>'
