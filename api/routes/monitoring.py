"""Routes for windows with their verdicts, the measurements behind them, and silence."""

from datetime import datetime
from typing import Annotated, Any
from unicodedata import normalize
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from api.http.auth import requires
from api.http.deps import In, Moment, Out, Page, ReadDb, SiteDep
from core.clock import check_period
from governance.access.roles import Caller, Permission
from monitor import service, store
from monitor.levels import slice_name
from monitor.tables import MAX_SLICE_CHARS

router = APIRouter(prefix="/api/v1/models/{model}", tags=["monitoring"])
Reader = Annotated[Caller, requires(Permission.READ)]


class PeriodQuery(In):
    from_: Moment | None = Field(None, alias="from")
    to: Moment | None = None
    limit: int = Field(500, ge=1, le=5000)


class MeasurementQuery(PeriodQuery):
    metric: str | None = None
    column: str | None = None
    segment: str | None = None
    cursor: UUID | None = None

    @property
    def segments(self) -> tuple[str, ...]:
        """As given, and as measurements are stored: the value composed, and a long one cut."""
        if self.segment is None:
            return ()
        column, _, value = self.segment.partition("=")
        return self.segment, slice_name(column, normalize("NFC", value), MAX_SLICE_CHARS) if value else self.segment


class LaterVerdictOut(Out):
    """The verdict that a window would have got under a later spec revision; it never alarms."""

    spec_revision: int
    verdict: str
    sentence: str
    drift: str
    p: float | None
    alpha: float | None
    readings: list[dict[str, Any]]
    judged_at: datetime


class WindowOut(Out):
    """A window and the verdict given; `later`: what later spec revisions would have said, beside it."""

    id: UUID
    scale: str
    number: int
    from_ts: datetime
    to_ts: datetime
    from_seq: int
    to_seq: int
    rows: int
    labels: int
    versions: list[str]
    verdict: str
    sentence: str
    decision: dict[str, Any]
    spec_revision: int
    events_version: int
    closed_at: datetime
    refreshed_at: datetime
    corrected_at: datetime | None
    corrections: int
    history: list[dict[str, Any]]
    later: list[LaterVerdictOut] = Field(default_factory=list)


class MeasurementOut(Out):
    id: UUID
    window_id: UUID
    monitor: str
    metric: str
    column: str
    segment: str
    value: float | None
    reason: str | None
    low: float | None
    high: float | None
    unit: str
    limit: float | None
    alarm: bool
    n: int
    n_reference: int | None
    estimated: float | None
    estimated_low: float | None
    estimated_high: float | None
    estimate_inside: bool | None
    previous_value: float | None
    previous_n: int | None
    corrected_at: datetime | None
    details: dict[str, Any]
    from_ts: datetime
    to_ts: datetime
    computed_at: datetime


class SilenceOut(Out):
    """`limit_s`: plausible seconds without a row since `last_received_at`; null if undefined, with a `reason`."""

    last_received_at: datetime | None
    silent_s: float | None
    limit_s: float | None
    reason: str | None
    days_known: float | None
    told: bool


@router.get("/silence")
def silent(_: Reader, model: str, site: SiteDep, db: ReadDb) -> SilenceOut:
    """How long no row has arrived, and how long a silence is plausible."""
    from monitor.windows import silence  # loads numpy and polars

    current = service.current_spec(site, db, model)
    row = store.newest_reference(db, current.model.id)
    assert row is not None  # every model has one from its first spec on
    found, announced = silence.outlook(site, current, row), current.model.silent_seq is not None
    silent_s = None if found.since is None else max(0.0, (site.clock.now() - found.since).total_seconds())
    return SilenceOut(
        last_received_at=found.since, silent_s=silent_s, reason=found.reason, told=announced,
        limit_s=None if found.due is None or found.since is None else (found.due - found.since).total_seconds(),
        days_known=found.known.days if found.known is not None else None,
    )  # fmt: skip


@router.get("/windows")
def windows(_: Reader, model: str, period: Annotated[PeriodQuery, Query()], db: ReadDb) -> Page[WindowOut]:
    """Judged windows in order of their end; the newest `limit` of the period."""
    check_period(period.from_, period.to)
    rows = store.windows(db, store.model(db, model).id, since=period.from_, until=period.to, limit=period.limit)
    page, later = Page[WindowOut].of(rows), store.later_verdicts(db, [row.id for row in rows])
    for window in page.items:
        window.later = [LaterVerdictOut.model_validate(v, from_attributes=True) for v in later.get(window.id, ())]
    return page


@router.get("/measurements")
def measurements(
    _: Reader, model: str, query: Annotated[MeasurementQuery, Query()], db: ReadDb
) -> Page[MeasurementOut]:
    """Measurements in order of their window's end; `next` is the cursor of the following part."""
    check_period(query.from_, query.to)
    rows = store.measurements(
        db, store.model(db, model).id, metric=query.metric, column=query.column, segments=query.segments,
        since=query.from_, until=query.to, after=query.cursor, limit=query.limit,
    )  # fmt: skip
    return Page[MeasurementOut].of(rows, str(rows[-1].id) if len(rows) == query.limit else None)
