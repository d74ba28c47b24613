"""The checkpoints of the ledger: what each signs, who else holds it, that one extends another, and the public key."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.http.auth import requires
from api.http.deps import MAX_INDEX, ReadDb, SiteDep
from api.http.reach import Reach
from api.pages.listing import Listing
from api.pages.render import PageRoute, page
from core.errors import InvalidError
from governance.access.roles import Caller, Permission
from governance.anchors.deliver import standings
from governance.anchors.kinds import kind_of
from governance.ledger.checkpointing import consistency_proof, latest_checkpoint
from governance.ledger.keys import earlier_vkeys
from governance.ledger.log_key import revoked_keys
from governance.ledger.read import ledger_size
from governance.ledger.witnessing import Witness, read_asked
from governance.policy.holds import holds
from governance.tables import LedgerCheckpoint
from monitor.site import Site

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.LEDGER_READ, Reach.SERVICE)]
Size = Annotated[int | None, Query(ge=1, le=MAX_INDEX)]
CHECKPOINTS: Final = Listing(sorts=("size",), default="-size", kept=("first", "second"))
SIGNED_BY: Final = "\u2014 "  # begins each line of a note with a signature


@router.get("/ledger/checkpoints")
def checkpoints_page(
    caller: Reader, request: Request, site: SiteDep, db: ReadDb, first: Size = None, second: Size = None
) -> HTMLResponse:
    asked = CHECKPOINTS.asked(request)
    total = db.scalar(select(func.count()).select_from(LedgerCheckpoint)) or 0
    order = asked.order({"size": LedgerCheckpoint.size.expression})
    rows = db.scalars(select(LedgerCheckpoint).order_by(*order).offset(asked.offset).limit(asked.limit)).all()
    proof = None if first is None and second is None else _proof(db, first, second)
    return page(
        "ledger/checkpoints.html", caller=caller, head=latest_checkpoint(db), size=ledger_size(db), proof=proof,
        listed=asked.listed([_shown(row) for row in rows], total), first=first, second=second,
        anchors=_anchors(site, db), vkey=site.keys.vkey, origin=site.keys.signing.name,
        earlier=earlier_vkeys(site.settings.home_dir), revoked=revoked_keys(db),
        holds=[hold for hold in holds(db) if caller.sees(hold.model)],
        witnesses=_witnesses(site),
    )  # fmt: skip


def _shown(row: LedgerCheckpoint) -> dict[str, Any]:
    """A checkpoint with the names of those that signed its note."""
    signed = [line.split(" ") for line in row.note.split("\n") if line.startswith(SIGNED_BY)]
    signers = [parts[1] for parts in signed if len(parts) > 2]
    return {"size": row.size, "root": row.root, "at": row.at, "signers": signers, "note": row.note}


def _anchors(site: Site, db: Session) -> list[dict[str, Any]]:
    urls = site.settings.anchors
    return [
        {"name": s.name, "kind": kind_of(urls[s.name].get_secret_value()), "size": s.size, "at": s.at,
         "waiting": s.waiting, "failing_since": s.failing_since}
        for s in standings(db, list(urls))
    ]  # fmt: skip


def _witnesses(site: Site) -> list[dict[str, Any]]:
    """Each configured witness, and the newest checkpoint that it cosigned."""
    found = []
    for witness in map(Witness.parse, site.settings.ledger.witnesses):
        known = read_asked(site.settings.home_dir, witness)
        found.append({"name": witness.key.label, "size": known.size, "problem": known.problem, "forked": known.forked})
    return found


def _proof(db: Session, first: int | None, second: int | None) -> dict[str, Any]:
    """That the log of the second size extends that of the first.

    Raises:
        InvalidError: a size is missing, larger than the log, or the first is the larger one.
    """
    grown = ledger_size(db)
    for name, value in (("first", first), ("second", second)):
        if value is None:
            raise InvalidError(f"{name} is missing; give the sizes of two checkpoints", field=name)
        if value > grown:
            raise InvalidError(
                f"{name} is {value}; the ledger has {grown} entries, so there is no tree of that size", field=name,
                value=value,
            )  # fmt: skip
    assert first is not None and second is not None  # noqa: PT018
    if first > second:
        raise InvalidError(
            f"first ({first}) is larger than second ({second}); give the older size first", field="first"
        )
    return consistency_proof(db, first, second)
