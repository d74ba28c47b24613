"""A row for each bound table that the story leaves empty, made from its columns alone."""

import re
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import JSON, Boolean, CheckConstraint, Float, Integer, Uuid, select
from sqlalchemy.orm import Mapper, Session

from core.db import UtcDateTime
from governance.binding.values import bound_tables, table_of


def fill(db: Session, at: datetime) -> None:
    """Add a row to each empty table; tables that others refer to come first where that is needed."""
    for mapper in sorted(bound_tables().values(), key=lambda m: len(table_of(m).foreign_keys)):
        if db.scalars(select(mapper.class_).limit(1)).first() is None:
            values = {
                mapper.get_property_by_column(column).key: _value(db, mapper, column, at)
                for column in table_of(mapper).columns
            }
            db.add(mapper.class_(**values))
            db.flush()


def _value(db: Session, mapper: Mapper[Any], column: Any, at: datetime) -> Any:
    for key in column.foreign_keys:
        return db.scalar(select(key.column).limit(1))
    for check in table_of(mapper).constraints:
        if isinstance(check, CheckConstraint):
            listed = re.search(rf"\b{column.name} in \('([^']+)'", str(check.sqltext))
            if listed:
                return listed[1]
    made: tuple[tuple[type[Any], Any], ...] = (
        (Uuid, uuid4()), (UtcDateTime, at), (JSON, {"made": [1, "two"]}), (Boolean, True), (Float, 0.5), (Integer, 1),
    )  # fmt: skip
    return next((value for kind, value in made if isinstance(column.type, kind)), "made")
