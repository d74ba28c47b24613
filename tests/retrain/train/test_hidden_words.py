"""Words that a training step does not see: which, how many, and only in training."""

from pathlib import Path
from typing import Any

import pytest

from retrain.train.config import Recipe
from retrain.train.data import classification_examples
from tests.retrain.train import tiny

LABELS = (*tiny.OLD, *tiny.NEW)


def test_a_share_of_the_words_is_hidden_and_frames_and_short_texts_stay() -> None:
    import torch

    from retrain.train.hidden_words import HiddenWords

    torch.manual_seed(0)
    hidden = HiddenWords(share=0.25, token=1, kept=(0, 1, 2, 3))
    long = torch.tensor([[2, *range(10, 50), 3, 0, 0]] * 200)
    seen = hidden(long)
    assert torch.equal(seen[:, [0, -3, -2, -1]], long[:, [0, -3, -2, -1]])
    assert float((seen == 1).float().sum() / (200 * 40)) == pytest.approx(0.25, abs=0.02)
    assert torch.equal(seen[seen != 1], long[seen != 1])
    one_word = torch.tensor([[2, 7, 3, 0]] * 200)
    assert torch.equal(hidden(one_word), one_word)


def test_nothing_is_hidden_without_a_token_that_stands_for_an_unknown_word(tiny_base: Path) -> None:
    from retrain.train.base_model import load_tokenizer
    from retrain.train.hidden_words import hidden_words

    tokenizer = load_tokenizer(tiny_base)
    found = hidden_words(0.1, tokenizer)
    assert found is not None
    assert found.token == tokenizer.unk_token_id
    assert hidden_words(0.0, tokenizer) is None
    tokenizer.unk_token = tokenizer.eos_token  # as GPT-2 has it
    assert hidden_words(0.1, tokenizer) is None


def test_training_hides_words_and_answering_does_not(tiny_base: Path, tmp_path: Path) -> None:
    import torch

    from retrain.train.adapter import attach_adapter
    from retrain.train.base_model import load_base, load_tokenizer
    from retrain.train.head import head_of
    from retrain.train.model import Classifier
    from retrain.train.trainers import build_classification_trainer

    chosen = Recipe.model_validate({
        "base_model": "./base", "task": "sequence_classification", "method": "lora", "r": 2, "epochs": 1,
        "batch_size": 16, "hide_words": 0.5,
    })  # fmt: skip
    device, tokenizer = torch.device("cpu"), load_tokenizer(tiny_base)
    plain = load_base(tiny_base, "sequence_classification", LABELS, device, quantise=False)
    model = attach_adapter(plain, chosen, None, head_of(plain.config, tiny_base))
    rows = tiny.messages(LABELS, 32)
    examples, _ = classification_examples(rows, LABELS, tokenizer, 24)
    seen: dict[bool, list[Any]] = {True: [], False: []}
    model.register_forward_pre_hook(
        lambda module, _, given: seen[module.training].append(given["input_ids"]), with_kwargs=True
    )
    build_classification_trainer(model, tokenizer, chosen, examples, tmp_path, device).train()
    Classifier(model, tokenizer, LABELS, device, 24).predict(rows["text"].to_list())
    unknown = {
        training: sum(int((ids == tokenizer.unk_token_id).sum()) for ids in found) for training, found in seen.items()
    }
    assert unknown[True] > 32
    assert unknown[False] == 0
