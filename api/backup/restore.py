"""Restore a backup into an empty home folder, verified before it is there and after."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from api.backup.copying import CopiedFile, beside, date_file, require_empty
from api.backup.database import DUMP, load_postgres
from api.backup.key_file import put_keys, read_keys
from api.backup.make import Check, settings_of_copy
from api.backup.manifest import MADE, Manifest, check_signature, read_manifest
from core.db_reading import reading
from core.errors import IntegrityFailureError, InvalidError, NotFoundError
from core.settings import Settings
from governance.ledger.checkpointing import latest_checkpoint
from governance.ledger.log_key import documents_key_of_log
from governance.proof.checkpoint import verify_checkpoint
from governance.tables import LedgerHead

_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class BackupRestored:
    """`signer` signed the backup; `trusted` says whether it is a key that the caller named or holds.

    `notes` are what `assay verify` finds against the places outside the home folder: the restored state is older than
    what was signed there.
    """

    home: Path
    signer: str
    trusted: bool
    files: int
    entries: int
    root: str
    keys: bool
    notes: list[str]


def restore_backup(
    settings: Settings, source: Path, *, keys_file: Path | None, trusted: Sequence[str] | None, check: Check
) -> BackupRestored:
    """Restore into `settings.home_dir`, and on PostgreSQL into the empty database of `settings.db.url`.

    Args:
        trusted: public keys of which one must have signed; None takes those in the backup.
        check: what is wrong with an installation, in words.

    Raises:
        InvalidError: the home folder is not empty, a setting points elsewhere, or the source is no backup.
        IntegrityFailureError: a file or the ledger is not as it was backed up; nothing is left behind.
    """
    home = settings.home_dir
    manifest = read_manifest(source)
    _require_places(settings, manifest, home)
    public = _listed_text(source, manifest, "keys/ledger.vkey").strip()
    earlier = _listed_text(source, manifest, "keys/earlier.vkeys", optional=True).split()
    vkeys = list(trusted or [public, *earlier])
    keys = read_keys(keys_file, public) if keys_file is not None else None
    loaded = False
    with beside(home, "home") as staging:
        for file in manifest.files:
            if file.name != DUMP:
                _copy_checked(source / file.name, staging / file.name, file)
        for name in MADE:
            (staging / name).unlink(missing_ok=True)
        copy = settings_of_copy(settings, staging)
        if manifest.database == "postgresql":
            _copy_checked(source / DUMP, staging / DUMP, _entry(manifest, DUMP))
            load_postgres(staging / DUMP, settings.database_url)
            (staging / DUMP).unlink()
            loaded = True
        try:
            signer = _check_ledger(source, manifest, copy, vkeys)
            if found := check(copy):
                raise IntegrityFailureError(f"the backup does not verify: {found[0]}", findings=found)
        except BaseException:
            if loaded:
                _empty(settings.database_url)
            raise
        if keys is not None:
            put_keys(keys, staging)
        staging.chmod(0o700)
    notes = check(settings)
    ledger = manifest.document["ledger"]
    known = trusted is not None or keys is not None
    return BackupRestored(
        home, signer, known, len(manifest.files), ledger["size"], ledger["root"], keys is not None, notes
    )


def _require_places(settings: Settings, manifest: Manifest, home: Path) -> None:
    require_empty(home, "home")
    if not settings.lake_dir.is_relative_to(home):
        raise InvalidError(
            f"lake.uri is {settings.lake_uri}; a lake is restored into its home folder: unset ASSAY_LAKE__URI, and "
            "move the lake afterwards", field="lake.uri",
        )  # fmt: skip
    if manifest.database == "sqlite" and settings.db.url is not None:
        raise InvalidError(
            "the backup has an SQLite database, which is restored into the home folder, and db.url is set; unset "
            "ASSAY_DB__URL", field="db.url",
        )  # fmt: skip
    if manifest.database == "postgresql" and not settings.database_url.startswith("postgresql"):
        raise InvalidError(
            "the backup has a PostgreSQL database; make an empty one and set ASSAY_DB__URL to it", field="db.url"
        )


def _check_ledger(source: Path, manifest: Manifest, copy: Settings, vkeys: list[str]) -> str:
    """Whose signature the manifest bears, once the ledger is at the head that it names and under its checkpoint.

    Raises:
        IntegrityFailureError: it is not.
    """
    ledger = manifest.document["ledger"]
    with reading(copy.database_url) as db:
        head, newest = db.get(LedgerHead, 1), latest_checkpoint(db)
        documents = None if newest is None else documents_key_of_log(db, newest.size)
    if head is None or (head.size, head.root) != (ledger["size"], ledger["root"]):
        raise IntegrityFailureError(
            f"the ledger in the backup is not at the head that {source} names ({ledger['size']} entries)"
        )
    if newest is None or newest.note != ledger["checkpoint"]:
        raise IntegrityFailureError(
            f"the newest checkpoint of the ledger in the backup is not the one that {source} names"
        )
    verify_checkpoint(newest.note, vkeys)
    return check_signature(source, manifest, [*vkeys, *([documents] if documents else ())])


def _entry(manifest: Manifest, name: str) -> CopiedFile:
    found = next((file for file in manifest.files if file.name == name), None)
    if found is None:
        raise IntegrityFailureError(f"the backup lists no {name}; take another one", name=name)
    return found


def _listed_text(source: Path, manifest: Manifest, name: str, *, optional: bool = False) -> str:
    if optional and not any(file.name == name for file in manifest.files):
        return ""
    _entry(manifest, name)
    try:
        return (source / name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise NotFoundError(f"{source / name} cannot be read; take another backup", name=name) from error


def _copy_checked(source: Path, target: Path, listed: CopiedFile) -> None:
    """Copy a file, durably, as the manifest has it.

    Raises:
        IntegrityFailureError: it is gone or was changed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    hasher = hashlib.sha256()
    try:
        given = source.open("rb")
    except OSError as error:
        raise IntegrityFailureError(
            f"{source} cannot be read: {error.strerror}; nothing was restored",
            name=listed.name,
        ) from error
    with given, target.open("wb") as copy:
        while chunk := given.read(_CHUNK):
            hasher.update(chunk)
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    found = "sha256:" + hasher.hexdigest()
    if found != listed.digest:
        raise IntegrityFailureError(
            f"{source} was changed: its digest is {found}, the backup lists {listed.digest}; nothing was restored",
            name=listed.name, digest=found,
        )  # fmt: skip
    date_file(target, listed.modified)


def _empty(url: str) -> None:
    """Take back what was loaded into a database that was empty."""
    from sqlalchemy import MetaData, create_engine

    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            there = MetaData()
            there.reflect(connection)
            there.drop_all(connection)
    finally:
        engine.dispose()
