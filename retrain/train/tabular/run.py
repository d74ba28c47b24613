"""`python -m retrain.train.tabular.run CONFIG.json`: one run of a tabular recipe from start to end.

Written under `output_dir`: `adapter/` when the run is whole, with pipeline.json, the model file and the record, and
`exit.json`. A killed run starts again from the beginning: what it had done takes seconds.
"""

import platform
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from core.canonical import digest
from retrain.train.config_file import load_config
from retrain.train.data import read_rows
from retrain.train.energy import Meter
from retrain.train.errors import ParametersLimitError
from retrain.train.kinds import TABLE_COLUMNS
from retrain.train.memory_series import MemorySeries, resident_bytes
from retrain.train.output import finished, versions
from retrain.train.progress import Progress, report_exit, write_json
from retrain.train.tabular.fair import fair_rows
from retrain.train.tabular.model import TableModel
from retrain.train.tabular.recipe import TableRunConfig
from retrain.train.tabular.rows import from_texts
from retrain.train.tabular.training import TrainedTable, targets, train_table
from retrain.train.used import KEEP_S, limit_passed
from retrain.train.weights import folder_digest

LIBRARIES: Final = (
    "numpy",
    "polars",
    "scikit-learn",
    "skops",
    "xgboost-cpu",
    "xgboost",
    "lightgbm",
)  # xgboost comes under either name


def train(path: Path) -> None:
    config = load_config(path, TableRunConfig)
    progress = Progress(config.progress)
    if not finished(config):
        with Meter(config.output_dir, config.country) as meter:
            _train(config, progress, meter)
    progress.write("done", eta_s=0.0)


class Clock:
    """Seconds of training with those of earlier attempts, and the limits that stop it."""

    def __init__(self, config: TableRunConfig, progress: Progress, meter: Meter) -> None:
        self.config, self.progress, self.meter = config, progress, meter
        self.began, self.spent, self.written = time.monotonic(), meter.before.train_seconds, 0.0
        self.memory = MemorySeries()

    @property
    def elapsed_s(self) -> float:
        return self.spent + time.monotonic() - self.began

    def tick(self, step: int, steps: int) -> None:
        """Raises TimeLimitError, EnergyLimitError: the run is past what it may use."""
        used = resident_bytes()
        self.memory.add(step, used)
        if time.monotonic() - self.written > KEEP_S:
            self.written = time.monotonic()
            self.progress.write("train", step, steps, used=used)
        passed = limit_passed(
            self.meter.keep(self.elapsed_s, every_s=KEEP_S), self.elapsed_s, max_seconds=self.config.max_seconds,
            max_kwh=self.config.max_kwh, at=f"at step {step} of {steps}", fewer="rows or trees",
        )  # fmt: skip
        if passed is not None:
            raise passed


def _train(config: TableRunConfig, progress: Progress, meter: Meter) -> None:
    progress.write("load")
    base_digest = folder_digest(config.base_dir)
    rows, held = (
        read_rows(file, name, TABLE_COLUMNS) for name, file in (("train", config.train), ("eval", config.eval))
    )
    partial = config.output_dir / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    clock = Clock(config, progress, meter)
    progress.write("train", 0)
    fair = fair_rows(config, from_texts(rows["text"], config.columns), rows, clock.tick)
    trained = train_table(
        config.recipe, config.columns, config.labels, fair.frame, fair.truth, partial, fair.weights, fair.thresholds,
        threads=config.threads, tick=clock.tick,
    )  # fmt: skip
    clock.tick(1, 1)
    size, most = trained.facts["trainable_parameters"], config.max_parameters
    if most is not None and size > most:
        words = f"{size} numbers were fitted, max_adapter_parameters is {most}; fit fewer or smaller trees"
        raise ParametersLimitError(words, limit="max_adapter_parameters", declared=most, measured=size)
    took = clock.elapsed_s
    progress.write("evaluate")
    metrics = _score(trained.model, from_texts(held["text"], config.columns), held)
    progress.write("save")
    write_json(partial / "labels.json", list(config.labels))
    record = _record(config, base_digest, trained, meter, took)
    if fair.record is not None:
        record["mitigation"] = fair.record
    record["memory"] = clock.memory.record()
    record |= {"rows_train": rows.height, "rows_eval": held.height, "metrics": metrics}
    record["adapter_bytes"] = sum(file.stat().st_size for file in partial.iterdir())
    write_json(partial / "run.json", record)
    partial.rename(config.output_dir / "adapter")


def _score(model: TableModel, frame: pl.DataFrame, rows: pl.DataFrame) -> list[dict[str, Any]]:
    scores, truth = model.scores(frame), rows["label"]
    if model.labels:
        found = model.decided(frame, scores, model.group(rows))
        right = float(np.mean([a == b for a, b in zip(found, truth, strict=True)]))
        return [{"name": "accuracy", "value": right, "unit": "share", "n": len(found), "rows": "eval"}]
    error = float(np.abs(scores[:, 0] - targets(truth, ())).mean())
    return [{"name": "mae", "value": error, "unit": "outcome", "n": len(scores), "rows": "eval"}]


def _record(
    config: TableRunConfig, base_digest: str, trained: TrainedTable, meter: Meter, took: float
) -> dict[str, Any]:
    """The card of the run: everything needed to judge it and to repeat it."""
    dump, used = config.record(), meter.keep(took)
    return {
        "run_id": config.run_id, "config": dump,
        "digests": {
            "config": config.digest(), "recipe": digest(dump["recipe"]), "base": base_digest,
            "train": config.train.sha256, "eval": config.eval.sha256,
        },
        "seed": config.recipe.seed, "quantisation": None, **trained.facts, "rows_dropped": 0, "counts": {},
        "parameters": config.recipe.complete, "train_seconds": took, "wall_seconds": used.seconds,
        "used": used.record(), "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "device": "cpu", "threads": config.threads,
        "libraries": {"python": platform.python_version()} | versions(LIBRARIES),
    }  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m retrain.train.tabular.run CONFIG.json")
    sys.exit(report_exit(Path(sys.argv[1]), train))
