"""Redact levels of protected columns that only erased rows had from counts of groups and the names of groups."""

from collections.abc import Collection, Iterable
from typing import Final
from uuid import UUID

import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.fairness.counts import KEY, OUTCOME, PREDICTION, GroupCounts, merge
from monitor.fairness.counts_codec import decode, encode
from monitor.fairness.grouping import MISSING, band_names
from monitor.spec.model import ModelSpec
from monitor.tables import FairnessCounts

ERASED_MARK: Final = "(erased)"
NO_LEVELS: Final = (MISSING, "all rows", ERASED_MARK)


def levels_in(names: Iterable[str], spec: ModelSpec) -> set[str]:
    """The values of rows that names of groups hold: in an intersection that of each column, in a declared band none."""
    bands = {band for column in spec.columns.values() if column.bands for band in band_names(column.bands)}
    found = set[str]()
    for name in names:
        parts = [part.partition("=") for part in name.split(" & ")]
        crossed = len(parts) > 1 and all(column in spec.columns for column, _, _ in parts)
        found.update(level for _, _, level in parts) if crossed else found.add(name)
    return found - bands - {*NO_LEVELS}


def without_levels(name: str, gone: Collection[str]) -> str:
    """A name of a group without these levels: `sex=F & origin=(erased)`."""
    if name in gone:
        return ERASED_MARK
    parts = [part.partition("=") for part in name.split(" & ")]
    if len(parts) == 1:
        return name
    return " & ".join(f"{column}{sign}{ERASED_MARK if level in gone else level}" for column, sign, level in parts)


def counted_levels(db: Session, window_id: UUID) -> set[str]:
    """The groups and classes that the counts of a window name."""
    row = _counts_of(db, window_id)
    if row is None:
        return set()
    counts = decode(row.data)
    return {level for name in _keys(counts) for level in counts.table[name].drop_nulls().unique()}


def redact_counts(db: Session, window_id: UUID, gone: Collection[str]) -> bool:
    """Name these levels no longer in the counts of a window, whose numbers stay; whether it named one."""
    row = _counts_of(db, window_id)
    if row is None:
        return False
    counts = decode(row.data)
    table = counts.table.with_columns(
        pl.when(pl.col(name).is_in(list(gone))).then(pl.lit(ERASED_MARK)).otherwise(pl.col(name)).alias(name)
        for name in _keys(counts)
    )
    if table.equals(counts.table):
        return False
    row.data = encode(merge([GroupCounts(counts.columns, counts.measures, table)]))
    return True


def _counts_of(db: Session, window_id: UUID) -> FairnessCounts | None:
    return db.scalars(select(FairnessCounts).where(FairnessCounts.window_id == window_id)).one_or_none()


def _keys(counts: GroupCounts) -> list[str]:
    return [*(KEY + name for name in counts.columns), OUTCOME, PREDICTION]
