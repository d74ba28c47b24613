"""Notice at the start that a home folder was moved, or copied beside its original; a copy gets an origin of its own.

`installation.json` in the home folder says where the installation was last started. It is the only file there that
holds a path, and moving the folder is allowed: the new place is recorded and everything else goes on.
"""

import fcntl
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.artifacts import write_durably
from core.db import Database
from core.errors import AppError, InvalidError
from core.settings_ledger import LedgerSettings, beside_home
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.ledger.checkpointing import provable_root
from governance.ledger.extends import NOTES, Places
from governance.ledger.head import lock_head
from governance.ledger.keys import earlier_vkeys, next_origin, replace_signing
from governance.ledger.last_seen import read_if_readable, set_aside, write_last_seen
from governance.ledger.signers.file import read_key
from governance.proof.checkpoint import sign_checkpoint
from governance.proof.note import open_note
from governance.proof.vkey import SigningKey
from governance.tables import LedgerCheckpoint
from governance.verify.origins import CONTINUES, ORIGIN_KIND

FILE: Final = "installation.json"
SUBJECT: Final = "ledger"


def settle(home: Path, database: Database, *, ledger: LedgerSettings, places: Places, now: datetime) -> None:
    """Compare the place of a home folder, whose database lies in it, with where it was last started.

    Copied means: it lies elsewhere, and where it lay there is still the same installation. Two that cannot see each
    other, on two machines, cannot be told from one that was moved. The last-seen file that lay beside a home folder
    moves with it.

    Args:
        ledger: as it is set; a copy may be given its new origin by it, and must not use the places of its original.

    Raises:
        InvalidError: this is a copy, and its anchor or its last-seen file is that of the original.
        IntegrityFailureError: this is a copy, and its ledger was changed.
    """
    with _held(home):
        known = _read(home / FILE)
        if known is None:
            _write(home, secrets.token_hex(16))
            return
        before = Path(known["path"])
        if before == home:
            return
        try:
            original = _read(before / FILE)
            if original == known and before.samefile(home):
                return  # the same folder under another name
        except PermissionError:  # a new origin without need is a smaller harm than two logs of one name
            original = known
        if original == known:
            _continue_as_copy(home, database, ledger=ledger, places=places, now=now)
            _write(home, secrets.token_hex(16))
            return
        if ledger.last_seen is None:
            _take_along(beside_home(before), places.last_seen, home)
        with database.write() as db:
            append_entry(db, kind="home.moved", actor=SYSTEM_ACTOR, subject=SUBJECT, at=now, body={})
        _write(home, known["id"])


def _take_along(old: Path, new: Path | None, home: Path) -> None:
    """Move the last-seen file of this installation, and of no other, beside the new place."""
    note = read_if_readable(old)
    if note is None or new is None or new.exists():
        return
    with suppress(AppError):
        open_note(note, published_keys(home))
        if write_last_seen(new, note):
            with suppress(OSError):
                old.unlink()


def published_keys(home: Path) -> list[str]:
    """The public keys that sign, or signed, the ledger of a home folder."""
    public = home / "keys" / "ledger.vkey"
    return [*(public.read_text().split() if public.exists() else ()), *earlier_vkeys(home)]


def _continue_as_copy(home: Path, database: Database, *, ledger: LedgerSettings, places: Places, now: datetime) -> None:
    """Sign a last checkpoint under the old key, which names a new one, and go on with that."""
    anchor = places.anchor if ledger.anchor else None
    if anchor is not None and any(anchor.glob(NOTES)):
        raise InvalidError(
            f"this home folder is a copy, and ledger.anchor {anchor} holds the checkpoints of its original; set "
            "ASSAY_LEDGER__ANCHOR to an empty folder for the copy",
            field="ledger.anchor", value=str(anchor),
        )  # fmt: skip
    if ledger.last_seen and places.last_seen and places.last_seen.exists():
        raise InvalidError(
            f"this home folder is a copy, and ledger.last_seen {places.last_seen} is the file of its original; set "
            "ASSAY_LEDGER__LAST_SEEN to another file for the copy",
            field="ledger.last_seen", value=str(places.last_seen),
        )  # fmt: skip
    if not (home / "keys" / "ledger.key").exists():
        raise InvalidError(
            "this home folder is a copy without the key of its original. If a backup left it out, restore it with "
            "--keys FILE. If it lies in a token or a signer process, it signs for one of them alone: verify the copy "
            "with `assay verify`, or start the original", field="home", value=str(home),
        )  # fmt: skip
    old = read_key(home / "keys" / "ledger.key")
    new = SigningKey.generate(next_origin(old.name, ledger.origin))
    # If the process dies after this, the next start adds another entry: a key that is never used does no harm.
    with database.write() as db:
        head = lock_head(db)
        size, own = head.row.size, replace(places, last_seen=None)  # one that lies beside the copy is of no copy yet
        root = provable_root(db, head, size, own, [old.vkey, *earlier_vkeys(home)], whole=True)
        note = sign_checkpoint(old, old.name, size, root, now, extensions=(f"{CONTINUES}{new.vkey}",))
        body = {"before": old.vkey, "after": new.vkey, "checkpoint": note}
        append_entry(db, kind=ORIGIN_KIND, actor=SYSTEM_ACTOR, subject=SUBJECT, at=now, body=body)
        if anchor is not None:
            _copy_notes(db, anchor)
    replace_signing(home, old, new)
    if places.last_seen is not None and places.last_seen.exists():
        set_aside(places.last_seen)  # of an installation that lay here before


def _copy_notes(db: Session, anchor: Path) -> None:
    for row in db.scalars(select(LedgerCheckpoint)):
        write_durably(anchor / f"checkpoint-{row.size:012d}.note", row.note.encode())


@contextmanager
def _held(home: Path) -> Iterator[None]:
    """One process at a time settles a home; `assay serve` starts two."""
    with (home / ".installation.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return document if isinstance(document, dict) and {"id", "path"} <= document.keys() else None


def _write(home: Path, identity: str) -> None:
    write_durably(home / FILE, (json.dumps({"id": identity, "path": str(home)}) + "\n").encode())
