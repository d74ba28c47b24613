"""What the processes of a run have used, kept with the run by process and by day."""

from collections.abc import Mapping
from typing import Any, Final

from monitor.site import Site
from retrain import store
from retrain.runs.workspace import Workspace, read_json
from retrain.train.used import USED_FILE

SHOWN_S: Final = 30.0  # between two records of a process that runs
FIGURES: Final = ("seconds", "kwh")


def keep_used(site: Site, work: Workspace, *, every_s: float = 0.0) -> None:
    """Add to a run's record what its processes have used since the last time, to the present day in UTC.

    `every_s`: only if a process has used so many seconds since.
    """
    found = {
        name: read
        for name, folder in (("train", work.trained), ("evaluate", work.evaluated))
        if (read := read_json(folder / USED_FILE)) is not None
    }
    if not found:
        return
    with site.database.write() as db:
        run = store.run(db, work.run_id, lock=True)
        before = dict(run.used or {})
        more = {name: _more(before.get(name), read) for name, read in found.items()}
        if all(part["seconds"] <= every_s for part in more.values()):
            return
        day = site.clock.now().date().isoformat()
        days = dict(before.get("days", {}))
        today = days.get(day, {})
        days[day] = {
            figure: (today.get(figure) or 0.0) + sum(part[figure] for part in more.values()) for figure in FIGURES
        }
        run.used = {**before, **found, "days": days}


def _more(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> dict[str, float]:
    return {figure: max(0.0, (now.get(figure) or 0.0) - ((before or {}).get(figure) or 0.0)) for figure in FIGURES}
