"""Trees and curves of our own grow to what scikit-learn's say, of the same rows."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from monitor.estimate.curves import calibration_curve
from monitor.estimate.trees import fit_shares

OPTIONS = {
    "max_iter": 40, "learning_rate": 0.1, "max_leaf_nodes": 8, "max_depth": 3, "min_samples_leaf": 40,
    "l2_regularization": 5.0, "early_stopping": False,
}  # fmt: skip


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_shares_without_each_group_are_those_of_scikit_learn(missing: float) -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 30, (3000, 4)).astype(float)  # so few values that each is a bin of its own
    x[random.random(x.shape) < missing] = np.nan
    true = random.random(3000) < 1.0 / (1.0 + np.exp(8.0 - 0.6 * np.nan_to_num(x[:, 0])))
    group = random.permutation(np.arange(3000) % 10)
    for k, trees in enumerate(fit_shares(x, true, group)):
        if k % 4 == 0:
            model = HistGradientBoostingClassifier(**OPTIONS).fit(x[group != k], true[group != k])
            np.testing.assert_allclose(trees.raw(x), model.decision_function(x), atol=1e-5)  # sums of single precision


def test_a_constant_column_and_few_rows_leave_one_leaf() -> None:
    true = np.arange(40) % 2 == 0
    (trees, _) = fit_shares(np.ones((40, 2)), true, np.arange(40) // 2 % 2)
    np.testing.assert_allclose(trees.raw(np.array([[1.0, 5.0], [np.nan, 1.0]])), 0.0, atol=1e-12)


@pytest.mark.parametrize("digits", [1, 8])
def test_an_isotonic_curve_is_that_of_scikit_learn(digits: int) -> None:
    random = np.random.default_rng(1)
    score = np.round(random.random(3000), digits)
    true = random.random(3000) < score**2
    model = IsotonicRegression(y_min=1e-3, y_max=1.0 - 1e-3, out_of_bounds="clip").fit(score, true)
    asked = np.linspace(-0.1, 1.1, 1001)
    np.testing.assert_allclose(np.interp(asked, *calibration_curve(score, true)), model.predict(asked), atol=1e-12)


def test_a_logistic_curve_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(2)
    score = random.normal(size=500)  # no probabilities, so the curve is one of the score itself
    true = random.random(500) < 1.0 / (1.0 + np.exp(1.0 - 2.0 * score))
    knots, chance = calibration_curve(score, true)
    model = LogisticRegression(C=1e4, tol=1e-8).fit(score[:, None], true)
    np.testing.assert_allclose(chance, np.clip(model.predict_proba(knots[:, None])[:, 1], 1e-3, 0.999), atol=1e-5)


def test_an_estimator_of_shares_is_fitted_without_scikit_learn() -> None:
    code = (
        "import sys, numpy as np; from monitor.estimate.trees import fit_shares; "
        "from monitor.estimate.curves import calibration_curve; "
        "x = np.arange(2000.0); calibration_curve(x, x % 3 == 0); "
        "fit_shares(x[:, None], x % 3 == 0, np.arange(2000) % 10); "
        "sys.exit(bool({'sklearn', 'pandas', 'scipy.stats'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
