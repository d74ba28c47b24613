"""Reasons as they were stored, and what of them may be shown to whom. Light enough for the API."""

import json
from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.reasons.codes import ReasonTable
from monitor.reasons.record import table_changes
from monitor.service import spec_of
from monitor.site import Site
from monitor.tables import Model
from retrain.tables import DecisionReasons


def stored_reasons(db: Session, model_id: UUID, event_id: str) -> DecisionReasons | None:
    """The reasons that were issued; else what was said under the newest revision."""
    rows = db.scalars(
        select(DecisionReasons)
        .where(DecisionReasons.model_id == model_id, DecisionReasons.event_id == event_id)
        .order_by(DecisionReasons.spec_revision.desc())
    ).all()
    return next((row for row in rows if row.state == "issued"), rows[0] if rows else None)


def told_reasons(site: Site, row: DecisionReasons) -> dict[str, Any]:
    """The record as it was stored."""
    found: dict[str, Any] = json.loads(site.artifacts.get(row.artifact))
    return found


def shown_reasons(document: dict[str, Any], hidden: Collection[str]) -> dict[str, Any]:
    """A record for whoever may not read protected columns: what these count, and findings about them, are left out.

    The codes can still be computed again from it; the digest of the whole record cannot, and `left_out` says so.
    """
    inputs, result = document["inputs"], document["result"]
    population = inputs["population"]
    if not ({*inputs["attributions"]} & {*hidden}) and not result["findings"]:
        return document
    shown = inputs | {
        "attributions": {name: value for name, value in inputs["attributions"].items() if name not in hidden},
        "population": population | {"means": {n: v for n, v in population["means"].items() if n not in hidden}},
    }
    left_out = {"columns": sorted({*inputs["attributions"]} & {*hidden}), "findings": len(result["findings"])}
    return document | {"inputs": shown, "result": result | {"findings": []}, "left_out": left_out}


def reason_tables(site: Site, db: Session, model: Model) -> list[dict[str, Any]]:
    """Every version of the table of reasons, the newest first, with what each says otherwise than the one before."""
    found: list[dict[str, Any]] = []
    before: ReasonTable | None = None
    for revision in range(1, model.revision + 1):
        reasons = spec_of(site, db, model.id, revision).reasons
        if reasons is None or (before is not None and reasons.reason_table.digest == before.digest):
            continue
        table = reasons.reason_table
        found.append({
            "version": table.version, "digest": table.digest, "since_revision": revision, "texts": dict(table.texts),
            "groups": {name: list(features) for name, features in table.groups.items()},
            "changes": [] if before is None else table_changes(before, table),
        })  # fmt: skip
        before = table
    return found[::-1]
