"""The command line: train, predict, gradcheck, explain."""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce import data as sets
from tinygrad_ce import ops, optim, study
from tinygrad_ce.gradcheck import check_operator
from tinygrad_ce.primitive import registry
from tinygrad_ce.study import plot
from tinygrad_ce.tensor import Tensor
from tinygrad_ce.train import classifier, confusion_matrix, fit, precision_recall, predict
from tinygrad_ce.train.checkpoint import CheckpointError
from tinygrad_ce.train.checkpoint import load as load_checkpoint

_SETS: dict[str, Any] = {
    "digits": sets.load_digits,
    "iris": sets.load_iris,
    "moons": sets.make_moons,
    "spirals": sets.make_spirals,
    "blobs": sets.make_blobs,
}
_OPTIMIZERS: dict[str, tuple[type[optim.Optimizer], dict[str, Any], float]] = {
    "sgd": (optim.SGD, {"momentum": 0.9}, 0.02),
    "adam": (optim.Adam, {}, 0.005),
    "adamw": (optim.AdamW, {}, 0.005),
}
_EXAMPLES = """\
examples:
  tinygrad-ce train digits                           a linear classifier on 8x8 handwritten digits
  tinygrad-ce train spirals --hidden 32,32 --plot    two hidden layers, and a picture of how it went
  tinygrad-ce train flowers.csv --label species      your own table; the label's column by name or position
  tinygrad-ce train images.gz labels.gz              a pair of IDX files, as MNIST comes
  tinygrad-ce train digits --epochs 60 --resume      go on from the saved model
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0, 1 for a failed check, or 2 for bad arguments or files."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        return int(args.run(args))
    except BrokenPipeError:  # whoever read the output has had enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 141
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        words = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        print(f"{parser.prog} {args.command}: error: {words}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{parser.prog}: interrupted; a checkpoint already written is whole", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "tinygrad-ce", description="Train classifiers, check gradients and explain them, in plain NumPy.",
        epilog=_EXAMPLES, formatter_class=raw,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"tinygrad-ce {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="train | predict | gradcheck | explain")

    train = commands.add_parser("train", help="train a classifier", epilog=_EXAMPLES, formatter_class=raw)
    train.add_argument("data", nargs="+", help=f"{', '.join(_SETS)}, a .csv, a .npz, or two IDX files")
    train.add_argument("--label", metavar="COLUMN", help="of a .csv: the label's name or position (last)")
    train.add_argument("--hidden", type=_widths, default=[], metavar="32,32", help="widths of hidden layers (none)")
    train.add_argument("--activation", choices=classifier.ACTIVATIONS, default="relu", help="between layers (relu)")
    train.add_argument("--optimizer", choices=_OPTIMIZERS, default="sgd", help="sgd has momentum 0.9 (sgd)")
    train.add_argument("--epochs", type=_count, help="how often each row is seen (40, or what makes 2,000 steps)")
    train.add_argument("--batch-size", type=_count, default=32, help="rows in a step (32)")
    train.add_argument("--lr", type=_rate, help="learning rate (sgd 0.02, adam and adamw 0.005)")
    train.add_argument("--patience", type=_count, help="stop after so many epochs without a better validation loss")
    train.add_argument("--seed", type=_seed, default=0, help="of weights and order; the same seed, the same bits (0)")
    train.add_argument("--save", type=Path, metavar="FILE", help="where the model goes (DATA-model.npz)")
    train.add_argument("--resume", action="store_true", help="go on from the saved model")
    train.add_argument(
        "--plot", action="store_true", help="draw loss, accuracy and confusion beside the model, as .png"
    )
    train.add_argument("--quiet", action="store_true", help="no progress")
    train.set_defaults(run=_train)

    guess = commands.add_parser(
        "predict", help="predict with a saved model", formatter_class=raw,
        epilog="example:\n  tinygrad-ce predict digits-model.npz new.csv > answers.csv\n",
    )  # fmt: skip
    guess.add_argument("model", type=Path, help="a file that train saved")
    guess.add_argument("file", help="a .csv of features, a line each; or a .npz with an array x")
    guess.set_defaults(run=_predict)

    check = commands.add_parser(
        "gradcheck", help="hold every operator's rules against finite differences", formatter_class=raw,
        epilog="example:\n  tinygrad-ce gradcheck softmax cross_entropy\n",
    )  # fmt: skip
    check.add_argument("operators", nargs="*", metavar="OPERATOR", help="all of them unless named")
    check.add_argument("--dtype", choices=["float64", "float32"], default="float64", help="(float64)")
    check.add_argument("--seed", type=_seed, default=0, help="of the inputs (0)")
    check.set_defaults(run=_gradcheck)

    tell = commands.add_parser(
        "explain", help="explain the loss of a row of logits, forward and backward, number by number",
        formatter_class=raw, epilog="examples:\n  tinygrad-ce explain 2 -1 0.1 --target 1\n"
        "  tinygrad-ce explain 0 -20 --target 0 --dtype float32 --page loss.html\n",
    )  # fmt: skip
    tell.add_argument("logits", nargs="+", type=_number, help="one for each class")
    tell.add_argument("--target", type=_seed, required=True, metavar="CLASS", help="the right class, from 0")
    tell.add_argument("--temperature", type=_rate, default=1.0, metavar="T", help="what logits are divided by (1)")
    tell.add_argument("--smoothing", type=float, default=0.0, metavar="E", help="label smoothing, from 0 to 1 (0)")
    tell.add_argument("--dtype", choices=["float64", "float32"], default="float64", help="(float64)")
    tell.add_argument("--graph", type=Path, metavar="FILE", help="draw the graph into an .svg file, too")
    tell.add_argument("--page", type=Path, metavar="FILE", help="write a page to step through, as .html, too")
    tell.set_defaults(run=_explain)
    return parser


def _version() -> str:
    from importlib.metadata import version

    return version("tinygrad-ce")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number of at least 1")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number of at least 0")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a number") from None


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a number above 0")
    return rate


def _widths(text: str) -> list[int]:
    parts = [part for part in text.split(",") if part.strip()]
    try:
        return [_count(part.strip()) for part in parts]
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r}, expected widths like 32,32") from None


def _column(text: str) -> int | str:
    return int(text) if text.removeprefix("-").isdecimal() else text


def _train(args: argparse.Namespace) -> int:
    path, rows, names = _load(args)
    if args.plot:
        _require_matplotlib()

    train, test = sets.split(rows, 0.2)  # the same rows whatever --seed is
    held = None
    if args.patience:
        train, held = sets.split(train, 0.15)
    features, classes = train.x.shape[1], len(rows.classes)
    model = classifier.make(features, classes, args.hidden, args.activation, x=train.x, seed=args.seed)
    kind, options, rate = _OPTIMIZERS[args.optimizer]
    optimizer = kind(model.parameters(), lr=args.lr or rate, **options)
    epochs = args.epochs or max(40, -(-2000 // -(-len(train.y) // args.batch_size)))
    parameters = sum(p.size for p in model.parameters())
    layers = " -> ".join(str(w) for w in (features, *args.hidden, classes))
    shape = f"{features} features, {classes} classes"
    print(f"{' '.join(args.data)}: {len(train.y)} rows to train on, {len(test.y)} held out, {shape}")
    print(f"model: {layers}, {parameters:,} parameters; {args.optimizer}, learning rate {optimizer.lr:g}")

    about = {
        "features": features, "hidden": args.hidden, "activation": args.activation, "classes": list(rows.classes),
        "names": names, "seed": args.seed,
        "batch_size": args.batch_size, "optimizer": args.optimizer, "lr": args.lr or rate, "patience": args.patience,
    }  # fmt: skip
    if args.resume:
        _check_same(path, about)
    history = fit(
        model, train, epochs=epochs, batch_size=args.batch_size, optimizer=optimizer, validation=held,
        patience=args.patience, checkpoint=path, resume=args.resume, meta={"classifier": about}, seed=args.seed,
        progress=not args.quiet,
    )  # fmt: skip
    if len(history) > epochs:
        print(f"nothing to do: {path} has seen {len(history)} epochs; ask for more with --epochs")
    if history.stopped:
        best = (history.best_epoch or 0) + 1
        print(f"stopped after epoch {len(history)}: {history.stopped}; the weights are those of epoch {best}")
    confusion = confusion_matrix(predict(model, test.x), test.y, classes)
    print(f"\ntest accuracy {np.trace(confusion) / confusion.sum():.4f} on {confusion.sum()} rows held out\n")
    print(_table(confusion, rows.classes))
    print(f"\nmodel saved to {path}")
    if args.plot:
        picture = path.with_suffix(".png")
        _plot(picture, history, confusion, rows.classes)
        print(f"picture saved to {picture}")
    return 0


def _load(args: argparse.Namespace) -> tuple[Path, sets.Dataset, list[str]]:
    """Where the model goes, the data, and the names of its features if the file gives any."""
    built_in = [name for name in args.data if name in _SETS]
    if built_in and len(args.data) > 1:
        raise ValueError(f"{' '.join(args.data)}: expected one data set, or two IDX files: images and labels")
    if built_in and args.label:
        raise ValueError(f"--label is for a .csv; {built_in[0]} comes with its labels")
    stem = args.data[0] if built_in else Path(args.data[0]).name.partition(".")[0]
    path = args.save or Path(f"{stem}-model.npz")
    if not path.parent.is_dir():
        raise ValueError(f"--save {path}: the folder {path.parent} does not exist")
    if path.exists() and not args.resume:
        try:
            load_checkpoint(path)
        except CheckpointError:
            raise ValueError(
                f"--save {path}: the file exists and is no model of this program; choose another"
            ) from None
    if built_in:
        return path, _SETS[built_in[0]](), []
    if len(args.data) == 1 and not Path(args.data[0]).suffix:
        raise ValueError(f"{args.data[0]}: no such data set; there are {', '.join(_SETS)}, or give a file")
    label = _column(args.label or "-1")
    rows = sets.load_file(args.data, label)
    names = sets.feature_names(args.data[0], label) if args.data[0].endswith(".csv") else []
    if len(rows.classes) < 2 or 2 * len(rows.classes) > len(rows.y):
        raise ValueError(
            f"{args.data[0]}: {len(rows.classes)} different labels in {len(rows.y)} rows; is the label in the last "
            f"column? name it with --label"
        )
    return path, rows, names


def _check_same(path: Path, about: dict[str, Any]) -> None:
    """A resumed run goes on to the same bits only with the settings it began with."""
    _, meta = load_checkpoint(path)
    before = meta.get("classifier")
    if not isinstance(before, dict):
        raise CheckpointError(f"{path}: holds no classifier of the command line")
    for key, value in about.items():
        if before.get(key) != value:
            raise CheckpointError(f"{path}: was trained with {key} {before.get(key)!r}, now it is {value!r}")


def _table(confusion: np.ndarray, classes: Sequence[str]) -> str:
    """A confusion matrix as text, with recall beside it and precision below."""
    precision, recall = precision_recall(confusion)
    width = max(4, *(len(name) for name in classes), len(str(confusion.max()))) + 1
    label = max(width, len("precision") + 1)
    lines = ["rows: what it is; columns: what was predicted"]
    lines.append(" " * label + "".join(f"{name:>{width}}" for name in classes) + "   recall")
    for name, counts, fraction in zip(classes, confusion, recall, strict=True):
        cells = "".join(f"{count if count else '.':>{width}}" for count in counts)
        lines.append(f"{name:>{label}}{cells}   {fraction:6.3f}")
    lines.append(f"{'precision':>{label}}" + "".join(f"{fraction:>{width}.2f}" for fraction in precision))
    return "\n".join(lines)


def _require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError("--plot needs matplotlib: pip install 'tinygrad-ce[plot]'") from None


def _plot(path: Path, history: Any, confusion: np.ndarray, classes: Sequence[str]) -> None:
    """Loss, accuracy and the confusion matrix in one picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    plot.loss_curves(history, ax=left)
    plot.loss_curves(history, names=("accuracy", "val_accuracy"), ax=middle)
    plot.confusion_matrix(confusion, classes, ax=right).title.set_text("Confusion on rows held out")
    figure.savefig(path, dpi=120)


def _predict(args: argparse.Namespace) -> int:
    model, about = classifier.load(args.model)
    classes = about["classes"]
    x = sets.load_features(args.file, about["features"], about.get("names", ()))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["prediction"])
    writer.writerows([classes[i]] for i in predict(model, x))
    return 0


def _gradcheck(args: argparse.Namespace) -> int:
    unknown = [name for name in args.operators if name not in registry]
    if unknown:
        raise ValueError(f"no operator {unknown[0]!r}; there are {', '.join(sorted(registry))}")
    names = args.operators or sorted(registry)
    print("largest difference between rule and finite differences, relative to the gradient's largest entry\n")
    print(f"{'operator':<33} {'examples':>8} {'order 1':>10} {'order 2':>10}")
    checks = [check_operator(name, args.dtype, args.seed) for name in names]
    for check in checks:
        verdict = "ok" if check.examples and check.failed is None else "FAILED" if check.examples else "no example"
        print(f"{check.name:<33} {check.examples:>8} {check.first:>10.1e} {check.second:>10.1e}   {verdict}")
    failed = [check for check in checks if not check.examples or check.failed is not None]
    for check in failed:
        words = "has no example, so nothing checks its rules" if check.failed is None else check.failed
        print(f"\n{check.name}: {words}")
    right, examples = len(names) - len(failed), sum(check.examples for check in checks)
    print(f"\n{right} of {len(names)} operators agree with finite differences ({examples} examples, {args.dtype})")
    return 1 if failed else 0


def _explain(args: argparse.Namespace) -> int:
    logits = Tensor(args.logits, requires_grad=True, dtype=args.dtype)
    scaled = logits if args.temperature == 1 else logits / args.temperature
    loss = ops.cross_entropy(scaled, args.target, label_smoothing=args.smoothing)
    names = {"logits": logits, "loss": loss, "target": np.asarray(args.target)}
    print(study.explain(loss, names=names))
    for path, what, make in ((args.graph, "graph", study.graph), (args.page, "page", study.player)):
        if path:
            make(loss, names=names).save(path)
            print(f"\n{what} saved to {path}")
    return 0
