"""`assay ingest` against a real service: every kind of file, interrupted and not, each row once."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import polars as pl
import pyarrow as pa
import pytest
import yaml
from deltalake import DeltaTable

from api.cli import app
from core.errors import InvalidError
from tests.service import Service, assay, environment

COLUMNS: dict[str, Any] = {
    "text": {"role": "input", "type": "text"},
    "intent": {"role": "prediction", "type": "category"},
    "confidence": {"role": "score", "type": "number"},
    "urgent": {"role": "segment", "type": "boolean"},
    "intent_true": {"role": "outcome", "type": "category"},
}
Ingest = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def service(shared_service: Service) -> Service:
    return shared_service


@pytest.fixture
def model(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A model of this test's own; its spec lies in spec.yaml."""
    name = f"m{abs(hash(request.node.nodeid)) % 10**12}"
    document = {
        "model": name, "task": "classification", "owner": "ml@example.com", "purpose": "route messages",
        "columns": COLUMNS, "baseline": {"rows": "first 100000"},
    }  # fmt: skip
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(document))
    return name


@pytest.fixture
def known(service: Service, tmp_path: Path) -> dict[str, str]:
    return {
        "ASSAY_CLIENT__URL": service.url, "ASSAY_CLIENT__KEY": service.admin_key, "ASSAY_HOME": str(tmp_path / "mine"),
    }  # fmt: skip


@pytest.fixture
def ingest(
    known: dict[str, str],
    tmp_path: Path,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Ingest:
    """Run the command in this process; its answer is what it printed."""

    def run(*arguments: str, **environ: str) -> dict[str, Any]:
        monkeypatch.chdir(tmp_path)
        for name, value in (known | environ).items():
            monkeypatch.setenv(name, value)
        app(["ingest", "spec.yaml", *arguments, "--json"], standalone_mode=False)
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    return run


def rows(count: int, prefix: str = "e") -> pl.DataFrame:
    return pl.DataFrame({
        "event_id": [f"{prefix}{i}" for i in range(count)],
        "ts": [f"2026-03-01T12:{i % 60:02}:00Z" for i in range(count)],
        "version": "v1",
        "text": ["a \"quoted\"\ntext, ü"] * count,
        "intent": [f"i{i % 7}" for i in range(count)],
        "confidence": [i / count for i in range(count)],
        "urgent": [i % 3 == 0 for i in range(count)],
        "intent_true": [f"i{i % 5}" if i % 2 else None for i in range(count)],
    })  # fmt: skip


def parquet(frame: pl.DataFrame, path: Path) -> None:
    frame.with_columns(pl.col("ts").str.to_datetime(time_zone="UTC")).write_parquet(path, row_group_size=700)


Writer = Callable[[pl.DataFrame, Path], None]


def packed(write: Callable[[pl.DataFrame], str], pack: Callable[[bytes], bytes]) -> Writer:
    return lambda frame, path: void(path.write_bytes(pack(write(frame).encode())))


def void(_: object) -> None: ...


def zstd(body: bytes) -> bytes:
    return pa.compress(body, "zstd", asbytes=True)


WRITERS: dict[str, Writer] = {
    "a.parquet": parquet,
    "a.csv": lambda frame, path: frame.write_csv(path),
    "a.ndjson": lambda frame, path: frame.write_ndjson(path),
    "a.csv.gz": packed(pl.DataFrame.write_csv, gzip.compress),
    "a.ndjson.gz": packed(pl.DataFrame.write_ndjson, gzip.compress),
    "a.jsonl.zst": packed(pl.DataFrame.write_ndjson, zstd),
}


def stored(service: Service, model: str, event_id: str) -> dict[str, Any]:
    path = f"{service.url}/api/v1/models/{model}/events/{event_id}"
    document: dict[str, Any] = httpx2.get(path, headers=service.headers()).json()
    return document


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_is_stored_alike(
    ingest: Ingest, service: Service, model: str, tmp_path: Path, name: str
) -> None:
    WRITERS[name](rows(1000), tmp_path / name)
    answer = ingest(name)
    assert (answer["rows"], answer["accepted"], answer["outcomes_accepted"]) == (1000, 1000, 500)
    assert (answer["duplicates"], answer["rejected_total"]) == (0, 0)
    found = stored(service, model, "e7")
    assert (found["text"], found["urgent"], found["confidence"]) == ('a "quoted"\ntext, ü', False, 0.007)
    assert (found["ts"], found["intent"], found["intent_true"]) == ("2026-03-01T12:07:00+00:00", "i0", "i2")
    again = ingest(name)
    assert (again["files"], again["rows"]) == (0, 0)
    fresh = ingest(name, "--state", "other.json")
    assert (fresh["accepted"], fresh["duplicates"], fresh["outcomes_duplicates"]) == (0, 1000, 500)


def test_a_folder_with_dates_is_sent_file_by_file(ingest: Ingest, tmp_path: Path) -> None:
    for day in ("01", "02"):
        folder = tmp_path / "drop" / f"date=2026-03-{day}" / "urgent=true"
        folder.mkdir(parents=True)
        parquet(rows(50, f"d{day}-").drop("urgent"), folder / "part.parquet")
    (tmp_path / "drop" / "_SUCCESS").write_text("")
    answer = ingest((tmp_path / "drop").as_uri())
    assert (answer["files"], answer["accepted"]) == (2, 100)
    rows(10, "late").write_csv(tmp_path / "drop" / "more.csv")
    answer = ingest((tmp_path / "drop").as_uri())
    assert (answer["files"], answer["accepted"], answer["duplicates"]) == (1, 10, 0)


def test_rows_without_an_id_get_one_from_the_file_that_stays_the_same(ingest: Ingest, tmp_path: Path) -> None:
    for name in ("a.parquet", "a.csv", "a.ndjson"):
        frame = rows(100).drop("event_id")
        parquet(frame, tmp_path / name) if name.endswith("parquet") else getattr(frame, f"write_{name[2:]}")(
            tmp_path / name
        )
        answer = ingest(name)
        assert (answer["accepted"], answer["outcomes_accepted"]) == (100, 50)
        (tmp_path / "copy").mkdir(exist_ok=True)
        (tmp_path / "copy" / name).write_bytes((tmp_path / name).read_bytes())
        assert ingest(f"copy/{name}")["duplicates"] == 100


def test_columns_of_other_names_are_renamed_and_left_out(
    ingest: Ingest, service: Service, model: str, tmp_path: Path
) -> None:
    frame = rows(20).rename({"ts": "when", "intent": "label"}).drop("version").with_columns(note=pl.lit("x"))
    options = ("--ts", "when", "--rename", "label=intent", "--rename", "note=", "--model-version", "v9")
    for i, name in enumerate(("c.csv", "c.ndjson")):
        part = frame.with_columns(event_id=pl.col("event_id") + f"-{i}")
        part.write_csv(tmp_path / name) if i == 0 else part.write_ndjson(tmp_path / name)
        assert ingest(name, *options)["accepted"] == 20
        found = stored(service, model, f"e3-{i}")
        assert (found["intent"], found["version"]) == ("i3", "v9")


def test_outcomes_are_sent_alone(ingest: Ingest, service: Service, model: str, tmp_path: Path) -> None:
    frame = rows(30)
    frame.drop("intent_true").write_csv(tmp_path / "events.csv")
    frame.select("event_id", "ts", "intent_true").drop_nulls().write_csv(tmp_path / "truth.csv")
    assert ingest("events.csv")["accepted"] == 30
    answer = ingest("truth.csv", "--outcomes")
    assert (answer["accepted"], answer["outcomes_accepted"], answer["rejected_total"]) == (0, 15, 0)
    assert stored(service, model, "e3")["intent_true"] == "i3"


def test_values_that_do_not_fit_are_refused_by_row_and_kept(
    ingest: Ingest, known: dict[str, str], service: Service, model: str, tmp_path: Path
) -> None:
    frame = rows(100).with_columns(confidence=pl.col("confidence").cast(pl.String))
    frame[5, "confidence"], frame[6, "ts"], frame[7, "ts"] = "high", "2026-03-01T12:00:00", "20260301T120000+0100"
    frame.write_csv(tmp_path / "bad.csv")
    answer = ingest("bad.csv")
    assert (answer["accepted"], answer["rejected_total"]) == (98, 3)  # row 6 twice: its outcome has no event
    assert [(r["row"], r["field"]) for r in answer["rejected"]] == [(6, "confidence"), (6, "event_id"), (7, "ts")]
    listed = assay("quarantine", model, "--json", environ=known)
    assert [(r["kind"], r["event_id"]) for r in json.loads(listed.stdout)] == [
        ("events", "e5"), ("events", "e6"), ("outcomes", "e5")
    ]  # fmt: skip
    assert "high" in assay("quarantine", model, environ=known | {"COLUMNS": "300"}).stdout
    assert "0 rows released, 3 still" in assay("quarantine", model, "--replay", environ=known).stdout


def test_a_row_too_large_for_the_service_is_named_and_the_others_are_sent(ingest: Ingest, tmp_path: Path) -> None:
    frame = rows(40).with_columns(text=pl.lit("x" * 300_000))  # together more than the service takes
    frame.drop("intent_true").write_ndjson(tmp_path / "large.ndjson")
    assert ingest("large.ndjson")["accepted"] == 40
    huge = rows(3, "h").with_columns(text=pl.Series(["a", "b" * (5 << 20), "c"]))
    huge.drop("intent_true").write_ndjson(tmp_path / "huge.ndjson")
    answer = ingest("huge.ndjson")
    assert (answer["accepted"], answer["rejected"][0]["row"]) == (2, 2)
    assert "larger than the service accepts" in answer["rejected"][0]["reason"]


REFUSALS: dict[str, tuple[Callable[[Path], object], tuple[str, ...], tuple[str, ...]]] = {
    "nothing there": (lambda f: None, ("none.csv",), ("none.csv", "does not exist")),
    "unknown scheme": (lambda f: None, ("ftp://x/y",), ("ftp://x/y", "s3://")),
    "unknown kind": (lambda f: (f / "a.txt").write_text("x"), ("a.txt",), ("a.txt", ".parquet")),
    "empty folder": (lambda f: (f / "none").mkdir(), ("none",), ("holds no file",)),
    "delta table": (lambda f: (f / "t" / "_delta_log").mkdir(parents=True), ("t",), ("Delta table",)),
    "no parquet": (lambda f: (f / "a.parquet").write_text("x"), ("a.parquet",), ("a.parquet", "cannot be read")),
    "half a file": (
        lambda f: (f / "a.csv.gz").write_bytes(gzip.compress(rows(9).write_csv().encode())[:-20]), ("a.csv.gz",),
        ("a.csv.gz",),
    ),
    "no time": (lambda f: rows(2).drop("ts").write_csv(f / "a.csv"), ("a.csv",), ("no column ts", "--ts")),
    "no time in lines": (lambda f: rows(2).drop("ts").write_ndjson(f / "a.ndjson"), ("a.ndjson",), ("--ts",)),
    "no version": (lambda f: rows(2).drop("version").write_csv(f / "a.csv"), ("a.csv",), ("--model-version",)),
    "no zone": (
        lambda f: rows(2).with_columns(ts=pl.lit("2026-03-01T12:00:00")).write_csv(f / "a.csv"), ("a.csv",),
        ("zone", "2026-03-01T12:00:00Z"),
    ),
    "naive times": (
        lambda f: rows(2).with_columns(pl.col("ts").str.to_datetime(time_zone="UTC").dt.replace_time_zone(None))
        .write_parquet(f / "a.parquet"), ("a.parquet",), ("zone",),
    ),
    "unknown column": (lambda f: rows(2).with_columns(x=1).write_csv(f / "a.csv"), ("a.csv",), ("'x'", "--rename")),
    "no row fits": (
        lambda f: rows(2).with_columns(x=1).write_ndjson(f / "a.ndjson"), ("a.ndjson",), ("none of its first 2", "x"),
    ),
    "other type": (
        lambda f: rows(2).with_columns(confidence=pl.lit("high")).write_csv(f / "a.csv"), ("a.csv",),
        ("confidence", "number", "high"),
    ),
    "state of another": (
        lambda f: (rows(2).write_csv(f / "a.csv"), (f / "s.json").write_text('{"about": {}, "files": {}}')),
        ("a.csv", "--state", "s.json"), ("another ingest",),
    ),
    "no state": (
        lambda f: (rows(2).write_csv(f / "a.csv"), (f / "s.json").write_text("x")), ("a.csv", "--state", "s.json"),
        ("not a progress file",),
    ),
    "rename to nothing known": (
        lambda f: rows(2).write_csv(f / "a.csv"), ("a.csv", "--rename", "text"), ("FROM=TO",),
    ),
    "two of one name": (
        lambda f: rows(2).write_csv(f / "a.csv"), ("a.csv", "--rename", "text=intent"), ("two columns", "'intent'"),
    ),
    "two become one": (
        lambda f: rows(2).write_csv(f / "a.csv"), ("a.csv", "--ts", "text", "--rename", "intent=ts"), ("'ts'",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_a_file_that_cannot_be_sent_is_refused_with_the_fix(ingest: Ingest, tmp_path: Path, case: str) -> None:
    prepare, arguments, words = REFUSALS[case]
    prepare(tmp_path)
    with pytest.raises(InvalidError) as refused:
        ingest(*arguments)
    for word in words:
        assert word in refused.value.message


def test_a_spec_that_differs_is_not_changed_in_passing(ingest: Ingest, known: dict[str, str], tmp_path: Path) -> None:
    rows(5).write_csv(tmp_path / "a.csv")
    assert ingest("a.csv")["accepted"] == 5
    path = tmp_path / "spec.yaml"
    path.write_text(path.read_text().replace("route messages", "something else"))
    with pytest.raises(InvalidError, match=r"assay apply spec\.yaml"):
        ingest("a.csv")
    done = assay("ingest", "spec.yaml", "a.csv", environ=known, cwd=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_a_producers_key_is_enough_for_a_model_that_exists(
    ingest: Ingest, known: dict[str, str], tmp_path: Path
) -> None:
    rows(5).write_csv(tmp_path / "a.csv")
    assert ingest("a.csv")["accepted"] == 5
    made = assay("keys", "create", tmp_path.name, "--role", "producer", "--json", environ=known)
    rows(5, "p").write_csv(tmp_path / "b.csv")
    assert ingest("b.csv", ASSAY_CLIENT__KEY=json.loads(made.stdout)["key"])["accepted"] == 5


def test_killed_in_the_middle_and_run_again_every_row_is_stored_once(
    ingest: Ingest, service: Service, known: dict[str, str], model: str, tmp_path: Path
) -> None:
    count = 300_000
    parquet(rows(count).drop("text"), tmp_path / "big.parquet")
    command = [sys.executable, "-c", "from api.cli import main; main()", "ingest", "spec.yaml", "big.parquet", "--json"]
    accepted = 0
    for _ in range(3):
        with subprocess.Popen(
            command, env=environment(known | {"POLARS_MAX_THREADS": "1"}), cwd=tmp_path, stdout=subprocess.DEVNULL
        ) as process:
            at = _rows_noted(tmp_path)
            deadline = time.monotonic() + 180
            while _rows_noted(tmp_path) == at and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
    assert 0 < _rows_noted(tmp_path) < count
    answer = ingest("big.parquet")
    assert answer["rejected_total"] == 0
    accepted = answer["rows"]
    assert accepted < count
    fresh = ingest("big.parquet", "--state", "fresh.json")
    assert (fresh["accepted"], fresh["duplicates"]) == (0, count)
    assert (fresh["outcomes_accepted"], fresh["outcomes_duplicates"]) == (0, count // 2)
    events, deadline = service.home / "lake" / model / "events", time.monotonic() + 180
    while DeltaTable(events).count() < count and time.monotonic() < deadline:  # until the log is flushed
        time.sleep(0.2)
    ids = pl.scan_delta(str(events)).select("event_id").collect()["event_id"]
    assert (len(ids), ids.n_unique()) == (count, count)


def _rows_noted(folder: Path) -> int:
    notes = list((folder / "mine" / "ingest").glob("*.json"))
    return sum(int(f["rows"]) for note in notes for f in json.loads(note.read_bytes())["files"].values())


def test_a_history_is_judged_by_the_newest_row_of_its_file(ingest: Ingest, tmp_path: Path) -> None:
    old = rows(40).with_columns(pl.col("ts").str.replace("2026", "1996"))
    stray = rows(1, "s").with_columns(pl.lit("1970-01-20T20:00:00Z").alias("ts"))
    pl.concat([old, stray], how="vertical_relaxed").write_ndjson(tmp_path / "a.ndjson")
    pl.concat([stray, old], how="vertical_relaxed").write_csv(tmp_path / "b.csv")
    for file, row, told in (("a.ndjson", 41, 40), ("b.csv", 1, 0)):
        document = ingest(file)
        assert document["accepted"] == told  # the second file has the same ids
        (rejected,) = document["rejected"]
        assert rejected["row"] == row
        assert "more than 20 years before 1996-03-01, the newest time of its history" in rejected["reason"]


def test_numbers_beyond_the_calendar_are_rejected_with_their_unit(ingest: Ingest, tmp_path: Path) -> None:
    seconds = [1_772_000_000 + i for i in range(5)]
    times = [*seconds, seconds[0] * 1000]
    rows(6).with_columns(pl.Series("ts", times)).write_ndjson(tmp_path / "a.ndjson")
    (rejected,) = [r for r in ingest("a.ndjson", "--ts-as", "epoch_s")["rejected"] if r["field"] == "ts"]
    assert "it looks like milliseconds since 1970" in rejected["reason"]
