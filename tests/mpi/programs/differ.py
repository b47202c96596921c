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
elif sys.argv[1] == "stop":  # the first rank's word counts, also where the others said nothing, or something else

    class Stops(tg.train.Callback):
        def __init__(self, rank, epoch):
            self.rank, self.epoch = rank, epoch

        def on_epoch_end(self, training):
            if rank == self.rank and training.epoch == self.epoch:
                training.stop("enough")

    history = tg.mpi.fit(
        model, tg.data.make_blobs(60), epochs=9, callbacks=[Stops(1, 2), Stops(0, 4)], checkpoint=sys.argv[2],
        progress=False,
    )  # fmt: skip
    if rank == 0:
        print("epochs", len(history), history.stopped)
elif sys.argv[1] == "few":  # fewer rows to measure than ranks, and a model that can't take none
    wide = tg.nn.Sequential(tg.nn.Linear(2, 3, rng=0), tg.nn.Flatten())
    forward = tg.nn.Flatten.forward
    tg.nn.Flatten.forward = lambda self, x: forward(self, x) if len(x) else 1 / 0
    held = tg.data.make_blobs(3)
    held = (held.x[:1], held.y[:1])
    history = tg.mpi.fit(
        wide, tg.data.make_blobs(60), epochs=1, validation=held, metrics=[tg.train.macro_f1], progress=False
    )
    if rank == 0:
        print("measured", sorted(history.history))
elif sys.argv[1] == "resume":  # dropout, in the middle of an epoch
    from tinygrad_ce.train import Checkpoint

    def train(seed, **options):
        drops = tg.nn.Dropout(0.5, rng=0)
        net = tg.nn.Sequential(tg.nn.Linear(2, 16, rng=seed), drops, tg.nn.Linear(16, 3, rng=1))
        tg.mpi.fit(net, tg.data.make_blobs(60), epochs=2, batch_size=12, progress=False, **options)
        return [p.data.tobytes() for p in net.parameters()]

    straight = train(0, callbacks=[Checkpoint(sys.argv[2] + "{step}.npz", every=9, steps=7)])
    resumed = train(5, checkpoint=sys.argv[2] + "7.npz", resume=True)
    if rank == 0:
        print("same bits", straight == resumed)
