"""Estimates without labels: against scikit-learn and the realised KPIs, their bands, and when there is none."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from core.errors import InsufficientDataError, IntegrityFailureError
from monitor import estimate
from monitor.estimate.base import band_half_width, calibration_variance, from_bytes, to_bytes
from monitor.estimate.expected import METRICS
from monitor.estimate.matching import fit_matching, quantiles, rank_of
from monitor.estimate.trees import _exported
from monitor.kpi import KPIS
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from monitor.windows.estimates import is_invalid


def spec(task: str = "classification", **score: Any) -> ModelSpec:
    kind = "number" if task == "regression" else "category"
    columns: dict[str, Any] = {
        "x": {"role": "input", "type": "number"},
        "group": {"role": "segment", "type": "category"},
        "prediction": {"role": "prediction", "type": kind},
        "outcome": {"role": "outcome", "type": kind},
    }
    if task == "classification":
        columns["score"] = {"role": "score", "type": "number", **score}
    return parse_spec(
        {"model": "m", "task": task, "owner": "o@example.com", "purpose": "p", "columns": columns,
         "baseline": {"rows": "first 1000"}}
    )  # fmt: skip


def binary(random: np.random.Generator, rows: int, *, shift: float = 0.0, flipped: float = 0.0) -> pl.DataFrame:
    """A model that is too sure of itself; `shift` moves its input, `flipped` is the share of outcomes turned round."""
    x = random.normal(shift, 1.0, rows)
    group = random.choice(["a", "b", "c"], rows)
    chance = 1.0 / (1.0 + np.exp(-(x + 0.8 * (group == "b"))))
    score = 1.0 / (1.0 + np.exp(-1.8 * x))
    true = (random.random(rows) < chance) ^ (random.random(rows) < flipped)
    return pl.DataFrame(
        {"x": x, "group": group, "score": score, "prediction": np.where(score > 0.5, "yes", "no"),
         "outcome": np.where(true, "yes", "no")}
    )  # fmt: skip


def numbers(random: np.random.Generator, rows: int, *, shift: float = 0.0) -> pl.DataFrame:
    """A regression whose error grows with |x|."""
    x = random.normal(shift, 1.0, rows)
    group = random.choice(["a", "b"], rows)
    true = 10.0 + 3.0 * x + random.normal(0.0, 0.5 + np.abs(x), rows)
    return pl.DataFrame({"x": x, "group": group, "prediction": 10.0 + 3.0 * x, "outcome": true})


def realised(metric: str, frame: pl.DataFrame) -> float:
    value = KPIS[metric].compute(frame.with_columns(pl.lit("yes").alias("positive"))).value
    assert value is not None
    return value


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_exported_trees_say_what_scikit_learn_says(missing: float) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(800, 4))
    x[random.random(x.shape) < missing] = np.nan
    true = np.nan_to_num(x[:, 0]) + random.normal(size=800) > 0
    classifier = HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=9).fit(x, true)
    fresh = random.normal(size=(500, 4)) * 2
    fresh[random.random(fresh.shape) < missing] = np.nan
    np.testing.assert_allclose(_exported(classifier).raw(fresh), classifier.decision_function(fresh), atol=1e-9)
    regressor = HistGradientBoostingRegressor(max_iter=30).fit(x, np.nan_to_num(x[:, 1]) ** 2)
    np.testing.assert_allclose(_exported(regressor).raw(fresh), regressor.predict(fresh), atol=1e-9)


@pytest.mark.parametrize("metric", METRICS)
@given(st.integers(0, 10_000), st.integers(20, 200))
@settings(max_examples=20)
def test_an_expected_kpi_of_certain_outcomes_is_the_realised_one(metric: str, seed: int, rows: int) -> None:
    frame = binary(np.random.default_rng(seed), rows).with_columns(pl.col("score").round(2))  # with ties
    if frame["outcome"].n_unique() < 2:
        return
    positive = (frame["outcome"] == "yes").to_numpy().astype(float)[None, :]
    found = METRICS[metric](positive, (frame["prediction"] == "yes").to_numpy(), frame["score"].to_numpy())
    if frame["prediction"].n_unique() == 2:
        assert found[0] == pytest.approx(realised(metric, frame), abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_an_expected_kpi_is_the_mean_over_draws_of_the_outcomes(metric: str) -> None:
    random = np.random.default_rng(3)
    p, score = random.random(2000), random.random(2000)
    answer = score > 0.5
    drawn = (random.random((400, 2000)) < p).astype(float)
    every = METRICS[metric](drawn, answer, score)
    expected = METRICS[metric](p[None, :], answer, score)[0]
    assert expected == pytest.approx(every.mean(), abs=5 * every.std() / math.sqrt(400) + 2e-3)


def test_jackknife_variance_of_a_mean_is_its_sampling_variance() -> None:
    values = np.random.default_rng(0).normal(size=10)
    without = np.array([np.delete(values, i).mean() for i in range(10)])
    assert calibration_variance(without) == pytest.approx(values.var(ddof=1) / 10)


def test_the_quantile_of_a_band_is_students_for_the_part_that_the_jackknife_estimates() -> None:
    assert band_half_width(1.0, 0.0, 0.025) == pytest.approx(1.95996, abs=1e-4)
    assert band_half_width(0.0, 1.0, 0.025) == pytest.approx(2.26216, abs=1e-4)  # t of 9
    assert band_half_width(1.0, 1.0, 0.025) == pytest.approx(2.02809 * math.sqrt(2), abs=1e-4)  # t of 36
    assert band_half_width(0.0, 1.0, 1e-6) > 10.0  # tails of few degrees of freedom are heavy
    assert band_half_width(0.0, 0.0, 0.025) == 0.0


def test_the_band_holds_the_realised_value_with_and_without_covariate_shift() -> None:
    """References differ too: their calibration error is part of the band. 32 windows over 4 references each."""
    metrics = ("accuracy", "f1_macro", "roc_auc", "log_loss")
    held: dict[tuple[str, float], list[bool]] = {}
    nearer = []
    for seed in range(4):
        random = np.random.default_rng(seed)
        reference = binary(random, 2500)
        model = estimate.fit(spec(positive="yes"), reference)
        for shift in [0.0] * 8 + [1.0] * 8:
            window = binary(random, 800, shift=shift)
            found = model.estimate(window.drop("outcome"), metrics)
            for metric in metrics:
                one, truth = found[metric], realised(metric, window)
                assert one.value is not None
                assert one.low is not None
                assert one.high is not None
                held.setdefault((metric, shift), []).append(one.low <= truth <= one.high)
            if shift:
                nearer.append(
                    abs((found["accuracy"].value or 0.0) - realised("accuracy", window))
                    < abs(realised("accuracy", reference) - realised("accuracy", window))
                )
    assert all(np.mean(h) >= 0.95 - 3.5 * math.sqrt(0.95 * 0.05 / 32) for h in held.values()), held
    assert np.mean(nearer) > 0.8  # than taking the reference's accuracy for the window's


def test_the_band_of_an_estimated_error_holds_under_covariate_shift() -> None:
    held: dict[str, list[bool]] = {}
    for seed in range(2):
        random = np.random.default_rng(seed)
        model = estimate.fit(spec("regression"), numbers(random, 3000))
        for _ in range(12):
            window = numbers(random, 800, shift=0.7)
            found = model.estimate(window.drop("outcome"), ["mae", "rmse", "mape"])
            for metric, one in found.items():
                truth = KPIS[metric].compute(window).value
                assert truth is not None
                assert one.low is not None
                assert one.high is not None
                held.setdefault(metric, []).append(one.low <= truth <= one.high)
    assert all(np.mean(h) >= 0.85 for h in held.values()), held


def strong(random: np.random.Generator, rows: int) -> pl.DataFrame:
    """A model that separates the classes well, with a part of the relation that its score leaves out."""
    x = random.normal(0.0, 1.0, rows)
    hidden = random.normal(0.0, 1.0, rows)
    score = 1.0 / (1.0 + np.exp(-5.0 * x))
    true = random.random(rows) < 1.0 / (1.0 + np.exp(-(5.0 * x + 2.0 * hidden)))
    return pl.DataFrame(
        {"x": hidden, "group": ["a"] * rows, "score": score, "prediction": np.where(score > 0.5, "yes", "no"),
         "outcome": np.where(true, "yes", "no")}
    )  # fmt: skip


Estimated = list[tuple[pl.DataFrame, dict[str, estimate.Estimate]]]


@pytest.fixture(scope="module")
def like_the_reference() -> Estimated:
    """Four references of 3,000 rows, each with the estimates of 10,000 rows like it."""
    found: Estimated = []
    for seed in range(4):
        random = np.random.default_rng(seed)
        reference = strong(random, 3000)
        model = estimate.fit(spec(positive="yes"), reference)
        found.append((reference, model.estimate(strong(random, 10_000), ["accuracy", "roc_auc"])))
    return found


def test_estimates_of_rows_like_the_reference_are_not_biased(like_the_reference: Estimated) -> None:
    """The estimate of many rows less what the reference realised: what the reference happens to be cancels."""
    errors: dict[str, list[float]] = {"accuracy": [], "roc_auc": []}
    for reference, found in like_the_reference:
        for metric, mine in errors.items():
            value = found[metric].value
            assert value is not None
            mine.append(value - realised(metric, reference))
    assert abs(np.mean(errors["roc_auc"])) < 0.003
    assert abs(np.mean(errors["accuracy"])) < 0.004


def test_the_variance_of_the_reference_is_counted_once(like_the_reference: Estimated) -> None:
    """Row for row, that of the calibration is that of the sampling. What models differ by chance trebled it."""
    shares = []
    for reference, found in like_the_reference:
        for one in found.values():
            assert one.sampling is not None
            assert one.calibration is not None
            shares.append(reference.height / one.n * (one.calibration / one.sampling) ** 2)
    assert 0.5 < np.mean(shares) < 2.0, shares


def test_matched_probabilities_reproduce_the_sums_of_the_reference() -> None:
    random = np.random.default_rng(1)
    score = random.random(2000)
    true = random.random(2000) < score**2
    answer = score > 0.5
    models = np.stack([np.clip(score, 0.01, 0.99), np.full(2000, 0.3)])  # both wrong
    ranks = quantiles(score)
    p = fit_matching(models, score, answer, true, ranks).probabilities(models, rank_of(score, ranks), answer)
    assert p.sum() == pytest.approx(true.sum(), rel=1e-3)
    assert p[answer].sum() == pytest.approx(true[answer].sum(), rel=1e-3)
    area = [METRICS["roc_auc"](np.asarray(q, dtype=float)[None], answer, score)[0] for q in (p, true)]
    assert area[0] == pytest.approx(area[1], abs=2e-3)


def test_a_change_of_the_relation_makes_the_band_miss() -> None:
    random = np.random.default_rng(5)
    model = estimate.fit(spec(positive="yes"), binary(random, 2500))
    held = []
    for _ in range(10):
        window = binary(random, 800, flipped=0.25)
        found = model.estimate(window, ["accuracy"])["accuracy"]
        assert found.low is not None
        assert found.high is not None
        held.append(found.low <= realised("accuracy", window) <= found.high)
    assert sum(held) <= 1
    assert is_invalid(held)


def test_an_estimate_that_holds_is_called_invalid_about_once_in_a_thousand_windows() -> None:
    random = np.random.default_rng(2)
    false = [is_invalid((random.random(30) < 0.95).tolist()) for _ in range(4000)]
    assert np.mean(false) <= 3 * 0.001 + 3 * math.sqrt(0.003 / 4000)
    assert not is_invalid([])
    assert not is_invalid([False])
    assert not is_invalid([True, False, False])
    assert is_invalid([False] * 3)
    assert is_invalid([True] * 300 + [False] * 3)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_an_estimator_read_back_from_its_bytes_says_the_same(task: str) -> None:
    random = np.random.default_rng(1)
    frame = binary(random, 600) if task == "classification" else numbers(random, 600)
    model = estimate.fit(spec(task), frame)
    read = estimate.load(model.to_bytes())
    metrics = list(model.metrics)
    assert read.estimate(frame, metrics) == model.estimate(frame, metrics)
    assert read.to_bytes() == model.to_bytes() == estimate.fit(spec(task), frame).to_bytes()


def test_an_estimator_of_an_earlier_release_is_read_back() -> None:
    """It has a curve and trees without each of the ten groups, and no count of them."""
    frame = binary(np.random.default_rng(9), 600)
    header, arrays = from_bytes(estimate.fit(spec(), frame).to_bytes())
    folds, _ = header.pop("models"), header.pop("arrays")
    for name in [name for name in arrays if name.startswith(("curve", "trees"))]:
        kind, _, part = name.partition("/")
        arrays[f"{kind[:5]}{int(kind[5:]) + folds}/{part}"] = arrays[name]
    earlier = estimate.load(to_bytes(header, arrays)).estimate(frame, ["accuracy"])["accuracy"]
    now = estimate.fit(spec(), frame).estimate(frame, ["accuracy"])["accuracy"]
    assert header["groups"] == 2 * folds
    assert (earlier.value, earlier.low) == pytest.approx((now.value, now.low))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 nothing", b"\x80\x04pickled"])
def test_bytes_that_are_no_estimator_are_refused(data: bytes) -> None:
    with pytest.raises(IntegrityFailureError):
        estimate.load(data)


def test_without_enough_labels_the_reason_counts_them() -> None:
    random = np.random.default_rng(1)
    with pytest.raises(InsufficientDataError, match="299 labelled reference rows with a score; at least 300"):
        estimate.fit(spec(), binary(random, 299))
    with pytest.raises(InsufficientDataError, match="299 labelled reference rows"):
        estimate.fit(spec("regression"), numbers(random, 299))
    with pytest.raises(InsufficientDataError, match="only 0 labelled reference rows of one kind"):
        estimate.fit(spec(positive="yes"), binary(random, 400).with_columns(pl.lit("no").alias("outcome")))
    with pytest.raises(InsufficientDataError, match="every labelled reference row is of the class"):
        one = binary(random, 400).with_columns(pl.lit("yes").alias("outcome"), pl.lit("yes").alias("prediction"))
        estimate.fit(spec(positive="yes"), one)


def test_of_more_than_two_classes_accuracy_alone_is_estimated() -> None:
    random = np.random.default_rng(7)

    def draw(rows: int) -> pl.DataFrame:
        score = random.uniform(0.4, 1.0, rows)
        prediction = random.choice(["a", "b", "c"], rows)
        other = np.where(prediction == "a", "b", "a")
        return pl.DataFrame(
            {"x": score, "group": prediction, "score": score, "prediction": prediction,
             "outcome": np.where(random.random(rows) < score**2, prediction, other)}
        )  # fmt: skip

    model = estimate.fit(spec(), draw(2000))
    window = draw(1000)
    found = model.estimate(window, ["accuracy", "f1_macro", "exact_match"])
    truth = KPIS["accuracy"].compute(window).value
    assert truth is not None
    assert found["accuracy"].value == pytest.approx(truth, abs=0.05)
    assert found["f1_macro"].value is None
    assert "more than two classes" in (found["f1_macro"].reason or "")
    assert "no estimate without outcomes" in (found["exact_match"].reason or "")


def test_rows_that_cannot_be_estimated_are_named() -> None:
    random = np.random.default_rng(9)
    model = estimate.fit(spec(), binary(random, 600))
    window = binary(random, 200)

    def reason(frame: pl.DataFrame) -> str:
        return model.estimate(frame, ["accuracy"])["accuracy"].reason or ""

    assert "no row has a prediction with a score" in reason(window.clear())
    some = pl.when(pl.int_range(200) < 50).then("score")
    assert reason(window.with_columns(score=some)) == "150 of 200 rows have no score"
    assert "'maybe' does not occur" in reason(window.with_columns(prediction=pl.lit("maybe")))
    half = window.with_columns(prediction=pl.when(pl.int_range(200) < 100).then("prediction"))
    whole, found = model.estimate(window, ["accuracy"])["accuracy"], model.estimate(half, ["accuracy", "f1_macro"])
    assert found["accuracy"].value is not None
    assert whole.value is not None
    assert found["accuracy"].value < whole.value  # a missing answer is wrong
    assert "100 rows have no prediction" in (found["f1_macro"].reason or "")


def test_a_large_window_is_estimated_from_a_sample_and_the_same_every_time() -> None:
    random = np.random.default_rng(11)
    model = estimate.fit(spec(positive="yes"), binary(random, 1000))
    window = binary(random, 60_000)
    first, second = (model.estimate(window, ["roc_auc"])["roc_auc"] for _ in range(2))
    assert first == second
    assert first.n == 60_000
    assert first.value == pytest.approx(realised("roc_auc", window), abs=0.04)
