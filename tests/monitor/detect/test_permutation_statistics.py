"""Sums of statistics compared with raw rows, and studentised changes of some columns at a time."""

import numpy as np
import polars as pl
import pytest

from monitor.detect.permutation import Blocks, draw_permutations
from monitor.detect.permutation_statistics import block_sums
from monitor.detect.studentised import studentise
from monitor.profile.block import equal_blocks, profile_blocks
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ColumnKind

COLUMNS: dict[str, ColumnKind] = {"x": "number", "c": "category", "y": "number"}


def rows(count: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = np.where(rng.random(count) < 0.1, np.nan, rng.normal(size=count))
    return pl.DataFrame({"x": x, "c": rng.choice(["a", "b"], count), "y": rng.exponential(size=count)})


REFERENCE, WINDOW = rows(2000, 1), rows(400, 2)
PROFILE = fit_reference(REFERENCE, COLUMNS, blocks=10)
BLOCKS = profile_blocks(WINDOW, PROFILE, equal_blocks(400, 100))


def test_shares_and_missing_are_counts_of_raw_rows() -> None:
    sums = block_sums(PROFILE, BLOCKS)
    assert list(sums.names) == ["x", "y", "c"]
    x = [REFERENCE["x"].to_numpy()[200 * i : 200 * (i + 1)] for i in range(10)]
    x += [WINDOW["x"].to_numpy()[100 * i : 100 * (i + 1)] for i in range(4)]
    edges = PROFILE.coding.numbers["x"].edges[list(PROFILE.coding.numbers["x"].grid)]
    below = [i for i, f in enumerate(sums.statistics[: sums.starts[1]]) if f.effect == "share_below"]
    expected = [[np.count_nonzero(part <= edge) for edge in edges] for part in x]
    assert np.array_equal(sums.values[:, below], expected)
    missing = next(i for i, f in enumerate(sums.statistics) if f.effect == "missing")
    assert sums.values[:, missing].tolist() == [np.count_nonzero(np.isnan(part)) for part in x]


def test_location_is_the_mean_rank_among_the_reference_and_ranks_alone_have_squares() -> None:
    sums = block_sums(PROFILE, BLOCKS)
    assert {sums.statistics[i].effect for i in sums.ranked} == {"location", "spread"}
    bins, own = PROFILE.coding.numbers["y"], PROFILE.total.numbers["y"].counts
    ranks = (np.cumsum(own) - own / 2) / own.sum() - 0.5
    at = int(sums.starts[1])
    y = ranks[np.searchsorted(bins.edges, WINDOW["y"].to_numpy())].reshape(4, 100)
    assert sums.values[10:, at] == pytest.approx(y.sum(axis=1))
    assert sums.values[10:, at + 1] == pytest.approx(np.abs(y).sum(axis=1))
    assert sums.squares[10:, list(sums.ranked).index(at)] == pytest.approx((y**2).sum(axis=1))


@pytest.mark.parametrize("without", [("x",), ("c",), ("x", "y"), ("y", "c")])
def test_columns_that_are_left_out_leave_the_others_as_they_are(without: tuple[str, ...]) -> None:
    every, some = block_sums(PROFILE, BLOCKS), block_sums(PROFILE, BLOCKS, without)
    ends = [*every.starts[1:].tolist(), len(every.statistics)]
    kept = [i for i, name in enumerate(every.names) if name not in without]
    at = np.concatenate([np.arange(every.starts[i], ends[i]) for i in kept])
    assert list(some.names) == [every.names[i] for i in kept]
    assert [some.statistics[i] for i in some.starts] == [every.statistics[every.starts[i]] for i in kept]
    assert np.array_equal(some.values, every.values[:, at])
    assert np.array_equal(at[some.ranked], every.ranked[np.isin(every.ranked, at)])
    assert np.array_equal(some.squares, every.squares[:, np.isin(every.ranked, at)])


def test_studentised_changes_of_many_columns_together_are_those_of_each_alone() -> None:
    rng = np.random.default_rng(3)
    sums, variances = rng.normal(size=(30, 1500)), np.full(1500, 0.2)
    blocks = Blocks(np.full(30, 50.0), np.arange(30) >= 25, np.zeros(30, dtype=np.int64))
    choices, starts = draw_permutations(blocks, 99, 0), np.array([0, 7, 8, 700, 1400])
    together = studentise(sums, blocks, choices, variances, starts)
    ends = [*starts[1:].tolist(), 1500]
    for column, (start, end) in enumerate(zip(starts.tolist(), ends, strict=True)):
        alone = studentise(sums[:, start:end], blocks, choices, variances[start:end], np.zeros(1, dtype=np.int64))
        assert alone.largest[:, 0] == pytest.approx(together.largest[:, column], rel=1e-5)
        assert alone.t == pytest.approx(together.t[start:end], rel=1e-4, abs=1e-5)
        assert alone.errors == pytest.approx(together.errors[start:end], rel=1e-5)
