"""A Llama of any shape with random NF4 weights, built where it trains, and packed documents of log-normal length."""

from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from bitsandbytes.nn.modules import Linear4bit, Params4bit
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.initialization import no_init_weights

from retrain.train.base_model import quiet

SPREAD: Final = 0.02  # standard deviation of weights
MEAN_LENGTH: Final = 450  # tokens of a document


@dataclass(frozen=True)
class Size:
    hidden: int
    layers: int
    heads: int
    key_heads: int
    feed_forward: int
    vocabulary: int
    row: int  # tokens of a packed row
    rows: int  # rows of a micro-batch


SIZES: Final = {
    "8b": Size(4096, 32, 32, 8, 14336, 128256, row=2048, rows=4),
    "8b-2": Size(4096, 2, 32, 8, 14336, 128256, row=2048, rows=1),  # for the gate
    "tiny": Size(64, 4, 4, 2, 128, 512, row=64, rows=4),
}


def config(size: Size) -> LlamaConfig:
    return LlamaConfig(
        hidden_size=size.hidden, num_hidden_layers=size.layers, num_attention_heads=size.heads,
        num_key_value_heads=size.key_heads, intermediate_size=size.feed_forward, vocab_size=size.vocabulary,
        max_position_embeddings=8192, rms_norm_eps=1e-5, tie_word_embeddings=False, bos_token_id=0, eos_token_id=1,
        pad_token_id=2, rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
    )  # fmt: skip


def llama(size: Size, device: torch.device, *, seed: int = 0, attention: str = "sdpa") -> LlamaForCausalLM:
    """Weights are drawn and quantised layer by layer on the device; bfloat16 on CUDA, float32 on the CPU."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    settings = config(size)
    settings.dtype = dtype
    settings._attn_implementation = attention
    with torch.device("meta"), no_init_weights():
        model: LlamaForCausalLM = cast(Any, LlamaForCausalLM(settings)).to(dtype)
    draw = torch.Generator(device=device).manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, device=device, dtype=dtype).mul_(SPREAD)

    for layer in cast(Any, model.model.layers):
        for part in (layer.self_attn, layer.mlp):
            for name, child in list(part.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(part, name, _packed(random(child.out_features, child.in_features), dtype, device))
        for norm in (layer.input_layernorm, layer.post_attention_layernorm):
            norm.weight = nn.Parameter(torch.ones(size.hidden, dtype=dtype, device=device), requires_grad=False)
    model.model.norm.weight = nn.Parameter(torch.ones(size.hidden, dtype=dtype, device=device), requires_grad=False)
    for holder in (model.model.embed_tokens, model.lm_head):
        holder.weight = nn.Parameter(random(size.vocabulary, size.hidden), requires_grad=False)
    model.model.rotary_emb = type(model.model.rotary_emb)(settings).to(device)
    cast(Any, model).is_loaded_in_4bit = True
    model.config.use_cache = False
    model.requires_grad_(False)
    return model


def _packed(values: torch.Tensor, dtype: torch.dtype, device: torch.device) -> Linear4bit:
    layer = Linear4bit(  # type: ignore[no-untyped-call]  # no annotations
        values.shape[1], values.shape[0], bias=False, compute_dtype=dtype, compress_statistics=True, quant_type="nf4",
        device="meta",
    )  # fmt: skip
    packed = Params4bit(
        values.cpu() if device.type == "cpu" else values,
        requires_grad=False,
        compress_statistics=True,
        quant_type="nf4",
    )
    layer.weight = cast(Any, packed).to(device)
    layer.support_avx512bf16_for_cpu = False
    return layer


def adapted(model: LlamaForCausalLM, *, rank: int = 16, dropout: float = 0.0, seed: int = 1) -> PeftModel:
    """LoRA on every product; its second factor is not zero, so that every gradient is there from the first step."""
    torch.manual_seed(seed)
    lora = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=dropout, bias="none", target_modules="all-linear",
        task_type=TaskType.CAUSAL_LM,
    )  # fmt: skip
    with quiet():
        adapted = cast(PeftModel, get_peft_model(cast(Any, model), lora))
    draw = torch.Generator().manual_seed(seed)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data = (torch.randn(parameter.shape, generator=draw) * 0.01).to(parameter.device, parameter.dtype)
    return adapted


def documents(size: Size, tokens: int, *, seed: int = 0) -> list[list[int]]:
    """Token ids of documents of log-normal length, cut at a row, until they make up so many tokens."""
    draw = torch.Generator().manual_seed(seed)
    mean = min(MEAN_LENGTH, size.row // 4)
    found: list[list[int]] = []
    total = 0
    while total < tokens:
        # exp(mu + s²/2) is the mean of a log-normal length with spread s = 0.8
        length = float(torch.randn(1, generator=draw) * 0.8 + torch.log(torch.tensor(float(mean))) - 0.32)
        count = int(min(size.row, max(8, round(2.718281828**length))))
        found.append(torch.randint(3, size.vocabulary, (count,), generator=draw).tolist())
        total += count
    return found


def pattern(size: Size, tokens: int) -> list[list[int]]:
    """Documents that can be learned in a few steps: the same four words again and again."""
    row = min(tokens, size.row)
    return [[3 + (i + start) % 4 for i in range(row)] for start in range(max(1, tokens // row))]


def tokenizer(size: Size) -> PreTrainedTokenizerFast:
    """A word for every id, so that texts can be written back from ids."""
    words = {"<s>": 0, "</s>": 1, "<pad>": 2} | {f"w{i}": i for i in range(3, size.vocabulary)}
    made = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # no annotations
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
