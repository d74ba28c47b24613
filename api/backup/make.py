"""Make a backup of an installation, running or not.

The order matters. The database comes first, then the write-ahead logs, then the lake: a row that was acknowledged
before is in a log or, if it was flushed while the logs were copied, in the table that is copied after them. Both hold
it, and the table's own mark of how far each log was flushed keeps it from being stored twice. A lake that is newer than
its database is what a restored database is always met with; the newer rows are judged after the restore.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, SecretStr
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from api.backup.copying import BackupFailedError, Copier, beside
from api.backup.database import DUMP, SQLITE, copy_sqlite, dump_postgres
from api.backup.key_file import write_keys
from api.backup.lake import copy_lake
from api.backup.manifest import SETTINGS, is_secret, write_manifest
from core.artifacts import UNFINISHED
from core.clock import Clock
from core.db import Database
from core.db_reading import reading
from core.errors import InvalidError
from core.settings import DbSettings, LakeSettings, Settings
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.ledger.checkpointing import issue_checkpoint, latest_checkpoint
from governance.ledger.extends import NOTES, places_of
from governance.ledger.keys import Keys, earlier_vkeys, load_or_create
from governance.tables import LedgerHead
from monitor.events import wal_records

KIND: Final = "backup.made"
Check = Callable[[Settings], list[str]]  # what `assay verify` finds wrong, in words
_OWN_WAY: Final = ("lake", "wal", "locks", "anchor")  # copied otherwise, or of running processes alone


@dataclass(frozen=True)
class BackupMade:
    """What was copied. `entry` is the ledger entry about it, which the backup itself does not hold."""

    place: Path
    digest: str
    files: int
    size: int  # bytes
    entries: int
    root: str
    left_out: list[str]
    entry: int


def make_backup(
    settings: Settings, database: Database, place: Path, *, keys_file: Path | None, check: Check, clock: Clock
) -> BackupMade:
    """Copy an installation into a new folder, verified, and record it in the ledger.

    Args:
        keys_file: where the private keys are written, apart; None leaves them out.

    Raises:
        InvalidError: a place cannot be used, or a program that is needed is missing.
        BackupFailedError: the disk is full, or what was copied does not verify; nothing is left behind.
        IntegrityFailureError: the ledger may not be signed.
    """
    _require_apart(settings, place, keys_file)
    keys = load_or_create(settings.home_dir, settings.ledger.origin, settings.signer)
    with database.write() as db:
        issue_checkpoint(
            db, key=keys.signing, places=places_of(settings), now=clock.now(), earlier=earlier_vkeys(settings.home_dir)
        )
    written = False
    try:
        with beside(place, "destination") as staging:
            if keys_file is not None:
                write_keys(settings.home_dir, keys_file)
                written = True
            copier = Copier(staging)
            facts, left_out = _copy_all(settings, copier, check)
            digest = write_manifest(staging, copier.files.values(), facts, keys.documents, clock.now())
    except BaseException:
        if written and keys_file is not None:
            keys_file.unlink(missing_ok=True)
        raise
    entry = _record(database, digest, facts, copier, keys, keys_file is not None, clock)
    size = sum(f.size for f in copier.files.values())
    ledger = facts["ledger"]
    return BackupMade(place, digest, len(copier.files), size, ledger["size"], ledger["root"], left_out, entry)


def _require_apart(settings: Settings, place: Path, keys_file: Path | None) -> None:
    at = place.expanduser().resolve()
    for name, folder in (("home", settings.home_dir), ("lake", settings.lake_dir.resolve())):
        if at.is_relative_to(folder) or folder.is_relative_to(at):
            raise InvalidError(
                f"destination {place} lies in the {name} folder {folder}, or around it; choose another, best on "
                "another disk", field="destination", value=str(place),
            )  # fmt: skip
    if keys_file is not None and keys_file.expanduser().resolve().is_relative_to(at):
        raise InvalidError(
            f"--with-keys {keys_file} lies in the backup; keep keys apart from what they sign", field="with_keys",
            value=str(keys_file),
        )  # fmt: skip


def _copy_all(settings: Settings, copier: Copier, check: Check) -> tuple[dict[str, Any], list[str]]:
    home = settings.home_dir
    head = _copy_database(settings.database_url, copier)
    _copy_logs(home / "wal", copier)
    lake = copy_lake(settings.lake_dir, copier)
    left_out = _copy_rest(settings, copier)
    for note in sorted(settings.anchor_dir.glob(NOTES)):
        copier.copy(note, f"anchor/{note.name}")
    kept, secrets = plain_settings(settings)
    copier.write(SETTINGS, (json.dumps(kept, indent=1, sort_keys=True) + "\n").encode())
    kind = "sqlite" if settings.database_url.startswith("sqlite") else "postgresql"
    if kind == "sqlite" and (found := check(settings_of_copy(settings, copier.root))):
        raise BackupFailedError(
            f"the copy does not verify, and was not kept: {found[0]}. Run `assay verify --lake`; if that finds "
            "nothing, the installation was rewritten meanwhile: try again", findings=found,
        )  # fmt: skip
    facts = {
        "release": _release(), "database": kind, "ledger": head, "lake": lake, "settings_left_out": secrets,
        "left_out": left_out,
    }  # fmt: skip
    return facts, left_out


def _copy_database(url: str, copier: Copier) -> dict[str, Any]:
    """Copy the database; returns the head of the ledger in the copy, with the newest signed checkpoint."""
    if url.startswith("sqlite"):
        target = copier.root / SQLITE
        copy_sqlite(Path(make_url(url).database or ""), target)
        copier.note(SQLITE)
        with reading(f"sqlite:///{target}") as db:
            return _head_of(db)
    engine = create_engine(url, isolation_level="REPEATABLE READ")
    try:
        with Session(engine) as db:
            found = _head_of(db)
            dump_postgres(url, copier.root / DUMP, str(db.scalar(text("select pg_export_snapshot()"))))
        copier.note(DUMP)
        return found
    finally:
        engine.dispose()


def _head_of(db: Session) -> dict[str, Any]:
    head, newest = db.get_one(LedgerHead, 1), latest_checkpoint(db)
    return {"size": head.size, "root": head.root, "checkpoint": newest.note if newest else None}


def _copy_logs(folder: Path, copier: Copier) -> None:
    """Copy the write-ahead logs. A segment that is gone was flushed: its rows are in the tables, copied after this."""
    for log in sorted(folder.glob("[!.]*")):
        for segment in wal_records.segments(log):
            copier.copy(segment, f"wal/{log.name}/{segment.name}")


def _copy_rest(settings: Settings, copier: Copier) -> list[str]:
    """Copy everything else in the home folder; returns what was left out because it may hold a secret, or is no file.

    Artifacts come after the database, so that whatever it names is there.
    """
    home, left_out = settings.home_dir, list[str]()
    named = (settings.signer.pin_file, settings.signer.token_file, settings.last_seen_file)
    outside = {path.expanduser().resolve() for path in named if path is not None}
    for top in sorted(home.iterdir()):
        if top.name in _OWN_WAY or top.name.startswith((SQLITE, UNFINISHED)) or top.name.endswith(".lock"):
            continue
        for folder, folders, files in os.walk(top) if top.is_dir() else [(str(home), [], [top.name])]:
            folders[:] = [name for name in sorted(folders) if not name.startswith(UNFINISHED)]
            left_out += [
                str(Path(folder, name).relative_to(home)) for name in folders if Path(folder, name).is_symlink()
            ]
            for path in (Path(folder, name) for name in sorted(files) if not name.startswith(UNFINISHED)):
                name = path.relative_to(home).as_posix()
                if is_secret(name) or path.resolve() in outside or not path.is_file():
                    left_out.append(name)
                else:
                    copier.copy(path, name)
    return left_out


def settings_of_copy(settings: Settings, home: Path) -> Settings:
    """The settings under which a copy is verified: with the anchor that lies in it and no place outside."""
    ledger = settings.ledger.model_copy(update={"anchor": None, "last_seen": None})
    plain: dict[str, Any] = {"home": home, "ledger": ledger, "lake": LakeSettings(), "anchors": {}}
    if settings.database_url.startswith("sqlite"):
        plain["db"] = DbSettings()
    return settings.model_copy(update=plain)


def plain_settings(settings: BaseModel, prefix: str = "") -> tuple[dict[str, Any], list[str]]:
    """Settings by name without any secret value, and the names of the secrets that were set."""
    kept: dict[str, Any] = {}
    secrets: list[str] = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            kept[name], below = plain_settings(value, f"{prefix}{name}.")
            secrets += below
        elif isinstance(value, SecretStr):
            secrets.append(f"{prefix}{name}")
        elif isinstance(value, dict) and any(isinstance(v, SecretStr) for v in value.values()):
            secrets += [f"{prefix}{name}.{key}" for key in value]
        elif isinstance(value, dict) and any(isinstance(v, BaseModel) for v in value.values()):
            kept[name] = {key: v.model_dump(mode="json") for key, v in value.items()}
        else:
            kept[name] = json.loads(json.dumps(value, default=str))
    return kept, secrets


def _release() -> str | None:
    try:
        return version("assay")
    except PackageNotFoundError:
        return None


def _record(
    database: Database, digest: str, facts: dict[str, Any], copier: Copier, keys: Keys, with_keys: bool, clock: Clock
) -> int:
    ledger = facts["ledger"]
    body = {
        "manifest": digest, "entries": ledger["size"], "root": ledger["root"], "files": len(copier.files),
        "bytes": sum(f.size for f in copier.files.values()), "keys": with_keys, "key": keys.documents.vkey,
    }  # fmt: skip
    with database.write() as db:
        return append_entry(db, kind=KIND, actor=SYSTEM_ACTOR, subject="ledger", body=body, at=clock.now())
