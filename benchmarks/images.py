"""conv2d and max_pool2d, forward and backward, float32: images (N, C, H, W), with a border in which kernels fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import turns

Call = Callable[[], Any]
CONVOLUTIONS = [((32, 1, 8, 8), 8, 3), ((32, 1, 28, 28), 8, 3), ((128, 8, 14, 14), 16, 3), ((64, 16, 28, 28), 32, 3),
                ((8, 32, 56, 56), 32, 3), ((64, 16, 28, 28), 32, 5)]  # fmt: skip
POOLS = [((32, 1, 28, 28), 2, 2), ((64, 16, 28, 28), 2, 2), ((64, 16, 28, 28), 3, 2), ((8, 32, 56, 56), 2, 2)]
CASES: turns.Cases = {
    **{f"conv2d {x} → {out}, {k} × {k}": ("conv2d", x, out, k) for x, out, k in CONVOLUTIONS},
    **{f"max_pool2d {x}, {k} × {k}, stride {s}": ("max_pool2d", x, k, s) for x, k, s in POOLS},
}


def data(name: str, shape: tuple[int, ...], out: int, kernel: int) -> list[np.ndarray]:
    """The images, and of a convolution its kernels and bias."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, np.float32)
    if name == "max_pool2d":
        return [x]
    return [x, rng.standard_normal((out, shape[1], kernel, kernel), np.float32), np.zeros(out, np.float32)]


def passes(functions: Any, leaves: list[Any], name: str, size: int, step: int) -> Call:
    """Forward and backward with the functions of a library."""

    def both() -> None:
        for leaf in leaves:
            leaf.grad = None
        options = {"padding": step // 2} if name == "conv2d" else {"kernel_size": size, "stride": step}
        getattr(functions, name)(*leaves, **options).sum().backward()

    return both


def tinygrad_ce(name: str, *case: Any) -> Call:
    """This project."""
    import tinygrad_ce as tg

    return passes(tg, [tg.Tensor(a, requires_grad=True) for a in data(name, *case)], name, *case[1:])


def pytorch(name: str, *case: Any) -> Call:
    """PyTorch, eager, on the CPU."""
    import torch

    torch.set_num_threads(turns.threads())
    leaves = [torch.from_numpy(a).requires_grad_() for a in data(name, *case)]
    return passes(torch.nn.functional, leaves, name, *case[1:])


PEERS: turns.Peers = {"tinygrad_ce": tinygrad_ce, "PyTorch": pytorch}

if __name__ == "__main__":
    turns.main("benchmarks.images", __doc__ or "", PEERS, CASES)
