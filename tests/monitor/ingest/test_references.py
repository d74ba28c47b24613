"""Several references: one outcome column from every kind of body to the Delta table, the KPI and the export."""

import io
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import deltalake
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.replay.input import read_events
from api.upload.batches import Batch
from api.upload.shape import UploadPlan, bodies
from monitor import service, store
from monitor.ingest.media import ARROW, JSON, NDJSON, PARQUET
from monitor.ingest.receive import Body, Receipt, receive
from monitor.ingest.row_values import MAX_TEXTS, MisfitError, row_value
from monitor.ingest.typed_columns import typed_column
from monitor.metric_names import check_metrics
from monitor.redact.columns import redacted
from monitor.site import Site
from monitor.spec.parse import SpecError, parse_spec
from monitor.upkeep.export import export
from monitor.windows.evaluate import evaluate
from retrain.curate.select import Drops, Shape, rows_of_events
from tests.databases import SQLITE_FIRST

EMAIL = "me@example.org"


def document(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "model": "m", "task": "generation", "owner": "o", "purpose": "p",
        "columns": {
            "question": {"role": "input", "type": "text"}, "answer": {"role": "prediction", "type": "text"},
            "right": {"role": "outcome", "type": "texts", "references": "accepted"},
            "rating": {"role": "outcome", "type": "number"},
        },
        "baseline": {"rows": "first 100"},
        "monitors": {
            "windows": {"rows": 100}, "false_alarms": {"alpha": 0.01},
            "kpi": [{"metric": name} for name in ("exact_match", "bleu", "chrf_mean", "rouge1", "rouge_l")],
        },
    }  # fmt: skip
    return base | changes


SPEC = parse_spec(document())
GIVEN: list[Any] = [["one", "zwei"], "single", ["a", None], [], [None], None, [7, "x"], True, '["not", "a list"]']
STORED = [["one", "zwei"], ["single"], ["a"], None, None, None, ["7", "x"], ["true"], ['["not", "a list"]']]


def lines(values: list[Any]) -> list[dict[str, Any]]:
    return [{"event_id": f"e{i}", "right": value, "rating": 1.0} for i, value in enumerate(values)]


def send(site: Site, body: bytes, media: str) -> Receipt:
    with site.database.write() as db:
        service.apply_spec(site, db, SPEC, "tester")
    always = {"ts": (site.clock.now() - timedelta(hours=5)).isoformat(), "version": "v"}
    events = "\n".join(json.dumps({"event_id": f"e{i}", **always}) for i in range(10))
    receive(site, "m", "events", Body(events.encode(), NDJSON))
    return receive(site, "m", "outcomes", Body(body, media))


def table(values: list[Any], kind: pa.DataType) -> pa.Table:
    ids, ratings = [f"e{i}" for i in range(len(values))], [1.0] * len(values)
    return pa.table({"event_id": ids, "rating": ratings, "right": pa.array(values, kind)})


def stored(site: Site) -> list[Any]:
    found: list[Any] = site.events.outcomes("m").sort("event_id")["right"].to_list()
    return found


@SQLITE_FIRST
@pytest.mark.parametrize("media", [JSON, NDJSON])
def test_json_lists_and_single_texts_are_stored_as_lists(site: Site, media: str) -> None:
    rows = lines(GIVEN)
    body = json.dumps(rows) if media == JSON else "\n".join(map(json.dumps, rows))
    assert send(site, body.encode(), media).accepted == len(GIVEN)
    assert stored(site) == STORED
    assert send(site, body.encode(), media).duplicates == len(GIVEN)
    assert send(site, json.dumps(lines([["onez", "wei"]])).encode(), JSON).accepted == 1  # another list


@SQLITE_FIRST
@pytest.mark.parametrize("kind", [
    pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_(pa.string_view()), pa.list_(pa.string(), 2),
])  # fmt: skip
def test_arrow_lists_are_stored_as_lists(site: Site, kind: pa.DataType) -> None:
    given = [["one", "zwei"], ["a", None], None, [None, None]]
    out, found = io.BytesIO(), table(given, kind)
    with pa.ipc.new_stream(out, found.schema) as writer:
        writer.write_table(found)
    assert send(site, out.getvalue(), ARROW).accepted == len(given)
    assert stored(site) == [["one", "zwei"], ["a"], None, None]


@SQLITE_FIRST
@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int32(), pa.string()), pa.null()])
def test_a_column_of_texts_holds_one_reference_or_a_json_list_in_each(site: Site, kind: pa.DataType) -> None:
    given = [None, None] if kind == pa.null() else ["single", '["one", "zwei"]', "[unfinished", "[1]", ""]
    out = io.BytesIO()
    pq.write_table(table(given, kind), out)
    assert send(site, out.getvalue(), PARQUET).accepted == len(given)
    assert stored(site) == (
        [None, None] if kind == pa.null() else [["single"], ["one", "zwei"], ["[unfinished"], ["[1]"], [""]]
    )


@SQLITE_FIRST
def test_a_list_that_does_not_fit_is_rejected_with_its_reason(site: Site) -> None:
    wrong = [["a", {"x": 1}], {"text": "a"}, [["a"], "b"], ["x"] * (MAX_TEXTS + 1)]
    receipt = send(site, "\n".join(map(json.dumps, lines(wrong))).encode(), NDJSON)
    assert receipt.accepted == 0
    assert [(r.line, r.field) for r in receipt.rejected] == [(i + 1, "right") for i in range(len(wrong))]
    reasons = [r.reason for r in receipt.rejected]
    assert reasons[0] == "entry 2 of the list is an object: {'x': 1}; send texts alone"
    assert reasons[1].startswith("{'text': 'a'} is not a list of texts; send a JSON list such as")
    assert reasons[-1] == "has 101 texts; at most 100 references of one event are stored"
    out = io.BytesIO()
    pq.write_table(table([["x"] * (MAX_TEXTS + 1), ["y"]], pa.list_(pa.string())), out)
    answer = receive(site, "m", "outcomes", Body(out.getvalue(), PARQUET))
    assert (answer.accepted, answer.rejected[0].reason) == (1, reasons[-1])
    texts = io.BytesIO()
    pq.write_table(table([json.dumps(["x"] * (MAX_TEXTS + 1)), "z"], pa.string()), texts)
    answer = receive(site, "m", "outcomes", Body(texts.getvalue(), PARQUET))
    assert (answer.accepted, answer.rejected[0].reason) == (1, reasons[-1])
    with pytest.raises(MisfitError, match="contains half of a surrogate pair, which is not valid text"):
        row_value(["\ud800"], "texts")


@SQLITE_FIRST
@pytest.mark.parametrize("form", ["ndjson", "arrow", "parquet"])
def test_lists_are_columns_of_lists_in_the_table_and_in_exports(site: Site, form: Any) -> None:
    send(site, "\n".join(map(json.dumps, lines(GIVEN))).encode(), NDJSON)
    site.events.settle("m")
    assert stored(site) == STORED
    table = deltalake.DeltaTable(site.events.table("m", "outcomes").folder)
    types = {field.name: json.loads(field.type.to_json()) for field in table.schema().fields}
    assert types["right"] == {"type": "array", "elementType": "string", "containsNull": False}
    content = b"".join(export(site, "m", kind="outcomes", form=form).body)
    read: dict[str, Callable[[], pl.DataFrame]] = {
        "ndjson": lambda: pl.read_ndjson(content), "arrow": lambda: pl.read_ipc_stream(content),
        "parquet": lambda: pl.read_parquet(content),
    }  # fmt: skip
    assert read[form]().sort("event_id")["right"].to_list() == STORED


@SQLITE_FIRST
def test_files_are_read_alike_by_ingest_and_replay(tmp_path: Path, site: Site) -> None:
    frame = pl.DataFrame({
        "event_id": ["e0", "e1", "e2"], "ts": ["2026-01-01T00:00:00Z"] * 3, "version": ["v"] * 3, "question": ["q"] * 3,
        "answer": ["one"] * 3, "rating": [1.0] * 3, "right": [["one", "zwei"], ["single"], None],
    })  # fmt: skip
    as_text = frame.with_columns(pl.Series("right", ['["one", "zwei"]', "single", None]))
    frame.write_parquet(tmp_path / "a.parquet")
    frame.with_columns(pl.col("ts").str.to_datetime(time_zone="UTC")).write_ipc(tmp_path / "b.arrow")
    as_text.write_csv(tmp_path / "c.csv")
    frame.write_ndjson(tmp_path / "d.ndjson")
    expected = [["one", "zwei"], ["single"], None]
    for name in ("a.parquet", "b.arrow", "c.csv", "d.ndjson"):
        assert read_events(tmp_path / name, SPEC, now=site.clock.now()).frame["right"].to_list() == expected, name
    for rows in (frame, as_text):
        sent = [body for body in bodies(UploadPlan(SPEC), Batch(1, 3, 0, rows.drop("ts").with_columns(
            pl.lit("2026-01-01T00:00:00Z").alias("ts"))), first=True) if body.kind == "outcomes"]  # fmt: skip
        found = pl.concat([pl.read_ipc_stream(body.content) for body in sent])
        assert found["right"].to_list() == expected


@SQLITE_FIRST
@pytest.mark.parametrize(("references", "exact"), [("accepted", 1.0), ("collected", 0.5)])
def test_the_best_reference_counts_and_collected_ones_leave_the_answer_out(
    site: Site, references: str, exact: float
) -> None:
    base = document()
    base["columns"]["right"]["references"] = references
    with site.database.write() as db:
        service.apply_spec(site, db, parse_spec(base), "tester")
    at, said, more = site.clock.now() - timedelta(hours=5), "the answer that was given", "another answer of a person"
    always = {"version": "v", "question": "q", "answer": said}
    events = [
        {"event_id": f"e{i}", "ts": (at + timedelta(minutes=i)).isoformat(), **always}
        for i in range(100)
    ]  # fmt: skip
    lists = [[said, more], [more, said, said], [said], [more, said, said.upper()]]
    rows = [{"event_id": f"e{i}", "right": lists[i % 4]} for i in range(100)]
    sent = [Body("\n".join(map(json.dumps, given)).encode(), NDJSON) for given in (events, rows)]
    assert receive(site, "m", "events", sent[0]).accepted == 100
    assert receive(site, "m", "outcomes", sent[1]).accepted == 100
    evaluate(site, "m")
    with site.database.read() as db:
        (window,) = store.windows(db, store.model(db, "m").id)
        found = {m.metric: m for m in store.window_measurements(db, window.id) if m.monitor == "kpi"}
    if references == "accepted":
        assert {name: m.value for name, m in found.items()} == {
            "exact_match": 1.0, "bleu": 100.0, "chrf_mean": 100.0, "rouge1": 1.0, "rouge_l": 1.0,
        }  # fmt: skip
        assert found["bleu"].details["note"] == "100 of 100 answers have four words in a row"
        return
    assert {m.n for m in found.values()} == {75}
    assert {m.details["left_out"] for m in found.values()} == {25}
    assert found["exact_match"].value == pytest.approx(2 / 3)
    assert found["bleu"].value is not None
    assert 0.0 < found["bleu"].value < 100.0


def test_references_are_redacted_like_other_texts() -> None:
    frame = pl.DataFrame({"right": [[f"write to {EMAIL}", "b"], None, ["c"]]})
    (first, none, last) = redacted(frame, {"right": ("email",)}, b"key")["right"].to_list()
    assert (none, last, first[1]) == (None, ["c"], "b")
    assert first[0].startswith("write to [email:")
    assert parse_spec(document(redact={"right": ["email"]})).redact["right"] == ("email",)


def test_a_retrain_learns_from_the_first_accepted_reference() -> None:
    rows = pl.DataFrame({
        "event_id": ["a", "b"], "seq": [0, 1], "ts": [None, None], "question": ["q", "r"],
        "right": [["one", "two"], None],
    })  # fmt: skip
    found = rows_of_events(rows, Shape.of(SPEC, "causal_lm"), "events", drops := Drops())
    assert found["label"].to_list() == ["one"]
    assert dict(drops) == {"text or label missing": 1}


def test_texts_are_declared_with_what_they_hold_and_for_outcomes_of_a_generation_only() -> None:
    def wrong(change: dict[str, Any], name: str = "right", **more: Any) -> str:
        base = document(**more)
        base["columns"][name] = base["columns"][name] | change
        with pytest.raises(SpecError) as raised:
            check_metrics(parse_spec(base))
        return str(raised.value)

    base = document()
    del base["columns"]["right"]["references"]
    with pytest.raises(SpecError, match="references: is missing; write `references: accepted`"):
        parse_spec(base)
    assert "a list of texts has role outcome, not input" in wrong({"role": "input"})
    assert "references are for columns of type texts, not number" in wrong({"references": "accepted"}, "rating")
    assert "compares classes, and the outcome is texts" in wrong(
        {}, monitors=base["monitors"] | {"fairness": [{"metric": "equalized_odds_difference", "by": ["group"]}]},
        columns=document()["columns"] | {"group": {"role": "protected", "type": "category"}},
    )  # fmt: skip
    one = document(task="classification")
    one["columns"]["answer"]["type"] = "category"
    with pytest.raises(SpecError, match="is texts, which are references of a generated text; the task is class"):
        parse_spec(one)


def test_values_of_columns_are_those_of_json_rows() -> None:
    for values, dtype in (
        ([[1, None], [], None, [2]], pl.List(pl.Int64)), ([[None, "a"], [None], []], pl.List(pl.String)),
        ([[1.0, 0.5], None], pl.List(pl.Float64)), ([[True]], pl.List(pl.Boolean)), ([None], pl.Null),
        ([7, None], pl.Int64), (["", "a b"], pl.String), ([["a"], ["b"]], pl.Array(pl.String, 1)),
    ):  # fmt: skip
        found = typed_column(pl.Series("x", values, dtype=dtype), "texts")
        assert found is not None
        assert found.values.dtype == pl.List(pl.String)
        assert found.values.to_list() == [row_value(value, "texts") for value in values]
        assert found.misfits is None or not found.misfits.any()
    assert typed_column(pl.Series("x", [{"a": 1}]), "texts") is None
    long = typed_column(pl.Series("x", [json.dumps(["x"] * (MAX_TEXTS + 1)), None]), "texts")
    assert long is not None
    assert long.misfits is not None
    assert long.misfits.to_list() == [True, False]
    assert row_value([1, 1.0, True, "x", float("nan")], "texts") == ["1", "1", "true", "x"]
