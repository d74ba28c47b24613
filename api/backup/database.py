"""The database of a backup: SQLite by its online backup, PostgreSQL by pg_dump, each at one moment."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url

from api.backup.copying import BackupFailedError
from core.errors import InvalidError

SQLITE: Final = "assay.db"
DUMP: Final = "database.dump"  # custom format of pg_dump


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a database that is in use, as it was at one moment. Writers are not held up."""
    with closing(sqlite3.connect(source, timeout=30)) as live, closing(sqlite3.connect(target)) as copy:
        live.backup(copy)  # in one step: with several, each write of another process would begin it again
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, which opens on a read-only medium too


def dump_postgres(url: str, target: Path, snapshot: str) -> None:
    """Dump a database with pg_dump in its custom format, as it was at the moment of an exported snapshot.

    Raises:
        InvalidError: pg_dump is not installed.
        BackupFailedError: it failed.
    """
    options = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}", f"--file={target}"]
    _run("pg_dump", options, make_url(url))


def load_postgres(dump: Path, url: str) -> None:
    """Load a dump into an empty database, whole or not at all.

    Raises:
        InvalidError: pg_restore is not installed, or the database is not empty.
        BackupFailedError: pg_restore failed.
    """
    from sqlalchemy import create_engine, inspect

    engine = create_engine(url)
    try:
        if inspect(engine).get_table_names():
            raise InvalidError(
                "db.url names a database that has tables; make an empty one and set ASSAY_DB__URL to it", field="db.url"
            )
    finally:
        engine.dispose()
    options = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", str(dump)]
    _run("pg_restore", options, make_url(url))


def _run(program: str, options: list[str], url: URL) -> None:
    """Run a program of PostgreSQL; the password goes by the environment, where other users cannot read it."""
    found = shutil.which(program)
    if found is None:
        raise InvalidError(
            f"{program} is not installed, and the database is PostgreSQL; install the client programs of your server's "
            "version (Debian: postgresql-client)", field="db.url",
        )  # fmt: skip
    address = url.set(drivername="postgresql", password=None).render_as_string()
    environment = os.environ | ({"PGPASSWORD": str(url.password)} if url.password else {})
    done = subprocess.run(  # noqa: S603 - a program found on the path, no shell
        [found, f"--dbname={address}", *options], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = " ".join(done.stderr.split())[:500] or f"exit code {done.returncode}"
        raise BackupFailedError(f"{program} failed: {said}", program=program)
