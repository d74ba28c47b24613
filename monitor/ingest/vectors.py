"""Check values of vector columns: lists of the declared number of dimensions, stored as 32-bit floats."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import polars as pl

FLOAT32_OVERFLOW: Final = 3.4028235677973366e38  # the smallest number that becomes infinite as a 32-bit float


def misfit(value: Any, dimensions: int) -> str | None:
    """Return why a value is not a vector of the column, or None if it fits or is missing. Never quotes a number."""
    if value is None:
        return None
    if type(value) is not list:
        return f"is {_kind_name(value)}; the column is declared as vector: a list of {dimensions} numbers"
    if len(value) != dimensions:
        return f"has {len(value)} numbers; {dimensions} are declared. Send the model's whole vector, or change the spec"
    for place, number in enumerate(value, start=1):
        if type(number) not in {int, float}:
            return f"number {place} of the vector is {_kind_name(number)}; leave the column out if there is no vector"
        if not _fits(number):
            return (
                f"number {place} of the vector is not finite as a 32-bit float; leave the column out if there is none"
            )
    return None


def good(vectors: "pl.Series", dimensions: int) -> "pl.Series":
    """Return a mask of the rows that are null or hold the declared number of finite numbers."""
    import numpy as np
    import polars as pl

    long_enough = vectors.list.len() == dimensions
    found = long_enough.fill_null(value=True)
    values = vectors.filter(long_enough.fill_null(value=False))
    if not len(values):
        return found
    flat = values.list.explode(empty_as_null=False, keep_nulls=False).to_numpy().reshape(-1, dimensions)
    if np.isfinite(flat.sum(dtype=np.float64)):  # the usual case: one pass instead of a mask
        return found
    finite = np.isfinite(flat).all(axis=1)
    places = long_enough.fill_null(value=False).arg_true()
    return found.scatter(places.filter(pl.Series(~finite)), values=False)


def parsed(texts: "pl.Series") -> "pl.Series":
    """Parse JSON lists, as text files hold them, into vectors; null where a text is not a list of numbers."""
    import polars as pl

    return pl.Series(texts.name, [_list(text) for text in texts], dtype=pl.List(pl.Float32))


def _list(text: str | None) -> Sequence[float] | None:
    try:
        value = json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
    if type(value) is not list or not all(type(number) in {int, float} and _fits(number) for number in value):
        return None
    return [float(number) for number in value]


def _fits(number: float) -> bool:
    return abs(number) < FLOAT32_OVERFLOW  # False for NaN, which is not less than anything


def _kind_name(value: Any) -> str:
    names = {str: "a string", bool: "a boolean", dict: "an object", list: "a list", type(None): "null"}
    return names.get(type(value), "a number")
