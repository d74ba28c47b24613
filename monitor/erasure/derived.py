"""What the monitor made from rows that are gone: confirmations that show them, baselines fitted on them."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import AppError
from governance import erasure, ledger
from governance.erasure import Case
from monitor import reference, store
from monitor.schema import parse_spec
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.tables import Alert, ArtifactDraft, BaselineRow, Explanation, Model, Window

Erased = Sequence[tuple[int, datetime]]  # number and time of events that are gone
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def erased_events(db: Session, case: Case) -> Erased:
    found = erasure.remembered(db, case, "ids").values()
    return sorted((seq, _EPOCH + timedelta(microseconds=ts)) for seq, ts in found)


def erase_confirmations(site: Site, case: Case, datasets: Collection[UUID]) -> None:
    """Delete the Evidently reports whose window or reference held an erased row, and the words and rows beside them.

    They show raw rows.
    """
    with site.database.read() as db:
        erased = erased_events(db, case)
        model = store.model(db, case.model)
        doomed = [
            (alert.id, [d for d in (alert.confirmation["artifact"], alert.confirmation.get("evidence")) if d])
            for alert in db.scalars(select(Alert).where(Alert.model_id == model.id))
            if alert.confirmation and alert.confirmation["artifact"] and _shows(db, alert, erased, datasets)
        ]
    for alert_id, artifacts in doomed:
        for artifact in artifacts:  # first: a crash between the two must not lose the name of a file that is left
            site.artifacts.delete(artifact)
        with site.database.write() as db:
            alert = store.alert(db, alert_id, lock=True)
            assert alert.confirmation is not None
            erased_by = {"erasure": str(case.id), "artifact": artifacts[0]}
            gone = {"artifact": None, "evidence": None, "new_words": {}, "erased": erased_by}
            alert.confirmation = {**alert.confirmation, **gone}


def erase_drafts(site: Site, case: Case, datasets: Collection[UUID]) -> None:
    """Delete explanations and confirmations that show erased rows and were never recorded: their process was killed."""
    with site.database.write() as db:
        erased, ids = erased_events(db, case), set(erasure.remembered(db, case, "ids"))
        model = store.model(db, case.model)
        doomed = {}
        for draft in db.scalars(select(ArtifactDraft).where(ArtifactDraft.model_id == model.id)):
            alert = None if draft.alert_id is None else store.alert(db, draft.alert_id)
            if draft.event_id in ids or (alert is not None and _shows(db, alert, erased, datasets)):
                doomed[draft.artifact] = 1
                db.delete(draft)  # whoever is still at it is told by that
        erasure.remember(db, case, "drafts", doomed)
    with site.database.read() as db:
        left = erasure.remembered(db, case, "drafts")
        kept = set(db.scalars(select(Explanation.artifact))) | set(db.scalars(select(ArtifactDraft.artifact)))
        confirmed = [alert.confirmation or {} for alert in db.scalars(select(Alert))]
        kept |= {str(found.get(part)) for found in confirmed for part in ("artifact", "evidence")}
    for artifact in left:
        if artifact not in kept:  # equal content has one file
            site.artifacts.delete(artifact)


def _shows(db: Session, alert: Alert, erased: Erased, datasets: Collection[UUID]) -> bool:
    window = db.get_one(Window, alert.first_window_id)
    if any(window.from_seq <= seq < window.to_seq for seq, _ in erased):
        return True
    return _rests_on(db, db.get_one(BaselineRow, window.baseline_id), erased, datasets)


def refit_baselines(site: Site, case: Case, datasets: Collection[UUID]) -> None:
    """Fit the baselines again that erased rows, or rows of these datasets, had gone into.

    One that cannot be fitted on what is left goes without replacement and says so.
    """
    with site.database.read() as db:
        erased = erased_events(db, case)
        model = store.model(db, case.model)
        done = {e["body"]["baseline"] for e in _refits(db, case)}
        query = select(BaselineRow).where(BaselineRow.model_id == model.id, BaselineRow.artifact.is_not(None))
        affected = [row for row in db.scalars(query) if _rests_on(db, row, erased, datasets)]
        specs = {row.id: parse_spec(store.spec_revision(db, model.id, row.spec_revision).document) for row in affected}
    for row in affected:
        if str(row.id) not in done:
            _refit(site, case, CurrentSpec(model, row.spec_revision, specs[row.id]), row, erased)
    with site.database.read() as db:
        replaced = [str(e["body"]["previous"]) for e in _refits(db, case)]
        kept = set(db.scalars(select(BaselineRow.artifact)))
    for artifact in replaced:
        if artifact not in kept:
            site.artifacts.delete(artifact)


def _rests_on(db: Session, row: BaselineRow, erased: Erased, datasets: Collection[UUID]) -> bool:
    """Whether an erased row may have gone into a baseline: as a row of the reference or a text of its encoders."""
    spec = parse_spec(store.spec_revision(db, row.model_id, row.spec_revision).document)
    if {d.id for d in store.training_sets(db, row.model_id, made_before=row.created_at)} & set(datasets):
        return True
    if spec.baseline.dataset is not None:
        named = store.dataset(db, row.model_id, spec.baseline.dataset)
        return named is not None and named.id in datasets
    if spec.baseline.range is not None:
        return any(spec.baseline.range.from_ <= ts < spec.baseline.range.to for _, ts in erased)
    return row.to_seq is not None and any(row.from_seq <= seq < row.to_seq for seq, _ in erased)


def _refit(site: Site, case: Case, made_under: CurrentSpec, row: BaselineRow, erased: Erased) -> None:
    artifact, problem = None, None
    try:
        fitted = reference.refit(site, made_under, row, erased)
        artifact = site.artifacts.put(fitted.to_bytes())
    except AppError as error:
        problem = f"rows of it were erased, and it could not be fitted on what is left: {error.message}"
    with site.database.write() as db:
        stored = db.get_one(BaselineRow, row.id, with_for_update=True)
        before, stored.artifact, stored.problem = stored.artifact, artifact, problem
        if artifact is not None:
            stored.rows = fitted.rows + fitted.rows_for_encoders
        ledger.append(
            db, kind="model.baseline", actor="assay", subject=f"model:{case.model}", at=site.clock.now(),
            body={
                "baseline": row.id, "digest": artifact, "previous": before, "rows": stored.rows,
                "reason": "fitted again without erased rows" if artifact else "removed: not enough rows are left",
                "spec_revision": row.spec_revision, "erasure": case.id,
            },
        )  # fmt: skip


def _refits(db: Session, case: Case) -> list[dict[str, Any]]:
    found = ledger.entries(db, ("model.baseline",), subject=f"model:{case.model}")
    return [entry for entry in found if entry["body"].get("erasure") == str(case.id)]


def derived_proof(site: Site, case: Case) -> dict[str, Any]:
    with site.database.read() as db:
        model: Model = store.model(db, case.model)
        alerts = db.scalars(select(Alert).where(Alert.model_id == model.id)).all()
        refits = [entry["body"] for entry in _refits(db, case)]
        unrecorded = sorted(erasure.remembered(db, case, "drafts"))
    marks = [(str(a.id), (a.confirmation or {}).get("erased") or {}) for a in alerts]
    return {
        "baselines": [
            {"baseline": b["baseline"], "digest_before": b["previous"], "digest_after": b["digest"]} for b in refits
        ],
        "confirmations": sorted(
            ({"alert": alert, "digest": m["artifact"]} for alert, m in marks if m.get("erasure") == str(case.id)),
            key=lambda found: found["alert"],
        ),
        "unrecorded": unrecorded,
    }
