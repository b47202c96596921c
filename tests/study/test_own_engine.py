"""check_engine: a right engine stands, each planted fault is found by name, and nothing that an engine does escapes."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import types

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.cli import main
from tinygrad_ce.docs import build_engine
from tinygrad_ce.study.engine import limit

COURSE = pathlib.Path(__file__).parents[2] / "notebooks"


def course_engine():
    """The engine of the course's last notebook: what is given there, and the solutions."""
    cells = json.loads((COURSE / "16_your_own_engine.ipynb").read_text("utf-8"))["cells"]
    parts = ["import numpy as np"]
    for cell in cells:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code" and text.startswith("# Milestone"):
            parts.append("\n".join(line for line in text.split("\n") if not line.startswith("study.")))
        elif text.startswith("<details><summary>Solution</summary>"):
            parts += re.findall(r"^```python\n(.*?)^```", text, re.S | re.M)
    return "\n\n".join(parts)


ENGINE = course_engine()


def engine(*changes):
    """The course's engine with some of its text changed."""
    text = ENGINE
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    module = types.ModuleType("theirs")
    exec(text, module.__dict__)
    return module


def checked(theirs, **options):
    return tg.study.check_engine(theirs, **{"seconds": 5.0} | options)


WALK = "for value in reversed(order):"
RECEIVE = "self.grad = self.grad + unbroadcast(g, self.data.shape)"
BREADTH = """
    found = [output]
    for value in found:
        for operand, _ in value.made_of:
            if not any(operand is other for other in found):
                found.append(operand)
    for value in found:"""
DEPTH = """
    found, stack = [], [output]
    while stack:
        value = stack.pop()
        if not any(value is other for other in found):
            found.append(value)
            stack += [operand for operand, _ in value.made_of]
    for value in found:"""
TWICE = """
    found = [output]
    for value in found:
        found += [operand for operand, _ in value.made_of]
    for value in found:"""
RESET = "            value.grad = np.zeros(value.data.shape)\n"
ALIAS = """
    if np.any(self.grad):
        self.grad += g
    else:
        self.grad = g
"""
UNBROADCAST = "def unbroadcast(g, shape):\n    g = "
FIRST = "g = np.sum(g, axis=tuple(range(np.ndim(g) - len(shape))))"
SECOND = "    return np.sum(g, axis=tuple(i for"
DIVIDE = "a * tensor(b) ** -1.0"
MEAN = "return y * (y.data.size / a.data.size)"
SOFTMAX = "p * (g - (g * p).sum(axis=-1, keepdims=True))"
SHIFTED = "    e = np.exp(x.data - x.data.max(axis=-1, keepdims=True))\n"
LOSSES = "losses = np.where(own > 0.5, np.log1p(others / own), np.log(whole) - shifted[rows, labels])"
LABEL = "slope[rows, labels] = -others / whole"
SLOPE = "g * slope / len(labels)"
STEP = "p.data = p.data - self.lr * p.grad"
BATCH = "cross_entropy of a batch"


def quotient(of_b):
    return f"Tensor(a.data / b.data, [(a, lambda g: g / b.data), (b, lambda g: {of_b})])"


def losses(otherwise):
    return f"losses = np.where(own > 0.5, np.log1p(others / own), {otherwise})"


def means(rule):
    return f"return Tensor(a.data.mean(axis=axis, keepdims=keepdims), [(a, {rule})])"


# What is changed, and the operator and the cause that are found.
FAULTS = {
    # the reverse pass
    "breadth first": ("shared values", "no topological order", (WALK, BREADTH)),
    "depth first": ("shared values", "no topological order", (WALK, DEPTH)),
    "oldest first": (r"\(a \* b\) \* c", "begin at the output", (WALK, "for value in order:")),
    "visited twice": ("shared values", "no topological order", (WALK, TWICE)),
    "every path": ("60 doublings", "no topological order: the reverse pass goes along every path",
                   ("\nTensor.backward = backward", "\n")),
    "= for +=": (r"a \* a", r"= in the place of \+=", (RECEIVE, "self.grad = unbroadcast(g, self.data.shape)")),
    "backward twice": ("backward twice", "backward twice accumulates", (RESET, "            pass\n")),
    "aliased gradients": ("one array, two gradients", "two gradients are one array", (RECEIVE, ALIAS),
                          (ALIAS, "\n    g = unbroadcast(g, self.data.shape)" + ALIAS),
                          (UNBROADCAST,
                          "def unbroadcast(g, shape):\n    if np.shape(g) == shape:\n        return g\n    g = ")),
    "g in place": (r"a \* b", "an in-place write",
        ("(a, lambda g: g * b.data), (b,", "(a, lambda g: times(g, b.data)), (b,"),
                   ("def multiply(a, b):", "def times(g, b):\n    g *= b\n    return g\n\n\ndef multiply(a, b):")),
    "operand in place": (r"a \+ b", "an in-place write",
                         ("return Tensor(a.data + b.data, [", "a.data += b.data\n    return Tensor(a.data, [")),
    # rules
    "product": (r"a \* b", "the gradient in a is g · b", ("(a, lambda g: g * b.data)", "(a, lambda g: g * a.data)")),
    "g forgotten": ("exp", "g, the gradient that arrives, isn't multiplied in", ("lambda g: g * y)", "lambda g: y)")),
    "an operand forgotten": (r"a \+ b", "the rule gives 0|no gradient has come",
        ("[(a, lambda g: g), (b, lambda g: g)]",
        "[(a, lambda g: g)]")),
    "a twice as large rule": ("exp", "2 times too large", ("lambda g: g * y)", "lambda g: 2 * g * y)")),
    "difference": (r"a - b", "the sign",
        ("a + -tensor(b)", "Tensor(a.data - b.data, [(a, lambda g: g), (b, lambda g: g)])")),
    "negation": ("-a", "the sign", ("a * -1.0", "a * 1.0")),
    "division's sign": ("a / b", "the sign: the gradient in b is −g · a / b²",
        (DIVIDE, quotient("g * a.data / b.data**2"))),
    "division's square": ("a / b", "the square", (DIVIDE, quotient("-g * a.data / b.data"))),
    "division's factor": ("a / b", "the factor a", (DIVIDE, quotient("-g / b.data**2"))),
    "power's exponent": (r"a \*\* 3", "the exponent goes down by 1", ("a.data ** (n - 1)", "a.data**n")),
    "power's factor": (r"a \*\* 3", "the factor n", ("g * n * a.data", "g * a.data")),
    "exp": ("exp", "exp is its own derivative", ("lambda g: g * y)", "lambda g: g * a.data)")),
    "log": ("log", "1 / a", ("g / a.data", "g * a.data")),
    "log10": ("log", "another base", ("np.log(a.data)", "np.log10(a.data)")),
    "tanh": ("tanh", "the square", ("(1 - y * y)", "(1 - y)")),
    "tanh of x": ("tanh", "not a itself", ("(1 - y * y)", "(1 - a.data**2)")),
    "relu's mask": (r"relu at 1\.5", "g passes where a > 0", ("(a.data > 0)", "(a.data < 0)")),
    "relu at 0": ("relu at 0", "at the kink", ("(a.data > 0)", "(a.data >= 0)")),
    "relu's value": ("relu", "the sign", ("np.maximum(a.data, 0)", "np.minimum(a.data, 0)")),
    "number - a": ("1 - a", "other − self", ("tensor(b) + -a", "a + -tensor(b)")),
    "number / a": ("1 / a", "other / self", ("tensor(b) * a**-1.0", "a * tensor(b)**-1.0")),
    # arrays
    "no unbroadcast": (r"a \+ b of \(2, 3\) and \(3,\)", "no unbroadcast", (RECEIVE, "self.grad = self.grad + g")),
    "no unbroadcast, an error": (r"a \+ b of \(2, 3\) and \(3,\)", "no unbroadcast", (RECEIVE, "self.grad += g")),
    "unbroadcast of whole axes alone": (r"a \+ b of \(2, 1\) and \(2, 3\)", "no unbroadcast",
        (SECOND, f"    return g\n{SECOND}")),
    "unbroadcast by means": (r"a \+ b of \(2, 3\) and \(3,\)", r"0\.5 times", (FIRST, FIRST.replace("sum", "mean"))),
    "sum's axis": (r"sum\(axis=0\)", "wrong axis", ("np.expand_dims(g, axis)", "np.expand_dims(g, 1 - axis)")),
    "sum's axis forgotten": (r"sum\(axis=1\)", "wrong axis", ("g = np.expand_dims(g, axis)", "pass")),
    "sum over all": (r"sum\(axis=0\)", "another axis|keepdims",
        ("a.data.sum(axis=axis, keepdims=keepdims)", "a.data.sum()")),
    "mean's 1/N": ("mean", "mean's 1/N is missing", (MEAN, means("lambda g: y.made_of[0][1](np.asarray(g))"))),
    "mean's N": (r"mean\(axis=0\)", "not of those along the axis",
        (MEAN, means("lambda g: y.made_of[0][1](g) / a.data.size"))),
    "float32": ("Tensor", "wrong dtype: half of its digits", ("dtype=float)", "dtype=np.float32)")),
    "whole numbers": ("Tensor", "wrong dtype: .* whole numbers", ("np.array(data, dtype=float)", "np.array(data)"),
                      (RECEIVE, RECEIVE.replace("self.grad + unb", "self.grad + (unb") + ").astype(self.data.dtype)")),
    "float32 in an operator": ("exp", "float32 in between",
        ("y = np.exp(a.data)", "y = np.float64(np.exp(np.float32(a.data)))")),
    # products
    "matmul's b": (r"a @ b of \(3, 3\)", "matmul transposed", ("g @ b.data.T", "g @ b.data")),
    "matmul's a": (r"a @ b of \(3, 3\)", "matmul transposed", ("a.data.T @ g", "a.data @ g")),
    "matmul's order": (r"a @ b of \(3, 3\)", "matmul transposed", ("a.data.T @ g", "g @ a.data.T")),
    # classes
    "softmax without shift": (r"softmax of \[1000, 998\]", "without its shift", (SHIFTED, "    e = np.exp(x.data)\n")),
    "softmax's axis": ("softmax", "another axis",
        ("e / e.sum(axis=-1, keepdims=True)", "e / e.sum(axis=0, keepdims=True)")),
    "p (1 - p)": ("softmax", "the elementwise trap", (SOFTMAX, "g * p * (1 - p)")),
    "softmax's row sum": ("softmax", "the row's sum is missing", (SOFTMAX, "g * p")),
    "a loss that reads 0": (r"cross_entropy\(\[0, -40\], 0\)", "the loss reads 0",
                            (LOSSES, "losses = np.log(whole) - shifted[rows, labels]")),
    "p - 1 cancels": (r"cross_entropy\(\[0, -40\], 0\)", "p − 1 cancels",
        (LABEL, "slope[rows, labels] = own / whole - 1")),
    "log of 0": (r"cross_entropy\(\[0, -800\], 1\)", "has become 0", (LOSSES, losses("-np.log(own / whole)"))),
    "clipped": (r"cross_entropy\(\[0, -800\], 1\)", "clipped",
        (LOSSES, losses("-np.log(np.maximum(own / whole, 1e-7))"))),
    "log-sum-exp": (r"cross_entropy\(\[0, -40\], 0\)", "the loss reads 0",
                    (LOSSES, "losses = np.log(whole) + x.data.max(axis=1) - x.data[rows, labels]")),
    "0 times inf": (r"cross_entropy\(\[0, 1, -inf\], 1\)", r"0 · inf is nan",
                    (LOSSES, LOSSES + " - 0 * shifted.sum(axis=1)")),
    "no shift in the loss": ("cross_entropy", "without its shift",
        ("x.data - x.data.max(axis=1, keepdims=True)", "x.data")),
    "batch mean missing": (BATCH, "batch mean missing", ("losses.mean()", "losses.sum()"), (SLOPE, "g * slope")),
    "batch mean missing in the rule": (BATCH, "batch mean missing", (SLOPE, "g * slope")),
    "labels of all rows": (BATCH, "label gather", (LOSSES, "losses = np.log(whole)[:, None] - shifted[:, labels]")),
    "labels as rows": (BATCH, "label gather", (LOSSES, "losses = np.log(whole)[labels][:, None] - shifted[labels]"),
                       ("e[rows, labels] = 0.0\n    others = e.sum(axis=1)\n    whole = others + own",
                       "others, whole = e.sum(axis=1) - own, e.sum(axis=1)")),
    "labels of all rows in the rule": (BATCH, "label gather",
        (LABEL, "slope[rows, labels] = own / whole\n        slope[:, labels] -= 1")),
    "the loss's sign": (BATCH, "the sign", ("Tensor(losses.mean()", "Tensor(-losses.mean()")),
    "onehot - p": (BATCH, "the sign", (SLOPE, f"-{SLOPE}")),
    "onehot missing": (BATCH, "the onehot is missing", (LABEL, "slope[rows, labels] = own / whole")),
    "softmax twice": (BATCH, "softmax twice",
        ("shifted = x.data - x.data.max(axis=1, keepdims=True)", "shifted = softmax(x).data")),
    "g in the loss": (BATCH, "isn't multiplied in", (SLOPE, "slope / len(labels)")),
    # layers and steps
    "step's sign": ("SGD.step", "the sign", (STEP, STEP.replace(" - ", " + "))),
    "step without lr": ("SGD.step", "learning rate", (STEP, "p.data = p.data - p.grad")),
    "step from 0": ("SGD.step", "where it starts", (STEP, "p.data = -self.lr * p.grad")),
    "nothing moves": ("SGD.step", "nothing has moved", (STEP, STEP.replace("p.data =", "new ="))),
    "zero_grad": ("SGD.zero_grad", "doesn't clear",
        ("            p.grad = np.zeros(p.data.shape)", "            pass")),
    "copies for parameters": ("Linear", "very Tensors", ("found += [part] if", "found += [Tensor(part.data)] if")),
    "no bias": ("Linear", "the layer's weight and its bias",
        ("        self.bias = Tensor(np.zeros(outputs))", "        self.bias = np.zeros(outputs)")),
    "no step": ("train", "no better than guessing", ("optimizer.step()", "pass")),
    "labels of other rows": ("train", "no better than guessing",
        ("labels[rows])\n            opt", "rng.permutation(labels)[rows])\n            opt")),
    "a high rate": ("train", "no better than guessing|has begun|learning rate too high",
        ("parameters(), 0.2)", "parameters(), 1e9)")),
}  # fmt: skip


def test_a_right_engine_stands_and_is_put_beside_this_one():
    report = checked(engine())
    assert report, str(report)
    assert report.standing == tuple(range(1, 8))
    assert not report.findings
    assert not report.optional
    head, yours, ours = str(report).split("\n")[-3:]
    assert head.split() == ["lines", "accuracy", "on", "digits", "seconds"]
    for row, who, least, most in ((yours, "yours", 100, 160), (ours, "tinygrad_ce", 2000, 9000)):
        name, lines, accuracy, seconds = row.split()
        assert name == who
        assert least <= int(lines.replace(",", "")) <= most
        assert 0.95 <= float(accuracy) <= 1
        assert float(seconds) > 0


def test_where_no_thread_starts_it_checks_without_a_limit(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", start)
    assert checked(tg).standing == (1, 2, 3, 4, 5)
    assert limit.within(1, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        limit.within(1, lambda: 1 / 0)


def test_this_package_passes_its_own_check():
    report = checked(tg)
    assert report.standing == (1, 2, 3, 4, 5)
    assert not report.findings


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_by_name(name):
    what, cause, *changes = FAULTS[name]
    report = checked(engine(*changes), seconds=1.0 if name == "every path" else 5.0)
    assert not report
    first = report.findings[0]
    assert re.search(what, first.what), report
    assert re.search(cause, first.cause), report
    assert len({finding.what for finding in report.findings}) <= 3, report  # what follows from it isn't told


# Engines of other kinds


class Closures:
    """An engine as many are: a closure for each result, a recursion for the order, gradients that start at None."""

    def __init__(self, data, requires_grad=False, children=()):
        self.data, self.grad, self.children, self.hand_on = np.asarray(data, float), None, children, lambda: None
        self.requires_grad = requires_grad

    def take(self, g):
        while g.ndim > self.data.ndim:
            g = g.sum(axis=0)
        for axis, n in enumerate(self.data.shape):
            g = g.sum(axis=axis, keepdims=True) if n == 1 else g
        self.grad = g if self.grad is None else self.grad + g

    def made(self, data, *pairs):
        out = Closures(data, children=[child for child, _ in pairs])
        out.hand_on = lambda: [child.take(np.asarray(rule(out.grad))) for child, rule in pairs]
        return out

    def __add__(self, other):
        return self.made(self.data + other.data, (self, lambda g: g), (other, lambda g: g))

    def __mul__(self, other):
        return self.made(self.data * other.data, (self, lambda g: g * other.data), (other, lambda g: g * self.data))

    def __neg__(self):
        return self.made(-self.data, (self, lambda g: -g))

    def __sub__(self, other):
        return self + -other

    def __pow__(self, n):
        return self.made(self.data**n, (self, lambda g: g * n * self.data ** (n - 1)))

    def __truediv__(self, other):
        return self * other**-1

    def exp(self):
        return self.made(np.exp(self.data), (self, lambda g: g * np.exp(self.data)))

    def sum(self):
        return self.made(self.data.sum(), (self, lambda g: np.full(self.data.shape, g)))

    def backward(self):
        order, seen = [], set()

        def visit(value):
            if id(value) not in seen:
                seen.add(id(value))
                for child in value.children:
                    visit(child)
                order.append(value)

        visit(self)
        for value in order:
            value.grad = None if value.children else value.grad
        self.grad = np.ones(self.data.shape)
        for value in reversed(order):
            value.hand_on()


@pytest.mark.parametrize("form", [
    lambda: Closures, lambda: {"Value": Closures}, lambda: types.SimpleNamespace(Tensor=Closures),
], ids=["class", "dict", "namespace"])  # fmt: skip
def test_an_engine_of_another_kind_stands_as_far_as_it_goes(form, capsys):
    report = checked(form())
    assert report.standing == (1, 2, 3)
    assert not report.findings
    assert not report
    said = capsys.readouterr().out
    assert said == f"{report}\n"
    assert "… 4 matmul                    not answered yet: @" in said
    assert "not there, and not needed: " in said


def test_a_graph_that_is_used_up_may_say_so():
    once = engine(("    order = oldest_first(output)\n", """    order = oldest_first(output)
    if getattr(output, "used", False):
        raise RuntimeError("the graph is used up")
    output.used = True
"""))  # fmt: skip
    assert checked(once, milestone=2)


# What goes wrong


def doing(**methods):
    """An engine that does something else in some of its methods."""
    theirs = engine()
    for name, method in methods.items():
        if name in vars(theirs.Tensor):
            setattr(theirs.Tensor, name, method)
        else:
            setattr(theirs, name, method)
    return theirs


def endless(*given):
    while True:
        with contextlib.suppress(Exception):
            sum(range(100))


def deeper(*given):
    return deeper(*given)


class Odd:
    """Has .data that is no number."""

    data = "words"


@pytest.mark.parametrize(("methods", "found"), [
    ({"exp": lambda a: 1 / 0}, "exp: raises ZeroDivisionError: division by zero (line "),
    ({"exp": endless}, "exp: isn't done after 0.5 s"),
    ({"exp": deeper}, "exp: raises RecursionError: maximum recursion depth exceeded"),
    ({"exp": lambda a: a.nowhere}, "exp: raises AttributeError: 'Tensor' object has no attribute 'nowhere'"),
    ({"exp": lambda a: np.exp(a.data)}, "exp: exp gave a float64, expected a Tensor"),
    ({"exp": lambda a: "text"}, "exp: exp gave a str, expected a Tensor"),
    ({"exp": lambda a: Odd()}, "exp: exp gave a Odd, expected a Tensor"),
    ({"exp": lambda a: exit(3)}, "exp: raises SystemExit: 3"),
    ({"softmax": lambda x: x * np.nan}, "softmax: the value, index [0, 0], is nan, expected 0.17654206"),
    ({"softmax": lambda x: x.sum()}, "softmax: the value has shape (), expected (3, 3)"),
    ({"backward": endless}, "a * b: isn't done after 0.5 s"),
    ({"backward": lambda output: None}, "a * b: the gradient in a is 0, expected -3"),
    ({"__init__": lambda self, data: 1 / 0}, "a * b: raises ZeroDivisionError"),
    ({"__init__": lambda self, data: setattr(self, "data", "words")}, "a * b: .data is a str, expected numbers"),
    ({"__init__": lambda self, data: None}, "a * b: raises AttributeError: 'Tensor' object has no attribute 'data'"),
    ({"train": lambda x, y: (lambda rows: rows)},
        "digits: the model gave shape (359, 64) for 359 rows, expected (359, 10)"),
    ({"train": lambda x, y: 3}, "digits: raises TypeError: 'int' object is not callable"),
])  # fmt: skip
def test_what_raises_never_ends_or_is_nonsense_is_a_finding(methods, found):
    report = checked(doing(**methods), seconds=0.5)
    assert not report
    assert str(report.findings[0]).startswith(found), report


def test_what_an_engine_swallows_still_ends():
    def swallows(a):
        while True:
            try:
                endless()
            except BaseException:
                return a

    report = checked(doing(exp=swallows), seconds=0.5)
    assert "exp: isn't done" in str(report)


@pytest.mark.parametrize("gone", [..., None, NotImplemented])
def test_what_is_not_there_is_no_fault(gone):
    theirs = engine(("return ", "return ... if True else "))
    assert checked(theirs).standing == ()
    assert not checked(theirs).findings
    report = checked(doing(softmax=gone if gone is ... else lambda x: gone), milestone=5)
    assert report.missing == {5: ["softmax"]}
    assert not report.findings
    assert str(report) == "… milestone 5, softmax and cross-entropy: not answered yet: softmax"
    assert checked({}).missing[1] == ["Tensor"]


@pytest.mark.parametrize("theirs", [42, None, "my_engine.py", [1]])
def test_what_holds_no_engine_is_refused(theirs):
    with pytest.raises(TypeError, match=r"check_engine: the engine is .*, expected a module, a dict"):
        tg.study.check_engine(theirs)


@pytest.mark.parametrize("milestone", [0, 8, "1", 1.5])
def test_a_milestone_that_there_is_not_is_refused(milestone):
    with pytest.raises(ValueError, match=rf"check_engine: milestone is {milestone!r}, expected a number from 1 to 7"):
        tg.study.check_engine({}, milestone=milestone)


def test_ctrl_c_stops_the_check_itself(monkeypatch):
    import _thread

    with pytest.raises(KeyboardInterrupt):
        checked(doing(exp=lambda a: (_thread.interrupt_main(), endless())), seconds=20.0)


# Plain files


def test_build_writes_a_skeleton_and_a_test_for_each_milestone_and_no_work_is_lost(tmp_path, capsys):
    folder = tmp_path / "mine"
    assert main(["build", str(folder)]) == 0
    assert capsys.readouterr().out.startswith(f"your engine is {folder / 'my_engine.py'}; ")
    names = sorted(path.name for path in folder.iterdir())
    assert names[0] == "my_engine.py"
    assert [name[:6] for name in names[1:]] == [f"test_{k}" for k in range(1, 8)]
    skeleton = (folder / "my_engine.py").read_text("utf-8")
    assert "# TODO" in skeleton
    assert "your answer" not in skeleton
    assert "study" not in skeleton
    (folder / "my_engine.py").write_text("mine")
    (folder / names[1]).unlink()
    assert main(["build", str(folder)]) == 0
    assert (folder / "my_engine.py").read_text() == "mine"
    assert (folder / names[1]).exists()


def test_build_check_says_what_stands(tmp_path, capsys):
    main(["build", str(tmp_path)])
    capsys.readouterr()
    assert main(["build", str(tmp_path), "--check"]) == 0
    assert "1 scalars                   not answered yet: +, " in capsys.readouterr().out
    (tmp_path / "my_engine.py").write_text(ENGINE.replace("(a.data > 0)", "(a.data < 0)"), "utf-8")
    assert main(["build", str(tmp_path), "--check"]) == 1
    assert "✗ relu at 1.5: the gradient in a is 0" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "found"), [
    ("def f(:", "✗ my_engine.py: raises SyntaxError: invalid syntax (my_engine.py, line 1)"),
    ("import nowhere",
     "✗ my_engine.py: raises ModuleNotFoundError: No module named 'nowhere' (line 1 of my_engine.py"),
    ("import sys\nsys.exit()", "✗ my_engine.py: raises SystemExit (line 2 of my_engine.py, `sys.exit()`)"),
    ("while True:\n    pass", "✗ my_engine.py: isn't read after 0.5 s"),
])  # fmt: skip
def test_a_file_that_cannot_be_read_is_a_finding(tmp_path, capsys, monkeypatch, text, found):
    monkeypatch.setattr(build_engine, "IMPORT", 0.5)
    (tmp_path / "my_engine.py").write_text(text)
    assert main(["build", str(tmp_path), "--check"]) == 1
    assert capsys.readouterr().out.startswith(found)


def test_build_check_of_no_engine_is_one_line(tmp_path, capsys):
    assert main(["build", str(tmp_path / "nowhere"), "--check"]) == 2
    error = capsys.readouterr().err
    assert error == f"tinygrad-ce build: error: {tmp_path / 'nowhere' / 'my_engine.py'}: No such file or directory\n"


def test_the_tests_run_with_plain_pytest(tmp_path):
    main(["build", str(tmp_path)])
    (tmp_path / "my_engine.py").write_text(
        ENGINE.replace("g @ b.data.T", "g @ b.data").replace("def softmax(x):", "def softmax(x):\n    return ..."),
        "utf-8",
    )
    tests = [str(path) for path in sorted(tmp_path.glob("test_[145]*.py"))]
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    env = os.environ | {"PYTHONPATH": str(COURSE.parent), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    said = subprocess.run(run, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120).stdout
    assert "matmul transposed: with Y = a @ b it is g @ b.T for a" in said
    assert "1 failed, 1 passed, 1 skipped" in said


def test_scalars_of_one_entry_are_no_fault():
    class Value:
        """Multiplies, and keeps a scalar as an array of one entry."""

        def __init__(self, data, parents=()):
            self.data, self.parents = np.atleast_1d(np.asarray(data, float)), parents
            self.grad = np.zeros(self.data.shape)

        def __mul__(self, other):
            return Value(self.data * other.data, [(self, other.data), (other, self.data)])

        def __sub__(self, other):
            return Value(self.data - other.data, [(self, 1.0), (other, -1.0)])

        def backward(self, g=None):
            g = np.ones(1) if g is None else g
            self.grad = self.grad + g
            for parent, local in self.parents:
                parent.backward(g * local)

    report = tg.study.check_engine(Value, milestone=1)
    assert not [finding for finding in report.findings if "gradient" in str(finding)]
