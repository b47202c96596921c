"""The formula of each operator, and of each of its derivative rules, as text and as LaTeX."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tinygrad_ce.engine.primitive import Primitive
from tinygrad_ce.study import variants
from tinygrad_ce.study.trace import Call


class Formula(NamedTuple):
    """One formula, twice."""

    text: str
    latex: str


# ⟨a⟩ stands for what was given as the argument a; in a rule, g is the upstream gradient and y the result.
_FORWARD: dict[str, tuple[str, str]] = {
    "abs": ("|⟨x⟩|", r"|⟨x⟩|"),
    "add": ("⟨a⟩ + ⟨b⟩", "⟨a⟩ + ⟨b⟩"),
    "astype": ("⟨x⟩ as ⟨dtype⟩", r"⟨x⟩"),
    "broadcast_to": ("⟨x⟩ repeated to ⟨shape⟩", r"⟨x⟩"),
    "clip": ("⟨x⟩, but within ⟨min⟩ … ⟨max⟩", r"\min(\max(⟨x⟩, ⟨min⟩), ⟨max⟩)"),
    "conv2d": ("⟨x⟩ ∗ ⟨weight⟩ + ⟨bias⟩", r"⟨x⟩ * ⟨weight⟩ + ⟨bias⟩"),
    "cos": ("cos ⟨x⟩", r"\cos ⟨x⟩"),
    "cumsum": ("running sums of ⟨x⟩", r"\textstyle\sum_{j \le i} ⟨x⟩_j"),
    "divide": ("⟨a⟩ / ⟨b⟩", r"\frac{⟨a⟩}{⟨b⟩}"),
    "einsum": ("einsum ⟨subscripts⟩", r"\mathrm{einsum}"),
    "embedding": ("⟨weight⟩[⟨input⟩]", r"⟨weight⟩_{⟨input⟩}"),
    "exp": ("exp ⟨x⟩", r"e^{⟨x⟩}"),
    "expand_dims": ("⟨x⟩ with new axes at ⟨axis⟩", r"⟨x⟩"),
    "expm1": ("exp(⟨x⟩) − 1", r"e^{⟨x⟩} - 1"),
    "flip": ("⟨x⟩ backwards", r"\mathrm{flip}(⟨x⟩)"),
    "fold": ("the patches ⟨x⟩ added up where they overlap", r"\mathrm{fold}(⟨x⟩)"),
    "gelu": ("⟨x⟩ · Φ(⟨x⟩)", r"⟨x⟩\, \Phi(⟨x⟩)"),
    "getitem": ("⟨x⟩[⟨index⟩]", r"⟨x⟩_{⟨index⟩}"),
    "join": ("the arrays one after the other", r"\mathrm{concatenate}"),
    "leaky_relu": ("⟨x⟩ where ⟨x⟩ > 0, else ⟨negative_slope⟩ · ⟨x⟩", r"\max(⟨x⟩, ⟨negative_slope⟩\, ⟨x⟩)"),
    "linear": ("⟨x⟩ ⟨weight⟩ᵀ + ⟨bias⟩", r"⟨x⟩\, ⟨weight⟩^T + ⟨bias⟩"),
    "log": ("log ⟨x⟩", r"\log ⟨x⟩"),
    "log1p": ("log(1 + ⟨x⟩)", r"\log(1 + ⟨x⟩)"),
    "log_softmax": ("⟨x⟩ − log Σ exp ⟨x⟩", r"⟨x⟩ - \log \textstyle\sum_j e^{⟨x⟩_j}"),
    "logsumexp": ("log Σ exp ⟨x⟩", r"\log \textstyle\sum_j e^{⟨x⟩_j}"),
    "mass_minus_softmax": ("⟨g⟩ − softmax(⟨x⟩) Σ ⟨g⟩", r"⟨g⟩ - \mathrm{softmax}(⟨x⟩) \textstyle\sum_j ⟨g⟩_j"),
    "matmul": ("⟨a⟩ @ ⟨b⟩", r"⟨a⟩\, ⟨b⟩"),
    "max": ("the largest of ⟨x⟩", r"\max ⟨x⟩"),
    "max_pool2d": ("the largest of each window of ⟨x⟩", r"\max_{\mathrm{window}} ⟨x⟩"),
    "maximum": ("the larger of ⟨a⟩ and ⟨b⟩", r"\max(⟨a⟩, ⟨b⟩)"),
    "mean": ("the mean of ⟨x⟩", r"\frac{1}{n} \textstyle\sum ⟨x⟩"),
    "min": ("the smallest of ⟨x⟩", r"\min ⟨x⟩"),
    "minimum": ("the smaller of ⟨a⟩ and ⟨b⟩", r"\min(⟨a⟩, ⟨b⟩)"),
    "multiply": ("⟨a⟩ · ⟨b⟩", r"⟨a⟩ \cdot ⟨b⟩"),
    "negative": ("−⟨x⟩", "-⟨x⟩"),
    "normal_cdf": ("Φ(⟨x⟩)", r"\Phi(⟨x⟩)"),
    "pad": ("⟨x⟩ with a border", r"\mathrm{pad}(⟨x⟩)"),
    "power": ("⟨a⟩ ^ ⟨b⟩", r"⟨a⟩^{⟨b⟩}"),
    "prod": ("the product of ⟨x⟩", r"\textstyle\prod ⟨x⟩"),
    "relu": ("max(⟨x⟩, 0)", r"\max(⟨x⟩, 0)"),
    "reshape": ("⟨x⟩ as ⟨shape⟩", r"⟨x⟩"),
    "scatter": ("zeros of ⟨shape⟩, ⟨x⟩ added at ⟨index⟩", r"\mathrm{scatter}(⟨x⟩)"),
    "sigmoid": ("1 / (1 + exp(−⟨x⟩))", r"\frac{1}{1 + e^{-⟨x⟩}}"),
    "silu": ("⟨x⟩ · σ(⟨x⟩)", r"⟨x⟩\, \sigma(⟨x⟩)"),
    "sin": ("sin ⟨x⟩", r"\sin ⟨x⟩"),
    "softmax": ("exp ⟨x⟩ / Σ exp ⟨x⟩", r"\frac{e^{⟨x⟩}}{\sum_j e^{⟨x⟩_j}}"),
    "softplus": ("log(1 + exp ⟨x⟩)", r"\log(1 + e^{⟨x⟩})"),
    "sqrt": ("√⟨x⟩", r"\sqrt{⟨x⟩}"),
    "square": ("⟨x⟩²", r"{⟨x⟩}^2"),
    "squeeze": ("⟨x⟩ without axes of length 1", r"⟨x⟩"),
    "std": ("the standard deviation of ⟨x⟩", r"\sqrt{\mathrm{var}\,⟨x⟩}"),
    "subtract": ("⟨a⟩ − ⟨b⟩", "⟨a⟩ - ⟨b⟩"),
    "sum": ("Σ ⟨x⟩", r"\textstyle\sum ⟨x⟩"),
    "swapaxes": ("⟨x⟩ with axes ⟨axis1⟩ and ⟨axis2⟩ exchanged", r"{⟨x⟩}^T"),
    "take": ("⟨x⟩[⟨indices⟩]", r"⟨x⟩_{⟨indices⟩}"),
    "tanh": ("tanh ⟨x⟩", r"\tanh ⟨x⟩"),
    "transpose": ("⟨x⟩ᵀ", r"{⟨x⟩}^T"),
    "var": ("the variance of ⟨x⟩", r"\mathrm{var}\,⟨x⟩"),
    "unfold": ("the patches of ⟨x⟩", r"\mathrm{unfold}(⟨x⟩)"),
    "where": ("⟨a⟩ where ⟨condition⟩, else ⟨b⟩", r"⟨condition⟩ \,?\, ⟨a⟩ : ⟨b⟩"),
    "xlog1py": ("⟨x⟩ · log(1 + ⟨y⟩)", r"⟨x⟩ \log(1 + ⟨y⟩)"),
    "xlogy": ("⟨x⟩ · log ⟨y⟩", r"⟨x⟩ \log ⟨y⟩"),
}  # fmt: skip

_SOFTMAX = ("⟨y⟩ · (g − Σ g ⟨y⟩)", r"⟨y⟩ \odot \left(g - \textstyle\sum_j g_j\, ⟨y⟩_j\right)")
_SPREAD = ("g, handed to every ⟨x⟩", "g")
_BACK = ("g, in the shape of ⟨x⟩", "g")
_ENTRY = ("g where ⟨x⟩ is ⟨y⟩, in equal parts, else 0", r"g \cdot [⟨x⟩ = ⟨y⟩]")

# Rules that are more than an expression one would read in a book.
_RULES: dict[tuple[str, str], tuple[str, str]] = {
    ("power", "a"): ("g · ⟨b⟩ · ⟨a⟩^(⟨b⟩ − 1)", r"g \cdot ⟨b⟩\, ⟨a⟩^{⟨b⟩ - 1}"),
    ("power", "b"): ("g · ⟨y⟩ · log ⟨a⟩", r"g \cdot ⟨y⟩ \log ⟨a⟩"),
    ("relu", "x"): ("g where ⟨x⟩ > 0, else 0", r"g \cdot [⟨x⟩ > 0]"),
    ("leaky_relu", "x"): (
        "g where ⟨x⟩ > 0, else ⟨negative_slope⟩ · g",
        r"g \cdot ([⟨x⟩ > 0] + ⟨negative_slope⟩ [⟨x⟩ \le 0])",
    ),
    ("gelu", "x"): ("g · (Φ(⟨x⟩) + ⟨x⟩ φ(⟨x⟩))", r"g \cdot \left(\Phi(⟨x⟩) + ⟨x⟩\, \varphi(⟨x⟩)\right)"),
    ("normal_cdf", "x"): ("g · φ(⟨x⟩)", r"g \cdot \varphi(⟨x⟩)"),
    ("sigmoid", "x"): ("g · σ(⟨x⟩) · σ(−⟨x⟩)", r"g \cdot \sigma(⟨x⟩)\, \sigma(-⟨x⟩)"),
    ("softplus", "x"): ("g · σ(⟨x⟩)", r"g \cdot \sigma(⟨x⟩)"),
    ("silu", "x"): ("g · σ(⟨x⟩) · (1 + ⟨x⟩ σ(−⟨x⟩))", r"g \cdot \sigma(⟨x⟩)\,(1 + ⟨x⟩\, \sigma(-⟨x⟩))"),
    ("maximum", "a"): ("g where ⟨a⟩ > ⟨b⟩, g / 2 in a tie, else 0", r"g \cdot [⟨a⟩ > ⟨b⟩]"),
    ("maximum", "b"): ("g where ⟨b⟩ > ⟨a⟩, g / 2 in a tie, else 0", r"g \cdot [⟨b⟩ > ⟨a⟩]"),
    ("minimum", "a"): ("g where ⟨a⟩ < ⟨b⟩, g / 2 in a tie, else 0", r"g \cdot [⟨a⟩ < ⟨b⟩]"),
    ("minimum", "b"): ("g where ⟨b⟩ < ⟨a⟩, g / 2 in a tie, else 0", r"g \cdot [⟨b⟩ < ⟨a⟩]"),
    ("clip", "x"): ("g where ⟨x⟩ is within the bounds, else 0", r"g \cdot [⟨min⟩ \le ⟨x⟩ \le ⟨max⟩]"),
    ("where", "a"): ("g where ⟨condition⟩, else 0", r"g \cdot [⟨condition⟩]"),
    ("where", "b"): ("0 where ⟨condition⟩, else g", r"g \cdot [\lnot ⟨condition⟩]"),
    ("xlogy", "x"): ("g · log ⟨y⟩", r"g \log ⟨y⟩"),
    ("xlogy", "y"): ("g · ⟨x⟩ / ⟨y⟩, and 0 where ⟨x⟩ is 0", r"g\, \frac{⟨x⟩}{⟨y⟩}"),
    ("xlog1py", "x"): ("g · log(1 + ⟨y⟩)", r"g \log(1 + ⟨y⟩)"),
    ("xlog1py", "y"): ("g · ⟨x⟩ / (1 + ⟨y⟩), and 0 where ⟨x⟩ is 0", r"g\, \frac{⟨x⟩}{1 + ⟨y⟩}"),
    ("matmul", "a"): ("g @ ⟨b⟩ᵀ", r"g\, {⟨b⟩}^T"),
    ("matmul", "b"): ("⟨a⟩ᵀ @ g", r"{⟨a⟩}^T g"),
    ("linear", "x"): ("g @ ⟨weight⟩", r"g\, ⟨weight⟩"),
    ("linear", "weight"): ("gᵀ @ ⟨x⟩", r"g^T ⟨x⟩"),
    ("linear", "bias"): ("g summed over the rows", r"\textstyle\sum_n g_n"),
    ("einsum", "operands"): ("einsum of g with the other operands", r"\mathrm{einsum}(g, \ldots)"),
    ("sum", "x"): _SPREAD,
    ("mean", "x"): ("g / n, handed to every ⟨x⟩", r"\frac{g}{n}"),
    ("prod", "x"): ("g · the product of the others", r"g \prod_{k \ne i} ⟨x⟩_k"),
    ("max", "x"): _ENTRY,
    ("min", "x"): _ENTRY,
    ("var", "x"): ("g · 2 (⟨x⟩ − mean) / n", r"g \cdot \frac{2}{n} (⟨x⟩ - \overline{⟨x⟩})"),
    ("std", "x"): ("g · (⟨x⟩ − mean) / (n ⟨y⟩)", r"g \cdot \frac{⟨x⟩ - \overline{⟨x⟩}}{n\, ⟨y⟩}"),
    ("cumsum", "x"): ("running sums of g from the end", r"\textstyle\sum_{j \ge i} g_j"),
    ("logsumexp", "x"): ("g · softmax(⟨x⟩)", r"g \cdot \mathrm{softmax}(⟨x⟩)"),
    ("softmax", "x"): _SOFTMAX,
    ("log_softmax", "x"): ("g − softmax(⟨x⟩) Σ g", r"g - \mathrm{softmax}(⟨x⟩) \textstyle\sum_j g_j"),
    ("mass_minus_softmax", "g"): ("g − Σ g p", r"g - \textstyle\sum_j g_j p_j"),
    ("mass_minus_softmax", "x"): (
        "−Σ⟨g⟩ · p · (g − Σ g p)",
        r"-\textstyle\sum ⟨g⟩ \cdot p \odot (g - \textstyle\sum_j g_j p_j)",
    ),
    ("reshape", "x"): _BACK,
    ("squeeze", "x"): _BACK,
    ("expand_dims", "x"): _BACK,
    ("astype", "x"): ("g, in the dtype of ⟨x⟩", "g"),
    ("broadcast_to", "x"): ("g, summed where ⟨x⟩ was repeated", "g"),
    ("transpose", "x"): ("gᵀ", "g^T"),
    ("swapaxes", "x"): ("g with the axes changed back", "g^T"),
    ("join", "arrays"): ("this array's piece of g", r"g_{\mathrm{piece}}"),
    ("pad", "x"): ("g without the border", r"g_{\mathrm{inside}}"),
    ("flip", "x"): ("g backwards", r"\mathrm{flip}(g)"),
    ("take", "x"): ("g added at ⟨indices⟩, else 0", r"\mathrm{scatter}(g)"),
    ("getitem", "x"): ("g added at [⟨index⟩], else 0", r"\mathrm{scatter}(g)"),
    ("scatter", "x"): ("g[⟨index⟩]", r"g_{⟨index⟩}"),
    ("embedding", "weight"): ("g added at the rows ⟨input⟩, else 0", r"\mathrm{scatter}(g)"),
    ("conv2d", "x"): ("g spread back through ⟨weight⟩ (a convolution)", r"g * \mathrm{flip}(⟨weight⟩)"),
    ("conv2d", "weight"): ("⟨x⟩'s patches times g", r"⟨x⟩ * g"),
    ("conv2d", "bias"): ("g summed over rows and places", r"\textstyle\sum g"),
    ("unfold", "x"): ("g added back where the patches overlap", r"\mathrm{fold}(g)"),
    ("fold", "x"): ("the patches of g", r"\mathrm{unfold}(g)"),
    ("max_pool2d", "x"): ("g at the largest of each window, else 0", r"g \cdot [⟨x⟩ = ⟨y⟩]"),
}  # fmt: skip


def forward(call: Call, words: Mapping[str, str], latex: Mapping[str, str]) -> Formula:
    """What a call computes, with the names of its operands (as text and as LaTeX) in their places."""
    known = call.is_known and (variants.of(call).get("") or _FORWARD.get(call.operator))
    if not known:
        return Formula(f"{call.operator}({', '.join(words.values())})", _call_in_latex(call.operator, latex.values()))
    text, tex = known
    if words.get("bias") == "None":
        text, tex = (part.replace(" + ⟨bias⟩", "") for part in (text, tex))
    return Formula(_fill(text, words), _fill(tex, latex))


def rule(call: Call, argument: str, words: Mapping[str, str], latex: Mapping[str, str]) -> Formula:
    """The gradient of one argument, by its rule: from the tables, or read off the rule's own source."""
    made, family = call.node._primitive, argument.partition("[")[0]
    known = call.is_known and (variants.of(call).get(family) or _RULES.get((made.name, family)))
    if known:
        return Formula(_fill(known[0], words), _fill(known[1], latex))
    found = _expression(made, family)
    if found is None:
        return Formula(f"the rule of {made.name} in {argument}", rf"\mathrm{{rule}}_{{{name_in_latex(argument)}}}(g)")
    expression, parameters = found
    if made.arguments.index(family) == made.variadic:
        parameters = parameters[1:]  # the first tells which of *arguments it is
    given = ["g", words.get("y", "y"), *(words.get(name, name) for name in made.arguments)]
    tex = ["g", latex.get("y", "y"), *(latex.get(name, name) for name in made.arguments)]
    text = _Text(dict(zip(parameters, given, strict=False))).of(expression)
    return Formula(text, _Latex(dict(zip(parameters, tex, strict=False))).of(expression))


def _fill(template: str, words: Mapping[str, str]) -> str:
    return re.sub("⟨(\\w+)⟩", lambda m: words.get(m[1], m[1]), template)


def _call_in_latex(operator: str, operands: Any) -> str:
    return rf"\mathrm{{{operator.replace('_', chr(92) + '_')}}}({', '.join(operands)})"


def name_in_latex(name: str) -> str:
    """A name as LaTeX: one letter in italics, digits behind it as an index, anything else upright."""
    if re.fullmatch(r"\(?-?\d[\d.e+-]*\)?", name):
        return name
    if m := re.fullmatch(r"([A-Za-z])_?(\d*)", name):
        return f"{m[1]}_{{{m[2]}}}" if m[2] else m[1]
    return rf"\mathrm{{{name.replace('_', chr(92) + '_')}}}"


def _expression(made: Primitive, argument: str) -> tuple[ast.expr, list[str]] | None:
    """A rule that is one expression: its syntax tree and the names of its parameters."""
    node = source(made.vjps.get(argument))
    if isinstance(node, ast.Lambda):
        return node.body, _parameters(node)
    if isinstance(node, ast.FunctionDef) and len(node.body) == 1 + (ast.get_docstring(node) is not None):
        last = node.body[-1]
        return (last.value, _parameters(node)) if isinstance(last, ast.Return) and last.value else None
    return None


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


class _Text:
    """An expression as one writes it, in other names: NumPy's functions without np, a dot for the product."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def of(self, node: ast.expr) -> str:
        renamed = ast.unparse(_Renamed(self.names).visit(ast.parse(ast.unparse(node), mode="eval")).body)
        text = renamed.replace("np.", "").replace(" ** ", "^").replace(" * ", " · ").replace("-", "−")
        return re.sub(r"\b_q([0-9a-f]+)q_\b", lambda m: bytes.fromhex(m[1]).decode(), text)


class _Renamed(ast.NodeTransformer):
    """Names replaced; a name that is no identifier (a number, model.0.weight) travels in hexadecimal digits."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        given = self.names.get(node.id)
        return node if given is None else ast.Name(f"_q{given.encode().hex()}q_", node.ctx)


_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: r"\cdot", ast.MatMult: r"\,"}
_COMPARISONS = {ast.Gt: ">", ast.Lt: "<", ast.GtE: r"\ge", ast.LtE: r"\le", ast.Eq: "=", ast.NotEq: r"\ne"}


class _Latex:
    """An expression of NumPy as LaTeX."""

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
                return rf"{{{self._base(left)}}}^{{{self.of(right)}}}"
            case ast.BinOp(left, op, right) if type(op) in _OPERATORS:
                loose = isinstance(op, ast.Add | ast.Sub)
                tight_right = not loose or isinstance(op, ast.Sub)
                text = f"{self.of(left, not loose)} {_OPERATORS[type(op)]} {self.of(right, tight_right)}"
                return rf"\left({text}\right)" if tight and loose else text
            case ast.Attribute(value, "T"):
                return f"{{{self._base(value)}}}^T"
            case ast.Compare(left, [op], [right]) if type(op) in _COMPARISONS:
                return f"[{self.of(left)} {_COMPARISONS[type(op)]} {self.of(right)}]"
            case ast.Call(ast.Attribute(ast.Name("np" | "tg"), function), arguments):
                return self._function(function, arguments)
            case ast.Call(ast.Name(function), arguments):
                return self._function(function, arguments)
        return rf"\mathtt{{{ast.unparse(node).replace('_', chr(92) + '_')}}}"

    def _base(self, node: ast.expr) -> str:
        """What a power or a transpose is taken of: in brackets, unless it is one name or number."""
        text = self.of(node)
        return text if isinstance(node, ast.Name | ast.Constant) else rf"\left({text}\right)"

    def _function(self, function: str, arguments: list[ast.expr]) -> str:
        inner = [self.of(a) for a in arguments]
        match function, inner:
            case "exp", [x]:
                return f"e^{{{x}}}"
            case "sqrt", [x]:
                return rf"\sqrt{{{x}}}"
            case "square", [x]:
                return f"{{{self._base(arguments[0])}}}^2"
            case (("sin" | "cos" | "tan" | "tanh" | "log" | "cosh" | "sinh"), [x]):
                return rf"\{function}({x})"
        return _call_in_latex(function, inner)
