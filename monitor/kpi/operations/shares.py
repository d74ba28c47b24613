"""Shares of rows with true in a named column: one function, one entry per meaning of that column."""

from typing import Final

import polars as pl

from core.errors import InvalidError
from monitor.kpi.base import TASKS, Kpi, KpiValue
from monitor.kpi.intervals import share_value

# By name, whether a higher share is better.
HIGHER_IS_BETTER: Final = {
    "error_rate": False,  # the call failed
    "escalation_rate": False,  # a person had to take over
    "first_contact_resolution": True,  # the request was settled at the first contact
    "thumbs_up_share": True,  # the user liked the answer
}


def share_true(frame: pl.DataFrame) -> KpiValue:
    """Share of rows with true, among those with an entry, in the column that the rule names.

    Args:
        frame: `column`, true or false, shape (rows,); rows without an entry are left out and counted.

    Returns:
        Share 0..1 with its 95 % Wilson interval. None if no row has an entry.

    Raises:
        InvalidError: the column is not boolean.

    Source: Wilson (1927) for the interval.
    """
    column = frame["column"]
    known = column.drop_nulls()
    if len(known) and known.dtype != pl.Boolean:
        raise InvalidError(f"the column has type {column.dtype}; this KPI needs true or false", type=str(column.dtype))
    left_out = len(column) - len(known)
    hits = int(known.sum()) if len(known) else 0
    return share_value(hits, len(known), left_out=left_out, if_empty="no row has an entry in the column")


KPIS: Final = tuple(
    Kpi(
        name=name,
        unit="share",
        higher_is_better=higher_is_better,
        tasks=TASKS,
        compute=share_true,
        reads=("column",),
        column_types=("boolean",),
    )
    for name, higher_is_better in HIGHER_IS_BETTER.items()
)
