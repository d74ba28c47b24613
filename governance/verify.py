"""Verify a ledger export, one entry, or an audit bundle from raw bytes, with no service and no database.

    python -m governance.verify BUNDLE [--key VKEY]

Needs the standard library, cryptography and rfc8785 only, and shares nothing with the writers but hashes, canonical
JSON and the layouts written down here. A check that fails becomes a Finding; it never becomes a traceback.

Bundle layout (`assay-bundle/1`), every byte of which is fixed by its content and the signatures:

- A zip of stored members, no directories, no extra fields, no comments, dated 1980-01-01, in this order:
  `manifest.json`, `manifest.note`, then all others by path. Stored, for compressed bytes differ between zlib builds.
- `manifest.json`: canonical JSON listing every other member except `manifest.note` with its digest and size.
- `manifest.note`: signed note over the line `assay-bundle/1` and the line `sha256:...` of the manifest.
- `ledger/entries.jsonl`: all entries up to the checkpoint, one canonical JSON object per line.
- `ledger/checkpoint.note`: the checkpoint those entries hash to.
- `report.json`: the report; a `report.created` entry holds its digest.
"""

import argparse
import json
import re
import struct
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from core.canonical import canonical, sha256
from core.errors import AppError, NotFoundError
from governance import checkpoint, merkle

FORMAT: Final = "assay-bundle/1"
MANIFEST: Final = "manifest.json"
MANIFEST_NOTE: Final = "manifest.note"
ENTRIES: Final = "ledger/entries.jsonl"
CHECKPOINT_NOTE: Final = "ledger/checkpoint.note"
REPORT: Final = "report.json"
REPORT_KIND: Final = "report.created"
SELF_SIGNED: Final = "self-signed: key not checked against an anchor"
ANCHORED: Final = "signed by a trusted key"
MAX_FINDINGS: Final = 50
MAX_BUNDLE_BYTES: Final = 2**31 - 1  # beyond it a zip needs extensions, which the layout does not allow
MAX_MEMBERS: Final = 10_000

ENTRY_FIELDS: Final = {"index": int, "at": str, "kind": str, "actor": str, "subject": str, "body": dict}
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_PATH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: `what` is a stable code, `where` an entry, a checkpoint or a bundle member."""

    what: str
    where: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class Facts:
    """What was read: entries counted, the largest checkpoint that holds (size, hexadecimal root), who signed it."""

    entries: int = 0
    size: int | None = None
    root: str | None = None
    origin: str | None = None
    signers: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    findings: tuple[Finding, ...]
    facts: Facts

    @property
    def ok(self) -> bool:
        return not self.findings


@dataclass(frozen=True)
class LogVerdict(Verdict):
    """`first_wrong` is the first entry seen to be wrong by itself. `interval` (first and last index) is the smallest
    stretch between checkpoints in which the first change lies, known from roots alone. `unsigned` counts entries
    after the last checkpoint, which no signature covers yet."""

    first_wrong: int | None = None
    interval: tuple[int, int] | None = None
    unsigned: int = 0


@dataclass(frozen=True)
class EntryVerdict(Verdict):
    pass


@dataclass(frozen=True)
class BundleVerdict(Verdict):
    trust: str = SELF_SIGNED


class BundleNotFoundError(NotFoundError):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"bundle {path} cannot be read: {reason}", path=str(path))
        self.path = path


# --- entries ---------------------------------------------------------------------------------------------------------


def _canonical_object(raw: bytes) -> tuple[dict[str, Any] | None, str]:
    """The JSON object these exact bytes are the canonical form of, or None and the reason."""

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


def _entry_findings(line: bytes, index: int, where: str) -> tuple[dict[str, Any] | None, list[Finding]]:
    entry, reason = _canonical_object(line)
    if entry is None:
        return None, [Finding("entry.not_canonical", where, "RFC 8785 canonical JSON", reason)]
    if set(entry) != set(ENTRY_FIELDS):
        return entry, [Finding("entry.fields", where, ", ".join(sorted(ENTRY_FIELDS)), ", ".join(sorted(entry)))]
    findings = [
        Finding("entry.type", where, f"{name} of type {kind.__name__}", repr(entry[name]))
        for name, kind in ENTRY_FIELDS.items()
        if not isinstance(entry[name], kind) or isinstance(entry[name], bool)
    ]
    if not findings and not _TIME.fullmatch(entry["at"]):
        findings.append(Finding("entry.time", where, "at in RFC 3339 UTC", repr(entry["at"])))
    if not findings and entry["index"] != index:
        findings.append(Finding("entry.index", where, f"index {index}", f"index {entry['index']}"))
    return entry, findings


def verify_entry(
    line: bytes, index: int, size: int, proof: Sequence[bytes], note: str, vkeys: Sequence[str]
) -> EntryVerdict:
    """Whether this exact line is entry `index` of the log whose checkpoint `note` has `size` entries."""
    where = f"entry {index}"
    _, findings = _entry_findings(line, index, where)
    head, failed = _open_checkpoint(note, vkeys, "checkpoint")
    findings += failed
    if head is None:
        return EntryVerdict(tuple(findings), Facts(entries=1))
    if head.size != size:
        findings.append(Finding("checkpoint.size", "checkpoint", f"size {size}", f"size {head.size}"))
    if not merkle.verify_inclusion(merkle.leaf_hash(line), index, size, proof, head.root):
        findings.append(Finding("entry.inclusion", where, f"a path to root {head.root.hex()}", "another root"))
    return EntryVerdict(tuple(findings), _facts(1, head))


# --- log -------------------------------------------------------------------------------------------------------------


def verify_log(
    lines: Iterable[bytes],
    checkpoints: Sequence[str],
    vkeys: Sequence[str],
    *,
    leaves: Sequence[bytes | str] | None = None,
) -> LogVerdict:
    """Recompute the tree over the entries and compare it with every checkpoint.

    Args:
        lines: exact bytes of each entry in order, with or without the final newline; read once, never held.
        checkpoints: signed notes in any order; all must hold, and all must name the same origin.
        vkeys: keys trusted to sign them.
        leaves: leaf hash stored beside each entry (bytes, or the hexadecimal text as stored, which may itself be
            damaged), when there is one; names an altered entry exactly.

    A root that matches proves all entries below it, so the first root that does not match confines the change to the
    entries after the last that does. One sequence of entries is hashed to every root, so agreement with two
    checkpoints also shows them consistent.
    """
    heads, findings = _open_checkpoints(checkpoints, vkeys)
    scan = _Scan(leaves)
    roots: dict[int, bytes] = {}
    sizes = {head.size for head, _ in heads}
    if 0 in sizes:
        roots[0] = merkle.EMPTY_ROOT
    for line in lines:
        scan.add(line.removesuffix(b"\n"))
        if scan.frontier.size in sizes:
            roots[scan.frontier.size] = scan.frontier.root()
    scan.finish()
    count = scan.frontier.size
    interval, proven, root_findings = _compare_roots(heads, roots, count)
    findings = [*_blame_stored_hashes(scan.findings, proven), *findings, *root_findings]
    if scan.suppressed:
        findings.append(Finding("entry.more", "log", "none", f"{scan.suppressed} more wrong entries, not listed"))
    covered = max(sizes, default=0)
    return LogVerdict(
        tuple(findings),
        _facts(count, proven),
        first_wrong=scan.first_wrong,
        interval=interval,
        unsigned=max(0, count - covered),
    )


class _Scan:
    """Reads entries one by one: grows the tree and collects what is wrong with single entries."""

    def __init__(self, leaves: Sequence[bytes | str] | None) -> None:
        self.frontier = merkle.Frontier()
        self.findings: list[Finding] = []
        self.suppressed = 0
        self.first_wrong: int | None = None
        self._leaves = None if leaves is None else [x if isinstance(x, str) else x.hex() for x in leaves]
        self._expected = 0

    def add(self, line: bytes) -> None:
        position = self.frontier.size
        leaf = merkle.leaf_hash(line)
        self.frontier.append(leaf)
        where = f"entry {position}"
        entry, found = _entry_findings(line, self._expected, where)
        # After a gap the count goes on from what was found, so one missing entry is one finding.
        index = entry.get("index") if entry else None
        self._expected = index + 1 if isinstance(index, int) and not isinstance(index, bool) else self._expected + 1
        if self._leaves is not None and position < len(self._leaves) and self._leaves[position] != leaf.hex():
            found.append(Finding("entry.leaf_hash", where, f"leaf hash {self._leaves[position]!r}", repr(leaf.hex())))
        self._keep(found, position)

    def finish(self) -> None:
        if self._leaves is not None and len(self._leaves) != self.frontier.size:
            found = f"{self.frontier.size} entries"
            wanted = f"{len(self._leaves)} entries, as many as stored leaf hashes"
            self._keep([Finding("log.count", "log", wanted, found)], min(len(self._leaves), self.frontier.size))

    def _keep(self, findings: list[Finding], position: int) -> None:
        if findings and self.first_wrong is None:
            self.first_wrong = position
        room = max(0, MAX_FINDINGS - len(self.findings))
        self.findings += findings[:room]
        self.suppressed += len(findings[room:])


def _blame_stored_hashes(findings: Sequence[Finding], proven: checkpoint.Checkpoint | None) -> list[Finding]:
    """Where a checkpoint proves the entry itself, the hash stored beside it is what changed."""
    size = proven.size if proven else 0
    return [
        replace(f, what="entry.stored_leaf_hash", expected=f.found, found=f.expected)
        if f.what == "entry.leaf_hash" and int(f.where.removeprefix("entry ")) < size
        else f
        for f in findings
    ]


def _compare_roots(
    heads: Sequence[tuple[checkpoint.Checkpoint, str]], roots: Mapping[int, bytes], count: int
) -> tuple[tuple[int, int] | None, checkpoint.Checkpoint | None, list[Finding]]:
    """Smallest interval known to hold a change, the largest head that holds, and a finding for each that does not."""
    proven: checkpoint.Checkpoint | None = None
    interval: tuple[int, int] | None = None
    findings: list[Finding] = []
    for head, where in sorted(heads, key=lambda pair: pair[0].size):
        start = proven.size if proven else 0
        if head.size > count:
            missing = f"{count} entries; {count} to {head.size - 1} are missing"
            findings.append(Finding("log.truncated", where, f"{head.size} entries", missing))
        elif roots[head.size] != head.root:
            interval = interval or (start, head.size - 1)
            span = f"entries {start} to {head.size - 1}" if head.size else "no entries"
            found = f"{roots[head.size].hex()} ({span} hold the change)"
            findings.append(Finding("checkpoint.root", where, head.root.hex(), found))
        else:
            proven = head
    return interval, proven, findings


def _open_checkpoints(
    notes: Sequence[str], vkeys: Sequence[str]
) -> tuple[list[tuple[checkpoint.Checkpoint, str]], list[Finding]]:
    heads: list[tuple[checkpoint.Checkpoint, str]] = []
    findings: list[Finding] = []
    for position, note in enumerate(notes):
        where = f"checkpoint {position}" if len(notes) > 1 else "checkpoint"
        head, failed = _open_checkpoint(note, vkeys, where)
        findings += failed
        if head is None:
            continue
        if heads and head.origin != heads[0][0].origin:
            findings.append(Finding("checkpoint.origin", where, repr(heads[0][0].origin), repr(head.origin)))
        heads.append((head, f"{where} (size {head.size})"))
    if not notes:
        findings.append(Finding("checkpoint.none", "log", "at least one signed checkpoint", "none"))
    by_size: dict[int, bytes] = {}
    for head, where in heads:
        if by_size.setdefault(head.size, head.root) != head.root:
            # Both are signed: the log has shown two histories. Either note is evidence against its signer.
            findings.append(Finding("checkpoint.fork", where, by_size[head.size].hex(), head.root.hex()))
    return heads, findings


def _open_checkpoint(note: str, vkeys: Sequence[str], where: str) -> tuple[checkpoint.Checkpoint | None, list[Finding]]:
    try:
        return checkpoint.verify(note, vkeys), []
    except AppError as error:
        return None, [Finding("checkpoint.signature", where, "a checkpoint signed by a known key", error.message)]


def _facts(entries: int, head: checkpoint.Checkpoint | None, files: tuple[str, ...] = ()) -> Facts:
    if head is None:
        return Facts(entries=entries, files=files)
    return Facts(entries, head.size, head.root.hex(), head.origin, head.signers, files)


# --- archive ---------------------------------------------------------------------------------------------------------

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_LOCAL_MARK, _CENTRAL_MARK, _END_MARK = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION: Final = 20
_DATE: Final = 0x0021  # 1980-01-01, the first day a zip can name
_UNIX_MADE: Final = 3 << 8 | _VERSION
_FILE_MODE: Final = 0o100644 << 16


def member_order(name: str) -> tuple[int, str]:
    """Sort key of a member in the archive: manifest, its note, then the others by path."""
    return {MANIFEST: 0, MANIFEST_NOTE: 1}.get(name, 2), name


def _canonical_archive(members: Sequence[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """The one archive of these members, piece by piece with a label. Source: PKWARE APPNOTE 6.3.10, 4.3.7 to 4.3.16."""
    directory: list[tuple[str, bytes]] = []
    offset = 0
    for name, content in sorted(members, key=lambda member: member_order(member[0])):
        raw, crc, size = name.encode(), zlib.crc32(content), len(content)
        header = _LOCAL.pack(_LOCAL_MARK, _VERSION, 0, 0, 0, _DATE, crc, size, size, len(raw), 0) + raw
        yield f"header of {name}", header
        yield f"content of {name}", content
        record = (_CENTRAL_MARK, _UNIX_MADE, _VERSION, 0, 0, 0, _DATE, crc, size, size, len(raw), 0, 0, 0, 0)
        directory.append((f"directory record of {name}", _CENTRAL.pack(*record, _FILE_MODE, offset) + raw))
        offset += len(header) + size
    yield from directory
    length = sum(len(record) for _, record in directory)
    yield "end record", _END.pack(_END_MARK, 0, 0, len(directory), len(directory), length, offset, 0)


def _read_archive(data: bytes) -> tuple[list[tuple[str, bytes]], Finding | None]:
    """Members from front to back, up to the first header that cannot be followed."""
    members: list[tuple[str, bytes]] = []
    offset, after = 0, "start of the archive"
    while data[offset : offset + 4] != _CENTRAL_MARK:
        broken = Finding("archive.header", after, "the header of a stored member", f"other bytes at offset {offset}")
        if offset + _LOCAL.size > len(data) or len(members) == MAX_MEMBERS:
            return members, broken
        mark, _, flags, method, _, _, _, packed, size, name_length, extra = _LOCAL.unpack_from(data, offset)
        start = offset + _LOCAL.size + name_length
        raw = data[offset + _LOCAL.size : start]
        if mark != _LOCAL_MARK or flags or method or packed != size or extra or start + size > len(data):
            where = raw.decode("ascii", "backslashreplace") if mark == _LOCAL_MARK else f"after {after}"
            return members, Finding(broken.what, where, broken.expected, broken.found)
        after = raw.decode("ascii", "backslashreplace")
        members.append((after, data[start : start + size]))
        offset = start + size
    return members, None


def _archive_findings(data: bytes, members: Sequence[tuple[str, bytes]]) -> list[Finding]:
    """Where the archive first differs from the one its members make, and names no writer of ours would use."""
    findings: list[Finding] = []
    seen: set[str] = set()
    for name, _ in members:
        if not _PATH.fullmatch(name):
            findings.append(Finding("archive.path", name, "a relative path of plain names", repr(name)))
        if name.casefold() in seen:
            findings.append(Finding("archive.duplicate", name, "each member once", "a second member of this name"))
        seen.add(name.casefold())
    offset = 0
    for label, piece in _canonical_archive(members):
        found = data[offset : offset + len(piece)]
        if found != piece:
            at = offset + next((i for i, (a, b) in enumerate(zip(found, piece, strict=False)) if a != b), len(found))
            where = label.split(" of ", 1)[1] if " of " in label else "archive"
            wanted = f"the canonical archive of its members ({label})"
            findings.append(Finding("archive.bytes", where, wanted, f"other bytes at offset {at}"))
            return findings
        offset += len(piece)
    if offset != len(data):
        findings.append(
            Finding("archive.bytes", "archive", f"{offset} bytes", f"{len(data) - offset} bytes after them")
        )
    return findings


# --- bundle ----------------------------------------------------------------------------------------------------------


def verify_bundle(path: Path, trusted_vkeys: Sequence[str] | None = None) -> BundleVerdict:
    """Check a bundle file: archive, manifest, every member, the ledger and the report's entry in it.

    Args:
        path: the zip file.
        trusted_vkeys: keys known from elsewhere. None: the bundle's own key is used, and `trust` says that this
            shows only that nothing changed since signing, not who signed.

    Raises:
        BundleNotFoundError: there is no readable file at `path`.
        KeyFormatError: a trusted key cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise BundleNotFoundError(path, error.strerror or str(error)) from error
    return verify_bundle_bytes(data, trusted_vkeys)


def verify_bundle_bytes(data: bytes, trusted_vkeys: Sequence[str] | None = None) -> BundleVerdict:
    """As `verify_bundle`, for the bytes of the zip file."""
    for vkey in trusted_vkeys or ():
        checkpoint.VerifierKey.parse(vkey)
    trust = SELF_SIGNED if trusted_vkeys is None else ANCHORED
    if len(data) > MAX_BUNDLE_BYTES:
        large = Finding("archive.size", "archive", f"at most {MAX_BUNDLE_BYTES} bytes", "more")
        return BundleVerdict((large,), Facts(), trust)
    members, broken = _read_archive(data)
    if broken:
        return BundleVerdict((broken,), Facts(files=tuple(name for name, _ in members)), trust)
    check = _BundleCheck(dict(members), trusted_vkeys)
    check.run()
    named = {finding.where for finding in check.findings}
    archive = [f for f in _archive_findings(data, members) if f.what != "archive.bytes" or f.where not in named]
    findings = tuple(check.findings + archive)
    signed = trust if check.facts.signers else "no signature of a known key holds"
    return BundleVerdict(findings, check.facts, signed)


@dataclass
class _BundleCheck:
    """Walks one bundle from the manifest outwards; each step adds its findings and goes on."""

    members: Mapping[str, bytes]
    trusted: Sequence[str] | None
    findings: list[Finding] = field(default_factory=list)
    facts: Facts = field(default_factory=Facts)
    signers: tuple[str, ...] = ()

    def run(self) -> None:
        manifest = self._manifest()
        if manifest is None:
            return
        vkeys = [manifest["ledger"]["vkey"]] if self.trusted is None else self.trusted
        # An altered manifest would only accuse members that are sound, so they are then held to the ledger alone.
        if self._manifest_is_not_altered(vkeys):
            self._files(manifest["files"])
        entries = self._ledger(vkeys)
        self._citations(manifest["files"], entries)

    def _add(self, what: str, where: str, expected: str, found: str) -> None:
        self.findings.append(Finding(what, where, expected, found))

    def _manifest(self) -> dict[str, Any] | None:
        if MANIFEST not in self.members:
            self._add("member.missing", MANIFEST, "a manifest", "no such member")
            return None
        manifest, reason = _canonical_object(self.members[MANIFEST])
        if manifest is None:
            self._add("manifest.not_canonical", MANIFEST, "RFC 8785 canonical JSON", reason)
            return None
        problems = list(_manifest_problems(manifest))
        for expected, found in problems:
            self._add("manifest.field", MANIFEST, expected, found)
        return None if problems else manifest

    def _manifest_is_not_altered(self, vkeys: Sequence[str]) -> bool:
        """False only when a sound signature speaks of another manifest."""
        raw = self.members.get(MANIFEST_NOTE)
        if raw is None:
            self._add("member.missing", MANIFEST_NOTE, "a signed note over the manifest", "no such member")
            return True
        try:
            note = checkpoint.open_note(raw.decode("utf-8"), vkeys)
        except (AppError, UnicodeDecodeError) as error:
            self._add("manifest.signature", MANIFEST_NOTE, "a note signed by a known key", str(error))
            return True
        self.signers = note.signers
        if raw.count(b"\n") != note.text.count("\n") + 2:
            self._add("manifest.signature", MANIFEST_NOTE, "one signature line", "more lines")
        digest = sha256(self.members[MANIFEST])
        if note.text != manifest_note_text(digest):
            self._add("manifest.digest", MANIFEST, repr(note.text), digest)
            return False
        return True

    def _files(self, files: Sequence[Mapping[str, Any]]) -> None:
        listed = {file["path"]: file for file in files}
        for path, file in listed.items():
            content = self.members.get(path)
            if content is None:
                self._add("member.missing", path, f"a member of {file['bytes']} bytes", "no such member")
            elif len(content) != file["bytes"]:
                self._add("member.size", path, f"{file['bytes']} bytes", f"{len(content)} bytes")
            elif sha256(content) != file["sha256"]:
                self._add("member.digest", path, file["sha256"], sha256(content))
        for path in sorted(set(self.members) - set(listed) - {MANIFEST, MANIFEST_NOTE}):
            self._add("member.extra", path, "only members the manifest lists", "not listed")

    def _ledger(self, vkeys: Sequence[str]) -> list[bytes]:
        *lines, rest = self.members.get(ENTRIES, b"").split(b"\n")
        if rest:
            self._add("log.newline", ENTRIES, "a newline after the last entry", f"{len(rest)} more bytes")
        try:
            notes = [self.members.get(CHECKPOINT_NOTE, b"").decode("utf-8")]
        except UnicodeDecodeError as error:
            self._add("checkpoint.signature", CHECKPOINT_NOTE, "UTF-8", str(error))
            notes = []
        log = verify_log(lines, notes, vkeys)
        for finding in log.findings:
            member = CHECKPOINT_NOTE if finding.what == "checkpoint.signature" else ENTRIES
            if finding.what != "checkpoint.none":
                self._add(finding.what, member, finding.expected, f"{finding.found} ({finding.where})")
        if log.unsigned and log.facts.size is not None:
            self._add("log.unsigned", ENTRIES, f"{log.facts.size} entries", f"{log.facts.entries} entries")
        checked = tuple(sorted(self.members, key=member_order))
        self.facts = replace(log.facts, files=checked, signers=self.signers or log.facts.signers)
        return lines

    def _citations(self, files: Sequence[Mapping[str, Any]], entries: Sequence[bytes]) -> None:
        """A cited entry holds the file's digest; the report must be cited, by the entry written when it was made."""
        cited = {file["path"]: file["ledger_index"] for file in files}
        if cited.get(REPORT) is None:
            self._add("citation.missing", REPORT, "a report.json with its ledger entry", "none")
        for path, index in cited.items():
            if index is None or path not in self.members:
                continue
            entry, _ = _canonical_object(entries[index]) if index < len(entries) else (None, "")
            if entry is None or not isinstance(entry.get("body"), dict):
                self._add("citation.entry", path, f"ledger entry {index}", "no such readable entry")
                continue
            digest, body = sha256(self.members[path]), entry["body"]
            if path == REPORT and (entry.get("kind"), body.get("sha256")) != (REPORT_KIND, digest):
                found = f"{entry.get('kind')} with sha256 {body.get('sha256')}"
                self._add("citation.digest", path, f"entry {index} is {REPORT_KIND} with sha256 {digest}", found)
            elif digest not in _strings(body):
                self._add("citation.digest", path, f"entry {index} holds {digest}", "it does not")


def manifest_note_text(digest: str) -> str:
    """What `manifest.note` signs, for the digest of `manifest.json`."""
    return f"{FORMAT}\n{digest}\n"


def _manifest_problems(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(expected, found) for each field of the manifest that is not as FORMAT says."""
    shape = {"format": str, "created_at": str, "model": str, "period": dict, "report_id": str}
    yield from _shape_problems(manifest, {**shape, "files": list, "ledger": dict}, "manifest")
    if manifest.get("format") != FORMAT:
        yield f"format {FORMAT}", repr(manifest.get("format"))
    period, ledger, files = (manifest.get(name) for name in ("period", "ledger", "files"))
    if isinstance(period, dict):
        yield from _shape_problems(period, {"from": str, "to": str}, "period")
    times = [manifest.get("created_at"), *(period.values() if isinstance(period, dict) else ())]
    yield from (("RFC 3339 UTC", repr(at)) for at in times if not (isinstance(at, str) and _TIME.fullmatch(at)))
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
        checkpoint.VerifierKey.parse(str(ledger.get("vkey")))
    except AppError as error:
        yield "ledger.vkey, a verifier key", error.message


def _files_problems(files: Sequence[Any]) -> Iterator[tuple[str, str]]:
    shape = {"path": str, "sha256": str, "bytes": int, "media_type": str, "ledger_index": (int, type(None))}
    problems = [problem for file in files for problem in _shape_problems(file, shape, "file")]
    yield from problems
    if problems:
        return
    for file in files:
        if not _PATH.fullmatch(file["path"]) or file["path"] in (MANIFEST, MANIFEST_NOTE):
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


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


# --- command ---------------------------------------------------------------------------------------------------------


def describe(verdict: BundleVerdict, path: Path) -> str:
    """Plain text for a person: verdict first, then what it rests on, then each finding."""
    facts = verdict.facts
    rows = [
        ("bundle", str(path)),
        ("verdict", "OK" if verdict.ok else f"FAILED, {len(verdict.findings)} finding(s)"),
        ("trust", verdict.trust + (" (give --key VKEY)" if verdict.trust == SELF_SIGNED else "")),
        ("signer", ", ".join(facts.signers) or "none"),
        ("ledger", f"{facts.entries} entries, checkpoint size {facts.size}, root {facts.root}"),
        ("files", ", ".join(facts.files) or "none"),
    ]
    rows += [("finding", str(finding)) for finding in verdict.findings]
    # A forged bundle chooses its own names: nothing it says may reach the terminal as a control sequence.
    return "\n".join(f"{name:<8} {_printable(value)}" for name, value in rows)


def _printable(text: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m governance.verify BUNDLE [--key VKEY ...]`: 0 when the bundle holds, 1 when it does not."""
    parser = argparse.ArgumentParser(prog="python -m governance.verify", description="Verify an audit bundle offline.")
    parser.add_argument("bundle", type=Path, help="the zip file")
    parser.add_argument("--key", action="append", metavar="VKEY", help="trusted verifier key; may be given again")
    given = parser.parse_args(arguments)
    try:
        verdict = verify_bundle(given.bundle, given.key)
    except AppError as error:
        sys.stderr.write(f"verdict  FAILED\nreason   {error.message}\n")
        return 1
    sys.stdout.write(describe(verdict, given.bundle) + "\n")
    return 0 if verdict.ok else 1


if __name__ == "__main__":
    sys.exit(main())
