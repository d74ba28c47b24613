"""Values of protected columns: which columns they are, and the record of whoever reads them. Never a value itself."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.cache import CacheKind
from governance.access.roles import Caller
from governance.ledger.append import append_entry
from monitor.site import Site
from monitor.spec.columns import BUILT_IN
from monitor.tables import Model, SpecRevision

READ: Final = "protected.read"
WITHHELD: Final = "[withheld]"
HIDDEN: Final = "[withheld]: the reason may quote a value of a protected column"
COLUMNS: Final = CacheKind[tuple[str, int], tuple[frozenset[str], frozenset[str]]]("protected columns", most=10_000)


def protected_columns(site: Site, db: Session, model: Model) -> frozenset[str]:
    """Columns that have, or ever had, the role protected: what was stored as such stays such in every later spec."""
    return _columns(site, db, model)[0]


def _columns(site: Site, db: Session, model: Model) -> tuple[frozenset[str], frozenset[str]]:
    """The protected columns, and all others that were ever declared."""

    def read() -> tuple[frozenset[str], frozenset[str]]:
        documents = db.scalars(select(SpecRevision.document).where(SpecRevision.model_id == model.id))
        roles = [(name, column["role"]) for d in documents for name, column in d.get("columns", {}).items()]
        protected = frozenset(name for name, role in roles if role == "protected")
        return protected, frozenset(name for name, _ in roles) - protected

    return site.cache.get(COLUMNS, (str(model.id), model.revision), read)


def record_read(
    site: Site, caller: Caller, model: str, columns: frozenset[str], what: str, *, count: int | None,
    since: datetime | None = None, until: datetime | None = None,
) -> None:  # fmt: skip
    """Record in the ledger who read values of which protected columns.

    Args:
        what: through what they were read: event, export, examples, quarantine.
        count: rows; None where an export begins, which says it once it ends.
        since, until: the event times asked for; None where there is no bound.
    """
    body = {
        "by": {"actor": caller.name, "key": caller.prefix, "owner": caller.owner}, "columns": sorted(columns),
        "through": what, "rows": count, "from": since, "to": until,
    }  # fmt: skip
    with site.database.write() as db:
        append_entry(db, kind=READ, actor=caller.name, subject=f"model:{model}", body=body, at=site.clock.now())


def counted(
    body: Iterator[bytes], site: Site, caller: Caller, model: str, columns: frozenset[str], rows: list[int],
    period: tuple[datetime | None, datetime | None],
) -> Iterator[bytes]:  # fmt: skip
    """An export of protected columns whose end is recorded, also where its reader has left early."""
    try:
        yield from body
    finally:
        record_read(site, caller, model, columns, "export", count=sum(rows), since=period[0], until=period[1])


def without_values(site: Site, db: Session, model: Model, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the quarantine for somebody who may not read protected values.

    Kept are the values of columns that are declared and not protected. A name that nobody declared may be that of a
    protected column, misspelt, so its value is withheld too; text that is no object is withheld whole.
    """
    protected, others = _columns(site, db, model)
    if not protected:
        return dict(row)
    found = dict(row)
    try:
        raw = json.loads(row["raw"])
    except ValueError:
        raw = None
    if isinstance(raw, dict):
        shown = {name: value if name in others or name in BUILT_IN else WITHHELD for name, value in raw.items()}
        found["raw"] = json.dumps(shown, ensure_ascii=False)
    else:
        found["raw"] = WITHHELD
    if isinstance(raw, dict):
        found["reason"] = reason_without_value(site, db, model, row.get("field"), row["reason"])
    else:
        found["reason"] = HIDDEN
    return found


def reason_without_value(site: Site, db: Session, model: Model, field: str | None, reason: str) -> str:
    """Why a row was rejected, unless the reason may quote a protected value."""
    _, others = _columns(site, db, model)
    return reason if field is None or field in others or field in BUILT_IN else HIDDEN
