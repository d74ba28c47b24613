"""Judge closed windows again when rows arrived late for them."""

from uuid import UUID

from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.tables import ReferenceRow, Window
from monitor.windows import late_rows
from monitor.windows.close import time_window
from monitor.windows.correction_history import LATE_ROWS, record_correction, verdict_summary
from monitor.windows.judge import judge_window
from monitor.windows.record import record


def correct_windows(site: Site, current: CurrentSpec, row: ReferenceRow, reached: int) -> list[UUID]:
    """Judge closed windows again for which rows arrived late, each under the spec it was first judged by.

    Args:
        reached: one past the last event that the stored profiles hold.

    Returns:
        Ids of the corrected windows, oldest first.
    """
    done: list[UUID] = []
    found = late_rows.windows_with_late_rows(site, current, row, reached)
    if found:
        site.events.settle(current.model.name)
    for one in found:
        if late_rows.is_truncated(site, current, one.window):
            late_rows.record_not_corrected(site, current, one, reached)
            continue
        judged_by, closed = late_rows.spec_at_judgement(site, current, row, one.window), one.window
        frame = late_rows.current_rows(site, judged_by, row, closed, reached)
        window = time_window(closed.scale, closed.number, (closed.from_ts, closed.to_ts), frame, none_at=reached)
        judged = judge_window(site, judged_by, row, window)
        readings, outcomes = judged.readings, judged.outcomes
        if late_rows.is_judged_by_other_ranges(current, judged_by):
            readings = [r for r in readings if r.monitor != "quality"]
        with site.database.write() as db:
            stored = db.get_one(Window, closed.id, with_for_update=True)
            before, now = verdict_summary(stored), site.clock.now()
            stored.from_seq, stored.to_seq, stored.judged_seq = window.from_seq, window.to_seq, reached
            stored.rows, stored.decision, stored.refreshed_at = frame.height, judged.decision, now
            stored.labels, stored.next_outcome = outcomes["labels"], outcomes["next_outcome"]
            stored.versions = frame["version"].unique().sort().to_list()
            stored.events_version = site.events.extent(current.model.name).events_version
            record(site, db, current.model, stored, readings, LATE_ROWS, groups=judged.groups)
            record_correction(site, db, current.model, stored, before, one.reason)
        done.append(closed.id)
    return done
