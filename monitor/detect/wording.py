"""A decision in one plain sentence."""

from collections.abc import Sequence
from typing import Final

from monitor.detect.decide import Decision
from monitor.detect.findings import ClusterShare, ColumnFinding, could_show

MOST_NAMED: Final = 3
MOST_CLUSTERS_NAMED: Final = 2


def describe(decision: Decision) -> str:
    """One or two plain sentences: the verdict, and with every quiet one what would have shown."""
    return _verdict(decision) + _unjudged(decision)


def _verdict(decision: Decision) -> str:
    match decision.verdict:
        case "not_enough_data" | "reference_too_short":
            return f"No answer: {decision.reason}."
        case "volume_changed":
            return f"Traffic volume changed, so the mix of requests is not judged: {decision.reason}."
        case "no_evidence":
            return f"No evidence of a change in {decision.n_window} rows ({decision.reason}).{_visible(decision)}"
        case "changed_below_floor":
            ranked = _loudest(decision.columns)[:2]
            return f"Changed, but below your floors: {'; '.join(_words(f) for f in ranked)}.{_visible(decision)}"
    ranked = _loudest([f for f in decision.columns if f.alarmed])
    if not ranked:
        ranked = _loudest([f for f in decision.columns if f.above_floor])[:MOST_NAMED]
        return f"Drift spread over many columns, most in {'; '.join(_words(f) for f in ranked)} ({decision.reason})."
    more = f"; and {len(ranked) - MOST_NAMED} more columns" if len(ranked) > MOST_NAMED else ""
    return f"Drift: {'; '.join(_words(f) for f in ranked[:MOST_NAMED])}{more}."


def _loudest(findings: Sequence[ColumnFinding]) -> list[ColumnFinding]:
    return sorted(findings, key=lambda f: -(f.t if f.t is not None else abs(f.value)))


def _visible(decision: Decision) -> str:
    """What this window would have shown, of the columns that were nearest to an alarm."""
    nearest = [f for f in _loudest(decision.columns) if could_show(f)][:MOST_NAMED]
    if not decision.draws:
        return " This rule does not tell which change it would have shown."
    if not nearest:
        return " No column varies enough to tell which change it would have shown."
    said = [
        f"{f.column} by {f.visible_change:.3g}"
        if f.kind == "number"
        else f"{f.column} by {100 * (f.visible_change or 0.0):.2g} points"
        for f in nearest
    ]
    return f" It would have shown a change of {', '.join(said)}."


def _unjudged(decision: Decision) -> str:
    if not decision.unjudged:
        return ""
    named = ", ".join(decision.unjudged[:MOST_NAMED])
    more = f" and {len(decision.unjudged) - MOST_NAMED} more" if len(decision.unjudged) > MOST_NAMED else ""
    return f" Not judged, for they hang together from one {decision.block} to the next: {named}{more}."


def _words(finding: ColumnFinding) -> str:
    change = f"{finding.reference:.3g} to {finding.current:.3g}"
    points = _points(finding.reference, finding.current)
    what = _plain(finding, points, change)
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
            what = "; ".join(_cluster(c) for c in finding.clusters[:MOST_CLUSTERS_NAMED]) or what
        case _:
            what = f"{derived.replace('_', ' ')}: {what}"
    return f"`{column}`: {finding.meaning} ({what})"


def _cluster(share: ClusterShare) -> str:
    name = f"those about {', '.join(share.words)}" if share.words else f"cluster {share.cluster}"
    return f"{name}: {_points(share.reference, share.current)}"


def _points(before: float, after: float) -> str:
    return f"{100 * before:.1f} % to {100 * after:.1f} % of rows"


def _plain(finding: ColumnFinding, points: str, change: str) -> str:
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
            return f"values up to {finding.detail}: {points}"
        case "missing":
            return f"missing values: {points}"
        case "share":
            return f"{finding.detail!r}: {points}"
        case "other":
            return f"rare known values: {points}"
    return f"values never seen before: {points}"
