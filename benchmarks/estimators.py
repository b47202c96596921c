"""SoftmaxClassifier beside scikit-learn's LogisticRegression, both as they come, on standardised features.

iris, wine, breast cancer and digits: the time of one fit on all rows and of a 5-fold cross-validation (fits, scaling
and scoring), by turns in processes of their own, and the accuracy of the same five folds.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from benchmarks import turns

SETS = ("iris", "wine", "breast_cancer", "digits")
CASES: dict[str, tuple[Any, ...]] = {f"{name}, {what}": (name, what) for name in SETS for what in ("fit", "5 folds")}
BOUND = 0.01  # how far below LogisticRegression's an accuracy may be
SLOWEST = 2.0  # how many times its time ours may take


def load(name: str) -> tuple[Any, Any]:
    """A set's features, as they are, and labels."""
    import sklearn.datasets

    x, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    return x, y


def folds(model: Any, x: Any, y: Any) -> Any:
    """The accuracy in each of five stratified, shuffled folds; features are standardised by the other four."""
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    cv = StratifiedKFold(5, shuffle=True, random_state=0)
    return cross_val_score(make_pipeline(StandardScaler(), model), x, y, cv=cv)


def prepared(model: Any, name: str, what: str) -> Callable[[], Any]:
    """The call to time."""
    from sklearn.preprocessing import StandardScaler

    x, y = load(name)
    if what == "fit":
        x = StandardScaler().fit_transform(x)
        return lambda: model.fit(x, y)
    return lambda: folds(model, x, y)


def ours(name: str, what: str) -> Callable[[], Any]:
    """This project's classifier."""
    from tinygrad_ce.sklearn import SoftmaxClassifier

    return prepared(SoftmaxClassifier(), name, what)


def theirs(name: str, what: str) -> Callable[[], Any]:
    """scikit-learn's."""
    from sklearn.linear_model import LogisticRegression

    return prepared(LogisticRegression(), name, what)


def accuracies(times: turns.Times) -> str:
    """The accuracies of the sets that were timed, and whether the bounds hold."""
    from sklearn.linear_model import LogisticRegression

    from tinygrad_ce.sklearn import SoftmaxClassifier

    rows, lowest = [], 0.0
    for name in dict.fromkeys(CASES[case][0] for case in times):
        x, y = load(name)
        one, other = (float(folds(model, x, y).mean()) for model in (SoftmaxClassifier(), LogisticRegression()))
        lowest = min(lowest, one - other)
        rows.append([name, f"{one:.4f}", f"{other:.4f}", f"{one - other:+.4f}"])
    slowest = max(turns.ratio(found, *PEERS) for found in times.values())
    text = turns.table(["accuracy in 5 folds", *PEERS, "difference"], rows)
    held = "holds" if lowest >= -BOUND and slowest <= SLOWEST else "does NOT hold"
    return (
        f"{text}\n\nWithin {BOUND} of its accuracy in at most {SLOWEST:g} times its time: {held}; the worst ones are "
        f"{lowest:+.4f} and {slowest:.2f} ×."
    )


PEERS: turns.Peers = {"tinygrad_ce": ours, "LogisticRegression": theirs}


def main() -> None:
    """The tables of times and accuracies."""
    if importlib.util.find_spec("sklearn") is None:
        print("tinygrad_ce.sklearn has nothing to be measured beside: scikit-learn is not installed")
        return
    turns.main("benchmarks.estimators", __doc__ or "", PEERS, CASES, quick_cases=2, summary=accuracies)


if __name__ == "__main__":
    main()
