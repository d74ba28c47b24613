"""A domain classifier: which rows look like the window and not like the reference, and which column tells it.

It is cross-validated: every number comes from rows that the model did not see. Attributions are TreeSHAP as LightGBM
computes it, and are used only where they add up to the model's own margin.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats, Ints
from core.errors import AppError
from monitor.why.separation import Groups
from monitor.why.terms import INNER_FOLDS, TextSide, VectorSide, fitted, folded, scores

ROUNDS: Final = 60
TOLERANCE: Final = 1e-6  # of the margin, in its own size, that attributions may miss
PARAMETERS: Final[Mapping[str, Any]] = {
    "objective": "binary", "learning_rate": 0.1, "num_leaves": 8, "lambda_l2": 1.0, "num_threads": 1,
    "deterministic": True, "force_row_wise": True, "verbose": -1, "max_cat_to_onehot": 8, "min_data_per_group": 10,
}  # fmt: skip


class ResidualError(AppError):
    """Attributions do not add up to what they explain; none of them is used."""

    code = "residual"


@dataclass(frozen=True, eq=False)
class Table:
    """Both sides as columns, the rows of the reference first.

    Attributes:
        numbers: by column, float64 with nan where there is no value.
        codes: by column, the code of each row's level, -1 where there is no value.
        wide: texts and vectors, each of which is reduced to one score.
    """

    numbers: Mapping[str, Floats]
    codes: Mapping[str, Ints]
    wide: Mapping[str, TextSide | VectorSide]

    @property
    def columns(self) -> list[str]:
        return [*self.numbers, *self.codes, *self.wide]


@dataclass(frozen=True, eq=False)
class Told:
    """What rows say that the model did not see.

    Attributes:
        margin: log odds for the window, shape (rows,).
        shap: contribution of each column to the margin, shape (rows, columns), in the order of `Table.columns`.
        residual: largest gap between the base value with the contributions and the margin, in the margin's unit.
        gaps: by text column and term, how much more it adds to the score in the window than in the reference.
    """

    margin: Floats
    shap: Floats
    residual: float
    gaps: dict[str, dict[str, float]]


def told_apart(table: Table, groups: Groups, *, seed: int, tolerance: float = TOLERANCE) -> Told:
    """Fit the classifier once for each fold, and let it judge the rows of that fold.

    Raises:
        ResidualError: contributions miss the margin by more than a millionth of its size.
    """
    rows, columns = len(groups.fold), table.columns
    margin, shap, residual = np.zeros(rows), np.zeros((rows, len(columns))), 0.0
    gaps: dict[str, dict[str, float]] = {name: defaultdict(float) for name in table.wide}
    for number in np.unique(groups.fold):
        held = groups.fold == number
        features = np.column_stack(
            [*table.numbers.values(), *table.codes.values(), *_wide(table, groups, held, gaps, seed)]
        )
        model = _fit(features[~held], groups.is_window[~held], len(table.numbers), len(table.codes), seed)
        raw = np.asarray(model.predict(features[held], raw_score=True), dtype=np.float64)
        parts = np.asarray(model.predict(features[held], pred_contrib=True), dtype=np.float64)
        gap = float(np.abs(parts.sum(axis=1) - raw).max())
        if gap > tolerance * max(1.0, float(np.abs(raw).max())):
            raise ResidualError(f"contributions miss the margin by {gap:.2g}; no input is named by them", residual=gap)
        margin[held], shap[held], residual = raw, parts[:, :-1], max(residual, gap)
    return Told(margin, shap, residual, {name: dict(found) for name, found in gaps.items()})


def _wide(
    table: Table, groups: Groups, held: NDArray[np.bool_], gaps: dict[str, dict[str, float]], seed: int
) -> list[Floats]:
    """The score of each text or vector: of rows that are trained on by models that did not see them either."""
    found, train = [], ~held
    window = groups.is_window
    inner = groups.block[train] % INNER_FOLDS
    for name, side in table.wide.items():
        features, terms = side.learned(train)
        score = np.zeros(len(held))
        score[train] = folded(features[train], window[train], inner, seed)
        model = fitted(features[train], window[train], seed)
        score[held] = scores(model, features[held])
        if model is not None and terms:
            sides = [np.asarray(features[held & at].mean(axis=0)).ravel() for at in (window, ~window)]
            for term, gap in zip(terms, (model.coef_[0] * (sides[0] - sides[1])).tolist(), strict=True):
                if gap:
                    gaps[name][term] += gap
        found.append(score)
    return found


def _fit(features: Floats, is_window: NDArray[np.bool_], numbers: int, codes: int, seed: int) -> Any:
    import lightgbm

    share = is_window.mean()
    weights = np.where(is_window, 0.5 / share, 0.5 / (1.0 - share))
    least = max(5, min(20, len(is_window) // 40))
    rows = lightgbm.Dataset(
        features, is_window.astype(np.float64), weight=weights, free_raw_data=False,
        categorical_feature=list(range(numbers, numbers + codes)), params={"verbose": -1, "min_data_in_bin": 3},
    )  # fmt: skip
    settings = {**PARAMETERS, "min_data_in_leaf": least, "seed": seed}
    return lightgbm.train(settings, rows, ROUNDS)
