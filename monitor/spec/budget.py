"""How the false-alarm budget of a model is split between its monitors.

The declared budget covers the model as a whole: drift of all columns spends eight tenths of it, the volume of rows one
twentieth, data quality and silence (which is looked at by the clock, not by window) one fortieth each, and the streams
of errors (concept) one tenth, which goes to drift where no outcome is declared. Windows of rows have no volume; data
quality has its part there. KPIs and fairness have limits of their own, which their 95 % intervals guard.
"""

from datetime import timedelta
from typing import Final, Literal

from monitor.spec.duration import duration
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import RowWindow

BudgetPart = Literal["drift", "quality", "volume", "silence", "concept"]
QUALITY_SHARE: Final = 0.1  # with the volume and silence
VOLUME_SHARE: Final = 0.05
SILENCE_SHARE: Final = 0.025
CONCEPT_SHARE: Final = 0.1


def share(spec: ModelSpec, part: BudgetPart) -> float:
    """Share of the whole budget, 0..1."""
    concept = CONCEPT_SHARE if watches_concept(spec) else 0.0
    volume = 0.0 if isinstance(spec.monitors.windows, RowWindow) else VOLUME_SHARE
    parts: dict[BudgetPart, float] = {
        "quality": QUALITY_SHARE - volume - SILENCE_SHARE, "volume": volume, "silence": SILENCE_SHARE,
        "concept": concept,
        "drift": 1.0 - QUALITY_SHARE - concept,
    }  # fmt: skip
    return parts[part]


def alpha(spec: ModelSpec, part: BudgetPart, scale: str) -> float:
    """False-alarm probability that one monitor may spend on one window of a scale."""
    return spec.monitors.alpha(scale) * share(spec, part)


def watches_concept(spec: ModelSpec) -> bool:
    """Whether there is a stream of errors: a class or a number to compare with an outcome."""
    return bool(spec.with_role("outcome")) and spec.task != "generation"


def days_between(spec: ModelSpec, part: BudgetPart, *, rows_per_day: float) -> float:
    """Days between two false alarms of a monitor that spends its part by the clock.

    Args:
        rows_per_day: says how many windows of rows a day has.
    """
    windows = spec.monitors.windows
    if isinstance(windows, RowWindow):
        spent = alpha(spec, part, spec.monitors.scales[0]) * rows_per_day / windows.rows
    else:
        spent = sum(alpha(spec, part, scale) / (duration(scale) / timedelta(days=1)) for scale in windows)
    return 1.0 / spent


def run_length(spec: ModelSpec, *, rows: int, lasted: timedelta | None) -> float:
    """Labels the error streams may expect to see between two false alarms.

    Args:
        rows, lasted: of the reference, which says how many labels come in a period where windows are spans of time.
    """
    spent = {scale: alpha(spec, "concept", scale) for scale in spec.monitors.scales}
    windows = spec.monitors.windows
    if isinstance(windows, RowWindow):
        return max(100.0, windows.rows / sum(spent.values()))
    seconds = lasted.total_seconds() if lasted is not None else 0.0
    per_second = rows / seconds if seconds > 0 else rows / min(duration(w) for w in windows).total_seconds()
    return max(100.0, per_second / sum(spent[w] / duration(w).total_seconds() for w in windows))
