"""Routes of the ledger: checkpoint, entries and proofs, for independent verification."""

import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse
from pydantic import Field

from api.http.auth import requires
from api.http.deps import MAX_INDEX, In, Out, Page, ReadDb, SiteDep
from api.http.reach import Reach, require_entry, seen_subjects
from api.processes.anchor_watch import unsigned_since
from core.errors import InvalidError, NotFoundError
from governance.access.roles import Caller, Permission
from governance.anchors.deliver import standings
from governance.anchors.kinds import kind_of
from governance.ledger.checkpointing import consistency_proof, inclusion_proof, latest_checkpoint
from governance.ledger.keys import earlier_vkeys
from governance.ledger.log_key import revoked_keys
from governance.ledger.read import ledger_rows, ledger_size

router = APIRouter(prefix="/api/v1/ledger", tags=["ledger"])
Reader = Annotated[Caller, requires(Permission.LEDGER_READ, Reach.SERVICE)]
Lister = Annotated[Caller, requires(Permission.LEDGER_READ, Reach.LISTED)]


class EntryQuery(In):
    first: int = Field(0, ge=0, le=MAX_INDEX)
    limit: int = Field(100, ge=1, le=1000)
    kind: str | None = None
    subject: str | None = None


class EntryOut(Out):
    """A parsed entry, with the exact bytes that its leaf hashes."""

    index: int
    at: str
    kind: str
    actor: str
    subject: str
    body: dict[str, Any]
    leaf: str
    entry: str


class RevokedOut(Out):
    """An earlier key that counts as compromised from an entry on: what it signed of that and later ones proves nothing.

    `at`: when that was declared.
    """

    vkey: str
    from_entry: int
    at: str


class KeyOut(Out):
    """The public key that signs the ledger, and those that signed it before. Verifiers keep it: `--key`."""

    origin: str
    vkey: str
    earlier: list[str]
    documents: str  # signs bundles and champions: the same key, unless a signer process signs checkpoints alone
    revoked: list[RevokedOut]


class NoCheckpointError(NotFoundError):
    code = "no_checkpoint"


@router.get("/checkpoint", response_class=PlainTextResponse)
def checkpoint(_: Reader, db: ReadDb) -> PlainTextResponse:
    """The newest signed checkpoint, a signed note."""
    newest = latest_checkpoint(db)
    if newest is None:
        raise NoCheckpointError("the ledger has not been checkpointed yet; the scheduler does so once it has grown")
    return PlainTextResponse(newest.note)


@router.get("/key")
def public_key(_: Reader, site: SiteDep, db: ReadDb) -> KeyOut:
    """The public key of this installation, to be kept apart from its bundles; `assay verify BUNDLE --key`."""
    keys = site.keys
    return KeyOut(
        origin=keys.signing.name, vkey=keys.vkey, earlier=earlier_vkeys(site.settings.home_dir),
        documents=keys.documents.vkey, revoked=[RevokedOut(**one) for one in revoked_keys(db)],
    )  # fmt: skip


class AnchorOut(Out):
    """How an anchor stands: the last checkpoint that it took, those that wait, and since when and why it fails."""

    name: str
    kind: str
    size: int | None
    taken_at: datetime | None
    waiting: int
    failing_since: datetime | None
    error: str | None


class StatusOut(Out):
    """`unsigned`: entries that no checkpoint covers yet, the first of them added at `unsigned_since`."""

    entries: int
    signed: int
    signed_at: datetime | None
    unsigned: int
    unsigned_since: datetime | None
    signer: str
    anchors: list[AnchorOut]


@router.get("/status")
def status(_: Reader, site: SiteDep, db: ReadDb) -> StatusOut:
    """How far the ledger is signed, and how its anchors stand."""
    newest, size = latest_checkpoint(db), ledger_size(db)
    signed = 0 if newest is None else newest.size
    urls = site.settings.anchors
    anchors = [
        AnchorOut(
            name=s.name, kind=kind_of(urls[s.name].get_secret_value()), size=s.size, taken_at=s.at, waiting=s.waiting,
            failing_since=s.failing_since, error=s.error,
        )
        for s in standings(db, list(urls))
    ]  # fmt: skip
    return StatusOut(
        entries=size, signed=signed, signed_at=None if newest is None else newest.at, unsigned=max(0, size - signed),
        unsigned_since=unsigned_since(db), signer=site.settings.signer.kind, anchors=anchors,
    )  # fmt: skip


@router.get("/entries")
def entries(caller: Lister, query: Annotated[EntryQuery, Query()], db: ReadDb) -> Page[EntryOut]:
    """Entries in order from `first` on; `next` is the `first` of the following part.

    Callers of some models get the entries about those models, their runs, waiting changes and erasures.
    """
    rows = ledger_rows(
        db, first=query.first, limit=query.limit, kind=query.kind, subject=query.subject,
        subjects=seen_subjects(db, caller),
    )  # fmt: skip
    items = [EntryOut(**json.loads(row.entry), leaf=row.leaf, entry=row.entry) for row in rows]
    return Page[EntryOut].of(items, str(rows[-1].index + 1) if len(rows) == query.limit else None)


@router.get("/proof/inclusion")
def inclusion(
    caller: Lister,
    db: ReadDb,
    index: Annotated[int, Query(ge=0, le=MAX_INDEX)],
    size: Annotated[int | None, Query(ge=1, le=MAX_INDEX)] = None,
) -> dict[str, Any]:
    """Inclusion proof of one entry in the tree of the given size, by default that of the newest checkpoint."""
    _within(db, size)
    if size is not None and index >= size:
        raise InvalidError(
            f"entry {index} is not in the tree of size {size}; ask for a larger size", field="size", value=size
        )
    require_entry(db, caller, index)
    return inclusion_proof(db, index, size)


@router.get("/proof/consistency")
def consistency(
    _: Reader,
    db: ReadDb,
    first: Annotated[int, Query(ge=1, le=MAX_INDEX)],
    second: Annotated[int, Query(ge=1, le=MAX_INDEX)],
) -> dict[str, Any]:
    """Proof that the tree of size `second` extends the one of size `first`."""
    _within(db, second)
    if first > second:
        raise InvalidError(
            f"first ({first}) is larger than second ({second}); give the older size first", field="first", value=first
        )
    return consistency_proof(db, first, second)


def _within(db: ReadDb, size: int | None) -> None:
    grown = ledger_size(db)
    if size is not None and size > grown:
        raise InvalidError(
            f"the ledger has {grown} entries, so there is no tree of size {size}", field="size", value=size
        )
