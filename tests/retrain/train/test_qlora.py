"""The two silent faults, the head, the adapter."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from retrain.train.config import Recipe
from retrain.train.data import classification_examples, completion_examples
from retrain.train.errors import AdapterMismatchError
from tests.retrain.train import tiny

if TYPE_CHECKING:
    import torch
    from peft import PeftModel

LABELS = (*tiny.OLD, *tiny.NEW)


def cpu() -> "torch.device":
    import torch

    return torch.device("cpu")


def recipe(**more: Any) -> Recipe:
    return Recipe.model_validate(
        {"base_model": "./base", "task": "sequence_classification", "r": 4, "lora_alpha": 8} | more
    )


def adapted(base: Path, chosen: Recipe) -> "PeftModel":
    import torch
    import transformers

    from retrain.train.adapter import attach_adapter
    from retrain.train.base_model import load_base
    from retrain.train.head import head_of

    transformers.set_seed(0)
    plain = load_base(base, "sequence_classification", LABELS, cpu())
    model = attach_adapter(plain, chosen, None, head_of(plain.config, base))
    with torch.no_grad():  # an untrained one of two factors is zero and hides the gradient of the other
        for name, weight in model.named_parameters():
            if "lora_B" in name or "lora_embedding_A" in name:
                weight.normal_(std=0.05)
    return cast("PeftModel", model)


def batch(base: Path, rows: int = 8) -> "tuple[list[dict[str, Any]], dict[str, torch.Tensor]]":
    from transformers import DataCollatorWithPadding

    from retrain.train.base_model import load_tokenizer

    tokenizer = load_tokenizer(base)
    examples, _ = classification_examples(tiny.messages(LABELS, rows), LABELS, tokenizer, 24)
    return examples, dict(DataCollatorWithPadding(tokenizer)(list(examples)))


def head(model: "torch.nn.Module") -> "torch.Tensor":
    import torch

    return cast(torch.Tensor, model.get_submodule("score").weight)


def gradients(model: "PeftModel", inputs: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    model.train()
    model.zero_grad()
    model(**inputs).loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_the_base_is_nf4_with_double_quantisation_and_a_full_precision_head(tiny_base: Path) -> None:
    import torch
    from bitsandbytes.nn.modules import Linear4bit

    from retrain.train.base_model import load_base

    model = load_base(tiny_base, "sequence_classification", LABELS, cpu())
    layers = [m for m in model.modules() if isinstance(m, Linear4bit)]
    assert len(layers) == 14  # seven in each of two blocks
    states = [m.weight.quant_state for m in layers]  # type: ignore[attr-defined]  # a Params4bit
    assert all(state.quant_type == "nf4" and state.nested for state in states)
    assert all(m.compute_dtype == torch.float32 for m in layers)
    assert head(model).dtype == torch.float32


def test_an_evaluation_pass_does_not_change_the_gradients_of_later_steps(tiny_base: Path) -> None:
    import torch

    model = adapted(tiny_base, recipe())
    _, inputs = batch(tiny_base)
    before = gradients(model, inputs)
    model.eval()
    with torch.no_grad():
        model(**inputs)
    after = gradients(model, inputs)
    assert before.keys() == after.keys()
    assert any("lora_A" in name for name in before)
    for name, gradient in before.items():
        assert gradient.abs().max() > 0, name
        assert torch.equal(gradient, after[name]), name


@pytest.mark.parametrize("given", [(4, 2), *(pytest.param(g, marks=pytest.mark.slow) for g in ((2, 4), (1, 8)))])
def test_the_gradient_norm_does_not_depend_on_how_a_batch_is_accumulated(
    tiny_base: Path, tmp_path: Path, given: tuple[int, int]
) -> None:
    from retrain.train.base_model import load_tokenizer
    from retrain.train.trainers import build_classification_trainer

    def norm(size: int, accumulate: int) -> float:
        chosen = recipe(
            batch_size=size, gradient_accumulation_steps=accumulate, epochs=1, max_grad_norm=1e9, hide_words=0
        )
        model, (examples, _) = adapted(tiny_base, chosen), batch(tiny_base)
        tokenizer = load_tokenizer(tiny_base)
        trainer = build_classification_trainer(model, tokenizer, chosen, examples, tmp_path, cpu())
        trainer.train()
        return float(trainer.state.log_history[0]["grad_norm"])

    assert norm(*given) == pytest.approx(norm(8, 1), rel=1e-4)


@pytest.mark.parametrize("given", [(4, 2), (2, 4)])
def test_the_gradient_norm_of_completions_does_not_depend_on_accumulation(
    tiny_causal_base: Path, tmp_path: Path, given: tuple[int, int]
) -> None:
    import transformers

    from retrain.train.adapter import attach_adapter
    from retrain.train.base_model import load_base, load_tokenizer
    from retrain.train.trainers import build_completion_trainer

    def norm(size: int, accumulate: int) -> float:
        chosen = recipe(
            task="causal_lm", batch_size=size, gradient_accumulation_steps=accumulate, epochs=1, max_grad_norm=1e9
        )
        transformers.set_seed(0)
        base = load_base(tiny_causal_base, "causal_lm", (), cpu())
        model, tokenizer = attach_adapter(base, chosen, None), load_tokenizer(tiny_causal_base)
        examples, _ = completion_examples(tiny.pairs(8), tokenizer, 48)
        trainer = build_completion_trainer(model, tokenizer, chosen, examples, tmp_path, cpu())
        trainer.train()
        return float(trainer.state.log_history[0]["grad_norm"])

    assert norm(*given) == pytest.approx(norm(8, 1), rel=1e-4)


def test_known_labels_keep_their_head_rows_by_name(tiny_base: Path) -> None:
    import torch

    from retrain.train.base_model import load_base
    from retrain.train.head import head_rows

    names = json.loads((tiny_base / "config.json").read_text())["id2label"]
    rows = head_rows(tiny_base, "score", {int(i): name for i, name in names.items()})
    order = ("pin", *reversed(tiny.OLD), "refund")
    weight = head(load_base(tiny_base, "sequence_classification", order, cpu()))
    for i, name in enumerate(order):
        if name in tiny.OLD:
            assert torch.equal(weight[i], rows[name][0])
        else:
            assert not weight[i].any()


def test_new_head_rows_start_at_their_class_means(tiny_base: Path) -> None:
    import torch
    from transformers import DataCollatorWithPadding

    from retrain.train.base_model import load_base, load_tokenizer
    from retrain.train.head import MEAN_OF, head_of, start_new_rows

    model = load_base(tiny_base, "sequence_classification", LABELS, cpu())
    tokenizer = load_tokenizer(tiny_base)
    examples, _ = classification_examples(tiny.messages(LABELS, 600), LABELS, tokenizer, 24)
    weight = head(model)
    old = weight[:4].clone()
    read: list[int] = []
    model.get_input_embeddings().register_forward_pre_hook(lambda _, given: read.append(len(given[0])))
    assert start_new_rows(model, head_of(model.config, tiny_base), examples, DataCollatorWithPadding(tokenizer)) == [
        4,
        5,
    ]
    assert sum(read) == len(LABELS) * MEAN_OF < len(examples)
    assert torch.equal(weight[:4], old)
    assert weight[4:].norm(dim=1).tolist() == pytest.approx([old.norm(dim=1).median().item()] * 2, rel=1e-4)
    assert start_new_rows(model, head_of(model.config, tiny_base), examples, DataCollatorWithPadding(tokenizer)) == []


def test_a_parent_of_another_shape_is_refused(trained: Path) -> None:
    from retrain.train.adapter import check_parent

    parent = trained / "out" / "adapter"
    base = tiny.read(parent / "run.json")["digests"]["base"]
    check_parent(parent, recipe(), base)
    with pytest.raises(AdapterMismatchError, match=r"recipe\.r: 8 is not the 4 of the parent"):
        check_parent(parent, recipe(r=8), base)
    with pytest.raises(AdapterMismatchError, match="base_dir: digest sha256:0 is not the base"):
        check_parent(parent, recipe(), "sha256:0")
