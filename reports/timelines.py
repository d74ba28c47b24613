"""From rows of the database to the records the charts are drawn from."""

from collections.abc import Sequence
from datetime import datetime

from monitor.schema import ModelSpec
from monitor.tables import Alert, BaselineRow, Measurement, Window
from reports.charts import Panel, Point, Rule, Status, Tick, Timeline
from reports.findings import limit_word
from retrain.tables import ModelVersion, Run, TriggerDecision

MAX_FAIRNESS_PANELS = 4


def timeline(
    spec: ModelSpec,
    windows: Sequence[Window],
    measurements: Sequence[Measurement],
    *,
    baselines: Sequence[BaselineRow] = (),
    versions: Sequence[ModelVersion] = (),
    alerts: Sequence[Alert] = (),
    decisions: Sequence[TriggerDecision] = (),
    runs: Sequence[Run] = (),
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
            f"{rule.metric}, realised", "line", "share",
            tuple(_point(m) for m in mine if m.monitor == "kpi" and m.metric == rule.metric),
            limit_word(spec, "kpi", rule.metric), _top(m.unit for m in mine if m.metric == rule.metric),
        )
        for rule in spec.monitors.kpi
    ]  # fmt: skip
    for scale in scales:
        named = f" per {scale}" if len(scales) > 1 else ""
        points = tuple(_drift(w) for w in windows if w.scale == scale)
        panels.append(Panel(f"drift p value{named}, log scale", "p", "p", points, "alpha"))
    columns = sorted({(m.metric, m.column) for m in mine if m.monitor == "fairness"})
    for metric, column in columns[:MAX_FAIRNESS_PANELS]:
        points = tuple(_point(m) for m in mine if (m.monitor, m.metric, m.column) == ("fairness", metric, column))
        title = metric.replace("_", " ") + (f" by {column}" if column else "")
        panels.append(Panel(title, "line", "share", points, limit_word(spec, "fairness", metric)))
    panels.append(Panel("rows per hour", "bars", "rows/h", tuple(_volume(w) for w in finest)))
    panels.append(Panel("labels, share of rows", "bars", "share", tuple(_coverage(w) for w in finest), top=1.0))
    return Timeline(
        start=max(first, start) if start else first, end=last,
        panels=tuple(p for p in panels if p.points),
        rules=_rules(baselines, versions), ticks=_ticks(alerts, decisions, runs),
    )  # fmt: skip


def _top(units: object) -> float | None:
    return 1.0 if "share" in set(units) else None  # type: ignore[call-overload]  # an iterable of strings


def _point(m: Measurement) -> Point:
    status: Status = "unknown" if m.value is None else "alarm" if m.alarm else "ok"
    return Point(m.from_ts, m.to_ts, m.value, m.low, m.high, m.limit, m.n, status)


def _drift(w: Window) -> Point:
    p = w.decision.get("p")
    alarmed = w.decision.get("verdict") == "drift"
    status: Status = "unknown" if p is None else "alarm" if alarmed else "ok"
    return Point(w.from_ts, w.to_ts, p, limit=w.decision.get("alpha"), n=w.rows, status=status)


def _volume(w: Window) -> Point:
    hours = (w.to_ts - w.from_ts).total_seconds() / 3600
    return Point(w.from_ts, w.to_ts, w.rows / hours if hours > 0 else None, n=w.rows)


def _coverage(w: Window) -> Point:
    return Point(w.from_ts, w.to_ts, w.labels / w.rows if w.rows else None, n=w.labels)


def _rules(baselines: Sequence[BaselineRow], versions: Sequence[ModelVersion]) -> tuple[Rule, ...]:
    found = [
        Rule(b.to_ts, "reference complete", "baseline") for b in baselines if b.state == "ready" and b.to_ts is not None
    ]
    found += [Rule(v.promoted_at, f"{v.version} promoted") for v in versions if v.promoted_at is not None]
    return tuple(found)


def _ticks(alerts: Sequence[Alert], decisions: Sequence[TriggerDecision], runs: Sequence[Run]) -> tuple[Tick, ...]:
    ticks = [Tick(a.opened_at, "alert opened", f"{a.monitor} {a.metric}") for a in alerts]
    ticks += [
        Tick(a.resolved_at, "alert resolved", f"{a.monitor} {a.metric}") for a in alerts if a.resolved_at is not None
    ]
    ticks += [Tick(d.at, "retrain decided" if d.fired else "retrain not decided", d.cause) for d in decisions]
    ticks += [
        Tick(r.finished_at, "run finished" if r.state == "promoted" else "run refused", r.state)
        for r in runs
        if r.finished_at is not None
    ]  # fmt: skip
    return tuple(ticks)
