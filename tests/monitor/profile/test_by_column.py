"""Rows read a few columns at a time give what rows in memory give."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from core.errors import InvalidError
from monitor.profile.block import equal_blocks, profile_block, profile_blocks
from monitor.profile.by_column import MAX_SERIAL_ROWS, each_column
from monitor.profile.codec import to_bytes
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ColumnKind

COLUMNS: dict[str, ColumnKind] = {**{f"n{i}": "number" for i in range(9)}, "c": "category", "t": "text"}


def rows(count: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    numbers = {f"n{i}": np.where(rng.random(count) < 0.01 * i, np.nan, rng.normal(i, 1, count)) for i in range(9)}
    words = np.array(["late parcel", "lost card", "refund please", "change address", "close account"])
    return pl.DataFrame(
        numbers | {"c": pl.Series(["a", "b", None]).gather(rng.integers(0, 3, count)), "t": rng.choice(words, count)}
    )


@pytest.mark.parametrize("count", [600, MAX_SERIAL_ROWS + 1_000])
def test_a_scan_of_parquet_gives_the_reference_and_block_profiles_of_the_frame(tmp_path: Path, count: int) -> None:
    columns = COLUMNS if count < MAX_SERIAL_ROWS else {name: k for name, k in COLUMNS.items() if k != "text"}
    frame = rows(count, 1).select(list(columns))
    frame.write_parquet(tmp_path / "rows.parquet", row_group_size=max(count // 3, 1))
    scan = pl.scan_parquet(tmp_path / "rows.parquet")
    profile = fit_reference(frame, columns, blocks=20)
    assert fit_reference(scan, columns, blocks=20).to_bytes() == profile.to_bytes()
    blocks = equal_blocks(count, count // 5)
    found, expected = profile_blocks(scan, profile, blocks), profile_blocks(frame, profile, blocks)
    assert [to_bytes(block) for block in found] == [to_bytes(block) for block in expected]
    assert to_bytes(profile_block(scan, profile)) == to_bytes(profile_block(frame, profile))


def test_columns_come_back_in_the_requested_order() -> None:
    frame = rows(MAX_SERIAL_ROWS + 1, 2)
    names = ["n7", "c", "n0", "n3"]
    found = each_column(frame.lazy(), names, lambda series: series.name)
    assert list(found.items()) == [(name, name) for name in names]


def test_a_column_that_a_scan_lacks_is_refused_with_its_name(tmp_path: Path) -> None:
    rows(10, 3).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(InvalidError, match="'absent'"):
        each_column(pl.scan_parquet(tmp_path / "rows.parquet"), ["n0", "absent"], lambda series: series.len())


def test_a_column_is_counted_alike_whatever_other_columns_stand_beside_it() -> None:
    frame = rows(3_000, 4)
    alone = fit_reference(frame.select("c"), {"c": "category"}, blocks=10)
    beside = fit_reference(frame.select("n1", "c"), {"n1": "number", "c": "category"}, blocks=10)
    for a, b in zip(alone.blocks, beside.blocks, strict=True):
        assert a.categories["c"].levels.tolist() == b.categories["c"].levels.tolist()
        assert a.categories["c"].nulls == b.categories["c"].nulls
