"""Explain one decision with the version that made it; kept as an artifact."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from core.jobs import Opinion
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor.confirm import drafts
from monitor.errors import EventNotFoundError
from monitor.site import Site
from monitor.tables import ArtifactDraft, Explanation
from retrain import store
from retrain.evals.explained.base import Asked
from retrain.explain.basis import Basis
from retrain.explain.process import explained, first
from retrain.provenance.nodes import explanation_node


def explain(site: Site, model_name: str, event_id: str, opinions: Sequence[Opinion] = ()) -> None:
    """Attribute the answer to the parts of the input; without effect where that was done before, with these opinions.

    Raises:
        EventNotFoundError, NoChampionError: nothing to explain, or no version to explain it with.
        InvalidError: decisions of the recipe's task cannot be explained, the event has no input, or its answer is none
            that the version can give.
    """
    with site.database.read() as db:
        basis, event = _asked(site, db, model_name, event_id)
        held = stored_document(site, db, basis, event_id)
    there = set(held["opinions"]) if held is not None else set()
    if held is not None and there.issuperset(opinions):
        return
    wanted: tuple[Any, ...] = tuple(sorted(there.union(opinions)))
    found = first(explained(Asked(model=basis.files, decisions=(basis.decision(event),), opinions=wanted)))
    record(site, basis, event_id, basis.told(event, found))


def _asked(site: Site, db: Session, model_name: str, event_id: str) -> tuple[Basis, dict[str, Any]]:
    event = site.events.event(model_name, event_id)
    if event is None:
        raise EventNotFoundError(model_name, event_id)
    # An explanation of another version would explain another decision; only unregistered ones fall back.
    return Basis.of(site, db, model_name, str(event["version"])), event


def stored_document(site: Site, db: Session, basis: Basis, event_id: str) -> dict[str, Any] | None:
    """The record of a decision as it was stored, with `opinions`; None where there is none."""
    row = store.explanation(db, basis.model.id, event_id, basis.version.version)
    if row is None:
        return None
    found: dict[str, Any] = json.loads(site.artifacts.get(row.artifact))
    return {"opinions": {}, **found}


def record(site: Site, basis: Basis, event_id: str, document: dict[str, Any]) -> None:
    """Store a record, in the place of an earlier one of the same decision and version.

    Raises:
        DraftErasedError: the event was erased meanwhile.
    """
    content = json.dumps(document, ensure_ascii=False, indent=1).encode()
    draft = drafts.begin(site, content, basis.model.id, event_id=event_id)
    residual = max(one["residual"] for one in document["outputs"])
    replaced, old = None, None
    with site.database.write() as db:
        drafts.end(db, draft)
        row = store.explanation(db, basis.model.id, event_id, basis.version.version)
        if row is None:
            row = Explanation(
                model_id=basis.model.id, event_id=event_id, version=basis.version.version, artifact=draft.artifact,
                additivity_residual=residual, created_at=site.clock.now(),
            )  # fmt: skip
            db.add(row)
        else:
            replaced = row.artifact if row.artifact != draft.artifact else None
            row.artifact, row.additivity_residual, row.created_at = draft.artifact, residual, site.clock.now()
        append_entry(
            db, kind="explanation.created", actor=SYSTEM_ACTOR, subject=f"model:{basis.model.name}",
            at=site.clock.now(),
            body={
                "explanation": draft.artifact, "version": basis.version.version, "additivity_residual": residual,
                "state": document["state"],
                **explanation_node(basis.node, basis.model.name, draft.artifact).entry(),
            },
        )  # fmt: skip
        if replaced is not None and not store.shows(db, replaced):
            old = ArtifactDraft(model_id=basis.model.id, artifact=replaced, event_id=event_id)
            db.add(old)  # its words are a person's: an erasure finds it until it is deleted
    if old is not None:
        site.artifacts.delete(old.artifact)
        with site.database.write() as db:
            if (left := db.get(ArtifactDraft, old.id)) is not None:
                db.delete(left)
