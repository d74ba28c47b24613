"""Write an audit bundle: a zip that `governance.verify.bundle` checks offline. The layout is written down there."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from core.artifacts import write_durably
from core.canonical import canonical, sha256, timestamp
from core.errors import BusyError, IntegrityFailureError, InvalidError
from governance.proof.note import sign_note
from governance.proof.vkey import NoteSigner
from governance.verify.archive import MAX_BUNDLE_BYTES, member_order
from governance.verify.bundle import verify_bundle_bytes
from governance.verify.findings import Finding
from governance.verify.manifest import CHECKPOINT_NOTE, ENTRIES, FORMAT, MANIFEST, MANIFEST_NOTE, manifest_note_text

_LEDGER_MEDIA_TYPES: Final = {ENTRIES: "application/jsonl", CHECKPOINT_NOTE: "text/plain; charset=utf-8"}


class BundleMemberError(InvalidError):
    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"bundle member {path!r}: {reason}", path=path, reason=reason)
        self.path = path


class BundleRefusedError(IntegrityFailureError):
    """What was about to be written does not verify, so nothing was written."""

    def __init__(self, target: Path, findings: Sequence[Finding]) -> None:
        super().__init__(
            f"bundle {target} was not written, it would not verify: {'; '.join(map(str, findings))}",
            findings=[str(finding) for finding in findings],
        )
        self.findings = tuple(findings)


class BundleNotWrittenError(BusyError):
    def __init__(self, target: Path, reason: str) -> None:
        super().__init__(
            f"bundle {target} could not be written: {reason}; check the folder and the free space", target=str(target)
        )
        self.target = target


def write_bundle(
    target: Path,
    *,
    model: str,
    period: tuple[datetime, datetime],
    report_id: str,
    files: Mapping[str, bytes],
    media_types: Mapping[str, str],
    ledger_lines: Sequence[bytes],
    checkpoint_note: str,
    key: NoteSigner,
    vkey: str,
    created_at: datetime,
    cited: Mapping[str, int],
) -> str:
    """Write the bundle to `target` in one step (temporary file, fsync, rename) and return its digest.

    Args:
        target: zip file to create or replace.
        period: start and end of what the report covers.
        files: content by path inside the bundle; `report.json` must be among them.
        media_types: media type of each path in `files`.
        ledger_lines: exact canonical bytes of all entries up to the checkpoint, in order, without newlines.
        checkpoint_note: checkpoint over exactly these entries, signed by the key `vkey`.
        key: signs the manifest: the ledger's own, or the one that the log names for documents.
        cited: ledger index of the entry that holds a file's digest; `report.json` needs its `report.created` entry.

    Raises:
        BundleMemberError: a path is reserved or has no media type, or a cited path is no file.
        BundleRefusedError: the bundle would not verify; the target is untouched.
        BundleNotWrittenError: the disk refused; the target is untouched.

    The same arguments give the same bytes: the zip is stored, sorted and undated, and Ed25519 is deterministic.
    """
    _check_members(files, media_types, cited)
    content = {
        **files,
        ENTRIES: b"".join(line + b"\n" for line in ledger_lines),
        CHECKPOINT_NOTE: checkpoint_note.encode(),
    }
    types = {**media_types, **_LEDGER_MEDIA_TYPES}
    manifest = canonical(
        {
            "format": FORMAT,
            "created_at": timestamp(created_at),
            "model": model,
            "period": {"from": timestamp(period[0]), "to": timestamp(period[1])},
            "report_id": report_id,
            "files": [_file(path, content[path], types[path], cited.get(path)) for path in sorted(content)],
            "ledger": {"entries": ENTRIES, "checkpoint": CHECKPOINT_NOTE, "vkey": vkey},
        }
    )
    note = sign_note(manifest_note_text(sha256(manifest)), [key])
    data = _archive({MANIFEST: manifest, MANIFEST_NOTE: note.encode(), **content})
    verdict = verify_bundle_bytes(data, [vkey])
    if not verdict.ok:
        raise BundleRefusedError(target, verdict.findings)
    try:
        write_durably(target, data)
    except OSError as error:
        raise BundleNotWrittenError(target, error.strerror or str(error)) from error
    return sha256(data)


def _file(path: str, content: bytes, media_type: str, ledger_index: int | None) -> dict[str, Any]:
    return {
        "path": path,
        "sha256": sha256(content),
        "bytes": len(content),
        "media_type": media_type,
        "ledger_index": ledger_index,
    }


def _check_members(files: Mapping[str, bytes], media_types: Mapping[str, str], cited: Mapping[str, int]) -> None:
    for path in files:
        if path in (MANIFEST, MANIFEST_NOTE, ENTRIES, CHECKPOINT_NOTE):
            raise BundleMemberError(path, "the name is reserved for the bundle's own parts; rename the file")
        if path not in media_types:
            raise BundleMemberError(path, "no media type given")
    for path in cited:
        if path not in files:
            raise BundleMemberError(path, "a ledger entry is cited for it, but it is not among the files")
    total = sum(map(len, files.values()))
    if total > MAX_BUNDLE_BYTES:
        largest = max(files, key=lambda path: len(files[path]))
        raise BundleMemberError(largest, f"the files have {total} bytes, more than {MAX_BUNDLE_BYTES}")


def _archive(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members, key=member_order):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # Unix, on every platform
            info.external_attr = 0o100644 << 16
            archive.writestr(info, members[name])
    return buffer.getvalue()
