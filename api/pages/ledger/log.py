"""The ledger: how far it is signed, its entries searched, and verified now."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import Db, ReadDb, SiteDep
from api.http.reach import Reach, seen_subjects
from api.pages.listing import Filter, Listing
from api.pages.render import PageRoute, page
from api.processes.anchor_watch import unsigned_since
from core import queue
from core.errors import InvalidError
from core.jobs import LedgerCheckJob
from core.queue import Job
from governance.access.roles import Caller, Permission
from governance.ledger.checkpointing import latest_checkpoint
from governance.ledger.checks import ask_check, checks
from governance.ledger.find import EntrySearch, entry_kinds, find_entries
from governance.ledger.read import ledger_size

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.LEDGER_READ, Reach.LISTED)]
Verifier = Annotated[Caller, requires(Permission.LEDGER_READ, Reach.ALL)]
BRIEF: Final = 3  # parts of an entry that the list shows
_ID: Final = re.compile(r"\b([0-9a-f]{8})(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")  # shown by its first eight digits


@router.get("/ledger")
def log_page(caller: Reader, request: Request, site: SiteDep, db: ReadDb) -> HTMLResponse:
    listing = Listing(
        filters=(
            Filter("kind", "Kind", "choice", tuple((kind, kind) for kind in entry_kinds(db))),
            Filter("subject", "About"), Filter("actor", "Who"), Filter("text", "Text or digest"),
            Filter("since", "From", "time"), Filter("until", "Before", "time"),
        ),
        sorts=("index",), default="-index", by_cursor=True,
    )  # fmt: skip
    asked = listing.asked(request)
    wanted = EntrySearch(**{name: asked.get(name) for name in ("kind", "subject", "actor", "text", "since", "until")})
    before = None if asked.cursor is None else _index(asked.cursor)
    found = find_entries(db, wanted, before=before, limit=asked.limit, subjects=seen_subjects(db, caller))
    following = None if found.next is None else str(found.next)
    newest, size = latest_checkpoint(db), ledger_size(db)
    rows = [
        entry | {"brief": _brief(entry["body"]), "about": _ID.sub(r"\1", entry["subject"])} for entry in found.entries
    ]
    asked_for = checks(db) if caller.models is None else []
    return page(
        "ledger/log.html", caller=caller, listed=asked.listed(rows, next_cursor=following), found=found, size=size,
        job=_job(db) if asked_for else None, head=newest, unsigned_since=unsigned_since(db), checks=asked_for,
        last=next((one for one in asked_for if one.ended_at is not None), None), vkey=site.keys.vkey,
        origin=site.keys.signing.name,
    )  # fmt: skip


@router.post("/ledger/verify")
def verify_now(caller: Verifier, site: SiteDep, db: Db) -> RedirectResponse:
    """Queue a verification; one that waits or runs already is shown instead."""
    now = site.clock.now()
    row, new = ask_check(db, actor=caller.name, now=now)
    if new:
        key = LedgerCheckJob.name
        queue.enqueue(db, LedgerCheckJob(check_id=row.id), now=now, dedupe_key=f"{key}:{row.id}", lock_key=key)
    return RedirectResponse("/ledger#verified", 303)


def _job(db: Session) -> UUID | None:
    """The verification that waits or runs, which the page follows."""
    under_way = select(Job.id).where(Job.name == LedgerCheckJob.name, Job.state.in_(("queued", "running")))
    return db.scalar(under_way.limit(1))


def _index(cursor: str) -> int:
    if cursor.isascii() and cursor.isdecimal() and len(cursor) < 10:
        return int(cursor)
    raise InvalidError(
        f"cursor is {cursor[:40]!r}; take the one of the page before, or leave it out",
        field="cursor",
        value=cursor[:200],
    )


def _brief(body: Mapping[str, Any]) -> str:
    """The first parts of an entry that are plain values."""
    plain = [(key, value) for key, value in body.items() if isinstance(value, str | int | float) and value != ""]
    parts = [f"{key.replace('_', ' ')} {_short(value)}" for key, value in plain[:BRIEF]]
    return ", ".join(parts)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    text = text.removeprefix("sha256:")[:12] if text.startswith("sha256:") else _ID.sub(r"\1", text)
    return text if len(text) <= 60 else f"{text[:60]}…"
