"""Run by mpiexec: the second rank is given something else than the first. Arguments: what, and a file."""

import sys

import numpy as np
from mpi4py import MPI

import tinygrad_ce as tg

rank, what = MPI.COMM_WORLD.rank, sys.argv[1]
second = rank == 1


class Steps(tg.train.Callback):
    def after_update(self, training):
        print("a step", flush=True)


def scaled(scale):
    return lambda output, y: tg.cross_entropy(output, y) * scale


x, y, _ = tg.data.make_blobs(60)
model = tg.nn.Sequential(
    tg.nn.Linear(2, 3, rng=rank), tg.nn.Dropout(0.4 if what == "model" and second else 0.2, rng=rank)
)  # fmt: skip
if what == "norm":
    model = tg.nn.Sequential(tg.nn.Linear(2, 3, rng=0), tg.nn.BatchNorm1d(3))
optimizer = tg.optim.SGD(model.parameters(), lr=0.2 if what == "rate" and second else 0.1)
given = {"optimizer": optimizer, "callbacks": [Steps()], "batch_size": 60, "epochs": 1, "progress": False}
rows = (x[::-1], y[::-1]) if what in ("order", "stream") and second else (x, y)
if what == "stream":
    rows = tg.data.stream(rows)
if what == "sample_weight":
    given["sample_weight"] = np.ones(60) + rank
if what == "loss":
    given["loss"] = scaled(1 + rank)
if what == "shards":
    given["sharded"] = True
if what == "metrics" and second:
    given["metrics"] = tg.train.macro_f1
if what == "validation":
    given["validation"] = 0.2 if second else None
if what == "shards" and second:
    given["validation"] = rows
if what == "schedule" and second:
    given["schedule"] = tg.optim.StepLR(optimizer, 3)
if what == "callback" and second:
    given["callbacks"] = []
if what == "logs" and not second:
    given["callbacks"].append(tg.train.CSVLog(sys.argv[2]))
tg.mpi.fit(model, rows, **given)
states = MPI.COMM_WORLD.allgather({name: a.tolist() for name, a in model.state_dict().items()})
assert all(state == states[0] for state in states)
