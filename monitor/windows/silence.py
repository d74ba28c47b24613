"""Silence: a model whose rows stay away longer than they ever do. Judged by the clock, for no window closes then."""

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
from monitor.alerts import silence
from monitor.alerts.follow import Alarm
from monitor.events.read import Extent
from monitor.quality.silence import FACTOR, LEAST_MIN, NAME, SHORTEST_DAYS, Arrivals, Tail, arrivals, plausible_min
from monitor.service import CurrentSpec, current_spec
from monitor.site import Site
from monitor.spec import budget
from monitor.tables import BaselineRow, Model

KNOWN: Final = timedelta(days=56)  # arrivals are learned from no more than this
AGAIN: Final = timedelta(days=28)  # and again this often, or when they span twice as long
CHUNKED: Final = timedelta(days=1)  # a history that grows faster than this is still being sent
RETURN: Final = timedelta(hours=1)  # after a break of ours, senders get as long as the limit to return, at most this
LATE: Final = 0.99  # quantile of the seconds that rows take to arrive
LIVE: Final = 3  # times that long rows must have come for, before it is taken for the usual
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Outlook:
    """How long a model has been silent, and until when that is plausible; `due` is None where `reason` says why."""

    since: datetime | None
    due: datetime | None
    reason: str | None
    known: Arrivals | None = None
    days_between: float | None = None  # false alarms, by the budget


def watch(site: Site, model_name: str) -> None:
    """Open an alert once a silence is no longer plausible, and resolve it when rows come again. Safe to run twice.

    Costs a look at headers and two rows of the database while rows come or the silence is short.
    """
    extent, now = site.events.extent(model_name), site.clock.now()
    current, row = _loaded(site, model_name)
    told = current.model.silent_seq
    if told is not None and extent.next_seq > told:
        _ended(site, current.model, min(now, extent.last_received_at or now))
    row = learned(site, current, row, extent)
    if extent.next_seq == told or extent.last_received_at is None:
        return
    if now - extent.last_received_at < LEAST_MIN * _MINUTE:
        return
    found = outlook(site, current, row)
    if found.due is not None and now >= found.due and not _just_back(site, found, now):
        _tell(site, current, extent, found)


def _loaded(site: Site, model_name: str) -> tuple[CurrentSpec, BaselineRow]:
    with site.database.read() as db:
        current = current_spec(site, db, model_name)
        row = store.newest_baseline(db, current.model.id)
    assert row is not None  # every model has one from its first spec on
    return current, row


def learned(site: Site, current: CurrentSpec, row: BaselineRow, extent: Extent) -> BaselineRow:
    """The baseline with what is known of arrivals, learned once it is ready, and again as more is to be known."""
    before, now = row.arrivals, site.clock.now()
    if row.state != "ready" or extent.last_received_at is None or extent.last_ts is None:
        return row
    if before is not None and not _more(before, extent, now):
        return row
    frame = site.events.scan(current.model.name, from_ts=min(extent.last_ts, now) - KNOWN)
    minutes = (
        frame.group_by(pl.col("ts").dt.epoch("s") // 60, pl.col("received_at").dt.epoch("s") // 60).len().collect()
    )
    happened, received = (minutes[c].unique().sort().to_numpy().astype(np.int64) for c in ("ts", "received_at"))
    # Rows that tell of more time than they took to arrive are a history that was sent at once: how they arrived says
    # nothing, when they happened says how rows come if they come as they happen.
    at_once = len(received) > 0 and 2 * _middle(received) < _middle(happened)
    with site.database.read() as db:
        outages = _outages(db, current.model)
    known = arrivals(happened if at_once else received, outages)
    grown = before is not None and before["at_once"] and now - _when(before["learned_at"]) >= CHUNKED
    document = {
        "known": asdict(known), "at_once": at_once, "rows": int(minutes["len"].sum()),
        "live_seq": before["live_seq"] if grown and before is not None else extent.next_seq,
        "learned_at": now.isoformat(), "first_ts": _of(happened), "first_received_at": _of(received),
        "days": max(known.days, float(happened[-1] - happened[0]) / 1440 if len(happened) else 0.0),
    }  # fmt: skip
    with site.database.write() as db:
        stored = db.get_one(BaselineRow, row.id, with_for_update=True)
        stored.arrivals = document
        return stored


def _middle(minutes: NDArray[np.int64]) -> float:
    """The time that nine tenths of the minutes span: one row that is weeks late makes no history."""
    low, high = np.quantile(minutes, [0.05, 0.95])
    return float(high - low)


def _more(before: dict[str, Any], extent: Extent, now: datetime) -> bool:
    """Whether arrivals now span twice as long as when they were learned, or four weeks have passed."""
    if now - _when(before["learned_at"]) >= AGAIN:
        return True
    if before["first_ts"] is None:
        return False
    assert extent.last_ts is not None
    assert extent.last_received_at is not None
    spans = (min(extent.last_ts, now), before["first_ts"]), (extent.last_received_at, before["first_received_at"])
    longest = max((last - _when(first)) / timedelta(days=1) for last, first in spans)
    days: float = before["days"]
    return days < KNOWN.days / 2 and longest >= max(SHORTEST_DAYS, 2 * days)


def _outages(db: Session, model: Model) -> list[tuple[float, float]]:
    """Silences that were told and are over, in minutes since the epoch: no example of what is usual."""
    told = [e for alert in store.alerts_of(db, model.id, NAME) for e in alert.episodes if e["ended"]]
    return [(_when(e["from_ts"]).timestamp() / 60, _when(e["ended"]).timestamp() / 60) for e in told]


def outlook(site: Site, current: CurrentSpec, row: BaselineRow) -> Outlook:
    """Until when the present silence of a model is plausible under its budget."""
    extent, now = site.events.extent(current.model.name), site.clock.now()
    since, document = extent.last_received_at, row.arrivals
    if since is None:
        return Outlook(None, None, "no row has arrived")
    if document is None:
        return Outlook(since, None, row.problem or "the reference is still being collected")
    known = _known(document["known"])
    if known.reason is not None:
        return Outlook(since, None, known.reason, known)
    if since > now:
        return Outlook(since, None, "the clock was set back: the newest row arrived ahead of it", known)
    between = budget.days_between(current.spec, "silence", rows_per_day=max(1.0, document["rows"] / known.days))
    longest = timedelta()
    if document["at_once"]:
        delay = _delay(site, current.model, document["live_seq"], extent.next_seq)
        if delay is None:
            return Outlook(since, None, "the reference was sent at once, and no row has come since", known)
        # A row that happens after the silence began arrives within the usual delay: what is left is a pause of events.
        longest = FACTOR * delay.usual
        if delay.lasted < LIVE * longest:
            why = (
                "the reference was sent at once, and rows have come for too short a time since to say how late they are"
            )
            return Outlook(since, None, why, known)
    minutes = plausible_min(known, since.timestamp() / 60, between / known.days)
    try:
        due = since + minutes * _MINUTE + longest
    except OverflowError:
        return Outlook(since, None, "pauses vary too much for any silence to be told at this budget", known)
    return Outlook(since, due, None, known, between)


@dataclass(frozen=True, slots=True)
class _Delay:
    """Time that rows usually take to arrive, and how long they have been coming."""

    usual: timedelta
    lasted: timedelta


_DELAYS: Final = CacheKind[tuple[UUID, int, int], _Delay | None]("delays by model and the events read", most=2_000)


def _delay(site: Site, model: Model, live_seq: int, next_seq: int) -> _Delay | None:
    """How late rows after a history came; read once for every silence that is looked into."""

    def read() -> _Delay | None:
        rows = site.events.scan(model.name, from_seq=live_seq).select(
            (pl.col("received_at") - pl.col("ts")).quantile(LATE, interpolation="higher").alias("usual"),
            (pl.col("received_at").max() - pl.col("received_at").min()).alias("lasted"),
        )
        usual, lasted = rows.collect().row(0)
        return None if usual is None else _Delay(max(usual, timedelta()), lasted)

    return site.cache.get(_DELAYS, (model.id, live_seq, next_seq), read)


def _just_back(site: Site, found: Outlook, now: datetime) -> bool:
    """Whether the service itself was away, or its clock was set, so lately that senders may not have come back yet."""
    with site.database.read() as db:
        lease = db.get(Lease, queue.SCHEDULER)
    if lease is None or lease.since is None or found.due is None or found.since is None:
        return False
    return now - lease.since < min(found.due - found.since, RETURN)


def _tell(site: Site, current: CurrentSpec, extent: Extent, found: Outlook) -> None:
    now = site.clock.now()
    assert found.since is not None
    assert found.due is not None
    silent, limit = now - found.since, found.due - found.since
    alarm = Alarm(NAME, NAME, "", silent.total_seconds(), limit.total_seconds(), _sentence(found, silent, limit))
    with site.database.write() as db:
        model = db.get_one(Model, current.model.id, with_for_update=True, populate_existing=True)
        if model.silent_seq == extent.next_seq:
            return  # another worker told it meanwhile
        model.silent_seq = extent.next_seq
        silence.open_silence(site, db, current, alarm, found.since)


def _ended(site: Site, model: Model, at: datetime) -> None:
    with site.database.write() as db:
        db.get_one(Model, model.id, with_for_update=True, populate_existing=True).silent_seq = None
        for alert in store.alerts_of(db, model.id, NAME):
            if any(e["ended"] is None for e in alert.episodes):
                silence.end_silence(site, db, alert, at)


def _sentence(found: Outlook, silent: timedelta, limit: timedelta) -> str:
    assert found.known is not None
    assert found.known.wall is not None
    assert found.since is not None
    assert found.days_between is not None
    longest = _words(found.known.wall.longest * _MINUTE)
    return (
        f"No rows since {found.since:%Y-%m-%d %H:%M} UTC, for {_words(silent)}. In {found.known.days:.0f} days of "
        f"arrivals the longest pause was {longest}; one that begins at this time of the week and lasts over "
        f"{_words(limit)} is expected at most once in {found.days_between:,.0f} days."
    )


def _words(time: timedelta) -> str:
    minutes = round(time / _MINUTE)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes / 60:.1f} h" if minutes < 2 * 1440 else f"{minutes / 1440:.1f} days"


def _known(plain: dict[str, Any]) -> Arrivals:
    return Arrivals(
        plain["days"], plain["minutes"], plain["reason"], _tail(plain["wall"]), _tail(plain["week"]),
        tuple(plain["rates"]),
    )  # fmt: skip


def _tail(plain: dict[str, Any] | None) -> Tail | None:
    return None if plain is None else Tail(plain["longest"], tuple((a, n, s) for a, n, s in plain["powers"]))


def _of(minutes: NDArray[np.int64]) -> str | None:
    return datetime.fromtimestamp(int(minutes[0]) * 60, UTC).isoformat() if len(minutes) else None


def _when(text: str) -> datetime:
    return datetime.fromisoformat(text)
