"""The course of a model: KPIs, drift, fairness, volume and labels of its windows on one axis of time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final, Literal
from uuid import UUID

from sqlalchemy.orm import Session

from api.pages.models import store
from api.pages.models.store import CourseWindow, Happened, Value
from core.clock import days_period
from core.errors import InvalidError
from monitor.fairness.grouping import grouped_by
from monitor.spec.duration import duration
from monitor.spec.model import ModelSpec
from monitor.tables import Model
from reports.charts.records import Rule, Tick
from reports.facts.timelines import Places, rules_of, ticks_of
from reports.wording.phrases import limit_word

WINDOWS: Final = 200  # shown when no period is asked for
WINDOWS_OF_PERIOD: Final = 1_000  # and of a period; a page of more is of use to nobody, and holds others up
MOST_FAIRNESS: Final = 4  # panels
DRIFT: Final = "p_value"
Kind = Literal["line", "p", "bars"]


@dataclass(frozen=True, slots=True)
class Panel:
    """One small multiple: its numbers by window."""

    key: str
    title: str
    kind: Kind
    unit: str
    values: Mapping[UUID, Value]
    limit_word: str = "limit"
    share: bool = False  # its scale ends at 1

    @property
    def measured(self) -> bool:
        return any(v.value is not None or v.estimated is not None for v in self.values.values())

    @property
    def estimated(self) -> bool:
        return any(v.estimated is not None for v in self.values.values())


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address of the page says: the period, the window length and the segment."""

    since: date | None
    until: date | None
    length: str | None
    segment: str

    @property
    def chosen(self) -> bool:
        return self.since is not None or self.until is not None


@dataclass(frozen=True, slots=True)
class Course:
    """`earlier`: there are windows of the period before those shown. `segments`: those that KPIs were measured in."""

    asked: Asked
    length: str
    lengths: Sequence[str]
    segments: Sequence[str]
    windows: Sequence[CourseWindow]
    earlier: bool
    panels: Sequence[Panel]
    rules: Sequence[Rule]
    ticks: Sequence[Tick]
    happened: Happened | None


def course_of(db: Session, model: Model, spec: ModelSpec, asked: Asked) -> Course:
    """The course asked for.

    Raises:
        InvalidError: the period, the window length or the segment does not exist.
    """
    lengths = _lengths(db, model, spec)
    length = asked.length or (lengths[0] if lengths else "")
    if asked.length is not None and asked.length not in lengths:
        raise InvalidError(
            f"length: no window of {asked.length[:40]!r} has closed; take one of {', '.join(lengths) or 'none yet'}",
            field="length", value=asked.length[:40],
        )  # fmt: skip
    segments = store.segments(db, model.id, spec.monitors.kpi[0].metric, spec.monitors.kpi[0].column or "") \
        if spec.monitors.kpi else []  # fmt: skip
    if asked.segment and asked.segment not in segments:
        raise InvalidError(
            f"segment: no KPI was measured in {asked.segment[:60]!r}; the page lists those that were", field="segment",
            value=asked.segment[:60],
        )  # fmt: skip
    since, until = _period(asked)
    most = WINDOWS_OF_PERIOD if asked.chosen else WINDOWS
    windows, earlier = store.course_windows(db, model.id, length, since, until, most)
    if not windows:
        return Course(asked, length, lengths, segments, (), False, (), (), (), None)
    first, last = windows[0].from_ts, windows[-1].to_ts
    panels = _panels(db, model, spec, asked, windows)
    happened = store.happened(db, model.id, first, last)
    place = Places(windows, happened.versions)
    rules = rules_of(happened.references, happened.versions, happened.deploys, place)
    ticks = ticks_of(happened.alerts, happened.decisions, happened.runs, place)
    inside = [r for r in rules if first <= r.at <= last]
    return Course(
        asked, length, lengths, segments, windows, earlier, panels, sorted(inside, key=lambda r: r.at),
        [t for t in ticks if first <= t.at <= last], happened,
    )  # fmt: skip


def _lengths(db: Session, model: Model, spec: ModelSpec) -> list[str]:
    """The declared window lengths, the shortest first, and then those of earlier specs."""
    declared = list(spec.monitors.scales)
    if len(declared) > 1:
        declared.sort(key=duration)
    return list(dict.fromkeys((*declared, *store.scales(db, model.id))))


def _period(asked: Asked) -> tuple[datetime | None, datetime | None]:
    since = None if asked.since is None else datetime.combine(asked.since, time(), UTC)
    if asked.until is None:
        return since, None
    return since, days_period(asked.since or asked.until, asked.until)[1]


def _panels(db: Session, model: Model, spec: ModelSpec, asked: Asked, windows: Sequence[CourseWindow]) -> list[Panel]:
    ids = {w.id for w in windows}
    pairs = [(rule.name, grouped_by(by)) for rule in spec.monitors.fairness for by in rule.groupings][:MOST_FAIRNESS]
    metrics = {*(rule.metric for rule in spec.monitors.kpi), *(name for name, _ in pairs), DRIFT}
    found: dict[tuple[str, str, str, str], dict[UUID, Value]] = {}
    for v in store.values(db, model.id, metrics, {"", asked.segment}, windows[0].to_ts, windows[-1].to_ts):
        if v.window in ids:
            found.setdefault((v.monitor, v.metric, v.column, v.segment), {})[v.window] = v
    panels = []
    for i, rule in enumerate(spec.monitors.kpi):
        mine = found.get(("kpi", rule.metric, rule.column or "", asked.segment), {})
        unit = next((v.unit for v in mine.values()), "share")
        title = rule.metric.replace("_", " ") + (f" of {rule.column}" if rule.column else "")
        word = limit_word(spec, "kpi", rule.metric)
        panels.append(Panel(f"k{i}", _titled(title, unit), "line", unit, mine, word, share=unit == "share"))
    panels.append(Panel("p", "drift: p value, log scale", "p", "p", found.get(("drift", DRIFT, "", ""), {}), "alpha"))
    for i, (metric, column) in enumerate(pairs):
        mine = found.get(("fairness", metric, column, ""), {})
        unit = next((v.unit for v in mine.values()), "share")
        title = f"{metric.replace('_', ' ')} by {column}"
        panels.append(Panel(f"f{i}", title, "line", unit, mine, limit_word(spec, "fairness", metric)))
    return [p for p in panels if p.values]


def _titled(title: str, unit: str) -> str:
    return title if unit in ("share", "number") else f"{title}, {unit}"
