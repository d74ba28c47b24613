"""Damage in a dead process's log costs the damaged record alone, and says so; a torn tail is none."""

import shutil
from pathlib import Path

import pytest

from monitor.events import wal_damage, wal_records
from monitor.events.wal_damage import Damage, Lost
from tests.monitor.events.test_store import frame, opened
from tests.monitor.events.test_wal import left_behind, logs

PARTS = ((0, 3), (3, 7), (7, 8), (8, 20))
HEAD = 24  # bytes: mark, two checksums, two lengths


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the log of four records that a killed process left."""
    home = tmp_path_factory.mktemp("original")
    left_behind(home, *(frame(first, end) for first, end in PARTS))
    return home


@pytest.fixture
def home(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "home")
    return tmp_path / "home"


def segment_of(home: Path) -> Path:
    (log,) = logs(home)
    (segment,) = wal_records.segments(log)
    return segment


def ends(home: Path) -> list[int]:
    return [record.end for record in wal_records.records(segment_of(home), "")]


def flip(path: Path, *places: int) -> bytes:
    content = bytearray(path.read_bytes())
    for place in places:
        content[place] ^= 4
    path.write_bytes(content)
    return bytes(content)


def recovered(home: Path) -> tuple[list[int], list[Damage]]:
    """The rows after the log was flushed, and what was reported."""
    store = opened(home)
    store.flush_orphans()
    assert logs(home) == []
    rows = opened(home).events("m")["seq"].to_list()
    return rows, [damage for _, damage in wal_damage.reports(home / wal_damage.ASIDE)]


@pytest.mark.parametrize(
    "place",
    [0, 5, 9, 13, 17, HEAD + 9, -1, -40],
    ids=["mark", "checksum", "payload checksum", "header length", "length", "header", "last byte", "payload"],
)
@pytest.mark.parametrize("number", [0, 1, 2])
def test_one_flipped_bit_costs_its_record_alone(home: Path, number: int, place: int) -> None:
    first, end = [0, *ends(home)][number : number + 2]
    content = flip(segment_of(home), end + place if place < 0 else first + place)
    rows, (damage,) = recovered(home)
    assert rows == [seq for other, part in enumerate(PARTS) for seq in range(*part) if other != number]
    assert (damage.first, damage.end, damage.whole) == (first, end, True)
    assert (home / wal_damage.ASIDE / damage.file).read_bytes() == content[first:end]
    assert damage.lost == (Lost("m", "events", 1, PARTS[number][1] - PARTS[number][0]),)
    assert (damage.recovered_records, damage.recovered_rows) == (3, len(rows))


def test_several_damaged_stretches_are_counted_each(home: Path) -> None:
    first, second, third, _ = ends(home)
    flip(segment_of(home), first - 1, second - 1, third + HEAD + 60, third + HEAD + 70)  # the last beyond counting
    rows, found = recovered(home)
    assert rows == [7]
    assert [(one.records, one.rows) for damage in found for one in damage.lost] == [(2, 7)]
    assert [damage.whole for damage in found] == [True, False]


def test_the_last_record_in_full_length_is_damage_and_a_shorter_one_is_torn(home: Path) -> None:
    *_, third, last = ends(home)
    segment = segment_of(home)
    whole = segment.read_bytes()
    for torn in (whole[: last - 1], whole[: third + 3], whole[: last - 30] + bytes(30)):
        segment.write_bytes(torn)
        wal_damage.mend(segment.parent, home / "aside", lambda key, log: 0)
        assert segment.stat().st_size == third
        assert not (home / "aside").exists()
    for place in (last - 20, third + 17):  # of the payload, and of its length, which is then beyond the end
        segment.write_bytes(whole)
        flip(segment, place)
        wal_damage.mend(segment.parent, home / f"aside-{place}", lambda key, log: 0)
        ((_, damage),) = wal_damage.reports(home / f"aside-{place}")
        assert (damage.first, damage.end) == (third, last)


def test_damage_at_the_end_of_one_segment_is_none_of_a_torn_tail_if_another_has_rows(home: Path) -> None:
    first, second, *_ = ends(home)
    segment = segment_of(home)
    content = segment.read_bytes()
    segment.with_name(f"{second:020}.log").write_bytes(content[second:])
    segment.write_bytes(content[: second - 5])
    rows, (damage,) = recovered(home)
    assert rows == [0, 1, 2, *range(7, 20)]
    assert (damage.first, damage.end) == (first, second - 5)


def test_damage_in_rows_that_are_in_their_table_already_is_no_loss(home: Path) -> None:
    kept = segment_of(home)
    content, log, end = kept.read_bytes(), kept.parent, ends(home)[0]
    opened(home).flush_orphans()
    log.mkdir()  # as if the process that flushed it had died before it removed the log
    kept.write_bytes(content)
    flip(kept, end - 1)
    assert recovered(home) == (list(range(20)), [])


def test_damaged_bytes_that_may_hold_a_person_s_rows_can_be_forgotten(home: Path) -> None:
    flip(segment_of(home), ends(home)[0] - 1)
    _, (damage,) = recovered(home)
    aside = home / wal_damage.ASIDE
    wal_damage.forget(aside, "another")
    assert (aside / damage.file).exists()
    wal_damage.forget(aside, "m")
    assert not (aside / damage.file).exists()


def test_a_process_that_read_the_log_before_reads_each_row_once_after_damage_was_taken_out(home: Path) -> None:
    reader = opened(home)
    assert reader.extent("m").rows == 20
    flip(segment_of(home), ends(home)[1] - 1)
    wal_damage.mend(segment_of(home).parent, home / wal_damage.ASIDE, lambda key, log: 0)
    assert reader.events("m")["seq"].to_list() == [0, 1, 2, *range(7, 20)]
