"""What of a budget was used, what is left and when it frees. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

KEYS: Final = (
    "runs_per_day", "runs_per_month", "gpu_hours_per_day", "gpu_hours_per_month", "kwh_per_day", "kwh_per_month",
)  # fmt: skip
UNITS: Final = {"runs": "runs", "gpu_hours": "hours", "kwh": "kWh"}
FIGURE: Final = {"gpu_hours": ("seconds", 3600.0), "kwh": ("kwh", 1.0)}  # of a day's record, and its unit in it


@dataclass(frozen=True, slots=True)
class RunUse:
    """What one run counts for: when it was queued, what it used by day, and what it may still use."""

    run: str
    trains: bool  # or only judges a version again, which takes time and energy but is no retrain
    created_at: datetime
    days: Mapping[str, Mapping[str, float]]
    granted: Mapping[str, Any]  # hours and kwh that an unfinished run may use in all; empty of one that has ended


@dataclass(frozen=True, slots=True)
class BudgetState:
    """One budget at one moment; `used` includes what runs under way may still use."""

    key: str
    most: float
    used: float
    reserved: float  # of `used`, by runs under way
    frees_at: datetime
    holders: tuple[str, ...]  # runs under way

    @property
    def left(self) -> float:
        return max(0.0, self.most - self.used)

    def words(self) -> str:
        unit = UNITS[self.key.split(".")[-1].split("_per_")[0]]
        held = ""
        if self.reserved:
            held = f", of them {self.reserved:.4g} by run {', '.join(self.holders)} that has not ended"
        frees = f"it frees at {self.frees_at.isoformat()}" if self.most else "it allows none, on any day"
        return f"{self.key} is {self.most:g} {unit}: {self.used:.4g} used{held}, {self.left:.4g} left; {frees}"


def states(
    prefix: str, budget: Mapping[str, float | None], runs: Sequence[RunUse], now: datetime
) -> Iterator[BudgetState]:
    """Every declared budget. Days and months are those of UTC; what is dated later than now counts as now.

    So a clock that was set back gives nothing free.
    """
    for key in KEYS:
        if (most := budget.get(key)) is None:
            continue
        what, _, span = key.partition("_per_")
        first = now.astimezone(UTC).date() if span == "day" else now.astimezone(UTC).date().replace(day=1)
        yield (_runs if what == "runs" else _amount)(f"{prefix}.{key}", what, span, float(most), runs, first)


def _runs(key: str, _what: str, span: str, most: float, runs: Sequence[RunUse], first: date) -> BudgetState:
    days = [run.created_at.astimezone(UTC).date() for run in runs if run.trains]
    counted = [day for day in days if day >= first]
    return BudgetState(key, most, float(len(counted)), 0.0, _next(span, max([first, *counted])), ())


def _amount(key: str, what: str, span: str, most: float, runs: Sequence[RunUse], first: date) -> BudgetState:
    figure, unit = FIGURE[what]
    used, reserved, newest, holders = 0.0, 0.0, first, []
    for run in runs:
        counted = {day: part for name, part in run.days.items() if (day := date.fromisoformat(name)) >= first}
        used += sum((part.get(figure) or 0.0) for part in counted.values()) / unit
        newest = max([newest, *counted])
        granted = run.granted.get("hours" if what == "gpu_hours" else "kwh")
        if granted is not None:
            total = sum((part.get(figure) or 0.0) for part in run.days.values()) / unit
            if (may_use := max(0.0, granted - total)) > 0:
                reserved += may_use
                holders.append(run.run)
    return BudgetState(key, most, used + reserved, reserved, _next(span, newest), tuple(holders))


def _next(span: str, day: date) -> datetime:
    """The start of the day, or month, after this one."""
    following = day + timedelta(days=1) if span == "day" else (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return datetime(following.year, following.month, following.day, tzinfo=UTC)
