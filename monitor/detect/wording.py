"""A drift decision in one or two plain sentences."""

from collections.abc import Mapping, Sequence
from typing import Final

from core.figures import count, cut, figure
from monitor import sizes
from monitor.detect.decide import DriftDecision
from monitor.detect.findings import ClusterShare, ColumnFinding, is_detectable, is_hidden

MAX_COLUMNS_NAMED: Final = 3
MAX_CLUSTERS_NAMED: Final = 2
EARLY_LABEL: Final = "early: takes rows as independent"


def describe(decision: DriftDecision, units: Mapping[str, str] | None = None) -> str:
    """The verdict in words; without an alarm, also the change that the window would have shown.

    Args:
        units: of columns, as the spec declares them.
    """
    early = f" ({EARLY_LABEL})" if decision.rule == "early" and decision.judged else ""
    return _verdict(decision, units or {}) + early + _left_out(decision)


def _verdict(decision: DriftDecision, units: Mapping[str, str]) -> str:
    def said(findings: Sequence[ColumnFinding]) -> str:
        return "; ".join(_describe_finding(f, units.get(f.column, "")) for f in findings)

    match decision.verdict:
        case "not_enough_data" | "reference_too_short":
            return f"Not judged: {decision.reason}."
        case "volume_changed":
            return f"Traffic volume changed, so the distribution is not judged: {decision.reason}."
        case "no_evidence":
            rows = count(decision.n_window)
            return f"No evidence of a change in {rows} rows ({decision.reason}).{_detectable(decision)}"
        case "changed_below_floor":
            largest = said(_largest_first(decision.columns)[:2])
            return f"Changed, but below your floors: {largest}.{_detectable(decision)}"
    ranked = leading(decision)
    if not ranked:
        ranked = _largest_first([f for f in decision.columns if f.above_floor])[:MAX_COLUMNS_NAMED]
        return f"Drift spread over many columns, most in {said(ranked)} ({decision.reason})."
    more = f"; and {len(ranked) - MAX_COLUMNS_NAMED} more columns" if len(ranked) > MAX_COLUMNS_NAMED else ""
    return f"Drift: {said(ranked[:MAX_COLUMNS_NAMED])}{more}."


def edge(detail: str | None) -> str:
    """The edge of a share of values, as `core.figures.cut`; one next to zero is zero to a reader."""
    try:
        value = float(detail or "")
    except ValueError:
        return str(detail)
    if 0 < abs(value) < 1e-6:
        return f"about 0 ({value:.1e})"
    return cut(value)


def leading(decision: DriftDecision) -> list[ColumnFinding]:
    """The columns that alarm, the most certain first; none where drift is spread over many columns."""
    return _largest_first([f for f in decision.columns if f.alarmed])


def _largest_first(findings: Sequence[ColumnFinding]) -> list[ColumnFinding]:
    return sorted(findings, key=_certainty)


def _certainty(finding: ColumnFinding) -> tuple[float, float]:
    """By standard errors where the rule has them, else by adjusted p and then by size."""
    if finding.t is not None:
        return -finding.t, 0.0
    return finding.adjusted_p if finding.adjusted_p is not None else 0.0, -abs(finding.value)


def _detectable(decision: DriftDecision) -> str:
    """The changes this window would have shown, for the columns that were closest to an alarm."""
    nearest = [f for f in _largest_first(decision.columns) if is_detectable(f)][:MAX_COLUMNS_NAMED]
    if decision.rule == "declared":
        return " This rule does not say which change it would have shown."
    if not nearest:
        return " No column varies enough to say which change it would have shown."
    changes = [
        f"{f.column} by {figure(f.visible_change)}"
        if f.kind == "number"
        else f"{f.column} by {100 * (f.visible_change or 0.0):.2g} points"
        for f in nearest
    ]
    return f" It would have shown a change of {', '.join(changes)}.{_in_bursts(decision)}"


def _in_bursts(decision: DriftDecision) -> str:
    """The columns of which the early rule could have shown no change, because many of their rows count as one."""
    hidden = [f.column for f in decision.columns if is_hidden(f, decision.design_effects)]
    if not hidden:
        return ""
    more = f" and {len(hidden) - MAX_COLUMNS_NAMED} more" if len(hidden) > MAX_COLUMNS_NAMED else ""
    their = "its" if len(hidden) == 1 else "their"
    return f" Not visible: {', '.join(hidden[:MAX_COLUMNS_NAMED])}{more}, because {their} rows come in bursts."


def _left_out(decision: DriftDecision) -> str:
    if not decision.unjudged:
        return ""
    named = ", ".join(decision.unjudged[:MAX_COLUMNS_NAMED])
    more = (
        f" and {len(decision.unjudged) - MAX_COLUMNS_NAMED} more" if len(decision.unjudged) > MAX_COLUMNS_NAMED else ""
    )
    return f" Not judged, because they are serially dependent from one {decision.block} to the next: {named}{more}."


def _describe_finding(finding: ColumnFinding, unit: str) -> str:
    change = f"from {figure(finding.reference)} to {figure(finding.current)}"
    points = f"{_points(finding.reference, finding.current)}{_of_shares(finding.reference, finding.current)}"
    size = _of_std(finding)
    column, _, derived = finding.column.rpartition(".")
    if finding.meaning is None or finding.effect == "missing":
        own = f"{change} {unit}" if unit and finding.effect == "mean" else change
        return f"`{finding.column}`: {_describe_effect(finding, points, own, size)}"
    what = _describe_effect(finding, points, change, size)
    match derived:
        case "oov" if finding.effect == "mean":
            what = f"mean share of unknown words {change}{size}"
        case "oov":
            what = f"share of unknown words: {what}"
        case "distance" if finding.effect == "mean":
            what = f"mean distance to the nearest known ones {change}{size}"
        case "distance":
            what = f"distance to the nearest known ones: {what}"
        case "length" if finding.effect == "mean":
            what = f"mean characters {change}{size}"
        case "cluster":
            what = "; ".join(_describe_cluster(c) for c in finding.clusters[:MAX_CLUSTERS_NAMED]) or what
        case _:
            what = f"{derived.replace('_', ' ')}: {what}"
    return f"`{column}`: {finding.meaning} ({what})"


def _describe_cluster(share: ClusterShare) -> str:
    name = f"those about {', '.join(share.words)}" if share.words else f"cluster {share.cluster}"
    return f"{name}: {_points(share.reference, share.current)}{_of_shares(share.reference, share.current)}"


def _points(before: float, after: float) -> str:
    return f"from {100 * before:.1f} % to {100 * after:.1f} % of rows"


def _of_shares(before: float, after: float) -> str:
    return f", {sizes.of_shares(before, after)}"


def _of_std(finding: ColumnFinding) -> str:
    """How far a mean, a rank or a spread moved, with the word for it; empty where that is not known."""
    if finding.std_change is None:
        return ""
    size = sizes.of_std(finding.std_change)
    if finding.effect == "spread":
        return f", {size}"
    return f", {'+' if finding.std_change > 0 else '-'}{figure(abs(finding.std_change))} std, {size}"


def _describe_effect(finding: ColumnFinding, points: str, change: str, size: str) -> str:
    match finding.effect:
        case "ks":
            return f"ks {figure(finding.current)}, {sizes.of_ks(finding.current)}, adjusted p {finding.adjusted_p:.2g}"
        case "chi2":
            return f"chi2 {figure(finding.current)}, adjusted p {finding.adjusted_p:.2g}"
        case "statistic":
            return (
                f"{finding.detail} {figure(finding.current)}, {_of_statistic(finding)}, threshold "
                f"{figure(finding.reference)}"
            )
        case "mean":
            return f"mean {change}{size}"
        case "location":
            return f"values moved {'up' if finding.value > 0 else 'down'} (mean rank {change}{size})"
        case "spread":
            moved = "wider" if finding.value > 0 else "narrower"
            return f"values spread {moved} (distance from the middle rank {change}{size})"
        case "share_below":
            return f"values up to {edge(finding.detail)}: {points}"
        case "missing":
            return f"missing values: {points}"
        case "share":
            return f"{finding.detail!r}: {points}"
        case "other":
            return f"values that were rare in the reference, or new: {points}"
    return f"values never seen before: {points}"


def _of_statistic(finding: ColumnFinding) -> str:
    """The size of a statistic: by its own lines where it has some, else by how many times its threshold it is."""
    if finding.detail in ("psi", "psi_corrected"):
        return sizes.of_psi(finding.current)
    if finding.detail == "ks":
        return sizes.of_ks(finding.current)
    return sizes.of_factor(finding.current / finding.reference) if finding.reference > 0 else "large"
