"""Confirm a drift alert on the raw rows: an Evidently report, and of texts and vectors the words and rows behind it."""

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
from monitor.alerts import follow
from monitor.confirm import drafts
from monitor.confirm.evidence import Evidence, evidence
from monitor.confirm.evidently_report import confirm_with_evidently
from monitor.drift.rows import RowScore
from monitor.profile.reference_profile import ReferenceProfile
from monitor.reference.collect import person, rows, watched
from monitor.reference.encode import encoding_of, with_vectors
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from monitor.tables import Alert, BaselineRow, Model, Window
from monitor.windows.late_rows import rows_of


def confirm_alert(site: Site, alert_id: UUID) -> None:
    """Build the report, keep it as an artifact and hang it on the alert; a failure is kept there in words."""
    with site.database.read() as db:
        alert = store.alert(db, alert_id)
        alarmed = _alarmed(db, alert)
        if str(alarmed.window.id) in _confirmed(alert):
            return
    model, window, spec = alarmed.model, alarmed.window, alarmed.spec
    try:
        reference = rows(site, CurrentSpec(model, window.spec_revision, spec), alarmed.baseline)
        assert reference is not None  # a window was judged against it
        current = _rows(site, alarmed)
        reference = with_vectors(encoding_of(site, spec), reference, site.cache)
        found = confirm_with_evidently(reference, current, watched(spec), engine=site.settings.engine)
        behind = _behind(site, alarmed, current)
    except BusyError:
        raise  # for the job to be repeated
    except AppError as error:
        with site.database.write() as db:
            alert = store.alert(db, alert_id, lock=True)
            if _window_told_last(alert) == window.id:
                alert.confirmation_error = error.message
        return
    shown = found.html, *((canonical([asdict(part) for part in behind]),) if behind else ())
    made = [drafts.begin(site, content, model.id, alert_id=alert_id) for content in shown]
    draft = made[0]
    with site.database.write() as db:
        for one in made:
            drafts.end(db, one)
        made_of = {
            "window_id": str(window.id), "artifact": draft.artifact,
            "drifted_columns": list(found.drifted_columns), "share": found.share,
            "reference_rows": reference.height, "window": [window.from_seq, window.to_seq],
            "statistics": [asdict(score) for score in found.statistics],
            "evidence": made[1].artifact if behind else None, "new_words": _sayable(behind),
        }  # fmt: skip
        alert = store.alert(db, alert_id, lock=True)
        if _window_told_last(alert) == window.id:
            alert.confirmation, alert.confirmation_error = made_of, None
        else:  # another episode began meanwhile, and has a confirmation of its own
            alert.confirmed_before = [*alert.confirmed_before, made_of]
        _measure(site, db, window.id, found.statistics, found.note)
        append_entry(
            db, kind="alert.confirmed", actor=SYSTEM_ACTOR, subject=f"model:{model.name}", at=site.clock.now(),
            body={
                "alert": alert_id, "window": window.id, "report": draft.artifact,
                "drifted_columns": list(found.drifted_columns), "share": found.share,
            },
        )  # fmt: skip


def _confirmed(alert: Alert) -> set[str]:
    """Windows whose raw rows were looked at."""
    return {found["window_id"] for found in (alert.confirmation, *alert.confirmed_before) if found is not None}


def _window_told_last(alert: Alert) -> UUID:
    told = follow.told_last(alert)
    found = UUID(told["first_window"]) if told is not None else alert.first_window_id
    assert found is not None  # only an alert about silence belongs to no window
    return found


def _measure(site: Site, db: Session, window_id: UUID, statistics: Sequence[RowScore], note: str) -> None:
    """Put the statistics of raw rows in the place that the window has kept for them."""
    kept = {m.metric: m for m in store.window_measurements(db, window_id) if m.monitor == "drift" and not m.column}
    for score in statistics:
        stored = kept[score.method]
        stored.value, stored.reason, stored.computed_at = score.value, score.reason, site.clock.now()
        stored.n, stored.n_reference = score.n_window, score.n_reference
        stored.details = stored.details | {"rows": note}


def evidence_of(site: Site, alert_id: UUID) -> list[Evidence]:
    """What is behind a drift alert on texts or vectors in the window that people were told of last, without a report.

    Raises:
        AppError: the rows cannot be read or encoded.
    """
    with site.database.read() as db:
        alarmed = _alarmed(db, store.alert(db, alert_id))
    if not {"text", "vector", "encoded"} & set(watched(alarmed.spec).values()):
        return []
    return _behind(site, alarmed, _rows(site, alarmed))


@dataclass(frozen=True)
class _Alarmed:
    """What an alert rests on."""

    model: Model
    window: Window
    baseline: BaselineRow
    spec: ModelSpec


def _alarmed(db: Session, alert: Alert) -> _Alarmed:
    window = db.get_one(Window, _window_told_last(alert))
    spec = parse_spec(store.spec_revision(db, alert.model_id, window.spec_revision).document)
    return _Alarmed(db.get_one(Model, alert.model_id), window, db.get_one(BaselineRow, window.baseline_id), spec)


def _rows(site: Site, alarmed: _Alarmed) -> pl.DataFrame:
    rows = rows_of(site, alarmed.model.name, alarmed.window)
    return with_vectors(encoding_of(site, alarmed.spec), rows, site.cache)


def _behind(site: Site, alarmed: _Alarmed, current: pl.DataFrame) -> list[Evidence]:
    if alarmed.baseline.artifact is None:  # removed by an erasure meanwhile
        return []
    fitted = ReferenceProfile.from_bytes(site.artifacts.get(alarmed.baseline.artifact))
    return evidence(fitted, current, person=person(alarmed.spec))


def _sayable(behind: Sequence[Evidence]) -> dict[str, list[dict[str, Any]]]:
    """New words that name nobody, by column: what may be shown without the right to read events."""
    return {
        part.column: [{"word": w.word, "share": w.share} for w in part.new_words if w.shared]
        for part in behind
        if part.new_words
    }
