"""How many entries a second one writer adds, with every commit on disk before it counts."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.load.results import write_lines
from core.db import Base, Database
from governance.ledger.append import append_entry
from tests.postgres import binaries, serve

ENTRIES: Final = 20_000
TOGETHER: Final = 50  # entries of one transaction, as the evaluation of a model adds them
SINGLE: Final = 400  # further entries with a transaction each
TABLES: Final = ("ledger_entry", "ledger_head", "ledger_subtree", "ledger_checkpoint")


def run_sqlite(out: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="assay-append-") as folder:
        _measure(out, "append_sqlite", f"sqlite:///{folder}/assay.db")


def run_postgres(out: Path) -> None:
    found = binaries()
    if found is None:
        raise SystemExit("append_postgres needs a PostgreSQL server on this machine")
    with serve(found, durable=True) as server:
        _measure(out, "append_postgres", server.url(server.create()))


def _measure(out: Path, case: str, url: str) -> None:
    with _opened(url) as database:
        rate = _rate(database, ENTRIES, TOGETHER)
        single = _rate(database, SINGLE, 1)
    print(f"{case}: {rate:.0f} entries/s in transactions of {TOGETHER}, {single:.0f} entries/s in one each")
    found = {"entries_per_s": (rate, "entries/s")}
    write_lines(
        out, case, found, bench="ledger", entries=ENTRIES, per_transaction=TOGETHER, single_per_s=round(single, 1)
    )


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    database = Database(url)
    try:
        tables = [Base.metadata.tables[name] for name in TABLES]
        Base.metadata.create_all(database.engine, tables=tables)
        yield database
    finally:
        database.dispose()


def _rate(database: Database, entries: int, together: int) -> float:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    body = {"window": "2026-01-01", "digest": "sha256:" + "ab" * 32, "measurements": 12}
    begun = time.perf_counter()
    for first in range(0, entries, together):
        with database.write() as db:
            for number in range(first, first + together):
                append_entry(
                    db, kind="window.evaluated", actor="assay", subject="model:bench", body=body | {"number": number},
                    at=at,
                )  # fmt: skip
    return entries / (time.perf_counter() - begun)
