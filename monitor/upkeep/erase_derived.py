"""Erase what was derived from erased rows: confirmations that show them, and references fitted on them."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import AppError
from governance import erasure
from governance.binding.session import because_of_erasure
from governance.erasure import Case
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.ledger.read import ledger_entries
from monitor import store
from monitor.reference import block_profiles, collect
from monitor.service import CurrentSpec, spec_for
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import Alert, ArtifactDraft, Explanation, Model, ReferenceRow, Window

Erased = Sequence[tuple[int, datetime]]  # sequence number and time of each erased event
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def erased_events(db: Session, case: Case) -> Erased:
    """The events that an erasure has removed, in order."""
    found = erasure.remembered(db, case, "ids").values()
    return sorted((seq, _EPOCH + timedelta(microseconds=ts)) for seq, ts in found)


def erase_confirmations(site: Site, case: Case, datasets: Collection[UUID]) -> None:
    """Delete each Evidently report and its evidence if the window or the reference held an erased row.

    Both show raw rows.

    Args:
        datasets: registered datasets that held erased rows.
    """
    with site.database.read() as db:
        erased = erased_events(db, case)
        model = store.model(db, case.model)
        doomed = [
            (alert.id, found["window_id"], [d for d in (found["artifact"], found.get("evidence")) if d])
            for alert in db.scalars(select(Alert).where(Alert.model_id == model.id))
            for found in confirmations(alert)
            if found["artifact"] and _may_show_erased(db, UUID(found["window_id"]), erased, datasets)
        ]
    for alert_id, window_id, artifacts in doomed:
        for artifact in artifacts:  # first, so that a crash in between never loses the name of a remaining file
            site.artifacts.delete(artifact)
        with site.database.write() as db:
            because_of_erasure(db, case.id)
            alert = store.alert(db, alert_id, lock=True)
            erased_by = {"erasure": str(case.id), "artifact": artifacts[0]}
            gone = {"artifact": None, "evidence": None, "new_words": {}, "erased": erased_by}
            now = [c | gone if c["window_id"] == window_id else c for c in confirmations(alert)]
            alert.confirmation = now.pop(0) if alert.confirmation is not None else None
            alert.confirmed_before = now


def confirmations(alert: Alert) -> list[dict[str, Any]]:
    """All confirmations of an alert: the newest first, then those of earlier episodes."""
    newest = [] if alert.confirmation is None else [alert.confirmation]
    return [*newest, *alert.confirmed_before]


def erase_drafts(site: Site, case: Case, datasets: Collection[UUID]) -> None:
    """Delete unrecorded explanations and confirmations that show erased rows, left by processes that were killed."""
    with site.database.write() as db:
        erased, ids = erased_events(db, case), set(erasure.remembered(db, case, "ids"))
        model = store.model(db, case.model)
        doomed = {}
        for draft in db.scalars(select(ArtifactDraft).where(ArtifactDraft.model_id == model.id)):
            alert = None if draft.alert_id is None else store.alert(db, draft.alert_id)
            of = () if alert is None else [row.window_id for row in store.alert_windows(db, alert.id)]
            if draft.event_id in ids or any(_may_show_erased(db, window, erased, datasets) for window in of):
                doomed[draft.artifact] = 1
                db.delete(draft)  # a process that is still writing it will notice
        erasure.remember(db, case, "drafts", doomed)
    with site.database.read() as db:
        left = erasure.remembered(db, case, "drafts")
        kept = set(db.scalars(select(Explanation.artifact))) | set(db.scalars(select(ArtifactDraft.artifact)))
        confirmed = [found for alert in db.scalars(select(Alert)) for found in confirmations(alert)]
        kept |= {str(found.get(part)) for found in confirmed for part in ("artifact", "evidence")}
    for artifact in left:
        if artifact not in kept:  # equal content has one file
            site.artifacts.delete(artifact)


def _may_show_erased(db: Session, window_id: UUID, erased: Erased, datasets: Collection[UUID]) -> bool:
    """Whether a confirmation of a window may show an erased row, from the window or from its reference."""
    window = db.get_one(Window, window_id)
    reference = db.get_one(ReferenceRow, window.baseline_id)
    return held_erased(window, erased) or rests_on_erased(db, reference, erased, datasets)


def held_erased(window: Window, erased: Erased) -> bool:
    """Whether a window held an erased row."""
    timed = not window.scale.endswith(" rows")
    return any(
        window.from_seq <= seq < window.to_seq and (not timed or window.from_ts <= ts < window.to_ts)
        for seq, ts in erased
    )


def profile_again(site: Site, case: Case) -> None:
    """Profile the blocks that held erased rows again; the profiles of a refitted reference are already deleted."""
    with site.database.read() as db:
        erased = erased_events(db, case)
        rows = list(db.scalars(select(ReferenceRow).where(ReferenceRow.model_id == store.model(db, case.model).id)))
        model = store.model(db, case.model)
        made_under = {row.id: spec_for(site, db, model, row.spec_revision, row) for row in rows}
    for row in rows:
        block_profiles.profile_blocks_again(site, made_under[row.id], row, erased)


def refit_references(site: Site, case: Case, datasets: Collection[UUID]) -> None:
    """Fit each reference again that was fitted on erased rows or on rows of these datasets.

    A reference that cannot be fitted on the remaining rows is removed and stores the reason. Everything else learned
    from its rows is deleted and learned again at the next evaluation: the estimator, the levels and limits of the
    quality checks, and the profiles made with its bins.
    """
    with site.database.read() as db:
        erased = erased_events(db, case)
        model = store.model(db, case.model)
        done = {e["body"]["baseline"] for e in _refits(db, case)}
        query = select(ReferenceRow).where(ReferenceRow.model_id == model.id, ReferenceRow.artifact.is_not(None))
        affected = [row for row in db.scalars(query) if rests_on_erased(db, row, erased, datasets)]
        made_under = {row.id: spec_for(site, db, model, row.spec_revision, row) for row in affected}
    for row in affected:
        if str(row.id) not in done:
            _refit(site, case, made_under[row.id], row, erased)
    with site.database.read() as db:
        replaced = [d for e in _refits(db, case) for d in (e["body"]["previous"], *e["body"]["learned"])]
        columns = (ReferenceRow.artifact, ReferenceRow.estimator, ReferenceRow.quality)
        kept = {digest for column in columns for digest in db.scalars(select(column))}
    for artifact in replaced:
        if artifact not in kept:
            site.artifacts.delete(artifact)


def rests_on_erased(db: Session, row: ReferenceRow, erased: Erased, datasets: Collection[UUID]) -> bool:
    """Whether a reference may rest on an erased row: as one of its rows, or as a text its encoders were fitted on."""
    spec = parse_spec(store.spec_revision(db, row.model_id, row.spec_revision).document)
    if {d.id for d in store.training_sets(db, row.model_id, made_before=row.created_at)} & set(datasets):
        return True
    baseline = spec.fixed_baseline
    if baseline is not None and baseline.dataset is not None:
        named = store.dataset(db, row.model_id, baseline.dataset)
        return named is not None and named.id in datasets
    if baseline is not None and baseline.range is not None:
        return any(baseline.range.from_ <= ts < baseline.range.to for _, ts in erased)
    if row.ends_at is not None:
        return any(seq >= row.from_seq and ts < row.ends_at for seq, ts in erased)
    return row.to_seq is not None and any(row.from_seq <= seq < row.to_seq for seq, _ in erased)


def _refit(site: Site, case: Case, made_under: CurrentSpec, row: ReferenceRow, erased: Erased) -> None:
    artifact, problem, moved = None, None, None
    try:
        fitted, moved = collect.refit(site, made_under, row, erased)
        artifact = site.artifacts.put(fitted.to_bytes())
    except AppError as error:
        problem = f"rows of it were erased, and it cannot be fitted on the remaining rows: {error.message}"
    with site.database.write() as db:
        because_of_erasure(db, case.id)
        stored = db.get_one(ReferenceRow, row.id, with_for_update=True)
        before, stored.artifact, stored.problem, stored.moved = stored.artifact, artifact, problem, moved
        gone = set(erasure.remembered(db, case, "ids"))
        stored.far_rows = [
            part | {"event_ids": [i for i in part["event_ids"] if i not in gone]} for part in stored.far_rows
        ]
        learned = [digest for digest in (stored.estimator, stored.quality) if digest is not None]
        stored.estimator, stored.estimator_labels, stored.estimator_reason = None, 0, None
        stored.quality, stored.quality_labels = None, False
        block_profiles.delete_profiles(db, stored)
        if artifact is not None:
            stored.rows = fitted.rows + fitted.rows_for_encoders
        append_entry(
            db, kind="model.baseline", actor=SYSTEM_ACTOR, subject=f"model:{case.model}", at=site.clock.now(),
            body={
                "baseline": row.id, "digest": artifact, "previous": before, "learned": learned, "rows": stored.rows,
                "reason": "fitted again without erased rows" if artifact else "removed: not enough rows are left",
                "spec_revision": row.spec_revision, "erasure": case.id,
            },
        )  # fmt: skip


def _refits(db: Session, case: Case) -> list[dict[str, Any]]:
    found = ledger_entries(db, ("model.baseline",), subject=f"model:{case.model}")
    return [entry for entry in found if entry["body"].get("erasure") == str(case.id)]


def derived_proof(site: Site, case: Case) -> dict[str, Any]:
    """The part of an erasure's proof that lists the derived artifacts deleted or made again."""
    with site.database.read() as db:
        model: Model = store.model(db, case.model)
        alerts = db.scalars(select(Alert).where(Alert.model_id == model.id)).all()
        refits = [entry["body"] for entry in _refits(db, case)]
        unrecorded = sorted(erasure.remembered(db, case, "drafts"))
        withheld = sorted(erasure.remembered(db, case, "withheld"))
    marks = [(str(a.id), found.get("erased") or {}) for a in alerts for found in confirmations(a)]
    return {
        "baselines": [
            {
                "baseline": b["baseline"],
                "digest_before": b["previous"],
                "digest_after": b["digest"],
                "learned_before": b["learned"],
            }
            for b in refits
        ],
        "confirmations": sorted(
            ({"alert": alert, "digest": m["artifact"]} for alert, m in marks if m.get("erasure") == str(case.id)),
            key=lambda found: found["alert"],
        ),
        "unrecorded": unrecorded,
        "windows_withheld": withheld,
    }
