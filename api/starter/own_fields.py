"""Find the fields that every event has (its id, time and version) among the columns of a table. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from api.starter import words
from api.starter.facts import Facts

_ALLOWED_AS_THEY_ARE: Final = ("event_id", "version", "trace_id", "span_id")
_YEAR_2000, _YEAR_2100 = 946_684_800, 4_102_444_800  # seconds since 1970
_EPOCHS: Final = (("epoch_s", 1), ("epoch_ms", 1_000), ("epoch_us", 1_000_000), ("epoch_ns", 1_000_000_000))
_MAX_VERSIONS: Final = 20


@dataclass(frozen=True)
class OwnFields:
    """Which columns of the file are the fields of an event.

    Attributes:
        sources: field -> column of the file.
        ts_as: how the times are to be read, if they do not say it: a zone, or a unit since 1970.
        why: field -> what the guess rests on.
    """

    sources: dict[str, str] = field(default_factory=dict)
    ts_as: str = ""
    why: dict[str, str] = field(default_factory=dict)


def own_fields(known: Sequence[Facts]) -> OwnFields:
    found = OwnFields({one.name: one.name for one in known if one.name in _ALLOWED_AS_THEY_ARE and one.kind != "empty"})
    ts_as = _time(known, found)
    _id(known, found)
    _version(known, found)
    return OwnFields(found.sources, ts_as, found.why)


def _time(known: Sequence[Facts], found: OwnFields) -> str:
    """Choose the time; returns how it is to be read."""
    candidates = [(one, reading) for one in known if (reading := _reading(one)) is not None]
    if not candidates:
        return ""
    one, reading = min(candidates, key=lambda c: (_rank(c[0]), not c[0].timed if c[0].kind == "time" else False))
    found.sources["ts"] = one.name
    how = {"": "times with their zone", "UTC": "times without a zone"}.get(reading, f"{reading} since 1970")
    found.why["ts"] = how.replace("epoch_", "")
    return reading


def _reading(one: Facts) -> str | None:
    """How a column gives a time; None if it gives none."""
    if one.kind == "time":
        return "" if one.zoned else "UTC"
    if not one.numeric or not set(one.words) & words.TIME:
        return None
    for name, per_second in _EPOCHS:
        if one.low >= _YEAR_2000 * per_second and one.high < _YEAR_2100 * per_second:
            return name
    return None


def _rank(one: Facts) -> int:
    name = "".join(one.words)
    return words.TIME_NAMES.index(name) if name in words.TIME_NAMES else len(words.TIME_NAMES)


def _id(known: Sequence[Facts], found: OwnFields) -> None:
    if "event_id" in found.sources:
        return
    for one in known:
        name = one.words[-1:] + one.words[:1]
        person = set(one.words) & words.PERSON
        if one.unique and one.kind in ("text", "whole") and {"id", "uuid", "guid"} & set(name) and not person:
            if one.kind == "text" and bool((one.values.cast(pl.String).str.len_chars() > 200).any()):
                continue
            found.sources["event_id"] = one.name
            found.why["event_id"] = "named like an id, and never twice the same"
            return


def _version(known: Sequence[Facts], found: OwnFields) -> None:
    if "version" in found.sources:
        return
    named = {"".join(one.words): one for one in known if one.kind == "text" and one.distinct <= _MAX_VERSIONS}
    for name in words.VERSION:
        one = named.get(name)
        if one is not None and one.n == one.rows and bool((one.values.str.len_chars() <= 64).all()):
            found.sources["version"] = one.name
            found.why["version"] = f"named like the model that answered, {one.distinct} values"
            return
