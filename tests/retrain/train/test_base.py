from pathlib import Path

import pytest

from retrain.train.errors import DataDigestError
from retrain.train.weights import check_base, file_digest
from tests.retrain.train import tiny


def test_a_base_is_complete_and_has_a_dedicated_pad_token(tiny_base: Path) -> None:
    check_base(tiny_base)
    config, tokens = tiny.read(tiny_base / "config.json"), tiny.read(tiny_base / "tokenizer_config.json")
    assert tokens["pad_token"] == "<pad>"
    assert config["pad_token_id"] not in {config["eos_token_id"], config["bos_token_id"], None}
    assert sorted(config["id2label"].values()) == sorted(tiny.OLD)
    assert not list(tiny_base.glob("*.bin"))
    record = tiny.read(tiny_base / "base.json")
    assert record["loss"][-1] < record["loss"][0]
    assert record["rows"] == 320


def test_the_same_seed_makes_the_same_base(tmp_path: Path) -> None:
    from retrain.train.demo_base import make_base

    frame = tiny.messages(tiny.OLD, 64)
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_base(tiny.base_config(tmp_path / name, frame, epochs=1, seed=seed))
    one, two, other = (file_digest(tmp_path / name / "base" / "model.safetensors") for name in "abc")
    assert one == two != other


def test_a_base_refuses_data_that_changed(tmp_path: Path) -> None:
    from retrain.train.demo_base import make_base

    path = tiny.base_config(tmp_path, tiny.messages(tiny.OLD, 16))
    tiny.messages(tiny.OLD, 17).write_parquet(tmp_path / "base.parquet")
    with pytest.raises(DataDigestError):
        make_base(path)


def test_a_text_comes_back_from_its_tokens() -> None:
    from retrain.train.demo_base import train_tokenizer

    texts = ["my card is gone", "where is the money now?"] * 3
    tokenizer = train_tokenizer(texts, 300, 32, closed=True)
    for text in texts[:2]:
        ids = tokenizer(text)["input_ids"]
        assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
        assert str(tokenizer.decode(ids, skip_special_tokens=True)).replace(" ?", "?") == text


def test_probabilities_do_not_depend_on_batching(tiny_base: Path) -> None:
    from retrain.train.model import load_classifier

    model = load_classifier(tiny_base, threads=1)
    texts = [*tiny.messages(tiny.OLD, 25, seed=9)["text"].to_list(), "", "card " * 100]
    one, other = model.predict_proba(texts, batch_size=4), model.predict_proba(texts[::-1], batch_size=64)[::-1]
    assert one.shape == (27, 4)
    assert one.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert one == pytest.approx(other, abs=1e-5)
    assert model.predict_proba([]).shape == (0, 4)


def test_a_tiny_base_already_tells_its_intents_apart(tiny_base: Path, tmp_path: Path) -> None:
    from retrain.train.model import load_classifier

    held_out = tiny.messages(tiny.OLD, 60, seed=8)
    names, _ = load_classifier(tiny_base, threads=1).predict(held_out["text"].to_list())
    assert sum(a == b for a, b in zip(names, held_out["label"], strict=True)) > 45
