"""Decisions whose inputs resemble those of one event, among the events that arrived around it.

The distance of two events is the mean of the distances of their columns (Gower 1971): of a number its difference over
the range of the middle 90 % of the compared events, at most 1; of a category or a truth value 0 if equal, else 1; of
texts 1 minus the share of their words that both have (Jaccard); of vectors half of 1 minus their cosine. A value that
only one of the two has counts 1, one that both lack 0. Every column counts the same.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from monitor.site import Site
from monitor.spec.model import ModelSpec

if TYPE_CHECKING:
    import polars as pl

COMPARED: Final = 20_000  # events, those that arrived around it
SHOWN: Final = 10
DIFFERENCES: Final = 3  # columns that are named as different
LEAST: Final = 0.05  # a column nearer than this is not named as different
_ROLES: Final = ("input", "segment")
_SKIPPED: Final = ("string", "texts")  # identifiers say nothing of likeness


@dataclass(frozen=True, slots=True)
class SimilarEvent:
    event_id: str
    at: datetime
    distance: float  # 0..1
    answer: Any
    outcome: Any  # of the target; None where none is known
    differs: tuple[str, ...]  # columns that differ most, the most different first


@dataclass(frozen=True, slots=True)
class Similar:
    """The most similar events, nearest first; `compared` counts those that were looked at, by which `columns`."""

    events: list[SimilarEvent] = field(default_factory=list)
    compared: int = 0
    columns: tuple[str, ...] = ()
    reason: str | None = None  # why nothing was compared


def similar(
    site: Site, spec: ModelSpec, event: Mapping[str, Any], *, without: Collection[str] = (), compared: int = COMPARED,
    shown: int = SHOWN,
) -> Similar:  # fmt: skip
    """The events most similar to a stored one.

    Args:
        without: columns that are not compared: protected ones.
    """
    import polars as pl

    names = [
        name for name, c in spec.event_columns.items()
        if c.role in _ROLES and c.type not in _SKIPPED and name not in without
    ]  # fmt: skip
    seq = int(event["seq"])
    rows = site.events.scan(spec.model, from_seq=max(0, seq - compared // 2), to_seq=seq + compared // 2)
    there = rows.collect_schema().names()
    names = [name for name in names if name in there]
    if not names:
        return Similar(reason="the model has no input or segment that can be compared")
    answer = spec.with_role("prediction")[0]
    kept = list(dict.fromkeys(("event_id", "ts", "seq", *names, *(n for n in (answer,) if n in there))))
    frame = rows.select(kept).filter(pl.col("seq") != seq).collect()
    if frame.is_empty():
        return Similar(columns=tuple(names), reason="no other event is stored")
    distances = pl.DataFrame({name: _distance(frame[name], event.get(name)) for name in names})
    mean = distances.mean_horizontal()
    nearest = pl.DataFrame({"d": mean, "seq": frame["seq"]}).with_row_index("at").sort("d", "seq").head(shown)["at"]
    found = frame[nearest.to_list()]
    target = spec.target
    known = site.events.outcomes(spec.model, ids=found["event_id"])
    labels = dict(known.select("event_id", target).iter_rows()) if target and target in known.columns else {}
    events = []
    for at, row in zip(nearest.to_list(), found.iter_rows(named=True), strict=True):
        parts = sorted(((value, name) for name, value in distances.row(at, named=True).items()), reverse=True)
        differs = tuple(name for value, name in parts[:DIFFERENCES] if value > LEAST)
        label = labels.get(row["event_id"])
        events.append(SimilarEvent(row["event_id"], row["ts"], float(mean[at]), row.get(answer), label, differs))
    return Similar(events, frame.height, tuple(names))


def _distance(column: "pl.Series", value: Any) -> "pl.Series":
    """The distance of each value of a column from one value, 0..1."""
    import polars as pl

    missing = column.is_null()
    if value is None:
        return (~missing).cast(pl.Float64)
    if isinstance(column.dtype, pl.List):
        found = _angles(column, value)
    elif column.dtype.is_float():
        low, high = column.quantile(0.05), column.quantile(0.95)
        spread = (high - low) if low is not None and high is not None and high > low else 1.0
        found = ((column - float(value)).abs() / spread).clip(0.0, 1.0)
    elif column.dtype == pl.String and " " in str(value):
        found = _words(column, str(value))
    else:
        found = (column != value).cast(pl.Float64)
    return found.cast(pl.Float64).fill_null(1.0).fill_nan(1.0)


def _words(texts: "pl.Series", text: str) -> "pl.Series":
    import polars as pl

    pattern = r"[\pL\pN]+"
    own = pl.Series([text]).str.to_lowercase().str.extract_all(pattern).list.unique()
    words = texts.str.to_lowercase().str.extract_all(pattern).list.unique()
    both = words.list.set_intersection(own.new_from_index(0, len(words))).list.len().cast(pl.Float64)
    either = words.list.len().cast(pl.Float64) + float(len(own[0])) - both
    return 1.0 - both / either


def _angles(vectors: "pl.Series", value: Any) -> "pl.Series":
    import numpy as np
    import polars as pl

    own = np.asarray(value, dtype=np.float64)
    fits = vectors.list.len().fill_null(0) == len(own)
    if not fits.any() or not np.linalg.norm(own):
        return pl.Series([1.0]).new_from_index(0, len(vectors))
    rows = np.asarray(vectors.filter(fits).list.explode().to_numpy(), dtype=np.float64).reshape(-1, len(own))
    sizes = np.linalg.norm(rows, axis=1) * np.linalg.norm(own)
    cosines = np.divide(rows @ own, sizes, out=np.zeros(len(rows)), where=sizes > 0)
    found = np.ones(len(vectors))
    found[fits.to_numpy()] = np.clip((1.0 - cosines) / 2.0, 0.0, 1.0)
    return pl.Series(found)
