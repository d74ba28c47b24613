"""A tabular model that was trained here, in the form of every served model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from core.arrays import Floats
from retrain.evals.served.base import LOG_ODDS, MARGIN, OUTCOME, PROBABILITY, Served, outputs_of
from retrain.train.tabular.estimators import LightgbmFitted, SklearnFitted, XgboostFitted
from retrain.train.tabular.model import TableModel, load_table

_READ_BY_SHAP = ("random_forest", "hist_gradient_boosting", "xgboost", "lightgbm")


def read_own(folder: Path) -> Served:
    """The model of a run or a first champion: its pipeline makes the numbers, and each column's are added up again."""
    model = load_table(folder)
    raw, unit, count = _raw(model)
    named = [column.name for column in model.pipeline.columns for _ in column.names]
    members = [[i for i, name in enumerate(named) if name == c.name] for c in model.pipeline.inputs]
    trees, rows = None, np.asarray
    if model.estimator in _READ_BY_SHAP:
        fitted: Any = model.fitted
        trees = getattr(fitted, "booster", None) or fitted.estimator
        if isinstance(model.fitted, XgboostFitted):
            rows = _matrix_of(model.fitted)
    return Served(
        columns=model.pipeline.inputs, classes=model.labels, outputs=_outputs(model, count), unit=unit,
        encode=model.pipeline.matrix, raw=raw, scores=lambda x, _: model.fitted.scores(x), unseen=_unseen(model),
        trees=trees, tree_rows=rows, tree_floats=lambda x: x.astype(np.float32).astype(np.float64), members=members,
    )  # fmt: skip


def _matrix_of(fitted: XgboostFitted) -> Any:
    from retrain.train.tabular.estimators import xgboost_rows

    return lambda x: xgboost_rows(x, fitted.booster.feature_types)


def _raw(model: TableModel) -> tuple[Any, str, int]:
    """The raw output of what reads the matrix, its unit, and how many there are."""
    fitted = model.fitted
    if isinstance(fitted, XgboostFitted):
        rows, booster = _matrix_of(fitted), fitted.booster

        def ask(x: Floats) -> Any:
            return booster.predict(rows(x), output_margin=True)

    elif isinstance(fitted, LightgbmFitted):
        booster = fitted.booster

        def ask(x: Floats) -> Any:
            return booster.predict(x, raw_score=True)

    else:
        assert isinstance(fitted, SklearnFitted)
        estimator = fitted.estimator
        method = "predict" if not model.labels else "predict_proba"
        if model.labels and hasattr(estimator, "decision_function"):
            method = "decision_function"

        def ask(x: Floats) -> Any:
            return getattr(estimator, method)(x)

        if method == "predict_proba":
            return _shaped(ask), PROBABILITY, len(estimator.classes_)
        kinds = len(estimator.classes_) if model.labels else 1
        unit = OUTCOME if not model.labels else LOG_ODDS if kinds == 2 else MARGIN
        return _shaped(ask), unit, 1 if kinds == 2 else kinds
    count = 1 if len(model.labels) <= 2 else len(model.labels)
    return _shaped(ask), OUTCOME if not model.labels else LOG_ODDS if count == 1 else MARGIN, count


def _shaped(ask: Any) -> Any:
    return lambda x: np.asarray(ask(x), dtype=np.float64).reshape(len(x), -1)


def _outputs(model: TableModel, count: int) -> tuple[str, ...]:
    """Names of the raw outputs; a forest has none for a label without rows."""
    if isinstance(model.fitted, SklearnFitted) and model.labels:
        held = [model.labels[int(i)] for i in model.fitted.estimator.classes_]
        return (held[1],) if count == 1 else tuple(held)
    return outputs_of(model.labels, count)


def _unseen(model: TableModel) -> Any:
    def unseen(frame: pl.DataFrame) -> Mapping[str, pl.Series]:
        found = {}
        for column in model.pipeline.columns:
            if column.levels is not None:
                values = frame[column.name]
                lost = values.is_not_null() & ~values.is_in(list(column.levels))
                if lost.any():
                    found[column.name] = values.set(~lost, None)
        return found

    return unseen
