"""A Delta table at one version: its data files, and which rows each file can hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Final

NEXT_SEQ: Final = "assay.next_seq"  # transaction that keeps the next `seq` when the rows with the highest are removed


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file of a table, with the minima and maxima of `seq`, `ts` and `received_at`."""

    path: str  # relative to the table's folder
    day: date | None  # its partition
    rows: int
    size: int  # bytes
    low: Mapping[str, Any]
    high: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A table at one version; version -1 is a table that does not exist yet."""

    version: int
    files: tuple[DataFile, ...]
    columns: Mapping[str, str]  # name -> Delta type, partition column included
    txns: Mapping[str, int] = field(default_factory=dict)  # watched application -> its newest transaction
    end: int | None = None  # set if the version's files are gone: its rows are those of `files` with seq < end

    @property
    def rows(self) -> int:
        return sum(f.rows for f in self.files)

    @property
    def next_seq(self) -> int:
        """The `seq` of the next row. Numbers of removed rows are never reused."""
        after = [int(f.high["seq"]) + 1 for f in self.files if f.high.get("seq") is not None]
        return max(self.txns.get(NEXT_SEQ, 0), *after, 0)

    def lowest(self, column: str) -> Any:
        return min((v for f in self.files if (v := f.low.get(column)) is not None), default=None)

    def highest(self, column: str) -> Any:
        return max((v for f in self.files if (v := f.high.get(column)) is not None), default=None)

    def before(self, end: int) -> "Snapshot":
        """Only the rows with seq < end."""
        return replace(self, end=end if self.end is None else min(end, self.end))

    def between(
        self,
        from_seq: int | None = None,
        to_seq: int | None = None,
        *,
        from_ts: datetime | None = None,
        to_ts: datetime | None = None,
    ) -> tuple[DataFile, ...]:
        """Files that may hold rows with from_seq <= seq < to_seq and from_ts <= ts < to_ts."""
        return tuple(
            f for f in self.files if _may_hold(f, "seq", from_seq, to_seq) and _may_hold(f, "ts", from_ts, to_ts)
        )


def _may_hold(file: DataFile, column: str, first: Any, end: Any) -> bool:
    low, high = file.low.get(column), file.high.get(column)
    return (end is None or low is None or low < end) and (first is None or high is None or high >= first)


EMPTY: Final = Snapshot(-1, (), {})
