from pathlib import Path

import polars as pl
import pytest

from retrain.train.config import DatasetFile
from retrain.train.data import check_labels, classification_examples, completion_examples, read_rows
from retrain.train.errors import DataDigestError, DataError, WeightsNotFoundError
from tests.retrain.train import tiny


def file(frame: pl.DataFrame, path: Path) -> DatasetFile:
    return DatasetFile.model_validate(tiny.dataset(frame, path))


def test_a_file_that_changed_after_curation_is_refused(tmp_path: Path) -> None:
    declared = file(tiny.messages(tiny.OLD, 8), tmp_path / "a.parquet")
    tiny.messages(tiny.OLD, 9).write_parquet(declared.path)
    with pytest.raises(DataDigestError, match=r"train\.sha256: .*curate again") as caught:
        read_rows(declared, "train", ("text", "label"))
    assert caught.value.facts["declared"] == declared.sha256


def test_bad_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no text column 'label'; its columns are"):
        read_rows(file(pl.DataFrame({"text": ["a"]}), tmp_path / "a.parquet"), "train", ("text", "label"))
    with pytest.raises(DataError, match=r"'label' of .* has 1 empty cells"):
        frame = pl.DataFrame({"text": ["a", "b"], "label": ["x", None]})
        read_rows(file(frame, tmp_path / "b.parquet"), "train", ("text", "label"))
    with pytest.raises(DataError, match="has no rows"):
        read_rows(file(tiny.messages(tiny.OLD, 1).clear(), tmp_path / "c.parquet"), "train", ("text", "label"))
    missing = DatasetFile(path=tmp_path / "none.parquet", sha256="sha256:" + "0" * 64)
    with pytest.raises(WeightsNotFoundError, match=r"train\.path: .* does not exist"):
        read_rows(missing, "train", ("text", "label"))


def test_a_label_outside_the_config_is_refused() -> None:
    with pytest.raises(DataError, match=r"labels \['pin'\] are not in the config"):
        check_labels(tiny.messages(("card", "pin"), 20), tiny.OLD, "train")


def test_every_example_ends_in_the_token_that_is_pooled(tiny_base: Path) -> None:
    from retrain.train.base_model import load_tokenizer

    tokenizer = load_tokenizer(tiny_base)
    frame = tiny.messages(tiny.OLD, 10)
    for limit in (5, 24):
        examples, _ = classification_examples(frame, tiny.OLD, tokenizer, limit)
        assert all(e["input_ids"][-1] == tokenizer.eos_token_id and len(e["input_ids"]) <= limit for e in examples)
        assert [tiny.OLD[e["label"]] for e in examples] == frame["label"].to_list()


def test_only_the_completion_and_its_end_token_have_labels(tiny_causal_base: Path) -> None:
    from retrain.train.base_model import load_tokenizer

    tokenizer = load_tokenizer(tiny_causal_base)
    (example,), counts = completion_examples(tiny.pairs(1), tokenizer, 64)
    labelled = [i for i in example["labels"] if i != -100]
    assert (counts.rows_dropped, counts.rows_truncated, counts.tokens_cut) == (0, 0, 0)
    assert counts.tokens_learned == len(labelled)
    assert labelled[-1] == tokenizer.eos_token_id
    assert str(tokenizer.decode(labelled, skip_special_tokens=True)).strip() == tiny.pairs(1)["completion"][0]
    assert len(example["labels"]) == len(example["input_ids"])


def test_rows_without_room_for_a_label_are_dropped_and_counted(tiny_causal_base: Path) -> None:
    from retrain.train.base_model import load_tokenizer

    tokenizer = load_tokenizer(tiny_causal_base)
    frame = pl.DataFrame({"prompt": ["my card is gone", "card " * 40], "completion": ["yes", "no"]})
    examples, counts = completion_examples(frame, tokenizer, 20)
    assert (len(examples), counts.rows, counts.rows_learned, counts.rows_dropped) == (1, 2, 1, 1)
    assert all(any(i != -100 for i in e["labels"]) for e in examples)
    with pytest.raises(DataError, match="no row has a completion within max_length=2"):
        completion_examples(frame, tokenizer, 2)
