"""A log that goes on in a copy under another origin verifies; one that only claims to does not."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from core.canonical import canonical
from governance.proof import merkle
from governance.proof.checkpoint import sign_checkpoint
from governance.proof.vkey import SigningKey
from governance.verify.log import verify_log
from governance.verify.origins import CONTINUES, ORIGIN_KIND

AT = datetime(2026, 1, 1, tzinfo=UTC)
OLD = SigningKey.generate("assay.test/log")
NEW = SigningKey.generate("assay.test/log/copy-0a1b2c3d")
STRANGER = SigningKey.generate("assay.test/log")


def line(index: int, kind: str = "model.spec", body: dict[str, Any] | None = None) -> bytes:
    entry = {"index": index, "at": AT, "kind": kind, "actor": "a", "subject": "s", "body": body or {}}
    return canonical(entry)


def root(lines: Sequence[bytes]) -> bytes:
    return merkle.root([merkle.leaf_hash(entry) for entry in lines])


def note(key: SigningKey, lines: Sequence[bytes], *extensions: str, origin: str | None = None) -> str:
    return sign_checkpoint(key, origin or key.name, len(lines), root(lines), AT, extensions)


def change(lines: Sequence[bytes], *, by: SigningKey = OLD, after: SigningKey = NEW) -> bytes:
    signed = note(by, lines, f"{CONTINUES}{after.vkey}")
    body = {"before": by.vkey, "after": after.vkey, "checkpoint": signed}
    return line(len(lines), ORIGIN_KIND, body)


BEFORE = [line(i) for i in range(3)]
LOG = [*BEFORE, change(BEFORE), line(4)]


def test_a_log_goes_on_under_another_origin_and_both_parts_verify() -> None:
    notes = [note(OLD, LOG[:2]), note(OLD, BEFORE), note(NEW, LOG)]
    verdict = verify_log(LOG, notes, [OLD.vkey])
    assert verdict.findings == ()
    assert verdict.facts.origin == NEW.name
    assert verdict.facts.copied == (f"a copy of {OLD.name}: from entry 3 on it is {NEW.name}",)
    assert verify_log(LOG, [note(NEW, LOG)], [NEW.vkey]).ok  # who knows the copy's key alone


def test_a_copy_of_a_copy_is_followed_from_the_first_key() -> None:
    third = SigningKey.generate("assay.test/log/copy-11111111")
    log = [*LOG, change(LOG, by=NEW, after=third), line(6)]
    assert verify_log(log, [note(OLD, BEFORE), note(NEW, LOG), note(third, log)], [OLD.vkey]).ok


def test_a_key_that_was_named_and_never_used_does_no_harm() -> None:
    unused = SigningKey.generate("assay.test/log/copy-22222222")
    died = [*BEFORE, change(BEFORE, after=unused)]
    log = [*died, change(died)]
    assert verify_log(log, [note(OLD, BEFORE), note(NEW, log)], [OLD.vkey]).ok


@pytest.mark.parametrize(
    ("log", "notes", "wrong"),
    [
        (LOG, [note(OLD, LOG)], "checkpoint.origin"),  # the old name signs what only the copy has
        (LOG, [note(NEW, BEFORE)], "checkpoint.origin"),  # the copy signs what came before it
        (LOG, [note(OLD, LOG, origin=NEW.name)], "checkpoint.signature"),  # under the copy's name, by another key
        ([*BEFORE, line(3), line(4)], [note(NEW, [*BEFORE, line(3), line(4)])], "checkpoint.signature"),  # no entry
        ([*BEFORE, change(BEFORE, by=STRANGER)], [note(NEW, [*BEFORE, change(BEFORE, by=STRANGER)])],
         "checkpoint.signature"),  # a stranger names the copy's key
        ([line(0), line(1), line(2, "other"), change(BEFORE)], [], "entry.origin"),  # of another log
        ([*BEFORE[:2], change(BEFORE).replace(b'"index":3', b'"index":2')], [], "entry.origin"),  # of more entries
        ([*BEFORE, line(3, ORIGIN_KIND, {"before": OLD.vkey})], [note(OLD, BEFORE)], "entry.origin"),
        ([*BEFORE, line(3, ORIGIN_KIND, {"before": 1, "after": None, "checkpoint": []})], [], "entry.origin"),
    ],
)  # fmt: skip
def test_what_the_old_key_did_not_sign_is_found(log: list[bytes], notes: list[str], wrong: str) -> None:
    found = {finding.what for finding in verify_log(log, notes, [OLD.vkey]).findings}
    assert wrong in found, found


def test_an_altered_successor_is_found() -> None:
    body = json.loads(LOG[3])["body"] | {"after": STRANGER.vkey}
    log = [*BEFORE, line(3, ORIGIN_KIND, body)]
    verdict = verify_log(log, [note(STRANGER, log)], [OLD.vkey])
    assert {"entry.origin", "checkpoint.signature"} <= {finding.what for finding in verdict.findings}
