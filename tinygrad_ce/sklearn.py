"""SoftmaxClassifier: a softmax classifier of this engine as an estimator of scikit-learn, linear or with hidden layers.

The one module here that needs scikit-learn and SciPy; nothing else imports it.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_ce import data, losses, nn, ops, optim, train
from tinygrad_ce.common.options import whole
from tinygrad_ce.common.terminal import say
from tinygrad_ce.engine.node import recording
from tinygrad_ce.engine.primitive import operator
from tinygrad_ce.tensor import Tensor
from tinygrad_ce.train.rows import ArrayRows

try:
    from scipy.optimize import minimize
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils import check_random_state
    from sklearn.utils.class_weight import compute_class_weight
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
    from threadpoolctl import ThreadpoolController
except ImportError as error:
    raise ImportError(
        f"tinygrad_ce.sklearn needs scikit-learn ≥ 1.6 and SciPy: pip install 'tinygrad-ce[sklearn]' ({error})",
        name=error.name,
    ) from error

__all__ = ["SoftmaxClassifier"]

ACTIVATIONS: dict[str, Any] = {"relu": ops.relu, "tanh": ops.tanh, "gelu": ops.gelu, "silu": ops.silu}
SOLVERS = ("auto", "lbfgs", "adam", "sgd")

# The kinds of X: dense or sparse. All else is made one of them.
_FORMS = {"accept_sparse": "csr", "dtype": [np.float64, np.float32], "order": "C"}

# Two classes have one row of weights: times this, it is the rows of both logits.
_SECOND = np.array([[0], [1]], np.int8)

# Up to so many products in a pass, BLAS gets one thread. With two, hundreds of small matrix products took ten times as
# long, as the threads wait for each other at the end of each.
ONE_THREAD = 20_000_000
_BLAS = ThreadpoolController()

# Up to so many numbers (160 MB) "auto" takes whole batches: L-BFGS needs 20 to 100 passes, whatever the number of rows.
FULL_BATCH = 20_000_000


class SoftmaxClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # of a package without types
    r"""A softmax classifier: logits :math:`z = W x + b`, or a network's, and :math:`p = \mathrm{softmax}(z)`.

    It minimises the cross-entropy with an L2 penalty on the weights W of all layers, not on the biases:

    .. math:: \frac{1}{S} \Big( \sum_i s_i \, (-\log p_{i, y_i}) + \frac{1}{2C} \sum W^2 \Big), \qquad S = \sum_i s_i,

    with :math:`s_i` the row's sample weight times its class's. C is that of scikit-learn's LogisticRegression, and a
    linear SoftmaxClassifier has the same minimum. Two classes have one logit, :math:`p = σ(z)` being the second
    class's.

    Args:
        hidden_layer_sizes: the widths of hidden layers; () is the linear classifier.
        activation: between layers: "relu", "tanh", "gelu" or "silu".
        C: the inverse strength of the penalty, above 0; ``math.inf`` for none.
        fit_intercept: whether layers have a bias.
        solver: "lbfgs" (SciPy's, with whole batches in float64), "adam" or "sgd" (with momentum 0.9; mini-batches);
            "auto" is "lbfgs" up to 20 million numbers in X, "adam" beyond them and for partial_fit.
        learning_rate: of Adam and SGD.
        batch_size: the rows in a step of Adam and SGD.
        max_iter: at most so many iterations of L-BFGS, or epochs of the others.
        tol: L-BFGS stops when no entry of the gradient is larger; the others, and early stopping, when the loss has
            not fallen by more for n_iter_no_change iterations.
        class_weight: a dict of class to weight (1 where it says nothing), or "balanced": the weight of all rows over
            the number of classes times the weight of the class's rows.
        early_stopping: hold out a part of the rows, stop when its loss falls no more, and take the best weights.
        validation_fraction: how large a part; each class gives its share.
        n_iter_no_change: how many iterations without improvement are borne.
        random_state: of the first weights of hidden layers, the order of the rows, and the rows held out: a seed, a
            RandomState, or None for another one each time. The linear classifier with "lbfgs" draws nothing.
        warm_start: whether fit goes on from the weights of the fit before.
        verbose: whether to print the loss after each iteration.

    Attributes:
        classes_: (C) the labels, sorted.
        coef_, intercept_: of the linear classifier (C, F) and (C); (1, F) and (1) with two classes. As all weights,
            they are found in float64, and kept in float32 where X has it.
        layers_: the (weight, bias) of each layer; a weight is (out, in), a bias None without fit_intercept.
        n_features_in_, feature_names_in_: the width of X, and its columns' names if it had names.
        n_iter_: (1) the iterations, or epochs, that were run.
        loss_curve_: the loss, penalty included, after each of them (the mean over the epoch for Adam and SGD).
        validation_loss_curve_: with early_stopping, the cross-entropy of the rows held out.

    Raises:
        ValueError: an option out of range, nan or infinite features, a single class, or what else scikit-learn's own
                classifiers refuse; also where a training step gives nan: the learning rate is too high.
        ConvergenceWarning: max_iter came first.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> from tinygrad_ce.sklearn import SoftmaxClassifier
        >>> x, y = load_iris(return_X_y=True)
        >>> model = make_pipeline(StandardScaler(), SoftmaxClassifier()).fit(x, y)
        >>> print(round(model.score(x, y), 2), model.predict_proba(x[:1]).round(2))
        0.97 [[0.98 0.02 0.  ]]

    Source:
        Liu, Nocedal, On the limited memory BFGS method for large scale optimization, 1989.
    """

    classes_: np.ndarray
    layers_: list[tuple[Any, Any]]
    _optimizer: optim.Optimizer | None  # of partial_fit

    def __init__(
        self, hidden_layer_sizes: Sequence[int] | int = (), *,
        activation: str = "relu", C: float = 1.0, fit_intercept: bool = True,
        solver: str = "auto", learning_rate: float = 0.01, batch_size: int = 128,
        max_iter: int = 200, tol: float = 1e-4, class_weight: Any = None,
        early_stopping: bool = False, validation_fraction: float = 0.1, n_iter_no_change: int = 10,
        random_state: Any = None, warm_start: bool = False, verbose: bool = False,
    ) -> None:  # fmt: skip
        self.hidden_layer_sizes, self.activation = hidden_layer_sizes, activation
        self.C, self.fit_intercept, self.class_weight = C, fit_intercept, class_weight
        self.solver, self.learning_rate, self.batch_size = solver, learning_rate, batch_size
        self.max_iter, self.tol, self.early_stopping = max_iter, tol, early_stopping
        self.validation_fraction, self.n_iter_no_change = validation_fraction, n_iter_no_change
        self.random_state, self.warm_start, self.verbose = random_state, warm_start, verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SoftmaxClassifier:
        """Train on rows and their labels.

        Args:
            X: (N, F) features, finite; an array, or a sparse matrix of SciPy's.
            y: (N) labels: numbers or strings, of at least two classes.
            sample_weight: (N) what each row counts, at least 0; a weight of 2 is the row twice.
        """
        widths, X, y = self._validated(X, y)
        classes, index = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"SoftmaxClassifier: y has one class alone, {classes[0]!r}; expected at least 2 classes")
        go_on = self.warm_start and hasattr(self, "classes_")
        if go_on and not np.array_equal(self.classes_, classes):
            raise ValueError(f"SoftmaxClassifier: warm_start with the classes {classes}, expected those of before")
        objective, held = _Objective(self, X, index, _row_weights(self, X, index, classes, sample_weight)), None
        self.classes_ = classes
        self._random = check_random_state(self.random_state)
        self._optimizer = None
        if self.early_stopping:
            objective, held = self._hold_out(objective)
        watch = _Watch(self, held)
        solver = self.solver if self.solver != "auto" else "lbfgs" if X.size <= FULL_BATCH else "adam"
        run = self._full_batches if solver == "lbfgs" else self._mini_batches
        with _BLAS.limit(limits=1 if X.size * len(classes) <= ONE_THREAD else None, user_api="blas"):
            parameters = run(objective, self._first_parameters(widths, go_on), watch)
        self._seen = objective.total
        self._keep(parameters if watch.best is None else watch.best, X.dtype)
        self.loss_curve_ = watch.losses
        self.n_iter_ = np.array([len(watch.losses)], np.int32)
        if held is not None:
            self.validation_loss_curve_ = watch.held_losses
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> SoftmaxClassifier:
        """Go over these rows once, by Adam (or SGD, if that is the solver); for data that come in parts.

        The penalty is that of all rows given so far, so C means the same as in fit.

        Args:
            X, y, sample_weight: as for fit; y may lack classes.
            classes: all labels that will ever come; needed at the first call alone.
        """
        first = not hasattr(self, "classes_")
        widths, X, y = self._validated(X, y, reset=first)
        known = _check_classes(None if first else self.classes_, classes)
        index = np.searchsorted(known, y).clip(max=len(known) - 1)
        wrong = np.flatnonzero(known[index] != y)
        if wrong.size:
            raise ValueError(f"partial_fit: y[{wrong[0]}] is {y[wrong[0]]!r}, expected one of the classes {known}")
        if self.class_weight == "balanced":
            raise ValueError("partial_fit: class_weight is 'balanced', but not all rows are known; give a dict")
        objective = _Objective(self, X, index, _row_weights(self, X, index, known, sample_weight))
        if first:
            self.classes_ = known
            self._random = check_random_state(self.random_state)
            self._optimizer, self._seen, self.n_iter_, self.loss_curve_ = None, 0.0, np.zeros(1, np.int32), []
            self._keep(self._first_parameters(widths, False), X.dtype)
        self._seen += objective.total  # the weight of all rows so far
        objective.penalty = 0.5 / (self.C * self._seen)
        if self._optimizer is None:
            self._optimizer = _optimizer(self, self._parameters())
        self.loss_curve_ = [*self.loss_curve_, *objective.epochs(1, self._optimizer)["loss"]]
        self.n_iter_ = self.n_iter_ + 1
        self._keep([p.numpy() for p in self._optimizer.parameters], X.dtype)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _validated(self, X: Any, y: Any, **options: Any) -> tuple[list[int], Any, Any]:
        """The widths of hidden layers, the rows and their labels, as they may be."""
        widths = _check_options(self)
        X, y = validate_data(self, X, y, **_FORMS, **options)
        check_classification_targets(y)
        return widths, X, y

    def decision_function(self, X: Any) -> np.ndarray:
        """The logits, (N, C); with two classes (N), above 0 where the second is more likely."""
        z = self._logits(X)
        return z[:, 1] if z.shape[1] == 2 else z

    def predict(self, X: Any) -> np.ndarray:
        """The most likely class of each row, (N)."""
        index = self._logits(X).argmax(axis=1)
        return np.asarray(self.classes_[index])

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, (N, C), in the order of ``classes_``."""
        return np.asarray(ops.softmax(self._logits(X)))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithms of the probabilities, (N, C), accurate also where a probability rounds to 0 or 1."""
        return np.asarray(ops.log_softmax(self._logits(X)))

    @property
    def coef_(self) -> Any:
        """The linear classifier's weight."""
        return self._linear("coef_", 0)

    @property
    def intercept_(self) -> Any:
        """The linear classifier's bias; zeros without one."""
        bias = self._linear("intercept_", 1)
        return np.zeros(len(self.coef_), self.coef_.dtype) if bias is None else bias

    def _linear(self, name: str, part: int) -> Any:
        layers = vars(self).get("layers_", ())
        if len(layers) != 1:
            why = "it has hidden layers, see layers_" if layers else "it is not fitted"
            raise AttributeError(f"SoftmaxClassifier has no {name}: {why}")
        return layers[0][part]

    def _logits(self, X: Any) -> np.ndarray:
        """Of all classes, (N, C)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, **_FORMS)
        return np.asarray(_forward(np.asarray(X), self._parameters(), self))

    def _parameters(self) -> list[np.ndarray]:
        """The weights of all layers, then their biases."""
        return [w for w, _ in self.layers_] + [b for _, b in self.layers_ if b is not None]

    def _keep(self, parameters: list[np.ndarray], dtype: Any) -> None:
        self.layers_ = _layers([p.astype(dtype) for p in parameters])

    def _first_parameters(self, widths: list[int], go_on: bool) -> list[np.ndarray]:
        """Zeros for a linear classifier, whose minimum is everywhere the same; draws for hidden layers."""
        outputs = 1 if len(self.classes_) == 2 else len(self.classes_)
        shapes = [(out, width) for width, out in itertools.pairwise([self.n_features_in_, *widths, outputs])]
        if go_on:
            found = [w.shape for w, _ in self.layers_]
            if found != shapes or (self.layers_[0][1] is not None) != bool(self.fit_intercept):
                raise ValueError(f"SoftmaxClassifier: warm_start with layers {shapes}, but those of before are {found}")
            return self._parameters()
        weights = [np.zeros(shape) for shape in shapes]
        if widths:
            rng = np.random.default_rng(self._random.randint(2**31))
            weights = [nn.init.xavier_uniform(shape, rng, np.float64).numpy() for shape in shapes]
        return weights + [np.zeros(out) for out, _ in shapes] * bool(self.fit_intercept)

    def _hold_out(self, whole: _Objective) -> tuple[_Objective, _Objective]:
        """The objective of the rows to train on, and of those held out."""
        from sklearn.model_selection import train_test_split

        numbers, y = np.arange(len(whole.y)), whole.y
        count = max(math.ceil(self.validation_fraction * len(y)), len(self.classes_))  # one of each, at least
        rows, held = train_test_split(numbers, test_size=count, stratify=y, random_state=self._random)
        return whole.only(rows), whole.only(held)

    def _full_batches(self, objective: _Objective, parameters: list[np.ndarray], watch: _Watch) -> list[np.ndarray]:
        """SciPy's L-BFGS on the engine's loss and gradient."""
        shapes = [p.shape for p in parameters]
        ends = list(itertools.accumulate(p.size for p in parameters))
        weights = sum(p.size for p in parameters if p.ndim == 2)

        def unpack(theta: np.ndarray) -> list[np.ndarray]:
            return [part.reshape(s) for part, s in zip(np.split(theta, ends[:-1]), shapes, strict=True)]

        def loss_and_gradient(theta: np.ndarray) -> tuple[float, np.ndarray]:
            leaves = [Tensor._leaf(part, True) for part in unpack(theta)]
            with recording():
                loss = objective.loss(leaves)
            loss.backward(retain_graph=False)
            gradient = np.concatenate([leaf.grad.ravel() for leaf in leaves])
            w = theta[:weights]  # the penalty by hand: on few rows, recording it would take as long as the rest
            gradient[:weights] += 2 * objective.penalty * w
            return loss.item() + objective.penalty * float(w @ w), gradient

        def tell(intermediate_result: Any) -> None:
            watch.add(float(intermediate_result.fun), unpack(intermediate_result.x.copy()))
            if self.early_stopping and watch.over:
                raise StopIteration

        # What stops it beside tol is the limit of float64; a line search may need many steps where features are large.
        options = {"maxiter": self.max_iter, "gtol": self.tol, "ftol": 64 * np.finfo(float).eps, "maxls": 50}
        start = np.concatenate([p.ravel() for p in parameters], dtype=np.float64)
        found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", callback=tell, options=options)
        if not np.isfinite(found.fun):
            raise ValueError(f"SoftmaxClassifier: the loss is {found.fun}; are there huge features? Scale them")
        if not watch.losses:  # the start is the minimum
            watch.add(float(found.fun), unpack(found.x))
        watch.warn(found.nit >= self.max_iter)
        return unpack(found.x)

    def _mini_batches(self, objective: _Objective, parameters: list[np.ndarray], watch: _Watch) -> list[np.ndarray]:
        """Epochs of Adam or SGD."""
        optimizer = _optimizer(self, parameters)
        objective.epochs(self.max_iter, optimizer, watch)
        watch.warn(not watch.over)
        self._optimizer = None if watch.best is not None else optimizer
        return [p.numpy() for p in optimizer.parameters]


class _Objective(nn.Module):
    """The loss of rows under an estimator's options, as a function of the parameters.

    As a module, it is what ``fit`` trains: it turns numbers of rows into their logits. So X may be sparse, and stays
    in the precision in which it came.
    """

    def __init__(self, owner: SoftmaxClassifier, x: Any, y: np.ndarray, weight: np.ndarray | None) -> None:
        self.owner, self.x, self.y, self.weight = owner, x, y, weight
        self.total = float(len(y) if weight is None else weight.sum())
        if not self.total > 0:
            raise ValueError("SoftmaxClassifier: the weight of every row that is trained on is zero")
        self.penalty = 0.5 / (owner.C * self.total)
        self.tensors: list[Tensor] = []
        self.whole: Any = None

    def only(self, rows: np.ndarray) -> _Objective:
        """That of some rows."""
        weight = None if self.weight is None else self.weight[rows]
        return _Objective(self.owner, self.x[rows], self.y[rows], weight)

    def loss(self, parameters: Sequence[Any]) -> Any:
        """Of all rows, without the penalty."""
        if self.whole is None:
            self.whole = _as_leaf(self.x)
        z = _forward(self.whole, parameters, self.owner)
        loss = losses.cross_entropy(z, self.y, reduction="mean" if self.weight is None else "none")
        return loss if self.weight is None else (loss * self.weight).sum() / self.total

    def forward(self, numbers: Any) -> Any:
        """The logits of rows, given by their numbers, (n, 1)."""
        return _forward(_as_leaf(self.x[np.asarray(numbers)[:, 0]]), self.tensors, self.owner)

    def penalised(self, z: Any, y: Any, **options: Any) -> Any:
        """The loss of a step: as each row's has the penalty, their weighted mean is the objective."""
        penalties = [self.penalty * (w * w).sum() for w in self.tensors if w.ndim == 2 and self.penalty]
        return sum(penalties, losses.cross_entropy(z, y, **options))

    def epochs(self, count: int, optimizer: optim.Optimizer, *callbacks: train.Callback) -> train.History:
        """Train by steps over a few rows each."""
        self.tensors = optimizer.parameters
        weight = None if self.weight is None else self.weight * (len(self.y) / self.total)
        size, seed = self.owner.batch_size, self.owner._random.randint(2**31)
        try:
            with recording():
                return train.fit(
                    self, _Rows(self.y, weight), epochs=count, batch_size=size, optimizer=optimizer,
                    loss=self.penalised, callbacks=callbacks, seed=seed, progress=False,
                )  # fmt: skip
        except FloatingPointError as error:
            cause = f"learning_rate={optimizer.lr:g} is likely too high, or features are huge: scale them"
            raise ValueError(f"SoftmaxClassifier: the loss is nan or infinite; {cause}") from error


class _Rows(ArrayRows):
    """Rows for ``fit``, of which it is given the numbers in the place of features."""

    def __init__(self, y: np.ndarray, weight: np.ndarray | None) -> None:
        self.where, self.weight, self.class_weight, self.classes, self.plan = (
            "SoftmaxClassifier",
            weight,
            None,
            (),
            None,
        )
        self.data = data.Dataset(np.arange(len(y))[:, None], y, ())
        self.first = self.data.x[:1]


class _Watch(train.Callback):
    """What is measured after every iteration, and whether it is time to stop."""

    def __init__(self, owner: SoftmaxClassifier, held: _Objective | None) -> None:
        self.owner, self.held = owner, held
        self.losses: list[float] = []
        self.held_losses: list[float] = []
        self.best: list[np.ndarray] | None = None
        self.lowest, self.worse = math.inf, 0

    @property
    def over(self) -> bool:
        """Whether the loss has not fallen by more than tol for too long."""
        return bool(self.worse >= self.owner.n_iter_no_change)

    def on_epoch_end(self, training: train.Training) -> None:
        """An iteration of Adam or SGD."""
        self.add(training.history["loss"][-1], [p.numpy() for p in training.optimizer.parameters])
        if self.over:
            training.stop("the loss falls no more")

    def add(self, loss: float, parameters: list[np.ndarray]) -> None:
        """Note an iteration. With rows held out, the best parameters are kept."""
        self.losses.append(loss)
        if self.held is not None:
            loss = float(self.held.loss(parameters))
            self.held_losses.append(loss)
            if self.best is None or loss < self.lowest:
                self.best = parameters
        if self.owner.verbose:
            held = f", held out {loss:.6f}" if self.held is not None else ""
            say(f"SoftmaxClassifier: iteration {len(self.losses)}, loss {self.losses[-1]:.6f}{held}")
        self.worse = 0 if loss < self.lowest - self.owner.tol else self.worse + 1
        self.lowest = min(self.lowest, loss)

    def warn(self, stopped: bool) -> None:
        """Say so if max_iter ended it."""
        if stopped:
            words = f"SoftmaxClassifier: not converged after max_iter={self.owner.max_iter} iterations"
            advice = "standardise the features, or raise max_iter or tol"
            warnings.warn(f"{words}; {advice}", ConvergenceWarning, stacklevel=4)


@operator
def _sparse_linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """A linear layer of rows in a sparse matrix, given as an array of that one object, as the tape holds arrays."""
    y = x.item() @ weight.T
    return y if bias is None else y + bias


_sparse_linear.vjp(
    weight=lambda g, y, x, weight, bias: (x.item().T @ g).T,
    bias=lambda g, y, x, weight, bias: g.sum(axis=0),
)


def _as_leaf(x: Any) -> Any:
    """Rows in float64 as a Tensor: the tape would copy all else at each call, as others could write to it."""
    return Tensor._leaf(x.astype(np.float64, copy=False))


def _layers(parameters: Sequence[Any]) -> list[tuple[Any, Any]]:
    """The weight and the bias, or None, of each layer; from all weights, then all biases."""
    depth = sum(p.ndim == 2 for p in parameters)
    return list(zip(parameters[:depth], parameters[depth:] or [None] * depth, strict=True))


def _forward(x: Any, parameters: Sequence[Any], owner: SoftmaxClassifier) -> Any:
    """The logits: the layers, with an activation between them. Of two classes, the first one's logit is 0."""
    layers = _layers(parameters)
    for i, (w, b) in enumerate(layers):
        if i:
            x = ACTIVATIONS[owner.activation](x)
        if i == len(layers) - 1 and len(w) == 1:
            w, b = _SECOND * w, None if b is None else _SECOND[:, 0] * b
        x = (ops.linear if x.ndim else _sparse_linear)(x, w, b)
    return x


def _optimizer(owner: SoftmaxClassifier, parameters: list[np.ndarray]) -> optim.Optimizer:
    tensors = [Tensor(p, requires_grad=True, dtype=np.float64) for p in parameters]
    if owner.solver == "sgd":
        return optim.SGD(tensors, lr=owner.learning_rate, momentum=0.9)
    return optim.Adam(tensors, lr=owner.learning_rate)


def _row_weights(owner: SoftmaxClassifier, X: Any, index: Any, classes: Any, sample_weight: Any) -> np.ndarray | None:
    """Sample weight times class weight; None where all are 1."""
    if sample_weight is not None:
        sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if owner.class_weight is None:
        return sample_weight  # type: ignore[no-any-return]
    if owner.class_weight == "balanced":
        sums = np.bincount(index, sample_weight, len(classes))
        each = sums.sum() / (len(classes) * np.where(sums > 0, sums, 1))
    else:
        each = compute_class_weight(owner.class_weight, classes=classes, y=classes)
    return np.asarray(each[index] if sample_weight is None else each[index] * sample_weight)


def _check_classes(known: Any, given: Any) -> Any:
    """The sorted classes of partial_fit: said at the first call, and the same ever after."""
    if given is None and known is None:
        raise ValueError("partial_fit: classes is None, expected all labels at the first call")
    found = known if given is None else np.unique(np.asarray(given))
    if known is not None and not np.array_equal(known, found):
        raise ValueError(f"partial_fit: classes is {given!r}, expected those of the call before, {known}")
    if len(found) < 2:
        raise ValueError(f"partial_fit: classes is {given!r}, expected at least 2 classes")
    return found


def _check_options(owner: SoftmaxClassifier) -> list[int]:
    """Hold every option against its range; the hidden widths as a list."""
    for name, among in (("activation", tuple(ACTIVATIONS)), ("solver", SOLVERS)):
        if getattr(owner, name) not in among:
            raise ValueError(f"SoftmaxClassifier: {name} is {getattr(owner, name)!r}, expected one of {among}")
    for name in ("max_iter", "batch_size", "n_iter_no_change"):
        whole("SoftmaxClassifier", name, getattr(owner, name))
    for name, low, high in (("C", 0, math.inf), ("learning_rate", 0, math.inf), ("validation_fraction", 0, 1)):
        value = getattr(owner, name)
        if not _is_real(value) or not low < value <= high or value == 1 == high:
            bounds = f"between 0 and {high}" if high < math.inf else "above 0"
            raise ValueError(f"SoftmaxClassifier: {name} is {value!r}, expected a number {bounds}")
    if not _is_real(owner.tol) or not owner.tol >= 0:
        raise ValueError(f"SoftmaxClassifier: tol is {owner.tol!r}, expected a number of at least 0")
    given: Any = owner.hidden_layer_sizes
    widths: list[int] = [int(given)] if isinstance(given, int | np.integer) else list(given)
    return [whole("SoftmaxClassifier", f"hidden_layer_sizes[{i}]", width) for i, width in enumerate(widths)]


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
