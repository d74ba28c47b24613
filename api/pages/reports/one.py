"""One report: what its first page says, its files, its ledger entry, who pulled it, where it was sent."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import Db, ReadDb, SiteDep
from api.pages.forms import Form
from api.pages.render import PageRoute, page
from api.pages.reports.choices import checked
from api.pages.reports.steps import STEPS, step_of
from core.errors import InvalidError
from governance.access.roles import Caller, Permission
from governance.ledger.keys import earlier_vkeys
from monitor.notify import outbox
from monitor.notify.channels import channels
from monitor.site import Site
from reports import service, store
from reports.checking import Checked, check
from reports.deliveries import DELIVERED, UNDELIVERED, deliver, faces_of, file_name, thread_of
from reports.errors import ReportNotReadyError
from reports.periods import period_words
from reports.pulls import PULLED
from reports.tables import Report

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.READ)]
MOST_SHOWN: Final = 20  # pulls, and deliveries, the newest


@router.get("/reports/{report_id:uuid}")
def report_page(caller: Reader, report_id: UUID, site: SiteDep, db: ReadDb) -> HTMLResponse:
    return _page(site, db, caller, store.report(db, report_id))


@router.post("/reports/{report_id:uuid}/check")
def check_report(caller: Reader, report_id: UUID, site: SiteDep) -> HTMLResponse:
    """Verify the stored bundle with the keys of this installation."""
    with site.database.read() as db:  # closed while the verifier works
        row = store.report(db, report_id)
        model = store.model_of(db, row.model_id).name
    digest = faces_of(row).get("zip")
    if digest is None:
        raise ReportNotReadyError(report_id, row.state, row.error)
    found = check(site.artifacts.get(digest), file_name(row, model, "zip"), own_keys(site))
    with site.database.read() as db:
        return _page(site, db, caller, row, checked=found)


@router.post("/reports/{report_id:uuid}/deliveries")
def deliver_report(
    caller: Annotated[Caller, requires(Permission.REPORT_CREATE)], report_id: UUID, site: SiteDep, db: Db, form: Form
) -> RedirectResponse:
    names = checked(form, "to-")
    if not names:
        raise InvalidError("to: no channel is chosen; choose one or more", field="to")
    deliver(site, db, store.report(db, report_id), names, caller.name)
    return RedirectResponse(f"/reports/{report_id}#deliveries", 303)


@router.post("/reports/{report_id:uuid}/retry")
def retry_report(
    _: Annotated[Caller, requires(Permission.REPORT_CREATE)], report_id: UUID, site: SiteDep, db: Db
) -> RedirectResponse:
    """Build a report again that failed, or make the PDF of one that lacks it."""
    service.retry(site, db, report_id)
    return RedirectResponse(f"/reports/{report_id}", 303)


def own_keys(site: Site) -> list[str]:
    """The keys under which this installation signs and has signed."""
    return [site.keys.vkey, *earlier_vkeys(site.settings.home_dir)]


def _page(site: Site, db: Session, caller: Caller, report: Report, checked: Checked | None = None) -> HTMLResponse:
    model = store.model_of(db, report.model_id)
    faces = faces_of(report)
    files = [
        {"face": face, "name": file_name(report, model.name, face), "digest": digest,
         "bytes": site.artifacts.path(digest).stat().st_size if site.artifacts.has(digest) else None}
        for face, digest in faces.items()
    ]  # fmt: skip
    pulls, pulled = store.newest_entries(db, thread_of(report), (PULLED,), MOST_SHOWN)
    arrived, _ = store.newest_entries(db, thread_of(report), (DELIVERED, UNDELIVERED), MOST_SHOWN)
    return page(
        "reports/report.html", caller=caller, report=report, model=model, files=files,
        words=period_words(report.period_from, report.period_to, report.zone or "UTC"),
        first=_first_page(site, faces.get("json")), step=step_of(report), steps=STEPS, checked=checked,
        pulls=pulls, pulled=pulled, arrived=arrived,
        messages=outbox.of_thread(db, thread_of(report)), channels=list(channels(site.settings).values()),
        entry=(report.files or {}).get("ledger_index"), vkey=site.keys.vkey,
        bundle=file_name(report, model.name, "zip"),
    )  # fmt: skip


def _first_page(site: Site, digest: str | None) -> Mapping[str, Any] | None:
    """The report's document as it is stored; None where there is none."""
    if digest is None or not site.artifacts.has(digest):
        return None
    found: dict[str, Any] = json.loads(site.artifacts.get(digest))
    return found
