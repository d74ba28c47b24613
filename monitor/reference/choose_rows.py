"""Choose the rows of the reference: the first rows, a range of time or a registered dataset."""

import functools
from datetime import datetime

import polars as pl

from core.errors import InvalidError
from monitor import store
from monitor.ingest.typed_columns import ACCEPTED, DTYPES, typed_column
from monitor.profile.by_column import column_names
from monitor.profile.reference_profile import ColumnKind
from monitor.reference.far_rows import split_far_rows
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.columns import ColumnType
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import RowWindow
from monitor.spec.times import GRACE_PERIOD, reference_time
from monitor.tables import ReferenceRow


def watched_columns(spec: ModelSpec) -> dict[str, ColumnKind]:
    """Kinds of the columns whose distribution is monitored: the chosen ones, except strings, subjects and outcomes.

    Lists of texts are outcomes.
    """
    chosen = spec.monitors.drift.columns
    kinds: dict[str, ColumnKind] = {}
    for name, column in spec.columns.items():
        if column.role in ("subject", "outcome") or (chosen != "all" and name not in chosen):
            continue
        match column.type:
            case "string" | "texts":
                continue
            case "boolean":
                kinds[name] = "category"
            case kind:
                kinds[name] = "encoded" if name in spec.encoders else kind
    return kinds


def reference_rows(site: Site, current: CurrentSpec, row: ReferenceRow) -> pl.DataFrame | None:
    """The rows of a reference in order; None while they are still arriving."""
    spec, name, baseline = current.spec, current.model.name, current.spec.fixed_baseline
    windows = spec.monitors.window_lengths
    if windows == ():
        return None  # the lengths that `auto` stands for are not chosen yet
    if baseline is not None and baseline.dataset is not None:
        return dataset_rows(site, current, baseline.dataset).collect()
    if baseline is not None and baseline.range is not None:
        start, end = baseline.range.from_, baseline.range.to
        if site.clock.now() < end + GRACE_PERIOD:
            return None
        return site.events.scan(name, from_ts=start, to_ts=end).sort("seq").collect()
    if spec.first_rows is None:
        return None if row.ends_at is None else automatic_rows(site, current, row)
    found = first_rows(site, current, row)
    return None if found is None else found[0]


def first_rows(site: Site, current: CurrentSpec, row: ReferenceRow) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    """The first rows of a reference in order, and rows among them that it leaves out; None while they still arrive.

    Rows whose time lies far from that of the rest are left out, and as many later ones take their place.
    """
    first, name = current.spec.first_rows, current.model.name
    arrived = site.events.extent(name).next_seq - row.from_seq  # some may be erased since
    if first is None or arrived < first:
        return None
    windows = current.spec.monitors.window_lengths
    if windows == ():
        return None
    if isinstance(windows, RowWindow):
        frame, far = _first_in_order(site, name, row.from_seq, first)
        return None if arrived < first + far.height else (frame, far)
    frame, far = split_far_rows(site.events.events(name, from_seq=row.from_seq), first)
    earliest = frame["ts"].min()
    if arrived < first + far.height or not isinstance(earliest, datetime):
        return None
    end = earliest + reference_time(windows)
    if frame.select((pl.col("ts") < end).all()).item():
        return None  # the first blocks may still get rows
    return frame.filter((pl.int_range(pl.len()) < first) | (pl.col("ts") < end)), far


def _first_in_order(site: Site, name: str, from_seq: int, first: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first rows in order of arrival that are not far from the rest in time, and those that are."""
    left_out = 0
    while True:
        rows = site.events.events(name, from_seq=from_seq, to_seq=from_seq + first + left_out)
        frame, far = split_far_rows(rows, first)
        if far.height <= left_out:
            return frame[:first], far
        left_out = far.height


def automatic_rows(site: Site, current: CurrentSpec, row: ReferenceRow) -> pl.DataFrame:
    """The rows of an automatic reference in order: those before its end, except from an unresolved drift alert on."""
    rows = site.events.scan(current.model.name, from_seq=row.from_seq, from_ts=row.begins_at, to_ts=row.ends_at)
    for start, end in row.left_out:
        begin, stop = datetime.fromisoformat(start), datetime.fromisoformat(end)
        rows = rows.filter((pl.col("ts") < begin) | (pl.col("ts") >= stop))
    return rows.sort("seq").collect()


def dataset_rows(site: Site, current: CurrentSpec, name: str) -> pl.LazyFrame:
    """A registered dataset, read lazily; its file never changes, so its columns may be read one after the other."""
    with site.database.read() as db:
        found = store.dataset(db, current.model.id, name)
    if found is None:
        raise InvalidError(
            f"dataset {name!r} is not registered; register it, and the reference is fitted on it", dataset=name
        )
    frame = pl.scan_parquet(site.artifacts.path(found.digest))
    if absent := [c for c in watched_columns(current.spec) if c not in column_names(frame)]:
        raise InvalidError(f"dataset {name!r} lacks the monitored columns {', '.join(absent)}", dataset=name)
    return _declared(frame.drop("seq", strict=False), current, name)


def _declared(frame: pl.LazyFrame, current: CurrentSpec, name: str) -> pl.LazyFrame:
    """The columns of a dataset with the types that the spec declares, as ingest would read them from a file.

    Raises:
        InvalidError: a column cannot have its declared type.
    """
    found = []
    for column, dtype in frame.collect_schema().items():
        if (declared := current.spec.columns.get(column)) is None or dtype == DTYPES[declared.type]:
            continue
        kind = declared.type
        if typed_column(pl.Series(column, [], dtype=dtype), kind) is None:
            raise InvalidError(
                f"dataset {name!r}: column {column!r} is declared as {kind} but holds {dtype}; a {kind} takes "
                f"{ACCEPTED[kind]}", dataset=name, field=column,
            )  # fmt: skip
        read = functools.partial(_values, kind=kind)
        found.append(pl.col(column).map_batches(read, return_dtype=DTYPES[kind], is_elementwise=True))
    return frame.with_columns(found) if found else frame


def _values(series: pl.Series, kind: ColumnType) -> pl.Series:
    found = typed_column(series, kind)
    assert found is not None
    return found.values if found.misfits is None else found.values.set(found.misfits, None)
