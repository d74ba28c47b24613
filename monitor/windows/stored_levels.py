"""Rows as they are compared: homes that are older than `monitor.levels` hold categories such as 1.0 and NaN."""

from typing import Final

import polars as pl

from monitor.levels import answers, composed, levels
from monitor.spec.columns import ColumnType
from monitor.spec.model import ModelSpec

GROUPING_ROLES: Final = ("segment", "agent", "protected")


def with_levels(spec: ModelSpec, frame: pl.DataFrame) -> pl.DataFrame:
    """Stored rows with every category as its level; what is stored stays as it is.

    Texts by whose values rows are grouped are composed, so that no group is counted as two.
    """
    named = [
        levels(frame.get_column(name)) if column.type == "category" else composed(frame.get_column(name))
        for name, column in spec.columns.items()
        if frame.schema.get(name) == pl.String and (column.type == "category" or column.role in GROUPING_ROLES)
    ]
    return frame.with_columns(named) if named else frame


def target_column(spec: ModelSpec) -> str:
    """The outcome that predictions are compared with, where it is known that there is one."""
    assert spec.target is not None
    return spec.target


def answer_types(spec: ModelSpec) -> set[ColumnType]:
    """The declared types of the prediction and of the outcome that it is compared with."""
    names = (spec.with_role("prediction")[0], *([spec.target] if spec.target is not None else []))
    return {spec.columns[name].type for name in names}


def comparable(spec: ModelSpec, frame: pl.DataFrame) -> pl.DataFrame:
    """The columns `prediction` and `outcome` of a classification, as levels if the spec gives them different types."""
    types = answer_types(spec)
    if spec.task != "classification" or len(types) == 1 or not {"prediction", "outcome"} <= set(frame.columns):
        return frame
    truth = "boolean" in types
    return frame.with_columns(answers(frame[name], truth=truth) for name in ("prediction", "outcome"))
