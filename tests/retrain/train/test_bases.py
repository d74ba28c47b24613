"""Any base: its head by architecture, either padding, and every method, on random weights."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from retrain.base_files import check_recipe, read_base
from retrain.base_positions import check_length
from retrain.errors import BaseModelError, RecipeError
from retrain.train.config import Recipe
from retrain.train.shape import differences
from tests.retrain.train import random_bases, tiny

TEXTS = ("my card is gone", "where", "money now please pin my card is gone gone", "card is")
EASY = ("bert", "roberta", "llama")
KINDS = tuple(
    pytest.param(kind, marks=() if kind in EASY else pytest.mark.slow)
    for kind in (*random_bases.ENCODERS, *random_bases.DECODERS)
)


def recipe(folder: Path, **more: Any) -> Recipe:
    given = {"base_model": str(folder), "task": "sequence_classification", "max_length": 24, "r": 2, "lora_alpha": 4}
    return Recipe.model_validate(given | more)


@pytest.mark.parametrize("kind", KINDS)
def test_a_base_answers_by_its_own_head_whatever_else_is_in_the_batch(kind: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    from retrain.train.model import load_classifier

    for side in ("left", "right"):
        folder = random_bases.base(tmp_path / side, kind, side=side)
        check_recipe(recipe(folder), folder)
        assert read_base(folder).labels == list(random_bases.LABELS)
        model = load_classifier(folder, threads=1, device="cpu", quantise=False)
        alone = np.concatenate([model.logits([text]) for text in TEXTS])
        assert model.logits(TEXTS) == pytest.approx(alone, abs=1e-5)
        plain = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True).eval()
        ids = model.tokenizer([TEXTS[0]], return_tensors="pt")["input_ids"]
        if not ids.numel():  # the library takes the tokenizer of the model type, which knows no such words
            continue
        with torch.no_grad():
            assert plain(input_ids=ids).logits.numpy() == pytest.approx(alone[:1], abs=1e-4)


def run(
    folder: Path,
    base: Path,
    method: str,
    task: str = "sequence_classification",
    parent: Path | None = None,
    **more: Any,
) -> Path:
    """A short run. Returns what it saved."""
    from retrain.train.run import train

    draw = [(text, random_bases.LABELS[i % 2]) for i, text in enumerate(TEXTS * 4)]
    frame = pl.DataFrame({"text": [t for t, _ in draw], "label": [n for _, n in draw]})
    if task == "causal_lm":
        frame = pl.DataFrame({"prompt": [t for t, _ in draw], "completion": [n for _, n in draw]})
    given = {"task": task, "method": method, "r": 2, "lora_alpha": 4, "epochs": 2, "batch_size": 4, "virtual_tokens": 4}
    labels = list(random_bases.LABELS) if task == "sequence_classification" else []
    start = {} if parent is None else {"parent_adapter": str(parent)}
    train(tiny.run_config(folder, base, frame, frame, labels=labels, recipe=given | more, **start))
    return folder / "out" / "adapter"


METHODS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("bert", "lora", {}), ("roberta", "qlora", {}), ("llama", "full", {}), ("bert", "adalora", {}),
    ("llama", "prefix_tuning", {}), ("bert", "prompt_tuning", {}), ("roberta", "ia3", {}),
    ("bert", "lora", {"use_dora": True, "use_rslora": True}),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "method", "more"), METHODS)
def test_every_method_trains_saves_and_answers_as_in_training(
    kind: str, method: str, more: dict[str, Any], tmp_path: Path
) -> None:
    from retrain.evals.integrity import adapter_facts
    from retrain.train.model import load_classifier
    from retrain.train.weights import PICKLED

    base = random_bases.base(tmp_path / "base", kind)
    saved = run(tmp_path, base, method, **more)
    assert not [p for p in saved.rglob("*") if p.name.endswith(PICKLED)]
    facts = adapter_facts(saved)
    assert facts.all_finite
    assert facts.parameters
    model = load_classifier(base, saved, threads=1, device="cpu")
    alone = np.concatenate([model.logits([text]) for text in TEXTS])
    assert model.logits(TEXTS) == pytest.approx(alone, abs=1e-4)
    names, _ = model.predict([*TEXTS] * 4)
    record = tiny.read(saved / "run.json")
    right = np.mean([n == random_bases.LABELS[i % 2] for i, n in enumerate(names)])
    assert record["metrics"][0]["value"] == pytest.approx(right)
    assert (record["quantisation"] is None) == (method != "qlora")


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_the_table_of_words_is_adapted_and_not_saved_whole_and_an_older_adapter_goes_on_with_it(
    kind: str, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    base = random_bases.base(tmp_path / "base", kind)
    plain = run(tmp_path / "plain", base, "lora", train_words=False)
    more = run(tmp_path / "more", base, "lora", parent=plain)
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (plain, more))
    words = {name: tensor for name, tensor in after.items() if "embedding" in name.rpartition("model.")[2]}
    assert sorted(name.rsplit(".", 1)[-1] for name in words) == ["lora_embedding_A", "lora_embedding_B"]
    assert all(float(tensor.abs().sum()) > 0 for tensor in words.values())
    assert before.keys() == after.keys() - words.keys()  # and no table of the base
    again = {"train_words": False, "r": 2, "lora_alpha": 4, "task": "sequence_classification", "method": "lora"}
    found = differences(more, Recipe.model_validate({"base_model": str(base), **again}))
    assert list(found) == [("train_words", False, True)]
    assert (
        list(differences(plain, Recipe.model_validate({"base_model": str(base), **again, "train_words": True}))) == []
    )


@pytest.mark.parametrize("method", ["full", "prompt_tuning", "prefix_tuning", "ia3", "adalora"])
def test_completions_are_trained_by_every_method(method: str, tmp_path: Path) -> None:
    from retrain.train.model import load_generator

    base = random_bases.base(tmp_path / "base", "llama", auto="AutoModelForCausalLM", labels=())
    saved = run(tmp_path, base, method, "causal_lm")
    model = load_generator(base, saved, threads=1, device="cpu")
    alone = [model.token_logprobs([t], ["card"])[0] for t in TEXTS]
    for one, other in zip(alone, model.token_logprobs(TEXTS, ["card"] * 4), strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    assert model.generate(TEXTS, max_new_tokens=3) == [model.generate([t], max_new_tokens=3)[0] for t in TEXTS]


def test_a_long_prompt_shortens_no_other_answer(tmp_path: Path) -> None:
    from retrain.train.model import load_generator

    base = random_bases.base(tmp_path / "base", "gpt2", auto="AutoModelForCausalLM", labels=())  # of 64 positions
    model = load_generator(base, threads=1, device="cpu", quantise=False, max_length=64)
    prompts = ["my card", " ".join(["card"] * 80), " ".join(["money"] * 60)]
    alone = [model.generate([prompt], max_new_tokens=10)[0] for prompt in prompts]
    assert [len(text.split()) for text in alone] == [10, 10, 4]
    assert model.generate(prompts, max_new_tokens=10) == alone


def test_early_stopping_and_weights_of_classes(tmp_path: Path) -> None:
    base = random_bases.base(tmp_path / "base", "bert")
    saved = run(tmp_path, base, "lora", epochs=20, early_stopping=1, class_weights="balanced", learning_rate=0.5)
    record = tiny.read(saved / "run.json")
    assert record["rows_validation"] == 2
    assert record["steps"] < 20 * 4


REFUSED: tuple[tuple[str, dict[str, Any], dict[str, Any], str], ...] = (
    ("config.json", {"auto_map": {"AutoModel": "own.Model"}}, {}, "needs Python code of its own"),
    ("config.json", {"quantization_config": {"quant_method": "gptq"}}, {}, r"quantised already \(gptq"),
    ("config.json", {"is_encoder_decoder": True}, {}, "is an encoder with a decoder"),
    ("config.json", {"vocab_size": 99}, {}, "config.json says vocab_size 99"),
    ("config.json", {"num_hidden_layers": 3}, {}, "weights of 2 layers, and config.json says 3"),
    ("config.json", {"model_type": "no_such"}, {}, "no class for sequence_classification"),
    ("tokenizer_config.json", {"pad_token": None}, {}, 'without a pad token; add "pad_token": "</s>"'),
    ("tokenizer_config.json", {}, {"max_length": 65}, "max_length: is 65, and the base has positions for 64"),
    ("tokenizer_config.json", {}, {"method": "prefix_tuning"}, "method: prefix_tuning puts states"),
    ("tokenizer_config.json", {}, {"task": "causal_lm"}, "no output layer that writes"),
    ("tokenizer_config.json", {"eos_token": "</s>"}, {}, ""),
    ("config.json", {"quantization": {"bits": 4}}, {}, r"quantised already \(4 bits"),
    ("config.json", {"compression_config": {"quant_method": "x"}}, {}, r"quantised already \(x"),
    ("config.json", {"quantization_config": "awq"}, {}, "quantization_config 'awq' in config.json, which must be"),
    ("config.json", {"architectures": "BertModel"}, {}, "which must be a list of names"),
    ("config.json", {"vocab_size": "many"}, {}, "vocab_size 'many' in config.json, which must be a whole number"),
    ("config.json", {"text_config": "x"}, {}, "text_config 'x' in config.json, which must be an object"),
    ("config.json", {"id2label": {"a": "card", "b": "money"}}, {}, 'must be labels under "0", "1"'),
    ("config.json", {"id2label": ["card", "money"]}, {}, "which must be an object"),
    ("config.json", {"id2label": {"0": "1", "1": "1.0"}}, {}, "names the label '1' twice"),
    ("config.json", {"id2label": {"0": None, "1": "card"}}, {}, "names a label None"),
    ("config.json", {"model_type": "fnet"}, {}, "together with the padding behind it"),
    ("tokenizer_config.json", {"bos_token": "<s>"}, {}, "token 14, and an embedding of 14 rows"),
    ("tokenizer_config.json", {"extra_special_tokens": ["<a>", "<b>"]}, {}, "token 15, and an embedding of 14 rows"),
    ("tokenizer_config.json", {"pad_token": "<p>", "added_tokens_decoder": {"14": {"content": "<p>"}}}, {},
     "token 14, and an embedding of 14 rows"),
    ("tokenizer_config.json", {"added_tokens_decoder": ["<p>"]}, {}, "save the tokenizer again"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "change", "asked", "words"), REFUSED)
def test_a_base_that_a_recipe_cannot_train_is_refused_on_its_files(
    bert: Path, name: str, change: dict[str, Any], asked: dict[str, Any], words: str, tmp_path: Path
) -> None:
    import shutil

    folder = Path(shutil.copytree(bert, tmp_path / "base"))
    random_bases.edited(folder, name, **change)
    if not words:
        check_recipe(recipe(folder, **asked), folder)
        return
    with pytest.raises((BaseModelError, RecipeError), match=words):
        check_recipe(recipe(folder, **asked), folder)


YARN = {"factor": 4.0, "original_max_position_embeddings": 64}
LENGTHS: tuple[tuple[dict[str, Any], int | None], ...] = (
    ({"model_type": "llama"}, 64),
    ({"model_type": "qwen2", "rope_scaling": {"type": "yarn", **YARN}}, 256),
    ({"model_type": "qwen2", "rope_parameters": {"rope_type": "yarn", **YARN}, "max_position_embeddings": 256}, 256),
    ({"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 2}}, 128),
    ({"model_type": "llama", "rope_scaling": {"rope_type": "llama3", **YARN}, "max_position_embeddings": 256}, 256),
    ({"model_type": "gemma3_text", "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0}}}, 512),
    ({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "max_position_embeddings": 32}}, 32),
    ({"model_type": "falcon", "alibi": True}, None),
    ({"model_type": "deberta-v2"}, None),
    ({"model_type": "gptj", "n_positions": 48, "max_position_embeddings": None}, 48),
    ({"model_type": "modernbert"}, 64),
)


@pytest.mark.parametrize(("config", "most"), LENGTHS)
def test_a_text_is_no_longer_than_the_positions_that_a_base_has_or_was_trained_for(
    config: dict[str, Any], most: int | None, tmp_path: Path
) -> None:
    given = {"max_position_embeddings": 64} | config
    check_length(recipe(tmp_path, max_length=most or 10_000), given, {})
    if most is not None:
        with pytest.raises(RecipeError, match=f"max_length: is {most + 1}, and the base has positions for {most}"):
            check_length(recipe(tmp_path, max_length=most + 1), given, {})


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_bases.base(tmp_path_factory.mktemp("bases") / "bert", "bert")


LACKING: tuple[tuple[str, str, str], ...] = (
    ("llama", r"layers\.1\.mlp\.up_proj", r"has no model\.layers\.1\.mlp\.up_proj\.weight"),
    ("llama", r"layers\.0\.input_layernorm", r"has no model\.layers\.0\.input_layernorm\.weight"),
    ("llama", r"embed_tokens", "has no table of words"),
    ("llama", r"^model\.norm", r"has no norm\.weight"),
    ("bert", r"layer\.1\.output\.dense", r"has no bert\.encoder\.layer\.1\.output\.dense\.bias"),
    ("bert", "pooler", r"has no pooler\.weight"),
    ("roberta", r"classifier\.dense", r"has no classifier\.dense\.weight"),
    ("distilbert", "pre_classifier", r"has no pre_classifier\.weight"),
    ("gpt2", r"ln_f", r"has no ln_f\.weight"),
)


@pytest.mark.parametrize(("kind", "name", "words"), LACKING)
def test_a_base_that_lacks_a_tensor_is_refused_on_its_files(kind: str, name: str, words: str, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = random_bases.base(tmp_path / "base", kind)
    check_recipe(recipe(folder), folder)
    file = folder / "model.safetensors"
    save_file({n: t for n, t in load_file(file).items() if not re.search(name, n)}, file, {"format": "pt"})
    with pytest.raises(BaseModelError, match=words):
        check_recipe(recipe(folder), folder)


@pytest.mark.parametrize("kind", ["mamba", "openai-gpt"])
def test_a_whole_base_is_taken_whatever_its_table_of_words_is_called(kind: str, tmp_path: Path) -> None:
    folder = random_bases.base(tmp_path / "base", kind, auto="AutoModelForCausalLM", labels=())
    check_recipe(recipe(folder, task="causal_lm"), folder)


def test_files_that_are_missing_or_cut_short_are_named(bert: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(bert, tmp_path / "base"))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-8])
    with pytest.raises(BaseModelError, match=r"model\.safetensors that is cut short"):
        check_recipe(recipe(folder), folder)
    index = {"weight_map": {"classifier.weight": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BaseModelError, match=r"names model-00002-of-00002\.safetensors, which is not there"):
        check_recipe(recipe(folder), folder)
    (folder / "model.safetensors.index.json").unlink()
    (folder / "model.safetensors").write_bytes(whole)
    tokens = tiny.read(folder / "tokenizer.json")
    tokens["model"]["vocab"]["extra"] = 14
    tiny.written(folder / "tokenizer.json", tokens)
    with pytest.raises(BaseModelError, match="token 14, and an embedding of 14 rows"):
        check_recipe(recipe(folder), folder)


def test_weights_that_the_index_does_not_hold_or_that_lie_elsewhere_are_refused(bert: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(bert, tmp_path / "base"))
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"classifier.extra": "model.safetensors"}}))
    with pytest.raises(BaseModelError, match=r"says that classifier\.extra is in model\.safetensors, which does not"):
        check_recipe(recipe(folder), folder)
    index.write_text(json.dumps({"weight_map": {"classifier.weight": "../bert/model.safetensors"}}))
    with pytest.raises(BaseModelError, match="which is no file of this folder"):
        check_recipe(recipe(folder), folder)


def test_a_head_is_usable_only_if_its_rows_are_saved_and_are_labels(bert: Path, tmp_path: Path) -> None:
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(bert, tmp_path / "base"))
    weights = load_file(folder / "model.safetensors")
    assert weights["bert.embeddings.token_type_embeddings.weight"].shape[0] == len(random_bases.LABELS)
    kept = {name: value for name, value in weights.items() if not name.startswith("classifier")}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    assert check_recipe(recipe(folder), folder).labels is None
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    random_bases.edited(folder, "config.json", problem_type="regression")
    assert check_recipe(recipe(folder), folder).labels is None
    random_bases.edited(folder, "config.json", problem_type=None)
    assert check_recipe(recipe(folder), folder).labels == list(random_bases.LABELS)
    name = "bert.encoder.layer.0.output.dense.weight"
    packed = weights | {name: weights[name].to(torch.int8)}
    save_file(packed, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BaseModelError, match=rf"quantised already \({name} is I8\)"):
        check_recipe(recipe(folder), folder)


def test_an_encoder_counts_positions_from_the_pad_token_that_it_was_made_with(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    from retrain.train.model import load_classifier

    folder = random_bases.base(tmp_path / "base", "roberta")
    plain = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True).eval()
    random_bases.edited(folder, "tokenizer_config.json", pad_token="</s>")
    model = load_classifier(folder, threads=1, device="cpu", quantise=False)
    ids = torch.tensor(model.tokenizer([TEXTS[0]])["input_ids"])
    with torch.no_grad():
        wanted = plain(input_ids=ids).logits.numpy()
    assert model.logits(TEXTS)[:1] == pytest.approx(wanted, abs=1e-4)


def test_a_writer_needs_a_token_that_ends_an_answer(tmp_path: Path) -> None:
    folder = random_bases.base(tmp_path / "base", "gpt2", auto="AutoModelForCausalLM", labels=())
    check_recipe(recipe(folder, task="causal_lm"), folder)
    random_bases.edited(folder, "tokenizer_config.json", eos_token=None)
    with pytest.raises(BaseModelError, match="add eos_token"):
        check_recipe(recipe(folder, task="causal_lm"), folder)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    check_recipe(recipe(folder, task="causal_lm"), folder)


@pytest.mark.parametrize(
    ("kind", "most"), [("mpnet", 62), ("gptj", 64), pytest.param("esm", 63, marks=pytest.mark.slow)]
)
def test_the_longest_text_that_is_taken_has_positions(kind: str, most: int, tmp_path: Path) -> None:
    from retrain.train.model import load_classifier

    rotary: dict[str, Any] = {"rotary_dim": 4} if kind == "gptj" else {}
    folder = random_bases.base(tmp_path / "base", kind, **rotary)
    with pytest.raises(RecipeError, match=f"give at most {most}"):
        check_recipe(recipe(folder, max_length=most + 1), folder)
    check_recipe(recipe(folder, max_length=most), folder)
    model = load_classifier(folder, threads=1, device="cpu", quantise=False, max_length=most)
    assert np.isfinite(model.logits(["card " * 100])).all()


def test_a_pad_token_that_the_class_of_the_tokenizer_has_counts(bert: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(bert, tmp_path / "base"))
    random_bases.edited(folder, "tokenizer_config.json", pad_token=None, tokenizer_class="BertTokenizer")
    check_recipe(recipe(folder), folder)


@pytest.mark.parametrize(
    "auto", ["AutoModelForQuestionAnswering", "AutoModelForTokenClassification", "AutoModelForMaskedLM"]
)
def test_the_head_of_another_task_answers_nothing(auto: str, tmp_path: Path) -> None:
    folder = random_bases.base(tmp_path / "base", "bert", auto=auto)
    found = check_recipe(recipe(folder), folder)
    assert found.labels is None


def test_a_writer_goes_on_whatever_is_said_of_the_table_of_words_that_it_never_adapts(tmp_path: Path) -> None:
    recipe = {"base_model": "./base", "task": "causal_lm", "method": "lora"}
    saved = Recipe.model_validate(recipe).model_dump(mode="json")
    (tmp_path / "run.json").write_text(json.dumps({"config": {"recipe": saved}}))
    assert list(differences(tmp_path, Recipe.model_validate(recipe | {"train_words": False}))) == []
