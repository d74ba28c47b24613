"""How severe an alarm is: how far a change exceeds its floor, and whether a KPI is beyond its limit."""

from collections.abc import Iterable
from typing import Final, Literal

from monitor.tables import SEVERITIES

Severity = Literal["info", "warning", "critical"]
# With the default floor of 0.05 standard deviations these are changes of 0.2 and 0.8: small and large to Cohen.
WARNING_TIMES: Final = 4.0
CRITICAL_TIMES: Final = 16.0
CRITICAL_EXCESS: Final = 1.5  # of what the limit allows


def of_effect(times_floor: float | None) -> Severity:
    """The severity of a change by its size.

    Args:
        times_floor: the change as a multiple of its floor, >= 0; None where it is not known, which counts as warning.

    Returns:
        info below 4 times the floor, critical from 16 times on, warning between.

    Source: Cohen, Statistical Power Analysis (1988), section 2.2, for small and large effects.
    """
    if times_floor is None or WARNING_TIMES <= times_floor < CRITICAL_TIMES:
        return "warning"
    return "critical" if times_floor >= CRITICAL_TIMES else "info"


def of_limit(value: float | None, limit: float | None, *, share: bool) -> Severity:
    """The severity of a number that is certainly beyond its limit.

    Args:
        value: KPI, fairness metric or error; None where it is undefined, which counts as warning.
        limit: that it is beyond.
        share: whether the number is a share, 0..1, whose distance from 1 is what a lower limit allows.

    Returns:
        critical where the value is at least 1.5 times what the limit allows: the value itself above an upper limit;
        1 - value, such as the errors, below a lower limit of a share; below another lower limit, where the limit is at
        least 1.5 times the value. Otherwise warning.
    """
    if value is None or limit is None:
        return "warning"
    if value > limit:
        critical = 0.0 < CRITICAL_EXCESS * limit <= value
    elif share and limit < 1.0:
        critical = 1.0 - value >= CRITICAL_EXCESS * (1.0 - limit)
    else:
        critical = limit >= CRITICAL_EXCESS * value
    return "critical" if critical else "warning"


def with_cost(effect: Severity, costs: Iterable[Severity]) -> Severity:
    """The severity of a change that came with KPIs beyond their limits.

    Args:
        effect: of the change by its size.
        costs: of each KPI of the same window that is beyond its limit, realised or estimated.

    Returns:
        The highest of all; critical where the change is at least a warning and there is a cost.
    """
    found = list(costs)
    if found and effect != "info":
        return "critical"
    return highest([effect, *found])


def highest(severities: Iterable[Severity]) -> Severity:
    return max(severities, key=rank)


def rank(severity: str) -> int:
    """Position of a severity, from 0 for info."""
    return SEVERITIES.index(severity)
