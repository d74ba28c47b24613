"""Fires when a tick of a cron expression fell due since the last consideration. Times are UTC."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

from core.errors import InvalidError
from monitor.spec.cron import read_cron
from monitor.spec.retraining import Cron, Retrain
from retrain.triggers.base import Trigger, TriggerFinding, TriggerInputs

_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def next_tick(cron: str, after: datetime) -> datetime | None:
    """First tick strictly after a time, in UTC; None when there is none.

    Raises:
        InvalidError: the expression cannot be read. A spec that names it is refused, but one that an earlier release
            stored may do so.
    """
    trigger = _trigger(cron)
    try:
        found = trigger.get_next_fire_time(None, after + timedelta(microseconds=1))
    except OverflowError:  # after the end of the calendar
        return None
    return None if found is None else found.astimezone(UTC)


@lru_cache(maxsize=4096)  # a scheduler asks for each model in every tick
def _trigger(cron: str) -> CronTrigger | OrTrigger:
    """The trigger of an expression.

    APScheduler counts weekdays from Monday, and asks for both day fields where cron takes either once both are
    restricted. So the fields are read by crontab's rules, and it gets lists of what they allow.
    """
    try:
        found = read_cron(cron)
    except ValueError as error:
        raise InvalidError(str(error), field="cron", value=cron[:60]) from error
    common = {
        "minute": _listed(found.minutes), "hour": _listed(found.hours), "month": _listed(found.months), "timezone": UTC,
    }  # fmt: skip
    days = {"day": _listed(found.days)}
    weekdays = {"day_of_week": ",".join(dict.fromkeys(_DAYS[day % 7] for day in sorted(found.weekdays)))}
    if found.either_day:
        return OrTrigger([CronTrigger(**days, **common), CronTrigger(**weekdays, **common)])
    return CronTrigger(**days, **weekdays, **common)


def _listed(values: Iterable[int]) -> str:
    return ",".join(str(value) for value in sorted(values))


def wanted(_inputs: TriggerInputs, policy: Retrain) -> bool:
    return any(isinstance(t, Cron) for t in policy.when)


def find(inputs: TriggerInputs, policy: Retrain) -> TriggerFinding:
    ticks, never = list[tuple[datetime, str]](), list[str]()
    for cron in [t.cron for t in policy.when if isinstance(t, Cron)]:
        try:
            tick = next_tick(cron, min(inputs.considered_at, inputs.now))  # the clock may have been set back
        except InvalidError as error:  # stored by an earlier release
            never.append(error.message)
            continue
        if tick is None:
            never.append(f"`{cron}` never falls due")
        else:
            ticks.append((tick, cron))
    due = [f"`{cron}` fell due at {tick.isoformat()}" for tick, cron in ticks if tick <= inputs.now]
    if due:
        return TriggerFinding("schedule", True, "; ".join(due))
    if not ticks:
        return TriggerFinding("schedule", False, "; ".join(never))
    tick, cron = min(ticks)
    return TriggerFinding("schedule", False, "; ".join([f"`{cron}` falls due next at {tick.isoformat()}", *never]))


TRIGGER = Trigger("schedule", "since_training", wanted, find)
