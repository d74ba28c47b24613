"""For whom: the segments, versions and agents that carry an alert, from what was measured and found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.figures import count, figure, points
from monitor import sizes
from monitor.sizes import Size
from monitor.spec.model import ModelSpec
from monitor.tables import Measurement, Window

MOST: Final = 5


@dataclass(frozen=True, slots=True)
class AlertCarrier:
    """A part of the rows that carries a change. `rows`: of it, in the window; `size`: None where none is defined."""

    column: str
    value: str
    rows: int
    size: Size | None
    sentence: str


@dataclass(frozen=True, slots=True)
class ForWhom:
    """Whom it concerns; without carriers, the sentence says why nobody in particular."""

    sentence: str
    carriers: tuple[AlertCarrier, ...] = ()
    versions: tuple[str, ...] = ()


def for_whom(
    db: Session, window: Window | None, before: UUID | None, figures: dict[str, Any], spec: ModelSpec | None
) -> ForWhom:
    """Whom an alert concerns.

    Args:
        window: that it is about; None for an alert without one.
        before: the last window before it began whose KPIs are known.
        figures: of what drove it, as stored; empty while it is not known.
        spec: in force; None where it cannot be read.
    """
    if window is None:
        return ForWhom("All traffic of the model: the alert is about no single window.")
    versions = tuple(str(version) for version in window.versions)
    slices, all_of = _slices(db, window, before)
    found = [*_found(figures), *slices][:MOST]
    agents = _agents(db, window)
    answered = f" {_versions(versions)}" if versions else ""
    if found:
        more = f" {agents}" if agents else ""
        first = found[0].sentence
        if found[0].column in all_of and found[0] is slices[0]:
            first = f"Every {found[0].column} is worse than before, most {first}"
        return ForWhom(f"{first}.{more}{answered}", tuple(found), versions)
    if agents:
        return ForWhom(f"{agents}{answered}", (), versions)
    named = () if spec is None else spec.with_role("segment", "agent")
    why = (
        f"No part of the rows stands out: {', '.join(named)} and the version were looked at."
        if named
        else "Not known by part: the spec declares no column with role segment or agent."
    )
    return ForWhom(f"{why}{answered}", (), versions)


def _versions(versions: Sequence[str]) -> str:
    if len(versions) == 1:
        return f"Version {versions[0]} answered all of its rows."
    return f"Versions {', '.join(versions)} answered its rows."


def _found(figures: dict[str, Any]) -> list[AlertCarrier]:
    """What the domain classifier and the tree of lost cases have named, in that order."""
    carriers = [
        AlertCarrier(
            c["column"], c["value"], c["rows"], sizes.of_shares(c["elsewhere"], c["share"]),
            f"{c['column']} = {c['value']} carries it: {_percent(c['share'])} of its {count(c['rows'])} rows are "
            f"unlike the reference, {_percent(c['elsewhere'])} elsewhere "
            f"({sizes.of_shares(c['elsewhere'], c['share'])} difference)",
        )
        for c in figures.get("carriers") or ()
    ]  # fmt: skip
    leaves = [
        AlertCarrier(
            "", " and ".join(leaf["conditions"]), leaf["rows"], sizes.of_shares(leaf["elsewhere"], leaf["share"]),
            f"Rows with {' and '.join(leaf['conditions'])}: {_percent(leaf['share'])} {figures.get('words', 'lost')} "
            f"(n = {count(leaf['rows'])}), {_percent(leaf['elsewhere'])} elsewhere "
            f"({sizes.of_shares(leaf['elsewhere'], leaf['share'])} difference)",
        )
        for leaf in figures.get("leaves") or ()
    ]  # fmt: skip
    return [*carriers, *leaves]


def _percent(share: float) -> str:
    return f"{figure(100 * share)} %"


def _slices(db: Session, window: Window, before: UUID | None) -> tuple[list[AlertCarrier], set[str]]:
    """Slices whose KPI is worse than before by more than their intervals, the largest change first, each once.

    Returns:
        Those, and the columns of which every slice is worse, so that none stands out.
    """
    if before is None:
        return [], set()
    query = select(Measurement).where(
        Measurement.window_id.in_((window.id, before)), Measurement.monitor == "kpi", Measurement.segment != "",
        Measurement.value.is_not(None),
    )  # fmt: skip
    by_key: dict[tuple[str, str, str], dict[UUID, Measurement]] = {}
    for m in db.scalars(query):
        by_key.setdefault((m.metric, m.column, m.segment), {})[m.window_id] = m
    found: dict[str, tuple[float, AlertCarrier]] = {}
    parts: dict[str, set[str]] = {}
    for (metric, _, segment), sides in sorted(by_key.items()):
        now, was = sides.get(window.id), sides.get(before)
        if now is None or was is None:
            continue
        parts.setdefault(_column(now), set()).add(segment)
        if not _is_worse(was, now):
            continue
        weight = _weight(was, now)
        if segment not in found or weight > found[segment][0]:
            found[segment] = weight, _slice(metric, segment, was, now)
    ordered = [carrier for _, carrier in sorted(found.values(), key=lambda f: -f[0])]
    return ordered, {column for column, all_of in parts.items() if len(all_of) > 1 and all_of <= found.keys()}


def _column(m: Measurement) -> str:
    return str(m.details.get("by") or m.segment.partition("=")[0])


def _is_worse(was: Measurement, now: Measurement) -> bool:
    better = now.details.get("higher_is_better")
    ends = was.low, was.high, now.low, now.high
    if better is None or None in ends:
        return False
    low, high, now_low, now_high = (float(end) for end in ends if end is not None)
    return now_high < low if better else now_low > high


def _weight(was: Measurement, now: Measurement) -> float:
    assert was.value is not None
    assert now.value is not None
    change = abs(now.value - was.value)
    return change if now.unit.startswith("share") else change / abs(was.value) if was.value else change


def _slice(metric: str, segment: str, was: Measurement, now: Measurement) -> AlertCarrier:
    assert was.value is not None
    assert now.value is not None
    name, change = metric.replace("_", " "), now.value - was.value
    value = segment.partition("=")[2]
    way = "down" if change < 0 else "up"
    if now.unit.startswith("share"):
        size, far = sizes.of_points(change), points(change)
    else:
        size = sizes.of_relative(was.value, now.value)
        far = f"{figure(100 * abs(change / was.value))} %" if was.value else figure(abs(change))
    return AlertCarrier(
        _column(now), str(now.details.get("part") or value), now.n, size,
        f"{segment.replace('=', ' = ', 1)}: {name} {figure(now.value)}, before {figure(was.value)}: {way} {far}, "
        f"{size} (n = {count(now.n)})",
    )  # fmt: skip


def _agents(db: Session, window: Window) -> str:
    query = select(Measurement).where(
        Measurement.window_id == window.id, Measurement.monitor == "kpi", Measurement.segment == ""
    )
    for m in db.scalars(query):
        agents = m.details.get("agents") or {}
        if agents.get("degraded"):
            statement = str(agents["statement"])
            return f"{statement[:1].upper()}{statement[1:]}."
    return ""
