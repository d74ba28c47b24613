"""A report as CSV: every list of the document, one after the other, each under its name and its head of columns."""

import csv
import io
from collections.abc import Mapping
from typing import Any, Final

from reports.errors import UnknownTableError
from reports.render.flat import FlatTable, flat_tables

# What a sheet takes for the beginning of a formula, in ASCII and in full width.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "|", "%")
_NAMED: Final = "table: "  # begins the line above each list; no cell begins so


def csv_bytes(document: Mapping[str, Any]) -> bytes:
    """UTF-8 CSV with lines ending in CR LF; equal documents give equal bytes.

    Null is an empty cell. A number stays one, negative or not; no text begins as a formula does: an apostrophe is put
    before it.

    Args:
        document: the report as plain data, fields in their order.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    for number, one in enumerate(flat_tables(document)):
        if number:
            writer.writerow([])
        left = f"{one.left} more lines are not in the report; these are {one.note}" if one.left else ""
        writer.writerow([f"{_NAMED}{one.part}", *([left] if left else [])])
        _write(writer, one)
    return out.getvalue().encode()


def one_table(content: bytes, table: str) -> bytes:
    """One list of the CSV of a report, without its name above it.

    Raises:
        UnknownTableError: the report has no such list.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    known, inside = [], False
    for row in csv.reader(io.StringIO(content.decode(), newline="")):
        if row and row[0].startswith(_NAMED):
            known.append(row[0].removeprefix(_NAMED))
            inside = known[-1] == table
        elif inside and row:
            writer.writerow(row)
    if table not in known:
        raise UnknownTableError(table, known)
    return out.getvalue().encode()


def _write(writer: Any, table: FlatTable) -> None:
    writer.writerow([_cell(name) for name in table.columns])
    for row in table.rows:
        writer.writerow([_cell(row.get(name)) for name in table.columns])


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return value
    guarded = value.lstrip(" \u00a0\ufeff").startswith(_FORMULA) or value.startswith(_NAMED)
    return f"'{value}" if guarded else value
