"""The statistics of the gates: against outside references, and how often a worse challenger passes."""

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
from retrain.gates import GATES
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
