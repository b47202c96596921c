"""Names and arguments of other packages end in an error that says how they are spelled here."""

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.common import spellings

T = tg.Tensor([[1.0, 2.0]], requires_grad=True)


@pytest.mark.parametrize("name", sorted(spellings.NAMES))
def test_every_name_of_the_table_is_told_or_there(name):
    for owner in (T, tg):
        if not hasattr(owner, name):
            with pytest.raises(AttributeError) as caught:
                getattr(owner, name)
            assert str(caught.value).endswith(f"'{name}'; here it is {spellings.NAMES[name]}")


def test_what_the_table_names_is_there():
    for here in spellings.NAMES.values():
        word = here.removeprefix("tg.").partition(" ")[0].partition("(")[0].partition(".")[0]
        if word.isidentifier() and word not in {"not", "always", "told", "numpy", "t", "w", "rng", "tg"}:
            assert hasattr(T, word) or hasattr(tg, word), here


@pytest.mark.parametrize(
    ("owner", "name", "here"),
    [
        (T, "view", "reshape"),
        (T, "permute", "transpose"),
        (T, "unsqueeze", "expand_dims"),
        (T, "clone", "copy"),
        (T, "numel", "size"),
        (T, "to", "astype"),
        (T, "cuda", "not there, nor any other GPU"),
        (tg, "tensor", "tg.Tensor"),
        (tg, "cat", "concatenate"),
    ],
)
def test_attributes(owner, name, here):
    with pytest.raises(AttributeError, match=f"{name}'; here it is {here}"):
        getattr(owner, name)
    assert not hasattr(owner, name)


@pytest.mark.parametrize(
    ("owner", "name", "near"),
    [
        (tg, "crossentropy", "cross_entropy"),
        (nn, "Liner", "Linear"),
        (nn, "Logsoftmax", "LogSoftmax"),
        (optim, "AdamWW", "AdamW"),
        (tg.data, "load_iriss", "load_iris"),
        (tg.train, "EarlyStoping", "EarlyStopping"),
    ],
)
def test_names_that_are_close(owner, name, near):
    with pytest.raises(AttributeError, match=f"no attribute '{name}'; did you mean '{near}'?"):
        getattr(owner, name)


def test_size_is_no_method():
    assert T.size == 2
    with pytest.raises(TypeError, match=r"here it is t\.shape"):
        T.size()


ARRAY = np.ones((2, 2))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: tg.softmax(T, dim=1), "softmax() got an unexpected keyword argument 'dim'; here it is axis"),
        (lambda: tg.softmax(ARRAY, dim=1), "'dim'; here it is axis"),
        (lambda: T.sum(dim=0), "'dim'; here it is axis"),
        (lambda: tg.mean(T, axis=0, keepdim=True), "'keepdim'; here it is keepdims"),
        (lambda: tg.std(T, unbiased=True), "'unbiased'; here it is ddof"),
        (lambda: tg.clip(T, a_min=0), "'a_min'; here it is min"),
        (lambda: tg.stack([T, T], dim=0), "'dim'; here it is axis"),
        (lambda: tg.concatenate([T, T], dim=0), "'dim'; here it is axis"),
        (lambda: tg.cross_entropy(T, labels=[0]), "'labels'; here it is target"),
        (lambda: tg.cross_entropy(T, [0], reductoin="sum"), "'reductoin'; did you mean 'reduction'?"),
        (lambda: tg.kl_div(T, T, size_average=False), "'size_average'; here it is reduction"),
        (lambda: nn.Softmax(dim=1), "'dim'; here it is axis"),
        (lambda: T.argmax(dim=1), "'dim'; here it is axis"),
        (lambda: T.argsort(dim=1), "'dim'; here it is axis"),
        (lambda: tg.gumbel_softmax(ARRAY, dim=1), "'dim'; here it is axis"),
        (lambda: nn.Linear(2, 2, seed=0), "'seed'; here it is rng"),
        (lambda: nn.Dropout(prob=0.5), "'prob'"),
        (lambda: optim.SGD([T], learning_rate=0.1), "'learning_rate'; here it is lr"),
        (lambda: optim.Adam([T], lr=0.1, beta=(0.9, 0.99)), "'beta'; did you mean 'betas'?"),
        (lambda: tg.fit(None, None, lr=0.1), "'lr'; here it is optimizer=tg.optim.SGD(model.parameters(), lr=…)"),
        (lambda: tg.fit(None, None, n_epochs=3), "'n_epochs'; did you mean 'epochs'?"),
        (lambda: tg.fit(None, None, verbose=0), "'verbose'; here it is progress"),
    ],
)
def test_arguments(call, said):
    with pytest.raises(TypeError) as caught:
        call()
    assert said in str(caught.value)


def test_a_layer_of_ones_own_says_it_too_and_errors_inside_stay_as_they_are():
    class Scale(nn.Module):
        def __init__(self, axis, **rest):
            self.axis = axis
            dict.fromkeys(**rest)

    with pytest.raises(TypeError, match="fromkeys"):
        Scale(axis=1, dim=2)

    class Plain(nn.Module):
        def __init__(self, axis):
            self.axis = axis

    with pytest.raises(TypeError, match="'dim'; here it is axis"):
        Plain(dim=2)
