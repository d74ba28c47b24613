"""The values of bound rows as JSON, the same from an object in memory and from either database."""

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import JSON, Boolean, Float, Integer, LargeBinary, String, Table, Uuid, inspect
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from core.db import Base, Bound, UtcDateTime

Plain = Callable[[Any], Any]
_SQLITE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")
_SQLITE_UUID: Final = re.compile(r"[0-9a-f]{32}")


class UnboundTypeError(TypeError):
    """A column of a bound table has a type that no rule turns into JSON."""


def _moment(value: datetime) -> str:
    return _utc_text(value if value.tzinfo is UTC else value.astimezone(UTC))


@lru_cache(maxsize=256)
def _utc_text(value: datetime) -> str:
    """Of a time in UTC; the rows of one transaction share a few."""
    return value.isoformat(timespec="microseconds")


def _number(value: float) -> float | None:
    """SQLite stores no NaN and no negative zero."""
    return None if math.isnan(value) else float(value) + 0.0


def _text(value: Any) -> str:
    """PostgreSQL stores no NUL (`core.db`)."""
    text = value if type(value) is str else str.__str__(value)
    return text.replace("\0", "\ufffd") if "\0" in text else text


def _bytes(value: bytes) -> str:
    return f"sha256:{sha256(value).hexdigest()}"


def _as_is(value: Any) -> Any:
    return value


_RULES: Final[tuple[tuple[type[Any], Plain], ...]] = (
    (UtcDateTime, _moment), (Uuid, str), (JSON, _as_is), (Boolean, bool), (Float, _number), (Integer, int),
    (LargeBinary, _bytes), (String, _text),
)  # fmt: skip


def _rule(column: Any) -> Plain:
    for kind, rule in _RULES:
        if isinstance(column.type, kind):
            return rule
    raise UnboundTypeError(f"{column} is {column.type!r}; say in governance.binding.values how it is bound")


@cache
def bound_columns(mapper: Mapper[Any]) -> tuple[tuple[str, str, Plain], ...]:
    """Name, attribute and rule of each bound column of a table but its keys, in order of the name."""
    left_out = mapper.class_.unbound
    found = [
        (column.name, mapper.get_property_by_column(column).key, _rule(column))
        for column in mapper.local_table.columns
        if column.name not in left_out and not column.primary_key
    ]
    return tuple(sorted(found))


@cache
def keys_of(mapper: Mapper[Any]) -> tuple[str, ...]:
    return tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)


def bound_tables() -> dict[str, Mapper[Any]]:
    """Every bound table by its name."""
    mappers = [mapper for mapper in Base.registry.mappers if issubclass(mapper.class_, Bound)]
    return {table_of(mapper).name: mapper for mapper in sorted(mappers, key=lambda found: table_of(found).name)}


def plain_of(row: Any, mapper: Mapper[Any]) -> dict[str, Any]:
    """The bound values of an object."""
    return {
        name: None if (value := getattr(row, attribute)) is None else rule(value)
        for name, attribute, rule in bound_columns(mapper)
    }


def plain_of_mapping(values: Mapping[str, Any], mapper: Mapper[Any]) -> dict[str, Any]:
    """The bound values of a row that is inserted without an object: what is not given has its default."""
    found = {}
    for name, rule, default in _defaults(mapper):
        value = values.get(name, default)
        found[name] = None if value is None else rule(value)
    return found


@cache
def _defaults(mapper: Mapper[Any]) -> tuple[tuple[str, Plain, Any], ...]:
    """Name, rule and default of each bound column."""
    columns = table_of(mapper).columns
    found = []
    for name, _, rule in bound_columns(mapper):
        default = columns[name].default
        found.append((name, rule, default.arg if isinstance(default, ScalarElementColumnDefault) else None))
    return tuple(found)


# --- as a database stores them ----------------------------------------------------------------------------------------


def stored_rules(mapper: Mapper[Any], dialect: str) -> dict[str, Plain]:
    """How a raw value of each column, as the driver gives it, is read; a form that Assay never writes stays visible."""
    return {column.name: _stored(column, dialect) for column in table_of(mapper).columns}


def _stored(column: Any, dialect: str) -> Plain:
    rule = _rule(column)
    if dialect == "sqlite":
        strict = {_moment: _sqlite_time, str: _sqlite_uuid, _as_is: _json, bool: _sqlite_bool}.get(rule)
        if strict is not None:
            return strict
        kind: type[Any] = {_number: float, int: int, _bytes: bytes, _text: str}[rule]
        return lambda value: rule(value) if type(value) is kind else odd(value)
    if rule is _moment:
        return _postgres_time
    return _json if rule is _as_is else rule


def odd(value: Any) -> Any:
    """A value in a form that Assay does not write: it equals nothing that Assay has bound."""
    return {"stored as": type(value).__name__, "value": repr(value)[:200]}


def _sqlite_time(value: Any) -> Any:
    if type(value) is not str or not _SQLITE_TIME.fullmatch(value):
        return odd(value)
    return f"{value[:10]}T{value[11:]}+00:00"


def _sqlite_uuid(value: Any) -> Any:
    if type(value) is not str or not _SQLITE_UUID.fullmatch(value):
        return odd(value)
    return (
        f"{value[:8]}-{value[8:12]}-{value[12:16]}-{value[16:20]}-{value[20:]}"  # a UUID of 200,000 rows takes seconds
    )


def _sqlite_bool(value: Any) -> Any:
    return bool(value) if type(value) is int and value in (0, 1) else odd(value)


def _json(value: Any) -> Any:
    if not isinstance(value, str | bytes):
        return value  # a driver may have read it
    try:
        return json.loads(value)
    except ValueError:
        return odd(value)


def _postgres_time(value: str) -> Any:
    try:
        return _moment(datetime.fromisoformat(value))
    except ValueError:
        return odd(value)


def table_of(mapper: Mapper[Any]) -> Table:
    table = mapper.local_table
    assert isinstance(table, Table)
    return table


def mapper_of(row: Any) -> Mapper[Any]:
    return inspect(type(row))  # type: ignore[no-any-return]  # of a mapped class
