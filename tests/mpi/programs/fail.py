"""Run by mpiexec: a training in which rank 1 fails in its third epoch. Argument: the checkpoint's path."""

import sys

import tinygrad_ce as tg


class Fails(tg.train.Callback):
    def after_update(self, training):
        if training.epoch == 2 and training.team.rank == 1:
            raise ArithmeticError("on purpose, on rank 1")


model = tg.nn.Linear(2, 3, rng=0)
tg.mpi.fit(
    model, tg.data.make_blobs(64, seed=3), epochs=50, batch_size=8, checkpoint=sys.argv[1], callbacks=[Fails()]
)  # fmt: skip
print("never printed")
