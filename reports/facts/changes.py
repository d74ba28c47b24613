"""A period against the one before it, from rows that the ledger bound.

A KPI of a period is the mean of its windows, weighted by their rows, over windows of one length, which never overlap:
each event counts once. A disparity of a period comes from the counts of its windows, as the answer about fairness does.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session, load_only

from governance.verify.fair import Z95
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from monitor.tables import Alert, Measurement, Model, Window
from reports import document as doc
from reports import store
from reports.facts.fairness import fairness_answer, own_values
from reports.fairness import DisparityLine, FairnessAnswer
from reports.periods import period_before, period_name, period_words
from reports.tables import Report
from retrain.tables import ModelVersion, Run

MOST_WINDOWS: Final = 400  # of one length in a period; of more, the next length is used
MOST_IDS: Final = 200
MEAN: Final = "mean of windows of {scale}, weighted by rows; interval of the difference by MOVER (Zou, Donner 2008)"
COUNTS: Final = "from the counts of all windows of the period; interval of the difference by MOVER (Zou, Donner 2008)"


def period_changes(db: Session, report: Report, document: doc.AuditReport) -> doc.PeriodChanges:
    """Compare a report with the period before; of changed rows, and before the model was declared, nothing is said."""
    zone = report.zone or "UTC"
    start, end = period_before(report.period_from, report.period_to, zone)
    model = store.model_of(db, report.model_id)
    why = None
    if document.bound is not None and document.bound.changes:
        why = "Rows of the database were changed outside Assay, so nothing is compared."
    elif not (before := _windows(db, model, start, end)):
        why = "Not comparable, because no window ended in the period before."
    found = _Compared((), (), None, (), None) if why is not None else _compared(db, model, report, document, before)
    return doc.PeriodChanges(
        start=start, end=end, words=period_words(start, end, zone), name=period_name(start, end, zone),
        scale=found.scale, windows=found.windows, windows_before=found.windows_before, lines=found.lines,
        fair_before=found.fair, why=why,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Compared:
    windows: tuple[doc.UsedWindow, ...]
    windows_before: tuple[doc.UsedWindow, ...]
    scale: str | None
    lines: tuple[doc.ChangeLine, ...]
    fair: FairnessAnswer | None


def _compared(
    db: Session, model: Model, report: Report, document: doc.AuditReport, before: Sequence[Window]
) -> _Compared:
    start, end = report.period_from, report.period_to
    now = _windows(db, model, start, end)
    specs = _specs(db, model, {w.spec_revision for w in (*now, *before)})
    scale = _scale(now, before)
    ours, theirs = ([w for w in part if w.scale == scale] for part in (now, before))
    earlier = period_before(start, end, report.zone or "UTC")
    spec = specs[max(specs)]
    fair = fairness_answer(db, model, spec, *earlier, hidden=own_values(spec)) if document.fair is not None else None
    lines = (
        _volume(ours, theirs, scale), *_counts(db, model, (start, end), earlier),
        *_kpis(db, ours, theirs, specs, scale), *_disparities(document.fair, fair),
    )  # fmt: skip
    return _Compared(tuple(map(_used, ours)), tuple(map(_used, theirs)), scale, lines, _trimmed(fair))


def _windows(db: Session, model: Model, start: datetime, end: datetime) -> Sequence[Window]:
    """Windows that end in the period; one that ends with its last moment belongs to it, not to the next."""
    query = select(Window).where(Window.model_id == model.id, Window.to_ts > start, Window.to_ts <= end)
    few = load_only(Window.scale, Window.rows, Window.spec_revision, Window.from_ts, Window.to_ts)
    return db.scalars(query.options(few).order_by(Window.to_ts, Window.id)).all()


def _used(window: Window) -> doc.UsedWindow:
    return doc.UsedWindow(id=str(window.id), rows=window.rows)


def _scale(now: Sequence[Window], before: Sequence[Window]) -> str | None:
    """The length of windows with the most in both periods, and not more than are printed; None where none is shared."""
    ours, theirs = (Counter(w.scale for w in part) for part in (now, before))
    shared = [s for s in ours if s in theirs and max(ours[s], theirs[s]) <= MOST_WINDOWS]
    return max(shared, key=lambda s: (ours[s] + theirs[s], s), default=None)


def _specs(db: Session, model: Model, revisions: set[int]) -> dict[int, ModelSpec]:
    return {
        row.revision: parse_spec(row.document)
        for row in store.spec_revisions(db, model.id)
        if row.revision in revisions
    }  # fmt: skip


# --- volume, alerts, runs, promotions ---------------------------------------------------------------------------------


def _volume(ours: Sequence[Window], theirs: Sequence[Window], scale: str | None) -> doc.ChangeLine:
    sides = [_side(float(sum(w.rows for w in part)), sum(w.rows for w in part), len(part)) for part in (ours, theirs)]
    why = "Not comparable, because the periods share no length of windows." if scale is None else None
    return _line("volume", "rows", "", "rows", f"rows of windows of {scale}", sides[0], sides[1], why)


def _counts(
    db: Session, model: Model, period: tuple[datetime, datetime], earlier: tuple[datetime, datetime]
) -> Iterator[doc.ChangeLine]:
    tables: tuple[tuple[str, Any, Any, str], ...] = (
        ("alerts", Alert, Alert.opened_at, "alerts opened"), ("runs", Run, Run.created_at, "retraining runs begun"),
        ("promotions", ModelVersion, ModelVersion.promoted_at, "versions promoted"),
    )  # fmt: skip
    for kind, table, at, what in tables:
        sides = []
        for start, end in (period, earlier):
            query = select(table.id).where(table.model_id == model.id, at >= start, at < end).order_by(at, table.id)
            ids = [str(one) for one in db.scalars(query)]
            sides.append(_side(float(len(ids)), len(ids), 0, ids=tuple(ids[:MOST_IDS])))
        yield _line(kind, what, "", "count", "by the time they happened", sides[0], sides[1], None)


# --- KPIs -------------------------------------------------------------------------------------------------------------


def _kpis(
    db: Session, ours: Sequence[Window], theirs: Sequence[Window], specs: Mapping[int, ModelSpec], scale: str | None
) -> Iterator[doc.ChangeLine]:  # fmt: skip
    measured = [_measured(db, part) for part in (ours, theirs)]
    latest = specs[max(specs)]
    for rule in latest.monitors.kpi:
        sides = [_mean(found.get(rule.metric, ())) for found in measured]
        unit = next((m.unit for found in measured for m in found.get(rule.metric, ())), "")
        why = _why_not(rule.metric, specs, ours, theirs) or _why_none(sides, scale)
        yield _line(
            "kpi", rule.metric.replace("_", " "), rule.metric, unit, MEAN.format(scale=scale), sides[0], sides[1], why
        )


def _measured(db: Session, windows: Sequence[Window]) -> dict[str, list[Measurement]]:
    """KPIs of whole windows, by metric, in order of their end."""
    found: dict[str, list[Measurement]] = {}
    ids = [w.id for w in windows]
    query = select(Measurement).where(
        Measurement.window_id.in_(ids), Measurement.monitor == "kpi", Measurement.segment == "",
        Measurement.column == "", Measurement.value.is_not(None),
    )  # fmt: skip
    for row in db.scalars(query.order_by(Measurement.to_ts, Measurement.id)):
        if row.value is not None and math.isfinite(row.value):
            found.setdefault(row.metric, []).append(row)
    return found


def _mean(rows: Sequence[Measurement]) -> doc.ChangeSide:
    values = tuple(
        doc.UsedValue(window=str(m.window_id), value=m.value, low=m.low, high=m.high, n=m.n)
        for m in rows
        if m.value is not None and m.n > 0
    )
    value, low, high = mean_of([(v.value, v.low, v.high, v.n) for v in values])
    limit = rows[-1].limit if rows else None
    return _side(value, sum(v.n for v in values), len(values), low=low, high=high, limit=limit, values=values)


def mean_of(
    values: Sequence[tuple[float, float | None, float | None, int]],
) -> tuple[float | None, float | None, float | None]:
    """Mean weighted by rows, with its 95 % interval from those of the values; (None, None, None) of no values.

    Args:
        values: value, ends of its 95 % interval, rows; the values are independent, as windows do not overlap.
    """
    total = sum(n for _, _, _, n in values)
    if not total:
        return None, None, None
    mean = math.fsum(value * n for value, _, _, n in values) / total
    if any(low is None or high is None or not math.isfinite(high - low) for _, low, high, _ in values):
        return mean, None, None
    parts = [((high or 0.0) - (low or 0.0)) / (2 * Z95) * n / total for _, low, high, n in values]
    half = Z95 * math.sqrt(math.fsum(p * p for p in parts))
    return mean, mean - half, mean + half


def _why_none(sides: Sequence[doc.ChangeSide], scale: str | None) -> str | None:
    if scale is None:
        return "Not comparable, because the periods share no length of windows."
    lacking = [words for side, words in zip(sides, ("this period", "the period before"), strict=True) if not side.n]
    return f"Not comparable, because it was not measured in {' and '.join(lacking)}." if lacking else None


def _why_not(
    metric: str, specs: Mapping[int, ModelSpec], ours: Sequence[Window], theirs: Sequence[Window]
) -> str | None:
    """Why two means are not of the same thing: the rule, its limit, or the columns it is taken of were changed."""
    if not ours or not theirs:
        return None
    first, last = specs[min(w.spec_revision for w in theirs)], specs[max(w.spec_revision for w in ours)]
    before, now = (_rule(spec, metric) for spec in (first, last))
    if before is None or now is None:
        return "Not comparable, because the spec of one period does not declare it."
    if _answers(first) != _answers(last):
        return "Not comparable, because the columns of predictions, scores or outcomes were changed."
    limits = {"min", "max"}
    if {k: v for k, v in before.items() if k not in limits} != {k: v for k, v in now.items() if k not in limits}:
        return "Not comparable, because its definition in the spec was changed."
    for word in sorted(limits):
        if before.get(word) != now.get(word):
            return (
                f"Not comparable, because its limit was changed: {word} {_limit(before.get(word))} before, "
                f"{_limit(now.get(word))} now."
            )
    return None


def _rule(spec: ModelSpec, metric: str) -> dict[str, Any] | None:
    found = next((rule for rule in spec.monitors.kpi if rule.metric == metric), None)
    return None if found is None else found.model_dump(mode="json")


def _answers(spec: ModelSpec) -> dict[str, Any]:
    roles = ("prediction", "score", "outcome")
    return {n: c.model_dump(mode="json") for n, c in spec.columns.items() if c.role in roles}


def _limit(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)


# --- fairness ---------------------------------------------------------------------------------------------------------


def _disparities(now: FairnessAnswer | None, before: FairnessAnswer | None) -> Iterator[doc.ChangeLine]:
    earlier = {(d.metric, d.by): d for d in before.disparities} if before is not None else {}
    for line in now.disparities if now is not None else ():
        if not line.declared:
            continue
        other = earlier.get((line.metric, line.by))
        sides = [_of_disparity(line), _of_disparity(other)]
        yield _line(
            "fairness", line.metric.replace("_", " "), line.metric, line.unit, COUNTS, sides[0], sides[1],
            _why_not_fair(line, other), column=line.by,
        )  # fmt: skip


def _of_disparity(line: DisparityLine | None) -> doc.ChangeSide:
    if line is None:
        return _side(None, 0, 0)
    return _side(line.value, line.n, line.windows, low=line.low, high=line.high, limit=line.limit)


def _why_not_fair(now: DisparityLine, before: DisparityLine | None) -> str | None:
    if before is None or now.value is None or before.value is None:
        lacking = [w for d, w in ((now, "this period"), (before, "the period before")) if d is None or d.value is None]
        return f"Not comparable, because it was not measured in {' and '.join(lacking)}."
    if (now.definition, now.positive) != (before.definition, before.positive):
        return "Not comparable, because its definition was changed."
    if now.limit != before.limit:
        return f"Not comparable, because its limit was changed: {_limit(before.limit)} before, {_limit(now.limit)} now."
    return None


def _trimmed(fair: FairnessAnswer | None) -> FairnessAnswer | None:
    if fair is None:
        return None
    short = tuple(d.model_copy(update={"history": (), "alerts": ()}) for d in fair.disparities)
    return fair.model_copy(update={"disparities": short, "impact": ()})


# --- lines ------------------------------------------------------------------------------------------------------------


def _side(
    value: float | None, n: int, windows: int, *, low: float | None = None, high: float | None = None,
    limit: float | None = None, values: tuple[doc.UsedValue, ...] = (), ids: tuple[str, ...] = (),
) -> doc.ChangeSide:  # fmt: skip
    return doc.ChangeSide(value=value, low=low, high=high, n=n, windows=windows, limit=limit, values=values, ids=ids)


def _line(
    kind: str, what: str, metric: str, unit: str, method: str, now: doc.ChangeSide, before: doc.ChangeSide,
    why: str | None, *, column: str = "",
) -> doc.ChangeLine:  # fmt: skip
    difference = low = high = None
    if why is None and now.value is not None and before.value is not None:
        difference = now.value - before.value
        low, high = mover(now, before, difference)
    return doc.ChangeLine(
        kind=kind, what=what, metric=metric, column=column, unit=unit, method=method, now=now, before=before,
        difference=difference, low=low, high=high, why=why,
    )  # fmt: skip


def mover(now: doc.ChangeSide, before: doc.ChangeSide, difference: float) -> tuple[float | None, float | None]:
    """95 % interval of a difference from those of its sides, which are independent; (None, None) without them.

    Source: Zou and Donner (2008), the method of variance estimates recovery.
    """
    ends = (now.value, now.low, now.high, before.value, before.low, before.high)
    if any(end is None for end in ends):
        return None, None
    a, a_low, a_high, b, b_low, b_high = (float(end or 0.0) for end in ends)
    return difference - math.hypot(a - a_low, b_high - b), difference + math.hypot(a_high - a, b - b_low)
