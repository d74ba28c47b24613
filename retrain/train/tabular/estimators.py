"""Fit, save and load an estimator. The libraries are imported here, in the processes that train and evaluate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from retrain.train.errors import DataError
from retrain.train.tabular.pipeline import Matrix
from retrain.train.tabular.recipe import TableRecipe
from retrain.train.tabular.skops_file import dumps, loads

Tick = Callable[[int, int], None]


class Fitted(Protocol):
    """An estimator that was fitted or loaded."""

    features: int  # numbers of a row

    def scores(self, x: Matrix) -> Matrix:
        """Probabilities, shape (rows, classes), or numbers, shape (rows, 1)."""

    def save(self, file: Path) -> None: ...

    def size(self) -> int:
        """Fitted numbers: coefficients, or leaves of trees."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows as an estimator reads them; `y` are numbers of classes, or the outcomes."""

    x: Matrix
    y: NDArray[np.float64]
    weights: NDArray[np.float64] | None

    def part(self, at: NDArray[np.bool_]) -> "Table":
        return Table(self.x[at], self.y[at], None if self.weights is None else self.weights[at])


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What is fitted: `classes` is 0 for a number; `categorical` are the places of codes in a row."""

    recipe: TableRecipe
    classes: int
    categorical: Sequence[int]
    threads: int
    tick: Tick


class SklearnFitted:
    def __init__(self, estimator: Any, classes: int) -> None:
        self.estimator, self.classes = estimator, classes
        self.features = int(estimator.n_features_in_)

    def scores(self, x: Matrix) -> Matrix:
        if not self.classes:
            return np.asarray(self.estimator.predict(x), dtype=np.float64)[:, None]
        found = np.zeros((len(x), self.classes))
        found[:, np.asarray(self.estimator.classes_, dtype=np.intp)] = self.estimator.predict_proba(x)
        return found

    def save(self, file: Path) -> None:
        file.write_bytes(dumps(self.estimator))

    def size(self) -> int:
        trees = getattr(self.estimator, "estimators_", None)
        if trees is not None:
            return int(sum(tree.tree_.n_leaves for tree in np.ravel(trees)))
        if (rounds := getattr(self.estimator, "_predictors", None)) is not None:
            return int(sum(tree.get_n_leaf_nodes() for several in rounds for tree in several))
        return int(np.size(self.estimator.coef_) + np.size(self.estimator.intercept_))


class XgboostFitted:
    def __init__(self, booster: Any, classes: int) -> None:
        self.booster, self.classes = booster, classes
        self.features = int(booster.num_features())

    def scores(self, x: Matrix) -> Matrix:
        rows = xgboost_rows(x, self.booster.feature_types)
        found = np.asarray(self.booster.predict(rows), dtype=np.float64)
        return _two_columns(found) if self.classes == 2 else found.reshape(len(x), -1)

    def save(self, file: Path) -> None:
        self.booster.save_model(str(file))

    def size(self) -> int:
        return sum(tree.count("leaf=") for tree in self.booster.get_dump())


class LightgbmFitted:
    def __init__(self, booster: Any, classes: int) -> None:
        self.booster, self.classes = booster, classes
        self.features = int(booster.num_feature())

    def scores(self, x: Matrix) -> Matrix:
        found = np.asarray(self.booster.predict(x), dtype=np.float64)
        return _two_columns(found) if self.classes == 2 else found.reshape(len(x), -1)

    def save(self, file: Path) -> None:
        file.write_text(self.booster.model_to_string(), encoding="utf-8")

    def size(self) -> int:
        return sum(int(tree["num_leaves"]) for tree in self.booster.dump_model()["tree_info"])


def _two_columns(positive: NDArray[np.float64]) -> Matrix:
    return np.stack([1 - positive, positive], axis=1)


def xgboost_rows(x: Matrix, kinds: Sequence[str], table: Table | None = None) -> Any:
    import xgboost

    named = [f"f{i}" for i in range(len(kinds))]
    given = {} if table is None else {"label": table.y, "weight": table.weights}
    return xgboost.DMatrix(
        x, feature_names=named, feature_types=list(kinds), enable_categorical=True, missing=np.nan, nthread=1, **given
    )


def _xgboost(task: Task, train: Table, watched: Table | None) -> tuple[Fitted, int]:
    import xgboost

    class Ticks(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            task.tick(epoch + 1, rounds)
            return False

    given = task.recipe.complete
    rounds = int(given.pop("n_estimators"))
    objective = {0: "reg:squarederror", 2: "binary:logistic"}.get(task.classes, "multi:softprob")
    settings = {
        **given, "objective": objective, "seed": task.recipe.seed, "nthread": task.threads, "tree_method": "hist",
        "verbosity": 0, "device": "cpu", **({"num_class": task.classes} if task.classes > 2 else {}),
    }  # fmt: skip
    kinds = ["c" if i in set(task.categorical) else "q" for i in range(train.x.shape[1])]
    looks = [] if watched is None else [(xgboost_rows(watched.x, kinds, watched), "validation")]
    booster = xgboost.train(
        settings, xgboost_rows(train.x, kinds, train), rounds, evals=looks, verbose_eval=False,
        early_stopping_rounds=task.recipe.early_stopping if looks else None, callbacks=[Ticks()],
    )  # fmt: skip
    if looks:  # the trees of the best look, and nothing that says which: what is loaded uses all that there is
        booster = booster[: booster.best_iteration + 1]
    booster.set_attr(best_iteration=None, best_score=None)
    return XgboostFitted(booster, task.classes), int(booster.num_boosted_rounds())


def _lightgbm(task: Task, train: Table, watched: Table | None) -> tuple[Fitted, int]:
    import lightgbm

    given = task.recipe.complete
    rounds = int(given.pop("n_estimators"))
    objective = {0: "regression", 2: "binary"}.get(task.classes, "multiclass")
    settings = {
        **given, "objective": objective, "seed": task.recipe.seed, "num_threads": task.threads, "verbosity": -1,
        "deterministic": True, "force_row_wise": True, "bagging_freq": int(given["subsample"] < 1),
        **({"num_class": task.classes} if task.classes > 2 else {}),
    }  # fmt: skip
    options: dict[str, Any] = {"categorical_feature": list(task.categorical), "params": {"verbosity": -1}}
    rows = lightgbm.Dataset(train.x, train.y, weight=train.weights, **options)
    calls: list[Any] = [lambda env: task.tick(env.iteration + 1, rounds)]
    looks = []
    if watched is not None and task.recipe.early_stopping is not None:
        looks = [lightgbm.Dataset(watched.x, watched.y, weight=watched.weights, reference=rows, **options)]
        calls.append(lightgbm.early_stopping(task.recipe.early_stopping, verbose=False))
    booster = lightgbm.train(settings, rows, rounds, valid_sets=looks, callbacks=calls)
    best = booster.best_iteration if looks and booster.best_iteration > 0 else booster.num_trees()
    text = booster.model_to_string(num_iteration=best if looks else None)
    # As it will be loaded: with the best trees alone.
    kept = lightgbm.Booster(model_str=text)
    return LightgbmFitted(kept, task.classes), int(kept.current_iteration())


def _sklearn(task: Task, train: Table, watched: Table | None) -> tuple[Fitted, int]:
    from sklearn import ensemble, linear_model

    given, seed = task.recipe.complete, task.recipe.seed
    named = task.recipe.estimator
    made: Any
    if named == "logistic_regression":
        made = linear_model.LogisticRegression(**given)
    elif named == "ridge":
        made = linear_model.Ridge(**given)
    elif named == "random_forest":
        kind = ensemble.RandomForestClassifier if task.classes else ensemble.RandomForestRegressor
        made = kind(**given, random_state=seed, n_jobs=task.threads)
    else:
        kind = ensemble.HistGradientBoostingClassifier if task.classes else ensemble.HistGradientBoostingRegressor
        made = kind(**given, random_state=seed, early_stopping=watched is not None,
                    n_iter_no_change=task.recipe.early_stopping or 10)  # fmt: skip
    looks = {}
    if watched is not None:
        known = np.isin(watched.y, train.y) if task.classes else np.ones(len(watched.y), dtype=np.bool_)
        seen = watched.part(known)
        looks = {"X_val": seen.x, "y_val": seen.y}
        if seen.weights is not None:
            looks["sample_weight_val"] = seen.weights
    made.fit(train.x, train.y, sample_weight=train.weights, **looks)
    steps = getattr(made, "n_iter_", None)
    return SklearnFitted(made, task.classes), 1 if steps is None else int(np.max(steps))


_FIT: Final[dict[str, Callable[[Task, Table, Table | None], tuple[Fitted, int]]]] = {
    "xgboost": _xgboost, "lightgbm": _lightgbm,
}  # fmt: skip


def fit(task: Task, train: Table, watched: Table | None) -> tuple[Fitted, int]:
    """The fitted estimator and how many steps it took; with `watched` rows it stops early where it can.

    Raises:
        DataError: the rows of training are of one class.
    """
    if task.classes and len(np.unique(train.y)) < 2:
        raise DataError("train: all rows are of one class, and nothing can be learned from them; wait for outcomes")
    return _FIT.get(task.recipe.estimator, _sklearn)(task, train, watched)


def load(estimator: str, file: Path, classes: int) -> Fitted:
    """An estimator from its file. Raises DataError if the file is none, or holds types that are not reviewed."""
    if estimator == "xgboost":
        import xgboost

        try:
            booster = xgboost.Booster(model_file=str(file))
        except xgboost.core.XGBoostError as error:
            raise _damaged(file, error) from error
        return XgboostFitted(booster, classes)
    if estimator == "lightgbm":
        import lightgbm

        try:
            return LightgbmFitted(lightgbm.Booster(model_str=file.read_text(encoding="utf-8")), classes)
        except (lightgbm.basic.LightGBMError, ValueError) as error:
            raise _damaged(file, error) from error
    return cast(Fitted, SklearnFitted(loads(file.read_bytes()), classes))


def _damaged(file: Path, error: Exception) -> DataError:
    return DataError(f"{file} cannot be loaded ({str(error).splitlines()[0][:200]}); copy it again")
