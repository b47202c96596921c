"""detect_anomaly names the first operator that makes a nan or an infinity, and the line that called it."""

import threading

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.engine import anomaly


def test_forward_names_operator_place_and_line():
    x = tg.Tensor([[1.0, 0.0], [2.0, -1.0]], requires_grad=True)
    with tg.detect_anomaly(), pytest.raises(tg.AnomalyError) as caught:
        tg.log(x)  # the line
    first, of, line = str(caught.value).split("\n")
    assert first == "log made nan at [1, 1]"
    assert of == "  of (2, 2) from -1 to 2"
    assert "test_anomaly.py" in line
    assert line.endswith("tg.log(x)  # the line")


def test_backward_names_the_rule_and_the_line_of_the_forward_call():
    x = tg.Tensor([4.0, 0.0], requires_grad=True)
    with tg.detect_anomaly():
        y = tg.sqrt(x)  # where it was called
        with pytest.raises(tg.AnomalyError) as caught:
            y.sum().backward()
    words = str(caught.value)
    assert words.startswith("the rule of argument 'x' of sqrt made inf at [1]")
    assert words.endswith("y = tg.sqrt(x)  # where it was called")
    assert x.grad is None


def test_an_infinity_is_named_and_what_follows_from_it_is_not():
    x = tg.Tensor(1000.0, requires_grad=True)
    with pytest.raises(tg.AnomalyError, match=r"^exp made inf\n"), tg.detect_anomaly():
        tg.exp(x) * 2
    infinite = tg.Tensor(np.inf, requires_grad=True)
    with tg.detect_anomaly():
        y = infinite * 2
        with pytest.raises(tg.AnomalyError, match=r"^subtract made nan\n"):
            y - infinite


def test_masked_logits_are_no_anomaly():
    x = tg.Tensor([[0.0, 1.0, -np.inf]], requires_grad=True)
    with tg.detect_anomaly():
        tg.cross_entropy(x, [1]).backward()
        tg.softmax(x).sum().backward()
    assert np.isfinite(x.grad).all()


def test_a_call_from_outside_has_its_rules_looked_at():
    x = tg.Tensor([4.0, 0.0], requires_grad=True)
    y = tg.sqrt(x).sum()
    with pytest.raises(tg.AnomalyError, match="a line before detect_anomaly began"), tg.detect_anomaly():
        y.backward()


def test_second_derivatives_are_looked_at_too():
    x = tg.Tensor([4.0, 0.0], requires_grad=True)
    with pytest.raises(tg.AnomalyError, match="divide made inf"), tg.detect_anomaly():
        tg.grad(tg.sqrt(x).sum(), x, create_graph=True)


def test_it_holds_for_its_thread_alone_and_ends_with_the_block():
    x = tg.Tensor(0.0, requires_grad=True)
    seen = []

    def other():
        with np.errstate(all="ignore"):
            seen.append(tg.log(x).item())

    with tg.detect_anomaly():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    with np.errstate(all="ignore"):
        seen.append(tg.log(x).item())
    assert seen == [-np.inf, -np.inf]
    assert anomaly.watching == []


def test_an_error_inside_a_rule_names_primitive_and_argument():
    @tg.primitive
    def cube(x):
        return x * x * x

    def rule(g, y, x):
        raise KeyError("lost")

    cube.vjp(x=rule)
    y = cube(tg.Tensor(2.0, requires_grad=True))
    with pytest.raises(KeyError) as caught:
        y.backward()
    assert caught.value.__notes__ == ["in the rule of argument 'x' of cube"]
