"""Which stored windows would have alarmed under a changed spec, from stored measurements alone: no row is read.

What a changed limit, floor or budget says is judged again from the value, its interval and its p. What depends on
anything else, such as other groups or another rule, is told apart and never guessed.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.spec import false_alarm_budget as budget
from monitor.spec.model import ModelSpec
from monitor.tables import Measurement, Window
from monitor.windows.rejudge_limits import rejudged_fairness, rejudged_kpis
from monitor.windows.rejudge_tests import rejudged_drift, rejudged_quality, rejudged_volume
from monitor.windows.rejudged import Backtest, Case, Line, Monitor, Rejudged, Stored

WINDOWS: Final = 1_000  # the newest ones
CELLS: Final = 300_000  # columns times windows that are looked at
LISTED: Final = 200  # windows that would be judged otherwise, the newest ones


def backtest(db: Session, model: UUID, old: ModelSpec, new: ModelSpec, *, until: datetime | None = None) -> Backtest:
    """Judge a model's newest stored windows again.

    Args:
        old: the spec in force, with the window lengths that `auto` stands for.
        new: the spec that might be applied.
        until: leaves out windows that end later.

    Returns:
        What was recorded and what the new spec would have said. A window that a later spec revision judged differently
        counts as it was first recorded.
    """
    lengths = old.monitors.window_lengths
    resolved = new.with_lengths(lengths) if new.monitors.windows == "auto" and isinstance(lengths, tuple) else new
    windows = _windows(db, model, old, until)
    case = Case(old, resolved, windows, _measured(db, [w.id for w in windows]))
    found = [
        *rejudged_drift(case), *rejudged_kpis(case), *rejudged_fairness(case), *rejudged_quality(case),
        *rejudged_volume(case),
    ]  # fmt: skip
    _untold(case)
    by_line: dict[tuple[Monitor, str, str], list[Rejudged]] = {}
    for one in found:
        column = "" if one.monitor == "quality" else one.column  # there may be thousands
        by_line.setdefault((one.monitor, one.metric, column), []).append(one)
    changed = [one for one in found if one.would is None or one.would != one.did]
    changed.sort(key=lambda one: one.to_ts, reverse=True)
    return Backtest(
        windows=len(windows), from_ts=windows[0].from_ts if windows else None,
        to_ts=windows[-1].to_ts if windows else None, did=len({r.window for r in found if r.did}),
        would=len({r.window for r in found if r.would}), lines=[_line(*key, of) for key, of in by_line.items()],
        changed=changed[:LISTED], unlisted=max(0, len(changed) - LISTED), cannot=case.cannot,
    )  # fmt: skip


def _line(monitor: Monitor, metric: str, column: str, found: Sequence[Rejudged]) -> Line:
    """The windows of one line; of several numbers of a window each counts once."""

    def windows(chosen: Iterable[Rejudged]) -> set[UUID]:
        return {one.window for one in chosen}

    did, would = windows(r for r in found if r.did), windows(r for r in found if r.would)
    unknown = windows(r for r in found if r.would is None)
    return Line(
        monitor, metric, column, found[-1].before, found[-1].after, len(windows(found)), len(did), len(would),
        len(would - did), len(did - would - unknown), len(unknown),
    )  # fmt: skip


def _windows(db: Session, model: UUID, spec: ModelSpec, until: datetime | None) -> list[Stored]:
    most = max(10, min(WINDOWS, CELLS // max(1, len(spec.columns))))
    columns = Window.id, Window.scale, Window.from_ts, Window.to_ts, Window.rows, Window.decision
    query = select(*columns).where(Window.model_id == model).order_by(Window.to_ts.desc(), Window.to_seq.desc())
    if until is not None:
        query = query.where(Window.to_ts <= until)
    return [Stored(*row) for row in reversed(db.execute(query.limit(most)).all())]


def _measured(db: Session, ids: Sequence[UUID]) -> dict[UUID, list[Any]]:
    """The numbers of these windows as wholes that have limits or tests."""
    found: dict[UUID, list[Any]] = {}
    columns = (
        Measurement.window_id, Measurement.monitor, Measurement.metric, Measurement.column, Measurement.value,
        Measurement.low, Measurement.high, Measurement.n, Measurement.n_reference, Measurement.alarm,
        Measurement.details,
    )  # fmt: skip
    for start in range(0, len(ids), 200):
        query = select(*columns).where(
            Measurement.window_id.in_(ids[start : start + 200]), Measurement.segment == "",
            Measurement.monitor.in_(("kpi", "fairness", "quality", "volume")),
        )  # fmt: skip
        for row in db.execute(query):
            found.setdefault(row.window_id, []).append(row)
    return found


def _untold(case: Case) -> None:
    """What changes and is never judged again from stored numbers."""
    old, new = case.old.monitors, case.new.monitors
    if old.windows != new.windows:
        case.cannot.append("Windows of another length are not stored; `assay replay` closes them over rows of a file.")
    if budget.share(case.old, "concept") and case.ratio("concept", next(iter(old.scales), "")) != 1.0:
        case.cannot.append("Errors label by label (concept) are judged by a stream that is not kept.")
    if old.estimate != new.estimate or case.ratio("estimate", next(iter(old.scales), "")) != 1.0:
        case.cannot.append("Estimates before outcomes are not judged again.")
    if old.attribution != new.attribution:
        case.cannot.append("Attributions are computed from rows, so another rule for them is not judged again.")
    ranges = [n for n, c in case.new.columns.items() if n in case.old.columns and
              (c.min, c.max) != (case.old.columns[n].min, case.old.columns[n].max)]  # fmt: skip
    if ranges:
        case.cannot.append(f"The declared range of {', '.join(sorted(ranges)[:5])} differs; values out of range are "
                           "counted from rows.")  # fmt: skip
