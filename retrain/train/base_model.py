"""Load the base model and its tokenizer: in 4 bit for QLoRA, from safetensors only."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from bitsandbytes.nn.modules import Linear4bit
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers import logging as transformers_logging
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from monitor.levels import level
from retrain.train.errors import DataError
from retrain.train.head import POOLER, Head, fill_head, head_of, head_rows
from retrain.train.kinds import Architecture
from retrain.train.whole_weights import keep_whole


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
            # AdaLoRA leaves a layer without ranks where it needs none.
            warnings.filterwarnings("ignore", message=r"Adapter .* LoRA tensor\(s\) have invalid shape")
            warnings.filterwarnings("ignore", message="The following rank_pattern keys did not match any targeted")
            warnings.filterwarnings("ignore", message="Position ids are not supported for parameter efficient tuning")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]  # no annotations


def quantisation(device: torch.device, head: Head | None = None) -> BitsAndBytesConfig:
    """NF4 with double quantisation; bfloat16 products on CUDA, float32 on the CPU (repeatable bit for bit).

    The head stays as it is, and so does a pooler.
    """
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]  # the library has no annotations here
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype(device),
        llm_int8_skip_modules=[*(head.modules if head else ()), POOLER, "lm_head"],
    )


def compute_dtype(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def pick_device(name: str, card: int = 0) -> torch.device:
    """`auto` is CUDA when there is one; of several the one with this number."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name, card) if name == "cuda" else torch.device(name)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a base. It pads on the right wherever rows are put together for training or for a classifier.

    Positions are then those of the text alone, for learned ones too; a generator pads on the left by itself.
    """
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    if tokenizer.pad_token_id is None:
        raise DataError(
            f"base_dir: the tokenizer of {folder} has no pad token; name one as pad_token in tokenizer_config.json "
            "(a token that texts do not have, or the end token)"
        )
    tokenizer.padding_side = "right"
    return cast(PreTrainedTokenizerBase, tokenizer)


def load_base(
    base_dir: Path,
    architecture: Architecture,
    labels: Sequence[str],
    device: torch.device,
    *,
    quantise: bool = True,
    pad: int | None = None,
) -> PreTrainedModel:
    """The base model, 4-bit when `quantise`, with a head of one row per label.

    Rows of labels the base already knows are copied by name; the others are zero until `start_new_rows` or an
    adapter fills them. `pad` is the tokenizer's pad token, by which a decoder finds the last token of a text; an
    encoder that names one keeps its own.

    Raises:
        DataError: the files lack weights of the architecture, or hold them in other shapes.
    """
    options: dict[str, Any] = {
        "dtype": compute_dtype(device),
        "device_map": {"": str(device)},
        "use_safetensors": True,
        "local_files_only": True,
        "trust_remote_code": False,
    }
    config = AutoConfig.from_pretrained(str(base_dir), local_files_only=True, trust_remote_code=False)
    if pad is not None and (config.pad_token_id is None or config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES):
        config.pad_token_id = pad  # an encoder may count its positions from the pad token that it was made with
    if architecture == "causal_lm":
        if quantise:
            options["quantization_config"] = quantisation(device)
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(str(base_dir), config=config, **options)
    else:
        names = {int(i): level(str(name)) or str(name) for i, name in (config.id2label or {}).items()}
        config.num_labels = len(labels)
        config.id2label = dict(enumerate(labels))
        config.label2id = {name: i for i, name in enumerate(labels)}
        config.problem_type = "single_label_classification"
        head = head_of(config, base_dir)
        known = head_rows(base_dir, head.output, names)
        if quantise:
            options["quantization_config"] = quantisation(device, head)
        with quiet():
            model, info = AutoModelForSequenceClassification.from_pretrained(
                str(base_dir), config=config, ignore_mismatched_sizes=True, output_loading_info=True, **options
            )
        _check_loaded(base_dir, head, info)
        fill_head(model, head, labels, known)
    model.config.use_cache = False
    keep_gradients_on_cpu(model)
    if device.type == "cpu":
        keep_whole(model)
    return cast(PreTrainedModel, model)


def _check_loaded(base_dir: Path, head: Head, info: Mapping[str, Any]) -> None:
    """What the library made at random because the files lack it, or have it in another shape, may only be the head."""
    made = [*info["missing_keys"], *(entry[0] for entry in info["mismatched_keys"])]
    if other := [name for name in made if not any(name.startswith(f"{module}.") for module in head.modules)]:
        raise DataError(
            f"base_dir: {base_dir} has no fitting {', '.join(sorted(other)[:3])}; save the whole model again",
            field="recipe.base_model",
        )


def keep_gradients_on_cpu(model: torch.nn.Module) -> int:
    """Stop bitsandbytes from repacking 4-bit weights for inference, which loses gradients. Returns the layers held."""
    layers = [m for m in model.modules() if isinstance(m, Linear4bit)]
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False
    return len(layers)
