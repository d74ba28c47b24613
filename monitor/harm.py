"""Did it hurt: the KPIs of the window that an alert is about beside those of the last window before it began."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.figures import count, figure, points
from monitor import sizes
from monitor.kpi import KPIS
from monitor.sizes import Size
from monitor.spec.model import ModelSpec
from monitor.tables import Measurement, Window

Answer = Literal["yes", "by an estimate", "no", "unknown"]
MOST_LOOKED_AT: Final = 20  # windows before it began, among which the last value of each KPI is found


@dataclass(frozen=True, slots=True)
class KpiRead:
    """One KPI of one window. `realised`: counted on outcomes; else expected before they arrive."""

    value: float
    low: float | None
    high: float | None
    n: int
    realised: bool
    window_id: UUID
    from_ts: datetime
    to_ts: datetime


@dataclass(frozen=True, slots=True)
class KpiHarm:
    """One KPI before it began, in the window that the alert is about, and in the newest one since.

    `change`: during - before, in `unit`. `worse`: None where the two cannot be told apart, or cannot be compared.
    """

    metric: str
    column: str
    unit: str
    limit: float | None
    alarm: bool
    before: KpiRead | None
    during: KpiRead | None
    now: KpiRead | None
    change: float | None
    size: Size | None
    worse: bool | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Harm:
    """What an alert cost, first in a sentence."""

    hurt: Answer
    sentence: str
    kpis: tuple[KpiHarm, ...] = ()


def harm(db: Session, window: Window | None, since: datetime, spec: ModelSpec | None) -> Harm:
    """What the KPIs say about an alert.

    Args:
        window: that the alert is about; None for an alert without one.
        since: when its episode began, in the time of the events.
        spec: in force; None where it cannot be read, or there is no model.
    """
    if window is None:
        return Harm("unknown", "Not known: the alert is about no window of rows, so no KPI was measured for it.")
    during = _kpis(db, window)
    if not during:
        declared = "no KPI is declared" if spec is not None and not spec.monitors.kpi else "none was measured"
        return Harm("unknown", f"Not known: {declared} for its window.")
    before, newest = _before(db, window, since, during), _newest(db, window)
    found = tuple(_harm(m, before.get(_key(m)), newest.get(_key(m)), spec) for m in during)
    found = tuple(sorted(found, key=lambda k: (not k.alarm, k.worse is not True, k.limit is None)))
    return Harm(_answer(found), _sentence(found), found)


def _kpis(db: Session, window: Window) -> Sequence[Measurement]:
    query = select(Measurement).where(
        Measurement.window_id == window.id, Measurement.monitor == "kpi", Measurement.segment == ""
    )
    return db.scalars(query.order_by(Measurement.metric, Measurement.column)).all()


def _before(
    db: Session, window: Window, since: datetime, during: Sequence[Measurement]
) -> dict[tuple[str, str], KpiRead]:  # fmt: skip
    """The last value of each KPI in a window of the same length that ended before it began: realised, else estimated.

    One short query for each KPI, each along the index of its series.
    """
    found: dict[tuple[str, str], KpiRead] = {}
    for metric, column in dict.fromkeys(_key(m) for m in during):
        query = (
            select(Measurement)
            .join(Window, Window.id == Measurement.window_id)
            .where(
                Measurement.model_id == window.model_id, Measurement.metric == metric, Measurement.column == column,
                Measurement.segment == "", Measurement.monitor == "kpi", Measurement.to_ts <= since,
                Window.scale == window.scale, Window.id != window.id,
            )
            .order_by(Measurement.to_ts.desc())
            .limit(MOST_LOOKED_AT)
        )  # fmt: skip
        reads = [read for m in db.scalars(query) if (read := _read(m)) is not None]
        realised = [read for read in reads if read.realised]
        if reads:
            found[metric, column] = (realised or reads)[0]
    return found


def _newest(db: Session, window: Window) -> dict[tuple[str, str], KpiRead]:
    """Each KPI in the newest window of the same length, where that is a later one."""
    query = select(Window).where(
        Window.model_id == window.model_id, Window.scale == window.scale, Window.to_ts > window.to_ts
    )
    later = db.scalars(query.order_by(Window.to_ts.desc()).limit(1)).first()
    if later is None:
        return {}
    return {_key(m): read for m in _kpis(db, later) if (read := _read(m)) is not None}


def _key(m: Measurement) -> tuple[str, str]:
    return m.metric, m.column


def _read(m: Measurement) -> KpiRead | None:
    """The realised value; the estimate where rows with an outcome are too few to be judged."""
    few = m.value is not None and m.n < ((m.details.get("judgement") or {}).get("min_rows") or 0)
    place = m.window_id, m.from_ts, m.to_ts
    if m.estimated is not None and (m.value is None or few):
        return KpiRead(m.estimated, m.estimated_low, m.estimated_high, m.n, False, *place)
    return None if m.value is None else KpiRead(m.value, m.low, m.high, m.n, True, *place)


def _harm(m: Measurement, before: KpiRead | None, now: KpiRead | None, spec: ModelSpec | None) -> KpiHarm:
    during = _read(m)
    change = size = worse = None
    if during is not None and before is not None:
        change = during.value - before.value
        share = m.unit.startswith("share")
        size = sizes.of_points(change) if share else sizes.of_relative(before.value, during.value)
        worse = _worse(before, during, _better(m, spec))
    alarm = m.alarm and during is not None and during.realised
    if alarm and during is not None and during.realised:
        worse = True
    found = KpiHarm(m.metric, m.column, m.unit, m.limit, alarm, before, during, now, change, size, worse, "")
    return replace(found, sentence=_kpi_sentence(found, m.reason))


def _better(m: Measurement, spec: ModelSpec | None) -> bool | None:
    """Whether more of a KPI is better: by the catalogue, or by the limit that is declared."""
    kpi = KPIS.get(m.metric)
    if kpi is not None and kpi.higher_is_better is not None:
        return kpi.higher_is_better
    for rule in spec.monitors.kpi if spec is not None else ():
        if rule.metric == m.metric and (rule.column or "") == m.column and (rule.min is None) != (rule.max is None):
            return rule.min is not None
    return None


def _worse(before: KpiRead, during: KpiRead, better: bool | None) -> bool | None:
    """Whether the intervals lie apart, and on which side; None where they overlap or there are none."""
    if better is None or None in (before.low, before.high, during.low, during.high):
        return None
    below, above = during.high < before.low, during.low > before.high  # type: ignore[operator]  # none is None
    if not below and not above:
        return None
    return below if better else above


def _answer(found: Sequence[KpiHarm]) -> Answer:
    worse = [k for k in found if k.worse]
    if any(k.during is not None and k.during.realised for k in worse):
        return "yes"
    if worse:
        return "by an estimate"
    compared = [k for k in found if k.during is not None and k.before is not None]
    return "no" if compared and all(k.during is not None and k.during.realised for k in compared) else "unknown"


def _sentence(found: Sequence[KpiHarm]) -> str:
    match _answer(found):
        case "yes":
            start, told = "It hurt", [k for k in found if k.worse and k.during is not None and k.during.realised]
        case "by an estimate":
            start, told = "It seems to hurt, by an estimate without enough outcomes", [k for k in found if k.worse]
        case "no":
            start, told = "No harm is seen", [k for k in found if k.during is not None and k.before is not None]
        case _:
            start, told = "Not known yet whether it hurt", list(found)
    return f"{start}: {'; '.join(k.sentence for k in told[:2])}."


def _kpi_sentence(k: KpiHarm, reason: str | None) -> str:
    name = k.metric.replace("_", " ") + (f" of `{k.column}`" if k.column else "")
    if k.during is None:
        return f"{name} is not known, because {reason or 'no outcome of its rows has arrived'}"
    said = f"{name} {'is' if k.during.realised else 'is estimated at'} {read_words(k.during, k.unit)}"
    if k.before is None or k.change is None:
        return f"{said}, with nothing before it to compare"
    said += f", before {'' if k.before.realised else 'estimated '}{read_words(k.before, k.unit)}"
    if k.worse is None:
        return f"{said}: no change beyond its interval"
    return f"{said}: {change_words(k)}"


def change_words(k: KpiHarm) -> str:
    """`down 15 points, large`."""
    if k.change is None or k.before is None:
        return ""
    way = "down" if k.change < 0 else "up"
    if k.unit.startswith("share"):
        return f"{way} {points(k.change)}, {k.size}"
    part = f"{figure(100 * abs(k.change / k.before.value))} %" if k.before.value else "from 0"
    return f"{way} {part}, {k.size}"


def read_words(read: KpiRead, unit: str) -> str:
    """`0.757 (0.715 to 0.794, n = 467)`, with the unit where it has one."""
    plain = unit.startswith("share") or unit in ("", "ratio", "number", "column", "outcome")
    interval = "" if read.low is None or read.high is None else f"{figure(read.low)} to {figure(read.high)}, "
    rows = f"n = {count(read.n)}" if read.realised else "before outcomes"
    return f"{figure(read.value)}{'' if plain else ' ' + unit} ({interval}{rows})"
