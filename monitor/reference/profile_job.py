"""Profile a range of blocks, in this process or in another: the task, and the profiles that it returns.

No row crosses between processes: the process that profiles a block reads its Parquet files.
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

# Values of one segment column that have profiles of their own; of more values, the most frequent of the block do.
MAX_SEGMENT_VALUES: Final = 20
MAX_CACHED_PROFILES: Final = 8


@dataclass(frozen=True, slots=True)
class BlockRange:
    """Consecutive blocks of one model that are read together, and how their rows are profiled."""

    bounds: Mapping[str, Any]  # of the rows, as arguments of `Table.scan_at`
    labels: range
    windows: RowWindow | tuple[str, ...]  # how rows are divided into blocks
    from_seq: int  # first event of the reference, from which blocks of rows are counted
    segments: tuple[str, ...]
    artifacts: Path
    reference: str  # digest of the fitted reference
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class ProfileTask:
    """A range of blocks whose rows all lie in files that any process can read."""

    blocks: BlockRange
    table: Path
    snapshot: Snapshot  # lists only files that can hold the rows


@dataclass(frozen=True, slots=True)
class ProfiledBlock:
    """The profile of one block: of all its rows, of those of one version, or of those of one segment."""

    label: int
    version: str
    segment: str
    rows: int
    data: bytes
    unencoded: Mapping[str, str]  # text columns that could not be encoded, with the reason


def run_profile_task(task: ProfileTask) -> list[ProfiledBlock]:
    """Profile the rows that the task's files hold."""
    rows = LakeTable(task.table).scan_at(task.snapshot, **task.blocks.bounds)
    return profile_rows(task.blocks, rows, Cache())  # this may be a process that has no site


def profile_rows(blocks: BlockRange, rows: pl.LazyFrame, cache: Cache) -> list[ProfiledBlock]:
    """Profile each block of a range, in order. The same rows give the same bytes, wherever they lie and this runs."""
    reference = load_profile(blocks.artifacts, blocks.reference)
    wanted = {"seq", "ts", "version", *reference.columns, *blocks.segments}
    present = rows.collect_schema().names()
    frame = rows.select(n for n in present if n in wanted).sort("seq").collect()
    of = labels_of(frame, blocks.windows, blocks.from_seq)
    dimensions = {name: len(encoder.centre) for name, encoder in reference.coding.vectors.items()}
    encoded, unencoded = with_vectors_if_possible(blocks.encoding, frame, dimensions, cache)
    coded = coded_columns(encoded, reference.coding)
    named = frame.select("version", *(name for name in blocks.segments if name in frame.columns))
    found = []
    for label in blocks.labels:
        places = np.flatnonzero(of == label)
        whole = _profiled(coded, places, reference)
        for version, segment, chosen in _slices(named[places], blocks.segments):
            data = whole if len(chosen) == len(places) else _profiled(coded, places[chosen], reference)
            found.append(ProfiledBlock(label, version, segment, len(chosen), data, unencoded))
    return found


def load_profile(artifacts: Path, digest: str) -> ReferenceProfile:
    """A fitted reference. The last few are kept, because many windows in a row need the same one."""
    return _load_profile(artifacts, digest)


@lru_cache(maxsize=MAX_CACHED_PROFILES)  # by digest, so an entry can never be stale
def _load_profile(artifacts: Path, digest: str) -> ReferenceProfile:
    return ReferenceProfile.from_bytes(ArtifactStore(artifacts).get(digest))


def labels_of(frame: pl.DataFrame, windows: RowWindow | tuple[str, ...], from_seq: int) -> NDArray[np.int64]:
    """Label of each row's block."""
    if isinstance(windows, RowWindow):
        return row_labels(frame["seq"].to_numpy() - from_seq, windows.rows)
    return time_blocks(frame["ts"], windows)


def row_labels(position: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """Label of each row's block in row windows: ten blocks per window, the last of which takes the remainder.

    Args:
        position: rows between the first row of the reference and each row, shape (rows,).
        window: rows per window.

    Returns:
        Labels counted from 0 at the first row, shape (rows,).
    """
    number, inside = np.divmod(position, window)
    found: NDArray[np.int64] = number * BLOCKS_PER_WINDOW + np.minimum(
        inside // (window // BLOCKS_PER_WINDOW), BLOCKS_PER_WINDOW - 1
    )
    return found


def _profiled(coded: CodedColumns, rows: NDArray[np.int64], reference: ReferenceProfile) -> bytes:
    only = CodedColumns(
        {name: values[rows] for name, values in coded.numbers.items()},
        {name: codes[rows] for name, codes in coded.categories.items()},
        coded.new,
    )
    (block,) = profile_coded(only, reference.coding, np.zeros(len(rows), dtype=np.int64), 1)
    return to_bytes(block)


def _slices(frame: pl.DataFrame, segments: Sequence[str]) -> Iterator[tuple[str, str, NDArray[np.int64]]]:
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
    for value in ranked[:MAX_SEGMENT_VALUES]:
        yield value, (values == value).arg_true().to_numpy().astype(np.int64)
