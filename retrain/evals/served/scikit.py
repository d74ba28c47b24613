"""scikit-learn estimators and pipelines in skops' format; only types whose loading runs no code of the file."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from core.arrays import Floats
from retrain.evals.served.base import (
    LOG_ODDS,
    MARGIN,
    OUTCOME,
    PROBABILITY,
    Coding,
    Declared,
    Served,
    UnreadableModelError,
    classes_of,
    features_of,
    outputs_of,
    sigmoid,
)
from retrain.train.errors import DataError
from retrain.train.tabular.recipe import TableColumn
from retrain.train.tabular.skops_file import REVIEWED, loads

# Reviewed as those of REVIEWED: a kind of numbers, a mapping, and the state of an optimiser after it was used.
MORE_REVIEWED: Final = REVIEWED | {
    "numpy.dtype", "sklearn.utils._bunch.Bunch", "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
}  # fmt: skip
# Ensembles that shap reads, and the method that gives what shap attributes.
_TREES: Final = {
    "DecisionTreeClassifier": "predict_proba", "ExtraTreeClassifier": "predict_proba",
    "RandomForestClassifier": "predict_proba", "ExtraTreesClassifier": "predict_proba",
    "GradientBoostingClassifier": "decision_function", "HistGradientBoostingClassifier": "decision_function",
    "DecisionTreeRegressor": "predict", "ExtraTreeRegressor": "predict", "RandomForestRegressor": "predict",
    "ExtraTreesRegressor": "predict", "GradientBoostingRegressor": "predict",
    "HistGradientBoostingRegressor": "predict",
}  # fmt: skip
_LOG_LOSS: Final = ("LogisticRegression", "LogisticRegressionCV", "GradientBoostingClassifier",
                    "HistGradientBoostingClassifier")  # fmt: skip


def read_skops(path: Path, declared: Declared) -> Served:
    """A classifier or regressor, alone or at the end of a pipeline."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # another version of scikit-learn wrote it; its answers are checked
            model = loads(path.read_bytes(), reviewed=MORE_REVIEWED)
    except DataError as error:
        raise UnreadableModelError(f"explain.model: {error.message}", field="explain.model") from error
    except Exception as error:
        raise UnreadableModelError(
            f"explain.model: skops cannot load the file ({type(error).__name__}: {str(error)[:150]}); save it with "
            "skops.io.dump and the scikit-learn of this installation", field="explain.model",
        ) from error  # fmt: skip
    return served_estimator(model, declared)


def served_estimator(model: Any, declared: Declared) -> Served:
    """A fitted estimator of scikit-learn."""
    _check_answers(model, declared)
    names = [str(one) for one in getattr(model, "feature_names_in_", ())] or None
    count = int(getattr(model, "n_features_in_", len(names or declared.features or declared.inputs)))
    columns = features_of(declared, names, count)
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    kind = type(last).__name__
    whole = last is model
    asked = (_TREES.get(kind) if whole else None) or _method(model, classes=declared.classes)
    coding: Any = _Frames(columns, model, named=names is not None) if not whole else Coding(columns, declared.levels)
    encode = coding.matrix if not whole or names is None else _named(coding.matrix, names)

    def raw(x: Any) -> Floats:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(getattr(model, asked)(x), dtype=np.float64).reshape(len(x), -1)

    count = _outputs(model, asked)
    classes = classes_of(declared, list(model.classes_), len(model.classes_)) if declared.classes else ()
    return Served(
        columns=columns, classes=classes, outputs=outputs_of(classes, count), unit=_unit(asked, kind, count),
        encode=encode, raw=raw, scores=_scores(model, asked), unseen=coding.unseen,
        trees=model if whole and kind in _TREES else None, tree_rows=np.asarray, tree_floats=np.asarray,
    )  # fmt: skip


def _check_answers(model: Any, declared: Declared) -> None:
    classifies = hasattr(model, "classes_") and hasattr(model, "predict")
    regresses = hasattr(model, "predict") and getattr(model, "_estimator_type", "regressor") == "regressor"
    if declared.classes and not classifies:
        raise UnreadableModelError(f"explain.model holds {type(model).__name__}, which has no classes, and the task is "
                                   "classification; give the classifier", field="explain.model")  # fmt: skip
    if not declared.classes and (classifies or not regresses):
        raise UnreadableModelError(f"explain.model holds {type(model).__name__}, which answers no number, and the task "
                                   "is regression; give the regressor", field="explain.model")  # fmt: skip


def _method(model: Any, *, classes: bool) -> str:
    if not classes:
        return "predict"
    for name in ("decision_function", "predict_proba"):
        if hasattr(model, name):
            return name
    raise UnreadableModelError(f"explain.model: {type(model).__name__} gives labels alone, and no score of which parts "
                               "could be told; fit it with probabilities", field="explain.model")  # fmt: skip


def _outputs(model: Any, asked: str) -> int:
    if asked == "predict":
        return 1
    kinds = len(model.classes_)
    return 1 if asked == "decision_function" and kinds == 2 else kinds


def _unit(asked: str, kind: str, outputs: int) -> str:
    if asked == "predict":
        return OUTCOME
    return PROBABILITY if asked == "predict_proba" else LOG_ODDS if kind in _LOG_LOSS and outputs == 1 else MARGIN


def _scores(model: Any, asked: str) -> Callable[[Any, Floats], Floats]:
    if asked in ("predict", "predict_proba"):
        return lambda _, raw: raw
    if hasattr(model, "predict_proba"):
        return lambda x, _: np.asarray(model.predict_proba(x), dtype=np.float64)
    return lambda _, raw: sigmoid(raw) if raw.shape[1] == 1 else raw


def _named(matrix: Callable[[pl.DataFrame], Floats], names: Sequence[str]) -> Callable[[pl.DataFrame], Any]:
    """A frame of numbers under the names that the estimator was fitted with."""

    def encode(frame: pl.DataFrame) -> Any:
        import pandas as pd

        return pd.DataFrame(matrix(frame), columns=list(names))

    return encode


class _Frames:
    """Rows as a pipeline was fitted on them: numbers as floats, categories as texts, or as numbers where they were."""

    def __init__(self, columns: tuple[TableColumn, ...], model: Any, *, named: bool) -> None:
        self.columns, self.named = columns, named
        self.known = dict(_categories(model, [c.name for c in columns]))

    def matrix(self, frame: pl.DataFrame) -> Any:
        import pandas as pd

        found = pd.DataFrame({c.name: self._values(frame[c.name], c) for c in self.columns})
        return found if self.named else found.to_numpy()

    def _values(self, values: pl.Series, column: TableColumn) -> Any:
        known = self.known.get(column.name)
        if column.type != "category":
            if known is not None and known.dtype.kind == "b":
                return values.to_numpy()
            return values.cast(pl.Float64).to_numpy()
        if known is not None and known.dtype.kind in "biuf":
            numbers = values.replace(["true", "false"], ["1", "0"]).cast(pl.Float64, strict=False)
            return numbers.to_numpy()
        texts = values.to_numpy().astype(object)
        # pandas writes NaN for what a file lacks, and None for what a database does; an encoder tells them apart.
        texts[values.is_null().to_numpy()] = None if known is not None and any(one is None for one in known) else np.nan
        return texts

    def unseen(self, frame: pl.DataFrame) -> dict[str, pl.Series]:
        from retrain.evals.served.base import written

        found = {}
        for column in self.columns:
            known = self.known.get(column.name)
            if column.type != "category" or known is None:
                continue
            listed = [written(one) for one in known if one == one and one is not None]  # noqa: PLR0124 - NaN
            values = frame[column.name]
            lost = values.is_not_null() & ~values.is_in(listed)
            if lost.any():
                found[column.name] = values.set(~lost, None)
        return found


def _categories(model: Any, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """By column, the categories that an encoder of the pipeline was fitted on."""
    for _, step in getattr(model, "steps", [("", model)]):
        for _, part, chosen in getattr(step, "transformers_", ()):
            if isinstance(part, str):
                continue
            inner = part.steps if hasattr(part, "steps") else [("", part)]
            placed = [names[int(one)] if isinstance(one, int | np.integer) else str(one) for one in np.ravel(chosen)]
            for _, encoder in inner:
                for name, known in zip(placed, getattr(encoder, "categories_", ()), strict=False):
                    yield name, np.asarray(known)
        if hasattr(step, "categories_"):
            yield from zip(names, map(np.asarray, step.categories_), strict=False)
