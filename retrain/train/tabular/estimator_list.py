"""The estimators that a tabular recipe may name, with their parameters. No model library is imported here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Estimator = Literal["logistic_regression", "ridge", "random_forest", "hist_gradient_boosting", "xgboost", "lightgbm"]
Encoding = Literal["one_hot", "codes"]
Value = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number from `least` to `most`, whole or not; or one of `choices`. `default` is Assay's, not the library's."""

    default: Value
    least: float = 0.0
    most: float = 1e9
    whole: bool = False
    choices: tuple[Value, ...] = ()

    @property
    def words(self) -> str:
        named = " or ".join("null" if c is None else str(c).lower() for c in self.choices)
        number = f"a {'whole ' if self.whole else ''}number from {self.least:g} to {self.most:g}"
        return named if isinstance(self.default, bool) else f"{number}{f' or {named}' if named else ''}"

    def fits(self, value: Any) -> bool:
        if isinstance(self.default, bool) or isinstance(value, bool | str) or value is None:
            return any(value is choice or (isinstance(value, str) and value == choice) for choice in self.choices)
        return self.least <= value <= self.most and (not self.whole or value == int(value))


@dataclass(frozen=True, slots=True)
class Entry:
    """One estimator: the file it is saved in, and what it needs of the columns."""

    file: str
    encoding: Encoding  # of categories
    imputes: bool  # it cannot read a missing number
    scales: bool
    stops_early: bool
    parameters: Mapping[str, Parameter]
    classifies: bool = True
    regresses: bool = True


def _count(default: int, most: float = 10_000) -> Parameter:
    return Parameter(default, 1, most, whole=True)


_DEPTH: Final = Parameter(None, 1, 64, whole=True, choices=(None,))
_SHARE: Final = Parameter(1.0, 0.05, 1.0)
_RATE: Final = Parameter(0.1, 1e-4, 1.0)
_PENALTY: Final = Parameter(0.0, 0.0, 1e6)
SKOPS: Final = "model.skops"

ESTIMATORS: Final[Mapping[Estimator, Entry]] = {
    "logistic_regression": Entry(
        SKOPS, "one_hot", imputes=True, scales=True, stops_early=False, regresses=False,
        parameters={"C": Parameter(1.0, 1e-6, 1e6), "max_iter": _count(1000)},
    ),
    "ridge": Entry(
        SKOPS, "one_hot", imputes=True, scales=True, stops_early=False, classifies=False,
        parameters={"alpha": Parameter(1.0, 0.0, 1e9)},
    ),
    "random_forest": Entry(
        SKOPS, "one_hot", imputes=True, scales=False, stops_early=False,
        parameters={
            "n_estimators": _count(300), "max_depth": _DEPTH, "min_samples_leaf": _count(2),
            "max_features": Parameter("sqrt", 0.05, 1.0, choices=("sqrt", "log2", None)),
        },
    ),
    "hist_gradient_boosting": Entry(
        SKOPS, "one_hot", imputes=False, scales=False, stops_early=True,
        parameters={
            "max_iter": _count(200), "learning_rate": _RATE, "max_leaf_nodes": Parameter(31, 2, 4096, whole=True),
            "max_depth": _DEPTH, "min_samples_leaf": _count(20), "l2_regularization": _PENALTY,
        },
    ),
    "xgboost": Entry(
        "model.ubj", "codes", imputes=False, scales=False, stops_early=True,
        parameters={
            "n_estimators": _count(200), "learning_rate": _RATE, "max_depth": Parameter(6, 1, 64, whole=True),
            "min_child_weight": Parameter(1.0), "gamma": _PENALTY, "subsample": _SHARE, "colsample_bytree": _SHARE,
            "reg_lambda": Parameter(1.0, 0.0, 1e6), "reg_alpha": _PENALTY,
        },
    ),
    "lightgbm": Entry(
        "model.txt", "codes", imputes=False, scales=False, stops_early=True,
        parameters={
            "n_estimators": _count(200), "learning_rate": _RATE, "num_leaves": Parameter(31, 2, 4096, whole=True),
            "max_depth": Parameter(-1, -1, 64, whole=True), "min_child_samples": _count(20), "subsample": _SHARE,
            "colsample_bytree": _SHARE, "reg_lambda": _PENALTY, "reg_alpha": _PENALTY,
        },
    ),
}  # fmt: skip
