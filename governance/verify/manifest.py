"""The manifest of a bundle: its files, their digests, and the part of the ledger that backs them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from core.errors import AppError
from governance.proof.vkey import VerifierKey
from governance.verify.entries import ENTRY_TIME

FORMAT: Final = "assay-bundle/1"
MANIFEST: Final = "manifest.json"
MANIFEST_NOTE: Final = "manifest.note"
ENTRIES: Final = "ledger/entries.jsonl"
CHECKPOINT_NOTE: Final = "ledger/checkpoint.note"
REPORT: Final = "report.json"
MEMBER_PATH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


def manifest_note_text(digest: str) -> str:
    """The text that `manifest.note` signs, given the digest of `manifest.json`."""
    return f"{FORMAT}\n{digest}\n"


def manifest_problems(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(expected, found) for each field of the manifest that violates FORMAT."""
    shape = {"format": str, "created_at": str, "model": str, "period": dict, "report_id": str}
    yield from _shape_problems(manifest, {**shape, "files": list, "ledger": dict}, "manifest")
    if manifest.get("format") != FORMAT:
        yield f"format {FORMAT}", repr(manifest.get("format"))
    period, ledger, files = (manifest.get(name) for name in ("period", "ledger", "files"))
    if isinstance(period, dict):
        yield from _shape_problems(period, {"from": str, "to": str}, "period")
    times = [manifest.get("created_at"), *(period.values() if isinstance(period, dict) else ())]
    yield from (("RFC 3339 UTC", repr(at)) for at in times if not (isinstance(at, str) and ENTRY_TIME.fullmatch(at)))
    if isinstance(ledger, dict):
        yield from _ledger_problems(ledger)
    if isinstance(files, list):
        yield from _files_problems(files)


def _ledger_problems(ledger: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if (set(ledger), ledger.get("entries"), ledger.get("checkpoint")) != (
        {"entries", "checkpoint", "vkey"},
        ENTRIES,
        CHECKPOINT_NOTE,
    ):
        yield f"ledger with entries {ENTRIES}, checkpoint {CHECKPOINT_NOTE} and vkey", repr(dict(ledger))
    try:
        VerifierKey.parse(str(ledger.get("vkey")))
    except AppError as error:
        yield "ledger.vkey, a verifier key", error.message


def _files_problems(files: Sequence[Any]) -> Iterator[tuple[str, str]]:
    shape = {"path": str, "sha256": str, "bytes": int, "media_type": str, "ledger_index": (int, type(None))}
    problems = [problem for file in files for problem in _shape_problems(file, shape, "file")]
    yield from problems
    if problems:
        return
    for file in files:
        if not MEMBER_PATH.fullmatch(file["path"]) or file["path"] in (MANIFEST, MANIFEST_NOTE):
            yield "a relative path of plain names", repr(file["path"])
        if not _DIGEST.fullmatch(file["sha256"]) or file["bytes"] < 0 or (file["ledger_index"] or 0) < 0:
            yield f"digest, size and index of {file['path']}", repr(file)
    paths = [file["path"] for file in files]
    if paths != sorted(set(paths)):
        yield "files sorted by path, each once", ", ".join(paths)
    for path in sorted({ENTRIES, CHECKPOINT_NOTE} - set(paths)):
        yield f"files to list {path}", "not listed"


def _shape_problems(value: Any, shape: Mapping[str, Any], name: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict) or set(value) != set(shape):
        fields = sorted(value) if isinstance(value, dict) else repr(value)
        yield f"{name} with {', '.join(sorted(shape))}", str(fields)
        return
    for key, kind in shape.items():
        if not isinstance(value[key], kind) or isinstance(value[key], bool):
            yield f"{name}.{key} of another type", repr(value[key])
