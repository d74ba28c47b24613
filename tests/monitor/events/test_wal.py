"""The write-ahead log: acknowledged rows survive a killed process, a torn tail and an interrupted flush."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from core.errors import IntegrityFailureError
from monitor.errors import StoreFullError
from monitor.events import flush, wal, wal_damage, wal_records
from monitor.events.flush import BUSY_TABLE_ROWS, FULL_COMMIT_ROWS
from monitor.events.store import EventStore
from monitor.events.unflushed import UnflushedRows
from monitor.spec.parse import parse_spec
from tests.monitor.events.test_store import DOCUMENT, NOW, SPEC, frame, opened
from tests.service import environment


def logs(folder: Path) -> list[Path]:
    return sorted(p for p in (folder / "wal").iterdir() if not p.name.startswith("."))


def left_behind(folder: Path, *parts: pl.DataFrame) -> Path:
    """The log of a process that accepted rows and was killed."""
    before = set(logs(folder)) if (folder / "wal").exists() else set()
    code = (
        "import sys, os, signal\nfrom pathlib import Path\nimport polars as pl\n"
        "from tests.monitor.events.test_store import NOW, SPEC, opened\n"
        "store = opened(Path(sys.argv[1]))\n"
        "for name in sys.argv[2:]:\n    store.append_events(SPEC, pl.read_parquet(name), now=NOW)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    names = []
    for number, part in enumerate(parts):
        names.append(folder / f"part-{number}.parquet")
        part.write_parquet(names[-1])
    done = subprocess.run([sys.executable, "-c", code, folder, *names], env=environment(), check=False)
    assert done.returncode == -signal.SIGKILL
    for name in names:
        name.unlink()
    (new,) = set(logs(folder)) - before
    return new


def test_rows_are_read_before_they_are_flushed_and_once_after(tmp_path: Path) -> None:
    store, other = opened(tmp_path), opened(tmp_path)
    store.append_events(SPEC, frame(0, 5), now=NOW)
    for reader in (store, other):
        assert reader.events("m")["seq"].to_list() == list(range(5))
        assert reader.extent("m").next_seq == reader.extent("m").rows == 5
        assert reader.extent("m").events_version == -1
        assert reader.event("m", "e3") is not None
    other.settle("m")  # a process may flush what another has accepted
    for reader in (store, other):
        assert reader.events("m")["seq"].to_list() == list(range(5))
        assert reader.extent("m").events_version == 0
    store.settle("m")
    assert store.extent("m").events_version == 0


def test_rows_that_a_killed_process_accepted_are_read_and_its_log_is_removed(tmp_path: Path) -> None:
    left_behind(tmp_path, frame(0, 3), frame(3, 7))
    store = opened(tmp_path)
    assert store.extent("m").rows == 7
    store.flush_orphans()
    assert logs(tmp_path) == []
    assert opened(tmp_path).events("m")["seq"].to_list() == list(range(7))
    assert store.append_events(SPEC, frame(5, 9), now=NOW).accepted == 2


def test_a_torn_tail_is_truncated_and_the_records_before_it_are_kept(tmp_path: Path) -> None:
    folder = left_behind(tmp_path, frame(0, 3), frame(3, 7))
    (segment,) = wal_records.segments(folder)
    whole = segment.read_bytes()
    first = next(wal_records.records(segment, folder.name)).end
    for torn in (whole[:-1], whole[: first + 3], whole[: first + 20], whole[:-10] + bytes(10)):
        segment.write_bytes(torn)
        wal_damage.mend(folder, tmp_path / "aside", lambda key, log: 0)
        assert segment.stat().st_size == first
    opened(tmp_path).flush_orphans()
    assert opened(tmp_path).events("m")["seq"].to_list() == [0, 1, 2]


def test_a_damaged_record_is_reported_and_not_left_out(tmp_path: Path) -> None:
    folder = left_behind(tmp_path, frame(0, 3))
    (segment,) = wal_records.segments(folder)
    (record,) = wal_records.records(segment, folder.name)
    with segment.open("r+b") as file:
        file.seek(record.offset + record.size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(IntegrityFailureError, match="damaged"):
        opened(tmp_path).events("m")


def test_a_flush_that_was_committed_but_not_recorded_adds_nothing_the_second_time(tmp_path: Path) -> None:
    folder = left_behind(tmp_path, frame(0, 3))
    kept = {segment: segment.read_bytes() for segment in wal_records.segments(folder)}
    opened(tmp_path).flush_orphans()
    folder.mkdir()  # as if the process had died between its commit and the removal of the log
    for segment, content in kept.items():
        segment.write_bytes(content)
    store = opened(tmp_path)
    assert store.events("m").height == 3
    store.flush_orphans()
    assert (store.events("m").height, store.extent("m").events_version) == (3, 0)


def test_the_log_of_a_living_process_is_left_to_it(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.append_events(SPEC, frame(0, 3), now=NOW)
    opened(tmp_path).flush_orphans()
    assert len(logs(tmp_path)) == 1
    assert store.extent("m").events_version == -1
    store.close()
    assert logs(tmp_path) == []
    assert opened(tmp_path).extent("m").events_version == 0


def test_processes_accept_a_row_once_and_say_so(tmp_path: Path) -> None:
    stores = [opened(tmp_path) for _ in range(3)]
    sent = [frame(n * 5, n * 5 + 10) for n in range(40)]
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda n: stores[n % 3].append_events(SPEC, sent[n], now=NOW), range(40)))
    assert sum(d.accepted for d in done) == 205
    assert sum(d.duplicates for d in done) == 400 - 205
    found = stores[0].events("m")
    assert found["seq"].to_list() == list(range(205))
    assert found["event_id"].n_unique() == 205
    for store in stores:
        store.close()
    assert opened(tmp_path).events("m").equals(found)


def test_an_outcome_is_accepted_for_an_event_that_another_process_has_just_accepted(tmp_path: Path) -> None:
    store, other = opened(tmp_path), opened(tmp_path)
    store.append_events(SPEC, frame(0, 2), now=NOW)
    done = other.append_outcomes(SPEC, pl.DataFrame({"event_id": ["e1", "x"], "truth": ["a", "b"]}), now=NOW)
    assert (done.accepted, done.unknown) == (1, (1,))
    assert store.labelled("m", columns=["event_id"])["event_id"].to_list() == ["e1"]


def test_requests_that_wait_together_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first sync lasts until all twelve have written their rows and wait for one."""
    synced, written, all_written = [], [], threading.Event()
    real_sync, real_write = os.fdatasync, os.write

    def slow(handle: int) -> None:
        synced.append(handle)
        assert all_written.wait(60)
        real_sync(handle)

    def counted(handle: int, data: memoryview) -> int:
        written.append(handle)
        if len(written) == 12:
            all_written.set()
        return real_write(handle, data)

    store = opened(tmp_path)
    store.append_events(SPEC, frame(0, 1), now=NOW)
    monkeypatch.setattr(os, "fdatasync", slow)
    monkeypatch.setattr(os, "write", counted)
    with ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(store.append_events, SPEC, frame(n, n + 1), now=NOW) for n in range(1, 13)]
        assert sum(w.result().accepted for w in waiting) == 12
    assert len(synced) <= 4


def test_a_sync_that_fails_is_reported_and_nothing_is_acknowledged_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)
    store.append_events(SPEC, frame(0, 1), now=NOW)

    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    for first in (1, 2):
        with pytest.raises(wal.LogFailedError):
            store.append_events(SPEC, frame(first, first + 1), now=NOW)


def test_a_record_is_undone_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    store.append_events(SPEC, frame(0, 3), now=NOW)
    real = os.write

    def full(handle: int, data: memoryview) -> int:
        if len(data) > 100:
            return real(handle, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreFullError, match="free space"):
        store.append_events(SPEC, frame(3, 6), now=NOW)
    monkeypatch.setattr(os, "write", real)
    assert store.append_events(SPEC, frame(2, 5), now=NOW).accepted == 2
    assert opened(tmp_path).events("m")["seq"].to_list() == list(range(5))


def test_a_log_keeps_nothing_of_flushed_rows(tmp_path: Path) -> None:
    store = opened(tmp_path)
    marker = "a-word-to-look-for"
    store.append_events(SPEC, frame(0, 3, answer=[marker] * 3), now=NOW)
    assert any(p.stat().st_size for p in (tmp_path / "wal").rglob("*.log"))
    store.settle("m")
    assert not any(marker.encode() in p.read_bytes() for p in (tmp_path / "wal").rglob("*") if p.is_file())


def test_a_segment_ends_with_time_so_that_flushed_rows_are_removed(tmp_path: Path) -> None:
    unflushed = UnflushedRows(tmp_path, segment_s=0.0)
    rows = pl.DataFrame({"seq": [0], "text": ["a-word-to-look-for"]})
    first = unflushed.append(wal_records.Header("m", "events", 0, 1, 0, 0, 0), rows)
    unflushed.append(wal_records.Header("other", "events", 0, 1, 0, 0, 0), rows.with_columns(text=pl.lit("another")))
    unflushed.discard_flushed(("m", "events"), {first.log: first.end})
    assert not first.segment.exists()
    assert [r.header.model for r in unflushed.pending(("other", "events"), {})] == ["other"]
    unflushed.close()


def test_a_table_that_cannot_be_flushed_delays_no_other_and_no_start(tmp_path: Path) -> None:
    left_behind(tmp_path, frame(0, 3))
    store = opened(tmp_path)
    other = parse_spec(DOCUMENT | {"model": "other"})
    store.append_events(other, frame(0, 3), now=NOW)
    log = tmp_path / "lake/m/events/_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("{")
    store.flush_orphans()
    assert len(logs(tmp_path)) == 2
    store.settle("other")
    assert store.extent("other").events_version == 0
    (log / f"{0:020}.json").unlink()
    store.flush_orphans()
    assert opened(tmp_path).events("m")["seq"].to_list() == [0, 1, 2]


def test_no_row_is_lost_when_a_segment_cannot_be_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unflushed, rows, real = UnflushedRows(tmp_path, segment_s=0.0), pl.DataFrame({"seq": [0]}), os.open
    first = unflushed.append(wal_records.Header("m", "events", 0, 1, 0, 0, 0), rows)

    def full(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_EXCL:
            raise OSError(28, "No space left on device")
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(StoreFullError):
        unflushed.append(wal_records.Header("m", "events", 1, 1, 0, 0, 0), rows)
    monkeypatch.setattr(os, "open", real)
    second = unflushed.append(wal_records.Header("m", "events", 1, 1, 0, 0, 0), rows)
    unflushed.sync()
    assert [r.end for r in unflushed.pending(("m", "events"), {})] == [first.end, second.end]
    unflushed.close()


def test_the_busier_a_table_the_sooner_it_is_flushed(store: EventStore) -> None:
    flusher = store.flusher()
    waiting = {
        "full": (FULL_COMMIT_ROWS, 0.0),
        "busy": (BUSY_TABLE_ROWS, flush.BUSY_TABLE_DELAY_S),
        "early": (BUSY_TABLE_ROWS, 0.5),
        "quiet": (1, flush.QUIET_TABLE_DELAY_S + 5),
        "still": (1, flush.QUIET_TABLE_DELAY_S - 1),
    }
    assert flusher.due({(name, "events"): found for name, found in waiting.items()}) == [
        ("quiet", "events"),
        ("busy", "events"),
        ("full", "events"),
    ]


def test_rows_are_flushed_in_the_background(store: EventStore) -> None:
    flusher = store.flusher()
    flusher.start()
    times = pl.Series(
        "ts", [NOW + timedelta(seconds=i) for i in range(FULL_COMMIT_ROWS)], dtype=pl.Datetime("us", "UTC")
    )
    many = pl.DataFrame({"event_id": [f"n{i}" for i in range(FULL_COMMIT_ROWS)], "version": "v1", "answer": "a"})
    store.append_events(SPEC, many.with_columns(times), now=NOW)
    deadline = time.monotonic() + 120
    while store.extent("m").events_version < 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    flusher.stop()
    assert (store.extent("m").events_version, store.extent("m").rows) == (0, FULL_COMMIT_ROWS)


@pytest.fixture
def store(tmp_path: Path) -> EventStore:
    return opened(tmp_path)
