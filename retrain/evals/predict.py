"""`python -m retrain.evals.predict CONFIG.json`: answers of models to the same texts, in its own process."""

import sys
from pathlib import Path

import polars as pl

from retrain.train.config import Frozen, Place
from retrain.train.config_file import load_config
from retrain.train.model import load_classifier


class PredictedModel(Frozen):
    name: str
    base_dir: Place
    adapter_dir: Place | None = None


class PredictConfig(Frozen):
    """`texts`: Parquet with a column `text`. `output`: a row for each, `<name>.label` and `<name>.confidence`."""

    texts: Place
    models: tuple[PredictedModel, ...]
    output: Place
    threads: int = 2


def main(path: Path) -> None:
    config = load_config(path, PredictConfig)
    texts = pl.read_parquet(config.texts)["text"].to_list()
    answers: dict[str, list[str] | list[float]] = {}
    for model in config.models:
        classifier = load_classifier(model.base_dir, model.adapter_dir, threads=config.threads)
        labels, confidences = classifier.predict(texts)
        answers[f"{model.name}.label"] = labels
        answers[f"{model.name}.confidence"] = [float(c) for c in confidences]
    pl.DataFrame(answers).write_parquet(config.output)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
