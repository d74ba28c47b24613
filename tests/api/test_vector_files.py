"""Vectors in files: what `assay ingest` sends and what `assay replay` reads."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from api.replay.input import read_events
from api.replay.replay_file import replay_file
from api.upload.batches import Batch
from api.upload.shape import UploadPlan, bodies
from core.errors import InvalidError
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from tests.api.replay.test_replay import events

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SPEC = parse_spec({
    "model": "m", "task": "classification", "owner": "o", "purpose": "p", "baseline": {"rows": "first 600"},
    "columns": {
        "vec": {"role": "input", "type": "vector", "dimensions": 6}, "said": {"role": "prediction", "type": "category"},
    },
    "monitors": {"windows": {"rows": 200}, "false_alarms": {"alpha": 0.05}},
})  # fmt: skip


def frame(rows: int, *, moved: int) -> pl.DataFrame:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(rows, 6)).astype(np.float32)
    vectors[rows - moved :] += 3.0
    found = pl.DataFrame(
        {"vec": vectors.tolist(), "said": ["yes"] * rows}, schema_overrides={"vec": pl.List(pl.Float32)}
    )
    return events(found, every=timedelta(minutes=1))


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    lists = pl.Series("vec", [None if v is None else json.dumps(v) for v in frame["vec"].to_list()])
    return frame.with_columns(lists, pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))


def test_vectors_replay_alike_from_every_kind_of_file_and_their_alarm_names_the_farthest_rows(tmp_path: Path) -> None:
    given = frame(1000, moved=200)
    given.write_parquet(tmp_path / "a.parquet")
    given.with_columns(pl.col("vec").cast(pl.Array(pl.Float64, 6))).write_parquet(tmp_path / "b.parquet")
    as_text(given).write_csv(tmp_path / "c.csv")
    given.with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_ndjson(tmp_path / "d.ndjson")
    found: list[dict[str, Any]] = [
        replay_file(tmp_path / name.replace(".", "-"), SPEC, tmp_path / name, None)
        for name in ("a.parquet", "b.parquet", "c.csv", "d.ndjson")
    ]
    same = [(document["windows"], [a["evidence"] for a in document["alerts"]]) for document in found]
    assert all(document == same[0] for document in same[1:])
    last = found[0]["windows"][-1]
    assert last["verdict"] == "alarm"
    named = {alarm["column"]: alarm for alarm in last["alarms"]}
    assert named["vec.distance"]["meaning"] == "new kind of request"
    (alert,) = found[0]["alerts"]
    (evidence,) = alert["evidence"]
    assert evidence["column"] == "vec"
    assert all(int(row["event_id"][1:]) >= 800 for row in evidence["farthest"])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_row_whose_vector_does_not_fit_is_left_out_of_a_replay_with_its_line(tmp_path: Path, kind: str) -> None:
    given = frame(3, moved=0).with_columns(
        vec=pl.Series([[1.0] * 6, [1.0] * 5, None], dtype=pl.List(pl.Float32)),
    )
    if kind == "csv":
        as_text(given).write_csv(tmp_path / "a.csv")
    else:
        given.write_parquet(tmp_path / "a.parquet")
    read = read_events(tmp_path / f"a.{kind}", SPEC, now=NOW)
    assert read.frame["vec"].to_list() == [[1.0] * 6, None]
    (refused,) = read.rejected
    assert refused["line"] == (3 if kind == "csv" else 2)
    assert refused["reason"].startswith("has 5 numbers; 6 are declared")


def test_a_file_whose_column_is_no_vector_is_refused_with_the_field(tmp_path: Path) -> None:
    frame(3, moved=0).with_columns(vec=pl.lit(1.5)).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(InvalidError, match="column 'vec' is declared as vector but holds Float64"):
        read_events(tmp_path / "a.parquet", SPEC, now=NOW)
    frame(3, moved=0).with_columns(vec=pl.lit("x"), ts=pl.lit("2026-01-01T00:00:00Z")).write_csv(tmp_path / "a.csv")
    with pytest.raises(InvalidError, match="column 'vec' is declared as vector but holds String, such as 'x'"):
        read_events(tmp_path / "a.csv", SPEC, now=NOW)


def sent(spec: ModelSpec, given: pl.DataFrame) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    parts = bodies(UploadPlan(spec), Batch(1, given.height, 0, given), first=True)
    columns = [pl.read_ipc_stream(io.BytesIO(part.content)) for part in parts if "arrow" in part.media_type]
    lines = [json.loads(line) for part in parts if "arrow" not in part.media_type for line in part.content.splitlines()]
    return pl.concat(columns), lines


def test_a_file_of_text_is_sent_as_vectors_and_what_is_none_as_it_stands() -> None:
    given = as_text(frame(3, moved=0)).with_columns(
        vec=pl.Series(["[1, 2, 3, 4, 5, 6]", "[1, 2", None]),
    )
    columns, lines = sent(SPEC, given)
    assert columns["vec"].to_list() == [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], None]
    assert [line["vec"] for line in lines] == ["[1, 2"]
    columns, lines = sent(SPEC, frame(4, moved=0))
    assert (columns["vec"].dtype, columns.height, lines) == (pl.List(pl.Float32), 4, [])
