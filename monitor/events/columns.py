"""The columns of a model's four tables, and the checks that rows pass before they are stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from core.errors import InvalidError
from monitor.spec.model import ModelSpec

if TYPE_CHECKING:
    import polars as pl

KINDS: Final = (
    "events",
    "outcomes",
    "quarantine",
    "replacements",
)  # in the order they are flushed: an outcome after its event
DELTA_TYPES: Final = {
    "number": "double",
    "category": "string",
    "text": "string",
    "string": "string",
    "boolean": "boolean",
    "vector": "array<float>",
    "texts": "array<string>",
}
EVENT_FIELDS: Final = {
    "event_id": "string", "ts": "timestamp", "version": "string", "trace_id": "string", "span_id": "string",
    "seq": "long", "received_at": "timestamp",
}  # fmt: skip
OUTCOME_FIELDS: Final = {"event_id": "string", "ts": "timestamp", "seq": "long"}
QUARANTINE_FIELDS: Final = {
    "id": "string", "event_id": "string", "ts": "timestamp", "seq": "long", "kind": "string", "line": "long",
    "field": "string", "reason": "string", "raw": "string", "subject": "string", "body_digest": "string",
}  # fmt: skip
# Beside the columns of an event. No column of a spec may have such a name.
REPLACEMENT_FIELDS: Final = {"@id": "string", "@of": "string", "@seq": "long", "@reason": "string"}


@dataclass(frozen=True, slots=True)
class StoredColumns:
    """What is stored of a model's events."""

    spec: ModelSpec
    columns: Sequence[tuple[str, str]]  # name and Delta type of every column but `seq`
    subjects: Sequence[str]  # columns that are stored as digests

    @classmethod
    def of(cls, spec: ModelSpec) -> "StoredColumns":
        """The columns that a spec declares, after those that every event has."""
        subjects = spec.with_role("subject")
        declared = {name: DELTA_TYPES[c.type] for name, c in spec.event_columns.items()}
        columns = EVENT_FIELDS | declared | dict.fromkeys(subjects, "string")
        return cls(spec, [c for c in columns.items() if c[0] != "seq"], subjects)


def require_columns(frame: "pl.DataFrame", names: Sequence[str]) -> None:
    """Refuse rows that lack a value every row needs.

    Raises:
        InvalidError: a column is missing or holds a null.
    """
    for name in names:
        if name not in frame.columns or frame[name].null_count():
            raise InvalidError(f"column {name} is missing or has an empty value; every row needs it", field=name)


def typed(frame: "pl.DataFrame", columns: dict[str, str], **given: "datetime | pl.Series") -> "pl.DataFrame":
    """The columns that a table stores, except `seq`, each of its declared type.

    It works column by column: on a request of a few rows, planning a query would take most of the time.

    Args:
        frame: the rows as they were sent; a column they lack becomes null.
        columns: name and Delta type of each stored column.
        given: columns that are not taken from the frame, as one value for all rows or one value for each.
    """
    import polars as pl

    from monitor.lake.scan import DTYPES

    found = []
    for name, kind in columns.items():
        dtype = DTYPES[kind]
        if (value := given.get(name)) is not None:
            if not isinstance(value, pl.Series):
                value = pl.Series(name, [value], dtype=dtype).new_from_index(0, frame.height)
            found.append(value.alias(name))
        elif name not in frame.columns:
            found.append(pl.Series(name, [None], dtype=dtype).new_from_index(0, frame.height))
        elif name != "seq":
            column = frame.get_column(name)
            found.append(column if column.dtype == dtype else column.cast(dtype))
    return pl.DataFrame([column for column in found if column.name != "seq"])
