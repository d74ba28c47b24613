"""`assay init` as a user types it: the spec applies, and the file it was made from is replayed and sent with it."""

import json
import shlex
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import polars as pl
import pytest
from jsonschema import Draft202012Validator

from api.commands.init import init
from api.starter.read import sample
from core.errors import InvalidError
from tests.service import Service, assay

N = 120
FRAME = pl.DataFrame({
    "id": [f"e{i}" for i in range(N)],
    "created": [int((datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=i)).timestamp()) * 1000 for i in range(N)],
    "amount %": [i * 1.5 for i in range(N)],
    "channel": [("web", "app")[i % 2] for i in range(N)],
    "sex": [i % 2 for i in range(N)],
    "nothing": [None] * N,
    "y_pred": [i % 3 % 2 for i in range(N)],
    "y_true": [i % 2 for i in range(N)],
}, schema_overrides={"nothing": pl.String})  # fmt: skip
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path, shared_service: Service) -> Run:
    known = {"ASSAY_CLIENT__URL": shared_service.url, "ASSAY_CLIENT__KEY": shared_service.admin_key}

    def assay_here(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return assay(*arguments, environ=known, cwd=tmp_path)

    return assay_here


def written(folder: Path, kind: str) -> str:
    """The table as a file or folder of one kind."""
    path = folder / f"orders-{kind}.{kind}"
    match kind:
        case "csv":
            FRAME.write_csv(path)
        case "ndjson":
            FRAME.write_ndjson(path)
        case "parquet":
            FRAME.write_parquet(path)
        case "arrow":
            FRAME.write_ipc(path)
        case "folder":
            (path / "day=1").mkdir(parents=True)
            FRAME.write_parquet(path / "day=1" / "a.parquet")
        case "delta":
            FRAME.drop("nothing").head(30).write_delta(str(path))
            FRAME.drop("nothing").write_delta(str(path), mode="overwrite")  # the first file is no longer part of it
    return path.name


@pytest.mark.parametrize("kind", ["csv", pytest.param("ndjson", marks=pytest.mark.slow),
                                  pytest.param("parquet", marks=pytest.mark.slow),
                                  pytest.param("arrow", marks=pytest.mark.slow), "delta"])  # fmt: skip
def test_the_written_spec_applies_and_takes_the_file_it_was_made_from(
    kind: str, run: Run, shared_service: Service, tmp_path: Path
) -> None:
    file = written(tmp_path, kind)
    done = run("init", file, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {c["column"]: c["role"] for c in told["columns"]} == {
        "amount_percent": "input", "channel": "segment", "sex": "protected", "y_pred": "prediction",
        "y_true": "outcome",
    }  # fmt: skip
    schema = json.loads((tmp_path / "spec.schema.json").read_text())
    assert schema == httpx2.get(f"{shared_service.url}/api/v1/schema/spec").json()  # without a key
    assert list(Draft202012Validator(schema).iter_errors(told["document"])) == []
    assert (tmp_path / "spec.yaml").read_text().startswith("# yaml-language-server: $schema=./spec.schema.json\n")
    assert [command.split()[1] for command in told["next"]] == ["replay", "apply", "ingest"]
    for command in told["next"]:
        done = run(*shlex.split(command)[1:], "--json")
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        said = json.loads(done.stdout)
        if "replay" in command:
            assert (said["accepted"], said["rejected"]) == (N, [])
        if "ingest" in command:
            assert (said["accepted"], said["outcomes_accepted"], said["rejected_total"]) == (N, N, 0)


def test_a_spec_that_is_there_is_not_replaced_unless_it_is_asked_for(run: Run, tmp_path: Path) -> None:
    file = written(tmp_path, "csv")
    (tmp_path / "spec.yaml").write_text("mine")
    done = run("init", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert "spec.yaml exists" in done.stderr
    assert "--force" in done.stderr
    assert (tmp_path / "spec.yaml").read_text() == "mine"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "spec.schema.json").write_text("{}")
    done = run("init", file, "--out", "other/spec.yaml")
    assert (done.returncode, "spec.schema.json exists and is no schema" in done.stderr) == (2, True)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["spec.schema.json"]
    assert run("init", file, "--force", "--model", "mine").returncode == 0
    assert "model: mine" in (tmp_path / "spec.yaml").read_text()


def test_a_person_reads_roles_questions_and_the_next_commands(run: Run, tmp_path: Path) -> None:
    FRAME.select("id", pl.col("amount %").alias("amount"), "channel").write_csv(tmp_path / "small.csv")
    done = run("init", "small.csv", "--out", "sub/folder/my spec.yaml")
    assert done.returncode == 0, done.stderr
    assert "ASK prediction: send it under this name" in done.stdout
    assert "assay apply 'sub/folder/my spec.yaml'" in done.stdout
    assert "No column holds the time" in done.stderr
    assert "assay ingest" not in done.stdout  # it could not be sent
    printed = run("init", "small.csv", "--out", "-")
    assert printed.stdout.startswith("# Written by assay init from small.csv")


REFUSED: list[tuple[str | None, str | None, tuple[str, ...]]] = [
    (None, None, ("give a file", "--from-trace")), ("ids.csv", "x", ("give a file",)),
    ("none.csv", None, ("none.csv does not exist",)), ("empty.csv", None, ("empty.csv",)),
    ("ids.csv", None, ("no column to watch", "customer_id")), ("a.txt", None, ("a.txt", ".parquet")),
    ("broken.parquet", None, ("broken.parquet", "cannot be read")),
    ("semicolons.csv", None, ("separated by semicolons",)),
    ("nameless.csv", None, ("begin it with a line of names",)), ("array.ndjson", None, ("one JSON object a line",)),
    ("twice.csv", None, ("twice.csv", "names must be unique")),
    ("lines.ndjson", None, ("lines.ndjson", "cannot be read as NDJSON")),
]  # fmt: skip


@pytest.mark.parametrize(("file", "trace", "words"), REFUSED, ids=[f"{c[0]}-{c[1]}" for c in REFUSED])
def test_what_gives_no_spec_is_refused(
    file: str | None, trace: str | None, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.csv").write_text("a,b\n")
    (tmp_path / "ids.csv").write_text("event_id,ts,customer_id\ne1,2026-01-01T00:00:00Z,c1\n")
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    (tmp_path / "semicolons.csv").write_text("a;b\n1;2\n")
    (tmp_path / "nameless.csv").write_text("1.5,2\n2.5,3\n")
    (tmp_path / "array.ndjson").write_text('[{"a": 1}]')
    (tmp_path / "twice.csv").write_text("a,a\n1,2\n")
    (tmp_path / "lines.ndjson").write_text("{]\n")
    with pytest.raises(InvalidError) as refused:
        init(file, trace)
    for word in words:
        assert word in refused.value.message
    assert not (tmp_path / "spec.yaml").exists()


def test_a_service_that_sent_nothing_is_named_in_one_line(run: Run) -> None:
    done = run("init", "--from-trace", "nobody")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nobody" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_folder_of_parquet_files_is_read_with_the_columns_of_its_folders(tmp_path: Path) -> None:
    found = sample(str(tmp_path / written(tmp_path, "folder")))
    assert found.frame.columns == [*FRAME.columns, "day"]
    assert not found.more


def test_a_delta_table_is_read_without_the_files_that_are_no_longer_part_of_it(tmp_path: Path) -> None:
    assert sample(str(tmp_path / written(tmp_path, "delta"))).frame.height == N
    (tmp_path / "broken" / "_delta_log").mkdir(parents=True)
    with pytest.raises(InvalidError, match="cannot be read as a Delta table"):
        sample(str(tmp_path / "broken"))


def test_a_file_without_spans_is_named(tmp_path: Path, run: Run) -> None:
    (tmp_path / "logs.json").write_text('{"resourceLogs": []}')
    done = run("init", "--from-trace", "logs.json")
    assert done.returncode != 0
    assert "the file 'logs.json' holds no span" in done.stderr
