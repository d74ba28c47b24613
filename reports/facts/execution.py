"""Plan against execution of one model: what its spec planned in a period, and what was done, late or missed."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from governance.ledger.read import ledger_entries
from monitor.spec.duration import duration
from monitor.spec.parse import parse_spec
from monitor.tables import Model, Window
from reports import document as doc
from reports import store
from reports.facts.alerts import alert_line, decision_line
from reports.facts.citations import Citations
from reports.facts.measures import measure_line
from reports.wording.plan import plan_lines, schedules
from retrain.triggers.schedule import declared_since

MISSED: Final = "scheduler.missed"  # kind of the entry that a scheduler makes after a gap
MINUTE: Final = timedelta(minutes=1)
LATE: Final = timedelta(hours=1)  # after its end, at the least, before a window of time counts as closed late


def execution_lines(
    db: Session, model: Model, windows: Sequence[Window], since: datetime, until: datetime
) -> tuple[doc.PlanLine, ...]:
    """Whether the service looked at the model all the time, and closed its windows in time."""
    return (_looked(db, model, since, until), *_in_time(windows))


def plan_of(
    db: Session, model: Model, since: datetime, until: datetime, *, decided: datetime | None = None
) -> tuple[doc.PlanLine, ...]:
    """Every line of the plan of a period, as the audit report has it.

    Args:
        until: the end, not after now.
        decided: decisions count up to then; one that fell due just before the end is made after it.
    """
    spec = parse_spec(store.spec_revisions(db, model.id)[-1].document)
    windows, nothing = store.windows(db, model.id, since, until), Citations([])
    by_id, measured = {w.id: w for w in windows}, store.measurements(db, model.id, since, until)
    kpi = [measure_line(m, by_id, spec) for m in measured if m.monitor == "kpi"]
    fairness = [measure_line(m, by_id, spec) for m in measured if m.monitor == "fairness"]
    alerts = [alert_line(a, until, nothing) for a in store.alerts(db, model.id, since, until)]
    decisions = [decision_line(d, nothing) for d in store.decisions(db, model.id, since, decided or until)]
    revisions = reversed(store.spec_revisions(db, model.id))
    declared = declared_since(((r.document, r.created_at) for r in revisions), schedules(spec))
    lines = plan_lines(spec, windows, kpi, fairness, alerts, decisions, since, until, declared)
    return (*lines, *execution_lines(db, model, windows, since, until))


def failures(lines: Sequence[doc.PlanLine]) -> tuple[doc.PlanLine, ...]:
    """Lines of checks that were due and not performed through the service's own fault.

    A metric that could not be measured for want of outcomes or rows was looked at; that is told elsewhere.
    """
    return tuple(line for line in lines if line.own and line.missed)


def _looked(db: Session, model: Model, since: datetime, until: datetime) -> doc.PlanLine:
    """Minutes in which a scheduler ticked; every tick asks whether something of the model is due."""
    begin = max(since, model.created_at)
    due = max(0, int((until - begin) / MINUTE))
    gaps = []
    for entry in ledger_entries(db, (MISSED,)):
        start, end = (datetime.fromisoformat(entry["body"][name]) for name in ("from", "to"))
        if (lasted := min(end, until) - max(start, begin)) > timedelta():
            gaps.append(lasted)
    missed = min(due, int(sum(gaps, timedelta()) / MINUTE))
    why = f"{len(gaps)} × no scheduler ticked" if gaps else ""
    return doc.PlanLine(
        planned="look every minute whether a check is due", due=due, done=due - missed, missed=missed, why=why, own=True
    )


def _in_time(windows: Sequence[Window]) -> list[doc.PlanLine]:
    """Windows of time that were closed soon after their end, by the clock of the service."""
    lines = []
    for scale in sorted({w.scale for w in windows if not w.scale.endswith("rows")}):
        mine = [w for w in windows if w.scale == scale]
        allowed = max(LATE, duration(scale) / 10)
        late = sum(w.closed_at - w.to_ts > allowed for w in mine)
        why = f"{late} × closed more than {allowed} after the end, or from rows that arrived so late" if late else ""
        lines.append(
            doc.PlanLine(
                planned=f"close windows of {scale} in time", due=len(mine), done=len(mine) - late, missed=late, why=why
            )
        )
    return lines
