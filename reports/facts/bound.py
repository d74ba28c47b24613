"""Whether the rows behind a report are those that the ledger bound, and what a report says if they are not."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from governance.binding.check import check_rows
from governance.verify.findings import Finding
from reports import document as doc
from reports.wording.health import Health

MAX_LISTED: Final = 100
CHANGED: Final = "changed"  # status of a report over rows that were changed
_KINDS: Final = {"row.changed": "changed", "row.missing": "missing", "row.extra": "added"}


def bound_rows(db: Session, model_id: str) -> doc.BoundRows:
    """Hold the rows of the database against the ledger."""
    verdict = check_rows(db)
    findings = verdict.of_model(model_id)
    return doc.BoundRows(
        rows=verdict.rows, unbound=verdict.found, changes=len(findings),
        since=None if verdict.since is None else datetime.fromisoformat(verdict.since),
        changed=tuple(
            doc.ChangedRow(what=f.what, row=f.where, bound=f.expected, found=f.found) for f in findings[:MAX_LISTED]
        ),
    )  # fmt: skip


def stated(health: Health, bound: doc.BoundRows) -> tuple[str, str]:
    """Status and first sentence of a report: of changed rows nothing is said but that they were changed."""
    if not bound.changes:
        return health.status, health.sentence
    return CHANGED, changed_words(bound.changed, bound.changes)


def changed_words(changed: Sequence[doc.ChangedRow | Finding], count: int) -> str:
    """What was changed, counted by table, with the first change."""
    first = changed[0]
    counts = Counter((_where(c).split(" ")[0], _KINDS.get(c.what, "not bound")) for c in changed)
    counted = ", ".join(f"{table} {kind}: {n}" for (table, kind), n in counts.most_common(6))
    bound = first.expected if isinstance(first, Finding) else first.bound
    many = "1 difference" if count == 1 else f"{count:,} differences"
    return (
        f"The database was changed outside Assay: {many} between stored rows and what the ledger bound "
        f"({counted}). Nothing is stated about this model. First: {_where(first)}, bound {bound}, found {first.found}."
    )


def _where(changed: doc.ChangedRow | Finding) -> str:
    return changed.where if isinstance(changed, Finding) else changed.row


def withheld(lines: Sequence[doc.VerdictLine], bound: doc.BoundRows) -> tuple[doc.VerdictLine, ...]:
    """The verdicts of a report; none is given over changed rows."""
    if not bound.changes:
        return tuple(lines)
    finding = "rows of the database were changed outside Assay: see 1.1"
    return tuple(line.model_copy(update={"answer": "not measured", "finding": finding}) for line in lines)
