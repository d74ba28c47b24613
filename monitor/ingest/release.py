"""Work on rows in quarantine: list them, check them again under the current spec, correct or discard them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from core.canonical import canonical
from governance.ledger.append import append_entry
from monitor import store
from monitor.errors import QuarantineRowDecidedError, QuarantineRowNotFoundError, RowRejectedError
from monitor.ingest.receive import MAX_LISTED_REJECTIONS, store_rows, target_of
from monitor.site import Site
from monitor.tables import QuarantineDecision

if TYPE_CHECKING:
    import polars as pl

    from monitor.ingest.ndjson import Rows

OPEN: Final = "open"
_BATCH_ROWS: Final = MAX_LISTED_REJECTIONS  # rows checked together, few enough that every rejection is listed


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """One row in quarantine, with the decision about it, if any."""

    id: str
    event_id: str | None
    ts: datetime
    seq: int
    kind: str
    line: int
    field: str | None
    reason: str
    raw: str
    body_digest: str | None
    state: str
    decided_by: str | None = None
    decided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StillRejectedRow:
    id: str
    field: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ReleaseResult:
    """The result of checking rows again; `released` = accepted + duplicates."""

    released: int
    accepted: int
    duplicates: int
    rejected: list[StillRejectedRow]  # the first MAX_LISTED_REJECTIONS
    rejected_total: int


def quarantined_rows(
    site: Site,
    model: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    field: str | None = None,
    state: str | None = None,
    after: int = -1,
    limit: int = 100,
) -> list[QuarantinedRow]:
    """Return rows in order of arrival, starting after the `seq` given as `after`."""
    import polars as pl

    decisions = _decisions(site, model)
    rows = site.events.quarantine(model, from_seq=after + 1, from_ts=since, to_ts=until)
    if field is not None:
        rows = rows.filter(pl.col("field") == field)
    if state is not None:
        inside = pl.col("id").is_in([i for i, d in decisions.items() if state in (OPEN, d.state)])
        rows = rows.filter(~inside if state == OPEN else inside)
    found = rows.drop("subject").sort("seq").head(limit).collect()
    return [_with_decision(row, decisions.get(row["id"])) for row in found.iter_rows(named=True)]


def _with_decision(row: Mapping[str, Any], decision: QuarantineDecision | None) -> QuarantinedRow:
    if decision is None:
        return QuarantinedRow(**row, state=OPEN)
    return QuarantinedRow(**row, state=decision.state, decided_by=decision.by, decided_at=decision.at)


def replay(site: Site, model: str, ids: Sequence[str] | None, *, actor: str) -> ReleaseResult:
    """Check rows again under the current spec and store those that pass; if `ids` is None, all open rows.

    A row that is released twice is stored once, because its event id is already known.

    Raises:
        QuarantineRowNotFoundError, QuarantineRowDecidedError: one of `ids` does not exist or is not open.
    """
    import polars as pl

    decisions = _decisions(site, model)
    rows = site.events.quarantine(model).select("id", "seq", "kind", "raw")
    if ids is None:
        rows = rows.filter(~pl.col("id").is_in(list(decisions)))
    else:
        rows = rows.filter(pl.col("id").is_in(list(ids)))
    chosen = rows.sort("seq").collect()
    for row in ids or ():
        if row in decisions:
            raise QuarantineRowDecidedError(row, decisions[row].state)
        if row not in chosen["id"]:
            raise QuarantineRowNotFoundError(model, row)
    total = ReleaseResult(0, 0, 0, [], 0)
    for (kind,), part in chosen.partition_by("kind", as_dict=True, maintain_order=True).items():
        for at in range(0, part.height, _BATCH_ROWS):
            total = _sum(total, _try(site, model, str(kind), part[at : at + _BATCH_ROWS], actor))
    return total


def _try(site: Site, model: str, kind: str, rows: "pl.DataFrame", actor: str) -> ReleaseResult:
    from monitor.ingest.ndjson import read_lines

    ids = rows["id"].to_list()
    read = read_lines(enumerate(rows["raw"].to_list(), start=1))
    accepted, duplicates, refused = _store(site, model, kind, read)
    rejected = [StillRejectedRow(ids[line - 1], *why) for line, why in sorted(refused.items())]
    passed = [i for line, i in enumerate(ids, start=1) if line not in refused and rows["raw"][line - 1].strip()]
    if passed:
        _decide(site, model, passed, "released", actor, {"accepted": accepted, "duplicates": duplicates})
    return ReleaseResult(len(passed), accepted, duplicates, rejected[:MAX_LISTED_REJECTIONS], len(rejected))


def _sum(a: ReleaseResult, b: ReleaseResult) -> ReleaseResult:
    return ReleaseResult(
        a.released + b.released, a.accepted + b.accepted, a.duplicates + b.duplicates,
        (a.rejected + b.rejected)[:MAX_LISTED_REJECTIONS], a.rejected_total + b.rejected_total,
    )  # fmt: skip


def fix(site: Site, model: str, row: str, corrected: Mapping[str, Any], *, actor: str) -> ReleaseResult:
    """Store a corrected row in place of one in quarantine.

    Raises:
        QuarantineRowNotFoundError, QuarantineRowDecidedError: the row does not exist or is not open.
        RowRejectedError: the corrected row does not pass either; nothing was changed.
    """
    from monitor.ingest.ndjson import Rows

    kind = _open_row(site, model, row)
    accepted, duplicates, refused = _store(site, model, kind, Rows([dict(corrected)], [1], []))
    if refused:
        raise RowRejectedError(*refused[1])
    _decide(site, model, [row], "fixed", actor, {"accepted": accepted, "duplicates": duplicates})
    return ReleaseResult(1, accepted, duplicates, [], 0)


def discard(site: Site, model: str, row: str, *, actor: str) -> None:
    """Discard a row for good. Raises the same errors as `fix` for rows that do not exist or are not open."""
    _open_row(site, model, row)
    _decide(site, model, [row], "discarded", actor, {})


def _store(site: Site, model: str, kind: str, read: "Rows") -> tuple[int, int, dict[int, tuple[str | None, str]]]:
    """Store rows; return the accepted and duplicate counts, and field and reason for each rejected line."""
    now = site.clock.now()
    target = target_of(site, model, "events" if kind == "events" else "outcomes")
    receipt = store_rows(site, target, target.examine(read, now), now, keep_rejected=False)
    return receipt.accepted, receipt.duplicates, {r.line: (r.field, r.reason) for r in receipt.rejected}


def _decisions(site: Site, model: str) -> dict[str, QuarantineDecision]:
    with site.database.read() as db:
        return store.quarantine_decisions(db, store.model(db, model).id)


def _open_row(site: Site, model: str, row: str) -> str:
    """Return the kind of an open row; raise if it does not exist or is decided."""
    import polars as pl

    with site.database.read() as db:
        decided = store.quarantine_decisions(db, store.model(db, model).id, [row]).get(row)
    if decided is not None:
        raise QuarantineRowDecidedError(row, decided.state)
    found = site.events.quarantine(model).filter(pl.col("id") == row).select("kind").head(1).collect()
    if not found.height:
        raise QuarantineRowNotFoundError(model, row)
    return str(found.item())


def _decide(site: Site, model: str, rows: Sequence[str], state: str, actor: str, counts: Mapping[str, int]) -> None:
    """Record a decision about rows, with a ledger entry; rows that somebody else decided meanwhile are left alone."""
    now = site.clock.now()
    with site.database.write() as db:
        found = store.model(db, model)
        before = store.quarantine_decisions(db, found.id, rows if len(rows) == 1 else None)
        fresh = [row for row in rows if row not in before]
        db.add_all(QuarantineDecision(model_id=found.id, row=row, state=state, by=actor, at=now) for row in fresh)
        if not fresh:
            return
        digest = hashlib.sha256(canonical(sorted(fresh))).hexdigest()
        body = {"rows": len(fresh), "ids": f"sha256:{digest}", "spec_revision": found.revision, **counts}
        append_entry(db, kind=f"quarantine.{state}", actor=actor, subject=f"model:{model}", body=body, at=now)
