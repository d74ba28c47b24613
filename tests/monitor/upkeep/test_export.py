"""Exports: every row once and in order, in every format, also when cut off and resumed beside a compaction."""

import io
import json
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from core.clock import ManualClock
from core.errors import InvalidError
from monitor.lake.compact import compact
from monitor.lake.errors import VersionGoneError
from monitor.site import Site
from monitor.upkeep.export import export
from tests.databases import SQLITE_FIRST
from tests.monitor import traffic
from tests.monitor.upkeep.test_maintain import declared, stored

pytestmark = SQLITE_FIRST
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def rows(site: Site, clock: ManualClock) -> None:
    """Thirty hours of 20 requests of 6 events; every other request arrives late, out of time order."""
    clock.move_to(traffic.BEGIN + timedelta(days=4))
    declared(site)
    frame = traffic.rows(120, every=timedelta(minutes=15))
    for i in [*range(0, 20, 2), *range(1, 20, 2)]:
        stored(site, frame[i * 6 : i * 6 + 6])


def _parquet(content: bytes) -> list[dict[str, Any]]:
    return pl.read_parquet(io.BytesIO(content)).to_dicts()


def _arrow(content: bytes) -> list[dict[str, Any]]:
    return pl.DataFrame(pa.ipc.open_stream(content).read_all()).to_dicts()


def _ndjson(content: bytes) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in content.splitlines()]
    for line in lines:
        for name in {"ts", "received_at"} & line.keys():
            assert line[name].endswith("Z")
            line[name] = datetime.fromisoformat(line[name])
    return lines


READ: dict[Any, Callable[[bytes], list[dict[str, Any]]]] = {"parquet": _parquet, "arrow": _arrow, "ndjson": _ndjson}


def seqs(content: Iterable[bytes]) -> list[int]:
    return [row["seq"] for row in _ndjson(b"".join(content))]


@pytest.mark.parametrize("form", READ)
@pytest.mark.parametrize("kind", ["events", "outcomes"])
def test_every_format_holds_every_row_in_order(site: Site, form: Any, kind: Any) -> None:
    table = site.events.table("loans", kind)
    stored_rows = table.scan().sort("seq").collect()
    for step in (50_000, 7):
        found = READ[form](b"".join(export(site, "loans", kind=kind, form=form, step_rows=step).body))
        assert pl.DataFrame(found, schema=stored_rows.schema).equals(stored_rows)


@pytest.mark.parametrize("form", READ)
def test_the_outcomes_of_an_event_appear_once_with_all_that_is_known(site: Site, form: Any) -> None:
    spec = traffic.spec()
    for event, label in [(3, "no"), (100, "maybe"), (3, "perhaps"), (7, None), (7, "no")]:
        sent = pl.DataFrame({"event_id": [f"e{event}"], "truth": [label]}, schema_overrides={"truth": pl.String})
        site.events.append_outcomes(spec, sent, now=site.clock.now() + HOUR)
    known = site.events.outcomes("loans").drop("first_ts")
    assert known.height == 120
    for step in (50_000, 7):
        whole = export(site, "loans", kind="outcomes", form=form, step_rows=step)
        found = pl.DataFrame(READ[form](b"".join(whole.body)), infer_schema_length=None)
        assert found.select(known.columns).equals(known)
        assert found.filter(pl.col("event_id").is_in(["e3", "e100", "e7"]))["truth"].to_list() == [
            "maybe",
            "perhaps",
            "no",
        ]
        for cut in (1, 60, 118, 119):
            rest = export(site, "loans", kind="outcomes", form=form, cursor=f"{whole.version}:{found['seq'][cut - 1]}")
            assert READ[form](b"".join(rest.body)) == found[cut:].to_dicts()
    late = export(site, "loans", kind="outcomes", form=form, from_ts=site.clock.now() + HOUR / 2)
    assert len(READ[form](b"".join(late.body))) == 3


@pytest.mark.parametrize("form", READ)
def test_a_period_has_the_rows_of_its_event_times(site: Site, form: Any) -> None:
    begin, end = traffic.BEGIN + 3 * HOUR, traffic.BEGIN + 27 * HOUR
    found = READ[form](b"".join(export(site, "loans", form=form, from_ts=begin, to_ts=end).body))
    assert len(found) == 24 * 4
    assert min(r["ts"] for r in found) == begin
    assert max(r["ts"] for r in found) == end - timedelta(minutes=15)
    assert [r["seq"] for r in found] == sorted(r["seq"] for r in found)
    nothing = export(site, "loans", form=form, from_ts=end + 100 * HOUR)
    assert READ[form](b"".join(nothing.body)) == []


def test_an_export_is_resumed_at_any_row_also_after_a_compaction(site: Site) -> None:
    whole = export(site, "loans")
    expected = seqs(whole.body)
    table = site.events.table("loans", "events")
    for cut, keep in [(1, None), (50, timedelta(days=2)), (119, timedelta(0)), (120, timedelta(0))]:
        first = seqs(export(site, "loans", limit=cut).body)
        stored(site, traffic.rows(3, start=1000 + 3 * cut))  # later rows are not part of it
        if keep is not None:
            list(compact("loans", "events", table, nullcontext))
            now = datetime.now(UTC)
            table.vacuum(keep=keep, now=now)
            table.clean_log(keep=keep, now=now)
        rest = export(site, "loans", cursor=f"{whole.version}:{first[-1]}")
        assert rest.version == whole.version
        assert first + seqs(rest.body) == expected


def test_an_export_goes_on_while_its_files_are_replaced(site: Site) -> None:
    body = export(site, "loans", step_rows=10).body
    parts = [next(body), next(body)]
    table = site.events.table("loans", "events")
    list(compact("loans", "events", table, nullcontext))
    table.vacuum(keep=timedelta(0), now=datetime.now(UTC))
    assert seqs([*parts, *body]) == list(range(120))


def test_a_model_without_rows_exports_none(site: Site) -> None:
    for form, read in READ.items():
        empty = export(site, "other", form=form)
        assert (empty.version, read(b"".join(empty.body))) == (-1, [])


@pytest.mark.parametrize("cursor", ["", "5", "5:", ":5", "-1:5", "5:5:5", "a:b", "5:" + "9" * 30])
def test_a_malformed_cursor_is_refused(site: Site, cursor: str) -> None:
    with pytest.raises(InvalidError, match="write the X-Assay-Version header") as caught:
        export(site, "loans", cursor=cursor)
    assert caught.value.facts["field"] == "cursor"


def test_a_version_that_never_existed_is_refused(site: Site) -> None:
    with pytest.raises(VersionGoneError, match="has no version 900"):
        export(site, "loans", cursor="900:1")


def test_a_period_that_ends_before_it_begins_is_refused(site: Site) -> None:
    with pytest.raises(InvalidError, match=r"are the same time, .* give a later to"):
        export(site, "loans", from_ts=traffic.BEGIN, to_ts=traffic.BEGIN)
    with pytest.raises(InvalidError, match=r"is after to .* swap them"):
        export(site, "loans", from_ts=traffic.BEGIN, to_ts=traffic.BEGIN - timedelta(seconds=1))
