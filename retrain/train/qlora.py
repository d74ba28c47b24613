"""The quantised base, the adapter on it, the head, and the trainer: everything a run is assembled from.

Two faults of today's libraries give wrong gradients without an error, and are guarded here:
- bitsandbytes repacks 4-bit weights during an evaluation pass on CPUs with AVX512-BF16, after which the gradient
  through the base is lost (`keep_gradients_on_cpu`);
- transformers multiplies the loss of sequence classification by the number of accumulated batches (#47688;
  `build_classification_trainer`).
"""

import json
import logging
import warnings
from collections.abc import Iterator, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from bitsandbytes.nn.modules import Linear4bit
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from peft.utils import load_peft_weights, set_peft_model_state_dict
from safetensors import safe_open
from torch.utils.data import Sampler
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers import logging as transformers_logging
from transformers.trainer_pt_utils import get_length_grouped_indices

from retrain.train.config import Recipe, Task
from retrain.train.errors import AdapterMismatchError, DataError

HEAD = "score"
LORA_FIELDS = ("r", "lora_alpha", "lora_dropout")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' progress bars, load reports and warnings about one another out of the log."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # no annotations
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=".*gradient_checkpointing.* is deprecated", category=FutureWarning
            )
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]  # no annotations


def quantisation(device: torch.device) -> BitsAndBytesConfig:
    """NF4 with double quantisation; bfloat16 products on CUDA, float32 on the CPU (repeatable bit for bit)."""
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]  # the library has no annotations here
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype(device),
        llm_int8_skip_modules=[HEAD, "lm_head"],
    )


def compute_dtype(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA when there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name, 0) if name == "cuda" else torch.device(name)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    if tokenizer.pad_token_id is None:
        raise DataError(
            f"base_dir: the tokenizer of {folder} has no pad token; add a dedicated one and save it in the model and "
            "tokenizer config (reusing the end token would hide real ends)"
        )
    return cast(PreTrainedTokenizerBase, tokenizer)


def load_base(
    base_dir: Path, task: Task, labels: Sequence[str], device: torch.device, *, quantise: bool = True
) -> PreTrainedModel:
    """The base model, 4-bit when `quantise`, with a head of one row per label.

    Rows of labels the base already knows are copied by name; the others are zero until `start_new_rows` or an
    adapter fills them.
    """
    options: dict[str, Any] = {
        "dtype": compute_dtype(device),
        "device_map": {"": str(device)},
        "attn_implementation": "sdpa",
        "use_safetensors": True,
        "local_files_only": True,
        "trust_remote_code": False,
    }
    if quantise:
        options["quantization_config"] = quantisation(device)
    if task == "causal_lm":
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(str(base_dir), **options)
    else:
        config = AutoConfig.from_pretrained(str(base_dir), local_files_only=True, trust_remote_code=False)
        known = head_rows(base_dir, {int(i): str(name) for i, name in (config.id2label or {}).items()})
        config.num_labels = len(labels)
        config.id2label = dict(enumerate(labels))
        config.label2id = {name: i for i, name in enumerate(labels)}
        config.problem_type = "single_label_classification"
        with quiet():
            model = AutoModelForSequenceClassification.from_pretrained(
                str(base_dir), config=config, ignore_mismatched_sizes=True, **options
            )
        _fill_head(model, labels, known)
    model.config.use_cache = False
    keep_gradients_on_cpu(model)
    return cast(PreTrainedModel, model)


def head_rows(base_dir: Path, names: dict[int, str]) -> dict[str, torch.Tensor]:
    """Rows of the saved classification head by label name; empty when the base has no head."""
    for path in sorted(base_dir.glob("*.safetensors")):
        with safe_open(str(path), framework="pt") as file:
            if f"{HEAD}.weight" in file.keys():  # noqa: SIM118  a safetensors file is no mapping
                weight = file.get_tensor(f"{HEAD}.weight")
                return {names[i]: weight[i] for i in range(len(weight)) if i in names}
    return {}


def keep_gradients_on_cpu(model: torch.nn.Module) -> int:
    """Stop bitsandbytes from repacking 4-bit weights for inference, which loses gradients. Returns the layers held."""
    layers = [m for m in model.modules() if isinstance(m, Linear4bit)]
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False
    return len(layers)


def new_labels(model: PreTrainedModel) -> list[int]:
    """Indices of the labels whose head row is still zero."""
    weight = cast(torch.Tensor, model.get_submodule(HEAD).weight)
    return [int(i) for i in torch.nonzero(weight.abs().sum(dim=1) == 0).flatten()]


@torch.no_grad()
def start_new_rows(
    model: PreTrainedModel, examples: Sequence[dict[str, Any]], collate: DataCollatorWithPadding, batch_size: int = 128
) -> list[int]:
    """Start the head rows of new labels at their class means instead of at random.

    A new row is the mean pooled state of the label's examples minus the mean over all labels (each label counting
    once), scaled to the typical norm of the rows already there. A label without examples keeps a zero row.

    Returns:
        Indices of the rows that were new.
    """
    rows = new_labels(model)
    if not rows:
        return []
    head = cast(torch.nn.Linear, model.get_submodule(HEAD))
    count = head.weight.shape[0]
    sums = torch.zeros(count, head.in_features, device=head.weight.device)
    seen = torch.zeros(count, device=head.weight.device)
    model.train(False)
    backbone = model.base_model
    for start in range(0, len(examples), batch_size):
        batch = {k: v.to(head.weight.device) for k, v in collate(list(examples[start : start + batch_size])).items()}
        states = backbone(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        last = batch["attention_mask"].sum(dim=1) - 1
        pooled = states[torch.arange(len(states), device=states.device), last].float()
        pooled = torch.nn.functional.normalize(pooled, dim=1)
        sums.index_add_(0, batch["labels"], pooled)
        seen.index_add_(0, batch["labels"], torch.ones(len(pooled), device=pooled.device))
    present = seen > 0
    means = sums[present] / seen[present, None]
    centred = torch.zeros_like(sums)
    centred[present] = torch.nn.functional.normalize(means - means.mean(dim=0), dim=1)
    norms = head.weight.float().norm(dim=1)
    scale = float(norms[norms > 0].median()) if bool((norms > 0).any()) else 1.0
    for i in rows:
        head.weight[i] = (centred[i] * scale).to(head.weight)
    return rows


def attach_adapter(model: PreTrainedModel, recipe: Recipe, parent: Path | None) -> PeftModel:
    """LoRA on every linear layer; for classification the head is trained and saved beside it.

    With a parent adapter (a champion on the same base) training continues from its low-rank weights, so what it
    learned is not learned again; its head rows must already lie in the model (`copy_parent_head`).
    """
    classification = recipe.task == "sequence_classification"
    head = model.get_submodule(HEAD).weight if classification else None
    lora = LoraConfig(
        r=recipe.r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        bias="none",
        target_modules="all-linear",
        modules_to_save=[HEAD] if classification else None,
        task_type=TaskType.SEQ_CLS if classification else TaskType.CAUSAL_LM,
    )
    with quiet():
        peft_model = cast(PeftModel, get_peft_model(model, lora))
    if parent is not None:
        weights = {k: v for k, v in load_peft_weights(str(parent), device="cpu").items() if ".lora_" in k}
        if classification:
            weights[f"base_model.model.{HEAD}.weight"] = cast(torch.Tensor, head).detach().cpu()
        result: Any = set_peft_model_state_dict(peft_model, weights)
        if result.unexpected_keys or not any(".lora_" in k for k in weights):
            raise AdapterMismatchError(
                f"parent_adapter: {parent} does not fit this base ({result.unexpected_keys[:3]}); "
                "drop parent_adapter to start from the base",
                parent_adapter=str(parent),
            )
    return peft_model


def check_parent(parent: Path, recipe: Recipe, base_digest: str) -> None:
    """A parent adapter must have the recipe's shape and stand on the same base.

    Raises:
        AdapterMismatchError: rank, scale or base differ.
    """
    saved = json.loads((parent / "adapter_config.json").read_text(encoding="utf-8"))
    for name in LORA_FIELDS:
        if saved.get(name) != getattr(recipe, name):
            raise AdapterMismatchError(
                f"recipe.{name}: {getattr(recipe, name)} is not the {saved.get(name)} of the parent adapter {parent}; "
                f"use {saved.get(name)}, or drop parent_adapter to start from the base",
                field=f"recipe.{name}",
            )
    record = parent / "run.json"
    if record.is_file():
        found = json.loads(record.read_text(encoding="utf-8"))["digests"]["base"]
        if found != base_digest:
            raise AdapterMismatchError(
                f"base_dir: digest {base_digest} is not the base {found} of the parent adapter {parent}; "
                "use that base, or drop parent_adapter",
                field="base_dir",
            )


def copy_parent_head(model: PreTrainedModel, parent: Path, labels: Sequence[str]) -> None:
    """Put the champion's head rows, by label name, into the model's head."""
    known = json.loads((parent / "labels.json").read_text(encoding="utf-8"))
    weights = load_peft_weights(str(parent), device="cpu")
    weight = next(v for k, v in weights.items() if k.endswith(f"{HEAD}.weight"))
    _fill_head(model, labels, dict(zip(known, weight, strict=True)))


@torch.no_grad()
def _fill_head(model: PreTrainedModel, labels: Sequence[str], rows: dict[str, torch.Tensor]) -> None:
    """Head rows by label name; labels without a row get zeros."""
    weight = cast(torch.Tensor, model.get_submodule(HEAD).weight)
    weight.zero_()
    for i, name in enumerate(labels):
        if name in rows:
            weight[i] = rows[name].to(weight)


class LengthGrouped(Sampler[int]):
    """Rows of like length side by side, in an order fixed by seed and epoch, so that a resumed run sees the same."""

    def __init__(self, lengths: list[int], batch_size: int, seed: int, trainer: Trainer, steps_per_epoch: int) -> None:
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.trainer, self.steps_per_epoch = trainer, steps_per_epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        epoch = self.trainer.state.global_step // self.steps_per_epoch
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        order: list[int] = get_length_grouped_indices(  # type: ignore[no-untyped-call]  # no annotations
            self.lengths, self.batch_size, generator=generator
        )
        return iter(order)


class ClassificationTrainer(Trainer):
    """The library's trainer with our row order."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        rows = cast(Sequence[dict[str, Sized]], self.train_dataset if train_dataset is None else train_dataset)
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps
        steps = max(1, -(-len(rows) // batch))
        return LengthGrouped([len(r["input_ids"]) for r in rows], batch, self.args.seed, self, steps)


def training_arguments(recipe: Recipe, checkpoints: Path, device: torch.device) -> dict[str, Any]:
    """Arguments shared by both trainers."""
    return {
        "output_dir": str(checkpoints),
        "num_train_epochs": recipe.epochs,
        "per_device_train_batch_size": recipe.batch_size,
        "per_device_eval_batch_size": 4 * recipe.batch_size,
        "gradient_accumulation_steps": recipe.gradient_accumulation_steps,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": recipe.warmup_ratio,  # below one it is a share of the steps
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "optim": "adamw_torch_fused",
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "use_cpu": device.type == "cpu",
        "bf16": device.type == "cuda",
        "activation_checkpointing": False,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would show the last finite loss in place of a NaN
        "eval_strategy": "no",
        "save_strategy": "steps",
        "save_steps": 0.1,  # a tenth of the run
        "save_total_limit": 2,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": device.type == "cuda",
        "report_to": [],
        "disable_tqdm": True,
        "log_level": "error",
    }


def build_classification_trainer(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    examples: list[dict[str, Any]],
    checkpoints: Path,
    device: torch.device,
    callbacks: Sequence[TrainerCallback] = (),
) -> Trainer:
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # float32 masters: bfloat16 steps of this size would vanish
    trainer = ClassificationTrainer(
        model=model,
        args=TrainingArguments(**training_arguments(recipe, checkpoints, device), label_names=["labels"]),
        train_dataset=cast(Any, examples),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )
    trainer.remove_callback(PrinterCallback)
    # The classification loss ignores num_items_in_batch, yet the trainer would skip its own division by the number
    # of accumulated batches (transformers #47688).
    trainer.model_accepts_loss_kwargs = False
    return trainer


def build_completion_trainer(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    examples: list[dict[str, list[int]]],
    checkpoints: Path,
    device: torch.device,
    callbacks: Sequence[TrainerCallback] = (),
) -> Trainer:
    from datasets import Dataset  # type: ignore[import-untyped]  # no stubs; slow to import, needed only here
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    arguments = training_arguments(recipe, checkpoints, device) | {
        "activation_checkpointing": device.type == "cuda",
        "activation_checkpointing_kwargs": {"use_reentrant": False} if device.type == "cuda" else None,
    }
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(**arguments, max_length=None, packing=False, completion_only_loss=True),
        train_dataset=Dataset.from_list(examples),  # has labels already: TRL leaves them as they are
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )
    trainer.remove_callback(PrinterCallback)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # TRL casts adapters of a 4-bit model to bfloat16
    return cast(Trainer, trainer)
