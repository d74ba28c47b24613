"""Counts of every block against counts of its raw rows, in whatever order the rows come."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.profile.coding import NumberBins
from monitor.profile.counting import NumberCounts, count_numbers, index_blocks
from tests.examples import examples

EDGES = np.array([-1.0, 0.0, 1.0, 10.0])
BINS = NumberBins(EDGES, (), ())
values = st.one_of(st.floats(-20, 20), st.just(math.nan), st.just(math.inf))


@given(st.lists(st.tuples(values, st.integers(0, 6)), max_size=80))
@settings(max_examples=examples(100), deadline=None)
def test_every_block_counts_its_own_rows(rows: list[tuple[float, int]]) -> None:
    x, at = np.array([value for value, _ in rows]), np.array([block for _, block in rows], dtype=np.int64)
    for block, found in enumerate(count_numbers(x, BINS, index_blocks(at, 7))):
        own = x[at == block]
        finite = own[np.isfinite(own)]
        assert found.nulls == len(own) - len(finite)
        assert found.counts.tolist() == np.bincount(np.searchsorted(EDGES, finite), minlength=5).tolist()
        assert found.total == pytest.approx(finite.sum())
        assert found.squares == pytest.approx((finite**2).sum())
        assert (found.minimum, found.maximum) == ((finite.min(), finite.max()) if len(finite) else (None, None))


@pytest.mark.parametrize("blocks", [1, 3, 40, 70_000])
def test_blocks_longer_and_shorter_than_what_is_counted_together(blocks: int) -> None:
    rng = np.random.default_rng(0)
    x, at = rng.normal(0, 3, 200_000), np.sort(rng.integers(0, blocks, 200_000))
    found = count_numbers(x, BINS, index_blocks(at, blocks))
    every = np.bincount(at * 5 + np.searchsorted(EDGES, x), minlength=blocks * 5).reshape(blocks, 5)
    assert np.array_equal(np.stack([block.counts for block in found]), every)
    assert math.fsum(block.total for block in found) == pytest.approx(math.fsum(x), abs=1e-6)


def test_the_variance_is_that_of_the_values_and_nothing_where_they_are_too_large_to_be_squared() -> None:
    def counted(x: list[float]) -> NumberCounts:
        return count_numbers(np.array(x), BINS, index_blocks(np.zeros(len(x), dtype=np.int64), 1))[0]

    assert counted([1.0, 2.0, 4.0]).variance == pytest.approx(np.var([1.0, 2.0, 4.0]))
    assert counted([]).variance == 0.0
    assert counted([1e300, 1.1e300]).variance == 0.0
    assert counted([5.0, 5.0]).variance == 0.0
