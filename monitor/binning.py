"""The bin of each value, exactly, without a binary search for every row.

A value is first put in one of many equal cells between two reference quantiles. Where no edge lies in the cell, the
cell alone tells the bin; only values that share a cell with an edge are compared with edges.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CELLS: Final = 1 << 15
FEWEST_EDGES: Final = 8  # below, a search is as fast
_CHUNK: Final = 1 << 15  # values at a time, so that what is worked on stays in the cache


@dataclass(frozen=True, eq=False)
class CellTable:
    """`below`: number of edges under each cell, `inside`: edges within it (9 for more), `first`, `second`: those."""

    low: float
    factor: float
    below: NDArray[np.int32]
    inside: NDArray[np.int8]
    first: Floats
    second: Floats


def bin_numbers(values: Floats, edges: Floats, table: CellTable | None) -> NDArray[np.int32]:
    """Bin b of each value, edges[b-1] < x <= edges[b], shape of `values`; values are finite."""
    if table is None:
        return np.searchsorted(edges, values, side="left").astype(np.int32)
    found = np.empty(len(values), dtype=np.int32)
    for start in range(0, len(values), _CHUNK):
        x = values[start : start + _CHUNK]
        cell = _cell(x, table.low, table.factor)
        part = table.below[cell]
        inside = table.inside[cell]
        at = np.flatnonzero(inside)
        if len(at):
            near, of = x[at], cell[at]
            if inside.max() <= 2:
                part[at] += (near > table.first[of]).astype(np.int32) + (near > table.second[of])
            else:
                part[at] = np.searchsorted(edges, near, side="left")
        found[start : start + _CHUNK] = part
    return found


def cell_table(edges: Floats) -> CellTable | None:
    """The table of a column; None where a search is as fast or the edges span no finite stretch."""
    if len(edges) < FEWEST_EDGES:
        return None
    # The outermost hundredths may lie far out; cells are spent where the edges are.
    low, high = (float(edges[i]) for i in (len(edges) // 100, -1 - len(edges) // 100))
    with np.errstate(over="ignore"):
        factor = (CELLS - 3) / (high - low) if high > low else np.inf
    if not np.isfinite(factor) or factor <= 0.0:
        return None
    of = _cell(edges, low, factor)
    inside = np.bincount(of, minlength=CELLS)
    below = np.cumsum(inside) - inside
    first, second = np.full(CELLS, np.inf), np.full(CELLS, np.inf)
    first[of[::-1]] = edges[::-1]
    later = below[of] + 1 == np.arange(len(edges))  # the second edge of its cell
    second[of[later]] = edges[later]
    return CellTable(
        low, factor, below.astype(np.int32), np.where(inside > 2, 9, inside).astype(np.int8), first, second
    )


def _cell(x: Floats, low: float, factor: float) -> Ints:
    """Never decreasing in x, so that edges of other cells lie on the same side of all values of a cell."""
    with np.errstate(over="ignore"):
        scaled = (x - low) * factor
    np.clip(scaled, -1.0, CELLS - 2.0, out=scaled)
    scaled += 1.0
    found: Ints = scaled.astype(np.int64)
    return found
