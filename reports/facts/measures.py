"""The lines of a report about measurements: KPIs, fairness groups, drift."""

import math
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from monitor.spec.model import ModelSpec
from monitor.tables import Measurement, Window
from monitor.windows.limits import not_judged
from reports import document as doc
from reports.wording.phrases import limit_word, unit_of


def finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def measure_line(m: Measurement, windows: Mapping[UUID, Window], spec: ModelSpec) -> doc.MeasureLine:
    window = windows[m.window_id]
    return doc.MeasureLine(
        metric=m.metric,
        column=m.column,
        segment=m.segment,
        unit=m.unit,
        scale=window.scale,
        start=m.from_ts,
        end=m.to_ts,
        value=finite(m.value),
        low=finite(m.low),
        high=finite(m.high),
        reason=m.reason,
        n=m.n,
        labels=window.labels,
        rows=window.rows,
        limit=finite(m.limit),
        limit_word=limit_word(spec, m.monitor, m.metric),
        alarm=m.alarm,
        not_judged=not_judged(m.details) if m.value is not None else None,
        method=str(m.details.get("method") or m.details.get("interval") or "realised"),
        window=str(m.window_id),
        estimated=finite(m.estimated),
        estimated_low=finite(m.estimated_low),
        estimated_high=finite(m.estimated_high),
        estimate_held=m.estimate_inside,
        estimate_note=estimate_note(m),
        agents=(m.details.get("agents") or {}).get("statement"),
        previous=finite(m.previous_value),
        corrected_at=m.corrected_at,
        definition=m.details.get("definition"),
        positive=m.details.get("positive"),
        class_assumed=bool(m.details.get("class_assumed")),
        between=" and ".join(m.details.get("between") or ()) or None,
    )


def estimate_note(m: Measurement) -> str | None:
    """A note on the estimate of a KPI; None if the spec does not ask for estimates."""
    note = m.details.get("estimate") or {}
    return note.get("reason") or note.get("statement")


def group_lines(m: Measurement) -> list[doc.GroupLine]:
    """Every group of a fairness measurement with its size; a rate per line, or the reason there is none."""
    lines = []
    for group in m.details.get("groups") or ():
        rates: Mapping[str, Any] = group.get("rates") or {"": None}
        for name, value in rates.items():
            rate = finite(value)
            small = group.get("too_small") and not group.get("rates")
            why = "below the minimum group size" if small else "no row to take the rate over"
            low, high = (group.get("intervals") or {}).get(name) or (None, None)
            lines.append(
                doc.GroupLine(
                    metric=m.metric,
                    column=m.column,
                    group=str(group.get("group")),
                    window=str(m.window_id),
                    end=m.to_ts,
                    n=int(group.get("n") or 0),
                    rate=str(name),
                    value=rate,
                    reason=why if rate is None else _kept_out(group),
                    low=finite(low),
                    high=finite(high),
                )
            )
    return lines


def _kept_out(group: Mapping[str, Any]) -> str | None:
    """Why a group whose rates are known was not compared."""
    return "shown, not compared: too few rows or not known" if group.get("too_small") else None


def drift_lines(w: Window, spec: ModelSpec) -> list[doc.DriftLine]:
    """Columns named by the verdict. What a category level or a word was stays out: it may be personal."""
    return [
        doc.DriftLine(
            window=str(w.id),
            end=w.to_ts,
            column=str(c["column"]),
            effect=str(c["effect"]),
            value=float(c["value"]),
            unit=unit_of(spec, str(c["column"]), str(c["unit"])),
            adjusted_p=float(c["adjusted_p"]),
        )
        for c in w.decision.get("columns") or []
        if c.get("alarmed")
    ]
