"""Use cases of reports: request one, build it, store its files."""

import gc
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from core import queue
from core.canonical import canonical
from core.errors import AppError, InvalidError
from core.jobs import ReportJob
from core.queue import Job
from governance.ledger.checkpointing import latest_checkpoint
from governance.ledger.read import ledger_lines, ledger_size
from governance.ledger.rotation import name_documents_key
from governance.ledger.witnessing import Witness, with_cosignatures
from monitor import store as monitor_store
from monitor.notify import deploys
from monitor.notify.channels import channel
from monitor.site import Site
from monitor.spec.event_times import FIRST_TIME, LAST_TIME
from monitor.spec.parse import parse_spec
from monitor.tables import Model
from reports import store
from reports.bounds import bounded
from reports.deliveries import deliver_when_ready
from reports.document import AuditReport
from reports.errors import ReportCompleteError, ReportPeriodError
from reports.facts.runs import losses
from reports.facts.standing import champion_at
from reports.facts.timelines import timeline
from reports.kinds import Kind, kind_named
from reports.lineage.graph import graph_of
from reports.periods import known_zone
from reports.regimes.lines import regime_lines
from reports.regimes.packs import chosen, packs
from reports.tables import Report
from retrain.registry.stages import champion_document

MEDIA_TYPES: Final = {
    "json": "application/json", "pdf": "application/pdf", "zip": "application/zip", "svg": "image/svg+xml",
    "html": "text/html; charset=utf-8", "csv": "text/csv; charset=utf-8",
    "note": "text/plain; charset=utf-8", "jsonl": "application/jsonl", "counts": "application/octet-stream",
}  # fmt: skip
AUDIT: Final = "audit"  # the kind that holds evidence for regimes
TIMELINE: Final = "timeline.svg"
USUAL: Final = gc.get_threshold()
SELDOM: Final = 100_000  # objects that are new, until cycles among them are looked for


def request(
    site: Site,
    db: Session,
    model: str,
    kind: str,
    period_from: datetime | None,
    period_to: datetime | None,
    regimes: Sequence[str],
    actor: str,
    *,
    subject: str | None = None,
    zone: str = "UTC",
    deliver_to: Sequence[str] = (),
    schedule: tuple[UUID, datetime, int] | None = None,
) -> Report:
    """Queue a report. Its row shows the state.

    Args:
        period_from, period_to: of a kind that is about one thing, None: it is about the time of that thing.
        subject: the id of the run, incident or erasure, or the name of the version, that the report is about.
        zone: in which the days of the period begin.
        deliver_to: channels that are sent the report once it is ready.
        schedule: that asks for it, its tick, and how many ticks before that it makes up for.

    Raises:
        ModelNotFoundError, ReportKindError, ReportSubjectError, ReportPeriodError, UnknownRegimeError,
        ChannelNotFoundError, InvalidError: the request is not valid.
    """
    known_zone(zone)
    for name in deliver_to:
        channel(site.settings, name)
    found, about = kind_named(kind), monitor_store.model(db, model)
    if regimes and kind != AUDIT:
        raise InvalidError(
            f"regimes: a report of kind {kind} is held against no regime pack; ask for kind {AUDIT}", field="regimes"
        )
    start, end, subject = _covered(site, db, found, about, period_from, period_to, subject)
    now = site.clock.now()
    row = Report(
        model_id=about.id, kind=kind, subject=subject, period_from=start, period_to=end, regimes=chosen(regimes),
        requested_by=actor, created_at=now, state="queued", zone=zone,
        deliver_to=list(dict.fromkeys(deliver_to)) or None,
    )  # fmt: skip
    if schedule is not None:
        row.schedule_id, row.due_at, row.missed = schedule[0], schedule[1], schedule[2] or None
    db.add(row)
    db.flush()
    _enqueue(db, row, model, site.clock.now())
    return row


def _covered(
    site: Site, db: Session, kind: Kind, model: Model, period_from: datetime | None, period_to: datetime | None,
    subject: str | None,
) -> tuple[datetime, datetime, str | None]:  # fmt: skip
    """The time that a report covers, and its subject as it is stored."""
    if kind.find is not None:
        about = kind.find(site, db, model, subject)
        return about.start, about.end, about.subject
    if subject is not None:
        raise InvalidError(
            f"subject is {subject[:60]!r}: a report of kind {kind.name} is about a period; leave it out",
            field="subject", value=subject[:200],
        )  # fmt: skip
    if period_from is None or period_to is None:
        name = "from" if period_from is None else "to"
        raise InvalidError(f"{name} is missing: a report of kind {kind.name} is about a period; give both", field=name)
    _check_period(period_from, period_to)
    return period_from, period_to, None


def _check_period(period_from: datetime, period_to: datetime) -> None:
    """Raises ReportPeriodError."""
    if period_from.tzinfo is None or period_to.tzinfo is None:
        raise ReportPeriodError(
            period_from, period_to, "a time has no zone; write it in UTC, such as 2026-01-31T00:00:00Z"
        )
    if period_from == period_to:
        raise ReportPeriodError(period_from, period_to, "it begins and ends at the same time; give a later end")
    if period_from > period_to:
        raise ReportPeriodError(period_from, period_to, "it ends before it begins; swap from and to")
    if not FIRST_TIME <= period_from < period_to <= LAST_TIME:
        raise ReportPeriodError(
            period_from, period_to, f"give times from {FIRST_TIME.year} to {LAST_TIME.year - 1}, as events may have"
        )


def build(site: Site, report_id: UUID) -> Report:
    """Gather, typeset, record, bundle. Each step is stored, so a repeated build continues where the last one stopped.

    Raises:
        ReportNotFoundError: no such report.
        Exception: any other failure, after it is recorded on the row.
    """
    try:
        with _seldom_collected():
            return _build(site, report_id)
    except Exception as error:
        reason = error.message if isinstance(error, AppError) else f"{type(error).__name__}: {error}"
        with site.database.write() as db:
            record_failure(site, db, report_id, reason)
        raise


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Look for cycles seldom: a report holds hundreds of thousands of rows at once, and a sixth of its time went into
    looking at them again and again."""
    gc.set_threshold(SELDOM, *USUAL[1:])
    try:
        yield
    finally:
        gc.set_threshold(*USUAL)


def record_failure(site: Site, db: Session, report_id: UUID, reason: str) -> None:
    """Record on its row why a report is not built, unless it is ready."""
    if (row := db.get(Report, report_id, with_for_update=True)) is not None and row.state != "ready":
        row.state, row.error, row.finished_at = "failed", reason[:2000], site.clock.now()


def close_abandoned(site: Site, now: datetime) -> None:
    """Fail each report whose job failed for good, with that job's words; one that has no job at all gets another.

    A job fails without its report when it killed its worker too often. Such a report would be built for ever.
    """
    with site.database.read() as db:
        waiting = db.scalars(select(Report.id).where(Report.state == "queued")).all()
        idle = [one for one in waiting if not _worked_at(db, one)]
    for report_id in idle:
        with site.database.write() as db:
            row = store.report(db, report_id, lock=True)
            if row.state != "queued" or _worked_at(db, report_id):
                continue
            last = db.scalars(_jobs(report_id).order_by(Job.finished_at.desc()).limit(1)).first()
            if last is not None and last.state == "failed":
                words = f"{last.error}; look at the worker's log and the machine's memory, and ask for a new one"
                record_failure(site, db, report_id, words)
            else:
                _enqueue(db, row, db.get_one(Model, row.model_id).name, now)


def _worked_at(db: Session, report_id: UUID) -> bool:
    return db.scalars(_jobs(report_id).where(Job.state.in_(("queued", "running"))).limit(1)).first() is not None


def _jobs(report_id: UUID) -> Select[Job]:
    return select(Job).where(Job.name == ReportJob.name, Job.payload["report_id"].as_string() == str(report_id))


def _enqueue(db: Session, row: Report, model: str, now: datetime) -> None:
    key = f"report:{row.id}"
    queue.enqueue(db, ReportJob(report_id=row.id, model=model), now=now, dedupe_key=key, lock_key=key)


def _build(site: Site, report_id: UUID) -> Report:
    from reports.facts.changes import period_changes  # what only a worker needs, here and below
    from reports.record import record, typeset_again

    with site.database.read() as db:
        row = store.report(db, report_id)
    if row.state == "ready":
        return row
    if not (row.files or {}).get("json"):
        _checkpoint(site)
        with site.database.read() as db:
            row = store.report(db, report_id)
            document = kind_named(row.kind).gather(site, db, row)
            charts = {}
            if isinstance(document, AuditReport):
                document = document.model_copy(update={"changes": period_changes(db, row, document)})
                document = bounded(with_packs(document, row))
                charts = _charts(db, row, document)
        record(site, document, row.id, charts)
    elif not (row.files or {}).get("pdf"):
        typeset_again(site, row)
    return _bundle(site, report_id)


def retry(site: Site, db: Session, report_id: UUID) -> Report:
    """Queue a report again that failed, or that has no PDF; its faces that there are stay as they are.

    Raises:
        ReportNotFoundError: no such report.
        ReportCompleteError: there is nothing left to build.
    """
    row = store.report(db, report_id, lock=True)
    if row.state == "ready" and (row.files or {}).get("pdf"):
        raise ReportCompleteError(report_id)
    if row.state != "queued":
        row.state, row.error, row.finished_at = "queued", None, None
        _enqueue(db, row, store.model_of(db, row.model_id).name, site.clock.now())
    return row


def with_packs(document: AuditReport, row: Report) -> AuditReport:
    """The document with what each regime asks for beside the evidence that it holds."""
    lines = regime_lines(document, [name for name in row.regimes if name in packs()], row.period_from, row.period_to)
    return document.model_copy(update={"regime_packs": lines})


def _checkpoint(site: Site) -> str:
    with site.database.write() as db:
        if ledger_size(db) == 0:
            return ""
        name_documents_key(db, signing=site.keys.signing, documents=site.keys.documents, now=site.clock.now())
    with site.database.write() as db:
        return site.sign_ledger(db).note


def _charts(db: Session, row: Report, document: AuditReport) -> dict[str, str]:
    from reports.charts.svg import loss_svg, timeline_svg

    model = store.model_of(db, row.model_id)
    since, until = row.period_from, row.period_to
    spec = parse_spec(monitor_store.spec_revision(db, model.id, model.revision).document)
    found = timeline(
        spec, store.windows(db, model.id, since, until), store.measurements(db, model.id, since, until),
        baselines=store.baselines(db, model.id, until), versions=store.versions(db, model.id),
        alerts=store.alerts(db, model.id, since, until), decisions=store.decisions(db, model.id, since, until),
        runs=store.runs(db, model.id, since, until), deploys=deploys.listed(db, model.id),
    )  # fmt: skip
    drawn = {TIMELINE: timeline_svg(found, width=720, theme="print")} if found is not None else {}
    for run in document.runs:
        if len(curve := losses(run.metrics)) > 1:
            drawn[f"loss-{run.id}.svg"] = loss_svg(curve, width=480, theme="print")
    return drawn


def _bundle(site: Site, report_id: UUID) -> Report:
    from reports.record import cited, lacking_words
    from reports.render.bundle import write_bundle

    _checkpoint(site)
    with site.database.read() as db:
        row = store.report(db, report_id)
        head = latest_checkpoint(db)
        assert head is not None  # the report's own entry is in the log by now
        head_note = head.note
        assert row.files is not None
        lines = list(ledger_lines(db, last=head.size))
        model = store.model_of(db, row.model_id)
        members = _members(site, db, row)
    site.ask_witnesses()
    witnesses = [Witness.parse(one) for one in site.settings.ledger.witnesses]
    note = with_cosignatures(head_note, site.settings.home_dir, witnesses)
    with tempfile.TemporaryDirectory(prefix="assay-bundle-") as folder:
        target = Path(folder) / "bundle.zip"
        write_bundle(
            target, model=model.name, period=(row.period_from, row.period_to), report_id=str(row.id), files=members,
            media_types={path: MEDIA_TYPES[path.rpartition(".")[2]] for path in members}, ledger_lines=lines,
            checkpoint_note=note, key=site.keys.documents, vkey=site.keys.vkey, created_at=row.created_at,
            cited=cited(row.files, members),
        )  # fmt: skip
        digest = site.artifacts.put(target.read_bytes())
    with site.database.write() as db:
        row = store.report(db, report_id, lock=True)
        row.files = {**(row.files or {}), "zip": digest}
        row.state, row.error, row.finished_at = "ready", lacking_words(row.files), site.clock.now()
        if row.deliver_to:
            deliver_when_ready(site, db, row)
        return row


def _members(site: Site, db: Session, row: Report) -> dict[str, bytes]:
    """Files of the bundle: the report, its charts, the spec, the versions, and what everything was made from."""
    from governance.verify.printed import ROWS
    from reports.lineage.mlbom import mlbom_bytes
    from reports.record import BUNDLED
    from reports.render.leaves import counts_members, printed_leaves

    assert row.files is not None
    content = site.artifacts.get(row.files["json"])
    document: dict[str, Any] = json.loads(content)
    members = {f"report.{face}": site.artifacts.get(row.files[face]) for face in BUNDLED if face in row.files}
    members |= {f"charts/{name}": site.artifacts.get(digest) for name, digest in row.files.get("charts", {}).items()}
    revision = monitor_store.spec_revision(db, row.model_id, document["identity"]["spec_revision"])
    members["spec.json"] = canonical(revision.document)
    for run in document.get("runs") or ():
        for dataset in run["datasets"]:
            members[f"datasets/{dataset['digest'].removeprefix('sha256:')}.json"] = canonical(dataset)
    bound = document["bound"]
    if bound is not None and bound["entries"] is not None and not bound["changes"]:
        members[ROWS] = printed_leaves(db, document)
        members |= counts_members(db, document)
    model = store.model_of(db, row.model_id)
    members["provenance/graph.json"] = canonical(graph_of(db, model).document)
    champion = champion_at(store.versions(db, row.model_id), row.period_to)
    if champion is not None:
        members["provenance/mlbom.json"] = mlbom_bytes(site, db, model.name, champion.version)
        members["champion.json"] = canonical(champion_document(model, champion))
        if champion.signature:
            members["champion.note"] = champion.signature.encode()
    more = kind_named(row.kind).members
    return members if more is None else members | more(site, db, row)
