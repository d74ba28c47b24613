"""What a spec will do with traffic of a rate: when the first verdict comes, what it could see, what to change. Pure.

The figures are those of independent rows; `monitor.detect` decides by the rows themselves.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import NormalDist
from typing import Final

from monitor.spec import false_alarm_budget
from monitor.spec.duration import duration
from monitor.spec.event_times import LAST_TIME
from monitor.spec.model import AUTO_REFERENCE_ROWS, ModelSpec
from monitor.spec.monitors import AlphaBudget, RowWindow
from monitor.spec.times import DAY, fitting_lengths

RATES: Final = (20.0, 200.0, 2_000.0, 20_000.0, 200_000.0)  # rows a day that are told where the rate is not known
UNWATCHED_ROLES: Final = ("subject", "outcome")
COLUMNS_OF_TEXT: Final = 8  # columns that are derived from a text or vector
ENCODER_SHARE: Final = 0.6  # of the reference, which the encoders of texts and vectors are fitted on
PER_STD: Final = 0.39894  # change of the distribution function at the median per standard deviation of shift
MIN_REFERENCE_WINDOWS: Final = 8  # windows of several days need so many in the reference
_SHORT_SPAN: Final = timedelta(hours=48)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What to expect at one rate.

    Attributes:
        windows: the lengths of the windows.
        rule: `early`, `blocks`, `row_tests` or `thresholds`, which gives the first verdict.
        first_verdict_s: seconds from the first row to the first verdict on drift; None: none will come.
        visible_std, visible_share: the smallest change that the first window would show: of a number, in standard
            deviations, and of a share of rows; None where none or where the rule does not say it.
        why: why no verdict will come; None where one does.
        change: the key and the value to write for more, or for a verdict at all.
    """

    rows_per_day: float
    windows: tuple[str, ...]
    rule: str
    reference_rows: int
    first_verdict_s: float | None
    visible_std: float | None
    visible_share: float | None
    why: str | None
    change: str

    @property
    def sentence(self) -> str:
        """The forecast in words; where no verdict will come, also what to change."""
        windows = " and ".join(self.windows)
        if self.first_verdict_s is None:
            return f"at {self.rows_per_day:,.0f} rows a day: no drift verdict, because {self.why}; {self.change}"
        sees = ""
        if self.visible_std is not None and self.visible_share is not None:
            sees = (
                f"; it would show a number that moves by {self.visible_std:.2g} standard deviations, or a share by "
                f"{100 * self.visible_share:.0f} points"
            )
        return (
            f"at {self.rows_per_day:,.0f} rows a day: windows of {windows}, first drift verdict {self._when()} after "
            f"the first row ({self._rule()}){sees}"
        )

    def _when(self) -> str:
        assert self.first_verdict_s is not None
        after = timedelta(seconds=self.first_verdict_s)
        if after <= timedelta(hours=2):
            return f"{after / timedelta(minutes=1):.0f} minutes"
        return f"{after / timedelta(hours=1):.0f} hours" if after <= _SHORT_SPAN else f"{after / DAY:.0f} days"

    def _rule(self) -> str:
        return "early rule: takes rows as independent" if self.rule == "early" else f"rule {self.rule}"


def forecast(spec: ModelSpec, *, rows_per_day: float) -> Forecast:
    """What a spec will do with traffic of a rate.

    Args:
        spec: as declared; `auto` is resolved for the rate.
        rows_per_day: above 0.
    """
    chosen = spec.with_lengths(fitting_lengths(rows_per_day)[:1])
    windows = chosen.monitors.window_lengths
    scales = chosen.monitors.scales
    rule: str = spec.monitors.drift.rule
    if isinstance(windows, RowWindow):
        rows = windows.rows
        reference = chosen.first_rows or AUTO_REFERENCE_ROWS
        needed_rows = MIN_REFERENCE_WINDOWS // 4 * rows
        why = (
            None if reference >= needed_rows or rule != "blocks" else f"the reference has fewer than {needed_rows} rows"
        )
        at = (reference + rows) / rows_per_day * DAY.total_seconds()
    else:
        shortest = min(duration(w) for w in windows)
        rows = max(1, round(rows_per_day * (shortest / DAY)))
        reference, lasted = _reference(chosen, rows_per_day, shortest)
        needed = needed_time(chosen, scales)
        early = spec.monitors.windows == "auto" or spec.fixed_baseline is None
        why = None
        if rule == "blocks" and lasted < needed:
            rule = "early" if early else rule
            if not early:
                why = (
                    f"the reference covers {_days(lasted)} days and windows of {', '.join(scales)} need {_days(needed)}"
                )
        at = (lasted + shortest).total_seconds()
    seen = _visible(chosen, scales[0], reference, rows) if why is None and rule in ("blocks", "early") else (None, None)
    change = _change(spec, rows_per_day, why, scales)
    return Forecast(rows_per_day, scales, rule, reference, None if why else at, *seen, why, change)


def forecasts(spec: ModelSpec, *, rows_per_day: float | None) -> tuple[Forecast, ...]:
    """The forecast at a known rate, or at several rates where it is not known."""
    rates: Sequence[float] = RATES if rows_per_day is None else (rows_per_day,)
    return tuple(forecast(spec, rows_per_day=rate) for rate in rates)


def time_needed_sentence(spec: ModelSpec, scale: str, rows_per_day: float | None) -> str:
    """The key and the value to write where a reference is too short for windows of a length of their own."""
    needed, fixed = needed_time(spec, spec.monitors.scales), spec.fixed_baseline
    if fixed is not None and fixed.range is not None:
        start = fixed.range.from_
        end = start + min(needed + DAY, LAST_TIME - start - DAY)  # days that are not whole count as none
        return (
            f"write `baseline: {{range: {{from: {start:%Y-%m-%dT%H:%MZ}, to: {end:%Y-%m-%dT%H:%MZ}}}}}`, which covers "
            f"{_days(needed)} whole days, or `baseline: auto`, so that an early rule judges {scale} from about "
            "1,000 rows on"
        )
    rows = "" if rows_per_day is None else f"`baseline: {{rows: first {math.ceil(rows_per_day * (needed / DAY)):,}}}`"
    rows = rows.replace(",", "")
    first = f"write {rows}, which covers {_days(needed)} days, or " if rows else ""
    return f"{first or 'write '}`baseline: auto`, so that an early rule judges {scale} from about 1,000 rows on"


def _reference(spec: ModelSpec, rows_per_day: float, shortest: timedelta) -> tuple[int, timedelta]:
    """Rows and time of the reference when the first window is judged."""
    fixed = spec.fixed_baseline
    if fixed is not None and fixed.range is not None:
        lasted = fixed.range.to - fixed.range.from_
        return round(rows_per_day * (lasted / DAY)), lasted
    if fixed is not None and fixed.dataset is not None:
        return AUTO_REFERENCE_ROWS, timedelta.max / 2
    wanted = spec.first_rows or AUTO_REFERENCE_ROWS
    rows = max(1.0, rows_per_day * (shortest / DAY))
    windows = math.floor(1.075 * wanted / rows) if spec.first_rows is None else math.ceil(wanted / rows)
    windows = max(2, windows)
    return round(windows * rows), _repeated(windows, shortest)


def needed_time(spec: ModelSpec, scales: Sequence[str]) -> timedelta:
    """The time that a reference must cover so that the block rule can judge windows of these lengths, about."""
    lengths = [duration(scale) for scale in scales]
    shortest, longest = min(lengths), max(lengths)
    alpha = false_alarm_budget.alpha(spec, "drift", scales[lengths.index(shortest)])
    if not isinstance(spec.monitors.false_alarms, AlphaBudget):
        alpha *= len(scales)
    needed = MIN_REFERENCE_WINDOWS * shortest
    if shortest <= DAY:
        needed = _repeated(math.ceil(1.0 / alpha), shortest)
    return max(needed, MIN_REFERENCE_WINDOWS * longest if longest > DAY else timedelta())


def _repeated(count: int, span: timedelta) -> timedelta:
    """A number of spans, or half of the longest time there is."""
    longest = timedelta.max / 2
    return longest if count > longest / span else count * span


def _visible(spec: ModelSpec, scale: str, reference: int, window: int) -> tuple[float | None, float | None]:
    """The smallest change of a number, in standard deviations, and of a share that one window would show."""
    watched = [c for c in spec.event_columns.values() if c.role not in UNWATCHED_ROLES and c.type != "string"]
    if not watched:
        return None, None
    encoded = [c for c in watched if c.type in ("text", "vector")]
    columns = len(watched) + (COLUMNS_OF_TEXT - 1) * len(encoded)
    n = max(1.0, reference * ((1.0 - ENCODER_SHARE) if encoded else 1.0))
    level = false_alarm_budget.alpha(spec, "drift", scale) / columns
    number = math.sqrt(math.log(4.0 / level) / (2.0 * n * window / (n + window))) / PER_STD
    share = -NormalDist().inv_cdf(level / 10.0) * math.sqrt(0.25 * (1.0 / n + 1.0 / window))
    return number, min(share, 1.0)


def _change(spec: ModelSpec, rows_per_day: float, why: str | None, scales: Sequence[str]) -> str:
    windows = spec.monitors.windows
    if why is not None and isinstance(windows, RowWindow):
        return f"write `baseline: {{rows: first {max(AUTO_REFERENCE_ROWS, 4 * windows.rows)}}}`"
    if why is not None:
        return time_needed_sentence(spec.with_lengths(scales), " and ".join(scales), rows_per_day)
    later = " (changes half as large show in windows of four times the rows)"
    if spec.monitors.windows == "auto":
        return f"to see smaller changes, fix longer ones, such as `monitors.windows: [{_longer(scales[0])}]`{later}"
    return "to see smaller changes, raise `monitors.false_alarms` or fix longer `monitors.windows`"


def _longer(scale: str) -> str:
    """About four times a length."""
    wanted = 4 * duration(scale)
    days, hours = wanted / DAY, wanted / timedelta(hours=1)
    if days >= 1:
        return f"{days:.0f}d"
    return f"{hours:.0f}h" if hours >= 1 else f"{wanted / timedelta(minutes=1):.0f}m"


def _days(lasted: timedelta) -> str:
    return f"{lasted / DAY:.3g}"
