"""Reductions at the corners of their domain."""

import numpy as np
import pytest

import tinygrad_ce as tg


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_numbers_have_no_spread_and_no_gradient(dtype):
    rng = np.random.default_rng(0)
    for _ in range(200):
        count, number = int(rng.integers(2, 9)), dtype(rng.standard_normal() * 10 ** rng.uniform(-3, 3))
        for spread in (tg.var, tg.std):
            x = tg.Tensor(np.full(count, number), requires_grad=True)
            y = spread(x)
            y.backward()
            assert y == 0
            assert not x.grad.any()
