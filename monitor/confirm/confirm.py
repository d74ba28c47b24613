"""Confirm a drift alert on raw rows: an Evidently report and, for texts and vectors, the words and rows behind it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import polars as pl
from sqlalchemy.orm import Session

from core.canonical import canonical
from core.errors import AppError, BusyError
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor import store
from monitor.alerts import headlines
from monitor.confirm import drafts
from monitor.confirm.evidence import Evidence, evidence
from monitor.confirm.evidently_report import confirm_with_evidently
from monitor.drift.rows import RowScore
from monitor.profile.reference_profile import ReferenceProfile
from monitor.reference.choose_rows import reference_rows, watched_columns
from monitor.reference.collect import subject_column
from monitor.reference.encode import encoding_of, with_vectors
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from monitor.tables import Alert, Model, ReferenceRow, Window
from monitor.windows.late_rows import rows_of


def confirm_alert(site: Site, alert_id: UUID) -> None:
    """Build the report, store it as an artifact and attach it to the alert; a failure is stored there as its message.

    Raises:
        AlertNotFoundError: no alert has this id.
        BusyError: the job must be retried.
    """
    with site.database.read() as db:
        alert = store.alert(db, alert_id)
        alarmed = alert_context(db, alert)
        if str(alarmed.window.id) in _confirmed_windows(alert):
            return
    model, window, spec = alarmed.model, alarmed.window, alarmed.spec
    try:
        reference = reference_rows(site, CurrentSpec(model, window.spec_revision, spec), alarmed.reference)
        assert reference is not None  # a window has been judged against it
        current = _window_rows(site, alarmed)
        reference = with_vectors(encoding_of(site, spec), reference, site.cache)
        found = confirm_with_evidently(reference, current, watched_columns(spec), engine=site.settings.engine)
        behind = _evidence(site, alarmed, current)
    except BusyError:
        raise  # the job is retried
    except AppError as error:
        with site.database.write() as db:
            alert = store.alert(db, alert_id, lock=True)
            if _told_window(alert) == window.id:
                alert.confirmation_error = error.message
        return
    shown = found.html, *((canonical([asdict(part) for part in behind]),) if behind else ())
    made = [drafts.begin(site, content, model.id, alert_id=alert_id) for content in shown]
    draft = made[0]
    with site.database.write() as db:
        for one in made:
            drafts.end(db, one)
        confirmation = {
            "window_id": str(window.id), "artifact": draft.artifact,
            "drifted_columns": list(found.drifted_columns), "share": found.share,
            "columns": [asdict(column) for column in found.columns],
            "skipped": [{"column": name, "reason": reason} for name, reason in found.skipped],
            "reference_rows": reference.height, "window": [window.from_seq, window.to_seq],
            "statistics": [asdict(score) for score in found.statistics],
            "evidence": made[1].artifact if behind else None, "new_words": _shareable_words(behind),
        }  # fmt: skip
        alert = store.alert(db, alert_id, lock=True)
        if _told_window(alert) == window.id:
            alert.confirmation, alert.confirmation_error = confirmation, None
        else:  # another episode has begun meanwhile and gets a confirmation of its own
            alert.confirmed_before = [*alert.confirmed_before, confirmation]
        _store_statistics(site, db, window.id, found.statistics, found.note)
        append_entry(
            db, kind="alert.confirmed", actor=SYSTEM_ACTOR, subject=f"model:{model.name}", at=site.clock.now(),
            body={
                "alert": alert_id, "window": window.id, "report": draft.artifact,
                "drifted_columns": list(found.drifted_columns), "share": found.share,
            },
        )  # fmt: skip


def _confirmed_windows(alert: Alert) -> set[str]:
    """Ids of the windows whose raw rows have been confirmed."""
    return {found["window_id"] for found in (alert.confirmation, *alert.confirmed_before) if found is not None}


def _told_window(alert: Alert) -> UUID:
    found = headlines.told_window(alert)
    assert found is not None  # an alert about drift has windows
    return found


def _store_statistics(site: Site, db: Session, window_id: UUID, statistics: Sequence[RowScore], note: str) -> None:
    """Store the statistics of raw rows in the measurements that the window reserved for them."""
    reserved = {m.metric: m for m in store.window_measurements(db, window_id) if m.monitor == "drift" and not m.column}
    for score in statistics:
        stored = reserved[score.method]
        stored.value, stored.reason, stored.computed_at = score.value, score.reason, site.clock.now()
        stored.n, stored.n_reference = score.n_window, score.n_reference
        stored.details = stored.details | {"rows": note}


def evidence_of(site: Site, alert_id: UUID) -> list[Evidence]:
    """Evidence of a drift alert on texts or vectors, from the first window of the last announced episode.

    Returns:
        One entry per text or vector column; none where the model has no such column.

    Raises:
        AppError: the rows cannot be read or encoded.
    """
    with site.database.read() as db:
        alarmed = alert_context(db, store.alert(db, alert_id))
    if not {"text", "vector", "encoded"} & set(watched_columns(alarmed.spec).values()):
        return []
    return _evidence(site, alarmed, _window_rows(site, alarmed))


@dataclass(frozen=True)
class AlertContext:
    """The model, window, reference and spec that an alert is about."""

    model: Model
    window: Window
    reference: ReferenceRow
    spec: ModelSpec


def alert_context(db: Session, alert: Alert) -> AlertContext:
    """What the last announced headline of an alert is about."""
    window = db.get_one(Window, _told_window(alert))
    reference = db.get_one(ReferenceRow, window.baseline_id)
    spec = parse_spec(store.spec_revision(db, window.model_id, window.spec_revision).document)
    return AlertContext(
        db.get_one(Model, window.model_id), window, reference, spec.with_lengths(reference.windows or ())
    )


def _window_rows(site: Site, alarmed: AlertContext) -> pl.DataFrame:
    rows = rows_of(site, alarmed.model.name, alarmed.window)
    return with_vectors(encoding_of(site, alarmed.spec), rows, site.cache)


def _evidence(site: Site, alarmed: AlertContext, current: pl.DataFrame) -> list[Evidence]:
    if alarmed.reference.artifact is None:  # an erasure has removed it
        return []
    fitted = ReferenceProfile.from_bytes(site.artifacts.get(alarmed.reference.artifact))
    return evidence(fitted, current, person=subject_column(alarmed.spec))


def _shareable_words(behind: Sequence[Evidence]) -> dict[str, list[dict[str, Any]]]:
    """New words that name nobody, by column; these may be shown without the permission to read events."""
    return {
        part.column: [{"word": w.word, "share": w.share} for w in part.new_words if w.shared]
        for part in behind
        if part.new_words
    }
