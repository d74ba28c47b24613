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
from monitor.profile import BlockProfile, CategoryCounts, NumberCounts

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


@dataclass(frozen=True, slots=True)
class Functional:
    column: int
    effect: Effect
    detail: str | None


@dataclass(eq=False)
class Sums:
    """Sums of every functional over the rows of every block, shape (blocks, functionals), reference blocks first.

    `squares`: of the functionals squared, the same shape; for a share it is the share. Functionals of one column stand
    together, in the order of `names`.
    """

    names: list[str] = field(default_factory=list)
    kinds: list[FindingKind] = field(default_factory=list)
    functionals: list[Functional] = field(default_factory=list)
    _sums: list[Floats] = field(default_factory=list)
    _squares: list[Floats] = field(default_factory=list)

    @property
    def values(self) -> Floats:
        return np.stack(self._sums, axis=1)

    @property
    def squares(self) -> Floats:
        return np.stack(self._squares, axis=1)

    @property
    def starts(self) -> Ints:
        """Where the functionals of each column begin."""
        return np.flatnonzero(np.diff([-1, *[f.column for f in self.functionals]])).astype(np.int64)

    def begin(self, name: str, kind: FindingKind) -> None:
        self.names.append(name)
        self.kinds.append(kind)

    def add(self, effect: Effect, detail: str | None, sums: Floats, squares: Floats | None = None) -> None:
        self.functionals.append(Functional(len(self.names) - 1, effect, detail))
        self._sums.append(sums)
        self._squares.append(sums if squares is None else squares)

    def end(self) -> None:
        """Forget a column that no functional looks at."""
        if not self.functionals or self.functionals[-1].column != len(self.names) - 1:
            self.names.pop()
            self.kinds.pop()


@dataclass(frozen=True, eq=False)
class _Reference:
    """What does not change from window to window, stacked by block once."""

    ranks: Mapping[str, Floats]  # (bins,): mid-rank of the bin among reference values, minus one half
    values: Mapping[str, int]
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
            found.begin(name, "number")
            _number(found, bins, reference, name, [block.numbers[name] for block in window])
            found.end()
    for name, levels in baseline.coding.categories.items():
        if name not in without:
            found.begin(name, "category")
            parts = [block.categories[name] for block in window]
            _levels(found, levels, reference, name, parts)
            _remainder(found, baseline, reference, name, parts)
    return found


def floors_of(sums: Sums, floors: Mapping[str, float]) -> Floats:
    """The smallest change of each functional that may alarm, in its own unit; see `decide` for the unit of floors."""
    found = np.empty(len(sums.functionals))
    for i, functional in enumerate(sums.functionals):
        name = sums.names[functional.column]
        floor = floor_of(name, floors)
        if floor is not None and sums.kinds[functional.column] == "category" and name not in floors:
            floor *= BELOW_PER_STD  # set for a text column, in standard deviations
        match functional.effect:
            case "location" | "spread":
                found[i] = FLOOR_RANK if floor is None else floor * RANK_PER_STD
            case "share_below":
                found[i] = FLOOR_BELOW if floor is None else floor * BELOW_PER_STD
            case "share" | "other":
                found[i] = FLOOR_SHARE if floor is None else floor
            case "missing" | "unseen":
                found[i] = FLOOR_RARE if floor is None else min(floor, FLOOR_RARE)
    return found


def floor_of(name: str, floors: Mapping[str, float]) -> float | None:
    """The floor set for a column, or for the text column it is derived from."""
    return floors.get(name, floors.get(name.rpartition(".")[0]))


def _stacked(baseline: Baseline) -> _Reference:
    blocks, folds = baseline.blocks, baseline.fold_of
    ranks, values, sums = {}, {}, {}
    for name, bins in baseline.coding.numbers.items():
        counts = _stack([b.numbers[name].counts for b in blocks])
        own = counts.sum(axis=0)
        values[name] = int(own.sum())
        ranks[name] = (np.cumsum(own) - own / 2.0) / max(values[name], 1) - 0.5
        sums[name] = _number_sums(bins, ranks[name], counts, [b.numbers[name] for b in blocks])
    levels, hitters, folded = {}, {}, {}
    at = np.arange(len(blocks))
    for name, known in baseline.coding.categories.items():
        parts = [b.categories[name] for b in blocks]
        levels[name] = _stack([part.levels for part in parts])
        folded[name] = _stack([p.other for p in parts])[at, folds], _stack([p.unseen for p in parts])[at, folds]
        hitters[name] = _by_level(parts) if known.wide else {}
    return _Reference(ranks, values, sums, levels, hitters, folded)


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
    if reference.values[name] > MINIMUM_VALUES:
        if "location" in bins.tests:
            found.add("location", None, sums[:, 0], sums[:, 2])
        if "spread" in bins.tests:
            found.add("spread", None, sums[:, 1], sums[:, 2])
        if "below" in bins.tests:
            for i, edge in enumerate(bins.grid):
                found.add("share_below", f"{bins.edges[edge]:.6g}", sums[:, 3 + i])
    if "missing" in bins.tests:
        found.add("missing", None, sums[:, -1])


def _levels(
    found: Sums, known: CategoryLevels, reference: _Reference, name: str, parts: Sequence[CategoryCounts]
) -> None:
    own = reference.levels[name]
    if not known.wide:
        counts = np.concatenate([own, _stack([p.levels for p in parts])]) if parts else own
        for i, level in enumerate(known.kept):
            found.add("share", level, counts[:, i])
        return
    before, after = reference.hitters[name], _by_level(parts)
    pooled = Counter({level: sum(rows.values()) for level, rows in before.items()})
    pooled.update({level: sum(rows.values()) for level, rows in after.items()})
    ranked = sorted(((-rows, level) for level, rows in pooled.items() if rows > MINIMUM_LEVEL_ROWS))
    for _, level in ranked[: known.most]:
        sums = np.zeros(len(own) + len(parts))
        for block, rows in before.get(level, {}).items():
            sums[block] = rows
        for block, rows in after.get(level, {}).items():
            sums[len(own) + block] = rows
        found.add("share", level, sums)


def _remainder(
    found: Sums, baseline: Baseline, reference: _Reference, name: str, parts: Sequence[CategoryCounts]
) -> None:
    others, unseens = reference.folded[name]
    if parts:
        # A window block has no fold of its own: the mean over the lists of all folds.
        others = np.concatenate([others, _stack([p.other for p in parts]).mean(axis=1)])
        unseens = np.concatenate([unseens, _stack([p.unseen for p in parts]).mean(axis=1)])
    found.add("other", None, others)
    found.add("unseen", None, unseens)
    missing = [block.categories[name].nulls for block in baseline.blocks] + [part.nulls for part in parts]
    found.add("missing", None, np.array(missing, dtype=np.float64))
