"""A table's files are replaced, deleted and lost from the log, and every row is still read once."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import deltalake
import polars as pl
import pytest

from monitor.errors import StoreFullError
from monitor.lake.errors import FileReplacedError, VersionGoneError
from monitor.lake.snapshot import NEXT_SEQ
from monitor.lake.table import LakeTable

COLUMNS = {"event_id": "string", "ts": "timestamp", "seq": "long", "value": "double", "date": "date"}
START = datetime(2026, 6, 1, tzinfo=UTC)


def rows(first: int, last: int, *, days: int = 1) -> pl.DataFrame:
    numbers = list(range(first, last))
    times = [START + timedelta(days=n % days, milliseconds=n) for n in numbers]
    return pl.DataFrame(
        {"event_id": [f"e{n}" for n in numbers], "seq": numbers, "value": [float(n) for n in numbers]}
    ).with_columns(pl.Series("ts", times, dtype=pl.Datetime("us", "UTC")), pl.Series("date", [t.date() for t in times]))


@pytest.fixture
def table(tmp_path: Path) -> LakeTable:
    return LakeTable(tmp_path / "m" / "events")


def seqs(table: LakeTable, **bounds: Any) -> list[int]:
    return table.scan(**bounds).select("seq").collect()["seq"].sort().to_list()


def with_day(table: LakeTable, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("ts").dt.date().alias("date"))


def merge(table: LakeTable) -> None:
    """Merge all files of each day into one, as a compaction does."""
    now = table.snapshot()
    whole = with_day(table, table.scan_files(now, now.files).collect().sort("seq"))
    table.swap(now.files, table.write([whole]), operation="OPTIMIZE", changes=False)


def test_files_are_replaced_in_one_version_that_any_reader_understands(table: LakeTable) -> None:
    for i in range(6):
        table.append(rows(i * 10, i * 10 + 10, days=2), COLUMNS)
    merge(table)
    now = table.snapshot()
    assert (now.version, len(now.files), now.rows) == (6, 2, 60)
    assert [f.day for f in now.files] == [date(2026, 6, 1), date(2026, 6, 2)]
    assert seqs(table) == list(range(60))
    other = deltalake.DeltaTable(table.folder)
    assert (other.version(), other.count(), other.history(1)[0]["operation"]) == (6, 60, "OPTIMIZE")
    assert LakeTable(table.folder).snapshot() == now
    assert LakeTable(table.folder).snapshot(5).rows == 60
    assert table.append(rows(60, 61), COLUMNS).rows == 61


def test_numbers_of_removed_rows_are_not_reused(table: LakeTable) -> None:
    table.append(rows(0, 10), COLUMNS)
    table.append(rows(10, 20), COLUMNS)
    table.swap(table.snapshot().files[1:], [], operation="DELETE", changes=True)
    assert (table.snapshot().rows, table.snapshot().next_seq) == (10, 20)
    assert LakeTable(table.folder).snapshot().next_seq == 20
    table.swap(table.snapshot().files, [], operation="DELETE", changes=True)
    assert (table.snapshot().rows, seqs(table)) == (0, [])
    assert LakeTable(table.folder).snapshot().txns == {NEXT_SEQ: 20}
    assert '"dataChange":true' in (table.folder / "_delta_log" / f"{2:020}.json").read_text()


def test_a_file_is_replaced_once(table: LakeTable) -> None:
    table.append(rows(0, 10), COLUMNS)
    before = table.snapshot().files
    merge(table)
    files = sorted(table.folder.rglob("*.parquet"))
    added = table.write([rows(0, 10)])
    with pytest.raises(FileReplacedError, match="no longer part"):
        table.swap(before, added, operation="OPTIMIZE", changes=False)
    table.discard(added)
    assert sorted(table.folder.rglob("*.parquet")) == files
    assert table.snapshot().version == 1


def test_a_swap_that_fails_leaves_nothing_behind(table: LakeTable, monkeypatch: pytest.MonkeyPatch) -> None:
    table.append(rows(0, 10), COLUMNS)
    files = sorted(p for p in table.folder.rglob("*") if p.is_file())

    def parts() -> Iterator[pl.DataFrame]:
        yield rows(0, 5)
        raise RuntimeError("torn")

    with pytest.raises(RuntimeError, match="torn"):
        table.write(parts())

    added = table.write([rows(0, 5)])

    def broken(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", broken)
    with pytest.raises(StoreFullError):
        table.swap(table.snapshot().files, added, operation="OPTIMIZE", changes=False)
    table.discard(added)
    assert sorted(p for p in table.folder.rglob("*") if p.is_file()) == files
    assert seqs(table) == list(range(10))


def test_removed_files_are_kept_for_readers_of_pinned_versions_and_then_deleted(table: LakeTable) -> None:
    for i in range(3):
        table.append(rows(i, i + 1), COLUMNS)
    merge(table)
    now = datetime.now(UTC)
    assert table.vacuum(keep=timedelta(days=2), now=now + timedelta(days=1)) == []
    assert LakeTable(table.folder).scan(version=1).collect().height == 2
    assert len(table.vacuum(keep=timedelta(days=2), now=now + timedelta(days=3))) == 3
    assert seqs(table) == seqs(table, version=2) == [0, 1, 2]
    assert seqs(LakeTable(table.folder), version=1) == [0, 1]  # of the newest files, those that version 1 had


def test_erased_files_are_deleted_at_once_and_a_file_being_written_stays(table: LakeTable) -> None:
    for i in range(3):
        table.append(rows(i, i + 1), COLUMNS)
    merge(table)
    written = table.write([rows(0, 3)])  # about to be committed
    assert len(table.vacuum(keep=timedelta(0), now=datetime.now(UTC))) == 3
    table.swap(table.snapshot().files, written, operation="OPTIMIZE", changes=False)
    assert seqs(table) == [0, 1, 2]


def test_files_of_a_killed_writer_are_deleted_after_an_hour(table: LakeTable) -> None:
    table.append(rows(0, 3), COLUMNS)
    orphan = table.write([rows(0, 3)])
    now = datetime.now(UTC)
    assert table.vacuum(keep=timedelta(0), now=now + timedelta(minutes=50)) == []
    assert table.vacuum(keep=timedelta(0), now=now + timedelta(minutes=70)) == [orphan[0].path]
    with pytest.raises(FileReplacedError, match="gone"):
        table.swap(table.snapshot().files, orphan, operation="OPTIMIZE", changes=False)
    assert seqs(table) == [0, 1, 2]


def test_a_query_made_before_its_files_are_deleted_still_gets_its_rows(table: LakeTable) -> None:
    table.append(rows(0, 5), COLUMNS)
    asked = table.scan()
    bounded = table.scan(from_seq=1, to_seq=4).filter(pl.col("value") > 1).select("event_id", "value")
    merge(table)
    table.append(rows(5, 7), COLUMNS)
    table.vacuum(keep=timedelta(0), now=datetime.now(UTC))
    assert asked.collect()["seq"].sort().to_list() == [0, 1, 2, 3, 4]
    assert bounded.collect().sort("value").rows() == [("e2", 2.0), ("e3", 3.0)]
    assert asked.select(pl.len()).collect().item() == 5
    assert asked.sort("seq").head(2).collect()["event_id"].to_list() == ["e0", "e1"]


def test_the_log_is_cleaned_and_lost_versions_are_still_read(table: LakeTable) -> None:
    stale = LakeTable(table.folder)
    for i in range(120):
        table.append(rows(i * 2, i * 2 + 2), COLUMNS)
        if i == 5:
            assert stale.snapshot().version == 5
    now = datetime.now(UTC)
    assert table.clean_log(keep=timedelta(days=1), now=now) == []
    gone = table.clean_log(keep=timedelta(0), now=now + timedelta(seconds=1))
    assert len(gone) == 119 + 1  # entries before the checkpoint of version 119, and the checkpoint of version 99
    assert stale.snapshot().version == LakeTable(table.folder).snapshot().version == 119
    assert seqs(table, version=7) == seqs(LakeTable(table.folder), version=7) == list(range(16))
    assert table.snapshot(118).end == 238
    with pytest.raises(VersionGoneError, match="has no version 500"):
        table.snapshot(500)
    for i in range(120, 125):
        table.append(rows(i * 2, i * 2 + 2), COLUMNS)
    assert table.clean_log(keep=timedelta(0), now=now + timedelta(hours=1)) != []
    assert seqs(table, version=121) == list(range(244))
    assert deltalake.DeltaTable(table.folder).count() == 250
    assert seqs(table) == list(range(250))


def test_a_version_within_the_retention_is_opened_by_any_reader(table: LakeTable) -> None:
    for i in range(101):
        table.append(rows(i, i + 1), COLUMNS)
    time.sleep(0.1)
    middle = datetime.now(UTC)
    for i in range(101, 203):
        table.append(rows(i, i + 1), COLUMNS)
    now = datetime.now(UTC)
    assert table.clean_log(keep=now - middle, now=now)
    assert deltalake.DeltaTable(table.folder, version=100).count() == 101
    assert seqs(table, version=50) == list(range(51))
