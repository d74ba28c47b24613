"""What `assay init` takes the columns of a table for, by their names and values."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from api.starter.advice import commands, options
from api.starter.guess import guess_table
from api.starter.text import spec_text
from monitor.spec.parse import load_spec

N = 200
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
NUMBERS = [i * 1.37 + 3 for i in range(N)]
PROBABILITIES = [(i % 97 + 1) / 99 for i in range(N)]
CODES = [("a", "b", "c")[i % 3] for i in range(N)]
BITS = [i % 2 for i in range(N)]
TEXTS = [f"where is my parcel number {i} please" for i in range(N)]
IDS = [f"c{i:05d}" for i in range(N)]

# name, values, role, type
COLUMNS: list[tuple[str, list[Any], str, str]] = [
    ("amount", NUMBERS, "input", "number"), ("hour", [i % 24 for i in range(N)], "input", "number"),
    ("is_new", BITS, "input", "boolean"), ("vip", [bool(b) for b in BITS], "input", "boolean"),
    ("colour", CODES, "input", "category"), ("message", TEXTS, "input", "text"), ("order_ref", IDS, "input", "string"),
    ("education", [i % 5 for i in range(N)], "input", "category"),
    ("status_code", [i % 4 for i in range(N)], "input", "category"),
    ("emb", [[float(i), 1.0, 2.0] for i in range(N)], "input", "vector"), ("constant", ["x"] * N, "input", "category"),
    ("channel", CODES, "segment", "category"), ("Country", CODES, "segment", "category"),
    ("sex", BITS, "protected", "category"), ("AGE", [18 + i % 60 for i in range(N)], "protected", "number"),
    ("maritalStatus", CODES, "protected", "category"), ("age_band", CODES, "protected", "category"),
    ("customer_id", IDS[:100] * 2, "subject", "string"), ("user", IDS[:50] * 4, "subject", "string"),
    ("latency_ms", NUMBERS, "measure", "number"), ("agent", CODES, "agent", "category"),
    ("y_pred", BITS, "prediction", "category"), ("decision", CODES, "prediction", "category"),
    ("prediction", NUMBERS, "prediction", "number"), ("answer", TEXTS, "prediction", "text"),
    ("proba", PROBABILITIES, "score", "number"), ("confidence", PROBABILITIES, "score", "number"),
    ("prediction", PROBABILITIES, "score", "number"),
    ("label", CODES, "outcome", "category"), ("target", NUMBERS, "outcome", "number"),
    ("y_true", BITS, "outcome", "category"),
    ("default.payment.next.month", BITS, "outcome", "category"),
    ("is_fraud", [bool(b) for b in BITS], "outcome", "boolean"),
    ("credit_score", [300 + i * 7 % 173 for i in range(N)], "input", "number"),
    ("response_time", NUMBERS, "input", "number"),
    ("user_agent", CODES, "input", "category"), ("account_age", [i % 90 for i in range(N)], "input", "number"),
    ("default_language", CODES, "segment", "category"), ("score_text", CODES, "input", "category"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values", "role", "kind"), COLUMNS, ids=[f"{c[0]}-{c[2]}" for c in COLUMNS])
def test_a_column_is_taken_for_what_its_name_and_values_say(name: str, values: list[Any], role: str, kind: str) -> None:
    found = next(g for g in guess_table(pl.DataFrame({name: values})).columns if g.source == name)
    assert (found.role, found.type) == (role, kind), found.why
    assert found.why


@pytest.mark.parametrize(("name", "values", "role", "kind"), COLUMNS, ids=[f"{c[0]}-{c[2]}" for c in COLUMNS])
def test_a_text_file_gives_the_same_guess(name: str, values: list[Any], role: str, kind: str) -> None:
    if kind == "vector":
        return
    texts = [str(v).lower() if isinstance(v, bool) else str(v) for v in values]
    found = next(g for g in guess_table(pl.DataFrame({name: texts})).columns if g.source == name)
    assert (found.role, found.type) == (role, kind)


def test_an_answer_and_its_truth_are_told_apart_by_their_names() -> None:
    for answer, truth in (
        ("intent", "intent_true"),
        ("y", "y_actual"),
        ("price", "true_price"),
        ("grade", "grade.label"),
    ):
        values = NUMBERS if answer == "price" else CODES
        draft = guess_table(pl.DataFrame({"text": TEXTS, answer: values, truth: values}))
        assert [(g.name, g.role) for g in draft.columns[1:]] == [(answer, "prediction"), (truth, "outcome")]
        assert draft.task == ("regression" if answer == "price" else "classification")


def test_of_several_outcomes_the_one_that_is_named_like_the_truth_is_written_and_asked_about() -> None:
    table = pl.DataFrame({"message": TEXTS, "team_label": CODES, "rating": BITS, "intent": CODES, "intent_true": CODES})
    draft = guess_table(table)
    answer = next(g for g in draft.columns if g.role == "prediction")
    assert answer.more == {"predicts": "intent_true"}
    assert "does intent_true tell the right answer, or team_label" in answer.ask
    text = spec_text(
        draft, model="m", owner="o", purpose="p", file="f.csv", commands=[], schema=None, notes=[],
    )  # fmt: skip
    assert load_spec(text).target == "intent_true"


def test_a_score_of_one_class_says_which_and_that_of_the_answer_says_none() -> None:
    answers = ["yes" if p > 0.5 else "no" for p in PROBABILITIES]
    sure = [max(p, 1 - p) for p in PROBABILITIES]
    of_class = guess_table(pl.DataFrame({"decision": answers, "score": PROBABILITIES})).columns[1]
    of_answer = guess_table(pl.DataFrame({"decision": answers, "score": sure})).columns[1]
    assert (of_class.more, of_answer.more) == ({"positive": "yes"}, {})


TIMES: list[tuple[str, list[Any], str]] = [
    ("created_at", [BEGIN + timedelta(hours=i) for i in range(N)], ""),
    ("when", [(BEGIN + timedelta(hours=i)).replace(tzinfo=None) for i in range(N)], "UTC"),
    ("date", [f"2026-01-{i % 28 + 1:02d}" for i in range(N)], "UTC"),
    ("time", [f"2026-01-{i % 28 + 1:02d} 12:00:00" for i in range(N)], "UTC"),
    ("time", [f"2026-01-{i % 28 + 1:02d}T12:00:00+01:00" for i in range(N)], ""),
    ("timestamp", [1_767_225_600 + 60 * i for i in range(N)], "epoch_s"),
    ("event_time", [(1_767_225_600 + 60 * i) * 1000 for i in range(N)], "epoch_ms"),
    ("ts", [str((1_767_225_600 + 60 * i) * 1_000_000) for i in range(N)], "epoch_us"),
    ("ts", [(1_767_225_600 + 60 * i) * 1_000_000_000 for i in range(N)], "epoch_ns"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values", "reading"), TIMES, ids=[f"{c[0]}-{c[2]}" for c in TIMES])
def test_the_time_is_found_and_said_how_it_is_read(name: str, values: list[Any], reading: str) -> None:
    draft = guess_table(pl.DataFrame({"amount": NUMBERS, name: values}))
    assert (draft.own.sources, draft.own.ts_as) == ({"ts": name}, reading)


def test_the_fields_of_an_event_are_found_and_the_file_is_sent_with_the_options_that_this_needs() -> None:
    frame = pl.DataFrame({
        "id": IDS, "created": ["2026-01-01"] * N, "updated_at": ["2026-01-02"] * N, "model": ["gpt"] * N,
        "empty": [None] * N,
        "amt %": NUMBERS, "größe": NUMBERS, "seq": NUMBERS, "row": range(N), "answer": CODES,
    })  # fmt: skip
    draft = guess_table(frame)
    assert draft.own.sources == {"ts": "created", "event_id": "id", "version": "model"}
    assert [name for name, _ in draft.left_out] == ["updated_at", "empty", "row"]
    assert options(draft) == [
        "--ts", "created", "--ts-as", "UTC", "--rename", "id=event_id", "--rename", "model=version",
        "--rename", "amt %=amt_percent", "--rename", "größe=gr_e", "--rename", "seq=seq_column",
        "--rename", "updated_at=", "--rename", "empty=", "--rename", "row=",
    ]  # fmt: skip
    assert "'amt %=amt_percent'" in commands(draft, "spec.yaml", "my file.csv")[0]


def test_numbers_with_a_word_for_a_missing_value_are_asked_about() -> None:
    values = [f"{i * 1.3}" if i % 20 else "NA" for i in range(N)]
    found = guess_table(pl.DataFrame({"amount": values})).columns[0]
    assert (found.type, "'NA' is no number" in found.ask) == ("category", True)


def test_five_rows_in_order_do_not_number_the_rows() -> None:
    draft = guess_table(pl.DataFrame({"amount": [1, 2, 3, 4, 5], "paid": [0, 1, 0, 1, 1]}))
    assert [guess.name for guess in draft.columns[:2]] == ["amount", "paid"]


def test_a_row_number_is_no_id_because_the_next_file_begins_at_one_again() -> None:
    draft = guess_table(pl.DataFrame({"index": range(N), "amount": NUMBERS}))
    assert draft.own.sources == {}
    assert draft.left_out == [("index", "numbers the rows")]


@pytest.mark.parametrize(
    "name", ["no", "1st", "a:b", "x" * 150, "# note", "it's", '"q"', "new\nline", "{a}", "", " ", "true"]
)
def test_any_name_gives_a_spec_that_parses(name: str) -> None:
    frame = pl.DataFrame({name: NUMBERS, "colour": ["*x", "- y\n#", "{", "a"] * (N // 4)})
    draft = guess_table(frame)
    text = spec_text(
        draft, model="m", owner=None, purpose="a: 'b' #c", file=f"{name}.csv", commands=[], schema=None, notes=[]
    )
    spec = load_spec(text)
    assert len(spec.columns) == 3  # with the answer, which the file does not have
    assert spec.purpose == "a: 'b' #c"


def test_values_that_may_be_about_a_person_are_not_written_into_the_spec() -> None:
    names = [f"Ada {i} Lovelace-Byron" for i in range(N)]
    frame = pl.DataFrame(
        {"message": [f"my name is {n} and I am here" for n in names], "name": names, "customer_id": names}
    )
    text = spec_text(
        guess_table(frame), model="m", owner="o", purpose="p", file="f", commands=[], schema=None, notes=[]
    )
    assert "Ada" not in text


SHARED: list[tuple[str, str, dict[str, str]]] = [
    ("credit_default_taiwan", "classification", {
        "LIMIT_BAL": "input", "SEX": "protected", "MARRIAGE": "protected", "AGE": "protected", "EDUCATION": "input",
        "PAY_0": "input", "BILL_AMT1": "input", "default payment": "outcome",
    }),

      ("german_credit", "classification", {"age": "protected", "personal_status": "protected",
        "foreign_worker": "protected",                                         "credit": "input", "purpose": "input"}),
    ("compas_two_years", "classification", {"sex": "protected", "race": "protected", "two_year_recid": "outcome",
                                            "decile_score": "input", "priors_count": "input"}),
    ("elec2", "classification", {"class": "outcome", "nswprice": "input"}),
    ("bike_sharing_hourly", "classification", {"temp": "input", "cnt": "input"}),
    ("banking77_train", "classification", {"text": "input", "category": "input"}),
    ("gsm8k_model_solutions", "generation", {"question": "input", "response": "prediction", "is_correct": "outcome"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "task", "roles"), SHARED, ids=[c[0] for c in SHARED])
def test_public_tables_are_taken_for_what_they_are(
    name: str, task: str, roles: dict[str, str], shared_data: Path
) -> None:
    draft = guess_table(pl.read_parquet(shared_data / f"{name}.parquet", n_rows=5000))
    found = {guess.name: guess for guess in draft.columns}
    assert {column: found[column].role for column in roles} == roles
    assert draft.task == task
    asked = [guess.name for guess in draft.columns if "outcome" in guess.ask]
    assert asked == {"german_credit": ["credit"], "bike_sharing_hourly": ["cnt"], "banking77_train": ["category"]}.get(
        name, []
    )
    load_spec(spec_text(draft, model="m", owner=None, purpose=None, file="f", commands=[], schema=None, notes=[]))


def test_a_column_of_lists_of_texts_is_left_out_with_what_to_declare() -> None:
    rows = pl.DataFrame({"question": ["what is it"] * 9, "answer": ["a thing"] * 9, "refs": [["a", "b"]] * 9})
    (left_out,) = guess_table(rows).left_out
    assert left_out[0] == "refs"
    assert "type: texts, and references: accepted or collected" in left_out[1]
