"""What the decision rule looks at: sums over a block's rows of many simple functions of one column.

Each is linear in the counts of a block profile, so the sum over any set of blocks is a sum of sums. Which functions
there are depends on the reference alone, except for columns of many levels: there the most frequent levels of all
blocks together are taken, reference and window alike, so that a new level can be seen.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from weakref import WeakKeyDictionary

import numpy as np

from monitor.baseline import Baseline
from monitor.coding import CategoryLevels, Floats, Ints, NumberBins
from monitor.counting import CategoryCounts, NumberCounts
from monitor.profile import BlockProfile

FindingKind = Literal["number", "category"]
Effect = Literal["location", "spread", "share_below", "missing", "share", "other", "unseen"]

# A number with fewer reference values is watched for missing ones only, a level with fewer rows not by itself.
MINIMUM_VALUES: Final = 200
MINIMUM_LEVEL_ROWS: Final = 10
# Smallest changes that may alarm unless the user sets others. 0.02 of the distribution function is the change that a
# shift of 0.05 standard deviations makes in a normal column.
FLOOR_BELOW: Final = 0.02
FLOOR_RANK: Final = 0.0141
FLOOR_SHARE: Final = 0.02
FLOOR_RARE: Final = 0.005  # missing and unseen
BELOW_PER_STD: Final = 0.39894  # change of the distribution function at the median per standard deviation of shift
RANK_PER_STD: Final = 0.28209  # change of the mean rank per standard deviation of shift, for a normal column

_FLOORS: Final[Mapping[str, float]] = {
    "location": FLOOR_RANK, "spread": FLOOR_RANK, "share_below": FLOOR_BELOW, "share": FLOOR_SHARE,
    "other": FLOOR_SHARE, "missing": FLOOR_RARE, "unseen": FLOOR_RARE,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Functional:
    effect: Effect
    detail: str | None = None


@dataclass(eq=False)
class Sums:
    """Sums of every functional over the rows of every block, shape (blocks, functionals), reference blocks first.

    `squares`: of the functionals squared, the same shape; for a share it is the share. Functionals of one column stand
    together, in the order of `names`.
    """

    names: list[str] = field(default_factory=list)
    kinds: list[FindingKind] = field(default_factory=list)
    functionals: list[Functional] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _sums: list[Floats] = field(default_factory=list)
    _squares: list[Floats] = field(default_factory=list)

    @property
    def values(self) -> Floats:
        return np.concatenate(self._sums, axis=1)

    @property
    def squares(self) -> Floats:
        return np.concatenate(self._squares, axis=1)

    @property
    def starts(self) -> Ints:
        """Where the functionals of each column begin."""
        return np.array(self._starts, dtype=np.int64)

    def add(self, name: str, kind: FindingKind, looked_at: list[Functional], sums: Floats, squares: Floats) -> None:
        """A column with its functionals, shape (blocks, functionals); one that none looks at is left out."""
        if not looked_at:
            return
        self._starts.append(len(self.functionals))
        self.functionals += looked_at
        self.names.append(name)
        self.kinds.append(kind)
        self._sums.append(sums)
        self._squares.append(squares)


@dataclass(frozen=True, eq=False)
class _Reference:
    """What does not change from window to window, stacked by block once."""

    ranks: Mapping[str, Floats]  # (bins,): mid-rank of the bin among reference values, minus one half
    looked_at: Mapping[str, tuple[list[Functional], Ints, Ints]]
    sums: Mapping[str, Floats]  # (blocks, functionals of the column)
    levels: Mapping[str, Floats]
    hitters: Mapping[str, Mapping[str, Mapping[int, int]]]  # column, level, block: rows
    folded: Mapping[str, tuple[Floats, Floats]]  # other and unseen of each block, by the lists without its fold


_REFERENCES: Final[WeakKeyDictionary[Baseline, _Reference]] = WeakKeyDictionary()


def block_sums(baseline: Baseline, window: Sequence[BlockProfile], without: Sequence[str] = ()) -> Sums:
    """Sums over the reference blocks and the blocks of a window, of every column but those named in `without`."""
    reference = _REFERENCES.get(baseline)
    if reference is None:
        reference = _REFERENCES[baseline] = _stacked(baseline)
    found = Sums()
    for name, bins in baseline.coding.numbers.items():
        if name not in without:
            _number(found, bins, reference, name, [block.numbers[name] for block in window])
    for name, levels in baseline.coding.categories.items():
        if name not in without:
            parts = [block.categories[name] for block in window]
            shares, sums = _levels(levels, reference, name, parts)
            looked_at: list[Functional] = [*shares, Functional("other"), Functional("unseen"), Functional("missing")]
            every = np.concatenate([sums, _remainder(baseline, reference, name, parts)], axis=1)
            found.add(name, "category", looked_at, every, every)
    return found


def floors_of(sums: Sums, floors: Mapping[str, float]) -> Floats:
    """The smallest change of each functional that may alarm, in its own unit; see `decide` for the unit of floors."""
    found = np.array([_FLOORS[functional.effect] for functional in sums.functionals])
    starts = sums.starts.tolist()
    for name, kind, start, end in zip(sums.names, sums.kinds, starts, [*starts[1:], len(found)], strict=True):
        floor = floor_of(name, floors)
        if floor is None:
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
                    found[at] = min(floor, FLOOR_RARE)
    return found


def floor_of(name: str, floors: Mapping[str, float]) -> float | None:
    """The floor set for a column, or for the text column it is derived from."""
    return floors.get(name, floors.get(name.rpartition(".")[0]))


def _stacked(baseline: Baseline) -> _Reference:
    blocks, folds = baseline.blocks, baseline.fold_of
    ranks, looked_at, sums = {}, {}, {}
    for name, bins in baseline.coding.numbers.items():
        counts = _stack([b.numbers[name].counts for b in blocks])
        own = counts.sum(axis=0)
        values = int(own.sum())
        looked_at[name] = _looked_at(bins, values)
        ranks[name] = (np.cumsum(own) - own / 2.0) / max(values, 1) - 0.5
        sums[name] = _number_sums(bins, ranks[name], counts, [b.numbers[name] for b in blocks])
    levels, hitters, folded = {}, {}, {}
    at = np.arange(len(blocks))
    for name, known in baseline.coding.categories.items():
        parts = [b.categories[name] for b in blocks]
        levels[name] = _stack([part.levels for part in parts])
        folded[name] = _stack([p.other for p in parts])[at, folds], _stack([p.unseen for p in parts])[at, folds]
        hitters[name] = _by_level(parts) if known.wide else {}
    return _Reference(ranks, looked_at, sums, levels, hitters, folded)


def _by_level(parts: Sequence[CategoryCounts]) -> dict[str, dict[int, int]]:
    found: dict[str, dict[int, int]] = {}
    for block, part in enumerate(parts):
        for level, rows in part.hitters.items():
            found.setdefault(level, {})[block] = rows
    return found


def _stack(parts: Sequence[Ints]) -> Floats:
    return np.stack(parts).astype(np.float64)


def _number_sums(bins: NumberBins, ranks: Floats, counts: Floats, parts: Sequence[NumberCounts]) -> Floats:
    """Location, spread, their square, share up to each edge of the grid, missing: (blocks, 4 + edges)."""
    upto = np.cumsum(counts, axis=1)[:, list(bins.grid)]
    nulls = np.array([part.nulls for part in parts], dtype=np.float64)
    return np.column_stack([counts @ ranks, counts @ np.abs(ranks), counts @ ranks**2, upto, nulls])


def _number(found: Sums, bins: NumberBins, reference: _Reference, name: str, parts: Sequence[NumberCounts]) -> None:
    sums = reference.sums[name]
    if parts:
        counts = _stack([part.counts for part in parts])
        sums = np.concatenate([sums, _number_sums(bins, reference.ranks[name], counts, parts)])
    looked_at, chosen, squared = reference.looked_at[name]
    found.add(name, "number", looked_at, sums[:, chosen], sums[:, squared])


def _looked_at(bins: NumberBins, values: int) -> tuple[list[Functional], Ints, Ints]:
    """Functionals of a number, the columns of `_number_sums` they are, and those of their squares."""
    found: list[Functional] = []
    chosen: list[int] = []
    if values > MINIMUM_VALUES:
        if "location" in bins.tests:
            found.append(Functional("location"))
            chosen.append(0)
        if "spread" in bins.tests:
            found.append(Functional("spread"))
            chosen.append(1)
        if "below" in bins.tests:
            found += [Functional("share_below", f"{bins.edges[edge]:.6g}") for edge in bins.grid]
            chosen += range(3, 3 + len(bins.grid))
    if "missing" in bins.tests:
        found.append(Functional("missing"))
        chosen.append(3 + len(bins.grid))
    # The square of a share is the share; location and spread have the same square.
    return found, np.array(chosen, dtype=np.int64), np.array([max(c, 2) for c in chosen], dtype=np.int64)


def _levels(
    known: CategoryLevels, reference: _Reference, name: str, parts: Sequence[CategoryCounts]
) -> tuple[list[Functional], Floats]:
    own = reference.levels[name]
    if not known.wide:
        counts = np.concatenate([own, _stack([p.levels for p in parts])]) if parts else own
        return [Functional("share", level) for level in known.kept], counts
    before, after = reference.hitters[name], _by_level(parts)
    pooled = Counter({level: sum(rows.values()) for level, rows in before.items()})
    pooled.update({level: sum(rows.values()) for level, rows in after.items()})
    ranked = sorted(((-rows, level) for level, rows in pooled.items() if rows > MINIMUM_LEVEL_ROWS))[: known.most]
    sums = np.zeros((len(own) + len(parts), len(ranked)))
    for i, (_, level) in enumerate(ranked):
        for block, rows in before.get(level, {}).items():
            sums[block, i] = rows
        for block, rows in after.get(level, {}).items():
            sums[len(own) + block, i] = rows
    return [Functional("share", level) for _, level in ranked], sums


def _remainder(baseline: Baseline, reference: _Reference, name: str, parts: Sequence[CategoryCounts]) -> Floats:
    """Other, unseen and missing: (blocks, 3)."""
    others, unseens = reference.folded[name]
    if parts:
        # A window block has no fold of its own: the mean over the lists of all folds.
        others = np.concatenate([others, _stack([p.other for p in parts]).mean(axis=1)])
        unseens = np.concatenate([unseens, _stack([p.unseen for p in parts]).mean(axis=1)])
    missing = [block.categories[name].nulls for block in baseline.blocks] + [part.nulls for part in parts]
    return np.column_stack([others, unseens, np.array(missing, dtype=np.float64)])
