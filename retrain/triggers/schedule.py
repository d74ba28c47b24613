"""Fires when a tick of a cron expression fell due since the last consideration. Times are UTC."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

from core.errors import InvalidError
from monitor.spec.retraining import Cron, Retrain
from retrain.triggers.base import Trigger, TriggerFinding, TriggerInputs

_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def next_tick(cron: str, after: datetime) -> datetime | None:
    """First tick strictly after a time, in UTC; None when there is none.

    Raises:
        InvalidError: a field of the expression cannot be read.

    Source: crontab(5). Two differences of APScheduler are undone: its weekday 0 is Monday (cron: Sunday), and it asks
    for both day fields where cron takes either once both are restricted.
    """
    start = after + timedelta(microseconds=1)
    found = _trigger(cron).get_next_fire_time(None, start)
    return None if found is None else found.astimezone(UTC)


def _trigger(cron: str) -> CronTrigger | OrTrigger:
    fields = cron.split()
    if len(fields) != 5:
        raise InvalidError(f"cron {cron!r} has {len(fields)} fields; write five, such as `0 3 * * 0`", field="cron")
    minute, hour, day, month, weekday = fields
    try:
        common = {"minute": minute, "hour": hour, "month": month, "timezone": UTC}
        weekdays = _weekdays(weekday)
        if day.startswith("*") or weekday.startswith("*"):
            return CronTrigger(day=day, day_of_week=weekdays, **common)
        return OrTrigger([CronTrigger(day=day, **common), CronTrigger(day_of_week=weekdays, **common)])
    except ValueError as error:
        raise InvalidError(f"cron {cron!r} cannot be read: {error}", field="cron") from error


def _weekdays(field: str) -> str:
    """Cron's numbered weekdays as names; a range is written out, for it may run over the end of the week."""
    return ",".join(_weekday_part(part) for part in field.split(","))


def _weekday_part(part: str) -> str:
    match = re.fullmatch(r"([0-7])(?:-([0-7]))?(?:/([1-7]))?", part)
    if match is None:
        return part  # names, `*` and `*/n` mean the same to both
    first = int(match[1])
    last = int(match[2]) if match[2] else (6 if match[3] else first)
    if last < first:
        raise ValueError(f"weekday range {part!r} runs backwards")
    return ",".join(_DAYS[day % 7] for day in range(first, last + 1, int(match[3] or 1)))


def wanted(_inputs: TriggerInputs, policy: Retrain) -> bool:
    return any(isinstance(t, Cron) for t in policy.when)


def find(inputs: TriggerInputs, policy: Retrain) -> TriggerFinding:
    crons = [t.cron for t in policy.when if isinstance(t, Cron)]
    ticks = [(tick, cron) for cron in crons if (tick := next_tick(cron, inputs.considered_at)) is not None]
    due = [f"`{cron}` fell due at {tick.isoformat()}" for tick, cron in ticks if tick <= inputs.now]
    if due:
        return TriggerFinding("schedule", True, "; ".join(due))
    if not ticks:
        return TriggerFinding("schedule", False, f"{', '.join(f'`{c}`' for c in crons)} never falls due")
    tick, cron = min(ticks)
    return TriggerFinding("schedule", False, f"`{cron}` falls due next at {tick.isoformat()}")


TRIGGER = Trigger("schedule", "since_training", wanted, find)
