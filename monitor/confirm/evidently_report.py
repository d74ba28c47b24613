"""A second opinion on an alarm: an Evidently report on the raw rows, in one file that opens without a network."""

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from sys import float_info
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from core import engine as engines
from core.engine import HERE, Call
from core.errors import InsufficientDataError
from core.settings import EngineSettings
from monitor.drift.rows import RowScore, row_scores
from monitor.drift.rows.base import components
from monitor.profile.coding import category_values, number_values
from monitor.profile.reference_profile import ColumnKind
from monitor.profile.text_encoder import COMPONENTS

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS_PER_SIDE: Final = 5_000
DRIFT_SHARE: Final = 0.5
TEXT_KINDS: Final = ("text", "encoded")


@dataclass(frozen=True, slots=True)
class FixedMethod:
    """How Evidently compares the columns of one kind; a value of `threshold` or more is drift.

    `name` is Evidently's; `words` say what it measures.
    """

    name: str
    threshold: float
    words: str


# Evidently's own choice changes with the rows: tests of p values up to 1,000 rows of the reference, distances above.
# One row of a new category is then drift or not, depending on how many rows the reference has. So none is left to it.
_BY_WORDS: Final = FixedMethod(
    "abs_text_content_drift", 0.55, "area under the ROC curve of a classifier that tells both sides apart by words"
)
FIXED_METHODS: Final[Mapping[str, FixedMethod]] = {
    "number": FixedMethod("wasserstein", 0.1, "Wasserstein distance over the reference's standard deviation"),
    "category": FixedMethod("jensenshannon", 0.1, "Jensen-Shannon distance, natural logarithm"),
    "text": _BY_WORDS, "encoded": _BY_WORDS,
}  # fmt: skip
ROUNDING: Final = 1e-9  # of the largest number
LEAST_DEVIATION: Final = 0.001  # by which Evidently divides the distance of numbers that vary less
MIN_CELLS_FOR_PROCESSES: Final = 50_000  # values of both samples; fewer are compared faster than other processes start


@dataclass(frozen=True, slots=True)
class ComparedColumn:
    """What Evidently found in one column: the value of the method, and whether it reaches the threshold."""

    column: str
    method: str
    value: float | None
    threshold: float
    drifted: bool


@dataclass(frozen=True)
class Confirmation:
    """Evidently's verdicts by fixed thresholds, which know neither window size nor false-alarm budget.

    Attributes:
        columns: each column that was compared, with its method and threshold.
        share: drifted columns divided by compared columns.
        skipped: columns that could not be compared, with the reason.
        note: how the rows were sampled.
        statistics: statistics of all columns together, on the same sampled rows.
    """

    html: bytes
    json: dict[str, Any]
    columns: tuple[ComparedColumn, ...]
    share: float
    skipped: tuple[tuple[str, str], ...]
    rows_reference: int
    rows_window: int
    note: str
    statistics: tuple[RowScore, ...]

    @property
    def drifted_columns(self) -> tuple[str, ...]:
        return tuple(found.column for found in self.columns if found.drifted)


def confirm_with_evidently(
    reference: pl.DataFrame,
    window: pl.DataFrame,
    columns: Mapping[str, ColumnKind],
    *,
    seed: int = 0,
    engine: EngineSettings = HERE,
) -> Confirmation:
    """Compare raw rows with Evidently's data drift preset and the methods of `FIXED_METHODS`.

    Args:
        reference: raw rows of the reference; more than 5,000 are sampled.
        window: raw rows of the window; more than 5,000 are sampled.
        columns: kind of each column to compare. Evidently's domain classifier compares texts; the first principal
            components of vectors are compared as numbers.
        seed: seed of the sampling.
        engine: where the report and the statistics are computed, side by side; small samples stay in this process.

    Returns:
        One self-contained HTML file and Evidently's result as a dictionary. Both show "‹" for "<" in names and values,
        because Evidently writes values unescaped into a script element, and a customer's text must not become code.
        Numbers that vary by less than 0.001 are shown times a power of ten, because Evidently's Wasserstein distance is
        never over a smaller deviation, so that a cost in dollars would hide a drift that the same in cents shows.

    Raises:
        InsufficientDataError: no column has values on both sides.
        InvalidError: a column is missing or has another type.
    """
    skipped: list[tuple[str, str]] = []
    kept: dict[str, ColumnKind] = {}
    sampled = _sampled(reference, seed), _sampled(window, seed)
    before, after, compared = _without_vectors(*sampled, columns)
    for name, kind in compared.items():
        reason = _empty_side(before, after, name, kind)
        if reason:
            skipped.append((name, reason))
        else:
            kept[name] = kind
    if not kept:
        raise InsufficientDataError("no column has values on both sides; there is nothing to compare", columns=skipped)
    counted = {name: kind for name, kind in columns.items() if name in kept or kind == "vector"}
    raw = [side.select(list(counted)) for side in sampled]
    before, after = before.select(list(kept)), after.select(list(kept))
    shown = {name: _shown(before, name, kind) for name, kind in kept.items()}
    calls: list[Call[Any]] = [
        Call("Evidently's report", _report, (before, after, kept, shown)),
        Call("statistics of raw rows", partial(row_scores, seed=seed), (*raw, counted)),
    ]
    small = (before.height + after.height) * len(kept) < MIN_CELLS_FOR_PROCESSES
    (result, html, wordless), statistics = engines.run(HERE if small else engine, calls)
    skipped += [(name, "its texts have too few different words to be told apart by") for name in wordless]
    found = tuple(_compared(result, {one.name: name for name, one in shown.items()}, kept))
    return Confirmation(
        html=html.encode(),
        json=result,
        columns=found,
        share=sum(one.drifted for one in found) / len(found),
        skipped=tuple(skipped),
        rows_reference=before.height,
        rows_window=after.height,
        note=_note(reference, window, seed),
        statistics=tuple(statistics),
    )


def _compared(
    result: dict[str, Any], names: Mapping[str, str], kinds: Mapping[str, ColumnKind]
) -> Iterator[ComparedColumn]:
    """What the report says of each column, in the order of its tests."""
    values = {metric["id"]: metric["value"] for metric in result["metrics"]}
    for test in result["tests"]:
        config = test["metric_config"]
        if "column" in config["params"]:
            name = names[config["params"]["column"]]
            method = FIXED_METHODS[kinds[name]]
            value = values.get(config["metric_id"])
            number = float(value) if isinstance(value, int | float) and math.isfinite(value) else None
            yield ComparedColumn(name, method.name, number, method.threshold, test["status"] == "FAIL")


@dataclass(frozen=True, slots=True)
class _Shown:
    """How a column appears in the report: its name, and the factor of its numbers."""

    name: str
    factor: float = 1.0


def _shown(reference: pl.DataFrame, name: str, kind: ColumnKind) -> _Shown:
    if kind != "number":
        return _Shown(_escaped(name))
    numbers = number_values(reference, name)
    numbers = numbers[np.isfinite(numbers)]
    largest = float(np.abs(numbers).max())
    spread = float(numbers.std()) if numbers.min() < numbers.max() else largest
    # Numbers that differ by rounding alone stay as they are: they cannot be divided into bins.
    if not max(ROUNDING * largest, float_info.min) < spread < LEAST_DEVIATION:
        return _Shown(_escaped(name))
    places = -math.floor(math.log10(spread))
    return _Shown(f"{_escaped(name)} (times 1e{places})", 10.0**places)


def _report(
    reference: pl.DataFrame, window: pl.DataFrame, columns: Mapping[str, ColumnKind], shown: Mapping[str, _Shown]
) -> tuple[dict[str, Any], str, list[str]]:
    """The report as a dictionary and as HTML, and the columns that it leaves out: texts without words to compare."""
    try:
        return *_made(reference, window, columns, shown), []
    except ValueError:
        texts = [name for name, kind in columns.items() if kind in TEXT_KINDS]
        wordless = [name for name in texts if not _has_words(reference, window, name)]
        others = {name: kind for name, kind in columns.items() if name not in wordless}
        if not wordless:
            raise
        if not others:
            raise InsufficientDataError(
                "the texts have too few different words to be told apart by; look at the words and rows instead",
                columns=wordless,
            ) from None
        return *_made(reference, window, others, shown), wordless


def _has_words(reference: pl.DataFrame, window: pl.DataFrame, name: str) -> bool:
    """Whether Evidently's classifier finds words; it takes no letter, no English stop word and none of most texts."""
    from evidently.legacy.utils.data_drift_utils import calculate_text_drift_score

    sides = [_frame(side, {name: "text"}, {name: _Shown(name)})[name] for side in (reference, window)]
    try:
        calculate_text_drift_score(*sides, bootstrap=False)
    except ValueError:
        return False
    return True


def _made(
    reference: pl.DataFrame, window: pl.DataFrame, columns: Mapping[str, ColumnKind], shown: Mapping[str, _Shown]
) -> tuple[dict[str, Any], str]:
    kinds = {shown[name].name: kind for name, kind in columns.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of Evidently's dependencies; errors still surface
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        definition = DataDefinition(
            numerical_columns=[n for n, kind in kinds.items() if kind == "number"],
            categorical_columns=[n for n, kind in kinds.items() if kind == "category"],
            text_columns=[n for n, kind in kinds.items() if kind in TEXT_KINDS],
        )
        number, category, text = (FIXED_METHODS[kind] for kind in ("number", "category", "text"))
        preset = DataDriftPreset(
            drift_share=DRIFT_SHARE,
            num_method=number.name, num_threshold=number.threshold,
            cat_method=category.name, cat_threshold=category.threshold,
            text_method=text.name, text_threshold=text.threshold,
        )  # fmt: skip
        report = Report([preset], include_tests=True)
        snapshot = report.run(
            Dataset.from_pandas(_frame(window, columns, shown), data_definition=definition),
            Dataset.from_pandas(_frame(reference, columns, shown), data_definition=definition),
        )
        return json.loads(snapshot.json()), snapshot.get_html_str(as_iframe=False)


def _without_vectors(
    reference: pl.DataFrame, window: pl.DataFrame, columns: Mapping[str, ColumnKind]
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, ColumnKind]]:
    """The rows with the components of each vector as numbers, and the columns to compare."""
    found: dict[str, ColumnKind] = {name: kind for name, kind in columns.items() if kind != "vector"}
    for name in [name for name in columns if name not in found]:
        pairs = islice(components(reference[name], window[name]), COMPONENTS)
        for i, (before, after) in enumerate(pairs):
            derived = f"{name}.component_{i}"
            reference = reference.with_columns(pl.Series(derived, before))
            window = window.with_columns(pl.Series(derived, after))
            found[derived] = "number"
    return reference, window, found


def _sampled(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    return frame if frame.height <= MAX_ROWS_PER_SIDE else frame.sample(MAX_ROWS_PER_SIDE, seed=seed)


def _note(reference: pl.DataFrame, window: pl.DataFrame, seed: int) -> str:
    if max(reference.height, window.height) <= MAX_ROWS_PER_SIDE:
        return "all rows compared"
    return f"at most {MAX_ROWS_PER_SIDE} rows of each side compared, sampled with seed {seed}"


def _frame(frame: pl.DataFrame, columns: Mapping[str, ColumnKind], shown: Mapping[str, _Shown]) -> "pd.DataFrame":
    import pandas as pd

    values: dict[str, Any] = {}
    for name, kind in columns.items():
        if kind == "number":
            values[shown[name].name] = number_values(frame, name) * shown[name].factor
        else:
            texts = [None if text is None else _escaped(text) for text in category_values(frame, name).to_list()]
            values[shown[name].name] = ["" if text is None else text for text in texts] if kind in TEXT_KINDS else texts
    return pd.DataFrame(values)


def _empty_side(reference: pl.DataFrame, window: pl.DataFrame, name: str, kind: ColumnKind) -> str | None:
    for side, frame in (("reference", reference), ("window", window)):
        present = (
            (number_values(frame, name) == number_values(frame, name)).any()
            if kind == "number"
            else category_values(frame, name).is_not_null().any()
        )
        if not present:
            return f"the {side} has no value"
    return None


def _escaped(text: str) -> str:
    return text.replace("<", "‹")
