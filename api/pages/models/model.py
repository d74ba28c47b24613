"""The page of one model: its state in a sentence, its course, and the newest of everything with a list of its own."""

from datetime import date
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.pages.forms import day_of
from api.pages.models import store as pages_store
from api.pages.models.course import WINDOWS, WINDOWS_OF_PERIOD, Asked, Course, course_of
from api.pages.models.course_chart import course_chart, happenings, height_of
from api.pages.models.governing import urgent_of
from api.pages.models.summary import head_of, summary_of
from api.pages.render import PageRoute, page
from api.pages.runs.progress import progress
from governance.access.roles import Caller, Permission
from monitor.alerts import store as alert_store
from monitor.ingest.otlp import span_counts
from monitor.ingest.otlp.store import text_counts
from monitor.ingest.otlp.verdict import LOG_RESULTS, RESULTS
from monitor.service import current_spec
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.target import target_of
from reports import store
from reports.wording.phrases import budget_words
from reports.wording.plan import policy_words

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.READ)]
Chosen = Annotated[str | None, Query(max_length=200)]

FEW: Final = 5  # of each list; the list itself has the others


@router.get("/models/{name}")
def model_page(
    caller: Reader, name: str, site: SiteDep, db: ReadDb, since: Annotated[str, Query(max_length=40)] = "",
    until: Annotated[str, Query(max_length=40)] = "", length: Chosen = None, segment: Chosen = None,
) -> HTMLResponse:  # fmt: skip
    current = current_spec(site, db, name)
    model, spec = current.model, current.spec
    asked = Asked(_day("since", since), _day("until", until), length or None, segment or "")
    course = course_of(db, model, spec, asked)
    alerts, all_alerts, unresolved = pages_store.alerts(db, model.id, FEW)
    runs, all_runs = pages_store.runs(db, model.id, FEW)
    decisions, all_decisions = pages_store.decisions(db, model.id, FEW)
    versions, all_versions = pages_store.versions(db, model.id, FEW)
    reports, all_reports = pages_store.reports(db, model.id, FEW)
    first, last = store.extent(db, model.id)
    return page(
        "models/model.html", caller=caller, model=model, spec=spec, revision=current.revision,
        head=head_of(site, db, current), summary=summary_of(site, db, current, unresolved), budget=budget_words(spec),
        course=course, chart=course_chart(course) if course.windows else None, table=_table(course),
        height=height_of(course),
        happened=happenings(course), most=WINDOWS_OF_PERIOD if asked.chosen else WINDOWS,
        alerts=alerts, all_alerts=all_alerts, unresolved=unresolved,
        mutes=alert_store.mutes(db, model.id, site.clock.now()), runs=runs, all_runs=all_runs,
        gates=store.gates(db, [r.id for r in runs]), decisions=decisions, all_decisions=all_decisions,
        versions=versions, all_versions=all_versions, reports=reports, all_reports=all_reports,
        traced=_traced(site, db, spec), target=target_of(spec), progress=progress,
        period=(first or model.created_at, last or site.clock.now()),
        policy=policy_words(spec.retrain, site.clock.now()),
        vkey=site.keys.vkey, urgent=urgent_of(site, db, model, current),
    )  # fmt: skip


def _day(field: str, text: str) -> date | None:
    """A day of the address; nothing where a form sends it empty.

    Raises:
        InvalidError: it is no day.
    """
    return day_of({field: text.strip()}, field) if text.strip() else None


def _table(course: Course) -> list[dict[str, Any]]:
    """The figures behind the chart, newest first: a line for each window."""
    return [
        {"window": window, "values": [panel.values.get(window.id) for panel in course.panels]}
        for window in reversed(course.windows)
    ]


def _traced(site: Site, db: Session, spec: ModelSpec) -> list[tuple[str, str, int]]:
    """What became of the spans and log records of the model's service: the result, its words, and how many."""
    if spec.traces is None:
        return []
    found = span_counts.counts(site, db, [spec.traces.service])
    words = {**RESULTS, **LOG_RESULTS}
    waiting, lost = text_counts(db)[spec.model]
    texts = {
        "log_records_waiting": (waiting, "of those kept, wait for their span"),
        "log_records_lost": (lost, "of those kept, were given up because their span never came"),
    }
    rows = [(result, words.get(result, ""), spans) for (_, result), spans in found.items()]
    return rows + [(result, said, records) for result, (records, said) in texts.items() if records]
