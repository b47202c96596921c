"""Learning-rate schedules and parameter groups: PyTorch's rates, in loops of one's own and in fit, and resuming."""

import contextlib
import functools
import json
import pathlib

import numpy as np
import pytest

import tinygrad_ce as tg
from benchmarks.interrupts import Interrupt
from tinygrad_ce import data, nn, optim


@pytest.fixture(scope="module")
def figures():
    """PyTorch's rates, as reference/record_training.py wrote them."""
    return json.loads((pathlib.Path(__file__).parents[1] / "reference" / "torch_training.json").read_text())


@pytest.fixture(scope="module")
def blobs():
    return data.make_blobs(60, seed=3)


def sgd(lr=0.4):
    return optim.SGD([tg.Tensor(0.0, requires_grad=True)], lr=lr)


def made(optimizer, sequence, milestones, **options):
    schedules = [getattr(optim, name)(optimizer, **chosen, **options) for name, chosen in sequence]
    return optim.SequentialLR(optimizer, schedules, milestones) if milestones else schedules[0]


def test_rates_are_pytorchs(figures):
    assert len(figures["schedules"]) == 20
    for figure in figures["schedules"]:
        optimizer = sgd(figure["lr"])
        schedule = made(optimizer, figure["sequence"], figure["milestones"])
        rates = [optimizer.lr]
        for _ in figure["rates"][1:]:
            schedule.step()
            rates.append(optimizer.lr)
        np.testing.assert_allclose(rates, figure["rates"], rtol=1e-12, atol=1e-15, err_msg=str(figure["sequence"]))
        np.testing.assert_array_equal([schedule.rate(t) for t in range(len(rates))], rates)


def test_one_cycle_is_pytorchs_with_its_momentum(figures):
    assert len(figures["one_cycle"]) == 21
    for figure in figures["one_cycle"]:
        w = tg.Tensor(0.0, requires_grad=True)
        optimizer = getattr(optim, figure["optimizer"])([w], lr=0.4, **figure["given"])
        schedule = optim.OneCycleLR(optimizer, **figure["options"])
        rates, momenta = [], []
        for _ in figure["rates"]:
            rates.append(optimizer.lr)
            momenta.append(optimizer.betas[0] if figure["optimizer"] == "Adam" else optimizer.momentum)
            schedule.step()
        np.testing.assert_allclose(rates, figure["rates"], rtol=1e-12, atol=1e-15, err_msg=str(figure["options"]))
        np.testing.assert_allclose(momenta, figure["momenta"], rtol=1e-12, err_msg=str(figure["options"]))
        assert optimizer.lr == rates[-1]  # after the last step it stays
        with pytest.raises(ValueError, match="one step more than total_steps"):
            schedule.step()


def grouped(figure, start):
    """Two parameters, each in a group of its own, with the optimiser and the schedule of a figure."""
    w, v = (tg.Tensor(numbers, requires_grad=True) for numbers in start)
    listed = [{"params": [p], **own} for p, own in zip((w, v), figure["groups"], strict=True)]
    optimizer = getattr(optim, figure["optimizer"])(listed, **figure["shared"])
    name, options = figure["schedule"] or (None, {})
    return w, v, optimizer, getattr(optim, name)(optimizer, **options) if name else None


def steps(w, v, optimizer, schedule, count):
    path, rates = [], []
    for _ in range(count):
        optimizer.zero_grad()
        ((w - 1) ** 2 + v**2 + w * v).sum().backward()
        rates.append(optimizer.rates)
        optimizer.step()
        path.append([w.data.tolist(), v.data.tolist()])
        if schedule is not None:
            schedule.step(*[3.0] * isinstance(schedule, optim.ReduceLROnPlateau))
    return path, rates


def test_groups_are_pytorchs_under_every_schedule(figures):
    assert len(figures["groups"]["figures"]) == 35
    for figure in figures["groups"]["figures"]:
        path, rates = steps(*grouped(figure, figures["groups"]["start"]), len(figure["path"]))
        what = str({name: figure[name] for name in ("optimizer", "groups", "schedule")})
        np.testing.assert_allclose(rates, figure["rates"], rtol=1e-12, err_msg=what)
        np.testing.assert_allclose(path, figure["path"], rtol=1e-10, atol=1e-13, err_msg=what)


def test_groups_go_on_from_a_state_to_the_same_bits(figures):
    for figure in figures["groups"]["figures"]:
        w, v, optimizer, schedule = grouped(figure, figures["groups"]["start"])
        steps(w, v, optimizer, schedule, 4)
        *twins, other, again = grouped(figure, [w.data, v.data])
        for order in ((other, optimizer), (again, schedule)):
            if order[0] is not None:
                order[0].load_state_dict({k: np.asarray(a) for k, a in order[1].state_dict().items()})
        rest = steps(w, v, optimizer, schedule, 7)
        assert steps(*twins, other, again, 7) == rest


def test_fit_resumes_groups_under_a_schedule(blobs, tmp_path):
    def train(epochs, **options):
        model = nn.Sequential(nn.Linear(2, 8, rng=0), nn.Tanh(), nn.Linear(8, 3, rng=1))
        first, last = model[0].parameters(), model[2].parameters()
        optimizer = optim.SGD([{"params": first}, {"params": last, "lr": 0.01}], lr=0.2, momentum=0.9)
        schedule = optim.ExponentialLR(optimizer, 0.5)
        history = tg.fit(
            model, blobs, epochs=epochs, optimizer=optimizer, schedule=schedule, progress=False, **options
        )  # fmt: skip
        return model, optimizer, history

    whole, optimizer, history = train(4)
    assert history["lr"] == [0.2, 0.1, 0.05, 0.025]
    np.testing.assert_allclose(optimizer.rates, [0.2 / 16, 0.01 / 16])
    train(2, checkpoint=tmp_path / "c.npz")
    resumed, optimizer, _ = train(4, checkpoint=tmp_path / "c.npz", resume=True)
    assert optimizer.rates == pytest.approx([0.2 / 16, 0.01 / 16])
    for name, numbers in whole.state_dict().items():
        np.testing.assert_array_equal(resumed.state_dict()[name], numbers)


def test_one_rate_given_to_groups_is_the_rate_of_all():
    a, b = (tg.Tensor(1.0, requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([{"params": a}, {"params": [b], "lr": 0.5}], lr=0.25)
    assert optimizer.rates == [0.25, 0.5]
    a.grad = b.grad = 1.0
    optimizer.step()
    assert (a.item(), b.item()) == (0.75, 0.5)
    optimizer.lr = 0.125
    optimizer.step()
    assert (a.item(), b.item()) == (0.625, 0.375)
    assert optimizer.state_dict()["lr"].tolist() == [0.125, 0.125]


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda a, b: optim.SGD([{"params": [a]}, b]), TypeError, r"SGD: parameters\[1\] is Tensor .* expected groups"),
        (lambda a, b: optim.SGD([{"parameters": [a]}]), TypeError, r"SGD: parameters\[0\] is dict .*\"params\": "),
        (lambda a, b: optim.SGD([{"params": [a]}, {"params": [a, b]}]), ValueError, "a parameter is listed twice"),
        (lambda a, b: optim.SGD([{"params": [a], "lr": "0.1"}]), TypeError, "SGD: lr is '0.1'"),
        (lambda a, b: optim.Adam([{"params": [a], "betas": (2, 0)}]), ValueError, r"Adam: betas\[0\] is 2"),
        (lambda a, b: optim.SGD([{"params": [a], "learning_rate": 1}]), TypeError, "'learning_rate'; here it is lr"),
        (lambda a, b: optim.SGD([{"params": []}, {"params": [b]}]), ValueError, "SGD: no parameters"),
        (lambda a, b: optim.SGD([a]).param_groups, AttributeError, "param_groups'; here it is groups, and lr"),
        (lambda a, b: optim.OneCycleLR(optim.SGD([a]), [0.1, 0.2], 5), ValueError, "OneCycleLR: max_lr has 2 rates"),
        (lambda a, b: optim.OneCycleLR(optim.SGD([a]), 0.1), ValueError, "give total_steps, or epochs and steps"),
        (lambda a, b: optim.OneCycleLR(optim.SGD([a]), 0.1, 5, pct_start=2), ValueError, "pct_start is 2"),
        (lambda a, b: optim.OneCycleLR(optim.SGD([a]), 0.1, 5, div_factor=0), ValueError, "div_factor is 0"),
        (lambda a, b: optim.OneCycleLR(optim.Optimizer([a], 0.1), 0.1, 5), ValueError, "no momentum to cycle"),
        (lambda a, b: optim.ExponentialLR(optim.SGD([a]), -1), ValueError, "ExponentialLR: gamma is -1"),
    ],
)
def test_bad_groups_and_schedules_are_named(make, kind, message):
    with pytest.raises(kind, match=message):
        make(*(tg.Tensor(1.0, requires_grad=True) for _ in range(2)))


def test_a_state_of_other_groups_changes_nothing():
    a, b = (tg.Tensor(1.0, requires_grad=True) for _ in range(2))
    one, two = optim.SGD([a, b], lr=0.3), optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}])
    for here, there in ((one, two), (two, one)):
        before = here.rates
        with pytest.raises(ValueError, match="the state's lr has shape"):
            here.load_state_dict(there.state_dict())
        assert here.rates == before


def test_a_training_longer_than_its_cycle_is_refused_before_the_first_step(blobs):
    model = nn.Linear(2, 3, rng=0)
    optimizer = optim.SGD(model.parameters(), momentum=0.9)
    before = model.state_dict()
    cycle = optim.OneCycleLR(optimizer, 0.1, total_steps=10)
    with pytest.raises(ValueError, match="total_steps is 10, but the training has 12"):
        tg.fit(model, blobs, epochs=4, batch_size=20, optimizer=optimizer, schedule=cycle, progress=False)
    assert all((before[name] == numbers).all() for name, numbers in model.state_dict().items())


def test_one_cycle_goes_on_with_its_momentum(blobs, tmp_path):
    def train(epochs, **options):
        model = nn.Linear(2, 3, rng=0)
        adam = optim.Adam(model.parameters())
        cycle = optim.OneCycleLR(adam, 0.1, epochs=4, steps_per_epoch=3)
        tg.fit(model, blobs, epochs=epochs, batch_size=20, optimizer=adam, schedule=cycle, progress=False, **options)
        return model.weight.numpy(), adam.betas, adam.lr

    weight, *whole = train(4)
    train(2, checkpoint=tmp_path / "c.npz")
    again, *resumed = train(4, checkpoint=tmp_path / "c.npz", resume=True)
    assert resumed == whole
    np.testing.assert_array_equal(again, weight)


def test_plateaus_are_pytorchs(figures):
    measured, lr = figures["plateaus"]["measured"], figures["plateaus"]["lr"]
    for figure in figures["plateaus"]["figures"]:
        optimizer = sgd(lr)
        schedule = optim.ReduceLROnPlateau(optimizer, **figure["options"])
        rates = []
        for value in measured:
            schedule.step(value if schedule.mode == "min" else 20 - value)
            rates.append(optimizer.lr)
        np.testing.assert_allclose(rates, figure["rates"], rtol=1e-12, err_msg=str(figure["options"]))


@pytest.mark.parametrize(
    "name", ["mode", "factor", "patience", "cooldown", "threshold", "threshold_mode", "min_lr", "eps"]
)
def test_every_option_makes_a_difference_to_the_recorded_plateaus(figures, name):
    alike = {}
    for figure in figures["plateaus"]["figures"]:
        others = json.dumps({key: value for key, value in figure["options"].items() if key != name})
        alike.setdefault(others, set()).add(tuple(figure["rates"]))
    assert max(len(rates) for rates in alike.values()) > 1


def test_a_schedule_starts_from_the_rate_that_the_optimizer_was_given():
    optimizer = sgd(0.4)
    optim.LinearLR(optimizer, start_factor=0.5)
    assert optimizer.lr == 0.2
    assert optim.CosineAnnealingLR(optimizer, 10).start == 0.4  # the warm-up's factor is not the optimiser's rate
    optim.LinearLR(optimizer, start_factor=0.5)
    assert optimizer.lr == 0.2  # a notebook's cell that is run twice
    optimizer.lr = 0.3
    assert optim.StepLR(optimizer, 10).start == 0.3  # what somebody set is


def test_between_its_changes_a_schedule_leaves_the_rate_to_others():
    optimizer = sgd(0.4)
    warmup = optim.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    plateau = optim.ReduceLROnPlateau(optimizer, factor=0.1, patience=0)
    rates = []
    for loss in (3.0, 2.0, 2.0, 1.0):
        warmup.step()
        plateau.step(loss)
        rates.append(optimizer.lr)
    assert rates == pytest.approx([0.3, 0.4, 0.04, 0.04])


def test_a_nan_never_improves():
    optimizer = sgd(1.0)
    schedule = optim.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    for loss in (np.nan, np.nan, 1.0, np.nan):
        schedule.step(loss)
    assert (optimizer.lr, schedule.best, schedule.bad_epochs) == (0.5, 1.0, 1)


# In fit


def fit(blobs, make, epochs=6, lr=0.4, **options):
    model = nn.Linear(2, 3, rng=0)
    optimizer = optim.SGD(model.parameters(), lr=lr)
    schedule = make(optimizer)
    history = tg.fit(
        model, blobs, epochs=epochs, batch_size=20, optimizer=optimizer, schedule=schedule, progress=False, **options
    )
    return model, optimizer, history


class Rates(tg.train.Callback):
    """Notes the rate of every update."""

    def __init__(self):
        self.rates = []

    def before_update(self, training):
        self.rates.append(training.optimizer.lr)


def test_fit_steps_by_epoch(blobs):
    _, optimizer, history = fit(blobs, lambda o: optim.StepLR(o, 2, 0.5))
    assert history["lr"] == [0.4, 0.4, 0.2, 0.2, 0.1, 0.1]
    assert optimizer.lr == 0.05


def test_fit_steps_by_update(blobs):
    seen = Rates()
    fit(blobs, lambda o: optim.LinearLR(o, 0.2, total_iters=4, per="step"), epochs=2, callbacks=[seen])
    assert seen.rates == pytest.approx([0.08, 0.16, 0.24, 0.32, 0.4, 0.4])


def test_fit_tells_a_plateau_what_to_watch(blobs):
    losses = iter([3.0, 2.0, 2.5, 2.5, 1.0, 1.0])
    watching = {"validation": 0.2, "loss": lambda z, y: tg.cross_entropy(z, y) if z.requires_grad else next(losses)}
    _, _, history = fit(blobs, lambda o: optim.ReduceLROnPlateau(o, factor=0.5, patience=1), **watching)
    assert history["val_loss"] == [3, 2, 2.5, 2.5, 1, 1]
    assert history["lr"] == [0.4, 0.4, 0.4, 0.4, 0.2, 0.2]
    scores = iter([0.5, 0.5, 0.6, 0.4, 0.7])
    metrics = {"metrics": {"score": lambda output, y: next(scores)}}
    plateau = lambda o: optim.ReduceLROnPlateau(o, "max", factor=0.5, patience=0, monitor="score")
    _, optimizer, history = fit(blobs, plateau, epochs=5, **metrics)
    assert history["lr"] == [0.4, 0.4, 0.2, 0.2, 0.1]
    assert optimizer.lr == 0.1


def test_an_accuracy_is_better_where_it_is_higher():
    assert optim.ReduceLROnPlateau(sgd(), monitor="val_accuracy").mode == "max"
    assert optim.ReduceLROnPlateau(sgd(), monitor="val_loss").mode == "min"
    assert optim.ReduceLROnPlateau(sgd(), "min", monitor="val_accuracy").mode == "min"


KINDS = {
    "step": lambda o: optim.StepLR(o, 2, 0.7),
    "cosine": lambda o: optim.CosineAnnealingLR(o, 6, 0.01),
    "cosine by step": lambda o: optim.CosineAnnealingLR(o, 18, per="step"),
    "warm-up by step": lambda o: optim.LinearLR(o, 0.1, total_iters=11, per="step"),
    "warm-up, cosine": lambda o: made(o, [("LinearLR", {"total_iters": 2}), ("CosineAnnealingLR", {"T_max": 4})], [2]),
    "plateau": lambda o: optim.ReduceLROnPlateau(o, factor=0.3, patience=1, threshold=0.2, cooldown=1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_resuming_gives_the_same_bits(blobs, tmp_path, kind):
    path = tmp_path / "c.npz"
    straight, _, whole = fit(blobs, KINDS[kind], validation=0.25)
    fit(blobs, KINDS[kind], validation=0.25, epochs=1, checkpoint=path)
    fit(blobs, KINDS[kind], validation=0.25, epochs=4, checkpoint=path, resume=True)
    # A new process may give the optimiser another rate: what the checkpoint says holds.
    resumed, _, history = fit(blobs, KINDS[kind], validation=0.25, checkpoint=path, resume=True, lr=0.9)
    assert history.history == whole.history
    assert len(set(history["lr"])) > 1
    assert resumed.weight.data.tobytes() == straight.weight.data.tobytes()


@pytest.mark.parametrize("stop", [3, 4, 5, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_goes_on_from_a_state(kind, stop):
    def run(optimizer, schedule, losses):
        for loss in losses:
            schedule.step(*([loss] if kind == "plateau" else []))
            yield optimizer.lr

    losses = [3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    optimizer = sgd()
    whole = list(run(optimizer, KINDS[kind](optimizer), losses))
    first, second = sgd(), sgd(7.0)
    begun, going_on = KINDS[kind](first), KINDS[kind](second)
    rates = list(run(first, begun, losses[:stop]))
    going_on.load_state_dict({name: np.asarray(value) for name, value in begun.state_dict().items()})
    second.load_state_dict(first.state_dict())
    assert rates + list(run(second, going_on, losses[stop:])) == whole
    before = going_on.state_dict()
    for wrong in ({"lr": np.nan}, {"epoch": -1}, {"epoch": 1.5}, {"epoch": [1, 2]}, {"start": np.nan}, {"x": 1}, {}):
        state = {**before, **wrong} if wrong else {}
        with pytest.raises(ValueError, match=type(going_on).__name__):
            going_on.load_state_dict(state)
        assert going_on.state_dict() == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", range(7))
@pytest.mark.parametrize("order", ["osl", "slo", "sol"])
def test_a_loop_goes_on_whatever_is_made_and_loaded_first(kind, stop, order):
    """o: load the optimiser, s: make the schedule, l: load it."""

    def step(schedule, loss=1.0):
        schedule.step(*([loss] if kind == "plateau" else []))

    first, second = sgd(), sgd(0.9)
    whole = KINDS[kind](first)
    for _ in range(stop):
        step(whole)
    for what in order:
        if what == "o":
            second.load_state_dict(first.state_dict())
        elif what == "s":
            going_on = KINDS[kind](second)
        else:
            going_on.load_state_dict(whole.state_dict())
    for _ in range(8):
        assert second.lr == first.lr
        step(whole)
        step(going_on)


def test_a_rate_set_in_between_is_the_schedules_state_too():
    first, second = sgd(), sgd()
    schedule = optim.StepLR(first, 4)
    first.lr = 0.05
    going_on = optim.StepLR(second, 4)
    going_on.load_state_dict(schedule.state_dict())
    assert second.lr == 0.05
    old = {name: value for name, value in schedule.state_dict().items() if name != "lr"}
    second.lr = 0.03
    going_on.load_state_dict(old)  # a state of an older version says nothing about it
    assert second.lr == 0.03


@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_in_a_schedules_step_gives_all_of_it_or_nothing(kind):
    def stepped(work):
        schedule = KINDS[kind](sgd())
        step = functools.partial(schedule.step, *([1.0] if kind == "plateau" else []))
        for _ in range(2):
            step()
        with contextlib.suppress(KeyboardInterrupt):
            work(step)
        return schedule.state_dict()

    whole = Interrupt()
    before, after = stepped(lambda step: None), stepped(whole.during)
    assert before != after
    for at in range(1, whole.seen + 1):
        assert stepped(Interrupt(at).during) in (before, after)


# What is refused


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda o: optim.StepLR(o, 0), ValueError, "StepLR: step_size is 0, expected a whole number of at least 1"),
        (lambda o: optim.StepLR(o, 2.5), ValueError, "step_size is 2.5"),
        (lambda o: optim.StepLR(o, 2, np.nan), ValueError, "gamma is nan"),
        (lambda o: optim.StepLR(o, 2, per="batch"), ValueError, "per is 'batch', expected 'epoch' or 'step'"),
        (lambda o: optim.StepLR(o.parameters, 2), TypeError, "optimizer is of type list"),
        (lambda o: optim.CosineAnnealingLR(o, 0), ValueError, "T_max is 0"),
        (lambda o: optim.CosineAnnealingLR(o, 5, -0.1), ValueError, "eta_min is -0.1"),
        (lambda o: optim.LinearLR(o, 0.0), ValueError, "LinearLR: start_factor is 0.0, expected a number above 0"),
        (lambda o: optim.LinearLR(o, 2), ValueError, "start_factor is 2"),
        (lambda o: optim.LinearLR(o, 0.1, -1), ValueError, "end_factor is -1, expected a number from 0 to 1"),
        (lambda o: optim.LinearLR(o, total_iters=0), ValueError, "total_iters is 0"),
        (lambda o: optim.ReduceLROnPlateau(o, "most"), ValueError, "mode is 'most', expected 'min' or 'max'"),
        (lambda o: optim.ReduceLROnPlateau(o, factor=1.0), ValueError, "factor is 1.0"),
        (lambda o: optim.ReduceLROnPlateau(o, patience=-1), ValueError, "patience is -1"),
        (lambda o: optim.ReduceLROnPlateau(o, threshold=1.5), ValueError, "threshold is 1.5"),
        (lambda o: optim.ReduceLROnPlateau(o, threshold_mode="max"), ValueError, "threshold_mode is 'max'"),
        (lambda o: optim.SequentialLR(o, [], []), ValueError, "0 schedules and 0 milestones"),
        (lambda o: optim.SequentialLR(o, [optim.StepLR(o, 1)] * 2, []), ValueError, "2 schedules and 0 milestones"),
        (lambda o: optim.SequentialLR(o, [optim.StepLR(o, 1)] * 3, [4, 4]), ValueError, r"\[4, 4\], expected rising"),
        (lambda o: optim.SequentialLR(o, [optim.StepLR(o, 1)] * 2, [0]), ValueError, r"milestones\[0\] is 0"),
        (lambda o: optim.SequentialLR(o, [optim.StepLR(sgd(), 1)], []), ValueError, "made for another optimizer"),
        (lambda o: optim.SequentialLR(o, [optim.ReduceLROnPlateau(o)], []), TypeError, "is a ReduceLROnPlateau"),
        (
            lambda o: optim.SequentialLR(o, [optim.StepLR(o, 1), optim.StepLR(o, 1, per="step")], [1]),
            ValueError,
            r"schedules\[1\] has per='step', the first one per='epoch'",
        ),
    ],
)
def test_wrong_options_are_named(make, kind, message):
    optimizer = sgd()
    with pytest.raises(kind, match=message):
        make(optimizer)
    assert optimizer.lr == 0.4


def test_fit_refuses_what_could_have_no_effect(blobs):
    model = nn.Linear(2, 3, rng=0)
    with pytest.raises(ValueError, match="StepLR: it was made for another optimizer than fit has"):
        tg.fit(model, blobs, schedule=optim.StepLR(sgd(), 2), progress=False)
    with pytest.raises(ValueError, match="monitor is 'val_f1'; measured are loss, accuracy, lr"):
        fit(blobs, lambda o: optim.ReduceLROnPlateau(o, monitor="val_f1"))
