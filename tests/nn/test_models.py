"""Layers, optimisers, schedules."""

import collections
import math

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import nn, optim


def test_linear_is_x_w_t_plus_b_and_seeded():
    layer = nn.Linear(3, 2, rng=0)
    x = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    np.testing.assert_allclose(layer(x).data, x @ layer.weight.data.T + layer.bias.data, rtol=1e-6)
    again = nn.Linear(3, 2, rng=np.random.default_rng(0))
    assert again.weight.data.tobytes() == layer.weight.data.tobytes()
    assert np.abs(nn.Linear(100, 50, rng=1).weight.data).max() <= 0.1
    assert layer.weight.dtype == np.float32
    assert layer(x.astype(np.float64)).dtype == np.float32
    assert nn.Linear(3, 2, bias=False, rng=0).bias is None


def test_a_layer_fed_the_wrong_width_names_both():
    with pytest.raises(ValueError, match=r"input has shape \(5, 4\), expected \(…, 3\)"):
        nn.Linear(3, 2, rng=0)(np.ones((5, 4)))


class Net(nn.Module):
    def __init__(self):
        self.blocks = [nn.Linear(2, 3, rng=0), nn.Linear(3, 3, rng=1)]
        self.heads = {"a": nn.Linear(3, 1, rng=2)}
        self.shared = self.blocks[0]
        self.scale = tg.Tensor(2.0)
        self.name = "net"

    def forward(self, x):
        for block in self.blocks:
            x = tg.tanh(block(x))
        return self.heads["a"](x) * self.scale


def test_parameters_are_found_in_attributes_lists_and_dicts():
    net = Net()
    names = [name for name, _ in net.named_parameters()]
    assert names == [f"{m}.{p}" for m in ("blocks.0", "blocks.1", "heads.a") for p in ("weight", "bias")]
    assert len(net.parameters()) == 6
    assert "scale" in net.state_dict()
    net.blocks[0].weight.requires_grad = False
    assert len(net.parameters()) == 5
    assert "blocks.0.weight" in net.state_dict()
    net(np.ones((2, 2))).sum().backward()
    assert net.blocks[1].weight.grad is not None
    assert net.blocks[0].weight.grad is None
    net.zero_grad()
    assert net.blocks[1].weight.grad is None


class Held(nn.Module):
    """A module that has one attribute."""

    def __init__(self, held):
        self.held = held


def objects(*held, shape=None):
    """An array of objects."""
    array = np.frompyfunc(held.__getitem__, 1, 1)(np.arange(len(held)))
    return array if shape is None else array[: math.prod(shape)].reshape(shape)


@pytest.mark.parametrize(
    ("hold", "names"),
    [
        (lambda a, b: collections.deque([a, b]), ["held.0", "held.1"]),
        (lambda a, b: objects(a, b), ["held.0", "held.1"]),
        (lambda a, b: objects(a, b, shape=(2, 1)), ["held.0.0", "held.1.0"]),
        (lambda a, b: objects(a, shape=()), ["held"]),
        (lambda a, b: {"x": [a], 2: (b,)}, ["held.x.0", "held.2.0"]),
        (lambda a, b: [a, collections.deque([{"y": b}])], ["held.0", "held.1.0.y"]),
        (lambda a, b: [a, {"none", ("of", "them")}, a], ["held.0"]),
    ],
)
def test_layers_are_found_wherever_they_have_a_name(hold, names):
    a, b = nn.Linear(1, 2, rng=0), nn.Linear(1, 2, rng=1)
    model = Held(hold(a, b))
    assert list(model.state_dict()) == [f"{name}.{what}" for name in names for what in ("weight", "bias")]
    model.eval()
    assert not a.training
    tensors = Held(hold(tg.Tensor(1.0, requires_grad=True), tg.Tensor(2.0, requires_grad=True)))
    assert list(tensors.state_dict()) == names


@pytest.mark.parametrize(
    ("hold", "what"),
    [
        (lambda a: {a}, "a set"),
        (lambda a: [[frozenset([a])]], "a frozenset"),
        (lambda a: {a: "first"}, "keys of a dict"),
        (lambda a: {"x": {a: 1}}, "keys of a dict"),
    ],
)
@pytest.mark.parametrize("part", [nn.ReLU(), tg.Tensor(1.0, requires_grad=True)])
def test_layers_without_a_name_are_refused(hold, what, part):
    model = Held(hold(part))
    for walk in (model.state_dict, model.parameters, model.eval, model.zero_grad, lambda: list(model.named_modules())):
        with pytest.raises(TypeError, match=f"Module: Held.held.* has Tensors or Modules as {what}, .* use a list"):
            walk()


def test_two_parts_of_one_name_are_refused():
    def linear():
        return nn.Linear(1, 2, rng=0)

    model = Held(Held(linear()))
    vars(model)["held.held"] = linear()
    tensor, other = tg.Tensor(1.0, requires_grad=True), tg.Tensor(2.0)
    doubled = [
        model, Held({1: linear(), "1": linear()}), Held({True: tensor, "True": other}),
        Held({"a.b": tensor, "a": {"b": other}}), nn.Sequential(Held({None: other, "None": tensor})),
    ]  # fmt: skip
    for model in doubled:
        with pytest.raises(ValueError, match=r"two parts of the model are named '.*, and one would be lost"):
            model.state_dict()
        with pytest.raises(ValueError, match="two parts of the model are named"):
            model.load_state_dict({})
    shared = linear()
    assert list(Held({1: shared, "1": shared}).state_dict()) == ["held.1.weight", "held.1.bias"]


def test_models_that_contain_themselves_share_or_are_deep():
    inner = nn.Linear(1, 2, rng=0)
    model = Held([inner, Held(inner)])
    model.held += [model.held, model]
    model.me = vars(model.held[1])["parent"] = model
    assert list(model.state_dict()) == ["held.0.weight", "held.0.bias"]
    assert [name for name, _ in model.named_modules()] == ["", "held.0", "held.1"]
    every = ["", "held.0", "held.1", "held.1.held"]
    assert [name for name, _ in model.named_modules(remove_duplicate=False)] == every
    assert repr(model).count("(me): ...") == 1
    deep = inner
    for _ in range(400):
        deep = nn.Sequential(deep)
    assert [*deep.state_dict()] == ["0." * 400 + "weight", "0." * 400 + "bias"]
    deep.eval().zero_grad()
    assert not inner.training
    for _ in range(60):  # every layer twice in the next one: 2 ** 60 names
        inner = nn.Sequential(inner, inner)
    assert len(inner.state_dict()) == 2


def test_a_frozen_parameter_stays_where_it_is():
    def frozen(zero_grad, step, make=optim.Adam):
        model = nn.Sequential(nn.Linear(2, 3, rng=0), nn.Linear(3, 2, rng=1))
        optimizer = make(model.parameters(), lr=0.1)
        moved = []
        for epoch in range(4):
            w = model[0].weight
            if epoch == 2:
                w.requires_grad = False
            zero_grad(model, optimizer)
            tg.cross_entropy(model(np.eye(2)), [0, 1]).backward()
            before = w.numpy(), model[1].weight.numpy()
            step(model, optimizer)
            moved.append(((w.data != before[0]).any(), (model[1].weight.data != before[1]).any()))
        return moved

    expected = [(True, True), (True, True), (False, True), (False, True)]
    for make in (optim.SGD, optim.Adam, lambda p, lr: optim.AdamW(p, lr, weight_decay=0.1)):
        assert frozen(lambda m, o: m.zero_grad(), lambda m, o: o.step(), make) == expected
        assert frozen(lambda m, o: o.zero_grad(), lambda m, o: o.step(), make) == expected
        assert frozen(lambda m, o: None, lambda m, o: o.step(), make) == expected
    model = nn.Linear(2, 2, rng=0)
    model.weight.grad = np.ones((2, 2))
    model.weight.requires_grad = False
    model.zero_grad()
    assert model.weight.grad is None


def test_clipping_passes_over_what_is_frozen():
    w, frozen = tg.Tensor([1.0, 2.0], requires_grad=True), tg.Tensor([5.0], requires_grad=True)
    w.grad, frozen.grad = [3.0, 4.0], [100.0]
    frozen.requires_grad = False
    assert optim.clip_grad_norm([w, frozen], 10.0) == 5.0
    optim.clip_grad_value([w, frozen], 3.5)
    assert w.grad.tolist() == [3, 3.5]
    assert frozen.grad.tolist() == [100]


def test_state_goes_out_and_in():
    a, b = nn.Linear(3, 2, rng=0), nn.Linear(3, 2, rng=1)
    b.load_state_dict(a.state_dict())
    assert b.weight.data.tobytes() == a.weight.data.tobytes()
    state = a.state_dict()
    state["weight"][...] = 0
    assert a.weight.data.any()
    for wrong, kind, message in [
        ({"weight": state["weight"]}, KeyError, r"missing \['bias'\]"),
        ({**state, "more": state["bias"]}, KeyError, r"unknown \['more'\]"),
        ({**state, "bias": np.zeros(3)}, ValueError, r"bias has shape \(3,\), expected \(2,\)"),
    ]:
        before = b.weight.data.tobytes()
        with pytest.raises(kind, match=message):
            b.load_state_dict(wrong)
        assert b.weight.data.tobytes() == before


def test_train_and_eval_reach_every_layer():
    model = nn.Sequential(nn.Linear(4, 4, rng=0), nn.Sequential(nn.Dropout(0.5, rng=0)))
    assert not model.eval()[1][0].training
    x = np.ones((3, 4), np.float32)
    assert model(x).data.tobytes() == model[0](x).data.tobytes()
    dropped = model.train()(x).data
    assert (dropped == 0).any()
    np.testing.assert_allclose(dropped[dropped != 0], 2 * model[0](x).data[dropped != 0], rtol=1e-6)


def test_dropout_keeps_the_mean_and_its_gradient_follows_the_mask():
    layer = nn.Dropout(0.3, rng=0)
    x = tg.Tensor(np.ones(100_000), requires_grad=True)
    y = layer(x)
    assert y.data.mean() == pytest.approx(1, abs=0.01)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, y.data)
    with pytest.raises(ValueError, match=r"p is 1.0, expected a chance in \[0, 1\)"):
        nn.Dropout(1.0)


@pytest.mark.parametrize(
    ("layer", "operator"),
    [
        (nn.ReLU(), tg.relu),
        (nn.LeakyReLU(0.2), lambda x: tg.leaky_relu(x, 0.2)),
        (nn.ELU(), tg.elu),
        (nn.ELU(0.5), lambda x: tg.elu(x, 0.5)),
        (nn.Identity(), lambda x: x),
        (nn.Tanh(), tg.tanh),
        (nn.Sigmoid(), tg.sigmoid),
        (nn.Softplus(), tg.softplus),
        (nn.GELU("tanh"), lambda x: tg.gelu(x, "tanh")),
        (nn.SiLU(), tg.silu),
        (nn.Softmax(0), lambda x: tg.softmax(x, 0)),
        (nn.LogSoftmax(), tg.log_softmax),
    ],
)
def test_activations_are_their_operators(layer, operator):
    x = np.linspace(-2, 2, 6).reshape(2, 3)
    np.testing.assert_array_equal(layer(x), operator(x))
    assert type(layer).__name__ in repr(layer)


def test_cross_entropy_loss_takes_the_options():
    x = np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    options = {"weight": [1.0, 2.0, 3.0], "reduction": "sum", "label_smoothing": 0.1, "ignore_index": 1}
    assert nn.CrossEntropyLoss(**options)(x, [0, 1]) == tg.cross_entropy(x, [0, 1], **options)


def test_standardize_measures_once_and_is_saved():
    x = np.array([[1.0, 5.0], [3.0, 5.0]])
    layer = nn.Standardize.of(x)
    assert layer(x).data.tolist() == [[-1, 0], [1, 0]]
    assert layer.parameters() == []
    assert sorted(layer.state_dict()) == ["mean", "scale"]


def test_sequential_refuses_what_is_no_module():
    with pytest.raises(TypeError, match="layer 1 is of type"):
        nn.Sequential(nn.ReLU(), tg.relu)


def test_a_module_list_is_a_list_whose_layers_have_names():
    blocks = nn.ModuleList([nn.Linear(2, 3, rng=0), nn.ReLU()])
    blocks.append(nn.Linear(3, 2, rng=1)).extend(nn.Tanh() for _ in range(2))
    assert len(blocks) == 5
    assert list(blocks) == blocks[:] == blocks.layers
    assert [name for name, _ in blocks.named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    blocks[-1] = nn.Sigmoid()
    assert isinstance(blocks[4], nn.Sigmoid)
    assert [type(layer) for layer in blocks[3:]] == [nn.Tanh, nn.Sigmoid]
    before = blocks.layers
    for wrong in (lambda: blocks.append(nn.ReLU), lambda: blocks.extend([nn.ReLU(), 3]), lambda: nn.ModuleList([1])):
        with pytest.raises(TypeError, match=r"ModuleList: layer \d is of type .*, expected a Module"):
            wrong()
    with pytest.raises(TypeError, match="make one: ReLU"):
        blocks[0] = nn.ReLU
    with pytest.raises(IndexError):
        blocks[5] = nn.ReLU()
    assert blocks.layers == before
    with pytest.raises(TypeError, match="ModuleList has no forward, as it is a list"):
        blocks(np.zeros((1, 2)))
    assert repr(nn.ModuleList()) == "ModuleList()"

    class Residual(nn.Module):
        def __init__(self):
            self.blocks = nn.ModuleList(nn.Linear(2, 2, rng=i) for i in range(3))

        def forward(self, x):
            for block in self.blocks:
                x = x + block(x)
            return x

    assert Residual()(np.ones((4, 2))).shape == (4, 2)
    assert len(Residual().parameters()) == 6


def test_a_module_without_forward_says_so():
    with pytest.raises(TypeError, match="Module has no forward"):
        nn.Module()(1)


# Optimisers


def test_twenty_steps_of_every_optimiser_as_pytorch(torch_figures):
    figures = torch_figures["optimizers"]
    for name, figure in figures["optimizers"].items():
        w = tg.Tensor(figures["start"], requires_grad=True)
        optimizer = getattr(optim, name.split()[0])([w], **figure["options"])
        for step, expected in enumerate(figure["path"]):
            optimizer.zero_grad()
            (((w - 1) ** 4).sum() + w[0] * w[1]).backward()
            optimizer.step()
            np.testing.assert_allclose(w.data, expected, rtol=1e-12, err_msg=f"{name}, step {step}")


def test_schedules_as_pytorch(torch_figures):
    for name, figure in torch_figures["schedules"].items():
        optimizer = optim.SGD([tg.Tensor(0.0, requires_grad=True)], lr=figure["lr"])
        schedule = getattr(optim, name)(optimizer, **figure["options"])
        for rate in figure["rates"]:
            schedule.step()
            assert optimizer.lr == pytest.approx(rate, rel=1e-12)


def test_parameters_keep_their_dtype_and_those_without_gradient_their_numbers():
    w, idle = (tg.Tensor([1.0, 2.0], requires_grad=True, dtype=np.float32) for _ in range(2))
    for kind in (optim.SGD, optim.Adam, optim.AdamW):
        (w * w).sum().backward()
        optimizer = kind([w, idle], lr=0.1)
        optimizer.step()
        optimizer.zero_grad()
        assert w.dtype == np.float32
    assert idle.data.tolist() == [1, 2]


def test_an_optimiser_goes_on_from_its_state():
    def run(steps, w, optimizer):
        for _ in range(steps):
            optimizer.zero_grad()
            ((w - 1) ** 4).sum().backward()
            optimizer.step()

    for make in (lambda p: optim.Adam(p, 0.1), lambda p: optim.SGD(p, 0.1, momentum=0.9)):
        w = tg.Tensor([1.5, -0.5], requires_grad=True)
        optimizer = make([w])
        run(3, w, optimizer)
        twin = tg.Tensor(w.data, requires_grad=True)
        other = make([twin])
        other.load_state_dict(optimizer.state_dict())
        run(3, w, optimizer)
        run(3, twin, other)
        assert twin.data.tobytes() == w.data.tobytes()
        with pytest.raises(ValueError, match="expected the parameter's"):
            other.load_state_dict({**optimizer.state_dict(), "0.more": np.zeros(7)})


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda w: optim.SGD([w], lr=-1.0), ValueError, "SGD: lr is -1.0, expected a finite number of at least 0"),
        (lambda w: optim.SGD([w], lr=np.nan), ValueError, "lr is nan"),
        (lambda w: optim.SGD([w], lr="0.1"), TypeError, "SGD: lr is '0.1', of type str, expected a number"),
        (lambda w: optim.SGD([w], 0.1, True), TypeError, "SGD: momentum is True, of type bool"),
        (lambda w: optim.Adam([w], lr=None), TypeError, "Adam: lr is None"),
        (lambda w: optim.Adam([w], lr=[0.1]), TypeError, r"Adam: lr is \[0.1\], of type list"),
        (lambda w: optim.AdamW([w], weight_decay="1"), TypeError, "AdamW: weight_decay is '1'"),
        (lambda w: optim.RMSprop([w], alpha=1.0), ValueError, "RMSprop: alpha is 1.0"),
        (lambda w: optim.RMSprop([w], eps="0"), TypeError, "RMSprop: eps is '0'"),
        (lambda w: optim.StepLR(optim.SGD([w]), 2, gamma="0.5"), TypeError, "StepLR: gamma is '0.5'"),
        (lambda w: optim.LinearLR(optim.SGD([w]), "0.5"), TypeError, "LinearLR: start_factor is '0.5'"),
        (lambda w: optim.clip_grad_norm([w], "1"), TypeError, "clip_grad_norm: max_norm is '1'"),
        (lambda w: tg.train.EMA("0.9"), TypeError, "EMA: decay is '0.9'"),
        (lambda w: nn.Dropout("0.5"), TypeError, "Dropout: p is '0.5'"),
        (lambda w: nn.LayerNorm(2, eps="0"), TypeError, "LayerNorm: eps is '0'"),
        (lambda w: optim.SGD([], lr=0.1), ValueError, "SGD: no parameters"),
        (lambda w: optim.SGD(w, lr=0.1), TypeError, "parameters is a Tensor, expected a list"),
        (lambda w: optim.SGD([w.data], lr=0.1), TypeError, r"parameters\[0\] is ReadOnlyArray"),
        (lambda w: optim.SGD([w * 2], lr=0.1), TypeError, "no leaf requiring grad"),
        (lambda w: optim.SGD([w], lr=0.1, nesterov=True), ValueError, "nesterov needs a momentum"),
        (lambda w: optim.Adam([w], betas=(0.9, 1.0)), ValueError, r"betas\[1\] is 1.0"),
        (lambda w: optim.StepLR(optim.SGD([w]), 0), ValueError, "step_size is 0"),
    ],
)
def test_bad_options_are_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call(tg.Tensor([1.0], requires_grad=True))


@pytest.mark.parametrize("make", [tg.optim.SGD, lambda p: tg.optim.SGD(p, momentum=0.9), tg.optim.Adam, tg.optim.AdamW])
def test_a_step_writes_to_nothing_that_others_hold(make):
    w = tg.Tensor(np.ones(100_000), requires_grad=True)
    optimizer = make([w])
    seen = []
    for k in range(4):  # a graph, a view or a snapshot keeps its numbers
        held = (w * w).sum(), w.data, w.detach(), w._value, optimizer.state_dict()
        seen.append((held, [held[0].item(), held[1].copy()]))
        w.grad = np.full(100_000, k + 1.0)
        optimizer.step()
    for (loss, view, detached, array, _), (value, numbers) in seen:
        assert loss.item() == value
        for other in (view, detached.data, array):
            np.testing.assert_array_equal(other, numbers)


def test_a_step_that_is_taken_back_can_be_taken_again():
    w = tg.Tensor(np.ones(10), requires_grad=True)
    adam = tg.optim.Adam([w])
    for _ in range(3):
        w.grad = np.ones(10)
        adam.step()
    before, memory = w._value, [dict(kept) for kept in adam.memory]
    numbers = w.numpy()
    adam.step()
    after = w.numpy()
    w._value, adam.memory = before, memory
    np.testing.assert_array_equal(w.data, numbers)
    adam.step()
    np.testing.assert_array_equal(w.data, after)
    np.testing.assert_array_equal(before, numbers)
