"""What estimates without labels share: the table entry, the columns they learn from, cross-fitting, and the bytes."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.arrays import Floats, Ints
from core.errors import IntegrityFailureError
from monitor.levels import as_levels, level
from monitor.spec.model import ModelSpec

FORMAT: Final = "assay-estimator/2"
GROUPS: Final = 10
MIN_LABELS: Final = 300
MIN_PER_CLASS: Final = 30
MAX_LABELS: Final = 20_000  # of the reference; more are sampled down to this number
MAX_ROWS: Final = 10_000  # of a window; a larger one is estimated from a sample of this size
MAX_LEVELS: Final = 200
BAND_ALPHA: Final = 0.025  # of each end of the 95 % band
LEARNED_FROM: Final = ("input", "segment", "agent", "score", "prediction")


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated KPI; `value` is None with a `reason` if there is no estimate.

    The band from `low` to `high` should contain the value realised on the same rows 95 times in 100. `sampling` and
    `calibration` are the two standard errors that it combines, in the unit of the value.
    """

    metric: str
    value: float | None
    reason: str | None
    n: int
    low: float | None = None
    high: float | None = None
    sampling: float | None = None
    calibration: float | None = None


class Estimator(Protocol):
    """A method fitted on labelled reference rows."""

    @property
    def method(self) -> str: ...

    @property
    def metrics(self) -> tuple[str, ...]: ...

    @property
    def labels(self) -> int: ...

    def estimate(self, frame: pl.DataFrame, metrics: Sequence[str]) -> dict[str, Estimate]: ...

    def to_bytes(self) -> bytes: ...


@dataclass(frozen=True)
class EstimationMethod:
    """One entry of the table. `name` is the method in a stored estimator's header; `restore` reads its parts."""

    name: str
    task: str
    fit: Callable[[ModelSpec, pl.DataFrame], Estimator]
    restore: Callable[[Mapping[str, Any], Mapping[str, NDArray[Any]]], Estimator]


@dataclass(frozen=True, eq=False)
class Features:
    """Columns as numbers. A category becomes its rank by frequency in the reference; an unknown one is missing."""

    names: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]  # by category column, most frequent first

    def matrix(self, frame: pl.DataFrame) -> Floats:
        """Numbers of shape (rows, columns); nan for a missing or infinite value."""
        columns = [self._column(frame[name], self.levels.get(name)) for name in self.names]
        return np.column_stack(columns) if columns else np.zeros((frame.height, 1))

    def _column(self, values: pl.Series, levels: tuple[str, ...] | None) -> Floats:
        if levels is not None:
            codes = {level(name) or name: float(i) for i, name in enumerate(levels)}
            values = as_levels(values).replace_strict(codes, default=None, return_dtype=pl.Float64)
        found = values.cast(pl.Float64, strict=False).to_numpy()  # nan where it is null
        return np.where(np.isfinite(found), found, np.nan)


def features(spec: ModelSpec, frame: pl.DataFrame) -> Features:
    """The columns that an estimate may learn from: numbers, booleans and categories, not protected, not outcomes."""
    names = [
        name for name, c in spec.columns.items()
        if c.role in LEARNED_FROM and c.type in ("number", "boolean", "category") and name in frame.columns
    ]  # fmt: skip
    levels = {}
    for name in names:
        if spec.columns[name].type == "category":
            counts = as_levels(frame[name]).drop_nulls().value_counts(sort=True, name="rows")
            ordered = counts.sort("rows", name, descending=[True, False])
            levels[name] = tuple(ordered[name].head(MAX_LEVELS).to_list())
    return Features(tuple(names), levels)


def groups(rows: int) -> Ints:
    """Assign rows to the ten groups of the jackknife at random, with a fixed seed.

    Args:
        rows: number of rows.

    Returns:
        Group of each row, 0..9, shape (rows,).
    """
    return np.random.default_rng(0).permutation(np.arange(rows) % GROUPS)


def sample(frame: pl.DataFrame, most: int) -> pl.DataFrame:
    """At most `most` rows in their order, drawn without replacement with a fixed seed."""
    if frame.height <= most:
        return frame
    return frame[np.sort(np.random.default_rng(0).choice(frame.height, most, replace=False))]


def calibration_variance(values: Floats) -> float:
    """Delete-a-group jackknife variance of an estimate.

    Args:
        values: the estimate without each group, shape (groups,).

    Returns:
        Variance >= 0 in the squared unit of the values.

    Source: Shao and Tu, The Jackknife and Bootstrap (1995), section 2.3.
    """
    return float((len(values) - 1) / len(values) * np.sum((values - values.mean()) ** 2))


def band_half_width(sampling: float, calibration: float, alpha: float) -> float:
    """Half the width of a band that each end leaves with a probability of alpha.

    Args:
        sampling, calibration: standard errors, in the unit of the KPI.
        alpha: one-sided error; 0.025 gives the 95 % band.

    Returns:
        Half the width in the unit of the KPI: a quantile times the root of the sum of both variances. The quantile is
        Student's, with the degrees of freedom of that sum: the jackknife over ten groups leaves nine, the sampling
        variance counts as known. It lies between the normal quantile and that of nine degrees of freedom.

    Source: Satterthwaite (1946); Shao and Tu, The Jackknife and Bootstrap (1995), section 2.3.
    """
    from scipy.special import stdtrit

    variance = sampling**2 + calibration**2
    if not variance:
        return 0.0
    freedom = (GROUPS - 1) / max((calibration**2 / variance) ** 2, 1e-9)
    return float(stdtrit(freedom, 1.0 - alpha) * np.sqrt(variance))


def banded(
    metric: str,
    values: Floats,
    sampling: float,
    n: int,
    *,
    lowest: float = -np.inf,
    highest: float = np.inf,
) -> Estimate:
    """Mean over the groups' models with its 95 % band, from the sampling variance and the jackknife.

    Args:
        metric: name of the KPI.
        values: the estimate of each group's model, shape (groups,).
        sampling: sampling variance, in the squared unit of the values.
        n: rows.
        lowest, highest: the range of the KPI; the band is cut at its ends.

    Returns:
        The estimate; None with a reason if a number is not finite.

    Source: Shao and Tu, The Jackknife and Bootstrap (1995), section 2.3.
    """
    value, calibration = float(values.mean()), calibration_variance(values)
    if not (np.isfinite(value) and np.isfinite(sampling) and np.isfinite(calibration)):
        return Estimate(metric, None, "cannot be estimated: the values are too large or undefined", n)
    errors = float(np.sqrt(sampling)), float(np.sqrt(calibration))
    half = band_half_width(*errors, BAND_ALPHA)
    low, high = max(lowest, value - half), min(highest, value + half)
    return Estimate(metric, value, None, n, low, high, *errors)


def to_bytes(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """A zip archive of plain arrays and one JSON header. Equal estimators have equal bytes."""
    names = sorted(arrays)
    text = json.dumps({"format": FORMAT, "arrays": names, **header}, separators=(",", ":"), sort_keys=True)
    members = {"header": np.frombuffer(text.encode(), dtype=np.uint8)}
    members |= {f"a{i}": arrays[name] for i, name in enumerate(names)}
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **cast("dict[str, Any]", members))
    return out.getvalue()


def from_bytes(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays of a stored estimator.

    Raises:
        IntegrityFailureError: the bytes are not an estimator of this format.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as members:
            header = json.loads(members["header"].tobytes())
            if header["format"] != FORMAT:
                raise ValueError(f"format {header['format']!r}, {FORMAT!r} expected")
            return header, {name: members[f"a{i}"] for i, name in enumerate(header["arrays"])}
    except (ValueError, KeyError, OSError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise IntegrityFailureError(f"not an estimator: {error}", format=FORMAT) from error


def part(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """The arrays whose names start with a prefix, by their names without it."""
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}


def not_estimated(metrics: Sequence[str], reason: str, n: int = 0) -> dict[str, Estimate]:
    """The same reason for every metric.

    Args:
        metrics: names of KPIs.
        reason: why there is no estimate.
        n: rows.

    Returns:
        An estimate without a value for each metric.
    """
    return {metric: Estimate(metric, None, reason, n) for metric in metrics}
