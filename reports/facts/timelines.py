"""From rows of the database to the records the charts are drawn from."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from monitor.notify.tables import Deploy
from monitor.spec.model import ModelSpec
from monitor.tables import Alert, Measurement, ReferenceRow, Window
from monitor.windows.limits import not_judged
from reports.charts.records import Panel, Point, Rule, Status, Tick, Timeline
from reports.wording.phrases import limit_word
from retrain.tables import ModelVersion, Run, TriggerDecision

MAX_FAIRNESS_PANELS = 4


def timeline(
    spec: ModelSpec,
    windows: Sequence[Window],
    measurements: Sequence[Measurement],
    *,
    baselines: Sequence[ReferenceRow] = (),
    versions: Sequence[ModelVersion] = (),
    alerts: Sequence[Alert] = (),
    decisions: Sequence[TriggerDecision] = (),
    runs: Sequence[Run] = (),
    deploys: Sequence[Deploy] = (),
    start: datetime | None = None,
) -> Timeline | None:
    """KPI, drift, fairness, volume and labels on one axis, finest scale first; None without a window.

    The axis spans the windows, so that a period asked for too wide does not squeeze the evidence into a corner.
    """
    if not windows:
        return None
    first, last = min(w.from_ts for w in windows), max(w.to_ts for w in windows)
    scales = list(dict.fromkeys(w.scale for w in sorted(windows, key=lambda w: w.to_ts - w.from_ts)))
    finest = [w for w in windows if w.scale == scales[0]]
    by_id = {w.id: w for w in windows}
    mine = [m for m in measurements if m.window_id in by_id and by_id[m.window_id].scale == scales[0] and not m.segment]
    panels = [
        Panel(
            f"{rule.metric}, realised{_unit(m.unit for m in mine if m.metric == rule.metric)}", "line", "share",
            tuple(_point(m) for m in mine if m.monitor == "kpi" and m.metric == rule.metric),
            limit_word(spec, "kpi", rule.metric), _top(m.unit for m in mine if m.metric == rule.metric),
        )
        for rule in spec.monitors.kpi
    ]  # fmt: skip
    panels += [_estimate(rule.metric, found) for rule in spec.monitors.kpi if (found := _estimates(mine, rule.metric))]
    for scale in scales:
        named = f" per {scale}" if len(scales) > 1 else ""
        points = tuple(_drift(w) for w in windows if w.scale == scale)
        panels.append(Panel(f"drift p value{named}, log scale", "p", "p", points, "alpha"))
    columns = sorted({(m.metric, m.column) for m in mine if m.monitor == "fairness"})
    for metric, column in columns[:MAX_FAIRNESS_PANELS]:
        points = tuple(_point(m) for m in mine if (m.monitor, m.metric, m.column) == ("fairness", metric, column))
        title = metric.replace("_", " ") + (f" by {column}" if column else "")
        panels.append(Panel(title, "line", "share", points, limit_word(spec, "fairness", metric)))
    place = Places(windows, versions)
    panels.append(Panel("rows per hour", "bars", "rows/h", tuple(_volume(w) for w in finest)))
    panels.append(Panel("labels, share of rows", "bars", "share", tuple(_coverage(w) for w in finest), top=1.0))
    return Timeline(
        start=max(first, start) if start else first, end=last,
        panels=tuple(p for p in panels if p.points),
        rules=rules_of(baselines, versions, deploys, place), ticks=ticks_of(alerts, decisions, runs, place),
    )  # fmt: skip


def _estimates(measurements: Sequence[Measurement], metric: str) -> list[Measurement]:
    return [m for m in measurements if m.monitor == "kpi" and m.metric == metric and m.estimated is not None]


def _estimate(metric: str, measurements: Sequence[Measurement]) -> Panel:
    """The estimate with its band; a window whose realised value left the band is marked like an alarm."""
    points = tuple(
        Point(
            m.from_ts, m.to_ts, m.estimated, m.estimated_low, m.estimated_high, n=m.n,
            status="alarm" if m.estimate_inside is False else "ok",
        )
        for m in measurements
    )  # fmt: skip
    return Panel(
        f"{metric}, estimated{_unit(m.unit for m in measurements)}",
        "line",
        "share",
        points,
        top=_top(m.unit for m in measurements),
    )


def _unit(units: Iterable[str]) -> str:
    """What follows a title, where the numbers are no shares."""
    found = next((unit for unit in units if unit != "share"), "")
    return f", {found}" if found else ""


def _top(units: object) -> float | None:
    return 1.0 if "share" in set(units) else None  # type: ignore[call-overload]  # an iterable of strings


def _point(m: Measurement) -> Point:
    unjudged = m.value is None or not_judged(m.details) is not None
    status: Status = "unknown" if unjudged else "alarm" if m.alarm else "ok"
    return Point(m.from_ts, m.to_ts, m.value, m.low, m.high, m.limit, m.n, status)


def _drift(w: Window) -> Point:
    p = w.decision.get("p")
    alarmed = w.decision.get("verdict") == "drift"
    status: Status = "unknown" if not w.decision["judged"] else "alarm" if alarmed else "ok"
    return Point(w.from_ts, w.to_ts, p, limit=w.decision.get("alpha"), n=w.rows, status=status)


def _volume(w: Window) -> Point:
    hours = (w.to_ts - w.from_ts).total_seconds() / 3600
    return Point(w.from_ts, w.to_ts, w.rows / hours if hours > 0 else None, n=w.rows)


def _coverage(w: Window) -> Point:
    return Point(w.from_ts, w.to_ts, w.labels / w.rows if w.rows else None, n=w.labels)


class Spanned(Protocol):
    """A window, or as much of it as says where on an axis of time it lies."""

    @property
    def id(self) -> UUID: ...
    @property
    def from_ts(self) -> datetime: ...
    @property
    def to_ts(self) -> datetime: ...
    @property
    def versions(self) -> Sequence[Any]: ...


class Places:
    """Where on the axis of the events something belongs that happened on the clock.

    Live, both agree. Events that were replayed or sent late lie before everything that followed from them: an alert
    is then drawn at the end of the window that raised it, a promotion where the version first answers.
    """

    def __init__(self, windows: Sequence[Spanned], versions: Sequence[ModelVersion]) -> None:
        ordered = sorted(windows, key=lambda w: w.from_ts)
        self._last = max(w.to_ts for w in windows)
        self._ends = {w.id: w.to_ts for w in windows}
        self._versions = {v.version: v for v in versions}
        self._answers: dict[str, datetime] = {}
        for w in ordered:
            for version in map(str, w.versions):
                self._answers.setdefault(version, w.from_ts)
        self._first = ordered[0].from_ts

    def of_window(self, at: datetime, window: UUID | None) -> datetime:
        return self._ends.get(window, at) if window is not None and at > self._last else at

    def promotion(self, version: ModelVersion) -> Rule | None:
        if version.promoted_at is None:
            return None
        if version.promoted_at <= self._last:
            return Rule(version.promoted_at, f"{version.version} promoted")
        answers = self._answers.get(version.version)
        return Rule(answers, f"{version.version} answers") if answers is not None and answers > self._first else None

    def of_run(self, run: Run) -> datetime | None:
        version = self._versions.get(run.candidate_version or "")
        rule = self.promotion(version) if version is not None else None
        late = run.finished_at is not None and run.finished_at > self._last
        return rule.at if late and rule is not None and run.state == "promoted" else run.finished_at


def rules_of(
    baselines: Sequence[ReferenceRow], versions: Sequence[ModelVersion], deploys: Sequence[Deploy], place: Places
) -> tuple[Rule, ...]:
    found = [
        Rule(b.to_ts, "reference complete", "baseline") for b in baselines if b.state == "ready" and b.to_ts is not None
    ]
    found += [rule for v in versions if (rule := place.promotion(v)) is not None]
    found += [Rule(d.at, f"{d.version} deployed") for d in deploys]
    return tuple(found)


def ticks_of(
    alerts: Sequence[Alert], decisions: Sequence[TriggerDecision], runs: Sequence[Run], place: Places
) -> tuple[Tick, ...]:
    ticks = [
        Tick(place.of_window(a.opened_at, a.first_window_id), "alert opened", f"{a.monitor} {a.metric}") for a in alerts
    ]
    ticks += [
        Tick(a.resolved_at, "alert resolved", f"{a.monitor} {a.metric}") for a in alerts if a.resolved_at is not None
    ]
    ticks += [
        Tick(place.of_window(d.at, d.window_id), "retrain decided" if d.fired else "retrain not decided", d.cause)
        for d in decisions
    ]
    ticks += [
        Tick(at, "run finished" if r.state == "promoted" else "run refused", r.state)
        for r in runs
        if (at := place.of_run(r)) is not None
    ]
    return tuple(ticks)
