"""Drift or no drift: a permutation test over blocks of rows.

Reference blocks and window blocks are exchangeable when nothing changed, so the window is ranked among all other
choices of as many blocks. One ranking covers every column, so the false-alarm rate holds for the model as a whole, at
any window size and however rows hang together inside a block. It does not hold when blocks of the reference
themselves wander (seasons): choose longer blocks then.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidError
from monitor.baseline import Baseline
from monitor.profile import BlockProfile, CategoryCounts, NumberBins, NumberCounts, merge_all

Verdict = Literal[
    "drift", "changed_below_floor", "no_evidence", "not_enough_data", "reference_too_short", "volume_changed"
]
FindingKind = Literal["number", "category"]
Floats = NDArray[np.float64]

REDRAWS: Final = 999
MINIMUM_VALUES: Final = 200
# Smallest changes that may alarm unless the user sets others. 0.02 of the distribution function is the change that a
# shift of 0.05 standard deviations makes in a normal column.
FLOOR_BELOW: Final = 0.02
FLOOR_RANK: Final = 0.0141
FLOOR_SHARE: Final = 0.02
FLOOR_RARE: Final = 0.005  # missing and unseen
_BELOW_PER_STD: Final = 0.39894  # change of the distribution function at the median per standard deviation of shift
_RANK_PER_STD: Final = 0.28209  # change of the mean rank per standard deviation of shift, for a normal column
_TIE: Final = 1e-4


@dataclass(frozen=True)
class ColumnFinding:
    """The largest change of one column.

    `effect`: location (change of the mean), spread, share_below (at `detail`), missing, share (of level `detail`),
    other or unseen. `value` = current - reference, in `unit`. `t` is in standard errors; `adjusted_p` is the share of
    redraws in which any column reaches it.
    """

    column: str
    kind: FindingKind
    effect: str
    detail: str | None
    value: float
    reference: float
    current: float
    unit: str
    t: float
    adjusted_p: float
    alarmed: bool
    above_floor: bool
    visible_change: float | None  # the smallest change of the mean (numbers) or of a share this window would show


@dataclass(frozen=True)
class VisibleChange:
    column: str
    change: float
    unit: str
    statement: str


@dataclass(frozen=True)
class Decision:
    """`p` is None where no test was made; `reason` then says why and what would help."""

    verdict: Verdict
    p: float | None
    alpha: float
    columns: tuple[ColumnFinding, ...]
    visible: tuple[VisibleChange, ...]
    n_reference: int
    n_window: int
    reference_blocks: int
    window_blocks: int
    draws: int
    reason: str

    @property
    def alarmed(self) -> bool:
        return self.verdict == "drift"


@dataclass(frozen=True)
class _Functional:
    column: int
    effect: str
    detail: str | None
    floor: float


@dataclass(eq=False)
class _Sums:
    """Sums of every functional over the rows of every block, and its variance over all rows."""

    names: list[str] = field(default_factory=list)
    kinds: list[FindingKind] = field(default_factory=list)
    functionals: list[_Functional] = field(default_factory=list)
    sums: list[Floats] = field(default_factory=list)
    variances: list[float] = field(default_factory=list)

    def add(self, effect: str, detail: str | None, floor: float, sums: Floats, rows: float, square: float) -> None:
        """`square`: sum over all rows of the functional squared."""
        mean = float(sums.sum()) / rows
        self.functionals.append(_Functional(len(self.names) - 1, effect, detail, floor))
        self.sums.append(sums)
        self.variances.append(max(square / rows - mean * mean, 0.0))


def decide(
    baseline: Baseline,
    window_blocks: Sequence[BlockProfile],
    *,
    alpha: float,
    floors: Mapping[str, float] | None = None,
    must_see: Mapping[str, float] | None = None,
    redraws: int = REDRAWS,
    seed: int = 0,
    volume_guard: bool = False,
) -> Decision:
    """Compare a window with the baseline.

    Args:
        baseline: with R reference blocks.
        window_blocks: L profiles of the window, cut like the reference (same length, or same number of rows).
        alpha: false-alarm rate of this one window, 0..1, all columns together.
        floors: smallest change that may alarm, by column: in reference standard deviations for numbers (and for all
            columns derived from a text column, under its name), in share of rows for categories. Changes below are
            named but do not alarm. Default 0.05 standard deviations, 0.02 of the rows, 0.005 for missing and unseen.
        must_see: change that must not be missed, by column, in the same units. When this window could not show it and
            nothing else alarms, the verdict is not_enough_data instead of no_evidence.
        redraws: number of random choices of L of the R + L blocks; all choices are used when there are no more.
        seed: of the redraws; same input and seed, same decision.
        volume_guard: for windows of time: a window with less than half or more than twice the reference's rows per
            block gives volume_changed, for no test of the mix holds its error rate there.

    Returns:
        The decision. p >= 1 / (number of choices): with one window block and T blocks in all nothing below 1/T can be
        claimed; reference_too_short says so instead of an answer that could never alarm.

    Raises:
        InvalidError: alpha outside (0, 1), or a floor that is negative or names an unknown column.

    Source: permutation test over blocks with the maximum statistic of Westfall and Young (1993) for the columns.
    """
    if not 0.0 < alpha < 1.0:
        raise InvalidError(f"alpha is {alpha}; give a false-alarm rate between 0 and 1, such as 0.01", alpha=alpha)
    _check_names(baseline, floors or {}, "floors")
    _check_names(baseline, must_see or {}, "must_see")
    indexed = [(i, block) for i, block in enumerate(baseline.blocks) if block.rows]
    window = [block for block in window_blocks if block.rows]
    n_reference, n_window = sum(b.rows for _, b in indexed), sum(b.rows for b in window)
    reference_count, window_count = len(indexed), len(window)
    total_blocks = reference_count + window_count

    def answer(verdict: Verdict, reason: str, p: float | None = None, draws: int = 0) -> Decision:
        return Decision(verdict, p, alpha, (), (), n_reference, n_window, reference_count, window_count, draws, reason)

    if not n_window:
        return answer("not_enough_data", "the window has no rows")
    missing = _missing_blocks(reference_count, window_count, alpha)
    if missing or total_blocks < 3:
        missing = max(missing, 3 - total_blocks)
        return answer(
            "reference_too_short",
            f"{reference_count} reference blocks and {window_count} in the window cannot support a false-alarm rate of "
            f"{alpha:g}; {missing} more reference blocks are needed, or shorter blocks",
        )
    ratio = (n_window / window_count) / (n_reference / reference_count)
    sums = _functionals(baseline, indexed, window, floors or {})
    if not sums.functionals:
        return answer("not_enough_data", "no column of the baseline has enough reference values to be compared")
    y = np.stack(sums.sums, axis=1)
    rows = np.array([b.rows for _, b in indexed] + [b.rows for b in window], dtype=np.float64)
    choices = _choices(total_blocks, window_count, max(redraws, math.ceil(1.0 / alpha)), seed)
    t, errors = _scores(y, rows, choices, np.array(sums.variances))
    means = (y[:reference_count].sum(axis=0) / n_reference, y[reference_count:].sum(axis=0) / n_window)
    above = np.abs(means[1] - means[0]) >= np.array([f.floor for f in sums.functionals])
    starts = np.flatnonzero(np.diff([-1, *[f.column for f in sums.functionals]]))
    by_column = np.maximum.reduceat(t, starts, axis=1)
    gated = np.maximum.reduceat(np.where(above, t[0], np.float32(0.0))[None, :], starts, axis=1)
    p, p_gated = _p_values(by_column, gated)
    guarded = volume_guard and not 0.5 <= ratio <= 2.0
    alarm = alpha if p_gated <= alpha and not guarded else None
    findings = _findings(baseline, window, sums, starts, means, t[0], above, by_column.max(axis=1), errors, alarm)
    visible = tuple(
        VisibleChange(f.column, f.visible_change, _visible_unit(f), _visible_statement(f))
        for f in findings
        if f.visible_change is not None
    )

    def tested(verdict: Verdict, reason: str, p: float | None) -> Decision:
        sizes = (n_reference, n_window, reference_count, window_count, len(choices))
        return Decision(verdict, p, alpha, findings, visible, *sizes, reason)

    if guarded:
        return tested("volume_changed", f"the window has {ratio:.2g} times the reference's rows per block", None)
    if p_gated <= alpha:
        named = [f.column for f in findings if f.alarmed]
        which = ", ".join(named) if named else "many columns a little, none enough to be named alone"
        return tested("drift", f"p = {p_gated:.2g} <= {alpha:g}; {which}", p_gated)
    if p <= alpha:
        return tested("changed_below_floor", f"p = {p:.2g} <= {alpha:g}, but only by changes below the floors", p)
    unseen = _would_be_missed(baseline, findings, must_see or {})
    if unseen:
        return tested("not_enough_data", f"p = {p:.2g} > {alpha:g}; too few rows to see {unseen}", p)
    return tested("no_evidence", f"p = {p:.2g} > {alpha:g}", p)


def describe(decision: Decision) -> str:
    """One plain sentence."""
    match decision.verdict:
        case "not_enough_data" | "reference_too_short":
            return f"No answer: {decision.reason}."
        case "volume_changed":
            return f"Traffic volume changed: {decision.reason}; the mix of requests is not judged."
        case "no_evidence":
            return f"No evidence of a change in {decision.n_window} rows ({decision.reason})."
        case "changed_below_floor":
            ranked = sorted(decision.columns, key=lambda f: -f.t)[:2]
            return f"Changed, but below your floors: {'; '.join(_words(f) for f in ranked)}."
    ranked = sorted((f for f in decision.columns if f.alarmed), key=lambda f: -f.t)
    if not ranked:
        ranked = sorted((f for f in decision.columns if f.above_floor), key=lambda f: -f.t)[:3]
        return f"Drift spread over many columns, most in {'; '.join(_words(f) for f in ranked)} ({decision.reason})."
    more = f"; and {len(ranked) - 3} more columns" if len(ranked) > 3 else ""
    return f"Drift: {'; '.join(_words(f) for f in ranked[:3])}{more}."


# --- the test -------------------------------------------------------------------------------------------------------


def _choices(total: int, window: int, redraws: int, seed: int) -> NDArray[np.float32]:
    """Rows of 0 and 1 over the blocks, the observed one (the last blocks) first; all choices when few, else random."""
    observed = np.zeros((1, total), dtype=np.float32)
    observed[0, total - window :] = 1.0
    if math.comb(total, window) <= redraws + 1:
        picks = np.array(list(combinations(range(total), window)), dtype=np.int64)
        every = np.zeros((len(picks), total), dtype=np.float32)
        np.put_along_axis(every, picks, np.float32(1.0), axis=1)
        return np.concatenate([observed, every[:-1]])  # combinations end with the observed choice
    keys = np.random.default_rng(seed).random((redraws, total))
    drawn = np.zeros((redraws, total), dtype=np.float32)
    np.put_along_axis(drawn, np.argpartition(keys, window - 1, axis=1)[:, :window], np.float32(1.0), axis=1)
    return np.concatenate([observed, drawn])


def _scores(
    y: Floats, rows: Floats, choices: NDArray[np.float32], variances: Floats
) -> tuple[NDArray[np.float32], Floats]:
    """|t| of each choice and functional, (choices, functionals), and the standard error of the observed change."""
    total, blocks = float(rows.sum()), len(rows)
    e = y - rows[:, None] * (y.sum(axis=0) / total)
    v = blocks / (total * (blocks - 1)) * np.sum(e * e, axis=0)
    m = choices.astype(np.float64) @ rows
    factor = total / (m * (total - m))
    # A drifted window must not hide inside its own variance: its share is taken out of v, down to the variance of
    # independent rows and to half a row per block.
    least = np.maximum(variances, blocks / (4.0 * total))
    t = choices @ e.astype(np.float32)
    t *= np.sqrt(factor)[:, None].astype(np.float32)
    external = t * t
    np.subtract((v * (blocks - 1)).astype(np.float32), external, out=external)
    external /= np.float32(max(blocks - 2, 1))
    np.maximum(external, least.astype(np.float32), out=external)
    np.sqrt(external, out=external)
    error = external[0].astype(np.float64) * math.sqrt(factor[0])
    np.abs(t, out=t)
    t /= external
    return t, error


def _p_values(by_column: NDArray[np.float32], gated: NDArray[np.float32]) -> tuple[float, float]:
    sparse = by_column.max(axis=1)
    dense = np.log(np.maximum(np.mean(by_column * by_column, axis=1), np.float32(1e-3)))
    sparse_mean, sparse_std = float(sparse.mean()), max(float(sparse.std()), 1e-3)
    dense_mean, dense_std = float(dense.mean()), max(float(dense.std()), 1e-3)

    def score(largest: NDArray[np.float32], together: NDArray[np.float32]) -> Floats:
        both = np.maximum((largest - sparse_mean) / sparse_std, (together - dense_mean) / dense_std)
        return np.asarray(both, dtype=np.float64)

    every = score(sparse, dense)
    gated_dense = np.log(np.maximum(np.mean(gated * gated, axis=1), np.float32(1e-3)))
    gated_score = score(gated.max(axis=1), gated_dense)[0]
    p = float(np.mean(every >= every[0] - _TIE))
    p_gated = float((1 + np.count_nonzero(every[1:] >= gated_score - _TIE)) / len(every))
    return p, p_gated


def _missing_blocks(reference: int, window: int, alpha: float) -> int:
    """Reference blocks to add until the smallest possible p is at most alpha."""
    missing = 0
    while math.comb(reference + missing + window, window) * alpha < 1.0 - 1e-9:
        missing += 1
    return missing


# --- functionals ----------------------------------------------------------------------------------------------------


def _functionals(
    baseline: Baseline,
    reference: Sequence[tuple[int, BlockProfile]],
    window: Sequence[BlockProfile],
    floors: Mapping[str, float],
) -> _Sums:
    sums = _Sums()
    blocks = [block for _, block in reference] + list(window)
    for name, bins in baseline.coding.numbers.items():
        sums.names.append(name)
        sums.kinds.append("number")
        before = len(sums.functionals)
        _number_functionals(sums, bins, [b.numbers[name] for b in blocks], len(reference), _floor(name, floors), blocks)
        _drop_if_empty(sums, before)
    for name, levels in baseline.coding.categories.items():
        sums.names.append(name)
        sums.kinds.append("category")
        floor = _floor(name, floors)
        if floor is not None and name not in floors:
            floor *= _BELOW_PER_STD  # set for a text column, in standard deviations
        counts = [b.categories[name] for b in blocks]
        _category_functionals(sums, levels.kept, counts, [i for i, _ in reference], baseline.folds, floor, blocks)
    return sums


def _number_functionals(
    sums: _Sums,
    bins: NumberBins,
    parts: Sequence[NumberCounts],
    reference: int,
    floor: float | None,
    blocks: Sequence[BlockProfile],
) -> None:
    rows = float(sum(b.rows for b in blocks))
    counts = np.stack([part.counts for part in parts]).astype(np.float64)
    pooled, own = counts.sum(axis=0), counts[:reference].sum(axis=0)
    values = own.sum()
    below_floor = FLOOR_BELOW if floor is None else floor * _BELOW_PER_STD
    rank_floor = FLOOR_RANK if floor is None else floor * _RANK_PER_STD
    if values > MINIMUM_VALUES:
        ranks = (np.cumsum(own) - own / 2.0) / values - 0.5
        if "location" in bins.tests:
            sums.add("location", None, rank_floor, counts @ ranks, rows, float(pooled @ ranks**2))
        if "spread" in bins.tests:
            sums.add("spread", None, rank_floor, counts @ np.abs(ranks), rows, float(pooled @ ranks**2))
        if "below" in bins.tests:
            upto = np.cumsum(counts, axis=1)
            for edge in bins.grid:
                share = upto[:, edge]
                sums.add("share_below", f"{bins.edges[edge]:.6g}", below_floor, share, rows, float(share.sum()))
    if "missing" in bins.tests:
        nulls = np.array([part.nulls for part in parts], dtype=np.float64)
        sums.add("missing", None, FLOOR_RARE if floor is None else min(floor, FLOOR_RARE), nulls, rows, nulls.sum())


def _category_functionals(
    sums: _Sums,
    kept: Sequence[str],
    parts: Sequence[CategoryCounts],
    reference: Sequence[int],
    folds: int,
    floor: float | None,
    blocks: Sequence[BlockProfile],
) -> None:
    rows = float(sum(b.rows for b in blocks))
    share_floor = FLOOR_SHARE if floor is None else floor
    rare_floor = FLOOR_RARE if floor is None else min(floor, FLOOR_RARE)
    levels = np.stack([part.levels for part in parts]).astype(np.float64)
    for i, level in enumerate(kept):
        sums.add("share", level, share_floor, levels[:, i], rows, float(levels[:, i].sum()))
    for effect, least in (("other", share_floor), ("unseen", rare_floor)):
        per_fold = np.stack([getattr(part, effect) for part in parts]).astype(np.float64)
        own = [per_fold[t, index % folds] for t, index in enumerate(reference)]
        counts = np.concatenate([own, per_fold[len(reference) :].mean(axis=1)])
        sums.add(effect, None, least, counts, rows, float(counts.sum()))
    nulls = np.array([part.nulls for part in parts], dtype=np.float64)
    sums.add("missing", None, rare_floor, nulls, rows, float(nulls.sum()))


def _drop_if_empty(sums: _Sums, before: int) -> None:
    if len(sums.functionals) == before:
        sums.names.pop()
        sums.kinds.pop()


def _floor(name: str, floors: Mapping[str, float]) -> float | None:
    """The floor set for a column, or for the text column it is derived from."""
    return floors.get(name, floors.get(name.rpartition(".")[0]))


def _check_names(baseline: Baseline, values: Mapping[str, float], argument: str) -> None:
    known = {*baseline.columns, *baseline.coding.numbers, *baseline.coding.categories}
    for name, value in values.items():
        if name not in known:
            raise InvalidError(f"{argument} names {name!r}, which the baseline does not watch", column=name)
        if not (math.isfinite(value) and value >= 0):
            raise InvalidError(f"{argument}[{name!r}] is {value}; give a number >= 0", column=name, value=str(value))


# --- what the user reads --------------------------------------------------------------------------------------------


def _findings(
    baseline: Baseline,
    window: Sequence[BlockProfile],
    sums: _Sums,
    starts: NDArray[np.intp],
    means: tuple[Floats, Floats],
    t: NDArray[np.float32],
    above: NDArray[np.bool_],
    largest: NDArray[np.float32],
    errors: Floats,
    alarm: float | None,
) -> tuple[ColumnFinding, ...]:
    """One finding per column: its loudest functional among those above their floor, else its loudest.

    `means`: of each functional over reference and window; `alarm`: largest adjusted p that is named as an alarm.
    """
    z95 = float(np.quantile(largest, 0.95))
    reference, current = merge_all(baseline.blocks), merge_all(window)
    findings = []
    for c, start in enumerate(starts):
        mine = np.arange(start, starts[c + 1] if c + 1 < len(starts) else len(sums.functionals))
        loud = mine[above[mine]]
        candidates = loud if len(loud) else mine
        at = int(candidates[np.argmax(t[candidates])])
        functional, name = sums.functionals[at], sums.names[c]
        effect, unit = functional.effect, "share of rows"
        before, after = float(means[0][at]), float(means[1][at])
        visible = z95 * float(errors[_visible_functional(sums, mine)])
        if sums.kinds[c] == "number":
            if effect in ("location", "spread"):
                effect, before, after, unit = _moved(
                    effect, before, after, reference.numbers[name], current.numbers[name]
                )
            if sums.functionals[int(start)].effect == "location":
                visible *= _std(reference.numbers[name]) / _RANK_PER_STD
        adjusted = float(np.mean(largest >= t[at] - _TIE))
        findings.append(
            ColumnFinding(
                column=name,
                kind=sums.kinds[c],
                effect=effect,
                detail=functional.detail,
                value=after - before,
                reference=before,
                current=after,
                unit=unit,
                t=float(t[at]),
                adjusted_p=adjusted,
                alarmed=bool(len(loud)) and alarm is not None and adjusted <= alarm,
                above_floor=bool(len(loud)),
                visible_change=visible,
            )
        )
    return tuple(findings)


def _moved(
    effect: str, before: float, after: float, reference: NumberCounts, current: NumberCounts
) -> tuple[str, float, float, str]:
    """A change of mean rank told as a change of the mean where both point the same way, else as ranks."""
    n_before, n_after = int(reference.counts.sum()), int(current.counts.sum())
    if effect == "location" and n_before and n_after:
        mean_before, mean_after = reference.total / n_before, current.total / n_after
        if (mean_after - mean_before) * (after - before) > 0:
            return "mean", mean_before, mean_after, "the column's own"
        return "location", before + 0.5, after + 0.5, "mean rank, 0..1"
    return effect, before, after, "mean rank, 0..1"


def _visible_functional(sums: _Sums, mine: NDArray[np.intp]) -> int:
    """Location where it is tested; for categories the level with the largest variance; else missing."""
    first = sums.functionals[int(mine[0])]
    if first.effect == "location":
        return int(mine[0])
    return int(mine[int(np.argmax([sums.variances[int(i)] for i in mine]))])


def _std(counts: NumberCounts) -> float:
    n = int(counts.counts.sum())
    if n < 2:
        return 0.0
    return math.sqrt(max(counts.squares / n - (counts.total / n) ** 2, 0.0) * n / (n - 1))


def _visible_unit(finding: ColumnFinding) -> str:
    return "the column's own" if finding.kind == "number" else "share of rows"


def _visible_statement(finding: ColumnFinding) -> str:
    change = finding.visible_change or 0.0
    if finding.kind == "number":
        return f"a change of the mean of {finding.column} by {change:.3g} or more would have shown"
    return f"a change of the largest share of {finding.column} by {100 * change:.2g} points or more would have shown"


def _would_be_missed(baseline: Baseline, findings: Sequence[ColumnFinding], must_see: Mapping[str, float]) -> str:
    total = merge_all(baseline.blocks)
    named = []
    for finding in findings:
        wanted = _floor(finding.column, must_see)
        if wanted is None or finding.visible_change is None:
            continue
        if finding.kind == "number":
            wanted *= _std(total.numbers[finding.column])
        elif finding.column not in must_see:
            wanted *= _BELOW_PER_STD
        if finding.visible_change > wanted:
            named.append(f"a change of {wanted:.3g} in {finding.column} (visible from {finding.visible_change:.3g})")
    return "; ".join(named)


def _words(finding: ColumnFinding) -> str:
    column, _, derived = finding.column.rpartition(".")
    change = f"{finding.reference:.3g} to {finding.current:.3g}"
    points = f"{100 * finding.reference:.1f} % to {100 * finding.current:.1f} % of rows"
    if column and derived == "oov":
        what = f"mean share of unknown words {change}" if finding.effect == "mean" else _plain(finding, points, change)
        return f"`{column}`: new vocabulary ({what})"
    if column and derived == "distance":
        what = f"mean distance {change}" if finding.effect == "mean" else _plain(finding, points, change)
        return f"`{column}`: new kind of request ({what})"
    if column and derived == "cluster":
        return f"`{column}`: mix of known requests changed (cluster {finding.detail or finding.effect}: {points})"
    if column and derived.startswith("component_"):
        return f"`{column}`: wording moved along {derived.replace('_', ' ')} ({_plain(finding, points, change)})"
    if column and derived == "length" and finding.effect == "mean":
        return f"`{column}`: length changed (mean characters {change})"
    return f"`{finding.column}`: {_plain(finding, points, change)}"


def _plain(finding: ColumnFinding, points: str, change: str) -> str:
    match finding.effect:
        case "mean":
            return f"mean {change}"
        case "location":
            return f"values moved {'up' if finding.value > 0 else 'down'} (mean rank {change})"
        case "spread":
            return (
                f"values spread {'wider' if finding.value > 0 else 'narrower'} (distance from the middle rank {change})"
            )
        case "share_below":
            return f"values up to {finding.detail}: {points}"
        case "missing":
            return f"missing values: {points}"
        case "share":
            return f"{finding.detail!r}: {points}"
        case "other":
            return f"rare known values: {points}"
    return f"values never seen before: {points}"
