"""The figures of the documents that the project grew from, recomputed."""

import numpy as np
import pytest

import tinygrad_ce as tg


def test_softmax_of_a_tensorflow_notebook():
    p = tg.softmax(np.array([1.2, 0.9, 0.4], np.float32))
    np.testing.assert_allclose(p, [0.45659032, 0.3382504, 0.20515925], rtol=1e-7)


def test_sums_of_a_tensorflow_notebook():
    assert tg.sum(tg.Tensor([1.0, 2.0, 3.0])).item() == 6
    assert tg.sum(tg.Tensor(np.ones((2, 3))), axis=0).data.tolist() == [2, 2, 2]


def test_cross_entropy_by_hand_and_from_logits():
    p, onehot = np.array([0.1, 0.5, 0.4], np.float32), np.array([0.0, 1.0, 0.0], np.float32)
    assert -np.sum(onehot * np.log(p)) == pytest.approx(0.6931472, rel=1e-7)
    assert tg.cross_entropy(np.log(p), onehot) == pytest.approx(0.6931472, rel=1e-7)


def test_gradients_flow_into_the_labels():
    y = tg.Tensor([0.0, 1.0, 0.0], requires_grad=True)
    tg.cross_entropy(np.log([0.1, 0.5, 0.4]), y).backward()
    np.testing.assert_allclose(y.grad, -np.log([0.1, 0.5, 0.4]), rtol=1e-14)


def test_softmax_and_categorical_cross_entropy_of_a_keras_notebook():
    np.testing.assert_allclose(tg.softmax([1.0, 2.0, 3.0]), [0.09003057, 0.24472847, 0.66524096], rtol=1e-7)
    y = [[0.0, 0.0, 1.0]]
    assert float(tg.categorical_cross_entropy([[0.1, 0.8, 0.1]], y)) == 2.3025850929940455
    assert tg.categorical_cross_entropy([[0.2, 0.3, 0.5]], y) == pytest.approx(0.6931472, rel=1e-7)


def test_figures_of_a_pytorch_notebook():
    row = np.array([2, -1, 0.1])
    np.testing.assert_allclose(tg.softmax(row), [0.83378101, 0.04151151, 0.12470747], rtol=1e-7)
    np.testing.assert_allclose(tg.exp(row), [7.3890561, 0.36787944, 1.10517092], rtol=1e-8)
    rows = np.array([row, [3, -1, 1]])
    assert round(float(tg.cross_entropy(rows[:1], [1])), 4) == 3.1818
    assert round(float(tg.cross_entropy(rows[[0, 0]], [1, 1])), 4) == 3.1818
    assert round(float(tg.cross_entropy(rows, [1, 2])), 4) == 2.6624
    assert tg.cross_entropy(rows, [1, 2], reduction="none").round(4).tolist() == [3.1818, 2.1429]
    np.testing.assert_array_equal(
        (-tg.log_softmax(rows)).round(4), [[0.1818, 3.1818, 2.0818], [0.1429, 4.1429, 2.1429]]
    )


def test_figures_of_an_article_on_softmax():
    logits = np.array([1.5, 0.8, -0.2])
    e = tg.exp(logits)
    np.testing.assert_allclose(e, [4.482, 2.225, 0.819], atol=1e-3)
    assert e.sum() == pytest.approx(7.526, abs=1e-3)
    np.testing.assert_allclose(tg.softmax(logits), [0.596, 0.296, 0.109], atol=6e-4)  # it rounds
    assert tg.softmax(logits).sum() == pytest.approx(1, rel=1e-15)


def test_two_classes_are_a_sigmoid():
    x = np.linspace(-5, 5, 11)
    np.testing.assert_allclose(tg.softmax(np.stack([x, 0 * x], axis=1))[:, 0], tg.sigmoid(x), rtol=1e-14)
