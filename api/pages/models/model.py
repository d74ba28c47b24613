"""The page of one model."""

from datetime import UTC, date, datetime, time
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.pages.models.governing import governing_of
from api.pages.models.summary import far_after, summary_of
from api.pages.render import PageRoute, page
from api.pages.runs.progress import ACTIVE, progress
from core.clock import days_period
from governance.access.roles import Caller, Permission
from monitor import store as monitor_store
from monitor.alerts import store as alert_store
from monitor.ingest.otlp import span_counts
from monitor.ingest.otlp.store import text_counts
from monitor.ingest.otlp.verdict import LOG_RESULTS, RESULTS
from monitor.notify import deploys
from monitor.service import current_spec
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.target import target_of
from monitor.tables import Measurement
from monitor.windows.reference_standing import reference_standing
from reports import store
from reports.charts.data_table import timeline_table
from reports.charts.svg import timeline_svg
from reports.facts.citations import Citations
from reports.facts.timelines import timeline
from reports.wording.phrases import budget_words, rule_words
from reports.wording.plan import policy_words

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.READ)]

WINDOWS = 200  # windows shown when no period is asked for
WINDOWS_OF_PERIOD = 1_000  # and of a period; a page of more is of use to nobody, and holds others up
MEASUREMENTS = 20_000  # shown in all


@router.get("/models/{name}")
def model_page(
    caller: Reader, name: str, site: SiteDep, db: ReadDb, since: date | None = None, until: date | None = None
) -> HTMLResponse:
    current = current_spec(site, db, name)
    model, spec = current.model, current.spec
    first, last = store.extent(db, model.id)
    chosen = since is not None or until is not None
    start = datetime.combine(since, time(), UTC) if since else first or model.created_at
    end = far_after(site.clock.now())
    if until is not None:
        _, end = days_period(since or min(until, start.date()), until)
    most = WINDOWS_OF_PERIOD if chosen else WINDOWS
    windows = store.windows(db, model.id, start, end, most) if chosen else store.newest_windows(db, model.id, most)
    if windows and (not chosen or len(windows) == most):
        start = min(w.from_ts for w in windows)
    measured = store.measurements(db, model.id, start, end, limit=MEASUREMENTS)
    versions = store.versions(db, model.id)
    alerts = monitor_store.alerts(db, model.id)
    far = far_after(site.clock.now())
    decisions = store.decisions(db, model.id, model.created_at, far)[-50:]
    runs = store.runs(db, model.id, model.created_at, far)
    drawn = timeline(
        spec, windows, measured, baselines=store.baselines(db, model.id, far), versions=versions,
        alerts=alerts, decisions=decisions, runs=runs, deploys=deploys.listed(db, model.id),
    )  # fmt: skip
    citations = Citations(store.entries(db, [f"model:{name}", *(f"run:{r.id}" for r in runs)]))
    reports = store.reports(db, model.id)
    busy = any(r.state == "queued" for r in reports) or any(r.state in ACTIVE for r in runs)
    period = (first or model.created_at, last or site.clock.now())
    return page(
        "models/model.html", caller=caller, model=model, spec=spec, revision=current.revision,
        summary=summary_of(site, db, current), budget=budget_words(spec), rules=rule_words(spec),
        wide=_svg(drawn, 1072), narrow=_svg(drawn, 358), data=timeline_table(drawn) if drawn else None,
        alerts=alerts[::-1], mutes=alert_store.mutes(db, model.id, site.clock.now()), windows=windows[::-1],
        by_window=_by_window(measured), fairness=_newest_fairness(measured),
        attributions=newest_attributions(db, model.id, end), decisions=decisions[::-1], runs=runs[::-1],
        gates=store.gates(db, [r.id for r in runs]), versions=versions[::-1], reports=reports, cite=citations.find,
        reference=reference_standing(site, db, current), traced=_traced(site, db, spec),
        later=monitor_store.later_verdicts(db, [w.id for w in windows]), target=target_of(spec),
        since=since, until=until, period=period, busy=busy, limit=most, chosen=chosen, progress=progress,
        policy=policy_words(spec.retrain, site.clock.now()),
        vkey=site.keys.vkey, governing=governing_of(site, db, name),
    )  # fmt: skip


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


def _svg(drawn: Any, width: int) -> Markup:
    return Markup(timeline_svg(drawn, width=width)) if drawn is not None else Markup("")  # noqa: S704 - our own drawing; Vega escapes labels


def _by_window(measured: Any) -> dict[Any, dict[str, Measurement]]:
    found: dict[Any, dict[str, Measurement]] = {}
    for m in measured:
        if m.monitor == "kpi" and not m.segment:
            found.setdefault(m.window_id, {})[m.metric] = m
    return found


def _newest_fairness(measured: Any) -> list[Measurement]:
    newest: dict[tuple[str, str, str], Measurement] = {}
    for m in measured:
        key = (m.metric, m.column, m.segment)
        if m.monitor == "fairness" and (key not in newest or (m.value is not None and m.to_ts >= newest[key].to_ts)):
            newest[key] = m
    return list(newest.values())


def newest_attributions(db: Session, model_id: UUID, until: datetime) -> dict[str, Any] | None:
    """What each column counts in the newest window that was explained, the most important first, and both rules."""
    newest = store.newest_measurement(db, model_id, "attribution", "attribution_drift", until)
    if newest is None:
        return None
    here = monitor_store.window_measurements(db, newest.window_id, monitor="attribution")
    columns = sorted((m for m in here if m.column and not m.segment), key=lambda m: -(m.value or 0.0))
    ranking = next(m for m in here if m.metric == "attribution_ndcg")
    pairs = (newest.details.get("interactions") or {}).get("pairs") or []
    return {"columns": columns, "drift": newest, "ndcg": ranking, "pairs": pairs}
