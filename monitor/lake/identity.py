"""What identifies a row of a table: its id or, for an outcome, the event's id and every value that was sent.

The identity is computed from the row itself, in a request, a log or a data file, so nothing is stored with the row.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import polars as pl

_ADDED_COLUMNS: Final = frozenset({"ts", "seq", "date"})  # added when an outcome is accepted; not part of its identity


@dataclass(frozen=True, slots=True)
class RowIds:
    """The identities of some rows, in order: `keys` to look them up by, and `whole`, equal only for equal rows."""

    keys: "pl.Series"
    whole: "pl.Series"

    @classmethod
    def plain(cls, ids: "pl.Series") -> "RowIds":
        """Identities of rows that their id alone identifies."""
        return cls(ids, ids)

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class RowIdentity:
    """What identifies the rows of one table."""

    key: str  # the column that rows are looked up by
    by_values: bool = False  # whether the other values belong to the identity; if not, the key alone identifies a row

    def of(self, frame: "pl.DataFrame") -> RowIds:
        keys = frame[self.key]
        return RowIds(keys, _whole_rows(frame, self.key)) if self.by_values else RowIds.plain(keys)


IDENTITIES: Final[Mapping[str, RowIdentity]] = {
    "events": RowIdentity("event_id"),
    "outcomes": RowIdentity("event_id", by_values=True),
    "quarantine": RowIdentity("id"),
    "replacements": RowIdentity("@id"),
}


def _whole_rows(frame: "pl.DataFrame", key: str) -> "pl.Series":
    """Each row's id and its values that are not null, as one text; an added column of nulls does not change it."""
    import polars as pl

    return frame.select(pl.concat_str([pl.col(key), *_value_texts(frame, key)]).alias("whole")).to_series()


def _value_texts(frame: "pl.DataFrame", key: str) -> "Iterator[pl.Expr]":
    import polars as pl

    for name in sorted(set(frame.columns) - _ADDED_COLUMNS - {key}):
        column = pl.col(name)
        if frame.schema[name] == pl.Float64:
            column = pl.when(column == 0).then(0.0).otherwise(column)  # -0 equals 0; Polars drops a `+ 0.0`
        text = _joined(column) if isinstance(frame.schema[name], pl.List) else column.cast(pl.String)
        # No id holds a control character, and the length before a value keeps it from being read as two values.
        yield pl.concat_str([pl.lit(f"\0{name}\0"), text.str.len_bytes().cast(pl.String), pl.lit(":"), text]).fill_null(
            ""
        )


def _joined(lists: "pl.Expr") -> "pl.Expr":
    """Lists of texts as one text each: every text after its length, so that no two lists have the same."""
    import polars as pl

    text = pl.element()
    return lists.list.eval(pl.concat_str([text.str.len_bytes().cast(pl.String), pl.lit(":"), text])).list.join("")
