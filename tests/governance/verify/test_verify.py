"""The verifier reads exported bytes only: whatever is flipped, dropped, swapped or cut, it notices and says where."""

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from core.canonical import canonical
from governance.proof import merkle
from governance.proof.checkpoint import sign_checkpoint
from governance.proof.vkey import SigningKey
from governance.verify.entries import verify_entry
from governance.verify.findings import MAX_FINDINGS, LogVerdict
from governance.verify.log import verify_log
from tests.examples import examples
from tests.forks import ROOT

ORIGIN = "assay.example/ledger"
AT = datetime(2026, 1, 1, tzinfo=UTC)
KEY = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))


def entry(index: int, **changes: Any) -> bytes:
    fields = {"index": index, "at": AT + timedelta(seconds=index), "kind": "model.spec", "actor": "admin"}
    return canonical({**fields, "subject": "support-intents", "body": {"version": index}, **changes})


def leaves_of(lines: Sequence[bytes]) -> list[bytes]:
    return [merkle.leaf_hash(line) for line in lines]


def note(lines: Sequence[bytes], size: int, key: SigningKey = KEY) -> str:
    return sign_checkpoint(key, key.name, size, merkle.root(leaves_of(lines[:size])), AT)


LINES = [entry(i) for i in range(20)]
NOTES = [note(LINES, size) for size in (5, 12, 20)]


def whats(verdict: LogVerdict) -> list[str]:
    return [finding.what for finding in verdict.findings]


def test_an_honest_log_holds_and_the_verdict_says_what_was_read() -> None:
    verdict = verify_log(iter(LINES), NOTES, [KEY.vkey], leaves=leaves_of(LINES))
    assert verdict.ok
    assert verdict.findings == ()
    assert (verdict.facts.entries, verdict.facts.size, verdict.facts.origin) == (20, 20, ORIGIN)
    assert verdict.facts.root == merkle.root(leaves_of(LINES)).hex()
    assert verdict.facts.signers == (KEY.verifier.label,)
    assert verdict.unsigned == 0


def test_lines_read_from_a_file_with_their_newlines_are_the_same_log() -> None:
    assert verify_log([line + b"\n" for line in LINES], NOTES[::-1], [KEY.vkey]).ok


def test_entries_after_the_last_checkpoint_are_counted_as_unsigned() -> None:
    verdict = verify_log(LINES, NOTES[:2], [KEY.vkey])
    assert verdict.ok
    assert verdict.unsigned == 8


def test_the_empty_log_holds_under_its_checkpoint() -> None:
    assert verify_log([], [note([], 0)], [KEY.vkey]).ok
    assert "checkpoint.root" in whats(verify_log(LINES, [sign_checkpoint(KEY, ORIGIN, 0, bytes(32), AT)], [KEY.vkey]))


def test_flipping_any_byte_of_an_entry_names_that_entry_when_leaf_hashes_are_stored() -> None:
    stored = leaves_of(LINES[:8])
    notes = [note(LINES, 8)]
    for index in (0, 3, 7):
        for position in range(len(LINES[index])):
            lines = list(LINES[:8])
            altered = bytearray(lines[index])
            altered[position] ^= 0x01
            lines[index] = bytes(altered)
            verdict = verify_log(lines, notes, [KEY.vkey], leaves=stored)
            assert not verdict.ok
            assert verdict.first_wrong == index
            assert verdict.findings[0].where == f"entry {index}"


def test_without_leaf_hashes_a_rewritten_entry_is_confined_between_two_checkpoints() -> None:
    for index, interval in ((0, (0, 4)), (4, (0, 4)), (5, (5, 11)), (11, (5, 11)), (19, (12, 19))):
        lines = [*LINES[:index], entry(index, actor="mallory"), *LINES[index + 1 :]]
        verdict = verify_log(lines, NOTES, [KEY.vkey])
        assert verdict.first_wrong is None
        assert verdict.interval == interval
        assert f"entries {interval[0]} to {interval[1]} hold the change" in verdict.findings[0].found
        assert verdict.facts.size == (interval[0] or None)


def test_a_damaged_stored_hash_beside_a_proven_entry_is_blamed_itself() -> None:
    for damaged in (bytes(32), "zz"):
        stored: list[bytes | str] = [*leaves_of(LINES)]
        stored[7] = damaged
        verdict = verify_log(LINES, NOTES, [KEY.vkey], leaves=stored)
        assert [(f.what, f.where) for f in verdict.findings] == [("entry.stored_leaf_hash", "entry 7")]


def test_a_missing_entry_is_one_gap_and_not_a_finding_for_each_entry_after_it() -> None:
    verdict = verify_log(LINES[:7] + LINES[8:], NOTES, [KEY.vkey])
    gaps = [finding for finding in verdict.findings if finding.what == "entry.index"]
    assert [(gap.where, gap.expected, gap.found) for gap in gaps] == [("entry 7", "index 7", "index 8")]
    assert verdict.first_wrong == 7
    assert verdict.interval == (5, 11)


def test_a_log_cut_short_says_which_entries_are_missing() -> None:
    verdict = verify_log(LINES[:15], NOTES, [KEY.vkey], leaves=leaves_of(LINES))
    assert whats(verdict) == ["log.count", "log.truncated"]
    assert "15 to 19 are missing" in verdict.findings[1].found


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"", "entry.not_canonical"),
        (b"not json", "entry.not_canonical"),
        (b"[1]", "entry.not_canonical"),
        (b"\xff", "entry.not_canonical"),
        (LINES[3] + b" ", "entry.not_canonical"),
        (LINES[3] + b"\r", "entry.not_canonical"),
        (LINES[3].replace(b'"actor":"admin",', b'"actor":"admin","actor":"admin",'), "entry.not_canonical"),
        (LINES[3].replace(b'"version":3', b'"version":3.0'), "entry.not_canonical"),
        (LINES[3].replace(b'"version":3', b'"version":NaN'), "entry.not_canonical"),
        (LINES[3].replace(b'"version":3', b'"version":1e999'), "entry.not_canonical"),
        (LINES[3].replace(b'"version":3', b'"version":' + b"9" * 5000), "entry.not_canonical"),
        (LINES[3].replace(b'"version":3', b'"version":"\\ud800"'), "entry.not_canonical"),
        (LINES[3].replace(b'"version":3', b'"version":' + b"[" * 100_000), "entry.not_canonical"),
        (b"\xef\xbb\xbf" + LINES[3], "entry.not_canonical"),
        (entry(3, extra=1), "entry.fields"),
        (canonical({"index": 3}), "entry.fields"),
        (entry(True), "entry.type"),
        (entry(3, body=[]), "entry.type"),
        (entry(3, actor=None), "entry.type"),
        (entry(3, at="yesterday"), "entry.time"),
        (entry(4), "entry.index"),
        (entry(-1), "entry.index"),
    ],
)
def test_a_malformed_entry_is_named_even_when_it_was_signed(line: bytes, what: str) -> None:
    lines = [*LINES[:3], line]
    verdict = verify_log(lines, [note(lines, 4)], [KEY.vkey])
    assert [(finding.what, finding.where) for finding in verdict.findings] == [(what, "entry 3")]


def test_a_log_of_nonsense_lists_the_first_findings_and_counts_the_rest() -> None:
    verdict = verify_log([b"?"] * 200, [note([b"?"] * 200, 200)], [KEY.vkey])
    assert len(verdict.findings) == MAX_FINDINGS + 1
    assert "150 more" in verdict.findings[-1].found


def test_a_checkpoint_that_no_known_key_signed_is_refused() -> None:
    forged = [note(LINES, 20, OTHER)]
    assert whats(verify_log(LINES, forged, [KEY.vkey])) == ["checkpoint.signature"]
    assert whats(verify_log(LINES, [], [KEY.vkey])) == ["checkpoint.none"]
    assert verify_log(LINES, [*NOTES, *forged], [KEY.vkey, OTHER.vkey]).ok


def test_two_signed_heads_of_one_size_are_reported_as_a_fork() -> None:
    other_history = [*LINES[:19], entry(19, actor="mallory")]
    verdict = verify_log(LINES, [*NOTES, note(other_history, 20)], [KEY.vkey])
    assert whats(verdict) == ["checkpoint.fork", "checkpoint.root"]


def test_a_checkpoint_of_another_log_is_reported() -> None:
    foreign = sign_checkpoint(KEY, "another.example/log", 20, merkle.root(leaves_of(LINES)), AT)
    assert whats(verify_log(LINES, [*NOTES, foreign], [KEY.vkey])) == ["checkpoint.origin"]


def test_one_entry_is_verified_with_its_path_alone() -> None:
    proof = merkle.inclusion_proof(leaves_of(LINES), 6)
    assert verify_entry(LINES[6], 6, 20, proof, NOTES[2], [KEY.vkey]).ok
    for arguments, what in (
        ((entry(6, actor="mallory"), 6, 20, proof, NOTES[2], [KEY.vkey]), "entry.inclusion"),
        ((LINES[6], 7, 20, proof, NOTES[2], [KEY.vkey]), "entry.index"),
        ((LINES[6], 6, 20, proof[1:], NOTES[2], [KEY.vkey]), "entry.inclusion"),
        ((LINES[6], 6, 20, proof, NOTES[1], [KEY.vkey]), "checkpoint.size"),
        ((LINES[6], 6, 20, proof, NOTES[2], [OTHER.vkey]), "checkpoint.signature"),
        ((LINES[6] + b" ", 6, 20, proof, NOTES[2], [KEY.vkey]), "entry.not_canonical"),
    ):
        verdict = verify_entry(*arguments)
        assert not verdict.ok
        assert verdict.findings[0].what == what


def test_the_verifier_loads_nothing_of_the_service() -> None:
    program = (
        "import sys, governance.verify.__main__; "
        "print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'sqlalchemy', 'fastapi', 'pydantic', 'numpy', 'polars', 'monitor', 'retrain', 'reports', 'api'}), "
        "sorted(m for m in sys.modules if m.startswith(('core.', 'governance.')) and not m.endswith('__main__')))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    package = {p.stem for p in (ROOT / "governance" / "verify").glob("*.py")} - {
        "__init__",
        "__main__",
        "as_json",
        "lake",
    }
    expected = ["core.canonical", "core.errors", "governance.proof", "governance.verify"]
    expected += [f"governance.proof.{name}" for name in ("checkpoint", "cosignature", "merkle", "note", "vkey")]
    expected += [f"governance.verify.{name}" for name in package]
    assert shown.strip() == f"[] {sorted(expected)}"


class TamperedLog(RuleBasedStateMachine):
    """An operator appends and signs; then someone with the files, but not the key, changes what is signed."""

    @initialize()
    def open(self) -> None:
        self.lines: list[bytes] = []
        self.notes: list[str] = []
        self.signed = 0

    @rule(actor=st.sampled_from(["a", "b"]))
    def append(self, actor: str) -> None:
        self.lines.append(entry(len(self.lines), actor=actor))

    @precondition(lambda self: self.lines)
    @rule()
    def sign(self) -> None:
        self.signed = len(self.lines)
        self.notes.append(note(self.lines, self.signed))
        assert verify_log(self.lines, self.notes, [KEY.vkey], leaves=leaves_of(self.lines)).ok

    def _caught(self, lines: list[bytes], first: int) -> None:
        """The tamperer also brings the stored hashes in line, so only the signatures are left to notice."""
        verdict = verify_log(lines, self.notes, [KEY.vkey], leaves=leaves_of(lines))
        assert not verdict.ok
        if verdict.interval is not None:
            assert verdict.interval[0] <= first <= verdict.interval[1]
        assert verdict.first_wrong is None or verdict.first_wrong >= first

    @precondition(lambda self: self.signed)
    @rule(data=st.data())
    def flip(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, self.signed - 1))
        altered = bytearray(self.lines[index])
        altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
        self._caught([*self.lines[:index], bytes(altered), *self.lines[index + 1 :]], index)

    @precondition(lambda self: self.signed)
    @rule(data=st.data())
    def rewrite(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, self.signed - 1))
        self._caught([*self.lines[:index], entry(index, actor="mallory"), *self.lines[index + 1 :]], index)

    @precondition(lambda self: self.signed)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, self.signed - 1))
        self._caught(self.lines[:index] + self.lines[index + 1 :], index)

    @precondition(lambda self: self.signed > 1)
    @rule(data=st.data())
    def swap(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, self.signed - 2))
        lines = list(self.lines)
        lines[index], lines[index + 1] = lines[index + 1], lines[index]
        self._caught(lines, index)

    @precondition(lambda self: self.signed)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        size = data.draw(st.integers(0, self.signed - 1))
        self._caught(self.lines[:size], size)


TestTamperedLog = TamperedLog.TestCase
TestTamperedLog.settings = settings(max_examples=examples(40), stateful_step_count=20, deadline=None)
