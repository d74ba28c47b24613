"""The metadata database: SQLite by default, PostgreSQL by URL, the same code on both."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

from sqlalchemy import JSON, BigInteger, DateTime, Engine, MetaData, Uuid, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Connection, Dialect, make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.types import TypeDecorator


def insert_if_new(db: Session, into: type["Base"], values: Mapping[str, Any]) -> None:
    """Insert a row unless it conflicts with an existing one."""
    if db.get_bind().dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # slow to import, and most installations do not need it

        db.execute(postgresql.insert(into).values(**values).on_conflict_do_nothing())
    else:
        db.execute(sqlite.insert(into).values(**values).on_conflict_do_nothing())


class UtcDateTime(TypeDecorator[datetime]):
    """Zone-aware UTC in Python; timestamptz on PostgreSQL, naive UTC on SQLite. A naive value is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive time {value.isoformat()}; times are stored in UTC with their zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads a plain class attribute
        datetime: UtcDateTime(),
        int: BigInteger(),  # sequence numbers pass 2**31 on a busy model
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
        UUID: Uuid(),
    }


class Keyed:
    """A UUID primary key made by the application."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)


class Bound:
    """A table whose rows people are shown. Each change of a row is bound to the ledger (`governance.binding`).

    Its keys are UUIDs.
    """

    unbound: ClassVar[Mapping[str, str]] = {}  # columns that are not bound, and why


def _tune_sqlite(connection: Any, _record: Any, *, durable: bool) -> None:
    connection.isolation_level = None  # we emit BEGIN ourselves, below
    # secure_delete overwrites deleted data with zeros; for what it leaves, see `Database.forget`.
    for pragma in (
        "journal_mode=WAL", f"synchronous={'FULL' if durable else 'OFF'}", "foreign_keys=ON", "busy_timeout=30000",
        "secure_delete=ON",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A deferred transaction that turns into a writer half-way fails at once when another writer came first,
    # whatever the busy timeout; writers therefore take the lock at BEGIN.
    mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {mode}")


def _without_nul(connection: Any, _record: Any) -> None:
    """Let PostgreSQL's driver send U+FFFD for NUL, which that database takes in no text.

    What comes in is refused where it comes in (`core.text`). This is for what an earlier version has let in, and for
    what is only looked for: it is found by no name, which is the right answer.
    """
    from psycopg.types.string import StrDumperUnknown

    class Dumper(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "\ufffd") if "\0" in obj else obj)

    connection.adapters.register_dumper(str, Dumper)


class Database:
    """One engine per process: `write()` and `read()` are units of work."""

    def __init__(self, url: str, *, pool_size: int = 5, durable: bool = True) -> None:
        """`durable` is off for a database that is discarded with its process: SQLite then never waits for the disk."""
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            if parsed.database and parsed.database != ":memory:":
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            self.engine: Engine = create_engine(parsed, pool_size=pool_size + 10, max_overflow=50)
            event.listen(self.engine, "connect", partial(_tune_sqlite, durable=durable))
            event.listen(self.engine, "begin", _begin)
        else:
            self.engine = create_engine(parsed, pool_size=pool_size, max_overflow=20, pool_pre_ping=True)
            event.listen(self.engine, "connect", _without_nul)
        self.writers = sessionmaker(self.engine, expire_on_commit=False)
        # A reader sees one state of the database, as with SQLite: what it compares was there at the same moment.
        snapshot = {} if parsed.get_backend_name() == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        self._reading = self.engine.execution_options(sqlite_begin="DEFERRED", **snapshot)
        self.readers = sessionmaker(self._reading, expire_on_commit=False)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that commits at the end and rolls back on an error."""
        with self.writers.begin() as db:
            yield db

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A read-only transaction, never committed. Objects stay readable after it."""
        with self.readers() as db:
            yield db  # closing rolls back; an explicit rollback would also expire every object

    def read_connection(self) -> Connection:
        """`read` without the ORM, for queries that run hundreds of times a second. Use it as a context manager."""
        return self._reading.connect()

    def forget(self) -> None:
        """Make SQLite write its file anew and empty its write-ahead file. PostgreSQL manages its own.

        Both may still hold deleted rows: `secure_delete` clears an entry, and not the copies that stayed where it once
        stood before its page was divided (SQLite 3.40 to 3.54; findings/sqlite_secure_delete_leaves_copies.sh).
        Writers wait meanwhile, and the disk needs room for the file a second time.
        """
        if self.engine.dialect.name == "sqlite":
            connection = self.engine.raw_connection()
            try:
                connection.cursor().execute("VACUUM")
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.close()

    def dispose(self) -> None:
        self.engine.dispose()
