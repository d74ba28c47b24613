"""Values of vector columns: lists of as many numbers as the spec declares, kept with 32 bits each."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import polars as pl

FLOAT32_OVERFLOW: Final = 3.4028235677973366e38  # the smallest number that 32 bits hold as infinite


def misfit(value: Any, dimensions: int) -> str | None:
    """Why a value is no vector of a column; None where it is one, or missing. Numbers are counted, never quoted."""
    if value is None:
        return None
    if type(value) is not list:
        return f"is {_kind_name(value)}; the column is declared as vector: a list of {dimensions} numbers"
    if len(value) != dimensions:
        return f"has {len(value)} numbers; {dimensions} are declared. Send the model's whole vector, or change the spec"
    for place, number in enumerate(value, start=1):
        if type(number) not in {int, float}:
            return (
                f"number {place} of the vector is {_kind_name(number)}; leave the column out where there is no vector"
            )
        if not _fits(number):
            return f"number {place} of the vector is not finite with 32 bits; leave the column out where there is none"
    return None


def good(vectors: "pl.Series", dimensions: int) -> "pl.Series":
    """Which rows of a column of lists are missing or as many finite numbers as declared."""
    import numpy as np
    import polars as pl

    long_enough = vectors.list.len() == dimensions
    found = long_enough.fill_null(value=True)
    values = vectors.filter(long_enough.fill_null(value=False))
    if not len(values):
        return found
    flat = values.list.explode(empty_as_null=False, keep_nulls=False).to_numpy().reshape(-1, dimensions)
    if np.isfinite(flat.sum(dtype=np.float64)):  # nearly always; one pass instead of a mask
        return found
    finite = np.isfinite(flat).all(axis=1)
    places = long_enough.fill_null(value=False).arg_true()
    return found.scatter(places.filter(pl.Series(~finite)), values=False)


def parsed(texts: "pl.Series") -> "pl.Series":
    """JSON lists, as files of text hold them, as vectors; null where a text is none."""
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
    return abs(number) < FLOAT32_OVERFLOW  # not a number is not less than anything


def _kind_name(value: Any) -> str:
    names = {str: "a string", bool: "a boolean", dict: "an object", list: "a list", type(None): "null"}
    return names.get(type(value), "a number")
