"""The event store: rows are stored once, durable when the call returns, or not stored."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import deltalake
import polars as pl
import pytest

from core.errors import InvalidError
from monitor.errors import ColumnTypeChangedError, StoreFullError, TableDamagedError
from monitor.events.store import EventStore
from monitor.lake.errors import DataFileDamagedError
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from tests.service import environment

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DOCUMENT: dict[str, Any] = {
    "model": "m", "task": "classification", "owner": "o", "purpose": "p", "baseline": {"rows": "first 100"},
    "columns": {
        "answer": {"role": "prediction", "type": "category"}, "score": {"role": "score", "type": "number"},
        "person": {"role": "subject", "type": "string"}, "truth": {"role": "outcome", "type": "category"},
    },
}  # fmt: skip
SPEC = parse_spec(DOCUMENT)


def with_column(name: str, role: str, kind: str) -> ModelSpec:
    return parse_spec(DOCUMENT | {"columns": DOCUMENT["columns"] | {name: {"role": role, "type": kind}}})


@pytest.fixture
def store(tmp_path: Path) -> EventStore:
    return opened(tmp_path)


def opened(folder: Path) -> EventStore:
    return EventStore(str(folder / "lake"), folder, b"k" * 32)


def frame(first: int, last: int, **more: Any) -> pl.DataFrame:
    count = last - first
    times = [NOW - timedelta(days=3) + timedelta(hours=i) for i in range(first, last)]
    columns = {"event_id": [f"e{i}" for i in range(first, last)], "version": ["v1"] * count, "answer": ["a"] * count,
               "score": [float(i) for i in range(first, last)], "person": ["Ada"] * count}  # fmt: skip
    return pl.DataFrame(columns | more).with_columns(pl.Series("ts", times, dtype=pl.Datetime("us", "UTC")))


def test_an_empty_model_has_no_rows_and_no_surprises(store: EventStore) -> None:
    extent = store.extent("m")
    assert (extent.rows, extent.next_seq, extent.first_ts, extent.events_version, extent.outcomes_version) == (
        0,
        0,
        None,
        -1,
        -1,
    )
    assert store.events("m").height == store.outcomes("m").height == store.labelled("m").height == 0
    assert store.event("m", "e1") is None


def test_rows_are_numbered_densely_in_the_order_of_arrival(store: EventStore) -> None:
    assert store.append_events(SPEC, frame(10, 20), now=NOW).accepted == 10
    again = store.append_events(SPEC, frame(5, 25), now=NOW)
    assert (again.accepted, again.duplicates) == (10, 10)
    found = store.events("m")
    assert found["seq"].to_list() == list(range(20))
    assert found["event_id"].to_list() == [f"e{i}" for i in (*range(10, 20), *range(5, 10), *range(20, 25))]
    assert store.events("m", from_seq=8, to_seq=12, columns=["event_id"])["event_id"].to_list() == [
        "e18",
        "e19",
        "e5",
        "e6",
    ]
    extent = store.extent("m")
    assert (extent.rows, extent.next_seq, extent.last_received_at) == (20, 20, NOW)
    assert extent.first_ts == NOW - timedelta(days=3) + timedelta(hours=5)


def test_the_first_row_of_an_id_wins_within_a_request(store: EventStore) -> None:
    rows = pl.concat([frame(0, 1), frame(0, 1, answer=["b"])])
    done = store.append_events(SPEC, rows, now=NOW)
    assert (done.accepted, done.duplicates) == (1, 1)
    assert store.events("m")["answer"].to_list() == ["a"]


def test_another_process_sees_and_respects_what_was_stored(store: EventStore, tmp_path: Path) -> None:
    other = opened(tmp_path)
    store.append_events(SPEC, frame(0, 10), now=NOW)
    assert other.append_events(SPEC, frame(5, 15), now=NOW).accepted == 5
    assert store.append_events(SPEC, frame(0, 16), now=NOW).accepted == 1
    assert store.extent("m") == other.extent("m")
    assert store.events("m").equals(other.events("m"))


def test_appends_at_the_same_time_store_each_event_once(tmp_path: Path) -> None:
    stores = [opened(tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = list(
            pool.map(lambda n: stores[n % 4].append_events(SPEC, frame(n, n + 10), now=NOW).accepted, range(20))
        )
    assert sum(done) == 29
    assert stores[0].events("m")["seq"].to_list() == list(range(29))
    assert stores[1].events("m")["event_id"].n_unique() == 29


def test_outcomes_join_late(store: EventStore) -> None:
    store.append_events(SPEC, frame(0, 5), now=NOW)
    done = store.append_outcomes(
        SPEC,
        pl.DataFrame({"event_id": ["e3", "zz", "e1", "e3"], "truth": ["x", "y", "z", "x"]}),
        now=NOW + timedelta(1),
    )
    assert (done.accepted, done.repeated, done.unknown) == (2, [3], (1,))
    joined = store.labelled("m", columns=["seq", "answer"])
    assert joined.columns == ["seq", "answer", "outcome_ts", "truth"]
    assert joined["truth"].to_list() == ["z", "x"]
    found = store.event("m", "e3")
    assert found is not None
    assert (found["truth"], found["outcome_ts"]) == ("x", NOW + timedelta(1))
    assert store.labelled("m", from_seq=2, columns=["event_id"])["event_id"].to_list() == ["e3"]


def test_a_subject_is_never_written(store: EventStore, tmp_path: Path) -> None:
    store.append_events(SPEC, frame(0, 3, person=["Ada", None, "Ada"]), now=NOW)
    people = store.events("m")["person"].to_list()
    assert people == [store.subject_digest("Ada"), None, store.subject_digest("Ada")]
    assert not any(b"Ada" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_pinned_version_reads_the_rows_of_that_time(store: EventStore) -> None:
    store.append_events(SPEC, frame(0, 3), now=NOW)
    store.settle("m")
    then = store.extent("m").events_version
    store.append_events(SPEC, frame(3, 9), now=NOW)
    assert store.events("m", version=then).height == 3
    assert store.events("m", version=-1).height == 0


def test_a_new_column_is_null_before_and_a_removed_one_stays(store: EventStore) -> None:
    store.append_events(SPEC, frame(0, 1), now=NOW)
    store.append_events(with_column("extra", "measure", "number"), frame(1, 2, extra=[7.0]), now=NOW)
    store.append_events(SPEC, frame(2, 3), now=NOW)
    assert store.events("m")["extra"].to_list() == [None, 7.0, None]
    assert store.events("m", columns=["absent"])["absent"].to_list() == [None, None, None]


def test_a_column_does_not_change_its_type(store: EventStore) -> None:
    store.append_events(SPEC, frame(0, 1), now=NOW)
    changed = with_column("score", "measure", "category")
    with pytest.raises(ColumnTypeChangedError, match="score is stored as double"):
        store.append_events(changed, frame(1, 2, score=["x"]), now=NOW)
    assert store.append_events(SPEC, frame(1, 2), now=NOW).accepted == 1


def test_a_row_without_its_id_is_refused(store: EventStore) -> None:
    with pytest.raises(InvalidError, match="event_id"):
        store.append_events(SPEC, frame(0, 1, event_id=pl.Series([None], dtype=pl.String)), now=NOW)


def test_any_delta_reader_reads_the_same_rows(store: EventStore, tmp_path: Path) -> None:
    for i in range(205):  # past two checkpoints of the Delta log
        store.append_events(SPEC, frame(i, i + 1), now=NOW)
        store.settle("m")
    table = deltalake.DeltaTable(tmp_path / "lake" / "m" / "events")
    assert table.version() == 204
    assert table.metadata().partition_columns == ["date"]
    read = pl.from_arrow(table.to_pyarrow_table())
    assert isinstance(read, pl.DataFrame)
    assert (
        read.sort("seq")
        .select("event_id", "ts", "score", "date")
        .equals(store.events("m").select("event_id", "ts", "score", "date"))
    )
    assert (table.to_pyarrow_dataset().count_rows(), table.count()) == (205, 205)
    assert len(list((tmp_path / "lake/m/events/_delta_log").glob("*.checkpoint.parquet"))) == 2
    assert opened(tmp_path).extent("m") == store.extent("m")


def test_a_table_compacted_by_another_engine_is_still_known(store: EventStore, tmp_path: Path) -> None:
    for i in range(5):
        store.append_events(SPEC, frame(i, i + 1), now=NOW)
        store.settle("m")
    deltalake.DeltaTable(tmp_path / "lake/m/events").optimize.compact()
    assert store.append_events(SPEC, frame(0, 6), now=NOW).accepted == 1
    assert store.events("m")["seq"].to_list() == list(range(6))


def test_a_flush_that_fails_leaves_nothing_behind_and_loses_nothing(
    store: EventStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append_events(SPEC, frame(0, 3), now=NOW)
    store.settle("m")
    store.append_events(SPEC, frame(3, 6), now=NOW)
    before = sorted(p for p in tmp_path.rglob("*") if p.is_file())
    real = os.link

    def broken(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", broken)
    with pytest.raises(StoreFullError, match="disk is full"):
        store.settle("m")
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == before
    assert store.events("m")["seq"].to_list() == list(range(6))
    monkeypatch.setattr(os, "link", real)
    store.settle("m")
    assert store.extent("m").events_version == 1
    assert store.events("m")["seq"].to_list() == list(range(6))


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(file.read_bytes()[:60]), Path.unlink])
def test_a_damaged_data_file_is_named(store: EventStore, tmp_path: Path, damage: Any) -> None:
    store.append_events(SPEC, frame(0, 3), now=NOW)
    store.settle("m")
    [file] = (tmp_path / "lake/m/events").glob("date=*/*.parquet")
    damage(file)
    with pytest.raises(DataFileDamagedError, match=f"m/events cannot be read: .*{file.name}; restore"):
        opened(tmp_path).events("m")


@pytest.mark.parametrize("half", [b'{"commitInfo": {"timest', b"\x00" * 200])
def test_a_half_written_last_entry_is_reported_and_its_removal_repairs_the_table(
    store: EventStore, tmp_path: Path, half: bytes
) -> None:
    store.append_events(SPEC, frame(0, 3), now=NOW)
    store.settle("m")
    torn = tmp_path / "lake/m/events/_delta_log" / f"{1:020}.json"
    torn.write_bytes(half)
    for other in (store, opened(tmp_path)):
        with pytest.raises(TableDamagedError, match="cannot be read"):
            other.append_events(SPEC, frame(3, 4), now=NOW)
    torn.unlink()
    assert store.append_events(SPEC, frame(2, 5), now=NOW).accepted == 2
    assert opened(tmp_path).events("m")["seq"].to_list() == list(range(5))


_FILL = """
import json, sys
from pathlib import Path
import polars as pl
from core.errors import BusyError
from tests.monitor.events.test_store import NOW, SPEC, frame, opened
store, stored = opened(Path(sys.argv[1])), 0
import os
for i in range(400):
    noise = [os.urandom(2000).hex() for _ in range(10)]
    try:
        stored += store.append_events(SPEC, frame(i * 10, i * 10 + 10, answer=noise), now=NOW).accepted
    except BusyError as error:
        fresh = opened(Path(sys.argv[1])).extent("m").rows
        rows = store.events("m").height
        print(json.dumps({"stored": stored, "message": error.message, "rows": rows, "fresh": fresh}))
        break
"""


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_reported_and_acknowledged_rows_stay(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this machine does not let root mount a file system")
    try:
        done = subprocess.run(
            [sys.executable, "-c", _FILL, tmp_path], env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer["stored"] > 0
        assert answer["rows"] == answer["fresh"] == answer["stored"]
        assert "disk is full" in answer["message"]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


_LIMIT = """
import resource, sys
from pathlib import Path
from core.errors import BusyError
from tests.monitor.events.test_store import NOW, SPEC, frame, opened
store = opened(Path(sys.argv[1]))
store.append_events(SPEC, frame(0, 3), now=NOW)
store.settle("m")
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
import os
try:
    store.append_events(SPEC, frame(3, 50, answer=[os.urandom(500).hex() for _ in range(47)]), now=NOW)
except BusyError as error:
    print("busy", store.events("m").height, len(list(Path(sys.argv[1]).rglob("*.parquet"))))
"""


def test_a_file_that_may_not_grow_is_a_full_store(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIMIT, tmp_path], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.stdout == "busy 3 1\n", done.stderr
