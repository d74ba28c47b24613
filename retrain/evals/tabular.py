"""`python -m retrain.evals.tabular CONFIG.json`: two tabular models on the same held-out rows, in a process.

Writes `evaluation.json` and `predictions.parquet` into `output_dir`, and `exit.json` however it ends.
"""

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.kpi import KPIS
from retrain.evals.base import Difference, bootstrap
from retrain.evals.compared import SIDES, Scores, Side, compare_labels, comparison, files_of
from retrain.evals.config import EvalConfig, ModelFiles
from retrain.train.progress import Progress, report_exit
from retrain.train.tabular.model import TableModel, load_table
from retrain.train.tabular.rows import from_texts
from retrain.train.tabular.training import targets
from retrain.train.weights import file_digest

ERRORS: Final = {"mae": 1, "rmse": 2}


def evaluate(path: Path) -> None:
    """Load, predict with both models, score, compare, write."""
    comparison(path, _compare)


def _compare(config: EvalConfig, rows: pl.DataFrame, progress: Progress) -> tuple[pl.DataFrame, Mapping[str, Any]]:
    models = {side: _model(files_of(config, side), side) for side in SIDES}
    predictions, probe = _predictions(config, rows, models, progress)
    compare = _compare_numbers if config.task == "tabular_regression" else compare_labels
    evaluations, differences = compare(config, predictions)
    adapters = {side: _facts(files_of(config, side), models[side]) for side in SIDES}
    return predictions, {
        "evaluations": evaluations, "differences": differences, "integrity": {"adapters": adapters, "probe": probe},
    }  # fmt: skip


def _model(files: ModelFiles, side: str) -> TableModel:
    """What a run trained is a whole model; the first champion is the base itself."""
    return load_table(files.adapter_dir or files.base_dir, side)


def _facts(files: ModelFiles, model: TableModel) -> dict[str, Any] | None:
    folder = files.adapter_dir
    if folder is None:
        return None
    size = model.fitted.size()
    return {"sha256": file_digest(folder / "pipeline.json"), "tensors": 1, "parameters": size, "all_finite": True}


def _predictions(
    config: EvalConfig, rows: pl.DataFrame, models: dict[Side, TableModel], progress: Progress
) -> tuple[pl.DataFrame, dict[str, Any]]:
    numbers = config.task == "tabular_regression"
    label = pl.Series("label", targets(rows["label"], ())) if numbers else rows["label"]
    predictions = rows.select("rows", "row_id").with_columns(label)
    probe: dict[str, Any] = {"rows": rows.height, "unit": "outcome" if numbers else "probability"}
    scores: dict[str, dict[str, Any]] = {}
    for step, side in enumerate(SIDES, start=1):
        model = models[side]
        frame = from_texts(rows["text"], model.pipeline.inputs)
        found = model.scores(frame)
        scores[side] = dict(zip(model.labels or ("number",), found.T, strict=True))
        probe[f"{side}_finite"] = bool(np.isfinite(found).all())
        answers = found[:, 0] if numbers else model.decided(frame, found, model.group(rows))
        added = [pl.Series(side, answers)]
        if not numbers:
            added.append(pl.Series(f"{side}_confidence", found.max(axis=1), dtype=pl.Float32))
        predictions = predictions.with_columns(added)
        progress.write("evaluate", step, len(SIDES))
    base = load_table(config.challenger.base_dir)
    first = dict(zip(base.labels or ("number",), base.scores(from_texts(rows["text"], base.pipeline.inputs)).T,
                     strict=True))  # fmt: skip
    probe["labels"] = {} if numbers else {side: list(models[side].labels) for side in SIDES}
    probe["challenger_adapter_on_off"] = _change(scores["challenger"], first)
    probe["champion_challenger"] = _change(scores["challenger"], scores["champion"])
    return predictions, probe


def _change(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Largest difference of a score; of a label that only one knows, its score."""
    nothing = np.zeros(1)
    return max(float(np.abs(one.get(n, nothing) - other.get(n, nothing)).max()) for n in one.keys() | other.keys())


def _compare_numbers(config: EvalConfig, predictions: pl.DataFrame) -> Scores:
    """By set of rows the errors of both models, and the paired difference of their mean absolute errors."""
    evaluations, differences = list[dict[str, Any]](), list[dict[str, Any]]()
    for (name,), part in predictions.group_by("rows", maintain_order=True):
        evaluations += [
            _error(config, str(name), part, metric, power, side) for metric, power in ERRORS.items() for side in SIDES
        ]
        differences.append({"rows": name} | asdict(_error_difference(config, part)))
    return evaluations, differences


def _error(config: EvalConfig, name: str, part: pl.DataFrame, metric: str, power: int, side: str) -> dict[str, Any]:
    errors = np.abs(part[side].to_numpy() - part["label"].to_numpy()) ** power
    value = KPIS[metric].compute(part.select(pl.col(side).alias("prediction"), pl.col("label").alias("outcome")))

    def mean(at: NDArray[np.intp]) -> float:
        return float(errors[at].mean() ** (1 / power))

    low, high = bootstrap(mean, len(errors), confidence=config.confidence, seed=config.seed)
    return {
        "model": side, "rows": name, "name": metric, "value": value.value, "reason": value.reason, "unit": "outcome",
        "higher_is_better": False, "n": part.height, "low": low, "high": high,
    }  # fmt: skip


def _error_difference(config: EvalConfig, part: pl.DataFrame) -> Difference:
    truth = part["label"].to_numpy()
    champion, challenger = (np.abs(part[side].to_numpy() - truth) for side in SIDES)
    gap = challenger - champion
    low, high = bootstrap(lambda i: float(gap[i].mean()), len(gap), confidence=config.confidence, seed=config.seed)
    return Difference("mae", float(gap.mean()), None, "1", False, len(gap), low, high)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m retrain.evals.tabular CONFIG.json")
    sys.exit(report_exit(Path(sys.argv[1]), evaluate))
