"""A bundle is written once and verified from its bytes: no byte of it may change unnoticed or unnamed."""

import io
import json
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.canonical import canonical, sha256
from core.errors import InvalidError
from governance.proof import merkle
from governance.proof.checkpoint import sign_checkpoint
from governance.proof.note import sign_note
from governance.proof.vkey import KeyFormatError, SigningKey
from governance.verify.archive import canonical_archive
from governance.verify.bundle import verify_bundle, verify_bundle_bytes
from governance.verify.findings import ANCHORED, SIGNER_UNKNOWN, BundleNotFoundError, BundleVerdict, exit_code
from governance.verify.manifest import CHECKPOINT_NOTE, ENTRIES, MANIFEST, MANIFEST_NOTE, manifest_note_text
from reports.render.bundle import BundleMemberError, BundleNotWrittenError, BundleRefusedError, write_bundle

ORIGIN = "assay.example/ledger"
AT = datetime(2026, 1, 2, tzinfo=UTC)
KEY = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
STRANGER = SigningKey("stranger.example", Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
FILES = {"report.json": b'{"accuracy":0.9}', "charts/kpi.svg": b"<svg/>"}
TYPES = {"report.json": "application/json", "charts/kpi.svg": "image/svg+xml"}


def line(index: int, kind: str, body: Mapping[str, Any]) -> bytes:
    return canonical({"index": index, "at": AT, "kind": kind, "actor": "admin", "subject": "m", "body": body})


LINES = [
    line(0, "model.spec", {"digest": sha256(b"spec")}),
    line(1, "report.created", {"sha256": sha256(FILES["report.json"]), "charts": [sha256(FILES["charts/kpi.svg"])]}),
]


def head(lines: list[bytes], key: SigningKey = KEY) -> str:
    return sign_checkpoint(key, ORIGIN, len(lines), merkle.root([merkle.leaf_hash(x) for x in lines]), AT)


def arguments(**changes: Any) -> dict[str, Any]:
    return {
        "model": "m", "period": (datetime(2026, 1, 1, tzinfo=UTC), AT), "report_id": "r1", "files": FILES,
        "media_types": TYPES, "ledger_lines": LINES, "checkpoint_note": head(LINES), "key": KEY, "vkey": KEY.vkey,
        "created_at": AT, "cited": {"report.json": 1, "charts/kpi.svg": 1}, **changes,
    }  # fmt: skip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    target = tmp_path_factory.mktemp("bundle") / "bundle.zip"
    assert write_bundle(target, **arguments()) == sha256(target.read_bytes())
    return target.read_bytes()


def members_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def rezip(members: Mapping[str, bytes]) -> bytes:
    """The canonical archive of altered members: checksums and headers are right, so only the evidence can object."""
    return b"".join(piece for _, piece in canonical_archive(list(members.items())))


def named(verdict: BundleVerdict) -> set[str]:
    return {finding.where for finding in verdict.findings}


def test_a_bundle_holds_and_any_zip_program_reads_it(bundle: bytes) -> None:
    verdict = verify_bundle_bytes(bundle, [KEY.vkey])
    assert verdict.findings == ()
    assert verdict.trust == ANCHORED
    assert (verdict.facts.entries, verdict.facts.size, verdict.facts.signers) == (2, 2, (KEY.verifier.label,))
    assert verdict.facts.root == merkle.root([merkle.leaf_hash(x) for x in LINES]).hex()
    assert list(members_of(bundle)) == list(verdict.facts.files) == [
        "manifest.json", "manifest.note", "charts/kpi.svg", "ledger/checkpoint.note", "ledger/entries.jsonl",
        "report.json",
    ]  # fmt: skip
    assert members_of(bundle)["report.json"] == FILES["report.json"]
    assert members_of(bundle)["ledger/entries.jsonl"] == b"".join(x + b"\n" for x in LINES)


def test_the_standard_library_s_zip_is_the_layout_the_verifier_builds_by_hand(bundle: bytes) -> None:
    assert rezip(members_of(bundle)) == bundle


def test_the_same_report_gives_the_same_bytes(bundle: bytes, tmp_path: Path) -> None:
    write_bundle(tmp_path / "again.zip", **arguments(files=dict(reversed(FILES.items()))))
    assert (tmp_path / "again.zip").read_bytes() == bundle


def test_without_a_trusted_key_the_verdict_says_that_the_key_was_not_checked(bundle: bytes) -> None:
    verdict = verify_bundle_bytes(bundle)
    assert (verdict.ok, verdict.signer_known, verdict.exit_code) == (True, False, SIGNER_UNKNOWN)
    assert verdict.words == "consistent; signer unknown"
    assert verdict.trust == "self-signed: key not checked against an anchor"
    bad, good = verify_bundle_bytes(bundle, [STRANGER.vkey]), verify_bundle_bytes(bundle, [KEY.vkey])
    assert (good.words, good.exit_code, bad.exit_code) == ("OK", 0, 1)
    assert [exit_code(seen) for seen in ([good], [good, verdict], [verdict, bad, good])] == [0, SIGNER_UNKNOWN, 1]


def test_flipping_any_byte_of_the_zip_is_noticed_and_a_content_byte_names_its_member(bundle: bytes) -> None:
    """Every byte of the headers, every third of the members; the flipped bit moves along."""
    owner: dict[int, str] = {}
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        for info in archive.infolist():
            start = info.header_offset + 30 + len(info.filename)
            owner.update(dict.fromkeys(range(start, start + info.file_size), info.filename))
    assert len(bundle) < 20_000
    for position in range(len(bundle)):
        if position in owner and position % 3:
            continue
        altered = bytearray(bundle)
        altered[position] ^= 1 << position % 8
        verdict = verify_bundle_bytes(bytes(altered), [KEY.vkey] if position % 2 else None)
        assert not verdict.ok or verdict.packing, position  # a date of the zip, say, belongs to nothing that is signed
        if position in owner:
            assert verdict.findings[0].where == owner[position], (position, verdict.findings)


def test_flipping_any_byte_of_a_member_in_a_well_made_zip_still_names_it(bundle: bytes) -> None:
    members = members_of(bundle)
    for name, content in members.items():
        for position in range(0, len(content), 3):
            altered = bytearray(content)
            altered[position] ^= 1 << position % 7
            verdict = verify_bundle_bytes(rezip({**members, name: bytes(altered)}), [KEY.vkey])
            assert not verdict.ok
            assert verdict.findings[0].where == name, (name, position, verdict.findings)


def test_cutting_the_zip_anywhere_fails(bundle: bytes) -> None:
    for size in range(0, len(bundle), 7):
        assert not verify_bundle_bytes(bundle[:size]).ok


@pytest.mark.parametrize(
    "alter",
    [
        lambda data: b"prefix" + data,
        lambda data: data + b"x",
        lambda data: data[:-2] + b"\x03\x00abcd",
        lambda data: data + data,
        lambda data: data[:30] + b"!" + data[30:],
        lambda _: b"",
        lambda _: b"PK\x05\x06" + bytes(18),
        lambda _: b"PK\x03\x04" + b"\xff" * 40,
        lambda _: b"not a zip at all, but long enough to hold a header",
    ],
)
def test_bytes_before_after_and_between_the_members_fail(bundle: bytes, alter: Any) -> None:
    assert not verify_bundle_bytes(alter(bundle)).ok


def zipped(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=compression)
    return buffer.getvalue()


def unpacked(data: bytes, folder: Path) -> Path:
    for name, content in members_of(data).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_how_the_members_were_packed_is_a_note_and_their_content_is_judged(bundle: bytes) -> None:
    members = list(members_of(bundle).items())
    wrapped = [(f"audit/{name}", content) for name, content in members]
    for data, noted in (
        (zipped(members), "other headers"),
        (zipped(members, zipfile.ZIP_DEFLATED), "compressed"),
        (zipped(members, zipfile.ZIP_LZMA), "compressed"),
        (zipped(members[::-1]), "another order"),
        (zipped([*members, ("charts/", b"")]), "a folder"),
        (zipped([*wrapped, ("__MACOSX/audit/._report.json", b"x"), ("audit/.DS_Store", b"x")]), "all in one folder"),
        (streamed(members), "compressed"),
        (bundle[:-2] + b"\x03\x00abc", "a comment"),
    ):
        verdict = verify_bundle_bytes(data, [KEY.vkey])
        assert (verdict.findings, verdict.words) == ((), "OK")
        assert any(noted in note.found for note in verdict.packing), verdict.packing
        assert verdict.facts.files == verify_bundle_bytes(bundle).facts.files
    assert verify_bundle_bytes(bundle).packing == ()
    for name, content in members:
        altered = [(other, kept if other != name else content[:-1] + b"?") for other, kept in members]
        assert name in named(verify_bundle_bytes(zipped(altered, zipfile.ZIP_DEFLATED), [KEY.vkey]))
        twice = verify_bundle_bytes(streamed([*members, (name, b"other")]), [KEY.vkey])
        assert ("archive.duplicate", name) in {(f.what, f.where) for f in twice.findings}


def streamed(members: list[tuple[str, bytes]]) -> bytes:
    """As a program writes a zip that cannot go back: the sizes of a member follow it."""
    buffer = io.BytesIO()

    class Pipe(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            return buffer.write(data)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "hide",
    [
        lambda data, at: data[:at] + b"hidden" + data[at:],  # the directory points past it
        lambda data, at: data[: at + 26] + b"\x00\x00" + data[at + 28 :],
        lambda data, at: data.replace(b"report.json", b"REPORT.JSON", 1),
    ],
)
def test_what_two_readers_could_read_differently_is_a_finding(bundle: bytes, hide: Any) -> None:
    data = zipped(list(members_of(bundle).items()), zipfile.ZIP_DEFLATED)
    assert not verify_bundle_bytes(hide(data, data.index(b"PK\x03\x04", 1)), [KEY.vkey]).ok
    assert not verify_bundle_bytes(hide(bundle, bundle.index(b"PK\x03\x04", 1)), [KEY.vkey]).ok


def test_an_unpacked_folder_is_judged_by_its_content(bundle: bytes, tmp_path: Path) -> None:
    folder = unpacked(bundle, tmp_path / "audit")
    (folder / ".DS_Store").write_bytes(b"x")
    for path in (folder, tmp_path):  # a zip program may make a folder around it
        verdict = verify_bundle(path, [KEY.vkey])
        assert (verdict.findings, verdict.words) == ((), "OK")
        assert verdict.packing
    (folder / "more.txt").write_text("x")
    (folder / "pipe").symlink_to("/dev/zero")
    assert named(verify_bundle(folder, [KEY.vkey])) == {"more.txt", "pipe"}
    (folder / "more.txt").unlink()
    (folder / "pipe").unlink()
    (folder / "report.json").write_bytes(b'{"accuracy":1.0}')
    assert "report.json" in named(verify_bundle(folder, [KEY.vkey]))
    (folder / "report.json").unlink()
    assert named(verify_bundle(folder, [KEY.vkey])) == {"report.json"}
    (folder / MANIFEST).unlink()
    assert MANIFEST in named(verify_bundle(folder, [KEY.vkey]))


@pytest.mark.parametrize("name", ["notes.txt", "../escape", "/etc/passwd", "a\\b", "C:x", "a/../b", "a//b", ".hidden"])
def test_an_added_member_is_named(bundle: bytes, name: str) -> None:
    verdict = verify_bundle_bytes(rezip({**members_of(bundle), name: b"x"}), [KEY.vkey])
    assert not verdict.ok
    assert any(name.replace("\\", "") in where.replace("\\", "") for where in named(verdict))


@pytest.mark.parametrize("name", [*FILES, MANIFEST, MANIFEST_NOTE, ENTRIES, CHECKPOINT_NOTE])
def test_a_missing_and_a_doubled_member_are_named(bundle: bytes, name: str) -> None:
    members = members_of(bundle)
    without = {other: content for other, content in members.items() if other != name}
    assert name in named(verify_bundle_bytes(rezip(without)))
    twice = b"".join(piece for _, piece in canonical_archive([*members.items(), (name, members[name])]))
    assert ("archive.duplicate", name) in {(f.what, f.where) for f in verify_bundle_bytes(twice).findings}
    assert not verify_bundle_bytes(rezip({**members, name.upper(): members[name]})).ok


def forged(bundle: bytes, key: SigningKey, content: Mapping[str, bytes], **changes: Any) -> bytes:
    """What someone can make who rewrites files, manifest and digests, and signs the manifest with `key`."""
    members = {**members_of(bundle), **content}
    manifest = json.loads(members[MANIFEST])
    for file in manifest["files"]:
        file["sha256"], file["bytes"] = sha256(members[file["path"]]), len(members[file["path"]])
    manifest.update(changes)
    members[MANIFEST] = canonical(manifest)
    text = manifest_note_text(sha256(members[MANIFEST]))
    return rezip({**members, MANIFEST_NOTE: sign_note(text, [key]).encode()})


def test_a_report_swapped_with_its_manifest_is_caught_by_the_ledger_even_with_the_right_key(bundle: bytes) -> None:
    verdict = verify_bundle_bytes(forged(bundle, KEY, {"report.json": b'{"accuracy":1.0}'}), [KEY.vkey])
    assert [(f.what, f.where) for f in verdict.findings] == [("citation.digest", "report.json")]
    verdict = verify_bundle_bytes(forged(bundle, KEY, {"charts/kpi.svg": b"<svg>better</svg>"}), [KEY.vkey])
    assert [(f.what, f.where) for f in verdict.findings] == [("citation.digest", "charts/kpi.svg")]


def test_a_bundle_forged_in_full_by_a_stranger_fails_against_a_trusted_key_only(tmp_path: Path) -> None:
    target = tmp_path / "forged.zip"
    write_bundle(target, **arguments(key=STRANGER, vkey=STRANGER.vkey, checkpoint_note=head(LINES, STRANGER)))
    assert (verify_bundle(target).words, verify_bundle(target).exit_code) == ("consistent; signer unknown", 5)
    verdict = verify_bundle(target, [KEY.vkey])
    assert named(verdict) == {MANIFEST_NOTE, CHECKPOINT_NOTE}
    assert verdict.trust == "no signature of a known key holds"
    assert not verify_bundle(target, []).ok


def test_a_rewritten_ledger_is_caught_though_the_manifest_was_made_to_fit(bundle: bytes) -> None:
    lines = [line(0, "model.spec", {"digest": sha256(b"another spec")}), LINES[1]]
    entries = b"".join(x + b"\n" for x in lines)
    verdict = verify_bundle_bytes(forged(bundle, KEY, {ENTRIES: entries}), [KEY.vkey])
    assert [(f.what, f.where) for f in verdict.findings] == [("checkpoint.root", ENTRIES)]
    for altered, what in (
        (LINES[0] + b"\n", "log.truncated"),
        (b"".join(x + b"\n" for x in [*LINES, line(2, "alert", {})]), "log.unsigned"),
        (b"\n".join(LINES), "log.newline"),
        (b"", "log.truncated"),
    ):
        verdict = verify_bundle_bytes(forged(bundle, KEY, {ENTRIES: altered}), [KEY.vkey])
        assert what in {f.what for f in verdict.findings if f.where == ENTRIES}


def with_first_file(**changes: Any) -> Any:
    return lambda manifest: {"files": [{**manifest["files"][0], **changes}, *manifest["files"][1:]]}


@pytest.mark.parametrize(
    "change",
    [
        lambda _: {"format": "assay-bundle/2"},
        lambda _: {"extra": 1},
        lambda _: {"created_at": "yesterday"},
        lambda _: {"period": {"from": "x"}},
        lambda _: {"period": []},
        lambda _: {"report_id": 7},
        lambda _: {"files": {}},
        lambda _: {"files": ["x"]},
        lambda m: {"files": m["files"][::-1]},
        lambda m: {"files": m["files"] + m["files"][-1:]},
        lambda m: {"files": m["files"][:1]},
        lambda _: {"ledger": {}},
        lambda m: {"ledger": {**m["ledger"], "entries": "elsewhere"}},
        lambda m: {"ledger": {**m["ledger"], "vkey": "nonsense"}},
        lambda m: {"ledger": {**m["ledger"], "vkey": None}},
        with_first_file(path="../x"),
        with_first_file(path=MANIFEST),
        with_first_file(sha256="md5:0"),
        with_first_file(bytes=True),
        with_first_file(bytes=-1),
        with_first_file(ledger_index=-1),
        with_first_file(ledger_index="1"),
    ],
)
def test_a_manifest_that_is_signed_but_not_in_the_format_is_a_finding(bundle: bytes, change: Any) -> None:
    manifest = json.loads(members_of(bundle)[MANIFEST])
    assert named(verify_bundle_bytes(forged(bundle, KEY, {}, **change(manifest)), [KEY.vkey])) == {MANIFEST}


def test_a_citation_must_point_to_an_entry_with_the_digest(bundle: bytes) -> None:
    for index in (0, 7, None):
        files = json.loads(members_of(bundle)[MANIFEST])["files"]
        files = [{**f, "ledger_index": index} if f["path"] == "report.json" else f for f in files]
        verdict = verify_bundle_bytes(forged(bundle, KEY, {}, files=files), [KEY.vkey])
        assert named(verdict) == {"report.json"}
        assert verdict.findings[0].what.startswith("citation.")


def test_a_second_signature_on_the_manifest_note_is_refused(bundle: bytes) -> None:
    members = members_of(bundle)
    text = manifest_note_text(sha256(members[MANIFEST]))
    members[MANIFEST_NOTE] = sign_note(text, [KEY, STRANGER]).encode()
    assert named(verify_bundle_bytes(rezip(members), [KEY.vkey])) == {MANIFEST_NOTE}


@pytest.mark.parametrize(
    "changes",
    [
        {"cited": {}},
        {"cited": {"report.json": 0}},
        {"files": {"a.txt": b""}, "media_types": {"a.txt": "text/plain"}, "cited": {}},
        {"ledger_lines": LINES[:1]},
        {"checkpoint_note": head(LINES, STRANGER)},
        {"checkpoint_note": head(LINES[:1])},
        {"files": {**FILES, "../x": b""}, "media_types": {**TYPES, "../x": "text/plain"}},
    ],
)
def test_what_would_not_verify_is_not_written(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(BundleRefusedError) as caught:
        write_bundle(tmp_path / "bundle.zip", **arguments(**changes))
    assert caught.value.findings
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"files": {**FILES, "manifest.json": b""}}, BundleMemberError),
        ({"files": {**FILES, "untyped": b""}}, BundleMemberError),
        ({"cited": {"report.json": 1, "absent": 1}}, BundleMemberError),
        ({"created_at": AT.replace(tzinfo=None)}, InvalidError),
    ],
)
def test_a_wrong_argument_is_named(tmp_path: Path, changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        write_bundle(tmp_path / "bundle.zip", **arguments(**changes))


def test_a_disk_that_refuses_is_a_named_error_and_leaves_no_rest(tmp_path: Path) -> None:
    (tmp_path / "bundle.zip").mkdir()
    with pytest.raises(BundleNotWrittenError, match=r"bundle\.zip"):
        write_bundle(tmp_path / "bundle.zip", **arguments())
    assert [path.name for path in tmp_path.iterdir()] == ["bundle.zip"]


def test_a_path_without_a_bundle_and_a_broken_trusted_key_are_errors(bundle: bytes, tmp_path: Path) -> None:
    for path in (tmp_path / "absent.zip", tmp_path):
        with pytest.raises(BundleNotFoundError):
            verify_bundle(path)
    with pytest.raises(KeyFormatError):
        verify_bundle_bytes(bundle, ["nonsense"])


def test_the_auditor_s_command_prints_a_verdict_and_exits_zero_or_one(bundle: bytes, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.zip", tmp_path / "bad.zip"
    good.write_bytes(bundle)
    bad.write_bytes(rezip({**members_of(bundle), "report.json": b'{"accuracy":1.0}', "\x1b[2J": b""}))
    run = [sys.executable, "-m", "governance.verify"]
    shown = subprocess.run([*run, str(good), "--key", KEY.vkey], capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "verdict  OK" in shown.stdout
    assert "signed by a trusted key" in shown.stdout
    shown = subprocess.run([*run, str(bad)], capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (1, "")
    assert "finding  report.json: member.digest" in shown.stdout
    assert "self-signed" in shown.stdout
    assert "\x1b" not in shown.stdout
    for given in ([str(tmp_path / "absent.zip")], [str(good), "--key", "nonsense"]):
        shown = subprocess.run([*run, *given], capture_output=True, text=True, check=False)
        assert (shown.returncode, shown.stdout) == (1, "")
        assert "Traceback" not in shown.stderr
