"""SoftmaxClassifier against scikit-learn: its own checks, LogisticRegression's minimum, its pipelines and searches."""

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy import sparse
from sklearn import datasets
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.estimator_checks import check_estimator
from threadpoolctl import threadpool_limits

import tinygrad_ce as tg
from tinygrad_ce.sklearn import SoftmaxClassifier

SETS = {
    "iris": datasets.load_iris, "wine": datasets.load_wine, "breast cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    """The products here are small: threads that wait for each other make them slower where cores are busy."""
    with threadpool_limits(1):
        yield


def rows(name):
    x, y = SETS[name](return_X_y=True)
    return (scale(x) if name != "digits" else x / 16), y


@pytest.mark.filterwarnings("ignore")  # of data on which nothing converges, which is what some checks give
@pytest.mark.parametrize("options", [{}, {"solver": "adam"}, {"C": math.inf}], ids=str)
def test_scikit_learn_finds_nothing_wrong(options):
    found = check_estimator(SoftmaxClassifier(**options), on_skip=None, on_fail=None)
    assert [(r["check_name"], r["exception"]) for r in found if r["status"] not in ("passed", "skipped")] == []
    assert sum(r["status"] == "passed" for r in found) >= 50


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("options", [{}, {"C": 0.05, "fit_intercept": False}, {"class_weight": "balanced"}], ids=str)
def test_a_linear_one_has_the_minimum_of_logistic_regression(name, options):
    x, y = rows(name)
    weight = np.random.default_rng(0).uniform(0, 2, len(y)) if options else None
    ours = SoftmaxClassifier(tol=1e-7, max_iter=1000, **options).fit(x, y, weight)
    theirs = LogisticRegression(tol=1e-7, max_iter=1000, **options).fit(x, y, weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-3)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-3)
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-4)
    np.testing.assert_allclose(ours.decision_function(x), theirs.decision_function(x), atol=5e-3)
    assert ours.score(x, y) == theirs.score(x, y)


@pytest.mark.parametrize("name", SETS)
def test_untuned_it_is_as_accurate_as_logistic_regression(name):
    x, y = SETS[name](return_X_y=True)
    cv = StratifiedKFold(5, shuffle=True, random_state=0)
    ours, theirs = (
        cross_val_score(make_pipeline(StandardScaler(), model), x, y, cv=cv).mean()
        for model in (SoftmaxClassifier(), LogisticRegression())
    )
    assert ours >= theirs - 0.01


def mostly_zeros(dtype=np.float64, seed=0):
    """Rows as of counted words, and labels that depend on them."""
    x = sparse.random(200, 60, density=0.1, format="csr", dtype=dtype, random_state=seed)
    return x, (x @ np.random.default_rng(seed).normal(size=(60, 3))).argmax(axis=1)


FORMS = [sparse.csr_matrix, sparse.csr_array, sparse.csc_array, sparse.coo_matrix]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("classes", [2, 3])
def test_sparse_rows_have_the_minimum_of_logistic_regression(form, classes):
    x, y = mostly_zeros()
    x, y = form(x), y % classes
    weight = np.random.default_rng(0).uniform(0, 2, len(y))
    for options in ({}, {"fit_intercept": False}):
        ours = SoftmaxClassifier(tol=1e-8, **options).fit(x, y, weight)
        theirs = LogisticRegression(tol=1e-8, **options).fit(x.toarray(), y, weight)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-4)
        np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x.toarray()), atol=1e-5)
        np.testing.assert_array_equal(ours.predict(x), ours.predict(x.toarray()))


@pytest.mark.parametrize(
    "options",
    [
        {"solver": "adam"}, {"solver": "sgd", "fit_intercept": False}, {"solver": "adam", "hidden_layer_sizes": (7,)},
        {"hidden_layer_sizes": (7, 5)}, {"early_stopping": True, "class_weight": {0: 2.0}},
        {"solver": "adam", "early_stopping": True},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_sparse_rows_train_as_dense_ones_do(options):
    x, y = mostly_zeros()
    model = SoftmaxClassifier(random_state=0, max_iter=8, **options)
    one, other = clone(model).fit(x, y), clone(model).fit(x.toarray(), y)
    np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-6)
    assert one.loss_curve_[-1] < one.loss_curve_[0]
    np.testing.assert_allclose(one.predict_proba(x), other.predict_proba(x), rtol=1e-4)
    for part in (slice(100), slice(100, None)):
        one.partial_fit(x[part], y[part])
        other.partial_fit(x[part].toarray(), y[part])
    np.testing.assert_allclose(one.predict_proba(x), other.predict_proba(x), rtol=1e-4)


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_counted_words_train(solver):
    words = ["the cat sat", "a dog ran", "the dog sat", "birds fly high", "a bird sings", "cats and dogs"]
    names = ["cat", "dog", "dog", "bird", "bird", "cat"]
    model = make_pipeline(CountVectorizer(), SoftmaxClassifier(solver=solver, learning_rate=0.1, random_state=0))
    assert list(model.fit(words, names).predict(words)) == names
    assert list(pickle.loads(pickle.dumps(model)).predict(["the dog sat"])) == ["dog"]


def test_sparse_rows_that_are_not_finite_or_too_wide_are_refused():
    x, y = mostly_zeros()
    model = SoftmaxClassifier().fit(x, y)
    with pytest.raises(ValueError, match="60 features"):
        model.predict(x[:, :59])
    x.data[3] = np.inf
    for call in (model.predict, lambda x: model.fit(x, y), lambda x: model.partial_fit(x, y)):
        with pytest.raises(ValueError, match="infinity"):
            call(x)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
@pytest.mark.parametrize("hidden", [(), (4,)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_float32_rows_give_float32_weights_rounded_from_float64(dense, solver, hidden):
    x, y = mostly_zeros(np.float32)
    x = x.toarray() if dense else x
    for labels in (y, y % 2):
        model = SoftmaxClassifier(hidden, solver=solver, random_state=0, max_iter=20)
        single, double = clone(model).fit(x, labels), clone(model).fit(x.astype(np.float64), labels)
        for pair, truth in zip(single.layers_, double.layers_, strict=True):
            for found, expected in zip(pair, truth, strict=True):
                assert (found.dtype, expected.dtype) == (np.float32, np.float64)
                np.testing.assert_array_equal(found, expected.astype(np.float32))
        assert single.predict_proba(x).dtype == np.float32
        np.testing.assert_allclose(single.predict_proba(x), double.predict_proba(x), rtol=1e-4)
        if not hidden:
            assert (single.coef_.dtype, single.intercept_.dtype) == (np.float32, np.float32)
    bare = SoftmaxClassifier(fit_intercept=False).fit(x, y)
    assert bare.intercept_.dtype == np.float32
    again = single.set_params(warm_start=True).fit(x, labels)
    assert again.layers_[0][0].dtype == again.partial_fit(x, labels).layers_[0][0].dtype == np.float32


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_n_iter_is_an_array_as_logistic_regression_has_it(solver):
    x, y = rows("iris")
    theirs = LogisticRegression().fit(x, y).n_iter_
    model = SoftmaxClassifier(solver=solver, tol=0.1, random_state=0).fit(x, y)
    assert (model.n_iter_.shape, model.n_iter_.dtype) == (theirs.shape, theirs.dtype)
    before = int(model.n_iter_[0])
    assert before == len(model.loss_curve_)
    assert model.partial_fit(x, y).n_iter_.tolist() == [before + 1]


def test_weights_that_are_changed_in_place_are_those_that_predict():
    x, y = rows("iris")
    model = SoftmaxClassifier().fit(x, y)
    model.coef_[:] = model.intercept_[:] = 0
    assert not model.decision_function(x).any()


def test_mini_batches_train_also_where_nothing_is_recorded():
    x, y = rows("iris")
    model = SoftmaxClassifier(solver="adam", tol=1e-2, random_state=0)
    with tg.no_grad():
        quiet = clone(model).fit(x, y)
    np.testing.assert_array_equal(quiet.coef_, model.fit(x, y).coef_)


def test_the_objective_is_the_formula_of_the_docstring():
    x, y = rows("wine")
    s = np.random.default_rng(1).uniform(0.5, 2, len(y))
    model = SoftmaxClassifier(C=0.3).fit(x, y, s)
    p = model.predict_proba(x)[np.arange(len(y)), y]
    truth = (-(s * np.log(p)).sum() + (model.coef_**2).sum() / (2 * 0.3)) / s.sum()
    assert model.loss_curve_[-1] == pytest.approx(truth, rel=1e-12)
    assert model.n_iter_ == len(model.loss_curve_)
    assert np.all(np.diff(model.loss_curve_) <= 0)


def test_a_class_weight_is_a_weight_of_its_rows():
    x, y = rows("iris")
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    one = SoftmaxClassifier(class_weight={"virginica": 3}).fit(x, names)
    other = SoftmaxClassifier().fit(x, names, np.where(y == 2, 3.0, 1.0))
    np.testing.assert_array_equal(one.coef_, other.coef_)
    assert list(one.classes_) == ["setosa", "versicolor", "virginica"]
    assert one.predict(x[:1]) == ["setosa"]


@pytest.mark.parametrize("solver", ["lbfgs", "adam", "sgd"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_hidden_layers_separate_what_no_line_does(solver):
    x, y = datasets.make_circles(300, noise=0.05, factor=0.5, random_state=0)
    model = SoftmaxClassifier((16,), solver=solver, C=100, random_state=0).fit(x, y)
    assert model.score(x, y) > 0.98
    assert SoftmaxClassifier().fit(x, y).score(x, y) < 0.7
    assert [(w.shape, b.shape) for w, b in model.layers_] == [((16, 2), (16,)), ((1, 16), (1,))]
    again = clone(model).fit(x, y)
    np.testing.assert_array_equal(model.predict_proba(x), again.predict_proba(x))
    with pytest.raises(AttributeError, match="hidden layers, see layers_"):
        _ = model.coef_


def test_mini_batches_come_to_the_same_minimum():
    x, y = rows("iris")
    s = np.random.default_rng(0).integers(1, 4, len(y))
    for weight in (None, s):
        truth = SoftmaxClassifier(tol=1e-8).fit(x, y, weight).predict_proba(x)
        options = {"tol": 1e-7, "max_iter": 3000, "batch_size": 50, "n_iter_no_change": 100}
        model = SoftmaxClassifier(solver="adam", random_state=0, **options).fit(x, y, weight)
        np.testing.assert_allclose(model.predict_proba(x), truth, atol=0.01)


def test_parts_come_to_where_the_whole_does():
    x, y = rows("digits")
    model = SoftmaxClassifier(learning_rate=0.05, random_state=0)
    for epoch in range(10):
        for part in np.array_split(np.arange(len(y)), 5):
            model.partial_fit(x[part], y[part], classes=np.arange(10) if not epoch else None)
    assert model.score(x, y) > SoftmaxClassifier().fit(x, y).score(x, y) - 0.03
    assert model.n_iter_ == len(model.loss_curve_) == 50
    kept = pickle.loads(pickle.dumps(model)).partial_fit(x[:100], y[:100])
    np.testing.assert_array_equal(kept.coef_, model.partial_fit(x[:100], y[:100]).coef_)


def test_adam_remembers_from_part_to_part():
    x, y = rows("iris")
    model = SoftmaxClassifier(learning_rate=0.01, batch_size=200)
    steps, before = [], np.zeros((3, 4))
    for part in (slice(0, None, 2), slice(1, None, 2)):
        model.partial_fit(x[part], y[part], classes=[0, 1, 2])
        steps.append(np.abs(model.coef_ - before))
        before = model.coef_
    np.testing.assert_allclose(steps[0], 0.01, rtol=1e-4)  # Adam's first step is η times the gradient's sign
    assert np.abs(steps[1] - 0.01).max() > 1e-4


def test_the_penalty_is_that_of_all_rows_so_far():
    x, y = rows("iris")
    for s in (np.ones(150), np.random.default_rng(0).uniform(0, 3, 150)):
        model = SoftmaxClassifier(learning_rate=1e-9, C=0.01, batch_size=200).fit(x, y, s)
        p = model.predict_proba(x)[np.arange(150), y]
        model.partial_fit(x, y, sample_weight=s)
        truth = (-2 * (s * np.log(p)).sum() + (model.coef_**2).sum() / (2 * 0.01)) / (2 * s.sum())
        assert model.loss_curve_[-1] == pytest.approx(truth, rel=1e-6)


def test_partial_fit_goes_on_from_fit_and_does_not_take_other_classes():
    x, y = rows("iris")
    model = SoftmaxClassifier(learning_rate=1e-5, random_state=0).fit(x, y)
    before = model.coef_.copy()
    model.partial_fit(x[:50], y[:50])
    assert 0 < np.abs(model.coef_ - before).max() < 1e-4
    with pytest.raises(ValueError, match=r"y\[1\] is .*7.*, expected one of the classes \[0 1 2\]"):
        model.partial_fit(x[:2], [0, 7])
    with pytest.raises(ValueError, match="expected those of the call before"):
        model.partial_fit(x[:2], [0, 1], classes=[0, 1])
    with pytest.raises(ValueError, match="expected all labels at the first call"):
        SoftmaxClassifier().partial_fit(x, y)
    with pytest.raises(ValueError, match="'balanced', but not all rows are known"):
        SoftmaxClassifier(class_weight="balanced").partial_fit(x, y, classes=[0, 1, 2])


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_early_stopping_takes_the_weights_that_were_best_on_rows_held_out(solver):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((200, 50)), rng.integers(0, 2, 200)  # nothing to learn: it can only overfit
    options = {
        "C": math.inf, "solver": solver, "random_state": 0, "n_iter_no_change": 5, "validation_fraction": 0.3, "tol": 0,
    }  # fmt: skip
    model = SoftmaxClassifier(early_stopping=True, **options).fit(x, y)
    full = SoftmaxClassifier(**{**options, "solver": "lbfgs"}).fit(x, y)
    curve = model.validation_loss_curve_
    assert len(curve) == model.n_iter_ == int(np.argmin(curve)) + 6
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert np.linalg.norm(model.coef_) < 0.8 * np.linalg.norm(full.coef_)


def test_a_warm_start_goes_on():
    x, y = rows("digits")
    model = SoftmaxClassifier(warm_start=True).fit(x, y)
    first = model.n_iter_
    coef = model.coef_.copy()
    model.fit(x, y)
    assert model.n_iter_ <= 2 < first
    np.testing.assert_allclose(model.coef_, coef, atol=0.01)
    with pytest.raises(ValueError, match="warm_start with the classes"):
        model.fit(x[y < 2], y[y < 2])
    with pytest.raises(ValueError, match="warm_start with layers"):
        model.set_params(hidden_layer_sizes=(3,)).fit(x, y)


def test_it_takes_its_place_in_pipelines_searches_and_calibration():
    x, y = SETS["wine"](return_X_y=True)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), SoftmaxClassifier()), {"softmaxclassifier__C": [1e-4, 1.0]}, cv=3
    ).fit(x, y)
    assert search.best_score_ > 0.95
    assert search.best_params_ == {"softmaxclassifier__C": 1.0}
    calibrated = CalibratedClassifierCV(make_pipeline(StandardScaler(), SoftmaxClassifier()), cv=3).fit(x, y)
    assert calibrated.score(x, y) > 0.95
    kept = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(kept.predict_proba(x), search.predict_proba(x))
    copy = clone(search.best_estimator_)
    assert copy.get_params()["softmaxclassifier__C"] == 1.0
    with pytest.raises(NotFittedError):
        copy[-1].predict(x)


def test_logarithms_are_those_of_probabilities_too_small_for_a_float():
    model = SoftmaxClassifier().fit([[0.0], [1.0]], [0, 1])
    x = np.array([[1e6]])
    np.testing.assert_array_equal(model.predict_proba(x), [[0.0, 1.0]])
    np.testing.assert_allclose(model.predict_log_proba(x)[0, 0], -model.decision_function(x)[0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"C": 0}, "C is 0, expected a number above 0"),
        ({"tol": math.nan}, "tol is nan"),
        ({"max_iter": 1.5}, "max_iter is 1.5, expected a whole number"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"solver": "newton"}, "solver is 'newton', expected one of"),
        ({"activation": "sine"}, "activation is 'sine', expected one of"),
        ({"validation_fraction": 1}, "validation_fraction is 1, expected a number between 0 and 1"),
        ({"hidden_layer_sizes": (3, 0)}, r"hidden_layer_sizes\[1\] is 0"),
        ({"solver": "sgd", "learning_rate": 1e200}, "learning_rate=1e.200 is likely too high"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_out_of_range_is_named(options, words):
    x, y = rows("iris")
    with pytest.raises(ValueError, match=words):
        SoftmaxClassifier(**options).fit(x, y)


def test_labels_and_weights_that_teach_nothing_are_refused():
    x, y = rows("iris")
    with pytest.raises(ValueError, match="one class alone"):
        SoftmaxClassifier().fit(x[:5], y[:5])
    with pytest.raises(ValueError, match="zero"):
        SoftmaxClassifier().fit(x, y, np.zeros(len(y)))
    with pytest.raises(ValueError, match="Negative"):
        SoftmaxClassifier().fit(x, y, -np.ones(len(y)))


def test_it_says_when_it_has_not_converged_and_what_it_does(capsys):
    x, y = rows("iris")
    with pytest.warns(ConvergenceWarning, match="not converged after max_iter=2 iterations"):
        SoftmaxClassifier(max_iter=2, verbose=True).fit(x, y)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("SoftmaxClassifier: iteration 1, loss 0.")
    assert second.startswith("SoftmaxClassifier: iteration 2, loss 0.")
    with pytest.warns(ConvergenceWarning):
        SoftmaxClassifier(max_iter=2, solver="adam").fit(x, y)


@pytest.mark.parametrize("missing", ["sklearn", "scipy"])
def test_without_the_extra_it_says_how_to_get_it_and_the_package_works(missing):
    code = f"""
import sys
sys.modules[{missing!r}] = None
import tinygrad_ce
try:
    import tinygrad_ce.sklearn
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'tinygrad-ce[sklearn]'" in done.stdout
