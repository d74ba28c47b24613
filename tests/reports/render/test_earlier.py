"""A bundle is held against what was published before: by the command, and by one file on a machine without Assay."""

import base64
import json
import subprocess
from pathlib import Path

import pytest

from api.commands.verifier import single_file
from core.canonical import sha256
from core.errors import InvalidError
from governance.proof.checkpoint import sign_checkpoint
from governance.verify.against import held_bundle
from governance.verify.earlier import read_earlier
from governance.verify.findings import BundleVerdict
from governance.verify.remember import remembered
from reports.render.bundle import write_bundle
from tests.beside import MOTO
from tests.reports.render.test_bundle import AT, FILES, KEY, LINES, ORIGIN, STRANGER, arguments, head, line

MORE = [*LINES, line(2, "model.spec", {"digest": sha256(b"two")}), line(3, "model.spec", {"digest": sha256(b"three")})]
OTHER = [line(0, "model.spec", {"digest": sha256(b"another")}), *MORE[1:]]


def made(folder: Path, lines: list[bytes], name: str, late: str = "") -> Path:
    path = folder / name
    note = head(lines)
    if late:
        note = sign_checkpoint(KEY, ORIGIN, len(lines), _root(note), AT.replace(day=3))
    write_bundle(path, **arguments(ledger_lines=lines, checkpoint_note=note))
    return path


def _root(note: str) -> bytes:
    return base64.b64decode(note.split("\n")[2])


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    return made(tmp_path, MORE, "newer.zip")


def held(bundle: Path, *against: Path) -> BundleVerdict:
    return held_bundle(bundle, [KEY.vkey], [read_earlier(path) for path in against])


def test_an_earlier_bundle_note_or_export_is_the_beginning_of_a_later_one(newer: Path, tmp_path: Path) -> None:
    older = made(tmp_path, LINES, "older.zip")
    (tmp_path / "kept.note").write_text(head(LINES))
    entries = [{"index": index, "entry": content.decode()} for index, content in enumerate(LINES)]
    (tmp_path / "entries.json").write_text(json.dumps({"items": entries, "next": "2"}))
    (tmp_path / "entries.jsonl").write_bytes(b"\n".join(LINES) + b"\n")
    (tmp_path / "anchor").mkdir()
    (tmp_path / "anchor" / "checkpoint-000000000002.note").write_text(head(LINES))
    names = ("older.zip", "kept.note", "entries.json", "entries.jsonl", "anchor")
    verdict = held(newer, *(tmp_path / name for name in names))
    assert verdict.findings == ()
    for name in names:
        assert any(words.startswith(f"{tmp_path / name}: ") for words in verdict.held), name
    assert "its 2 entries are the first of the 4 here, as a consistency proof of 1 hash shows" in verdict.held[0]
    assert held(older, newer).findings == ()  # the other way round it is the longer one


def test_the_first_entry_that_differs_is_named(newer: Path, tmp_path: Path) -> None:
    forged = made(tmp_path, OTHER, "forged.zip")
    (found,) = held(forged, newer).findings
    assert (found.what, "entry 0 is the first that differs" in found.found) == ("against.entry", True)
    (tmp_path / "kept.note").write_text(head(MORE[:3]))
    (found,) = held(forged, tmp_path / "kept.note").findings
    assert (found.what, found.found) == ("against.root", "another; entries 0 to 2 hold the first that differs")
    (tmp_path / "entries.jsonl").write_bytes(b"\n".join(MORE))
    (found,) = held(forged, tmp_path / "entries.jsonl").findings
    assert "entry 0" in found.found


def test_what_proves_nothing_is_said(newer: Path, tmp_path: Path) -> None:
    (tmp_path / "kept.note").write_text(head(LINES, STRANGER))
    assert [f.what for f in held(newer, tmp_path / "kept.note").findings] == ["against.signature"]
    broken = tmp_path / "broken.zip"
    broken.write_bytes(newer.read_bytes().replace(FILES["report.json"], b'{"accuracy":0.8}'))
    assert "against.invalid" in [f.what for f in held(newer, broken).findings]
    (tmp_path / "empty.txt").write_text("hello")
    with pytest.raises(InvalidError, match="neither a checkpoint nor an entry"):
        read_earlier(tmp_path / "empty.txt")


def test_a_recovered_log_is_shorter_than_what_was_seen_and_says_so(newer: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen.json"
    remembered(held(newer), newer, seen)
    lost = [[4, _root(head(MORE)).hex()]]
    body = {"by": "Ann", "reason": "disk", "kept": 2, "old_head": head(MORE), "lost": lost}
    recovered = made(tmp_path, [*LINES, line(2, "ledger.recovered", body)], "recovered.zip", late="yes")
    verdict = remembered(held(recovered), recovered, seen)
    assert verdict.findings == ()
    assert "recovered from a rollback at entry 2" in verdict.held[-1]
    shorter = made(tmp_path, LINES, "shorter.zip", late="yes")
    assert [f.what for f in remembered(held(shorter), shorter, seen).findings] == ["log.truncated"]


def test_a_damaged_checkpoint_that_was_seen_is_named_with_its_file(newer: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen.json"
    remembered(held(newer), newer, seen)
    seen.write_text(json.dumps(dict.fromkeys(json.loads(seen.read_text()), "hello")))
    with pytest.raises(InvalidError, match=r"seen\.json holds a damaged checkpoint: .* or name another file"):
        remembered(held(newer), newer, seen)


@pytest.mark.skipif(not MOTO.exists(), reason="no environment beside this one")
def test_one_file_verifies_where_assay_is_not_installed(newer: Path, tmp_path: Path) -> None:
    program, seen = tmp_path / "verify_assay.py", tmp_path / "seen.json"
    program.write_text(single_file())
    (tmp_path / "assay.vkey").write_text(KEY.vkey + "\n")

    def verify(bundle: Path, *more: str) -> tuple[int, str]:
        done = subprocess.run(
            [MOTO.with_name("python"), "-I", program, bundle, *more], cwd=tmp_path, env={}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    key = ("--key", "assay.vkey")
    assert verify(newer)[0] == 5
    code, said = verify(newer, *key, "--last-seen", str(seen))
    assert (code, "verdict  OK" in said) == (0, True)
    assert verify(newer, *key, "--against", str(newer))[0] == 0
    shorter = made(tmp_path, LINES, "shorter.zip", late="yes")
    code, said = verify(shorter, *key, "--last-seen", str(seen))
    assert (code, "log.truncated" in said) == (1, True)
    older = made(tmp_path, LINES, "older.zip")
    code, said = verify(older, *key, "--last-seen", str(seen))
    assert (code, "older than the newest that was seen" in said) == (0, True)
    forged = made(tmp_path, OTHER, "forged.zip")
    assert verify(forged, *key, "--last-seen", str(seen))[0] == 1
    assert verify(forged, "--key", "")[0] == 1
    assert "sqlalchemy" not in program.read_text()
