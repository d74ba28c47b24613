"""Models of XGBoost, LightGBM and CatBoost, from the files that they write themselves."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from core.arrays import Floats
from monitor.levels import as_levels
from retrain.evals.served.base import (
    LOG_ODDS,
    MARGIN,
    OUTCOME,
    Coding,
    Declared,
    Served,
    UnreadableModelError,
    classes_of,
    features_of,
    outputs_of,
    sigmoid,
    softmax,
    written,
)
from retrain.train.tabular.recipe import TableColumn

Scores = Callable[[Any, Floats], Floats]


def _damaged(kind: str, error: Exception) -> UnreadableModelError:
    said = (str(error).splitlines() or ["no reason"])[0][:200]
    words = f"explain.model: {kind} cannot load the file ({said}); copy it again"
    return UnreadableModelError(words, field="explain.model")


def read_xgboost(path: Path, declared: Declared) -> Served:
    """From JSON or UBJSON; categories by the levels that the file holds, if it was trained on a frame with them."""
    import xgboost

    try:
        booster = xgboost.Booster(model_file=str(path))
        config = json.loads(booster.save_config())["learner"]
        levels_of = _xgboost_levels(booster)
        booster = _answering(booster)
    except (xgboost.core.XGBoostError, ValueError) as error:
        raise _damaged("XGBoost", error) from error
    names, kinds = booster.feature_names, booster.feature_types
    columns = features_of(declared, names, booster.num_features())
    levels = {c.name: levels_of[i] for i, c in enumerate(columns) if i in levels_of} | dict(declared.levels)
    coding = Coding(columns, levels)

    def rows(x: Floats) -> Any:
        return xgboost.DMatrix(
            x, feature_names=names, feature_types=kinds, enable_categorical=bool(kinds), missing=np.nan
        )

    def raw(x: Floats) -> Floats:
        return np.asarray(booster.predict(rows(x), output_margin=True), dtype=np.float64).reshape(len(x), -1)

    objective = str(config["objective"]["name"])
    count = raw(np.full((1, len(columns)), np.nan)).shape[1]
    return _served(
        declared,
        columns,
        coding,
        raw,
        count,
        objective,
        booster,
        rows=rows,
        known=None,
        numbers=lambda x: np.asarray(booster.predict(rows(x)), dtype=np.float64).reshape(len(x), -1),
        floats=lambda x: x.astype(np.float32).astype(np.float64),  # XGBoost compares 32-bit floats
    )


def _answering(booster: Any) -> Any:
    """The trees that answer. After early stopping XGBClassifier and XGBRegressor answer with those to the best round, a
    Booster with all; shap takes the first wherever the file names a best round, so that the name is taken out."""
    best = booster.attr("best_iteration")
    if best is not None and booster.attr("scikit_learn") is not None and int(best) + 1 < booster.num_boosted_rounds():
        booster = booster[: int(best) + 1]
    booster.set_attr(best_iteration=None, best_score=None)
    return booster


def _xgboost_levels(booster: Any) -> dict[int, tuple[str, ...]]:
    """By place of a categorical feature: its levels in the order of their codes."""
    try:
        found = booster.get_categories(export_to_arrow=True).to_arrow()
    except (AttributeError, ValueError):
        return {}
    parts = {i: as_levels(pl.Series(values)) for i, (_, values) in enumerate(found or ()) if values is not None}
    return {i: tuple(str(one) for one in values) for i, values in parts.items()}


def read_lightgbm(path: Path, declared: Declared) -> Served:
    """From its text; categories by the levels of the frame it was trained on, which the text ends with."""
    import lightgbm

    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        booster = lightgbm.Booster(model_str=text)
    except (lightgbm.basic.LightGBMError, ValueError) as error:
        raise _damaged("LightGBM", error) from error
    names = booster.feature_name()
    named = None if all(name == f"Column_{i}" for i, name in enumerate(names)) else names
    columns = features_of(declared, named, len(names), plain=lambda name: name.replace(" ", "_"))
    head = dict(line.split("=", 1) for line in text[: 1 << 22].splitlines()[:60] if "=" in line)
    infos = head.get("feature_infos", "").split(" ")
    categorical = [i for i, part in enumerate(infos) if ":" in part and part[0] != "["]
    of_file = booster.pandas_categorical or []
    levels: dict[str, tuple[str, ...]] = {}
    if len(of_file) == len(categorical):
        levels = {columns[i].name: tuple(map(written, listed)) for i, listed in zip(categorical, of_file, strict=True)}
    levels |= dict(declared.levels)
    said = head.get("objective", "").split(" ")
    objective = said[0] if "sqrt" not in said else "the root of the answer"

    def raw(x: Floats) -> Floats:
        return np.asarray(booster.predict(x, raw_score=True), dtype=np.float64).reshape(len(x), -1)

    return _served(
        declared,
        columns,
        Coding(columns, levels),
        raw,
        booster.num_model_per_iteration(),
        objective,
        booster,
        known=None,
        numbers=lambda x: np.asarray(booster.predict(x), dtype=np.float64).reshape(len(x), -1),
    )


_BINARY: Final = (
    "binary:logistic",
    "binary:logitraw",
    "binary",
    "cross_entropy",
    "Logloss",
    "CrossEntropy",
)
_SQUARED: Final = (
    "reg:squarederror",
    "reg:absoluteerror",
    "reg:pseudohubererror",
    "reg:quantileerror",
    "regression",
    "regression_l1",
    "huber",
    "fair",
    "quantile",
    "mape",
    "RMSE",
    "MAE",
    "Quantile",
    "MultiRMSE",
    "MAPE",
    "Huber",
)


def _served(
    declared: Declared,
    columns: tuple[TableColumn, ...],
    coding: Any,
    raw: Callable[[Any], Floats],
    count: int,
    objective: str,
    model: Any,
    *,
    known: Sequence[Any] | None,
    numbers: Callable[[Any], Floats],
    rows: Callable[[Any], Any] = lambda x: x,
    floats: Callable[[Any], Floats] | None = lambda x: x,
) -> Served:
    """What the three have in common. `numbers`: the model's own prediction where it answers a number."""
    if declared.classes:
        classes = classes_of(declared, known, max(2, count))
        unit = LOG_ODDS if count == 1 and objective in _BINARY else MARGIN
        scores: Scores = (lambda _, found: sigmoid(found)) if count == 1 else (lambda _, found: softmax(found))
    else:
        classes, unit = (), OUTCOME if objective in _SQUARED else MARGIN
        if count > 1:
            raise UnreadableModelError(
                f"explain.model gives {count} numbers a row, and the event has one; give a file of the model of that",
                field="explain.model",
            )
        scores = (lambda _, found: found) if unit == OUTCOME else (lambda x, _: numbers(x))
    return Served(
        columns=columns,
        classes=classes,
        outputs=outputs_of(classes, count),
        unit=unit,
        encode=coding.matrix,
        raw=raw,
        scores=scores,
        unseen=coding.unseen,
        trees=model,
        tree_rows=rows,
        tree_floats=floats,
    )


class _CatboostRows:
    """Rows as CatBoost reads them: a category as its text, a missing one as pandas writes it."""

    def __init__(self, columns: tuple[TableColumn, ...], categorical: Sequence[int], declared: Declared) -> None:
        self.columns, self.categorical = columns, frozenset(categorical)
        numeric = tuple(c for i, c in enumerate(columns) if i not in self.categorical)
        names = {c.name for c in numeric}
        self.coding = Coding(numeric, {name: v for name, v in declared.levels.items() if name in names})

    def matrix(self, frame: pl.DataFrame) -> Any:
        if not self.categorical:
            return self.coding.matrix(frame)
        numbers = iter(self.coding.matrix(frame).T if self.coding.columns else ())
        parts = {}
        for i, column in enumerate(self.columns):
            if i in self.categorical:
                words = frame[column.name].cast(pl.String)
                words = words.replace(["true", "false"], ["True", "False"]) if column.type == "boolean" else words
                parts[column.name] = words.fill_null("nan").to_numpy()
            else:
                parts[column.name] = next(numbers)
        import pandas as pd

        return pd.DataFrame(parts)

    def unseen(self, frame: pl.DataFrame) -> Any:
        return self.coding.unseen(frame)


def read_catboost(path: Path, declared: Declared) -> Served:
    """From its own cbm file. Which levels of a category it was trained on the file does not say."""
    import catboost

    try:
        model = catboost.CatBoost().load_model(str(path))
    except (catboost.CatBoostError, ValueError) as error:
        raise _damaged("CatBoost", error) from error
    if model.get_text_feature_indices() or model.get_embedding_feature_indices():
        words = (
            "explain.model: the CatBoost model reads texts or embeddings, whose parts are no columns; give an endpoint"
        )
        raise UnreadableModelError(words, field="explain.model")
    names = list(model.feature_names_)
    named = None if all(name == str(i) for i, name in enumerate(names)) else names
    columns = features_of(declared, named, len(names))
    categorical = list(model.get_cat_feature_indices())
    coding = _CatboostRows(columns, categorical, declared)
    objective = str(model.get_all_params().get("loss_function", "")).split(":")[0]

    def pool(x: Any) -> Any:
        return catboost.Pool(x, cat_features=categorical or None)

    def raw(x: Any) -> Floats:
        found = model.predict(pool(x), prediction_type="RawFormulaVal", thread_count=1)
        return np.asarray(found, dtype=np.float64).reshape(len(x), -1)

    count = raw(coding.matrix(pl.DataFrame({c.name: pl.Series([None], dtype=pl.String) for c in columns}))).shape[1]
    powers = "Exponent" if objective in ("Poisson", "Tweedie") else "RawFormulaVal"
    known = [one for one in model.classes_ if one is not None] if len(model.classes_) else None
    return _served(
        declared,
        columns,
        coding,
        raw,
        count,
        objective,
        model,
        known=known,
        rows=pool,
        numbers=lambda x: np.asarray(model.predict(pool(x), prediction_type=powers)).reshape(len(x), -1),
        floats=None if categorical else (lambda x: x),
    )
