"""Filters of events in an address: read, checked against model and rights, with values as they are stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from api.http.protected import columns_for
from governance.access.roles import Caller
from monitor.explore.filters import EventFilter, SearchColumn, event_filter, search_columns
from monitor.service import in_force
from monitor.site import Site
from monitor.spec.model import ModelSpec

if TYPE_CHECKING:
    from monitor.explore.matching import Matching


@dataclass(frozen=True, slots=True)
class Searched:
    """A model's events as a caller may search them."""

    spec: ModelSpec
    columns: dict[str, SearchColumn]
    protected: frozenset[str]
    may: bool  # whether the caller may read protected columns

    @property
    def withheld(self) -> frozenset[str]:
        return frozenset() if self.may else self.protected


def searched(site: Site, db: Session, caller: Caller, name: str) -> Searched:
    """
    Raises:
        ModelNotFoundError: no model has this name.
    """
    row, protected, may = columns_for(site, db, caller, name)
    spec = in_force(site, db, row).spec
    stored = site.events.table(name, "events").snapshot().columns
    return Searched(spec, search_columns(spec, stored), protected, may)


def asked_for(
    site: Site, of: Searched, where: Sequence[str] = (), *, outcome: str | None = None, answer: str | None = None,
    from_ts: datetime | None = None, to_ts: datetime | None = None,
) -> "Matching":  # fmt: skip
    """What an address asks for; texts and subjects as they are stored.

    Raises:
        InvalidError: it cannot be read; of a column that is not there, with the list of those that are.
        ForbiddenError: it searches a protected column, which the caller may not read.
    """
    from monitor.explore.matching import Matching, as_stored

    judged = of.spec.task == "classification" and of.spec.target is not None
    asked: EventFilter = event_filter(
        of.columns, where, withheld=of.withheld, outcome=outcome, answer=answer, from_ts=from_ts, to_ts=to_ts,
        judged=judged,
    )  # fmt: skip
    return Matching(site, of.spec, as_stored(site, of.spec, asked))
