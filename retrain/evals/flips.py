"""`python -m retrain.evals.flips CONFIG.json`: what a classifier answers to inputs and to the same inputs swapped.

Reads a Parquet file of columns `before` and `after`, and writes `answers.parquet` beside `exit.json`: for each row both
answers, and the probability that each input gives to the first answer.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from retrain.evals.explained.base import ExplainedModel
from retrain.train.config import Frozen, Place
from retrain.train.config_file import load_config
from retrain.train.kinds import is_table
from retrain.train.model import load_classifier
from retrain.train.progress import report_exit
from retrain.train.tabular.model import load_table
from retrain.train.tabular.rows import from_texts


class FlipConfig(Frozen):
    """`rows`: Parquet with the inputs as texts, as datasets keep them."""

    model: ExplainedModel
    rows: Place
    output_dir: Place


def answer(path: Path) -> None:
    """Load the model, ask it both times, write."""
    config = load_config(path, FlipConfig)
    rows = pl.read_parquet(config.rows)
    labels, scores = _scores(config.model, pl.concat([rows["before"], rows["after"]]))
    before, after = scores[: rows.height], scores[rows.height :]
    first, second = before.argmax(axis=1), after.argmax(axis=1)
    at = np.arange(rows.height)
    pl.DataFrame(
        {
            "before": [labels[i] for i in first], "after": [labels[i] for i in second],
            "score_before": before[at, first], "score_after": after[at, first],
        }
    ).write_parquet(config.output_dir / "answers.parquet")  # fmt: skip


def _scores(model: ExplainedModel, texts: pl.Series) -> tuple[tuple[str, ...], NDArray[Any]]:
    files = model.files
    if is_table(model.task):
        table = load_table(files.adapter_dir or files.base_dir)
        return table.labels, table.scores(from_texts(texts, table.pipeline.inputs))
    classifier = load_classifier(
        files.base_dir, files.adapter_dir, device=model.device, threads=model.threads, quantise=files.quantise,
        max_length=model.max_length,
    )  # fmt: skip
    return tuple(classifier.labels), np.asarray(classifier.predict_proba(texts.to_list()), dtype=np.float64)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m retrain.evals.flips CONFIG.json")
    sys.exit(report_exit(Path(sys.argv[1]), answer))
