"""Explain one decision with the version that made it; kept as an artifact."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from core.jobs import Opinion
from monitor.errors import EventNotFoundError
from monitor.service import current_spec
from monitor.site import Site
from retrain import store
from retrain.evals.explained.base import Asked
from retrain.explain.basis import Basis
from retrain.explain.kept import keep
from retrain.explain.process import explained, first
from retrain.explain.rows import explain_row
from retrain.explain.tables import check_opinions, explains_tables


def explain(
    site: Site, model_name: str, event_id: str, opinions: Sequence[Opinion] = (), *, again: bool = False
) -> None:
    """Attribute the answer to the parts of the input; without effect where that was done before, with these opinions.

    Args:
        again: whether a record that is withheld is computed anew.

    Raises:
        EventNotFoundError, NoChampionError: nothing to explain, or no version to explain it with.
        IntegrityFailureError: the files of the base are not those that were registered.
        InvalidError: decisions of the recipe's task cannot be explained, the event has no input, or its answer is none
            that the version can give.
    """
    with site.database.read() as db:
        spec = current_spec(site, db, model_name).spec
    check_opinions(spec, opinions)
    if explains_tables(spec):
        explain_row(site, model_name, event_id, again=again)
        return
    with site.database.read() as db:
        basis, event = _asked(site, db, model_name, event_id)
        held = stored_document(site, db, basis, event_id)
    there = set(held["opinions"]) if held is not None else set()
    if held is not None and there.issuperset(opinions) and not (again and held["state"] == "withheld"):
        return
    basis.check_base()
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
    keep(site, basis.model, basis.version.version, basis.node.digest, event_id, document)
