"""The columns that may tell a window from its reference, and those set aside: clocks, counters, keys, constants."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import numpy as np
import polars as pl

from core.arrays import Floats
from monitor.profile.coding import as_strings, category_values, number_values

Kind = Literal["number", "category", "text", "vector"]

ORDERED: Final = 0.9  # rank correlation with the order of arrival, within the reference, of a clock or counter
KEY_SHARE: Final = 0.5  # distinct levels by rows from which a category is a key, and no level can be told
FOLLOWS: Final = 0.98  # rows whose value is that of their weekday or hour, for a column of the calendar
LEAST_STEPS: Final = 5  # values of a clock or a counter within the reference, such as days
LEAST_LEVELS: Final = 20  # of a key; values of a clock within a window
_DIGITS: Final = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class SetAside:
    """A column that takes no part, and why, for a reader."""

    column: str
    reason: str


def usable(
    reference: pl.DataFrame, window: pl.DataFrame, kinds: Mapping[str, Kind]
) -> tuple[dict[str, Kind], list[SetAside]]:
    """The columns to compare, and those set aside with the reason.

    A clock, a counter or a key tells any two stretches of traffic apart, drift or not, and so would be named every
    time.

    Args:
        reference, window: rows in order of arrival, with `ts`, or without it where a dataset has no times.
        kinds: of the columns that may be compared.
    """
    kept, aside = dict[str, Kind](), list[SetAside]()
    for name, kind in kinds.items():
        absent = [side for side, frame in (("reference", reference), ("window", window)) if name not in frame.columns]
        reason = f"the {absent[0]} lacks it" if absent else _reason(reference, window, name, kind)
        if reason is None:
            kept[name] = kind
        else:
            aside.append(SetAside(name, reason))
    return kept, aside


def _reason(reference: pl.DataFrame, window: pl.DataFrame, name: str, kind: Kind) -> str | None:
    both = [frame[name] for frame in (reference, window)]
    if all(series.null_count() == len(series) for series in both):
        return "no row has a value"
    match kind:
        case "number":
            sides = [number_values(frame, name) for frame in (reference, window)]
            if not any(np.isfinite(side).any() for side in sides):
                return "no row has a value"
            if _one_value(np.concatenate(sides)):
                return "it has one value in all rows"
            return _grows(sides[0], reference, sides[1], window) or _calendar(
                reference, [str(v) for v in sides[0].tolist()]
            )
        case "category":
            levels = [category_values(frame, name) for frame in (reference, window)]
            together = pl.concat(levels)
            if together.n_unique() == 1:
                return "it has one value in all rows"
            return _category_reason(reference, window, levels, together)
        case "text":
            texts = pl.concat([as_strings(series) for series in both])
            return "it has one value in all rows" if texts.n_unique() == 1 else None
    return None


def _category_reason(
    reference: pl.DataFrame, window: pl.DataFrame, levels: Sequence[pl.Series], together: pl.Series
) -> str | None:
    sides = [_as_order(side) for side in levels]
    if sides[0] is not None and sides[1] is not None and (reason := _grows(sides[0], reference, sides[1], window)):
        return reason
    filled = together.drop_nulls()
    if filled.n_unique() > KEY_SHARE * len(filled) and filled.n_unique() > LEAST_LEVELS:
        return "most of its values occur once, as those of a key do"
    return _calendar(reference, ["" if v is None else v for v in levels[0].to_list()])


def _one_value(values: Floats) -> bool:
    """Whether all rows hold the same number; a missing one is another value."""
    finite = values[np.isfinite(values)]
    return len(finite) == len(values) and bool((finite == finite[0]).all())


def _as_order(levels: pl.Series) -> Floats | None:
    """What texts such as `2026-03-01T10:00` or `order-000123` count; None where one of them has no digits."""
    found = []
    for text in levels.to_list():
        digits = "".join(_DIGITS.findall(text or ""))
        if text and not digits:
            return None
        found.append(float(digits[:18]) if digits else np.nan)
    return np.asarray(found)


def _grows(reference: Floats, before: pl.DataFrame, window: Floats, after: pl.DataFrame) -> str | None:
    """Whether numbers rise or fall with time: within the reference, or within the window where that has no times.

    The order of a dataset's rows is none of time: it may be sorted by the column.
    """
    if "ts" in before.columns:
        known = _rises(before["ts"], reference, LEAST_STEPS)
        return "it grows with time in the reference already, as a clock or a counter does" if known else None
    if "ts" in after.columns and _rises(after["ts"], window, LEAST_LEVELS):
        return "it grows with time in the window, as a clock or a counter does"
    return None


def _rises(times: pl.Series, values: Floats, least: int) -> bool:
    from scipy.stats import spearmanr

    at = times.cast(pl.Int64).fill_null(0).to_numpy().astype(np.float64)
    finite = np.isfinite(values)
    if len(np.unique(values[finite])) < least or len(np.unique(at[finite])) < least:
        return False
    return abs(float(spearmanr(at[finite], values[finite])[0])) >= ORDERED


def _calendar(reference: pl.DataFrame, values: Sequence[str]) -> str | None:
    """Whether a column of few values follows the weekday, the hour or the month of its row within the reference."""
    if "ts" not in reference.columns or len(set(values)) > 60:
        return None
    times: list[datetime] = reference["ts"].to_list()
    found = pl.DataFrame({"value": values, "ts": times}).drop_nulls()
    if found["value"].n_unique() < 2:
        return None
    for words, key in (
        ("weekday", pl.col("ts").dt.weekday()), ("hour", pl.col("ts").dt.hour()), ("month", pl.col("ts").dt.month()),
        ("day of the month", pl.col("ts").dt.day()),
    ):  # fmt: skip
        keyed = found.with_columns(key.alias("key"))
        counts = keyed.group_by("key", "value").len()
        most = counts.group_by("key").agg(pl.col("len").max())
        usual = counts.group_by("value").agg(pl.col("len").sum())["len"].max()
        followed = int(most["len"].sum()) / found.height
        many = most.height >= 3 and found.height >= 5 * most.height
        if many and followed >= FOLLOWS and isinstance(usual, int) and usual / found.height <= 0.9:
            return f"it follows the {words} of the row, so it differs between any two times"
    return None
