"""How time and memory grow with rows and columns.

Fitted on runs that reach 3 million rows and 1,000 columns, though not both at once; a size in between that the fit does
not see says how far it is to be trusted.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from bench.speed.rows import write_sides
from bench.speed.work import Taken, ours

Size = tuple[int, int]  # rows, columns

ROWS = (100_000, 300_000, 1_000_000, 3_000_000)  # with the fewest columns
COLUMNS = (20, 100, 300, 1_000)  # with the fewest rows
CHECK: Size = (600_000, 200)
HELD = 16_000_000  # values that a thread holds at most, monitor.profile.by_column


@dataclass(frozen=True)
class Law:
    """`by_rows`, `by_columns`: exponents of CPU seconds along each axis. `foretold`: for the largest rows and columns.

    `check`: each of the measured size in between over what was foretold for it.
    """

    runs: dict[Size, Taken]
    by_rows: float
    by_columns: float
    foretold: Taken
    check: Taken


def law(shrink: float) -> Law:
    """Measured at `shrink` of the rows."""
    rows = [max(round(r * shrink), 1_000) for r in ROWS]
    check = max(round(CHECK[0] * shrink), 1_000), CHECK[1]
    sizes: list[Size] = [(r, COLUMNS[0]) for r in rows] + [(rows[0], c) for c in COLUMNS[1:]]
    runs = {size: _measured(*size) for size in sizes}
    apart = _measured(*check)
    told = _foretold(runs, check)
    ratio = Taken(
        apart.seconds / told.seconds, apart.cpu_seconds / told.cpu_seconds, apart.peak_mb / told.peak_mb
    )  # fmt: skip
    return Law(
        runs | {check: apart},
        _exponent(rows, [runs[r, COLUMNS[0]].cpu_seconds for r in rows]),
        _exponent(COLUMNS, [runs[rows[0], c].cpu_seconds for c in COLUMNS]),
        _foretold(runs, (rows[-1], COLUMNS[-1])),
        ratio,
    )


def _foretold(runs: dict[Size, Taken], size: Size) -> Taken:
    """Time: a start, so much a column, so much a value. Memory: a start, so much a row, a column, a value held."""

    def told(parts: Callable[[Size], Sequence[float]], measured: Callable[[Taken], float]) -> float:
        known = np.array([measured(run) for run in runs.values()])
        # Relative errors count, and no part is negative.
        weights, _ = nnls(np.array([parts(at) for at in runs]) / known[:, None], np.ones(len(known)))
        return float(np.array(parts(size)) @ weights)

    def worked(at: Size) -> Sequence[float]:
        return 1.0, at[1], at[0] * at[1]

    def held(at: Size) -> Sequence[float]:
        return 1.0, at[0], at[1], min(at[0] * at[1] / 8, HELD)

    return Taken(
        told(worked, lambda run: run.seconds), told(worked, lambda run: run.cpu_seconds),
        told(held, lambda run: run.peak_mb),
    )  # fmt: skip


def _measured(rows: int, columns: int) -> Taken:
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        write_sides(Path(folder), rows, columns * 3 // 4, columns // 4)
        return ours("verdict", Path(folder))


def _exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
