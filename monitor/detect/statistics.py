"""What the decision rule looks at: sums over a block's rows of many simple functions of one column.

Each is linear in the counts of a block profile, so the sum over any set of blocks is a sum of sums. Which functions
there are depends on the reference alone, except for columns of many levels: there the most frequent levels of all
blocks together are taken, reference and window alike, so that a new level can be seen.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from monitor.profile.block import BlockProfile
from monitor.profile.coding import CategoryLevels, Floats, Ints, NumberBins
from monitor.profile.counting import CategoryCounts
from monitor.profile.reference_profile import ReferenceProfile

FindingKind = Literal["number", "category"]
Effect = Literal["location", "spread", "share_below", "missing", "share", "other", "unseen"]

# A number with fewer reference values is watched for missing ones only, a level with fewer rows not by itself.
MIN_VALUES: Final = 200
MIN_LEVEL_ROWS: Final = 10
# Smallest changes that may alarm unless the user sets others. 0.02 of the distribution function is the change that a
# shift of 0.05 standard deviations makes in a normal column.
MIN_EFFECT_BELOW: Final = 0.02
MIN_EFFECT_RANK: Final = 0.0141
MIN_EFFECT_SHARE: Final = 0.02
MIN_EFFECT_RARE: Final = 0.005  # missing and unseen
# Of these, for what a text or vector is seen by: rows of another kind move each of its columns by part of their share.
DERIVED_MIN_EFFECT_FACTOR: Final = 0.5
BELOW_PER_STD: Final = 0.39894  # change of the distribution function at the median per standard deviation of shift
RANK_PER_STD: Final = 0.28209  # change of the mean rank per standard deviation of shift, for a normal column

_MIN_EFFECTS: Final[Mapping[str, float]] = {
    "location": MIN_EFFECT_RANK, "spread": MIN_EFFECT_RANK, "share_below": MIN_EFFECT_BELOW, "share": MIN_EFFECT_SHARE,
    "other": MIN_EFFECT_SHARE, "missing": MIN_EFFECT_RARE, "unseen": MIN_EFFECT_RARE,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Statistic:
    effect: Effect
    detail: str | None = None


@dataclass(frozen=True, eq=False)
class BlockSums:
    """Sums of every functional over the rows of every block, shape (blocks, functionals), reference blocks first.

    Functionals of one column stand together, in the order of `names`; `starts`: where those of each column begin.
    `ranked`: which functionals are no shares; `squares`: sums of those squared, shape (blocks, ranked). The square of a
    share is the share.
    """

    names: Sequence[str]
    kinds: Sequence[FindingKind]
    functionals: Sequence[Statistic]
    starts: Ints
    values: Floats
    ranked: Ints
    squares: Floats


@dataclass(frozen=True, eq=False)
class _NumberStatistics:
    """What is looked at of all numbers together, whose bins stand one column after the other."""

    names: list[str]
    functionals: list[Statistic]
    of: Ints  # (functionals,): number of the column
    begins: Ints  # (columns,): the first bin of each
    ranks: Floats  # (bins,): mid-rank of the bin among the column's reference values, minus one half
    edges: Ints  # (functionals,): the bin up to whose end a share is counted
    effects: NDArray[np.str_]  # (functionals,)
    ranked: Ints  # location and spread


@dataclass(frozen=True, eq=False)
class _ReferenceSums:
    """What does not change from window to window, stacked by block once."""

    looks: _NumberStatistics
    sums: tuple[Floats, Floats]  # of numbers: (blocks, functionals) and (blocks, ranked)
    levels: Mapping[str, Floats]
    hitters: Mapping[str, Mapping[str, Mapping[int, int]]]  # column, level, block: rows
    folded: Mapping[str, tuple[Floats, Floats]]  # other and unseen of each block, by the lists without its fold


_REFERENCE_SUMS: Final[WeakKeyDictionary[ReferenceProfile, _ReferenceSums]] = WeakKeyDictionary()


def block_sums(baseline: ReferenceProfile, window: Sequence[BlockProfile], without: Sequence[str] = ()) -> BlockSums:
    """Sums over the reference blocks and the blocks of a window, of every column but those named in `without`."""
    reference = _REFERENCE_SUMS.get(baseline)
    if reference is None:
        reference = _REFERENCE_SUMS[baseline] = _sum_reference(baseline)
    looks, categories = reference.looks, []
    for name, levels in baseline.coding.categories.items():
        if name not in without:
            parts = [block.categories[name] for block in window]
            shares, sums = _level_sums(levels, reference, name, parts)
            looked_at = [*shares, Statistic("other"), Statistic("unseen"), Statistic("missing")]
            categories.append((name, looked_at, np.hstack([sums, _remainder_sums(baseline, reference, name, parts)])))
    left_out = np.isin(looks.names, list(without))[looks.of] if without else np.zeros(len(looks.of), dtype=bool)
    kept, ranked = np.flatnonzero(~left_out), ~left_out[looks.ranked]
    own, (values, squares) = reference.sums, _number_sums(looks, window)
    if without:
        own, values, squares = (own[0][:, kept], own[1][:, ranked]), values[:, kept], squares[:, ranked]
    columns, starts = np.unique(looks.of[kept], return_index=True)
    begins = starts.tolist()
    functionals = [looks.functionals[i] for i in kept] if without else list(looks.functionals)
    for _, looked_at, _ in categories:
        begins.append(len(functionals))
        functionals += looked_at
    every = np.empty((len(own[0]) + len(window), len(functionals)))
    every[: len(own[0]), : len(kept)], every[len(own[0]) :, : len(kept)] = own[0], values
    for begin, (_, looked_at, sums) in zip(begins[len(columns) :], categories, strict=True):
        every[:, begin : begin + len(looked_at)] = sums
    kinds: list[FindingKind] = ["number"] * len(columns)
    kinds += ["category"] * len(categories)
    names = [looks.names[c] for c in columns] + [name for name, _, _ in categories]
    at = np.searchsorted(kept, looks.ranked[ranked])
    return BlockSums(
        names, kinds, functionals, np.array(begins, dtype=np.int64), every, at, np.concatenate([own[1], squares])
    )


def min_effects_of(sums: BlockSums, floors: Mapping[str, float], encoded: Collection[str]) -> Floats:
    """The smallest change of each functional that may alarm, in its own unit; see `decide` for the unit of floors.

    Args:
        encoded: names of the text and vector columns.
    """
    found = np.array([_MIN_EFFECTS[functional.effect] for functional in sums.functionals])
    starts = sums.starts.tolist()
    for name, kind, start, end in zip(sums.names, sums.kinds, starts, [*starts[1:], len(found)], strict=True):
        floor = min_effect_of(name, floors)
        if floor is None:
            if is_derived_from(name, encoded):
                found[start:end] = [
                    least if functional.effect == "missing" else DERIVED_MIN_EFFECT_FACTOR * least
                    for least, functional in zip(found[start:end], sums.functionals[start:end], strict=True)
                ]
            continue
        if kind == "category" and name not in floors:
            floor *= BELOW_PER_STD  # set for a text column, in standard deviations
        for at in range(start, end):
            match sums.functionals[at].effect:
                case "location" | "spread":
                    found[at] = floor * RANK_PER_STD
                case "share_below":
                    found[at] = floor * BELOW_PER_STD
                case "share" | "other":
                    found[at] = floor
                case "missing" | "unseen":
                    found[at] = min(floor, MIN_EFFECT_RARE)
    return found


def is_derived_from(name: str, encoded: Collection[str]) -> bool:
    """Whether a column is what one of these is seen by."""
    return name.rpartition(".")[0] in encoded


def min_effect_of(name: str, floors: Mapping[str, float]) -> float | None:
    """The floor set for a column, or for the text column it is derived from."""
    return floors.get(name, floors.get(name.rpartition(".")[0]))


def _sum_reference(baseline: ReferenceProfile) -> _ReferenceSums:
    blocks, folds = baseline.blocks, baseline.fold_of
    looks = _number_statistics(baseline)
    levels, hitters, folded = {}, {}, {}
    at = np.arange(len(blocks))
    for name, known in baseline.coding.categories.items():
        parts = [b.categories[name] for b in blocks]
        levels[name] = _stack([part.levels for part in parts])
        folded[name] = _stack([p.other for p in parts])[at, folds], _stack([p.unseen for p in parts])[at, folds]
        hitters[name] = _rows_by_level(parts) if known.wide else {}
    return _ReferenceSums(looks, _number_sums(looks, blocks), levels, hitters, folded)


def _rows_by_level(parts: Sequence[CategoryCounts]) -> dict[str, dict[int, int]]:
    found: dict[str, dict[int, int]] = {}
    for block, part in enumerate(parts):
        for level, rows in part.hitters.items():
            found.setdefault(level, {})[block] = rows
    return found


def _stack(parts: Sequence[Ints]) -> Floats:
    return np.stack(parts).astype(np.float64)


def _number_statistics(baseline: ReferenceProfile) -> _NumberStatistics:
    numbers = baseline.coding.numbers
    functionals: list[Statistic] = []
    of: list[int] = []
    edges: list[int] = []
    ranks, begins, begin = [np.zeros(0)], [], 0
    for column, (name, bins) in enumerate(numbers.items()):
        own = baseline.total.numbers[name].counts
        values = int(own.sum())
        ranks.append((np.cumsum(own) - own / 2.0) / max(values, 1) - 0.5)
        looked_at = _statistics_of(bins, values)
        functionals += [functional for functional, _ in looked_at]
        edges += [begin + edge for _, edge in looked_at]
        of += [column] * len(looked_at)
        begins.append(begin)
        begin += len(own)
    effects = np.array([functional.effect for functional in functionals], dtype=np.str_)
    return _NumberStatistics(
        list(numbers), functionals, np.array(of, dtype=np.int64), np.array(begins, dtype=np.int64),
        np.concatenate(ranks), np.array(edges, dtype=np.int64), effects,
        np.flatnonzero((effects == "location") | (effects == "spread")),
    )  # fmt: skip


def _statistics_of(bins: NumberBins, values: int) -> list[tuple[Statistic, int]]:
    """Functionals of a number, with the bin up to whose end a share is counted, 0 for others."""
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


def _number_sums(looks: _NumberStatistics, blocks: Sequence[BlockProfile]) -> tuple[Floats, Floats]:
    """Sums of the functionals of all numbers, shape (blocks, functionals), and of the squares of the ranked ones."""
    values, squares = np.zeros((len(blocks), len(looks.of))), np.zeros((len(blocks), len(looks.ranked)))
    if not len(looks.of):
        return values, squares
    location, spread, below, missing = (
        np.flatnonzero(looks.effects == effect) for effect in ("location", "spread", "share_below", "missing")
    )
    for block, to, squared in zip(blocks, values, squares, strict=True):
        counts = np.concatenate([block.numbers[name].counts for name in looks.names])
        nulls = np.array([block.numbers[name].nulls for name in looks.names])
        upto = np.cumsum(counts)
        before = upto[looks.begins] - counts[looks.begins]
        weighted = counts * looks.ranks
        to[location] = np.add.reduceat(weighted, looks.begins)[looks.of[location]]
        to[spread] = np.add.reduceat(np.abs(weighted), looks.begins)[looks.of[spread]]
        to[below] = upto[looks.edges[below]] - before[looks.of[below]]
        to[missing] = nulls[looks.of[missing]]
        # Location and spread have the same square.
        weighted *= looks.ranks
        squared[:] = np.add.reduceat(weighted, looks.begins)[looks.of[looks.ranked]]
    return values, squares


def _level_sums(
    known: CategoryLevels, reference: _ReferenceSums, name: str, parts: Sequence[CategoryCounts]
) -> tuple[list[Statistic], Floats]:
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
    baseline: ReferenceProfile, reference: _ReferenceSums, name: str, parts: Sequence[CategoryCounts]
) -> Floats:
    """Other, unseen and missing: (blocks, 3)."""
    others, unseens = reference.folded[name]
    if parts:
        # A window block has no fold of its own: the mean over the lists of all folds.
        others = np.concatenate([others, _stack([p.other for p in parts]).mean(axis=1)])
        unseens = np.concatenate([unseens, _stack([p.unseen for p in parts]).mean(axis=1)])
    missing = [block.categories[name].nulls for block in baseline.blocks] + [part.nulls for part in parts]
    return np.column_stack([others, unseens, np.array(missing, dtype=np.float64)])
