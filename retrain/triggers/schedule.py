"""Fires when a tick of a cron expression fell due since the expression was declared or its last tick was considered."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from cronsim import CronSim

from core.errors import InvalidError
from core.zones import zone_of
from monitor.spec.cron import read_cron
from monitor.spec.retraining import Retrain
from monitor.spec.triggers import Cron
from retrain.triggers.base import ScheduleReading, Trigger, TriggerFinding, TriggerInputs

LATE_AFTER: Final = timedelta(minutes=2)  # a tick that is considered later was missed, and the reason says so
MOST_COUNTED: Final = 1_000  # ticks of one outage


def next_tick(cron: str, after: datetime, timezone: str = "UTC") -> datetime | None:
    """First tick strictly after a time, in UTC; None when there is none.

    Args:
        cron: five crontab fields.
        timezone: in which they count. A fixed time of day comes once a day: where clocks go back, the first time they
            show it; where they skip it, at the first minute after the gap. An hour or a minute that begins with `*`
            counts real time.

    Raises:
        InvalidError: the expression or the zone cannot be read. A spec that names it is refused, but one that an
            earlier release stored may do so, and a zone may be missing on another machine.

    Source: crontab(5) and Debian's cron on changes of the clock, as cronsim keeps them.
    """
    # Ticks lie on whole minutes, so the next one is the same from every second of a minute.
    return _next(cron, timezone, after.replace(second=0, microsecond=0))


@lru_cache(maxsize=8192)  # a scheduler asks for each model in every tick, mostly within the same minute
def _next(cron: str, timezone: str, after: datetime) -> datetime | None:
    try:
        plain, zone = read_cron(cron), zone_of(timezone)
    except ValueError as error:
        raise InvalidError(str(error), field="cron", value=cron[:60]) from error
    try:
        local = after.astimezone(UTC if timezone == "UTC" else zone)
        ticks = CronSim(plain, local)
        # Where clocks go back, a fixed time that has passed is found once more, at the same moment.
        while (found := next(ticks, None)) is not None and found.astimezone(UTC) <= after:
            pass
    except (OverflowError, ValueError):  # after the end of the calendar
        return None
    return None if found is None else found.astimezone(UTC)


def declared_since(
    revisions: Iterable[tuple[Mapping[str, Any], datetime]], schedules: Iterable[str]
) -> dict[str, datetime]:
    """Since when schedules have been declared without a break, by their words.

    Args:
        revisions: stored specs and when each was applied, newest first.
        schedules: words of schedules that the newest declares (`monitor.spec.triggers.Cron.words`).
    """
    found: dict[str, datetime] = {}
    lasting = set(schedules)
    for document, at in revisions:
        named = (document.get("retrain") or {}).get("when") or ()
        lasting &= {Cron.model_validate(one).words for one in named if isinstance(one, Mapping) and "cron" in one}
        if not lasting:
            break
        found |= dict.fromkeys(lasting, at)
    return found


def wanted(_inputs: TriggerInputs, policy: Retrain) -> bool:
    return any(isinstance(t, Cron) for t in policy.when)


def find(inputs: TriggerInputs, _policy: Retrain) -> TriggerFinding:
    due, coming, never = list[str](), list[tuple[datetime, str]](), list[str]()
    ticks: dict[str, str] = {}
    for schedule in inputs.schedules:
        try:
            tick = next_tick(schedule.cron, min(schedule.since, inputs.now), schedule.timezone)
        except InvalidError as error:  # stored by an earlier release
            never.append(error.message)
            continue
        if tick is None:
            never.append(f"{schedule.words} never falls due")
        elif tick <= inputs.now:
            words, last = _due(schedule, tick, inputs.now)
            due.append(words)
            ticks[schedule.words] = last.isoformat()
        else:
            coming.append((tick, schedule.words))
    if due:
        return TriggerFinding("schedule", True, "; ".join(due), ticks=ticks)
    if not coming:
        return TriggerFinding("schedule", False, "; ".join(never))
    tick, words = min(coming)
    return TriggerFinding("schedule", False, "; ".join([f"{words} falls due next at {tick.isoformat()}", *never]))


def _due(schedule: ScheduleReading, first: datetime, now: datetime) -> tuple[str, datetime]:
    """What to say of ticks that fell due, and the last of them."""
    last, count = first, 1
    while count < MOST_COUNTED:
        following = next_tick(schedule.cron, last, schedule.timezone)
        if following is None or following > now:
            break
        last, count = following, count + 1
    told = f"{schedule.words} fell due at {last.isoformat()}"
    if count > 1:
        more = "or more " if count == MOST_COUNTED else ""
        return f"{told}, for the {count}th time {more}since {first.isoformat()}; one run makes up for all of them", last
    if now - last >= LATE_AFTER:
        told += f" and is considered {_words(now - last)} late"
    return told, last


def _words(time: timedelta) -> str:
    minutes = round(time / timedelta(minutes=1))
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


TRIGGER = Trigger("schedule", "since_training", wanted, find)
