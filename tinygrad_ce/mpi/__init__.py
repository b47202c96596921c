"""Training by several processes over MPI (extra ``mpi``): fit shares the rows, linear_cross_entropy the classes."""

from tinygrad_ce.mpi.classes import linear_cross_entropy
from tinygrad_ce.mpi.fit import failing_together, fit
from tinygrad_ce.mpi.ranks import Ranks

__all__ = ["Ranks", "failing_together", "fit", "linear_cross_entropy"]
