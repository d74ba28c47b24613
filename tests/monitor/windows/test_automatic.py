"""`windows: auto` and `baseline: auto`: the first verdict fits the traffic, and the early rule hands over by itself."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import select

from bench.detect.early import readme_spec
from core.clock import ManualClock
from governance.ledger.read import ledger_entries
from monitor import service, store
from monitor.detect.wording import EARLY_LABEL
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from monitor.tables import Alert, ReferenceRow, Window
from monitor.windows.close import CLOSE_AFTER_QUIET
from monitor.windows.evaluate import evaluate
from monitor.windows.reference_standing import reference_standing
from tests.databases import SQLITE_FIRST

pytestmark = SQLITE_FIRST
BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)


def plain_spec(**changes: Any) -> ModelSpec:
    """README's spec without its text, whose encoder would take most of a test's time."""
    document = readme_spec().document
    columns = {name: column for name, column in document["columns"].items() if name != "text"}
    return parse_spec(document | {"columns": columns} | changes)


def times(rows_per_day: float, days: float, *, begin: datetime = BEGIN, seed: int = 0) -> list[datetime]:
    """Times of random arrivals."""
    random = np.random.default_rng(seed)
    seconds = np.sort(random.random(random.poisson(rows_per_day * days))) * days * DAY.total_seconds()
    return [begin + timedelta(seconds=float(s)) for s in seconds]


def rows(at: Sequence[datetime], seed: int = 0) -> pl.DataFrame:
    random, n = np.random.default_rng(seed), len(at)
    return pl.DataFrame(
        {
            "event_id": [f"e{seed}-{i}" for i in range(n)], "ts": at, "version": ["v1"] * n,
            "channel": random.choice(["app", "web", "phone"], n, p=[0.5, 0.3, 0.2]),
            "intent": random.choice(["card", "loan", "fee"], n), "confidence": random.beta(6, 2, n),
            "age_band": random.choice(["18-29", "30+"], n), "customer": [f"c{k}" for k in random.integers(0, n, n)],
        }
    )  # fmt: skip


def play(site: Site, clock: ManualClock, frame: pl.DataFrame, step: timedelta, *, until: datetime) -> None:
    """Send rows as they happen, and evaluate after each step."""
    at = BEGIN
    while at < until:
        send(site, clock, frame.filter((pl.col("ts") >= at) & (pl.col("ts") < at + step)), at + step)
        at += step


def send(site: Site, clock: ManualClock, frame: pl.DataFrame, now: datetime) -> None:
    clock.move_to(max(clock.now(), now + timedelta(minutes=2)))
    if frame.height:
        body = frame.with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")).write_ndjson().encode()
        assert receive(site, "support-intents", "events", Body(body, NDJSON)).accepted == frame.height
    for _ in range(2):
        evaluate(site, "support-intents")
        clock.move_to(clock.now() + CLOSE_AFTER_QUIET)


def declare(site: Site, spec: ModelSpec) -> None:
    with site.database.write() as db:
        service.apply_spec(site, db, spec, "tester")


def windows(site: Site) -> Sequence[Window]:
    with site.database.read() as db:
        return store.windows(db, store.model(db, "support-intents").id)


def references(site: Site) -> Sequence[ReferenceRow]:
    with site.database.read() as db:
        return db.scalars(select(ReferenceRow).order_by(ReferenceRow.created_at)).all()


def judged(site: Site) -> list[Window]:
    return [w for w in windows(site) if w.decision["judged"]]


@pytest.mark.parametrize(
    ("rate", "days", "step", "length", "latest"),
    [
        (200, 6.1, DAY, "1d", BEGIN + 6 * DAY),
        (2_000, 0.9, timedelta(hours=3), "3h", BEGIN + DAY),
        (48_000, 0.08, timedelta(minutes=10), "10m", BEGIN + timedelta(hours=2)),
    ],
    ids=["200 a day", "2,000 a day", "2,000 an hour"],
)
def test_the_first_verdict_comes_with_the_first_window_after_about_a_thousand_rows(
    site: Site, clock: ManualClock, rate: float, days: float, step: timedelta, length: str, latest: datetime
) -> None:
    declare(site, plain_spec())
    play(site, clock, rows(times(rate, days)), step, until=BEGIN + days * DAY)
    first = judged(site)[0]
    assert (first.scale, first.decision["rule"]) == (length, "early")
    assert first.to_ts <= latest
    assert EARLY_LABEL in first.sentence
    (reference,) = references(site)[:1]
    assert reference.rows is not None
    assert 800 <= reference.rows <= 1_100


def test_the_spec_of_the_readme_alarms_in_the_first_window_of_a_divided_column(site: Site, clock: ManualClock) -> None:
    declare(site, plain_spec())
    changed = BEGIN + 7 * DAY
    frame = rows(times(200, 8.1)).with_columns(
        pl.when(pl.col("ts") >= changed).then(pl.col("confidence") / 30).otherwise(pl.col("confidence"))
    )
    play(site, clock, frame, DAY, until=BEGIN + 8 * DAY)
    found = [(w.from_ts, w.decision["verdict"]) for w in judged(site)]
    assert found == [(BEGIN + 5 * DAY, "no_evidence"), (BEGIN + 6 * DAY, "no_evidence"), (changed, "drift")]
    assert [c["column"] for c in judged(site)[-1].decision["columns"] if c["alarmed"]] == ["confidence"]


def test_the_early_rule_hands_over_to_the_block_rule_and_says_so(site: Site, clock: ManualClock) -> None:
    declare(site, plain_spec())
    send(site, clock, rows(times(200, 40)), BEGIN + 40 * DAY)  # a history, sent at once
    early, blocks = ([w for w in judged(site) if w.decision["rule"] == rule] for rule in ("early", "blocks"))
    assert early
    assert blocks
    assert max(w.to_ts for w in early) == min(w.from_ts for w in blocks)
    assert min(w.from_ts for w in blocks) >= BEGIN + 30 * DAY
    assert "supports the block rule" in blocks[0].sentence
    assert EARLY_LABEL not in blocks[0].sentence
    found = references(site)
    assert [r.rule for r in found] == ["early"] * (len(found) - 1) + ["blocks"]
    assert [r.rows for r in found] == sorted(r.rows or 0 for r in found)
    with site.database.read() as db:
        bodies = [e["body"] for e in ledger_entries(db, ("model.baseline",), subject="model:support-intents")]
    assert [b["rule"] for b in bodies] == [r.rule for r in found]
    assert "the early rule ends" in bodies[-1]["reason"]


def test_a_history_sent_at_once_gives_the_verdicts_of_live_traffic(site: Site, clock: ManualClock) -> None:
    frame = rows(times(200, 16))
    declare(site, plain_spec())
    play(site, clock, frame, DAY, until=BEGIN + 16 * DAY)
    live = [(w.from_ts, w.scale, w.decision["p"]) for w in judged(site)]
    with site.database.write() as db:
        service.open_reference(site, db, store.model(db, "support-intents").id, reason="the same rows again")
    again = frame.with_columns(pl.concat_str(pl.lit("again-"), "event_id").alias("event_id"))
    send(site, clock, again, BEGIN + 16 * DAY)
    at_once = [(w.from_ts, w.scale, w.decision["p"]) for w in judged(site)]
    assert len(live) > 8
    assert sorted(at_once) == sorted(live * 2)


def test_no_row_from_an_unresolved_drift_alert_on_enters_the_reference(site: Site, clock: ManualClock) -> None:
    declare(site, plain_spec())
    bad = (pl.col("ts") >= BEGIN + 6 * DAY) & (pl.col("ts") < BEGIN + 8 * DAY)
    broken = pl.when(bad).then(pl.lit(0.001)).otherwise(pl.col("confidence")).alias("confidence")
    frame = rows(times(200, 16)).with_columns(broken)
    play(site, clock, frame.filter(pl.col("ts") < BEGIN + 15 * DAY), DAY, until=BEGIN + 15 * DAY)
    (first,) = references(site)  # the days after the fault are quiet, and do not enter it either
    with site.database.write() as db:
        told = reference_standing(site, db, service.current_spec(site, db, "support-intents"))["notices"]
        assert next(n["sentence"] for n in told if n["kind"] == "waits").startswith(
            "The reference does not grow while the drift alert of 2026-01-11 00:00 is open"
        )
        for alert in db.scalars(select(Alert)):
            alert.state = "resolved"
    play(site, clock, frame.filter(pl.col("ts") >= BEGIN + 15 * DAY), DAY, until=BEGIN + 16 * DAY)
    assert references(site)[0].id == first.id
    grown = references(site)[1]
    assert grown.left_out == []
    assert grown.rows == frame.filter(pl.col("ts") < grown.ends_at).height


def test_lengths_are_chosen_again_when_the_rate_rises(site: Site, clock: ManualClock) -> None:
    declare(site, plain_spec())
    later = BEGIN + 12 * DAY
    at = times(100, 12) + times(5_000, 3.2, begin=later, seed=1)
    play(site, clock, rows(at), DAY / 2, until=later + 3 * DAY)
    newest = references(site)[-1]
    assert references(site)[0].windows == ["2d"]
    assert newest.windows in (["1h"], ["2h"])
    assert "the rate changed from" in newest.reason
    assert newest.rule == "early"
    first = next(w for w in windows(site) if w.baseline_id == newest.id)
    assert newest.reason in first.sentence
    before = [w for w in windows(site) if w.scale == "2d"]
    assert max(w.to_ts for w in before) <= first.from_ts
    assert all(w.corrections == 0 for w in before)


@pytest.mark.parametrize(
    ("at", "expected", "said"),
    [
        (times(20, 1), None, f"{len(times(20, 1))} rows have arrived, and 600 are needed"),
        (
            [BEGIN + timedelta(seconds=i / 50) for i in range(3_000)],
            None,
            "3,000 rows have arrived, but they span only 1 minute or",
        ),
        ([BEGIN + timedelta(days=d, hours=3, seconds=i / 20) for d in range(5) for i in range(900)], ["1d"], ""),
    ],
    ids=["20 rows in all", "all rows of one minute", "one batch a day"],
)
def test_traffic_that_shows_no_rate_has_no_windows_and_batches_have_windows_of_a_day(
    site: Site, clock: ManualClock, at: list[datetime], expected: list[str] | None, said: str
) -> None:
    declare(site, plain_spec())
    for day in range(5):
        here = [t for t in at if BEGIN + day * DAY <= t < BEGIN + (day + 1) * DAY]
        send(site, clock, rows(here, seed=day), BEGIN + (day + 1) * DAY)
    assert references(site)[-1].windows == expected
    with site.database.read() as db:
        told = reference_standing(site, db, service.current_spec(site, db, "support-intents"))["notices"]
    assert said in "".join(n["sentence"] for n in told if n["kind"] == "no_windows")
    assert bool(windows(site)) == (expected is not None)
    assert all(w.rows for w in windows(site))


def test_a_sample_row_of_last_year_does_not_decide_the_lengths(site: Site, clock: ManualClock) -> None:
    declare(site, plain_spec())
    send(site, clock, rows([BEGIN - 300 * DAY], seed=9), BEGIN)
    play(site, clock, rows(times(200, 12)), DAY, until=BEGIN + 12 * DAY)
    assert references(site)[0].windows == ["1d"]
    assert judged(site)[0].from_ts == BEGIN + 5 * DAY
    first, grown = references(site)  # both name it
    assert [(part["side"], part["event_ids"]) for part in first.far_rows] == [("before", ["e9-0"])]
    assert grown.far_rows == first.far_rows


def test_a_spec_with_lengths_and_a_reference_of_its_own_chooses_nothing(site: Site, clock: ManualClock) -> None:
    document = plain_spec().document
    spec = plain_spec(
        baseline={"rows": "first 1000"}, monitors=document["monitors"] | {"windows": ["1d"]},
    )  # fmt: skip
    declare(site, spec)
    play(site, clock, rows(times(200, 7)), DAY, until=BEGIN + 7 * DAY)
    (reference,) = references(site)
    assert (reference.windows, reference.rule, reference.ends_at) == (None, None, None)
    last = windows(site)[-1].decision
    assert last["verdict"] == "reference_too_short"
    assert "write `baseline: {rows: first" in last["reason"]
    assert "`baseline: auto`" in last["reason"]


def test_windows_are_not_longer_than_rows_are_kept(site: Site, clock: ManualClock) -> None:
    declare(site, plain_spec(retention="7d"))
    send(site, clock, rows(times(20, 40)), BEGIN + 40 * DAY)
    assert references(site)[0].windows == ["7d"]


def test_a_reference_that_moved_and_is_too_short_is_told_one_that_is_long_enough(
    site: Site, clock: ManualClock
) -> None:
    monitors = plain_spec().document["monitors"] | {"windows": ["1d"]}
    declare(site, plain_spec(baseline={"rows": "first 2400"}, monitors=monitors))
    moved = pl.when(pl.col("ts") < BEGIN + 7 * DAY).then(pl.lit("app")).otherwise(pl.lit("web")).alias("channel")
    send(site, clock, rows(times(200, 14)).with_columns(moved), BEGIN + 14 * DAY)
    (reference,) = references(site)
    assert reference.moved is not None
    start, end = (datetime.fromisoformat(reference.moved["suggested"][key]) for key in ("from", "to"))
    assert start >= BEGIN + 7 * DAY  # none of the rows that moved
    assert end >= start + 38 * DAY  # 1 / alpha days, and one more for days that are not whole
    written = f"`baseline: {{range: {{from: {start:%Y-%m-%dT%H:%MZ}, to: {end:%Y-%m-%dT%H:%MZ}}}}}`"
    too_short = windows(site)[-1]
    assert too_short.decision["verdict"] == "reference_too_short"
    assert written in too_short.sentence
    assert written in reference.moved["sentence"]
    assert "rows: first" not in too_short.sentence
