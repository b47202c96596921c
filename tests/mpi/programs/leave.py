"""Run by mpiexec: a rank ends on its own. Arguments: before, within or after mpi.fit; how; which rank (-1: all)."""

import os
import sys

from mpi4py import MPI

import tinygrad_ce as tg

when, how, which = sys.argv[1:]
end = sys.exit if how == "exit" else os._exit
mine = int(which) in (MPI.COMM_WORLD.rank, -1)


class Ends(tg.train.Callback):
    def on_epoch_end(self, training):
        if when == "within" and mine and training.epoch == 2:
            end(0)


if when == "before" and mine:
    end(0)
tg.mpi.fit(tg.nn.Linear(2, 3, rng=0), tg.data.make_blobs(60), epochs=4, callbacks=[Ends()], progress=False)
print("trained", flush=True)
if when == "after" and mine:
    end(0)
