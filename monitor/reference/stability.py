"""Say at once, when a reference is fitted, which columns moved within it, and which reference to take instead."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl

from core.arrays import Ints
from core.figures import figure
from monitor.detect.moved_columns import MovedColumn, Stability, stability
from monitor.detect.rules import parse_changes
from monitor.detect.support import supports_block_rule
from monitor.detect.wording import edge
from monitor.profile.by_column import Rows, column_names
from monitor.profile.reference_profile import ReferenceProfile
from monitor.spec.forecast import needed_time
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import RowWindow
from monitor.spec.times import DAY, block_length, profile_parts

MAX_NAMED: Final = 3  # columns in the sentence; the rest are counted


def moved_document(spec: ModelSpec, fitted: ReferenceProfile, frame: Rows, blocks: Ints) -> dict[str, Any] | None:
    """What moved within a reference, as the reference stores it; None where nothing did.

    Args:
        spec: of the model.
        fitted: on the rows.
        frame: the rows, in order.
        blocks: the profile block of each row, shape (rows,).

    Returns:
        `columns`: each with its change, when it happened, and the range of its blocks. `suggested`: times of a
        reference to take instead, None for rows without times. `stable`: whether that is a part of this reference;
        `long_enough`: and whether that part supports the block rule. `sentence`: all of it in words.
    """
    found = stability(fitted, parse_changes(spec.monitors.drift.floors), day=_blocks_per_day(spec))
    if not found.moved:
        return None
    times = _times(frame, blocks, fitted.labels)
    columns = [_column(moved, times, len(fitted.blocks)) for moved in found.moved]
    long_enough = found.stable_from is not None and _is_long_enough(spec, fitted, found.stable_from)
    lasts = timedelta() if long_enough else _time_for_block_rule(spec, fitted)
    suggested = None if times is None else _suggested(found, times, lasts)
    document = {
        "columns": columns,
        "suggested": suggested,
        "stable": found.stable_from is not None,
        "long_enough": long_enough,
    }
    return document | {"sentence": _sentence(document)}


def ledger_facts(moved: dict[str, Any] | None) -> dict[str, Any]:
    """What the ledger records of it: numbers and times, no level of a column, which may be a person's words."""
    if moved is None:
        return {}
    kept = ("column", "effect", "before", "after", "unit", "from")
    return {"moved": [{k: column[k] for k in kept} for column in moved["columns"]]}


def _blocks_per_day(spec: ModelSpec) -> int | None:
    """Profile blocks in one day; None for blocks of rows."""
    windows = spec.monitors.window_lengths
    if isinstance(windows, RowWindow):
        return None
    return max(1, round(profile_parts(windows) * (DAY / block_length(windows))))


def _times(frame: Rows, blocks: Ints, labels: Sequence[int]) -> list[datetime] | None:
    """The first time of each profiled block, and the last time of all; None for a dataset without times."""
    if "ts" not in column_names(frame):
        return None
    ts = frame.lazy().select("ts").collect()["ts"]
    first = pl.DataFrame({"block": blocks, "ts": ts}).group_by("block").agg(pl.col("ts").min())
    by_block = dict(first.iter_rows())
    last: Any = ts.max()
    return [*(by_block[label] for label in labels), last]


def _column(moved: MovedColumn, times: list[datetime] | None, blocks: int) -> dict[str, Any]:
    document = asdict(moved) | {"from": None, "to": None, "back": moved.end < blocks}
    if times is not None:
        document |= {"from": times[moved.begin].isoformat(), "to": times[moved.end].isoformat()}
    return document


def _suggested(found: Stability, times: list[datetime], lasts: timedelta) -> dict[str, str]:
    """The last stable stretch of the reference, or as long a time after its end; either lasts this long at least."""
    end = _next_minute(times[-1])
    if found.stable_from is not None:
        begin = _this_minute(times[found.stable_from])
        return {"from": _minute(begin), "to": _minute(max(end, begin + lasts))}
    return {"from": _minute(end), "to": _minute(end + max(end - _this_minute(times[0]), lasts))}


def _time_for_block_rule(spec: ModelSpec, fitted: ReferenceProfile) -> timedelta:
    """The time that a reference must span for the block rule, with rows for the encoders; 0 for windows of rows."""
    if isinstance(spec.monitors.window_lengths, RowWindow):
        return timedelta()
    for_encoders = (fitted.rows + fitted.rows_for_encoders) / max(fitted.rows, 1)
    days = math.ceil(for_encoders * (needed_time(spec, spec.monitors.scales) / DAY))
    return (days + 1) * DAY  # days that are not whole count as none


def range_in_words(moved: dict[str, Any] | None) -> str | None:
    """Which reference to write instead of one within which a column moved; None where none can be named."""
    if moved is None or moved["suggested"] is None:
        return None
    start, end = moved["suggested"]["from"], moved["suggested"]["to"]
    return f"a column moved within the reference, so write `baseline: {{range: {{from: {start}, to: {end}}}}}`"


def _this_minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _next_minute(at: datetime) -> datetime:
    return _this_minute(at) + timedelta(minutes=1)


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%MZ}"


def _is_long_enough(spec: ModelSpec, fitted: ReferenceProfile, start: int) -> bool:
    windows = spec.monitors.window_lengths
    part = replace(fitted, blocks=fitted.blocks[start:], labels=fitted.labels[start:])
    return supports_block_rule(spec, part, short=isinstance(windows, RowWindow) or block_length(windows) < DAY)


def _sentence(document: dict[str, Any]) -> str:
    columns, suggested = document["columns"], document["suggested"]
    named = "; ".join(_moved_words(c) for c in columns[:MAX_NAMED])
    more = f"; and {len(columns) - MAX_NAMED} more columns" if len(columns) > MAX_NAMED else ""
    moved = "A column" if len(columns) == 1 else f"{len(columns)} columns"
    unseen = "; ".join(_range_words(c) for c in columns[:MAX_NAMED])
    advice = "Register a dataset whose rows are alike from beginning to end."
    if suggested is not None:
        which = "a later time, because no later part of it is known to be stable"
        if document["stable"]:
            which = "its last stable stretch"
            if not document["long_enough"]:
                which += ", and go on until it is long enough for the block rule, if later rows are like these"
        advice = f"Take {which}: `baseline: {{range: {{from: {suggested['from']}, to: {suggested['to']}}}}}`."
    return (
        f"{moved} moved within the reference itself: {named}{more}. A later change within the range that the reference "
        f"has covered may not be seen ({unseen}). {advice}"
    )


def _moved_words(column: dict[str, Any]) -> str:
    change = f"from {_value(column, column['before'])} to {_value(column, column['after'])}{_of_rows(column)}"
    when = "" if column["from"] is None else f" from {_day(column['from'])} on"
    if column["back"] and column["from"] is not None:
        when = f" from {_day(column['from'])} to {_day(column['to'])}, and back"
    return f"`{column['column']}`: {_what(column)} {change}{when}"


def _range_words(column: dict[str, Any]) -> str:
    low, high = _value(column, column["low"]), _value(column, column["high"])
    return f"`{column['column']}` between {low} and {high}"


def _what(column: dict[str, Any]) -> str:
    match column["effect"]:
        case "share":
            return repr(column["detail"])
        case "share_below":
            return f"values up to {edge(column['detail'])}"
        case "mean":
            return "mean"
        case "location":
            return "mean rank"
        case "spread":
            return "distance from the middle rank"
        case "missing":
            return "missing values"
        case "other":
            return "values that are rare in it"
    return "values that other parts of it do not have"


def _value(column: dict[str, Any], value: float) -> str:
    return f"{100 * value:.1f} %" if column["unit"] == "share of rows" else figure(value)


def _of_rows(column: dict[str, Any]) -> str:
    return " of rows" if column["unit"] == "share of rows" else ""


def _day(moment: str) -> str:
    at = datetime.fromisoformat(moment)
    return f"{at:%d %b %Y %H:%M}"
