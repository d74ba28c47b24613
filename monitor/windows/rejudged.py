"""Numbers of stored windows that are judged again under a changed spec: the records, and what the judges share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from monitor.spec import false_alarm_budget as budget
from monitor.spec.model import ModelSpec

Monitor = Literal["drift", "kpi", "fairness", "quality", "volume"]


@dataclass(frozen=True, slots=True)
class Rejudged:
    """One number of one window: whether it alarmed, and whether it would have; `would` is None where `why` says why."""

    window: UUID
    scale: str
    from_ts: datetime
    to_ts: datetime
    monitor: Monitor
    metric: str
    column: str
    did: bool
    would: bool | None
    value: float | None
    n: int
    before: str
    after: str
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One limit, or one monitor of all columns: in how many windows it alarmed, and in how many it would have."""

    monitor: Monitor
    metric: str
    column: str
    before: str
    after: str
    windows: int
    did: int
    would: int
    more: int  # windows that would alarm and did not
    fewer: int  # windows that alarmed and would not
    unknown: int


@dataclass(frozen=True, slots=True)
class Backtest:
    """`changed`: what would be judged otherwise or cannot be told, the newest first; `cannot`: in sentences."""

    windows: int
    from_ts: datetime | None
    to_ts: datetime | None
    did: int  # windows that alarmed by what is judged again here
    would: int
    lines: Sequence[Line] = ()
    changed: Sequence[Rejudged] = ()
    unlisted: int = 0
    cannot: Sequence[str] = ()

    @property
    def moved(self) -> list[Line]:
        """The lines that the new spec changes something about."""
        return [one for one in self.lines if one.before != one.after or one.more or one.fewer or one.unknown]

    @property
    def sentence(self) -> str:
        if not self.windows:
            return "No window is stored, so nothing can be judged again."
        many = "1 stored window" if self.windows == 1 else f"{self.windows:,} stored windows"
        return (
            f"Of {many} up to {self.to_ts:%Y-%m-%d %H:%M} UTC, {self.did:,} alarmed by these monitors, and "
            f"{self.would:,} would have."
        )


@dataclass(frozen=True, slots=True)
class Stored:
    id: UUID
    scale: str
    from_ts: datetime
    to_ts: datetime
    rows: int
    decision: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """A change of spec, and what is stored."""

    old: ModelSpec
    new: ModelSpec
    windows: Sequence[Stored]
    measured: Mapping[UUID, Sequence[Any]]
    cannot: list[str] = field(default_factory=list)  # what is not judged again, in sentences

    def ratio(self, part: budget.BudgetPart, scale: str) -> float:
        """How many times as much a monitor may spend on a window as before."""
        before = alpha_of(self.old, part, scale)
        return alpha_of(self.new, part, scale) / before if before else 1.0


def alpha_of(spec: ModelSpec, part: budget.BudgetPart, scale: str) -> float:
    """The budget of a monitor; 0 where the spec has no window of this length."""
    return budget.alpha(spec, part, scale) if scale in spec.monitors.scales else 0.0


def told(window: Stored, monitor: Monitor, m: Any, did: bool, would: bool | None, words: tuple[str, str],
          why: str | None = None) -> Rejudged:  # fmt: skip
    return Rejudged(
        window.id, window.scale, window.from_ts, window.to_ts, monitor, m.metric, m.column, did, would, m.value, m.n,
        *words, why,
    )  # fmt: skip
