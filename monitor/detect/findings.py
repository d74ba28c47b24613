"""What a test found in each column, in the units of the column."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats, Ints
from monitor.detect.permutation import TIE_TOLERANCE
from monitor.detect.statistics import BELOW_PER_STD, RANK_PER_STD, BlockSums, FindingKind, min_effect_of
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


@dataclass(frozen=True)
class DetectableChange:
    """The smallest change of one column that this window would have shown."""

    column: str
    change: float
    unit: str
    statement: str


@dataclass(frozen=True, eq=False)
class PermutationResult:
    """The outcome of the permutation test; arrays have shape (statistics,) unless noted.

    `means`: over the rows of the reference and of the window. `t`: the absolute change in standard errors. `above`:
    whether the change reaches its minimum. `errors`: standard error of the change. `largest`: the largest |t| of all
    columns in each permutation, shape (permutations,). `alarm`: the largest adjusted p at which a column alarms; None
    where none may.
    """

    means: tuple[Floats, Floats]
    t: NDArray[np.float32]
    above: NDArray[np.bool_]
    errors: Floats
    largest: NDArray[np.float32]
    alarm: float | None


def column_findings(
    profile: ReferenceProfile,
    window: Sequence[BlockProfile],
    sums: BlockSums,
    variances: Floats,
    tested: PermutationResult,
) -> tuple[ColumnFinding, ...]:
    """One finding per column: its largest change among those that reach their minimum, else its largest change.

    Args:
        profile: of the reference.
        window: the profile blocks of the window.
        sums: over the blocks of both, from `block_sums`.
        variances: of each statistic over all rows, shape (statistics,).
        tested: the outcome of the permutation test.
    """
    z95 = float(np.quantile(tested.largest, 0.95))
    reference, current = profile.total, merge_all(window)
    starts = sums.starts
    ends = [*starts[1:].tolist(), len(sums.statistics)]
    adjusted = _adjusted_p(tested)
    findings = []
    for c, (start, end) in enumerate(zip(starts.tolist(), ends, strict=True)):
        loud = start + np.flatnonzero(tested.above[start:end])
        candidates = loud if len(loud) else np.arange(start, end)
        at = int(candidates[np.argmax(tested.t[candidates])])
        statistic, name = sums.statistics[at], sums.names[c]
        effect, unit = str(statistic.effect), "share of rows"
        before, after = float(tested.means[0][at]), float(tested.means[1][at])
        located = sums.statistics[start].effect == "location"
        # Location where it is tested; for categories the level with the largest variance; else missing.
        shown = start if located else start + int(np.argmax(variances[start:end]))
        visible = z95 * float(tested.errors[shown])
        if sums.kinds[c] == "number":
            if effect in ("location", "spread"):
                effect, before, after, unit = _location_change(
                    effect, before, after, reference.numbers[name], current.numbers[name]
                )
            if located:
                visible *= standard_deviation(reference.numbers[name]) / RANK_PER_STD
        findings.append(
            ColumnFinding(
                column=name, kind=sums.kinds[c], effect=effect, detail=statistic.detail, value=after - before,
                reference=before, current=after, unit=unit, t=float(tested.t[at]), adjusted_p=float(adjusted[at]),
                alarmed=bool(len(loud)) and tested.alarm is not None and bool(adjusted[at] <= tested.alarm),
                above_floor=bool(len(loud)), visible_change=visible, meaning=meaning_of(profile, name),
                clusters=_cluster_shares(profile, name, reference, current),
            )
        )  # fmt: skip
    return tuple(findings)


def meaning_of(profile: ReferenceProfile, name: str) -> Meaning | None:
    """What a change of this column says about the text or vector it is derived from; None for other columns."""
    base, _, derived = name.rpartition(".")
    if base not in profile.coding.encoded:
        return None
    return MEANINGS.get(derived, "vectors moved" if profile.columns.get(base) == "vector" else "wording moved")


def _cluster_shares(
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


def _adjusted_p(tested: PermutationResult) -> Floats:
    """For each statistic, the share of permutations whose largest |t| is at least as large as its own."""
    ranked = np.sort(tested.largest)
    below: Ints = np.searchsorted(ranked, tested.t - np.float32(TIE_TOLERANCE), side="left")
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
