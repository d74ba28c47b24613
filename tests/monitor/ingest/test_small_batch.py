"""A few rows without a frame are taken as the column readers would take them, or left to them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.events.append import Appended, SmallBatch
from monitor.ingest.json_columns import read_json_columns, read_ndjson_columns
from monitor.ingest.media import ARROW, JSON, NDJSON
from monitor.ingest.row_schema import events_of, outcomes_of
from monitor.ingest.small_batch import MAX_SMALL_BODY_ROWS, read_small_batch
from tests.examples import examples
from tests.monitor.events.test_store import SPEC, opened

NOW = datetime(2026, 6, 1, tzinfo=UTC)
TARGET = events_of(SPEC)
TIMES = st.sampled_from(
    ["2026-05-31T12:00:00Z", "2026-05-31T12:00:00.123456+02:00", "2026-05-31T12:00:00", "2026-05-31 12:00:00Z",
     "2026-13-31T12:00:00Z", "2026-05-31T12:00:60Z", "1969-12-31T23:59:59Z", "2031-01-01T00:00:00Z", "", "\u0662026", 7]
)  # fmt: skip
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.just([]), st.just({}),
    st.just("\ud800"),
)  # fmt: skip
ROWS = st.fixed_dictionaries(
    {"event_id": st.one_of(st.sampled_from(["a", "b", "c d", "e\u00e9"]), VALUES), "ts": TIMES,
     "version": st.one_of(st.just("v1"), VALUES)},
    optional={"answer": VALUES, "score": VALUES, "person": VALUES, "other": VALUES, "truth": VALUES},
)  # fmt: skip


@settings(max_examples=examples(400))
@given(rows=st.lists(ROWS, min_size=1, max_size=3), as_array=st.booleans())
def test_what_is_taken_is_what_the_column_readers_take(rows: list[dict[str, Any]], as_array: bool) -> None:
    body = (json.dumps(rows) if as_array else "\n".join(json.dumps(r) for r in rows)).encode()
    taken = read_small_batch(TARGET, body, JSON if as_array else NDJSON, NOW)
    if taken is None:
        return
    checked = (read_json_columns if as_array else read_ndjson_columns)(TARGET, body, NOW)
    assert not checked.rejected
    columns = [name for name in checked.frame.columns if name != "ts"]
    for ours, theirs in zip(taken, checked.frame.to_dicts(), strict=True):
        assert ours["ts"] == theirs["ts"]
        assert [ours.get(name) for name in columns] == [theirs[name] for name in columns]


@pytest.mark.parametrize(
    "body",
    [b"", b"\n", b"[]", b"{}", b"null", b'"x"', b"\xff", b"[[]]", b'{"event_id": "a", "event_id": "b"}', b"[" * 5000],
)
def test_what_is_unusual_is_left_to_the_others(body: bytes) -> None:
    assert read_small_batch(TARGET, body, NDJSON, NOW) is None
    assert read_small_batch(TARGET, body, JSON, NOW) is None


def good(number: int) -> dict[str, Any]:
    return {"event_id": f"e{number}", "ts": "2026-05-31T12:00:00+00:00", "version": "v1", "answer": "a", "score": 1,
            "person": "Ada"}  # fmt: skip


def test_many_rows_another_form_and_outcomes_are_left_to_the_others() -> None:
    lines = "\n".join(json.dumps(good(i)) for i in range(MAX_SMALL_BODY_ROWS)).encode()
    assert len(read_small_batch(TARGET, lines + b"\n", NDJSON, NOW) or []) == MAX_SMALL_BODY_ROWS
    assert read_small_batch(TARGET, lines + b"\n" + json.dumps(good(9)).encode(), NDJSON, NOW) is None
    assert read_small_batch(TARGET, lines, ARROW, NOW) is None
    assert (
        read_small_batch(outcomes_of(SPEC), json.dumps({"event_id": "a", "truth": "b"}).encode(), NDJSON, NOW) is None
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=4), min_size=1, max_size=8))
def test_rows_are_stored_alike_one_by_one_and_in_a_frame(tmp_path: Path, ids: list[list[int]]) -> None:
    folder = tmp_path / str(datetime.now(UTC).timestamp())
    few, whole = opened(folder / "few"), opened(folder / "whole")
    for number, batch in enumerate(ids):
        now = NOW + timedelta(seconds=number)
        body = "\n".join(json.dumps(good(i)) for i in batch).encode()
        rows = read_small_batch(TARGET, body, NDJSON, now)
        assert rows is not None
        (ours,) = few.append_small_batches([SmallBatch(SPEC, rows)], now=now)
        assert isinstance(ours, Appended)
        theirs = whole.append_events(SPEC, read_ndjson_columns(TARGET, body, now).frame, now=now)
        assert (ours.accepted, list(ours.repeated)) == (theirs.accepted, list(theirs.repeated))
        if number == 3:
            few.settle("m")
    assert few.events("m").equals(whole.events("m").select(few.events("m").columns))
    assert opened(folder / "few").events("m").equals(few.events("m"))
    assert few.event("m", f"e{ids[-1][0]}") == whole.event("m", f"e{ids[-1][0]}")
    few.settle("m")
    whole.settle("m")
    read = pl.read_delta(str(folder / "few/lake/m/events")).sort("seq")
    assert read.equals(pl.read_delta(str(folder / "whole/lake/m/events")).sort("seq").select(read.columns))
    assert "Ada" not in str(read.rows())
