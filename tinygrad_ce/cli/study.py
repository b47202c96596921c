"""The commands to check and to study with: doctor, gradcheck, explain, notebooks, grade, docs."""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields

import numpy as np

from tinygrad_ce import losses, study
from tinygrad_ce.check.operators import Check, check_operator
from tinygrad_ce.cli import arguments
from tinygrad_ce.cli.doctor import run as doctor
from tinygrad_ce.common.words import cell, visible
from tinygrad_ce.engine.primitive import registry
from tinygrad_ce.study import grade as grading
from tinygrad_ce.study.exercises import has_exercises
from tinygrad_ce.study.grade import Line
from tinygrad_ce.tensor import Tensor

__all__ = ["docs", "doctor", "explain", "gradcheck", "grade", "notebooks", "softmax"]


def gradcheck(args: argparse.Namespace) -> int:
    """Hold operators' rules against finite differences."""
    unknown = [name for name in args.operators if name not in registry]
    if unknown:
        raise ValueError(f"no operator {unknown[0]!r}; there are {', '.join(sorted(registry))}")
    names = args.operators or sorted(registry)
    print("largest difference between rule and finite differences, relative to the gradient's largest entry\n")
    print(f"{'operator':<33} {'examples':>8} {'order 1':>10} {'order 2':>10}")
    checks = [check_operator(name, args.dtype, args.seed) for name in names]
    failed = []
    for check in checks:
        wrong = _wrong(check)
        failed += [f"\n{check.name}: {wrong}"] if wrong else []
        verdict = "ok" if not wrong else "FAILED" if check.examples else "no example"
        print(f"{check.name:<33} {check.examples:>8} {check.first:>10.1e} {check.second:>10.1e}   {verdict}")
    print(*failed, sep="\n", end="\n" if failed else "")
    right, examples = len(names) - len(failed), sum(check.examples for check in checks)
    print(f"\n{right} of {len(names)} operators agree with finite differences ({examples} examples, {args.dtype})")
    return 1 if failed else 0


def _wrong(check: Check) -> str:
    """What is wrong with an operator; nothing if it agrees with finite differences."""
    if not check.examples:
        return "has no example, so nothing checks its rules"
    return "" if check.failed is None else str(check.failed)


def explain(args: argparse.Namespace) -> int:
    """Explain the loss of a row of logits."""
    logits = Tensor(args.logits, requires_grad=True, dtype=args.dtype)
    scaled = logits if args.temperature == 1 else logits / args.temperature
    loss = losses.cross_entropy(scaled, args.target, label_smoothing=args.smoothing)
    names = {"logits": logits, "loss": loss, "target": np.asarray(args.target)}
    print(study.explain(loss, names=names))
    for path, what, make in ((args.graph, "graph", study.graph), (args.page, "page", study.player)):
        if path:
            make(loss, names=names).save(path)
            print(f"\n{what} saved to {path}")
    return 0


def softmax(args: argparse.Namespace) -> int:
    """Write the page of softmax."""
    study.softmax_page(lang=args.lang).save(args.file)
    print(f"page saved to {args.file}")
    return 0


def grade(args: argparse.Namespace) -> int:
    """Print what students' notebooks have earned."""
    print("answers run in a process of their own, with a time limit; it is no sandbox", file=sys.stderr)
    lines = grading.grade(args.folder, _chosen(args.only), limit=args.limit, seed=args.seed)
    rows = [asdict(line) for line in lines]
    if args.format == "json":
        print(json.dumps(rows, ensure_ascii=False, indent=1))
    elif args.format == "csv":
        writer = csv.DictWriter(sys.stdout, [field.name for field in fields(Line)], lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: cell(visible(f"{value}")) for name, value in row.items()} for row in rows)
    else:
        print(_table(lines))
    return 0


def _chosen(only: list[str]) -> list[str]:
    """The notebooks to grade: those of these names or numbers, or all."""
    from tinygrad_ce.docs.course import names

    every = [name for name in names() if has_exercises(name)]
    known = {form: name for name in every for form in (name, name[:2])}
    for form in only:
        if form not in known:
            raise ValueError(f"--only: no notebook {form!r} with exercises; there are {', '.join(every)}")
    return [known[form] for form in only] or every


def _table(lines: Sequence[Line]) -> str:
    """The lines of each student below their name, and their points."""
    text = []
    for student, group in itertools.groupby(lines, key=lambda line: line.student):
        mine = list(group)
        text += [f"{student}: {sum(line.points for line in mine):g} of {sum(line.of for line in mine):g} points"]
        for line in mine:
            points = f"{line.points:g}/{line.of:g}" if line.of else ""
            text += [f"  {line.notebook[:2]:<2}  {line.exercise:<24} {points:>5}  {line.message}".rstrip()]
        text += [""]
    return "\n".join(map(visible, text[:-1]))


def notebooks(args: argparse.Namespace) -> int:
    """Open the course."""
    from tinygrad_ce.docs.course import open_course

    open_course(args.folder, browser=args.browser, edition=args.edition, lang=args.lang)
    return 0


def build(args: argparse.Namespace) -> int:
    """Write the files of an engine of one's own, or say which of its milestones stand."""
    from tinygrad_ce.docs.build_engine import build_engine, check_build

    if args.check:
        return 1 if check_build(args.folder) else 0
    print(f"your engine is {build_engine(args.folder)}; tinygrad-ce build {args.folder} --check says what stands")
    return 0


def docs(args: argparse.Namespace) -> int:
    """Build the documentation."""
    from tinygrad_ce.docs import build

    try:
        page = build(args.folder, arguments.parser(), pack=args.zip)
    except RuntimeError as error:  # its pages have faults
        print(error, file=sys.stderr)
        return 1
    print(f"the documentation is in {page}")
    return 0
