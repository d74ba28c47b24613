"""Which rows a data quality alarm is about, by their values: for the measurement and for its sentence.

Shown are values of columns that nobody declared personal. Subjects, protected attributes and columns with redaction are
never shown; where the spec has a subject, only values that at least five people share; texts, only those that at
least five rows share.
"""

from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from monitor.quality import QualityCheck
from monitor.quality.base import Learned
from monitor.quality.named import PERSON, NamedRows, named
from monitor.spec.model import ModelSpec

PERSONAL_ROLES: Final = ("subject", "protected")
UNNAMED_TYPES: Final = ("string", "vector", "texts")  # identifiers, and values that nobody reads
MAX_IN_SENTENCE: Final = 2
MAX_COLUMNS_IN_SENTENCE: Final = 4


def faulty_rows(
    spec: ModelSpec, check: QualityCheck, column: str, window: pl.DataFrame, learned: Learned
) -> list[NamedRows]:
    """The rows that a check found, by their most frequent values; none where values say nothing, or may not be shown.

    Args:
        column: that the check read; "" if it read whole rows.
        window: all rows of the window.
        learned: what the check learned from the reference.
    """
    if check.members is None:
        return []
    view = window.select(pl.col(column).alias("value")) if column else window
    shown = [name for name in ([column] if column else spec.event_columns) if _may_show(spec, name, window)]
    subject = [pl.col(name).alias(PERSON) for name in spec.with_role("subject") if name in window.columns]
    texts = [name for name in shown if spec.columns[name].type == "text"]
    return named(window.select(*shown, *subject), check.members(view, learned), shown, texts)


def _may_show(spec: ModelSpec, name: str, window: pl.DataFrame) -> bool:
    declared = spec.columns[name]
    return (
        name in window.columns
        and declared.role not in PERSONAL_ROLES
        and declared.type not in UNNAMED_TYPES
        and name not in spec.redact
    )


def document(found: Sequence[NamedRows]) -> list[dict[str, Any]]:
    """As JSON; values stand under `detail`, where an erasure looks for them."""
    return [
        {
            "rows": one.rows, "people": one.people, "withheld": not one.values,
            "values": [{"column": column, "detail": value} for column, value in one.values],
        }
        for one in found
    ]  # fmt: skip


def in_words(found: Sequence[NamedRows], *, by_column: bool) -> str:
    """The most frequent ones as a sentence, with a space in front; "" if there is none.

    Args:
        by_column: whether the sentence names the column already.
    """
    if not found:
        return ""
    parts = [f"{_values(one, by_column=by_column)} ({_count(one)})" for one in found[:MAX_IN_SENTENCE] if one.values]
    if not parts:
        return " No value of theirs is shared by enough people to be named."
    return f" Most often: {'; '.join(parts)}."


def _values(one: NamedRows, *, by_column: bool) -> str:
    shown = [
        ("no value" if value is None else repr(value)) if by_column else f"`{name}` {_quoted(value)}"
        for name, value in one.values[:MAX_COLUMNS_IN_SENTENCE]
    ]
    more = len(one.values) - MAX_COLUMNS_IN_SENTENCE
    return ", ".join(shown) + (f" and {more} more {'column' if more == 1 else 'columns'}" if more > 0 else "")


def _quoted(value: str | None) -> str:
    return "missing" if value is None else repr(value)


def _count(one: NamedRows) -> str:
    rows = f"{one.rows:,} row{'s' if one.rows > 1 else ''}"
    if one.people is None:
        return rows
    return f"{rows} of {one.people:,} {'people' if one.people > 1 else 'person'}"
