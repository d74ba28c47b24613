"""A drift decision in one or two plain sentences."""

from collections.abc import Sequence
from typing import Final

from monitor.detect.decide import DriftDecision
from monitor.detect.findings import ClusterShare, ColumnFinding, is_detectable, is_hidden

MAX_COLUMNS_NAMED: Final = 3
MAX_CLUSTERS_NAMED: Final = 2
EARLY_LABEL: Final = "early: takes rows as independent"


def describe(decision: DriftDecision) -> str:
    """The verdict in words; without an alarm, also the change that the window would have shown."""
    early = f" ({EARLY_LABEL})" if decision.rule == "early" and decision.judged else ""
    return _verdict(decision) + early + _left_out(decision)


def _verdict(decision: DriftDecision) -> str:
    match decision.verdict:
        case "not_enough_data" | "reference_too_short":
            return f"Not judged: {decision.reason}."
        case "volume_changed":
            return f"Traffic volume changed, so the distribution is not judged: {decision.reason}."
        case "no_evidence":
            return f"No evidence of a change in {decision.n_window} rows ({decision.reason}).{_detectable(decision)}"
        case "changed_below_floor":
            largest = "; ".join(_describe_finding(f) for f in _largest_first(decision.columns)[:2])
            return f"Changed, but below your floors: {largest}.{_detectable(decision)}"
    ranked = leading(decision)
    if not ranked:
        ranked = _largest_first([f for f in decision.columns if f.above_floor])[:MAX_COLUMNS_NAMED]
        most = "; ".join(_describe_finding(f) for f in ranked)
        return f"Drift spread over many columns, most in {most} ({decision.reason})."
    more = f"; and {len(ranked) - MAX_COLUMNS_NAMED} more columns" if len(ranked) > MAX_COLUMNS_NAMED else ""
    return f"Drift: {'; '.join(_describe_finding(f) for f in ranked[:MAX_COLUMNS_NAMED])}{more}."


def edge(detail: str | None) -> str:
    """The edge of a share of values, to three significant digits; one next to zero is zero to a reader."""
    try:
        value = float(detail or "")
    except ValueError:
        return str(detail)
    if 0 < abs(value) < 1e-6:
        return f"about 0 ({value:.1e})"
    return str(detail) if len(str(detail)) <= 6 else f"{value:.6g}"


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
        f"{f.column} by {f.visible_change:.3g}"
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


def _describe_finding(finding: ColumnFinding) -> str:
    change = f"from {finding.reference:.3g} to {finding.current:.3g}"
    points = _points(finding.reference, finding.current)
    what = _describe_effect(finding, points, change)
    column, _, derived = finding.column.rpartition(".")
    if finding.meaning is None or finding.effect == "missing":
        return f"`{finding.column}`: {what}"
    match derived:
        case "oov" if finding.effect == "mean":
            what = f"mean share of unknown words {change}"
        case "oov":
            what = f"share of unknown words: {what}"
        case "distance" if finding.effect == "mean":
            what = f"mean distance to the nearest known ones {change}"
        case "distance":
            what = f"distance to the nearest known ones: {what}"
        case "length" if finding.effect == "mean":
            what = f"mean characters {change}"
        case "cluster":
            what = "; ".join(_describe_cluster(c) for c in finding.clusters[:MAX_CLUSTERS_NAMED]) or what
        case _:
            what = f"{derived.replace('_', ' ')}: {what}"
    return f"`{column}`: {finding.meaning} ({what})"


def _describe_cluster(share: ClusterShare) -> str:
    name = f"those about {', '.join(share.words)}" if share.words else f"cluster {share.cluster}"
    return f"{name}: {_points(share.reference, share.current)}"


def _points(before: float, after: float) -> str:
    return f"from {100 * before:.1f} % to {100 * after:.1f} % of rows"


def _describe_effect(finding: ColumnFinding, points: str, change: str) -> str:
    match finding.effect:
        case "ks" | "chi2":
            return f"{finding.effect} {finding.current:.3g}, adjusted p {finding.adjusted_p:.2g}"
        case "statistic":
            return f"{finding.detail} {finding.current:.3g}, threshold {finding.reference:.3g}"
        case "mean":
            return f"mean {change}"
        case "location":
            return f"values moved {'up' if finding.value > 0 else 'down'} (mean rank {change})"
        case "spread":
            return (
                f"values spread {'wider' if finding.value > 0 else 'narrower'} (distance from the middle rank {change})"
            )
        case "share_below":
            return f"values up to {edge(finding.detail)}: {points}"
        case "missing":
            return f"missing values: {points}"
        case "share":
            return f"{finding.detail!r}: {points}"
        case "other":
            return f"values that were rare in the reference, or new: {points}"
    return f"values never seen before: {points}"
