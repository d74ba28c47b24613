"""Which files a legal hold keeps: retention leaves them in their table, and vacuum on the disk."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from governance.policy.holds import LegalHold, standing_holds
from monitor.site import Site
from monitor.upkeep.erase_rows import subject_columns

if TYPE_CHECKING:
    import polars as pl

    from monitor.lake.snapshot import DataFile
    from monitor.lake.table import LakeTable


def held_files(site: Site, model: str, kind: str, table: "LakeTable", files: Sequence["DataFile"]) -> set[str]:
    """Paths of the files, of those given, that a hold keeps.

    A hold about a person keeps each file with a row of theirs, found as an erasure finds it; of rejected rows, which
    may name the person anywhere in their text, every file of its days.
    """
    with site.database.read() as db:
        found = standing_holds(db, model)
    kept = set[str]()
    for hold in found:
        if hold.subject is None or kind == "quarantine":
            kept |= {file.path for file in files if hold.covers(file.day, arrival=kind != "events")}
        else:
            kept |= _files_of(site, model, kind, table, files, hold)
    return kept


def held_days(site: Site, model: str) -> list[LegalHold]:
    """The holds in force: vacuum spares the files of their days, whoever's rows they are about."""
    with site.database.read() as db:
        return standing_holds(db, model)


def spares(found: Sequence[LegalHold], kind: str, path: str) -> bool:
    """Whether one of the holds keeps the data file at a path such as `date=2026-01-31/NAME.parquet`."""
    day = date.fromisoformat(path.partition("/")[0].partition("=")[2])
    return any(hold.covers(day, arrival=kind != "events") for hold in found)


def _files_of(
    site: Site, model: str, kind: str, table: "LakeTable", files: Sequence["DataFile"], hold: LegalHold
) -> set[str]:
    import polars as pl

    columns = subject_columns(site, model)
    ids = pl.Series("ids", [], dtype=pl.String)
    if kind != "events":
        events = site.events.table(model, "events")
        if events.snapshot().version >= 0:
            rows = events.scan()
            ids = rows.filter(_theirs(rows, columns, hold, ids)).select("event_id").collect()["event_id"]
    kept = set[str]()
    for file in files:
        if kind == "events" and not hold.covers(file.day):
            continue
        rows = table.scan_files(table.snapshot(), [file])
        if rows.filter(_theirs(rows, columns, hold, ids)).limit(1).collect().height:
            kept.add(file.path)
    return kept


def _theirs(rows: "pl.LazyFrame", columns: Sequence[str], hold: LegalHold, ids: "pl.Series") -> "pl.Expr":
    """Rows that name the person, or an event of theirs."""
    import polars as pl

    there = rows.collect_schema().names()
    named: list[pl.Expr] = [pl.col(c) == hold.subject for c in columns if c in there]
    if len(ids):
        named += [pl.col(c).is_in(ids.implode()) for c in ("event_id", "@of") if c in there]
    return pl.any_horizontal(named).fill_null(value=False) if named else pl.lit(value=False)
