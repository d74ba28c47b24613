"""What a backup says about itself: `backup.json`, and `backup.note`, which signs its digest."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

from api.backup.copying import CopiedFile
from core.artifacts import content_digest
from core.canonical import canonical
from core.errors import IntegrityFailureError, InvalidError
from governance.ledger.signers.file import EARLIER
from governance.proof.note import open_note, sign_note
from governance.proof.vkey import NoteSigner

FORMAT: Final = "assay-backup/1"
MANIFEST: Final = "backup.json"
NOTE: Final = "backup.note"
SETTINGS: Final = "settings.json"
MADE: Final = frozenset({MANIFEST, NOTE, SETTINGS})  # of the backup itself; not restored
PUBLIC_KEYS: Final = ("ledger.vkey", EARLIER)


@dataclass(frozen=True)
class Manifest:
    """The content of `backup.json`, checked for its form."""

    document: Mapping[str, Any]
    digest: str
    files: tuple[CopiedFile, ...]

    @property
    def database(self) -> str:
        """`sqlite` or `postgresql`."""
        return str(self.document["database"])


def write_manifest(
    root: Path, files: Iterable[CopiedFile], facts: Mapping[str, Any], key: NoteSigner, now: datetime
) -> str:
    """Write and sign the manifest of the files in `root`; returns its digest."""
    listed = [
        {"name": f.name, "size": f.size, "digest": f.digest, "modified": f.modified}
        for f in sorted(files, key=lambda f: f.name)
    ]
    content = canonical({"format": FORMAT, "created_at": now, "files": listed, **facts}) + b"\n"
    digest = content_digest(content)
    (root / MANIFEST).write_bytes(content)
    (root / NOTE).write_text(sign_note(_signed(digest), [key]))
    return digest


def read_manifest(folder: Path) -> Manifest:
    """
    Raises:
        InvalidError: the folder is no backup, or of a later release.
        IntegrityFailureError: the manifest is damaged, or names files outside the backup.
    """
    if not (folder / MANIFEST).is_file():
        raise InvalidError(f"{folder} is no backup: it has no {MANIFEST}", field="source", value=str(folder))
    content = (folder / MANIFEST).read_bytes()
    try:
        document = json.loads(content)
        if document["format"] != FORMAT:
            raise InvalidError(
                f"{folder} is of the format {document['format']!r}, this release reads {FORMAT}", field="source"
            )
        files = tuple(CopiedFile(f["name"], int(f["size"]), f["digest"], int(f["modified"])) for f in document["files"])
        names = [_checked(file.name) for file in files]
        if len(set(names)) != len(names) or document["database"] not in ("sqlite", "postgresql"):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityFailureError(
            f"{folder / MANIFEST} is damaged; take another backup", path=str(folder / MANIFEST)
        ) from error
    return Manifest(document, content_digest(content), files)


def check_signature(folder: Path, manifest: Manifest, vkeys: Sequence[str]) -> str:
    """Which key signed the manifest.

    Raises:
        IntegrityFailureError: none of these keys did, or it signed another.
    """
    try:
        note = open_note((folder / NOTE).read_text(), vkeys)
    except (OSError, UnicodeDecodeError) as error:
        raise IntegrityFailureError(f"{folder / NOTE} cannot be read; take another backup") from error
    if note.text != _signed(manifest.digest):
        raise IntegrityFailureError(
            f"{folder / MANIFEST} was changed: its digest is {manifest.digest}, and another one was signed",
            digest=manifest.digest,
        )
    return note.signers[0]


def is_secret(name: str) -> bool:
    """Whether a file of a home folder may hold a secret, by its name: keys, and variables with passwords."""
    path = PurePosixPath(name)
    inside_keys = path.parts[0] == "keys" and not (len(path.parts) == 2 and path.name in PUBLIC_KEYS)
    return inside_keys or path.suffix in {".key", ".pem", ".p12", ".pfx"} or path.name.startswith(".env")


def _checked(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path.as_posix() != name or "\\" in name or is_secret(name):
        raise ValueError(name)
    return name


def _signed(digest: str) -> str:
    return f"{FORMAT}\n{digest}\n"
