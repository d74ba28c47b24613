"""Untidy exports as pandas and others write them: the right KPI, and one answer to a line whatever its way."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from api.replay.input import read_events, read_outcomes
from api.replay.replay_file import replay_file
from api.upload.batches import batches
from api.upload.files import sources
from api.upload.plan import plan_of
from api.upload.shape import UploadPlan, bodies
from monitor.ingest.receive import Body, read_rows
from monitor.spec.parse import parse_spec
from tests.api.values.routes import EVENTS, NOW, OUTCOMES, SPEC, stored_of

START = datetime(2026, 1, 5, tzinfo=UTC)
JUDGED = parse_spec({
    "model": "m", "task": "classification", "owner": "o", "purpose": "p", "baseline": {"rows": "first 100"},
    "columns": {
        "pred": {"role": "prediction", "type": "category"}, "label": {"role": "outcome", "type": "category"},
    },
    "monitors": {"windows": {"rows": 100}, "false_alarms": {"alpha": 0.05}, "kpi": [{"metric": "accuracy"}]},
})  # fmt: skip


def export(pred: pl.DataType | type[pl.DataType]) -> pl.DataFrame:
    """300 rows: predictions 0 and 1; a third of the labels is missing, and every tenth of the others is wrong."""
    said = [i % 2 for i in range(300)]
    labels = [float("nan") if i % 3 == 0 else float(s if i % 10 else 1 - s) for i, s in enumerate(said)]
    return pl.DataFrame({
        "event_id": [f"e{i}" for i in range(300)], "ts": [START + i * timedelta(minutes=1) for i in range(300)],
        "version": "v1", "pred": pl.Series(said).cast(pred), "label": labels,
    })  # fmt: skip


def as_pandas_writes(frame: pl.DataFrame) -> pl.DataFrame:
    """The cells of a CSV file: floats with a point, nothing for NaN, times with a space."""
    times = pl.col("ts").dt.strftime("%Y-%m-%d %H:%M:%S+00:00")
    return frame.fill_nan(None).with_columns(times)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("pred", [pl.Int64, pl.Float64])
def test_a_label_with_gaps_is_compared_with_an_integer_over_the_labelled_rows(
    tmp_path: Path, suffix: str, pred: type[pl.DataType]
) -> None:
    frame, path = export(pred), tmp_path / f"a.{suffix}"
    frame.write_parquet(path) if suffix == "parquet" else as_pandas_writes(frame).write_csv(path)
    found = replay_file(tmp_path / "home", JUDGED, path, None)
    assert (found["accepted"], found["rejected"]) == (300, [])
    measured = [window["kpi"]["accuracy"] for window in found["windows"]]
    counted = [sum(i % 3 > 0 for i in range(at, at + 100)) for at in (0, 100, 200)]
    right = [sum(i % 3 > 0 and i % 10 > 0 for i in range(at, at + 100)) for at in (0, 100, 200)]
    assert [kpi["n"] for kpi in measured] == counted
    assert [kpi["realised"] for kpi in measured] == pytest.approx([r / n for r, n in zip(right, counted, strict=True)])


def test_a_prediction_of_nan_is_missing_and_no_level(tmp_path: Path) -> None:
    frame = export(pl.Float64).with_columns(
        pred=pl.when(pl.int_range(pl.len()) % 3 == 0).then(float("nan")).otherwise("pred")
    )
    frame.write_parquet(tmp_path / "a.parquet")
    read = read_events(tmp_path / "a.parquet", JUDGED, now=NOW).frame
    assert sorted(read["pred"].drop_nulls().unique()) == ["0", "1"]
    assert read["pred"].null_count() == 100


# --- lines ------------------------------------------------------------------------------------------------------------

OWN = f'"event_id": "e%d", "ts": "{START.isoformat()}", "version": "v1"'
LINES: dict[str, str] = {  # the value of a field as it stands in JSON
    "an integer for a category": '"colour": 7', "a float for a category": '"colour": 7.0',
    "an exponent for a category": '"colour": 7e0', "an object for a category": '"colour": {"x": 0}',
    "true for a category": '"colour": true', "a list for a category": '"colour": ["b"]',
    "infinity for a category": '"colour": 1e999', "a key twice": '"colour": "a", "colour": "b"',
    "an own key twice": '"event_id": "x"', "a text among numbers": '"amount": "2"',
    "true among numbers": '"amount": true',
    "a number of 400 digits": f'"amount": {"9" * 400}', "a number of 5,000 digits": f'"amount": {"9" * 5000}',
    "NaN": '"amount": NaN', "a number for a truth value": '"flag": 2', "an undeclared field": '"size": 1',
    "a pair of surrogates": '"body": "\\ud83d\\ude00 \\u00e9\\n\\\\u0041"', "half a pair": '"body": "\\ud83d"',
    "a text that is no time": '"ts2": 1', "a comma too many": '"body": "a",', "a line of text": '"body": ',
    "an outcome of a list": '"truth": [1]', "an outcome of NaN": '"truth": NaN',
    "an outcome as a number": '"truth": 1.0',
    "an outcome twice": '"truth": "a", "truth": "b"',
}  # fmt: skip


def line(number: int, text: str) -> str:
    return "{" + OWN % number + ", " + text + "}"


def by_ingest(path: Path) -> tuple[dict[int, tuple[str | None, str]], list[pl.DataFrame]]:
    """Rows that the service rejects of what `assay ingest` sends, the event before its outcome; and what it stores."""
    (source,) = sources(str(path))
    rejected: dict[int, tuple[str | None, str]] = {}
    frames = []
    for batch in batches(source, 0):
        for body in bodies(plan_of(source, UploadPlan(SPEC)), batch, first=True):
            target = EVENTS if body.kind == "events" else OUTCOMES
            checked = read_rows(target, Body(body.content, body.media_type), NOW, 100)
            frames.append(checked.frame)
            for row in checked.rejected:
                rejected.setdefault(body.rows[row.line - 1], (row.field, row.reason))
    return rejected, frames


def test_replay_does_with_each_line_what_ingest_does(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text("\n".join(line(i, text) for i, text in enumerate(LINES.values())))
    rejected, frames = by_ingest(path)
    replayed = read_events(path, SPEC, now=NOW)
    assert {row["line"]: (row["field"], row["reason"]) for row in replayed.rejected} == rejected
    names = ["colour", "amount", "flag", "body", "truth"]
    assert stored_of([replayed.frame], names, len(LINES)) == stored_of(frames, names, len(LINES))
    alone = {}
    for i, (name, text) in enumerate(LINES.items()):  # a line by itself, sent to the service as it stands
        rows = read_rows(EVENTS, Body(line(i, text).encode(), "application/x-ndjson"), NOW, 100)
        alone[name] = [(row.field, row.reason) for row in rows.rejected] or rows.frame["colour"][0]
    by_name = dict(zip(LINES, range(1, len(LINES) + 1), strict=True))
    for name in LINES:
        if "outcome" not in name:
            assert ([rejected[by_name[name]]] if by_name[name] in rejected else None) in (None, alone[name]), name
    assert {name for name, number in by_name.items() if number in rejected} == {
        "an object for a category", "a list for a category", "infinity for a category", "a key twice",
        "an own key twice", "a text among numbers", "true among numbers", "a number of 400 digits",
        "a number of 5,000 digits", "a number for a truth value", "an undeclared field", "half a pair",
        "a text that is no time", "a comma too many", "a line of text", "an outcome of a list", "an outcome twice",
    }  # fmt: skip
    stored = {row["event_id"]: row for row in replayed.frame.to_dicts()}
    colours = [stored[f"e{by_name[name] - 1}"]["colour"] for name in list(LINES)[:3]]
    assert (colours, stored["e4"]["colour"]) == (["7", "7", "7"], "true")
    assert stored[f"e{by_name['a pair of surrogates'] - 1}"]["body"] == "😀 é\n\\u0041"
    assert stored[f"e{by_name['an outcome as a number'] - 1}"]["truth"] == "1"


def test_a_line_of_outcomes_without_an_outcome_is_rejected_as_the_service_rejects_it(tmp_path: Path) -> None:
    rows = ['"truth": "a"', '"truth": null', '"truth": NaN, "rating": null', '"rating": 2']
    path = tmp_path / "late.ndjson"
    path.write_text(
        "\n".join(f'{{"event_id": "e{i}", "ts": "{START.isoformat()}", {row}}}' for i, row in enumerate(rows))
    )
    sent = "\n".join(f'{{"event_id": "e{i}", {row}}}' for i, row in enumerate(rows))
    refused = read_rows(OUTCOMES, Body(sent.encode(), "application/x-ndjson"), NOW, 100).rejected
    read = read_outcomes(path, SPEC, now=NOW)
    assert [(row["line"], row["reason"]) for row in read.rejected] == [(row.line, row.reason) for row in refused]
    assert [row.line for row in refused] == [2, 3]
    assert read.frame["event_id"].to_list() == ["e0", "e3"]


def test_one_bad_line_among_many_is_named_and_the_others_are_stored(tmp_path: Path) -> None:
    rows: list[Any] = [{"amount": i, "colour": "red"} for i in range(500)]
    rows[250]["amount"] = "2"
    text = "\n".join(line(i, json.dumps(row)[1:-1]) for i, row in enumerate(rows))
    (tmp_path / "a.ndjson").write_text(text)
    read = read_events(tmp_path / "a.ndjson", SPEC, now=NOW)
    (rejected,) = read.rejected
    assert (rejected["line"], rejected["field"]) == (251, "amount")
    assert rejected["reason"] == "'2' is not a number"
    assert read.frame.height == 499
