"""Two other rules: tests of independent rows, and fixed limits. Neither is the default.

Row tests hold their false-alarm rate only where rows are independent; on daily traffic they alarm in nearly every
window. A fixed threshold is a different test at every number of rows, and has no false-alarm rate at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.arrays import Ints
from monitor.detect.decide import DriftDecision, check_alpha
from monitor.detect.findings import ColumnFinding, meaning_of, times_floor
from monitor.detect.permutation_statistics import (
    BELOW_PER_STD,
    DERIVED_MIN_EFFECT_FACTOR,
    MIN_EFFECT_BELOW,
    MIN_EFFECT_RARE,
    MIN_EFFECT_SHARE,
    MIN_VALUES,
    FindingKind,
    is_derived_from,
    min_effect_of,
)
from monitor.drift import Score
from monitor.profile.block import BlockProfile, merge_all
from monitor.profile.counting import CategoryCounts
from monitor.profile.reference_profile import ReferenceProfile


@dataclass(frozen=True, slots=True)
class _RowTest:
    column: str
    kind: FindingKind
    name: str  # ks or chi2
    detail: str | None
    statistic: float
    change: float  # of a share of rows
    min_effect: float
    p: float


def row_tests(
    profile: ReferenceProfile,
    window: Sequence[BlockProfile],
    *,
    alpha: float,
    min_effects: Mapping[str, float] | None = None,
) -> DriftDecision:
    """Kolmogorov-Smirnov for numbers, chi-square for categories and missing values, with Holm's correction.

    Args:
        profile: of the reference.
        window: profiles of the window's blocks.
        alpha: false-alarm rate of this one window, 0..1, over all columns together, if rows are independent.
        min_effects: as for `decide`.

    Returns:
        The decision; `p` is the smallest adjusted p. The Kolmogorov-Smirnov distance is taken at the edges of the
        reference's bins only, which can only make it smaller.

    Raises:
        InvalidError: alpha lies outside (0, 1).

    Source: Smirnov (1948), asymptotic law; Pearson (1900); Holm (1979).
    """
    check_alpha(alpha)
    answer = _no_answer(profile, window, alpha)
    if not answer.n_window:
        return answer
    tests = _tests(profile, merge_all(window), min_effects or {})
    adjusted = holm([test.p for test in tests])
    found = []
    for test, p in zip(tests, adjusted, strict=True):
        above = test.change >= test.min_effect
        found.append(
            ColumnFinding(
                test.column, test.kind, test.name, test.detail, test.statistic, 0.0, test.statistic, "statistic", None,
                adjusted_p=p, alarmed=p <= alpha and above, above_floor=above, visible_change=None,
                meaning=meaning_of(profile, test.column),
                times_floor=times_floor(test.change, test.min_effect, 1.0) if test.min_effect > 0 else None,
            )
        )  # fmt: skip
    columns = _one_per_column(found)
    smallest = min((f.adjusted_p for f in found if f.adjusted_p is not None), default=1.0)
    named = [f.column for f in columns if f.alarmed]
    answer = replace(answer, p=smallest, columns=columns)
    if named:
        return replace(answer, verdict="drift", reason=f"p = {smallest:.2g} <= {alpha:.3g}; {', '.join(named)}")
    if smallest <= alpha:
        reason = f"p = {smallest:.2g} <= {alpha:.3g}, but only for changes below their floors"
        return replace(answer, verdict="changed_below_floor", reason=reason)
    reason = f"p = {smallest:.2g} > {alpha:.3g}, assuming independent rows"
    return replace(answer, verdict="no_evidence", reason=reason)


def thresholds(
    profile: ReferenceProfile,
    window: Sequence[BlockProfile],
    scores: Sequence[Score],
    limits: Mapping[str, float],
    *,
    alpha: float,
) -> DriftDecision:
    """Fixed limits: a column alarms when a statistic of the catalogue exceeds its limit.

    Args:
        profile: of the reference.
        window: profiles of the window's blocks.
        scores: statistics of the catalogue, one per column and method.
        limits: by the name of the statistic, each in its own unit.
        alpha: recorded with the decision; it plays no part in this rule, whose false-alarm rate is unknown.

    Returns:
        The decision, without a p.
    """
    answer = _no_answer(profile, window, alpha)
    if not answer.n_window:
        return answer
    found = []
    for score in scores:
        if score.method in limits and score.value is not None:
            limit = limits[score.method]
            kind: FindingKind = "number" if score.column in profile.coding.numbers else "category"
            found.append(
                ColumnFinding(
                    score.column, kind, "statistic", score.method, score.value - limit, limit, score.value, score.unit,
                    None, None, alarmed=score.value > limit, above_floor=score.value > limit, visible_change=None,
                    meaning=meaning_of(profile, score.column),
                    times_floor=score.value / limit if limit > 0 else None,
                )
            )  # fmt: skip
    if not found:
        return replace(answer, reason=f"no column has a defined value of {', '.join(limits)}")
    columns = _one_per_column(found)
    named = [f.column for f in columns if f.alarmed]
    declared = ", ".join(f"{name} {limit:g}" for name, limit in limits.items())
    if named:
        return replace(answer, verdict="drift", columns=columns, reason=f"above {declared}: {', '.join(named)}")
    return replace(answer, verdict="no_evidence", columns=columns, reason=f"no column above {declared}")


def _no_answer(profile: ReferenceProfile, window: Sequence[BlockProfile], alpha: float) -> DriftDecision:
    sizes = profile.rows, sum(block.rows for block in window), len(profile.blocks), len(window)
    return DriftDecision(
        "not_enough_data", None, alpha, (), (), *sizes, 0, "the window has no rows", block="row", rule="declared"
    )


def _one_per_column(found: Sequence[ColumnFinding]) -> tuple[ColumnFinding, ...]:
    """One finding per column: an alarmed one if any, then the smallest p or the largest excess over the limit."""
    best: dict[str, ColumnFinding] = {}
    for finding in found:
        known = best.get(finding.column)
        if known is None or _order(finding) < _order(known):
            best[finding.column] = finding
    return tuple(best.values())


def _order(finding: ColumnFinding) -> tuple[bool, float]:
    return not finding.alarmed, finding.adjusted_p if finding.adjusted_p is not None else -finding.value


def _default_min_effect(profile: ReferenceProfile, name: str, min_effect: float) -> float:
    return DERIVED_MIN_EFFECT_FACTOR * min_effect if is_derived_from(name, profile.coding.encoded) else min_effect


def _tests(profile: ReferenceProfile, window: BlockProfile, min_effects: Mapping[str, float]) -> list[_RowTest]:
    from scipy.stats import kstwo

    reference = profile.total
    found = []
    for name in profile.coding.numbers:
        a, b = reference.numbers[name], window.numbers[name]
        n, m = int(a.counts.sum()), int(b.counts.sum())
        if n > MIN_VALUES and m:
            distance = float(np.max(np.abs(np.cumsum(a.counts) / n - np.cumsum(b.counts) / m)))
            p = float(kstwo.sf(distance, round(n * m / (n + m))))
            min_effect = min_effect_of(name, min_effects)
            least = (
                _default_min_effect(profile, name, MIN_EFFECT_BELOW)
                if min_effect is None
                else min_effect * BELOW_PER_STD
            )
            found.append(_RowTest(name, "number", "ks", None, distance, distance, least, p))
        found.append(_missing(name, "number", (reference.rows, a.nulls), (window.rows, b.nulls)))
    for name in profile.coding.categories:
        before, after = reference.categories[name], window.categories[name]
        if before.nulls < reference.rows and after.nulls < window.rows:
            table = np.array([_with_rest(reference.rows, before), _with_rest(window.rows, after)])
            shares = table / table.sum(axis=1, keepdims=True)
            statistic, p = _chi2(table)
            min_effect = min_effect_of(name, min_effects)
            change = float(np.max(np.abs(shares[0] - shares[1])))
            least = _default_min_effect(profile, name, MIN_EFFECT_SHARE) if min_effect is None else min_effect
            found.append(_RowTest(name, "category", "chi2", None, statistic, change, least, p))
        found.append(_missing(name, "category", (reference.rows, before.nulls), (window.rows, after.nulls)))
    return found


def _with_rest(rows: int, counts: CategoryCounts) -> Ints:
    return np.array([*counts.levels, rows - counts.nulls - counts.levels.sum()], dtype=np.int64)


def _missing(name: str, kind: FindingKind, reference: tuple[int, int], window: tuple[int, int]) -> _RowTest:
    table = np.array([[rows - nulls, nulls] for rows, nulls in (reference, window)], dtype=np.int64)
    statistic, p = _chi2(table)
    change = abs(reference[1] / reference[0] - window[1] / window[0])
    return _RowTest(name, kind, "chi2", "missing", statistic, change, MIN_EFFECT_RARE, p)


def _chi2(table: Ints) -> tuple[float, float]:
    """Pearson's statistic of a table with two rows, and its p; levels that occur in neither are left out."""
    from scipy.stats import chi2

    used = table[:, table.sum(axis=0) > 0]
    if used.shape[1] < 2:
        return 0.0, 1.0
    expected = np.outer(used.sum(axis=1), used.sum(axis=0)) / used.sum()
    statistic = float(np.sum((used - expected) ** 2 / expected))
    return statistic, float(chi2.sf(statistic, used.shape[1] - 1))


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p values by Holm's method."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(np.asarray(p)[order] * (len(p) - np.arange(len(p)))), 1.0)
    return [float(x) for x in adjusted]
