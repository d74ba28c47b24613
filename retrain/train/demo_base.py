"""`python -m retrain.train.demo_base CONFIG.json`: make a small Llama from scratch, for the demo and the tests.

A causal model pools the state of the last token, so every text ends in the same `</s>`, which learns to gather what
the head needs. What makes so few rows enough: a lower-cased vocabulary that comes close to whole words, few layers,
and hiding one word in eight while training.
"""

import platform
import resource
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

import torch
import transformers
from pydantic import Field
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

from core.canonical import digest
from retrain.train.base_model import quiet
from retrain.train.config import DatasetFile, Frozen, Place, Recipe
from retrain.train.config_file import load_config
from retrain.train.data import classification_examples, completion_examples, read_rows
from retrain.train.kinds import Task
from retrain.train.progress import Progress, report_exit, write_json
from retrain.train.trainers import ClassificationTrainer, training_arguments
from retrain.train.watch import Watch

SPECIAL: Final = ("<pad>", "<unk>", "<s>", "</s>")
PAD, UNKNOWN, START, END = range(len(SPECIAL))


class BaseConfig(Frozen):
    """A small base model made from scratch.

    Sizes: `tiny` for tests (seconds, learns little), `demo` for the demo (about a minute on two cores).
    """

    run_id: str = Field(min_length=1)
    task: Task = "sequence_classification"
    size: Literal["tiny", "demo"] = "demo"
    train: DatasetFile
    output_dir: Place
    progress: Place
    epochs: float | None = Field(default=None, gt=0)
    max_length: int = Field(default=64, ge=8)
    seed: int = Field(default=0, ge=0, lt=2**32)
    threads: int = Field(default=2, ge=1)
    max_seconds: float | None = Field(default=None, gt=0)


@dataclass(frozen=True)
class Size:
    hidden: int
    layers: int
    heads: int
    mlp: int
    vocabulary: int
    epochs: float


SIZES: Final = {
    "tiny": Size(hidden=64, layers=2, heads=2, mlp=128, vocabulary=400, epochs=2),
    "demo": Size(hidden=192, layers=2, heads=3, mlp=512, vocabulary=4000, epochs=8),
}
BATCH: Final = 32
LEARNING_RATE: Final = 1e-3
HIDDEN_SHARE: Final = 0.12


class HideWords:
    """Pads a batch and replaces a share of the words by `<unk>`, so that no intent hangs on a single word."""

    def __init__(self, share: float, seed: int) -> None:
        self.share, self.generator = share, torch.Generator().manual_seed(seed)

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        width = max(len(row["input_ids"]) for row in rows)
        ids = torch.tensor([row["input_ids"] + [PAD] * (width - len(row["input_ids"])) for row in rows])
        mask = (ids != PAD).long()
        hide = (torch.rand(ids.shape, generator=self.generator) < self.share) & (ids >= len(SPECIAL))
        if "label" in rows[0]:
            labels = torch.tensor([row["label"] for row in rows])
        else:
            labels = torch.tensor([row["labels"] + [-100] * (width - len(row["labels"])) for row in rows])
        return {"input_ids": ids.masked_fill(hide, UNKNOWN), "attention_mask": mask, "labels": labels}


def train_tokenizer(texts: list[str], vocabulary: int, max_length: int, *, closed: bool) -> PreTrainedTokenizerFast:
    """A lower-cased byte-pair tokenizer; `closed` frames every text in `<s>` and `</s>`."""
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[UNKNOWN]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    # A word keeps the space before it as its first letter, so decoding gives the text back.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="always"), pre_tokenizers.Punctuation()]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, min_frequency=2, special_tokens=list(SPECIAL), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    if closed:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", START), ("</s>", END)]
        )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # no annotations
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[PAD],
        unk_token=SPECIAL[UNKNOWN],
        bos_token=SPECIAL[START],
        eos_token=SPECIAL[END],
        padding_side="right",
        model_max_length=max_length,
    )


def llama_config(size: Size, vocabulary: int, max_length: int, **more: Any) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.mlp,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=max(128, max_length),
        pad_token_id=PAD,
        bos_token_id=START,
        eos_token_id=END,
        use_cache=False,
        **more,
    )


def make_base(path: Path) -> None:
    """One run: read, build the tokenizer and the model, train, save."""
    config = load_config(path, BaseConfig)
    done = config.output_dir / "base"
    started = time.monotonic()
    progress = Progress(config.progress)
    progress.write("load")
    torch.set_num_threads(config.threads)
    transformers.set_seed(config.seed)
    size = SIZES[config.size]
    columns = ("text", "label") if config.task == "sequence_classification" else ("prompt", "completion")
    frame = read_rows(config.train, "train", columns)
    texts = [text for name in columns if name != "label" for text in frame[name]]
    classification = config.task == "sequence_classification"
    tokenizer = train_tokenizer(texts, size.vocabulary, config.max_length, closed=classification)
    labels: list[str] = sorted(frame["label"].unique()) if classification else []
    model, examples = _model_and_examples(config, size, frame, labels, tokenizer)

    watch = Watch(progress, config.max_seconds)
    trainer = _trainer(config, size, model, examples, tokenizer, watch)
    trainer.train()

    progress.write("save")
    partial = config.output_dir / ".partial"
    partial.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.save_pretrained(partial, safe_serialization=True)
    tokenizer.save_pretrained(partial)
    write_json(partial / "labels.json", labels)
    record = {
        "run_id": config.run_id,
        "config": config.record(),
        "digests": {"config": digest(config.record()), "train": config.train.sha256},
        "parameters": sum(p.numel() for p in model.parameters()),
        "rows": frame.height,
        "loss": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "wall_seconds": time.monotonic() - started,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "libraries": {"python": platform.python_version(), "torch": torch.__version__}
        | {"transformers": transformers.__version__},
    }
    write_json(partial / "base.json", record)
    _replace(partial, done)
    progress.write("done", eta_s=0.0)


def _trainer(
    config: BaseConfig, size: Size, model: PreTrainedModel, examples: list[dict[str, Any]],
    tokenizer: PreTrainedTokenizerBase, watch: Watch,
) -> Trainer:  # fmt: skip
    recipe = Recipe(
        base_model="./scratch", task=config.task, learning_rate=LEARNING_RATE, epochs=config.epochs or size.epochs,
        batch_size=BATCH, warmup_ratio=0.1, weight_decay=0.05, seed=config.seed,
    )  # fmt: skip
    arguments = training_arguments(recipe, config.output_dir / "checkpoints", torch.device("cpu"))
    arguments |= {"save_strategy": "no", "adam_beta2": 0.99}
    classification = config.task == "sequence_classification"
    kind = ClassificationTrainer if classification else Trainer
    trainer = kind(
        model=model, args=TrainingArguments(**arguments, label_names=["labels"], remove_unused_columns=False),
        train_dataset=cast(Any, examples), processing_class=tokenizer, callbacks=[watch],
        data_collator=HideWords(HIDDEN_SHARE if classification else 0.0, config.seed),
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    return trainer


def _model_and_examples(
    config: BaseConfig, size: Size, frame: Any, labels: list[str], tokenizer: PreTrainedTokenizerBase
) -> tuple[PreTrainedModel, list[dict[str, Any]]]:
    vocabulary = len(tokenizer)
    if config.task == "causal_lm":
        examples, _ = completion_examples(frame, tokenizer, config.max_length)
        return LlamaForCausalLM(llama_config(size, vocabulary, config.max_length)), cast(list[dict[str, Any]], examples)
    id2label = dict(enumerate(labels))
    llama = llama_config(
        size,
        vocabulary,
        config.max_length,
        id2label=id2label,
        label2id={name: i for i, name in id2label.items()},
        problem_type="single_label_classification",
    )
    model = LlamaForSequenceClassification(llama)  # type: ignore[no-untyped-call]  # no annotations
    return model, classification_examples(frame, labels, tokenizer, config.max_length)[0]


def _replace(partial: Path, done: Path) -> None:
    """Put a finished folder in place; an older one steps aside first, since a folder cannot replace a full one."""
    if done.exists():
        shutil.rmtree(done)
    partial.rename(done)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m retrain.train.demo_base CONFIG.json")
    sys.exit(report_exit(Path(sys.argv[1]), make_base))
