"""Bases of many architectures with random weights and one small tokenizer; no download."""

import json
from pathlib import Path
from typing import Any

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "</s>",
    "my",
    "card",
    "is",
    "gone",
    "where",
    "money",
    "now",
    "please",
    "pin",
]
ENCODERS = ("bert", "roberta", "xlm-roberta", "distilbert", "deberta-v2", "modernbert", "albert", "electra", "mpnet")
DECODERS = ("llama", "qwen2", "qwen3", "mistral", "gpt2", "gpt_neox", "opt", "phi3", "gemma2")
LABELS = ("card", "money")


def tokenizer(folder: Path, side: str, *, pad: str | None = "[PAD]", end: str = "</s>") -> None:
    """Whole words; `side` is where it pads by itself."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    kept = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # no annotations
        tokenizer_object=made,
        unk_token="[UNK]",
        eos_token=end,
        padding_side=side,
        **({"pad_token": pad} if pad else {}),
    )
    kept.save_pretrained(folder)


def config(kind: str, **more: Any) -> Any:
    from transformers import AutoConfig

    sizes: dict[str, Any] = {
        "vocab_size": len(WORDS), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 64, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": None,
        "eos_token_id": 4,
    }  # fmt: skip
    if kind in ("llama", "qwen2", "qwen3", "mistral", "phi3", "gemma2"):
        sizes |= {"num_key_value_heads": 2, "head_dim": 8}
    if kind == "distilbert":
        sizes = {"vocab_size": len(WORDS), "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64,
                 "max_position_embeddings": 64, "pad_token_id": 0}  # fmt: skip
    if kind in ("gpt2", "openai-gpt"):
        sizes = {"vocab_size": len(WORDS), "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64,
                 "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 4}  # fmt: skip
    if kind == "opt":
        sizes |= {"ffn_dim": 64, "word_embed_proj_dim": 32}
        sizes.pop("intermediate_size")
    if kind in ("albert", "electra"):
        sizes["embedding_size"] = 16
    if kind == "modernbert":
        sizes |= {"cls_token_id": 2, "sep_token_id": 3, "global_attn_every_n_layers": 1}
    return AutoConfig.for_model(kind, **sizes, **more)


def base(folder: Path, kind: str, *, auto: str = "AutoModelForSequenceClassification", side: str = "right",
         labels: tuple[str, ...] = LABELS, **more: Any) -> Path:  # fmt: skip
    """A saved base with the head that `auto` makes."""
    import torch
    import transformers

    torch.manual_seed(0)
    named = {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}} if labels else {}
    model = getattr(transformers, auto).from_config(config(kind, **named, **more))
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.3)
    model.save_pretrained(folder)
    tokenizer(folder, side)
    return folder


def edited(folder: Path, name: str, **more: Any) -> Path:
    """A JSON file of a base with other values; None takes one out."""
    path = folder / name
    document = json.loads(path.read_text(encoding="utf-8")) | more
    path.write_text(json.dumps({k: v for k, v in document.items() if v is not None}), encoding="utf-8")
    return folder
