"""Run by mpiexec: class-parallel linear_cross_entropy on every case, and calls that are at fault on one rank or on all.

Argument: the file that rank 0 writes with what all ranks found.
"""

import pickle
import sys

import numpy as np

INF = np.inf
CUTS = {1: [], 2: [2], 3: [0, 4], 4: [3, 3, 5]}  # where the ranks' slices end: uneven, some are empty


def cases(dtype):
    """Name: rows, weights, bias, targets, options."""
    rng = np.random.default_rng(5)
    x, w, b = rng.standard_normal((9, 4)), rng.standard_normal((7, 4)), rng.standard_normal(7)
    y = np.array([0, 6, 3, -100, 2, 2, 5, -100, 1])
    soft = rng.dirichlet(np.ones(7), 9)
    weight = np.linspace(0.5, 2, 7)
    grid = lambda a: np.round(a * 8) / 8  # their products and sums are exact in float32: slices round nothing
    far = np.array([1e4, -1e4, 1e4, 9990, 0, 1e4 - 20, -3e4])
    masked = np.array([-INF, -INF, -INF, 0.5, -INF, 1, -INF])
    # A gap of 20 (float64: 40) between the first classes: 1 + the others' sum rounds to 1.
    sure = [[0.0], [-20.0 if dtype == "float32" else -40.0], [-200.0], [-300.0]]
    odd = np.array([[1.0, 0], [np.nan, 0], [0, 1], [INF, 0]])
    found = {
        "plain": (x, w, b, y, {}),
        "no bias, each row": (x, w, None, y, {"reduction": "none"}),
        "weighted": (x, w, b, y, {"weight": weight, "reduction": "sum"}),
        "smoothed": (x, w, b, y, {"label_smoothing": 0.1}),
        "smoothed and weighted": (x, w, b, y, {"label_smoothing": 0.1, "weight": weight, "reduction": "none"}),
        "soft": (x, w, b, soft, {"label_smoothing": 0.1, "weight": weight}),
        "three axes": (x.reshape(3, 3, 4), w, b, np.where(y < 0, 6, y).reshape(3, 3), {"ignore_index": 6}),
        "huge offsets": (grid(x), grid(w), far, y, {"reduction": "none"}),
        "huge offsets, smoothed": (grid(x), grid(w), far, y, {"label_smoothing": 0.1}),
        "confident": (np.ones((3, 1)), sure, None, [0, 1, 0], {"reduction": "none"}),
        "masked": (x, w, masked, np.array([3, 5, 3, -100, 5, 5, 3, 3, 5]), {"reduction": "none"}),
        "masked, no weight": (x, w, masked, y * 0 + 3, {"label_smoothing": 0.1, "weight": np.isfinite(masked) * 1.0}),
        "all alike": (x, w * 0, None, y, {}),
        "nan and inf": (odd, w[:, :2], None, [0, 0, 1, 2], {"reduction": "none"}),
        "no rows": (x[:0], w, b, y[:0], {"reduction": "sum"}),
        "none counts": (x[:2], w, b, [-100, -100], {"reduction": "sum"}),
    }
    cast = lambda a: None if a is None else np.asarray(a, dtype)
    return {name: (cast(x), cast(w), cast(b), np.asarray(y), options) for name, (x, w, b, y, options) in found.items()}


def gradients(loss, leaves):
    """Twice: the second time, the forward's residual is used up."""
    g = np.arange(1.0, 1 + loss.size).reshape(loss.shape)
    found = []
    for _ in range(2):
        for leaf in leaves:
            leaf.grad = None
        loss.backward(g.astype(loss.dtype))
        found.append([leaf.grad for leaf in leaves])
    return found


def own(comm, array):
    """This rank's classes."""
    ends = [0, *CUTS[comm.size], len(array)]
    return array[min(ends[comm.rank], len(array)) : min(ends[comm.rank + 1], len(array))]


def run(comm, x, w, b, y, options):
    """On rank 0: the loss's bytes on each rank, and of each reverse pass the gradients, those in x from each rank."""
    leaves = [tg.Tensor(a, requires_grad=True) for a in (x, own(comm, w), *([] if b is None else [own(comm, b)]))]
    with tg.detect_anomaly() if np.isfinite(x).all() and b is None else contextlib.nullcontext():
        loss = classes.linear_cross_entropy(*leaves[:2], y, linear_bias=dict(enumerate(leaves)).get(2), **options)
        passes = gradients(loss, leaves)
    plain = classes.linear_cross_entropy(x, own(comm, w), y, linear_bias=None if b is None else own(comm, b), **options)
    return comm.gather((loss.data, np.asarray(plain), passes))


def faults(comm):
    """Name: a call that fails."""
    x, w, b, y, _ = cases("float64")["plain"]
    last = comm.rank == comm.size - 1
    call = lambda x=x, y=y, bias=None, **options: classes.linear_cross_entropy(
        x, own(comm, w), y, linear_bias=bias, **options
    )
    leaf = lambda: tg.Tensor(x, requires_grad=True)
    return {
        "label": lambda: call(y=y + 1),
        "rows": lambda: call(x[:-1] if last else x, y[:-1] if last else y),
        "order": lambda: call(x[::-1] if last else x),
        "dtype": lambda: call(x.astype("float32") if last else x),
        "target": lambda: call(y=np.where(y == 6, 5, y) if last else y),
        "smoothing": lambda: call(label_smoothing=0.1 * last),
        "reduction": lambda: call(reduction="average"),
        "bias": lambda: call(bias=np.zeros(len(own(comm, b)) + last)),
        "features": lambda: call(x[:, 1:] if last else x),
        "requires grad": lambda: call(x if last else leaf()),
        "soft target": lambda: call(y=tg.Tensor(np.ones((9, 7)) / 7, requires_grad=True)),
        "second derivative": lambda: tg.grad(call(t := leaf()), t, create_graph=True),
        "communicator": lambda: call(comm=2),
    }


def message(call):
    try:
        return repr(call())
    except (ValueError, TypeError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"


def stacked(comm):
    """The gradient in a layer that every rank has, below the classes; and the classes of every second rank alone."""
    x, w, _, y, _ = cases("float64")["plain"]
    below = tg.Tensor(np.eye(4) / 2, requires_grad=True)
    classes.linear_cross_entropy(tg.tanh(tg.Tensor(x) @ below), own(comm, w), y).backward()
    half = comm.Split(comm.rank % 2)
    return comm.gather((below.grad, float(classes.linear_cross_entropy(x, own(half, w), y, comm=half))))


def main():
    comm = MPI.COMM_WORLD
    blocks.BLOCK, blocks._ROWS = (6, 4) if comm.size > 1 else (blocks.BLOCK, blocks._ROWS)
    found = {
        "cases": {(name, d): run(comm, *case) for d in ("float32", "float64") for name, case in cases(d).items()},
        "faults": {name: comm.gather(message(call)) for name, call in faults(comm).items()} if comm.size > 1 else {},
        "stacked": stacked(comm),
    }
    if comm.rank == 0:
        with open(sys.argv[1], "wb") as file:
            pickle.dump(found, file)


if __name__ == "__main__":
    import contextlib

    from mpi4py import MPI

    import tinygrad_ce as tg
    from tinygrad_ce.kernels import linear as blocks
    from tinygrad_ce.mpi import classes

    main()
