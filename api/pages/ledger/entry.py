"""The page of a ledger entry."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse

from api.http.auth import requires
from api.http.deps import MAX_INDEX, ReadDb, SiteDep
from api.http.reach import Reach, require_entry
from api.pages.render import PageRoute, page
from governance.access.roles import Caller, Permission
from governance.ledger.checkpointing import inclusion_proof, latest_checkpoint
from governance.ledger.extends import root_of_note
from governance.ledger.read import ledger_size, stored_bytes
from governance.proof import merkle
from reports import store

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/ledger/{index}")
def entry_page(
    caller: Annotated[Caller, requires(Permission.LEDGER_READ, Reach.LISTED)],
    index: Annotated[int, Path(ge=0, le=MAX_INDEX)],
    site: SiteDep,
    db: ReadDb,
) -> HTMLResponse:
    require_entry(db, caller, index)
    proof = inclusion_proof(db, index)
    entry = store.entry(db, index)
    head = latest_checkpoint(db)
    return page(
        "ledger/entry.html",
        caller=caller,
        entry=entry,
        proof=proof,
        head=head,
        vkey=site.keys.vkey,
        size=ledger_size(db),
        agrees=_agrees(proof, head.note if head is not None and head.size > index else None),
    )


def _agrees(proof: Mapping[str, Any], note: str | None) -> bool:
    """Whether the bytes of the entry are those that the checkpoint signed; without one, those of their leaf hash."""
    leaf = merkle.leaf_hash(stored_bytes(proof["entry"]))
    if note is None:
        return bool(leaf.hex() == proof["leaf"])
    root, path = root_of_note(note), [bytes.fromhex(node) for node in proof["proof"]]
    return root is not None and merkle.verify_inclusion(leaf, proof["index"], proof["size"], path, root)
