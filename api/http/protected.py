"""What an answer leaves out for a caller without the permission to read values of protected columns."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy.orm import Session

from core.errors import ForbiddenError
from governance.access.roles import Caller, Permission
from monitor import store
from monitor.alerts.examples import examples, typical_rows
from monitor.causes.shown import without_levels
from monitor.finding_tables import AlertFinding
from monitor.ingest.release import QuarantinedRow, ReleaseResult
from monitor.service import current_spec
from monitor.site import Site
from monitor.tables import Alert, Model, Window
from monitor.upkeep.protected import protected_columns, reason_without_value, record_read, without_values
from retrain.reasons.stored import shown_reasons, stored_reasons, told_reasons

GROUPS: Final = ("category", "boolean")  # types whose values are groups, of which counts are shown
HEADER: Final = "X-Assay-Withheld"


def columns_for(site: Site, db: Session, caller: Caller, model: str) -> tuple[Model, frozenset[str], bool]:
    """The model, its protected columns, and whether this caller may read them."""
    row = store.model(db, model)
    return row, protected_columns(site, db, row), caller.may(Permission.PROTECTED_READ)


def withheld_header(columns: frozenset[str]) -> dict[str, str]:
    """Names of columns are letters, digits, spaces, `.`, `-` and `_`, so that a comma parts them."""
    return {HEADER: ", ".join(sorted(columns))} if columns else {}


def examples_for(site: Site, db: Session, caller: Caller, alert: Alert, model: str) -> list[dict[str, Any]]:
    """The example rows of an alert; those of protected columns only for whoever may read them, which is recorded."""
    found = examples(site, alert, model)
    _, protected, may = columns_for(site, db, caller, model)
    there = protected & {part["column"] for part in found}
    if not there:
        return found
    if not may:
        return [part for part in found if part["column"] not in there]
    rows = sum(len(part["farthest"]) for part in found if part["column"] in there)
    record_read(site, caller, model, there, "examples", count=rows)
    return found


def causes_for(caller: Caller, document: dict[str, Any]) -> dict[str, Any]:
    """Where a disparity comes from, without the levels of columns for whoever may not read rows."""
    return document if caller.may(Permission.EVENTS_READ) else without_levels(document)


def typical_for(site: Site, db: Session, alert: Alert, finding: AlertFinding) -> list[dict[str, Any]]:
    """The rows typical of what drove an alert, as they are stored now and redacted; never protected ones."""
    model = db.get_one(Model, alert.model_id)
    spec = current_spec(site, db, model.name).spec
    hidden = protected_columns(site, db, model)
    shown = [
        name for name, column in spec.event_columns.items()
        if column.role in ("input", "segment", "agent") and column.type != "vector" and name not in hidden
    ]  # fmt: skip
    return typical_rows(site, model.name, db.get_one(Window, finding.window_id), finding, spec, shown)


def flips_for(caller: Caller, document: dict[str, Any]) -> dict[str, Any]:
    """A flip test, without the ids of its examples for whoever may not read rows."""
    if caller.may(Permission.EVENTS_READ):
        return document
    return {**document, "tests": [{**test, "examples": []} for test in document["tests"]]}


def quarantined_for(
    site: Site, db: Session, caller: Caller, model: str, rows: Sequence[QuarantinedRow]
) -> list[QuarantinedRow]:
    """Rejected rows without values that may be those of protected columns; or all of them, which is recorded."""
    row, protected, may = columns_for(site, db, caller, model)
    if not protected or not rows:
        return list(rows)
    if may:
        since, until = min(r.ts for r in rows), max(r.ts for r in rows)
        record_read(site, caller, model, protected, "quarantine", count=len(rows), since=since, until=until)
        return list(rows)
    hidden = (without_values(site, db, row, {"raw": r.raw, "field": r.field, "reason": r.reason}) for r in rows)
    return [replace(r, raw=h["raw"], reason=h["reason"]) for r, h in zip(rows, hidden, strict=True)]


def released_for(site: Site, db: Session, caller: Caller, model: str, found: ReleaseResult) -> ReleaseResult:
    """What became of rows that were checked again, without values that a reason may quote."""
    row, protected, may = columns_for(site, db, caller, model)
    if not protected or may:
        return found
    rejected = [replace(r, reason=reason_without_value(site, db, row, r.field, r.reason)) for r in found.rejected]
    return replace(found, rejected=rejected)


def refuse_explained_protected(site: Site, db: Session, caller: Caller, model: str) -> None:
    """Refuse an explanation, which quotes the model's inputs, where one of them was declared protected before.

    Raises:
        ForbiddenError: the caller may not read protected values.
    """
    _, protected, may = columns_for(site, db, caller, model)
    spec = current_spec(site, db, model).spec
    there = protected & {*spec.with_role("input"), *((spec.explain and spec.explain.features) or ())}
    if there and not may:
        raise ForbiddenError(
            f"the explanation quotes {', '.join(sorted(there))}, which is a protected column; role "
            f"{caller.role.value} lacks the permission {Permission.PROTECTED_READ.value}",
            permission=Permission.PROTECTED_READ.value,
        )


def reasons_for(
    site: Site, db: Session, caller: Caller, model: str, event_id: str, *, findings: bool = True
) -> dict[str, Any] | None:
    """The reasons of a decision, None where nobody asked for them.

    Findings about protected columns, and what these count, only for whoever may read protected columns, which is
    recorded: `db` must hold no lock. Without `findings`, they are left out for everybody.
    """
    row, protected, may = columns_for(site, db, caller, model)
    held = stored_reasons(db, row.id, event_id)
    if held is None:
        return None
    document = told_reasons(site, held)
    hidden = protected | {*document["inputs"]["protected"]}
    there = hidden & {*document["inputs"]["attributions"]}
    if not (may and findings):
        return shown_reasons(document, hidden)
    if there:
        record_read(site, caller, model, frozenset(there), "reasons", count=1)
    return document


def refuse_confirmed_protected(site: Site, db: Session, caller: Caller, model: str, compared: Sequence[str]) -> None:
    """Refuse a report on raw rows that shows more of a protected column than counts of its groups; else record it.

    Raises:
        ForbiddenError: the caller may not read protected values.
    """
    _, protected, may = columns_for(site, db, caller, model)
    columns = current_spec(site, db, model).spec.columns
    there = frozenset(
        name for name in protected & {*compared} if name not in columns or columns[name].type not in GROUPS
    )  # fmt: skip
    if there and not may:
        raise ForbiddenError(
            f"the report shows values of {', '.join(sorted(there))}, which is protected; role {caller.role.value} "
            f"lacks the permission {Permission.PROTECTED_READ.value}",
            permission=Permission.PROTECTED_READ.value,
        )
    if there:
        record_read(site, caller, model, there, "confirmation", count=None)
