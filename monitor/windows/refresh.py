"""Recompute the outcome-based readings of closed windows when outcomes arrive or change."""

from uuid import UUID

from monitor.service import CurrentSpec, spec_for
from monitor.site import Site
from monitor.tables import Model, ReferenceRow, Window
from monitor.windows import late_outcomes, late_rows
from monitor.windows.judge import label_count, labelled_rows, outcome_readings
from monitor.windows.record import record
from monitor.windows.stored_levels import with_levels


def refresh_windows(site: Site, current: CurrentSpec) -> list[UUID]:
    """Recompute the readings that use outcomes in every window whose outcomes arrived or changed since the last time.

    The limits are those of the spec that was in force when the window closed.

    Returns:
        Ids of the refreshed windows, oldest first.
    """
    name = current.model.name
    if not current.spec.outcome_columns:
        return []
    with site.database.read() as db:
        seen = db.get_one(Model, current.model.id).next_outcome
    reached = site.events.extent(name).next_outcome
    if reached <= seen:
        return []
    touched = late_outcomes.windows_to_refresh(site, current, seen, reached)
    for window_id in touched:
        with site.database.read() as db:
            window = db.get_one(Window, window_id)
            row = db.get_one(ReferenceRow, window.baseline_id)
            judged_by = spec_for(site, db, current.model, window.spec_revision, row)
        next_outcome = site.events.extent(name).next_outcome
        rows = site.events.events(name, from_seq=window.from_seq, to_seq=window.to_seq)
        frame = with_levels(judged_by.spec, rows.filter(late_outcomes.in_window(window)))
        mine = labelled_rows(site, judged_by, frame)
        readings, groups = outcome_readings(site, judged_by, row, window, mine, frame)
        if late_rows.is_judged_by_other_ranges(current, judged_by):
            readings = [r for r in readings if r.monitor != "quality"]
        with site.database.write() as db:
            stored = db.get_one(Window, window_id, with_for_update=True)
            stored.labels, stored.next_outcome = label_count(judged_by.spec, mine), next_outcome
            stored.refreshed_at = site.clock.now()
            record(site, db, current.model, stored, readings, groups=groups)
    with site.database.write() as db:  # last, so that a killed refresh finds the same windows again
        db.get_one(Model, current.model.id, with_for_update=True).next_outcome = reached
    return touched
