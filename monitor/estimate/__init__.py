"""Estimated performance before outcomes arrive: which method, fitted, stored and read back."""

import polars as pl

from core.errors import InsufficientDataError
from monitor.estimate import base
from monitor.estimate.base import Estimate
from monitor.estimate.cbpe import Cbpe, fit_cbpe
from monitor.estimate.dle import Dle, fit_dle
from monitor.spec.model import ModelSpec

Estimator = Cbpe | Dle


def fit(spec: ModelSpec, labelled: pl.DataFrame) -> Estimator:
    """Fit the method of the model's task on labelled reference rows.

    Raises:
        InsufficientDataError: saying what is missing.
    """
    if not spec.with_role("outcome"):
        raise InsufficientDataError("no column with role outcome is declared")
    if spec.task == "generation":
        raise InsufficientDataError("quality of generated text has no estimate without outcomes")
    return fit_cbpe(spec, labelled) if spec.task == "classification" else fit_dle(spec, labelled)


def load(data: bytes) -> Estimator:
    """Raises IntegrityFailureError when the bytes are no estimator."""
    header, arrays = base.from_bytes(data)
    return (Cbpe if header["method"] == "cbpe" else Dle).from_parts(header, arrays)


__all__ = ["Cbpe", "Dle", "Estimate", "Estimator", "fit", "load"]
