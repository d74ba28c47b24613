"""Estimates of one model: fitted when labels came, put beside what was realised, their band checked ever after."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.cache import CacheKind
from core.errors import InsufficientDataError
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor import estimate
from monitor.estimate import Estimate, Estimator
from monitor.estimate.base import MINIMUM_LABELS
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.tables import BaselineRow, Measurement, Window
from monitor.windows.readings import Reading

# A band is compared with what was realised once this share of a window's rows, and this many, have their outcome.
CHECKED_SHARE: Final = 0.5
CHECKED_ROWS: Final = 50
# Misses among so many newest windows; each count is tested at this level against a band that misses one in twenty.
SPANS: Final = (3, 10, 30)
LEVEL: Final = 0.001
MISSES: Final = 0.05
INVALID: Final = "estimate invalid: the relation between inputs and outcomes changed"
ESTIMATORS: Final = CacheKind[str, Estimator]("estimators by digest", most=8)


def fitted(site: Site, current: CurrentSpec, row: BaselineRow) -> BaselineRow:
    """The baseline, its estimator fitted when 300 of its rows have their outcome and again when twice as many have."""
    spec = current.spec
    if not (spec.monitors.estimate and spec.monitors.kpi and spec.with_role("outcome") and row.state == "ready"):
        return row
    wanted = max(MINIMUM_LABELS, 2 * row.estimator_labels)
    if row.rows is None or row.rows < wanted or _labels(site, current, row) < wanted:
        return row
    labelled = _reference(site, current, row)
    problem, digest = None, None
    try:
        digest = site.artifacts.put(estimate.fit(spec, labelled).to_bytes())
    except InsufficientDataError as error:
        problem = error.message
    with site.database.write() as db:
        stored = db.get_one(BaselineRow, row.id, with_for_update=True)
        stored.estimator_labels, stored.estimator_reason = labelled.height, problem
        if digest is not None:
            stored.estimator = digest
            append_entry(
                db, kind="model.estimator", actor=SYSTEM_ACTOR, subject=f"model:{current.model.name}",
                at=site.clock.now(), body={
                    "baseline": row.id, "digest": digest, "labels": labelled.height,
                    "spec_revision": current.revision,
                },
            )  # fmt: skip
        return stored


def _labels(site: Site, current: CurrentSpec, row: BaselineRow) -> int:
    """Rows of the reference that have an outcome; 0 for a registered dataset, which has no scores of this model."""
    name = current.model.name
    if row.to_seq is None or row.to_seq <= row.from_seq or site.events.extent(name).outcomes < MINIMUM_LABELS:
        return 0
    found = site.events.labelled(name, from_seq=row.from_seq, to_seq=row.to_seq, columns=["event_id"])
    outcome = current.spec.with_role("outcome")[0]
    return len(found[outcome].drop_nulls()) if outcome in found.columns else 0


def _reference(site: Site, current: CurrentSpec, row: BaselineRow) -> pl.DataFrame:
    frame = site.events.labelled(current.model.name, from_seq=row.from_seq, to_seq=row.to_seq)
    return frame.drop_nulls(current.spec.with_role("outcome")[0])


def with_estimates(
    site: Site, current: CurrentSpec, row: BaselineRow, from_seq: int, readings: Sequence[Reading],
    labelled: pl.DataFrame, window: pl.DataFrame,
) -> list[Reading]:  # fmt: skip
    """Readings of KPIs with their estimate, or the reason why there is none, and whether its band held."""
    if not current.spec.monitors.estimate or not current.spec.with_role("outcome"):
        return list(readings)
    waiting = [r.metric for r in readings if r.monitor == "kpi" and _waits(r)]
    if not waiting:
        return list(readings)
    model, reason = _estimator(site, row, from_seq)
    if model is None:
        return [_noted(r, {"reason": reason}) if r.metric in waiting and r.monitor == "kpi" else r for r in readings]
    outcome = current.spec.with_role("outcome")[0]
    known = labelled.drop_nulls(outcome) if outcome in labelled.columns else labelled.clear()
    enough = known.height >= max(CHECKED_ROWS, CHECKED_SHARE * window.height)
    ahead = model.estimate(window, waiting)
    checked = ahead if known.height == window.height else model.estimate(known, waiting) if enough else {}
    found = []
    for reading in readings:
        if reading.monitor == "kpi" and reading.metric in waiting:
            one, there = ahead[reading.metric], checked.get(reading.metric)
            note = {
                "method": model.method, "reason": one.reason, "labels": model.labels, "sampling": one.sampling,
                "calibration": one.calibration, "checked_rows": known.height if there is not None else 0,
            }  # fmt: skip
            noted = _noted(reading, note)
            found.append(
                replace(
                    noted, estimated=one.value, estimated_low=one.low, estimated_high=one.high,
                    estimate_inside=_inside(there, reading.value),
                )
            )  # fmt: skip
        else:
            found.append(reading)
    return found


def _waits(reading: Reading) -> bool:
    return bool(reading.details.get("waits")) and not reading.segment and not reading.column


def _noted(reading: Reading, note: dict[str, Any]) -> Reading:
    return replace(reading, details=reading.details | {"estimate": note})


def _inside(estimated: Estimate | None, value: float | None) -> bool | None:
    if estimated is None or value is None or estimated.low is None or estimated.high is None:
        return None
    return estimated.low <= value <= estimated.high


def _estimator(site: Site, row: BaselineRow, from_seq: int) -> tuple[Estimator | None, str]:
    if row.to_seq is None:
        return None, "the reference is still being collected"
    if from_seq < row.to_seq:
        return None, "these rows belong to the reference the estimate is learned from"
    if row.estimator is None:
        few = f"fewer than {MINIMUM_LABELS} rows of the reference have their outcome"
        return None, row.estimator_reason or few
    digest = row.estimator
    return site.cache.get(ESTIMATORS, digest, lambda: estimate.load(site.artifacts.get(digest))), ""


def track(db: Session, window: Window, readings: Sequence[Reading]) -> list[Reading]:
    """Readings that say how often the band of their estimate held so far, and whether the estimate is still valid."""
    return [
        r if r.estimated is None or r.monitor != "kpi" else _noted(r, r.details["estimate"] | _record(db, window, r))
        for r in readings
    ]


def _record(db: Session, window: Window, reading: Reading) -> dict[str, Any]:
    history = _history(db, window, reading.metric)
    if reading.estimate_inside is not None:
        history.append(reading.estimate_inside)
    spoiled = invalid(history)
    held = sum(history)
    said = f"the band held {held} of {len(history)} windows" if history else "no window with outcomes so far"
    return {
        "coverage": held / len(history) if history else None, "coverage_windows": len(history), "valid": not spoiled,
        "statement": f"{INVALID} ({said})" if spoiled else said,
    }  # fmt: skip


def _history(db: Session, window: Window, metric: str) -> list[bool]:
    """Whether the band held in earlier windows of the same reference and scale, oldest first."""
    query = (
        select(Measurement.estimate_inside)
        .join(Window, Window.id == Measurement.window_id)
        .where(
            Window.baseline_id == window.baseline_id, Window.scale == window.scale, Window.number < window.number,
            Measurement.monitor == "kpi", Measurement.metric == metric, Measurement.segment == "",
            Measurement.estimate_inside.is_not(None),
        )
        .order_by(Window.number)
    )  # fmt: skip
    return [bool(held) for held in db.scalars(query)]


def invalid(held: Sequence[bool]) -> bool:
    """Whether a band that holds 19 times in 20 would miss as often as this among the newest 3, 10 or 30 windows with
    probability 0.001 at most; one-sided binomial test, each span at that level."""
    from scipy.stats import binom

    for span in SPANS:
        newest = held[-span:]
        misses = len(newest) - sum(newest)
        if misses and binom.sf(misses - 1, len(newest), MISSES) <= LEVEL:
            return True
    return False
