"""KPIs of the parts of a window: its versions, segments and agents, and which agent a change of the whole came from."""

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
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import KpiRule
from monitor.tables import BaselineRow, Measurement, Window
from monitor.windows.readings import Reading, computed, kpi_frame, rows_for

MINIMUM_ROWS: Final = 30
MOST_PARTS: Final = 20
MISSING: Final = "(missing)"
REFERENCE_ROWS: Final = CacheKind[tuple[UUID, int], pl.DataFrame]("reference rows by reference and outcomes", most=4)


def part_readings(spec: ModelSpec, labelled: pl.DataFrame, window: pl.DataFrame) -> list[Reading]:
    """Every KPI by version (where several answered), segment and agent; groups under 30 usable rows say so.

    They describe and never alarm: the limit and the budget are the model's. Of a column with many values the 20 with
    the most rows of the window are shown.
    """
    found = []
    for by in ("version", *spec.with_role("segment", "agent")):
        names = _names(window, by)
        if by == "version" and len(names) < 2:
            continue
        for rule in spec.monitors.kpi:
            rows = rows_for(spec, rule, labelled, window)
            found += [_reading(spec, rule, by, name, rows) for name in names[:MOST_PARTS]]
    return found


def _names(frame: pl.DataFrame, by: str) -> list[str]:
    """Values of a column, most frequent first."""
    counts = frame.select(_text(by).alias("part")).group_by("part").len().sort("len", "part", descending=[True, False])
    return counts["part"].to_list()


def _text(by: str) -> pl.Expr:
    return pl.col(by).cast(pl.String).fill_null(MISSING)


def _reading(spec: ModelSpec, rule: KpiRule, by: str, name: str, rows: pl.DataFrame) -> Reading:
    mine = rows.filter(_text(by) == name)
    found, unit, better = computed(spec, rule, mine)
    value, reason = found.value, found.reason
    if found.n < MINIMUM_ROWS and value is not None:
        value, reason = None, f"{found.n} usable rows; a part is shown from {MINIMUM_ROWS}"
    return Reading(
        "kpi", rule.metric, value, reason or (None if value is not None else "no usable row"), unit, found.n,
        column=rule.column or "", segment=f"{by}={name}"[:200], low=found.low if value is not None else None,
        high=found.high if value is not None else None,
        details={"by": by, "part": name, "too_small": found.n < MINIMUM_ROWS, "higher_is_better": better},
    )  # fmt: skip


def with_agents(
    site: Site, current: CurrentSpec, row: BaselineRow, from_seq: int, readings: Sequence[Reading],
    labelled: pl.DataFrame, window: pl.DataFrame,
) -> list[Reading]:  # fmt: skip
    """Readings of whole KPIs with the split of their change since the reference over the agents."""
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
        rows = rows_for(current.spec, rule, labelled, window)
        parts = _parts(current.spec, rule, agents[0], reference, rows)
        notes = {"agents": {"column": agents[0], "parts": [asdict(p) for p in parts]}} if parts else {}
        found.append(replace(reading, details=reading.details | notes))
    return found


def _reference(site: Site, current: CurrentSpec, row: BaselineRow) -> pl.DataFrame:
    """Rows of the reference with their outcome columns, null where an outcome is not known."""
    name, columns = current.model.name, current.spec.outcome_columns

    def read() -> pl.DataFrame:
        events = site.events.events(name, from_seq=row.from_seq, to_seq=row.to_seq)
        outcomes = site.events.labelled(name, from_seq=row.from_seq, to_seq=row.to_seq, columns=["event_id"])
        named = [c for c in outcomes.columns if c in columns]
        joined = events.join(outcomes.select("event_id", *named), on="event_id", how="left", maintain_order="left")
        return joined.with_columns(pl.lit(None, dtype=pl.String).alias(c) for c in columns if c not in joined.columns)

    return site.cache.get(REFERENCE_ROWS, (row.id, site.events.extent(name).outcomes), read)


def _parts(spec: ModelSpec, rule: KpiRule, by: str, before: pl.DataFrame, now: pl.DataFrame) -> list[Contribution]:
    sides = []
    for rows in (before, now):
        if rows.is_empty():
            return []
        frame = kpi_frame(spec, rule, rows).with_columns(rows.select(_text(by).alias("part")).to_series())
        values = row_values(rule.metric, frame)
        if values is None or values.is_empty():
            return []
        sides.append(values)
    return decompose(*sides)


def first_degraded(db: Session, window: Window, readings: Sequence[Reading]) -> list[Reading]:
    """Readings whose split over agents also says who got worse first and, in words, who explains the change."""
    return [
        replace(r, details=r.details | {"agents": _told(db, window, r)}) if "agents" in r.details else r
        for r in readings
    ]


def _told(db: Session, window: Window, reading: Reading) -> dict[str, Any]:
    agents: dict[str, Any] = reading.details["agents"]
    better = reading.details["higher_is_better"]
    worse = [p["part"] for p in agents["parts"] if _degraded(p, better=better)]
    history = _history(db, window, reading)
    history.append((window.to_ts, worse))
    first = next(((at, names) for at, names in history if names), None)
    told: dict[str, Any] = agents | {"degraded": worse, "first": None, "statement": "no agent got worse"}
    if first is None or not agents["parts"]:
        return told
    at, names = first
    change = sum(p["share_effect"] + p["rate_effect"] for p in agents["parts"])
    top = agents["parts"][0]
    explained = f" ({100 * top['explained']:.0f} % of the whole)" if top["explained"] is not None else ""
    kind = "its rate" if abs(top["rate_effect"]) >= abs(top["share_effect"]) else "its share of the rows"
    told["first"] = {"parts": names, "window_end": at.isoformat()}
    told["statement"] = (
        f"{' and '.join(names)} got worse first, in the window ending {at:%Y-%m-%d %H:%M} UTC; of the change of "
        f"{change:+.3g} since the reference, {top['part']} contributed "
        f"{top['share_effect'] + top['rate_effect']:+.3g}{explained}, mostly by {kind}"
    )
    return told


def _degraded(part: dict[str, Any], *, better: bool | None) -> bool:
    z = part["standard_errors"]
    return z is not None and better is not None and (-z if better else z) > DEGRADED


def _history(db: Session, window: Window, reading: Reading) -> list[tuple[datetime, list[str]]]:
    """Who was worse than in the reference, in earlier windows of the same reference and scale, oldest first."""
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
