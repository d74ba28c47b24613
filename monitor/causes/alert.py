"""Find the causes behind a fairness alert, on the rows of the window that it was told with, and store them with it."""

from uuid import UUID

from sqlalchemy.orm import Session

from core import queue
from core.canonical import digest
from core.jobs import FlipsJob
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor import store
from monitor.alerts import headlines
from monitor.causes.ask import causes_of, rule_of
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import FairnessCause, Measurement, Model, Window
from monitor.windows.late_rows import rows_of


def find_causes(site: Site, alert_id: UUID) -> None:
    """Store the causes of each disparity of an alert; without effect where they are known, or the alert has no window.

    Raises:
        AlertNotFoundError: no alert has this id.
    """
    with site.database.read() as db:
        alert = store.alert(db, alert_id)
        told = headlines.told_window(alert)
        if alert.monitor != "fairness" or told is None:
            return
        window = db.get_one(Window, told)
        known = {row.column for row in store.fairness_causes(db, alert_id) if row.window_id == window.id}
        open_ones = [m for m in _alarming(db, window, alert.metric) if m.column not in known]
        model = db.get_one(Model, window.model_id)
        spec = parse_spec(store.spec_revision(db, window.model_id, window.spec_revision).document)
    current = CurrentSpec(model, window.spec_revision, spec)
    if spec.monitors.flips is not None:
        with site.database.write() as db:
            job = FlipsJob(model=model.name, alert_id=alert_id)
            queue.enqueue(db, job, now=site.clock.now(), dedupe_key=f"flips:{alert_id}")
    for measured in open_ones:  # each is stored by itself, so that a killed job goes on with the next
        rule = rule_of(spec, measured.metric, measured.column)
        document = causes_of(site, current, rule, rows_of(site, model.name, window).lazy())
        with site.database.write() as db:
            now = site.clock.now()
            db.add(
                FairnessCause(
                    model_id=model.id, alert_id=alert_id, window_id=window.id, metric=measured.metric,
                    column=measured.column, document=document, computed_at=now,
                )
            )  # fmt: skip
            append_entry(
                db, kind="fairness.causes", actor=SYSTEM_ACTOR, subject=f"model:{model.name}", at=now,
                body={
                    "alert": alert_id, "window": window.id, "metric": measured.metric, "by": measured.column,
                    "causes": digest(document),
                },
            )  # fmt: skip


def _alarming(db: Session, window: Window, metric: str) -> list[Measurement]:
    found = store.window_measurements(db, window.id)
    return [m for m in found if m.monitor == "fairness" and m.metric == metric and m.alarm and not m.segment]
