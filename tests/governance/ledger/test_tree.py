"""Proofs from stored subtrees are those of the whole tree, also where rows are missing; entries keep their order."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, text, update

from core.db import Database
from core.errors import IntegrityFailureError
from governance.ledger.append import append_entry
from governance.ledger.checkpointing import inclusion_proof, issue_checkpoint
from governance.ledger.extends import Places
from governance.ledger.read import ledger_leaves
from governance.ledger.repair import repair_ledger
from governance.ledger.selfcheck import verify_ledger
from governance.ledger.tree import StoredTree, completed
from governance.proof import merkle
from governance.proof.vkey import SigningKey
from governance.tables import LedgerEntry, LedgerHead, LedgerSubtree
from tests.databases import SQLITE_FIRST

pytestmark = SQLITE_FIRST

AT = datetime(2026, 1, 1, tzinfo=UTC)


def append(database: Database, count: int) -> None:
    with database.write() as db:
        for number in range(count):
            append_entry(db, kind="test", actor="a", subject="s", body={"n": number}, at=AT)


def test_proofs_from_subtrees_are_those_of_the_whole_tree(database: Database) -> None:
    for part in (1, 254, 1, 300, 212):  # complete subtrees end inside a transaction, at its end and at its start
        append(database, part)
    with database.read() as db:
        leaves = ledger_leaves(db)
        assert db.scalars(select(LedgerSubtree.index).order_by(LedgerSubtree.index)).all() == [0, 1, 2]
        for size in (1, 2, 255, 256, 257, 511, 512, 600, 768):
            tree = StoredTree(db, size)
            assert tree.root(size) == merkle.root(leaves[:size])
            for index in {0, size // 3, size - 1}:
                assert tree.inclusion_proof(index) == merkle.inclusion_proof(leaves[:size], index)
            for first in {0, 1, size // 2, size - 1, size}:
                assert tree.consistency_proof(first, size) == merkle.consistency_proof(leaves, first, size)
        with pytest.raises(merkle.LeafOutOfRangeError):
            StoredTree(db, 5).inclusion_proof(5)
    with database.write() as db:
        db.execute(delete(LedgerSubtree).where(LedgerSubtree.index == 1))
    with database.read() as db:
        assert StoredTree(db, 768).root(768) == merkle.root(leaves)


def test_a_tree_of_three_levels(database: Database) -> None:
    size = 65_536 + 2_000
    leaves = [hashlib.sha256(str(number).encode()).digest() for number in range(size)]
    frontier, rows = merkle.Frontier(), list[LedgerSubtree]()
    for leaf in leaves:
        rows += completed(frontier, leaf)
        frontier.append(leaf)
    assert {row.level for row in rows} == {1, 2}
    with database.write() as db:
        db.add_all(rows)
        found = [
            {"index": i, "kind": "k", "subject": "s", "entry": "{}", "leaf": leaf.hex()}
            for i, leaf in enumerate(leaves)
        ]
        db.execute(insert(LedgerEntry), found)
    with database.read() as db:
        tree = StoredTree(db, size)
        assert tree.root(size) == frontier.root()
        for index in (0, 65_535, 65_536, size - 1):
            proof = tree.inclusion_proof(index)
            assert merkle.verify_inclusion(leaves[index], index, size, proof, frontier.root())
        old = merkle.root(leaves[:40_000])
        assert merkle.verify_consistency(40_000, size, old, frontier.root(), tree.consistency_proof(40_000, size))


def test_what_a_transaction_added_counts_after_a_part_of_it_failed(database: Database) -> None:
    with database.write() as db:
        append_entry(db, kind="first", actor="a", subject="s", body={}, at=AT)
        part = db.begin_nested()
        append_entry(db, kind="dropped", actor="a", subject="s", body={}, at=AT)
        part.rollback()
        append_entry(db, kind="second", actor="a", subject="s", body={}, at=AT)
        with db.begin_nested():
            append_entry(db, kind="third", actor="a", subject="s", body={}, at=AT)
        append_entry(db, kind="fourth", actor="a", subject="s", body={}, at=AT)
    with database.read() as db:
        kinds = db.scalars(select(LedgerEntry.kind).order_by(LedgerEntry.index)).all()
        head = db.get_one(LedgerHead, 1)
        assert kinds == ["first", "second", "third", "fourth"]
        assert (head.size, head.root) == (4, merkle.root(ledger_leaves(db)).hex())


def test_a_hash_that_is_gone_is_damage_and_no_fault_of_the_service(database: Database) -> None:
    append(database, 5)
    with database.write() as db:
        if db.get_bind().dialect.name == "sqlite":
            db.execute(text("drop trigger if exists ledger_entry_no_delete"))
        else:
            db.execute(text("drop trigger if exists ledger_entry_no_delete on ledger_entry"))
        db.execute(text('delete from ledger_entry where "index" = 3'))
    with database.read() as db, pytest.raises(IntegrityFailureError, match="missing or damaged"):
        inclusion_proof(db, 4)


def test_a_subtree_that_was_changed_is_named_and_repaired(database: Database, tmp_path: Path) -> None:
    key = SigningKey.generate("assay.test/log")
    append(database, 600)
    with database.write() as db:
        issue_checkpoint(db, key=key, places=Places(tmp_path), now=AT)
        db.execute(update(LedgerSubtree).where(LedgerSubtree.index == 1).values(hash="00" * 32))
        db.add(LedgerSubtree(level=3, index=7, hash="11" * 32))
    with database.read() as db:
        found = verify_ledger(db, places=Places(tmp_path), vkeys=[key.vkey]).findings
        assert [(f.what, f.where) for f in found] == [
            ("subtree.hash", "subtree 1/1"), ("subtree.extra", "subtree 3/7")
        ]  # fmt: skip
    with database.write() as db:
        assert repair_ledger(db, places=Places(tmp_path), vkeys=[key.vkey], now=AT)[1] == 600
    with database.read() as db:
        assert verify_ledger(db, places=Places(tmp_path), vkeys=[key.vkey]).ok
        assert StoredTree(db, 600).root(600) == merkle.root(ledger_leaves(db, 600))
