"""`python -m bench.retraining.saved FOLDER SIZE STEPS`: a model on disk, two data sets and the file of a run."""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import polars as pl
import torch

from bench.retraining.model import SIZES, documents, llama, tokenizer
from retrain.train.base_model import quantisation, quiet
from retrain.train.weights import file_digest


def dataset(path: Path, rows: list[list[int]]) -> dict[str, str]:
    """Documents as words: the first two are the prompt, the others the completion."""
    words = [[f"w{i}" for i in ids] for ids in rows]
    frame = pl.DataFrame({"prompt": [" ".join(w[:2]) for w in words], "completion": [" ".join(w[2:]) for w in words]})
    frame.write_parquet(path)
    return {"path": str(path), "sha256": file_digest(path)}


def main(folder: Path, name: str, steps: int) -> None:
    size, device = SIZES[name], torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    model = llama(size, device)
    model.config.quantization_config = quantisation(device)
    with quiet():
        model.save_pretrained(folder / "base")
    tokenizer(size).save_pretrained(folder / "base")
    texts = [ids[: size.row - 2] for ids in documents(size, (steps + 1) * size.row * size.rows)]
    held_out, rows = texts[:8], texts[8:]
    recipe: dict[str, Any] = {
        "base_model": str(folder / "base"), "task": "causal_lm", "epochs": 1, "learning_rate": 2e-4,
        "batch_size": round(size.rows * size.row * len(rows) / sum(map(len, rows))), "max_length": size.row,
        "speed": "fast",
    }  # fmt: skip
    run = {
        "run_id": "through", "recipe": recipe, "base_dir": str(folder / "base"), "output_dir": str(folder / "out"),
        "train": dataset(folder / "train.parquet", rows), "eval": dataset(folder / "eval.parquet", held_out),
        "progress": str(folder / "progress.jsonl"), "threads": 4,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(run))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
