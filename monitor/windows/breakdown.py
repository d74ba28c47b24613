"""KPIs of the slices of a window (versions, segments, agents), and the agents that explain a change of a KPI."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.cache import CacheKind
from monitor.kpi import KPIS
from monitor.kpi.decompose import DEGRADED, Contribution, decompose, row_values
from monitor.levels import slice_name
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import KpiRule
from monitor.tables import MAX_SLICE_CHARS, Measurement, ReferenceRow, Window
from monitor.windows.readings import Reading, compute_kpi, kpi_frame, outcomes_read, usable_rows
from monitor.windows.stored_levels import with_levels

MIN_ROWS: Final = 30
MAX_SLICES: Final = 20
MISSING_VALUE: Final = "(missing)"
REFERENCE_ROWS: Final = CacheKind[tuple[UUID, int], pl.DataFrame]("reference rows by reference and outcomes", most=4)


def slice_readings(spec: ModelSpec, labelled: pl.DataFrame, window: pl.DataFrame) -> list[Reading]:
    """Every KPI by version (where several answered), segment and agent.

    A slice describes and never alarms, because limit and budget belong to the whole model. A slice with under 30 usable
    rows has a reason in place of a value. A column with many values shows the 20 with the most rows in the window.

    Args:
        labelled: rows of the window whose outcome has arrived.
        window: all rows of the window.
    """
    found = []
    for by in ("version", *spec.with_role("segment", "agent")):
        names = _names(window, by)
        if by == "version" and len(names) < 2:
            continue
        parts: dict[tuple[str, ...], list[pl.DataFrame]] = {}  # by the outcomes that make a row usable
        for rule in spec.monitors.kpi:
            if (read := outcomes_read(spec, rule)) not in parts:
                rows = usable_rows(spec, rule, labelled, window)
                parts[read] = [rows.filter(_text(by) == name) for name in names[:MAX_SLICES]]
            found += [_reading(spec, rule, by, *part) for part in zip(names, parts[read], strict=False)]
    return found


def _names(frame: pl.DataFrame, by: str) -> list[str]:
    """Values of a column, most frequent first."""
    counts = frame.select(_text(by).alias("part")).group_by("part").len().sort("len", "part", descending=[True, False])
    return counts["part"].to_list()


def _text(by: str) -> pl.Expr:
    return pl.col(by).cast(pl.String).fill_null(MISSING_VALUE)


def _reading(spec: ModelSpec, rule: KpiRule, by: str, name: str, rows: pl.DataFrame) -> Reading:
    found, unit, better = compute_kpi(spec, rule, rows)
    value, reason = found.value, found.reason
    if found.n < MIN_ROWS and value is not None:
        value, reason = None, f"{found.n} usable rows; a slice needs at least {MIN_ROWS}"
    return Reading(
        "kpi", rule.metric, value, reason or (None if value is not None else "no usable row"), unit, found.n,
        column=rule.column or "", segment=slice_name(by, name, MAX_SLICE_CHARS),
        low=found.low if value is not None else None, high=found.high if value is not None else None,
        details={
            "by": by, "part": name, "too_small": found.n < MIN_ROWS, "higher_is_better": better,
            **({"note": found.note} if found.note else {}),
        },
    )  # fmt: skip


def with_agents(
    site: Site, current: CurrentSpec, row: ReferenceRow, from_seq: int, readings: Sequence[Reading],
    labelled: pl.DataFrame, window: pl.DataFrame,
) -> list[Reading]:  # fmt: skip
    """The readings, where each KPI of the whole model also says how much each agent contributed to its change.

    Args:
        from_seq: first sequence number of the window; a window inside the reference is left as it is.
        labelled: rows of the window whose outcome has arrived.
        window: all rows of the window.
    """
    agents = current.spec.with_role("agent")
    if not agents or row.to_seq is None or from_seq < row.to_seq or row.to_seq <= row.from_seq:
        return list(readings)
    reference = _reference(site, current, row)
    rules = {(rule.metric, rule.column or ""): rule for rule in current.spec.monitors.kpi}
    found = []
    for reading in readings:
        rule = rules.get((reading.metric, reading.column))
        if rule is None or reading.monitor != "kpi" or reading.segment or rule.metric not in KPIS:
            found.append(reading)
            continue
        rows = usable_rows(current.spec, rule, labelled, window)
        contributions = _contributions(current.spec, rule, agents[0], reference, rows)
        notes = {"agents": {"column": agents[0], "parts": [asdict(p) for p in contributions]}} if contributions else {}
        found.append(replace(reading, details=reading.details | notes))
    return found


def _reference(site: Site, current: CurrentSpec, row: ReferenceRow) -> pl.DataFrame:
    """Rows of the reference with their outcome columns, null where an outcome is not known."""
    name, columns = current.model.name, current.spec.outcome_columns

    def read() -> pl.DataFrame:
        events = site.events.events(name, from_seq=row.from_seq, to_seq=row.to_seq)
        outcomes = site.events.labelled(name, from_seq=row.from_seq, to_seq=row.to_seq, columns=["event_id"])
        named = [c for c in outcomes.columns if c in columns]
        joined = events.join(outcomes.select("event_id", *named), on="event_id", how="left", maintain_order="left")
        absent = (pl.lit(None, dtype=pl.String).alias(c) for c in columns if c not in joined.columns)
        return with_levels(current.spec, joined.with_columns(absent))

    return site.cache.get(REFERENCE_ROWS, (row.id, site.events.extent(name).outcomes), read)


def _contributions(
    spec: ModelSpec, rule: KpiRule, by: str, before: pl.DataFrame, now: pl.DataFrame
) -> list[Contribution]:
    sides = []
    for rows in (before, now):
        if rows.is_empty() or ("outcome" in KPIS[rule.metric].reads and spec.target is None):
            return []
        frame = kpi_frame(spec, rule, rows).with_columns(rows.select(_text(by).alias("part")).to_series())
        values = row_values(rule.metric, frame)
        if values is None or values.is_empty():
            return []
        sides.append(values)
    return decompose(*sides)


def with_first_degraded(db: Session, window: Window, readings: Sequence[Reading]) -> list[Reading]:
    """The readings; contributions of agents also say which agent got worse first and which explains the change."""
    return [
        replace(r, details=r.details | {"agents": _with_statement(db, window, r)}) if "agents" in r.details else r
        for r in readings
    ]


def _with_statement(db: Session, window: Window, reading: Reading) -> dict[str, Any]:
    agents: dict[str, Any] = reading.details["agents"]
    better = reading.details["higher_is_better"]
    worse = [p["part"] for p in agents["parts"] if _is_degraded(p, better=better)]
    history = _history(db, window, reading)
    history.append((window.to_ts, worse))
    first = next(((at, names) for at, names in history if names), None)
    document: dict[str, Any] = agents | {"degraded": worse, "first": None, "statement": "no agent got worse"}
    if first is None or not agents["parts"]:
        return document
    at, names = first
    change = sum(p["share_effect"] + p["rate_effect"] for p in agents["parts"])
    top = agents["parts"][0]
    explained = f" ({100 * top['explained']:.0f} % of it)" if top["explained"] is not None else ""
    kind = "its rate" if abs(top["rate_effect"]) >= abs(top["share_effect"]) else "its share of the rows"
    document["first"] = {"parts": names, "window_end": at.isoformat()}
    document["statement"] = (
        f"{' and '.join(names)} got worse first, in the window ending {at:%Y-%m-%d %H:%M} UTC. The KPI changed by "
        f"{change:+.3g} since the reference; {top['part']} contributed "
        f"{top['share_effect'] + top['rate_effect']:+.3g}{explained}, mainly through {kind}"
    )
    return document


def _is_degraded(part: dict[str, Any], *, better: bool | None) -> bool:
    z = part["standard_errors"]
    return z is not None and better is not None and (-z if better else z) > DEGRADED


def _history(db: Session, window: Window, reading: Reading) -> list[tuple[datetime, list[str]]]:
    """Agents that were worse than in the reference, for each earlier window of that reference and scale, in order."""
    query = (
        select(Measurement.to_ts, Measurement.details)
        .join(Window, Window.id == Measurement.window_id)
        .where(
            Window.baseline_id == window.baseline_id, Window.scale == window.scale, Window.number < window.number,
            Measurement.monitor == "kpi", Measurement.metric == reading.metric, Measurement.segment == "",
            Measurement.column == reading.column,
        )
        .order_by(Window.number)
    )  # fmt: skip
    return [(at, (details.get("agents") or {}).get("degraded", [])) for at, details in db.execute(query)]
