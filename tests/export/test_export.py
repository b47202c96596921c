"""Models out and in: ONNX against two other runtimes, safetensors against its own layout and PyTorch's figures."""

import json
import pathlib
import struct
import sys

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import export, nn
from tinygrad_ce.common import files
from tinygrad_ce.export.operators import OPERATORS

HERE = pathlib.Path(__file__).parents[1]
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _same_numbers_whichever_tests_run():
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def answer(model, x):
    y = model.eval()(tg.Tensor(x) if x.dtype.kind == "f" else x)
    return y.data if isinstance(y, tg.Tensor) else y


def reference(path, x):
    """The answer of ONNX's reference evaluator."""
    evaluator = pytest.importorskip("onnx.reference", reason="onnx, an extra, isn't installed")
    with np.errstate(all="ignore"):
        return evaluator.ReferenceEvaluator(path).run(None, {"input": x})[0]


def runtime(path, x):
    """The answer of onnxruntime."""
    library = pytest.importorskip("onnxruntime", reason="onnxruntime, a second opinion, isn't installed")
    return library.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"input": x})[0]


def assert_equals(model, path, x, *answers, atol=1e-6):
    y = answer(model, x)
    for other in answers:
        got = other(str(path), x)
        assert got.dtype == y.dtype
        assert got.shape == y.shape
        np.testing.assert_allclose(got, y, rtol=1e-6, atol=atol)


def mlp():
    return nn.Sequential(
        nn.Standardize.of(RNG.normal(3, 2, (9, 4))), nn.Linear(4, 16, rng=0), nn.ReLU(),
        nn.Linear(16, 8, bias=False, rng=1), nn.Tanh(), nn.Linear(8, 3, rng=2), nn.Softmax(),
    )  # fmt: skip


def cnn():
    return nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(0, 1), rng=0), nn.LeakyReLU(0.2), nn.MaxPool2d(2, stride=1),
        nn.Conv2d(4, 3, 3, bias=False, rng=1), nn.ReLU(), nn.MaxPool2d((1, 2)), nn.Flatten(), nn.Linear(18, 3, rng=2),
        nn.LogSoftmax(),
    )  # fmt: skip


def embedding():
    return nn.Sequential(nn.Embedding(10, 4, rng=0), nn.LayerNorm(4), nn.Flatten(), nn.Linear(20, 3, rng=1))


def dropout():
    return nn.Sequential(nn.Linear(4, 8, rng=0), nn.Dropout(0.5, rng=0), nn.ReLU(), nn.Linear(8, 3, rng=1))


def activations():
    layers = [nn.Sigmoid(), nn.Softplus(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.LogSigmoid(), nn.Softmin()]
    return nn.Sequential(nn.Linear(4, 8, rng=0), nn.LayerNorm((8,), bias=False), *layers)


MODELS = {
    "mlp": (mlp, lambda n: floats(n, 4), None),
    "cnn": (cnn, lambda n: floats(n, 2, 12, 9), np.zeros((1, 2, 12, 9))),
    "embedding": (embedding, lambda n: RNG.integers(0, 10, (n, 5)), np.arange(10).reshape(2, 5)),
    "dropout": (dropout, lambda n: floats(n, 4), None),
    "activations": (activations, lambda n: floats(n, 4), None),
    "only dropout": (lambda: nn.Sequential(nn.Dropout(0.5)), lambda n: floats(n, 4), np.zeros((1, 4))),
}


@pytest.mark.parametrize("answers", [reference, runtime])
@pytest.mark.parametrize("n", [1, 7])
@pytest.mark.parametrize("name", MODELS)
def test_other_runtimes_give_the_models_own_answer(name, n, answers, tmp_path):
    pytest.importorskip("onnx")
    make, inputs, example = MODELS[name]
    model = make()
    export.onnx(model, tmp_path / "m.onnx", example=example)
    assert_equals(model, tmp_path / "m.onnx", inputs(n), answers)


class Call(nn.Module):
    """A function of x and of parameters."""

    def __init__(self, function, *parameters):
        self.parameters_ = [tg.Tensor(p, requires_grad=True) for p in parameters]
        self.function = function

    def forward(self, x):
        return self.function(x, *self.parameters_)


MASK = np.array([[True, False, True, True]])
CALLS = {
    "abs": [tg.abs], "cos": [tg.cos], "exp": [tg.exp], "negative": [tg.negative], "sin": [tg.sin],
    "square": [tg.square], "tanh": [tg.tanh], "relu": [tg.relu], "sigmoid": [tg.sigmoid], "softplus": [tg.softplus],
    "silu": [tg.silu], "gelu": [tg.gelu, lambda x: tg.gelu(x, "tanh")],
    "elu": [tg.elu, lambda x: tg.elu(x, 0.3)],
    "leaky_relu": [tg.leaky_relu, lambda x: tg.leaky_relu(x, 0.3)],
    "log": [lambda x: tg.log(x * x + 1)], "sqrt": [lambda x: tg.sqrt(x * x + 1)],
    "power": [lambda x: x**2, lambda x: 2.0**x],
    "add": [lambda x: x + 1.5, lambda x: x + floats(4) * 0 + np.float32(2), lambda x: x + np.arange(4)],
    "subtract": [lambda x: 1 - x, lambda x: x - x.mean(0)], "multiply": [lambda x: x * x.detach()],
    "divide": [lambda x: x / np.float64(3)],
    "maximum": [lambda x: tg.maximum(x, 0.1)], "minimum": [lambda x: tg.minimum(x, np.float32([0, 1, 2, 3]))],
    "clip": [lambda x: x.clip(-0.5, 0.5), lambda x: x.clip(max=0.1), lambda x: x.clip(-0.1), tg.clip],
    "where": [lambda x: tg.where(MASK, x, 0.0)], "astype": [lambda x: x.astype(np.float64) * 2],
    "sum": [lambda x: x.sum(1), lambda x: x.sum(-1, keepdims=True), lambda x: x.sum(axis=())],
    "prod": [lambda x: x.prod(1)], "mean": [lambda x: x.mean((0, 1)), lambda x: x.mean(), lambda x: x.mean(1)],
    "max": [lambda x: x.max(1)], "min": [lambda x: x.min(1, keepdims=True)],
    "logsumexp": [lambda x: tg.logsumexp(x, 1), lambda x: tg.logsumexp(x, 1, keepdims=True, where=MASK)],
    "softmax": [tg.softmax, lambda x: tg.softmax(x, 0), lambda x: tg.softmax(x, (1,), where=MASK)],
    "log_softmax": [tg.log_softmax, lambda x: tg.log_softmax(x, where=MASK)],
    "matmul": [lambda x: x @ np.ones((4, 2), np.float32), lambda x: x @ np.ones(4, np.float32)],
    "linear": [lambda x: tg.linear(x.reshape(-1, 2, 2), np.ones((3, 2), np.float32), np.ones(3, np.float32))],
    "einsum": [lambda x: tg.einsum("bi,bj->bij", x, x), lambda x: tg.einsum("...i,ij", x, np.ones((4, 2)))],
    "reshape": [lambda x: x.reshape(-1, 2), lambda x: x.reshape(2, -1), lambda x: x.reshape(x.shape[0], 2, 2)],
    "squeeze": [lambda x: x[:, :1].squeeze(1)],
    "expand_dims": [lambda x: tg.expand_dims(x, (0, -1)), lambda x: tg.expand_dims(x @ x.T, 1)],
    "broadcast_to": [lambda x: tg.broadcast_to(x, (3, *x.shape)), lambda x: tg.broadcast_to(x.mean(0), (5, 4))],
    "transpose": [lambda x: x.T, lambda x: x.reshape(-1, 2, 1, 2).transpose(1, -1, 0, 2)],
    "swapaxes": [lambda x: x.reshape(-1, 2, 1, 2).swapaxes(0, -1)],
    "getitem": [lambda x: x[:, 1], lambda x: x[:, -1:], lambda x: x[:, ::-2], lambda x: x[..., None, 1:3],
                lambda x: x[-1], lambda x: x[1:, 3:0:-1], lambda x: x[:1], lambda x: x[None, ..., 2:]],
    "take": [lambda x: x.take([3, 0, -1], 1), lambda x: x.take(np.array([[0, 2]]), -1), lambda x: x.take([0, 2])],
    "embedding": [lambda x: x[:, :2] + tg.embedding([2], tg.Tensor(np.ones((3, 2)), True))],
    "join": [lambda x: tg.concatenate([x, x * 2], 1), lambda x: tg.stack([x, -x], 2)],
    "conv2d": [lambda x: tg.conv2d(x.reshape(-1, 1, 2, 2), np.ones((1, 1, 2, 2), np.float32), padding=1)],
    "max_pool2d": [lambda x: tg.max_pool2d(x.reshape(-1, 1, 2, 2), 2, 1)],
}  # fmt: skip


def test_every_operator_that_can_be_exported_is_tested():
    assert CALLS.keys() == OPERATORS.keys()


@pytest.mark.parametrize(("name", "i"), [(name, i) for name, calls in CALLS.items() for i in range(len(calls))])
def test_an_operators_nodes_compute_what_it_does(name, i, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = Call(CALLS[name][i])
    export.onnx(model, tmp_path / "m.onnx", example=np.zeros((1, 4)))
    nodes = onnx.load(tmp_path / "m.onnx").graph.node
    assert any(node.name.startswith(name) for node in nodes)
    for n in (2, 7):
        assert_equals(model, tmp_path / "m.onnx", floats(n, 4), reference, runtime)


def write(path, function, example=None, **options):
    pytest.importorskip("onnx")
    model = function if isinstance(function, nn.Module) else Call(function, np.ones(4, np.float32))
    export.onnx(model, path, example=np.zeros((1, 4)) if example is None else example, **options)


@tg.primitive
def relu(x):
    """Another operator of a name that is known."""
    return 2 * np.maximum(x, 0)


relu.vjp(x=lambda g, y, x: g)


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        (lambda x, w: tg.cumsum(x * w, 1), NotImplementedError, r"cumsum\(x: float32 \(2, 4\), axis=1\) has no trans"),
        (lambda x, w: relu(x), NotImplementedError, "relu.* has no translation"),
        (lambda x, w: x[:, [0, 1]], NotImplementedError, "getitem.*but for integers"),
        (lambda x, w: tg.softmax(x, None), NotImplementedError, "softmax.*along one axis"),
        (lambda x, w: tg.softmax(x, where=np.zeros(4, bool)), NotImplementedError, "softmax.*every class of a row"),
        (lambda x, w: x.reshape(-1, 4, order="F"), NotImplementedError, "reshape.*with order='F'"),
        (lambda x, w: tg.take(x, [5], 1, mode="wrap"), NotImplementedError, "take.*with mode='wrap'"),
        (lambda x, w: x * (x.data > 0), ValueError, "b of multiply.*would be frozen"),
        (lambda x, w: x.sum(0) / len(x), ValueError, "b of divide.*would be frozen"),
        (lambda x, w: tg.exp(x) if len(x) == 2 else tg.sin(x), ValueError, "take different operators"),
        (lambda x, w: tg.exp(x) if len(x) > 1 else tg.sin(x), ValueError, "for one row the graph gives"),
        (lambda x, w: x.squeeze(), ValueError, "for one row the graph gives"),
        (lambda x, w: x * 2 if x.data.sum() == 1e9 else w * 2, ValueError, "doesn't depend on its input"),
        (lambda x, w: x.data, TypeError, "returned a ReadOnlyArray, expected one Tensor"),
        (lambda x, w: x.detach(), ValueError, "doesn't depend on its input"),
    ],
)
def test_what_cannot_be_translated_is_named_and_nothing_is_written(function, error, words, tmp_path):
    with pytest.raises(error, match=words):
        write(tmp_path / "m.onnx", function)
    assert list(tmp_path.iterdir()) == []


def test_arguments_that_are_wrong_are_named(tmp_path):
    path = tmp_path / "m.onnx"
    with pytest.raises(ValueError, match="opset is 13, expected 20 to"):
        write(path, tg.exp, opset=13)
    with pytest.raises(ValueError, match="example holds no other index than 0; give at least two"):
        write(path, embedding(), np.zeros((1, 5), int))
    with pytest.raises(ValueError, match=r"example has dtype float64 and shape \(0, 4\)"):
        write(path, tg.exp, np.zeros((0, 4)))
    with pytest.raises(ValueError, match="starts with Conv2d, which doesn't tell the input's shape; give example="):
        export.onnx(cnn(), path)
    with pytest.raises(TypeError, match=r"model is of type builtin_function_or_method|model is of type function"):
        export.onnx(tg.exp, path)


def test_what_does_not_fit_the_example_says_so(tmp_path):
    with pytest.raises(TypeError) as caught:
        write(tmp_path / "m.onnx", embedding(), np.array([[0.0, 1.0]]))
    assert caught.value.__notes__ == [
        "in a forward of float32 (2, 2), like the example; of indices, it is to hold integers"
    ]


def test_a_graph_that_onnx_finds_wrong_is_not_written(tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx")
    monkeypatch.setitem(OPERATORS, "exp", lambda c, x: c("Exponential", x))
    with pytest.raises(onnx.checker.ValidationError, match="No Op registered for Exponential"):
        write(tmp_path / "m.onnx", lambda x, w: tg.exp(x))
    assert list(tmp_path.iterdir()) == []


def test_the_model_is_left_as_it_was(tmp_path):
    model = nn.Sequential(nn.Embedding(4, 2, rng=0), nn.Dropout(rng=0), nn.Flatten(), nn.Linear(4, 2, rng=0))
    model[0].weight.requires_grad = False
    model[3].eval()
    write(tmp_path / "m.onnx", model, [[0, 1], [2, 3]])
    assert [m.training for m in model.layers] == [True, True, True, False]
    assert not model[0].weight.requires_grad
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(NotImplementedError):
        write(tmp_path / "m.onnx", nn.Sequential(model, Call(tg.cumsum)), [[0, 1], [2, 3]])
    assert not model[0].weight.requires_grad
    assert model.training
    assert_equals(model, tmp_path / "m.onnx", np.array([[3, 0]]), reference, runtime)


def test_names_shapes_and_shared_weights_are_in_the_file(tmp_path):
    onnx = pytest.importorskip("onnx")
    layer = nn.Linear(4, 4, rng=0)
    model = nn.Sequential(nn.Standardize(np.zeros(4), np.ones(4)), layer, nn.ReLU(), layer)
    write(tmp_path / "m.onnx", model)
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert sorted(t.name for t in graph.initializer) == ["0.mean", "0.scale", "1.bias", "1.weight"]
    shapes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.input, *graph.output)]
    assert shapes == [["batch", 4], ["batch", 4]]
    assert_equals(model, tmp_path / "m.onnx", floats(7, 4), reference, runtime)


@pytest.mark.parametrize(("dtype", "atol"), [(np.float64, 1e-14), (np.float16, 2e-3)])
def test_other_dtypes(dtype, atol, tmp_path):
    model = nn.Sequential(nn.Linear(4, 8, rng=0, dtype=dtype), nn.Tanh(), nn.Linear(8, 3, rng=1, dtype=dtype))
    write(tmp_path / "m.onnx", model)
    for n in (1, 7):
        assert_equals(model, tmp_path / "m.onnx", floats(n, 4).astype(dtype), reference, runtime, atol=atol)


def test_without_an_extra_the_error_names_it(monkeypatch, tmp_path):
    for module in ("onnx", "safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"tg.export.onnx needs onnx: pip install 'tinygrad-ce\[onnx\]'"):
        export.onnx(mlp(), tmp_path / "m.onnx")
    for function in (export.safetensors, export.load_safetensors):
        with pytest.raises(ImportError, match=r"needs safetensors: pip install 'tinygrad-ce\[safetensors\]'"):
            function(mlp(), tmp_path / "m.safetensors")


# safetensors. The format is read here by hand: 8 bytes of length, a header in JSON, the numbers row by row.

DTYPES = {"F16": np.float16, "F32": np.float32, "F64": np.float64, "I64": np.int64, "BOOL": np.bool_}


def parsed(path):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, numbers = json.loads(content[8 : 8 + length]), content[8 + length :]
    about = header.pop("__metadata__", {})
    found = {}
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        found[name] = np.frombuffer(numbers[start:stop], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return found, about


def put(path, found):
    """A file of the format, made by hand."""
    names = {kind: name for name, kind in DTYPES.items()}
    header, numbers = {}, b""
    for name, array in found.items():
        offsets = [len(numbers), len(numbers) + array.nbytes]
        header[name] = {"dtype": names[array.dtype.type], "shape": list(array.shape), "data_offsets": offsets}
        numbers += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + numbers)


class Odd(nn.Module):
    """Tensors of every layout and dtype."""

    def __init__(self, factor):
        x = factor * np.arange(6.0).reshape(2, 3)
        self.transposed = tg.Tensor._leaf(x.T)
        self.stepped = tg.Tensor._leaf(x.astype(np.float32)[:, ::-2])
        self.fortran = [tg.Tensor._leaf(np.asfortranarray(x.astype(np.float16)))]
        self.big = {"endian": tg.Tensor._leaf(x.astype(">f4"))}
        self.scalar = tg.Tensor(2.5 * factor)
        self.whole = tg.Tensor(np.array([[3, 4]]) * int(factor))
        self.yes = tg.Tensor(np.array([factor == 1, True]))
        self.empty = tg.Tensor(np.zeros((0, 3)))


def test_a_file_holds_every_tensor_row_by_row(tmp_path):
    pytest.importorskip("safetensors")
    model, other = Odd(1.0), Odd(2.0)
    export.safetensors(model, tmp_path / "m.safetensors")
    found, about = parsed(tmp_path / "m.safetensors")
    assert about == {}
    assert found.keys() == model.state_dict().keys()
    for name, array in model.state_dict().items():
        assert found[name].dtype == array.dtype.newbyteorder("<")
        np.testing.assert_array_equal(found[name], array)
    export.load_safetensors(other, tmp_path / "m.safetensors")
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(array, model.state_dict()[name])
        assert array.dtype == model.state_dict()[name].dtype


def torch_models():
    cnn = nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.LayerNorm(8),
        nn.Linear(8, 3),
    )  # fmt: skip
    words = nn.Sequential(
        nn.Embedding(6, 3), nn.Flatten(), nn.Linear(12, 4, bias=False), nn.GELU(), nn.Linear(4, 2)
    )  # fmt: skip
    return {"torch_cnn": cnn, "torch_embedding": words}


@pytest.mark.parametrize("name", ["torch_cnn", "torch_embedding"])
def test_weights_of_pytorchs_give_its_output_and_come_back_as_they_were(name, tmp_path):
    pytest.importorskip("safetensors")
    model, path = torch_models()[name], HERE / "reference" / f"{name}.safetensors"
    found, about = parsed(path)
    export.load_safetensors(model, path)
    x = np.array(json.loads(about["input"]))
    y = answer(model, x if x.dtype.kind == "i" else x.astype(np.float32))
    np.testing.assert_allclose(y, json.loads(about["output"]), rtol=1e-6, atol=1e-6)
    export.safetensors(model, tmp_path / "m.safetensors")
    ours, _ = parsed(tmp_path / "m.safetensors")
    assert ours.keys() == found.keys()
    assert all(ours[name].tobytes() == array.tobytes() for name, array in found.items())


@pytest.mark.parametrize("name", ["torch_cnn", "torch_embedding"])
def test_pytorch_itself_reads_ours_and_ours_reads_its(name, tmp_path):
    torch = pytest.importorskip("torch", reason="torch, an optional peer, isn't installed")
    theirs_of = pytest.importorskip("safetensors.torch")
    t, model, path = torch.nn, torch_models()[name], tmp_path / "m.safetensors"
    if name == "torch_cnn":
        start = [t.Conv2d(1, 2, 3, stride=2, padding=1), t.ReLU(), t.MaxPool2d(2), t.Flatten(), t.LayerNorm(8)]
        theirs, x = t.Sequential(*start, t.Linear(8, 3)), floats(7, 1, 8, 8)
    else:
        start = [t.Embedding(6, 3), t.Flatten(), t.Linear(12, 4, bias=False), t.GELU()]
        theirs, x = t.Sequential(*start, t.Linear(4, 2)), RNG.integers(0, 6, (7, 4))
    for there in (True, False):
        if there:
            export.safetensors(model, path)
            theirs.load_state_dict(theirs_of.load_file(path))
        else:
            torch.manual_seed(3)
            for p in theirs.parameters():
                t.init.normal_(p)
            theirs_of.save_file(theirs.state_dict(), path)
            export.load_safetensors(model, path)
        expected = theirs(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(answer(model, x), expected, rtol=1e-6, atol=1e-6)


def tied(seed):
    layer = nn.Linear(3, 3, rng=seed)
    return nn.Sequential(layer, nn.ReLU(), layer)


def test_a_shared_parameter_is_written_once_and_read_under_any_of_its_names(tmp_path):
    pytest.importorskip("safetensors")
    model, path = tied(0), tmp_path / "m.safetensors"
    export.safetensors(model, path)
    found, about = parsed(path)
    assert found.keys() == {"0.weight", "0.bias"}
    assert about == {"2.weight": "0.weight", "2.bias": "0.bias"}
    weight, bias = found["0.weight"], found["0.bias"]
    for state in (
        found,
        {"2.weight": weight, "2.bias": bias},
        {"0.weight": weight, "2.weight": weight, "0.bias": bias, "2.bias": bias},
    ):
        put(path, state)
        other = tied(1)
        export.load_safetensors(other, path)
        assert other[0] is other[2]
        np.testing.assert_array_equal(other[0].weight.data, weight)
        np.testing.assert_array_equal(other[0].bias.data, bias)
    put(path, {"0.weight": weight, "2.weight": weight + 1, "0.bias": bias})
    with pytest.raises(tg.CheckpointError, match=r"2.weight differs from 0.weight, which is the same Tensor here"):
        export.load_safetensors(other, path)


def test_pytorch_reads_shared_parameters(tmp_path):
    torch = pytest.importorskip("torch", reason="torch, an optional peer, isn't installed")
    theirs_of = pytest.importorskip("safetensors.torch")
    layer = torch.nn.Linear(3, 3)
    theirs, model, path = torch.nn.Sequential(layer, torch.nn.ReLU(), layer), tied(0), tmp_path / "m.safetensors"
    export.safetensors(model, path)
    theirs_of.load_model(theirs, path)
    np.testing.assert_array_equal(layer.weight.detach().numpy(), model[0].weight.data)
    torch.nn.init.normal_(layer.weight)
    theirs_of.save_model(theirs, str(path))
    export.load_safetensors(model, path)
    np.testing.assert_array_equal(layer.weight.detach().numpy(), model[0].weight.data)


GOOD = {"0.weight": floats(2, 3), "0.bias": floats(2), "1.weight": floats(1, 2), "1.bias": floats(1)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"1.bias": None}, r"m.safetensors: missing 1.bias; another model's"),
        ({"2.bias": floats(1)}, "unknown 2.bias"),
        ({"0.weight": floats(3, 2)}, r"0.weight has shape \(3, 2\), expected \(2, 3\)"),
        ({"1.bias": None, "2.x": floats(1), "0.bias": floats(3)}, r"missing 1.bias; unknown 2.x; 0.bias has shape"),
        ({"1.bias": np.array([3])}, "1.bias has dtype int64, with numbers that the Tensor's dtype float32 can't hold"),
        ({"1.bias": np.array([1e300])}, "1.bias has dtype float64, with numbers that .* float32 can't hold"),
    ],
)
def test_what_does_not_fit_changes_nothing(change, words, tmp_path):
    pytest.importorskip("safetensors")
    model, path = nn.Sequential(nn.Linear(3, 2, rng=0), nn.Linear(2, 1, rng=1)), tmp_path / "m.safetensors"
    before = model.state_dict()
    put(path, {name: array for name, array in {**GOOD, **change}.items() if array is not None})
    with pytest.raises(tg.CheckpointError, match=words):
        export.load_safetensors(model, path)
    assert all(array.tobytes() == before[name].tobytes() for name, array in model.state_dict().items())


def test_numbers_are_converted_to_the_models_dtype(tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "m.safetensors"
    for kind in (np.float16, np.float32, np.float64):
        weight = np.array([[0.5, 1 / 3, np.inf]]).astype(kind)
        put(path, {"weight": weight})
        for dtype in (np.float16, np.float32, np.float64):
            model = nn.Linear(3, 1, bias=False, rng=0, dtype=dtype)
            export.load_safetensors(model, path)
            assert model.weight.dtype == dtype
            np.testing.assert_array_equal(model.weight.data, weight.astype(dtype))
            assert model.weight.requires_grad


def test_a_damaged_file_is_refused(tmp_path):
    pytest.importorskip("safetensors")
    model, path = nn.Linear(3, 1, bias=False, rng=0), tmp_path / "m.safetensors"
    before = model.weight.data.tobytes()
    export.safetensors(model, path)
    whole = path.read_bytes()
    bfloat16 = b'{"weight":{"dtype":"BF16","shape":[1,3],"data_offsets":[0,6]}}'
    for content in (
        b"",
        whole[:-1],
        whole + b"x",
        whole[:9],
        b"PK" + whole,
        struct.pack("<Q", 62) + bfloat16 + b"\0" * 6,
    ):
        path.write_bytes(content)
        with pytest.raises(tg.CheckpointError, match=r"m.safetensors: (no whole safetensors file|NumPy has no .*BF16)"):
            export.load_safetensors(model, path)
    with pytest.raises(tg.CheckpointError, match="a folder, expected a regular file"):
        export.load_safetensors(model, tmp_path)
    with pytest.raises(FileNotFoundError):
        export.load_safetensors(model, tmp_path / "none")
    assert model.weight.data.tobytes() == before


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"old")
    monkeypatch.setattr(files.os, "replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export.safetensors(mlp(), path)
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    assert path.read_bytes() == b"old"
    with pytest.raises(TypeError, match=r"weight has dtype .*128, expected numbers of at most 8 bytes"):
        export.safetensors(nn.Linear(2, 1, rng=0, dtype=np.longdouble), path)
