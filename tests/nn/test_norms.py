"""BatchNorm1d: PyTorch's numbers, what it remembers, and how it goes through training, checkpoints and other files."""

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import nn


def test_batch_norm_as_pytorch(torch_figures):
    for row in torch_figures["batch_norm"]:
        layer = nn.BatchNorm1d(row["features"], dtype=np.float64, **row["options"])
        if layer.weight is not None:
            layer.weight.data = [1.5, *layer.weight.data[1:]]
            layer.bias.data = [layer.bias.data[0], -0.5, *layer.bias.data[2:]]
        for k, batch in enumerate(row["batches"]):
            x = tg.Tensor(batch["x"], requires_grad=True)
            layer.train(k < 3).zero_grad()
            y = layer(x)
            y.backward(y.data)
            what = f"{row['options']}, batch {k}"
            found = {"value": y.data, "gradient": x.grad, **layer.state_dict()}
            wanted = {"value": batch["value"], "gradient": batch["gradients"][0], **batch["state"]}
            found |= {f"{name}.grad": p.grad for name, p in layer.named_parameters()}
            wanted |= {f"{name}.grad": grad for name, grad in batch["parameters"].items()}
            assert list(found) == list(wanted)
            for name, numbers in wanted.items():
                shape = found[name].shape
                close = {"rtol": 1e-10, "atol": 1e-11, "err_msg": f"{what}: {name}"}
                np.testing.assert_allclose(found[name], np.reshape(numbers, shape), **close)


def test_a_batch_far_from_0_keeps_its_digits():
    x = np.float32(1e4) + np.arange(8, dtype=np.float32)[:, None] / 8
    exact = (x - x.mean(dtype=float)) / np.sqrt(x.astype(float).var() + 1e-5)
    layer = nn.BatchNorm1d(1)
    np.testing.assert_allclose(layer(x).data, exact, rtol=1e-6)
    np.testing.assert_allclose(layer.running_var.data, 0.9 + 0.1 * x.astype(float).var(ddof=1), rtol=1e-7)


def test_gradients_of_a_batch_agree_with_finite_differences():
    layer = nn.BatchNorm1d(3, dtype=np.float64)
    x = np.random.default_rng(0).standard_normal((4, 3))
    assert tg.gradcheck(lambda x, w, b: _with(layer, w, b)(x) ** 3, [x, np.array([1.0, 2, 3]), np.ones(3)], order=2)


def _with(layer, weight, bias):
    layer.weight, layer.bias = weight, bias
    return layer


def test_in_evaluation_a_row_does_not_depend_on_others_and_nothing_is_remembered():
    layer, x = nn.BatchNorm1d(3), np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    layer(x)
    before = layer.eval().state_dict()
    np.testing.assert_array_equal(np.concatenate([layer(x[:1]).data, layer(x[1:]).data]), layer(x).data)
    for name, numbers in layer.state_dict().items():
        np.testing.assert_array_equal(numbers, before[name])


def test_float16_is_stored_and_float32_remembered():
    layer = nn.BatchNorm1d(2, dtype=np.float16)
    x = tg.Tensor([[1e-3, 300.0], [2e-3, 400.0], [3e-3, 60000.0]], dtype=np.float16)
    assert layer(x).dtype == np.float16
    assert layer.running_var.dtype == np.float32
    assert np.isfinite(layer.running_var.data).all()


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: nn.BatchNorm1d(3)(np.zeros((2, 4))), ValueError, r"input has shape \(2, 4\), expected \(N, 3\) or"),
        (lambda: nn.BatchNorm1d(3)(np.zeros(3)), ValueError, r"input has shape \(3,\)"),
        (lambda: nn.BatchNorm1d(3)(np.zeros((1, 3))), ValueError, "a last batch of one row"),
        (lambda: nn.BatchNorm1d(0), ValueError, "BatchNorm1d: num_features is 0"),
        (lambda: nn.BatchNorm1d(2, momentum="0.1"), TypeError, "BatchNorm1d: momentum is '0.1'"),
        (lambda: nn.BatchNorm1d(2, momentum=2), ValueError, "momentum is 2, expected a number from 0 to 1"),
        (lambda: nn.BatchNorm1d(2, eps=-1), ValueError, "BatchNorm1d: eps is -1"),
    ],
)
def test_bad_input_is_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def network():
    return nn.Sequential(nn.Linear(2, 8, rng=0), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3, rng=1))


def test_a_model_with_it_trains_and_resumes_to_the_same_bits(tmp_path):
    blobs = tg.data.make_blobs(60, seed=3)
    options = {"batch_size": 20, "progress": False, "checkpoint": tmp_path / "c.npz"}
    whole = network()
    history = tg.fit(whole, blobs, epochs=4, batch_size=20, progress=False)
    assert history["accuracy"][-1] > history["accuracy"][0]
    tg.fit(network(), blobs, epochs=2, **options)
    resumed = network()
    tg.fit(resumed, blobs, epochs=4, resume=True, **options)
    assert resumed[1].num_batches_tracked.item() == 12
    for name, numbers in whole.state_dict().items():
        np.testing.assert_array_equal(resumed.state_dict()[name], numbers)


def test_a_step_that_fails_leaves_what_it_remembers_as_it_was():
    blobs = tg.data.make_blobs(60, seed=3)
    model = network()
    tg.fit(model, blobs, epochs=1, batch_size=20, progress=False)
    before = model.state_dict()
    calls = iter(range(99))

    def loss(z, y):
        return tg.cross_entropy(z, y) * (np.nan if next(calls) else 1.0)

    with pytest.raises(FloatingPointError, match="the loss is nan at epoch 1, step 2"):
        tg.fit(model, blobs, epochs=1, batch_size=20, loss=loss, progress=False)
    after = model.state_dict()
    assert after["1.num_batches_tracked"] == before["1.num_batches_tracked"] + 1  # the first step was whole


def test_it_goes_to_onnx_and_to_pytorchs_names(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("safetensors")
    model = nn.Sequential(nn.Linear(2, 8, rng=0), nn.BatchNorm1d(8), nn.ELU(0.5), nn.Linear(8, 3, rng=1))
    tg.fit(model, tg.data.make_blobs(60, seed=3), epochs=1, progress=False)
    tg.export.onnx(model, tmp_path / "m.onnx")  # compares the file's numbers with the model's
    tg.export.safetensors(model, tmp_path / "m.safetensors")
    other = nn.Sequential(nn.Linear(2, 8, rng=5), nn.BatchNorm1d(8), nn.ELU(0.5), nn.Linear(8, 3, rng=6))
    tg.export.load_safetensors(other, tmp_path / "m.safetensors")
    for name, numbers in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], numbers)
    names = [f"1.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]
    assert [name for name in model.state_dict() if name.startswith("1.")] == names
