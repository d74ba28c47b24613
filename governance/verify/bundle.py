"""Verify an audit bundle from raw bytes, without a service or a database.

    python -m governance.verify BUNDLE [--key VKEY]    # a zip file, or the folder it was unpacked into

It needs only the standard library, cryptography and rfc8785, and shares with the writers only hashes, canonical JSON
and the layouts defined in this package. A failed check becomes a Finding, never a traceback.

Bundle layout (`assay-bundle/1`), as it is written. Content and signatures fix every byte of every member; a bundle
that was packed otherwise since then is judged by the same content (`governance.verify.unpack`):

- A zip of stored members, no directories, no extra fields, no comments, dated 1980-01-01, in this order:
  `manifest.json`, `manifest.note`, then the others by path. Members are stored, not compressed, because compressed
  bytes differ between zlib builds.
- `manifest.json`: canonical JSON listing every other member except `manifest.note` with its digest and size.
- `manifest.note`: signed note over the line `assay-bundle/1` and the line `sha256:...` of the manifest.
- `ledger/entries.jsonl`: all entries up to the checkpoint, one canonical JSON object per line.
- `ledger/checkpoint.note`: the checkpoint whose root those entries hash to.
- `ledger/rows.jsonl`: leaves of the rows that the report prints (`governance.verify.printed`).
- `fairness/WINDOW.counts`: the counts of groups that a window stored (`governance.verify.fair`).
- `report.json`: the report; a `report.created` entry holds its digest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from core.canonical import sha256
from core.errors import AppError
from governance.proof.note import open_note
from governance.proof.vkey import VerifierKey
from governance.verify.archive import MAX_BUNDLE_BYTES, member_order
from governance.verify.entries import canonical_object, entry_findings
from governance.verify.findings import (
    ANCHORED,
    SELF_SIGNED,
    SUCCEEDED,
    UNSURE,
    VOUCHED,
    BundleNotFoundError,
    BundleVerdict,
    Facts,
    Finding,
)
from governance.verify.log import verify_log
from governance.verify.manifest import (
    CHECKPOINT_NOTE,
    ENTRIES,
    MANIFEST,
    MANIFEST_NOTE,
    REPORT,
    manifest_note_text,
    manifest_problems,
)
from governance.verify.origins import DOCUMENTS_KIND, KEY_KINDS, KeyStep, OriginChange, followed, read_change, unsure
from governance.verify.printed import ROWS, hold_printed
from governance.verify.unpack import Unpacked, unpack_folder, unpack_zip

_OF_KEYS: Final = tuple(f'"kind":"{kind}"'.encode() for kind in KEY_KINDS)
_OF_DOCUMENTS: Final = f'"kind":"{DOCUMENTS_KIND}"'.encode()
REPORT_KIND: Final = "report.created"


def verify_bundle(path: Path, trusted_vkeys: Sequence[str] | None = None) -> BundleVerdict:
    """Check a bundle file: archive, manifest, every member, the ledger and the report's entry in it.

    Args:
        path: the zip file, or the folder that it was unpacked into.
        trusted_vkeys: keys known from elsewhere. With None the bundle's own key is used; `trust` then says that this
            proves only that nothing changed since signing, not who signed.

    Raises:
        BundleNotFoundError: there is no readable file or folder at `path`.
        KeyFormatError: a trusted key cannot be read.
    """
    try:
        if path.is_dir():
            if not any(path.iterdir()):
                raise BundleNotFoundError(path, "an empty folder")
            return _verdict(unpack_folder(path), trusted_vkeys)
        with path.open("rb") as file:
            data = file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise BundleNotFoundError(path, error.strerror or str(error)) from error
    return verify_bundle_bytes(data, trusted_vkeys)


def verify_bundle_bytes(data: bytes, trusted_vkeys: Sequence[str] | None = None) -> BundleVerdict:
    """As `verify_bundle`, for the bytes of the zip file."""
    if len(data) > MAX_BUNDLE_BYTES:
        large = Finding("archive.size", "archive", f"at most {MAX_BUNDLE_BYTES} bytes", "more")
        return _verdict(Unpacked(findings=[large]), trusted_vkeys)
    return _verdict(unpack_zip(data), trusted_vkeys)


def _verdict(unpacked: Unpacked, trusted_vkeys: Sequence[str] | None) -> BundleVerdict:
    own = {VerifierKey.parse(vkey).label for vkey in trusted_vkeys or ()}
    trust = SELF_SIGNED if trusted_vkeys is None else ANCHORED
    if not unpacked.members:
        found = tuple(unpacked.findings) or (Finding("member.missing", MANIFEST, "a manifest", "no member at all"),)
        return BundleVerdict(found, Facts(), "nothing that could be signed", tuple(unpacked.packing))
    check = _BundleCheck(unpacked.members, trusted_vkeys)
    check.run()
    if trust == ANCHORED and not own & set(check.facts.signers):
        trust = UNSURE if check.unsure else VOUCHED if check.facts.copied else SUCCEEDED
    signed = trust if check.facts.signers else "no signature of a known key holds"
    return BundleVerdict(tuple(check.findings + unpacked.findings), check.facts, signed, tuple(unpacked.packing))


@dataclass
class _BundleCheck:
    """Checks one bundle from the manifest outwards. Each step adds its findings and continues."""

    members: Mapping[str, bytes]
    trusted: Sequence[str] | None
    findings: list[Finding] = field(default_factory=list)
    facts: Facts = field(default_factory=Facts)
    signers: tuple[str, ...] = ()
    unsure: bool = False  # the trusted keys say too little about the last key of the log

    def run(self) -> None:
        manifest = self._manifest()
        if manifest is None:
            return
        trusted = [manifest["ledger"]["vkey"]] if self.trusted is None else self.trusted
        steps = self._steps()
        vkeys, changes = followed(trusted, steps)
        self.unsure = unsure(trusted, steps) is not None
        # An altered manifest would blame sound members, so they are then checked against the ledger alone.
        if self._manifest_is_not_altered(vkeys, changes[-1:]):
            self._files(manifest["files"])
        entries = self._ledger(vkeys)
        self._citations(manifest["files"], entries)
        self._printed(entries)

    def _steps(self) -> list[KeyStep]:
        """Where the log changed its key; whether the entries are what was signed is checked later."""
        found = [read_change(entry, None)[0] for entry in self._entries_of(*_OF_KEYS)]
        return [step for step in found if step is not None]

    def _entries_of(self, *kinds: bytes) -> list[dict[str, Any]]:
        lines = self.members.get(ENTRIES, b"").split(b"\n")
        read = [entry_findings(line, i, "") for i, line in enumerate(lines) if any(kind in line for kind in kinds)]
        return [entry for entry, wrong in read if entry is not None and not wrong]

    def _documents_key(self) -> list[str]:
        """The key of bundles that the log names last, where the ledger's own key signs checkpoints alone."""
        named = [entry["body"].get("vkey") for entry in self._entries_of(_OF_DOCUMENTS)]
        try:
            return [str(VerifierKey.parse(str(named[-1])))] if named else []
        except AppError:
            return []

    def _add(self, what: str, where: str, expected: str, found: str) -> None:
        self.findings.append(Finding(what, where, expected, found))

    def _manifest(self) -> dict[str, Any] | None:
        if MANIFEST not in self.members:
            self._add("member.missing", MANIFEST, "a manifest", "no such member")
            return None
        manifest, reason = canonical_object(self.members[MANIFEST])
        if manifest is None:
            self._add("manifest.not_canonical", MANIFEST, "RFC 8785 canonical JSON", reason)
            return None
        problems = list(manifest_problems(manifest))
        for expected, found in problems:
            self._add("manifest.field", MANIFEST, expected, found)
        return None if problems else manifest

    def _manifest_is_not_altered(self, vkeys: Sequence[str], last: Sequence[OriginChange]) -> bool:
        """False only if a valid signature covers another manifest. `last`: the last change of the log's key."""
        raw = self.members.get(MANIFEST_NOTE)
        if raw is None:
            self._add("member.missing", MANIFEST_NOTE, "a signed note over the manifest", "no such member")
            return True
        try:
            own = [str(change.after) for change in last] or vkeys
            documents = self._documents_key()
            note = open_note(raw.decode("utf-8"), [*own, *documents])
        except (AppError, UnicodeDecodeError) as error:
            self._add("manifest.signature", MANIFEST_NOTE, "a note signed by a known key", str(error))
            return True
        self.signers = tuple(set(note.signers) - {VerifierKey.parse(key).label for key in documents})
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

    def _printed(self, entries: Sequence[bytes]) -> None:
        """The figures of the report against the leaves of the rows that it prints, and these against the entries."""
        report, _ = canonical_object(self.members.get(REPORT, b""))
        bound = report.get("bound") if report is not None else None
        if report is None or not isinstance(bound, dict) or type(bound.get("entries")) is not int:
            if ROWS in self.members:
                self._add("rows.leaves", ROWS, "a report that was held against the ledger", "one that was not")
            return
        if ROWS not in self.members:
            words = "rows were changed, see the report" if bound.get("changes") else "no leaves of the rows are there"
            self.facts = replace(self.facts, printed=f"not held against the ledger: {words}")
            return
        try:
            printed = hold_printed(report, self.members, entries)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._add("rows.leaves", ROWS, f"leaves of what {REPORT} prints", f"they cannot be read ({error})")
            return
        self.findings += printed.findings
        self.facts = replace(self.facts, printed=printed.words)

    def _citations(self, files: Sequence[Mapping[str, Any]], entries: Sequence[bytes]) -> None:
        """Each cited entry must hold the digest of its file. The report must be cited, by the entry of its creation."""
        cited = {file["path"]: file["ledger_index"] for file in files}
        if cited.get(REPORT) is None:
            self._add("citation.missing", REPORT, "a report.json with its ledger entry", "none")
        for path, index in cited.items():
            if index is None or path not in self.members:
                continue
            entry, _ = canonical_object(entries[index]) if index < len(entries) else (None, "")
            if entry is None or not isinstance(entry.get("body"), dict):
                self._add("citation.entry", path, f"ledger entry {index}", "no such readable entry")
                continue
            digest, body = sha256(self.members[path]), entry["body"]
            if path == REPORT and (entry.get("kind"), body.get("sha256")) != (REPORT_KIND, digest):
                found = f"{entry.get('kind')} with sha256 {body.get('sha256')}"
                self._add("citation.digest", path, f"entry {index} is {REPORT_KIND} with sha256 {digest}", found)
            elif digest not in _strings(body):
                self._add("citation.digest", path, f"entry {index} holds {digest}", "it does not")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
