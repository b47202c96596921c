"""Convolution, pooling, embedding, layer norm: against loops by hand and PyTorch's figures; and a small CNN."""

import itertools
import tracemalloc

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import nn


def slow_conv2d(x, weight, bias, stride, padding):
    """The definition, one output and one kernel entry at a time."""
    (sh, sw), (ph, pw) = stride, padding
    (n, c, h, w), (out, _, kh, kw) = x.shape, weight.shape
    y = np.zeros((n, out, (h + 2 * ph - kh) // sh + 1, (w + 2 * pw - kw) // sw + 1))
    for k, o, i, j in np.ndindex(y.shape):
        y[k, o, i, j] = bias[o]
        for b, u, v in np.ndindex(c, kh, kw):
            row, column = i * sh + u - ph, j * sw + v - pw
            if 0 <= row < h and 0 <= column < w:
                y[k, o, i, j] += weight[o, b, u, v] * x[k, b, row, column]
    return y


CASES = list(itertools.product([(1, 1), (2, 1), (3, 4)], [(0, 0), (1, 2)], [(1, 1), (3, 2), (5, 6)]))


@pytest.mark.parametrize(("stride", "padding", "kernel"), CASES)
def test_conv2d_is_its_definition(stride, padding, kernel):
    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(size=(3, 2, 5, 6)), rng.normal(size=(4, 2, *kernel)), rng.normal(size=4)
    y = tg.conv2d(x, weight, bias, stride=stride, padding=padding)
    np.testing.assert_allclose(y, slow_conv2d(x, weight, bias, stride, padding), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(
        tg.conv2d(x, weight, stride=stride, padding=padding), y - bias[:, None, None], rtol=1e-12, atol=1e-13
    )


def check_figure(y, leaves, figure, name):
    """A value and the gradients that it has of itself, as recorded."""
    y.backward(y.detach())
    assert list(y.shape) == figure["shape"]
    np.testing.assert_allclose(y.data.ravel(), figure["value"], rtol=1e-12, atol=1e-12, err_msg=name)
    for leaf, g in zip(leaves, figure["gradients"], strict=True):
        np.testing.assert_allclose(leaf.grad.ravel(), g, rtol=1e-11, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("name", ["conv2d", "max_pool2d"])
def test_values_and_gradients_of_images_as_pytorch(name, torch_figures):
    figures = torch_figures[name]
    for row in figures["rows"]:
        leaves = [tg.Tensor(x, requires_grad=True) for x in figures["inputs"]]
        check_figure(getattr(tg, name)(*leaves, **row["options"]), leaves, row, f"{name} {row['options']}")


def test_embedding_as_pytorch(torch_figures):
    figure = torch_figures["embedding"]
    weight = tg.Tensor(figure["weight"], requires_grad=True)
    check_figure(tg.embedding(figure["index"], weight), [weight], figure, "embedding")


def test_layer_norm_as_pytorch(torch_figures):
    for row in torch_figures["layer_norm"]["rows"]:
        layer = nn.LayerNorm(np.shape(row["weight"]), row["eps"], dtype=np.float64)
        layer.load_state_dict({"weight": row["weight"], "bias": row["bias"]})
        x = tg.Tensor(torch_figures["layer_norm"]["x"], requires_grad=True)
        check_figure(layer(x), [x, layer.weight, layer.bias], row, repr(layer))


def test_fold_is_the_transpose_of_unfold():
    rng = np.random.default_rng(0)
    for stride, padding, kernel in CASES:
        options = {"stride": stride, "padding": padding}
        x = rng.normal(size=(2, 3, 5, 6))
        patches = tg.unfold(x, kernel, **options)
        p = rng.normal(size=patches.shape)
        assert np.sum(patches * p) == pytest.approx(np.sum(x * tg.fold(p, (5, 6), kernel, **options)), rel=1e-12)


def test_unfold_has_a_column_for_each_patch():
    x = np.arange(2 * 4 * 5.0).reshape(1, 2, 4, 5)
    patches = tg.unfold(x, (2, 3), stride=(2, 1))
    assert patches.shape == (1, 2 * 6, 2 * 3)
    for place, (i, j) in enumerate(itertools.product((0, 2), (0, 1, 2))):
        np.testing.assert_array_equal(patches[0, :, place], x[0, :, i : i + 2, j : j + 3].ravel())


def test_max_pool2d_is_the_maximum_of_each_window():
    x = np.random.default_rng(0).normal(size=(2, 3, 7, 5))
    for (kh, kw), (sh, sw) in [((2, 2), (2, 2)), ((3, 2), (1, 2)), ((2, 1), (3, 1)), ((7, 5), (1, 1))]:
        y = tg.max_pool2d(x, (kh, kw), (sh, sw))
        assert y.shape == (2, 3, (7 - kh) // sh + 1, (5 - kw) // sw + 1)
        for n, c, i, j in np.ndindex(y.shape):
            assert y[n, c, i, j] == x[n, c, i * sh : i * sh + kh, j * sw : j * sw + kw].max()
    np.testing.assert_array_equal(tg.max_pool2d(x, 2), tg.max_pool2d(x, 2, 2))


def test_of_maxima_that_tie_the_first_gets_the_gradient():
    x = tg.Tensor([[[[1.0, 3.0, 0.0], [3.0, 3.0, 3.0]]]], requires_grad=True)
    tg.max_pool2d(x, 2, 1).backward(np.array([[[[10.0, 1.0]]]]))
    assert x.grad.tolist() == [[[[0, 11, 0], [0, 0, 0]]]]
    x = tg.Tensor([[[[1.0, 2.0], [3.0, 3.0]]]], requires_grad=True)
    tg.max_pool2d(x, 2).sum().backward()
    assert x.grad.tolist() == [[[[0, 0], [1, 0]]]]


def test_pooling_takes_negatives_and_nans_as_they_are():
    x = np.array([[[[-3.0, -2.0], [-5.0, -4.0]]]])
    assert tg.max_pool2d(x, 2).item() == -2
    x[0, 0, 1, 0] = np.nan
    t = tg.Tensor(x, requires_grad=True)
    y = tg.max_pool2d(t, 2)
    assert np.isnan(y.item())
    y.backward()
    assert t.grad.tolist() == [[[[0, 0], [1, 0]]]]


def test_an_infinite_gradient_reaches_the_maximum_alone():
    t = tg.Tensor(np.arange(8.0).reshape(1, 1, 2, 4), requires_grad=True)
    tg.max_pool2d(t, 2).backward(np.array([[[[np.inf, 1.0]]]]))
    assert t.grad.tolist() == [[[[0, 0, 0, 0], [0, np.inf, 0, 1]]]]


def test_patches_are_made_of_a_few_images_at_a_time():
    x = np.ones((2000, 1, 12, 12), np.float32)
    leaves = [tg.Tensor(a, requires_grad=True) for a in (x, np.ones((1, 1, 9, 9), np.float32))]
    tracemalloc.start()
    tg.conv2d(*leaves, padding=4).backward(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 81 * x.nbytes / 4  # all patches together are 81 times as large as the images
    np.testing.assert_array_equal(leaves[0].grad[0], leaves[0].grad[-1])


@pytest.mark.parametrize("shape", [(0, 2, 4, 4), (2, 2, 4, 4)])
def test_second_order_and_empty_batches(shape):
    x = tg.Tensor(np.random.default_rng(0).normal(size=shape), requires_grad=True)
    weight, bias = tg.Tensor(np.ones((3, 2, 2, 2)), requires_grad=True), tg.Tensor(np.ones(3), requires_grad=True)
    y = tg.max_pool2d(tg.conv2d(x, weight, bias, padding=1), 2)
    assert y.shape == (shape[0], 3, 2, 2)
    leaves = [x, weight, bias]
    for leaf, g in zip(leaves, tg.grad((y * y).sum(), leaves, create_graph=True), strict=True):
        assert g.shape == leaf.shape
        assert g.requires_grad
    # y is linear in all parameters together where the maxima stay where they are: so y² has the curvature 2 y' y'.
    slope = tg.grad((y * y).sum(), bias, create_graph=True)
    assert tg.grad(slope.sum(), bias).tolist() == [2.0 * 4 * shape[0]] * 3


def test_images_and_kernels_of_numbers_without_fractions():
    x, weight = np.arange(16).reshape(1, 1, 4, 4), np.ones((1, 1, 2, 2), int)
    assert tg.conv2d(x, weight).tolist() == [[[[10, 14, 18], [26, 30, 34], [42, 46, 50]]]]
    assert tg.conv2d(x, weight, np.array([0.5])).dtype == np.float64
    assert tg.max_pool2d(x, 2).tolist() == [[[[5, 7], [13, 15]]]]


IMAGES, KERNELS = np.zeros((2, 3, 4, 5)), np.zeros((6, 3, 2, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: tg.conv2d(IMAGES[0], KERNELS),
            r"conv2d: x has shape \(3, 4, 5\), expected \(N, C, H, W\).* x\[None\]",
        ),
        (lambda: tg.conv2d(IMAGES, KERNELS[0]), r"weight has shape \(3, 2, 2\), expected \(O, C, kh, kw\)"),
        (
            lambda: tg.conv2d(IMAGES[:, :2], KERNELS),
            r"x has shape \(2, 2, 4, 5\), expected \(N, 3, H, W\) for a weight",
        ),
        (lambda: tg.conv2d(IMAGES, KERNELS, np.zeros(3)), r"bias has shape \(3,\), expected \(6,\)"),
        (lambda: tg.conv2d(IMAGES, KERNELS, stride=0), "stride is 0, expected a whole number ≥ 1, or a pair"),
        (lambda: tg.conv2d(IMAGES, KERNELS, stride=(1, 2, 3)), r"stride is \(1, 2, 3\), expected a whole number"),
        (lambda: tg.conv2d(IMAGES, KERNELS, padding=(0, -1)), r"padding is \(0, -1\), expected a whole number ≥ 0"),
        (lambda: tg.conv2d(IMAGES, KERNELS, padding=0.5), "padding is 0.5"),
        (
            lambda: tg.conv2d(IMAGES[:, :, :1], KERNELS),
            r"x has shape \(2, 3, 1, 5\), .* smaller than the window of 2×2",
        ),
        (
            lambda: tg.max_pool2d(IMAGES, 5),
            r"max_pool2d: x has shape \(2, 3, 4, 5\), .* smaller than the window of 5×5",
        ),
        (lambda: tg.max_pool2d(IMAGES[0, 0], 2), r"max_pool2d: x has shape \(4, 5\), expected \(N, C, H, W\)"),
        (lambda: tg.max_pool2d(IMAGES, 2, 0), "max_pool2d: stride is 0"),
        (lambda: tg.max_pool2d(IMAGES, "2"), "max_pool2d: kernel_size is '2'"),
        (lambda: tg.unfold(IMAGES, 6), r"unfold: x has shape .* smaller than the window of 6×6"),
        (lambda: tg.fold(np.zeros((1, 4, 3)), (2, 3), 2), r"fold: x has shape \(1, 4, 3\), expected \(N, C·4, 2\)"),
        (lambda: tg.fold(np.zeros((1, 5, 2)), (2, 3), 2), r"x has shape \(1, 5, 2\), expected \(N, C·4, 2\)"),
        (lambda: tg.fold(np.zeros((1, 4, 2)), (1, 3), 2), r"fold: output_size is \(1, 3\), .* smaller than the window"),
        (lambda: nn.Conv2d(0, 1, 3), "Conv2d: in_channels is 0, out_channels 1; expected at least 1"),
        (lambda: nn.Conv2d(1, 1, 0), "Conv2d: kernel_size is 0, expected a whole number ≥ 1"),
        (lambda: nn.MaxPool2d(2, (1,)), r"MaxPool2d: stride is \(1,\)"),
        (lambda: nn.Flatten()(np.zeros(3)), r"Flatten: input has shape \(3,\), and no axis 1 to start from"),
        (lambda: nn.LayerNorm(4)(np.zeros((4, 3))), r"LayerNorm: input has shape \(4, 3\), expected \(…, 4\)"),
        (lambda: nn.LayerNorm((2, 3))(np.zeros(3)), r"input has shape \(3,\), expected \(…, 2, 3\)"),
        (lambda: nn.LayerNorm((4, 0)), r"LayerNorm: normalized_shape is \(4, 0\), expected lengths of at least 1"),
        (lambda: nn.LayerNorm(4, -1.0), "LayerNorm: eps is -1.0, expected a number ≥ 0"),
        (lambda: nn.Embedding(3, 0), "Embedding: num_embeddings is 3, embedding_dim 0; expected at least 1"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Embedding


def test_embedding_takes_rows_and_adds_the_gradients_of_a_row_named_twice():
    weight = tg.Tensor(np.arange(8.0).reshape(4, 2), requires_grad=True)
    y = tg.embedding(np.array([[3, 1], [3, 3]]), weight)
    assert y.tolist() == [[[6, 7], [2, 3]], [[6, 7], [6, 7]]]
    y.backward(np.array([[[1.0, 2.0], [10.0, 20.0]], [[100.0, 200.0], [1000.0, 2000.0]]]))
    assert weight.grad.tolist() == [[0, 0], [10, 20], [0, 0], [1101, 2202]]
    assert tg.embedding(np.uint8(2), weight).tolist() == [4, 5]
    assert tg.embedding([], weight).shape == (0, 2)
    weight.zero_grad()
    tg.embedding(np.zeros((0, 3), int), weight).sum().backward()
    assert weight.grad.tolist() == [[0, 0]] * 4


TABLE = np.zeros((5, 2))


@pytest.mark.parametrize(
    ("index", "kind", "message"),
    [
        (
            [[0, 1], [5, 9]],
            ValueError,
            r"input\[1, 0\] is 5 \(and 1 more like it\); valid are the integers 0 to 4, for",
        ),
        ([3, -1], ValueError, r"input\[1\] is -1; valid are the integers 0 to 4"),
        (7, ValueError, "embedding: input is 7; valid"),
        ([0.0, 1.5], ValueError, r"input\[1\] is 1.5; valid are the integers 0 to 4"),
        ([0.0, np.nan], ValueError, r"input\[1\] is nan"),
        ([0.0, 1.0], TypeError, r"input has dtype float64; valid are .*; use input.astype\(int\)"),
        ([True, False], TypeError, "input has dtype bool"),
    ],
)
def test_the_first_index_that_is_no_row_is_named(index, kind, message):
    with pytest.raises(kind, match=message):
        tg.embedding(index, TABLE)


def test_an_embedding_has_no_gradient_in_its_indices():
    with pytest.raises(TypeError, match="'input' is a Tensor that requires grad"):
        tg.embedding(tg.Tensor([1.0], requires_grad=True), TABLE)
    with pytest.raises(TypeError, match="requires grad"):
        nn.Embedding(5, 2, rng=0)(tg.Tensor([1.0], requires_grad=True))


def test_the_embedding_layer_takes_whole_numbers_in_floats_as_fit_hands_them_out():
    layer = nn.Embedding(5, 2, rng=0)
    for index in ([[4, 0]], np.float32([[4, 0]]), tg.Tensor([[4.0, 0.0]])):
        np.testing.assert_array_equal(layer(index).data, layer.weight.data[[[4, 0]]])
    with pytest.raises(ValueError, match=r"input\[0\] is 0.5"):
        layer(np.float32([0.5]))
    with pytest.raises(TypeError, match="input has dtype float32"):
        layer(np.float32([2.0**23 + 1, 2.0**24]))
    with pytest.raises(ValueError, match=r"input\[0\] is nan"):
        layer([np.nan])


# Layers


def test_layers_start_as_pytorchs():
    conv = nn.Conv2d(3, 50, (4, 3), rng=0)
    bound = 1 / 6  # 3 channels of 12 numbers
    for numbers in (conv.weight.data, conv.bias.data):
        assert 0.9 * bound < np.abs(numbers).max() <= bound
    assert conv.weight.shape == (50, 3, 4, 3)
    table = nn.Embedding(1000, 50, rng=0).weight.data
    assert table.mean() == pytest.approx(0, abs=0.02)
    assert table.std() == pytest.approx(1, abs=0.02)
    norm = nn.LayerNorm(3)
    assert (norm.weight.tolist(), norm.bias.tolist()) == ([1, 1, 1], [0, 0, 0])
    for make in (lambda seed: nn.Conv2d(1, 2, 3, rng=seed), lambda seed: nn.Embedding(4, 3, rng=seed)):
        assert make(1).weight.data.tobytes() == make(np.random.default_rng(1)).weight.data.tobytes()
        assert make(1).weight.data.tobytes() != make(2).weight.data.tobytes()


def test_a_plain_array_takes_the_dtype_of_the_layer():
    for dtype in (np.float32, np.float64):
        other = np.float64 if dtype is np.float32 else np.float32
        assert nn.Conv2d(1, 2, 3, rng=0, dtype=dtype)(np.ones((1, 1, 4, 4), other)).dtype == dtype
        assert nn.LayerNorm(3, dtype=dtype)(np.ones((2, 3), other)).dtype == dtype
        assert nn.Embedding(3, 2, rng=0, dtype=dtype)([0, 1]).dtype == dtype


def test_layers_are_their_operators():
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 5)).astype(np.float32)
    conv = nn.Conv2d(3, 4, (3, 2), (2, 1), 1, rng=0)
    expected = tg.conv2d(x, conv.weight, conv.bias, stride=(2, 1), padding=1)
    np.testing.assert_array_equal(conv(x).data, expected.data)
    np.testing.assert_array_equal(nn.MaxPool2d((2, 3), 1)(x), tg.max_pool2d(x, (2, 3), 1))
    np.testing.assert_array_equal(nn.MaxPool2d(2)(x), tg.max_pool2d(x, 2))
    np.testing.assert_array_equal(nn.Flatten()(x), x.reshape(2, -1))
    assert nn.Flatten(2)(tg.Tensor(x)).shape == (2, 3, 30)
    assert nn.Flatten(-2)(x[:0]).shape == (0, 3, 30)
    assert nn.Conv2d(3, 4, 2, bias=False, rng=0)(x).shape == (2, 4, 5, 4)


def test_layers_print_their_options():
    layers = [
        (nn.Conv2d(1, 8, 3), "Conv2d(1, 8, 3)"),
        (nn.Conv2d(1, 8, (3, 2), 2, (1, 0), bias=False), "Conv2d(1, 8, (3, 2), stride=2, padding=(1, 0), bias=False)"),
        (nn.MaxPool2d(2), "MaxPool2d(2)"),
        (nn.MaxPool2d((3, 2), 1), "MaxPool2d((3, 2), stride=1)"),
        (nn.Flatten(), "Flatten()"),
        (nn.Flatten(2), "Flatten(start_axis=2)"),
        (nn.Embedding(10, 4), "Embedding(10, 4)"),
        (nn.LayerNorm(4), "LayerNorm(4)"),
        (nn.LayerNorm((3, 4), 0.1, bias=False), "LayerNorm((3, 4), eps=0.1, bias=False)"),
    ]
    for layer, text in layers:
        assert repr(layer) == text


def test_layer_norm_centres_and_scales_each_sample():
    x = np.random.default_rng(0).normal(3.0, 5.0, size=(4, 2, 6))
    y = nn.LayerNorm((2, 6), eps=0.0, dtype=np.float64)(x).data
    np.testing.assert_allclose(y.mean(axis=(1, 2)), 0, atol=1e-14)
    np.testing.assert_allclose(y.std(axis=(1, 2)), 1, rtol=1e-14)
    layer = nn.LayerNorm(6, dtype=np.float64, bias=False)
    tg.gradcheck(lambda x, w: _with_weight(layer, w)(x), [x[0], np.linspace(0.5, 2.0, 6)], order=2, rtol=1e-6)


def _with_weight(layer, weight):
    layer.weight = weight
    return layer


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6, -1234.567])
def test_equal_numbers_are_normalised_to_0_with_a_finite_gradient(value):
    layer = nn.LayerNorm(100)
    x = tg.Tensor(np.full((1, 100), value), requires_grad=True, dtype=np.float32)
    y = layer(x)
    np.testing.assert_allclose(y.data, 0, atol=1e-6)
    y.backward(np.linspace(-1, 1, 100, dtype=np.float32)[None])
    # The derivative there is (g - mean g) / √eps.
    np.testing.assert_allclose(x.grad[0], np.linspace(-1, 1, 100) / np.sqrt(1e-5), rtol=1e-4, atol=1e-3)


# Training


def test_a_small_cnn_learns_the_digits():
    digits = tg.data.load_digits()
    train, test = tg.data.split(digits._replace(x=digits.x.reshape(-1, 1, 8, 8)))
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, rng=0), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10, rng=1)
    )
    optimizer = tg.optim.Adam(model.parameters(), lr=0.01)
    history = tg.fit(model, train, epochs=8, optimizer=optimizer, validation=test, progress=False)
    assert history["val_accuracy"][-1] > 0.95
    assert tg.accuracy(tg.predict(model, test.x), test.y) == pytest.approx(history["val_accuracy"][-1])


def test_a_bag_of_words_learns_by_fit():
    # The class of a row of four words is the one that most of its words belong to: word w belongs to class w % 3.
    rng = np.random.default_rng(0)
    words = rng.integers(0, 30, size=(600, 5))
    labels = np.array([np.bincount(row % 3, minlength=3).argmax() for row in words])

    class Bag(nn.Module):
        def __init__(self):
            self.table = nn.Embedding(30, 3, rng=0)

        def forward(self, x):
            return self.table(x).mean(axis=1)

    model = Bag()
    optimizer = tg.optim.Adam(model.parameters(), lr=0.1)
    history = tg.fit(model, (words, labels), epochs=20, optimizer=optimizer, progress=False)
    assert history["accuracy"][-1] > 0.9
