"""Run by Alembic: opens the database and applies the steps in one transaction."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import event, text

from core import settings
from core.db import Database, UtcDateTime
from migrations.tables import METADATA

_LOCK = 0x41_53_53_41_59  # any constant; the same for everyone who migrates this database


def _render(kind: str, value: Any, _context: AutogenContext) -> str | Literal[False]:
    """Steps name plain types: they must mean the same after our own types have changed."""
    if kind == "type" and isinstance(value, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def _foreign_keys_off(connection: Any, _record: Any) -> None:
    # SQLite alters a table by copying and dropping it, which would delete the rows that refer to it.
    connection.execute("PRAGMA foreign_keys=OFF")


def _migrate(database: Database) -> None:
    sqlite = database.engine.dialect.name == "sqlite"
    if sqlite:
        event.listen(database.engine, "connect", _foreign_keys_off)
    with database.engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=METADATA,
            render_as_batch=sqlite,
            render_item=_render,
            compare_type=True,
            transactional_ddl=True,
        )
        with context.begin_transaction():
            if not sqlite:  # on SQLite the transaction itself has the write lock
                connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            context.run_migrations()


def _run() -> None:
    url = context.config.attributes.get("url") or settings.load().database_url
    database = Database(url)
    try:
        _migrate(database)
    finally:
        database.dispose()


_run()
