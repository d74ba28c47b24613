"""What the ledger has written is neither changed nor deleted, by the triggers and by the grants of a role."""

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from bench.proofs.installation import migrate
from core.db import Database
from governance.ledger import guard
from governance.ledger.guard import LedgerGuardedError, unguarded
from tests.databases import POSTGRESQL_ONLY
from tests.governance.ledger.test_ledger import append

REFUSED = (
    "update ledger_entry set entry = '{}'", "delete from ledger_entry", "update ledger_checkpoint set note = ''",
    "delete from ledger_checkpoint", "delete from ledger_binding",
)  # fmt: skip


@pytest.fixture
def ledger(database: Database) -> Database:
    append(database, 2)
    with database.write() as db:
        db.execute(text("insert into ledger_binding (entry, leaves) values (1, 'x')"))
        db.execute(text("insert into ledger_checkpoint (size, root, note, at) values (2, 'r', 'n', current_timestamp)"))
    return database


def test_changes_of_what_was_written_are_refused(ledger: Database) -> None:
    for statement in REFUSED:
        with pytest.raises(DBAPIError, match="only ever added"), ledger.write() as db:
            db.execute(text(statement))


def test_a_repair_may_change_it_and_the_triggers_come_back(ledger: Database) -> None:
    with ledger.write() as db, unguarded(db):
        db.execute(text("update ledger_entry set leaf = leaf"))
    with ledger.engine.connect() as connection:
        assert guard.missing(connection) == []
    with ledger.write() as db:
        guard.remove(db.connection())
    with ledger.engine.begin() as connection:
        assert len(guard.missing(connection)) in (5, 8)
        guard.install(connection)
        assert guard.missing(connection) == []


@POSTGRESQL_ONLY
def test_a_role_of_the_application_only_adds(ledger: Database) -> None:
    role = f"app_{make_url(ledger.engine.url).database}"
    with ledger.engine.begin() as connection:
        connection.execute(text(f"create role {role} login"))
        for statement in guard.grants(role):
            connection.execute(text(statement))
    as_role = Database(ledger.engine.url.set(username=role).render_as_string(hide_password=False))
    try:
        migrate(as_role.engine.url.render_as_string(hide_password=False))  # as a start does, with nothing to do
        append(as_role, 2)
        denied = (*REFUSED, "truncate ledger_entry", "drop trigger ledger_entry_no_update on ledger_entry",
                  "alter table ledger_entry disable trigger all", "delete from ledger_head")  # fmt: skip
        for statement in denied:
            with pytest.raises(DBAPIError, match=r"permission denied|must be owner"), as_role.write() as db:
                db.execute(text(statement))
        with pytest.raises(LedgerGuardedError, match="role that owns them"), as_role.write() as db, unguarded(db):
            pass
        with as_role.write() as db:  # an erasure withholds leaves
            db.execute(text("update ledger_binding set leaves = leaves"))
    finally:
        as_role.dispose()
        with ledger.engine.begin() as connection:
            connection.execute(text(f"drop owned by {role}"))
            connection.execute(text(f"drop role {role}"))
