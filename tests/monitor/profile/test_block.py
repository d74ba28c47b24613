"""Block profiles: counting, adding, and their bytes."""

import math
import zlib
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import IntegrityFailureError, InvalidError
from monitor.profile.block import BlockProfile, equal_blocks, merge_all, profile_block, profile_blocks
from monitor.profile.codec import from_bytes, sum_from_bytes, to_bytes
from monitor.profile.fit_reference import fit_reference
from tests.examples import examples

RNG = np.random.default_rng(1)
REFERENCE = pl.DataFrame({"x": RNG.normal(size=600), "c": RNG.choice(["a", "b", "c"], 600)})
PROFILE = fit_reference(REFERENCE, {"x": "number", "c": "category"}, blocks=6)

rows = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats(-1e6, 1e6), st.just(math.nan), st.just(math.inf)),
        st.one_of(st.none(), st.sampled_from(["a", "b", "never seen", ""])),
    ),
    max_size=60,
)


def frame(values: list[tuple[float | None, str | None]]) -> pl.DataFrame:
    return pl.DataFrame(
        {"x": [x for x, _ in values], "c": [c for _, c in values]}, schema={"x": pl.Float64, "c": pl.String}
    )


def same(a: BlockProfile, b: BlockProfile) -> None:
    assert a.rows == b.rows
    for name, left in a.numbers.items():
        right = b.numbers[name]
        assert left.counts.tolist() == right.counts.tolist()
        assert (left.nulls, left.minimum, left.maximum) == (right.nulls, right.minimum, right.maximum)
        assert left.total == pytest.approx(right.total, rel=1e-9, abs=1e-6)
        assert left.squares == pytest.approx(right.squares, rel=1e-9, abs=1e-6)
    for name, levels in a.categories.items():
        other = b.categories[name]
        assert levels.levels.tolist() == other.levels.tolist()
        assert levels.nulls == other.nulls
        assert levels.other.tolist() == other.other.tolist()
        assert levels.unseen.tolist() == other.unseen.tolist()


@given(rows, rows)
@settings(max_examples=examples(60), deadline=None)
def test_the_profile_of_two_blocks_is_the_sum_of_their_profiles(
    a: list[tuple[float | None, str | None]], b: list[tuple[float | None, str | None]]
) -> None:
    same(
        merge_all([profile_block(frame(a), PROFILE), profile_block(frame(b), PROFILE)]),
        profile_block(frame(a + b), PROFILE),
    )


@given(rows)
@settings(max_examples=examples(60), deadline=None)
def test_every_row_is_counted_once_and_bytes_give_the_profile_back(
    values: list[tuple[float | None, str | None]],
) -> None:
    block = profile_block(frame(values), PROFILE)
    assert int(block.numbers["x"].counts.sum()) + block.numbers["x"].nulls == len(values)
    c = block.categories["c"]
    for fold in range(len(c.other)):
        assert int(c.levels.sum()) + c.nulls + int(c.other[fold]) + int(c.unseen[fold]) == len(values)
    same(from_bytes(to_bytes(block), PROFILE.coding), block)


@given(rows, rows)
@settings(max_examples=30, deadline=None)
def test_stored_profiles_add_up_to_the_profile_of_all_their_rows(
    a: list[tuple[float | None, str | None]], b: list[tuple[float | None, str | None]]
) -> None:
    parts = [to_bytes(profile_block(frame(values), PROFILE)) for values in (a, b)]
    same(sum_from_bytes(parts, PROFILE.coding), profile_block(frame(a + b), PROFILE))


@pytest.mark.parametrize("data", [b"", b"no profile", to_bytes(profile_block(REFERENCE, PROFILE))[:-3]])
def test_bytes_that_are_no_profile_are_an_integrity_failure(data: bytes) -> None:
    with pytest.raises(IntegrityFailureError, match="profile"):
        from_bytes(data, PROFILE.coding)


@pytest.mark.parametrize("many", [1, 127, 128, 40_000, 3_000_000_000, 10**15])
def test_counts_of_any_size_are_stored_and_read_back(many: int) -> None:
    block = profile_block(frame([(0.5, "a"), (None, "b")]), PROFILE)
    block = replace(block, rows=many)
    same(from_bytes(to_bytes(block), PROFILE.coding), block)


def test_a_profile_with_counts_of_an_unknown_width_is_an_integrity_failure() -> None:
    raw = bytearray(zlib.decompress(to_bytes(profile_block(REFERENCE, PROFILE))))
    raw[16] = 3
    with pytest.raises(IntegrityFailureError, match="3 bytes"):
        from_bytes(zlib.compress(bytes(raw)), PROFILE.coding)


def test_a_profile_of_another_reference_is_an_integrity_failure() -> None:
    other = fit_reference(REFERENCE.select("x"), {"x": "number"}, blocks=6)
    with pytest.raises(IntegrityFailureError, match="profile"):
        from_bytes(to_bytes(profile_block(REFERENCE, PROFILE)), other.coding)


def test_equal_blocks_have_equal_rows_and_a_short_rest_joins_the_last() -> None:
    assert np.bincount(equal_blocks(500, 100)).tolist() == [100] * 5
    assert np.bincount(equal_blocks(540, 100)).tolist() == [100] * 4 + [140]
    assert np.bincount(equal_blocks(560, 100)).tolist() == [100] * 5 + [60]
    assert np.bincount(equal_blocks(30, 100)).tolist() == [30]


def test_a_level_never_seen_counts_as_unseen_and_not_as_other() -> None:
    block = profile_block(frame([(0.0, "zebra")] * 7), PROFILE)
    assert block.categories["c"].unseen.tolist() == [7] * 4
    assert block.categories["c"].other.tolist() == [0] * 4


def test_a_text_where_a_number_was_declared_is_refused_with_the_column_named() -> None:
    with pytest.raises(InvalidError, match="'x'"):
        profile_block(pl.DataFrame({"x": ["one"], "c": ["a"]}), PROFILE)


def test_an_absent_column_is_refused_with_its_name() -> None:
    with pytest.raises(InvalidError, match="'c'"):
        profile_blocks(pl.DataFrame({"x": [1.0]}), PROFILE, np.zeros(1, dtype=np.int64))


def test_a_block_without_rows_is_an_empty_profile() -> None:
    assert profile_block(REFERENCE.head(0), PROFILE).rows == 0
