"""The demo's messages: deterministic, varied, learnable and not trivial; and files of the user's own."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from api.demo.phrases import KNOWN, NEW, SHARED, SLOTS
from api.demo.traffic import INTENTS_KNOWN, INTENTS_NEW, generate, labelled_file
from core.errors import InvalidError
from tests.service import environment

EVERYTHING = (*INTENTS_KNOWN, *INTENTS_NEW)


@pytest.fixture(scope="module")
def train() -> pl.DataFrame:
    return generate(0, 6000, EVERYTHING)


@pytest.fixture(scope="module")
def test() -> pl.DataFrame:
    return generate(1, 2000, EVERYTHING)


def accuracy(train: pl.DataFrame, test: pl.DataFrame) -> float:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LinearSVC(random_state=0))
    model.fit(train["text"], train["category"])
    return float(model.score(test["text"], test["category"]))


def test_the_same_seed_gives_the_same_messages_in_another_process() -> None:
    code = "from api.demo.traffic import generate; print(generate(7, 50).write_json())"
    environ = environment({"PYTHONHASHSEED": "5"})
    other = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == generate(7, 50).write_json()


def test_another_seed_gives_other_messages(train: pl.DataFrame, test: pl.DataFrame) -> None:
    assert test.join(train, on="text", how="semi").height < 0.05 * test.height


def test_intents_share_the_rows_evenly_and_in_mixed_order() -> None:
    counts = generate(3, 1000, EVERYTHING)["category"].value_counts()["count"]
    assert counts.max() - counts.min() <= 1  # type: ignore[operator]  # both are integers
    assert generate(3, 1000, EVERYTHING)["category"][:50].n_unique() > 10


def test_messages_vary_in_words_and_length(train: pl.DataFrame) -> None:
    assert train["text"].n_unique() > 0.97 * train.height
    lengths = train["text"].str.split(" ").list.len()
    assert lengths.quantile(0.05) <= 6  # type: ignore[operator]  # not empty
    assert lengths.quantile(0.95) >= 18  # type: ignore[operator]  # not empty


def test_no_slot_or_choice_is_left_unfilled(train: pl.DataFrame) -> None:
    assert not train["text"].str.contains(r"[<>()|]|  ").any()


def test_every_phrase_names_slots_that_exist_and_closes_its_choices() -> None:
    import re

    phrases = [p for table in (KNOWN, NEW) for texts in table.values() for p in texts]
    phrases += [p for _, texts in SHARED for p in texts]
    assert {slot for p in phrases for slot in re.findall(r"<(\w+)>", p)} <= set(SLOTS)
    assert all(p.count("(") == p.count(")") for p in phrases)
    assert {name for names, _ in SHARED for name in names} <= set(KNOWN)


def test_intents_can_be_told_apart_but_not_perfectly(train: pl.DataFrame, test: pl.DataFrame) -> None:
    known = pl.col("category").is_in(INTENTS_KNOWN)
    score = accuracy(train.filter(known)[:3500], test.filter(known))
    assert 0.90 < score < 0.97


def test_new_intents_are_not_answered_by_a_model_that_never_saw_them(train: pl.DataFrame, test: pl.DataFrame) -> None:
    known = pl.col("category").is_in(INTENTS_KNOWN)
    assert accuracy(train.filter(known), test.filter(~known)) == 0.0
    assert accuracy(train, test) > 0.92


@pytest.mark.parametrize(("n", "intents"), [(10, ("no_such_intent",)), (10, ()), (-1, INTENTS_KNOWN)])
def test_generate_refuses_what_it_cannot_do(n: int, intents: tuple[str, ...]) -> None:
    with pytest.raises(InvalidError):
        generate(0, n, intents)


def test_no_rows_are_no_rows() -> None:
    assert generate(0, 0).schema == {"text": pl.String, "category": pl.String}


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_labelled_file_is_read_back(tmp_path: Path, suffix: str) -> None:
    path, frame = tmp_path / f"messages{suffix}", generate(0, 40)
    more = frame.with_columns(id=pl.int_range(pl.len()))
    if suffix == ".csv":
        more.write_csv(path)
    else:
        more.write_parquet(path)
    assert labelled_file(path).equals(frame)


def test_the_public_banking77_file_is_read(shared_data: Path) -> None:
    frame = labelled_file(shared_data / "banking77_train.parquet")
    assert frame.columns == ["text", "category"]
    assert frame["category"].n_unique() == 77


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("gone.csv", None, "no file"),
        ("messages.txt", "text,category\na,b\n", r"ends in '\.txt'"),
        ("messages.parquet", "not parquet", "cannot be read as parquet"),
        ("messages.csv", "", "cannot be read as csv"),
        ("messages.csv", "message,category\na,b\n", "no column text; it has message, category"),
        ("messages.csv", "text,label\na,b\n", "no column category"),
        ("messages.csv", "text,category\na,x\n  ,y\n", "row 2 has an empty text"),
        ("messages.csv", "text,category\na,x\nb,\n", "row 2 has an empty category"),
        ("messages.csv", "text,category\na,x\nb,x\n", "1 category"),
        ("messages.csv", "text,category\n", "0 category"),
    ],
)
def test_a_bad_file_is_refused_with_its_reason(tmp_path: Path, name: str, content: str | None, complaint: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidError, match=complaint):
        labelled_file(path)
