"""Upkeep: small files are merged, old days are deleted with a ledger entry, and rows arrive and are read meanwhile."""

import json
import subprocess
import sys
import time
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import select

from api.processes import scheduler
from api.processes.worker import drain
from core.artifacts import file_digest
from core.clock import ManualClock
from core.queue import Job
from governance.ledger.read import ledger_rows
from monitor import service
from monitor.lake import compact
from monitor.lake.snapshot import DataFile, Snapshot
from monitor.lake.table import LakeTable
from monitor.site import Site
from monitor.spec.parse import SpecError
from monitor.upkeep import maintain
from tests.databases import SQLITE_FIRST
from tests.monitor import traffic
from tests.monitor.events import test_store
from tests.monitor.lake.test_table import COLUMNS, rows, seqs
from tests.service import environment


def data_file(name: str, rows: int, *, day: int = 1, seq: int = 0, size: int = 1000) -> DataFile:
    return DataFile(name, date(2026, 6, day), rows, size, {"seq": seq}, {"seq": seq + rows - 1})


def planned(*files: DataFile) -> list[str]:
    return ["".join(f.path for f in group) for group in compact.merge_groups(Snapshot(5, files, {}))]


@pytest.mark.parametrize(
    ("files", "groups"),
    [
        ([data_file("a", 10), data_file("b", 10, seq=10)], ["ab"]),
        ([data_file("b", 10, seq=10), data_file("a", 10)], ["ab"]),
        ([data_file("a", 10), data_file("b", 10, day=2)], []),
        ([data_file("a", 10), data_file("b", 249_999, seq=10)], []),  # would write b again for ten rows
        ([data_file("a", 10), data_file("b", 10, seq=10), data_file("c", 249_999, seq=20)], ["ab"]),
        ([data_file("a", 240_000), data_file("b", 240_000), data_file("c", 240_000, seq=1)], ["ab"]),
        ([data_file("a", 250_000), data_file("b", 250_000)], []),
        ([data_file(n, 10, size=30 << 20) for n in "abcd"], ["ab", "cd"]),
        ([], []),
    ],
)
def test_files_are_merged_with_others_of_their_day_up_to_a_size(files: list[DataFile], groups: list[str]) -> None:
    assert planned(*files) == groups


def test_a_day_of_many_commits_becomes_one_file_and_reads_the_same(tmp_path: Path) -> None:
    table = LakeTable(tmp_path / "m" / "events")
    for i in range(300):
        table.append(rows(i * 80, i * 80 + 80), COLUMNS)
    before = table.scan().collect().sort("seq")
    done = list(compact.compact("m", "events", table, nullcontext))
    now = table.snapshot()
    assert [(r.model, r.table, len(r.removed), r.rows_before, r.rows, r.cause) for r in done] == [
        ("m", "events", 300, 24_000, 24_000, "compaction")
    ]
    assert (done[0].version, done[0].added) == (now.version, tuple(f.path for f in now.files))
    assert (now.files[0].low["seq"], now.files[0].high["seq"]) == (0, 23_999)
    assert table.scan().collect().equals(before)
    assert len(list((table.folder / "_ids").glob("*.ids"))) == 1
    assert [row["seq"] for row in table.find("e777")] == [777]
    assert list(compact.compact("m", "events", table, nullcontext)) == []


def test_the_first_of_two_rows_with_one_id_stays(tmp_path: Path) -> None:
    table = LakeTable(tmp_path / "t")
    table.append(rows(0, 3), COLUMNS)
    table.append(rows(3, 5).with_columns(event_id=pl.Series(["e1", "e3"])), COLUMNS)
    [done] = compact.compact("m", "events", table, nullcontext)
    assert (done.rows_before, done.rows) == (5, 4)
    assert seqs(table) == [0, 1, 2, 4]


def test_a_compaction_that_is_overtaken_gives_way(tmp_path: Path) -> None:
    table = LakeTable(tmp_path / "m" / "events")
    for i in range(4):
        table.append(rows(i, i + 1), COLUMNS)

    def erased() -> nullcontext[None]:
        other = LakeTable(table.folder)
        if len(other.snapshot().files) == 4:
            first = [f for f in other.snapshot().files if f.low["seq"] == 0]
            other.swap(first, [], operation="DELETE", changes=True)
        return nullcontext()

    assert list(compact.compact("m", "events", table, erased)) == []
    assert seqs(table) == [1, 2, 3]
    assert len(list(table.folder.rglob("*.parquet"))) == 4
    assert len(list(compact.compact("m", "events", table, nullcontext))) == 1
    assert seqs(table) == [1, 2, 3]


_APPEND = """
import sys
from pathlib import Path
from tests.monitor.events.test_store import NOW, SPEC, frame, opened
store = opened(Path(sys.argv[1]))
for i in range(60):
    assert store.append_events(SPEC, frame(i * 5, i * 5 + 5), now=NOW).accepted == 5
    store.settle("m")
"""


def test_rows_arrive_from_another_process_while_files_are_merged(tmp_path: Path) -> None:
    store = test_store.opened(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", _APPEND, tmp_path], env=environment())
    table, merged = store.table("m", "events"), 0
    while child.poll() is None:
        if table.snapshot().version >= 0:
            for _ in compact.compact("m", "events", table, lambda: store.locked("m")):
                merged += 1
                table.vacuum(keep=timedelta(0), now=datetime.now(UTC))
        read = store.events("m")
        assert read["seq"].to_list() == list(range(read.height))
        time.sleep(0.02)
    assert child.returncode == 0
    assert merged > 0
    assert store.events("m")["event_id"].to_list() == [f"e{i}" for i in range(300)]
    assert store.append_events(test_store.SPEC, test_store.frame(0, 301), now=test_store.NOW).accepted == 1


_KILLED = """
import os, signal, sys
from contextlib import nullcontext
from pathlib import Path
from monitor.lake.compact import compact
from monitor.lake.table import LakeTable
def kill():
    os.kill(os.getpid(), signal.SIGKILL)
locked = kill if sys.argv[2] == "before" else nullcontext
for _ in compact("m", "events", LakeTable(Path(sys.argv[1])), locked):
    kill()
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_compaction_killed_around_its_commit_is_finished_by_the_next(tmp_path: Path, moment: str) -> None:
    table = LakeTable(tmp_path / "m" / "events")
    for i in range(40):
        table.append(rows(i * 5, i * 5 + 5, days=2), COLUMNS)
    files = set(table.folder.rglob("*.parquet"))
    done = subprocess.run([sys.executable, "-c", _KILLED, table.folder, moment], env=environment(), check=False)
    assert done.returncode == -9
    assert len(set(table.folder.rglob("*.parquet")) - files) == 1
    assert seqs(table) == list(range(200))
    assert len(table.snapshot().files) == (80 if moment == "before" else 41)
    list(compact.compact("m", "events", table, nullcontext))
    assert len(table.snapshot().files) == 2
    assert seqs(table) == list(range(200))
    table.vacuum(keep=timedelta(0), now=datetime.now(UTC) + timedelta(hours=2))
    assert len(list(table.folder.rglob("*.parquet"))) == 2


def declared(site: Site, **changes: Any) -> None:
    with site.database.write() as db:
        service.apply_spec(site, db, traffic.spec(**changes), "tester")


def stored(site: Site, frame: pl.DataFrame, **changes: Any) -> None:
    spec = traffic.spec(**changes)
    typed = frame.with_columns(pl.col("ts").str.to_datetime(time_zone="UTC"))
    site.events.append_events(spec, typed.drop("truth"), now=site.clock.now())
    site.events.append_outcomes(spec, frame.select("event_id", "truth"), now=site.clock.now())
    site.events.settle(spec.model)


@SQLITE_FIRST
def test_days_past_the_retention_are_deleted_and_the_ledger_names_them(site: Site, clock: ManualClock) -> None:
    clock.move_to(traffic.BEGIN + timedelta(days=4))
    declared(site, retention="2d")
    stored(site, traffic.rows(96, every=timedelta(hours=1)), retention="2d")
    table = site.events.table("loans", "events")
    gone = {
        f.path: file_digest(table.folder / f.path)
        for f in table.snapshot().files
        if f.low["ts"] < traffic.BEGIN + timedelta(days=2)
    }
    maintain.maintain_tables(site, "loans")
    assert site.events.events("loans")["seq"].to_list() == list(range(48, 96))
    assert site.events.extent("loans").next_seq == 96
    assert site.events.outcomes("loans").height == 96  # they arrived today
    with site.database.read() as db:
        [entry] = [json.loads(row.entry) for row in ledger_rows(db, kind="lake.retention")]
    body = entry["body"]
    assert (entry["subject"], body["table"], body["rows"]) == ("model:loans", "events", 48)
    assert (body["dates"], body["first_day_kept"]) == (["2026-01-01", "2026-01-02"], "2026-01-03")
    assert {f["path"]: f["digest"] for f in body["files"]} == gone
    clock.move_to(clock.now() + timedelta(days=3))
    maintain.maintain_tables(site, "loans")
    assert site.events.extent("loans").rows == 0
    assert site.events.outcomes("loans").height == 0
    stored(site, traffic.rows(2, start=96, every=timedelta(hours=1)), retention="2d")
    assert site.events.events("loans")["seq"].to_list() == [96, 97]


@pytest.mark.parametrize("retention", ["12h", "6d"])
def test_a_retention_shorter_than_what_is_judged_is_refused(retention: str) -> None:
    monitors = traffic.document()["monitors"] | {"windows": ["1d", "7d"], "false_alarms": "1 per 30d"}
    with pytest.raises(SpecError, match=f"retention: is {retention}; give at least 1d and at least the longest window"):
        traffic.spec(monitors=monitors, retention=retention)
    assert traffic.spec(monitors=monitors, retention="7d").retention == "7d"


def jobs(site: Site) -> list[str]:
    with site.database.read() as db:
        return sorted(db.scalars(select(Job.name).where(Job.state == "queued")))


@SQLITE_FIRST
def test_upkeep_runs_every_hour_and_before_that_where_a_day_is_crowded(site: Site, clock: ManualClock) -> None:
    declared(site)
    clock.move_to(clock.now() + timedelta(minutes=1))
    scheduler.tick(site, "a")
    clock.move_to(clock.now() + timedelta(minutes=1))
    scheduler.tick(site, "a")
    assert jobs(site) == ["monitor.evaluate"]
    drain(site)
    table = site.events.table("loans", "events")
    for i in range(compact.MAX_SMALL_FILES + 1):
        stored(site, traffic.rows(1, start=i))
    clock.move_to(clock.now() + timedelta(minutes=1))
    scheduler.tick(site, "a")
    drain(site)
    assert len(table.snapshot().files) == 1
    clock.move_to(clock.now() + timedelta(hours=1))
    scheduler.tick(site, "a")
    assert jobs(site) == ["monitor.digest", "monitor.evaluate", "monitor.upkeep"]
    drain(site)
    assert jobs(site) == []


def test_a_process_that_only_reads_sees_what_another_cleaned(tmp_path: Path) -> None:
    looking = LakeTable(tmp_path / "m" / "events")
    table = LakeTable(tmp_path / "m" / "events")
    for i in range(5):
        table.append(rows(i, i + 1), COLUMNS)
    assert looking.snapshot().version == 4
    list(compact.compact("m", "events", table, nullcontext))
    later = datetime.now(UTC) + timedelta(hours=2)
    table.clean_log(keep=timedelta(0), now=later)
    table.vacuum(keep=timedelta(0), now=later)
    assert seqs(looking) == seqs(looking, version=4) == [0, 1, 2, 3, 4]
    assert list(table.folder.glob("date=*/*")) == [table.folder / table.snapshot().files[0].path]
