"""`python -m retrain.evals.explain CONFIG.json`: word attributions of one text, in its own process.

Writes `explanation.json` and, however it ends, `exit.json` into `output_dir`.
"""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from core.errors import InvalidError
from monitor.explain import EXPLAINERS
from retrain.evals.config import ModelFiles
from retrain.train.config import Frozen, Place
from retrain.train.config_file import load_config
from retrain.train.model import load_classifier
from retrain.train.progress import report_exit, write_json


class ExplainConfig(Frozen):
    """`label` is the answer to explain; without it, the model's own answer."""

    model: ModelFiles
    text: str
    label: str | None = None
    max_length: int = Field(default=64, ge=2)
    max_evals: int = Field(default=500, ge=10)
    seed: int = 0
    threads: int = Field(default=1, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    output_dir: Place


def explain(path: Path) -> None:
    """Load the classifier, choose the label, attribute, write."""
    config = load_config(path, ExplainConfig)
    files = config.model
    model = load_classifier(
        files.base_dir, files.adapter_dir, device=config.device, threads=config.threads, quantise=files.quantise,
        max_length=config.max_length,
    )  # fmt: skip
    shares = model.predict_proba([config.text])[0]
    label = config.label if config.label is not None else model.labels[int(shares.argmax())]
    if label not in model.labels:
        words = f"label {label!r} is not one this version can give; it knows {len(model.labels)} others"
        raise InvalidError(words, field="label")
    found = EXPLAINERS["owen_words"].compute(
        config.text,
        lambda texts: model.predict_proba(texts).astype(np.float64),
        model.labels.index(label),
        max_evals=config.max_evals,
        seed=config.seed,
    )
    document = asdict(found) | {"label": label, "unit": "probability"}
    write_json(config.output_dir / "explanation.json", document)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m retrain.evals.explain CONFIG.json")
    sys.exit(report_exit(Path(sys.argv[1]), explain))
