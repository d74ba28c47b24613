"""The reference in force as pages, the API and a replay show it: its rows, its notices, and rows in no window."""

from typing import Any

from sqlalchemy.orm import Session

from monitor import store
from monitor.reference.automatic import open_since, why_no_windows
from monitor.reference.notices import notices
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.monitors import RowWindow
from monitor.windows.outside import outside_sentence, rows_in_no_window


def reference_standing(site: Site, db: Session, current: CurrentSpec) -> dict[str, Any]:
    """The newest reference of a model as JSON; times in ISO 8601.

    `notices`: sentences with their kind. `rows_in_no_window`: of which none will ever be in one; `rows_waiting`: those
    that the next window takes.
    """
    row = store.newest_reference(db, current.model.id)
    assert row is not None  # every model has one from its first spec on
    outside = rows_in_no_window(site, db, current, row)
    told: list[dict[str, str]] = [{"kind": n.kind, "sentence": n.sentence} for n in notices(row)]
    if why := why_no_windows(site, current, row):
        told.append({"kind": "no_windows", "sentence": f"No window closes yet: {why}"})
    since = open_since(db, row) if row.rule == "early" and current.spec.fixed_baseline is None else None
    if since is not None:
        sentence = (
            f"The reference does not grow while the drift alert of {since:%Y-%m-%d %H:%M} is open: no row from then on "
            "enters it until a person resolves the alert."
        )
        told.append({"kind": "waits", "sentence": sentence})
    by_rows = isinstance(current.spec.monitors.window_lengths, RowWindow)
    if sentence := outside_sentence(outside, by_rows=by_rows):
        told.append({"kind": "rows_in_no_window", "sentence": sentence})
    return {
        "state": row.state, "reason": row.reason, "rows": row.rows,
        "from": None if row.from_ts is None else row.from_ts.isoformat(),
        "to": None if row.to_ts is None else row.to_ts.isoformat(),
        "problem": row.problem, "moved": row.moved, "far_rows": list(row.far_rows or ()), "notices": told,
        "rows_in_no_window": outside.never, "rows_waiting": outside.waiting,
    }  # fmt: skip
