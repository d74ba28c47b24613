"""`assay verify` on an installation's own ledger: every stored field counts."""

from pathlib import Path

import pytest
from sqlalchemy import text

from core.db import Database
from governance.ledger import guard
from governance.ledger.checkpointing import issue_checkpoint
from governance.ledger.extends import Places
from governance.ledger.selfcheck import verify_ledger
from governance.proof.vkey import SigningKey
from tests.databases import SQLITE_FIRST
from tests.governance.ledger.test_ledger import AT, append

pytestmark = SQLITE_FIRST

KEY = SigningKey.generate("assay.test/log")


@pytest.fixture
def anchor(database: Database, tmp_path: Path) -> Path:
    folder = tmp_path / "anchor"
    append(database, 4)
    with database.write() as db:
        issue_checkpoint(db, key=KEY, places=Places(folder), now=AT)
    append(database, 2)
    return folder


def check(database: Database, anchor: Path) -> list[str]:
    with database.read() as db:
        return [str(f) for f in verify_ledger(db, places=Places(anchor), vkeys=[KEY.vkey]).findings]


def test_an_untouched_ledger_verifies(database: Database, anchor: Path) -> None:
    assert check(database, anchor) == []


@pytest.mark.parametrize("index", [0, 2, 5])
def test_a_changed_entry_is_named(database: Database, anchor: Path, index: int) -> None:
    with database.write() as db:
        guard.remove(db.connection())
        entry = db.execute(text("""select entry from ledger_entry where "index" = :i"""), {"i": index}).scalar_one()
        for position in range(0, len(entry), 7):
            damaged = entry[:position] + chr(ord(entry[position]) ^ 1) + entry[position + 1 :]
            update = text("""update ledger_entry set entry = :e where "index" = :i""")
            db.execute(update, {"e": damaged, "i": index})
            found = verify_ledger(db, places=Places(anchor), vkeys=[KEY.vkey])
            assert not found.ok
            assert any(f"entry {index}" in f.where for f in found.findings), (position, found.findings)
        db.rollback()


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("""update ledger_entry set kind = 'other' where "index" = 1""", "entry 1"),
        ("""update ledger_entry set subject = 'model:x' where "index" = 3""", "entry 3"),
        ("""update ledger_entry set leaf = 'zz' where "index" = 2""", "entry 2"),
        ("""delete from ledger_entry where "index" = 2""", "entry 2"),
        ("""delete from ledger_entry where "index" = 5""", "ledger head"),
        ("update ledger_head set size = 3", "ledger head"),
        ("update ledger_head set root = '00'", "ledger head"),
        ("update ledger_checkpoint set note = replace(note, 'assay', 'assaj')", "checkpoint"),
        ("update ledger_checkpoint set root = '00'", "checkpoint"),
        ("delete from ledger_checkpoint", ""),
    ],
)
def test_every_other_stored_field_counts(database: Database, anchor: Path, statement: str, named: str) -> None:
    with database.write() as db:
        guard.remove(db.connection())
        db.execute(text(statement))
    found = check(database, anchor)
    if statement == "delete from ledger_checkpoint":  # the anchor's copy still proves the entries
        assert found == []
        return
    assert any(named in finding for finding in found), found


def test_a_changed_anchor_is_named(database: Database, anchor: Path) -> None:
    note = next(anchor.iterdir())
    note.write_text(note.read_text().replace("\n4\n", "\n3\n"))
    assert any("checkpoint" in f for f in check(database, anchor))


def test_a_database_cut_back_below_the_anchor_is_found(database: Database, anchor: Path) -> None:
    with database.write() as db:
        guard.remove(db.connection())
        db.execute(text("""delete from ledger_entry where "index" > 2"""))
        db.execute(text("delete from ledger_checkpoint"))
        db.execute(text("update ledger_head set size = 3"))
    assert check(database, anchor)
