"""Damage to what follows from sound entries is found, named with its repair, and repaired on the record."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from core.db import Database
from core.errors import IntegrityFailureError
from governance.ledger import guard
from governance.ledger.append import append_entry
from governance.ledger.checkpointing import issue_checkpoint
from governance.ledger.extends import Places
from governance.ledger.head import REPAIR_KIND
from governance.ledger.read import ledger_lines
from governance.ledger.repair import repair_ledger
from governance.ledger.selfcheck import REPAIR, verify_ledger
from governance.proof.vkey import SigningKey
from governance.verify.findings import Finding
from tests.databases import SQLITE_FIRST
from tests.governance.ledger.test_ledger import AT, append

KEY = SigningKey.generate("assay.test/log")
NOTES = "anchor"


@pytest.fixture
def ledger(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    """Six entries, four of them signed; SQLite, which takes any form in any column."""
    shutil.copyfile(sqlite_template, tmp_path / "assay.db")
    database = Database(f"sqlite:///{tmp_path / 'assay.db'}")
    grow(database, tmp_path)
    yield database
    database.dispose()


def grow(database: Database, folder: Path) -> None:
    append(database, 4)
    sign(database, folder)
    append(database, 2)


def sign(database: Database, folder: Path) -> None:
    with database.write() as db:
        issue_checkpoint(db, key=KEY, places=Places(folder / NOTES), now=AT)


def change(database: Database, *statements: str) -> None:
    with database.write() as db:
        guard.remove(db.connection())
        for statement in statements:
            db.execute(text(statement))


def findings(database: Database, folder: Path) -> tuple[Finding, ...]:
    with database.read() as db:
        return verify_ledger(db, places=Places(folder / NOTES), vkeys=[KEY.vkey]).findings


def lines(database: Database) -> list[bytes]:
    with database.read() as db:
        return list(ledger_lines(db))


def repair(database: Database, folder: Path) -> int | None:
    with database.write() as db:
        return repair_ledger(db, places=Places(folder / NOTES), vkeys=[KEY.vkey], now=AT)[1]


DIGIT = """update ledger_head set frontier = json_set(frontier, '$.nodes[1]', '0' || substr(f, 2))
    from (select json_extract(frontier, '$.nodes[1]') as f from ledger_head)"""
BROKEN_HEAD = {
    "digit": DIGIT.replace("'0'", "case substr(f, 1, 1) when '0' then '1' else '0' end"),
    "nodes": """update ledger_head set frontier = '{"size": 6, "nodes": ["zz", "00"]}'""",
    "count": """update ledger_head set frontier = '{"size": 7, "nodes": []}'""",
    "json": "update ledger_head set frontier = 'nothing'",
    "list": "update ledger_head set frontier = '[]'",
    "size": "update ledger_head set size = 5",
    "root": "update ledger_head set root = replace(root, substr(root, 3, 2), 'zz')",
}


@pytest.mark.parametrize("damage", BROKEN_HEAD.values(), ids=BROKEN_HEAD)
def test_a_damaged_head_is_computed_from_the_entries_before_anything_is_added(
    ledger: Database, tmp_path: Path, damage: str
) -> None:
    change(ledger, damage)
    found = findings(ledger, tmp_path)
    assert found
    assert {f.repair for f in found} == {REPAIR}
    append(ledger, 1)
    repaired = json.loads(lines(ledger)[6])
    assert (repaired["kind"], repaired["body"]["entries"]) == (REPAIR_KIND, 6)
    assert len(lines(ledger)) == 8
    sign(ledger, tmp_path)
    assert findings(ledger, tmp_path) == ()


BROKEN_ROWS = {
    "entry as bytes": """update ledger_entry set entry = cast(entry as blob) where "index" in (1, 5)""",
    "leaf as bytes": """update ledger_entry set leaf = cast(leaf as blob) where "index" = 5""",
    "leaf": """update ledger_entry set leaf = 'zz' where "index" = 2""",
    "kind": """update ledger_entry set kind = 'other' where "index" = 5""",
    "subject": """update ledger_entry set subject = x'00' where "index" = 5""",
    "checkpoint root": "update ledger_checkpoint set root = 'no hex'",
    "checkpoint digit": "update ledger_checkpoint set root = '00' || substr(root, 3)",
    "checkpoint number": "update ledger_checkpoint set root = 7",
    "checkpoint time": "update ledger_checkpoint set at = 'never'",
    "checkpoint as bytes": "update ledger_checkpoint set note = cast(note as blob)",
    "head gone": "delete from ledger_head",
    **BROKEN_HEAD,
}


@pytest.mark.parametrize("damage", BROKEN_ROWS.values(), ids=BROKEN_ROWS)
def test_what_follows_from_sound_entries_is_repaired_and_an_entry_says_what(
    ledger: Database, tmp_path: Path, damage: str
) -> None:
    before = lines(ledger)
    change(ledger, damage)
    found = findings(ledger, tmp_path)
    assert found
    assert {f.repair for f in found} == {REPAIR}, [str(f) for f in found]
    assert repair(ledger, tmp_path) == 6
    assert lines(ledger)[:6] == before
    entry = json.loads(lines(ledger)[6])
    assert (entry["kind"], entry["body"]["count"], entry["body"]["signed"]) == (REPAIR_KIND, len(found), 4)
    sign(ledger, tmp_path)
    assert findings(ledger, tmp_path) == ()
    assert repair(ledger, tmp_path) is None


@pytest.mark.parametrize(
    "damage",
    [
        """update ledger_entry set entry = replace(entry, 'tester', 'nobody') where "index" = 1""",
        """update ledger_entry set entry = cast(replace(entry, 'tester', 'nobody') as blob) where "index" = 1""",
        """update ledger_entry set entry = x'ff00' where "index" = 5""",
        """delete from ledger_entry where "index" = 5""",
        "update ledger_checkpoint set note = replace(note, 'time', 'Time')",
    ],
)
def test_what_may_be_an_altered_entry_is_not_repaired(ledger: Database, tmp_path: Path, damage: str) -> None:
    change(ledger, damage)
    assert any(not f.repair for f in findings(ledger, tmp_path))
    before = lines(ledger)
    with pytest.raises(IntegrityFailureError, match="cannot be repaired"):
        repair(ledger, tmp_path)
    assert lines(ledger) == before


def test_a_head_that_agrees_with_nothing_stops_the_log(ledger: Database, tmp_path: Path) -> None:
    change(ledger, BROKEN_HEAD["digit"], BROKEN_HEAD["root"])
    with pytest.raises(IntegrityFailureError, match="neither root nor frontier"):
        append(ledger, 1)
    assert repair(ledger, tmp_path) == 6  # a person decides it, and the entry says how much was signed
    append(ledger, 1)


@SQLITE_FIRST
def test_a_wrong_node_is_repaired_on_each_kind_of_database(database: Database, tmp_path: Path) -> None:
    grow(database, tmp_path)
    wrong = json.dumps({"size": 6, "nodes": ["00" * 32, "11" * 32]})
    change(database, f"update ledger_head set frontier = '{wrong}'")
    assert [f.what for f in findings(database, tmp_path)] == ["head.frontier"]
    sign(database, tmp_path)
    assert findings(database, tmp_path) == ()
    change(database, "update ledger_checkpoint set root = 'no hex', at = '2001-01-01T00:00:00Z' where size = 4")
    assert {f.what for f in findings(database, tmp_path)} == {"checkpoint.columns"}
    with database.write() as db:
        append_entry(db, kind="test", actor="ann", subject="it", body={}, at=AT)
    assert repair(database, tmp_path) == 8
    sign(database, tmp_path)
    assert findings(database, tmp_path) == ()


def test_a_leaf_hash_that_is_none_is_not_signed_and_the_words_name_the_remedy(ledger: Database, tmp_path: Path) -> None:
    change(ledger, BROKEN_ROWS["leaf"])
    with pytest.raises(IntegrityFailureError, match=r"ledger entry 2 is no hash.*`assay ledger repair`"):
        sign(ledger, tmp_path)
