"""A tiny world: four intents in made-up phrases, two more that come later, and prompt-completion pairs."""

import json
import random
from pathlib import Path
from typing import Any

import polars as pl

from retrain.train.weights import file_digest

WORDS = {
    "card": ("card", "plastic", "chip"),
    "money": ("money", "balance", "funds"),
    "phone": ("phone", "device", "handset"),
    "rate": ("rate", "exchange", "currency"),
    "pin": ("pin", "code", "passcode"),
    "refund": ("refund", "return", "repay"),
}
OLD = ("card", "money", "phone", "rate")
NEW = ("pin", "refund")
PHRASES = (
    "my {} is gone",
    "where is the {} now",
    "please help with a {}",
    "i cannot see my {} today",
    "{} problem again",
)


def messages(labels: tuple[str, ...], rows: int, seed: int = 0) -> pl.DataFrame:
    draw = random.Random(seed)
    picked = [draw.choice(labels) for _ in range(rows)]
    texts = [draw.choice(PHRASES).format(draw.choice(WORDS[name])) for name in picked]
    return pl.DataFrame({"text": texts, "label": picked})


def pairs(rows: int, seed: int = 0, answer: str = "we will look at your {}") -> pl.DataFrame:
    draw = random.Random(seed)
    nouns = [draw.choice([w for words in WORDS.values() for w in words]) for _ in range(rows)]
    return pl.DataFrame({"prompt": [f"my {n} is gone" for n in nouns], "completion": [answer.format(n) for n in nouns]})


def dataset(frame: pl.DataFrame, path: Path) -> dict[str, str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)
    return {"path": str(path), "sha256": file_digest(path)}


def base_config(folder: Path, frame: pl.DataFrame, **more: Any) -> Path:
    config = {
        "run_id": "base",
        "size": "tiny",
        "train": dataset(frame, folder / "base.parquet"),
        "output_dir": str(folder),
        "progress": str(folder / "progress.jsonl"),
        "epochs": 6,
        "threads": 1,
    } | more
    return written(folder / "base.json", config)


def run_config(folder: Path, base: Path, train: pl.DataFrame, held_out: pl.DataFrame, **more: Any) -> Path:
    recipe = {
        "base_model": str(base),
        "task": "sequence_classification",
        "r": 4,
        "lora_alpha": 8,
        "learning_rate": 0.01,
        "epochs": 3,
        "batch_size": 16,
        "max_length": 24,
    } | more.pop("recipe", {})
    config = {
        "run_id": "run-1",
        "recipe": recipe,
        "base_dir": str(base),
        "train": dataset(train, folder / "train.parquet"),
        "eval": dataset(held_out, folder / "eval.parquet"),
        "labels": [*OLD, *NEW],
        "output_dir": str(folder / "out"),
        "progress": str(folder / "progress.jsonl"),
        "threads": 1,
        "device": "cpu",
    } | more
    return written(folder / "run.json", config)


def written(path: Path, config: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def changed(path: Path, **more: Any) -> Path:
    """The same config file with other values."""
    return written(path, json.loads(path.read_text(encoding="utf-8")) | more)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def progress(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
