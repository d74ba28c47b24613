"""Row tests and fixed thresholds, compared with scipy and the catalogue."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from core.errors import InvalidError
from monitor.detect.fixed_rules import row_tests, thresholds
from monitor.detect.wording import describe
from monitor.drift import drift_scores
from monitor.metric_names import check_metrics
from monitor.profile.block import merge_all, profile_block
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ColumnKind
from monitor.spec.parse import SpecError, parse_spec
from tests.monitor.traffic import document

COLUMNS: dict[str, ColumnKind] = {"n": "number", "c": "category"}


def frame(rows: int, seed: int, shift: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame({"n": rng.integers(0, 20, rows) + shift, "c": rng.choice(["a", "b", "c"], rows)})


PROFILE = fit_reference(frame(2000, 0), COLUMNS, blocks=20)


def test_row_tests_are_those_of_scipy_with_holms_correction() -> None:
    window = frame(500, 1, shift=3)
    decision = row_tests(PROFILE, [profile_block(window, PROFILE)], alpha=0.01)
    ks = stats.ks_2samp(frame(2000, 0)["n"].to_numpy(), window["n"].to_numpy(), method="asymp")
    table = np.array([[f.filter(pl.col("c") == level).height for level in "abc"] for f in (frame(2000, 0), window)])
    chi2 = stats.chi2_contingency(table, correction=False)
    found = {f.column: f for f in decision.columns}
    assert found["n"].value == pytest.approx(ks.statistic)
    assert found["n"].adjusted_p == pytest.approx(4 * ks.pvalue)
    assert found["c"].value == pytest.approx(chi2.statistic)
    assert decision.verdict == "drift"
    assert [f.column for f in decision.columns if f.alarmed] == ["n"]
    assert describe(decision).startswith("Drift: `n`: ks 0.")


def test_row_tests_of_independent_rows_stay_within_the_budget() -> None:
    alpha, trials = 0.05, 300
    alarms = 0
    for seed in range(trials):
        profile = fit_reference(frame(2000, 2 * seed + 10), COLUMNS, blocks=20)
        decision = row_tests(profile, [profile_block(frame(500, 2 * seed + 11), profile)], alpha=alpha)
        alarms += decision.p is not None and decision.p <= alpha
    assert alarms / trials <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / trials)


def test_a_threshold_is_compared_with_the_statistic_of_the_catalogue() -> None:
    for shift, verdict in ((0, "no_evidence"), (6, "drift")):
        blocks = [profile_block(frame(500, 1, shift), PROFILE)]
        scores = drift_scores(PROFILE, merge_all(blocks))
        decision = thresholds(PROFILE, blocks, scores, {"psi": 0.2}, alpha=0.01)
        assert (decision.verdict, decision.p, decision.judged) == (verdict, None, True)
    assert describe(decision).startswith("Drift: `n`: psi ")
    assert "threshold 0.2" in describe(decision)


@pytest.mark.parametrize("rule", [row_tests, lambda b, w, alpha: thresholds(b, w, (), {"psi": 0.2}, alpha=alpha)])
def test_an_empty_window_is_not_enough_data(rule: object) -> None:
    decision = rule(PROFILE, [profile_block(frame(0, 0), PROFILE)], alpha=0.05)  # type: ignore[operator]  # a function
    assert decision.verdict == "not_enough_data"


def test_an_impossible_false_alarm_rate_is_refused() -> None:
    with pytest.raises(InvalidError, match="alpha"):
        row_tests(PROFILE, [profile_block(frame(10, 0), PROFILE)], alpha=2.0)


def monitors(**drift: object) -> dict[str, object]:
    return {**document()["monitors"], "drift": drift}


@pytest.mark.parametrize(
    ("drift", "message"),
    [
        ({"rule": "thresholds"}, "thresholds"),
        ({"thresholds": {"psi": 0.2}}, "thresholds"),
        ({"rule": "guesses"}, "rule"),
        ({"rule": "thresholds", "thresholds": {"psi": -1}}, "psi"),
        ({"rule": "thresholds", "thresholds": {"kl": 0.1}}, "kl"),
        ({"floors": {"amount": "a lot"}}, "amount"),
        ({"must_see": {"nothing": "0.1 std"}}, "nothing"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_its_field(drift: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        check_metrics(parse_spec(document(monitors=monitors(**drift))))


def test_the_budget_is_shared_by_the_scales_and_by_the_windows_of_each() -> None:
    declared = parse_spec(document(monitors={"windows": ["1d", "7d"], "false_alarms": "1 per 30d"})).monitors
    assert declared.alpha("1d") == pytest.approx(1 / 60)
    assert declared.alpha("7d") == pytest.approx(7 / 60)
    assert 30 * declared.alpha("1d") + 30 / 7 * declared.alpha("7d") == pytest.approx(1.0)
