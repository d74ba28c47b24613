"""Which databases a test runs on. Without a word, both: see `database_url` in conftest.py."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.db import Database

# Of SQLite alone: its file is copied, or its settings are read.
SQLITE_ONLY = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
# On SQLite; `make test-all` runs it on PostgreSQL too.
SQLITE_FIRST = pytest.mark.parametrize(
    "database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
# What two processes do at the same moment: SQLite lets one wait from its first statement on.
POSTGRESQL_ONLY = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def at_the_same_moment(database: Database, first: Callable[[Session], object], second: Callable[[], object]) -> None:
    """Do the first in a transaction that ends only once the second waits for it; an error of the second is raised."""
    waiting = text(
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    )
    with ThreadPoolExecutor(1) as pool:
        with database.write() as db:
            first(db)
            db.flush()
            done = pool.submit(second)
            deadline = time.monotonic() + 60
            while not done.done() and time.monotonic() < deadline:
                with database.read() as other:
                    if other.scalar(waiting):
                        break
                time.sleep(0.01)
        done.result(60)
