"""Rows of a tree ensemble explained, checked and stored as a block, against shap's TreeExplainer called on an array.

Ours reads the rows from a file, checks every output of every row against the model's raw output and its answer against
the recorded one, and stores the lines durably; the time that a process takes to start counts in neither.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl

from bench.load.results import write_lines
from core.artifacts import ArtifactStore
from retrain.evals.explain_rows import GIVEN, SCORE, explain_rows

LEAST = 0.9  # of shap's rows a second
ROWS, COLUMNS, TREES = 20_000, 12, 200


def run(options: argparse.Namespace) -> bool:
    generator = np.random.default_rng(options.seed)
    x = generator.normal(size=(ROWS, COLUMNS))
    y = (x[:, 0] + x[:, 1] * x[:, 2] + generator.normal(size=ROWS) > 0).astype(int)
    model = lightgbm.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, lightgbm.Dataset(x, y), TREES)
    names = [f"c{i}" for i in range(COLUMNS)]
    with tempfile.TemporaryDirectory(prefix="assay-trees-") as given:
        folder = Path(given)
        model.save_model(folder / "model.txt")
        _rows(folder, x, names, model.predict(x) > 0.5)
        own, shap = [], []
        for _ in range(3):  # in turns, so that neither has the quieter machine
            own.append(_own(folder))
            shap.append(_shap(model, x))
        lines = pl.read_parquet(folder / "block.parquet")
    share = 1 - lines["residual"].null_count() / ROWS
    rates = ROWS / min(own), ROWS / min(shap)
    print(f"trees: {rates[0]:.0f} rows/s stored, shap alone {rates[1]:.0f} rows/s ({rates[0] / rates[1]:.0%})")
    found = {"rows_per_s": (rates[0], "rows/s"), "residual_share": (share, "share")}
    write_lines(options.out, "tree", found, bench="explain", peer="shap TreeExplainer",
                beside={"rows_per_s": rates[1]}, rows=ROWS, columns=COLUMNS, trees=TREES)  # fmt: skip
    return rates[0] >= LEAST * rates[1] and share == 1


def _rows(folder: Path, x: Any, names: list[str], answers: Any) -> None:
    frame = pl.DataFrame(x, schema=names).with_columns(
        pl.Series("event_id", [f"event-{i}" for i in range(len(x))]), pl.Series("seq", range(len(x))),
        pl.Series(GIVEN, answers), pl.Series(SCORE, [None] * len(x), dtype=pl.Float64),
    )  # fmt: skip
    frame.write_parquet(folder / "rows.parquet")
    frame.select(names).clear().write_parquet(folder / "background.parquet")
    columns = [{"name": name, "type": "number"} for name in names]
    config = {
        "file": str(folder / "model.txt"), "rows": str(folder / "rows.parquet"), "budget": 1000,
        "declared": {"columns": columns, "inputs": names, "boolean": True},
        "background": str(folder / "background.parquet"), "interventional": False, "output_dir": str(folder),
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))


def _own(folder: Path) -> float:
    begun = time.perf_counter()
    explain_rows(folder / "config.json")
    ArtifactStore(folder / f"artifacts-{begun}").put((folder / "block.parquet").read_bytes())
    return time.perf_counter() - begun


def _shap(model: Any, x: Any) -> float:
    import shap

    begun = time.perf_counter()
    shap.TreeExplainer(model).shap_values(x)
    return time.perf_counter() - begun
