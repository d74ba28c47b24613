"""A tabular model as a folder: pipeline.json, and the estimator in its own file. What serving loads.

model = load_table(Path("credit-v2"))
model.predict([{"age": 35, "purpose": "car", "savings": None}])
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monitor.levels import level
from retrain.train.errors import DataError
from retrain.train.progress import write_json
from retrain.train.tabular import estimators
from retrain.train.tabular.estimators import Fitted
from retrain.train.tabular.files import FORMAT, PIPELINE, read_pipeline
from retrain.train.tabular.pipeline import Matrix, Pipeline
from retrain.train.tabular.recipe import TableRecipe
from retrain.train.tabular.rows import as_frame
from retrain.train.weights import file_digest


@dataclass(frozen=True, slots=True, eq=False)
class TableModel:
    """A loaded model. `labels` is empty where it predicts a number."""

    task: str
    estimator: str
    labels: tuple[str, ...]
    pipeline: Pipeline
    fitted: Fitted

    def scores(self, rows: Any) -> Matrix:
        """Probability of each label, shape (rows, labels), or the number, shape (rows, 1).

        Args:
            rows: a frame of polars or pandas, or mappings by column name; the order of columns does not count.

        Raises:
            DataError: a column is missing, or holds what its type does not allow.
        """
        frame = as_frame(rows, self.pipeline.inputs)
        if not frame.height:
            return np.zeros((0, len(self.labels) or 1))
        return self.fitted.scores(self.pipeline.matrix(frame))

    def predict(self, rows: Any) -> list[str] | list[float]:
        """The most probable label of each row, or its number. Raises DataError as `scores`."""
        found = self.scores(rows)
        if not self.labels:
            return [float(value) for value in found[:, 0]]
        return [self.labels[i] for i in found.argmax(axis=1)]


def save_table(folder: Path, recipe: TableRecipe, labels: tuple[str, ...], pipeline: Pipeline, fitted: Fitted) -> None:
    """Write the model file, then pipeline.json with its digest. Equal models give equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / recipe.entry.file
    fitted.save(file)
    write_json(folder / PIPELINE, {
        "format": FORMAT, "task": recipe.task, "estimator": recipe.estimator, "file": file.name,
        "sha256": file_digest(file), "labels": list(labels), "features": pipeline.names,
        "parameters": recipe.complete, "columns": pipeline.documents,
    })  # fmt: skip


def load_table(folder: Path, field: str = "base_dir") -> TableModel:
    """The model of a folder.

    Raises:
        WeightsNotFoundError, UnsafeWeightsError, DataError: files are missing, pickled, damaged or of two models.
    """
    found = read_pipeline(folder, field)
    labels = tuple(level(str(name)) or str(name) for name in found["labels"])  # the files may be older than levels
    pipeline = Pipeline.read(found["columns"])
    fitted = estimators.load(found["estimator"], folder / found["file"], len(labels))
    if fitted.features != len(pipeline.names) or pipeline.names != found["features"]:
        raise DataError(
            f"{field}: {found['file']} reads {fitted.features} numbers, {PIPELINE} makes {len(pipeline.names)}; copy "
            "both files of one model", field=field,
        )  # fmt: skip
    return TableModel(found["task"], found["estimator"], labels, pipeline, fitted)


def declared_columns(folder: Path) -> dict[str, str]:
    """The inputs of a folder's model and their types, in order."""
    found = json.loads((folder / PIPELINE).read_text(encoding="utf-8"))
    return {str(one["name"]): str(one["type"]) for one in found["columns"]}
