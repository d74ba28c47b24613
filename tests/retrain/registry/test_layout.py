"""A stranger loads the adapter with PEFT alone; the published rules of vLLM are kept or named."""

import json
from pathlib import Path
from typing import Any

import pytest

from retrain.registry.layout import CONFIG, peft_faults, vllm_rank, vllm_refusals
from tests.retrain.train import tiny

KEPT: dict[str, Any] = {
    "peft_type": "LORA", "r": 16, "lora_alpha": 32, "target_modules": ["q_proj"], "bias": "none",
    "base_model_name_or_path": "base",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of the stranger's own libraries
def test_a_stranger_loads_the_adapter_in_three_lines_and_gets_our_answers(tiny_base: Path, trained: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from retrain.train.model import load_classifier

    folder = trained / "out" / "adapter"
    labels = json.loads((folder / "labels.json").read_text())
    base = AutoModelForSequenceClassification.from_pretrained(
        tiny_base, num_labels=len(labels), ignore_mismatched_sizes=True
    )
    model = PeftModel.from_pretrained(base, folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    texts = tiny.messages((*tiny.OLD, *tiny.NEW), 40, seed=9)["text"].to_list()
    with torch.no_grad():
        inputs = tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=24)
        theirs = model(**inputs).logits
    ours = load_classifier(tiny_base, folder, device="cpu", threads=1, quantise=False, max_length=24)
    assert list(ours.labels) == labels
    assert torch.allclose(theirs, torch.tensor(ours.logits(texts)), atol=1e-4)


def test_what_is_trained_here_keeps_the_rules_of_others(trained: Path) -> None:
    folder = trained / "out" / "adapter"
    files = {p.name: p.stat().st_size for p in folder.iterdir()}
    config = json.loads((folder / CONFIG).read_text())
    assert peft_faults(files, config) == ()
    assert vllm_refusals(config) == ()
    assert not Path(config["base_model_name_or_path"]).name.startswith(".")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias is all"),
        ({"r": 513}, "beyond 512"),
        ({"r": 0}, "rank None"),
        ({"rank_pattern": {"q_proj": 600}}, "rank 600"),
        ({"modules_to_save": ["score", "embed_tokens"]}, "embed_tokens"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING"),
    ],
)
def test_a_rule_that_is_broken_is_named(more: dict[str, Any], words: str) -> None:
    assert any(words in line for line in vllm_refusals(KEPT | more))


@pytest.mark.parametrize(
    ("more", "rank"),
    [({}, 16), ({"r": 24}, 32), ({"r": 1}, 1), ({"r": 300, "use_rslora": True}, 320),
     ({"rank_pattern": {"v_proj": 64}, "alpha_pattern": {"v_proj": 8}}, 64),
     ({"modules_to_save": ["score"]}, 16), ({"init_lora_weights": "gaussian"}, 16)],
)  # fmt: skip
def test_a_configuration_that_keeps_them_says_the_rank_to_start_with(more: dict[str, Any], rank: int) -> None:
    assert vllm_refusals(KEPT | more) == ()
    assert vllm_rank(KEPT | more) == rank


@pytest.mark.parametrize(
    ("files", "config", "words"),
    [
        ({}, KEPT, "adapter_model.safetensors is missing"),
        ({"adapter_model.safetensors": 0}, KEPT, "empty"),
        ({"adapter_model.safetensors": 9}, None, "no JSON object"),
        ({"adapter_model.safetensors": 9}, {"r": 4}, "no peft_type"),
    ],
)
def test_a_layout_that_peft_does_not_load_is_named(
    files: dict[str, int], config: dict[str, Any] | None, words: str
) -> None:
    assert any(words in line for line in peft_faults(files, config))
