"""Judge closed windows again when rows arrived late for them."""

from uuid import UUID

from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.tables import BaselineRow, Window
from monitor.windows import late_rows
from monitor.windows.close import time_window
from monitor.windows.corrections import ROWS, corrected, said
from monitor.windows.judge import measured
from monitor.windows.record import record


def correct_windows(site: Site, current: CurrentSpec, row: BaselineRow, reached: int) -> list[UUID]:
    """Judge closed windows again that rows came late for, under the spec they were judged by."""
    done: list[UUID] = []
    found = late_rows.touched(site, current, row, reached)
    if found:
        site.events.settle(current.model.name)
    for one in found:
        if late_rows.is_cut(site, current, one.window):
            late_rows.leave_out(site, current, one, reached)
            continue
        then, closed = late_rows.made_under(site, current, one.window), one.window
        frame = late_rows.rows_by_now(site, then, row, closed, reached)
        window = time_window(closed.scale, closed.number, (closed.from_ts, closed.to_ts), frame, none_at=reached)
        decision, readings, outcomes = measured(site, then, row, window)
        with site.database.write() as db:
            stored = db.get_one(Window, closed.id, with_for_update=True)
            before, now = said(stored), site.clock.now()
            stored.from_seq, stored.to_seq, stored.judged_seq = window.from_seq, window.to_seq, reached
            stored.rows, stored.decision, stored.refreshed_at = frame.height, decision, now
            stored.labels, stored.next_outcome = outcomes["labels"], outcomes["next_outcome"]
            stored.versions = frame["version"].unique().sort().to_list()
            stored.events_version = site.events.extent(current.model.name).events_version
            record(site, db, current.model, stored, readings, ROWS)
            corrected(site, db, current.model, stored, before, one.why)
        done.append(closed.id)
    return done
