"""Name faulty rows by their values, so that a person sees whether they are a fault or a group that is really there."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

MAX_NAMED: Final = 5
MAX_COLUMNS: Final = 8
MAX_CHARACTERS: Final = 40
MIN_PEOPLE: Final = 5  # who share values that are shown; fewer might be recognised by them
PERSON: Final = "\0person"  # no column has this name


@dataclass(frozen=True, slots=True)
class NamedRows:
    """Faulty rows with the same values.

    Attributes:
        rows: of the window.
        people: whom they are about; None where no column says so.
        values: column and value of each shown column, the most telling first; None for a missing value. Empty where
            the values are withheld, because fewer than five people, or texts of fewer than five rows, share them.
    """

    rows: int
    people: int | None
    values: tuple[tuple[str, str | None], ...]


def named(frame: pl.DataFrame, faulty: pl.Series, shown: Sequence[str], texts: Collection[str] = ()) -> list[NamedRows]:
    """The most frequent values of faulty rows.

    Args:
        frame: rows of a window, with `PERSON` where each says whom it is about, shape (rows,).
        faulty: the rows to name, shape (rows,).
        shown: columns whose values may be shown.
        texts: those of them that hold written language, which is shown only where at least five rows share it.

    Returns:
        At most five combinations of values, the most frequent first. Each shows at most eight columns: first those of
        which the fewest other rows of the window have the value, numbers last.
    """
    if not shown:
        return []
    bad = faulty.fill_null(value=False)
    rows, others = frame.filter(bad), frame.filter(~bad)
    people = pl.col(PERSON).n_unique() if PERSON in frame.columns else pl.lit(None, dtype=pl.UInt32)
    most = (
        rows.with_row_index("\0place")
        .group_by(shown)
        .agg(pl.len().alias("\0rows"), people.alias("\0people"), pl.col("\0place").min())
        .sort("\0rows", "\0place", descending=[True, False])
        .head(MAX_NAMED)
    )
    found = []
    for row in most.iter_rows(named=True):
        withheld = row["\0people"] is not None and row["\0people"] < MIN_PEOPLE
        columns = [c for c in shown if c not in texts or row["\0rows"] >= MIN_PEOPLE]
        values = () if withheld or not columns else _values(row, others, columns)
        found.append(NamedRows(row["\0rows"], row["\0people"], values))
    return found


def _values(row: dict[str, Any], others: pl.DataFrame, shown: Sequence[str]) -> tuple[tuple[str, str | None], ...]:
    shares = others.select(pl.col(c).eq_missing(pl.lit(row[c], dtype=others.schema[c])).mean() for c in shown).row(0)
    order = sorted(shown, key=lambda c: (others.schema[c].is_numeric(), shares[shown.index(c)] or 0.0))
    return tuple((column, written(row[column])) for column in order[:MAX_COLUMNS])


def written(value: Any) -> str | None:
    """A value as it is shown: whole numbers without a fraction, texts in one line and cut after 40 characters."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    text = " ".join(str(value).split())
    return text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + "…"
