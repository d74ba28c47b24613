"""Keep the record of one decision: as an artifact, a row and an entry of the ledger."""

import json
from typing import Any

from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor.confirm import drafts
from monitor.site import Site
from monitor.tables import Explanation, Model
from retrain import store
from retrain.provenance.nodes import Node, Source


def keep(site: Site, model: Model, version: str, explains: str, event_id: str, document: dict[str, Any]) -> None:
    """Store a record, in the place of an earlier one of the same decision and version.

    Args:
        explains: digest of the version's node in the provenance, or of the model file.

    Raises:
        DraftErasedError: the event was erased meanwhile.
    """
    content = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False).encode()
    draft = drafts.begin(site, content, model.id, event_id=event_id)
    residual = max((one["residual"] for one in document["outputs"] if one["residual"] is not None), default=0.0)
    replaced, old = None, None
    node = Node("explanation", draft.artifact, {"model": model.name}, (Source("explains", explains),))
    with site.database.write() as db:
        drafts.end(db, draft)
        row = store.explanation(db, model.id, event_id, version)
        if row is None:
            row = Explanation(
                model_id=model.id, event_id=event_id, version=version, artifact=draft.artifact,
                additivity_residual=residual, created_at=site.clock.now(),
            )  # fmt: skip
            db.add(row)
        else:
            replaced = row.artifact if row.artifact != draft.artifact else None
            row.artifact, row.additivity_residual, row.created_at = draft.artifact, residual, site.clock.now()
        append_entry(
            db, kind="explanation.created", actor=SYSTEM_ACTOR, subject=f"model:{model.name}", at=site.clock.now(),
            body={
                "explanation": draft.artifact, "version": version, "additivity_residual": residual,
                "state": document["state"], **node.entry(),
            },
        )  # fmt: skip
        if replaced is not None and not store.shows(db, replaced):
            old = drafts.replaced(db, model.id, replaced, event_id)
    if old is not None:
        drafts.discard(site, old)
