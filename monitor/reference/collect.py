"""The reference: which rows it is made of, and how it is cut in blocks and fitted."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.errors import AppError, InvalidError
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor import store
from monitor.profile.block import equal_blocks
from monitor.profile.by_column import Rows, column_names, row_count
from monitor.profile.reference_profile import ColumnKind, ReferenceProfile, fit_reference
from monitor.reference.encode import encoding_of, with_vectors
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import RowWindow
from monitor.spec.times import BLOCKS_PER_WINDOW, GRACE_PERIOD, block_length, profile_parts, reference_time
from monitor.tables import BaselineRow


def watched(spec: ModelSpec) -> dict[str, ColumnKind]:
    """Columns whose distribution is watched: free identifiers, subjects and outcomes are not."""
    chosen = spec.monitors.drift.columns
    kinds: dict[str, ColumnKind] = {}
    for name, column in spec.columns.items():
        if column.role in ("subject", "outcome") or column.type == "string":
            continue
        if chosen != "all" and name not in chosen:
            continue
        if name in spec.encoders:
            kinds[name] = "encoded"
        else:
            kinds[name] = "category" if column.type == "boolean" else column.type
    return kinds


def person(spec: ModelSpec) -> str | None:
    """The column that says whose row it is."""
    return next(iter(spec.with_role("subject")), None)


def begin(site: Site, current: CurrentSpec, row: BaselineRow) -> None:
    """Fix the time from which windows of time are counted: the first event's.

    To be called until a window has closed: events that come in another order than they happened still move it back
    then, later ones do not.
    """
    name = current.model.name
    extent = site.events.extent(name)
    if extent.next_seq <= row.from_seq or (row.origin_ts and extent.first_ts and row.origin_ts <= extent.first_ts):
        return
    earlier = site.events.scan(name, from_seq=row.from_seq, to_ts=row.origin_ts)  # all of them the first time
    first = earlier.select(pl.col("ts").min()).collect().item()
    if first is not None and first != row.origin_ts:
        with site.database.write() as db:
            db.get_one(BaselineRow, row.id, with_for_update=True).origin_ts = first


def collect(site: Site, current: CurrentSpec, row: BaselineRow) -> None:
    """Fit the baseline once its rows are there; without effect before. One that cannot be fitted says why."""
    try:
        named = current.spec.baseline.dataset
        frame = rows(site, current, row) if named is None else _dataset(site, current, named)
        height = 0 if frame is None else row_count(frame)
        if frame is None or not height:
            return
        fitted = _fitted(current.spec, _encoded(site, current.spec, frame), _training_texts(site, current, row))
    except AppError as error:
        with site.database.write() as db:
            db.get_one(BaselineRow, row.id, with_for_update=True).problem = error.message
        return
    artifact = site.artifacts.put(fitted.to_bytes())
    site.events.settle(current.model.name)  # the ledger will name a version of the table that has these rows
    with site.database.write() as db:
        stored = db.get_one(BaselineRow, row.id, with_for_update=True)
        if stored.state == "ready":
            return
        stored.state, stored.artifact, stored.rows, stored.ready_at = "ready", artifact, height, site.clock.now()
        stored.to_seq, stored.from_ts, stored.to_ts = row.from_seq, None, None
        if isinstance(frame, pl.DataFrame):  # of events
            stored.to_seq = int(frame["seq"].max()) + 1  # type: ignore[arg-type]  # has rows
            stored.from_ts, stored.to_ts = frame["ts"].min(), frame["ts"].max()  # type: ignore[assignment]  # times
        stored.problem = None
        append_entry(
            db, kind="model.baseline", actor=SYSTEM_ACTOR, subject=f"model:{current.model.name}", at=site.clock.now(),
            body={
                "baseline": row.id, "digest": artifact, "rows": height, "reason": row.reason,
                "spec_revision": current.revision, "source": "events" if named is None else "dataset",
                "events_version": site.events.extent(current.model.name).events_version,
            },
        )  # fmt: skip


def rows(site: Site, current: CurrentSpec, row: BaselineRow) -> pl.DataFrame | None:
    """Rows of the reference in order, or None while they are still arriving."""
    spec, name = current.spec, current.model.name
    if spec.baseline.dataset is not None:
        return _dataset(site, current, spec.baseline.dataset).collect()
    if spec.baseline.range is not None:
        begin, end = spec.baseline.range.from_, spec.baseline.range.to
        if site.clock.now() < end + GRACE_PERIOD:
            return None
        return site.events.scan(name, from_ts=begin, to_ts=end).sort("seq").collect()
    first = spec.baseline.first_rows
    if first is None or site.events.extent(name).next_seq < row.from_seq + first:
        return None
    windows = spec.monitors.windows
    if isinstance(windows, RowWindow):
        return site.events.events(name, from_seq=row.from_seq, to_seq=row.from_seq + first)
    frame = site.events.events(name, from_seq=row.from_seq)
    earliest = frame["ts"].min()
    assert isinstance(earliest, datetime)  # there are at least `first` rows
    end = earliest + reference_time(windows)
    if frame.select((pl.col("ts") < end).all()).item():
        return None  # more rows of the first blocks may still come
    return frame.filter((pl.int_range(pl.len()) < first) | (pl.col("ts") < end))


def refit(
    site: Site, current: CurrentSpec, row: BaselineRow, erased: Sequence[tuple[int, datetime]]
) -> ReferenceProfile:
    """Fit a ready baseline again on the rows it had, without those that were erased since.

    Args:
        current: the spec it was made under.
        erased: number and time of each row that went.

    Raises:
        AppError: what is left cannot be fitted.
    """
    frame = _rows_left(site, current, row, erased)
    return _fitted(current.spec, _encoded(site, current.spec, frame), _training_texts(site, current, row))


def _rows_left(
    site: Site, current: CurrentSpec, row: BaselineRow, erased: Sequence[tuple[int, datetime]]
) -> pl.DataFrame:
    first, windows = current.spec.baseline.first_rows, current.spec.monitors.windows
    if first is None:
        frame = rows(site, current, row)
        assert frame is not None  # a range that is over, or a dataset
        return frame
    frame = site.events.events(current.model.name, from_seq=row.from_seq, to_seq=row.to_seq)
    if isinstance(windows, RowWindow) or frame.is_empty():
        return frame
    gone = [(seq, ts) for seq, ts in erased if row.from_seq <= seq < (row.to_seq or 0)]
    before = np.searchsorted(sorted(seq for seq, _ in gone), frame["seq"].to_numpy())
    place = pl.Series(np.arange(frame.height) + before)
    earliest = min([ts for _, ts in gone], default=None)
    starts = frame["ts"].min()
    assert isinstance(starts, datetime)
    starts = starts if earliest is None else min(starts, earliest)
    return frame.filter((place < first) | (frame["ts"] < starts + reference_time(windows)))


def _dataset(site: Site, current: CurrentSpec, name: str) -> pl.LazyFrame:
    """A registered dataset, whose file never changes: its columns may be read one after the other."""
    with site.database.read() as db:
        found = store.dataset(db, current.model.id, name)
    if found is None:
        raise InvalidError(
            f"dataset {name!r} is not registered; register it, then the baseline is fitted", dataset=name
        )
    frame = pl.scan_parquet(site.artifacts.path(found.digest))
    if absent := [c for c in watched(current.spec) if c not in column_names(frame)]:
        raise InvalidError(f"dataset {name!r} lacks the watched columns {', '.join(absent)}", dataset=name)
    return frame.drop("seq", strict=False)


def _fitted(spec: ModelSpec, frame: Rows, texts: dict[str, list[str | None]]) -> ReferenceProfile:
    windows = spec.monitors.windows
    parts = 1 if isinstance(windows, RowWindow) else profile_parts(windows)
    return fit_reference(
        frame, watched(spec), blocks=_blocks(spec, frame), parts=parts, seed=0, encoder_texts=texts, person=person(spec)
    )


def _encoded(site: Site, spec: ModelSpec, frame: Rows) -> Rows:
    """The rows with the vectors of their texts, where the spec names an encoder."""
    return with_vectors(encoding_of(site, spec), frame.lazy().collect(), site.cache) if spec.encoders else frame


def _blocks(spec: ModelSpec, frame: Rows) -> NDArray[np.int64]:
    windows = spec.monitors.windows
    if isinstance(windows, RowWindow):
        return equal_blocks(row_count(frame), windows.rows // BLOCKS_PER_WINDOW)
    if "ts" not in column_names(frame):
        raise InvalidError("a dataset as baseline of time windows needs its times: add a column ts", field="ts")
    return time_blocks(frame.lazy().select("ts").collect()["ts"], windows)


def time_blocks(times: pl.Series, windows: Sequence[str]) -> NDArray[np.int64]:
    """Number of the profile block of each time, counted from the epoch."""
    length = int(block_length(windows).total_seconds()) // profile_parts(windows)
    found: NDArray[np.int64] = (times.dt.epoch("s") // length).cast(pl.Int64).to_numpy()
    return found


def _training_texts(site: Site, current: CurrentSpec, row: BaselineRow) -> dict[str, list[str | None]]:
    """Texts that the model in force was trained on, for fitting text encoders outside the reference itself.

    Rows spent on fitting an encoder cannot be profiled, so a training set that is registered makes the reference whole.
    """
    texts = [name for name, kind in watched(current.spec).items() if kind == "text"]
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
