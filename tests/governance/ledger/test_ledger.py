"""The ledger as a writer: order, proofs, checkpoints; on SQLite and PostgreSQL."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from core.db import Database
from core.errors import IntegrityFailureError, InvalidError
from governance.ledger import guard
from governance.ledger.append import append_entry
from governance.ledger.checkpointing import consistency_proof, inclusion_proof, issue_checkpoint
from governance.ledger.extends import Places
from governance.ledger.read import ledger_leaves, ledger_lines, ledger_rows, ledger_size
from governance.proof import merkle
from governance.proof.checkpoint import verify_checkpoint
from governance.proof.vkey import SigningKey

AT = datetime(2026, 1, 5, tzinfo=UTC)


def append(database: Database, count: int) -> None:
    for i in range(count):
        with database.write() as db:
            append_entry(db, kind="test", actor="tester", subject="model:m", body={"i": i}, at=AT)


def test_entries_are_numbered_in_order_and_the_head_is_their_root(database: Database) -> None:
    append(database, 5)
    with database.read() as db:
        lines = list(ledger_lines(db))
        leaves = ledger_leaves(db)
        assert ledger_size(db) == 5
        assert [b'"index":%d' % i in line for i, line in enumerate(lines)] == [True] * 5
        assert leaves == [merkle.leaf_hash(line) for line in lines]


def test_an_entry_of_a_transaction_that_fails_is_not_there(database: Database) -> None:
    append(database, 1)
    with pytest.raises(RuntimeError), database.write() as db:
        append_entry(db, kind="test", actor="tester", subject="model:m", body={}, at=AT)
        raise RuntimeError
    append(database, 1)
    with database.read() as db:
        assert ledger_size(db) == 2
        assert len(list(ledger_lines(db))) == 2


def test_writers_at_once_never_share_or_skip_an_index(database: Database) -> None:
    threads = [threading.Thread(target=append, args=(database, 10)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as db:
        assert [row.index for row in ledger_rows(db, limit=100)] == list(range(40))


def test_a_checkpoint_signs_the_head_and_is_copied_to_the_anchor(database: Database, tmp_path: Path) -> None:
    key = SigningKey.generate("assay.test/log")
    append(database, 3)
    with database.write() as db:
        made = issue_checkpoint(db, key=key, places=Places(tmp_path), now=AT)
        again = issue_checkpoint(db, key=key, places=Places(tmp_path), now=AT)
    assert again.size == made.size == 3
    found = verify_checkpoint(made.note, [key.vkey])
    assert (found.size, found.root.hex()) == (3, made.root)
    assert (tmp_path / "checkpoint-000000000003.note").read_text() == made.note


def test_an_empty_ledger_is_not_signed(database: Database, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="empty"), database.write() as db:
        issue_checkpoint(db, key=SigningKey.generate("assay.test/log"), places=Places(tmp_path), now=AT)


def test_a_rewritten_log_is_not_signed_again(database: Database, tmp_path: Path) -> None:
    key = SigningKey.generate("assay.test/log")
    append(database, 3)
    with database.write() as db:
        issue_checkpoint(db, key=key, places=Places(tmp_path), now=AT)
    append(database, 1)
    with database.write() as db:
        guard.remove(db.connection())
        db.execute(text("""update ledger_entry set leaf = :leaf where "index" = 1"""), {"leaf": "00" * 32})
    with pytest.raises(IntegrityFailureError, match="not extend"), database.write() as db:
        issue_checkpoint(db, key=key, places=Places(tmp_path), now=AT)


def test_proofs_lead_to_the_roots_they_name(database: Database) -> None:
    append(database, 7)
    with database.read() as db:
        proof = inclusion_proof(db, 2)
        path = [bytes.fromhex(n) for n in proof["proof"]]
        leaf = merkle.leaf_hash(proof["entry"].encode())
        assert merkle.verify_inclusion(leaf, 2, 7, path, bytes.fromhex(proof["root"]))
        grown = consistency_proof(db, 3, 7)
        roots = bytes.fromhex(grown["first_root"]), bytes.fromhex(grown["second_root"])
        assert merkle.verify_consistency(3, 7, *roots, [bytes.fromhex(n) for n in grown["proof"]])
