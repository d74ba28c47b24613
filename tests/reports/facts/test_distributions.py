"""Reference against window, from a real baseline and real stored rows."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest

from core.clock import ManualClock
from monitor.profile.fit_reference import fit_reference
from monitor.site import Site
from monitor.spec.parse import parse_spec
from reports.charts.svg import distribution_svg
from reports.facts.distributions import changed_columns, distributions
from tests.databases import SQLITE_FIRST

pytestmark = SQLITE_FIRST
SPEC = {
    "model": "loans", "task": "classification", "owner": "a@example.com", "purpose": "grade loans",
    "columns": {
        "amount": {"role": "input", "type": "number"}, "channel": {"role": "input", "type": "category"},
        "grade": {"role": "prediction", "type": "category"},
    },
    "baseline": {"rows": "first 600"}, "monitors": {"windows": {"rows": 200}, "false_alarms": {"alpha": 0.01}},
}  # fmt: skip


def rows(clock: ManualClock, start: int, count: int, shift: float, web: float) -> pl.DataFrame:
    rng = np.random.default_rng(start)
    return pl.DataFrame(
        {
            "event_id": [f"e{start + i}" for i in range(count)],
            "ts": [clock.now() + timedelta(seconds=start + i) for i in range(count)],
            "version": ["v1"] * count,
            "trace_id": pl.Series([None] * count, dtype=pl.String),
            "span_id": pl.Series([None] * count, dtype=pl.String),
            "amount": rng.normal(100 + shift, 10, count),
            "channel": np.where(rng.random(count) < web, "web", "phone").tolist(),
            "grade": ["a"] * count,
        }
    ).with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))


def test_a_shift_is_seen_on_the_reference_bins(site: Site, clock: ManualClock) -> None:
    spec = parse_spec(SPEC)
    reference, shifted = rows(clock, 0, 600, 0.0, 0.8), rows(clock, 600, 200, 20.0, 0.2)
    site.events.append_events(spec, reference, now=clock.now())
    site.events.append_events(spec, shifted, now=clock.now())
    fitted = fit_reference(reference, {"amount": "number", "channel": "category"}, blocks=10)
    baseline = SimpleNamespace(artifact=site.artifacts.put(fitted.to_bytes()))
    columns = [{"column": c, "alarmed": True, "t": t} for c, t in (("channel", -9.0), ("amount", 20.0), ("gone", 1.0))]
    window = cast(
        "Any",
        SimpleNamespace(
            decision={"columns": columns},
            scale="200 rows",
            from_seq=600,
            to_seq=800,
            from_ts=shifted["ts"].min(),
            to_ts=shifted["ts"].max(),
        ),
    )
    assert changed_columns(window) == ["amount", "channel", "gone"]
    drawn, why = distributions(site, "loans", window, cast("Any", baseline), changed_columns(window))
    assert why is None
    amount, channel = drawn
    assert (amount.n_reference, amount.n_window) == (600, 200)
    for chart in drawn:
        assert sum(chart.reference) == pytest.approx(1)
        assert sum(chart.window) == pytest.approx(1)
        assert "<svg" in distribution_svg(chart)
    centre = [sum(i * s for i, s in enumerate(shares)) for shares in (amount.reference, amount.window)]
    assert centre[1] > centre[0] + 3
    shares = dict(zip(channel.bins, zip(channel.reference, channel.window, strict=True), strict=True))
    assert shares["web"][0] == pytest.approx((reference["channel"] == "web").mean())
    assert shares["web"][1] == pytest.approx((shifted["channel"] == "web").mean())


def test_rows_that_are_gone_are_said_to_be_gone(site: Site) -> None:
    window = cast("Any", SimpleNamespace(decision={}, from_seq=0, to_seq=5))
    assert distributions(site, "loans", window, cast("Any", SimpleNamespace(artifact=None)), ["amount"]) == ((), None)
    missing = cast("Any", SimpleNamespace(artifact="sha256:" + "0" * 64))
    drawn, why = distributions(site, "loans", window, missing, ["amount"])
    assert drawn == ()
    assert "is not in" in (why or "")
