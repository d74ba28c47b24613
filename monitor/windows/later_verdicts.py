"""Judge closed windows again under a spec that came later: beside the verdict that was given, and without an alarm.

A verdict that was given stays as it is, with its alarms and the revision it was given under. After a change of limits,
floors, budget or ranges a user still wants to know what the windows of the reference in force would have got. That is
stored apart, one record for each window and revision, so that no reader counts a window twice.
"""

from typing import Any, Final
from uuid import UUID

from monitor import store
from monitor.service import CurrentSpec, judging_inputs, spec_of
from monitor.site import Site
from monitor.tables import LaterVerdict, ReferenceRow, Window
from monitor.windows import late_rows, limits
from monitor.windows.alarms import window_sentence
from monitor.windows.estimate_alarms import with_estimate_alarms
from monitor.windows.judge import DueWindow, judge_window
from monitor.windows.readings import Reading

MAX_AT_ONCE: Final = 200  # windows judged in one evaluation; the next ones take the rest
KEPT_MONITORS: Final = ("kpi", "fairness")  # whose readings are kept even without an alarm


def judge_again(site: Site, current: CurrentSpec, row: ReferenceRow) -> list[UUID]:
    """Judge windows of the reference under the newest spec that were judged under one which judges otherwise.

    A window is judged once more when late rows or outcomes changed the verdict that was given.

    Returns:
        Ids of the windows judged here, the newest first; at most MAX_AT_ONCE.
    """
    done: list[UUID] = []
    for window in _waiting(site, current, row):
        if len(done) >= MAX_AT_ONCE:
            break
        frame = late_rows.rows_of(site, current.model.name, window)
        due = DueWindow(
            window.scale, window.number, window.from_seq, window.to_seq, window.from_ts, window.to_ts, frame
        )
        found = judge_window(site, current, row, due)
        # One look at what has arrived: how often the window was looked at under its own revision is another matter.
        readings = with_estimate_alarms([limits.judged(r, None) for r in found.readings])
        _record(site, current, window, found.decision, readings, found.outcomes["next_outcome"])
        done.append(window.id)
    return done


def _waiting(site: Site, current: CurrentSpec, row: ReferenceRow) -> list[Window]:
    """Windows whose verdict under the newest spec is missing or older than the verdict that was given."""
    with site.database.read() as db:
        revisions = store.windows_by_revision(db, row.id)
        wanted = judging_inputs(spec_of(site, db, current.model.id, current.revision))
        others = [r for r in revisions if judging_inputs(spec_of(site, db, current.model.id, r)) != wanted]
        if not others:
            return []
        found = store.windows_without_later_verdict(db, row.id, others, current.revision)
    return [window for window in found if not late_rows.is_truncated(site, current, window)]


def _record(
    site: Site, current: CurrentSpec, window: Window, decision: dict[str, Any], readings: list[Reading],
    next_outcome: int,
) -> None:  # fmt: skip
    alarmed = [r for r in readings if r.alarm]
    sentences = [r.sentence for r in alarmed if r.sentence and r.monitor != "drift"]
    kept = [r for r in readings if r.alarm or (r.monitor in KEPT_MONITORS and not r.segment)]
    drifted = any(r.monitor == "drift" for r in alarmed)
    values = {
        "verdict": "alarm" if alarmed else "ok" if decision["judged"] else "unknown",
        "sentence": window_sentence(decision["sentence"], sentences, drifted=drifted),
        "drift": decision["verdict"], "p": decision["p"],
        "alpha": decision["alpha"], "readings": [_document(r) for r in kept], "judged_seq": window.judged_seq,
        "next_outcome": next_outcome, "judged_at": site.clock.now(),
    }  # fmt: skip
    with site.database.write() as db:
        stored = store.later_verdict(db, window.id, current.revision)
        if stored is None:
            db.add(LaterVerdict(window_id=window.id, spec_revision=current.revision, **values))
        else:
            for field, value in values.items():
                setattr(stored, field, value)


def _document(reading: Reading) -> dict[str, Any]:
    fields = ("monitor", "metric", "column", "value", "reason", "low", "high", "limit", "alarm", "n")
    return {field: getattr(reading, field) for field in fields}
