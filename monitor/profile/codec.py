"""Block profiles as bytes: two plain arrays in the order of the reference's columns, and the names of heavy hitters.

Columns, bins and levels belong to the reference, so they are not stored with each block. The arrays of many blocks are
added before they are unpacked.
"""

import json
import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats, Ints
from core.errors import IntegrityFailureError
from monitor.profile.block import BlockProfile
from monitor.profile.coding import Coding
from monitor.profile.counting import CategoryCounts, NumberCounts

_COMPRESSION_LEVEL: Final = 1  # most counts are small, so the fastest level saves nearly as much
# Bytes per count: as few as the largest count of the block needs, for speed.
_COUNT_WIDTHS: Final = (1, 2, 4, 8)
_MAX_FLOAT: Final = float(np.finfo(np.float64).max)


def pack(block: BlockProfile) -> tuple[Ints, Floats, dict[str, Mapping[str, int]]]:
    """Counts, moments and heavy hitters of a block, as arrays that `unpack` takes apart."""
    ints: list[Ints] = [np.array([block.rows], dtype=np.int64)]
    floats: list[float] = []
    for number in block.numbers.values():
        ints += [np.array([number.nulls], dtype=np.int64), number.counts]
        low, high = (np.nan if x is None else x for x in (number.minimum, number.maximum))
        floats += [number.total, number.squares, low, high]
    for category in block.categories.values():
        ints += [np.array([category.nulls], dtype=np.int64), category.other, category.unseen, category.levels]
    hitters = {name: category.hitters for name, category in block.categories.items() if category.hitters}
    return np.concatenate(ints), np.array(floats), hitters


def unpack(ints: Ints, floats: Floats, hitters: Mapping[str, Mapping[str, int]], coding: Coding) -> BlockProfile:
    """The block that `pack` made arrays of.

    Raises:
        ValueError: the arrays do not fit the coding.
    """
    rows, at = int(ints[0]), 1
    numbers: dict[str, NumberCounts] = {}
    moments = floats.reshape(-1, 4).tolist()
    for (name, bins), (total, squares, low, high) in zip(coding.numbers.items(), moments, strict=True):
        end = at + 2 + len(bins.edges)
        numbers[name] = NumberCounts(
            ints[at + 1 : end], int(ints[at]), total, squares, None if math.isnan(low) else low,
            None if math.isnan(high) else high,
        )  # fmt: skip
        at = end
    categories: dict[str, CategoryCounts] = {}
    for name, levels in coding.categories.items():
        folds = levels.known.shape[1]
        other, unseen = at + 1, at + 1 + folds
        kept = unseen + folds
        end = kept + len(levels.kept)
        categories[name] = CategoryCounts(
            ints[kept:end], int(ints[at]), ints[other:unseen], ints[unseen:kept], hitters.get(name, {})
        )
        at = end
    if at != len(ints):
        raise ValueError(f"the profile has {len(ints)} counts; its reference needs {at}")
    return BlockProfile(rows, numbers, categories)


def to_bytes(block: BlockProfile) -> bytes:
    """The block as compressed bytes; equal blocks give equal bytes."""
    ints, floats, hitters = pack(block)
    names = json.dumps(hitters, separators=(",", ":"), sort_keys=True).encode()
    width = next(width for width in _COUNT_WIDTHS if int(ints.max()) < 1 << (8 * width - 1))
    sizes = np.array([len(ints), len(floats), width], dtype="<i8").tobytes()
    return zlib.compress(
        sizes + ints.astype(f"<i{width}").tobytes() + floats.astype("<f8").tobytes() + names, _COMPRESSION_LEVEL
    )


def from_bytes(data: bytes, coding: Coding) -> BlockProfile:
    """The block that `to_bytes` wrote.

    Raises:
        IntegrityFailureError: the bytes are not a profile of this coding.
    """
    return sum_from_bytes([data], coding)


def sum_from_bytes(parts: Sequence[bytes], coding: Coding) -> BlockProfile:
    """The profile of the rows of several stored blocks; the same as merging them one by one, but faster.

    Args:
        parts: bytes of at least one block.
        coding: of their reference.

    Raises:
        IntegrityFailureError: the bytes are not profiles of this coding.
    """
    try:
        if len(parts) == 1:
            return unpack(*_read(parts[0]), coding)
        read = [_read(part) for part in parts]
        ints = np.stack([part[0] for part in read]).sum(axis=0)
        stacked = np.stack([part[1] for part in read]).reshape(len(read), -1, 4)
        floats = np.empty(stacked.shape[1:])
        with np.errstate(over="ignore"):
            floats[:, :2] = np.clip(stacked[:, :, :2].sum(axis=0), -_MAX_FLOAT, _MAX_FLOAT)
        floats[:, 2], floats[:, 3] = np.fmin.reduce(stacked[:, :, 2]), np.fmax.reduce(stacked[:, :, 3])
        hitters: dict[str, Counter[str]] = {}
        for part in read:
            for name, levels in part[2].items():
                hitters.setdefault(name, Counter()).update(levels)
        return unpack(ints, floats.ravel(), hitters, coding)
    except (ValueError, IndexError, zlib.error) as error:
        raise IntegrityFailureError(f"a stored profile cannot be read: {error}") from error


def _read(data: bytes) -> tuple[NDArray[np.int64], NDArray[np.float64], dict[str, dict[str, int]]]:
    raw = zlib.decompress(data)
    counts, moments, width = np.frombuffer(raw, dtype="<i8", count=3).tolist()
    if width not in _COUNT_WIDTHS:
        raise ValueError(f"counts of {width} bytes")
    at, end = 24 + width * counts, 24 + width * counts + 8 * moments
    ints = np.frombuffer(raw, dtype=f"<i{width}", count=counts, offset=24)
    floats = np.frombuffer(raw, dtype="<f8", count=moments, offset=at)
    return ints.astype(np.int64), floats.astype(np.float64), json.loads(raw[end:])
