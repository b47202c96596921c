"""Run by mpiexec: train by all ranks and by one, and say how far apart they are.

Arguments: what the rows are ("whole", "sharded", "stream"), and a folder.
"""

import sys

import numpy as np
from mpi4py import MPI

import tinygrad_ce as tg

kind, folder = sys.argv[1:]
comm = MPI.COMM_WORLD
blobs = tg.data.make_blobs(101, seed=3)
WEIGHT = np.linspace(0.5, 1.5, 101)


def net(seed):
    layers = [tg.nn.Linear(2, 8, rng=seed, dtype="float64"), tg.nn.Tanh()]
    return tg.nn.Sequential(*layers, tg.nn.Linear(8, 3, rng=seed + 1, dtype="float64"))


def options(model, name):
    optimizer = tg.optim.Adam(model.parameters(), lr=0.02)
    return {
        "epochs": 4, "batch_size": 9, "accumulate": 2, "seed": 4, "class_weight": "balanced", "patience": 3,
        "optimizer": optimizer, "schedule": tg.optim.CosineAnnealingLR(optimizer, 4),
        "callbacks": [tg.train.ClipGradNorm(0.4), tg.train.EMA(0.9), tg.train.CSVLog(f"{folder}/{name}.csv")],
        "metrics": {"f1": tg.train.macro_f1}, "checkpoint": f"{folder}/{name}.npz", "progress": False,
    }  # fmt: skip


alone, together = net(0), net(comm.rank)  # other weights on each rank: rank 0's count
y = np.where(np.arange(101) % 5, blobs.y, -100)  # uneven numbers of rows that count, too
rows, weights, extra = (blobs.x, y), {"sample_weight": WEIGHT}, {}
held = tg.data.make_blobs(50, seed=5)[:2]
mine, mine_held = rows, held
if kind == "sharded":  # the first rank has three rows, the others what is left, unevenly
    ends = [0, 3, *(3 + 98 * np.arange(1, comm.size) ** 2 // (comm.size - 1) ** 2)] if comm.size > 1 else [0, 101]
    part = slice(ends[comm.rank], ends[comm.rank + 1])
    mine, weights, extra = (blobs.x[part], y[part]), {"sample_weight": WEIGHT[part]}, {"sharded": True}
    mine_held = tuple(a[comm.rank :: comm.size] for a in held)
if kind == "stream":
    rows = mine = tg.data.stream((blobs.x, blobs.y))
    weights = {}

serial = dict(options(alone, f"serial{comm.rank}"))
truth = tg.fit(alone, rows, validation=held, **serial, **({"sample_weight": WEIGHT} if weights else {}))
history = tg.mpi.fit(together, mine, validation=mine_held, **options(together, "together"), **weights, **extra)
apart = max(float(abs(p.data - q.data).max()) for p, q in zip(alone.parameters(), together.parameters(), strict=True))
numbers = max(float(np.abs(np.subtract(truth[k], history[k])).max()) for k in truth.history)
every = comm.allgather([p.data.tobytes() for p in together.parameters()])
comm.Barrier()
if comm.rank == 0:
    print(f"ranks {comm.size} weights {apart:.1e} history {numbers:.1e} alike {all(e == every[0] for e in every)}")
