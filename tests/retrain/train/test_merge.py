"""`serve: merged`: one model in 16 bits that answers as its adapter does beside such a base, and is loaded as it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.retrain.train import random_bases, tiny
from tests.retrain.train.test_bases import TEXTS, run

pytestmark = pytest.mark.filterwarnings("ignore")

CASES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("bert", "lora", {"use_dora": True, "use_rslora": True}), ("roberta", "qlora", {}), ("llama", "lora", {}),
    ("bert", "adalora", {"epochs": 5}), ("roberta", "ia3", {}), ("gpt2", "lora", {}), ("deberta-v2", "lora", {}),
)  # fmt: skip
EASY = ("roberta",)


@pytest.mark.parametrize(
    ("kind", "method", "more"),
    [pytest.param(*c, marks=() if c[:2] == ("roberta", "qlora") else pytest.mark.slow) for c in CASES],
)
def test_a_merged_classifier_answers_as_its_adapter_beside_a_base_in_16_bits(
    kind: str, method: str, more: dict[str, Any], tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification

    from retrain.evals.integrity import adapter_facts
    from retrain.train.model import load_classifier
    from retrain.train.shape import adapter_part, is_merged, is_quantised, is_whole

    base = random_bases.base(tmp_path / "base", kind)
    saved = run(tmp_path, base, method, serve="merged", **more)
    assert is_merged(saved)
    assert is_whole(saved)
    assert not is_quantised(saved)
    record = tiny.read(saved / "run.json")
    assert record["merged"]["dtype"] == "float32"  # the base is saved so, and this is the CPU
    assert record["merged"]["layers"] > 0
    assert record["adapter_bytes"] < record["merged"]["bytes"]
    beside = load_classifier(base, adapter_part(saved), threads=1, device="cpu", quantise=False, max_length=24)
    merged = load_classifier(base, saved, threads=1, device="cpu")
    assert merged.logits(TEXTS) == pytest.approx(beside.logits(TEXTS), abs=2e-4)
    assert adapter_facts(saved).all_finite
    plain = AutoModelForSequenceClassification.from_pretrained(saved, use_safetensors=True)
    assert [plain.config.id2label[i] for i in range(2)] == tiny.read(saved / "labels.json")
    assert str(tmp_path) not in (saved / "config.json").read_text()


@pytest.mark.parametrize("method", ["qlora", pytest.param("ia3", marks=pytest.mark.slow)])
def test_a_merged_writer_with_tied_words_is_saved_in_bfloat16_and_gone_on_from(method: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from retrain.train.model import load_generator
    from retrain.train.shape import adapter_part

    base = random_bases.base(
        tmp_path / "base", "llama", auto="AutoModelForCausalLM", labels=(), tie_word_embeddings=True
    )
    values = load_file(base / "model.safetensors")
    save_file({k: v.bfloat16() for k, v in values.items()}, base / "model.safetensors", metadata={"format": "pt"})
    saved = run(tmp_path / "a", base, method, "causal_lm", serve="merged")
    record = tiny.read(saved / "run.json")
    assert record["merged"]["dtype"] == "bfloat16"
    tensors = load_file(saved / "model.safetensors")
    assert {str(t.dtype) for t in tensors.values()} == {"torch.bfloat16"}
    assert "lm_head.weight" not in tensors
    assert tiny.read(saved / "config.json")["tie_word_embeddings"]
    assert tiny.read(saved / "config.json").get("quantization_config") is None
    beside = load_generator(base, adapter_part(saved), threads=1, device="cpu", quantise=False, max_length=24)
    merged = load_generator(base, saved, threads=1, device="cpu")
    one, other = (np.concatenate(m.token_logprobs(TEXTS, ["card"] * 4)) for m in (beside, merged))
    assert other == pytest.approx(one, abs=0.1)  # bfloat16 has eight bits
    again = run(tmp_path / "b", base, method, "causal_lm", parent=saved)
    first = [tiny.read(folder / "run.json")["loss"] for folder in (saved, again)]
    assert first[1][0] < first[0][0]  # it went on from the adapter beside the merged model
