"""Run by mpiexec: ranks that are given different things. Argument: which."""

import sys

from mpi4py import MPI

import tinygrad_ce as tg

rank = MPI.COMM_WORLD.rank
model = tg.nn.Linear(2, 3, rng=0)
if sys.argv[1] == "rows":
    tg.mpi.fit(model, tg.data.make_blobs(60 + rank), progress=False)
elif sys.argv[1] == "options":
    tg.mpi.fit(model, tg.data.make_blobs(60), batch_size=8 + rank, progress=False)
elif sys.argv[1] == "weights":

    class Drifts(tg.train.Callback):
        def on_epoch_begin(self, training):
            if rank:
                model.bias.data = model.bias.data + 1

    tg.mpi.fit(model, tg.data.make_blobs(60), callbacks=[Drifts()], progress=False)
elif sys.argv[1] == "dropout":
    drops = tg.nn.Dropout(0.5, rng=0)
    wide = tg.nn.Sequential(tg.nn.Linear(2, 64, rng=0), drops, tg.nn.Linear(64, 3, rng=1))
    tg.mpi.fit(wide, tg.data.make_blobs(64), epochs=1, batch_size=64, progress=False)
    states = MPI.COMM_WORLD.gather(drops.rng.random())
    if rank == 0:
        print("own numbers", len(set(states)) == len(states))
