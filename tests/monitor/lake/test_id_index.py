"""The ids of a table: known without reading the table, and bounded in memory."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.lake import id_file
from monitor.lake.id_file import DigestKey, FileIds, WantedKeys, WantedRows
from monitor.lake.id_index import IdIndex
from monitor.lake.identity import IDENTITIES, RowIds
from monitor.lake.table import LakeTable
from monitor.lake.table_ids import MIN_INDEXED_ROWS, TableIds
from tests.monitor.lake.test_table import COLUMNS, merge, rows


def plain(texts: Iterable[str]) -> RowIds:
    return RowIds.plain(pl.Series(list(texts), dtype=pl.String))


def ids(first: int, last: int) -> RowIds:
    return plain(f"e{n}" for n in range(first, last))


def known(table: TableIds, wanted: RowIds) -> list[bool]:
    answer: list[bool] = table.current().contains(*table.words(wanted)).tolist()
    return answer


def holds(index: IdIndex, wanted: RowIds) -> list[bool]:
    return [number >= 0 for number in index.files(*index.key.words(wanted)).tolist()]


def index_files(table: LakeTable) -> list[str]:
    return sorted(p.name for p in (table.folder / "_ids").glob("*.ids"))


@pytest.fixture
def table(tmp_path: Path) -> LakeTable:
    return LakeTable(tmp_path / "m" / "events")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> LakeTable:
    """Three files of 30,000 rows and two of 500."""
    table = LakeTable(tmp_path_factory.mktemp("large") / "m" / "events")
    for i in range(3):
        table.append(rows(i * 30_000, (i + 1) * 30_000), COLUMNS)
    table.append(rows(90_000, 90_500), COLUMNS)
    table.append(rows(90_500, 91_000), COLUMNS)
    return table


@given(st.lists(st.tuples(st.lists(st.integers(0, 60), max_size=20), st.integers(0, 3)), max_size=12))
def test_an_id_is_kept_once_with_the_number_of_its_file(batches: list[tuple[list[int], int]]) -> None:
    index, files = IdIndex(DigestKey.draw()), dict[int, int]()
    for batch, number in batches:
        some = plain(f"id-{i}" for i in batch)
        index.add(some, np.full(len(some), number, dtype=np.uint32) if number else None)
        files |= {i: number or files.get(i, 0) for i in batch}
    asked = plain(f"id-{i}" for i in range(61))
    assert index.files(*index.key.words(asked)).tolist() == [files.get(i, -1) for i in range(61)]
    assert len(index) == len(files)
    index.forget([1, 2])
    assert index.nbytes == 20 * len(index)
    assert holds(index, asked) == [files.get(i, 1) in (0, 3) for i in range(61)]


@given(st.lists(st.lists(st.integers(0, 60), max_size=20), max_size=12))
def test_the_index_of_ids_answers_as_a_set_would(batches: list[list[int]]) -> None:
    index, known = IdIndex(DigestKey.draw()), set[int]()
    for batch in batches:
        batch_ids = RowIds.plain(pl.Series([f"id-{i}" for i in batch], dtype=pl.String))
        assert holds(index, batch_ids) == [i in known for i in batch]
        fresh = [i for i in dict.fromkeys(batch) if i not in known]
        index.add(RowIds.plain(pl.Series([f"id-{i}" for i in fresh], dtype=pl.String)))
        known |= set(fresh)
    assert len(index) == len(known)


@given(st.sets(st.text(max_size=40), max_size=60), st.sets(st.text(max_size=40), max_size=60))
def test_an_index_file_answers_with_the_row(tmp_path_factory: pytest.TempPathFactory, a: set[str], b: set[str]) -> None:
    folder, key = tmp_path_factory.mktemp("index"), DigestKey.draw()
    stored, asked = list(a), list(b)
    file = FileIds(id_file.build_index(folder, "date=2026-06-01/part-1.parquet", plain(stored), key), key)
    at, found = file.look_up(WantedRows(*key.words(plain(asked))))
    order = {text: row for row, text in enumerate(stored)}
    known = [i for i, text in enumerate(asked) if text in order]
    assert (at.tolist(), found.tolist()) == (known, [order[asked[i]] for i in known])


_FACTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8)), max_size=60, unique=True)


def facts(some: list[tuple[int, int]]) -> RowIds:
    frame = pl.DataFrame({"event_id": [f"e{e}" for e, _ in some], "value": [float(v) for _, v in some]},
                         schema={"event_id": pl.String, "value": pl.Float64})  # fmt: skip
    return IDENTITIES["outcomes"].of(frame)


@given(_FACTS, _FACTS)
def test_rows_of_one_key_are_found_one_by_one_and_by_their_key(
    tmp_path_factory: pytest.TempPathFactory, stored: list[tuple[int, int]], asked: list[tuple[int, int]]
) -> None:
    key = DigestKey.draw()
    file = FileIds(id_file.build_index(tmp_path_factory.mktemp("index"), "f", facts(stored), key), key)
    at, found = file.look_up(WantedRows(*key.words(facts(asked))))
    known = [i for i, fact in enumerate(asked) if fact in stored]
    assert (at.tolist(), found.tolist()) == (known, [stored.index(asked[i]) for i in known])
    index = IdIndex(key)
    index.add(facts(stored), np.array([1 + e for e, _ in stored], dtype=np.uint32))
    assert holds(index, facts(asked)) == [fact in stored for fact in asked]
    assert len(index) == len(stored)
    for event in range(7):
        wanted = WantedKeys(key.first(pl.Series([f"e{event}", "nobody"])))
        rows = [i for i, (e, _) in enumerate(stored) if e == event]
        assert sorted(file.rows_of(wanted).tolist()) == rows
        assert index.files_of(wanted) == ({1 + event} if rows else set())


def test_new_ids_rarely_cost_a_disk_access(tmp_path: Path) -> None:
    key, count = DigestKey.draw(), 200_000
    file = FileIds(id_file.build_index(tmp_path, "f", ids(0, count), key), key)
    fresh = WantedRows(*key.words(ids(count, 2 * count)))
    assert len(file._passed(fresh.keys)) < 0.008 * count
    at, found = file.look_up(WantedRows(*key.words(ids(0, count))))
    assert (at == found).all()
    assert len(at) == count


def test_large_files_take_two_bytes_an_id_and_small_ones_twenty(large: LakeTable) -> None:
    table = TableIds(large)
    assert known(table, ids(0, 91_000)) == [True] * 91_000
    assert known(table, ids(91_000, 92_000)) == [False] * 1_000
    assert table.nbytes == 90_000 * 2 + 1_000 * 20
    assert len(index_files(large)) == 3


def test_a_process_that_starts_reads_no_ids_of_large_files(tmp_path: Path) -> None:
    table = LakeTable(tmp_path / "m" / "events")
    table.append(rows(0, MIN_INDEXED_ROWS), COLUMNS)
    table.ids.current()
    path = table.folder / table.snapshot().files[0].path
    path.write_bytes(b"\0" * path.stat().st_size)
    assert known(LakeTable(table.folder).ids, ids(MIN_INDEXED_ROWS - 1, MIN_INDEXED_ROWS + 1)) == [True, False]


def test_an_id_is_found_in_its_row(large: LakeTable) -> None:
    for n in (0, 29_999, 30_000, 75_123, 90_499, 90_500, 90_999):
        [found] = large.find(f"e{n}")
        assert (found["event_id"], found["seq"], found["value"]) == (f"e{n}", n, float(n))
    assert large.find("e91000") == []
    assert large.find("") == []


def test_rows_in_no_file_yet_are_known_and_not_kept_twice(table: LakeTable) -> None:
    table.ids.extend(ids(0, 100))
    table.ids.extend(ids(0, MIN_INDEXED_ROWS))
    assert known(table.ids, ids(0, MIN_INDEXED_ROWS + 1)) == [True] * MIN_INDEXED_ROWS + [False]
    assert table.find("e5") == []
    assert table.ids.nbytes == 20 * MIN_INDEXED_ROWS
    table.append(rows(0, 100), COLUMNS)
    assert len(table.find("e5")) == 1
    assert table.ids.current().nbytes == 20 * MIN_INDEXED_ROWS
    table.append(rows(100, 100 + MIN_INDEXED_ROWS), COLUMNS)
    assert table.ids.current().nbytes == 20 * 100 + 2 * MIN_INDEXED_ROWS
    merge(table)
    assert known(table.ids, ids(0, MIN_INDEXED_ROWS + 101)) == [True] * (MIN_INDEXED_ROWS + 100) + [False]
    assert table.ids.nbytes == 2 * (MIN_INDEXED_ROWS + 100)


@pytest.mark.parametrize("size", [1, 64, 65, 300])
def test_new_rows_are_added_without_a_look_up(table: LakeTable, size: int) -> None:
    for start in range(0, 3000, size):
        table.ids.extend_new(*table.ids.words(ids(start, min(start + size, 3000))), table.ids.seen)
    assert known(table.ids, ids(0, 3001)) == [True] * 3000 + [False]
    table.append(rows(0, 1500), COLUMNS)
    table.append(rows(1500, 3000), COLUMNS)
    assert known(table.ids, ids(0, 3001)) == [True] * 3000 + [False]
    assert table.ids.current().nbytes == 20 * 3000  # the files have them, and nothing else


@pytest.mark.parametrize("size", [50, 300, MIN_INDEXED_ROWS])
def test_rows_that_were_flushed_before_they_were_added_are_not_kept_twice(table: LakeTable, size: int) -> None:
    since = table.ids.current().seen
    table.append(rows(0, size), COLUMNS)
    held = table.ids.current().nbytes
    first, second = table.ids.words(ids(0, size))
    table.ids.extend_new(first, second, since)
    table.ids.extend_digests(list(zip(first[:9].tolist(), second[:9].tolist(), strict=True)), since)
    assert table.ids.nbytes == held
    table.swap(table.snapshot().files, [], operation="DELETE", changes=True)
    assert known(table.ids, ids(0, 2)) == [False, False]


def test_ids_of_removed_rows_may_come_again(table: LakeTable) -> None:
    table.append(rows(0, 50), COLUMNS)
    table.append(rows(50, 50 + MIN_INDEXED_ROWS), COLUMNS)
    assert known(table.ids, ids(49, 51)) == [True, True]
    table.swap(table.snapshot().files, [], operation="DELETE", changes=True)
    assert known(table.ids, ids(49, 51)) == [False, False]
    assert table.ids.nbytes == 0
    assert table.find("e51") == []


@pytest.mark.parametrize("damage", ["missing", "cut", "torn", "other seeds"])
def test_an_index_file_that_does_not_match_is_rebuilt(table: LakeTable, damage: str) -> None:
    table.append(rows(0, MIN_INDEXED_ROWS), COLUMNS)
    table.ids.current()
    path = next((table.folder / "_ids").glob("*.ids"))
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(whole[:-1])
    elif damage == "torn":
        path.write_bytes(whole[:100] + b"\0" * 100 + whole[200:])
    else:
        id_file.build_index(table.folder, table.snapshot().files[0].path, ids(0, MIN_INDEXED_ROWS), DigestKey.draw())
    again = LakeTable(table.folder)
    assert known(again.ids, ids(MIN_INDEXED_ROWS - 1, MIN_INDEXED_ROWS + 1)) == [True, False]
    assert path.read_bytes() == whole


def test_an_index_is_removed_with_its_data_file(table: LakeTable) -> None:
    table.append(rows(0, MIN_INDEXED_ROWS), COLUMNS)
    table.append(rows(MIN_INDEXED_ROWS, MIN_INDEXED_ROWS + 10), COLUMNS)
    table.ids.current()
    before = index_files(table)
    merge(table)
    table.ids.current()
    table.vacuum(keep=timedelta(0), now=datetime.now(UTC))
    assert len(index_files(table)) == 1
    assert index_files(table) != before
    assert not [p for p in (table.folder / "_ids").iterdir() if p.name.startswith(".")]


def test_ids_stay_in_memory_when_no_index_can_be_written(table: LakeTable) -> None:
    table.folder.mkdir(parents=True)
    (table.folder / "_ids").touch()  # no folder can be made here
    table.append(rows(0, MIN_INDEXED_ROWS), COLUMNS)
    assert known(table.ids, ids(0, 1)) == [True]
    assert table.ids.nbytes == 20 * MIN_INDEXED_ROWS
