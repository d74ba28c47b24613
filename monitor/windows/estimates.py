"""Estimated KPIs of a model: fit the estimator when labels arrive, add estimates to readings, check their bands."""

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
from monitor.estimate.base import MIN_LABELS
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.tables import Measurement, ReferenceRow, Window
from monitor.windows.readings import Reading
from monitor.windows.stored_levels import with_levels

# A band is compared with the realised value once this share of a window's rows, and this many rows, have outcomes.
MIN_CHECKED_SHARE: Final = 0.5
MIN_CHECKED_ROWS: Final = 50
# Misses are counted over these numbers of newest windows; each count is tested at VALIDITY_LEVEL against the nominal
# miss rate of a 95 % band.
VALIDITY_SPANS: Final = (3, 10, 30)
VALIDITY_LEVEL: Final = 0.001
NOMINAL_MISS_RATE: Final = 0.05
INVALID_STATEMENT: Final = "estimate invalid: the relation between inputs and outcomes changed"
ESTIMATORS: Final = CacheKind[str, Estimator]("estimators by digest", most=8)


def with_estimator(site: Site, current: CurrentSpec, row: ReferenceRow) -> ReferenceRow:
    """The reference, with an estimator once 300 of its rows have outcomes; fitted again each time twice as many do."""
    spec = current.spec
    if not (spec.monitors.estimate and spec.monitors.kpi and spec.target is not None and row.state == "ready"):
        return row
    wanted = max(MIN_LABELS, 2 * row.estimator_labels)
    if row.rows is None or row.rows < wanted or _labelled_reference_rows(site, current, row) < wanted:
        return row
    labelled = _reference(site, current, row)
    problem, digest = None, None
    try:
        digest = site.artifacts.put(estimate.fit(spec, labelled).to_bytes())
    except InsufficientDataError as error:
        problem = error.message
    with site.database.write() as db:
        stored = db.get_one(ReferenceRow, row.id, with_for_update=True)
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


def _labelled_reference_rows(site: Site, current: CurrentSpec, row: ReferenceRow) -> int:
    """Number of reference rows with an outcome; 0 for a registered dataset, which holds no scores of this model."""
    name = current.model.name
    if row.to_seq is None or row.to_seq <= row.from_seq or site.events.extent(name).outcomes < MIN_LABELS:
        return 0
    found = site.events.labelled(name, from_seq=row.from_seq, to_seq=row.to_seq, columns=["event_id"])
    outcome = current.spec.target
    return len(found[outcome].drop_nulls()) if outcome in found.columns else 0


def _reference(site: Site, current: CurrentSpec, row: ReferenceRow) -> pl.DataFrame:
    frame = with_levels(
        current.spec, site.events.labelled(current.model.name, from_seq=row.from_seq, to_seq=row.to_seq)
    )
    return frame.drop_nulls(current.spec.target)


def with_estimates(
    site: Site, current: CurrentSpec, row: ReferenceRow, from_seq: int, readings: Sequence[Reading],
    labelled: pl.DataFrame, window: pl.DataFrame,
) -> list[Reading]:  # fmt: skip
    """The readings, where each KPI that needs outcomes has an estimate or the reason why there is none.

    Args:
        from_seq: first sequence number of the window.
        labelled: rows of the window whose outcome has arrived.
        window: all rows of the window.
    """
    outcome = current.spec.target
    if not current.spec.monitors.estimate or outcome is None:
        return list(readings)
    waiting = [r.metric for r in readings if r.monitor == "kpi" and _needs_outcomes(r)]
    if not waiting:
        return list(readings)
    model, reason = _estimator(site, row, from_seq)
    if model is None:
        return [
            _with_note(r, {"reason": reason}) if r.metric in waiting and r.monitor == "kpi" else r for r in readings
        ]
    known = labelled.drop_nulls(outcome) if outcome in labelled.columns else labelled.clear()
    enough = known.height >= max(MIN_CHECKED_ROWS, MIN_CHECKED_SHARE * window.height)
    ahead = model.estimate(window, waiting)
    checked = ahead if known.height == window.height else model.estimate(known, waiting) if enough else {}
    found = []
    for reading in readings:
        if reading.monitor == "kpi" and reading.metric in waiting:
            one, there = ahead[reading.metric], checked.get(reading.metric)
            note = {
                "method": model.method, "reason": one.reason, "labels": model.labels, "rows": one.n,
                "sampling": one.sampling,
                "calibration": one.calibration, "checked_rows": known.height if there is not None else 0,
            }  # fmt: skip
            noted = _with_note(reading, note)
            found.append(
                replace(
                    noted, estimated=one.value, estimated_low=one.low, estimated_high=one.high,
                    estimate_inside=_inside(there, reading.value),
                )
            )  # fmt: skip
        else:
            found.append(reading)
    return found


def _needs_outcomes(reading: Reading) -> bool:
    return bool(reading.details.get("waits")) and not reading.segment and not reading.column


def _with_note(reading: Reading, note: dict[str, Any]) -> Reading:
    return replace(reading, details=reading.details | {"estimate": note})


def _inside(estimated: Estimate | None, value: float | None) -> bool | None:
    if estimated is None or value is None or estimated.low is None or estimated.high is None:
        return None
    return estimated.low <= value <= estimated.high


def _estimator(site: Site, row: ReferenceRow, from_seq: int) -> tuple[Estimator | None, str]:
    if row.to_seq is None:
        return None, "the reference is still being collected"
    if from_seq < row.to_seq:
        return None, "these rows belong to the reference from which the estimate is learned"
    if row.estimator is None:
        few = f"fewer than {MIN_LABELS} rows of the reference have an outcome"
        return None, row.estimator_reason or few
    digest = row.estimator
    return site.cache.get(ESTIMATORS, digest, lambda: estimate.load(site.artifacts.get(digest))), ""


def track(db: Session, window: Window, readings: Sequence[Reading]) -> list[Reading]:
    """The readings, where each estimate says how often its band has held so far and whether it is still valid."""
    return [
        r
        if r.estimated is None or r.monitor != "kpi"
        else _with_note(r, r.details["estimate"] | _band_record(db, window, r))
        for r in readings
    ]


def _band_record(db: Session, window: Window, reading: Reading) -> dict[str, Any]:
    history = _history(db, window, reading.metric)
    if reading.estimate_inside is not None:
        history.append(reading.estimate_inside)
    spoiled = is_invalid(history)
    held = sum(history)
    counted = f"the band held in {held} of {len(history)} windows" if history else "no window has enough outcomes yet"
    return {
        "coverage": held / len(history) if history else None, "coverage_windows": len(history), "valid": not spoiled,
        "statement": f"{INVALID_STATEMENT} ({counted})" if spoiled else counted,
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


def is_invalid(held: Sequence[bool]) -> bool:
    """Whether a 95 % band has missed too often among the newest 3, 10 or 30 windows.

    A one-sided binomial test of each of these numbers of windows: the misses have a probability of at most 0.001 if
    the band holds 19 times in 20.

    Args:
        held: whether the band held the realised value in each window, oldest first.

    Returns:
        True where at least one test rejects; False without a window.

    Source: the one-sided exact binomial test.
    """
    from scipy.special import betainc

    for span in VALIDITY_SPANS:
        newest = held[-span:]
        misses = len(newest) - sum(newest)
        if misses and betainc(misses, len(newest) - misses + 1, NOMINAL_MISS_RATE) <= VALIDITY_LEVEL:
            return True
    return False
