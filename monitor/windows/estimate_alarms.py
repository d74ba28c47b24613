"""Alarms before outcomes: the estimate of a KPI is judged against the KPI's limit, unless outcomes contradict it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from core.figures import count, figure
from monitor.estimate.base import band_half_width
from monitor.tables import ESTIMATED
from monitor.windows.distance import beyond, measured, unit_word
from monitor.windows.limits import judgement_of
from monitor.windows.readings import Limits, Reading

MONITOR: Final = "estimate"
MIN_CONTRADICTING_SHARE: Final = 0.5  # of a window's rows, from which on a realised value within its limit counts


def with_estimate_alarms(readings: Sequence[Reading]) -> list[Reading]:
    """The readings, and for each KPI with a limit that can be estimated one of the monitor `estimate`.

    Args:
        readings: whose KPIs have been judged and whose estimates say whether they are still valid.
    """
    return [*readings, *(_estimate_reading(r, r.limits) for r in readings if _has_estimate(r) and r.limits is not None)]


def _has_estimate(reading: Reading) -> bool:
    return reading.monitor == "kpi" and not reading.segment and "estimate" in reading.details


def _estimate_reading(kpi: Reading, limits: Limits) -> Reading:
    note: dict[str, Any] = kpi.details["estimate"]
    reason = None if kpi.estimated is not None else str(note.get("reason") or "no estimate")
    found = Reading(
        MONITOR, kpi.metric, kpi.estimated, reason, kpi.unit, int(note.get("rows", 0)), low=kpi.estimated_low,
        high=kpi.estimated_high, limit=kpi.limit, segment=ESTIMATED,
    )  # fmt: skip
    why = reason or _why_not_judged(kpi, note)
    judgement: dict[str, Any] = {
        "judged": why is None, "why": why, "alpha": limits.estimate_alpha, "alarm": False, "estimated": True,
    }  # fmt: skip
    crossed = _crossed(found, limits, note) if why is None else None
    contradicted = _contradiction(kpi, limits) if crossed is not None else None
    judgement |= {"contradicted": contradicted, "alarm": crossed is not None and contradicted is None}
    found = replace(found, details={"judgement": judgement, "method": note.get("method")})
    if not judgement["alarm"]:
        return found
    return replace(found, limit=crossed, alarm=True, sentence=_sentence(kpi, found, crossed))


def _why_not_judged(kpi: Reading, note: dict[str, Any]) -> str | None:
    if note.get("valid") is False:
        return str(note["statement"])
    rows = int(note.get("rows", 0))
    assert kpi.limits is not None
    return f"n = {rows} is below the minimum of {kpi.limits.min_rows}" if rows < kpi.limits.min_rows else None


def _crossed(found: Reading, limits: Limits, note: dict[str, Any]) -> float | None:
    """The limit beyond which the whole band lies, the 95 % band and the one at the alpha of the budget."""
    assert found.value is not None
    if not limits.estimate_alpha or found.low is None or found.high is None:
        return None
    half = band_half_width(note["sampling"], note["calibration"], limits.estimate_alpha)
    low, high = min(found.low, found.value - half), max(found.high, found.value + half)
    if limits.lowest is not None and high < limits.lowest:
        return limits.lowest
    return limits.highest if limits.highest is not None and low > limits.highest else None


def _contradiction(kpi: Reading, limits: Limits) -> str | None:
    """Why the realised value contradicts an estimate beyond the limit; None while it does not.

    It does if it is judged, lies within the limits, and is either that of half of the window's rows or certain by its
    95 % interval.
    """
    judgement = judgement_of(kpi.details)
    if kpi.value is None or judgement is None or not judgement["judged"]:
        return None
    lowest = -np.inf if limits.lowest is None else limits.lowest
    highest = np.inf if limits.highest is None else limits.highest
    if not lowest <= kpi.value <= highest:
        return None
    half = (kpi.details.get("coverage") or 0.0) >= MIN_CONTRADICTING_SHARE
    certain = kpi.low is not None and kpi.high is not None and lowest <= kpi.low and kpi.high <= highest
    if not half and not certain:
        return None
    return f"the realised value is {measured(kpi.value)} (n = {count(kpi.n)}), within its limit"


def _sentence(kpi: Reading, found: Reading, limit: float | None) -> str:
    return (
        f"{kpi.metric} is estimated at {measured(found.value)}{unit_word(found.unit)} ({measured(found.low)}-"
        f"{measured(found.high)}) {_known(kpi, found.n)}, beyond its limit {figure(limit)}"
        f"{unit_word(found.unit)}{beyond(found.value, limit, found.unit)}."
    )


def _known(kpi: Reading, rows: int) -> str:
    """How many outcomes there are beside an estimate, and the value of the KPI that they give."""
    there = round((kpi.details.get("coverage") or 0.0) * rows)
    if not there:
        return "without outcomes"
    given = "" if kpi.value is None else measured(kpi.value)
    if given and kpi.low is not None and kpi.high is not None:
        given += f", {measured(kpi.low)}-{measured(kpi.high)}"
    verb = "outcome is" if there == rows == 1 else "outcomes are"
    return f"while {there:,} of {rows:,} {verb} there" + (f" (they give {given})" if given else "")
