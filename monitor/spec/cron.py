"""Cron expressions of five fields: checked as crontab(5) describes them, before a schedule is stored."""

import calendar
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MAX_CHARS: Final = 200
_MONTHS: Final = {name.lower(): n for n, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS: Final = {name: n for n, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_LONGEST_MONTH: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SHORTHANDS: Final = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_PART: Final = re.compile(r"(?:\*|([0-9]{1,9}|[a-z]{3})(?:-([0-9]{1,9}|[a-z]{3}))?)(?:/([0-9]{1,9}))?")


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: Mapping[str, int]
    last: int  # of `*`


_FIELDS: Final = (
    _Field("minute", 0, 59, {}, 59), _Field("hour", 0, 23, {}, 23), _Field("day of the month", 1, 31, {}, 31),
    _Field("month", 1, 12, _MONTHS, 12), _Field("day of the week", 0, 7, _WEEKDAYS, 6),
)  # fmt: skip


def read_cron(text: str) -> str:
    """Read an expression.

    Returns:
        The same in numbers, lists and steps alone. A field that begins with `*` still does: that decides how the two
        fields of days go together, and what happens when clocks are put back.

    Raises:
        ValueError: it cannot be read, or names no day of any year; with the field, what is wrong with it and what to
            write.

    Source: crontab(5).
    """
    told = repr(text if len(text) <= 60 else text[:60] + "...")
    if text.strip().lower() in _SHORTHANDS:
        raise ValueError(f"cron is {told}; write its five fields: `{_SHORTHANDS[text.strip().lower()]}`")
    fields = text.split()
    if len(fields) != 5 or len(text) > MAX_CHARS:
        have = f"has {len(fields)} field{'s' * (len(fields) != 1)}" if len(fields) != 5 else f"is {len(text)} long"
        raise ValueError(
            f"cron is {told}, which {have}; write five fields separated by spaces (minute, hour, day of the month, "
            f"month, day of the week), such as `0 3 * * 0`, in at most {MAX_CHARS} characters"
        )
    sets = [_values(told, field, written) for field, written in zip(_FIELDS, fields, strict=True)]
    _, _, days, months, _ = sets
    longest = max(_LONGEST_MONTH[month - 1] for month in months)
    either_day = not fields[2].startswith("*") and not fields[4].startswith("*")
    if not either_day and min(days) > longest:
        raise ValueError(
            f"cron is {told}, which never comes: no such month has day {min(days)}; write a day up to {longest}"
        )
    return " ".join(_plain(written, found) for written, found in zip(fields, sets, strict=True))


def _plain(written: str, values: set[int]) -> str:
    first = written.partition(",")[0]
    if first == "*":
        return "*"
    listed = ",".join(map(str, sorted(values)))
    return f"{first},{listed}" if first.startswith("*") else listed


def _values(told: str, field: _Field, written: str) -> set[int]:
    found: set[int] = set()
    for part in written.split(","):
        match = _PART.fullmatch(part.lower())
        if match is None:
            raise ValueError(f"cron is {told}: {field.name} {part[:40]!r} cannot be read; write {_forms(field)}")
        begin = _value(told, field, part, match[1]) if match[1] else field.low
        step = int(match[3]) if match[3] else 1
        last = _value(told, field, part, match[2]) if match[2] else None
        if match[2] and match[2].lower() == "sun":
            last = 7  # sat-sun ends the week
        if last is None:
            last = begin if match[1] and not match[3] else field.last
        if last < begin:
            raise ValueError(
                f"cron is {told}: {field.name} {part!r} runs backwards; write two ranges, such as "
                f"`{begin}-{field.high},{field.low}-{last}`"
            )
        if match[3] and not 1 <= step <= max(field.high - field.low, 1):
            raise ValueError(
                f"cron is {told}: {field.name} {part!r} has the step {step}; write a step from 1 to "
                f"{field.high - field.low}"
            )
        found |= set(range(begin, last + 1, step))
    return found


def _value(told: str, field: _Field, part: str, text: str) -> int:
    name = text.lower()
    value = field.names.get(name) if not name.isdigit() else int(name)
    if value is None or not field.low <= value <= field.high:
        raise ValueError(f"cron is {told}: {field.name} {part[:40]!r} is not possible; write {_forms(field)}")
    return value


def _forms(field: _Field) -> str:
    names = f" or names such as {', '.join(list(field.names)[:2])}" if field.names else ""
    such = f"ranges such as `{field.low}-{field.low + 4}`, steps such as `*/2`"
    return f"numbers from {field.low} to {field.high}{names}, `*`, {such}"
