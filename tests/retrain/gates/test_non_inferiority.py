"""The statistics of the gates: against outside references, and how often a worse challenger passes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import binom, norm
from statsmodels.stats.contingency_tables import mcnemar  # type: ignore[import-untyped]  # no stubs

from core.errors import InsufficientDataError, InvalidError
from monitor.spec.envelope import Envelope
from monitor.spec.gate_limits import GateLimits
from retrain.evals.mean_difference import paired_difference
from retrain.evals.paired_score import design_effect, score, score_interval
from retrain.gates import GATES, judge_all
from retrain.gates.base import ComparedScores, GateInputs
from retrain.gates.power import power

Z = float(norm.ppf(0.975))
COUNTS = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 200)).filter(lambda c: sum(c) > 0)


def scores(gained: int, lost: int, rest: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Champion and challenger that differ on `gained` and `lost` rows and are right on the rest."""
    champion = np.repeat([0.0, 1.0, 1.0], [gained, lost, rest])
    return champion, np.repeat([1.0, 0.0, 1.0], [gained, lost, rest])


def drawn(rng: np.random.Generator, n: int, loss: float, disagree: float) -> ComparedScores:
    """A challenger that is truly worse by `loss` and differs from the champion on `disagree` of the rows."""
    gained, lost, _ = rng.multinomial(n, [(disagree - loss) / 2, (disagree + loss) / 2, 1 - disagree])
    return ComparedScores("accuracy", *scores(gained, lost, n - gained - lost))


def verdict(rows: ComparedScores, margin: float) -> str:
    envelope = Envelope(max_regression=margin)
    return GATES["no_regression"].judge(GateInputs(envelope=envelope, new=rows, old=None)).verdict


@given(COUNTS)
def test_without_a_margin_the_score_is_mcnemars(counts: tuple[int, int, int]) -> None:
    gained, lost, rest = counts
    if gained + lost == 0:
        assert score(gained, lost, rest, 0.0) == 0
        return
    expected = mcnemar([[rest, gained], [lost, 0]], exact=False, correction=False)
    assert score(gained, lost, sum(counts), 0.0) ** 2 == pytest.approx(expected.statistic)


@given(COUNTS, st.floats(-0.9, 0.9))
def test_the_score_uses_the_likeliest_share_under_the_difference(
    counts: tuple[int, int, int], difference: float
) -> None:
    """The share of lost pairs is found again by maximising the likelihood numerically."""
    gained, lost, rest = counts
    n = sum(counts)

    def unlikely(share: float) -> float:
        parts = ((gained, share + difference), (lost, share), (rest, 1 - 2 * share - difference))
        return -float(sum(k * np.log(max(p, 1e-300)) for k, p in parts if k))

    bounds = (max(0.0, -difference), (1 - difference) / 2)
    share = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    variance = n * (2 * share + difference - difference**2)
    expected = (gained - lost - n * difference) / np.sqrt(variance) if variance > 1e-6 else None
    if expected is not None:
        assert score(gained, lost, n, difference) == pytest.approx(expected, rel=2e-3, abs=1e-3)


@given(COUNTS)
def test_the_interval_holds_the_value_and_mirrors_when_the_models_are_swapped(counts: tuple[int, int, int]) -> None:
    gained, lost, _ = counts
    low, high = score_interval(gained, lost, sum(counts), Z)
    assert -1 <= low <= (gained - lost) / sum(counts) <= high <= 1
    assert score_interval(lost, gained, sum(counts), Z) == pytest.approx((-high, -low), abs=1e-9)


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidError, match="gained"):
        score_interval(3, 3, 5, Z)


@pytest.mark.parametrize("margin", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("n", [60, 150, 400])
def test_a_challenger_worse_by_the_margin_passes_at_most_one_time_in_35(n: int, margin: float) -> None:
    """Computed from all tables, not simulated; disagreement from the margin itself to half of the rows."""
    gained, lost = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    reach = [
        next((b for b in range(n - c + 1) if score(b, c, n, -margin) > Z), n + 1) for c in range(n + 1)
    ]  # least gained pairs that pass
    passes = (gained + lost <= n) & (gained >= np.array(reach)[lost])
    for disagree in (margin, 0.08, 0.15, 0.3, 0.5):
        worse, better = (disagree + margin) / 2, (disagree - margin) / 2
        with np.errstate(invalid="ignore"):
            chance = binom.pmf(lost, n, worse) * binom.pmf(gained, n - lost, better / (1 - worse))
        assert float(chance[passes].sum()) <= 1 / 35


@pytest.mark.parametrize(("loss", "disagree", "n"), [(0.01, 0.05, 600), (0.02, 0.1, 300), (0.05, 0.2, 120)])
def test_the_gate_promotes_a_challenger_worse_by_the_declared_margin_at_most_one_time_in_20(
    loss: float, disagree: float, n: int
) -> None:
    rng = np.random.default_rng(5)
    passed = sum(verdict(drawn(rng, n, loss, disagree), loss) == "pass" for _ in range(1000))
    assert passed <= 0.05 * 1000


def test_subjects_with_many_rows_do_not_let_a_worse_challenger_pass() -> None:
    """All rows of a subject are answered alike: without clusters about one such challenger in five would pass."""
    rng, passed, unaware = np.random.default_rng(6), 0, 0
    for _ in range(400):
        kind = rng.choice(3, p=[0.05, 0.1, 0.85], size=60)
        champion, challenger = np.repeat(np.where(kind == 0, 0.0, 1.0), 6), np.repeat(np.where(kind == 1, 0.0, 1.0), 6)
        subjects = tuple(np.repeat([f"s{i}" for i in range(60)], 6))
        passed += verdict(ComparedScores("accuracy", champion, challenger, subjects=subjects), 0.05) == "pass"
        unaware += verdict(ComparedScores("accuracy", champion, challenger), 0.05) == "pass"
    assert unaware > 0.1 * 400
    assert passed <= 0.05 * 400


def test_the_design_effect_is_the_ratio_of_the_variances_of_cluster_means() -> None:
    rng = np.random.default_rng(7)
    cluster = np.repeat(np.arange(50.0), 4)
    gain = np.repeat(rng.normal(size=50), 4) + rng.normal(size=200)
    # Clusters of one size: the variance of the mean is that of the means of clusters, divided by their number.
    means = gain.reshape(50, 4).mean(axis=1)
    expected = (means.var(ddof=1) / 50) / (gain.var() / 200)
    assert design_effect(gain, cluster) == pytest.approx(expected)
    assert design_effect(gain, np.arange(200.0)) == 1
    assert design_effect(np.zeros(200), cluster) == 4  # no difference seen: the worst is assumed


def test_one_subject_cannot_be_compared() -> None:
    with pytest.raises(InsufficientDataError, match="one subject"):
        paired_difference(np.ones(5), np.ones(5), subjects=("a",) * 5)


@pytest.mark.parametrize(("n", "disagree", "margin"), [(400, 0.1, 0.05), (900, 0.15, 0.03), (250, 0.06, 0.05)])
def test_the_stated_power_is_that_of_simulated_challengers(n: int, disagree: float, margin: float) -> None:
    rng = np.random.default_rng(8)
    half = round(n * disagree / 2)
    stated = power(paired_difference(*scores(half, half, n - 2 * half)), margin=margin, allowed=margin)
    equal = np.mean([verdict(drawn(rng, n, 0.0, disagree), margin) == "pass" for _ in range(600)])
    assert stated.pass_if_equal == pytest.approx(equal, abs=0.07)
    loss = stated.detectable_loss
    stopped = np.mean([verdict(drawn(rng, n, loss, disagree), margin) != "pass" for _ in range(600)])
    assert 0.75 <= stopped <= 0.9
    enough = [verdict(drawn(rng, stated.rows_needed, 0.0, disagree), margin) == "pass" for _ in range(600)]
    assert 0.75 <= np.mean(enough) <= 0.9


def test_a_stored_envelope_keeps_its_document() -> None:
    """Digests of stored specs cover every default; what is new is left out until somebody declares it."""
    assert GateLimits().model_dump() == {"max_regression": 0.0, "max_forgetting": 0.04}
    assert GateLimits(forgetting_margin=0.04).model_dump()["forgetting_margin"] == 0.04


def written(champion: NDArray[np.float64], gain: NDArray[np.float64], subjects: tuple[str, ...] = ()) -> ComparedScores:
    return ComparedScores("chrf_mean (0 to 1)", champion, champion + gain, bounded=True, subjects=subjects)


@pytest.mark.parametrize("metric", ["bounded", "shares"])
def test_answers_that_agree_on_every_row_do_not_rule_out_a_loss_that_the_rows_cannot_show(metric: str) -> None:
    """By the rule of three, 3 rows of n may differ: 59 rows do not rule out a loss of 0.05, and 200 do."""
    near = 1.0 if metric == "shares" else 0.999
    for rows, expected in ((30, "unknown"), (59, "unknown"), (200, "pass")):
        champion = np.full(rows, near)
        assert verdict(written(champion, np.zeros(rows)), 0.05) == expected, rows


def test_a_bootstrap_of_answers_is_students_interval_where_rows_are_many_and_it_mirrors() -> None:
    rng = np.random.default_rng(3)
    gain = rng.normal(-0.02, 0.1, 2000).clip(-0.5, 0.5)
    champion = np.full(2000, 0.5)
    found = paired_difference(champion, champion + gain, bounded=True)
    plain = paired_difference(champion, champion + gain)
    assert found.value == pytest.approx(plain.value)
    assert found.low == pytest.approx(plain.low, abs=1.5e-3)
    assert found.high == pytest.approx(plain.high, abs=1.5e-3)
    assert found.low <= plain.low + 5e-4
    turned = paired_difference(champion + gain, champion, bounded=True)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=1e-3)
    assert paired_difference(champion, champion + gain, bounded=True) == found  # nothing is left to chance


def test_answers_to_one_person_count_together() -> None:
    rng = np.random.default_rng(4)
    person = np.repeat(rng.normal(0.0, 0.2, 50), 8)
    gain = (person + rng.normal(0, 0.02, 400)).clip(-0.5, 0.5)
    champion = np.full(400, 0.5)
    subjects = tuple(str(i) for i in np.repeat(np.arange(50), 8))
    alone = paired_difference(champion, champion + gain, bounded=True)
    together = paired_difference(champion, champion + gain, bounded=True, subjects=subjects)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_answers_that_are_worse_by_the_margin_are_rarely_promoted() -> None:
    """Of chrF-like scores: a share of rows differ, by amounts whose mean is 0.4."""
    rng = np.random.default_rng(5)
    passed = {0.0: 0, 0.05: 0}
    for loss in passed:
        for _ in range(60):
            differs, amount = rng.random(300) < 0.3, rng.beta(2, 3, 300)
            lost = rng.random(300) < 0.5 + loss / 0.3 / 0.4 / 2
            gain = np.where(differs, np.where(lost, -amount, amount), 0.0)
            passed[loss] += verdict(written(np.full(300, 0.5), gain), 0.05) == "pass"
    assert passed[0.05] <= 5  # 1.5 are to be expected; 5 or fewer come in 99 of 100 trials
    assert passed[0.0] >= 40


def judged(envelope: Envelope, new: ComparedScores) -> tuple[str, str]:
    found = next(r for r in judge_all(GateInputs(envelope=envelope, new=new, old=None)) if r.gate == "no_regression")
    return found.verdict, found.reason


def test_metrics_of_written_answers_are_judged_each_and_one_that_was_not_measured_blocks() -> None:
    same = np.resize([0.0, 1.0], 200)
    worse = same - np.resize([0.0, 0.2], 200)
    likely = ComparedScores("log-probability per token", same - 2, same - 2)
    exact = ComparedScores("exact_match (0 to 1)", same, same, bounded=True)
    chrf = ComparedScores("chrf_mean (0 to 1)", same, worse, bounded=True)
    rows = replace(likely, written={"exact_match": exact, "chrf_mean": chrf})
    assert judged(Envelope(), rows)[0] == "pass"
    assert judged(Envelope(compared_by=("exact_match",)), rows)[0] == "pass"
    verdict_, reason = judged(Envelope(compared_by=("exact_match", "chrf_mean")), rows)
    assert (verdict_, reason.startswith("worse than the champion: chrf_mean")) == ("fail", True)
    verdict_, reason = judged(Envelope(compared_by=("log_probability", "exact_match")), likely)
    assert (verdict_, "exact_match was not measured" in reason) == ("unknown", True)
    none = replace(chrf, champion=np.zeros(0), challenger=np.zeros(0))
    verdict_, reason = judged(Envelope(compared_by=("chrf_mean",)), replace(rows, written={"chrf_mean": none}))
    assert (verdict_, reason.startswith("0 new held-out rows")) == ("unknown", True)
    floor = Envelope(compared_by=("exact_match",), kpi_floor={"exact_match": 0.9})
    short = replace(rows, written={"exact_match": replace(exact, challenger_values={"exact_match": 0.5})})
    verdict_, reason = judged(floor, short)
    assert (verdict_, "exact_match 0.5000 is below its floor 0.9" in reason) == ("fail", True)
