"""Time zones by their name in the IANA database, and hours of the day in them, as settings and specs write them."""

import difflib
import re
import zoneinfo
from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

OF_NO_PLACE: Final = frozenset({"Factory", "localtime", "posixrules"})  # another zone on each machine, or none
MAX_SHOWN: Final = 60  # characters of a name that is refused
# CEST, GMT+2: what looks like them is another zone, often on the other side (Etc/GMT+2 is two hours behind UTC).
_OFFSET: Final = re.compile(r"[+-]\d")
_ABBREVIATION: Final = re.compile(r"[A-Z]{2,5}")


@cache
def names() -> frozenset[str]:
    """Every zone that is installed, by the operating system or by the package tzdata."""
    return frozenset(zoneinfo.available_timezones())


def zone_of(name: str) -> ZoneInfo:
    """The zone of a name.

    Raises:
        ValueError: no zone of this name is installed; with the nearest name that is.
    """
    if name not in names():
        told = repr(name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}...")
        near = _nearest(name)
        fix = f"did you mean {near}?" if near else "write a place such as Europe/Zurich, or UTC"
        raise ValueError(f"no time zone of the name {told} is installed; {fix}")
    return ZoneInfo(name)


def _nearest(name: str) -> str | None:
    """The installed name that was probably meant: the same in other letters, the same city, or else a similar one."""
    plain = name.strip().replace(" ", "_").casefold()[:MAX_SHOWN]
    known = {
        one.casefold(): one for one in sorted(names() - OF_NO_PLACE, reverse=True)
    }  # of equal ones the first by name stays
    if plain in known:
        return known[plain]
    if _OFFSET.search(plain):
        return None
    cities = {one.rpartition("/")[2]: known[one] for one in sorted(known, reverse=True)}
    city = plain.rpartition("/")[2]
    if city in cities:
        return cities[city]
    if _ABBREVIATION.fullmatch(name.strip()):
        return None
    close = difflib.get_close_matches(plain, known, n=1, cutoff=0.6)
    if close:
        return known[close[0]]
    close = difflib.get_close_matches(city, cities, n=1, cutoff=0.6)
    return cities[close[0]] if close else None


def next_open(hours: tuple[time, time] | None, days: Collection[int] | None, zone: ZoneInfo, at: datetime) -> datetime:
    """The first time from `at` on that lies within the hours.

    Args:
        hours: begin and end; the end may lie on the next day. None: the whole day.
        days: on which they begin, Monday is 0. None: every day.
    """
    begin, end = hours or (time(0), time(0))
    today = at.astimezone(zone).date()
    for back in range(-1, 9):  # hours that began yesterday may still last
        day = today + timedelta(days=back)
        if days is not None and day.weekday() not in days:
            continue
        closes = _moment(day if end > begin else day + timedelta(days=1), end, zone)
        if at < closes:
            return max(at, _moment(day, begin, zone))
    raise AssertionError("a week has every day of the hours")


def _moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    """When a clock shows a time for the first time; for one that it skips, the first minute after the gap, in UTC."""
    shown = datetime.combine(day, at)
    while (found := shown.replace(tzinfo=zone).astimezone(UTC)).astimezone(zone).replace(tzinfo=None) != shown:
        shown += timedelta(minutes=1)
    return found
