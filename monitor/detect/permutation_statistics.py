"""The statistics that the decision rule tests: sums of simple functions of one column over the rows of a block.

Each is linear in the counts of a block profile, so the sum over several blocks is the sum of their sums. The reference
alone decides which statistics exist, except in columns of many levels: these have a share for each of the most frequent
levels of all blocks, of the reference and the window alike, so that a new level can be detected.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats, Ints
from monitor.profile.block import BlockProfile
from monitor.profile.coding import CategoryLevels, NumberBins
from monitor.profile.counting import CategoryCounts
from monitor.profile.fit_column import MIN_LEVEL_ROWS
from monitor.profile.reference_profile import ReferenceProfile

FindingKind = Literal["number", "category"]
Effect = Literal["location", "spread", "share_below", "missing", "share", "other", "unseen"]

MIN_VALUES: Final = 200  # a number with no more reference values than this is watched for missing values only
# The smallest changes that may alarm, unless the user sets others. A shift of 0.05 standard deviations changes the
# distribution function of a normal column by 0.02.
MIN_EFFECT_BELOW: Final = 0.02
MIN_EFFECT_RANK: Final = 0.0141
MIN_EFFECT_SHARE: Final = 0.02
MIN_EFFECT_RARE: Final = 0.005  # missing and unseen values
# Columns derived from a text or vector get this part of them: rows of a new kind move each such column by only a part
# of their share.
DERIVED_MIN_EFFECT_FACTOR: Final = 0.5
BELOW_PER_STD: Final = 0.39894  # change of the distribution function at the median per standard deviation of shift
RANK_PER_STD: Final = 0.28209  # change of the mean rank per standard deviation of shift, for a normal column

MIN_EFFECTS: Final[Mapping[str, float]] = {
    "location": MIN_EFFECT_RANK, "spread": MIN_EFFECT_RANK, "share_below": MIN_EFFECT_BELOW, "share": MIN_EFFECT_SHARE,
    "other": MIN_EFFECT_SHARE, "missing": MIN_EFFECT_RARE, "unseen": MIN_EFFECT_RARE,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Statistic:
    """A function of one value of a column, whose mean over rows is compared; `detail`: of which level or edge."""

    effect: Effect
    detail: str | None = None


@dataclass(frozen=True, eq=False)
class BlockSums:
    """Sums of every statistic over the rows of every block.

    `names`, `kinds`: of each column. `statistics`: of all columns, in the order of `names`. `starts`: index of the
    first statistic of each column, shape (columns,). `values`: the sums, shape (blocks, statistics), reference blocks
    first. `ranked`: indices of the statistics that are not shares of rows. `squares`: sums of their squares, shape
    (blocks, ranked); a share needs none, because 0 and 1 are their own squares.
    """

    names: Sequence[str]
    kinds: Sequence[FindingKind]
    statistics: Sequence[Statistic]
    starts: Ints
    values: Floats
    ranked: Ints
    squares: Floats


@dataclass(frozen=True, eq=False)
class _NumberStatistics:
    """The statistics of all numbers together; the bins of all columns are concatenated."""

    names: list[str]
    statistics: list[Statistic]
    column_of: Ints  # (statistics,): number of the column
    first_bins: Ints  # (columns,): index of the first bin
    ranks: Floats  # (bins,): mid-rank of the bin among the column's reference values, minus one half
    edges: Ints  # (statistics,): the last bin that a share counts
    effects: NDArray[np.str_]  # (statistics,)
    ranked: Ints  # indices of location and spread


@dataclass(frozen=True, eq=False)
class _ReferenceSums:
    """Sums over the reference blocks, computed once; the same for every window."""

    numbers: _NumberStatistics
    sums: tuple[Floats, Floats]  # of numbers: (blocks, statistics) and (blocks, ranked)
    levels: Mapping[str, Floats]  # of each category: (blocks, levels)
    hitters: Mapping[str, Mapping[str, Mapping[int, int]]]  # column -> level -> block -> rows
    remainders: Mapping[str, tuple[Floats, Floats]]  # other and unseen rows of each block, by the lists of its fold


_REFERENCE_SUMS: Final[WeakKeyDictionary[ReferenceProfile, _ReferenceSums]] = WeakKeyDictionary()


def block_sums(profile: ReferenceProfile, window: Sequence[BlockProfile], without: Sequence[str] = ()) -> BlockSums:
    """Sums of the statistics over every reference block and every block of a window.

    Args:
        profile: of the reference.
        window: profiles of the window's blocks; may be empty.
        without: names of columns to leave out.
    """
    reference = _REFERENCE_SUMS.get(profile)
    if reference is None:
        reference = _REFERENCE_SUMS[profile] = _sum_reference(profile)
    numbers, categories = reference.numbers, []
    for name, levels in profile.coding.categories.items():
        if name not in without:
            parts = [block.categories[name] for block in window]
            shares, sums = _level_sums(levels, reference, name, parts)
            tested = [*shares, Statistic("other"), Statistic("unseen"), Statistic("missing")]
            remainder = _remainder_sums(profile, reference, name, parts)
            categories.append((name, tested, np.hstack([sums, remainder])))
    left_out = np.zeros(len(numbers.column_of), dtype=bool)
    if without:
        left_out = np.isin(numbers.names, list(without))[numbers.column_of]
    kept, ranked = np.flatnonzero(~left_out), ~left_out[numbers.ranked]
    own, (values, squares) = reference.sums, _number_sums(numbers, window)
    if without:
        own, values, squares = (own[0][:, kept], own[1][:, ranked]), values[:, kept], squares[:, ranked]
    columns, starts = np.unique(numbers.column_of[kept], return_index=True)
    begins = starts.tolist()
    statistics = [numbers.statistics[i] for i in kept] if without else list(numbers.statistics)
    for _, tested, _ in categories:
        begins.append(len(statistics))
        statistics += tested
    every = np.empty((len(own[0]) + len(window), len(statistics)))
    every[: len(own[0]), : len(kept)], every[len(own[0]) :, : len(kept)] = own[0], values
    for begin, (_, tested, sums) in zip(begins[len(columns) :], categories, strict=True):
        every[:, begin : begin + len(tested)] = sums
    kinds: list[FindingKind] = ["number"] * len(columns)
    kinds += ["category"] * len(categories)
    names = [numbers.names[c] for c in columns] + [name for name, _, _ in categories]
    at = np.searchsorted(kept, numbers.ranked[ranked])
    return BlockSums(
        names, kinds, statistics, np.array(begins, dtype=np.int64), every, at, np.concatenate([own[1], squares])
    )


def min_effects_of(sums: BlockSums, min_effects: Mapping[str, float], encoded: Collection[str]) -> Floats:
    """The smallest change of each statistic that may alarm.

    Args:
        sums: whose statistics are meant.
        min_effects: by column, in the units that `decide` takes.
        encoded: names of the text and vector columns.

    Returns:
        Absolute changes of the mean over rows, shape (statistics,): of the mean rank, or of a share of rows.
    """
    found = np.array([MIN_EFFECTS[statistic.effect] for statistic in sums.statistics])
    starts = sums.starts.tolist()
    for name, kind, start, end in zip(sums.names, sums.kinds, starts, [*starts[1:], len(found)], strict=True):
        min_effect = min_effect_of(name, min_effects)
        if min_effect is None:
            if is_derived_from(name, encoded):
                found[start:end] = [
                    least if statistic.effect == "missing" else DERIVED_MIN_EFFECT_FACTOR * least
                    for least, statistic in zip(found[start:end], sums.statistics[start:end], strict=True)
                ]
            continue
        if kind == "category" and name not in min_effects:
            min_effect *= BELOW_PER_STD  # set for a text column, in standard deviations
        for at in range(start, end):
            match sums.statistics[at].effect:
                case "location" | "spread":
                    found[at] = min_effect * RANK_PER_STD
                case "share_below":
                    found[at] = min_effect * BELOW_PER_STD
                case "share" | "other":
                    found[at] = min_effect
                case "missing" | "unseen":
                    found[at] = min(min_effect, MIN_EFFECT_RARE)
    return found


def is_derived_from(name: str, encoded: Collection[str]) -> bool:
    """Whether a column is derived from one of these text or vector columns."""
    return name.rpartition(".")[0] in encoded


def min_effect_of(name: str, min_effects: Mapping[str, float]) -> float | None:
    """The minimum set for a column, or for the text or vector column it is derived from; None where neither has one."""
    return min_effects.get(name, min_effects.get(name.rpartition(".")[0]))


def _sum_reference(profile: ReferenceProfile) -> _ReferenceSums:
    blocks, folds = profile.blocks, profile.fold_of
    numbers = _number_statistics(profile)
    levels, hitters, remainders = {}, {}, {}
    at = np.arange(len(blocks))
    for name, known in profile.coding.categories.items():
        parts = [b.categories[name] for b in blocks]
        levels[name] = _stack([part.levels for part in parts])
        remainders[name] = _stack([p.other for p in parts])[at, folds], _stack([p.unseen for p in parts])[at, folds]
        hitters[name] = _rows_by_level(parts) if known.wide else {}
    return _ReferenceSums(numbers, _number_sums(numbers, blocks), levels, hitters, remainders)


def _rows_by_level(parts: Sequence[CategoryCounts]) -> dict[str, dict[int, int]]:
    found: dict[str, dict[int, int]] = {}
    for block, part in enumerate(parts):
        for level, rows in part.hitters.items():
            found.setdefault(level, {})[block] = rows
    return found


def _stack(parts: Sequence[Ints]) -> Floats:
    return np.stack(parts).astype(np.float64)


def _number_statistics(profile: ReferenceProfile) -> _NumberStatistics:
    numbers = profile.coding.numbers
    statistics: list[Statistic] = []
    column_of: list[int] = []
    edges: list[int] = []
    ranks, first_bins, begin = [np.zeros(0)], [], 0
    for column, (name, bins) in enumerate(numbers.items()):
        own = profile.total.numbers[name].counts
        values = int(own.sum())
        ranks.append((np.cumsum(own) - own / 2.0) / max(values, 1) - 0.5)
        tested = _statistics_of(bins, values)
        statistics += [statistic for statistic, _ in tested]
        edges += [begin + edge for _, edge in tested]
        column_of += [column] * len(tested)
        first_bins.append(begin)
        begin += len(own)
    effects = np.array([statistic.effect for statistic in statistics], dtype=np.str_)
    return _NumberStatistics(
        list(numbers), statistics, np.array(column_of, dtype=np.int64), np.array(first_bins, dtype=np.int64),
        np.concatenate(ranks), np.array(edges, dtype=np.int64), effects,
        np.flatnonzero((effects == "location") | (effects == "spread")),
    )  # fmt: skip


def _statistics_of(bins: NumberBins, values: int) -> list[tuple[Statistic, int]]:
    """The statistics of a number, each with the last bin that a share counts, 0 for other statistics."""
    found: list[tuple[Statistic, int]] = []
    if values > MIN_VALUES:
        if "location" in bins.tests:
            found.append((Statistic("location"), 0))
        if "spread" in bins.tests:
            found.append((Statistic("spread"), 0))
        if "below" in bins.tests:
            found += [(Statistic("share_below", f"{bins.edges[edge]:.6g}"), edge) for edge in bins.grid]
    if "missing" in bins.tests:
        found.append((Statistic("missing"), 0))
    return found


def _number_sums(numbers: _NumberStatistics, blocks: Sequence[BlockProfile]) -> tuple[Floats, Floats]:
    """Sums of the statistics of all numbers, shape (blocks, statistics), and of the squares of the ranked ones."""
    values, squares = np.zeros((len(blocks), len(numbers.column_of))), np.zeros((len(blocks), len(numbers.ranked)))
    if not len(numbers.column_of):
        return values, squares
    location, spread, below, missing = (
        np.flatnonzero(numbers.effects == effect) for effect in ("location", "spread", "share_below", "missing")
    )
    for block, to, squared in zip(blocks, values, squares, strict=True):
        counts = np.concatenate([block.numbers[name].counts for name in numbers.names])
        nulls = np.array([block.numbers[name].nulls for name in numbers.names])
        upto = np.cumsum(counts)
        before = upto[numbers.first_bins] - counts[numbers.first_bins]
        weighted = counts * numbers.ranks
        to[location] = np.add.reduceat(weighted, numbers.first_bins)[numbers.column_of[location]]
        to[spread] = np.add.reduceat(np.abs(weighted), numbers.first_bins)[numbers.column_of[spread]]
        to[below] = upto[numbers.edges[below]] - before[numbers.column_of[below]]
        to[missing] = nulls[numbers.column_of[missing]]
        # The rank and its absolute value have the same square.
        weighted *= numbers.ranks
        squared[:] = np.add.reduceat(weighted, numbers.first_bins)[numbers.column_of[numbers.ranked]]
    return values, squares


def _level_sums(
    known: CategoryLevels, reference: _ReferenceSums, name: str, parts: Sequence[CategoryCounts]
) -> tuple[list[Statistic], Floats]:
    """The share of each tested level of a category, and rows with it in every block, shape (blocks, levels)."""
    own = reference.levels[name]
    if not known.wide:
        counts = np.concatenate([own, _stack([p.levels for p in parts])]) if parts else own
        return [Statistic("share", level) for level in known.kept], counts
    before, after = reference.hitters[name], _rows_by_level(parts)
    pooled = Counter({level: sum(rows.values()) for level, rows in before.items()})
    pooled.update({level: sum(rows.values()) for level, rows in after.items()})
    ranked = sorted(((-rows, level) for level, rows in pooled.items() if rows > MIN_LEVEL_ROWS))[: known.most]
    sums = np.zeros((len(own) + len(parts), len(ranked)))
    for i, (_, level) in enumerate(ranked):
        for block, rows in before.get(level, {}).items():
            sums[block, i] = rows
        for block, rows in after.get(level, {}).items():
            sums[len(own) + block, i] = rows
    return [Statistic("share", level) for _, level in ranked], sums


def _remainder_sums(
    profile: ReferenceProfile, reference: _ReferenceSums, name: str, parts: Sequence[CategoryCounts]
) -> Floats:
    """Rows with other, unseen and missing values in every block, shape (blocks, 3)."""
    others, unseens = reference.remainders[name]
    if parts:
        # A window block belongs to no fold, so it gets the mean over the lists of all folds.
        others = np.concatenate([others, _stack([p.other for p in parts]).mean(axis=1)])
        unseens = np.concatenate([unseens, _stack([p.unseen for p in parts]).mean(axis=1)])
    missing = [block.categories[name].nulls for block in profile.blocks] + [part.nulls for part in parts]
    return np.column_stack([others, unseens, np.array(missing, dtype=np.float64)])
