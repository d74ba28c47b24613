"""Random changes of rows that people are shown, made from the schema: every bound column of every table."""

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final
from uuid import UUID

from sqlalchemy import JSON, Boolean, Float, Integer, Table, Uuid
from sqlalchemy.orm import Mapper

from core.db import UtcDateTime
from governance.binding.values import bound_columns, bound_tables, table_of
from governance.tables import ApiKey

Row = dict[str, Any]
RIGHTS: Final = ("name", "role", "owner", "created_by", "hash", "revoked_at")  # of a key, told by the ledger


class Target:
    """A table, the columns that count, and how a finding names one of its rows."""

    def __init__(self, table: Table, columns: Sequence[str], prefix: str | None = None) -> None:
        self.table, self.columns, self._prefix = table, list(columns), prefix
        self.name = table.name
        self.keys = [column.name for column in table.primary_key]

    def where(self, row: Row) -> str:
        if self._prefix is not None:
            return f"key {row[self._prefix]}"
        return f"{self.name} {'/'.join(str(UUID(str(row[key]))) for key in self.keys)}"


def targets() -> list[Target]:
    """All that a report, a page or a decision about rights reads."""
    bound = [Target(table_of(mapper), _columns(mapper)) for mapper in bound_tables().values()]
    keys = ApiKey.__table__
    assert isinstance(keys, Table)
    return [*bound, Target(keys, RIGHTS, prefix="prefix")]


def _columns(mapper: Mapper[Any]) -> list[str]:
    return [name for name, _, _ in bound_columns(mapper)]


def rows(connection: sqlite3.Connection, target: Target) -> list[Row]:
    """Rows of a table; of keys those that open something, for the secret and the end of a revoked one do not count."""
    valid = " where revoked_at is null" if target.name == "api_key" else ""
    cursor = connection.execute(f'select * from "{target.name}"{valid}')
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def alter(connection: sqlite3.Connection, target: Target, row: Row, values: Mapping[str, Any]) -> None:
    sets = ", ".join(f'"{name}" = ?' for name in values)
    where = " and ".join(f'"{key}" = ?' for key in target.keys)
    connection.execute(
        f'update "{target.name}" set {sets} where {where}', (*values.values(), *(row[key] for key in target.keys))
    )


# --- values -----------------------------------------------------------------------------------------------------------


def other_value(random: Random, column: Any, value: Any) -> Any:
    """A value that differs from the stored one: close to it, far from it, or in a form that Assay never writes."""
    if random.random() < 0.04:
        return random.choice([b"\x00\xff", "\x00", "nothing"])
    if value is None:
        return _first(random, column)
    for kind, change in _CHANGES:
        if isinstance(column.type, kind):
            return change(random, value)
    return _text(random, str(value))


def _first(random: Random, column: Any) -> Any:
    made: dict[type[Any], Any] = {
        Uuid: f"{random.getrandbits(128):032x}", UtcDateTime: "2026-03-04 05:06:07.000008", Boolean: 1, Integer: 7,
        Float: 0.97, JSON: '{"forged": true}',
    }  # fmt: skip
    return next((value for kind, value in made.items() if isinstance(column.type, kind)), "forged")


def _number(random: Random, value: Any) -> Any:
    return random.choice([value * 1.01 + 0.01, -value - 0.5, 0.97, value + 1e-9])


def _count(random: Random, value: Any) -> Any:
    return random.choice([int(value) + 1, int(value) - 1, int(value) * 10 + 3])


def _time(random: Random, value: str) -> str:
    at = 25 if random.random() < 0.3 else random.choice([3, 6, 9, 12, 15, 18])
    if not value[at].isdigit():
        at = 25
    return value[:at] + str((int(value[at]) + random.randint(1, 9)) % 10) + value[at + 1 :]


def _uuid(random: Random, value: str) -> str:
    return random.choice(
        [f"{random.getrandbits(128):032x}", str(UUID(value)), value[:-1] + ("0" if value[-1] != "0" else "1")]
    )


def _text(random: Random, value: str) -> str:
    kind = random.randrange(4)
    if kind == 0 or not value:
        return f"{value} forged"
    if kind == 1:
        return value[: len(value) // 2]
    at = random.randrange(len(value))
    changed = chr(ord(value[at]) ^ 1) if ord(value[at]) > 1 else "x"
    return value[:at] + changed + value[at + 1 :]


def _document(random: Random, value: str) -> str:
    if random.random() < 0.1:
        return value[:-1]  # no JSON any more
    document = json.loads(value)
    return json.dumps(_inside(random, document))


def _inside(random: Random, document: Any) -> Any:
    if isinstance(document, dict) and document:
        key = random.choice(sorted(document))
        if random.random() < 0.15:
            return {name: part for name, part in document.items() if name != key}
        return document | {key: _inside(random, document[key])}
    if isinstance(document, list) and document:
        at = random.randrange(len(document))
        if random.random() < 0.15:
            return document[:at] + document[at + 1 :]
        return [*document[:at], _inside(random, document[at]), *document[at + 1 :]]
    if isinstance(document, bool):
        return not document
    if isinstance(document, int | float):
        return document + random.choice([1, -1, 0.5])
    if isinstance(document, str):
        return _text(random, document)
    return "forged" if not isinstance(document, dict) else {"forged": 1}


_CHANGES: Final[tuple[tuple[type[Any], Callable[[Random, Any], Any]], ...]] = (
    (Uuid, _uuid), (UtcDateTime, _time), (JSON, _document), (Boolean, lambda _, value: 1 - value), (Float, _number),
    (Integer, _count),
)  # fmt: skip


# --- changes of rows --------------------------------------------------------------------------------------------------
# Each returns what has to be named, as parts of one finding, or None where nothing could be changed.

Named = tuple[str, ...]


def flip(random: Random, connection: sqlite3.Connection, target: Target) -> Named | None:
    """Another value in one column."""
    if not (found := rows(connection, target)):
        return None
    return flip_column(random, connection, target, random.choice(found), random.choice(target.columns))


def flip_column(
    random: Random, connection: sqlite3.Connection, target: Target, row: Row, column: str
) -> Named | None:  # fmt: skip
    value = other_value(random, target.table.columns[column], row[column])
    if value == row[column] and type(value) is type(row[column]):
        return None
    alter(connection, target, row, {column: value})
    if row in rows(connection, target):
        return None  # SQLite stores it as what it was
    return (target.where(row), column) if target.name != "api_key" else (target.where(row),)


def empty(random: Random, connection: sqlite3.Connection, target: Target) -> Named | None:
    """Nothing in a column that held something."""
    found = rows(connection, target)
    full = [
        (row, c) for row in found for c in target.columns if row[c] is not None and target.table.columns[c].nullable
    ]
    if not full:
        return None
    row, column = random.choice(full)
    alter(connection, target, row, {column: None})
    return (target.where(row), column) if target.name != "api_key" else (target.where(row),)


def swap(random: Random, connection: sqlite3.Connection, target: Target) -> Named | None:
    """Two rows exchange a value."""
    found = rows(connection, target)
    if len(found) < 2:
        return None
    one, other = random.sample(found, 2)
    column = random.choice(target.columns)
    if one[column] == other[column] or (target.name == "api_key" and column != "revoked_at" and one["revoked_at"]):
        return None
    alter(connection, target, one, {column: other[column]})
    alter(connection, target, other, {column: one[column]})
    return (target.where(one), column) if target.name != "api_key" else (target.where(one),)


def overwrite(random: Random, connection: sqlite3.Connection, target: Target) -> Named | None:
    """All values of one row in the place of another's."""
    found = rows(connection, target)
    if len(found) < 2:
        return None
    one, other = random.sample(found, 2)
    values = {name: other[name] for name in target.columns}
    if target.name == "api_key" or all(one[name] == value for name, value in values.items()):
        return None
    alter(connection, target, one, values)
    return (target.where(one),)


def drop(random: Random, connection: sqlite3.Connection, target: Target) -> Named | None:
    """One row is gone."""
    found = rows(connection, target)
    if not found:
        return None
    row = random.choice(found)
    _delete(connection, target, row)
    return (target.where(row),)


def truncate(random: Random, connection: sqlite3.Connection, target: Target) -> Named | None:
    """The last rows of a table are gone."""
    found = rows(connection, target)
    if not found or target.name == "api_key":
        return None
    gone = found[-random.randint(1, len(found)) :]
    for row in gone:
        _delete(connection, target, row)
    return (target.where(gone[0]),)


def insert(random: Random, connection: sqlite3.Connection, target: Target) -> Named | None:
    """A copy of a row under another id, with its old times."""
    found = rows(connection, target)
    if not found:
        return None
    row = dict(random.choice(found))
    for key in target.keys:
        row[key] = f"{random.getrandbits(128):032x}"
    for name in (
        "name",
        "prefix",
        "hash",
        "number",
        "metric",
        "gate",
        "version",
        "event_id",
        "row",
        "revision",
        "label",
    ):
        if name in row and isinstance(row[name], str):
            row[name] = f"{row[name]}{random.randrange(10**6)}"[-16:]
        elif name in row and isinstance(row[name], int):
            row[name] += 1000 + random.randrange(10**6)
    names = ", ".join(f'"{name}"' for name in row)
    connection.execute(
        f'insert into "{target.name}" ({names}) values ({", ".join("?" * len(row))})', tuple(row.values())
    )
    return (target.where(row),)


def _delete(connection: sqlite3.Connection, target: Target, row: Row) -> None:
    where = " and ".join(f'"{key}" = ?' for key in target.keys)
    connection.execute(f'delete from "{target.name}" where {where}', tuple(row[key] for key in target.keys))


KINDS: Final = {
    "flip": flip, "empty": empty, "swap": swap, "overwrite": overwrite, "drop": drop, "truncate": truncate,
    "insert": insert,
}  # fmt: skip
