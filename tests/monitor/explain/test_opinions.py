"""Second opinions on models whose answer is known, and how agreement is counted."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from monitor.explain.agreement import agreement
from monitor.explain.lime import lime_weights

WEIGHTS = np.array([0.3, -0.1, 0.0, 0.2])


def test_lime_finds_the_weights_of_a_line_as_far_as_the_ridge_lets_it() -> None:
    found = lime_weights(4, lambda masks: 0.1 + masks @ WEIGHTS, samples=2000, seed=3)
    assert found.values == pytest.approx(WEIGHTS, abs=0.02)
    assert found.intercept == pytest.approx(0.1, abs=0.02)
    assert found.fit is not None
    assert found.fit > 0.98


def test_lime_is_the_weighted_ridge_of_scikit_learn_on_the_same_masks() -> None:
    seen: list[Any] = []

    def curved(masks: Any) -> Any:
        seen.append(masks)
        return np.tanh(masks @ WEIGHTS * 3)

    found = lime_weights(4, curved, samples=300, seed=1)
    masks = seen[0].astype(float)
    distances = 100 * (1 - np.sqrt(masks.mean(axis=1)))
    weights = np.sqrt(np.exp(-((distances / 25) ** 2)))
    ridge = Ridge(alpha=1.0).fit(masks, curved(masks), sample_weight=weights)
    assert found.values == pytest.approx(ridge.coef_, abs=1e-9)
    assert found.intercept == pytest.approx(ridge.intercept_, abs=1e-9)
    assert masks[0].all()
    assert lime_weights(4, curved, samples=300, seed=1).values == pytest.approx(found.values, abs=0)
    assert lime_weights(2, lambda masks: np.ones(len(masks))).fit is None


def test_agreement_compares_order_and_the_largest() -> None:
    one = [0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    assert agreement(one, one) == {"rank_correlation": pytest.approx(1.0), "reason": None, "top": 5, "shared": 5}
    assert agreement(one, [-x for x in one])["rank_correlation"] == pytest.approx(-1.0)
    assert agreement(one, [-x for x in one], signed=False)["rank_correlation"] == pytest.approx(1.0)
    assert agreement(one, [1.0] * 6)["reason"] == "all parts have the same value, so there is no order"
    assert agreement([0.1, 0.2], [0.1, 0.2])["reason"] == "2 parts have no order to compare"
