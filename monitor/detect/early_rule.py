"""The early rule: row tests that judge while a reference is too short to permute its blocks.

Rows are taken as independent, except that their numbers are divided by the design effect: bursts, sessions and people
who send many rows count once. Every test is exact or conservative for independent rows, also for rare levels and tiny
probabilities, because windows of minutes have tiny ones.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.arrays import Flags, Floats
from monitor.detect.decide import DriftDecision, check_alpha
from monitor.detect.findings import (
    ColumnFinding,
    change_of,
    cluster_shares,
    detectable_changes,
    is_hidden,
    meaning_of,
    standard_deviation,
    std_change_of,
    times_floor_of,
    undetectable_changes,
)
from monitor.detect.fixed_rules import holm
from monitor.detect.permutation_statistics import BELOW_PER_STD, BlockSums, block_sums, min_effects_of
from monitor.profile.block import BlockProfile, merge_all
from monitor.profile.reference_profile import ReferenceProfile

MIN_ROWS = 5  # effective rows of a window below which nothing is tested


@dataclass(frozen=True, slots=True)
class _ColumnTest:
    """The test of one column. `p`: of its largest change. `p_gated`: of the largest that reaches its minimum effect.

    `at`: index of the statistic that is shown. `visible`: the smallest change that would have alarmed.
    """

    p: float
    p_gated: float
    at: int
    above: bool
    visible: float | None


def early_rule(
    profile: ReferenceProfile,
    window: Sequence[BlockProfile],
    *,
    alpha: float,
    effects: Mapping[str, float],
    min_effects: Mapping[str, float] | None = None,
    min_detectable: Mapping[str, float] | None = None,
) -> DriftDecision:
    """Compare the rows of a window with those of the reference.

    Numbers are tested by the distance of their distribution functions, levels and missing values by their shares. The
    tests of one column are corrected by Bonferroni's method, the columns by Holm's.

    Args:
        profile: of the reference, with its design effects.
        window: profiles of the window's blocks.
        alpha: false-alarm rate of this one window, 0..1, over all columns together.
        effects: design effects of the window's rows by column; the larger of both sides counts.
        min_effects, min_detectable: as for `decide`.

    Returns:
        The decision; its p is the smallest adjusted p of a column.

    Raises:
        InvalidError: alpha lies outside (0, 1).

    Source: Dvoretzky, Kiefer and Wolfowitz (1956) with the constant of Massart (1990); Fisher (1935); Holm (1979);
    the design effect of cluster samples, Kish (1965).
    """
    check_alpha(alpha)
    n, m = profile.rows, sum(block.rows for block in window)
    answer = DriftDecision(
        "not_enough_data", None, alpha, (), (), n, m, len(profile.blocks), len(window), 0, "the window has no rows",
        block="row", rule="early",
    )  # fmt: skip
    if not m:
        return answer
    sums = block_sums(profile, window)
    if not sums.statistics:
        return replace(answer, reason="no column has enough values in the reference to be compared")
    count = len(profile.blocks)
    totals = sums.values[:count].sum(axis=0), sums.values[count:].sum(axis=0)
    least = min_effects_of(sums, min_effects or {}, profile.coding.encoded)
    design = {name: max(1.0, profile.design_effects.get(name, 1.0), effects.get(name, 1.0)) for name in sums.names}
    sizes = {name: (max(n / d, 1.0), max(m / d, 1.0)) for name, d in design.items()}
    answer = replace(answer, design_effects=design)
    if max(own for _, own in sizes.values()) < MIN_ROWS:
        reason = (
            f"rows come in bursts, so the {m} rows of the window count as fewer than {MIN_ROWS} independent ones; the "
            "block rule will judge such windows, or fix longer ones under `monitors.windows`, such as `[7d]`"
        )
        return replace(answer, reason=reason)
    tests = _tests(profile, sums, totals, (n, m), sizes, least, alpha)
    columns = _findings(profile, window, sums, totals, tests, least, alpha)
    answer = replace(answer, columns=columns, visible=detectable_changes(columns))
    return _with_verdict(profile, answer, tests, min_detectable or {})


def _with_verdict(
    profile: ReferenceProfile, answer: DriftDecision, tests: Sequence[_ColumnTest], min_detectable: Mapping[str, float]
) -> DriftDecision:
    alpha, p, gated = answer.alpha, min(holm([t.p for t in tests])), min(holm([t.p_gated for t in tests]))
    named = ", ".join(f.column for f in answer.columns if f.alarmed)
    if gated <= alpha:
        return replace(answer, verdict="drift", p=gated, reason=f"p = {gated:.2g} <= {alpha:.3g}; {named}")
    if p <= alpha:
        reason = f"p = {p:.2g} <= {alpha:.3g}, but only for changes below their floors"
        return replace(answer, verdict="changed_below_floor", p=p, reason=reason)
    unseen = undetectable_changes(profile, answer.columns, min_detectable)
    if unseen:
        return replace(answer, p=p, reason=f"p = {p:.2g} > {alpha:.3g}; too few rows to detect {unseen}")
    if not answer.visible:
        hidden = any(is_hidden(f, answer.design_effects) for f in answer.columns)
        few = "rows, which come in bursts," if hidden else "rows"
        reason = (
            f"{answer.n_window} {few} are too few to show any change at a false-alarm rate of {alpha:.2g}; fix longer "
            "windows under `monitors.windows`, such as `[7d]`"
        )
        return replace(answer, p=p, reason=reason)
    return replace(answer, verdict="no_evidence", p=p, reason=f"p = {p:.2g} > {alpha:.3g}")


def _tests(
    profile: ReferenceProfile, sums: BlockSums, totals: tuple[Floats, Floats], rows: tuple[int, int],
    sizes: Mapping[str, tuple[float, float]], least: Floats, alpha: float,
) -> list[_ColumnTest]:  # fmt: skip
    """One test per column."""
    means = totals[0] / rows[0], totals[1] / rows[1]
    change = np.abs(means[1] - means[0])
    above = change >= least
    effects = np.array([s.effect for s in sums.statistics])
    total, found = profile.total, []
    for name, start, end in zip(
        sums.names, sums.starts.tolist(), [*sums.starts[1:].tolist(), len(effects)], strict=True
    ):
        part = slice(start, end)
        n, m = sizes[name]
        p, families = _p_values(
            effects[part], means[0][part], means[1][part], (n, m), _rank_variances(sums, part, rows)
        )
        shown = _shown(p, change[part], above[part])
        counts = total.numbers.get(name)
        level = alpha / (len(sums.names) * families)
        if counts is not None and effects[start] == "location":
            visible = math.sqrt(math.log(2.0 / level) / (2.0 * n * m / (n + m))) / BELOW_PER_STD
            smallest = visible * standard_deviation(counts) if visible < 1.0 / BELOW_PER_STD else None
        else:
            smallest = _visible_share(means[0][part], n, m, level)
        if m < MIN_ROWS:
            smallest = None
        gated = float(p[above[part]].min()) if above[part].any() else 1.0
        found.append(
            _ColumnTest(
                min(1.0, families * float(p.min())), min(1.0, families * gated), start + shown, bool(above[part].any()),
                smallest,
            )
        )  # fmt: skip
    return found


def _p_values(
    effects: np.ndarray, before: Floats, after: Floats, sizes: tuple[float, float], ranks: Floats
) -> tuple[Floats, int]:
    """The p of each statistic of one column, and how many tests these are.

    The shares below the edges of a number are one test: each p is that of the largest distance if it were this one.
    """
    n, m = sizes
    p = np.ones(len(effects))
    below, shares = effects == "share_below", np.isin(effects, ("share", "other", "unseen", "missing"))
    located = (effects == "location") | (effects == "spread")
    if below.any():
        distance = np.abs(after[below] - before[below])
        p[below] = np.minimum(1.0, 2.0 * np.exp(-2.0 * n * m / (n + m) * distance**2))
        # A change of location or spread is shown in the place of the distance that it causes.
        p[located] = p[below].min()
    elif located.any():
        p[located] = _p_of_means(after[located] - before[located], ranks, sizes)
    used = shares & (before + after > 0)
    p[used] = _p_of_shares(before[used], after[used], sizes)
    families = int(used.sum()) + (1 if below.any() else int(located.sum()))
    return p, max(families, 1)


def _p_of_means(change: Floats, variances: Floats, sizes: tuple[float, float]) -> Floats:
    """Two-sided p of changes of mean ranks, by Student's t with the degrees of freedom of the smaller side."""
    from scipy.stats import t

    n, m = sizes
    error = np.sqrt(np.maximum(variances, 1e-12) * (1.0 / n + 1.0 / m))
    found: Floats = 2.0 * t.sf(np.abs(change) / error, max(min(n, m) - 1.0, 1.0))
    return found


def _p_of_shares(before: Floats, after: Floats, sizes: tuple[float, float]) -> Floats:
    """Two-sided p of changes of shares, by Fisher's exact test: twice the smaller tail."""
    from scipy.stats import hypergeom

    n, m = round(sizes[0]), round(sizes[1])
    a, b = np.rint(before * n), np.rint(after * m)
    lower, upper = hypergeom.cdf(b, n + m, a + b, m), hypergeom.sf(b - 1, n + m, a + b, m)
    found: Floats = np.minimum(1.0, 2.0 * np.minimum(lower, upper))
    return found


def _rank_variances(sums: BlockSums, part: slice, rows: tuple[int, int]) -> Floats:
    """Variance of the ranked statistics of one column over all rows."""
    chosen = (sums.ranked >= part.start) & (sums.ranked < part.stop)
    together = float(sum(rows))
    mean = sums.values[:, sums.ranked[chosen]].sum(axis=0) / together
    found: Floats = sums.squares[:, chosen].sum(axis=0) / together - mean**2
    return found


def _shown(p: Floats, change: Floats, above: Flags) -> int:
    """The statistic that speaks for a column: the least likely and then largest one, above its floor if any is."""
    candidates = np.flatnonzero(above) if above.any() else np.arange(len(p))
    return int(candidates[np.lexsort((-change[candidates], p[candidates]))[0]])


def _visible_share(before: Floats, n: float, m: float, level: float) -> float | None:
    """The smallest change of the share with the largest variance that would be significant at a level."""
    from scipy.stats import norm

    variance = float(np.max(before * (1.0 - before))) if len(before) else 0.0
    smallest = float(norm.isf(level / 2.0)) * math.sqrt(max(variance, 0.25 / m) * (1.0 / n + 1.0 / m))
    return smallest if smallest < 1.0 else None


def _findings(
    profile: ReferenceProfile, window: Sequence[BlockProfile], sums: BlockSums, totals: tuple[Floats, Floats],
    tests: Sequence[_ColumnTest], least: Floats, alpha: float,
) -> tuple[ColumnFinding, ...]:  # fmt: skip
    sides = profile.total, merge_all(window)
    rows = sides[0].rows, sides[1].rows
    adjusted, gated = holm([t.p for t in tests]), holm([t.p_gated for t in tests])
    found = []
    for name, kind, test, p, p_gated in zip(sums.names, sums.kinds, tests, adjusted, gated, strict=True):
        statistic = sums.statistics[test.at]
        means = float(totals[0][test.at] / rows[0]), float(totals[1][test.at] / rows[1])
        effect, before, after, unit = change_of(name, kind, statistic.effect, means, sides)
        found.append(
            ColumnFinding(
                column=name, kind=kind, effect=effect, detail=statistic.detail, value=after - before, reference=before,
                current=after, unit=unit, t=None, adjusted_p=p_gated if test.above else p,
                alarmed=test.above and p_gated <= alpha, above_floor=test.above, visible_change=test.visible,
                meaning=meaning_of(profile, name), clusters=cluster_shares(profile, name, *sides),
                times_floor=times_floor_of(statistic.effect, means, float(least[test.at])),
                std_change=std_change_of(effect, before, after, profile.total.numbers.get(name)),
            )
        )  # fmt: skip
    return tuple(found)
