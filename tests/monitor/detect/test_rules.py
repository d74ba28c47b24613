"""How window lengths share the drift part of the budget: never more than all of it, whatever the reference supports."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from monitor.detect.rules import judge
from monitor.detect.spend_budget import alpha_by_window_length
from monitor.profile.block import profile_blocks
from monitor.profile.fit_reference import fit_reference
from monitor.reference.collect import time_blocks
from monitor.spec import false_alarm_budget
from monitor.spec.duration import duration
from monitor.spec.model import ModelSpec
from monitor.spec.times import profile_parts
from tests.monitor.traffic import spec

SCALES = ("1d", "7d")
BEGIN = datetime(2026, 1, 5, tzinfo=UTC)


def days(first: int, count: int) -> pl.DataFrame:
    """A row every half hour; rows of a day are dependent, so its quarters are not blocks of their own."""
    begin, random = BEGIN + timedelta(days=first), np.random.default_rng([5, first])
    return pl.DataFrame(
        {
            "ts": [begin + timedelta(minutes=30 * i) for i in range(48 * count)],
            "amount": random.normal(size=48 * count) + np.repeat(random.normal(size=count), 48),
        }
    )


def declared() -> ModelSpec:
    return spec(monitors={"windows": list(SCALES), "false_alarms": "1 per 30d"})


@pytest.mark.parametrize(
    ("reference", "judged"), [(20, set()), (42, {"1d"}), (56, {"1d", "7d"}), (84, {"1d", "7d"})]
)  # fmt: skip
def test_scales_that_are_judged_spend_the_drift_part_of_the_budget_and_the_others_are_silent(
    reference: int, judged: set[str]
) -> None:
    model = declared()
    frame, windows = days(0, reference), model.monitors.windows
    assert isinstance(windows, tuple)
    parts = profile_parts(windows)
    profile = fit_reference(frame, {"amount": "number"}, blocks=time_blocks(frame["ts"], SCALES), parts=parts)
    found = alpha_by_window_length(model, profile)
    assert set(found) == judged
    spent = sum(alpha * (duration("30d") / duration(scale)) for scale, alpha in found.items())
    assert spent == pytest.approx(false_alarm_budget.share(model, "drift") if judged else 0.0)
    for scale in SCALES:
        window = days(reference, duration(scale).days).with_columns(pl.col("amount") + 9.0)
        first = int(time_blocks(window["ts"], SCALES)[0])
        blocks = profile_blocks(window, profile, time_blocks(window["ts"], SCALES) - first)
        verdict = judge(model, profile, scale, blocks, (), first=first, seed=1).verdict
        assert verdict == ("drift" if scale in judged else "reference_too_short"), scale


def test_a_scale_that_needs_more_than_an_equal_share_gets_it_and_the_other_the_rest() -> None:
    model = declared()
    whole = false_alarm_budget.share(model, "drift")
    for reference, least in ((56, 1 / 57), (84, 1 / 85)):
        frame = days(0, reference)
        profile = fit_reference(frame, {"amount": "number"}, blocks=time_blocks(frame["ts"], SCALES), parts=4)
        found = alpha_by_window_length(model, profile)
        equal = whole / 2 / 30
        assert found["1d"] == pytest.approx(max(least, equal))
        assert 30 * found["1d"] + 30 / 7 * found["7d"] == pytest.approx(whole)
