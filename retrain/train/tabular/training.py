"""Fit pipeline and estimator on typed rows: what a run does, and what makes the first champion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from retrain.train.errors import DataError
from retrain.train.tabular.estimators import Table, Task, Tick, fit
from retrain.train.tabular.model import TableModel, load_table, save_table
from retrain.train.tabular.pipeline import Pipeline
from retrain.train.tabular.recipe import TableColumn, TableRecipe
from retrain.train.tabular.thresholds import GroupThresholds


@dataclass(frozen=True, slots=True, eq=False)
class TrainedTable:
    """The model as it was read back from its file, with facts for the record."""

    model: TableModel
    facts: Mapping[str, Any]


def train_table(
    recipe: TableRecipe, columns: Sequence[TableColumn], labels: tuple[str, ...], frame: pl.DataFrame,
    truth: pl.Series, folder: Path, weights: NDArray[np.float64] | None = None,
    thresholds: GroupThresholds | None = None, *, threads: int, tick: Tick,
) -> TrainedTable:  # fmt: skip
    """Fit, save into `folder`, and load again.

    Args:
        frame: typed rows in the order of `columns`.
        truth: the label of each row, or its number as text or float, shape (rows,).
        weights: of each row, beside those of its class, shape (rows,).
        thresholds: by which groups are decided, chosen on other rows for a model of these rows.
        tick: called with a step and the number of steps; what it raises ends the training.

    Raises:
        DataError: one class, an outcome that is no number, or predictions that differ after loading.
    """
    made, facts = fit_table(recipe, columns, labels, frame, truth, weights, threads=threads, tick=tick)
    save_table(folder, recipe, labels, made.pipeline, made.fitted, thresholds)
    model = load_table(folder)
    before, after = made.scores(frame), model.scores(frame)
    if not np.isfinite(after).all():
        raise DataError("the fitted model predicts values that are not finite; look at the columns' largest values")
    if not np.array_equal(before, after):
        raise DataError(f"{recipe.estimator} predicts other values after it was saved and loaded; nothing was kept")
    return TrainedTable(model, facts)


def fit_table(
    recipe: TableRecipe, columns: Sequence[TableColumn], labels: tuple[str, ...], frame: pl.DataFrame,
    truth: pl.Series, weights: NDArray[np.float64] | None = None, *, threads: int, tick: Tick,
) -> tuple[TableModel, dict[str, Any]]:  # fmt: skip
    """Fit pipeline and estimator; returns the model, which lies in no file, and facts for the record.

    Args:
        weights: of each row, beside those of its class, shape (rows,).
    """
    outcomes = targets(truth, labels)
    of_class = _weights(recipe, labels, outcomes)
    if weights is not None:
        of_class = weights if of_class is None else of_class * weights
    watched = _watched(recipe, outcomes, classes=bool(labels))
    pipeline = Pipeline.fit(frame.filter(~watched), columns, recipe.entry, recipe.max_levels)
    rows = Table(pipeline.matrix(frame), outcomes, of_class)
    task = Task(recipe, len(labels), pipeline.categorical, threads, tick)
    fitted, steps = fit(task, rows.part(~watched), rows.part(watched) if watched.any() else None)
    facts = {"steps": steps, "trainable_parameters": fitted.size(), "rows_validation": int(watched.sum()),
             "features": len(pipeline.names)}  # fmt: skip
    return TableModel(recipe.task, recipe.estimator, labels, pipeline, fitted), facts


def targets(truth: pl.Series, labels: tuple[str, ...]) -> NDArray[np.float64]:
    """Numbers of labels, or numbers. Raises DataError for a label that is not listed, or what is no number."""
    if labels:
        if unknown := sorted(set(truth) - set(labels)):
            raise DataError(f"train: labels {unknown[:5]} are not in the config's labels", labels=unknown)
        index = {name: float(i) for i, name in enumerate(labels)}
        return np.array([index[name] for name in truth])
    found = truth.cast(pl.Float64, strict=False)
    if found.null_count() or not found.is_finite().all():
        raise DataError("an outcome is no finite number; correct it, or leave the row out")
    return found.to_numpy().astype(np.float64)


def _watched(recipe: TableRecipe, outcomes: NDArray[np.float64], *, classes: bool) -> NDArray[np.bool_]:
    """The rows that early stopping looks at; a class whose rows all were drawn is trained on, or nobody learns it."""
    rows = len(outcomes)
    mask = np.zeros(rows, dtype=np.bool_)
    if recipe.early_stopping is not None and rows >= 10:
        drawn = np.random.default_rng(recipe.seed).permutation(rows)
        mask[drawn[: max(1, round(recipe.validation * rows))]] = True
        if classes:
            mask &= np.isin(outcomes, outcomes[~mask])
    return mask


def _weights(recipe: TableRecipe, labels: tuple[str, ...], outcomes: NDArray[np.float64]) -> NDArray[np.float64] | None:
    if recipe.class_weights is None:
        return None
    at = outcomes.astype(np.intp)
    if recipe.class_weights == "balanced":
        counts = np.bincount(at, minlength=len(labels))
        each = len(at) / ((counts > 0).sum() * np.maximum(counts, 1))
    else:
        if unknown := sorted(set(recipe.class_weights) - set(labels)):
            raise DataError(
                f"recipe.class_weights: {unknown[:3]} are no labels of the run, which are {list(labels)[:20]}; spell "
                "them as the outcomes are", field="recipe.class_weights",
            )  # fmt: skip
        each = np.array([float(recipe.class_weights.get(name, 1.0)) for name in labels])
    found: NDArray[np.float64] = each[at]
    if not found.any():
        raise DataError("recipe.class_weights: every training row has weight 0; give a label that has rows a weight",
                        field="recipe.class_weights")  # fmt: skip
    return found
