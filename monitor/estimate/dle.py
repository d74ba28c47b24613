"""Estimated errors of a regression before its outcomes arrive: direct loss estimation (DLE)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.arrays import Floats
from core.errors import InsufficientDataError
from monitor.estimate import base
from monitor.estimate.base import Estimate, EstimationMethod, Features
from monitor.estimate.trees import Trees, fit_mean
from monitor.spec.model import ModelSpec

TRIM_QUANTILE: Final = 0.999  # the losses that trees learn from are cut here, so that no single row dominates


@dataclass(frozen=True, eq=False)
class Dle:
    """An estimator: trees of each loss over inputs and prediction, fitted on labelled reference rows.

    `spread` holds, by loss, the mean square of (loss - expected loss) over the mean square of the expected loss.
    `scale` holds, by loss, the mean loss over the mean expected loss, which compensates for the trimming. Both are
    cross-fitted.
    """

    prediction: str
    features: Features
    trees: Mapping[str, tuple[Trees, ...]]
    spread: Mapping[str, float]
    scale: Mapping[str, float]
    labels: int

    @property
    def method(self) -> str:
        return "DLE"

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(m for m in METRICS if METRICS[m] in self.trees)

    def estimate(self, frame: pl.DataFrame, metrics: Sequence[str]) -> dict[str, Estimate]:
        """Estimate KPIs, with bands, of rows whose outcome is unknown.

        Args:
            frame: events with the columns of the spec, shape (rows,). Of more than 10,000 rows, a sample of that size
                is estimated, and the band is that of the sample.
            metrics: names of KPIs.

        Returns:
            One estimate for each metric, in the KPI's unit: mae, rmse, and mape if enough outcomes of the reference
            differ from 0. Half the band is 1.96 times the root of the sum of two variances. The sampling variance
            assumes that the spread of a row's loss is proportional to its expectation. The calibration variance is the
            delete-a-group jackknife, t-corrected. The ends of rmse's band are the roots of those of the mean square's
            band. The band is valid while errors depend on the inputs as in the reference.

        Source: NannyML's direct loss estimation; Shao and Tu (1995) for the jackknife.
        """
        answered = frame.filter(pl.col(self.prediction).cast(pl.Float64).is_finite())
        if not answered.height:
            return base.not_estimated(metrics, "no row has a finite prediction", frame.height)
        x = self.features.matrix(base.sample(answered, base.MAX_ROWS))
        return {metric: self._estimate(metric, x, answered.height) for metric in metrics}

    def _estimate(self, metric: str, x: Floats, n: int) -> Estimate:
        loss = METRICS.get(metric)
        if loss is None or loss not in self.trees:
            why = "too few outcomes of the reference differ from 0" if loss else "no estimate without outcomes"
            return Estimate(metric, None, f"{metric}: {why}", n)
        expected = self._expected(loss, x)
        values, mean = expected.mean(axis=1), expected.mean(axis=0)
        sampling = self.spread[loss] * float((mean**2).sum()) / len(mean) ** 2
        found = base.banded(metric, values, sampling, n, lowest=0.0)
        if metric != "rmse" or found.value is None:
            return found
        # The ends of the band are roots; the standard errors follow by the delta method.
        root = float(np.sqrt(found.value))
        low, high = (float(np.sqrt(x)) if x is not None else None for x in (found.low, found.high))
        errors = [e / (2.0 * root) if root and e is not None else None for e in (found.sampling, found.calibration)]
        return Estimate(metric, root, None, n, low, high, *errors)

    def _expected(self, loss: str, x: Floats) -> Floats:
        raw = np.stack([np.maximum(trees.raw(x), 0.0) for trees in self.trees[loss]])
        return raw * self.scale[loss]

    def to_bytes(self) -> bytes:
        arrays: dict[str, NDArray[Any]] = {}
        for loss, groups in self.trees.items():
            for k, trees in enumerate(groups):
                arrays |= {f"{loss}{k}/{name}": values for name, values in trees.arrays().items()}
        header = {
            "method": "dle", "prediction": self.prediction, "features": self.features.names, "labels": self.labels,
            "levels": dict(self.features.levels), "losses": sorted(self.trees), "groups": base.GROUPS,
            "spread": dict(self.spread), "scale": dict(self.scale),
        }  # fmt: skip
        return base.to_bytes(header, arrays)

    @classmethod
    def from_parts(cls, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> "Dle":
        levels = {name: tuple(found) for name, found in header["levels"].items()}
        trees = {
            loss: tuple(Trees.from_arrays(base.part(arrays, f"{loss}{k}/")) for k in range(header["groups"]))
            for loss in header["losses"]
        }
        return cls(
            header["prediction"], Features(tuple(header["features"]), levels), trees, header["spread"],
            header["scale"], header["labels"],
        )  # fmt: skip


def fit_dle(spec: ModelSpec, frame: pl.DataFrame) -> Dle:
    """Fit on labelled reference rows.

    Args:
        spec: the model.
        frame: events with their outcome, shape (rows,).

    Returns:
        Ten models of each loss, each fitted without a tenth of the rows.

    Raises:
        InsufficientDataError: fewer than 300 labelled rows have a finite prediction and outcome.

    Source: NannyML's direct loss estimation.
    """
    prediction, outcome = spec.with_role("prediction")[0], spec.target
    assert outcome is not None  # `fit` has looked
    finite = [pl.col(name).cast(pl.Float64).is_finite() for name in (prediction, outcome)]
    rows = frame.filter(finite) if outcome in frame.columns else frame.clear()
    if rows.height < base.MIN_LABELS:
        raise InsufficientDataError(
            f"{rows.height} labelled reference rows with a finite prediction; at least {base.MIN_LABELS} are needed"
        )
    rows = base.sample(rows, base.MAX_LABELS)
    chosen = base.features(spec, rows)
    x = chosen.matrix(rows)
    true, answer = rows[outcome].cast(pl.Float64).to_numpy(), rows[prediction].cast(pl.Float64).to_numpy()
    error = np.abs(true - answer)
    losses = {"absolute": (x, error), "square": (x, error**2)}
    varies = true != 0
    if np.count_nonzero(varies) >= base.MIN_LABELS and varies.mean() > 0.5:
        losses["share"] = (x[varies], error[varies] / np.abs(true[varies]))
    fitted = {loss: _cross_fitted(*data) for loss, data in losses.items()}
    return Dle(
        prediction, chosen, {loss: f[0] for loss, f in fitted.items()}, {loss: f[1] for loss, f in fitted.items()},
        {loss: f[2] for loss, f in fitted.items()}, rows.height,
    )  # fmt: skip


def _cross_fitted(x: Floats, loss: Floats) -> tuple[tuple[Trees, ...], float, float]:
    """Trees fitted without each group, and the cross-fitted spread and scale."""
    group = base.groups(len(loss))
    trimmed = np.minimum(loss, np.quantile(loss, TRIM_QUANTILE))
    trees = tuple(fit_mean(x[group != k], trimmed[group != k]) for k in range(base.GROUPS))
    expected = np.zeros(len(loss))
    for k, fitted in enumerate(trees):
        expected[group == k] = np.maximum(fitted.raw(x[group == k]), 0.0)
    scale = float(loss.mean() / expected.mean()) if expected.any() else 1.0
    expected *= scale
    square = float(np.mean(expected**2))
    return trees, float(np.mean((loss - expected) ** 2)) / square if square else 0.0, scale


METRICS: Final[Mapping[str, str]] = {"mae": "absolute", "mape": "share", "rmse": "square"}
METHOD: Final = EstimationMethod("dle", "regression", fit_dle, Dle.from_parts)
