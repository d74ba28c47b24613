"""Banking77: a small model learns from the champion's answers beside the outcomes, and from outcomes alone.

The champion is made from scratch on the training messages of all 77 intents. The student has a third of its width,
one layer and a vocabulary of its own; it is trained twice by the process that a run of `assay retrain` starts, with the
same rows, seed and steps, once with `teacher: champion`. Both are scored on the 3,080 test messages.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from bench.qlora_banking77 import dataset, started
from bench.retraining.case import Case, Options, record

RECIPE: Final = {
    "task": "sequence_classification", "method": "full", "learning_rate": 2e-3, "epochs": 10, "batch_size": 32,
    "max_length": 64,
}  # fmt: skip
TEACHER: Final = {"teacher": "champion", "teacher_weight": 0.7, "temperature": 2}
TIMED: Final = 200


def run(options: Options) -> None:
    rows = pl.read_parquet(options.data / "banking77_train.parquet").rename({"category": "label"})
    test = pl.read_parquet(options.data / "banking77_test.parquet").rename({"category": "label"})
    rows = rows.sample(fraction=1, shuffle=True, seed=options.seed)
    if options.dry_run:
        rows, test = rows.head(600), test.head(200)
    with tempfile.TemporaryDirectory(prefix="distill-banking77-") as name:
        folder = Path(name)
        common = {"threads": options.threads, "progress": str(folder / "progress.jsonl")}
        teacher = folder / "champion" / "base"
        size = {"size": "tiny", "epochs": 1} if options.dry_run else {"size": "demo"}
        made = {"run_id": "champion", "train": dataset(rows, folder / "train.parquet"), "seed": options.seed}
        started("retrain.train.demo_base", made | size | common | {"output_dir": str(teacher.parent)}, folder)
        student = _student(folder / "student", rows, options.seed)
        found = {
            arm: _trained(folder / arm, student, teacher, (rows, test), options, common, keys)
            for arm, keys in (("hard_labels", {}), ("taught", TEACHER))
        }
        texts, truth = test["text"].to_list(), test["label"].to_numpy()
        shown = {
            "champion": _measured(teacher, None, texts, truth, options.threads),
            **{
                arm: _measured(student, folder / arm / "out" / "adapter", texts, truth, options.threads)
                for arm in found
            },
        }
    _record(options, shown, found, len(texts))


def _student(folder: Path, rows: pl.DataFrame, seed: int) -> Path:
    """A base of random weights, one layer of width 64, with a vocabulary of its own."""
    import torch
    from transformers import LlamaForSequenceClassification

    from retrain.train.demo_base import Size, llama_config, train_tokenizer

    tokenizer = train_tokenizer(rows["text"].to_list(), 2000, 64, closed=True)
    labels = dict(enumerate(sorted(rows["label"].unique())))
    torch.manual_seed(seed)
    size = Size(hidden=64, layers=1, heads=2, mlp=128, vocabulary=2000, epochs=0)
    config = llama_config(size, len(tokenizer), 64, id2label=labels, label2id={n: i for i, n in labels.items()})
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _trained(
    folder: Path, student: Path, teacher: Path, sets: tuple[pl.DataFrame, pl.DataFrame], options: Options,
    common: dict[str, Any], keys: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """The record of one training of the student."""
    from retrain.train.weights import folder_digest

    folder.mkdir()
    recipe = RECIPE | {"base_model": str(student), "seed": options.seed} | keys
    config = {
        "run_id": folder.name, "recipe": recipe | ({"epochs": 1} if options.dry_run else {}), "base_dir": str(student),
        "train": dataset(sets[0], folder / "train.parquet"), "eval": dataset(sets[1], folder / "eval.parquet"),
        "labels": sorted(sets[0]["label"].unique()), "output_dir": str(folder / "out"),
    }  # fmt: skip
    if keys:
        named = {"version": "v1", "base_model": str(teacher), "base_digest": folder_digest(teacher)}
        config |= {"teacher": named, "teacher_dir": str(teacher)}
    begin = time.monotonic()
    started("retrain.train.run", config | common, folder)
    found: dict[str, Any] = json.loads((folder / "out" / "adapter" / "run.json").read_text())
    return found | {"process_seconds": time.monotonic() - begin}


def _measured(base: Path, adapter: Path | None, texts: list[str], truth: Any, threads: int) -> dict[str, float]:
    """Accuracy, milliseconds of one text (median of the least of three) and bytes of the weights."""
    from retrain.train.model import load_classifier

    model = load_classifier(base, adapter, threads=threads, quantise=False, max_length=64)
    names, _ = model.predict(texts)
    times = []
    for text in texts[:TIMED]:
        tries = []
        for _ in range(3):
            begin = time.perf_counter()
            model.predict([text])
            tries.append(time.perf_counter() - begin)
        times.append(min(tries) * 1000)
    size = sum(file.stat().st_size for file in (adapter or base).glob("*.safetensors"))
    return {"accuracy": float(np.mean(np.array(names) == truth)), "ms": float(np.median(times)), "bytes": size}


def _record(options: Options, shown: dict[str, dict[str, float]], found: dict[str, dict[str, Any]], texts: int) -> None:
    champion, hard, taught = shown["champion"], shown["hard_labels"], shown["taught"]
    best = max(champion["accuracy"], 1 / texts)
    record(
        options, "distill_cpu",
        {
            "accuracy": (taught["accuracy"], "share"),
            "share_of_teachers_accuracy": (taught["accuracy"] / best, "share"),
            "process_seconds": (found["taught"]["process_seconds"], "s"),
        },
        peer="hard_labels",
        beside={
            "accuracy": hard["accuracy"], "share_of_teachers_accuracy": hard["accuracy"] / best,
            "process_seconds": found["hard_labels"]["process_seconds"],
        },
        n=texts, teacher_accuracy=round(champion["accuracy"], 4), seed=options.seed, recipe=RECIPE | TEACHER,
        rows=found["taught"]["rows_train"],
    )  # fmt: skip
    record(
        options, "distill_cpu",
        {"one_text_ms": (taught["ms"], "ms"), "weights_mb": (taught["bytes"] / 1e6, "MB")},
        peer="champion", beside={"one_text_ms": champion["ms"], "weights_mb": champion["bytes"] / 1e6},
        threads=options.threads,
    )  # fmt: skip


CASE: Final = Case("distill_cpu", "a third of the champion's width taught by it, against outcomes alone", "cpu", run)
