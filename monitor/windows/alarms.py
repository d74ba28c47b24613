"""The alarms of a window: what each of its readings that alarms tells people, and how severe it is."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from monitor.alerts import severity
from monitor.alerts.headlines import Alarm
from monitor.alerts.severity import Severity
from monitor.detect.findings import times_floor
from monitor.tables import Measurement
from monitor.windows.readings import Reading

COSTS: Final = ("kpi", "estimate")  # monitors whose alarm means that a KPI is beyond its limit
LIMITED: Final = (*COSTS, "fairness")  # monitors of a number with a limit of the user's


def alarms_of(readings: Sequence[Reading | Measurement], sentence: str) -> list[Alarm]:
    """The alarms of a window, in the order of its readings.

    Args:
        readings: all that were computed together, and what is stored about the same rows; a change is more severe
            where a KPI of theirs is beyond its limit.
        sentence: of the drift verdict.
    """
    alarming = [r for r in readings if r.alarm]
    costs = [severity_of(r) for r in alarming if r.monitor in COSTS]
    found = []
    for reading in alarming:
        columns = tuple(reading.details.get("columns", ())) if reading.monitor == "drift" else (reading.column,)
        alarm = Alarm(
            reading.monitor, reading.metric, columns[0] if columns else "", reading.value, reading.limit,
            (reading.sentence if isinstance(reading, Reading) else "") or sentence, severity_of(reading), columns,
        )  # fmt: skip
        if reading.monitor not in COSTS:
            alarm = replace(alarm, severity=severity.with_cost(alarm.severity, costs))
        found.append(alarm)
    return found


def window_sentence(drift: str, others: Sequence[str], *, drifted: bool) -> str:
    """The sentence of a window: what its verdict rests on comes first.

    Args:
        drift: the sentence of the drift verdict.
        others: those of the other alarms.
        drifted: whether drift is an alarm itself.
    """
    return " ".join([drift, *others] if drifted else [*others, drift])


def severity_of(reading: Reading | Measurement) -> Severity:
    """The severity of one reading that alarms, by itself."""
    details = reading.details
    match reading.monitor:
        case "drift":
            return severity.of_effect(details.get("times_floor"))
        case "quality":
            rise = (reading.value or 0.0) - (details["reference"] or 0.0)
            return severity.of_effect(times_floor(rise, details["floor"], 1.0))
        case "volume":
            ratio = details["ratio"]
            return severity.of_effect(max(ratio, 1.0 / ratio) if ratio else severity.CRITICAL_TIMES)
        case monitor if monitor in LIMITED:
            return severity.of_limit(reading.value, reading.limit, share=reading.unit.startswith("share"))
    return "warning"
