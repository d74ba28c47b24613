"""Reference against window, from a real reference and the stored counts of a window."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from sqlalchemy import delete

from core.clock import ManualClock
from monitor import store
from monitor.profile.block import profile_block
from monitor.profile.codec import to_bytes
from monitor.profile.fit_reference import fit_reference
from monitor.service import apply_spec
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import ReferenceRow, StoredProfile
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


def told(site: Site, reference: pl.DataFrame, shifted: pl.DataFrame) -> tuple[ReferenceRow, Any]:
    """A fitted reference, and a window whose two blocks of rows have stored profiles: of all rows and of the web."""
    fitted = fit_reference(reference, {"amount": "number", "channel": "category"}, blocks=10)
    with site.database.write() as db:
        applied = apply_spec(site, db, parse_spec(SPEC), "ana")
        row = store.newest_reference(db, applied.model_id)
        assert row is not None
        row.artifact, row.windows_seq = site.artifacts.put(fitted.to_bytes()), 600
        for label, part in ((0, shifted.head(100)), (1, shifted.tail(100))):
            for segment, rows_of in (("", part), ("channel=web", part.filter(pl.col("channel") == "web"))):
                data = to_bytes(profile_block(rows_of, fitted))
                db.add(StoredProfile(baseline_id=row.id, label=label, segment=segment, rows=rows_of.height, data=data))
    window = SimpleNamespace(
        scale="200 rows", from_seq=600, to_seq=800, from_ts=shifted["ts"].min(), to_ts=shifted["ts"].max(),
        decision={
            "columns": [
                {"column": c, "alarmed": True, "t": t} for c, t in (("channel", -9.0), ("amount", 20.0), ("gone", 1.0))
            ]
        },
    )  # fmt: skip
    return row, cast("Any", window)


def test_a_shift_is_seen_on_the_reference_bins(site: Site, clock: ManualClock) -> None:
    reference, shifted = rows(clock, 0, 600, 0.0, 0.8), rows(clock, 600, 200, 20.0, 0.2)
    row, window = told(site, reference, shifted)
    assert changed_columns(window) == ["amount", "channel", "gone"]
    with site.database.read() as db:
        drawn, why = distributions(site, db, parse_spec(SPEC), window, row, changed_columns(window))
        web, _ = distributions(site, db, parse_spec(SPEC), window, row, ["channel"], segment="channel=web")
    assert why is None
    amount, channel = drawn
    assert (amount.n_reference, amount.n_window) == (600, 200)
    for chart in drawn:
        assert sum(chart.reference) == pytest.approx(1)
        assert sum(chart.window) == pytest.approx(1)
    assert dict(zip(web[0].bins, web[0].window, strict=True))["web"] == 1.0
    centre = [sum(i * s for i, s in enumerate(shares)) for shares in (amount.reference, amount.window)]
    assert centre[1] > centre[0] + 3
    shares = dict(zip(channel.bins, zip(channel.reference, channel.window, strict=True), strict=True))
    assert shares["web"][0] == pytest.approx((reference["channel"] == "web").mean())
    assert shares["web"][1] == pytest.approx((shifted["channel"] == "web").mean())


def test_counts_that_are_gone_are_said_to_be_gone(site: Site, clock: ManualClock) -> None:
    row, window = told(site, rows(clock, 0, 600, 0.0, 0.8), rows(clock, 600, 200, 20.0, 0.2))
    spec = parse_spec(SPEC)
    with site.database.write() as db:
        db.execute(delete(StoredProfile))
    with site.database.read() as db:
        assert distributions(site, db, spec, window, row, ["amount"]) == (
            (),
            "the counts of its rows are no longer stored",
        )
        row.artifact = None
        assert distributions(site, db, spec, window, row, ["amount"]) == ((), None)
        row.artifact = "sha256:" + "0" * 64
        drawn, why = distributions(site, db, spec, window, row, ["amount"])
    assert drawn == ()
    assert "is not in" in (why or "")
