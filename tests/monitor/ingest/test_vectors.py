"""Vectors: one column from the body to the Delta table, checked number by number, never columns of their own."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import deltalake
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor import service
from monitor.events.wal_records import RowBatch, batches_to_frame
from monitor.ingest.json_columns import read_ndjson_columns
from monitor.ingest.media import ARROW, JSON, NDJSON, PARQUET
from monitor.ingest.ndjson import read_ndjson
from monitor.ingest.otlp.mapping import events_from, mapping_of
from monitor.ingest.otlp.spans import Span
from monitor.ingest.receive import Body, Receipt, receive
from monitor.ingest.release import quarantined_rows, replay
from monitor.ingest.row_schema import events_of
from monitor.ingest.small_batch import read_small_batch
from monitor.ingest.vectors import good, misfit, parsed
from monitor.site import Site
from monitor.spec.parse import SpecError, parse_spec
from monitor.upkeep.export import export
from tests.databases import SQLITE_FIRST

DOCUMENT: dict[str, Any] = {
    "model": "m", "task": "classification", "owner": "o", "purpose": "p", "baseline": {"rows": "first 100"},
    "columns": {
        "embedding": {"role": "input", "type": "vector", "dimensions": 3},
        "answer": {"role": "prediction", "type": "category"},
    },
}  # fmt: skip
SPEC = parse_spec(DOCUMENT)
ROWS: list[dict[str, Any]] = [
    {"embedding": [0.1, -2, 3e2], "answer": "a"}, {"embedding": [0.5, 0.25, 1.0]}, {"embedding": None}, {},
]  # fmt: skip
STORED = [[np.float32(0.1), -2.0, 300.0], [0.5, 0.25, 1.0], None, None]


@pytest.fixture
def ready(site: Site) -> Site:
    with site.database.write() as db:
        service.apply_spec(site, db, SPEC, "tester")
    return site


def rows_of(site: Site, given: list[dict[str, Any]], first: str = "e") -> list[dict[str, Any]]:
    at = site.clock.now() - timedelta(days=1)
    return [{"event_id": f"{first}{i}", "ts": at.isoformat(), "version": "v", **row} for i, row in enumerate(given)]


def table(rows: list[dict[str, Any]], kind: pa.DataType) -> pa.Table:
    times = pa.array([datetime.fromisoformat(row["ts"]) for row in rows], pa.timestamp("us", "UTC"))
    columns = {name: pa.array([row.get(name) for row in rows]) for name in ("event_id", "version", "answer")}
    return pa.table({**columns, "ts": times, "embedding": pa.array([row.get("embedding") for row in rows], kind)})


def arrow(rows: list[dict[str, Any]], kind: pa.DataType) -> bytes:
    out, found = io.BytesIO(), table(rows, kind)
    with pa.ipc.new_stream(out, found.schema) as writer:
        writer.write_table(found)
    return out.getvalue()


def parquet(rows: list[dict[str, Any]], kind: pa.DataType) -> bytes:
    out = io.BytesIO()
    pq.write_table(table(rows, kind), out)
    return out.getvalue()


FORMS: dict[str, Callable[[list[dict[str, Any]]], Body]] = {
    "a few lines": lambda rows: Body("\n".join(map(json.dumps, rows)).encode(), NDJSON),
    "many lines": lambda rows: Body("\n".join(map(json.dumps, rows)).encode() + b"\n" * 20_000, NDJSON),
    "an array": lambda rows: Body(json.dumps(rows).encode() + b" " * 20_000, JSON),
    "arrow list of double": lambda rows: Body(arrow(rows, pa.list_(pa.float64())), ARROW),
    "arrow large list of half": lambda rows: Body(arrow(rows, pa.large_list(pa.float32())), ARROW),
    "arrow fixed list": lambda rows: Body(arrow(rows, pa.list_(pa.float32(), 3)), ARROW),
    "parquet": lambda rows: Body(parquet(rows, pa.list_(pa.float64())), PARQUET),
    "parquet fixed list": lambda rows: Body(parquet(rows, pa.list_(pa.float32(), 3)), PARQUET),
}


@SQLITE_FIRST
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_stored_alike_as_one_column_of_32_bit_numbers(ready: Site, form: str) -> None:
    receipt = receive(ready, "m", "events", FORMS[form](rows_of(ready, ROWS)))
    assert (receipt.accepted, receipt.rejected) == (4, [])
    before = ready.events.events("m")
    ready.events.settle("m")
    after = ready.events.events("m")
    for frame in (before, after):
        assert frame.schema["embedding"] == pl.List(pl.Float32)
        assert frame.sort("event_id")["embedding"].to_list() == STORED
    found = ready.events.event("m", "e1")
    assert found is not None
    assert found["embedding"] == [0.5, 0.25, 1.0]
    stored = deltalake.DeltaTable(ready.events.table("m", "events").folder)
    types = {field.name: json.loads(field.type.to_json()) for field in stored.schema().fields}
    assert types["embedding"] == {"type": "array", "elementType": "float", "containsNull": False}
    assert stored.to_pyarrow_table()["embedding"].to_pylist() == after["embedding"].to_list()


@SQLITE_FIRST
@pytest.mark.parametrize("form", ["ndjson", "arrow", "parquet"])
def test_exports_hold_vectors_and_can_be_sent_again(ready: Site, form: Any) -> None:
    receive(ready, "m", "events", FORMS["many lines"](rows_of(ready, ROWS)))
    content = b"".join(export(ready, "m", form=form).body)
    read = {
        "ndjson": lambda: pl.read_ndjson(content), "arrow": lambda: pl.read_ipc_stream(content),
        "parquet": lambda: pl.read_parquet(content),
    }[form]().sort("event_id")  # fmt: skip
    assert read["embedding"].cast(pl.List(pl.Float32)).to_list() == STORED
    again = read.select("event_id", "ts", "version", "embedding").head(2)
    with ready.database.write() as db:
        service.apply_spec(ready, db, parse_spec(DOCUMENT | {"model": "n"}), "tester")
    body = {
        "ndjson": lambda: Body(again.write_ndjson().encode(), NDJSON),
        "arrow": lambda: Body(_bytes(again.write_ipc_stream), ARROW),
        "parquet": lambda: Body(_bytes(again.write_parquet), PARQUET),
    }[form]()
    assert receive(ready, "n", "events", body).accepted == 2


def _bytes(write: Callable[[io.BytesIO], object]) -> bytes:
    out = io.BytesIO()
    write(out)
    return out.getvalue()


BAD: dict[str, tuple[Any, str]] = {
    "too short": ([1, 2], "has 2 numbers; 3 are declared. Send the model's whole vector, or change the spec"),
    "empty": ([], "has 0 numbers; 3 are declared. Send the model's whole vector, or change the spec"),
    "a null inside": ([1, None, 2], "number 2 of the vector is null; leave the column out if there is no vector"),
    "beyond 32 bits": (
        [1, 2, 1e39], "number 3 of the vector is not finite as a 32-bit float; leave the column out if there is none",
    ),
}  # fmt: skip
BAD_JSON: dict[str, tuple[Any, str]] = {
    "a string inside": (
        [1, "2", 3], "number 2 of the vector is a string; leave the column out if there is no vector",
    ),
    "true inside": ([True, 2, 3], "number 1 of the vector is a boolean; leave the column out if there is no vector"),
    "a list inside": ([[1, 2, 3]], "has 1 numbers; 3 are declared. Send the model's whole vector, or change the spec"),
    "an object": ({"0": 1}, "is an object; the column is declared as vector: a list of 3 numbers"),
    "a number": (1, "is a number; the column is declared as vector: a list of 3 numbers"),
    "a text": ("[1,2,3]", "is a string; the column is declared as vector: a list of 3 numbers"),
    "a whole number past a double": (
        [1, 2, 10**400],
        "number 3 of the vector is not finite as a 32-bit float; leave the column out if there is none",
    ),
}  # fmt: skip


@SQLITE_FIRST
@pytest.mark.parametrize(
    ("form", "bad"),
    [(form, bad) for form in FORMS for bad in BAD if "fixed" not in form or bad not in ("too short", "empty")]
    + [(form, bad) for form in ("a few lines", "many lines", "an array") for bad in BAD_JSON],
)
def test_a_row_with_another_vector_is_refused_in_words_that_quote_no_number(ready: Site, form: str, bad: str) -> None:
    value, reason = (BAD | BAD_JSON)[bad]
    receipt = receive(ready, "m", "events", FORMS[form](rows_of(ready, [*ROWS, {"embedding": value}])))
    assert receipt.accepted == 4
    assert [(r.line, r.field, r.reason) for r in receipt.rejected] == [(5, "embedding", reason)]
    (row,) = quarantined_rows(ready, "m")
    assert (row.field, row.reason, json.loads(row.raw)["event_id"]) == ("embedding", reason, "e4")


@SQLITE_FIRST
def test_an_arrow_column_of_other_things_or_of_another_size_is_refused_as_a_whole_or_row_by_row(ready: Site) -> None:
    rows = rows_of(ready, [{"embedding": ["a", "b", "c"]}])
    with pytest.raises(Exception, match=r"column embedding is list<.*string>; it is declared as vector"):
        receive(ready, "m", "events", Body(arrow(rows, pa.list_(pa.string())), ARROW))
    rows = rows_of(ready, [{"embedding": [1.0, 2.0]}])
    receipt = receive(ready, "m", "events", Body(arrow(rows, pa.list_(pa.float32(), 2)), ARROW))
    assert [r.reason for r in receipt.rejected] == [BAD["too short"][1]]


@SQLITE_FIRST
def test_a_quarantined_vector_is_taken_once_the_spec_allows_it(ready: Site) -> None:
    receipt: Receipt = receive(ready, "m", "events", FORMS["a few lines"](rows_of(ready, [{"embedding": [0.5, 1]}])))
    assert receipt.quarantined == 1
    columns = DOCUMENT["columns"] | {"embedding": {"role": "input", "type": "vector", "dimensions": 2}}
    with ready.database.write() as db:
        service.apply_spec(ready, db, parse_spec(DOCUMENT | {"columns": columns}), "tester")
    assert replay(ready, "m", None, actor="tester").released == 1
    assert ready.events.events("m")["embedding"].to_list() == [[0.5, 1.0]]


@SQLITE_FIRST
def test_a_stored_vector_cannot_become_a_column_of_numbers(ready: Site) -> None:
    receive(ready, "m", "events", FORMS["a few lines"](rows_of(ready, ROWS)))
    columns = DOCUMENT["columns"] | {"embedding": {"role": "input", "type": "number"}}
    with pytest.raises(SpecError, match="'number' is stored as vector since revision 1"), ready.database.write() as db:
        service.apply_spec(ready, db, parse_spec(DOCUMENT | {"columns": columns}), "tester")


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ({"role": "input", "type": "vector"}, "a vector needs dimensions"),
        ({"role": "input", "type": "number", "dimensions": 3}, "dimensions are for columns of type vector"),
        ({"role": "segment", "type": "vector", "dimensions": 3}, "a vector has role input or measure"),
        ({"role": "input", "type": "vector", "dimensions": 1}, "give at least 2"),
        ({"role": "input", "type": "vector", "dimensions": 5000}, "give at most 4096"),
    ],
)
def test_a_spec_that_declares_no_vector_properly_is_refused(column: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        parse_spec(DOCUMENT | {"columns": DOCUMENT["columns"] | {"embedding": column}})


@SQLITE_FIRST
def test_the_vector_of_an_embedding_span_is_found_and_a_foreign_one_refused(site: Site) -> None:
    spec = parse_spec(DOCUMENT | {"traces": {"service": "s", "spans": ["embedding"]}})
    assert spec.traces is not None
    key = "embedding.embeddings.0.embedding.vector"
    at = int(site.clock.now().timestamp()) * 10**9
    spans = [
        Span(i, f"{i:032x}", f"{i:016x}", "", "embed", at, at, False, {key: value}, {"service.version": "v"})
        for i, value in enumerate([[0.5, 1, 2.0], [0.5, 1], "no"], start=1)
    ]
    checked = events_from(mapping_of(spec, spec.traces), spans, site.clock.now())
    assert checked.frame["embedding"].to_list() == [[0.5, 1.0, 2.0]]
    assert [(r.line, r.field) for r in checked.rejected] == [(2, "embedding"), (3, "embedding")]
    assert checked.rejected[0].reason == BAD["too short"][1]


@given(
    st.lists(
        st.none() | st.lists(st.floats(width=32) | st.none(), max_size=3), max_size=8,
    )
)  # fmt: skip
def test_rows_are_judged_together_as_they_are_one_by_one(values: list[Any]) -> None:
    series = pl.Series("v", values, dtype=pl.List(pl.Float32))
    assert good(series, 2).to_list() == [misfit(value, 2) is None for value in values]


NUMBERS = st.one_of(
    st.floats(), st.integers(), st.none(), st.booleans(), st.text(max_size=2),
    st.sampled_from([3.4028234e38, 3.40282356e38, 3.4028235677973362e38, 3.4028235677973366e38, -3.4028236e38, 1e-46]),
)  # fmt: skip


@given(st.lists(st.one_of(NUMBERS, st.lists(NUMBERS, max_size=4)), min_size=1, max_size=4), st.booleans())
def test_few_rows_and_many_and_those_looked_at_one_by_one_are_taken_alike(values: list[Any], few: bool) -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    rows = [
        {"event_id": f"e{i}", "ts": "2026-05-01T00:00:00Z", "version": "v", "embedding": value}
        for i, value in enumerate(values)
    ]
    target, body = events_of(SPEC), "\n".join(map(json.dumps, rows)).encode()
    columns, one_by_one = read_ndjson_columns(target, body, now), target.examine(read_ndjson(body), now)
    assert columns.frame.select(one_by_one.frame.columns).equals(one_by_one.frame)
    assert columns.rejected == one_by_one.rejected
    taken = read_small_batch(target, body, NDJSON, now) if few else None
    if taken is not None:
        stored = batches_to_frame([RowBatch([("embedding", "array<float>")], [[row["embedding"]] for row in taken], 0)])
        assert stored["embedding"].equals(columns.frame["embedding"])
        assert not columns.rejected


def test_files_of_text_hold_vectors_as_json() -> None:
    texts = pl.Series("v", ["[1, 2.5]", None, "", "[1", '["1"]', "[true]", "[1e39]", "3", "[]"])
    assert parsed(texts).to_list() == [[1.0, 2.5], None, None, None, None, None, None, None, []]
