"""Read a database without changing it, also where nothing may be written."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from sqlalchemy import create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

_BESIDE = ("-wal", "-journal")  # files of committed or half-made changes beside a SQLite database


@contextmanager
def reading(url: str) -> Iterator[Session]:
    """A transaction that can change nothing. An SQLite database that is not there is not created.

    On a medium without write permission, SQLite can take neither its locks nor the changes that a service left in the
    write-ahead file. A database with such changes is then read from a copy in the folder for temporary files.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        engine = create_engine(parsed, pool_size=1)
        snapshot = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"  # as of one moment, as with SQLite
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(snapshot))
        with _session(engine) as db:
            yield db
        return
    with _readable(Path(parsed.database)) as uri:
        engine = create_engine("sqlite://", creator=partial(_connect, uri), poolclass=NullPool)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN DEFERRED"))
        with _session(engine) as db:
            yield db


@contextmanager
def _session(engine: Any) -> Iterator[Session]:
    try:
        with Session(engine) as db:
            yield db
    finally:
        engine.dispose()


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30)  # we emit BEGIN ourselves
    connection.execute("PRAGMA query_only=ON")
    connection.text_factory = _text
    return connection


def _text(stored: bytes) -> str:
    """Damaged text is read too, so that whoever checks it can name it."""
    return stored.decode(errors="surrogateescape")


@contextmanager
def _readable(path: Path) -> Iterator[str]:
    """The URI under which SQLite can read a database file."""
    effective = os.access in os.supports_effective_ids
    if all(os.access(one, os.W_OK, effective_ids=effective) for one in (path, path.parent)):
        yield _uri(path, "mode=rw")
        return
    beside = [end for end in _BESIDE if (file := Path(f"{path}{end}")).exists() and file.stat().st_size]
    if not beside:
        yield _uri(path, "mode=ro&immutable=1")
    elif _opens(uri := _uri(path, "mode=ro")):  # another user's service has it open
        yield uri
    else:
        with TemporaryDirectory(prefix="assay-read-") as folder:
            for end in ("", *beside):
                shutil.copyfile(f"{path}{end}", Path(folder) / f"{path.name}{end}")
            yield _uri(Path(folder) / path.name, "mode=rw")


def _opens(uri: str) -> bool:
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.execute("select count(*) from sqlite_master").fetchone()
    except sqlite3.OperationalError:
        return False
    return True


def _uri(path: Path, options: str) -> str:
    return f"file:{quote(str(path.absolute()))}?{options}"
