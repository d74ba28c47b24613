"""What a monitor did over a history, beside what its budget allows: rates, intervals, episodes, and the first alarm."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from monitor.kpi.intervals import wilson

PERIOD: Final = timedelta(days=30)
ON_LABELS: Final = "labels"  # scale of the streams of errors, which look at every label and not at windows


@dataclass(frozen=True, slots=True)
class Judged:
    """One look of one monitor at a window of a scale; of the streams of errors, `count` looks at one label each.

    `alpha`: chance of a false alarm it was given; None where the monitor has no budget, or its rule no such chance.
    `why`: of a look that is no judgement.
    """

    monitor: str
    scale: str
    start: datetime
    end: datetime
    alarmed: bool = False
    alpha: float | None = None
    why: str | None = None
    columns: tuple[str, ...] = ()
    count: int = 1


@dataclass(frozen=True, slots=True)
class Rate:
    """Alarms of one monitor at one scale. `rate` and `budget` are per look, low..high its 95 % interval.

    The interval takes looks for independent. `per_30d`: alarms in 30 days of looks; null where they take no time.
    `judgement`: above where even the low end exceeds the budget, within otherwise; null without a budget or a look.
    """

    monitor: str
    scale: str
    looks: int
    alarms: int
    episodes: int
    rate: float | None
    low: float | None
    high: float | None
    budget: float | None
    per_30d: float | None
    low_per_30d: float | None
    high_per_30d: float | None
    budget_per_30d: float | None
    judgement: str | None
    not_judged: dict[str, int]


@dataclass(frozen=True, slots=True)
class Episode:
    """Alarms of one monitor and scale without a quiet look between them; looks that judged nothing do not end it."""

    monitor: str
    scale: str
    start: datetime
    end: datetime
    alarms: int
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Delay:
    """What came of a change at a known time, by alarms under the budget.

    `before`: alarms in windows (and of labels) that were over before the change, of `windows_before` judgements of a
    window. `windows`: looks of the alarming scale that end after it, up to the alarm, itself included.
    """

    before: int
    windows_before: int
    first_alarm: datetime | None
    monitor: str | None
    scale: str | None
    windows: int | None
    days: float | None
    columns: tuple[str, ...]


def rates(looks: Iterable[Judged]) -> list[Rate]:
    """One line for each monitor and scale, in order of appearance."""
    return [_rate(monitor, scale, mine) for (monitor, scale), mine in _streams(looks).items()]


def _rate(monitor: str, scale: str, looks: Sequence[Judged]) -> Rate:
    judged = [look for look in looks if look.why is None]
    n, alarms = sum(look.count for look in judged), sum(look.alarmed for look in judged)
    low, high = (_poisson if scale == ON_LABELS else wilson)(alarms, n) if n else (None, None)
    given = [look.alpha * look.count for look in judged if look.alpha is not None]
    budget = sum(given) / n if n and len(given) == len(judged) else None
    time = sum((look.end - look.start for look in judged), timedelta())
    each = n * (PERIOD / time) if time > timedelta() else None

    def per_30d(rate: float | None) -> float | None:
        return None if rate is None or each is None else rate * each

    rate = alarms / n if n else None
    judgement = None if budget is None or low is None else "above" if low > budget else "within"
    return Rate(
        monitor, scale, n, alarms, len(list(_runs(looks))), rate, low, high, budget, per_30d(rate), per_30d(low),
        per_30d(high), per_30d(budget), judgement, dict(Counter(look.why for look in looks if look.why is not None)),
    )  # fmt: skip


def _poisson(count: int, n: int) -> tuple[float, float]:
    """Exact 95 % interval of a Poisson mean, per look. Source: Garwood (1936)."""
    from scipy.stats import chi2

    low = float(chi2.ppf(0.025, 2 * count)) / 2.0 if count else 0.0
    return low / n, float(chi2.ppf(0.975, 2 * count + 2)) / 2.0 / n


def episodes(looks: Iterable[Judged]) -> list[Episode]:
    """In order of their begin."""
    found = [
        Episode(
            monitor, scale, run[0].start, run[-1].end, len(run),
            tuple(dict.fromkeys(column for look in run for column in look.columns)),
        )
        for (monitor, scale), mine in _streams(looks).items()
        for run in _runs(mine)
    ]  # fmt: skip
    return sorted(found, key=lambda e: (e.start, e.end))


def _runs(looks: Sequence[Judged]) -> Iterable[list[Judged]]:
    run: list[Judged] = []
    for look in looks:
        if look.alarmed:
            run.append(look)
        elif run and look.why is None:
            yield run
            run = []
    if run:
        yield run


def delay(looks: Iterable[Judged], changed_at: datetime) -> Delay:
    """Alarms before a change, and the first after it: of a window that ends after the change."""
    everything = list(looks)
    before = [look for look in everything if look.end <= changed_at and look.why is None]
    after = sorted((j for j in everything if j.end > changed_at and j.alarmed), key=lambda j: (j.end, j.end - j.start))
    false, looked = sum(look.alarmed for look in before), sum(look.scale != ON_LABELS for look in before)
    if not after:
        return Delay(false, looked, None, None, None, None, None, ())
    first = after[0]
    count = sum(
        j.count
        for j in everything
        if (j.monitor, j.scale) == (first.monitor, first.scale) and changed_at < j.end <= first.end
    )
    days = (first.end - changed_at) / timedelta(days=1)
    return Delay(false, looked, first.end, first.monitor, first.scale, count, days, first.columns)


def _streams(looks: Iterable[Judged]) -> dict[tuple[str, str], list[Judged]]:
    found: dict[tuple[str, str], list[Judged]] = {}
    for look in looks:
        found.setdefault((look.monitor, look.scale), []).append(look)
    return found
