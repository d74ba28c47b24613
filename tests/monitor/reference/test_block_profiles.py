"""Stored profiles: made once when a block ends, again when rows arrive late, and equal to profiling the rows."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import func, select

from core.clock import ManualClock
from monitor import service, store
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.profile.block import BlockProfile, merge_all, profile_block
from monitor.profile.reference_profile import ReferenceProfile
from monitor.reference.block_profiles import labels_between, profile_ended_blocks, stored_blocks
from monitor.reference.collect import time_blocks
from monitor.site import Site
from monitor.tables import ReferenceRow, StoredProfile
from monitor.windows.evaluate import evaluate
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import BEGIN, document, events_body, rows, spec

HOUR = timedelta(hours=1)
DAYS = {"windows": ["1d"], "false_alarms": {"alpha": 0.2}, "kpi": [], "fairness": []}


def declare(site: Site, monitors: dict[str, Any], first: int) -> None:
    with site.database.write() as db:
        declared = spec(monitors=document()["monitors"] | monitors, baseline={"rows": f"first {first}"})
        service.apply_spec(site, db, declared, "tester")


def send(site: Site, clock: ManualClock, frame: pl.DataFrame) -> None:
    clock.move_to(max(clock.now(), datetime.fromisoformat(frame["ts"].max())))  # type: ignore[arg-type]  # a text
    assert receive(site, "loans", "events", Body(events_body(frame), NDJSON)).accepted == frame.height
    evaluate(site, "loans")


def state(site: Site) -> tuple[service.CurrentSpec, ReferenceRow, ReferenceProfile]:
    with site.database.read() as db:
        current = service.current_spec(site, db, "loans")
        row = store.newest_reference(db, current.model.id)
    assert row is not None
    assert row.artifact is not None
    return current, row, ReferenceProfile.from_bytes(site.artifacts.get(row.artifact))


def same(a: BlockProfile, b: BlockProfile) -> None:
    assert a.rows == b.rows
    for name, left in a.numbers.items():
        assert left.counts.tolist() == b.numbers[name].counts.tolist()
        assert (left.minimum, left.maximum) == (b.numbers[name].minimum, b.numbers[name].maximum)
        assert left.total == pytest.approx(b.numbers[name].total)
    for name, levels in a.categories.items():
        assert levels.levels.tolist() == b.categories[name].levels.tolist()


def test_any_range_of_time_is_a_sum_of_stored_profiles_also_by_version_and_segment(
    site: Site, clock: ManualClock
) -> None:
    declare(site, DAYS, 72)
    frame = rows(24 * 8, every=HOUR).with_columns(
        pl.when(pl.int_range(24 * 8) < 100).then(pl.lit("v1")).otherwise(pl.lit("v2")).alias("version")
    )
    send(site, clock, frame)
    current, row, baseline = state(site)
    times = frame["ts"].str.to_datetime(time_zone="UTC")
    begin, end = BEGIN + timedelta(days=3), BEGIN + timedelta(days=6)
    labels = labels_between(current.spec, row, (0, 0), (begin, end))
    inside = frame.filter((times >= begin) & (times < end))
    with site.database.read() as db:
        same(merge_all(stored_blocks(db, row.id, baseline.coding, labels)), profile_block(inside, baseline))
        for column, value in (("version", "v1"), ("version", "v2"), ("region", "north")):
            where = {"version": value} if column == "version" else {"segment": f"region={value}"}
            found = merge_all(stored_blocks(db, row.id, baseline.coding, labels, **where))
            same(found, profile_block(inside.filter(pl.col(column) == value), baseline))
        blocks = stored_blocks(db, row.id, baseline.coding, labels)
    assert [b.rows for b in blocks] == [6] * 12


@SQLITE_FIRST
def test_profiling_again_changes_nothing_and_late_rows_are_included(site: Site, clock: ManualClock) -> None:
    declare(site, DAYS, 48)
    frame = rows(24 * 6, every=HOUR)
    late = pl.int_range(24 * 6).is_in([60, 61])
    send(site, clock, frame.filter(~late))
    current, row, baseline = state(site)
    with site.database.read() as db:
        before = db.scalar(select(func.count()).select_from(StoredProfile))
    assert profile_ended_blocks(site, current, row, baseline) == []
    send(site, clock, frame.filter(late))
    times = frame["ts"].str.to_datetime(time_zone="UTC")
    label = int(time_blocks(times, ("1d",))[60])
    with site.database.read() as db:
        assert db.scalar(select(func.count()).select_from(StoredProfile)) == before
        found = merge_all(stored_blocks(db, row.id, baseline.coding, range(label, label + 1)))
    same(found, profile_block(frame.filter(pl.Series(time_blocks(times, ("1d",)) == label)), baseline))


@SQLITE_FIRST
def test_a_block_that_has_not_ended_is_not_profiled_yet(site: Site, clock: ManualClock) -> None:
    declare(site, DAYS, 48)
    frame = rows(24 * 3 + 9, start=24 * 4, every=HOUR)
    send(site, clock, frame)
    _, row, _ = state(site)
    with site.database.read() as db:
        newest = db.scalar(select(func.max(StoredProfile.label)))
    times = frame["ts"].str.to_datetime(time_zone="UTC")
    assert newest == int(time_blocks(times, ("1d",))[-1]) - 1
    assert row.profiled_seq == 24 * 3 + 6


@SQLITE_FIRST
def test_windows_of_rows_are_profiled_in_ten_blocks_that_cover_them(site: Site, clock: ManualClock) -> None:
    declare(site, {"windows": {"rows": 255}, "false_alarms": {"alpha": 0.1}, "kpi": [], "fairness": []}, 600)
    frame = rows(1000)
    send(site, clock, frame)
    current, row, baseline = state(site)
    labels = labels_between(current.spec, row, (600, 855), (BEGIN, BEGIN))  # the first one after the reference
    assert labels == range(10)
    with site.database.read() as db:
        blocks = stored_blocks(db, row.id, baseline.coding, labels)
        same(merge_all(stored_blocks(db, row.id, baseline.coding, labels)), profile_block(frame[600:855], baseline))
    assert [b.rows for b in blocks] == [25] * 9 + [30]


@SQLITE_FIRST
def test_a_new_reference_starts_with_no_profile(site: Site, clock: ManualClock) -> None:
    declare(site, DAYS, 48)
    send(site, clock, rows(24 * 4, every=HOUR))
    _, row, _ = state(site)
    with site.database.write() as db:
        opened = service.open_reference(site, db, row.model_id, reason="test")
    send(site, clock, rows(24 * 4, start=24 * 4, every=HOUR))
    _, newer, baseline = state(site)
    assert newer.id == opened.id
    with site.database.read() as db:
        labels = db.scalars(select(StoredProfile.label).where(StoredProfile.baseline_id == newer.id)).all()
    assert min(labels) > 0
    assert len(baseline.coding.numbers["amount"].edges) > 1
    assert int(np.min(labels)) >= int(time_blocks(pl.Series([BEGIN + timedelta(days=4)]), ("1d",))[0])
