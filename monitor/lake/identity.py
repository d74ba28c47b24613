"""What tells the rows of a table apart: their id, or, of outcomes, the event's id and every value that is given.

Computed from the row wherever it lies (a request, a log, a data file), so nothing is stored beside it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import polars as pl

_NOT_SENT: Final = frozenset({"ts", "seq", "date"})  # what acceptance adds to an outcome


@dataclass(frozen=True, slots=True)
class Ids:
    """Of some rows, in their order: `keys` they are looked up by, and `whole`, which is equal for equal rows only."""

    keys: "pl.Series"
    whole: "pl.Series"

    @classmethod
    def plain(cls, ids: "pl.Series") -> "Ids":
        """Of rows that their id alone tells apart."""
        return cls(ids, ids)

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class Identity:
    """`key`: the column rows are looked up by; `by_values`: rows of one key are told apart by what else they hold."""

    key: str
    by_values: bool = False

    def of(self, frame: "pl.DataFrame") -> Ids:
        keys = frame[self.key]
        return Ids(keys, _written(frame, self.key)) if self.by_values else Ids.plain(keys)


IDENTITIES: Final[Mapping[str, Identity]] = {
    "events": Identity("event_id"),
    "outcomes": Identity("event_id", by_values=True),
    "quarantine": Identity("id"),
}


def _written(frame: "pl.DataFrame", key: str) -> "pl.Series":
    """Each row's id and its values that are not null, as one text; a column that nobody sent changes nothing."""
    import polars as pl

    return frame.select(pl.concat_str([pl.col(key), *_parts(frame, key)]).alias("whole")).to_series()


def _parts(frame: "pl.DataFrame", key: str) -> "Iterator[pl.Expr]":
    import polars as pl

    for name in sorted(set(frame.columns) - _NOT_SENT - {key}):
        column = pl.col(name)
        if frame.schema[name] == pl.Float64:
            column = column + 0.0  # -0 is 0
        text = column.cast(pl.String)
        # No id holds a control character, and with its length before it no value can pass for two.
        yield pl.concat_str([pl.lit(f"\0{name}\0"), text.str.len_bytes().cast(pl.String), pl.lit(":"), text]).fill_null(
            ""
        )
