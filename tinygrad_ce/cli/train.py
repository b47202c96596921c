"""The command train: say what it will do, do it, measure it, and write all of it down."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinygrad_ce import __version__, nn, optim
from tinygrad_ce.cli import config, inputs, summary
from tinygrad_ce.cli.arguments import OPTIMIZERS
from tinygrad_ce.cli.inputs import Parts
from tinygrad_ce.cli.runs import Run, reached
from tinygrad_ce.cli.wording import counted
from tinygrad_ce.data.arrays import shown
from tinygrad_ce.data.columns import Plan
from tinygrad_ce.train import checkpoint, classifier, fit
from tinygrad_ce.train.callback import Callback
from tinygrad_ce.train.callbacks import EMA, Checkpoint, ClipGradNorm
from tinygrad_ce.train.checkpoint import CheckpointError
from tinygrad_ce.train.history import History
from tinygrad_ce.train.logs import CSVLog, TensorBoard
from tinygrad_ce.train.team import ALONE, Team, ready, started_together
from tinygrad_ce.train.training import Training

# Unless it is told how many epochs, a training has so many steps at least. It goes on while the loss falls, up to so
# many epochs or steps, whichever are fewer: while one of the last epochs is lower by that share than all before.
_STEPS, _MOST_EPOCHS, _MOST_STEPS = 2000, 40, 10_000
_LAST_STEPS, _LOWER = 1000, 0.01
_LEAST_BATCH, _MOST_BATCH, _BATCHES = 32, 1024, 400  # rows in a batch, and batches in an epoch where it may grow
_SAVED = 20  # how often a training saves, at least, if it has so many epochs; a write takes milliseconds
_FIXED = (
    "optimizer", "lr", "batch_size", "accumulate", "schedule", "warmup", "clip", "ema", "class_weight", "patience",
    "seed", "stream", "label",
)  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Train a classifier."""
    if not args.data:
        raise ValueError(f"no DATA: give one of {', '.join(inputs.SETS)}, or files; --help shows examples")
    team = _team(args.data_parallel)
    first = not team.rank  # of several processes it alone speaks and writes
    with ready(team):
        parts, folder = _prepare(args, first)
    if args.dry_run:
        return 0
    with contextlib.ExitStack() as held:
        with ready(team):
            if first:
                held.enter_context(folder.made())
        return _train(args, team, parts, folder)


def _train(args: argparse.Namespace, team: Team, parts: Parts, folder: Run) -> int:
    """Train, where the folder is this program's, and write down what came of it."""
    with ready(team):  # only now the folder is there for all of them
        widths = parts.features, len(parts.classes), args.hidden
        model = classifier.make(*widths, args.activation, x=parts.train, seed=args.seed)
        options = _options(args, parts, model, folder)
    together: Callable[..., History] = fit
    if args.data_parallel:
        from tinygrad_ce.mpi import fit as together  # if one process fails, it says why and ends all
    history = together(model, parts.train, **options)
    if not team.rank:
        if args.film:
            _save_film(options["callbacks"], parts, folder)
        _report(args, parts, model, folder, history)
    return 0


def _team(wanted: bool) -> Team:
    """The processes that share a training.

    Raises:
        ValueError: there are several, and nobody wants them to share anything: each would train the same model.
        ImportError: mpi4py isn't installed.
    """
    if wanted:
        from tinygrad_ce.mpi import Ranks

        return Ranks()
    if started_together():
        words = "mpiexec started several processes, and each would train the same model and write the same files"
        raise ValueError(f"{words}; share the work with --data-parallel")
    return ALONE


def _prepare(args: argparse.Namespace, first: bool) -> tuple[Parts, Run]:
    """Read the data, settle what was left open, and say what is planned."""
    stem = args.data[0] if args.data[0] in inputs.SETS else Path(args.data[0]).resolve().name.partition(".")[0]
    args.run = args.run or Path(f"{stem or 'data'}-run")
    folder = Run(args.run, args, f"{__version__}: {shlex.join(['tinygrad-ce', *args.argv])}")
    if first:
        if args.figures and importlib.util.find_spec("matplotlib") is None:
            raise ImportError("--figures needs matplotlib: pip install 'tinygrad-ce[plot]'")
        folder.check()
    found = "" if args.resume else folder.replaced()
    before = classifier.load(folder.model)[1] if args.resume else {}
    plan = Plan.from_json(before["columns"]) if "columns" in before else None
    args.batch_size = args.batch_size or before.get("batch_size")
    loaded = inputs.load(args, plan, strict=args.resume and plan is None)
    parts = inputs.parts_of(loaded, args.data[0], bool(args.patience))
    _settle(args, parts.rows.train)
    if args.resume:
        meta = _before(folder.model, _about(args, parts))
        folder.done, found = len(meta["history"]["epoch"]), f"goes on {reached(meta)}"
    if first:
        print(summary.plan(args, parts, found), flush=True)
    return parts, folder


def _settle(args: argparse.Namespace, rows: int) -> None:
    """Put what depends on others in the place of options that were left open."""
    args.lr = args.lr or OPTIMIZERS[args.optimizer][2]
    args.batch_size = args.batch_size or min(
        max(_LEAST_BATCH, (1 << (rows // _BATCHES).bit_length()) // 2), _MOST_BATCH
    )
    if not args.epochs:
        steps = _steps(args, rows)
        most = min(_MOST_EPOCHS * steps, _MOST_STEPS)
        args.epochs = -(-max(_STEPS, most) // steps)
        args.stop_early |= most > _STEPS and not args.patience and args.schedule in ("constant", "plateau")
    if args.warmup >= args.epochs:
        raise ValueError(f"--warmup {args.warmup}: expected fewer than the {args.epochs} epochs")


def _steps(args: argparse.Namespace, rows: int) -> int:
    return -(-rows // int(args.batch_size * args.accumulate))


def _about(args: argparse.Namespace, parts: Parts) -> dict[str, Any]:
    """What the model's file says of it: what it is, and the settings that its training has to go on with."""
    fixed = {name: getattr(args, name) for name in _FIXED}
    if args.schedule in ("step", "cosine"):
        fixed["epochs"] = args.epochs  # they stretch over all of them
    fixed |= {name: value for name in ("drop", "category", "number", "missing") if (value := getattr(args, name))}
    if parts.table is not None:
        fixed["columns"] = parts.table.plan.as_json()
    return {
        "features": parts.features, "hidden": args.hidden, "activation": args.activation,
        "classes": list(parts.classes), "names": parts.names, "rows": list(parts.rows),
        "data": [Path(path).name for path in args.data], **fixed,
    }  # fmt: skip


def _before(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """What the file of the run to resume says of it. To the same bits it goes on only with the same settings."""
    _, meta = checkpoint.load(path)
    before = meta.get("classifier")
    if not isinstance(before, dict) or not {"history", "generators"} <= meta.keys():
        raise CheckpointError(f"{path}: holds no classifier of the command line")
    for key, value in about.items():
        if before.get(key) != value:
            words = f"{path}: was trained with {key} {shown(before.get(key))}, now it is {shown(value)}"
            raise CheckpointError(f"{words}; --config {path.with_name(config.FILE)} brings the settings back")
    return meta


def _options(args: argparse.Namespace, parts: Parts, model: nn.Sequential, folder: Run) -> dict[str, Any]:
    """What fit is given."""
    kind, options, _ = OPTIMIZERS[args.optimizer]
    optimizer = kind(model.parameters(), lr=args.lr, **options)
    return {
        "epochs": args.epochs, "batch_size": args.batch_size, "accumulate": args.accumulate, "optimizer": optimizer,
        "class_weight": args.class_weight, "validation": parts.validation, "patience": args.patience,
        "callbacks": [folder, *_callbacks(args, optimizer, _steps(args, parts.rows.train), folder)],
        "checkpoint": Checkpoint(folder.model, max(1, args.epochs // _SAVED), steps=args.checkpoint_steps),
        "resume": args.resume, "meta": {"classifier": _about(args, parts)}, "seed": args.seed,
        "progress": not args.quiet,
    }  # fmt: skip


def _callbacks(
    args: argparse.Namespace, optimizer: optim.Optimizer, steps: int, folder: Run
) -> list[Callback | optim.Schedule]:
    """What takes part, in the order in which it has to."""
    made: list[Callback | optim.Schedule | None] = [
        ClipGradNorm(args.clip) if args.clip else None,
        EMA(args.ema) if args.ema else None,
        _StopEarly() if args.stop_early else None,
        *_schedules(args, optimizer, steps),
        CSVLog(folder.metrics),
        TensorBoard(folder.tensorboard) if args.tensorboard else None,
        _recording() if args.film else None,
    ]
    return [callback for callback in made if callback is not None]


class _StopEarly(Callback):
    """Stop once the training's loss stays. The history alone decides: what goes on stops where it would have."""

    def on_train_begin(self, training: Training) -> None:
        """Stop at once if the training to go on with has ended."""
        if training.epoch:
            self.on_epoch_end(training)

    def on_epoch_end(self, training: Training) -> None:
        """Compare the last epochs with those before."""
        last, losses = max(2, -(-_LAST_STEPS // training.steps)), training.history["loss"]
        enough = len(losses) > last and len(losses) * training.steps >= _STEPS
        if enough and min(losses[-last:]) > (1 - _LOWER) * min(losses[:-last]):
            training.stop(f"the loss stays at {losses[-1]:.4g}")


def _recording() -> Callback:
    from tinygrad_ce.study.film import Recording  # with all that draws, which other trainings do without

    return Recording()


def _save_film(callbacks: list[Callback | optim.Schedule], parts: Parts, folder: Run) -> None:
    """The film of the rows held out, if there was an epoch."""
    from tinygrad_ce.study.film import Recording, film

    for recording in callbacks:
        if isinstance(recording, Recording) and len(recording.frames) > 1:
            film(recording, parts.test).save(folder.film)


def _schedules(args: argparse.Namespace, optimizer: optim.Optimizer, steps: int) -> list[optim.Schedule]:
    """Warm-up, and what follows it; they change the rate at every step."""
    warm, rest = args.warmup * steps, (args.epochs - args.warmup) * steps
    parts: list[optim.Schedule] = []
    if warm:
        parts.append(optim.LinearLR(optimizer, start_factor=1 / warm, total_iters=warm, per="step"))
    if args.schedule == "step":
        parts.append(optim.StepLR(optimizer, -(-rest // 3), per="step"))
    if args.schedule == "cosine":
        parts.append(optim.CosineAnnealingLR(optimizer, rest, per="step"))
    if len(parts) == 2:
        parts = [optim.SequentialLR(optimizer, parts, [warm])]
    if args.schedule == "plateau":  # it lowers whatever rate there is
        parts.append(optim.ReduceLROnPlateau(optimizer, factor=0.3, patience=3))
    return parts


def _report(args: argparse.Namespace, parts: Parts, model: nn.Sequential, folder: Run, history: History) -> None:
    """Measure the model on the rows held out, and say where everything is."""
    if folder.done >= args.epochs:
        print(f"nothing to do: {folder.model} has seen {counted(folder.done, 'epoch')}; ask for more with --epochs")
    if history.stopped and args.patience:
        best = (history.best_epoch or 0) + 1
        print(f"stopped after epoch {len(history)}: {history.stopped}; the weights are those of epoch {best}")
    elif history.stopped:
        print(f"stopped after epoch {len(history)}: {history.stopped}; to go on, --no-stop-early --epochs N")
    found = summary.score(model, inputs.pieces(parts.test), len(parts.classes))
    print(f"\n{found} held out\n")
    print(summary.table(found.confusion, parts.classes))
    folder.write_confusion(found.confusion, parts.classes)
    if args.figures:
        folder.draw(history, found.confusion, parts.classes)
    print(f"\nsaved in {args.run}/: {', '.join(folder.contents())}")
    if not args.figures and not args.quiet:
        print(f"figures, too: tinygrad-ce train --config {shlex.quote(str(folder.config))} --resume --figures")
