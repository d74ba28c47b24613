"""What each column counts in a window, beside the reference: measured in the explanations' lane, once it was judged."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import numpy as np
import polars as pl
from sqlalchemy.orm import Session

from core.canonical import digest
from core.errors import AppError, BusyError, InvalidError
from monitor import store
from monitor.alerts import follow
from monitor.reasons.over_time import NDCG_LIMIT, AttributionDrift, attribution_drift, mean_absolute
from monitor.reference.profile_job import labels_of
from monitor.service import CurrentSpec, current_spec
from monitor.site import Site
from monitor.spec import false_alarm_budget
from monitor.spec.attribution import AttributionMonitor
from monitor.tables import MAX_SLICE_CHARS, Measurement, ReferenceRow, Window
from monitor.windows.alarms import alarms_of
from monitor.windows.correction_history import LATE_OUTCOMES
from monitor.windows.late_rows import rows_of
from monitor.windows.readings import Reading
from retrain.reasons.ask import Asking
from retrain.reasons.block import Block
from retrain.reasons.population import drawn, keep_block, population_frame, stored_block

MONITOR: Final = "attribution"
IMPORTANCE: Final = "mean_abs_attribution"
RANKING: Final = "attribution_ndcg"
DRIFT: Final = "attribution_drift"
UNKNOWN_UNIT: Final = "the output's own"


def watch(site: Site, model_name: str, window_id: UUID) -> None:
    """Measure the attributions of a window; without effect where the spec does not ask for it."""
    with site.database.read() as db:
        current = current_spec(site, db, model_name)
        window = db.get(Window, window_id)
        reference = None if window is None else db.get(ReferenceRow, window.baseline_id)
    watched = current.spec.monitors.attribution
    if watched is None or window is None or reference is None:
        return
    try:
        readings = _measured(site, current, watched, window, reference)
    except BusyError:
        raise  # the job is tried again
    except AppError as error:
        readings = [
            Reading(MONITOR, name, None, error.message, unit, window.rows)
            for name, unit in ((RANKING, "0..1"), (DRIFT, "probability"))
        ]
    with site.database.write() as db:
        _record(site, db, current, window, readings)


def _measured(
    site: Site, current: CurrentSpec, watched: AttributionMonitor, window: Window, reference: ReferenceRow
) -> list[Reading]:
    only = None if current.spec.explain is None else current.spec.explain.version
    asking = Asking.of(site, current, only or (str(window.versions[-1]) if window.versions else None))
    rows = rows_of(site, current.model.name, window)
    rows = rows if only is None else rows.filter(pl.col("version") == only)
    if rows.is_empty():
        raise InvalidError(f"no row of the window was answered by version {only}, which `explain` describes")
    known, known_labels = _reference(site, asking, watched, reference)
    frame = drawn(rows, watched.rows, seed=window.number)
    block = asking.attributed(frame, recorded=False)
    sound = block.sound()
    kept = frame.filter(block.frame["reason"].is_null())
    windows = current.spec.monitors.window_lengths
    found = attribution_drift(
        known.importances(), sound.importances() if kept.height else np.zeros((0, len(known.columns))), known.columns,
        alpha=false_alarm_budget.alpha(current.spec, "attribution", window.scale), floor=watched.floor,
        reference_blocks=known_labels, window_blocks=labels_of(kept, windows, reference.from_seq).tolist(),
        seed=window.number,
    )  # fmt: skip
    unit = str(block.facts["unit"])
    pairs = asking.probed(kept, {"interactions": True}, None)["interactions"] if kept.height else {}
    left_out = frame.height - kept.height
    readings = _readings(found, unit, {"interactions": pairs, "left_out": left_out, "model": asking.told})
    for name in watched.by:
        readings += _segment(sound, kept, name, unit)
    return readings


def _reference(
    site: Site, asking: Asking, watched: AttributionMonitor, reference: ReferenceRow
) -> tuple[Block, list[int]]:
    """Attributions of drawn rows of the reference, and the block of each row."""
    frame, name, identity = population_frame(site, asking.current, None, reference)
    key = digest({"what": "drift", "model": asking.identity, "rows": identity, "most": watched.reference_rows})
    chosen = drawn(frame, watched.reference_rows)
    block = stored_block(site, asking, key)
    if block is None:
        block = asking.attributed(chosen, recorded=False).sound()
        keep_block(site, asking, key, name, block)
    if "seq" not in chosen.columns:  # a data set: its rows have no order in time
        return block, list(range(block.frame.height))
    there = chosen.filter(pl.col("seq").is_in(block.frame["seq"].to_list()))
    return block, labels_of(there, asking.current.spec.monitors.window_lengths, reference.from_seq).tolist()


def _readings(found: AttributionDrift, unit: str, details: dict[str, Any]) -> list[Reading]:
    shifts = [
        Reading(
            MONITOR, IMPORTANCE, one.window, None, unit, found.rows, column=one.feature[:128],
            n_reference=found.reference_rows,
            details={"reference": one.reference, "adjusted_p": one.adjusted_p},
        )
        for one in found.features
    ]  # fmt: skip
    no_order = "no column counts for anything in the reference"
    ranking = Reading(
        MONITOR, RANKING, found.ndcg, None if found.ndcg is not None else no_order, "0..1", found.rows,
        limit=NDCG_LIMIT, n_reference=found.reference_rows,
        details={"below": found.ndcg is not None and found.ndcg < NDCG_LIMIT, "informs": True},
    )  # fmt: skip
    sentence = _sentence(found) if found.alarm else ""
    drift = Reading(
        MONITOR, DRIFT, found.p, found.reason, "probability", found.rows, limit=found.alpha, alarm=found.alarm,
        n_reference=found.reference_rows, sentence=sentence,
        details=details | {
            "change": found.change, "floor": found.floor, "permutations": found.permutations, "seed": found.seed,
            "columns": [one.feature for one in found.features[:3]], **({"sentence": sentence} if sentence else {}),
        },
    )  # fmt: skip
    return [*shifts, ranking, drift]


def _sentence(found: AttributionDrift) -> str:
    first = next(one for one in found.features if one.adjusted_p is not None and one.adjusted_p <= found.alpha)
    more = "more" if first.window > first.reference else "less"
    return (
        f"Attributions: `{first.feature}` counts {more} in the model's answers than in the reference (mean |SHAP| "
        f"{first.window:.3g}, was {first.reference:.3g}; p {found.p:.2g} of {found.alpha:.2g}, {found.rows:,} rows "
        "explained)."
    )


def _segment(block: Block, frame: pl.DataFrame, name: str, unit: str) -> list[Reading]:
    """What each column counts among the rows of each value of a segment."""
    from monitor.levels import as_levels, slice_name

    levels = as_levels(frame[name])
    found: list[Reading] = []
    for level in levels.drop_nulls().unique().sort():
        here = (levels == level).fill_null(value=False).to_numpy()
        means = mean_absolute(block.importances()[here])
        found += [
            Reading(MONITOR, IMPORTANCE, float(mean), None, unit, int(here.sum()), column=column[:128],
                    segment=slice_name(name, str(level), MAX_SLICE_CHARS))
            for column, mean in zip(block.columns, means, strict=True)
        ]  # fmt: skip
    return found


def _record(site: Site, db: Session, current: CurrentSpec, window: Window, readings: Sequence[Reading]) -> None:
    """Store the readings in place of earlier ones of the same window, and bring alerts in line with them."""
    window = db.get_one(Window, window.id, with_for_update=True)
    now: datetime = site.clock.now()
    known = {(m.metric, m.column, m.segment): m for m in store.window_measurements(db, window.id, monitor=MONITOR)}
    fresh = {(r.metric, r.column, r.segment) for r in readings}
    for place, stored in known.items():
        if place not in fresh:
            db.delete(stored)
    for r in readings:
        held = known.get((r.metric, r.column, r.segment))
        stored = held or Measurement(
            model_id=current.model.id, window_id=window.id, monitor=r.monitor, metric=r.metric, column=r.column,
            segment=r.segment, from_ts=window.from_ts, to_ts=window.to_ts,
        )  # fmt: skip
        db.add(stored)
        stored.value, stored.reason, stored.unit, stored.limit = r.value, r.reason, r.unit, r.limit
        stored.alarm, stored.n, stored.n_reference = r.alarm, r.n, r.n_reference
        stored.details, stored.computed_at = r.details, now
    db.flush()
    alarmed = [r for r in readings if r.alarm]
    for r in alarmed:
        if r.sentence not in window.sentence:
            window.sentence = f"{r.sentence} {window.sentence}"
        window.verdict = "alarm"
    follow.follow(
        site, db, current.model, window, alarms_of(readings, window.sentence), {(MONITOR, DRIFT)}, LATE_OUTCOMES
    )
