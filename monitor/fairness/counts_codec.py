"""Stored counts per group cell: some hundred bytes for a window, with a score of many groups up to a megabyte.

Many of them are read and added up in milliseconds.

The form: `AGC1`, the length of the head (4 bytes, little endian), the head (JSON: columns, measures, the texts of each
key, lines, length of the next part); then, deflated, of each key the place of its text (-1: none) as 32-bit and the
rows as 64-bit integers; then the sums as 64-bit floats, which deflating would make slow and hardly smaller.
"""

import json
import math
import struct
import zlib
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.errors import IntegrityFailureError
from monitor.fairness.cells import BINS
from monitor.fairness.counts import BIN, KEY, OUTCOME, PARTS, PREDICTION, ROWS, GroupCounts
from monitor.fairness.grouping import MISSING

_MAGIC: Final = b"AGC1"
_LEVEL: Final = 6  # of deflate


def encode(counts: GroupCounts) -> bytes:
    """Counts as bytes."""
    table = counts.table
    texts: list[list[str]] = []
    whole: list[bytes] = []
    for name in (*(KEY + column for column in counts.columns), OUTCOME, PREDICTION):
        known = table[name].drop_nulls().unique().sort()
        texts.append(known.to_list())
        codes = table[name].replace_strict(known, pl.Series(range(len(known)), dtype=pl.Int32), default=-1)
        whole.append(codes.cast(pl.Int32).to_numpy().astype("<i4").tobytes())
    whole.append(table[BIN].fill_null(-1).to_numpy().astype("<i4").tobytes())
    whole.append(table[ROWS].to_numpy().astype("<i8").tobytes())
    packed = zlib.compress(b"".join(whole), _LEVEL)
    sums = b"".join(table[name].to_numpy().astype("<f8").tobytes() for name in _sums(counts.measures))
    head = {
        "columns": counts.columns, "measures": counts.measures, "texts": texts, "lines": table.height,
        "packed": len(packed),
    }  # fmt: skip
    text = json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode()
    return _MAGIC + struct.pack("<I", len(text)) + text + packed + sums


def decode(data: bytes) -> GroupCounts:
    """Counts that `encode` has written.

    Raises:
        IntegrityFailureError: the bytes are no such counts.
    """
    return decode_merged([data])


def decode_merged(parts: Iterable[bytes]) -> GroupCounts:
    """The counts of all rows together, from the bytes of each part, such as the windows of a quarter; at least one.

    A protected column that some parts lack is `(missing)` in their rows.

    Raises:
        IntegrityFailureError: the bytes of a part are no such counts.
    """
    read = [_read(data) for data in parts]
    columns = tuple(dict.fromkeys(name for head, _ in read for name in head["columns"]))
    measures = tuple(dict.fromkeys(name for head, _ in read for name in head["measures"]))
    keys = [KEY + name for name in columns] + [OUTCOME, PREDICTION]
    known: dict[str, dict[str, int]] = {key: {} for key in keys}
    placed = [{key: _placed(head, key, known[key]) for key in keys} for head, _ in read]
    sizes = [*(len(known[key]) + 1 for key in keys), BINS + 1]
    if math.prod(sizes) >= 2**62:
        raise IntegrityFailureError("these counts have too many groups to be added up")
    sums = [ROWS, *_sums(measures)]
    found: dict[str, list[Any]] = {name: [] for name in ("code", *sums)}
    for (head, numbers), places in zip(read, placed, strict=True):
        code = np.zeros(head["lines"], dtype=np.int64)  # the place among all combinations; one key is added up faster
        for key, size in zip(keys, sizes, strict=False):
            code = code * size + (places[key][numbers[key]] if key in numbers else places[key][0])
        found["code"].append(code * sizes[-1] + numbers[BIN] + 1)
        for name in sums:
            found[name].append(numbers[name] if name in numbers else np.zeros(head["lines"]))
    table = pl.DataFrame({name: np.concatenate(values) for name, values in found.items()})
    table = table.group_by("code").agg(pl.col(sums).sum())
    left, named = table["code"].to_numpy(), list[pl.Series]()
    bins = pl.Series(BIN, left % sizes[-1] - 1)
    left = left // sizes[-1]
    for key, size in zip(reversed(keys), sizes[-2::-1], strict=True):
        texts = pl.Series(key, [None, *known[key]], dtype=pl.String)
        named.append(texts.gather(left % size))
        left = left // size
    table = table.select(*reversed(named), bins.set(bins < 0, None).cast(pl.Int64), *sums)
    return GroupCounts(columns, measures, table.with_columns(pl.col(ROWS).cast(pl.Int64)).sort([*keys, BIN]))


def _placed(head: dict[str, Any], key: str, known: dict[str, int]) -> NDArray[np.int64]:
    """Of each text of a part: its place among the texts of all parts, from 1; last that of none, which is 0."""
    own = [KEY + name for name in head["columns"]] + [OUTCOME, PREDICTION]
    texts = head["texts"][own.index(key)] if key in own else [MISSING]
    return np.array([*(known.setdefault(text, len(known)) + 1 for text in texts), 0], dtype=np.int64)


def _sums(measures: Iterable[str]) -> list[str]:
    return [f"{name}.{part}" for name in measures for part in PARTS]


def _read(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Head and numbers of one part."""
    try:
        if data[:4] != _MAGIC:
            raise ValueError(f"they begin with {data[:4]!r}")
        (length,) = struct.unpack_from("<I", data, 4)
        head = json.loads(data[8 : 8 + length])
        floats = 8 + length + head["packed"]
        whole = zlib.decompress(data[8 + length : floats])
        lines = head["lines"]
        found: dict[str, Any] = {}
        keys = [KEY + name for name in head["columns"]] + [OUTCOME, PREDICTION, BIN]
        for at, key in enumerate(keys):
            found[key] = np.frombuffer(whole, "<i4", lines, at * lines * 4)
        found[ROWS] = np.frombuffer(whole, "<i8", lines, len(keys) * lines * 4)
        for at, name in enumerate(_sums(head["measures"])):
            found[name] = np.frombuffer(data, "<f8", lines, floats + at * lines * 8)
    except (ValueError, KeyError, TypeError, struct.error, zlib.error) as error:
        raise IntegrityFailureError(f"these bytes are no counts of groups: {error}") from error
    return head, found
