"""The command doctor: what is wrong with the training of a run."""

from __future__ import annotations

import argparse

from tinygrad_ce import __version__, study
from tinygrad_ce.cli import config, inputs
from tinygrad_ce.cli.apply import divided
from tinygrad_ce.cli.arguments import OPTIMIZERS
from tinygrad_ce.cli.runs import open_model
from tinygrad_ce.train import checkpoint, classifier


def run(args: argparse.Namespace) -> int:
    """Diagnose a run: its model as trained, and short trainings from where it began."""
    if not config.is_run(args.model):
        raise ValueError(f"{args.model}: no run of this program, expected a folder that train has written")
    try:
        found = _diagnosis(args)
    except (ValueError, KeyError) as error:
        version = config.version(args.model)
        if version == __version__:
            raise
        words = error.args[0] if error.args else "unknown"
        raise ValueError(f"{args.model}: written by version {version}, this is {__version__}: {words}") from error
    print(found)
    if found.findings:
        print("\nLooked at are rows that it was trained on; their numbers count from 0 in the data.")
    if args.page:
        found.save(args.page)
        print(f"\npage saved to {args.page}")
    return 1 if found.findings else 0


def _diagnosis(args: argparse.Namespace) -> study.Diagnosis:
    model, about, path = open_model(args.model)
    trained = config.settings(path.with_name(config.FILE))
    rows, _, _ = divided(trained, about, " ".join(trained.data))
    widths = about["features"], len(about["classes"]), about["hidden"], about["activation"]
    start = classifier.make(
        *widths, x=rows.split(inputs.VALIDATION, 0)[0] if trained.patience else rows, seed=trained.seed
    )
    kind, options, lr = OPTIMIZERS[trained.optimizer]
    optimizer = kind(start.parameters(), lr=trained.lr or lr, **options)
    history = checkpoint.load(path)[1]["history"]["history"]
    return study.diagnose(model, rows, optimizer=optimizer, history=history, start=start)
