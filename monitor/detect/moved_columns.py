"""Which columns moved within a reference, so that later changes within that range cannot be told from it.

The blocks of a reference are assumed to be alike. If a column went from one level to another within it, its blocks
differ as much as a later change would, and the permutation test of windows stays silent. So the reference itself is
tested once, when it is fitted: every stretch of blocks against the others, start against end among them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from core.arrays import Floats, Ints
from monitor.detect.findings import meaning_of
from monitor.detect.permutation_statistics import BlockSums, block_sums, min_effects_of
from monitor.profile.reference_profile import ReferenceProfile

ALPHA: Final = 0.01  # probability that a reference of exchangeable blocks is said to have moved, all columns together
PERMUTATIONS: Final = 199
MAX_BLOCKS: Final = 32  # neighbouring blocks are joined until there are no more than this
MIN_BLOCKS: Final = 8
MIN_DAYS: Final = 8  # with fewer days, parts of days are compared, and only plain moves are named
# A move counts only if it is this many times the smallest change that may alarm by default, at least the floor that the
# user set, and twice as large as blocks usually differ on either side of it.
MOVED_FLOORS: Final = 5.0
USUAL_SWINGS: Final = 2.0
MIN_SHARE: Final = 0.1  # of the rows, on either side of a move
# A nearly complete move that explains most of what the blocks differ by needs no p, if a quarter of the rows lies on
# either side: a few days have too few orders to make it a rare one, and it hides whatever comes later.
PLAIN_SHARE: Final = 0.8
PLAIN_RANK: Final = 0.42
PLAIN_EXPLAINED: Final = 0.8
MIN_PLAIN_ROWS: Final = 0.25
PLAINER: Final = 0.5  # a mean or the share of a level is named where it moved at least half as far as the largest move


@dataclass(frozen=True)
class MovedColumn:
    """One column that moved within the reference: its largest move.

    `effect`, `detail`: of which statistic. `before`, `after`: its mean on either side, in `unit`; where the move took
    back (`end` is not the last block), outside and inside the stretch. `low`, `high`: the range of its blocks. `begin`,
    `end`: profile blocks of the stretch after the move, as indices, `end` excluded. `p`: adjusted for all
    columns; None for a plain move, which needs none.
    """

    column: str
    effect: str
    detail: str | None
    before: float
    after: float
    low: float
    high: float
    unit: str
    begin: int
    end: int
    p: float | None


@dataclass(frozen=True)
class Stability:
    """What moved within a reference. `stable_from`: first profile block of its last stretch in which nothing moved, as
    an index; None where there is none, or where nothing moved.
    """

    moved: tuple[MovedColumn, ...]
    stable_from: int | None


@dataclass(frozen=True, eq=False)
class _Groups:
    """Neighbouring profile blocks that are compared as one: `starts` and `ends`, indices of profile blocks; `rows`."""

    starts: Ints
    ends: Ints
    rows: Floats


def stability(
    profile: ReferenceProfile, floors: Mapping[str, float], *, day: int | None = None, seed: int = 0
) -> Stability:
    """Test a reference for columns that moved within it, and find its last stable stretch.

    Args:
        profile: of the reference.
        floors: `floors` of the spec, by column, as `decide` takes them.
        day: profile blocks in one day; None where blocks are not parts of days.
        seed: of the random orders.
    """
    moved = moved_columns(profile, floors, day=day, seed=seed)
    start, found, part = 0, moved, profile
    while found:
        edges = [edge for m in found for edge in (m.begin, m.end) if 0 < edge < len(part.blocks)]
        start += max(edges)
        part = replace(profile, blocks=profile.blocks[start:], labels=profile.labels[start:])
        groups, alike = _groups(part, day)
        if not alike or len(groups.rows) < MIN_BLOCKS:
            return Stability(moved, None)  # too short to tell
        found = moved_columns(part, floors, day=day, seed=seed)
    return Stability(moved, start or None)


def moved_columns(
    profile: ReferenceProfile, floors: Mapping[str, float], *, day: int | None = None, seed: int = 0
) -> tuple[MovedColumn, ...]:
    """Columns whose distribution moved within the reference, the largest move first.

    Blocks are taken in random order in place of their own; p is the share of orders in which any move of any column
    stands out as much. It is exact if blocks are exchangeable. A plain move is named whatever its p. Days that resemble
    their neighbours for a while, without any trend, are said to have moved more often than ALPHA.

    Args:
        profile: of the reference.
        floors: `floors` of the spec, by column.
        day: profile blocks in one day; None where blocks are not parts of days.
        seed: of the random orders.

    Returns:
        Empty where nothing moved, and where the reference has fewer than MIN_BLOCKS blocks.

    Source: scan over all intervals after Levin and Kline (1985), with the maximum statistic of Westfall and Young
    (1993) over columns.
    """
    groups, alike = _groups(profile, day)
    if len(groups.rows) < MIN_BLOCKS:
        return ()
    sums = block_sums(profile, ())
    least = _least_moves(sums, floors, profile)
    y = np.add.reduceat(sums.values, groups.starts, axis=0)
    means = y / groups.rows[:, None]
    able = np.flatnonzero(means.max(axis=0) - means.min(axis=0) >= least)  # in no order can any other statistic move
    if not len(able):
        return ()
    begins, ends = np.triu_indices(len(groups.rows) + 1, k=1)
    observed, plain = np.zeros((len(begins), len(least))), np.zeros(len(least), dtype=bool)
    observed[:, able], change, explained = _moves(y[:, able], groups.rows, begins, ends, least[able])
    if not observed.any():
        return ()
    ranked = np.array([s.effect in ("location", "spread") for s in sums.statistics])[able]
    upto = np.concatenate([[0.0], np.cumsum(groups.rows)]) / groups.rows.sum()
    inside = (upto[ends] - upto[begins])[:, None]
    large = (change >= np.where(ranked, PLAIN_RANK, PLAIN_SHARE)) & (np.abs(inside - 0.5) <= 0.5 - MIN_PLAIN_ROWS)
    large &= explained >= PLAIN_EXPLAINED
    plain[able] = large.any(axis=0)
    if not alike:  # only plain moves
        observed[:, able] *= large
    random, largest = np.random.default_rng(seed), np.full(PERMUTATIONS, np.inf)
    for i in range(PERMUTATIONS if alike else 0):
        order = random.permutation(len(groups.rows))
        largest[i] = _moves(y[order][:, able], groups.rows[order], begins, ends, least[able])[0].max()
        if np.count_nonzero(largest[: i + 1] >= observed.max() - 1e-9) > ALPHA * (1 + PERMUTATIONS) - 1:
            break  # nothing can reach ALPHA any more; the orders left count as if they reached it
    found = []
    for name, first, last in zip(sums.names, sums.starts, [*sums.starts[1:], len(least)], strict=True):
        size = float(observed[:, first:last].max())
        p = (1 + np.count_nonzero(largest >= size - 1e-9)) / (1 + PERMUTATIONS)
        if size > 0 and (p <= ALPHA or plain[first:last].any()):
            stretch, statistic = _leading(sums, observed, int(first), int(last))
            move = groups, int(begins[stretch]), int(ends[stretch])
            found.append((size, _described(profile, sums, y, name, statistic, move, p if p <= ALPHA else None)))
    return tuple(m for _, m in sorted(found, key=lambda f: -f[0]))


def _groups(profile: ReferenceProfile, day: int | None) -> tuple[_Groups, bool]:
    """Days, or profile blocks where days are few or blocks are no parts of days, joined with their neighbours.

    Returns:
        The groups, and whether they are alike if nothing moves: hours and quarters of a few days are not.
    """
    labels = np.array(profile.labels, dtype=np.int64)
    days = np.unique(labels // (day or 1), return_index=True)[1]
    alike = day is None or len(days) >= MIN_DAYS
    single = days if alike else np.arange(len(labels))
    together = -(-len(single) // MAX_BLOCKS)
    starts = single[::together]
    if len(starts) > 1 and len(single) % together and 2 * (len(single) % together) < together:
        starts = starts[:-1]  # a short rest belongs to the group before it
    rows = np.array([block.rows for block in profile.blocks], dtype=np.float64)
    return _Groups(starts, np.array([*starts[1:], len(labels)]), np.add.reduceat(rows, starts)), alike


def _moves(y: Floats, rows: Floats, begins: Ints, ends: Ints, least: Floats) -> tuple[Floats, Floats, Floats]:
    """How far each statistic moved in every stretch, against the other groups, shape (stretches, statistics).

    It is the change of its mean over the smallest that counts, times the share of the groups' variance that the stretch
    explains; 0 where the change is too small, or not twice as large as the groups usually differ.

    Returns:
        That, then the absolute change and the share that is explained, each of the same shape.
    """
    total = rows.sum()
    e = y - rows[:, None] * (y.sum(axis=0) / total)[None, :]
    run = np.vstack([np.zeros(y.shape[1]), np.cumsum(e, axis=0)])
    upto = np.concatenate([[0.0], np.cumsum(rows)])
    inside = ((upto[ends] - upto[begins]) / total)[:, None]
    usable = (inside >= MIN_SHARE) & (inside <= 1 - MIN_SHARE)
    weight = np.where(usable, inside * (1 - inside), 1.0)
    gap = np.where(usable, run[ends] - run[begins], 0.0)
    change = np.abs(gap) / (total * weight)
    squared = gap**2 / (np.maximum(np.sum(e * e, axis=0), 1e-12)[None, :] * weight)
    explained = np.minimum(squared / len(rows), 1.0)
    counts = (change >= least) & (explained >= USUAL_SWINGS**2 * weight * (1 - explained))
    return np.where(counts, explained * change / least, 0.0), change, explained


def _least_moves(sums: BlockSums, floors: Mapping[str, float], profile: ReferenceProfile) -> Floats:
    encoded = profile.coding.encoded
    return np.maximum(MOVED_FLOORS * min_effects_of(sums, {}, encoded), min_effects_of(sums, floors, encoded))


def _leading(sums: BlockSums, moves: Floats, first: int, last: int) -> tuple[int, int]:
    """Stretch and statistic of a column's move: of its mean where that moved, else of what moved farthest."""
    mine, effects = moves[:, first:last], [statistic.effect for statistic in sums.statistics[first:last]]
    for preferred in ("location", "share"):  # where they moved too, they say it in plainer words
        named = np.array([effect == preferred for effect in effects])
        if preferred in effects and mine[:, named].max() >= PLAINER * mine.max():
            mine = np.where(named, mine, 0.0)
    stretch, at = np.unravel_index(np.argmax(mine), mine.shape)
    return int(stretch), first + int(at)


def _described(
    profile: ReferenceProfile,
    sums: BlockSums,
    y: Floats,
    name: str,
    at: int,
    move: tuple[_Groups, int, int],
    p: float | None,
) -> MovedColumn:
    groups, begin, end = move
    statistic = sums.statistics[at]
    totals, counts, effect, unit = y[:, at], groups.rows, str(statistic.effect), "share of rows"
    if statistic.effect in ("location", "spread"):
        unit = "mean rank, 0..1"
        means = _values(profile, name, groups)
        if statistic.effect == "location" and means is not None:
            (totals, counts), effect, unit = means, "mean", "the column's own"
        elif statistic.effect == "location":
            totals = totals + 0.5 * counts
    inside = np.zeros(len(counts), dtype=bool)
    inside[begin:end] = True
    if begin == 0:  # from the first block on: what follows it came later
        inside, begin, end = ~inside, end, len(counts)
    before, after = (float(totals[part].sum() / max(counts[part].sum(), 1.0)) for part in (~inside, inside))
    each = totals[counts > 0] / counts[counts > 0]
    blocks = len(profile.blocks)
    return MovedColumn(
        column=name, effect=effect, detail=statistic.detail, before=before, after=after, low=float(each.min()),
        high=float(each.max()), unit=unit, begin=int(groups.starts[begin]),
        end=blocks if end == len(counts) else int(groups.starts[end]), p=p,
    )  # fmt: skip


def _values(profile: ReferenceProfile, name: str, groups: _Groups) -> tuple[Floats, Floats] | None:
    """Sum and number of the values of a number in each group; None where a sum is too large to mean anything."""
    if meaning_of(profile, name) is not None:
        return None
    own = [block.numbers[name] for block in profile.blocks]
    totals = np.add.reduceat(np.array([counts.total for counts in own]), groups.starts)
    counts = np.add.reduceat(np.array([float(counts.counts.sum()) for counts in own]), groups.starts)
    return (totals, counts) if np.all(np.isfinite(totals)) and np.all(np.abs(totals) < 1e300) else None
