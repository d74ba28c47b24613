"""Judge KPIs and fairness metrics against their limits, within the false-alarm budget however often they are computed.

A window's numbers are computed again whenever outcomes arrive. Each look at them could alarm by chance, so the looks
share the alpha of the window (alpha spending). A look is taken when the number first has its minimum of rows, whenever
its rows have grown by half since the last look, and when the last outcome of the window has arrived. A look before that
spends a quarter of what is left, one at all outcomes nine tenths. Between looks an alarm may end and none may begin.

A fairness limit is judged a second time, by all windows so far together, with as much alpha (`lasting_disparities`).
"""

from collections.abc import Mapping
from dataclasses import replace
from math import log
from typing import Any, Final

from core.figures import count, figure
from monitor.windows.distance import beyond, measured, unit_word
from monitor.windows.lasting_disparities import LastingEvidence
from monitor.windows.readings import Limits, Reading

GROWTH: Final = 1.5  # of the rows between two looks
SPENT_BEFORE: Final = 0.25  # of what is left of alpha, at a look while outcomes are missing
SPENT_AT_LAST: Final = 0.9  # at a look at all outcomes; the rest is for rows and outcomes that arrive even later
MAX_DISAGREEMENT: Final = 1e-9  # between the value and fairlearn's; both are sums of the same integers
JUDGEMENT: Final = "judgement"  # key of a measurement's details


def judged(reading: Reading, before: Mapping[str, Any] | None) -> Reading:
    """The reading with its alarm, the limit it crossed, and how it was judged (`details["judgement"]`).

    Args:
        reading: computed now.
        before: the judgement that was stored when the window was last recorded, if any.
    """
    limits = reading.limits
    if limits is None:
        return reading
    found: dict[str, Any] = {"looks": 0, "spent": 0.0, "at_rows": None, "alpha": None, "alarm": False, **(before or {})}
    found.pop("fairlearn", None)  # of the alarm before
    found.pop("by_windows", None)
    found |= {"judged": False, "alarm": False, "min_rows": limits.min_rows, "why": _why_not(reading, limits)}
    if found["why"] is not None:
        return _by_windows(reading, limits, found, SPENT_AT_LAST if limits.complete else 0.0)
    look = found["at_rows"] is None or reading.n >= GROWTH * found["at_rows"]
    last = limits.complete and not (before or {}).get("complete")
    if look or last:
        alpha = (limits.alpha - found["spent"]) * (SPENT_AT_LAST if limits.complete else SPENT_BEFORE)
        found |= {
            "looks": found["looks"] + 1, "spent": found["spent"] + alpha, "at_rows": reading.n, "alpha": alpha,
            "complete": limits.complete,
        }  # fmt: skip
    crossed = _crossed(reading, limits, found["alpha"])
    # All outcomes are there and some of them, or a few rows, changed: the same look again, at its own alpha.
    again = limits.complete and bool(found.get("complete"))
    begins = look or last or again or bool((before or {}).get("alarm"))
    found |= {"judged": True, "alarm": crossed is not None and begins}
    if not found["alarm"]:
        return _by_windows(reading, limits, found, found["alpha"] / limits.alpha if begins and limits.alpha else 0.0)
    if limits.second_opinion is not None:
        found |= {"fairlearn": limits.second_opinion()}
    return replace(
        _with(reading, found), limit=crossed, alarm=True, sentence=_sentence(reading, crossed, found.get("fairlearn"))
    )


def judgement_of(details: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """How a measurement was judged against its limits; None for one without limits."""
    found: Mapping[str, Any] | None = details.get(JUDGEMENT)
    return found


def not_judged(details: Mapping[str, Any]) -> str | None:
    """Why a measurement with limits was not judged against them; None for one that was, and for one without limits."""
    found = judgement_of(details)
    return None if found is None or found["judged"] else str(found["why"])


def _why_not(reading: Reading, limits: Limits) -> str | None:
    if reading.value is None:
        return reading.reason
    if reading.n < limits.min_rows:
        return f"n = {reading.n} is below the minimum of {limits.min_rows}"
    if limits.bounds is None:
        return "its rows give no interval"
    return None


def _crossed(reading: Reading, limits: Limits, alpha: float) -> float | None:
    """The limit that lies outside the interval, with an error of at most alpha; None if none does."""
    assert reading.value is not None
    assert limits.bounds is not None
    lowest, highest = limits.lowest, limits.highest
    below = lowest is not None and reading.value < lowest
    above = highest is not None and reading.value > highest
    if not (below or above) or alpha <= 0.0:
        return None
    low, high = limits.bounds(alpha)
    if below and high is not None and lowest is not None and high < lowest:
        return lowest
    return highest if above and low is not None and highest is not None and low > highest else None


def _by_windows(reading: Reading, limits: Limits, judgement: dict[str, Any], share: float) -> Reading:
    """The reading, with an alarm where this window alone gives none and all windows so far do, at a share of the error.

    Where the window itself has no value, that of all windows together stands in its place.
    """
    together = limits.over_windows
    if together is None or share <= 0.0 or together.log_e < -log(together.error * share):
        return _with(reading, judgement)
    if reading.value is None:
        value, n = together.value, sum(together.n)
        reading = replace(reading, value=value, reason=None, low=None, high=None, n=n)
    found = _with(reading, judgement | {"judged": True, "why": None, "alarm": True, "by_windows": True})
    limit = limits.highest if limits.lowest is None else limits.lowest
    return replace(found, limit=limit, alarm=True, sentence=_lasting_sentence(reading, limit, together))


def _lasting_sentence(reading: Reading, limit: float | None, together: LastingEvidence) -> str:
    sides = zip(together.pair, together.rates, together.n, strict=True)
    rates = " and ".join(f"{measured(rate)} of {group} (n = {count(n)})" for group, rate, n in sides)
    return (
        f"{reading.metric} by {reading.column} has been beyond its limit {figure(limit)} over {together.windows} "
        f"windows together: the {together.rate.replace('_', ' ')} is {rates}. This window alone does not show it."
    )


def _with(reading: Reading, judgement: dict[str, Any]) -> Reading:
    together = reading.limits.over_windows if reading.limits is not None else None
    more = {} if together is None else {"lasting": together.document}
    return replace(reading, alarm=False, details=reading.details | {JUDGEMENT: judgement} | more)


def _sentence(reading: Reading, limit: float | None, again: float | None) -> str:
    name = f"{reading.metric} by {reading.column}" if reading.monitor == "fairness" else reading.metric
    low, high = ("not bounded" if x is None else measured(x) for x in (reading.low, reading.high))
    sentence = (
        f"{name} is {measured(reading.value)}{unit_word(reading.unit)} ({low}-{high}, n = {count(reading.n)}), beyond "
        f"its limit {figure(limit)}{unit_word(reading.unit)}{beyond(reading.value, limit, reading.unit)}."
    )
    if again is None or abs(again - (reading.value or 0.0)) <= MAX_DISAGREEMENT:
        return sentence
    return f"{sentence} fairlearn computes {again:.3f} from the same rows: do not act on it before the two agree."
