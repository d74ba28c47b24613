"""The exact bin of each value, without a binary search for every row.

A value is first put into one of many equal cells between two reference quantiles. Where a cell contains no bin edge,
the cell decides the bin. A value that shares its cell with one edge is compared with that edge, and only a value that
shares it with several edges is searched for.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from core.arrays import Floats, Ints

CELLS: Final = 1 << 15
MIN_EDGES_FOR_TABLE: Final = 8  # with fewer edges, a search is as fast
VALUES_PER_PASS: Final = 1 << 16  # values that callers bin at a time, so that they stay in the cache
_COMPARE: Final = 1 << 32  # added to the bin of a cell with one edge
_SEARCH: Final = 1 << 33  # added to the bin of a cell with several edges


@dataclass(frozen=True, eq=False)
class CellTable:
    """Equal cells over the edges of one column.

    `low`: start of the first cell. `factor`: cells per unit of the value. `below`: number of edges below each cell,
    with a mark added where edges lie in it, shape (CELLS,). `first`: the first edge in each cell, else infinite.
    """

    low: float
    factor: float
    below: Ints
    first: Floats


def bin_numbers(values: Floats, edges: Floats, table: CellTable | None) -> Ints:
    """The bin b of each value x: edges[b-1] < x <= edges[b].

    Args:
        values: finite numbers, shape (values,).
        edges: ascending, shape (bins - 1,).
        table: from `cell_table` of the same edges.

    Returns:
        Bin numbers 0..bins-1, shape (values,); the same as `numpy.searchsorted(edges, values, side="left")`.
    """
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
    """The cells of a column; None where a search is as fast, or where the edges span no finite range.

    Args:
        edges: of the bins, ascending, shape (bins - 1,).
    """
    if len(edges) < MIN_EDGES_FOR_TABLE:
        return None
    # The outermost hundredths of the edges may be far away; the cells cover the range where most edges are.
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
    """The cell of each value. It never decreases in x, so an edge in another cell is on one side of the whole cell."""
    with np.errstate(over="ignore"):
        scaled = (x - low) * factor
    np.clip(scaled, -1.0, CELLS - 2.0, out=scaled)
    scaled += 1.0
    found: Ints = scaled.astype(np.int64)
    return found
