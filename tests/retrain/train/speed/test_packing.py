"""Packed on the CPU, every document gives the loss and the gradient that it gives alone."""

from pathlib import Path
from typing import Any

import pytest

from retrain.train.config import Recipe
from tests.retrain.train import tiny


def recipe(base: Path | str = "./x", **more: Any) -> Recipe:
    given = {"base_model": str(base), "task": "causal_lm", "method": "lora", "r": 4, "max_length": 64, "batch_size": 8}
    return Recipe.model_validate(given | more)


def test_packed_documents_give_the_loss_and_gradients_that_they_give_one_at_a_time(
    tiny_causal_base: Path, tmp_path: Path
) -> None:
    import torch

    from retrain.train.adapter import attach_adapter
    from retrain.train.base_model import load_base, load_tokenizer
    from retrain.train.data import completion_examples
    from retrain.train.speed.packing import packed_rows
    from retrain.train.speed.prepare import prepare
    from retrain.train.trainers import build_completion_trainer

    cpu, tokenizer = torch.device("cpu"), load_tokenizer(tiny_causal_base)
    rows = tiny.pairs(6).with_row_index().select("prompt", "completion")
    examples, counts = completion_examples(rows, tokenizer, 64)
    chosen = recipe(tiny_causal_base)
    model = attach_adapter(
        load_base(tiny_causal_base, "causal_lm", (), cpu, quantise=False, pad=tokenizer.pad_token_id), chosen, None
    )
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)

    def gradients(trainer: Any, batch: dict[str, Any], labels: int) -> tuple[float, dict[str, torch.Tensor]]:
        model.zero_grad(set_to_none=True)
        loss = trainer.compute_loss(model.train(), dict(batch), num_items_in_batch=labels)
        loss.backward()
        grads = {n: p.grad.detach().clone() for n, p in model.named_parameters() if p.grad is not None}
        return float(loss.detach()), grads

    def built(given: list[dict[str, Any]], name: str, *, packed: bool) -> Any:
        return build_completion_trainer(model, tokenizer, chosen, given, tmp_path / name, cpu, packed=packed)

    single = built([dict(e) for e in examples], "single", packed=False)
    alone = [gradients(single, single.data_collator([e]), counts.tokens_learned) for e in examples]
    assert packed_rows(True, model, cpu) == (True, None)
    prepare(model, tiny_causal_base, profile="auto", device=cpu, tokens=64, rank=4, packed=True, total_tokens=1e3)
    together = built([dict(e) for e in examples], "packed", packed=True)
    assert len(together.train_dataset) < len(examples)
    batch = together.data_collator(list(together.train_dataset))
    assert "attention_mask" not in batch
    assert int((batch["position_ids"] == 0).sum()) == len(examples)
    loss, found = gradients(together, batch, counts.tokens_learned)
    assert loss == pytest.approx(sum(one for one, _ in alone), rel=1e-5)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, sum(grads[name] for _, grads in alone), rtol=1e-4, atol=1e-6)
    model.set_attn_implementation("sdpa")


def test_a_packed_run_learns_every_document_and_says_so(tiny_causal_base: Path, tmp_path: Path) -> None:
    from retrain.train.run import train

    rows, held_out = tiny.pairs(24, seed=1, answer="bring your {}"), tiny.pairs(8, seed=2, answer="bring your {}")
    more = {"task": "causal_lm", "method": "lora", "epochs": 2, "batch_size": 8, "max_length": 64, "packing": True}
    train(tiny.run_config(tmp_path, tiny_causal_base, rows, held_out, recipe=more, labels=[]))
    record = tiny.read(tmp_path / "out" / "adapter" / "run.json")
    assert (record["speed"]["attention"], record["speed"]["packed"]) == ("torch_varlen", True)
    assert sum(record["learned"]["rows"]) == 2 * 24
    assert sum(record["learned"]["learned"]) == 2 * record["counts"]["train"]["tokens_learned"]


def test_a_model_that_mixes_the_documents_of_a_row_is_not_packed(tiny_causal_base: Path) -> None:
    import torch

    from retrain.train.base_model import load_base
    from retrain.train.speed.packing import packed_rows

    cpu = torch.device("cpu")
    model: Any = load_base(tiny_causal_base, "causal_lm", (), cpu, quantise=False)
    assert packed_rows("auto", model, cpu) == (False, None)
    assert packed_rows(False, model, cpu) == (False, None)
    layer = model.model.layers[0]
    plain = layer.forward
    layer.forward = lambda hidden, *given, **more: plain(hidden.cumsum(dim=1), *given, **more)  # a state, as in Mamba
    packed, why = packed_rows(True, model, cpu)
    assert not packed
    assert "documents of one row see each other" in str(why)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "mamba"}, "carries a state"), ({"model_type": "bloom"}, "an attention of its own"),
        ({"model_type": "qwen3_next", "layer_types": ["linear_attention", "full_attention"]}, "carries a state"),
        ({"model_type": "gemma2", "attn_logit_softcapping": 50.0}, "attn_logit_softcapping"),
    ],
)  # fmt: skip
def test_architectures_that_cannot_be_packed_are_known_when_a_spec_is_applied(
    config: dict[str, Any], words: str
) -> None:
    from retrain.base_files import BaseFiles, _check_method
    from retrain.errors import RecipeError

    found = BaseFiles(config, {}, {})
    with pytest.raises(RecipeError, match=rf"retrain\.recipe\.packing: is true, and .*{words}"):
        _check_method(recipe(packing=True), found)
    _check_method(recipe(), found)
    for fits in ("llama", "qwen2", "gpt2"):
        _check_method(recipe(packing=True), BaseFiles({"model_type": fits}, {}, {}))


@pytest.mark.parametrize(
    "more",
    [
        {"task": "sequence_classification"}, {"method": "prompt_tuning"}, {"method": "prefix_tuning"},
        {"task": "dpo", "preference": {"other": "a", "outcome": "b"}}, {"teacher": "champion"},
    ],
)  # fmt: skip
def test_rows_that_are_never_packed_refuse_the_key(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is true, and"):
        recipe(packing=True, **more)
