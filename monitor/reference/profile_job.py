"""Profile a range of blocks, in this process or in another: the task, and the profiles that it returns.

No row crosses between processes: the process that profiles a block reads its Parquet files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.artifacts import ArtifactStore
from core.cache import Cache
from monitor.levels import composed, slice_name
from monitor.profile.block import profile_coded
from monitor.profile.codec import to_bytes
from monitor.profile.coding import CodedColumns, coded_columns
from monitor.profile.reference_profile import ReferenceProfile
from monitor.reference.collect import time_blocks
from monitor.reference.encode import Encoding, with_vectors_if_possible
from monitor.spec.monitors import RowWindow
from monitor.spec.times import BLOCKS_PER_WINDOW
from monitor.tables import MAX_SEGMENT_CHARS

if TYPE_CHECKING:
    from monitor.lake.snapshot import Snapshot

# Values of one segment column that have profiles of their own; of more values, the most frequent of the block do.
MAX_SEGMENT_VALUES: Final = 20
MAX_CACHED_PROFILES: Final = 8


@dataclass(frozen=True, slots=True)
class BlockRange:
    """Consecutive blocks of one model that are read together, and how their rows are profiled."""

    bounds: Mapping[str, Any]  # of the rows, as arguments of `Table.scan_at`
    labels: range
    windows: RowWindow | tuple[str, ...]  # how rows are divided into blocks
    from_seq: int  # the event from which blocks of rows are counted
    segments: tuple[str, ...]
    artifacts: Path
    reference: str  # digest of the fitted reference
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class ProfileTask:
    """A range of blocks whose rows all lie in files that any process can read."""

    blocks: BlockRange
    table: Path
    snapshot: "Snapshot"  # lists only files that can hold the rows


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
    from monitor.lake.table import LakeTable  # pages read profiles alone

    rows = LakeTable(task.table).scan_at(task.snapshot, **task.blocks.bounds)
    return profile_rows(task.blocks, rows, Cache())  # this may be a process that has no site


def profile_rows(blocks: BlockRange, rows: pl.LazyFrame, cache: Cache) -> list[ProfiledBlock]:
    """Profile each block of a range that has rows, in order; the same rows give the same bytes, wherever they lie."""
    reference = load_profile(blocks.artifacts, blocks.reference)
    wanted = {"seq", "ts", "version", *reference.columns, *blocks.segments}
    present = rows.collect_schema().names()
    frame = rows.select(n for n in present if n in wanted).sort("seq").collect()
    of = labels_of(frame, blocks.windows, blocks.from_seq)
    dimensions = {name: len(encoder.centre) for name, encoder in reference.coding.vectors.items()}
    encoded, unencoded = with_vectors_if_possible(blocks.encoding, frame, dimensions, cache)
    coded = coded_columns(encoded, reference.coding)
    labels, at = np.unique(of, return_inverse=True)
    sizes = np.bincount(at, minlength=len(labels))
    whole = _counted(coded, at.astype(np.int64), len(labels), reference)
    found = [
        [ProfiledBlock(int(label), "", "", int(count), data, unencoded)]
        for label, count, data in zip(labels, sizes, whole, strict=True)
    ]
    for column in ("version", *(name for name in blocks.segments if name in frame.columns)):
        values = frame[column].cast(pl.String)
        slices = _slices(values if column == "version" else composed(values), at)
        chosen = slices.rows < sizes[slices.block]  # a slice of all rows has the profile of the block
        number = np.full(len(chosen) + 1, -1)
        number[:-1][chosen] = np.arange(int(chosen.sum()))
        counted = iter(_counted(coded, number[slices.at], int(chosen.sum()), reference))
        for block, value, count, apart in zip(slices.block, slices.values, slices.rows, chosen, strict=True):
            names = (value, "") if column == "version" else ("", slice_name(column, value, MAX_SEGMENT_CHARS))
            data = next(counted) if apart else whole[block]
            found[block].append(ProfiledBlock(int(labels[block]), *names, int(count), data, unencoded))
    return [profile for block in found for profile in block]


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
        position: rows between the first row of the first window and each row, shape (rows,).
        window: rows per window.

    Returns:
        Labels counted from 0 at the first window, shape (rows,).
    """
    number, inside = np.divmod(position, window)
    found: NDArray[np.int64] = number * BLOCKS_PER_WINDOW + np.minimum(
        inside // (window // BLOCKS_PER_WINDOW), BLOCKS_PER_WINDOW - 1
    )
    return found


def _counted(coded: CodedColumns, of: NDArray[np.int64], total: int, reference: ReferenceProfile) -> list[bytes]:
    """The profile of each group of rows; `of`: the group of each row, 0..total-1, or -1 for none."""
    if not total:
        return []
    if (of < 0).any():
        rows = np.flatnonzero(of >= 0)
        of = of[rows]
        coded = CodedColumns(
            {name: values[rows] for name, values in coded.numbers.items()},
            {name: codes[rows] for name, codes in coded.categories.items()},
            coded.new,
        )
    return [to_bytes(block) for block in profile_coded(coded, reference.coding, of, total)]


@dataclass(frozen=True, slots=True)
class _Slices:
    """The rows of each value of one column in each block: at most MAX_SEGMENT_VALUES values, the most frequent first.

    `block`, `values`, `rows`: of each slice, in the order of the blocks. `at`: the slice of each row; the number of
    slices for a row in none.
    """

    block: NDArray[np.int64]
    values: list[str]
    rows: NDArray[np.int64]
    at: NDArray[np.int64]


def _slices(values: pl.Series, block: NDArray[np.int64]) -> _Slices:
    rows = pl.DataFrame({"block": block, "value": values})
    counted = rows.drop_nulls().group_by("block", "value").len("rows")
    ranked = counted.sort("block", "rows", "value", descending=[False, True, False])
    kept = ranked.filter(pl.int_range(pl.len()).over("block") < MAX_SEGMENT_VALUES).with_row_index("slice")
    at = rows.join(kept, on=["block", "value"], how="left", maintain_order="left")["slice"]
    return _Slices(
        kept["block"].to_numpy(), kept["value"].to_list(), kept["rows"].cast(pl.Int64).to_numpy(),
        at.cast(pl.Int64).fill_null(kept.height).to_numpy(),
    )  # fmt: skip
