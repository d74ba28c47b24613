"""What a test found in each column, in the units of the column."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from core.arrays import Floats, Ints
from monitor.detect.block_test import BlockTestResult
from monitor.detect.permutation import TIE_TOLERANCE
from monitor.detect.permutation_statistics import (
    BELOW_PER_STD,
    MIN_EFFECTS,
    RANK_PER_STD,
    BlockSums,
    Effect,
    FindingKind,
    min_effect_of,
)
from monitor.profile.block import BlockProfile, merge_all
from monitor.profile.counting import NumberCounts
from monitor.profile.reference_profile import ReferenceProfile

Meaning = Literal[
    "new vocabulary or typos",
    "new kind of request",
    "mix of known requests changed",
    "wording moved",
    "vectors moved",
    "length changed",
]
MEANINGS: Final[Mapping[str, Meaning]] = {
    "oov": "new vocabulary or typos",
    "distance": "new kind of request",
    "cluster": "mix of known requests changed",
    "length": "length changed",
}
MAX_CLUSTERS_SHOWN: Final = 3
# A floor counts as at most this part of the largest change that is possible: half of that is always 16 times the floor.
MAX_FLOOR_PART: Final = 1.0 / 32.0
MIN_BURST: Final = 2.0  # a design effect from which rows are said to come in bursts


@dataclass(frozen=True)
class ClusterShare:
    """Share of rows in one cluster, in reference and window, and the words that distinguish its texts from others."""

    cluster: str
    words: tuple[str, ...]
    reference: float
    current: float


@dataclass(frozen=True)
class ColumnFinding:
    """The largest change of one column. Its fields are stored and served as JSON.

    `effect`: location (change of the mean), spread, share_below (at `detail`), missing, share (of level `detail`),
    other or unseen. Under the rule `thresholds` it is "statistic", and `detail` names one of the catalogue; under
    `row_tests` it is the test. `value`: current - reference, in `unit`. `t`: the change in standard errors.
    `adjusted_p`: the share of permutations in which any column has at least this t; None where a rule has no p.
    `times_floor`: the size of the change, from `times_floor`; None where a rule does not say it.
    """

    column: str
    kind: FindingKind
    effect: str
    detail: str | None
    value: float
    reference: float
    current: float
    unit: str
    t: float | None
    adjusted_p: float | None
    alarmed: bool
    above_floor: bool
    visible_change: float | None  # the smallest change of the mean (numbers) or of a share that this window would show
    meaning: Meaning | None = None  # the kind of change, where the column is derived from a text or vector
    clusters: tuple[ClusterShare, ...] = ()  # the clusters whose share changed most, where their mix is the column
    times_floor: float | None = None
    std_change: float | None = None  # of a number: how far it moved, in standard deviations of the reference


@dataclass(frozen=True)
class DetectableChange:
    """The smallest change of one column that this window would have shown."""

    column: str
    change: float
    unit: str
    statement: str


def column_findings(
    profile: ReferenceProfile,
    window: Sequence[BlockProfile],
    sums: BlockSums,
    result: BlockTestResult,
    alpha: float | None,
) -> tuple[ColumnFinding, ...]:
    """One finding per column: its largest change among those that reach their minimum effect, else its largest change.

    Args:
        profile: of the reference.
        window: the profile blocks of the window.
        sums: over the blocks of both, from `block_sums`.
        result: of the permutation test.
        alpha: the largest adjusted p at which a column alarms, where the test as a whole alarms; None: no column may.
    """
    sides = profile.total, merge_all(window)
    starts = sums.starts.tolist()
    ends = [*starts[1:], len(sums.statistics)]
    z95 = float(np.quantile(result.largest, 0.95))
    adjusted = _adjusted_p(result)
    max_p = alpha if alpha is not None and result.p_gated <= alpha else None
    findings = []
    for name, kind, start, end in zip(sums.names, sums.kinds, starts, ends, strict=True):
        above = start + np.flatnonzero(result.above[start:end])
        candidates = above if len(above) else np.arange(start, end)
        at = int(candidates[np.argmax(result.t[candidates])])
        means = float(result.means[0][at]), float(result.means[1][at])
        effect, before, after, unit = change_of(name, kind, sums.statistics[at].effect, means, sides)
        counts = sides[0].numbers[name] if kind == "number" else None
        findings.append(
            ColumnFinding(
                column=name, kind=kind, effect=effect, detail=sums.statistics[at].detail, value=after - before,
                reference=before, current=after, unit=unit, t=float(result.t[at]), adjusted_p=float(adjusted[at]),
                alarmed=bool(len(above)) and max_p is not None and bool(adjusted[at] <= max_p),
                above_floor=bool(len(above)), visible_change=_detectable(z95, slice(start, end), sums, result, counts),
                meaning=meaning_of(profile, name), clusters=cluster_shares(profile, name, *sides),
                times_floor=times_floor_of(sums.statistics[at].effect, means, float(result.min_effects[at])),
                std_change=std_change_of(effect, before, after, counts),
            )
        )  # fmt: skip
    return tuple(findings)


def times_floor(change: float, floor: float, largest: float) -> float:
    """The size of a change as a multiple of its floor.

    Args:
        change: absolute.
        floor: the smallest change that may alarm, > 0; it counts as at most 1/32 of `largest`.
        largest: the largest change that is possible, in the same unit: 1 for a share of rows.
    """
    return change / min(floor, largest * MAX_FLOOR_PART)


def times_floor_of(effect: Effect, means: tuple[float, float], floor: float) -> float:
    """The size of a change of one statistic; a floor of 0 counts as the default."""
    largest = 0.5 if effect in ("location", "spread") else 1.0  # of a mean rank, 0..1, around 0.5; of a share
    return times_floor(abs(means[1] - means[0]), floor or MIN_EFFECTS[effect], largest)


def std_change_of(effect: str, before: float, after: float, counts: NumberCounts | None) -> float | None:
    """How far a number moved, in standard deviations of the reference; None for shares and for a constant.

    A mean rank is taken as that of a normal variable.
    """
    if counts is None or effect not in ("mean", "location", "spread"):
        return None
    if effect != "mean":
        return (after - before) / RANK_PER_STD
    unit = standard_deviation(counts)
    moved = (after - before) / unit if unit else math.inf
    return moved if math.isfinite(moved) else None


def change_of(
    name: str,
    kind: FindingKind,
    effect: str,
    means: tuple[float, float],
    sides: tuple[BlockProfile, BlockProfile],
) -> tuple[str, float, float, str]:
    """The effect of a statistic, its values in the reference and in the window, and their unit."""
    if kind == "number" and effect in ("location", "spread"):
        return _location_change(effect, *means, sides[0].numbers[name], sides[1].numbers[name])
    return effect, *means, "share of rows"


def _detectable(
    z95: float, column: slice, sums: BlockSums, result: BlockTestResult, counts: NumberCounts | None
) -> float:
    """The smallest change of a column that this window would have shown.

    It is one of location where that is tested; in a category, of the level with the largest variance; else of missing.

    Args:
        z95: the |t| that 5 % of the permutations reach.
        column: the statistics of the column.
        sums: whose statistics are meant.
        result: of the permutation test.
        counts: of the column in the reference, if it is a number.
    """
    located = sums.statistics[column.start].effect == "location"
    shown = column.start if located else column.start + int(np.argmax(result.variances[column]))
    change = z95 * float(result.errors[shown])
    if counts is not None and located:
        change *= standard_deviation(counts) / RANK_PER_STD
    return change


def meaning_of(profile: ReferenceProfile, name: str) -> Meaning | None:
    """What a change of this column says about the text or vector it is derived from; None for other columns."""
    base, _, derived = name.rpartition(".")
    if base not in profile.coding.encoded:
        return None
    return MEANINGS.get(derived, "vectors moved" if profile.columns.get(base) == "vector" else "wording moved")


def cluster_shares(
    profile: ReferenceProfile, name: str, reference: BlockProfile, current: BlockProfile
) -> tuple[ClusterShare, ...]:
    if meaning_of(profile, name) != MEANINGS["cluster"]:
        return ()
    words = profile.coding.words.get(name.rpartition(".")[0], ())
    before, after = (side.categories[name].levels / max(side.rows, 1) for side in (reference, current))
    kept = profile.coding.categories[name].kept
    order = sorted(range(len(kept)), key=lambda i: (-abs(after[i] - before[i]), kept[i]))[:MAX_CLUSTERS_SHOWN]
    return tuple(
        ClusterShare(kept[i], _words_of_cluster(words, kept[i]), float(before[i]), float(after[i])) for i in order
    )


def _words_of_cluster(words: Sequence[tuple[str, ...]], cluster: str) -> tuple[str, ...]:
    return words[int(cluster)] if int(cluster) < len(words) else ()


def detectable_changes(findings: Sequence[ColumnFinding]) -> tuple[DetectableChange, ...]:
    """The smallest change of each column that this window would have shown; none where it could show no change."""
    return tuple(
        DetectableChange(f.column, f.visible_change, change_unit(f), _statement(f, f.visible_change))
        for f in findings
        if f.visible_change is not None and is_detectable(f)
    )


def is_detectable(finding: ColumnFinding) -> bool:
    """Whether this window could have shown a change of the column at all.

    It could not for a constant, nor for a share that varies so much that only a change of every row would show.
    """
    visible = finding.visible_change
    return visible is not None and visible > 0 and (finding.kind == "number" or visible < 1)


def is_hidden(finding: ColumnFinding, design_effects: Mapping[str, float]) -> bool:
    """Whether a window could show no change of a column that varies, where several of its rows count as one."""
    constant = finding.visible_change == 0
    return not constant and not is_detectable(finding) and design_effects.get(finding.column, 1.0) >= MIN_BURST


def undetectable_changes(
    profile: ReferenceProfile, findings: Sequence[ColumnFinding], min_detectable: Mapping[str, float]
) -> str:
    """The changes that must not be missed but that this window could not have shown, in words; else an empty string."""
    named = []
    total = profile.total if min_detectable else None
    for finding in findings:
        wanted = min_effect_of(finding.column, min_detectable)
        if wanted is None or finding.visible_change is None or total is None:
            continue
        if finding.kind == "number":
            wanted *= standard_deviation(total.numbers[finding.column])
        elif finding.column not in min_detectable:
            wanted *= BELOW_PER_STD
        if finding.visible_change > wanted:
            named.append(f"a change of {wanted:.3g} in {finding.column} (visible from {finding.visible_change:.3g})")
    return "; ".join(named)


def standard_deviation(counts: NumberCounts) -> float:
    """Sample standard deviation of the counted values, in the column's own unit; 0 with fewer than two values."""
    n = int(counts.counts.sum())
    return math.sqrt(counts.variance * n / (n - 1)) if n > 1 else 0.0


def change_unit(finding: ColumnFinding) -> str:
    return "the column's own" if finding.kind == "number" else "share of rows"


def _adjusted_p(result: BlockTestResult) -> Floats:
    """For each statistic, the share of permutations whose largest |t| is at least as large as its own."""
    ranked = np.sort(result.largest)
    below: Ints = np.searchsorted(ranked, result.t - np.float32(TIE_TOLERANCE), side="left")
    found: Floats = 1.0 - below / len(ranked)
    return found


def _location_change(
    effect: str, before: float, after: float, reference: NumberCounts, current: NumberCounts
) -> tuple[str, float, float, str]:
    """A change of the mean rank, expressed as a change of the mean where both have the same sign, else as ranks."""
    n_before, n_after = int(reference.counts.sum()), int(current.counts.sum())
    if effect == "location" and n_before and n_after:
        mean_before, mean_after = reference.total / n_before, current.total / n_after
        if (mean_after - mean_before) * (after - before) > 0:
            return "mean", mean_before, mean_after, "the column's own"
        return "location", before + 0.5, after + 0.5, "mean rank, 0..1"
    return effect, before, after, "mean rank, 0..1"


def _statement(finding: ColumnFinding, change: float) -> str:
    if finding.kind == "number":
        return f"a change of the mean of {finding.column} by {change:.3g} or more would have shown"
    return f"a change of the largest share of {finding.column} by {100 * change:.2g} points or more would have shown"
