"""Record a window: its readings, its verdict and the alerts that follow from them, in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from sqlalchemy.orm import Session

from monitor import store
from monitor.alerts import follow
from monitor.fairness.counts import GroupCounts
from monitor.site import Site
from monitor.tables import Measurement, Model, Window
from monitor.windows import breakdown, estimates, limits
from monitor.windows.alarms import alarms_of, window_sentence
from monitor.windows.correction_history import LATE_OUTCOMES, correction_fields
from monitor.windows.estimate_alarms import with_estimate_alarms
from monitor.windows.lasting_disparities import with_lasting
from monitor.windows.period_counts import store_counts
from monitor.windows.readings import Reading

_STORED: Final = tuple(f.name for f in fields(Reading) if f.name not in ("sentence", "limits"))

_DRIFT: Final = ("drift", "p_value", "", "")  # place of the verdict


def record(
    site: Site, db: Session, model: Model, window: Window, readings: Sequence[Reading],
    reason: str = LATE_OUTCOMES, groups: GroupCounts | None = None,
) -> None:  # fmt: skip
    """Store the readings of a window in place of earlier ones, then its verdict and its alerts.

    Args:
        reason: what changed the numbers of a window that had some before.
        groups: its rows counted by protected group.
    """
    now = site.clock.now()
    readings = breakdown.with_first_degraded(db, window, estimates.track(db, window, readings))
    readings = with_lasting(db, window, readings)
    known = {(m.monitor, m.metric, m.column, m.segment): m for m in store.window_measurements(db, window.id)}
    readings = with_estimate_alarms([limits.judged(r, _judgement(known.get(_place(r)))) for r in readings])
    new: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for reading in readings:
        values = {name: getattr(reading, name) for name in _STORED} | {"computed_at": now}
        at = _place(reading)
        stored = known.get(at)
        if stored is None:
            new[at] = values
        else:
            values |= correction_fields(stored, reading, now, reason)
        if reading.alarm and reading.sentence:
            values["details"] = values["details"] | {"sentence": reading.sentence}
        if stored is not None:
            for field, value in values.items():
                setattr(stored, field, value)
    # A window that was not judged before stored one reason for each statistic; now it has them column by column.
    fresh = {_place(r) for r in readings}
    if _DRIFT in fresh:
        for key in [k for k, m in known.items() if k[0] == "drift" and m.value is None and k not in fresh]:
            db.delete(known.pop(key))
    store.add_measurements(db, window, list(new.values()))
    if groups is not None:
        store_counts(db, window, groups, now)
    db.flush()
    sentence = window.decision["sentence"]
    # A KPI that turns out to be beyond its limit makes the drift of its window more severe, however late it is known.
    drift = [m for at, m in known.items() if at == _DRIFT and at not in fresh and m.alarm]
    judged: list[Reading | Measurement] = [*readings, *drift]
    follow.follow(site, db, model, window, alarms_of(judged, sentence), {(r.monitor, r.metric) for r in judged}, reason)
    alarmed = any(m.alarm for m in known.values()) or any(values["alarm"] for values in new.values())
    # A window whose drift could not be judged is never ok, however good its KPIs are.
    window.verdict = "alarm" if alarmed else "ok" if window.decision["judged"] else "unknown"
    others = [r.sentence for r in readings if r.alarm and r.sentence and r.monitor != "drift"]
    # Alarms that were not judged anew, such as that of the volume when outcomes arrive, still count.
    others += [m.details["sentence"] for at, m in known.items() if at not in fresh and m.alarm and _is_told(m)]
    drifted = any(r.alarm for r in judged if r.monitor == "drift")
    window.sentence = window_sentence(sentence, list(dict.fromkeys(others)), drifted=drifted)


def _is_told(stored: Measurement) -> bool:
    return stored.monitor != "drift" and bool(stored.details.get("sentence"))


def _place(reading: Reading) -> tuple[str, str, str, str]:
    return reading.monitor, reading.metric, reading.column, reading.segment


def _judgement(stored: Measurement | None) -> Mapping[str, Any] | None:
    return None if stored is None else limits.judgement_of(stored.details)
