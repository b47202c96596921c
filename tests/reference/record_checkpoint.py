"""Record what version 0.1 wrote. With that version on the path, ``python tests/reference/record_checkpoint.py`` writes

checkpoint_0.1.npz, of a training that was stopped after 2 of its 4 epochs; checkpoint_0.1.json, what it came to after
all 4; and run_0.1, the folder of a training on the command line. (It was run at commit b8c1954 of 2026-11-21.)
"""

import json
import os
import pathlib
import shutil

import tinygrad_ce as tg
from tinygrad_ce.cli import main

HERE = pathlib.Path(__file__).parent


def train(epochs, **options):
    """Train with Adam, a schedule of 4 epochs, averaged weights and clipping."""
    model = tg.nn.Sequential(
        tg.nn.Linear(4, 5, rng=0), tg.nn.Tanh(), tg.nn.Dropout(0.1, rng=2), tg.nn.Linear(5, 3, rng=1)
    )
    optimizer = tg.optim.Adam(model.parameters(), lr=0.02)
    callbacks = [tg.train.EMA(0.9), tg.train.ClipGradNorm(1.0), tg.optim.CosineAnnealingLR(optimizer, 4)]
    settings = {"optimizer": optimizer, "callbacks": callbacks, "validation": 0.2, "seed": 3, "progress": False}
    history = tg.fit(model, tg.data.load_iris(), epochs=epochs, **settings, **options)
    return {name: t.data.tolist() for name, t in model.named_parameters()}, list(map(float, history["val_loss"]))


if __name__ == "__main__":
    assert tg.__version__ == "0.1.0", tg.__version__
    train(2, checkpoint=HERE / "checkpoint_0.1.npz")
    weights, losses = train(4)
    (HERE / "checkpoint_0.1.json").write_text(json.dumps({"weights": weights, "val_loss": losses}, indent=1) + "\n")
    os.chdir(HERE)  # no path of this machine is to stand in the run's settings
    shutil.rmtree("run_0.1", ignore_errors=True)
    main(["train", "iris", "--epochs", "3", "--run", "run_0.1"])
    shutil.rmtree("run_0.1/figures", ignore_errors=True)
