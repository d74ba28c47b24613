"""The functions that docs/verify.md shows a stranger hold for an honest ledger, and for no other."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.db import Database
from governance.ledger.append import append_entry
from governance.ledger.checkpointing import consistency_proof, inclusion_proof, issue_checkpoint
from governance.ledger.extends import Places
from governance.proof.note import NoteSignatureError
from governance.proof.vkey import SigningKey
from tests.databases import SQLITE_FIRST

PAGE = Path(__file__).parents[2] / "docs/verify.md"
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def shown() -> dict[str, Callable[..., bool]]:
    """What the Python example of the page defines."""
    (example,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    namespace: dict[str, Any] = {}
    exec(example, namespace)  # the page is ours
    return namespace


@pytest.fixture
def key() -> SigningKey:
    return SigningKey.generate("assay.test/log")


def grown(database: Database, count: int, key: SigningKey, anchor: Path) -> str:
    """The checkpoint of the ledger after `count` more entries."""
    with database.write() as db:
        for number in range(count):
            append_entry(db, kind="test", actor="ann", subject="it", body={"n": number}, at=AT)
    with database.write() as db:
        return issue_checkpoint(db, key=key, places=Places(anchor), now=AT).note


@SQLITE_FIRST
def test_an_entry_is_found_recorded_by_its_proof_alone(
    database: Database, key: SigningKey, tmp_path: Path, shown: dict[str, Callable[..., bool]]
) -> None:
    note = grown(database, 7, key, tmp_path)
    with database.read() as db:
        found = inclusion_proof(db, 4)
    assert shown["is_recorded"](found, note, key.vkey)
    assert not shown["is_recorded"](found | {"entry": found["entry"].replace('"n":4', '"n":5')}, note, key.vkey)
    assert not shown["is_recorded"](found, note, SigningKey.generate("assay.test/log").vkey)


@SQLITE_FIRST
def test_a_log_has_only_grown_since_a_checkpoint_that_was_kept(
    database: Database, key: SigningKey, tmp_path: Path, shown: dict[str, Callable[..., bool]]
) -> None:
    kept = grown(database, 3, key, tmp_path)
    note = grown(database, 4, key, tmp_path)
    with database.read() as db:
        found = consistency_proof(db, 3, 7)
    assert shown["has_only_grown"](kept, found, note, key.vkey)
    assert not shown["has_only_grown"](kept, found | {"proof": found["proof"][::-1]}, note, key.vkey)
    with pytest.raises(NoteSignatureError):
        shown["has_only_grown"](kept, found, note, SigningKey.generate("assay.test/log").vkey)
