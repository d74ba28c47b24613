"""How much more the rows of a window vary than independent rows would: bursts, sessions and people who send many rows.

The early rule takes rows as independent. It divides numbers of rows by this factor, the design effect, so that a burst
of equal rows does not count as evidence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.arrays import Floats, Ints
from monitor.profile.coding import NULL_CODE, Coding, NumberBins, coded_column
from monitor.profile.reference_profile import ReferenceProfile

MAX_ROWS: Final = 50_000  # first rows that are looked at
MIN_CHUNKS: Final = 5
FIRST_CHUNK: Final = 5  # rows of the shortest chunk; the next ones are twice as long
LEVELS: Final = 9  # most frequent levels of a category that are told apart
OCTILES: Final = np.arange(1, 8) / 8
# The factor is taken at this lower quantile of its sampling error, so that few rows make it rather too large.
CAUTION: Final = 0.1
CERTAIN: Final = 1e-5  # chance that a column of independent rows seems to come in bursts
MIN_BURST: Final = 1.5  # design effect that shows bursts
BURST_CAUTION: Final = 10.0  # by which the design effects of a reference with bursts are multiplied


@dataclass(frozen=True, slots=True)
class DesignEffect:
    """`cautious`: with a margin for its sampling error, at least 1. `certain`: its least value, almost surely."""

    cautious: float
    certain: float


def design_effects(
    numbers: Mapping[str, tuple[Floats, NumberBins]],
    categories: Mapping[str, Ints],
    people: Sequence[str | None] | None,
) -> dict[str, DesignEffect]:
    """The design effect of every column.

    Args:
        numbers: by column, values in order of arrival, shape (rows,), and the bins of the reference.
        categories: by column, level codes in order of arrival, shape (rows,).
        people: who each row is about; None where no column says so.
    """
    rows = min(MAX_ROWS, *(len(v) for v, _ in numbers.values()), *(len(c) for c in categories.values()), MAX_ROWS)
    clusters = _clusters(rows, people)
    codes = {name: _octiles(values[:rows], bins) for name, (values, bins) in numbers.items()}
    codes |= {name: _frequent(levels[:rows]) for name, levels in categories.items()}
    return {name: _effect(of, clusters) for name, of in codes.items()}


def window_effects(frame: pl.DataFrame, coding: Coding, person: str | None) -> dict[str, float]:
    """The design effect of every column among the rows of a window, at least 1.

    Args:
        frame: its rows in order of arrival.
        coding: of the reference.
        person: column that names the person a row is about.
    """
    return {name: round(effect.cautious, 4) for name, effect in _of_frame(frame, coding, person).items()}


def _of_frame(frame: pl.DataFrame, coding: Coding, person: str | None) -> dict[str, DesignEffect]:
    frame = frame.head(MAX_ROWS)
    numbers: dict[str, tuple[Floats, NumberBins]] = {}
    categories: dict[str, Ints] = {}
    for name in coding.columns:
        series = frame[name]
        if name in coding.vectors and not series.dtype.is_nested():
            continue  # a text whose vectors are made block by block
        coded = coded_column(series, coding)
        numbers |= {n: (values, coding.numbers[n]) for n, values in coded.numbers.items()}
        categories |= coded.categories
    people = frame[person].cast(pl.String).to_list() if person is not None and person in frame.columns else None
    return design_effects(numbers, categories, people) if frame.height else {}


def with_design_effects(
    profile: ReferenceProfile, frame: pl.DataFrame, blocks: Ints, person: str | None
) -> ReferenceProfile:
    """The reference profile with the design effects of its rows, without those that text encoders were fitted on.

    Args:
        frame: the rows that it was fitted on, in order of arrival.
        blocks: block of each row, shape (rows,), ascending.
    """
    found = _of_frame(frame.filter(pl.Series(blocks >= profile.labels[0])), profile.coding, person)
    # A reference of a few windows cannot know the longest burst: a session may fill the next window.
    bursts = any(effect.certain >= MIN_BURST for effect in found.values())
    factor = BURST_CAUTION if bursts else 1.0
    return replace(profile, design_effects={n: round(factor * e.cautious, 4) for n, e in found.items()})


def _clusters(rows: int, people: Sequence[str | None] | None) -> list[Ints]:
    """Ways to group rows that may resemble each other: chunks of neighbours, and the rows of one person."""
    found = []
    size = FIRST_CHUNK
    while rows >= MIN_CHUNKS * size:
        found.append(np.arange(rows) // size)
        size *= 2
    if rows >= MIN_CHUNKS * FIRST_CHUNK:
        found.append(np.arange(rows) * MIN_CHUNKS // rows)
    if people is not None and rows:
        names = [f"person {p}" if p is not None else f"row {i}" for i, p in enumerate(people[:rows])]
        found.append(np.unique(np.array(names), return_inverse=True)[1])
    return [group.astype(np.int64) for group in found]


def _effect(codes: Ints, clusters: Sequence[Ints]) -> DesignEffect:
    missing = (codes == NULL_CODE).astype(np.int64)
    both = [codes, missing] if 0 < missing.sum() < len(missing) else [codes]
    found = [_ratio(of, group) for of in both for group in clusters]
    return DesignEffect(max([1.0, *(e.cautious for e in found)]), max([1.0, *(e.certain for e in found)]))


def _ratio(codes: Ints, group: Ints) -> DesignEffect:
    """The variance of sums over clusters, against that of independent rows.

    Args:
        codes: level of each row, shape (rows,).
        group: cluster of each row, shape (rows,).

    Returns:
        The pooled ratio over all levels, corrected for few clusters; 1 for a constant column.

    Source: the design effect of cluster samples, Kish (1965), from sums over clusters.
    """
    from scipy.stats import chi2

    level = np.unique(codes, return_inverse=True)[1]
    levels, count = int(level.max()) + 1, int(group.max()) + 1
    if levels < 2 or count < 2:
        return DesignEffect(1.0, 1.0)
    table = np.bincount(group * levels + level, minlength=count * levels).reshape(count, levels).astype(np.float64)
    sizes, rows = table.sum(axis=1), float(len(codes))
    share = table.sum(axis=0) / rows
    variance = rows * float(np.sum(share * (1.0 - share)))
    lost = 1.0 - float(np.sum(sizes**2)) / rows**2
    ratio = float(np.sum((table - sizes[:, None] * share) ** 2)) / variance / max(lost, 1e-9)
    free = (count - 1) * float(np.sum(share * (1.0 - share)) ** 2 / np.sum((share * (1.0 - share)) ** 2))
    low, high = (float(q) for q in np.asarray(chi2.ppf((CAUTION, 1.0 - CERTAIN), free)))
    return DesignEffect(ratio * free / low, ratio * free / high)


def _octiles(values: Floats, bins: NumberBins) -> Ints:
    """The octile of each value among the edges of the reference's bins; the code of null for a missing value."""
    edges = np.unique(np.quantile(bins.edges, OCTILES)) if len(bins.edges) else bins.edges
    found: Ints = np.searchsorted(edges, values, side="left").astype(np.int64)
    found[np.isnan(values)] = NULL_CODE
    return found


def _frequent(codes: Ints) -> Ints:
    """The codes of the most frequent levels; all others count as one."""
    names, counts = np.unique(codes, return_counts=True)
    kept: NDArray[np.int64] = names[np.argsort(-counts, kind="stable")[:LEVELS]]
    found: Ints = np.where(np.isin(codes, kept) | (codes == NULL_CODE), codes, NULL_CODE - 1)
    return found
