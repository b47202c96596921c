"""explain: the forward and the backward pass as a numbered account, with the engine's own numbers."""

from __future__ import annotations

import html
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

import numpy as np

from tinygrad_ce.study import formulas, origins
from tinygrad_ce.study.arithmetic import Origin, Row, box, derivation, positions
from tinygrad_ce.study.formulas import Formula, name_in_latex
from tinygrad_ce.study.inside import inside_backward, inside_forward
from tinygrad_ce.study.language import translate
from tinygrad_ce.study.numbers import number, numbers
from tinygrad_ce.study.trace import Call, Share, Trace, Value, names_in, short, trace


class Step(NamedTuple):
    """One operator of the forward pass, or one rule of the backward pass."""

    number: int
    phase: str  # "forward" or "backward"
    title: str
    formula: Formula
    shapes: str
    rows: list[Row]
    call: Call
    share: Share | None = None  # of the backward pass

    def __str__(self) -> str:
        lines = [f"{self.number:>3}  {self.title}", f"     {self.formula.text}", f"     {self.shapes}".rstrip()]
        return "\n".join([*filter(None, lines), *_columns(self.rows)])


@dataclass(frozen=True)
class Explanation:
    """A pass, step by step: print it, show it in a notebook, or walk through ``steps``.

    ``trace`` holds the whole arrays; ``latex()`` is the derivation as an aligned block.

    Example:
        >>> import tinygrad_ce as tg
        >>> x = tg.Tensor(3.0, requires_grad=True)
        >>> square = tg.study.explain(x * x)
        >>> [step.phase for step in square.steps]
        ['forward', 'backward', 'backward']
    """

    trace: Trace
    steps: list[Step]

    def __str__(self) -> str:
        parts = [self._summary()]
        for title, rows, steps in self._sections():
            parts += ["", title, *_columns(rows)]
            for step in steps:
                parts += ["", str(step)]
        return "\n".join(parts)

    __repr__ = __str__

    def _summary(self) -> str:
        output = self.trace.output
        forward, backward = _count(len(self.trace.calls), "step"), _count(len(self.trace.shares), "rule")
        return f"{output.name} = {numbers(output.array)}: {forward} forward, {backward} backward"

    def _sections(self) -> Iterator[tuple[str, list[Row], list[Step]]]:
        """The account's sections: a title, and the rows or the steps below it."""
        loss, leaves = self.trace.output.name, self.trace.leaves
        start = f"∂{loss}/∂{loss} = {numbers(self.trace.start)}"
        yield translate("What it starts from"), [Row(leaf.name, leaf.array) for leaf in leaves], []
        yield translate("Forward"), [], [step for step in self.steps if step.phase == "forward"]
        title = translate("Backward, from {start}; g is the gradient that arrives from above", start=start)
        yield title, [], [step for step in self.steps if step.phase == "backward"]
        yield translate("Gradients of {loss}", loss=loss), gradients(self.trace), []

    def latex(self) -> str:
        r"""Every step's formula as one ``aligned`` block of LaTeX, forward then backward."""
        lines = [step.formula.latex.replace(" = ", " &= ", 1) for step in self.steps]
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    def _repr_html_(self) -> str:
        """The account as HTML with its own style; it reads well without it too."""
        parts = [_STYLE, '<div class="tg-explain">', f"<p><b>{html.escape(self._summary())}</b></p>"]
        for k, (title, rows, steps) in enumerate(self._sections()):
            heading = f"<h4>{html.escape(title)}</h4>" if k else f"<p>{title}</p>"
            parts += [heading, *([_table(rows)] if rows else []), *map(_step, steps)]
        return "\n".join([*parts, "</div>"])


@dataclass(frozen=True)
class Entry:
    """How one entry of a pass came about: its value, and its gradient. Print it, or leave it at a cell's end.

    Example:
        >>> import tinygrad_ce as tg
        >>> x = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> total = (x * [3.0, 4.0]).sum()
        >>> tg.study.explain(total, entry=("total", ()))
        total = 11
          step 2, total = sum(v1)
            total = 11 = 3 + 8
                from v1[:]
        ∂total/∂total = 1, from which the pass starts
    """

    text: str

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.text)}</pre>"


@overload
def explain(loss: Any, g: Any = None, *, names: Mapping[str, Any] | None = None, entry: None = None) -> Explanation: ...


@overload
def explain(loss: Any, g: Any = None, *, names: Mapping[str, Any] | None = None, entry: tuple[str, Any]) -> Entry: ...


def explain(
    loss: Any, g: Any = None, *, names: Mapping[str, Any] | None = None, entry: tuple[str, Any] | None = None
) -> Explanation | Entry:
    r"""The whole forward and backward pass that a Tensor came from, as a numbered account.

    A step of the forward pass shows its operator, formula, shapes, dtype and values; of softmax and cross-entropy also
    the inner steps (maximum, shifted logits, exponentials, sum, probabilities). A step of the backward pass shows the
    rule applied, the upstream gradient g, the local derivative where the rule is
    :math:`g \cdot \partial y/\partial x` entry by entry, where broadcasting is undone, and where the gradients of
    several consumers add up. Nothing is changed: no ``.grad``, no graph.

    Args:
        loss: the Tensor to explain, whose graph isn't used up by ``backward(retain_graph=False)``.
        g: the cotangent, for a Tensor that is no scalar.
        names: what to call Tensors, arrays and Modules; the variables of the caller unless given.
        entry: the name of a value and an index, as in ``("W", (1, 2))``: the arithmetic of this entry, and of its
            gradient, is told instead of the whole pass.

    Returns:
        An Explanation, or of an entry, an Entry. Print it, or leave it at the end of a notebook's cell.

    Raises:
        TypeError: loss is no Tensor, or entry no pair of a name and an index.
        IndexError: the value has no such entry.
        RuntimeError, ValueError: no value has the name; or loss requires no grad, was made by no operator, or is no
            scalar and g is missing.

    Example:
        >>> import tinygrad_ce as tg
        >>> w = tg.Tensor(3.0, requires_grad=True)
        >>> y = w * w
        >>> print(tg.study.explain(y))
        y = 9: 1 step forward, 2 rules backward
        <BLANKLINE>
        What it starts from
             w   3
        <BLANKLINE>
        Forward
        <BLANKLINE>
          1  y = multiply(w, w)
             y = w · w
             w () → y () float64
             y   9
        <BLANKLINE>
        Backward, from ∂y/∂y = 1; g is the gradient that arrives from above
        <BLANKLINE>
          2  gradient of w, through step 1 (multiply, argument a)
             ∂y/∂w = g · w
             upstream g   1
               w          3
             local        3
             g · local    3
        <BLANKLINE>
          3  gradient of w, through step 1 (multiply, argument b)
             ∂y/∂w += g · w
             upstream g             1
               w                    3
             local                  3
             g · local              3
             added to the 3 so far  6
        <BLANKLINE>
        Gradients of y
             w   6
        >>> print(tg.study.explain(y, entry=("w", ())))
        w = 3, given
        ∂y/∂w = 6
          step 2, gradient of w, through step 1 (multiply, argument a)
            gradient so far = 3 = 1 · 3
                from g, local
            local = 3 = 3
                from w
          step 3, gradient of w, through step 1 (multiply, argument b)
            ∂y/∂w = 6 = 3 + 3
                from gradient so far, this share
            g · local = 3 = 1 · 3
                from g, local
            local = 3 = 3
                from w

    Source:
        Rumelhart, Hinton, Williams, Learning representations by back-propagating errors, 1986.
    """
    found = explanation(trace(loss, names_in(sys._getframe(1)) if names is None else names, g, "explain"))
    return found if entry is None else _entry(found, entry)


def _entry(found: Explanation, entry: Any) -> Entry:
    """The arithmetic of an entry, from the step that made it and from every step that handed it a gradient."""
    value, place = _chosen(found.trace.values, entry)
    index, slope = box(value.array.shape, [place]), f"∂{found.trace.output.name}/∂{value.name}"
    lines = [f"{value.name}{index} = {number(value.array.flat[place])}" + (", given" if value.made_by is None else "")]
    for step in found.steps:
        if step.share is None and step.call.result is value:
            lines += _told(step, value.name, place)
    if value.gradient is not None:
        start = "" if value.shares else ", from which the pass starts"
        lines.append(f"{slope}{index} = {number(value.gradient.flat[place])}{start}")
    for step in found.steps:
        if step.share in value.shares:
            lines += _told(step, slope if step.share is value.shares[-1] else "gradient so far", place)
    return Entry("\n".join(lines))


def _told(step: Step, name: str, place: int) -> list[str]:
    return [
        f"  step {step.number}, {step.title}",
        *(f"    {line}" for line in derivation(name, step.rows, place) if line),
    ]


def _chosen(values: Sequence[Value], entry: Any) -> tuple[Value, int]:
    """The value that an entry is of, and its place in the flat order."""
    if not isinstance(entry, tuple | list) or len(entry) != 2 or not isinstance(entry[0], str):
        raise TypeError(f'explain: entry is {entry!r}, expected a name and an index, as in ("W", (1, 2))')
    name, index = entry
    value = next((value for value in values if value.name == name), None)
    if value is None:
        known = ", ".join(dict.fromkeys(value.name for value in values))
        raise ValueError(f"explain: entry names {name!r}, and no value of this pass has that name; they are {known}")
    try:
        place = positions(value.array)[tuple(index) if isinstance(index, list) else index]
    except (IndexError, TypeError, ValueError) as error:
        raise IndexError(f"explain: {name} has shape {value.array.shape}, and no entry {index!r}: {error}") from None
    if np.ndim(place):
        count = f"{name}[{index!r}] are {np.size(place)} entries, expected one"
        raise IndexError(f"explain: {count}; {name} has shape {value.array.shape}")
    return value, int(place)


def explanation(found: Trace) -> Explanation:
    """The account of a trace."""
    forward = [_forward(call) for call in found.calls]
    backward = [
        _backward(len(forward) + 1 + k, share, forward[share.call.number - 1].rows, found)
        for k, share in enumerate(found.shares)
    ]
    return Explanation(found, forward + backward)


def _words(call: Call) -> tuple[dict[str, str], dict[str, str]]:
    """What stands for each argument of a call, as text and as LaTeX; an option by its value."""
    words = {name: operand.name for name, operand in call.operands.items()}
    latex = {name: name_in_latex(word) for name, word in words.items()}
    for name, option in call.settings.items():
        words[name] = option if isinstance(option, str) else short(option)
        latex[name] = words[name] if isinstance(option, str | int | float) else rf"\mathrm{{{name}}}"
    latex = {name: word.replace("_", r"\_") if name in call.settings else word for name, word in latex.items()}
    return words, latex


def _forward(call: Call) -> Step:
    result = call.result
    words, latex = _words(call)
    formula = formulas.forward(call, words, latex)
    formula = Formula(f"{result.name} = {formula.text}", f"{name_in_latex(result.name)} = {formula.latex}")
    named = {operand.name: operand for operand in call.operands.values() if operand.kind != "number"}
    shapes = ", ".join(f"{name} {operand.array.shape}" for name, operand in named.items())
    shapes = f"{shapes} → {result.name} {result.array.shape} {result.array.dtype}".removeprefix(" → ")
    inside = inside_forward(call)
    rows = [Row(translate("{name}, as it was here", name=name), array, True) for name, array in call.outdated()]
    rows += [*inside.rows, Row(result.name, result.array, origin=inside.origin or origins.of_value(call))]
    return Step(call.number, "forward", f"{result.name} = {call.text}", formula, shapes, rows, call)


def _backward(number: int, share: Share, forward: list[Row], found: Trace) -> Step:
    call, operand, loss = share.call, share.operand, found.output.name
    words, latex = _words(call)
    text, tex = formulas.rule(call, share.argument, words, latex)
    axes = _repeated(share)
    if axes:
        text, tex = translate("{term}, summed over {axes}", term=text, axes=axes), rf"\sum {tex}"
    sign, sign_in_latex = ("=", "=") if share.before is None else ("+=", "{+}=")
    left = rf"\frac{{\partial {name_in_latex(loss)}}}{{\partial {name_in_latex(operand.name)}}}"
    formula = Formula(f"∂{loss}/∂{operand.name} {sign} {text}", f"{left} {sign_in_latex} {tex}")
    title = translate("gradient of {name}, through step {step} ({operator}, argument {argument})",
                      name=operand.name, step=call.number, operator=call.operator, argument=share.argument)  # fmt: skip
    return Step(number, "backward", title, formula, "", [*_gradient_rows(share, forward, axes)], call, share)


def _gradient_rows(share: Share, forward: list[Row], axes: str) -> Iterator[Row]:
    """From the upstream gradient, by way of what the rule names, to what the operand has by now."""
    value, inside = forward[-1].origin or Origin([]), inside_backward(share, forward)
    yield Row(translate("upstream g"), share.upstream)
    yield from (Row(name, array, True) for name, array in origins.operands_named(share))
    yield from inside.rows
    if share.local is not None:
        yield Row(translate("local"), share.local, origin=inside.local or origins.of_local(share, value))
    by_rule = origins.of_product(share, value) if share.local is not None or not inside.origin else inside.origin
    yield Row(translate("g · local" if share.local is not None else "by the rule"), share.product, origin=by_rule)
    if axes:
        yield Row(
            translate("broadcasting undone: summed over {axes}", axes=axes),
            share.gradient,
            origin=origins.of_gradient(share),
        )
    if share.before is not None:
        before = numbers(share.before) if share.before.size == 1 else translate("gradient")
        yield Row(translate("added to the {before} so far", before=before), share.total, origin=origins.of_total(share))


def _repeated(share: Share) -> str:
    """The axes of the product along which the operand was repeated; of none, nothing."""
    product, shape = share.product.shape, share.gradient.shape
    if product == shape:
        return ""
    ahead = len(product) - len(shape)
    axes = [*range(ahead), *(i + ahead for i, n in enumerate(shape) if n == 1 != product[i + ahead])]
    which = ", ".join(map(str, axes))
    return translate("axis {axes}", axes=which) if len(axes) == 1 else translate("axes {axes}", axes=which)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def gradients(found: Trace) -> list[Row]:
    """What arrived at each leaf that requires grad."""
    return [Row(leaf.name, leaf.gradient) for leaf in found.leaves if leaf.gradient is not None]


def _columns(rows: Sequence[Row]) -> Iterator[str]:
    """Labels in one column, numbers in the next, their further lines below them."""
    width = max((len(row.label) + 2 * row.indent for row in rows), default=0)
    for row in rows:
        label = ("  " if row.indent else "") + row.label
        for line in numbers(row.array).split("\n"):
            yield f"     {label:<{width}}  {line}"
            label = ""


_STYLE = textwrap.dedent("""\
    <style>
    .tg-explain { line-height: 1.4; max-width: 62em; }
    .tg-explain table { border-collapse: collapse; margin: 0.2em 0 0.6em 2em; }
    .tg-explain td { text-align: left; vertical-align: top; padding: 0.1em 1.2em 0.1em 0; border: 0; }
    .tg-explain td:first-child { white-space: nowrap; }
    .tg-explain pre { margin: 0; background: none; color: inherit; font-size: 0.95em; white-space: pre-wrap; }
    .tg-explain h4 { margin: 1em 0 0.3em; }
    .tg-explain p { margin: 0.4em 0 0.1em; }
    .tg-explain .tg-formula { margin-left: 2em; }
    .tg-explain .tg-shapes { margin-left: 2em; opacity: 0.75; }
    .tg-explain p, .tg-explain h4, .tg-explain pre { overflow-wrap: anywhere; }
    @media (max-width: 40em) {
      .tg-explain tr { display: flex; flex-wrap: wrap; }
      .tg-explain td, .tg-explain td:first-child { white-space: normal; }
      .tg-explain table, .tg-explain .tg-formula, .tg-explain .tg-shapes { margin-left: 0; }
    }
    </style>""")


def _step(step: Step) -> str:
    title = html.escape(step.title)
    title = title if step.share else f"<code>{title}</code>"
    return "\n".join([
        f"<p><b>{step.number}</b>&ensp;{title}</p>",
        f'<p class="tg-formula">${html.escape(step.formula.latex)}$</p>',
        f'<p class="tg-shapes">{html.escape(step.shapes)}</p>' if step.shapes else "",
        _table(step.rows),
    ])  # fmt: skip


def _table(rows: Sequence[Row]) -> str:
    cells = "".join(
        f"<tr><td>{'&emsp;' if row.indent else ''}{html.escape(row.label)}</td>"
        f"<td><pre>{html.escape(numbers(row.array))}</pre></td></tr>"
        for row in rows
    )
    return f"<table>{cells}</table>"
