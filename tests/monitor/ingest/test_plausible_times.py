"""Times that cannot be right are rejected with the unit that was probably confused, whatever the route."""

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitor.ingest.arrow import read_arrow_columns, read_parquet_columns
from monitor.ingest.json_columns import read_json_columns, read_ndjson_columns
from monitor.ingest.media import NDJSON
from monitor.ingest.plausible_times import history_span, newest_of, time_span
from monitor.ingest.row_schema import events_of
from monitor.ingest.small_batch import read_small_batch
from monitor.ingest.validate import CheckedRows
from monitor.spec.event_times import EventTimes
from monitor.spec.parse import parse_spec

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
THEN = int(datetime(2026, 5, 1, tzinfo=UTC).timestamp())
OLD_HISTORY = {"earliest": "1950-01-01T00:00:00Z"}
SECONDS, MILLIS, MICROS, NANOS = THEN, THEN * 10**3, THEN * 10**6, THEN * 10**9


def target(**more: Any) -> Any:
    columns = {"answer": {"role": "prediction", "type": "category"}}
    base = {"model": "m", "task": "classification", "owner": "o", "purpose": "p", "columns": columns}
    return events_of(parse_spec(base | more))


def text(times: list[Any], *, array: bool = False) -> bytes:
    rows = [{"event_id": f"e{i}", "ts": at, "version": "v1", "answer": "a"} for i, at in enumerate(times)]
    return json.dumps(rows).encode() if array else "\n".join(map(json.dumps, rows)).encode()


def counted(values: list[int], unit: str) -> CheckedRows:
    table = pa.table({
        "event_id": [f"e{i}" for i in range(len(values))], "version": ["v1"] * len(values),
        "ts": pa.array(values, pa.int64()).cast(pa.timestamp(unit, "UTC")),
    })  # fmt: skip
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table)
    return read_arrow_columns(target(), out.getvalue(), NOW, 100)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("1970-01-21T13:20:00Z", "it looks like seconds sent as milliseconds; multiply by 1000"),
        ("1970-01-01T00:29:37Z", "it looks like milliseconds sent as nanoseconds; multiply by 1000000"),
        ("1970-01-01T00:00:01.777Z", "it looks like seconds sent as nanoseconds; multiply by 1000000000"),
        ("1950-01-01T00:00:00Z", "more than 20 years before now (2026-06-01); if it is right, declare `times:"),
        ("2006-05-30T00:00:00Z", "more than 20 years before now"),
        ("0001-01-01T00:00:00+14:00", "more than 20 years before now"),
        ("9999-12-31T23:59:59-23:59", "more than a day ahead of now (2026-06-01 12:00 UTC)"),
        ("2026-06-02T12:00:01Z", "more than a day ahead of now"),
        (SECONDS, "it looks like seconds since 1970: write `2026-05-01T00:00:00Z`"),
        (str(MILLIS), "it looks like milliseconds since 1970: write `2026-05-01T00:00:00Z`"),
        (THEN + 0.5, "it looks like seconds since 1970: write `2026-05-01T00:00:00.500000Z`"),
        (True, "is not a time"),
        (10**400, "is not a time"),
    ],
)
def test_a_text_that_cannot_be_right_is_rejected_with_the_likely_unit(written: Any, reason: str) -> None:
    body = text(["2026-05-01T00:00:00Z", written, "2006-06-02T00:00:00Z", "2026-06-02T11:59:59Z"])
    for checked in (
        read_ndjson_columns(target(), body, NOW), read_json_columns(target(), text([written], array=True), NOW)
    ):  # fmt: skip
        (rejected,) = checked.rejected
        assert rejected.field == "ts"
        assert reason in rejected.reason
    assert read_ndjson_columns(target(), body, NOW).lines == [1, 3, 4]
    assert read_small_batch(target(), text([written]), NDJSON, NOW) is None


@pytest.mark.parametrize(
    ("value", "unit", "reason"),
    [
        (SECONDS, "ms", "seconds sent as milliseconds; multiply by 1000"),
        (SECONDS, "us", "seconds sent as microseconds; multiply by 1000000"),
        (SECONDS, "ns", "seconds sent as nanoseconds; multiply by 1000000000"),
        (MILLIS, "s", "milliseconds sent as seconds; divide by 1000"),
        (MILLIS, "us", "milliseconds as microseconds; multiply by 1000"),
        (MILLIS, "ns", "milliseconds sent as nanoseconds; multiply by 1000000"),
        (MICROS, "s", "microseconds sent as seconds; divide by 1000000"),
        (MICROS, "ms", "microseconds sent as milliseconds; divide by 1000"),
        (MICROS, "ns", "microseconds sent as nanoseconds; multiply by 1000"),
        (NANOS, "s", "nanoseconds sent as seconds; divide by 1000000000"),
        (NANOS, "ms", "nanoseconds sent as milliseconds; divide by 1000000"),
        (NANOS, "us", "nanoseconds sent as microseconds; divide by 1000"),
        (-(2**63) + 1, "ns", "more than 20 years before now"),
        (2**63 - 1, "us", "more than a day ahead of now"),
    ],
)
def test_a_count_in_another_unit_is_rejected_with_both_units(value: int, unit: str, reason: str) -> None:
    right = {"s": SECONDS, "ms": MILLIS, "us": MICROS, "ns": NANOS}[unit]
    checked = counted([right, value, right], unit)
    assert [r.line for r in checked.rejected] == [2]
    assert reason in checked.rejected[0].reason
    assert checked.frame["ts"].to_list() == [datetime.fromtimestamp(THEN, UTC)] * 2


def test_a_history_that_the_spec_declares_is_taken_from_before_1970_too() -> None:
    declared = target(times=OLD_HISTORY)
    checked = read_ndjson_columns(declared, text(["1949-12-31T23:59:59Z", "1950-01-01T00:00:00Z"]), NOW)
    assert checked.frame["ts"].to_list() == [datetime(1950, 1, 1, tzinfo=UTC)]
    assert "before 1950-01-01T00:00:00+00:00, the earliest time that the spec allows" in checked.rejected[0].reason
    assert read_small_batch(declared, text(["1950-01-01T00:00:00Z"]), NDJSON, NOW) is not None
    out = io.BytesIO()
    table = pa.table({"event_id": ["a"], "version": ["v"], "ts": pa.array([-(10**8)], pa.timestamp("s", "UTC"))})
    pq.write_table(table, out)
    assert read_parquet_columns(declared, out.getvalue(), NOW, 100).frame["ts"][0].year == 1966


def test_a_feed_may_be_declared_to_run_ahead() -> None:
    at = (NOW + timedelta(days=300)).isoformat()
    assert read_ndjson_columns(target(), text([at]), NOW).rejected
    assert not read_ndjson_columns(target(times={"ahead": "400d"}), text([at]), NOW).rejected


def times(*written: str) -> pl.Series:
    return pl.Series("ts", written).str.to_datetime("%Y-%m-%d", time_unit="us", time_zone="UTC")


def newest(*written: str, declared: EventTimes | None = None) -> str | None:
    found = newest_of(times(*written), declared, NOW)
    return None if found is None else f"{found:%Y-%m-%d}"


def test_the_newest_time_of_a_history_is_that_of_the_rows_beside_it() -> None:
    assert newest("1995-01-01", "1996-01-01") == "1996-01-01"
    assert newest("1970-01-20", "2026-05-01") == "2026-05-01"
    assert newest("1995-01-01", "1995-01-02", "1995-01-03", "9999-12-30") == "1995-01-03"
    assert newest("1961-01-01", "1962-01-01") == "1962-01-01"
    assert newest("1970-01-20", "1970-01-20", "2026-05-01") == "2026-05-01"  # today's seconds, as milliseconds
    assert newest("1970-01-20", "1970-01-21") is None
    assert newest("1970-01-20", declared=EventTimes.model_validate(OLD_HISTORY)) == "1970-01-20"
    assert newest_of(pl.Series("ts", [], pl.Datetime("us", "UTC")), None, NOW) is None


def test_a_file_is_judged_by_its_own_newest_time() -> None:
    span = history_span(None, times("1970-01-10", "1979-12-31", "1980-01-01"), NOW)
    assert span.earliest.year == 1960
    assert (
        span.wrong(False)
        == "more than a day after 1980-01-01, the newest time of the file, rows far from the rest aside"
    )
    assert history_span(None, times("2031-01-01"), NOW).latest.year == 2031  # a file may lie ahead
    assert time_span(None, NOW, datetime(2001, 1, 1, tzinfo=UTC)).earliest.year == 1981
