"""Build the document of a replay: windows, alerts, runs, and the alarm rate of each monitor and its budget."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.replay.policies import FIELDS
from api.replay.run import ReplayRun
from monitor import store
from monitor.confirm.confirm import evidence_of
from monitor.spec.model import ModelSpec
from monitor.tables import Measurement, Window
from monitor.windows.backtest import StoredHistory, windows_of_declared_limits
from monitor.windows.limits import not_judged
from monitor.windows.observed_alarm_rates import JudgedWindow, alarm_episodes, alarm_rates, detection_delay
from monitor.windows.reference_standing import reference_standing


def document(run: ReplayRun, stored: StoredHistory, changed_at: datetime | None) -> dict[str, Any]:
    site, spec, model = run.site, run.spec, stored.current.model
    with site.database.read() as db:
        windows = [_window(w, _measured(db, w)) for w in store.windows(db, model.id)]
        alerts = [
            {
                "monitor": a.monitor, "metric": a.metric, "column": a.column, "value": a.value, "limit": a.limit,
                "estimated": a.monitor == "estimate", "sentence": a.sentence, "opened_at": a.opened_at.isoformat(),
                "windows": a.windows, "state": a.state,
                "episodes": a.episodes,
                "evidence": [asdict(e) for e in evidence_of(site, a.id)] if a.monitor == "drift" else [],
            }
            for a in store.alerts(db, model.id)
        ]  # fmt: skip
        reference = reference_standing(site, db, stored.current)
    blocked = [d for d in run.decisions if not d["fire"]]
    judged = stored.recorded_windows(changed_at)
    declared = windows_of_declared_limits(site, stored.current)
    return {
        "model": spec.model, "reference": reference, "windows": windows, "alerts": alerts,
        "runs": [d | {"state": "would_have_started"} for d in run.decisions if d["fire"]],
        "blocked": blocked, "accepted": run.accepted, "duplicates": run.duplicates,
        "rejected": sorted(run.rejected, key=lambda r: (r["file"], r["line"])),
        "observed": {"declared": _declared(spec), **_observed(judged)}, "limits": _streams(declared),
        "episodes": _plain([asdict(e) for e in alarm_episodes([*judged, *declared])]),
        "change": None if changed_at is None else _plain(asdict(detection_delay(judged, changed_at))),
    }  # fmt: skip


# What is reported of a measurement. Whole rows hold three ids each, and there are hundreds of rows in a window.
_REPORTED: Final = (
    Measurement.monitor, Measurement.metric, Measurement.column, Measurement.segment, Measurement.value,
    Measurement.low, Measurement.high, Measurement.reason, Measurement.limit, Measurement.alarm, Measurement.n,
    Measurement.details, Measurement.estimated, Measurement.estimated_low, Measurement.estimated_high,
    Measurement.estimate_inside, Measurement.previous_value, Measurement.corrected_at,
)  # fmt: skip


def _measured(db: Session, window: Window) -> Sequence[Any]:
    query = select(*_REPORTED).where(Measurement.window_id == window.id)
    return db.execute(
        query.order_by(Measurement.monitor, Measurement.metric, Measurement.column, Measurement.segment)
    ).all()


def _window(window: Window, measured: Sequence[Any]) -> dict[str, Any]:
    kpi = {m.metric: _kpi(m) for m in measured if m.monitor == "kpi" and not m.segment}
    fairness = [
        {
            "metric": m.metric, "by": m.column, "value": m.value, "low": m.low, "high": m.high, "reason": m.reason,
            "limit": m.limit, "alarm": m.alarm, "n": m.n, "not_judged": not_judged(m.details),
            "positive": m.details.get("positive"), "class_assumed": bool(m.details.get("class_assumed", False)),
            "definition": m.details.get("definition"), "between": m.details.get("between"),
            "groups": m.details.get("groups", []),
        }
        for m in measured
        if m.monitor == "fairness"
    ]  # fmt: skip
    return {
        "from": window.from_ts.isoformat(), "to": window.to_ts.isoformat(), "scale": window.scale, "rows": window.rows,
        "verdict": window.verdict, "sentence": window.sentence, "alarms": _alarms(window, measured), "kpi": kpi,
        "fairness": fairness, "visible": window.decision.get("visible", []), **_statistics(measured),
    }  # fmt: skip


def _statistics(measured: Sequence[Any]) -> dict[str, Any]:
    """Return the catalogue by statistic and column, and the reason for each undefined one; "" is the whole model."""
    found: dict[str, dict[str, float]] = {}
    missing: dict[str, dict[str, str]] = {}
    for m in measured:
        if m.monitor == "drift" and m.metric not in ("p_value", "effect"):
            if m.value is not None:
                found.setdefault(m.metric, {})[m.column] = m.value
            else:
                missing.setdefault(m.metric, {})[m.column] = m.reason or ""
    return {"statistics": found, "undefined": missing}


def _kpi(m: Any) -> dict[str, Any]:
    """`low` and `high` are the band of the estimate if it exists, else the interval of the realised value."""
    note = m.details.get("estimate", {})
    band = (m.low, m.high) if m.estimated is None else (m.estimated_low, m.estimated_high)
    return {
        "realised": m.value, "estimated": m.estimated, "low": band[0], "high": band[1], "realised_low": m.low,
        "realised_high": m.high, "n": m.n, "reason": m.reason, "label_coverage": m.details.get("coverage"),
        "left_out": m.details.get("left_out", 0), "note": m.details.get("note"),
        "estimate_reason": note.get("reason"), "estimate_valid": note.get("valid"), "band_held": m.estimate_inside,
        "not_judged": not_judged(m.details), "previous": m.previous_value,
        "corrected_at": m.corrected_at.isoformat() if m.corrected_at else None,
    }  # fmt: skip


def _alarms(window: Window, measured: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the alarms of a window: for drift one per named column, else one for the test of the whole model."""
    alarms: list[dict[str, Any]] = []
    for m in measured:
        if not m.alarm:
            continue
        named = [c for c in window.decision["columns"] if c["alarmed"]] if m.monitor == "drift" else []
        alarms += [
            {
                "monitor": "drift", "metric": m.metric, "column": c["column"], "value": c["adjusted_p"],
                "limit": window.decision["alpha"], "effect": c["effect"], "detail": c["detail"], "change": c["value"],
                "unit": c["unit"], "meaning": c["meaning"], "clusters": c["clusters"],
            }
            for c in named
        ]  # fmt: skip
        if not named:
            alarms.append(
                {
                    "monitor": m.monitor,
                    "metric": m.metric,
                    "column": m.column,
                    "value": m.value,
                    "limit": m.limit,
                    "estimated": m.monitor == "estimate",
                    **({"faulty_rows": m.details["faulty_rows"]} if "faulty_rows" in m.details else {}),
                }
            )
    return alarms


# --- alarm rates and their budgets ------------------------------------------------------------------------------------


def policy_line(name: str, spec: ModelSpec, stored: StoredHistory, changed_at: datetime | None) -> dict[str, Any]:
    """Judge the stored windows by one policy: the `observed`, `episodes` and `change` that its spec would give."""
    judged = stored.judged_windows(spec, changed_at=changed_at)
    alarms = sorted(window.end for window in judged if window.alarmed)
    monitors = spec.document["monitors"]
    return {
        "policy": name, "monitors": {field: monitors[field] for field in FIELDS},
        "observed": {"declared": _declared(spec), **_observed(judged)},
        "episodes": _plain([asdict(e) for e in alarm_episodes(judged)]),
        "first_alarm": alarms[0].isoformat() if alarms else None,
        "change": None if changed_at is None else _plain(asdict(detection_delay(judged, changed_at))),
    }  # fmt: skip


def _declared(spec: ModelSpec) -> str:
    given = spec.monitors.false_alarms
    return given if isinstance(given, str) else f"{given.alpha:g} per window"


def _observed(judged: Sequence[JudgedWindow]) -> dict[str, Any]:
    """Return alarm rates by monitor and scale, and their sum per 30 days; null if one of them has no such number."""
    found = [r for r in alarm_rates(judged) if r.looks]

    def total(parts: Sequence[float | None]) -> float | None:
        known = [part for part in parts if part is not None]
        return sum(known) if found and len(known) == len(parts) else None

    return {
        "alarms": sum(r.alarms for r in found), "episodes": sum(r.episodes for r in found),
        "per_30d": total([r.per_30d for r in found]), "budget_per_30d": total([r.budget_per_30d for r in found]),
        "streams": _streams(judged),
    }  # fmt: skip


def _streams(judged: Sequence[JudgedWindow]) -> list[dict[str, Any]]:
    return [asdict(rate) for rate in alarm_rates(judged)]


def _plain(found: Any) -> Any:
    if isinstance(found, datetime):
        return found.isoformat()
    if isinstance(found, dict):
        return {key: _plain(value) for key, value in found.items()}
    return [_plain(part) for part in found] if isinstance(found, list | tuple) else found
