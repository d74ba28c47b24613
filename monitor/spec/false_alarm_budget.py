"""How the false-alarm budget of a model is divided among its monitors.

The declared budget covers the model as a whole. Drift of all columns spends eight tenths of it, the volume of rows one
twentieth, data quality and silence one fortieth each, and the streams of errors (concept) one tenth. Silence is
evaluated by the clock, not by window. Where no outcome is declared, and for every generation model, the share of
concept goes to drift. Row windows have no volume, so its share goes to data quality.

Limits of KPIs and fairness metrics spend one twentieth, which they take from concept, or from drift where there is no
concept. Where a KPI with a limit can be estimated without outcomes, estimates have half of that twentieth. A spec
without limits keeps the whole for the other monitors. Attributions, where they are watched, take a twentieth from
drift.
"""

from datetime import timedelta
from typing import Final, Literal

from monitor.kpi import KPIS
from monitor.spec.duration import duration
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import KpiRule, RowWindow

BudgetPart = Literal["drift", "quality", "volume", "silence", "concept", "limits", "estimate", "attribution"]
LimitMonitor = Literal["kpi", "fairness", "estimate"]
LIMIT_MONITORS: Final[tuple[LimitMonitor, ...]] = ("kpi", "fairness", "estimate")
QUALITY_SHARE: Final = 0.1  # of data quality, volume and silence together
VOLUME_SHARE: Final = 0.05
SILENCE_SHARE: Final = 0.025
CONCEPT_SHARE: Final = 0.1
LIMITS_SHARE: Final = 0.05  # of KPIs, fairness metrics and estimates together
ESTIMATE_SHARE: Final = 0.025
ATTRIBUTION_SHARE: Final = 0.05
MAX_LIMIT_ALPHA: Final = 0.025  # that of one end of a 95 % interval


def share(spec: ModelSpec, part: BudgetPart) -> float:
    """The share of the whole budget that one monitor may spend, 0..1."""
    limits = LIMITS_SHARE if limit_count(spec) else 0.0
    estimate = ESTIMATE_SHARE if estimated_limit_count(spec) else 0.0
    taken = CONCEPT_SHARE if watches_concept(spec) else limits  # drift has the same with limits as without them
    volume = 0.0 if isinstance(spec.monitors.window_lengths, RowWindow) else VOLUME_SHARE
    attribution = ATTRIBUTION_SHARE if spec.monitors.attribution is not None else 0.0
    parts: dict[BudgetPart, float] = {
        "quality": QUALITY_SHARE - volume - SILENCE_SHARE, "volume": volume, "silence": SILENCE_SHARE,
        "concept": taken - limits, "limits": limits - estimate, "estimate": estimate,
        "attribution": attribution, "drift": 1.0 - QUALITY_SHARE - taken - attribution,
    }  # fmt: skip
    return parts[part]


def alpha(spec: ModelSpec, part: BudgetPart, scale: str) -> float:
    """The false-alarm probability that one monitor may spend on one window of a length, 0..1."""
    return spec.monitors.alpha(scale) * share(spec, part)


def limit_alpha(spec: ModelSpec, part: Literal["limits", "estimate"], scale: str) -> float:
    """The probability of a false alarm that one limit of one KPI or fairness metric may spend on one window, 0..1.

    It is at most 0.025, so that an alarm's 95 % interval lies beyond the limit, however large the budget.
    """
    count = limit_count(spec) if part == "limits" else estimated_limit_count(spec)
    return min(MAX_LIMIT_ALPHA, alpha(spec, part, scale) / count) if count else 0.0


def monitor_alpha(spec: ModelSpec, monitor: LimitMonitor, scale: str) -> float:
    """The probability of a false alarm that all limits of KPIs, of fairness metrics or of estimates may spend, 0..1."""
    if monitor == "estimate":
        return limit_alpha(spec, "estimate", scale) * estimated_limit_count(spec)
    count = kpi_limit_count(spec) if monitor == "kpi" else limit_count(spec) - kpi_limit_count(spec)
    return limit_alpha(spec, "limits", scale) * count


def limit_count(spec: ModelSpec) -> int:
    """Limits of KPIs and fairness metrics, a minimum and a maximum counted separately, each column of a metric too."""
    fairness = sum(len(rule.groupings) * _limits(rule.min, rule.max) for rule in spec.monitors.fairness)
    return kpi_limit_count(spec) + fairness


def kpi_limit_count(spec: ModelSpec) -> int:
    """Limits of KPIs, a minimum and a maximum counted separately."""
    return sum(_limits(rule.min, rule.max) for rule in spec.monitors.kpi)


def estimated_limit_count(spec: ModelSpec) -> int:
    """Limits of KPIs that are estimated before outcomes arrive."""
    if not spec.monitors.estimate or not watches_concept(spec):
        return 0
    return sum(_limits(rule.min, rule.max) for rule in spec.monitors.kpi if _reads_outcome(rule))


def _limits(low: float | None, high: float | None) -> int:
    return (low is not None) + (high is not None)


def _reads_outcome(rule: KpiRule) -> bool:
    kpi = KPIS.get(rule.metric)
    return rule.expression is None and rule.column is None and kpi is not None and "outcome" in kpi.reads


def watches_concept(spec: ModelSpec) -> bool:
    """Whether the model has a stream of errors: predictions that are classes or numbers, and a target."""
    return spec.target is not None and spec.task != "generation"


def days_between(spec: ModelSpec, part: BudgetPart, *, rows_per_day: float) -> float:
    """Expected days between two false alarms of a monitor that is evaluated by the clock.

    Args:
        spec: of the model.
        part: the monitor.
        rows_per_day: of the model's traffic; used for row windows only.
    """
    windows = spec.monitors.window_lengths or ("1d",)  # any length spends the same while none is chosen
    if isinstance(windows, RowWindow):
        spent = alpha(spec, part, spec.monitors.scales[0]) * rows_per_day / windows.rows
    else:
        spent = sum(alpha(spec, part, scale) / (duration(scale) / timedelta(days=1)) for scale in windows)
    return 1.0 / spent


def run_length(spec: ModelSpec, *, rows: int, lasted: timedelta | None) -> float:
    """Expected labels between two false alarms of the error streams, at least 100.

    Args:
        spec: of the model.
        rows: number of rows in the reference.
        lasted: time that the reference spans; with `rows` it gives the labels per second, for time windows. Without
            it, the reference counts as one window of the shortest length.
    """
    spent = {scale: alpha(spec, "concept", scale) for scale in spec.monitors.scales or ("1d",)}
    windows = spec.monitors.window_lengths or ("1d",)
    if isinstance(windows, RowWindow):
        return max(100.0, windows.rows / sum(spent.values()))
    seconds = lasted.total_seconds() if lasted is not None else 0.0
    per_second = rows / seconds if seconds > 0 else rows / min(duration(w) for w in windows).total_seconds()
    return max(100.0, per_second / sum(spent[w] / duration(w).total_seconds() for w in windows))
