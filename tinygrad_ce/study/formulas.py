r"""The formula of a call and of each of its gradients: one piece of LaTeX, and the plain text that follows from it.

An operator has its formulas beside its rules (``exp.formula("e^{x}")``); where a gradient has none, it is read off the
source of its rule. In a template ⟨x⟩ stands for what was given as the argument x. In LaTeX ``\;`` is the product of
matrices, @ in the text.
"""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tinygrad_ce.engine.primitive import Primitive
from tinygrad_ce.study.trace import Call

RESULT = "the result"  # no argument can have this name


class Formula(NamedTuple):
    """One formula, twice."""

    text: str
    latex: str


def forward(call: Call, words: Mapping[str, str], latex: Mapping[str, str]) -> Formula:
    """What a call computes, with the names of its operands (as text and as LaTeX) in their places."""
    template = _given(call, "") or _applied(call.operator, (f"⟨{name}⟩" for name in words))
    return _filled(template, words, latex)


def rule(call: Call, argument: str, words: Mapping[str, str], latex: Mapping[str, str]) -> Formula:
    """The gradient of one argument: the operator's own formula, or its rule as its source has it."""
    made, family = call.node._primitive, argument.partition("[")[0]
    unknown = rf"\text{{the rule of {made.name} in {argument}}}"
    template = _given(call, family) or _read(made, family) or unknown
    result = call.result.name
    return _filled(template, {RESULT: result, **words}, {RESULT: name_in_latex(result), **latex})


def _given(call: Call, part: str) -> str:
    """The template of a formula that the operator was given: of an argument's gradient or, "", of the value."""
    made = call.node._primitive
    formula = made.formulas.get(part, "")
    if callable(formula):
        formula = formula(*(call.node._arguments[:-1] if made.keeps else call.node._arguments))
    names = {name: f"⟨{name}⟩" for name in made.arguments}
    return _renamed(formula, {"y": f"⟨{RESULT}⟩", **names} if part else names)


def _renamed(latex: str, names: Mapping[str, str]) -> str:
    r"""LaTeX with names replaced, but not in commands and in the words of ``\text`` and ``\mathrm``."""
    longest_first = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    pattern = rf"\\(?:text|mathrm)\{{[^}}]*\}}|\\[A-Za-z]+|(?<![A-Za-z0-9])({longest_first})(?![A-Za-z0-9])"
    return re.sub(pattern, lambda m: names[m[1]] if m[1] else m[0], latex)


def _filled(template: str, words: Mapping[str, str], latex: Mapping[str, str]) -> Formula:
    """A template as text and as LaTeX; a name with an index that gets another, or a power, stands in braces."""

    def in_latex(m: re.Match[str]) -> str:
        name = latex.get(m[1], m[1])
        return f"{{{name}}}" if m[2] and "_" in name else name

    text = re.sub("⟨([^⟩]+)⟩", lambda m: words.get(m[1], m[1]), _as_text(template))
    return Formula(text, re.sub("⟨([^⟩]+)⟩(?=([_^]?))", in_latex, template))


_SYMBOLS = {
    r"\cdot": "·", r"\odot": "·", r"\otimes": "⊗", r"\sum": "Σ", r"\prod": "Π", r"\Phi": "Φ", r"\varphi": "φ",
    r"\sigma": "σ", r"\pi": "π", r"\ge": "≥", r"\le": "≤", r"\ne": "≠", r"\left": "", r"\right": "",
    r"\;": " @ ", r"\,": " ", r"\ ": " ", "-": "−", "*": "∗",
}  # fmt: skip
_DIGITS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SUPERSCRIPTS = {"T": "ᵀ", "2": "²", "3": "³"}


def _as_text(latex: str) -> str:
    """LaTeX as a line of text. Indices of one letter are left out: the sum runs over them."""
    text = re.sub(r"\\[A-Za-z]+|\\[;, ]|[-*]", lambda m: _SYMBOLS.get(m[0], m[0]), latex)
    text = re.sub(r"(?<![\\⟨])_[a-z](?![\w⟩])", "", text)
    text = re.sub(r"\^([T23])", lambda m: _SUPERSCRIPTS[m[1]], text)
    before = ""
    while text != before:  # from the innermost braces outwards
        before = text
        text = re.sub(r"\\(t?)frac\{([^{}]*)\}\{([^{}]*)\}", _fraction, text)
        text = re.sub(r"(\\(?!t?frac)[a-z]+|e\^|\^|_)\{([^{}]*)\}", _braced, text)
        text = re.sub(r"(?<![a-z^_}])\{([^{}]*)\}", r"\1", text)
    return re.sub(" +", " ", re.sub(r"\\([A-Za-z]+|_)", r"\1", text))


def _fraction(m: re.Match[str]) -> str:
    if m[1]:
        return f"{m[2]}/{m[3]}"
    above = f"({m[2]})" if re.search(" [+−] ", _outside(m[2])) else m[2]
    below = f"({m[3]})" if re.search(" [+−·/@] ", _outside(m[3])) else m[3]
    return f"{above} / {below}"


def _braced(m: re.Match[str]) -> str:
    command, inner = m[1], m[2]
    whole = inner if re.fullmatch(r"⟨[^⟩]+⟩|\w+", inner) else f"({inner})"
    written = {"e^": f"exp({inner})", "^": f"^{whole}", "_": f"[{inner}]", r"\sqrt": f"√{whole}", r"\overline": "mean"}
    return written.get(command, inner)


def _outside(text: str) -> str:
    """A text without what stands in brackets."""
    before = ""
    while text != before:
        before, text = text, re.sub(r"\([^()]*\)", "", text)
    return text


def _applied(function: str, arguments: Iterable[str]) -> str:
    return rf"{name_in_latex(function, upright=True)}({', '.join(arguments)})"


def name_in_latex(name: str, upright: bool = False) -> str:
    """A name as LaTeX: one letter in italics, digits behind it as an index, anything else upright."""
    if re.fullmatch(r"\(?-?\d[\d.e+-]*\)?", name):
        return name
    if not upright and (m := re.fullmatch(r"(.+?)([₀-₉]+)", name)):  # a state of a loop
        return f"{name_in_latex(m[1])}_{{{int(m[2].translate(_DIGITS))}}}"
    if not upright and (m := re.fullmatch(r"([A-Za-z])_?(\d*)", name)):
        return f"{m[1]}_{{{m[2]}}}" if m[2] else m[1]
    return rf"\mathrm{{{name.replace('_', chr(92) + '_')}}}"


def _read(made: Primitive, argument: str) -> str:
    """The template of a rule that is one expression; of any other, nothing."""
    node = source(made.vjps.get(argument))
    if node is None:
        return ""
    body: Any = node.body
    if isinstance(node, ast.FunctionDef):
        last = body[-1]
        if len(body) != 1 + (ast.get_docstring(node) is not None) or not isinstance(last, ast.Return) or not last.value:
            return ""
        body = last.value
    given = ["g", f"⟨{RESULT}⟩", *(f"⟨{name}⟩" for name in made.arguments)]
    parameters = _parameters(node)[argument == made.many :]  # without the first, which of *arguments it is
    return _Latex(dict(zip(parameters, given, strict=False))).of(body)


def _parameters(node: ast.Lambda | ast.FunctionDef) -> list[str]:
    star = [node.args.vararg.arg] if node.args.vararg else []
    return [a.arg for a in node.args.args] + star


@functools.lru_cache(maxsize=1024)
def source(rule: Any) -> ast.Lambda | ast.FunctionDef | None:
    """The syntax tree of a function or lambda, if its source can be read."""
    rule = inspect.unwrap(rule) if rule is not None else None  # a user's is under guard
    code = getattr(rule, "__code__", None)
    if code is None:
        return None
    tree = _tree(code.co_filename, "".join(linecache.getlines(code.co_filename)))
    parameters = list(inspect.signature(rule).parameters)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name and node.lineno == code.co_firstlineno:
            return node
        if isinstance(node, ast.Lambda) and _parameters(node) == parameters and _holds(node.body, code):
            return node
    return None


@functools.lru_cache(maxsize=64)
def _tree(filename: str, source: str) -> ast.AST | None:
    try:
        return ast.parse(source)
    except SyntaxError:
        return None


def _holds(body: ast.expr, code: Any) -> bool:
    """Whether a lambda's body is where its code came from."""
    places = {(line, column) for line, _, column, _ in code.co_positions() if line and column}
    start, end = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
    return bool(places) and start in places and all(start <= place <= end for place in places)


_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: r"\cdot", ast.MatMult: r"\;"}
_COMPARISONS = {ast.Gt: ">", ast.Lt: "<", ast.GtE: r"\ge", ast.LtE: r"\le", ast.Eq: "=", ast.NotEq: r"\ne"}


class _Latex:
    """An expression of NumPy as LaTeX, in other names."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def of(self, node: ast.expr, tight: bool = False) -> str:
        """LaTeX of a node; tight puts sums in brackets."""
        match node:
            case ast.Name(id):
                return self.names.get(id, name_in_latex(id))
            case ast.Constant(value):
                return str(value)
            case ast.UnaryOp(ast.USub(), operand):
                return f"-{self.of(operand, True)}"
            case ast.BinOp(left, ast.Div(), right):
                return rf"\frac{{{self.of(left)}}}{{{self.of(right)}}}"
            case ast.BinOp(left, ast.Pow(), right):
                return rf"{self._base(left)}^{{{self.of(right)}}}"
            case ast.BinOp(left, op, right) if type(op) in _OPERATORS:
                loose = isinstance(op, ast.Add | ast.Sub)
                tight_right = not loose or isinstance(op, ast.Sub)
                text = f"{self.of(left, not loose)} {_OPERATORS[type(op)]} {self.of(right, tight_right)}"
                return rf"\left({text}\right)" if tight and loose else text
            case ast.Attribute(value, "T"):
                return f"{self._base(value)}^T"
            case ast.Compare(left, [op], [right]) if type(op) in _COMPARISONS:
                text = f"{self.of(left)} {_COMPARISONS[type(op)]} {self.of(right)}"
                return rf"\left({text}\right)" if tight else text
            case ast.Call(ast.Attribute(ast.Name("np" | "tg"), function) | ast.Name(function), arguments, []):
                return self._function(function, arguments)
        return rf"\mathtt{{{self._code(node)}}}"

    def _code(self, node: ast.expr) -> str:
        """What has no LaTeX of its own as it stands in the source, with the names replaced."""
        code = re.sub(r"\b(np|tg)\.", "", ast.unparse(node)).replace("_", r"\_")
        return re.sub(r"(?<![.\w\\])[A-Za-z]\w*(?![\w\\=])", lambda m: self.names.get(m[0], m[0]), code)

    def _base(self, node: ast.expr) -> str:
        """What a power or a transpose is taken of: in brackets, unless it is one name or number."""
        text = self.of(node)
        return text if isinstance(node, ast.Name | ast.Constant) else rf"{{\left({text}\right)}}"

    def _function(self, function: str, arguments: list[ast.expr]) -> str:
        inner = [self.of(a) for a in arguments]
        match function, inner:
            case "exp", [x]:
                return f"e^{{{x}}}"
            case "sqrt", [x]:
                return rf"\sqrt{{{x}}}"
            case "square", [x]:
                return f"{self._base(arguments[0])}^2"
            case (("sin" | "cos" | "tan" | "tanh" | "log" | "cosh" | "sinh"), [x]):
                return rf"\{function}({x})"
            case "sigmoid", [x]:
                return rf"\sigma({x})"
            case "where", [condition, x, other]:
                return rf"{x} \text{{ where }} {condition}\text{{, else }} {other}"
        return _applied(function, inner)
