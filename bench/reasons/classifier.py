"""The demo's classifier and messages that it answers."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import polars as pl

from core.process import environment

ROOT: Final = Path(__file__).resolve().parents[2]


def messages(data: Path, part: str) -> pl.DataFrame:
    """Messages of Banking77 with `text` and `category`."""
    return pl.read_parquet(data / f"banking77_{part}.parquet")


def base(options: argparse.Namespace) -> Path:
    """The folder that is named, or else a base made as the demo makes its first one; it stays for the next time."""
    if options.base is not None:
        return Path(options.base)
    folder = Path(tempfile.gettempdir()) / f"bench-explain-{options.seed}"
    if not (folder / "base" / "labels.json").is_file():
        from bench.qlora_banking77 import dataset

        folder.mkdir(parents=True, exist_ok=True)
        rows = messages(options.data, "train").rename({"category": "label"})
        config = {
            "run_id": "bench", "train": dataset(rows, folder / "rows.parquet"), "output_dir": str(folder),
            "progress": str(folder / "progress.jsonl"), "threads": options.threads, "seed": options.seed,
        }  # fmt: skip
        run("retrain.train.demo_base", config, folder, options.threads)
    return folder / "base"


def run(module: str, config: dict[str, Any], folder: Path, threads: int) -> None:
    import json

    path = folder / f"{module}.json"
    path.write_text(json.dumps(config))
    given = environment(threads) | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", module, str(path)], cwd=ROOT, env=given, check=True)


def classifier(options: argparse.Namespace) -> Any:
    """The base as it serves: in 4 bits."""
    from retrain.evals.config import ModelFiles
    from retrain.evals.explained.base import ExplainedModel
    from retrain.evals.explained.words import ExplainedClassifier

    files = ModelFiles(base_dir=base(options), quantise=True)
    return ExplainedClassifier.load(
        ExplainedModel(files=files, task="sequence_classification", max_length=64, threads=options.threads)
    )


def sample(options: argparse.Namespace) -> list[str]:
    found = messages(options.data, "test")["text"].sample(options.rows, seed=options.seed)
    return [str(text) for text in found]
