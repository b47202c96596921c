"""fit says one line where a training is plainly sick, and nothing where it isn't."""

import warnings

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import nn

DIGITS = tg.data.load_digits()
SOME = DIGITS.x[:600], DIGITS.y[:600]


def hidden(bias=0.0):
    model = nn.Sequential(nn.Linear(64, 8, rng=0), nn.ReLU(), nn.Linear(8, 10, rng=1))
    model[0].bias.data -= bias
    return model


def said(model, data, **options):
    """The warnings of a training."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tg.fit(model, data, **{"epochs": 6, "progress": False, **options})
    assert all(warning.filename == __file__ for warning in caught)
    return [str(warning.message) for warning in caught]


SICK = {
    "all 600 rows are of one class, 3": lambda: (hidden(), (SOME[0], np.full(600, 3)), {}),
    "no gradient reaches 0.weight": lambda: (hidden(bias=100), SOME, {}),
    "features with means or deviations of": lambda: (
        nn.Linear(64, 10, rng=0),
        (SOME[0] * 5000, SOME[1]),
        {},
    ),
    "never below log C = 2.303": lambda: (
        hidden(),
        SOME,
        {"optimizer": lambda m: tg.optim.SGD(m.parameters(), lr=0.0)},
    ),
}


@pytest.mark.parametrize("words", SICK)
def test_a_sick_training_is_told_of_in_one_line(words):
    model, data, options = SICK[words]()
    if "optimizer" in options:
        options["optimizer"] = options["optimizer"](model)
    (line,) = said(model, data, **options)
    assert line.startswith("fit: ")
    assert words in line
    assert "\n" not in line


def test_a_healthy_training_is_not():
    assert said(hidden(), SOME) == []
    large = SOME[0] * 5000, SOME[1]
    assert said(nn.Sequential(nn.Standardize.of(large), *hidden()), large) == []


def test_a_branch_that_counts_0_times_may_be_the_cause():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(64, 8, rng=0), nn.Linear(8, 10, rng=1), nn.Linear(64, 10, rng=2)

        def forward(self, x):
            return self.b(tg.relu(self.a(x))) + 0 * self.c(x)

    (line,) = said(Model(), SOME)
    assert "no gradient reaches c.weight" in line
    assert "or its output is multiplied by 0" in line


def test_of_few_steps_nothing_is_said():
    frozen = hidden()
    assert said(frozen, SOME, epochs=2, optimizer=tg.optim.SGD(frozen.parameters(), lr=0.0)) == []
