"""Shapley values of tree ensembles by shap's TreeExplainer, brought into one shape and checked by ourselves.

Without background rows the trees' own counts of training rows say what a missing feature is replaced by (path-dependent
values). With background rows a missing feature has their values (interventional values); the base value is then the
mean of the model's own raw output over these rows, which shap 0.51 gets wrong for XGBoost with several outputs.
"""

import warnings
from typing import Any, Final

import numpy as np

from core.arrays import Floats
from monitor.explain.tables.attributions import Attributions

PATH_DEPENDENT: Final = "shap tree explainer, path-dependent (Shapley values over the trees' own counts)"
INTERVENTIONAL: Final = "shap tree explainer, interventional (Shapley values over background rows)"


class TreesUnreadError(Exception):
    """shap cannot read these trees, or not with these rows; the message says what it said."""


class TreeShap:
    """The explainer of one ensemble, made once for all rows.

    Source: Lundberg et al. (2020), Nature Machine Intelligence 2; computed by shap.TreeExplainer.
    """

    def __init__(self, model: Any, *, background: Floats | None = None, background_raw: Floats | None = None) -> None:
        """
        Args:
            model: a fitted ensemble that shap reads: xgboost.Booster, lightgbm.Booster, catboost.CatBoost, or one of
                scikit-learn.
            background: shape (m, features); None for path-dependent values.
            background_raw: the model's raw output for the background, shape (m, outputs).

        Raises:
            TreesUnreadError: shap cannot read it.
        """
        self._base = None if background_raw is None else background_raw.mean(axis=0, dtype=np.float64)
        self._rows = 0 if background is None else len(background)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of shap and numba about themselves
            import shap

            try:
                if background is None:
                    self._explainer = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
                else:  # without the masker shap takes 100 rows of its own choice
                    masker = shap.maskers.Independent(background, max_samples=len(background))
                    self._explainer = shap.TreeExplainer(model, masker, feature_perturbation="interventional")
            except Exception as error:  # shap and four libraries raise what they like
                raise TreesUnreadError(_said(error)) from error

    def attributions(self, rows: Any, raw: Floats) -> Attributions:
        """Attribute every raw output to the features.

        Args:
            rows: what the model reads, n rows: an array of shape (n, features), a DMatrix or a Pool.
            raw: the model's own raw output for these rows, shape (n, outputs).

        Raises:
            TreesUnreadError: shap raises, or gives another number of values than the model has outputs.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = self._explainer.shap_values(rows, check_additivity=False)
            except Exception as error:
                raise TreesUnreadError(_said(error)) from error
        values = _one_shape(found, *raw.shape)
        method = PATH_DEPENDENT if self._base is None else INTERVENTIONAL
        base = _base(self._explainer.expected_value, raw.shape[1]) if self._base is None else self._base
        return Attributions(values, np.broadcast_to(base, raw.shape).copy(), raw, method, self._rows, len(raw))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


def _one_shape(found: Any, rows: int, outputs: int) -> Floats:
    """Shape (rows, features, outputs), from an array of two or three dimensions, or a list with one for each output."""
    if isinstance(found, list):
        found = np.stack([np.asarray(part, dtype=np.float64) for part in found], axis=-1)
    values = np.asarray(found, dtype=np.float64)
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3 or values.shape[0] != rows or values.shape[2] != outputs:
        raise TreesUnreadError(f"shap gave values of shape {values.shape} for {rows} rows and {outputs} outputs")
    return values


def _base(expected: Any, outputs: int) -> Floats:
    base = np.ravel(np.asarray(expected, dtype=np.float64))
    if base.shape != (outputs,):
        raise TreesUnreadError(f"shap gave {base.size} expected values for {outputs} outputs")
    return base
