"""Reports that are sent to channels: written into the outbox, and recorded in the ledger once they arrived."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy.orm import Session

from core.logs import logger
from governance.ledger.append import append_entry
from monitor.notify import outbox
from monitor.notify.announcement import Announcement, ReportFile, ReportNotice
from monitor.notify.channels import channel
from monitor.notify.tables import OutboxMessage
from monitor.site import Site
from reports import store
from reports.errors import ReportNotReadyError
from reports.file_names import stem_of
from reports.periods import period_name, period_words
from reports.tables import Report

# The faces of a report by the end of their name, in the order in which people look for them.
FACES: Final[Mapping[str, str]] = {
    "pdf": "application/pdf", "html": "text/html; charset=utf-8", "csv": "text/csv; charset=utf-8",
    "json": "application/json", "zip": "application/zip",
}  # fmt: skip
DELIVERED: Final = "report.delivered"
UNDELIVERED: Final = "report.undelivered"
log = logger("reports.deliveries")


def file_name(report: Report, model: str, face: str) -> str:
    """`support-intents-audit-2026-Q3.pdf`."""
    stem = stem_of(model, report.kind, report.period_from, report.period_to, report.zone, report.subject)
    return f"{stem}.{face}"


def faces_of(report: Report) -> dict[str, str]:
    """The digests of the files that a report has, by face."""
    found = report.files or {}
    return {face: found[face] for face in FACES if isinstance(found.get(face), str)}


def deliver(site: Site, db: Session, report: Report, names: Sequence[str], actor: str) -> list[str]:
    """Write a report into the outbox of channels, in the caller's transaction; returns their names, each once.

    Raises:
        ChannelNotFoundError: no channel has this name.
        ReportNotReadyError: there is nothing to send.
    """
    chosen = {name: channel(site.settings, name) for name in names}
    if report.state != "ready":
        raise ReportNotReadyError(report.id, report.state, report.error)
    item = _announcement(site, db, report, actor)
    for one in chosen.values():
        outbox.add(site, db, one, item)
    return list(chosen)


def deliver_when_ready(site: Site, db: Session, report: Report) -> None:
    """Send a report where it was asked to go; a channel that was removed since is left out, and logged."""
    wanted = report.deliver_to or []
    if gone := [name for name in wanted if name not in site.settings.channels]:
        log.warning("channels are no longer set", report=str(report.id), channels=gone)
    deliver(site, db, report, [name for name in wanted if name not in gone], report.requested_by)


def thread_of(report: Report) -> str:
    return f"report:{report.id}"


def _announcement(site: Site, db: Session, report: Report, actor: str) -> Announcement:
    model, zone = store.model_of(db, report.model_id).name, report.zone or "UTC"
    words = period_words(report.period_from, report.period_to, zone)
    files = tuple(
        ReportFile(
            name=file_name(report, model, face), media_type=FACES[face], digest=digest,
            bytes=site.artifacts.path(digest).stat().st_size,
        )
        for face, digest in faces_of(report).items()
    )  # fmt: skip
    notice = ReportNotice(
        id=report.id, kind=report.kind, period=words, files=files, by=actor,
        name=period_name(report.period_from, report.period_to, zone),
    )  # fmt: skip
    missed = report.missed or 0
    ticks = "1 tick" if missed == 1 else f"{missed:,} ticks"
    return Announcement(
        thread=thread_of(report), occasion="report", severity="info", at=site.clock.now(), model=model,
        sentence=f"The {report.kind} report of {words} is ready.", report=notice,
        context=(f"It makes up for {ticks} that its schedule missed.",) if missed else (),
    )  # fmt: skip


def record_delivered(site: Site, db: Session, message: OutboxMessage) -> None:
    """Say in the ledger that a channel took a report; nothing for other messages."""
    for item in _reports_of(message)[-1:]:
        assert item.report is not None
        files = {file.name: file.digest for file in item.report.files}
        _append(site, db, DELIVERED, item, {"channel": message.channel, "message": message.id, "files": files})


def record_given_up(site: Site, db: Session, message: OutboxMessage) -> None:
    """Say in the ledger that a report did not arrive; nothing for other messages."""
    for item in _reports_of(message)[-1:]:
        _append(site, db, UNDELIVERED, item, {"channel": message.channel, "message": message.id,
                                              "tries": message.attempts, "reason": message.reason})  # fmt: skip


def _reports_of(message: OutboxMessage) -> list[Announcement]:
    items = [Announcement.model_validate(item) for item in message.items]
    return [item for item in items if item.report is not None]


def _append(site: Site, db: Session, kind: str, item: Announcement, body: Mapping[str, object]) -> None:
    assert item.report is not None
    append_entry(
        db, kind=kind, actor=item.report.by, subject=f"report:{item.report.id}", at=site.clock.now(),
        body={"report": item.report.id, "model": item.model, **body},
    )  # fmt: skip
