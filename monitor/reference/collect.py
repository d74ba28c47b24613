"""Collect the rows of a reference, divide them into blocks and fit the reference profile."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from core.errors import AppError, InvalidError
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor import store
from monitor.detect.support import supports_block_rule
from monitor.profile.block import equal_blocks
from monitor.profile.by_column import Rows, column_names, row_count
from monitor.profile.design_effect import with_design_effects
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ReferenceProfile
from monitor.reference.choose_rows import dataset_rows, first_rows, reference_rows, watched_columns
from monitor.reference.encode import encoding_of, with_vectors
from monitor.reference.enough_rows import MIN_ROWS, check_enough_rows
from monitor.reference.far_rows import MIN_PAUSE, describe_far_rows
from monitor.reference.lengths import block_candidates
from monitor.reference.stability import ledger_facts, moved_document
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import RowWindow
from monitor.spec.times import (
    BLOCKS_PER_WINDOW,
    DAY,
    GRACE_PERIOD,
    block_length,
    profile_parts,
    reference_time,
)
from monitor.tables import ReferenceRow


def subject_column(spec: ModelSpec) -> str | None:
    """The column that names the person a row is about; None where the spec has none."""
    return next(iter(spec.with_role("subject")), None)


def collect(site: Site, current: CurrentSpec, row: ReferenceRow) -> None:
    """Fit the reference once its rows have arrived. A reference that cannot be fitted stores the problem."""
    frame: Rows | None = None
    try:
        frame, far = _rows(site, current, row)
        if frame is None:
            return
        height = row_count(frame)
        check_enough_rows(site, current, height)
        if not height:
            return
        windows, fitted, rule = _fit_with_rule(site, current, row, frame)
        spec = current.spec if windows is None else current.spec.with_lengths(tuple(windows))
        moved = moved_document(spec, fitted, frame, _blocks(spec, frame))
    except AppError as error:
        with site.database.write() as db:
            stored = db.get_one(ReferenceRow, row.id, with_for_update=True)
            stored.problem = error.message
            _start_row_windows(db, current, stored, frame)
        return
    artifact = site.artifacts.put(fitted.to_bytes())
    site.events.settle(current.model.name)  # the ledger entry names a table version that has these rows
    with site.database.write() as db:
        stored = db.get_one(ReferenceRow, row.id, with_for_update=True)
        if stored.state == "ready":
            return
        stored.state, stored.artifact, stored.rows, stored.ready_at = "ready", artifact, height, site.clock.now()
        stored.to_seq, stored.from_ts, stored.to_ts = row.from_seq, None, None
        if isinstance(frame, pl.DataFrame):  # of events
            stored.to_seq = int(frame["seq"].max()) + 1  # type: ignore[arg-type]  # has rows
            stored.from_ts, stored.to_ts = frame["ts"].min(), frame["ts"].max()  # type: ignore[assignment]  # times
            _end_at_first_window(site, current, stored)
        stored.problem, stored.windows, stored.rule = None, windows, rule
        stored.far_rows, stored.moved = far, moved
        _start_row_windows(db, current, stored, frame)
        append_entry(
            db, kind="model.baseline", actor=SYSTEM_ACTOR, subject=f"model:{current.model.name}", at=site.clock.now(),
            body={
                "baseline": row.id, "digest": artifact, "rows": height, "reason": row.reason,
                "spec_revision": current.revision,
                "source": "events" if isinstance(frame, pl.DataFrame) else "dataset",
                "events_version": site.events.extent(current.model.name).events_version,
                **_chosen(stored), **_far_facts(far), **ledger_facts(moved),
            },
        )  # fmt: skip


def _rows(site: Site, current: CurrentSpec, row: ReferenceRow) -> tuple[Rows | None, list[dict[str, Any]]]:
    """The rows of a reference, or None while they arrive; and what is stored of the rows that it leaves out."""
    fixed = current.spec.fixed_baseline
    if current.spec.monitors.window_lengths == ():  # no lengths are chosen yet; too few rows are said all the same
        check_enough_rows(site, current, _declared_rows(site, current))
        return None, []
    if fixed is not None and fixed.dataset is not None:
        return dataset_rows(site, current, fixed.dataset), []
    if current.spec.first_rows is None:
        rows = reference_rows(site, current, row)
        far = _before_an_automatic_one(site, current, row, rows) if isinstance(rows, pl.DataFrame) else []
        return rows, far
    found = first_rows(site, current, row)
    return (None, []) if found is None else (found[0], describe_far_rows(found[1], found[0]))


def _before_an_automatic_one(
    site: Site, current: CurrentSpec, row: ReferenceRow, rows: pl.DataFrame
) -> list[dict[str, Any]]:
    """What is stored of the rows that arrived for an automatic reference and lie long before its begin."""
    if row.begins_at is None or rows.is_empty():
        return []
    older = site.events.scan(current.model.name, from_seq=row.from_seq, to_ts=row.begins_at - MIN_PAUSE)
    return describe_far_rows(older.collect(), rows)


def _declared_rows(site: Site, current: CurrentSpec) -> int:
    """Rows of a dataset, or of a range that is over; as many as are needed where that cannot be said yet."""
    fixed, name = current.spec.fixed_baseline, current.model.name
    if fixed is not None and fixed.dataset is not None:
        return row_count(dataset_rows(site, current, fixed.dataset))
    if fixed is None or fixed.range is None or site.clock.now() < fixed.range.to + GRACE_PERIOD:
        return MIN_ROWS
    rows = site.events.scan(name, from_ts=fixed.range.from_, to_ts=fixed.range.to)
    return int(rows.select(pl.len()).collect().item())


def _start_row_windows(db: Session, current: CurrentSpec, stored: ReferenceRow, frame: Rows | None) -> None:
    """Windows of rows begin anew with the event after the reference's last one; a dataset holds none of the events."""
    windows = current.spec.monitors.window_lengths
    if stored.windows_seq is None and isinstance(windows, RowWindow):
        closed = (
            stored.from_seq + store.next_window_number(db, stored.id, current.spec.monitors.scales[0]) * windows.rows
        )
        last: Any = frame["seq"].max() if isinstance(frame, pl.DataFrame) else None
        stored.windows_seq = closed if last is None else max(closed, int(last) + 1)


def _far_facts(far: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the ledger records of the rows that a reference leaves out: no ids, which may name people."""
    kept = ("side", "rows", "from", "to")
    return {"far_rows": [{k: part[k] for k in kept} for part in far]} if far else {}


@dataclass(frozen=True, eq=False)
class Successor:
    """The next reference of a model whose reference or window lengths are automatic.

    Attributes:
        at: windows are counted from here.
        rule: `early` or `blocks`; `declared` where the spec names another one.
        steady_at: since when the rate has held; None where it always has.
        left_out: spans of the windows that did not enter it.
        profile: fitted on `frame`; None where it must be.
        begins_at: of an automatic reference, where its rows begin; None for that of the reference before.
    """

    at: datetime
    lengths: tuple[str, ...]
    rule: str
    reason: str
    rows_per_day: float | None
    steady_at: datetime | None
    frame: pl.DataFrame
    left_out: list[list[str]]
    profile: ReferenceProfile | None = None
    begins_at: datetime | None = None


def succeed(site: Site, current: CurrentSpec, before: ReferenceRow, step: Successor) -> None:
    """Put the next reference in force, with its entry in the ledger. Windows continue from its begin."""
    spec, frame = current.spec.with_lengths(step.lengths), step.frame
    fitted = step.profile
    rule, reason = step.rule, step.reason
    if fitted is None:
        encoded = _with_encoded_texts(site, spec, frame)
        fitted = _fit(spec, encoded, _training_texts(site, current, before))
        if rule == "early" and supports_block_rule(spec, fitted, short=block_length(step.lengths) < DAY):
            rule, reason = "blocks", f"{reason}, which supports the block rule, so the early rule ends"
        elif rule == "early":
            fitted = _for_early_rule(spec, fitted, encoded)
    artifact, now = site.artifacts.put(fitted.to_bytes()), site.clock.now()
    moved = moved_document(spec, fitted, frame, _blocks(spec, frame))
    site.events.settle(current.model.name)
    automatic = current.spec.fixed_baseline is None
    with site.database.write() as db:
        row = ReferenceRow(
            model_id=before.model_id, spec_revision=current.revision, state="ready", reason=reason,
            from_seq=before.from_seq, to_seq=before.to_seq, origin_ts=step.at, from_ts=frame["ts"].min(),
            to_ts=frame["ts"].max(), rows=frame.height, artifact=artifact, arrivals=before.arrivals,
            windows=list(step.lengths) if current.spec.monitors.windows == "auto" else None,
            rows_per_day=step.rows_per_day, rule=rule, steady_at=step.steady_at, left_out=step.left_out,
            begins_at=(step.begins_at or before.begins_at) if automatic else None,
            ends_at=step.at if automatic else None, moved=moved, far_rows=before.far_rows,
            # Several references may follow each other in one evaluation of a history; the newest is in force.
            created_at=max(now, before.created_at + timedelta(microseconds=1)), ready_at=now,
        )  # fmt: skip
        db.add(row)
        _end_at_first_window(site, current, row)
        row.profiled_seq = row.settled_seq = row.to_seq if automatic else None
        db.flush()
        append_entry(
            db, kind="model.baseline", actor=SYSTEM_ACTOR, subject=f"model:{current.model.name}", at=now,
            body={
                "baseline": row.id, "digest": artifact, "rows": frame.height, "reason": row.reason,
                "spec_revision": current.revision, "source": "events",
                "events_version": site.events.extent(current.model.name).events_version, **_chosen(row),
                **ledger_facts(moved),
            },
        )  # fmt: skip


def _chosen(row: ReferenceRow) -> dict[str, Any]:
    """What a ledger entry says about an automatic reference."""
    if row.rule is None:
        return {}
    return {"windows": row.windows, "rule": row.rule, "left_out": len(row.left_out or ())}


def _end_at_first_window(site: Site, current: CurrentSpec, row: ReferenceRow) -> None:
    """Let the windows after an automatic reference begin with the first row that arrived after its end."""
    if row.ends_at is None:
        return
    after = site.events.scan(current.model.name, from_seq=row.from_seq, from_ts=row.ends_at)
    first = after.select(pl.col("seq").min()).collect().item()
    row.to_seq = site.events.extent(current.model.name).next_seq if first is None else first


def fit_for_blocks(
    site: Site, current: CurrentSpec, row: ReferenceRow, frame: Rows, candidates: Sequence[tuple[str, ...]]
) -> tuple[tuple[str, ...], ReferenceProfile] | None:
    """The first window lengths that the block rule can judge by these rows, with the fitted reference."""
    for windows in candidates:
        spec = current.spec.with_lengths(windows)
        fitted = _fit(spec, _with_encoded_texts(site, spec, frame), _training_texts(site, current, row))
        if supports_block_rule(spec, fitted, short=block_length(windows) < DAY):
            return windows, fitted
    return None


def _fit_with_rule(
    site: Site, current: CurrentSpec, row: ReferenceRow, frame: Rows
) -> tuple[list[str] | None, ReferenceProfile, str | None]:
    """Fit a reference; where it or its windows are automatic, also choose the rule and the lengths that it supports."""
    spec, windows = current.spec, current.spec.monitors.window_lengths
    chosen = list(spec.monitors.scales) if spec.monitors.windows == "auto" else None
    automatic = (chosen is not None or spec.fixed_baseline is None) and spec.monitors.drift.rule == "blocks"
    if automatic and chosen is not None and "ts" in column_names(frame):
        times = frame.lazy().select(pl.col("ts").max() - pl.col("ts").min()).collect().item()
        found = fit_for_blocks(site, current, row, frame, block_candidates(chosen[0], times + DAY))
        if found is not None:
            return list(found[0]), found[1], "blocks"
    encoded = _with_encoded_texts(site, spec, frame)
    fitted = _fit(spec, encoded, _training_texts(site, current, row))
    if not automatic:
        return chosen, fitted, None if chosen is None else "declared"
    short = isinstance(windows, RowWindow) or block_length(windows) < DAY
    if supports_block_rule(spec, fitted, short=short):
        return chosen, fitted, "blocks"
    return chosen, _for_early_rule(spec, fitted, encoded), "early"


def _for_early_rule(spec: ModelSpec, fitted: ReferenceProfile, frame: Rows) -> ReferenceProfile:
    return with_design_effects(fitted, frame.lazy().collect(), _blocks(spec, frame), subject_column(spec))


def refit(
    site: Site, current: CurrentSpec, row: ReferenceRow, erased: Sequence[tuple[int, datetime]]
) -> tuple[ReferenceProfile, dict[str, Any] | None]:
    """Fit a ready reference again on its rows, without those that have been erased since.

    Args:
        current: the spec under which the reference was fitted.
        erased: sequence number and time of each erased row.

    Returns:
        The reference, and what moved within it.

    Raises:
        AppError: the remaining rows cannot be fitted.
    """
    frame = _rows_left(site, current, row, erased)
    fitted = _fit(current.spec, _with_encoded_texts(site, current.spec, frame), _training_texts(site, current, row))
    return fitted, moved_document(current.spec, fitted, frame, _blocks(current.spec, frame))


def _rows_left(
    site: Site, current: CurrentSpec, row: ReferenceRow, erased: Sequence[tuple[int, datetime]]
) -> pl.DataFrame:
    first, windows = current.spec.first_rows, current.spec.monitors.window_lengths
    if first is None:
        frame = reference_rows(site, current, row)
        assert frame is not None  # a range that is over, or a dataset
        return frame
    frame = site.events.events(current.model.name, from_seq=row.from_seq, to_seq=row.to_seq)
    gone = [(seq, ts) for seq, ts in erased if row.from_seq <= seq < (row.to_seq or 0)]
    if row.far_rows and row.from_ts is not None and row.to_ts is not None:
        frame = frame.filter((pl.col("ts") >= row.from_ts) & (pl.col("ts") <= row.to_ts))
        gone = [(seq, ts) for seq, ts in gone if row.from_ts <= ts <= row.to_ts]
    if isinstance(windows, RowWindow) or frame.is_empty():
        return frame
    before = np.searchsorted(sorted(seq for seq, _ in gone), frame["seq"].to_numpy())
    place = pl.Series(np.arange(frame.height) + before)
    earliest = min([ts for _, ts in gone], default=None)
    starts = frame["ts"].min()
    assert isinstance(starts, datetime)
    starts = starts if earliest is None else min(starts, earliest)
    return frame.filter((place < first) | (frame["ts"] < starts + reference_time(windows)))


def _fit(spec: ModelSpec, frame: Rows, texts: dict[str, list[str | None]]) -> ReferenceProfile:
    windows = spec.monitors.window_lengths
    parts = 1 if isinstance(windows, RowWindow) else profile_parts(windows)
    return fit_reference(
        frame,
        watched_columns(spec),
        blocks=_blocks(spec, frame),
        parts=parts,
        seed=0,
        encoder_texts=texts,
        person=subject_column(spec),
    )


def _with_encoded_texts(site: Site, spec: ModelSpec, frame: Rows) -> Rows:
    """The rows, with vectors for the texts that have an encoder in the spec."""
    return with_vectors(encoding_of(site, spec), frame.lazy().collect(), site.cache) if spec.encoders else frame


def _blocks(spec: ModelSpec, frame: Rows) -> NDArray[np.int64]:
    windows = spec.monitors.window_lengths
    if isinstance(windows, RowWindow):
        return equal_blocks(row_count(frame), windows.rows // BLOCKS_PER_WINDOW)
    if "ts" not in column_names(frame):
        raise InvalidError("a dataset used as baseline of time windows needs times; add a column ts", field="ts")
    return time_blocks(frame.lazy().select("ts").collect()["ts"], windows)


def time_blocks(times: pl.Series, windows: Sequence[str]) -> NDArray[np.int64]:
    """Label of the block of each time, counted from the epoch.

    Args:
        times: shape (rows,).
        windows: window lengths of the spec.
    """
    length = int(block_length(windows).total_seconds()) // profile_parts(windows)
    found: NDArray[np.int64] = (times.dt.epoch("s") // length).cast(pl.Int64).to_numpy()
    return found


def _training_texts(site: Site, current: CurrentSpec, row: ReferenceRow) -> dict[str, list[str | None]]:
    """Texts on which the model in force was trained; text encoders are fitted on them instead of on the reference.

    Rows used to fit an encoder cannot be profiled, so a registered training set leaves all reference rows to profile.
    """
    texts = [name for name, kind in watched_columns(current.spec).items() if kind == "text"]
    if not texts:
        return {}
    with site.database.read() as db:
        sets = store.training_sets(db, current.model.id, made_before=row.created_at)
    found: dict[str, list[str | None]] = {}
    for dataset in sets:
        frame = pl.read_parquet(site.artifacts.path(dataset.digest))
        for name in texts:
            column = name if name in frame.columns else "text" if len(texts) == 1 else None
            if column is not None and column in frame.columns:
                found.setdefault(name, []).extend(frame[column].cast(pl.String).to_list())
    return found
