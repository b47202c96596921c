"""The gradient checker, tested in its turn: what is right passes, what is wrong is named with its place and cause."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

import tinygrad_ce as tg
from benchmarks import mutants
from tinygrad_ce.check.differences import central, jump, one_sided, swept

X = np.array([0.3, -1.2, 2.0])


def operator(f, rule):
    """A primitive of one argument."""

    @tg.primitive
    def made(x):
        return f(x)

    made.vjp(x=rule)
    return made


def wrong(f, rule, x=X, **options):
    """The report of a check that must fail."""
    report = tg.gradcheck(operator(f, rule), x, raises=False, **options)
    assert not report
    return report


# What is right


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_right_rules_pass_in_every_dtype(dtype, order):
    report = tg.gradcheck(tg.softmax, X.astype(dtype), order=order)
    assert report
    assert report.dtypes == [np.dtype(dtype)] * order


def test_every_entry_of_the_jacobian_is_compared():
    report = tg.gradcheck(lambda a, b: [a @ b, tg.exp(b)], [np.ones((2, 3)), np.ones((3, 4))])
    assert len(report.entries) == (8 + 12) * (6 + 12)
    assert {e.output[0] for e in report.entries} == {0, 1}


def test_gradgradcheck_is_order_two():
    assert tg.gradgradcheck(tg.tanh, X).order == 2


def test_directions_pass_and_cost_one_entry_each():
    report = tg.gradcheck(
        tg.log_softmax, np.random.default_rng(0).normal(size=(50, 30)), mode="directions", directions=3
    )
    assert report
    assert len(report.entries) == 3
    assert "3 directions" in report.what


def test_a_large_jacobian_is_checked_along_directions_unless_asked_for():
    x = np.random.default_rng(0).normal(size=(600, 1))
    assert "directions" in tg.gradcheck(tg.tanh, x).what
    assert "Jacobian" in tg.gradcheck(tg.tanh, x[:9]).what


def test_the_complex_step_is_right_to_the_last_digits():
    report = tg.gradcheck(lambda x: tg.exp(x) / (1 + x * x), X, method="complex")
    assert max(e.relative for e in report.entries) < 1e-14


def test_the_complex_step_says_what_it_does_not_fit():
    with pytest.raises(ValueError, match=r"method 'complex' doesn't fit f: .*abs, max and comparisons"):
        tg.gradcheck(tg.abs, X, method="complex")
    with pytest.raises(ValueError, match=r"method 'complex' is for order 1"):
        tg.gradcheck(tg.exp, X, method="complex", order=2)
    with pytest.raises(ValueError, match=r"plain complex arrays, which it doesn't take"):
        tg.gradcheck(lambda x: tg.Tensor(x) if isinstance(x, np.ndarray) else x * x, X, method="complex")


# What is wrong, and the likely cause


@pytest.mark.parametrize(
    ("f", "rule", "cause"),
    [
        (np.sin, lambda g, y, x: -g * np.cos(x), "the sign is wrong"),
        (np.sin, lambda g, y, x: 1.001 * g * np.cos(x), "the rule is 1.001 times too large everywhere"),
        (np.sin, lambda g, y, x: 0 * g, "the rule gives 0: is a part of f cut off"),
        (np.sin, lambda g, y, x: g * np.nan, "the rule gives nan or inf"),
        (np.sin, lambda g, y, x: np.cos(x), "a wrong rule"),  # the upstream gradient is forgotten
        (np.sin, lambda g, y, x: g * np.where(x == 0.3, 0, np.cos(x)), "the rule gives 0"),
        (np.sin, lambda g, y, x: g * np.cos(x) + 0.1 * g * x, "a wrong rule"),
    ],
)
def test_causes(f, rule, cause):
    assert cause in wrong(f, rule).cause


def test_a_transpose_is_recognised():
    factors = np.arange(4.0).reshape(2, 2)
    report = wrong(lambda x: x * factors, lambda g, y, x: (g * factors).T, np.ones((2, 2)))
    assert "right numbers in wrong places" in report.cause


def test_an_all_zero_gradient_of_a_confident_row_fails():
    for logits in ([30.0, 0.0], [30.0, 0.0, -2.0]):
        report = wrong(lambda x: tg.cross_entropy(x, [0]), lambda g, y, x: 0 * x, np.array([logits]))
        assert "the rule gives 0" in report.cause
        assert tg.gradcheck(lambda x: tg.cross_entropy(x, [0]), np.array([logits]))


def test_a_small_entry_is_judged_by_its_own_size():
    def rule(g, y, x):
        slope = tg.softmax(x) - np.array([1.0, 0.0, 0.0])
        return g * np.where(np.arange(3) == 1, 2 * slope, slope)  # twice an entry of 7e-14 beside entries of 0.3

    report = wrong(lambda x: tg.cross_entropy(x, 0), rule, np.array([0.0, -30.0, -1.0]))
    assert [e.at for e in report.failed] == [(1,)]


def test_the_first_line_tells_input_index_numbers_and_cause():
    flipped = operator(np.sin, lambda g, y, x: -g * np.cos(x))
    with pytest.raises(tg.GradientError) as caught:
        tg.gradcheck(lambda a, b: a * flipped(b).sum(), [np.array(2.0), X[:1]])
    assert str(caught.value).split("\n")[0] == (
        "input 1, index [0]: the rule gives -1.910673, finite differences give 1.910673; "
        "likely cause: the sign is wrong"
    )


def test_one_wrong_entry_among_many_is_seen_along_directions_and_then_found():
    rule = lambda g, y, x: g * np.cos(x) * np.where(np.arange(x.size) == 17, 1.01, 1)
    report = wrong(np.sin, rule, np.linspace(0, 1, 40), mode="directions")
    assert [e.at for e in report.failed] == [(17,)]
    assert [e.output for e in report.failed] == [(0, (17,))]


def test_a_kink_met_along_a_direction_is_no_fault():
    report = tg.gradcheck(tg.relu, np.array([0.0, 1.0, -1.0]), mode="directions")
    assert report
    assert len(report.kinks) == 1


def test_upstream_gradients_of_one_do_not_hide_that_a_rule_ignores_them():
    assert not tg.gradcheck(operator(np.sum, lambda g, y, x: np.ones_like(x)), X, raises=False)


# Steps, kinks, jumps, noise


def test_a_bad_step_is_told_from_a_wrong_rule():
    report = tg.gradcheck(lambda x: tg.sin(1e4 * x), X)  # 7e-4 is more than a period
    assert report
    assert {e.note for e in report.entries if e.analytic} == {"step"}
    assert not tg.gradcheck(
        operator(lambda x: np.sin(1e4 * x), lambda g, y, x: 1.0001e4 * g * np.cos(1e4 * x)), X, raises=False
    )


def test_a_step_out_of_the_domain_is_shortened():
    assert tg.gradcheck(tg.log, np.array([1e-5, 1e-3, 1.0]))
    assert tg.gradcheck(lambda y: tg.cross_entropy(np.array([[1.0, 2.0]]), y), np.array([[1e-5, 1 - 1e-5]]))


def test_a_kink_is_named_with_both_slopes_and_any_slope_between_is_right():
    (kink,) = tg.gradcheck(tg.relu, np.array([0.0, 1e-5, 1.0])).kinks
    assert (kink.at, kink.slopes, kink.analytic) == ((0,), (0.0, 1.0), 0.0)
    (kink,) = tg.gradcheck(lambda x: tg.leaky_relu(x, 0.2), np.array([0.0])).kinks
    np.testing.assert_allclose(kink.slopes, (0.2, 1.0), rtol=1e-6)
    report = wrong(np.abs, lambda g, y, x: g * np.where(x == 0, 3, np.sign(x)), np.array([0.0, 0.5]))
    assert "outside of the slopes" in report.cause
    assert "slope -1 from the left, 1 from the right" in str(report)


def test_shares_of_a_tie_must_add_up():
    tied = np.array([1.0, 2.0, 2.0])
    assert len(tg.gradcheck(tg.max, tied).kinks) == 2
    report = wrong(np.max, lambda g, y, x: g * (x == y), tied)  # each takes all
    assert "a tie, whose shares don't add up" in report.cause
    assert tg.gradcheck(tg.relu, np.zeros(3))


def test_a_jump_has_no_derivative():
    report = wrong(np.sign, lambda g, y, x: 0 * g, np.array([0.0, 1.0]))
    assert "f jumps there, or is noisy" in report.cause
    assert tg.gradcheck(tg.relu, np.array([0.0, 1.0]), order=2)  # a kink's gradient may jump


def test_noise_is_not_taken_for_agreement():
    rough = lambda x: np.sin(x) + 1e-3 * np.sin(1e12 * x)
    report = wrong(rough, lambda g, y, x: g * np.cos(x), np.array([0.5]))
    assert "noisy" in report.cause


def test_what_is_too_small_to_tell_is_counted():
    report = tg.gradcheck(tg.softmax, np.array([0.0, -30.0, 3.0]))
    assert report.unresolved
    assert "too small to tell" in str(report)


# What must hold whatever the numbers are


def test_two_runs_must_agree():
    rng = np.random.default_rng(0)
    with pytest.raises(tg.GradientError, match=r"^f gives other numbers when it is called twice"):
        tg.gradcheck(lambda x: x + 0 * x * float(rng.normal()) + tg.Tensor(rng.normal() * 1e-13), X)


def test_invariants_by_name_and_by_function():
    x = np.random.default_rng(0).normal(size=(4, 3))
    assert tg.gradcheck(lambda x: tg.cross_entropy(x, [0, 1, 2, 0]), x, invariants=["rows sum to 0"])
    assert tg.gradcheck(lambda x: x / tg.sqrt((x * x).sum()), x, invariants=["orthogonal to the input"])
    with pytest.raises(tg.GradientError, match=r"the gradient breaks 'rows sum to 0': .* at \[0\], expected 0"):
        tg.gradcheck(tg.exp, x, invariants=["rows sum to 0"])
    same = {"shift": lambda x, dx: (tg.softmax(x) - tg.softmax(x + 1.0), np.ones_like(x))}
    assert tg.gradcheck(tg.softmax, x, invariants=same)
    with pytest.raises(ValueError, match=r"no invariant 'rows'; there are 'rows sum to 0'"):
        tg.gradcheck(tg.exp, x, invariants=["rows"])


def test_options_are_checked():
    for options in ({"order": 3}, {"mode": "fast"}, {"method": "forward"}):
        with pytest.raises(ValueError, match=rf"gradcheck: {next(iter(options))} is .*, expected one of"):
            tg.gradcheck(tg.exp, X, **options)
    with pytest.raises(ValueError, match="no input is floating"):
        tg.gradcheck(tg.exp, np.array([1, 2]))
    with pytest.raises(TypeError, match="f returned ndarray, expected a Tensor"):
        tg.gradcheck(lambda x: np.ones(3), X)


def test_the_report_in_a_notebook():
    page = wrong(np.abs, lambda g, y, x: g * np.where(x == 0, 3, np.sign(x)), np.array([0.0, 0.5]))._repr_html_()
    ET.fromstring(page)
    assert "likely cause" in page
    assert "<- the rule is outside" not in page  # escaped
    assert "&lt;- the rule is outside" in page


# The numeric derivatives themselves


def test_the_sweep_finds_the_bottom_of_the_v():
    slope = swept(lambda t: np.exp(np.array([1.0, 100.0]) * (0.3 + t)), 2.0**-10, 2.0**-52)
    np.testing.assert_allclose(slope.value, [np.exp(0.3), 100 * np.exp(30)], rtol=1e-11)
    assert not slope.rough.any()


def test_one_sided_slopes_and_jumps():
    line = lambda t: np.array([abs(t), 3 * t * t, max(2 * t, 0.0), float(t > 0)])
    left, right = (one_sided(line, 2.0**-10, 2.0**-52, side) for side in (-1, 1))
    np.testing.assert_allclose(left.value[:3], [-1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(right.value[:3], [1, 0, 2], atol=1e-9)
    assert jump(line, 2.0**-10, 2.0**-52).tolist() == [False, False, False, True]


def test_central_differences_are_of_fourth_order():
    errors = [abs(central(lambda t: np.exp(np.array([t])), h, 0.0).value[0] - 1) for h in (0.1, 0.05)]
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.1)


# Mutants


def test_a_sample_of_mutants_of_every_kind_is_caught():
    every = mutants.mutants()
    sample = [m for k, m in enumerate(every) if k % 20 == 0]
    assert {m.kind for m in sample} == set(mutants.WAYS)
    assert [m.name for m in sample if mutants.caught(m) is False] == []


def test_a_rule_that_is_right_is_no_mutant():
    right = mutants.Mutant("exp", "x", "without a term or factor", "", lambda g, y, x: g * y)
    assert mutants.caught(right) is False
