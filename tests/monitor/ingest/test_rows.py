"""The parser alone: whatever comes in, each row is either stored or refused with a reason, and nothing raises."""

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError
from monitor.ingest.ndjson import BodyError, read_json, read_ndjson
from monitor.ingest.plausible_times import time_span
from monitor.ingest.validate import check_events, check_outcomes
from monitor.spec.parse import parse_spec

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SPAN = time_span(None, NOW)
DOCUMENT: dict[str, Any] = {
    "model": "m", "task": "classification", "owner": "o", "purpose": "p", "baseline": {"rows": "first 100"},
    "columns": {
        "text": {"role": "input", "type": "text"}, "answer": {"role": "prediction", "type": "category"},
        "score": {"role": "score", "type": "number"}, "vip": {"role": "segment", "type": "boolean"},
        "truth": {"role": "outcome", "type": "category"},
    },
}  # fmt: skip
SPEC = parse_spec(DOCUMENT)
GOOD = {
    "event_id": "e",
    "ts": "2026-05-01T00:00:00Z",
    "version": "v1",
    "text": "t",
    "answer": "a",
    "score": 1,
    "vip": True,
}

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None, exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
rows = st.lists(
    st.dictionaries(
        st.sampled_from([*GOOD, "truth", "other", ""]), values | st.sampled_from(list(GOOD.values())), max_size=8
    )
    | values,
    max_size=6,
)


@given(rows)
def test_any_json_rows_are_all_accounted_for(objects: list[Any]) -> None:
    body = "\n".join(json.dumps(o) for o in [GOOD, *objects]).encode()
    as_lines, as_array = read_ndjson(body), read_json(json.dumps([GOOD, *objects]).encode())
    for read in (as_lines, as_array):
        checked = check_events(SPEC, read, SPAN)
        assert checked.frame.height + len(checked.rejected) == len(objects) + 1
        assert sorted([*checked.lines, *(r.line for r in checked.rejected)]) == list(range(1, len(objects) + 2))
        assert checked.frame.height == len(checked.lines)
        assert checked.frame["event_id"].null_count() == checked.frame["ts"].null_count() == 0
        outcomes = check_outcomes(SPEC, read)
        assert outcomes.frame.height + len(outcomes.rejected) == len(objects) + 1


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_rows_refusals_or_a_refused_body(body: bytes) -> None:
    for read in (read_ndjson, read_json):
        try:
            found = read(body)
        except BodyError:
            continue
        check_events(SPEC, found, SPAN)


@given(
    st.text(st.characters(codec="ascii"), max_size=30)
    | st.datetimes().map(str)
    | st.datetimes(timezones=st.timezones()).map(datetime.isoformat)
)
def test_any_time_is_read_as_python_reads_it_or_refused(text: str) -> None:
    checked = check_events(SPEC, read_json(json.dumps([GOOD | {"ts": text}]).encode()), SPAN)
    if checked.frame.height:
        assert datetime(1970, 1, 1, tzinfo=UTC) <= checked.frame["ts"][0] <= datetime(2026, 6, 2, tzinfo=UTC)
    else:
        assert checked.rejected[0].field == "ts"


def test_columns_come_out_with_the_types_of_the_spec() -> None:
    frame = check_events(SPEC, read_json(json.dumps([GOOD]).encode()), SPAN).frame
    assert frame.schema["score"] == pl.Float64
    assert frame.schema["vip"] == pl.Boolean
    assert frame.schema["trace_id"] == pl.String
    assert frame["ts"][0] == datetime(2026, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-05-01T02:00:00+02:00", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01 00:00:00Z", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01T00:00:00.123456789Z", datetime(2026, 5, 1, 0, 0, 0, 123456, tzinfo=UTC)),
        ("2026-06-01T23:00:00Z", datetime(2026, 6, 1, 23, tzinfo=UTC)),
    ],
)
def test_times_with_a_zone_are_kept_in_utc(text: str, utc: datetime) -> None:
    assert check_events(SPEC, read_json(json.dumps([GOOD | {"ts": text}]).encode()), SPAN).frame["ts"][0] == utc


@pytest.mark.parametrize("text", ["20260501123456Z", "202605011234Z", "2026-05-01123456Z", "2026-05-01112:00Z"])
def test_a_time_is_not_read_from_its_second_digit_on(text: str) -> None:
    """As LDAP and certificates write times; Python reads the first digit of the hour as what separates it."""
    [rejected] = check_events(SPEC, read_json(json.dumps([GOOD | {"ts": text}]).encode()), SPAN).rejected
    assert rejected.field == "ts"
    assert "is not a time" in rejected.reason


def test_one_reason_is_given_for_a_row_with_several_mistakes() -> None:
    rejected = check_events(SPEC, read_json(json.dumps([{"other": 1, "score": "x"}]).encode()), SPAN).rejected
    assert [r.field for r in rejected] == ["other"]


def test_outcomes_need_a_spec_that_declares_some() -> None:
    spec = parse_spec(DOCUMENT | {"columns": {k: v for k, v in DOCUMENT["columns"].items() if k != "truth"}})
    with pytest.raises(InvalidError, match="no column with role outcome"):
        check_outcomes(spec, read_json(b'[{"event_id": "a"}]'))


def test_a_byte_order_mark_is_skipped() -> None:
    assert len(read_ndjson(b"\xef\xbb\xbf" + json.dumps(GOOD).encode()).objects) == 1
