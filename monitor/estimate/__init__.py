"""Estimated performance before outcomes arrive: a table of methods, one for each task that has one."""

from typing import Final

import polars as pl

from core.errors import InsufficientDataError, IntegrityFailureError
from monitor.estimate import cbpe, dle
from monitor.estimate.base import FORMAT, Estimate, EstimationMethod, Estimator, from_bytes
from monitor.spec.model import ModelSpec

ESTIMATORS: Final = {method.name: method for method in (cbpe.METHOD, dle.METHOD)}


def fit(spec: ModelSpec, labelled: pl.DataFrame) -> Estimator:
    """Fit the method of the model's task on labelled reference rows.

    Args:
        spec: the model.
        labelled: events with their outcome, shape (rows,).

    Returns:
        The fitted estimator.

    Raises:
        InsufficientDataError: the message states what is missing.

    Source: the docstring of each method.
    """
    if spec.target is None:
        raise InsufficientDataError("no outcome that fits the prediction is declared")
    method = next((method for method in ESTIMATORS.values() if method.task == spec.task), None)
    if method is None:
        raise InsufficientDataError("quality of generated text has no estimate without outcomes")
    return method.fit(spec, labelled)


def load(data: bytes) -> Estimator:
    """Read a stored estimator.

    Raises:
        IntegrityFailureError: the bytes are not an estimator.
    """
    header, arrays = from_bytes(data)
    method = ESTIMATORS.get(header["method"])
    if method is None:
        raise IntegrityFailureError(f"not an estimator: method {header['method']!r}", format=FORMAT)
    return method.restore(header, arrays)


__all__ = ["ESTIMATORS", "Estimate", "EstimationMethod", "Estimator", "fit", "load"]
