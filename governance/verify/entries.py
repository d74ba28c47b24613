"""Check one ledger entry from its bytes."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from core.canonical import canonical
from core.errors import AppError
from governance.proof import merkle
from governance.verify.checkpoints import open_checkpoint
from governance.verify.findings import EntryVerdict, Facts, Finding, facts_of

ENTRY_FIELDS: Final = {"index": int, "at": str, "kind": str, "actor": str, "subject": str, "body": dict}
ENTRY_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)


class _NotQuickError(ValueError):
    """The value needs the whole of RFC 8785."""


def _not_quick(_: str) -> Any:
    raise _NotQuickError


_DECODER: Final = json.JSONDecoder(parse_float=_not_quick, parse_constant=_not_quick)
_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_LONG_NUMBER: Final = re.compile(rb"[0-9]{16}")
_BEYOND_BMP: Final = re.compile(rb"[\xf0-\xf4]")


def _quick(raw: bytes) -> dict[str, Any] | None:
    """The object, if Python's own encoder spells it in these bytes and is known to do as RFC 8785 does.

    They agree but for numbers that are no small integers, and for the order of names beyond the basic plane.
    """
    if _LONG_NUMBER.search(raw) or (not raw.isascii() and _BEYOND_BMP.search(raw)):
        return None
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
        return value if isinstance(value, dict) and _ENCODER.encode(value).encode() == raw else None
    except (ValueError, RecursionError):
        return None


def canonical_object(raw: bytes) -> tuple[dict[str, Any] | None, str]:
    """The JSON object whose canonical form is exactly these bytes, or None and the reason."""

    quick = _quick(raw)
    if quick is not None:
        return quick, ""

    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("a name is given twice")
        return dict(pairs)

    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=no_duplicates)
        if not isinstance(value, dict):
            return None, f"a JSON {type(value).__name__}"
        spelled = canonical(value)
    except (ValueError, RecursionError, AppError) as error:
        return None, f"no canonical JSON ({error})"
    if spelled != raw:
        at = next(
            (i for i, (a, b) in enumerate(zip(raw, spelled, strict=False)) if a != b), min(len(raw), len(spelled))
        )
        return None, f"another spelling of the same JSON (first differs at byte {at})"
    return value, ""


def entry_findings(line: bytes, index: int, where: str) -> tuple[dict[str, Any] | None, list[Finding]]:
    entry, reason = canonical_object(line)
    if entry is None:
        return None, [Finding("entry.not_canonical", where, "RFC 8785 canonical JSON", reason)]
    if set(entry) != set(ENTRY_FIELDS):
        return entry, [Finding("entry.fields", where, ", ".join(sorted(ENTRY_FIELDS)), ", ".join(sorted(entry)))]
    findings = [
        Finding("entry.type", where, f"{name} of type {kind.__name__}", repr(entry[name]))
        for name, kind in ENTRY_FIELDS.items()
        if not isinstance(entry[name], kind) or isinstance(entry[name], bool)
    ]
    if not findings and not ENTRY_TIME.fullmatch(entry["at"]):
        findings.append(Finding("entry.time", where, "at in RFC 3339 UTC", repr(entry["at"])))
    if not findings and entry["index"] != index:
        findings.append(Finding("entry.index", where, f"index {index}", f"index {entry['index']}"))
    return entry, findings


def verify_entry(
    line: bytes, index: int, size: int, proof: Sequence[bytes], note: str, vkeys: Sequence[str]
) -> EntryVerdict:
    """Check that this exact line is entry `index` of the log whose checkpoint `note` covers `size` entries."""
    where = f"entry {index}"
    _, findings = entry_findings(line, index, where)
    head, failed = open_checkpoint(note, vkeys, "checkpoint")
    findings += failed
    if head is None:
        return EntryVerdict(tuple(findings), Facts(entries=1))
    if head.size != size:
        findings.append(Finding("checkpoint.size", "checkpoint", f"size {size}", f"size {head.size}"))
    if not merkle.verify_inclusion(merkle.leaf_hash(line), index, size, proof, head.root):
        findings.append(Finding("entry.inclusion", where, f"a path to root {head.root.hex()}", "another root"))
    return EntryVerdict(tuple(findings), facts_of(1, head))
