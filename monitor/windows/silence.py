"""Silence: no row arrives for longer than is plausible. The clock decides this, because no window closes then."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from core import queue
from core.cache import CacheKind
from core.queue import Lease
from monitor import store
from monitor.alerts import by_clock
from monitor.alerts.headlines import Alarm, lasts
from monitor.events.read import Extent
from monitor.quality.silence import (
    MIN_DAYS,
    MIN_FACTOR,
    MIN_SILENCE_MINUTES,
    NAME,
    ArrivalPattern,
    ParetoTail,
    arrival_pattern,
    plausible_silence,
)
from monitor.service import CurrentSpec, current_spec
from monitor.site import Site
from monitor.spec import false_alarm_budget
from monitor.tables import Alert, Model, ReferenceRow

LEARNED_PERIOD: Final = timedelta(days=56)  # arrivals are learned from at most this much time
RELEARN_INTERVAL: Final = timedelta(days=28)  # arrivals are learned again this often, or once they span twice the time
MIN_GROWTH_TIME: Final = timedelta(days=1)  # a history that grows again sooner than this is still being sent
MAX_RETURN_TIME: Final = timedelta(
    hours=1
)  # after Assay itself was down, senders have the limit, at most this, to return
DELAY_QUANTILE: Final = 0.99  # quantile of the time that rows take to arrive
MIN_LIVE_DELAYS: Final = 3  # rows must have arrived for this many times the delay before it counts as the usual one
CRITICAL_FACTOR: Final = 4  # a silence of this many times its limit is critical
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Outlook:
    """Since when a model has been silent, and until when that is plausible; `due` is None where `reason` says why."""

    since: datetime | None
    due: datetime | None
    reason: str | None
    known: ArrivalPattern | None = None
    days_between: float | None = None  # days between false alarms that the budget allows


def watch(site: Site, model_name: str) -> None:
    """Open an alert once a silence is no longer plausible, and resolve it when rows arrive again. Safe to run twice.

    While rows arrive or the silence is short, this reads only the extent of the events and two database rows.
    """
    extent, now = site.events.extent(model_name), site.clock.now()
    current, row = _loaded(site, model_name)
    announced_at = current.model.silent_seq
    if announced_at is not None and extent.next_seq > announced_at:
        _end_silence(site, current.model, min(now, extent.last_received_at or now))
    row = with_arrivals_learned(site, current, row, extent)
    if extent.last_received_at is None:
        return
    if extent.next_seq == announced_at and not _became_critical(site, current.model, now - extent.last_received_at):
        return
    if now - extent.last_received_at < MIN_SILENCE_MINUTES * _MINUTE:
        return
    found = outlook(site, current, row)
    if found.due is not None and now >= found.due and not _just_restarted(site, found, now):
        _announce(site, current, extent, found)


def _loaded(site: Site, model_name: str) -> tuple[CurrentSpec, ReferenceRow]:
    with site.database.read() as db:
        current = current_spec(site, db, model_name)
        row = store.newest_reference(db, current.model.id)
    assert row is not None  # every model has one from its first spec on
    return current, row


def with_arrivals_learned(site: Site, current: CurrentSpec, row: ReferenceRow, extent: Extent) -> ReferenceRow:
    """The reference with its model of arrivals, learned once it is ready and again when arrivals span longer."""
    before, now = row.arrivals, site.clock.now()
    if row.state != "ready" or extent.last_received_at is None or extent.last_ts is None:
        return row
    if before is not None and not _should_relearn(before, extent, now):
        return row
    frame = site.events.scan(current.model.name, from_ts=min(extent.last_ts, now) - LEARNED_PERIOD)
    minutes = (
        frame.group_by(pl.col("ts").dt.epoch("s") // 60, pl.col("received_at").dt.epoch("s") // 60).len().collect()
    )
    happened, received = (minutes[c].unique().sort().to_numpy().astype(np.int64) for c in ("ts", "received_at"))
    # Rows whose events span more time than their arrivals are a history that was sent at once. Their arrival times say
    # nothing; their event times say how rows will arrive once they are sent as they happen.
    at_once = len(received) > 0 and 2 * _central_span(received) < _central_span(happened)
    with site.database.read() as db:
        outages = _outages(db, current.model)
    known = arrival_pattern(happened if at_once else received, outages)
    grown = before is not None and before["at_once"] and now - _time(before["learned_at"]) >= MIN_GROWTH_TIME
    document = {
        "known": asdict(known), "at_once": at_once, "rows": int(minutes["len"].sum()),
        "live_seq": before["live_seq"] if grown and before is not None else extent.next_seq,
        "learned_at": now.isoformat(), "first_ts": _first_minute(happened),
        "first_received_at": _first_minute(received),
        "days": max(known.days, float(happened[-1] - happened[0]) / 1440 if len(happened) else 0.0),
    }  # fmt: skip
    with site.database.write() as db:
        stored = db.get_one(ReferenceRow, row.id, with_for_update=True)
        stored.arrivals = document
        return stored


def _central_span(minutes: NDArray[np.int64]) -> float:
    """The time that the central 90 % of the minutes span, so that one row that is weeks late does not count."""
    low, high = np.quantile(minutes, [0.05, 0.95])
    return float(high - low)


def _should_relearn(before: dict[str, Any], extent: Extent, now: datetime) -> bool:
    """Whether arrivals span twice the time they did when last learned, or four weeks have passed since."""
    if now - _time(before["learned_at"]) >= RELEARN_INTERVAL:
        return True
    if before["first_ts"] is None:
        return False
    assert extent.last_ts is not None
    assert extent.last_received_at is not None
    spans = (min(extent.last_ts, now), before["first_ts"]), (extent.last_received_at, before["first_received_at"])
    longest = max((last - _time(first)) / timedelta(days=1) for last, first in spans)
    days: float = before["days"]
    return days < LEARNED_PERIOD.days / 2 and longest >= max(MIN_DAYS, 2 * days)


def _outages(db: Session, model: Model) -> list[tuple[float, float]]:
    """Announced silences that have ended, in minutes since the epoch; they are no example of usual arrivals."""
    ended = [e for alert in store.alerts_of(db, model.id, NAME) for e in alert.episodes if e["ended"]]
    return [(_time(e["from_ts"]).timestamp() / 60, _time(e["ended"]).timestamp() / 60) for e in ended]


def outlook(site: Site, current: CurrentSpec, row: ReferenceRow) -> Outlook:
    """Until when the current silence of a model is plausible under its false-alarm budget."""
    extent, now = site.events.extent(current.model.name), site.clock.now()
    since, document = extent.last_received_at, row.arrivals
    if since is None:
        return Outlook(None, None, "no row has arrived")
    if document is None:
        return Outlook(since, None, row.problem or "the reference is still being collected")
    known = _arrivals(document["known"])
    if known.reason is not None:
        return Outlook(since, None, known.reason, known)
    if since > now:
        return Outlook(since, None, "the clock was set back: the newest row has an arrival time in the future", known)
    between = false_alarm_budget.days_between(
        current.spec, "silence", rows_per_day=max(1.0, document["rows"] / known.days)
    )
    longest = timedelta()
    if document["at_once"]:
        delay = _delay(site, current.model, document["live_seq"], extent.next_seq)
        if delay is None:
            return Outlook(since, None, "the reference was sent at once, and no row has arrived since", known)
        # An event after the silence began arrives within the usual delay; beyond that, the events themselves pause.
        longest = MIN_FACTOR * delay.usual
        if delay.lasted < MIN_LIVE_DELAYS * longest:
            reason = "the reference was sent at once, and rows have arrived for too short a time to know their delay"
            return Outlook(since, None, reason, known)
    minutes = plausible_silence(known, since.timestamp() / 60, between / known.days)
    try:
        due = since + minutes * _MINUTE + longest
    except OverflowError:
        return Outlook(since, None, "pauses vary too much for a silence to be detected within this budget", known)
    return Outlook(since, due, None, known, between)


@dataclass(frozen=True, slots=True)
class _Delay:
    """The time that rows usually take to arrive, and for how long rows have been arriving."""

    usual: timedelta
    lasted: timedelta


DELAYS: Final = CacheKind[tuple[UUID, int, int], _Delay | None]("delays by model and the events read", most=2_000)


def _delay(site: Site, model: Model, live_seq: int, next_seq: int) -> _Delay | None:
    """How late the rows after a history arrived; read once for each silence."""

    def read() -> _Delay | None:
        rows = site.events.scan(model.name, from_seq=live_seq).select(
            (pl.col("received_at") - pl.col("ts")).quantile(DELAY_QUANTILE, interpolation="higher").alias("usual"),
            (pl.col("received_at").max() - pl.col("received_at").min()).alias("lasted"),
        )
        usual, lasted = rows.collect().row(0)
        return None if usual is None else _Delay(max(usual, timedelta()), lasted)

    return site.cache.get(DELAYS, (model.id, live_seq, next_seq), read)


def _just_restarted(site: Site, found: Outlook, now: datetime) -> bool:
    """Whether Assay started, or its clock was set, so recently that senders may not have returned yet."""
    with site.database.read() as db:
        lease = db.get(Lease, queue.SCHEDULER)
    if lease is None or lease.since is None or found.due is None or found.since is None:
        return False
    return now - lease.since < min(found.due - found.since, MAX_RETURN_TIME)


def _announce(site: Site, current: CurrentSpec, extent: Extent, found: Outlook) -> None:
    now = site.clock.now()
    assert found.since is not None
    assert found.due is not None
    silent, limit = now - found.since, found.due - found.since
    alarm = Alarm(
        NAME, NAME, "", silent.total_seconds(), limit.total_seconds(), _sentence(found, silent, limit),
        "critical" if silent >= CRITICAL_FACTOR * limit else "warning",
    )  # fmt: skip
    with site.database.write() as db:
        model = db.get_one(Model, current.model.id, with_for_update=True, populate_existing=True)
        if model.silent_seq == extent.next_seq:  # it is announced, perhaps by another worker
            for alert in _lasting(db, model):
                if alert.severity != alarm.severity:
                    by_clock.continue_alert(site, db, alert.id, alarm)
            return
        model.silent_seq = extent.next_seq
        facts = {
            "spec_revision": current.revision, "events_version": site.events.extent(model.name).events_version,
        }  # fmt: skip
        by_clock.open_alert(site, db, model.id, alarm, found.since, facts)


def _end_silence(site: Site, model: Model, at: datetime) -> None:
    with site.database.write() as db:
        db.get_one(Model, model.id, with_for_update=True, populate_existing=True).silent_seq = None
        for alert in store.alerts_of(db, model.id, NAME):
            if any(e["ended"] is None for e in alert.episodes):
                by_clock.end_alert(site, db, alert.id, at)


def _became_critical(site: Site, model: Model, silent: timedelta) -> bool:
    """Whether a silence that was announced has lasted several times its limit since."""
    with site.database.read() as db:
        told = [a for a in _lasting(db, model) if a.severity != "critical" and a.limit is not None]
    return any(silent.total_seconds() >= CRITICAL_FACTOR * (a.limit or 0.0) for a in told)


def _lasting(db: Session, model: Model) -> list[Alert]:
    return [a for a in store.alerts_of(db, model.id, NAME) if a.state != "resolved" and lasts(a)]


def _sentence(found: Outlook, silent: timedelta, limit: timedelta) -> str:
    assert found.known is not None
    assert found.known.wall is not None
    assert found.since is not None
    assert found.days_between is not None
    longest = _duration_words(found.known.wall.longest * _MINUTE)
    return (
        f"No rows have arrived since {found.since:%Y-%m-%d %H:%M} UTC, for {_duration_words(silent)}. The longest "
        f"pause in {found.known.days:.0f} days of arrivals was {longest}. A pause that begins at this time of the week "
        f"and lasts longer than {_duration_words(limit)} is expected at most once in {found.days_between:,.0f} days."
    )


def _duration_words(time: timedelta) -> str:
    minutes = round(time / _MINUTE)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes / 60:.1f} h" if minutes < 2 * 1440 else f"{minutes / 1440:.1f} days"


def _arrivals(plain: dict[str, Any]) -> ArrivalPattern:
    return ArrivalPattern(
        plain["days"], plain["minutes"], plain["reason"], _tail(plain["wall"]), _tail(plain["week"]),
        tuple(plain["rates"]),
    )  # fmt: skip


def _tail(plain: dict[str, Any] | None) -> ParetoTail | None:
    return None if plain is None else ParetoTail(plain["longest"], tuple((a, n, s) for a, n, s in plain["powers"]))


def _first_minute(minutes: NDArray[np.int64]) -> str | None:
    return datetime.fromtimestamp(int(minutes[0]) * 60, UTC).isoformat() if len(minutes) else None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
