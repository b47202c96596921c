"""What the command line takes: its commands, their options, and the types of these."""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path
from typing import Any

from tinygrad_ce import __version__, optim
from tinygrad_ce.cli.inputs import SETS
from tinygrad_ce.train import classifier

OPTIMIZERS: dict[str, tuple[type[optim.Optimizer], dict[str, Any], float]] = {
    "sgd": (optim.SGD, {"momentum": 0.9}, 0.02),
    "adam": (optim.Adam, {}, 0.005),
    "adamw": (optim.AdamW, {}, 0.005),
}
COMMANDS = (
    "train", "evaluate", "predict", "doctor", "gradcheck", "explain", "softmax", "notebooks", "grade", "build", "docs",
)  # fmt: skip
SCHEDULES = ("constant", "step", "cosine", "plateau")

_TRAIN = """\
examples:
  tinygrad-ce train digits                           a linear classifier on 8x8 handwritten digits
  tinygrad-ce train spirals --hidden 32,32           two hidden layers
  tinygrad-ce train flowers.csv --label species      your own table; the label's column by name or position
  tinygrad-ce train images.gz labels.gz              a pair of IDX files, as MNIST comes
  tinygrad-ce train digits --epochs 60 --resume      go on from the model in digits-run/
  tinygrad-ce train --run digits-run --resume        go on after Ctrl-C, with the run's own settings
  tinygrad-ce train --config digits-run/config.toml --replace
  tinygrad-ce train --config digits-run/config.toml --lr 0.1 --run other
  mpiexec -n 4 tinygrad-ce train digits --data-parallel
"""
_ALL = """\
examples:
  tinygrad-ce train digits                           prints what it will do, then writes digits-run/
  tinygrad-ce evaluate digits-run                    measure the model on the rows held out
  tinygrad-ce predict digits-run new.csv             classes and probabilities, as CSV
  tinygrad-ce doctor digits-run                      what is wrong with its training
  tinygrad-ce explain 2 -1 0.1 --target 1            a loss, forward and backward, number by number
  tinygrad-ce COMMAND --help                         all that a command takes
"""


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; ``args.command`` is the one that was given."""
    made = argparse.ArgumentParser(
        "tinygrad-ce", description="Train classifiers, check gradients and explain them, in plain NumPy.",
        epilog=_ALL, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    made.add_argument("--version", action="version", version=f"tinygrad-ce {__version__}")
    commands = made.add_subparsers(dest="command", required=True, title="commands", metavar=" | ".join(COMMANDS))
    add_train(_command(commands, "train", "train a classifier", _TRAIN))
    _add_apply(commands)
    _add_study(commands)
    return made


def _command(commands: Any, name: str, help: str, epilog: str) -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    made: argparse.ArgumentParser = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.",
                                                        epilog=epilog, formatter_class=formatter)  # fmt: skip
    return made


def add_train(train: argparse.ArgumentParser) -> None:
    """Give a parser the options of train."""
    train.add_argument(
        "data", nargs="*", metavar="DATA",
        help=f"{', '.join(SETS)}; a table (.csv, .tsv, .txt, .dat, also .gz), a .npz, two .npy or two IDX files "
        "(features, labels), or a folder of shards",
    )  # fmt: skip
    train.add_argument("--label", metavar="COLUMN", help="of a table: the label's name or position (last)")
    train.add_argument("--config", type=Path, metavar="FILE", help="options from a .toml; those given here win")
    train.add_argument("--dry-run", action="store_true", help="only print what it would do")
    _flag(train, "--stream", "read a .csv in pieces, as larger than memory (folders and .npy are, anyway)")

    table = train.add_argument_group("columns of a table", "What each one is is found out, printed, and kept.")
    words = "words that say that a value is missing, as unknown"
    table.add_argument("--missing", type=names, default=[], metavar="A,B", help=words)
    table.add_argument("--drop", type=names, default=[], metavar="A,B", help="columns to leave out")
    table.add_argument(
        "--category", type=names, default=[], metavar="A,B", help="columns that are no numbers but codes"
    )
    table.add_argument("--number", type=names, default=[], metavar="A,B", help="columns that are numbers")
    table.add_argument("--header", choices=["yes", "no"], help="whether the first line is one of names")
    table.add_argument("--classes", action="store_true", help="labels are classes even if they look like quantities")
    table.add_argument("--no-classes", dest="classes", action="store_false", help=argparse.SUPPRESS)

    model = train.add_argument_group("model and steps")
    model.add_argument("--hidden", type=widths, default=[], metavar="32,32", help="widths of hidden layers (none)")
    model.add_argument("--activation", choices=classifier.ACTIVATIONS, default="relu", help="between layers (relu)")
    model.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd", help="sgd has momentum 0.9 (sgd)")
    model.add_argument("--lr", type=positive, metavar="RATE", help="learning rate (sgd 0.02, adam and adamw 0.005)")
    model.add_argument("--epochs", type=count, metavar="N",
                       help="how often each row is seen (what makes 2,000 steps; up to 40, or "
                       "10,000 steps, while the loss falls)")  # fmt: skip
    _flag(model, "--stop-early", "stop once the training's loss stays where it is, as without --epochs")
    model.add_argument("--batch-size", type=count, metavar="N", help="rows in a batch (32; of many rows up to 1,024)")
    model.add_argument("--accumulate", type=count, default=1, metavar="N", help="batches that share a step (1)")
    model.add_argument(
        "--schedule", choices=SCHEDULES, default="constant",
        help="of the learning rate: step, a tenth after each third of the epochs; cosine, down to 0; plateau, "
        "0.3 of it where the loss stays for 3 epochs (constant)",
    )  # fmt: skip
    model.add_argument("--warmup", type=natural, default=0, metavar="N", help="epochs in which the rate rises (0)")
    model.add_argument("--clip", type=positive, metavar="NORM", help="the largest norm of a step's gradient")
    model.add_argument("--ema", type=decay, metavar="DECAY", help="leave the weights' moving average, as with 0.99")
    model.add_argument("--class-weight", choices=["balanced"], help="rare classes count as much as frequent ones")
    model.add_argument("--patience", type=count, metavar="N", help="stop N epochs after the best validation loss")
    model.add_argument("--seed", type=natural, default=0, metavar="N",
                       help="of weights and order; same seed, same bits (0)")  # fmt: skip

    run = train.add_argument_group("run")
    run.add_argument("--run", type=Path, metavar="FOLDER", help="where all that it writes goes (DATA-run)")
    again = run.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on from the run's model")
    again.add_argument("--replace", action="store_true", help="train a run anew that has a model already")
    run.add_argument("--checkpoint-steps", type=count, metavar="N", help="save after every N steps, too")
    _flag(run, "--tensorboard", "log for TensorBoard, too")
    _flag(run, "--figures", "draw the training's curves and the confusion matrix, too")
    _flag(run, "--film", "write training.html, too: a page with a slider over the epochs")
    _flag(run, "--data-parallel", "share the steps among the processes that mpiexec started")
    _flag(run, "--quiet", "no progress")


def _flag(group: Any, name: str, help: str) -> None:
    """An option that is on or off; the form with --no- takes back what a config says."""
    off = f"--no-{name[2:]}"
    group.add_argument(name, action="store_true", help=f"{help} (off: {off})")
    group.add_argument(off, dest=name[2:].replace("-", "_"), action="store_false",
                       help=argparse.SUPPRESS)  # fmt: skip


def _add_apply(commands: Any) -> None:
    grade = _command(commands, "evaluate", "measure a trained model on data with labels",
                     "examples:\n  tinygrad-ce evaluate digits-run            on the rows that its training held out\n"
                     "  tinygrad-ce evaluate flowers-run new.csv   on all rows of a file\n")  # fmt: skip
    grade.add_argument("model", type=Path, metavar="MODEL", help="a run's folder, or a model.npz")
    grade.add_argument("data", nargs="*", default=[], metavar="DATA",
                       help="as for train; the run's rows held out unless given")  # fmt: skip
    grade.add_argument("--label", metavar="COLUMN", help="of a table: the label's name or position (as in training)")
    grade.add_argument("--header", choices=["yes", "no"], help="of a table: whether the first line is one of names")
    _flag(grade, "--stream", "read a .csv in pieces, as larger than memory")

    doctor = _command(commands, "doctor", "find what is wrong with a training",
                      "example:\n  tinygrad-ce doctor digits-run --page found.html\n")  # fmt: skip
    doctor.add_argument("model", type=Path, metavar="RUN", help="a run's folder")
    doctor.add_argument("--page", type=Path, metavar="FILE", help="write what was found and measured, as .html, too")

    guess = _command(commands, "predict", "predict classes and their probabilities, as CSV",
                     "example:\n  tinygrad-ce predict flowers-run new.csv --output answers.csv\n")  # fmt: skip
    guess.add_argument("model", type=Path, metavar="MODEL", help="a run's folder, or a model.npz")
    guess.add_argument("file", type=Path, metavar="FILE",
                       help="a table, with or without the label; a .npy; or a .npz with an array x")  # fmt: skip
    guess.add_argument("--header", choices=["yes", "no"], help="of a table: whether the first line is one of names")
    guess.add_argument("--keep", action="store_true", help="write the table's columns, too, before the answers")
    guess.add_argument("--output", type=Path, metavar="FILE", help="where the answers go (standard output)")


def _add_study(commands: Any) -> None:
    check = _command(commands, "gradcheck", "hold every operator's rules against finite differences",
                     "example:\n  tinygrad-ce gradcheck softmax cross_entropy\n")  # fmt: skip
    check.add_argument("operators", nargs="*", metavar="OPERATOR", help="all of them unless named")
    check.add_argument("--dtype", choices=["float64", "float32"], default="float64", help="(float64)")
    check.add_argument("--seed", type=natural, default=0, metavar="N", help="of the inputs (0)")

    tell = _command(commands, "explain", "explain the loss of a row of logits, forward and backward, number by number",
                    "examples:\n  tinygrad-ce explain 2 -1 0.1 --target 1\n"
                    "  tinygrad-ce explain 0 -20 --target 0 --dtype float32 --page loss.html\n")  # fmt: skip
    tell.add_argument("logits", nargs="+", type=number, metavar="LOGIT", help="one for each class")
    tell.add_argument("--target", type=natural, required=True, metavar="CLASS", help="the right class, from 0")
    tell.add_argument("--temperature", type=positive, default=1.0, metavar="T", help="what logits are divided by (1)")
    tell.add_argument("--smoothing", type=float, default=0.0, metavar="E", help="label smoothing, from 0 to 1 (0)")
    tell.add_argument("--dtype", choices=["float64", "float32"], default="float64", help="(float64)")
    tell.add_argument("--graph", type=Path, metavar="FILE", help="draw the graph into an .svg file, too")
    tell.add_argument("--page", type=Path, metavar="FILE", help="write a page to step through, as .html, too")

    play = _command(commands, "softmax", "write the page of softmax to play with, for a browser",
                    "examples:\n  tinygrad-ce softmax\n  tinygrad-ce softmax softmax.html --lang de\n")  # fmt: skip
    play.add_argument("file", nargs="?", type=Path, metavar="FILE", default="softmax.html", help="(softmax.html)")
    play.add_argument("--lang", default="en", help="its language: en, es or de (en)")

    course = _command(commands, "notebooks", "open the course of notebooks in JupyterLab, as a copy of your own",
                      "examples:\n  tinygrad-ce notebooks my-course\n"
                      "  tinygrad-ce notebooks to-hand-out --for student\n"
                      "  tinygrad-ce notebooks curso --lang es\n")  # fmt: skip
    course.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="your copy of it (tinygrad_ce_course)")
    course.add_argument("--lang", default="en", help="notebooks 01 to 03 in es, Spanish, or de, German (en)")
    course.add_argument("--no-browser", dest="browser", action="store_false", help="only print the address")

    course.add_argument("--for", dest="edition", choices=["teacher", "student"],
                        help="with the solutions in place, or left out (folded below the exercises)")  # fmt: skip

    marks = _command(commands, "grade", "grade the exercises of a student's notebooks, or of a whole class",
                     "Answers run in a process of their own, with a time limit. It is no sandbox: run what you\n"
                     "would run by hand.\n\n"
                     "examples:\n  tinygrad-ce grade my-course\n"
                     "  tinygrad-ce grade class --only 01,02 --format csv > points.csv\n")  # fmt: skip
    marks.add_argument("folder", type=Path, metavar="FOLDER",
                       help="a student's notebooks, or a folder for each student")  # fmt: skip
    marks.add_argument("--format", choices=["text", "csv", "json"], default="text", help="of the table (text)")
    marks.add_argument("--only", type=names, default=[], metavar="01,02", help="the notebooks to grade (all)")
    marks.add_argument("--limit", type=positive, default=20.0, metavar="S", help="seconds for an answer (20)")
    marks.add_argument("--seed", type=natural, metavar="N", help="of the inputs, to grade again with the same")

    own = _command(commands, "build", "write an engine of your own: its skeleton, and a test for each milestone",
                   "examples:\n  tinygrad-ce build my-engine             writes what is missing of the files\n"
                   "  tinygrad-ce build my-engine --check     which milestones stand, and what is wrong\n")  # fmt: skip
    own.add_argument("folder", type=Path, metavar="FOLDER", help="where the files go, or are")
    own.add_argument("--check", action="store_true", help="hold the engine in it against this one")

    site = _command(commands, "docs", "build the documentation as pages for a browser",
                    "examples:\n  tinygrad-ce docs my-docs\n"
                    "  tinygrad-ce docs --zip       one file, tinygrad_ce_docs.zip, to read offline\n")  # fmt: skip
    site.add_argument("folder", nargs="?", type=Path, default="tinygrad_ce_docs", metavar="FOLDER",
                      help="where they go (tinygrad_ce_docs)")  # fmt: skip
    site.add_argument("--zip", action="store_true", help="write them as one file instead, FOLDER.zip")


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number of at least 1")
    return int(text)


def natural(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number of at least 0")
    return int(text)


def number(text: str) -> float:
    """Any number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a number") from None


def positive(text: str) -> float:
    """A finite number above 0."""
    return _between(text, float("inf"), "a number above 0")


def decay(text: str) -> float:
    """A number above 0 and below 1."""
    return _between(text, 1.0, "a number above 0 and below 1")


def _between(text: str, end: float, expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < end:
        raise argparse.ArgumentTypeError(f"{text!r}, expected {expected}")
    return value


def widths(text: str) -> list[int]:
    """Whole numbers, separated by commas."""
    try:
        return [count(part.strip()) for part in text.split(",") if part.strip()]
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r}, expected widths like 32,32") from None


def names(text: str) -> list[str]:
    """Names of columns, separated by commas; one that has a comma in it stands in quotes."""
    return [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]


def joined(values: list[Any]) -> str:
    """Values as names and widths take them."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
