"""The schema of a Delta table: column types as Delta, Polars and the log's metadata name them."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from deltalake import DeltaTable, Field, Schema
from deltalake.schema import ArrayType, PrimitiveType

from core.clock import SystemClock
from monitor.errors import ColumnTypeChangedError
from monitor.lake.datafile import PARTITION
from monitor.lake.log import milliseconds

# deltalake does not clean the log by itself (the ends of its versions are recorded first), and it does not keep
# removed files in every checkpoint.
CONFIGURATION: Final = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.deletedFileRetentionDuration": "interval 1 hours",
}


def column_types(fields: list[dict[str, Any]]) -> dict[str, str]:
    """Name -> Delta type, from the fields of a Delta schema: `{"name", "type", ...}`."""
    return {field["name"]: _type_name(field["type"]) for field in fields}


def with_columns(stored: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """The columns of a table after rows with the columns `added` are stored: name -> Delta type.

    Raises:
        ColumnTypeChangedError: a column is stored with another type.
    """
    for name, kind in added.items():
        if stored.get(name, kind) != kind:
            raise ColumnTypeChangedError(
                f"column {name} is stored as {stored[name]} and is now declared as {kind}; "
                "give the changed column a new name",
                field=name,
            )
    return {**stored, **added}


def metadata(columns: Mapping[str, str], known: DeltaTable | None) -> dict[str, Any]:
    """The log action that declares a table's columns.

    Args:
        columns: name -> Delta type, partition column included.
        known: the table as it is; None for a new one.
    """
    before = None if known is None else known.metadata()
    schema = Schema([Field(name, _delta_type(kind)) for name, kind in columns.items()])
    return {
        "id": str(before.id) if before else str(uuid4()),
        "format": {"provider": "parquet", "options": {}},
        "schemaString": schema.to_json(),
        "partitionColumns": [PARTITION],
        "configuration": dict(before.configuration) if before else dict(CONFIGURATION),
        "createdTime": before.created_time if before else milliseconds(SystemClock().now()),
    }


def _type_name(declared: str | Mapping[str, Any]) -> str:
    """A type of Delta's schema as one word; a list is named by its element type."""
    if isinstance(declared, str):
        return declared
    return f"array<{declared['elementType']}>" if declared["type"] == "array" else str(declared["type"])


def _delta_type(name: str) -> PrimitiveType | ArrayType:
    if name.startswith("array<"):
        return ArrayType(PrimitiveType(name.removeprefix("array<").removesuffix(">")), contains_null=False)
    return PrimitiveType(name)
