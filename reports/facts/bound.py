"""Whether the rows behind a report or a page are those that the ledger bound, and what is said if they are not."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from governance.binding.check import RowsVerdict, check_rows
from governance.binding.wording import changed_words
from governance.ledger.read import ledger_size, moved_entries
from governance.tables import LedgerBinding
from governance.verify.findings import Finding
from monitor.alerts.changed_rows import standing
from monitor.tables import Model
from reports import document as doc
from reports.wording.health import Health

MAX_LISTED: Final = 100
CHANGED: Final = "changed"  # status of a report over rows that were changed
FEW: Final = 1_000_000  # bytes of leaves: rows that are checked while a page waits, about 10,000
LEAST: Final = 32  # bytes of an entry's leaves, which name a row by its UUID, at the least
RESTS: Final = 20  # times as long as a check took, until a page checks again
UNPRINTED: Final = frozenset(  # columns with words of people, ids of events, and paths
    (
        "note", "text", "reason", "event_id", "confirmation", "confirmation_error", "confirmed_before", "config",
        "metrics", "evaluation", "provenance", "document", "base_model", "error", "row", "examples",
        "figures",
    )
)  # fmt: skip
NOTHING: Final = "Nothing is stated about this model."

_CHECKED: Final[WeakKeyDictionary[Any, tuple[float, RowsVerdict]]] = WeakKeyDictionary()  # until when, by engine


def bound_rows(db: Session, model_id: str) -> doc.BoundRows:
    """Hold the rows of the database against the ledger."""
    verdict = check_rows(db)
    findings = (*verdict.of_model(model_id), *moved_entries(db))
    return doc.BoundRows(
        rows=verdict.rows, unbound=verdict.found, changes=len(findings), entries=ledger_size(db),
        since=None if verdict.since is None else datetime.fromisoformat(verdict.since),
        changed=tuple(map(_line, findings[:MAX_LISTED])),
    )  # fmt: skip


def _line(finding: Finding) -> doc.ChangedRow:
    """A finding without whole rows, and without values that a report never prints: `assay verify` shows them."""
    expected, found = finding.expected, finding.found
    if finding.what != "row.changed":
        expected, found = expected.partition(" with ")[0], found.partition(" with ")[0]
    elif (column := expected.partition(" ")[0]) in UNPRINTED:
        expected, found = f"another {column}", column
    return doc.ChangedRow(what=finding.what, row=finding.where, bound=expected, found=found)


def stated(health: Health, bound: doc.BoundRows) -> tuple[str, str]:
    """Status and first sentence of a report: of changed rows nothing is said but that they were changed."""
    if not bound.changes:
        return health.status, health.sentence
    findings = [Finding(c.what, c.row, c.bound, c.found) for c in bound.changed]
    return CHANGED, f"{changed_words(findings, bound.changes)} {NOTHING}"


def withheld(lines: Sequence[doc.VerdictLine], bound: doc.BoundRows) -> tuple[doc.VerdictLine, ...]:
    """The verdicts of a report; none is given over changed rows."""
    if not bound.changes:
        return tuple(lines)
    finding = "rows of the database were changed outside Assay: see 1.1"
    return tuple(line.model_copy(update={"answer": "not measured", "finding": finding}) for line in lines)


def health_of_page(db: Session, model: Model, health: Health) -> Health:
    """The health that a page shows: that rows were changed, wherever they were."""
    sentence = rows_changed(db, model)
    return health if sentence is None else Health("alarm", sentence)


def rows_changed(db: Session, model: Model) -> str | None:
    """What a page says instead of figures if rows were changed outside Assay; None if none was."""
    return rows_changed_of(db, [model]).get(model.name)


def rows_changed_of(db: Session, models: Sequence[Model]) -> dict[str, str]:
    """`rows_changed` of several models, by name; those whose rows are as the ledger bound them are left out.

    A page checks them itself while there are few; of many it tells what the worker found within the last hour.
    """
    # Each page asks, and a ledger only grows; a length is read without the leaves.
    first = select(func.length(LedgerBinding.leaves).label("length")).limit(FEW // LEAST).subquery()
    if (db.scalar(select(func.sum(first.c.length))) or 0) > FEW:
        return {name: f"{said} {NOTHING}" for name, said in standing(db, [model.name for model in models]).items()}
    bind, now = db.get_bind(), time.monotonic()
    until, verdict = _CHECKED.get(bind, (0.0, None))
    if verdict is None or now >= until:
        verdict = check_rows(db)
        ended = time.monotonic()
        _CHECKED[bind] = (ended + RESTS * (ended - now), verdict)
    found = ((model.name, verdict.of_model(str(model.id))) for model in models)
    return {name: f"{changed_words(findings)} {NOTHING}" for name, findings in found if findings}
