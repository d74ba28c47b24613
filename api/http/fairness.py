"""What the page and the route about fairness share: what was asked, and what the caller may read of the answer."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from api.http.periods import asked_period
from governance.access.roles import Caller, Permission
from monitor import store as monitored
from monitor.site import Site
from monitor.tables import Model
from monitor.upkeep.protected import record_read
from reports import store
from reports.fairness import FairnessAnswer


@dataclass(frozen=True, slots=True)
class FairnessAsked:
    """None, or nothing, asks for what the spec declares."""

    begin: str | None = None
    end: str | None = None
    by: str | None = None
    depth: int | None = None
    positive: str | None = None
    metric: str | None = None


def fairness_for(site: Site, db: Session, caller: Caller, model: str, asked: FairnessAsked) -> FairnessAnswer:
    """The answer for a period, from stored counts. Counts of groups are no rows about people, and need no more than
    the right to read; but the values of a protected column that is no category are people's own, such as an age in
    years, and are left out for whoever may not read them. Whoever may is recorded.

    Raises:
        ModelNotFoundError: no such model.
        InvalidError: a field of what was asked is wrong; it names field, value and fix.
    """
    from reports.facts.bound import rows_changed
    from reports.facts.fairness import FairnessChoice, fairness_answer, own_values, spec_of  # loads polars

    row = monitored.model(db, model)
    since, until = asked_period(asked.begin, asked.end, _newest(site, db, row))
    spec = spec_of(db, row, until)
    own, may = own_values(spec), caller.may(Permission.PROTECTED_READ)
    choice = FairnessChoice(asked.by or None, asked.depth, asked.positive or None, asked.metric or None)
    found = fairness_answer(
        db, row, spec, since, until, choice, hidden=frozenset() if may else own, changed=rows_changed(db, row)
    )
    shown = own & {cell.by for cell in found.groups}
    if shown:
        record_read(site, caller, model, shown, "fairness", count=found.rows, since=since, until=until)
    return found


def _newest(site: Site, db: Session, model: Model) -> datetime:
    """Now; later where windows end later, as those of replayed events may."""
    _, last = store.extent(db, model.id)
    return site.clock.now() if last is None else max(site.clock.now(), last)
