"""`python -m retrain.evals.explain_rows CONFIG.json`: attributions of rows of typed columns, in its own process.

Writes `block.parquet` and `facts.json` and, however it ends, `exit.json` into `output_dir`.
"""

import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from pydantic import Field

from core.errors import AppError, InvalidError
from monitor.explain.tables.answers import Matched, match_classes, match_numbers
from monitor.explain.tables.attributions import Attributions
from monitor.explain.tables.formats import Format, ModelFileError, format_of
from monitor.levels import answers
from retrain.evals.served.attribute import Attributing
from retrain.evals.served.base import Declared, Served
from retrain.train.config import Frozen, Place
from retrain.train.config_file import load_config
from retrain.train.output import versions
from retrain.train.progress import report_exit, write_json
from retrain.train.tabular.rows import typed

GIVEN: Final = "assay:answer"  # columns of the rows besides the model's, which no column of a spec is called
SCORE: Final = "assay:score"
LIBRARIES: Final = (
    "shap",
    "numpy",
    "xgboost-cpu",
    "xgboost",
    "lightgbm",
    "catboost",
    "scikit-learn",
    "skops",
    "onnxruntime",
)
ROWS: Final = 20_000  # that are attributed at a time
SAMPLE: Final = 50  # rows to be explained, and as many of the background, that a model is asked once for its unit


class EndpointPlace(Frozen):
    name: str
    url: str
    timeout_s: float


class RowsConfig(Frozen):
    """`folder`: a model that was trained here; or a `file`; or an `endpoint`."""

    folder: Place | None = None
    file: Place | None = None
    format: Format | None = None
    endpoint: EndpointPlace | None = None
    declared: Declared
    rows: Place  # event_id, seq, the columns, GIVEN and SCORE
    background: Place
    interventional: bool
    threshold: float | None = None
    budget: int = Field(ge=4)
    seed: int = 0
    threads: int = Field(default=1, ge=1)
    output_dir: Place


def explain_rows(path: Path) -> None:
    config = load_config(path, RowsConfig)
    rows = pl.read_parquet(config.rows)
    served = served_of(config, rows)
    background = typed(pl.read_parquet(config.background), served.columns)
    attributing = Attributing(served, background, config.interventional, config.budget, config.seed)
    blocks = [one for part in rows.iter_slices(ROWS) for one in _block(config, served, attributing, part)]
    pl.concat([frame for frame, _ in blocks]).write_parquet(config.output_dir / "block.parquet")
    found = [one for _, one in blocks]
    told = next((one for one in found if one.method != "none"), found[0])
    facts = {
        "columns": [c.name for c in served.columns], "classes": list(served.classes), "outputs": list(served.outputs),
        "unit": served.unit, "method": told.method, "background_rows": told.background_rows,
        "evals": sum(one.evals for one in found), "notes": attributing.notes,
        "libraries": versions(LIBRARIES),
    }  # fmt: skip
    write_json(config.output_dir / "facts.json", facts)


def served_of(config: RowsConfig, rows: pl.DataFrame) -> Served:
    """The libraries of each are loaded here, and only where it is one of theirs."""
    if config.folder is not None:
        from retrain.evals.served.own import read_own

        return read_own(config.folder)
    # Whether scores are probabilities is seen by those of some rows: the background's too, for one row says little.
    columns = config.declared.columns
    background = pl.read_parquet(config.background).head(SAMPLE)
    sample = pl.concat([typed(rows.head(SAMPLE), columns), typed(background, columns)])
    if config.endpoint is not None:
        from retrain.evals.served.endpoint import Endpoint, read_endpoint

        place = config.endpoint
        return read_endpoint(Endpoint(place.name, place.url, place.timeout_s, rows.height), config.declared, sample)
    assert config.file is not None
    return _of_file(config.file, config.format, config.declared, sample)


def _of_file(file: Path, declared: Format | None, model: Declared, sample: pl.DataFrame) -> Served:
    """
    Raises:
        PickledModelError, ModelFileError: before anything is loaded.
    """
    kind = format_of(file.read_bytes())
    if declared is not None and kind != declared:
        raise ModelFileError(f"explain.model is a file of {kind}, explain.format says {declared}; correct one",
                             field="explain.format", value=declared)  # fmt: skip
    if kind == "skops":
        from retrain.evals.served.scikit import read_skops

        return read_skops(file, model)
    if kind == "onnx":
        from retrain.evals.served.onnx import read_onnx

        return read_onnx(file, model, sample)
    from retrain.evals.served import ensembles

    readers = {
        "xgboost": ensembles.read_xgboost,
        "lightgbm": ensembles.read_lightgbm,
        "catboost": ensembles.read_catboost,
    }
    return readers[kind](file, model)


def _block(
    config: RowsConfig, served: Served, attributing: Attributing, rows: pl.DataFrame
) -> list[tuple[pl.DataFrame, Attributions]]:
    """Rows that the model cannot read are found by halves, and withheld; the others are explained."""
    frame = typed(rows, served.columns)
    try:
        found, scores = attributing.attributions(frame)
    except AppError:
        raise
    except Exception as error:  # noqa: BLE001 - each library says in its own way that it cannot read a row
        if rows.height == 1:
            return [_unread(served, rows, error)]
        half = rows.height // 2
        return [one for part in (rows[:half], rows[half:]) for one in _block(config, served, attributing, part)]
    matched = _matched(config, served, scores, rows)
    return [(_table(served, frame, rows, found, matched, scores), found)]


def _unread(served: Served, rows: pl.DataFrame, error: Exception) -> tuple[pl.DataFrame, Attributions]:
    nothing = np.full((1, len(served.outputs)), np.nan)
    found = Attributions(np.zeros((1, len(served.columns), nothing.shape[1])), nothing, nothing, "none")
    said = (str(error).splitlines() or [""])[0][:200]
    why = pl.Series("reason", [f"the model cannot read these inputs: {said}"])
    none = pl.Series("note", [None], dtype=pl.String)
    matched = Matched(np.zeros(1, dtype=np.int64), none, why, none)
    scores = np.full((1, max(1, len(served.classes))), np.nan)
    return _table(served, typed(rows, served.columns), rows, found, matched, scores), found


def _matched(config: RowsConfig, served: Served, scores: Any, rows: pl.DataFrame) -> Matched:
    if not served.classes:
        return match_numbers(scores, rows[GIVEN].cast(pl.Float64, strict=False))
    given = answers(rows[GIVEN], truth=config.declared.boolean)
    if config.threshold is not None and len(served.classes) != 2:
        raise InvalidError(f"explain.threshold is set, and the model has {len(served.classes)} classes; leave it out",
                           field="explain.threshold")  # fmt: skip
    return match_classes(served.classes, scores, given, threshold=config.threshold, recorded=rows[SCORE])


def _table(
    served: Served, frame: pl.DataFrame, rows: pl.DataFrame, found: Attributions, matched: Matched, scores: Any
) -> pl.DataFrame:
    """One line for each event; the values of one whose outputs do not add up, or that another model answered, go."""
    whole = found.adds_up.all(axis=1)
    reason = matched.reason.to_list()
    for row in np.flatnonzero(~whole):
        if reason[row] is not None:
            continue
        off = int((found.residual[row] / found.tolerance[row]).argmax())
        reason[row] = (
            f"the attributions do not add up to the model's raw output: for {served.outputs[off]!r} base value plus "
            f"sum is off by {found.residual[row, off]:.3g}, and at most {found.tolerance[row, off]:.3g} is tolerated"
        )
    why = pl.Series("reason", reason, dtype=pl.String)
    values = pl.Series("values", found.values.reshape(len(found.values), -1)).set(why.is_not_null(), None)
    unseen = served.unseen(frame)
    index = matched.index
    return rows.select("event_id", "seq").with_columns(
        why, matched.note.alias("note"), matched.own.cast(pl.String).alias("own"), pl.Series("index", index),
        pl.Series("score", scores[range(len(index)), index]), pl.Series("base", found.base),
        pl.Series("output", found.raw), pl.Series("residual", found.residual),
        pl.Series("tolerance", found.tolerance), values, _unseen(unseen, rows.height),
    )  # fmt: skip


def _unseen(found: Any, rows: int) -> pl.Series:
    """For each row a sentence about the levels that the model was not trained on; null for none."""
    if not found:
        return pl.Series("unseen", [None] * rows, dtype=pl.String)
    parts = [pl.format("{} {}", pl.lit(name), pl.col(name)) for name in found]
    told = pl.DataFrame(dict(found)).select(pl.concat_str(parts, separator=", ", ignore_nulls=True).alias("unseen"))
    return told["unseen"].replace("", None)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m retrain.evals.explain_rows CONFIG.json")
    sys.exit(report_exit(Path(sys.argv[1]), explain_rows))
