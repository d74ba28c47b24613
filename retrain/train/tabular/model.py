"""A tabular model as a folder: pipeline.json, and the estimator in its own file. What serving loads.

model = load_table(Path("credit-v2"))
model.predict([{"age": 35, "purpose": "car", "savings": None}])
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from monitor.levels import level
from retrain.train.errors import DataError
from retrain.train.mitigation.weights import groups_of
from retrain.train.progress import write_json
from retrain.train.tabular import estimators
from retrain.train.tabular.estimators import Fitted
from retrain.train.tabular.files import FORMAT, PIPELINE, read_pipeline
from retrain.train.tabular.pipeline import Matrix, Pipeline
from retrain.train.tabular.recipe import TableRecipe
from retrain.train.tabular.rows import as_frame, as_texts
from retrain.train.tabular.thresholds import GroupThresholds, group_values
from retrain.train.weights import file_digest


@dataclass(frozen=True, slots=True, eq=False)
class TableModel:
    """A loaded model. `labels` is empty where it predicts a number."""

    task: str
    estimator: str
    labels: tuple[str, ...]
    pipeline: Pipeline
    fitted: Fitted
    thresholds: GroupThresholds | None = None

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
        """The most probable label of each row, or its number; with thresholds, what they decide for the row's group.

        Raises:
            DataError: as `scores`; or the column of the group is missing, where there are thresholds.
        """
        if not isinstance(rows, pl.DataFrame) and not hasattr(rows, "columns"):
            rows = list(rows)
        found = self.scores(rows)
        if not self.labels:
            return [float(value) for value in found[:, 0]]
        group = None if self.thresholds is None else group_values(rows, self.thresholds.by)
        return self.decided(as_frame(rows, self.pipeline.inputs), found, group)

    def group(self, curated: pl.DataFrame) -> pl.Series | None:
        """The group of each curated row by which this model decides; None where it has no thresholds."""
        return None if self.thresholds is None else groups_of(curated, self.thresholds.by)

    def decided(self, frame: pl.DataFrame, scores: Matrix, group: pl.Series | None) -> list[str]:
        """The label of each row.

        Args:
            frame: typed rows.
            scores: of the labels, shape (rows, labels).
            group: of each row; None where there are no thresholds.
        """
        best = scores.argmax(axis=1)
        if self.thresholds is None or group is None or not frame.height:
            return [self.labels[i] for i in best]
        at = self.labels.index(self.thresholds.positive)
        texts = as_texts(frame, self.pipeline.inputs).to_list()
        positive = self.thresholds.positives((best == at).astype(np.float64), scores[:, at], group, texts)
        return [self.labels[at if one else 1 - at] for one in positive]


def save_table(
    folder: Path, recipe: TableRecipe, labels: tuple[str, ...], pipeline: Pipeline, fitted: Fitted,
    thresholds: GroupThresholds | None = None,
) -> None:  # fmt: skip
    """Write the model file, then pipeline.json with its digest. Equal models give equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / recipe.entry.file
    fitted.save(file)
    write_json(folder / PIPELINE, {
        "format": FORMAT, "task": recipe.task, "estimator": recipe.estimator, "file": file.name,
        "sha256": file_digest(file), "labels": list(labels), "features": pipeline.names,
        "parameters": recipe.complete, "columns": pipeline.documents,
        **({} if thresholds is None else {"thresholds": thresholds.document}),
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
    thresholds = GroupThresholds.read(found["thresholds"]) if "thresholds" in found else None
    return TableModel(found["task"], found["estimator"], labels, pipeline, fitted, thresholds)


def declared_columns(folder: Path) -> dict[str, str]:
    """The inputs of a folder's model and their types, in order."""
    found = json.loads((folder / PIPELINE).read_text(encoding="utf-8"))
    return {str(one["name"]): str(one["type"]) for one in found["columns"]}
