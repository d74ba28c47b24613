"""The bin of each value, exactly, without a binary search for every row.

A value is first put in one of many equal cells between two reference quantiles. Where no edge lies in the cell, the
cell alone tells the bin; a value that shares its cell with one edge is compared with it, and only a value that shares
it with more is searched for.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from core.arrays import Floats, Ints

CELLS: Final = 1 << 15
MIN_EDGES_FOR_TABLE: Final = 8  # below, a search is as fast
VALUES_PER_PASS: Final = 1 << 16  # values to ask for at a time, so that what is worked on stays in the cache
_COMPARE: Final = 1 << 32  # added to the bin of a cell with one edge
_SEARCH: Final = 1 << 33  # of a cell with more


@dataclass(frozen=True, eq=False)
class CellTable:
    """`below`: number of edges under each cell, marked where edges lie in it; `first`: the first of those."""

    low: float
    factor: float
    below: Ints
    first: Floats


def bin_numbers(values: Floats, edges: Floats, table: CellTable | None) -> Ints:
    """Bin b of each value, edges[b-1] < x <= edges[b], shape of `values`; values are finite."""
    if table is None:
        return np.searchsorted(edges, values, side="left").astype(np.int64)
    cell = _cell(values, table.low, table.factor)
    found = table.below[cell]
    near = np.flatnonzero(found >= _COMPARE)
    if len(near):
        x, of, bins = values[near], cell[near], found[near] - _COMPARE
        bins += x > table.first[of]
        many = np.flatnonzero(bins >= _SEARCH - _COMPARE)
        bins[many] = np.searchsorted(edges, x[many], side="left")
        found[near] = bins
    return found


def cell_table(edges: Floats) -> CellTable | None:
    """The table of a column; None where a search is as fast or the edges span no finite stretch."""
    if len(edges) < MIN_EDGES_FOR_TABLE:
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
    first = np.full(CELLS, np.inf)
    first[of[::-1]] = edges[::-1]
    below += np.where(inside > 1, _SEARCH, np.where(inside == 1, _COMPARE, 0))
    return CellTable(low, factor, below.astype(np.int64), first)


def _cell(x: Floats, low: float, factor: float) -> Ints:
    """Never decreasing in x, so that edges of other cells lie on the same side of all values of a cell."""
    with np.errstate(over="ignore"):
        scaled = (x - low) * factor
    np.clip(scaled, -1.0, CELLS - 2.0, out=scaled)
    scaled += 1.0
    found: Ints = scaled.astype(np.int64)
    return found
