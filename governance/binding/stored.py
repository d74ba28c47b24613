"""Read bound rows as the database stores them: a value in a form that Assay never writes is seen, not raised."""

from collections.abc import Callable, Iterator, Set
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Mapper, Session

from core.db import UtcDateTime
from governance.binding.values import bound_columns, stored_rules, table_of
from governance.verify.rows import Key

BATCH: Final = 2000


def stored_rows(
    db: Session, mapper: Mapper[Any], there: Set[str] | None = None, wanted: Callable[[str], bool] | None = None
) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Each row of a table: its key, and its bound values as JSON in order of the column's name.

    Args:
        there: columns that the database has, which may be of an earlier release; what it lacks is null. None: all.
        wanted: whether a row, by its id, is wanted; None: every row is.
    """
    dialect = db.get_bind().dialect.name
    if dialect == "postgresql":
        db.execute(text("set local time zone 'UTC'"))
    table, rules = table_of(mapper), stored_rules(mapper, dialect)
    keys = [column.name for column in mapper.primary_key]
    names = [name for name, _, _ in bound_columns(mapper)]
    if there is not None and not there >= {*keys, *names}:
        lacking = dict.fromkeys(name for name in names if name not in there)
        names = [name for name in names if name in there]
    else:
        lacking = {}
    read = [(name, rules[name]) for name in names]
    chosen = ", ".join(_chosen(table.columns[name], dialect) for name in (*keys, *names))
    query = text(f"select {chosen} from {_quoted(table.name)}")  # noqa: S608 - names of our own tables
    count = len(keys)
    for row in db.execute(query, execution_options={"yield_per": BATCH}):
        ident = "/".join(str(rules[name](value)) for name, value in zip(keys, row[:count], strict=True))
        if wanted is not None and not wanted(ident):
            continue
        values = {
            name: None if value is None else rule(value)
            for (name, rule), value in zip(read, row[count:], strict=True)
        }  # fmt: skip
        yield (table.name, ident), dict(sorted((values | lacking).items())) if lacking else values


def _chosen(column: Any, dialect: str) -> str:
    name = _quoted(str(column.name))
    if dialect != "postgresql":
        return name
    kind = type(column.type).__name__
    return f"{name}::text" if isinstance(column.type, UtcDateTime) or kind == "JSON" else name


def _quoted(name: str) -> str:
    return f'"{name}"'
