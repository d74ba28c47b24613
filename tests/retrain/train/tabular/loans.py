"""Small tables: a loan is repaid or not, and what it costs."""

import random
from typing import Any

import polars as pl

from retrain.train.tabular.recipe import TableColumn, TableRecipe

COLUMNS = (
    TableColumn(name="age", type="number"),
    TableColumn(name="purpose", type="category"),
    TableColumn(name="owner", type="boolean"),
    TableColumn(name="branch", type="category"),
)
PURPOSES = ("car", "house", "school", "travel")


def loans(count: int, seed: int = 0, *, turned: bool = False) -> pl.DataFrame:
    """Rows with their outcomes `repaid` and `cost`; `turned` is a world in which the purposes mean the opposite."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        age, purpose = draw.uniform(18, 80), draw.choice(PURPOSES)
        good = (purpose in PURPOSES[:2]) != turned
        risk = draw.random() < (0.1 if good else 0.85)
        rows.append({
            "age": None if draw.random() < 0.1 else round(age, 1), "purpose": purpose if draw.random() < 0.95 else None,
            "owner": draw.random() < 0.4, "branch": str(draw.randint(1, 6)), "repaid": "no" if risk else "yes",
            "cost": age * 2 + (50.0 if good else 5.0) + draw.gauss(0, 1),
        })  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def recipe(estimator: str, *, regression: bool = False, **more: Any) -> TableRecipe:
    few = {"random_forest": {"n_estimators": 12}, "xgboost": {"n_estimators": 15}, "lightgbm": {"n_estimators": 15},
           "hist_gradient_boosting": {"max_iter": 15}}  # fmt: skip
    document = {
        "base_model": "./models/loans", "task": f"tabular_{'regression' if regression else 'classification'}",
        "estimator": estimator, "parameters": few.get(estimator, {}), **more,
    }  # fmt: skip
    return TableRecipe.model_validate(document)
