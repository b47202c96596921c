"""Interrupts: Ctrl-C at a thousand points of a training, and whether anything is lost.

Python looks for signals at the start of a function, after a call and on the way back in a loop, in the package, in
NumPy and in the standard library alike. At each such point that is tried, KeyboardInterrupt is raised, in a training
from its beginning or in one that goes on from a checkpoint. Then the parameters must be, in every bit, those of one
whole step of the same training left alone; the checkpoint must be that of one of its epochs, or not there yet; nothing
else may lie beside it; and going on must end in the same bits as never having stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import contextvars
import dis
import gc
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce.engine.node import is_recording
from tinygrad_ce.train import checkpoint

EPOCHS = 3
Weights = dict[str, bytes]

# After these Python looks for signals.
_LOOKS = {code for name, code in dis.opmap.items() if name.startswith(("RESUME", "CALL", "JUMP_BACKWARD"))}


class Interrupt:
    """Raises KeyboardInterrupt at a point of a call; without one it counts the points."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.seen = 0
        self.codes: dict[Any, bytes] = {}

    def during(self, function: Callable[[], Any]) -> Any:
        """Call a function; frames that it enters are watched."""
        before, collects = sys.gettrace(), gc.isenabled()
        gc.disable()  # what others hang on the collector would swallow the interrupt, and comes when it likes
        sys._getframe().f_trace_opcodes = True  # Python 3.12 looks at this when tracing begins
        sys.settrace(self._enter)
        try:
            return function()
        finally:
            sys.settrace(before)
            if collects:
                gc.enable()

    def come(self) -> None:
        """What the signal's handler does."""
        raise KeyboardInterrupt

    def _enter(self, frame: Any, event: str, argument: Any) -> Any:
        code = self.codes.setdefault(frame.f_code, frame.f_code.co_code)
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        last = -1

        def watch(frame: Any, event: str, argument: Any) -> Any:
            nonlocal last
            if event == "opcode":
                if last in _LOOKS:
                    self.seen += 1
                    if self.seen == self.at:
                        self.come()
                last = code[frame.f_lasti]
            return watch

        return watch


class _Told(tg.optim.Adam):
    """Adam that notes the model's weights after every step."""

    model: tg.nn.Module
    steps: list[Weights]

    def step(self) -> None:
        super().step()
        self.steps.append(weights(self.model))


def weights(model: tg.nn.Module) -> Weights:
    """Every bit of a model's parameters."""
    return {name: t.data.tobytes() for name, t in model.named_tensors()}


def make(seed: int) -> tg.nn.Module:
    """A small network whose dropout draws as it trains."""
    return tg.nn.Sequential(
        tg.nn.Linear(2, 5, rng=seed), tg.nn.ReLU(), tg.nn.Dropout(0.2, rng=seed), tg.nn.Linear(5, 3, rng=seed + 1)
    )


DATA = tg.data.make_blobs(24, seed=1)


def train(model: tg.nn.Module, optimizer: tg.optim.Optimizer, path: Path, resume: bool, epochs: int) -> tg.History:
    """The training that is interrupted."""
    schedule = tg.optim.CosineAnnealingLR(optimizer, EPOCHS)
    return tg.fit(
        model, DATA, epochs=epochs, batch_size=7, optimizer=optimizer, schedule=schedule, validation=0.2,
        patience=EPOCHS, checkpoint=path, resume=resume, progress=False,
    )  # fmt: skip


class Truth(NamedTuple):
    """The training left alone."""

    steps: list[Weights]  # from the weights at the start, one for each step
    epochs: list[Weights]  # after each epoch
    last: Weights
    history: dict[str, list[float]]
    checkpoint: bytes  # the file after the first epoch


def truth(folder: Path) -> Truth:
    """Run it in one go, and note everything."""
    path = folder / "c.npz"
    train(model := make(0), tg.optim.Adam(model.parameters(), lr=0.05), path, False, 1)
    first = path.read_bytes()
    optimizer = _Told((model := make(0)).parameters(), lr=0.05)
    optimizer.model, optimizer.steps = model, [weights(model)]
    history = train(model, optimizer, path, False, EPOCHS)
    size = (len(optimizer.steps) - 1) // EPOCHS
    return Truth(optimizer.steps, optimizer.steps[size::size], weights(model), history.history, first)


def interrupted(known: Truth, at: int | None, resume: bool, folder: Path) -> tuple[int, list[str]]:
    """Interrupt a training at a point (None: not at all); the points passed, and what is lost."""
    path = folder / "c.npz"
    if resume:
        path.write_bytes(known.checkpoint)
    model = make(9 if resume else 0)
    whole = [*known.steps, weights(model)]
    optimizer = tg.optim.Adam(model.parameters(), lr=0.05)
    interrupt = Interrupt(at)
    lost = []
    told, sys.unraisablehook = sys.unraisablehook, lambda _: None  # of a file that is closed half written
    with contextlib.suppress(KeyboardInterrupt):
        interrupt.during(lambda: train(model, optimizer, path, resume, EPOCHS))
    sys.unraisablehook = told
    if weights(model) not in whole:
        lost.append("the parameters are of no whole step")
    if len({module.training for _, module in model.named_modules()}) > 1:
        lost.append("some layers are in training, others in evaluation")
    if not is_recording():
        lost.append("nothing is recorded any more")
    if set(os.listdir(folder)) - {"c.npz"}:
        lost.append(f"files are left over: {os.listdir(folder)}")
    if path.exists():
        groups, meta = checkpoint.load(path)
        kept = {name: array.tobytes() for name, array in groups["model"].items()}
        if kept != known.epochs[len(meta["history"]["epoch"]) - 1]:
            lost.append("the checkpoint is of no epoch")
    elif resume:
        lost.append("the checkpoint is gone")
    again = make(5 if path.exists() else 0)
    history = train(again, tg.optim.Adam(again.parameters(), lr=0.05), path, path.exists(), EPOCHS)
    if weights(again) != known.last or history.history != known.history:
        lost.append("going on ends in other bits")
    return interrupt.seen, lost


def interrupts(count: int, seed: int = 0) -> Iterator[tuple[str, list[str]]]:
    """Interrupt at so many points, half of them in a training that goes on; for each: which, and what is lost."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        known = truth(root)
        rng = np.random.default_rng(seed)
        for resume in (False, True):
            points, lost = _apart(root, known, None, resume)
            if lost:
                yield "uninterrupted", lost
            share = min(points, (count + 1) // 2 if not resume else count // 2)
            for at in sorted(rng.choice(points, share, replace=False).tolist()):
                which = f"{'going on' if resume else 'from the start'}, point {at + 1:,} of {points:,}"
                yield which, _apart(root, known, at + 1, resume)[1]


def _apart(root: Path, known: Truth, at: int | None, resume: bool) -> tuple[int, list[str]]:
    """An interrupt in a folder and a context of its own."""
    with tempfile.TemporaryDirectory(dir=root) as folder:
        return contextvars.copy_context().run(interrupted, known, at, resume, Path(folder))


def main() -> int:
    """Interrupt, and print what is lost."""
    parser = argparse.ArgumentParser("python -m benchmarks.interrupts", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many points")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tried, found = 0, Counter[str]()
    for which, lost in interrupts(args.count, args.seed):
        tried += 1
        found.update(lost)
        for what in lost:
            print(f"{which}: {what}")
    print(f"{tried:,} interrupts of fit: {found.total() or 'nothing'} lost")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
