"""Move a version to a stage: the only code that makes a champion, so there is exactly one."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.orm import Session

from core.canonical import canonical
from core.canonical import digest as digest_of
from governance.ledger.append import append_entry
from governance.policy.stops import refuse_while_stopped
from governance.proof.note import sign_note
from monitor.site import Site
from monitor.tables import Model
from retrain import store
from retrain.provenance.nodes import Nodes
from retrain.tables import ModelVersion

OUT: Final = ("retired", "rejected")  # stages in which a version answers nobody; a stop does not hold them back


def refuse_stage(db: Session, model: Model, stage: str) -> None:
    """
    Raises:
        ModelStoppedError: the model is stopped, and the stage is one that a stop freezes.
    """
    if stage not in OUT:
        refuse_while_stopped(db, model.name, f"a version as {stage}")


def champion_document(model: Model, row: ModelVersion) -> dict[str, Any]:
    """What is signed about a champion."""
    return {
        "model": model.name, "version": row.version, "base_model": row.base_model, "base_digest": row.base_digest,
        "adapter_digest": row.adapter, "labels": row.labels, "run": row.run_id, "promoted_at": row.promoted_at,
    }  # fmt: skip


def crown(
    site: Site, db: Session, model: Model, row: ModelVersion, actor: str, *, reason: str, kind: str,
    more: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Retire the present champion, then make `row` champion, sign it and record it.

    Raises:
        ModelStoppedError: the model is stopped, and this is no rollback.
    """
    if kind != "version.rolled_back":
        refuse_stage(db, model, "champion")
    now = site.clock.now()
    previous = store.champion(db, model.id)
    if previous is not None:
        # A version that was rolled back from is not one to go back to; it may be promoted again, through its gates.
        previous.stage = "rejected" if kind == "version.rolled_back" else "retired"
        previous.retired_at = now
        db.flush()  # the unique index allows one champion at any moment
    row.stage, row.promoted_at, row.retired_at, row.traffic_share = "champion", now, None, None
    row.signature = sign_note(canonical(champion_document(model, row)).decode() + "\n", [site.keys.documents])
    db.flush()
    before = previous.version if previous else None
    facts = {"previous": before, "reason": reason, "document": digest_of(champion_document(model, row))}
    record_version(site, db, kind, model, row, actor, facts | dict(more or {}))


def place(
    site: Site, db: Session, model: Model, row: ModelVersion, actor: str, *, stage: str, share: float | None,
    reason: str, more: Mapping[str, Any],
) -> None:  # fmt: skip
    """Give a version a stage beside the champion: challenger, shadow, canary or retired; serving reads it.

    Raises:
        ModelStoppedError: the model is stopped, and the version would answer or compete.
    """
    refuse_stage(db, model, stage)
    before, row.stage, row.traffic_share = row.stage, stage, share
    if stage == "retired" and row.retired_at is None:
        row.retired_at = site.clock.now()
    db.flush()
    facts = {"stage": stage, "previous_stage": before, "traffic_share": share, "reason": reason}
    record_version(site, db, "version.staged", model, row, actor, facts | dict(more))


def record_version(
    site: Site, db: Session, kind: str, model: Model, row: ModelVersion, actor: str, more: dict[str, Any]
) -> None:
    body = {
        "version": row.version, "base_model": row.base_model, "base_digest": row.base_digest, "adapter": row.adapter,
        "run": row.run_id, **more, **Nodes.of(db, model).version(row).entry(),
    }  # fmt: skip
    append_entry(db, kind=kind, actor=actor, subject=f"model:{model.name}", body=body, at=site.clock.now())
