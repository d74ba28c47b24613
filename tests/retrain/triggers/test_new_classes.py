"""New classes: the probability of a count, and the share of weeks in which chance alone starts a run."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import betainc

from retrain.triggers.new_classes import EPOCH, PARTS, allowed, begins, chance, expected_share

WEEK, LEAST, ALPHA, AN_HOUR, OLD, HOURS = timedelta(days=7), 5, 0.05, 4, 400, 24 * 7


def test_so_many_rows_of_unknown_classes_have_the_probability_that_scipy_gives() -> None:
    from scipy.stats import betabinom, binomtest

    for unknown, rows, expected, old in ((4, 40, 0.01, 99), (1, 30, 0.02, 500), (30, 30, 0.3, 40), (7, 100, 0.05, 60)):
        known = betabinom.sf(unknown - 1, rows, expected * (old + 1), (1 - expected) * (old + 1))
        assert chance(unknown, rows, expected, old) == pytest.approx(known)
    assert chance(0, 400, 0.01, 100) == 1.0
    assert chance(5, 10, expected_share({"a": 2, "b": 1}, {"a"}, 3) or 0, 3) == 1.0  # every class has too few rows
    well_known = binomtest(40, 400, 0.05, alternative="greater").pvalue
    assert chance(40, 400, 0.05, 10**9) == pytest.approx(well_known, rel=1e-3)
    assert chance(40, 400, 0.05, 100) > 10 * well_known


def test_all_parts_of_alpha_are_alpha_together() -> None:
    assert PARTS * sum(allowed(ALPHA, LEAST + i, LEAST) for i in range(100_000)) == pytest.approx(ALPHA, rel=1e-4)


def test_the_rows_of_the_last_week_begin_at_midnight() -> None:
    now = datetime(2026, 3, 5, 17, 30, tzinfo=UTC)
    assert begins(now, WEEK) == datetime(2026, 2, 26, tzinfo=UTC)
    assert begins(datetime(2026, 3, 5, tzinfo=UTC), WEEK) == datetime(2026, 2, 26, tzinfo=UTC)
    found = {begins(EPOCH + timedelta(hours=h), WEEK) for h in range(HOURS)}
    assert len(found) == PARTS


def test_what_is_to_be_expected_counts_unknown_classes_and_those_with_too_few_rows_to_be_learned_without_one() -> None:
    assert expected_share({"card": 90, "rate": 9, "pin": 1}, {"card", "rate", "pin"}, 5) == 2 / 101
    assert expected_share({"card": 86, "rate": 9, "pin": 5}, {"card", "rate", "pin"}, 5) == 6 / 101
    assert expected_share({"card": 90, "other": 10}, {"card"}, 5) == 11 / 101
    assert expected_share({}, {"card"}, 5) is None


def weeks_started(worlds: int, *, spent: bool) -> int:
    """Weeks of `worlds` in which one of the looks of every hour starts a run, where nothing is new.

    Classes have the frequencies of words (Zipf); the champion knows those with five of the old rows. Without `spent`
    each look is a binomial test of its own at the level `ALPHA`.
    """
    shares = 1 / np.arange(1, 81)
    shares /= shares.sum()
    started = 0
    for seed in range(worlds):
        draw = np.random.default_rng(seed)
        old = np.bincount(draw.choice(len(shares), OLD, p=shares), minlength=len(shares))
        known = {str(i) for i in np.flatnonzero(old >= LEAST)}
        rate = expected_share({str(i): int(n) for i, n in enumerate(old) if n}, known, LEAST)
        assert rate is not None
        hours = draw.binomial(AN_HOUR, float(shares[old < LEAST].sum()), 3 * HOURS)
        started += any(_starts(hours, now, rate, spent=spent) for now in range(2 * HOURS, 3 * HOURS))
    return started


def _starts(hours: NDArray[np.int64], now: int, rate: float, *, spent: bool) -> bool:
    begin = int((begins(EPOCH + timedelta(hours=now), WEEK) - EPOCH) / timedelta(hours=1)) if spent else now - HOURS
    unknown, rows = int(hours[begin:now].sum()), (now - begin) * AN_HOUR
    if unknown < LEAST:
        return False
    if spent:
        return chance(unknown, rows, rate, OLD) <= allowed(ALPHA, unknown, LEAST)
    return float(betainc(unknown, rows - unknown + 1, rate)) <= ALPHA


@pytest.mark.slow
def test_chance_alone_starts_a_run_in_no_larger_share_of_weeks_than_declared() -> None:
    assert weeks_started(400, spent=True) <= ALPHA * 400
    assert weeks_started(400, spent=False) > ALPHA * 400  # what one test of alpha for each look would do
