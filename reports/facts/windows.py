"""The lines of a report about windows, thresholds and references."""

from collections.abc import Sequence

from monitor.reference.notices import notices
from monitor.spec.parse import parse_spec
from monitor.tables import ReferenceRow, SpecRevision, Window
from reports import document as doc
from reports.facts.citations import Citations
from reports.facts.measures import finite
from reports.wording.phrases import rule_words


def baseline_line(row: ReferenceRow, citations: Citations) -> doc.BaselineLine:
    entry = citations.find("model.baseline", row.id, last=True) if row.state == "ready" else None
    return doc.BaselineLine(
        reason=row.reason,
        state=row.state,
        rows=row.rows,
        start=row.from_ts,
        end=row.to_ts,
        digest=row.artifact,
        entry=entry,
        notices=tuple(n.sentence for n in notices(row)),
    )


def window_line(w: Window, citations: Citations) -> doc.WindowLine:
    return doc.WindowLine(
        id=str(w.id),
        scale=w.scale,
        number=w.number,
        start=w.from_ts,
        end=w.to_ts,
        rows=w.rows,
        labels=w.labels,
        coverage=w.labels / w.rows if w.rows else None,
        versions=tuple(map(str, w.versions)),
        verdict=w.verdict,
        drift=str(w.decision.get("verdict", "unknown")),
        p=finite(w.decision.get("p")),
        alpha=finite(w.decision.get("alpha")),
        sentence=w.sentence,
        events_version=w.events_version,
        spec_revision=w.spec_revision,
        entry=citations.find("alert.opened", w.id),
        corrections=w.corrections,
        corrected_at=w.corrected_at,
        previous_verdict=w.history[-1].get("verdict") if w.history else None,
        corrected_why=w.history[-1]["why"] if w.history else None,
    )


def threshold_lines(revisions: Sequence[SpecRevision], citations: Citations) -> tuple[doc.ThresholdLine, ...]:
    """Every threshold in force, with the spec revision since which it is unchanged."""
    history = [(r, rule_words(parse_spec(r.document))) for r in revisions]
    lines = []
    for (monitor, metric), rule in history[-1][1].items():
        since = history[-1][0]
        for revision, rules in reversed(history):
            if rules.get((monitor, metric)) != rule:
                break
            since = revision
        lines.append(
            doc.ThresholdLine(
                monitor=monitor,
                metric=metric,
                rule=rule,
                since=since.created_at,
                revision=since.revision,
                entry=citations.find("model.spec", since.digest),
            )
        )
    return tuple(lines)
