"""The overview of all models and the page of one model."""

import shlex
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import ReadDb, SiteDep
from api.http.reach import Reach
from api.pages.governing import governing_of
from api.pages.render import PageRoute, page
from core.clock import days_period
from core.errors import AppError
from governance.access.roles import Caller, Permission
from monitor import store as monitor_store
from monitor.alerts import store as alert_store
from monitor.ingest.otlp import span_counts
from monitor.ingest.otlp.store import text_counts
from monitor.ingest.otlp.verdict import LOG_RESULTS, RESULTS
from monitor.notify import deploys
from monitor.service import CurrentSpec, current_spec, in_force
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.target import target_of
from monitor.tables import Measurement, Model
from monitor.windows.reference_standing import reference_standing
from reports import store
from reports.charts.data_table import timeline_table
from reports.charts.svg import timeline_svg
from reports.facts.bound import health_of_page
from reports.facts.citations import Citations
from reports.facts.standing import champion_at, health_at, newest_kpis
from reports.facts.timelines import timeline
from reports.wording.health import Health
from reports.wording.phrases import budget_words, rule_words
from reports.wording.plan import policy_words
from retrain.tables import Run

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.READ)]
WINDOWS = 200  # windows shown when no period is asked for
WINDOWS_OF_PERIOD = 1_000  # and of a period; a page of more is of use to nobody, and holds others up
MEASUREMENTS = 20_000  # shown in all
ACTIVE = ("queued", "curating", "training", "evaluating")


@router.get("/")
def overview(
    caller: Annotated[Caller, requires(Permission.READ, Reach.LISTED)], site: SiteDep, db: ReadDb, request: Request
) -> HTMLResponse:
    rows = [_row(site, db, model) for model in monitor_store.models(db) if caller.sees(model.name)]
    order = {"alarm": 0, "unknown": 1, "ok": 2}
    rows.sort(key=lambda r: (order[r["health"].status], r["name"]))
    counts = {status: sum(1 for r in rows if r["health"].status == status) for status in order}
    url = shlex.quote(str(request.base_url).rstrip("/"))  # the page puts it into commands
    system = alert_store.unresolved_system_alerts(db) if caller.models is None else []
    return page("overview.html", caller=caller, models=rows, counts=counts, url=url, system=system)


def _row(site: Site, db: Session, model: Model) -> dict[str, Any]:
    """The summary of a model; only what is wrong where an earlier release stored a spec that this one cannot read."""
    try:
        current = in_force(site, db, model)
    except (AppError, ValueError) as error:
        sentence = f"It is not judged, because its spec cannot be read: {error}. Apply a spec that is right."
        return {"name": model.name, "spec": None, "health": Health("unknown", sentence)}
    return _summary(site, db, current)


def _summary(site: Site, db: Session, current: CurrentSpec) -> dict[str, Any]:
    model, now = current.model, site.clock.now()
    runs = store.runs(db, model.id, model.created_at, now)
    windows = store.newest_windows(db, model.id, 1)
    champion = champion_at(store.versions(db, model.id), now)
    coverage = windows[-1].labels / windows[-1].rows if windows and windows[-1].rows else None
    health = health_of_page(db, model, health_at(site, db, model, current.spec))
    return {
        "name": model.name, "spec": current.spec, "health": health,
        "kpis": newest_kpis(db, model.id, current.spec, _far(now)), "window": windows[-1] if windows else None,
        "coverage": coverage, "alerts": sum(1 for a in monitor_store.alerts(db, model.id) if a.state != "resolved"),
        "run": runs[-1] if runs else None, "champion": champion,
    }  # fmt: skip


def _far(now: datetime) -> datetime:
    """Replayed events may carry times after the clock's."""
    return now + timedelta(days=36_500)


@router.get("/models/{name}")
def model_page(
    caller: Reader, name: str, site: SiteDep, db: ReadDb, since: date | None = None, until: date | None = None
) -> HTMLResponse:
    current = current_spec(site, db, name)
    model, spec = current.model, current.spec
    first, last = store.extent(db, model.id)
    chosen = since is not None or until is not None
    start = datetime.combine(since, time(), UTC) if since else first or model.created_at
    end = _far(site.clock.now())
    if until is not None:
        _, end = days_period(since or min(until, start.date()), until)
    most = WINDOWS_OF_PERIOD if chosen else WINDOWS
    windows = store.windows(db, model.id, start, end, most) if chosen else store.newest_windows(db, model.id, most)
    if windows and (not chosen or len(windows) == most):
        start = min(w.from_ts for w in windows)
    measured = store.measurements(db, model.id, start, end, limit=MEASUREMENTS)
    versions = store.versions(db, model.id)
    alerts = monitor_store.alerts(db, model.id)
    decisions = store.decisions(db, model.id, model.created_at, _far(site.clock.now()))[-50:]
    runs = store.runs(db, model.id, model.created_at, _far(site.clock.now()))
    drawn = timeline(
        spec, windows, measured, baselines=store.baselines(db, model.id, _far(site.clock.now())), versions=versions,
        alerts=alerts, decisions=decisions, runs=runs, deploys=deploys.listed(db, model.id),
    )  # fmt: skip
    citations = Citations(store.entries(db, [f"model:{name}", *(f"run:{r.id}" for r in runs)]))
    reports = store.reports(db, model.id)
    busy = any(r.state == "queued" for r in reports) or any(r.state in ACTIVE for r in runs)
    period = (first or model.created_at, last or site.clock.now())
    return page(
        "model.html", caller=caller, model=model, spec=spec, revision=current.revision,
        summary=_summary(site, db, current), budget=budget_words(spec), rules=rule_words(spec),
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


def progress(run: Run) -> str:
    """The state of a run, in words."""
    p = run.progress or {}
    if run.state not in ACTIVE:
        return ""
    parts = [str(p.get("phase") or run.state)]
    if p.get("steps"):
        parts.append(f"step {p.get('step', 0)} of {p['steps']}")
    if p.get("loss") is not None:
        parts.append(f"loss {p['loss']:.3f}")
    if p.get("eta_s") is not None:
        parts.append(f"about {p['eta_s']:.0f} s left")
    return ", ".join(parts)
