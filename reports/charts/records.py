"""What a chart shows, as plain records: points, panels, rules, distributions."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Theme = Literal["page", "print"]
Vega = dict[str, Any]  # a Vega-Lite specification, or a part of one
Status = Literal["ok", "alarm", "unknown"]
PanelKind = Literal["line", "p", "bars"]


@dataclass(frozen=True)
class Point:
    """One window: `value` is None if nothing was measured; `status` is the verdict."""

    start: datetime
    at: datetime
    value: float | None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    n: int | None = None
    status: Status = "ok"


@dataclass(frozen=True)
class Panel:
    """One small multiple. `p` panels are logarithmic with the alarm side below the limit; `bars` start at zero."""

    title: str
    kind: PanelKind
    unit: str
    points: tuple[Point, ...]
    limit_word: str = "limit"
    top: float | None = None  # natural end of the scale, such as 1 for shares


@dataclass(frozen=True)
class Rule:
    """A vertical line through all panels: a promotion, a rollback, a new reference."""

    at: datetime
    label: str
    kind: Literal["version", "baseline"] = "version"


@dataclass(frozen=True)
class Tick:
    at: datetime
    kind: str  # a key of TICKS
    label: str


@dataclass(frozen=True)
class Timeline:
    start: datetime
    end: datetime
    panels: tuple[Panel, ...]
    rules: tuple[Rule, ...] = ()
    ticks: tuple[Tick, ...] = ()


@dataclass(frozen=True)
class Distribution:
    """Shares of reference and window on the same bins or categories."""

    title: str
    kind: Literal["number", "category"]
    bins: tuple[str, ...]
    reference: tuple[float, ...]
    window: tuple[float, ...]
    n_reference: int
    n_window: int
    unit: str = ""


@dataclass(frozen=True)
class DataTable:
    """The numbers behind a chart, for readers who cannot or do not want to see it."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
