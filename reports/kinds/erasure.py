"""Certificate of an erasure: what was asked, what was removed where, the proof, what remains. Nobody is named."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from governance import erasure as erasures
from monitor.site import Site
from reports import document as doc
from reports import store
from reports.kinds import kind_named
from reports.kinds.listings import table
from reports.kinds.made import base_of, fact, sections_report
from reports.parts import Unmeasured
from reports.tables import Report

KIND: Final = kind_named("erasure")
TERMS: Final = ("ledger entry",)
NAMELESS: Final = (
    "The person is named nowhere in this certificate, nor in the ledger: rows carry a keyed digest, and the request is "
    "known by its id."
)
PROOF: Final = "erasure.json"
KEPT: Final = (
    f"Of an erasure of this model alone the bundle holds the proof, as {PROOF}; of more, "
    "`GET /api/v1/erasures/ID` shows it to whoever may see all of them. Its digest is in the entry of the ledger."
)
_SUBJECT: Final = "subject"  # of the proof: the keyed digest of the person


@dataclass(frozen=True, slots=True)
class Asked:
    """What the ledger binds of an erasure; the person it is about is left out."""

    id: UUID
    models: Sequence[str]
    state: str
    proof: str | None
    requested_entry: int
    done_entry: int | None
    requested_by: str
    requested_at: datetime
    completed_at: datetime | None


def asked_for(db: Session, row: Report) -> Asked:
    """The erasure that a report is about."""
    found = erasures.erasure(db, UUID(row.subject or ""))
    return Asked(
        found.id, list(found.models), found.state, found.proof, found.requested_entry, found.done_entry,
        found.requested_by, found.requested_at, found.completed_at,
    )  # fmt: skip


def certificate(site: Site, db: Session, row: Report) -> doc.SectionsReport:
    """The document of a certificate; an erasure that is under way says so."""
    base = base_of(site, db, row)
    found = asked_for(db, row)
    proof, name = _proof(site, found), base.identity.model
    mine: Mapping[str, Any] = next((m for m in proof.get("models") or () if m["model"] == name), {})
    adapters = [a for a in proof.get("adapters") or () if a["model"] == name]
    sections = (
        doc.ReportSection(
            title="What was asked", text=(NAMELESS,),
            facts=(
                fact("Erasure", str(found.id)), fact("Models", _models(found, name)),
                fact("Asked", found.requested_at.isoformat(), type="time", entry=found.requested_entry),
                fact("Asked by", found.requested_by),
            ),
        ),
        doc.ReportSection(title="What was removed, and where", tables=(_tables(mine), _datasets(mine))),
        doc.ReportSection(title="What was made of the rows", tables=(_derived(mine), _adapters(adapters))),
        doc.ReportSection(
            title="Proof", text=(KEPT,),
            facts=(
                fact("Digest of the proof", found.proof, type="digest", reason="not yet", entry=found.done_entry),
                fact("Completed", found.completed_at.isoformat() if found.completed_at else None, type="time",
                     reason="not yet", entry=found.done_entry),
            ),
        ),
        doc.ReportSection(title="What remains, and why", text=tuple(proof.get("kept") or ("Known at the end.",)),
                          supply=("copies that were handed out before: backups, exports, bundles",)),
    )  # fmt: skip
    done = found.state == "done"
    missing = () if done else (
        Unmeasured(what="what was removed", why=f"not yet: the erasure is {found.state}", count=None),
    )  # fmt: skip
    return sections_report(
        row, base, title=KIND.title, format=KIND.format, about="erasure", sentence=_sentence(found, mine, name),
        status="ok" if done else "unknown", facts=_facts(found, mine, adapters), sections=sections, terms=TERMS,
        not_measured=missing,
    )  # fmt: skip


def proof_members(site: Site, db: Session, row: Report) -> dict[str, bytes]:
    """The proof as the ledger's entry holds its digest, as a member of the bundle."""
    found = asked_for(db, row)
    alone = found.models == [store.model_of(db, row.model_id).name]  # else it tells of models that others may not see
    return {PROOF: site.artifacts.get(found.proof)} if found.proof is not None and alone else {}


def _models(found: Asked, model: str) -> str:
    """Other models are counted, not named: who may read this report may not see them."""
    if not found.models:
        return "every model of the installation"
    others = len(found.models) - 1
    return model if not others else f"{model} and {others} more"


def _proof(site: Site, found: Asked) -> dict[str, Any]:
    if found.proof is None or found.done_entry is None:
        return {}
    proof: dict[str, Any] = json.loads(site.artifacts.get(found.proof))
    return {name: value for name, value in proof.items() if name != _SUBJECT}


def _removed(mine: Mapping[str, Any]) -> int:
    return sum(int(t["rows_removed"]) for t in mine.get("tables") or ())


def _sentence(found: Asked, mine: Mapping[str, Any], model: str) -> str:
    if found.state != "done" or found.completed_at is None:
        return f"The erasure of one person's rows of {model} is {found.state}; what was removed is known at its end."
    left = sum(int((t.get("after") or {}).get("found") or 0) for t in mine.get("tables") or ())
    return (
        f"One person's rows of {model} were erased by {found.completed_at:%Y-%m-%d %H:%M} UTC: {_removed(mine):,} rows "
        f"of {len(mine.get('tables') or ()):,} tables were removed; {left:,} were found afterwards."
    )


def _facts(found: Asked, mine: Mapping[str, Any], adapters: Sequence[Mapping[str, Any]]) -> list[doc.Fact]:
    done = found.state == "done"
    return [
        fact("State", found.state),
        fact("Rows removed", _removed(mine) if done else None, type="count", reason="not yet", entry=found.done_entry),
        fact("Events", int(mine.get("events") or 0) if done else None, type="count", reason="not yet"),
        fact("Versions that had learned from them", len(adapters) if done else None, type="count", reason="not yet"),
        fact(
            "Completed", found.completed_at.isoformat() if found.completed_at else None, type="time", reason="not yet"
        ),
    ]


def _tables(mine: Mapping[str, Any]) -> doc.SectionTable:
    rows = (
        (t["table"], t["rows_removed"], (t.get("after") or {}).get("found"), t["version_after"])
        for t in mine.get("tables") or ()
    )
    columns = "table text 1.0; rows removed count 0.8; rows found afterwards count 0.9; at table version count 0.9"
    return table("Tables of events", columns, rows, "Nothing has been removed yet.")


def _datasets(mine: Mapping[str, Any]) -> doc.SectionTable:
    rows = (
        (
            str(d.get("name") or d.get("dataset") or ""),
            d.get("rows_removed"),
            d.get("digest_before"),
            d.get("digest_after"),
        )
        for d in mine.get("datasets") or ()
        if isinstance(d, Mapping)
    )
    columns = "dataset text 1.4; rows removed count 0.7; digest before digest 0.8; digest after digest 0.8"
    return table("Datasets", columns, rows, "No registered dataset held a row of the person.")


def _derived(mine: Mapping[str, Any]) -> doc.SectionTable:
    counts = (
        ("references fitted again or removed", len(mine.get("baselines") or ())),
        ("reports on raw rows removed", len(mine.get("confirmations") or ())),
        ("windows whose words were withheld", len(mine.get("windows_withheld") or ())),
        ("unrecorded files removed", len(mine.get("unrecorded") or ())),
    )
    return table("Made of the rows", "what text 2.0; how many count 0.8", counts if mine else (), "Nothing yet.")


def _adapters(adapters: Sequence[Mapping[str, Any]]) -> doc.SectionTable:
    rows = ((str(a.get("version")), str(a.get("stage") or ""), a.get("adapter")) for a in adapters)
    return table(
        "Versions that had learned from the rows; weights cannot be searched for a person",
        "version text 0.8; stage text 0.8; adapter digest 0.9", rows, "None.",
    )  # fmt: skip
