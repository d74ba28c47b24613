"""Profiling a stretch of stored rows: what is handed to whoever does it, in this process or in another, and what
comes back. No row crosses between processes: the Parquet files are read where they are counted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.artifacts import ArtifactStore
from core.cache import Cache
from monitor.lake.snapshot import Snapshot
from monitor.lake.table import LakeTable
from monitor.profile.block import profile_coded
from monitor.profile.codec import to_bytes
from monitor.profile.coding import CodedColumns, coded_columns
from monitor.profile.reference_profile import ReferenceProfile
from monitor.reference.collect import time_blocks
from monitor.reference.encode import Encoding, with_vectors_if_possible
from monitor.spec.monitors import RowWindow
from monitor.spec.times import BLOCKS_PER_WINDOW

# Values of one segment column with profiles of their own; of more, the most frequent of the block.
MOST_SEGMENTS: Final = 20
KEPT_BASELINES: Final = 8


@dataclass(frozen=True, slots=True)
class Cut:
    """Neighbouring blocks of one model that are read together, and how their rows are counted."""

    bounds: Mapping[str, Any]  # of the rows, as `Table.scan_at` knows them
    labels: range
    windows: RowWindow | tuple[str, ...]  # how the rows are cut in blocks
    from_seq: int  # of the baseline, where blocks of rows are counted from
    segments: tuple[str, ...]
    artifacts: Path
    baseline: str  # digest
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class Stretch:
    """A cut whose rows all lie in files that any process can read."""

    cut: Cut
    table: Path
    snapshot: Snapshot  # with the files that can hold the rows


@dataclass(frozen=True, slots=True)
class Part:
    """A profile of one block: of all its rows, of those of a version, or of those of a segment."""

    label: int
    version: str
    segment: str
    rows: int
    data: bytes
    unencoded: Mapping[str, str]  # texts that could not be encoded, with the reason


def profile_stretch(stretch: Stretch) -> list[Part]:
    """`profile_rows` of what the files hold."""
    rows = LakeTable(stretch.table).scan_at(stretch.snapshot, **stretch.cut.bounds)
    return profile_rows(stretch.cut, rows, Cache())  # this may be a process that has no site


def profile_rows(cut: Cut, rows: pl.LazyFrame, cache: Cache) -> list[Part]:
    """Profile each block of a cut, in order. The same rows give the same bytes, wherever they lie and this runs."""
    baseline = fitted(cut.artifacts, cut.baseline)
    wanted = {"seq", "ts", "version", *baseline.columns, *cut.segments}
    present = rows.collect_schema().names()
    frame = rows.select(n for n in present if n in wanted).sort("seq").collect()
    of = labels_of(frame, cut.windows, cut.from_seq)
    dimensions = {name: len(encoder.centre) for name, encoder in baseline.coding.vectors.items()}
    encoded, unencoded = with_vectors_if_possible(cut.encoding, frame, dimensions, cache)
    coded = coded_columns(encoded, baseline.coding)
    named = frame.select("version", *(name for name in cut.segments if name in frame.columns))
    found = []
    for label in cut.labels:
        places = np.flatnonzero(of == label)
        whole = _profiled(coded, places, baseline)
        for version, segment, chosen in _parts(named[places], cut.segments):
            data = whole if len(chosen) == len(places) else _profiled(coded, places[chosen], baseline)
            found.append(Part(label, version, segment, len(chosen), data, unencoded))
    return found


def fitted(artifacts: Path, digest: str) -> ReferenceProfile:
    """A fitted baseline; the last few are kept, for it is the same for window after window."""
    return _fitted(artifacts, digest)


@lru_cache(maxsize=KEPT_BASELINES)  # by digest, so an entry can never be stale
def _fitted(artifacts: Path, digest: str) -> ReferenceProfile:
    return ReferenceProfile.from_bytes(ArtifactStore(artifacts).get(digest))


def labels_of(frame: pl.DataFrame, windows: RowWindow | tuple[str, ...], from_seq: int) -> NDArray[np.int64]:
    """Profile block of each row."""
    if isinstance(windows, RowWindow):
        return row_labels(frame["seq"].to_numpy() - from_seq, windows.rows)
    return time_blocks(frame["ts"], windows)


def row_labels(position: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """Block of each row by its position after the first: ten to a window, the last of which takes the remainder."""
    number, inside = np.divmod(position, window)
    found: NDArray[np.int64] = number * BLOCKS_PER_WINDOW + np.minimum(
        inside // (window // BLOCKS_PER_WINDOW), BLOCKS_PER_WINDOW - 1
    )
    return found


def _profiled(coded: CodedColumns, rows: NDArray[np.int64], baseline: ReferenceProfile) -> bytes:
    only = CodedColumns(
        {name: values[rows] for name, values in coded.numbers.items()},
        {name: codes[rows] for name, codes in coded.categories.items()},
        coded.new,
    )
    (block,) = profile_coded(only, baseline.coding, np.zeros(len(rows), dtype=np.int64), 1)
    return to_bytes(block)


def _parts(frame: pl.DataFrame, segments: Sequence[str]) -> Iterator[tuple[str, str, NDArray[np.int64]]]:
    """All rows, those of each version, and those of each value of each segment column."""
    yield "", "", np.arange(frame.height)
    for value, rows in _groups(frame["version"]):
        yield value, "", rows
    for column in segments:
        if column in frame.columns:
            for value, rows in _groups(frame[column].cast(pl.String)):
                yield "", f"{column}={value}"[:300], rows


def _groups(values: pl.Series) -> Iterator[tuple[str, NDArray[np.int64]]]:
    if len(values) and not values.null_count() and values.n_unique() == 1:
        yield values[0], np.arange(len(values))
        return
    counted = values.drop_nulls().value_counts(sort=True)
    ranked = counted.sort("count", counted.columns[0], descending=[True, False])[counted.columns[0]]
    for value in ranked[:MOST_SEGMENTS]:
        yield value, (values == value).arg_true().to_numpy().astype(np.int64)
