"""Refuse changes of what the ledger has written: triggers on its tables, and the grants of a role that only adds.

The triggers stop mistakes and every role but the owner of the tables. Whoever owns them can take the triggers away;
what was changed then is found by the verifier. Entries and checkpoints are changed by one part of
Assay alone, which adds an entry that says so: the repair (`governance.ledger.repair`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from core.errors import ForbiddenError, InvalidError

ALL: Final = ("update", "delete", "truncate")
# Leaves may be withheld by an erasure; their hashes stay, and the root in the entry covers them.
GUARDED: Final = {"ledger_entry": ALL, "ledger_checkpoint": ALL, "ledger_binding": ("delete", "truncate")}
ADDED_ONLY: Final = "ledger rows are only ever added"
_FUNCTION: Final = f"""create or replace function ledger_is_only_added_to() returns trigger language plpgsql as $$
begin raise exception '{ADDED_ONLY}: % of % is refused', tg_op, tg_table_name using errcode = 'insufficient_privilege';
end $$"""


class LedgerGuardedError(ForbiddenError):
    code = "ledger_guarded"


def install(connection: Connection) -> None:
    """Create the triggers that are missing."""
    for statement in _statements(connection.dialect.name):
        connection.execute(text(statement))


def _triggers(dialect: str) -> Iterator[tuple[str, str, str]]:
    """Name, table and event of each trigger; SQLite has no truncate."""
    for table, events in GUARDED.items():
        for event in events:
            if dialect != "sqlite" or event != "truncate":
                yield f"{table}_no_{event}", table, event


def _statements(dialect: str) -> Iterator[str]:
    if dialect != "sqlite":
        yield _FUNCTION
    for name, table, event in _triggers(dialect):
        if dialect == "sqlite":
            refuse = f"select raise(abort, '{ADDED_ONLY}: {event} of {table} is refused')"
            yield f"create trigger if not exists {name} before {event} on {table} begin {refuse}; end"
        else:
            each = "statement" if event == "truncate" else "row"
            of = f"before {event} on {table} for each {each}"
            yield f"create or replace trigger {name} {of} execute function ledger_is_only_added_to()"


def remove(connection: Connection) -> None:
    """Take the triggers away: what an owner of the tables can do, and what a migration must undo."""
    dialect = connection.dialect.name
    for name, table, _ in _triggers(dialect):
        connection.execute(text(f"drop trigger if exists {name}{'' if dialect == 'sqlite' else f' on {table}'}"))


@contextmanager
def unguarded(db: Session) -> Iterator[None]:
    """Let the caller change what is guarded, until the block ends; nobody else can in the meantime.

    The triggers come back in the same transaction, so that no other ever sees the tables without them.

    Raises:
        LedgerGuardedError: the role that Assay connects with does not own the tables.
    """
    connection = db.connection()
    try:
        with connection.begin_nested():
            remove(connection)
    except SQLAlchemyError as error:
        raise LedgerGuardedError(
            "the role of ASSAY_DB__URL may only add to the ledger's tables; run this with the role that owns them"
        ) from error
    yield
    install(connection)


def missing(connection: Connection) -> list[str]:
    """Names of triggers that are not there, or do not fire."""
    if connection.dialect.name == "sqlite":
        query = "select name from sqlite_master where type = 'trigger'"
    else:
        query = """select t.tgname from pg_trigger t join pg_class c on c.oid = t.tgrelid
            where t.tgenabled in ('O', 'A') and pg_table_is_visible(c.oid)"""
    there = set(connection.execute(text(query)).scalars())
    return [name for name, _, _ in _triggers(connection.dialect.name) if name not in there]


def restore(db: Session) -> bool:
    """Put back triggers that are missing; False if the role that Assay connects with may not."""
    connection = db.connection()
    if not missing(connection):
        return True
    try:
        with connection.begin_nested():
            install(connection)
    except SQLAlchemyError:
        return False
    return True


def grants(role: str) -> list[str]:
    """Statements that let a role of PostgreSQL run Assay: of the ledger's tables it may read and add, nothing else."""
    if not role.replace("_", "a").isalnum() or not role.isascii():
        raise InvalidError(f"role {role!r}: give a name of letters, digits and _", field="role", value=role)
    name = f'"{role}"'
    return [
        f"grant usage on schema public to {name}",
        f"grant select, insert, update, delete on all tables in schema public to {name}",
        f"grant usage, select on all sequences in schema public to {name}",
        *(f"revoke update, delete, truncate on {table} from {name}" for table in GUARDED),
        f"grant update (leaves) on ledger_binding to {name}",
        f"revoke delete, truncate on ledger_head from {name}",
        f"revoke insert, update, delete on alembic_version from {name}",
    ]
