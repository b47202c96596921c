"""Mutants: every rule made wrong in several ways, and how many of these the operators' own check catches.

A rule is scaled by 1.001, given the other sign, loses a term or a factor, works along another axis, or takes one slice
where a broadcast gradient must be summed. The check is that of ``tinygrad-ce gradcheck``: each operator's examples
against finite differences, at order 1 and 2.
"""

from __future__ import annotations

import ast
import contextlib
import copy
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.check.gradcheck import gradcheck
from tinygrad_ce.check.operators import example_calls
from tinygrad_ce.engine.primitive import Primitive, Rule, registry
from tinygrad_ce.study.formulas import source


class Mutant(NamedTuple):
    """A rule made wrong: whose, how, and the wrong rule."""

    operator: str
    argument: str
    kind: str
    detail: str
    rule: Rule

    @property
    def name(self) -> str:
        """Which one it is, in words."""
        return f"{self.operator}, argument {self.argument}: {self.kind} {self.detail}".strip()


def mutants() -> list[Mutant]:
    """Every mutant of every rule."""
    found = []
    for name in sorted(registry):
        made = registry[name].primitive
        for argument, rule in made.vjps.items() if made else ():
            for kind, make in WAYS.items():
                found += [Mutant(name, argument, kind, detail, wrong) for detail, wrong in make(made, argument, rule)]
    return found


Made = Iterator[tuple[str, Rule]]


def scaled(made: Primitive, argument: str, rule: Rule) -> Made:
    """A thousandth too large."""
    yield "", lambda *args: rule(*args) * 1.001


def sign(made: Primitive, argument: str, rule: Rule) -> Made:
    """The other sign."""
    yield "", lambda *args: -rule(*args)


def dropped(made: Primitive, argument: str, rule: Rule) -> Made:
    """One operand of one sum, difference, product or quotient left out, for each of them that the rule writes out."""
    node = source(rule)
    for place, _ in enumerate(_operations(node)) if node else ():
        for side in ("left", "right"):
            tree = copy.deepcopy(node)
            _operations(tree)[place].__dict__["dropped"] = side
            changed = ast.fix_missing_locations(_Drop().visit(tree))
            detail = ast.unparse(changed.body if isinstance(changed, ast.Lambda) else changed.body[-1])
            yield detail, _compiled(changed, rule)


def _operations(tree: Any) -> list[ast.BinOp]:
    """The arithmetic in a rule's results: not that in its conditions, indices and shapes."""
    found: list[ast.BinOp] = []
    stack = list(tree.body) if isinstance(tree, ast.FunctionDef) else [tree.body]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div):
            found.append(node)
        guards = isinstance(node, ast.Compare | ast.Subscript | ast.keyword | ast.Tuple | ast.If | ast.comprehension)
        if not guards:
            stack += ast.iter_child_nodes(node)
    return found


class _Drop(ast.NodeTransformer):
    """Takes one operand of the marked operation away."""

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        side = node.__dict__.get("dropped")
        self.generic_visit(node)
        return {"left": node.right, "right": node.left}.get(side, node)


def _compiled(tree: Any, rule: Any) -> Rule:
    if isinstance(tree, ast.Lambda):
        made: Rule = eval(compile(ast.Expression(tree), "<a mutant>", "eval"), rule.__globals__)
        return made
    scope = dict(rule.__globals__)
    exec(compile(ast.Module([tree], []), "<a mutant>", "exec"), scope)
    return scope[tree.name]  # type: ignore[no-any-return]


def axis(made: Primitive, argument: str, rule: Rule) -> Made:
    """The gradient backwards along an axis; of a square matrix, transposed; the rule told another axis."""
    for k in (0, 1):
        yield f"flipped along {k}", lambda *args, k=k: np.flip(dx, k) if (dx := rule(*args)).ndim > k else dx
    yield "transposed", lambda *args: _transposed(rule(*args))
    if "axis" in made.arguments:
        yield "another axis", lambda *args: rule(*_other_axis(made, args))


def _transposed(dx: Any) -> Any:
    return np.swapaxes(dx, -1, -2) if dx.ndim > 1 and dx.shape[-1] == dx.shape[-2] else dx


def _other_axis(made: Primitive, args: tuple[Any, ...]) -> tuple[Any, ...]:
    place = 2 + made.arguments.index("axis")  # after g and y
    given, ndim = args[place], max(getattr(a, "ndim", 0) for a in args[:3])
    return (*args[:place], (given + 1) % ndim, *args[place + 1 :]) if isinstance(given, int) and ndim > 1 else args


def unbroadcast(made: Primitive, argument: str, rule: Rule) -> Made:
    """One slice of the gradient, where it must be summed over the axes along which the argument was repeated."""

    def wrong(*args: Any) -> Any:
        dx, x = rule(*args), args[2 + made.arguments.index(argument)]
        while dx.ndim > x.ndim:
            dx = dx[0]
        return dx[tuple(slice(0, 1) if n == 1 else slice(None) for n in x.shape)]

    if made.variadic is None:
        yield "", wrong


WAYS: dict[str, Callable[[Primitive, str, Rule], Made]] = {
    "scaled by 1.001": scaled, "other sign": sign, "without a term or factor": dropped, "along another axis": axis,
    "without the sum of unbroadcasting": unbroadcast,
}  # fmt: skip


STRUCTURAL = ("along another axis", "without the sum of unbroadcasting")  # which may happen to change nothing


def caught(mutant: Mutant) -> bool | None:
    """Whether the check of the operator's examples fails; None if a structural mutant changes no number in them."""
    operator = registry[mutant.operator]
    made = operator.primitive
    assert made is not None
    right = made.vjps[mutant.argument]
    position = made.arguments.index(mutant.argument)
    live = mutant.kind not in STRUCTURAL

    def wrong(*args: Any) -> Any:
        nonlocal live
        dx = mutant.rule(*args)
        if not live:
            place = 2 + position if made.variadic is None else 3 + position + args[0]
            live = not _same(right(*args), dx, args[place].shape)
        return dx

    with in_place_of(made, mutant.argument, wrong):
        for order in (1, 2):
            for f, inputs in example_calls(operator, np.float64, seed=0):
                try:
                    if not gradcheck(f, inputs, order=order, raises=False):
                        return True
                except Exception:  # a rule that can't even be computed is caught as well
                    return True
    return False if live else None


def _same(a: Any, b: Any, shape: tuple[int, ...]) -> bool:
    """Whether two gradients are the same once broadcasting is undone."""
    a, b = (np.asarray(getattr(dx, "data", dx)) if hasattr(dx, "backward") else np.asarray(dx) for dx in (a, b))
    return bool(np.allclose(_summed(a, shape), _summed(b, shape), rtol=1e-12, atol=1e-12))


def _summed(dx: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    dx = dx.sum(axis=tuple(range(dx.ndim - len(shape))))
    repeated = tuple(k for k, n in enumerate(shape) if n == 1)
    return dx.sum(axis=repeated, keepdims=True) if repeated else dx


@contextlib.contextmanager
def in_place_of(made: Primitive, argument: str, rule: Rule) -> Iterator[None]:
    """Another rule in the place of an argument's."""
    before = made.vjps[argument]
    made.vjp(**{argument: rule})
    try:
        yield
    finally:
        made.vjp(**{argument: before})


def main() -> int:
    """Print how many mutants were caught, by kind, and those that weren't."""
    total, won = Counter[str](), Counter[str]()
    survivors = []
    for mutant in mutants():
        verdict = caught(mutant)
        if verdict is None:
            continue
        total[mutant.kind] += 1
        won[mutant.kind] += verdict
        if not verdict:
            survivors.append(mutant.name)
    for kind in WAYS:
        print(f"{kind:<35} {won[kind]:>4} of {total[kind]}")
    print(f"{'mutants caught':<35} {won.total():>4} of {total.total()}")
    for name in survivors:
        print(f"not caught: {name}")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
