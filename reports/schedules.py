"""Schedules of reports: declared, ended, and kept by the scheduler, which holds a lease. Ticks are missed at most once.

A tick asks for one report of each model. Ticks that nobody kept are made up for by one report over all their periods.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from cronsim import CronSim
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import AppError, InvalidError, NotFoundError
from core.logs import logger
from core.zones import zone_of
from governance.ledger.append import append_entry
from monitor import service as models
from monitor import store as monitor_store
from monitor.notify.channels import channel
from monitor.site import Site
from monitor.spec.cron import read_cron
from monitor.tables import Model
from reports import service
from reports.kinds import period_kind
from reports.periods import known_zone, named_period
from reports.regimes.packs import chosen
from reports.tables import ReportSchedule
from retrain.triggers.schedule import next_tick

EVERY: Final = ("month", "quarter", "cron")
CRONS: Final = {"month": "0 6 1 * *", "quarter": "0 6 1 1,4,7,10 *"}  # the first day after it, at six in the morning
MOST: Final = 1_000  # schedules of an installation
MOST_COUNTED: Final = 1_000  # ticks of one outage
MOST_MODELS: Final = 200  # of an owner, that one tick asks reports of
CREATED: Final = "report.schedule"
ENDED: Final = "report.schedule_ended"
MISSED: Final = "report.ticks_missed"
log = logger("reports.schedules")


class ScheduleNotFoundError(NotFoundError):
    code = "schedule_not_found"

    def __init__(self, schedule_id: UUID | str) -> None:
        super().__init__(f"report schedule {schedule_id} does not exist, or has ended", schedule=str(schedule_id))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A schedule as somebody asks for it: of one model, or of all models of an owner."""

    every: str
    kind: str = "audit"
    model: str | None = None
    owner: str | None = None
    cron: str | None = None
    zone: str = "UTC"
    regimes: Sequence[str] = ()
    deliver_to: Sequence[str] = ()


def declare(site: Site, db: Session, wanted: Wanted, actor: str) -> ReportSchedule:
    """Store a schedule; its first tick is the next one from now.

    Raises:
        ModelNotFoundError, ChannelNotFoundError, UnknownRegimeError, ReportKindError, InvalidError: what is asked for
            cannot be kept; each names its field.
    """
    row = ReportSchedule(
        model_id=None, owner=wanted.owner, kind=wanted.kind, every=wanted.every, cron=_cron(wanted), zone=wanted.zone,
        regimes=chosen(wanted.regimes), deliver_to=list(dict.fromkeys(wanted.deliver_to)), created_by=actor,
        created_at=site.clock.now(), last_due=None, ended_at=None, ended_by=None,
    )  # fmt: skip
    if (wanted.model is None) == (wanted.owner is None):
        raise InvalidError("model: give either a model or an owner, whose models are all meant", field="model")
    period_kind(wanted.kind)
    known_zone(wanted.zone)
    for name in row.deliver_to:
        channel(site.settings, name)
    if next_tick(row.cron, row.created_at, row.zone) is None:
        raise InvalidError(f"cron: {row.cron!r} never falls due", field="cron", value=row.cron)
    if wanted.model is not None:
        row.model_id = monitor_store.model(db, wanted.model).id
    elif not owned(site, db, wanted.owner or ""):
        raise InvalidError(
            f"owner: no model has the owner {(wanted.owner or '')[:100]!r}; write it as a spec does", field="owner",
            value=(wanted.owner or "")[:100],
        )  # fmt: skip
    if len(active(db)) >= MOST:
        raise InvalidError(f"there are {MOST:,} report schedules; end one first", field="every")
    db.add(row)
    db.flush()
    body = {
        "schedule": row.id, "model": wanted.model, "kind": row.kind, "every": row.every, "cron": row.cron,
        "zone": row.zone, "regimes": row.regimes, "channels": row.deliver_to,
    }  # fmt: skip
    append_entry(db, kind=CREATED, actor=actor, subject=_subject(wanted.model), body=body, at=row.created_at)
    return row


def _cron(wanted: Wanted) -> str:
    if wanted.every not in EVERY:
        raise InvalidError(
            f"every: {wanted.every[:60]!r} is not known; give one of {', '.join(EVERY)}", field="every",
            value=wanted.every[:60],
        )  # fmt: skip
    if wanted.cron is None and wanted.every == "cron":
        raise InvalidError("cron: is missing; write five fields such as `0 6 * * 1`", field="cron")
    try:
        return read_cron(wanted.cron) if wanted.cron is not None else CRONS[wanted.every]
    except ValueError as error:
        raise InvalidError(str(error), field="cron", value=(wanted.cron or "")[:60]) from error


def end(site: Site, db: Session, schedule_id: UUID, actor: str) -> ReportSchedule:
    """End a schedule; the reports it asked for stay.

    Raises:
        ScheduleNotFoundError: there is none that lasts.
    """
    row = db.get(ReportSchedule, schedule_id, with_for_update=True)
    if row is None or row.ended_at is not None:
        raise ScheduleNotFoundError(schedule_id)
    row.ended_at, row.ended_by = site.clock.now(), actor
    model = None if row.model_id is None else db.get_one(Model, row.model_id).name
    append_entry(db, kind=ENDED, actor=actor, subject=_subject(model), body={"schedule": row.id}, at=row.ended_at)
    return row


def active(db: Session) -> Sequence[ReportSchedule]:
    """Schedules that last, oldest first."""
    query = select(ReportSchedule).where(ReportSchedule.ended_at.is_(None))
    return db.scalars(query.order_by(ReportSchedule.created_at, ReportSchedule.id)).all()


def owned(site: Site, db: Session, owner: str) -> list[Model]:
    """The models whose spec in force names an owner, in order of their names."""
    found = []
    for model in db.scalars(select(Model).order_by(Model.name)):
        try:
            if models.in_force(site, db, model).spec.owner == owner:
                found.append(model)
        except (AppError, ValueError):  # a spec that an earlier release stored
            continue
    return found[:MOST_MODELS]


def next_due(row: ReportSchedule) -> datetime | None:
    """The next tick, in UTC."""
    return next_tick(row.cron, row.last_due or row.created_at, row.zone)


def keep(site: Site, db: Session, now: datetime) -> dict[str, str]:
    """Ask for the reports of every schedule that fell due; called within a tick of the scheduler.

    Returns:
        What keeps a schedule from being kept, by its name. The others go on.
    """
    problems = {}
    for row in active(db):
        try:
            due = _due(row, now)
        except (AppError, ValueError) as error:  # a zone that is missing on this machine, a pack that is gone
            problems[f"reports {str(row.id)[:8]}"] = error.message if isinstance(error, AppError) else str(error)
            continue
        if due is not None:
            problems |= _kept(site, db, row, due, now)
    return problems


def _kept(site: Site, db: Session, row: ReportSchedule, due: "_Due", now: datetime) -> dict[str, str]:
    """Ask for the reports of one schedule, whole or not at all; what kept it from that, by its name."""
    try:
        with db.begin_nested():
            _ask(site, db, row, due, now)
    except AppError as error:
        return {f"reports {str(row.id)[:8]}": error.message}
    lacks = unset_words(site, row)
    return {f"reports {str(row.id)[:8]}": lacks} if lacks is not None else {}


def unset_words(site: Site, row: ReportSchedule) -> str | None:
    """What a schedule names that is not set any more; its reports are built all the same."""
    gone = [name for name in row.deliver_to if name not in site.settings.channels]
    if not gone:
        return None
    return f"{', '.join(gone)}: no channel of this name is set, so no report arrives there; set it, or end the schedule"


@dataclass(frozen=True, slots=True)
class _Due:
    """The ticks of a schedule that are kept together, and the period over which."""

    first: datetime
    last: datetime
    missed: int
    since: datetime
    until: datetime
    regimes: Sequence[str]


def _due(row: ReportSchedule, now: datetime) -> _Due | None:
    ticks = _ticks(row, now)
    if not ticks:
        return None
    period_kind(row.kind)
    since, until = period_of(row, ticks[0])[0], period_of(row, ticks[-1])[1]
    return _Due(ticks[0], ticks[-1], len(ticks) - 1, since, until, chosen(row.regimes))


def _ask(site: Site, db: Session, row: ReportSchedule, due: _Due, now: datetime) -> None:
    row.last_due = due.last
    of = [db.get_one(Model, row.model_id)] if row.model_id is not None else owned(site, db, row.owner or "")
    if due.missed:
        log.warning("ticks of a report schedule missed", schedule=str(row.id), ticks=due.missed)
        body = {"schedule": row.id, "from": due.first, "to": due.last, "ticks": due.missed}
        subject = _subject(of[0].name if row.model_id is not None else None)
        append_entry(db, kind=MISSED, actor=row.created_by, subject=subject, body=body, at=now)
    known = [name for name in row.deliver_to if name in site.settings.channels]
    for model in of:
        service.request(
            site, db, model.name, row.kind, due.since, due.until, due.regimes, row.created_by, zone=row.zone,
            deliver_to=known, schedule=(row.id, due.last, due.missed),
        )  # fmt: skip


def _ticks(row: ReportSchedule, now: datetime) -> list[datetime]:
    """Ticks up to now that were not kept; of very many, the first and the newest that are counted."""
    found: list[datetime] = []
    at = row.last_due or row.created_at
    while len(found) < MOST_COUNTED:
        due = next_tick(row.cron, at, row.zone)
        if due is None or due > now:
            return found
        found.append(due)
        at = due
    newest = _tick_before(row, now)
    return [*found, newest] if newest > found[-1] else found


def period_of(row: ReportSchedule, tick: datetime) -> tuple[datetime, datetime]:
    """What the report of a tick covers: the month or quarter before it, or the time since the tick before."""
    if row.every == "cron":
        return _tick_before(row, tick), tick
    moment = tick + timedelta(seconds=1)  # a tick at midnight of the first day lies within the new month
    return named_period(f"last-{row.every}", moment, known_zone(row.zone))


def _tick_before(row: ReportSchedule, tick: datetime) -> datetime:
    """The newest tick before a time, in UTC."""
    local = tick.astimezone(zone_of(row.zone))
    found = next(iter(CronSim(row.cron, local, reverse=True)))
    return found.astimezone(UTC)


def _subject(model: str | None) -> str:
    return f"model:{model}" if model is not None else "reports"
