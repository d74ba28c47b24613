"""`python -m retrain.evals.tabular CONFIG.json`: two tabular models on the same held-out rows, in a process.

Writes `evaluation.json` and `predictions.parquet` into `output_dir`, and `exit.json` however it ends.
"""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.kpi import KPIS
from retrain.evals import EVALS
from retrain.evals.base import Difference, bootstrap
from retrain.evals.compared import SIDES, Side, files_of, held_out_rows, write_comparison
from retrain.evals.config import EvalConfig, ModelFiles
from retrain.evals.paired import accuracy_difference, f1_macro_difference
from retrain.train.config_file import load_config
from retrain.train.energy import Meter
from retrain.train.progress import Progress, report_exit
from retrain.train.tabular.model import TableModel, load_table
from retrain.train.tabular.rows import from_texts
from retrain.train.tabular.training import targets
from retrain.train.weights import file_digest

ERRORS: Final = {"mae": 1, "rmse": 2}


def evaluate(path: Path) -> None:
    """Load, predict with both models, score, compare, write."""
    config = load_config(path, EvalConfig)
    with Meter(config.output_dir, config.country) as meter:
        _evaluate(config, meter)


def _evaluate(config: EvalConfig, meter: Meter) -> None:
    progress = Progress(config.progress)
    progress.write("load")
    rows = held_out_rows(config, ("text", "label"))
    progress.write("evaluate", 0, 2)
    models = {side: _model(files_of(config, side), side) for side in SIDES}
    predictions, probe = _predictions(config, rows, models, progress)
    numbers = config.task == "tabular_regression"
    parts = {str(name): part for (name,), part in predictions.group_by("rows", maintain_order=True)}
    compare = _error_difference if numbers else _label_differences
    found = {
        "evaluations": [one for name, p in parts.items() for one in (_errors if numbers else _labels)(config, name, p)],
        "differences": [{"rows": name} | asdict(gap) for name, p in parts.items() for gap in compare(config, p)],
        "integrity": {
            "adapters": {side: _facts(files_of(config, side), models[side]) for side in SIDES}, "probe": probe,
        },
    }  # fmt: skip
    write_comparison(config, meter, predictions, found)
    progress.write("done", eta_s=0.0)


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
        answers = found[:, 0] if numbers else [model.labels[i] for i in found.argmax(axis=1)]
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


def _labels(config: EvalConfig, name: str, part: pl.DataFrame) -> list[dict[str, Any]]:
    truth = part["label"].to_list()
    return [
        {"model": side, "rows": name} | asdict(entry.compute(truth, part[side].to_list(), confidence=config.confidence))
        for entry in EVALS.values()
        if entry.needs == "labels"
        for side in SIDES
    ]


def _label_differences(config: EvalConfig, part: pl.DataFrame) -> list[Difference]:
    given = (part["label"].to_list(), *(part[side].to_list() for side in SIDES))
    return [
        compare(*given, confidence=config.confidence, seed=config.seed)
        for compare in (accuracy_difference, f1_macro_difference)
    ]


def _errors(config: EvalConfig, name: str, part: pl.DataFrame) -> list[dict[str, Any]]:
    return [_error(config, name, part, metric, power, side) for metric, power in ERRORS.items() for side in SIDES]


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


def _error_difference(config: EvalConfig, part: pl.DataFrame) -> list[Difference]:
    truth = part["label"].to_numpy()
    champion, challenger = (np.abs(part[side].to_numpy() - truth) for side in SIDES)
    gap = challenger - champion
    low, high = bootstrap(lambda i: float(gap[i].mean()), len(gap), confidence=config.confidence, seed=config.seed)
    return [Difference("mae", float(gap.mean()), None, "1", False, len(gap), low, high)]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m retrain.evals.tabular CONFIG.json")
    sys.exit(report_exit(Path(sys.argv[1]), evaluate))
