"""Tables that several kinds of report share, made from the lines of a report."""

from collections.abc import Iterable, Sequence
from typing import Final

from reports import document as doc
from reports.facts import runs

MOST: Final = 200  # rows of one table; the rest is counted


def table(
    caption: str,
    columns: str,
    rows: Iterable[Sequence[doc.Scalar]],
    empty: str,
    *,
    rule: str = "the first",
) -> doc.SectionTable:
    """A table of at most `MOST` rows; `rule` says which.

    Args:
        columns: name, type and relative width of each, as in `window end time 0.9; rows count 0.5`.
    """
    named = (column.strip().rsplit(" ", 2) for column in columns.split(";"))
    whole = [tuple(row) for row in rows]
    left = max(0, len(whole) - MOST)
    return doc.SectionTable(
        caption=caption,
        columns=tuple(doc.TableColumn.model_validate({"name": n, "type": t, "width": w}) for n, t, w in named),
        rows=tuple(whole[:MOST]),
        empty=empty,
        left=left,
        rule=rule if left else "",
    )


def verdicts_table(lines: Sequence[doc.VerdictLine]) -> doc.SectionTable:
    return table(
        "Questions and answers",
        "question text 1.5; answer mark 0.8; evidence text 2.2",
        ((v.question, v.answer, v.finding) for v in lines),
        "No question was asked.",
    )


def promotions_table(lines: Sequence[doc.PromotionLine]) -> doc.SectionTable:
    columns = "at time 0.9; version text 1.1; by text 0.9; approved by, and why text 2.2; entry entry 0.4"
    return table(
        "Versions put into service, and who approved",
        columns,
        ((p.at, f"{p.did} {p.version}", p.by, approved_words(p), p.entry) for p in lines),
        "No version was put into service.",
    )


def approved_words(line: doc.PromotionLine) -> str:
    """Each person with what they said, or that nobody was asked."""
    people = [f"{a.did} by {a.who}" + (f": {a.reason}" if a.reason else "") for a in line.approved]
    return "; ".join([*people, line.asked])


def deeds_table(lines: Sequence[doc.DeedLine], empty: str = "Nobody did anything about it.") -> doc.SectionTable:
    columns = "at time 0.9; who text 0.9; what text 1.7; reason given text 1.8; entry entry 0.4"
    rows = ((d.at, d.who, f"{d.did} {d.about}", "none" if d.reason == "" else d.reason, d.entry) for d in lines)
    return table("What people did, and why", columns, rows, empty)


def trained_tables(lines: Sequence[doc.TrainedLine]) -> tuple[doc.SectionTable, ...]:
    """The sets of each version with counts and times, and what was declared of its data."""
    sets = [
        (
            t.version,
            s.role,
            s.start,
            s.end,
            s.rows,
            s.dropped,
            "; ".join(f"{n:,} × {w}" for w, n in s.dropped_for.items()),
            s.digest,
            s.entry,
        )
        for t in lines
        for s in t.sets
    ]
    declared = [
        (
            t.version,
            f"{d.kind.replace('_', ' ')} {d.name}",
            d.source or d.reason,
            d.licence,
            d.consent and d.consent.replace("_", " "),
            span_words(d.collected_from, d.collected_to),
            d.rows,
            d.entry,
        )
        for t in lines
        for d in (*((t.base,) if t.base is not None else ()), *t.data)
    ]
    return (
        table(
            "Sets of rows",
            "version text 0.6; set text 0.6; from time 0.9; to time 0.9; rows count 0.6; "
            "left out count 0.6; why text 1.2; digest digest 0.8; entry entry 0.4",
            sets,
            "No version in service was trained here: "
            + "; ".join(f"{t.version}: {t.reason}" for t in lines if t.reason)
            + ".",
        ),
        table(
            "What was declared of the data",
            "version text 0.6; data text 1.3; source text 1.5; licence text 0.9; legal basis text 0.9; "
            "collected text 1.0; rows count 0.5; entry entry 0.4",
            declared,
            "Nothing is known of the data of any version in service.",
        ),
    )


def span_words(first: str | None, last: str | None) -> str | None:
    """`2026-01-01 to 2026-03-31`; null where nothing is known."""
    return None if first is None and last is None else f"{(first or '?')[:10]} to {(last or '?')[:10]}"


def measures_table(caption: str, lines: Sequence[doc.MeasureLine], empty: str) -> doc.SectionTable:
    """The newest windows come first."""
    rows = [
        (
            m.end.isoformat(),
            m.scale,
            m.metric.replace("_", " ") + (f" by {m.column}" if m.column else ""),
            m.value,
            m.low,
            m.high,
            m.n,
            m.limit,
            _standing(m),
        )
        for m in sorted(lines, key=lambda m: (m.end, m.metric, m.column), reverse=True)
        if not m.segment
    ]
    columns = (
        "window end time 0.9; length text 0.6; metric text 1.2; value number 0.5; low number 0.5; "
        "high number 0.5; n count 0.5; limit number 0.5; status text 1.3"
    )
    return table(caption, columns, rows, empty, rule="the newest")


def _standing(m: doc.MeasureLine) -> str:
    if m.value is None:
        return f"not measured: {m.reason}"
    if m.not_judged is not None:
        return f"not judged: {m.not_judged}"
    return "alarm" if m.alarm else "no limit declared" if m.limit is None else "inside its limit"


def alerts_table(lines: Sequence[doc.AlertLine], empty: str) -> doc.SectionTable:
    columns = (
        "opened time 0.9; alert text 2.6; severity text 0.6; windows count 0.5; answered text 1.4; entry entry 0.4"
    )
    rows = (
        (
            a.opened_at.isoformat(),
            f"{a.monitor} {a.metric.replace('_', ' ')}: {a.sentence}" + (f" Why: {a.why}" if a.why else ""),
            a.severity,
            a.windows,
            _answered(a),
            a.opened_entry,
        )
        for a in lines
    )
    return table("Alerts", columns, rows, empty)


def _answered(a: doc.AlertLine) -> str:
    said = [
        f"{did} {at:%Y-%m-%d %H:%M} by {who}"
        for did, at, who in (
            ("acknowledged", a.acknowledged_at, a.acknowledged_by),
            ("resolved", a.resolved_at, a.resolved_by),
        )
        if at is not None
    ]
    return "; ".join(said) or "not yet"


def gates_table(run: doc.RunLine) -> doc.SectionTable:
    rows = ((g.gate.replace("_", " "), g.verdict, g.reason, g.entry) for g in run.gates)
    return table(
        "Gates",
        "gate text 0.8; verdict mark 0.7; reason text 3.0; entry entry 0.4",
        rows,
        "No gate was judged.",
    )


def evaluation_table(run: doc.RunLine) -> doc.SectionTable:
    """Champion and challenger on the same rows."""
    rows = (
        (
            e.metric,
            e.rows,
            e.n,
            f"{e.champion} ({e.champion_interval})",
            f"{e.challenger} ({e.challenger_interval})",
            e.reason or f"{e.difference} ({e.difference_interval})",
        )
        for e in runs.evaluation(run.evaluation)
    )
    return table(
        "Champion and challenger on the same rows",
        "metric text 1.0; rows text 1.0; n text 0.5; champion text 1.3; challenger text 1.3; difference text 1.4",
        rows,
        "Nothing was evaluated.",
    )


def limits_table(run: doc.RunLine) -> doc.SectionTable:
    rows = (
        (li.limit.replace("_", " "), li.declared, li.measured, li.verdict, li.allowed, li.entry) for li in run.limits
    )
    return table(
        f"Limits determined beforehand: {run.inside}",
        "limit text 1.0; declared text 1.2; measured text 1.2; verdict text 0.8; "
        "allowed once by text 1.0; entry entry 0.4",
        rows,
        "No limit was declared.",
    )


def thresholds_table(lines: Sequence[doc.ThresholdLine]) -> doc.SectionTable:
    rows = ((t.monitor, t.metric.replace("_", " "), t.rule, t.since.isoformat(), t.revision, t.entry) for t in lines)
    return table(
        "Thresholds in force, and since when",
        "monitor text 0.7; metric text 1.1; rule text 2.0; unchanged since time 0.9; "
        "revision count 0.5; entry entry 0.4",
        rows,
        "The spec declares no threshold.",
    )


def specs_table(lines: Sequence[doc.SpecLine]) -> doc.SectionTable:
    rows = ((s.revision, s.recorded_at.isoformat(), s.author, s.digest, s.entry) for s in reversed(lines))
    return table(
        "Revisions of the spec",
        "revision count 0.5; recorded time 0.9; author text 1.2; digest digest 0.9; entry entry 0.4",
        rows,
        "No spec was recorded.",
        rule="the newest",
    )


def plan_table(lines: Sequence[doc.PlanLine]) -> doc.SectionTable:
    rows = ((p.planned, p.due, p.done, p.missed, p.why) for p in lines)
    return table(
        "Plan against execution",
        "planned by the spec text 1.7; due count 0.5; done count 0.5; missed count 0.5; why text 1.7",
        rows,
        "The spec plans nothing.",
    )


def versions_table(lines: Sequence[doc.VersionLine]) -> doc.SectionTable:
    rows = (
        (
            v.version,
            v.stage,
            v.base_model,
            v.base_digest,
            v.adapter,
            _moment(v.promoted_at),
            _moment(v.retired_at),
            v.promoted_entry,
        )
        for v in lines
    )
    return table(
        "Versions",
        "version text 0.8; stage text 0.7; base text 1.0; base digest digest 0.8; "
        "adapter digest 0.8; promoted time 0.9; retired time 0.9; entry entry 0.4",
        rows,
        "No version is registered.",
    )


def _moment(at: object) -> str | None:
    return None if at is None else str(at.isoformat() if hasattr(at, "isoformat") else at)


def ledger_table(lines: Sequence[doc.LedgerLine], subjects: Sequence[str] = ()) -> doc.SectionTable:
    """Entries of the ledger, of some subjects or of all that the report read."""
    rows = [(li.index, li.at, li.kind, li.actor, li.subject) for li in lines if not subjects or li.subject in subjects]
    return table(
        "Entries of the ledger",
        "entry entry 0.4; at time 0.9; kind text 1.1; actor text 0.8; subject text 1.6",
        rows[::-1],
        "No entry speaks of it.",
        rule="the newest",
    )
