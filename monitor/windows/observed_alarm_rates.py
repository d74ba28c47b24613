"""How often each monitor alarmed over a history, compared with its budget: rates, episodes and detection delay."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from monitor.kpi.intervals import wilson

RATE_PERIOD: Final = timedelta(days=30)
LABEL_SCALE: Final = "labels"  # scale of the error streams, which judge every label instead of windows


@dataclass(frozen=True, slots=True)
class JudgedWindow:
    """The judgement of one monitor on one window of one length, or of an error stream on `count` labels.

    Attributes:
        alpha: probability of a false alarm allowed for each judgement; None where the monitor has no budget or its
            rule has no such probability.
        reason: why the monitor could not judge; None where it did.
        count: number of judgements: 1 for a window, the number of labels for an error stream.
    """

    monitor: str
    scale: str
    start: datetime
    end: datetime
    alarmed: bool = False
    alpha: float | None = None
    reason: str | None = None
    columns: tuple[str, ...] = ()
    count: int = 1


@dataclass(frozen=True, slots=True)
class AlarmRate:
    """How often one monitor alarmed at one scale.

    Attributes:
        looks: number of judgements.
        rate: alarms per judgement; `low` and `high` bound its 95 % interval, which assumes independent judgements.
        budget: false alarms allowed per judgement.
        per_30d: alarms in 30 days of judged time; None where the judgements span no time.
        judgement: "above" where even `low` exceeds the budget, else "within"; None without a budget or a judgement.
        not_judged: number of windows that were not judged, by reason.
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
class AlarmEpisode:
    """Alarms of one monitor at one scale without a quiet window in between; a window that was not judged ends none."""

    monitor: str
    scale: str
    start: datetime
    end: datetime
    alarms: int
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DetectionDelay:
    """False alarms before a change at a known time, and the delay until the first alarm after it.

    Attributes:
        before: alarms of windows and labels that ended before the change.
        windows_before: judged windows that ended before the change.
        windows: judgements of the alarming window length that end after the change, up to and including the alarm.
        days: time from the change to the end of the alarming window.
    """

    before: int
    windows_before: int
    first_alarm: datetime | None
    monitor: str | None
    scale: str | None
    windows: int | None
    days: float | None
    columns: tuple[str, ...]


def alarm_rates(windows: Iterable[JudgedWindow]) -> list[AlarmRate]:
    """The alarm rate of each monitor at each window length.

    Args:
        windows: judgements of any monitors and window lengths; those of one monitor and length in order of time.

    Returns:
        One rate for each monitor and window length, in order of appearance. A rate without a judgement is None.

    Source: Wilson (1927) for windows, Garwood (1936) for labels.
    """
    return [_rate(monitor, scale, mine) for (monitor, scale), mine in _streams(windows).items()]


def _rate(monitor: str, scale: str, windows: Sequence[JudgedWindow]) -> AlarmRate:
    judged = [window for window in windows if window.reason is None]
    n, alarms = sum(window.count for window in judged), sum(window.alarmed for window in judged)
    low, high = (_poisson if scale == LABEL_SCALE else wilson)(alarms, n) if n else (None, None)
    given = [window.alpha * window.count for window in judged if window.alpha is not None]
    budget = sum(given) / n if n and len(given) == len(judged) else None
    time = sum((window.end - window.start for window in judged), timedelta())
    judgements = n * (RATE_PERIOD / time) if time > timedelta() else None

    def per_30d(rate: float | None) -> float | None:
        return None if rate is None or judgements is None else rate * judgements

    rate = alarms / n if n else None
    judgement = None if budget is None or low is None else "above" if low > budget else "within"
    return AlarmRate(
        monitor, scale, n, alarms, len(list(_runs(windows))), rate, low, high, budget, per_30d(rate), per_30d(low),
        per_30d(high), per_30d(budget), judgement, dict(Counter(w.reason for w in windows if w.reason is not None)),
    )  # fmt: skip


def _poisson(count: int, n: int) -> tuple[float, float]:
    """Exact 95 % interval of a Poisson mean, per judgement. Source: Garwood (1936)."""
    from scipy.special import gammaincinv

    low = float(gammaincinv(count, 0.025)) if count else 0.0
    return low / n, float(gammaincinv(count + 1, 0.975)) / n


def alarm_episodes(windows: Iterable[JudgedWindow]) -> list[AlarmEpisode]:
    """Runs of alarms of each monitor and scale, in order of their start."""
    found = [
        AlarmEpisode(
            monitor, scale, run[0].start, run[-1].end, len(run),
            tuple(dict.fromkeys(column for window in run for column in window.columns)),
        )
        for (monitor, scale), mine in _streams(windows).items()
        for run in _runs(mine)
    ]  # fmt: skip
    return sorted(found, key=lambda e: (e.start, e.end))


def _runs(windows: Sequence[JudgedWindow]) -> Iterable[list[JudgedWindow]]:
    run: list[JudgedWindow] = []
    for window in windows:
        if window.alarmed:
            run.append(window)
        elif run and window.reason is None:
            yield run
            run = []
    if run:
        yield run


def detection_delay(windows: Iterable[JudgedWindow], changed_at: datetime) -> DetectionDelay:
    """Alarms before a change, and the delay to the first alarm of a window that ends after it.

    Args:
        windows: judgements of any monitors and scales.
        changed_at: when the change happened.

    Returns:
        The delay in days and in judgements; None where no alarm follows. Of two windows that end together, the
        shorter one counts as the first.
    """
    everything = list(windows)
    before = [window for window in everything if window.end <= changed_at and window.reason is None]
    after = sorted((j for j in everything if j.end > changed_at and j.alarmed), key=lambda j: (j.end, j.end - j.start))
    false_alarms = sum(window.alarmed for window in before)
    judged_before = sum(window.scale != LABEL_SCALE for window in before)
    if not after:
        return DetectionDelay(false_alarms, judged_before, None, None, None, None, None, ())
    first = after[0]
    count = sum(
        j.count
        for j in everything
        if (j.monitor, j.scale) == (first.monitor, first.scale) and changed_at < j.end <= first.end
    )
    days = (first.end - changed_at) / timedelta(days=1)
    return DetectionDelay(
        false_alarms, judged_before, first.end, first.monitor, first.scale, count, days, first.columns
    )


def _streams(windows: Iterable[JudgedWindow]) -> dict[tuple[str, str], list[JudgedWindow]]:
    found: dict[tuple[str, str], list[JudgedWindow]] = {}
    for window in windows:
        found.setdefault((window.monitor, window.scale), []).append(window)
    return found
