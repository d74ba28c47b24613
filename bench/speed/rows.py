"""Generated rows: numbers are normal, lognormal or integers, a third each; categories have 5 to 25 levels."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl


def make_rows(rows: int, numbers: int, categories: int, seed: int, shift: float) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    made = (
        lambda: rng.normal(shift, 1.0, rows),
        lambda: rng.lognormal(shift, 1.0, rows),
        lambda: rng.integers(0, 1000, rows).astype(np.float64),
    )
    columns: dict[str, Any] = {f"n{i}": made[i % 3]() for i in range(numbers)}
    for i in range(categories):
        levels = pl.Series([f"level {k}" for k in range(5 * (i % 5 + 1))])
        columns[f"c{i}"] = levels.gather(rng.integers(0, len(levels), rows))
    return pl.DataFrame(columns)


def write_sides(folder: Path, rows: int, numbers: int, categories: int) -> None:
    """Write reference.parquet and window.parquet; the second is a little shifted."""
    for seed, name in enumerate(("reference", "window")):
        make_rows(rows, numbers, categories, seed, 0.02 * seed).write_parquet(folder / f"{name}.parquet")


def column_kinds(names: list[str]) -> dict[str, Any]:
    return {name: "number" if name[0] == "n" else "category" for name in names}
