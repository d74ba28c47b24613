"""Windows of rows begin anew after the reference, and rows in no window are counted and said."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from core.clock import ManualClock
from monitor import service, store
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site
from monitor.tables import ReferenceRow, Window
from monitor.windows.evaluate import evaluate
from monitor.windows.reference_standing import reference_standing
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import BEGIN, events_body, rows, spec

pytestmark = SQLITE_FIRST


def send(site: Site, frame: pl.DataFrame) -> None:
    receive(site, "loans", "events", Body(events_body(frame), NDJSON))
    evaluate(site, "loans")


def declare(site: Site, **changes: Any) -> None:
    with site.database.write() as db:
        service.apply_spec(site, db, spec(**changes), "tester")


def windows(site: Site) -> Sequence[Window]:
    with site.database.read() as db:
        return store.windows(db, store.model(db, "loans").id)


def standing(site: Site) -> dict[str, Any]:
    with site.database.read() as db:
        return reference_standing(site, db, service.current_spec(site, db, "loans"))


def test_no_window_holds_rows_of_the_reference_and_later_ones(site: Site) -> None:
    declare(site, baseline={"rows": "first 1100"})
    send(site, rows(600))  # the first windows close before the reference is complete
    send(site, rows(1120, start=600))
    assert [(w.from_seq, w.to_seq) for w in windows(site)] == [
        (0, 250), (250, 500), (500, 750), (750, 1000), (1100, 1350), (1350, 1600),
    ]  # fmt: skip
    assert [w.decision["verdict"] for w in windows(site)][-2:] == ["no_evidence", "no_evidence"]
    found = standing(site)
    assert (found["rows_in_no_window"], found["rows_waiting"]) == (100, 120)
    said = "100 rows lie in no window, because windows begin anew after the last row of the reference."
    assert said in windows(site)[4].sentence
    assert {"kind": "rows_in_no_window", "sentence": said} in found["notices"]
    assert said not in windows(site)[5].sentence


def test_a_reference_that_ends_with_a_window_leaves_no_row_out(site: Site) -> None:
    declare(site)
    send(site, rows(1500))
    assert [w.from_seq for w in windows(site)] == [0, 250, 500, 750, 1000, 1250]
    assert standing(site)["rows_in_no_window"] == 0


def test_windows_of_a_reference_made_by_an_earlier_release_stay_where_they_are(site: Site) -> None:
    declare(site, baseline={"rows": "first 1100"})
    with site.database.write() as db:
        row = store.newest_reference(db, store.model(db, "loans").id)
        assert row is not None
        row.windows_seq = row.from_seq  # as the migration sets it
    send(site, rows(1500))
    assert [w.from_seq for w in windows(site)] == [0, 250, 500, 750, 1000, 1250]


def test_a_test_row_of_long_ago_is_left_out_of_the_reference_and_named(site: Site) -> None:
    declare(site)
    old = rows(1, start=90_000).with_columns(ts=pl.lit((BEGIN - timedelta(days=700)).isoformat()))
    send(site, old)
    send(site, rows(1300))
    with site.database.read() as db:
        row = store.newest_reference(db, store.model(db, "loans").id)
    assert isinstance(row, ReferenceRow)
    assert (row.state, row.rows, row.from_ts, row.windows_seq) == ("ready", 1000, BEGIN, 1001)
    (part,) = row.far_rows
    assert (part["side"], part["rows"], part["event_ids"]) == ("before", 1, ["e90000"])
    notices = {n["kind"]: n["sentence"] for n in standing(site)["notices"]}
    assert "2024-02-01" in notices["far_rows"]
    assert "leaves it out" in notices["far_rows"]
    first = windows(site)[0]  # which closes before the reference does
    assert (first.from_ts, first.to_seq, first.rows) == (BEGIN, 250, 249)


def test_time_windows_do_not_begin_at_a_test_row_of_long_ago(site: Site, clock: ManualClock) -> None:
    every = timedelta(minutes=6)
    watched = {"windows": ["1d"], "false_alarms": {"alpha": 0.1}, "kpi": [], "fairness": []}
    declare(site, baseline={"rows": "first 720"}, monitors=watched)
    old = rows(1, start=90_000).with_columns(ts=pl.lit((BEGIN - timedelta(days=700)).isoformat()))
    clock.move_to(BEGIN + timedelta(minutes=30))
    send(site, old)
    clock.move_to(clock.now() + timedelta(minutes=6))
    evaluate(site, "loans")  # the day of the old row may close: nothing else is known yet
    for day in range(5):
        clock.move_to(max(clock.now(), BEGIN + (day + 1) * timedelta(days=1)))
        send(site, rows(240, start=240 * day, every=every))
    clock.move_to(clock.now() + timedelta(minutes=10))
    evaluate(site, "loans")
    found = [w for w in windows(site) if w.rows > 1]
    assert [w.from_ts for w in found] == [BEGIN + timedelta(days=day) for day in range(5)]
    assert len(windows(site)) <= 8
    with site.database.read() as db:
        row = store.newest_reference(db, store.model(db, "loans").id)
    assert row is not None
    assert (row.rows, row.from_ts, [p["rows"] for p in row.far_rows]) == (720, BEGIN, [1])
