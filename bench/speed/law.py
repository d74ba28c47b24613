"""How time and memory grow with rows and columns.

The law is fitted on runs that reach 3 million rows and 1,000 columns, though not both at once. A size in between, which
the fit does not use, shows how far the law can be trusted.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from bench.speed.rows import write_sides
from bench.speed.work import Measured, run_ours

Size = tuple[int, int]  # rows, columns

ROWS = (100_000, 300_000, 1_000_000, 3_000_000)  # with the fewest columns
COLUMNS = (20, 100, 300, 1_000)  # with the fewest rows
CHECK_SIZE: Size = (600_000, 200)
MAX_HELD_VALUES = 16_000_000  # values that a thread holds at most, monitor.profile.by_column


@dataclass(frozen=True)
class Law:
    """`by_rows`, `by_columns`: exponents of CPU seconds along each axis. `predicted`: for the most rows and columns.

    `check`: what was measured at the size in between, over what was predicted for it.
    """

    runs: dict[Size, Measured]
    by_rows: float
    by_columns: float
    predicted: Measured
    check: Measured


def fit_law(shrink: float) -> Law:
    """Measure the runs with the share `shrink` of the rows, and fit the law."""
    rows = [max(round(r * shrink), 1_000) for r in ROWS]
    check = max(round(CHECK_SIZE[0] * shrink), 1_000), CHECK_SIZE[1]
    sizes: list[Size] = [(r, COLUMNS[0]) for r in rows] + [(rows[0], c) for c in COLUMNS[1:]]
    runs = {size: _measure(*size) for size in sizes}
    between, predicted = _measure(*check), _predict(runs, check)
    ratio = Measured(
        between.seconds / predicted.seconds, between.cpu_seconds / predicted.cpu_seconds,
        between.peak_mb / predicted.peak_mb,
    )  # fmt: skip
    return Law(
        runs | {check: between},
        _exponent(rows, [runs[r, COLUMNS[0]].cpu_seconds for r in rows]),
        _exponent(COLUMNS, [runs[rows[0], c].cpu_seconds for c in COLUMNS]),
        _predict(runs, (rows[-1], COLUMNS[-1])),
        ratio,
    )


def _predict(runs: dict[Size, Measured], size: Size) -> Measured:
    """Time has a constant part, one per column and one per value; memory one per row, per column and per held value."""

    def predict(parts: Callable[[Size], Sequence[float]], measured: Callable[[Measured], float]) -> float:
        known = np.array([measured(run) for run in runs.values()])
        # Relative errors are minimised, and no part is negative.
        weights, _ = nnls(np.array([parts(at) for at in runs]) / known[:, None], np.ones(len(known)))
        return float(np.array(parts(size)) @ weights)

    def worked(at: Size) -> Sequence[float]:
        return 1.0, at[1], at[0] * at[1]

    def held(at: Size) -> Sequence[float]:
        return 1.0, at[0], at[1], min(at[0] * at[1] / 8, MAX_HELD_VALUES)

    return Measured(
        predict(worked, lambda run: run.seconds), predict(worked, lambda run: run.cpu_seconds),
        predict(held, lambda run: run.peak_mb),
    )  # fmt: skip


def _measure(rows: int, columns: int) -> Measured:
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        write_sides(Path(folder), rows, columns * 3 // 4, columns // 4)
        return run_ours("verdict", Path(folder))


def _exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
