"""Confirm a drift alert: an Evidently report over the raw rows of the reference and of the alarming window."""

from collections.abc import Sequence
from dataclasses import asdict
from uuid import UUID

from sqlalchemy.orm import Session

from core.errors import AppError, BusyError
from governance import ledger
from monitor import drafts, store
from monitor.confirm import confirm_with_evidently
from monitor.drift.rows import RowScore
from monitor.late_rows import rows_of
from monitor.reference import rows, watched
from monitor.schema import parse_spec
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.tables import BaselineRow, Model, Window


def confirm_alert(site: Site, alert_id: UUID) -> None:
    """Build the report, keep it as an artifact and hang it on the alert; a failure is kept there in words."""
    with site.database.read() as db:
        alert = store.alert(db, alert_id)
        if alert.confirmation is not None:
            return
        window = db.get_one(Window, alert.first_window_id)
        baseline = db.get_one(BaselineRow, window.baseline_id)
        model = db.get_one(Model, alert.model_id)
        spec = parse_spec(store.spec_revision(db, model.id, window.spec_revision).document)
    columns = watched(spec)
    try:
        reference = rows(site, CurrentSpec(model, window.spec_revision, spec), baseline)
        assert reference is not None  # a window was judged against it
        found = confirm_with_evidently(
            reference.select(list(columns)),
            rows_of(site, model.name, window).select(list(columns)),
            columns,
            engine=site.settings.engine,
        )
    except BusyError:
        raise  # for the job to be repeated
    except AppError as error:
        with site.database.write() as db:
            store.alert(db, alert_id, lock=True).confirmation_error = error.message
        return
    draft = drafts.begin(site, found.html, model.id, alert_id=alert_id)
    with site.database.write() as db:
        drafts.end(db, draft)
        store.alert(db, alert_id, lock=True).confirmation = {
            "artifact": draft.artifact, "drifted_columns": list(found.drifted_columns), "share": found.share,
            "reference_rows": reference.height, "window": [window.from_seq, window.to_seq],
            "statistics": [asdict(score) for score in found.statistics],
        }  # fmt: skip
        _measure(site, db, window.id, found.statistics, found.note)
        ledger.append(
            db, kind="alert.confirmed", actor="assay", subject=f"model:{model.name}", at=site.clock.now(),
            body={
                "alert": alert_id, "report": draft.artifact, "drifted_columns": list(found.drifted_columns),
                "share": found.share,
            },
        )  # fmt: skip


def _measure(site: Site, db: Session, window_id: UUID, statistics: Sequence[RowScore], note: str) -> None:
    """Put the statistics of raw rows in the place that the window has kept for them."""
    kept = {m.metric: m for m in store.window_measurements(db, window_id) if m.monitor == "drift" and not m.column}
    for score in statistics:
        stored = kept[score.method]
        stored.value, stored.reason, stored.computed_at = score.value, score.reason, site.clock.now()
        stored.n, stored.n_reference = score.n_window, score.n_reference
        stored.details = stored.details | {"rows": note}
