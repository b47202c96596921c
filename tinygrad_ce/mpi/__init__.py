"""Training by several processes over MPI (extra ``mpi``): fit shares the rows of each step among them."""

from tinygrad_ce.mpi.fit import failing_together, fit
from tinygrad_ce.mpi.ranks import Ranks

__all__ = ["Ranks", "failing_together", "fit"]
