"""The pages a fact links to: an alert, a window, a run, a ledger entry."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from api.http.auth import requires
from api.http.deps import MAX_INDEX, ReadDb, SiteDep
from api.http.protected import causes_for, examples_for, flips_for, typical_for
from api.http.reach import Reach, require_entry
from api.pages.models import ACTIVE, progress
from api.pages.render import PageRoute, page
from core.errors import NotFoundError
from governance.access.roles import Caller, Permission
from governance.ledger.checkpointing import inclusion_proof, latest_checkpoint
from monitor import store as monitor_store
from monitor.alerts import headlines
from monitor.alerts import store as alert_store
from monitor.alerts.findings import findings, standing
from monitor.alerts.quiet import quiet_reason
from monitor.notify.tell import around
from monitor.notify.wording import next_step
from monitor.service import current_spec
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import ReferenceRow, Window
from reports import store
from reports.charts.data_table import distribution_table
from reports.charts.records import DataTable
from reports.charts.svg import distribution_svg, loss_svg
from reports.facts import runs
from reports.facts.citations import Citations
from reports.facts.distributions import changed_columns, distributions
from reports.facts.mitigation import trade_off
from reports.facts.versions import limit_line
from retrain import store as retrain_store
from retrain.registry.standing import standing_of
from retrain.runs.change_document import evidence_of, used_of
from retrain.runs.change_limits import limits_of, verdict_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)
DECIDING = ("p_value", "effect")  # what a drift verdict rests on
WIDTHS = (520, 358)  # of a chart on a wide page and on a telephone
Reader = Annotated[Caller, requires(Permission.READ)]


@router.get("/alerts/{alert_id}")
def alert_page(caller: Reader, alert_id: UUID, site: SiteDep, db: ReadDb) -> HTMLResponse:
    alert = monitor_store.alert(db, alert_id)
    model = None if alert.model_id is None else store.model_of(db, alert.model_id)
    citations = Citations(store.entries(db, ["system" if model is None else f"model:{model.name}"]))
    first, last = store.window(db, alert.first_window_id), store.window(db, alert.last_window_id)
    shown = model is not None and caller.may(Permission.EVENTS_READ)
    rows = examples_for(site, db, caller, alert, model.name) if shown and model is not None else []
    responsible = current_spec(site, db, model.name).spec.owner if model is not None else ""
    known = findings(db, [alert_id])[alert_id]
    why = standing(db, alert, known)
    typical = typical_for(site, db, alert, why.row) if shown and why.row is not None else []
    return page(
        "alert.html", caller=caller, alert=alert, model=model, responsible=responsible, first=first, last=last,
        cite=citations.find, around=around(db, alert, site.clock.now()),
        examples=rows, told=headlines.last_announced(alert), incident=alert_store.incident(db, alert.incident_id),
        others=[a for a in alert_store.alerts_of_incident(db, alert.incident_id) if a.id != alert.id],
        timeline=alert_store.notes(db, alert.incident_id), next_step=next_step(alert.monitor, alert.metric),
        quiet=quiet_reason(db, alert, site.clock.now()), why=why, typical=typical,
        why_before=[row for row in known if row is not why.row],
        flips=[(row, flips_for(caller, row.document)) for row in retrain_store.flips_of_alert(db, alert.id)],
        causes=[(row, causes_for(caller, row.document)) for row in monitor_store.fairness_causes(db, alert.id)],
    )  # fmt: skip


@router.get("/windows/{window_id}")
def window_page(caller: Reader, window_id: UUID, site: SiteDep, db: ReadDb) -> HTMLResponse:
    window = store.window(db, window_id)
    if window is None:
        raise NotFoundError(f"window {window_id} does not exist", window=str(window_id))
    model = store.model_of(db, window.model_id)
    measured = monitor_store.window_measurements(db, window_id)
    order = ("kpi", "estimate", "fairness", "concept", "attribution", "outcomes", "quality", "volume", "drift")
    deciding = [m for m in measured if m.monitor != "drift" or m.metric in DECIDING]
    deciding.sort(key=lambda m: (order.index(m.monitor), m.metric != "p_value"))
    others = [m for m in measured if m.monitor == "drift" and m.metric not in DECIDING]
    drawn, why = _changed(site, caller, model.name, window, store.baseline(db, window.baseline_id))
    return page(
        "window.html",
        caller=caller,
        window=window,
        model=model,
        deciding=deciding,
        others=others,
        charts=drawn,
        why_no_charts=why,
        later=monitor_store.later_verdicts(db, [window_id]).get(window_id, []),
        changed=window.decision.get("verdict") == "drift",
        spec=parse_spec(monitor_store.spec_revision(db, window.model_id, window.spec_revision).document),
    )


def _changed(
    site: Site, caller: Caller, model: str, window: Window, reference: ReferenceRow | None
) -> tuple[list[tuple[Markup, Markup, DataTable]], str | None]:
    """Charts of the columns that changed, each with its table. Levels may quote people: they need the right to rows."""
    columns = changed_columns(window)
    if reference is None or not columns:
        return [], None
    if not caller.may(Permission.EVENTS_READ):
        return [], "your role does not read single events"
    found, why = distributions(site, model, window, reference, columns)
    wide, narrow = ([_drawn(distribution_svg(d, width=w)) for d in found] for w in WIDTHS)
    return list(zip(wide, narrow, map(distribution_table, found), strict=True)), why


def _drawn(svg: str) -> Markup:
    return Markup(svg)  # noqa: S704 - our own drawing; Vega escapes labels


@router.get("/runs/{run_id}")
def run_page(caller: Reader, run_id: UUID, site: SiteDep, db: ReadDb) -> HTMLResponse:
    run = retrain_store.run(db, run_id)
    model = store.model_of(db, run.model_id)
    datasets = store.datasets(db, [run.train_dataset_id, run.eval_dataset_id, run.holdout_dataset_id])
    citations = Citations(store.entries(db, [f"model:{model.name}", f"run:{run.id}"]))
    curve = runs.losses(run.metrics)
    loss = [_drawn(loss_svg(curve, width=w)) for w in WIDTHS] if len(curve) > 1 else []
    limits = limits_of(evidence_of(db, run))
    declared = [limit_line(line, citations) for line in limits if line["verdict"] != "no limit"]
    return page(
        "run.html", inside=verdict_of(limits, run.state), limits=declared, used=used_of(run),
        caller=caller, run=run, model=model, decision=store.decision(db, run.decision_id),
        gates=retrain_store.gates(db, run.id), datasets=sorted(datasets.values(), key=lambda d: d.role),
        compared=runs.evaluation(run.evaluation), trained=runs.training(run.metrics), loss=loss,
        configured=runs.configuration(run.config, run.metrics),
        cite=citations.find, progress=progress(run), active=run.state in ACTIVE,
        standing=standing_of(db, run, site.clock.now()), traded=trade_off(run.metrics, run.evaluation),
    )  # fmt: skip


@router.get("/ledger/{index}")
def entry_page(
    caller: Annotated[Caller, requires(Permission.LEDGER_READ, Reach.LISTED)],
    index: Annotated[int, Path(ge=0, le=MAX_INDEX)],
    site: SiteDep,
    db: ReadDb,
) -> HTMLResponse:
    require_entry(db, caller, index)
    proof = inclusion_proof(db, index)
    entry = store.entry(db, index)
    head = latest_checkpoint(db)
    return page("entry.html", caller=caller, entry=entry, proof=proof, head=head, vkey=site.keys.vkey)
