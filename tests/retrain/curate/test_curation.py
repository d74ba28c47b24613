"""Which rows a run learns from: nothing held out is trained on, nothing is lost without being counted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.spec.envelope import Envelope
from retrain.curate.curation import MIN_NEW_ROWS, Material, curate
from retrain.curate.dedupe import KEY, dedupe, normalised, with_key
from retrain.curate.rehearse import allocate, rehearsal_rows
from retrain.curate.select import Drops, Shape, rows_of_dataset, rows_of_events
from retrain.curate.split import bucket, by_time
from retrain.envelope import Plan, Rehearsal
from retrain.errors import DatasetError, TooFewRowsError
from retrain.train.config import Recipe
from retrain.train.tabular.recipe import TableColumn

SHAPE = Shape(("text",), "intent_true", (), completion=False)
START = datetime(2026, 1, 5, tzinfo=UTC)


def plan(rehearsal_: Any = None, **envelope: Any) -> Plan:
    recipe = Recipe(base_model="./base", task="sequence_classification")
    return Plan(recipe, Rehearsal.model_validate(rehearsal_ if rehearsal_ is not None else {}), Envelope(**envelope))


def rows(pairs: list[tuple[str, str]], prefix: str = "e", first: int = 0) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "row_id": [f"{prefix}{i}" for i in range(len(pairs))],
            "seq": [first + i for i in range(len(pairs))],
            "ts": [START + timedelta(minutes=first + i) for i in range(len(pairs))],
            "text": [text for text, _ in pairs],
            "label": [label for _, label in pairs],
            "source": ["events"] * len(pairs),
        },
        schema={"row_id": pl.String, "seq": pl.Int64, "ts": pl.Datetime("us", "UTC"), "text": pl.String,
                "label": pl.String, "source": pl.String},
    )  # fmt: skip


def texts(frame: pl.DataFrame) -> set[str]:
    return {normalised(t) for t in frame["text"]}


pairs = st.lists(
    st.tuples(st.text("abc é", min_size=1, max_size=4).filter(lambda t: bool(t.strip())), st.sampled_from("xyz")),
    max_size=120,
)


@given(new=pairs, old=pairs, train=pairs, holdout=pairs, share=st.floats(0, 1), most=st.integers(20, 200))
def test_no_text_is_ever_both_trained_on_and_held_out_and_every_row_is_accounted_for(
    new: list[tuple[str, str]], old: list[tuple[str, str]], train: list[tuple[str, str]],
    holdout: list[tuple[str, str]], share: float, most: int,
) -> None:  # fmt: skip
    material = Material(
        new=rows(new, first=1000), old=rows(old, "o"), train=[rows(train, "t")] if train else [],
        holdout=[rows(holdout, "h")] if holdout else [],
    )  # fmt: skip
    try:
        found = curate(material, SHAPE, plan({"share": share}, max_rows=most), ("x", "y"))
    except TooFewRowsError:
        return
    held = texts(found.eval.rows) | texts(found.holdout.rows)
    assert not texts(found.train.rows) & held
    assert found.train.rows.height <= most
    assert found.train.rows[KEY].n_unique() == found.train.rows.height
    dropped = sum(found.train.drops.counts.values())
    dropped += sum(found.eval.drops.counts.values()) + sum(found.holdout.drops.counts.values())
    kept = found.train.rows.height + found.eval.rows.height + found.holdout.rows.height
    assert kept + dropped == len(new) + len(old) + len(train) + len(holdout)


def distinct(count: int, label: str = "x", prefix: str = "text") -> list[tuple[str, str]]:
    return [(f"{prefix} {i}", label) for i in range(count)]


def test_the_newest_fifth_of_the_new_rows_is_held_out() -> None:
    found = curate(Material(rows(distinct(100)), rows([])), SHAPE, plan(), ())
    assert found.train.rows.height == 80
    assert found.eval.rows["row_id"].to_list() == [f"e{i}" for i in range(80, 100)]


def test_rows_are_split_by_event_time_not_by_arrival() -> None:
    late = rows(distinct(100)).with_columns(ts=pl.col("ts").reverse())
    _, held = by_time(late)
    assert held["row_id"].to_list() == [f"e{i}" for i in range(19, -1, -1)]


def test_of_equal_texts_the_latest_stays_and_conflicting_labels_are_counted() -> None:
    found = dedupe(with_key(rows([("Hello  there", "x"), ("other", "x"), ("hello there", "y"), ("OTHER", "x")])))
    assert found.rows["row_id"].to_list() == ["e2", "e3"]
    assert (found.repeats, found.conflicts) == (2, 1)


def test_a_new_label_with_fewer_than_five_training_rows_is_left_out_and_reported() -> None:
    new = distinct(90) + distinct(4, "rare", "rare") + distinct(6, "seen", "seen")
    # The rare rows must not all fall into the held-out end.
    found = curate(Material(rows(new[90:] + new[:90]), rows([])), SHAPE, plan(), ("x",))
    assert found.labels == ("x", "seen")
    assert found.facts["labels_left_out"] == {"rare": 4}
    assert found.train.drops.counts["label is not among the challenger's"] == 4


def test_a_label_the_champion_knows_stays_whatever_its_count_and_keeps_its_place() -> None:
    found = curate(Material(rows(distinct(60)), rows([])), SHAPE, plan(), ("zebra", "x"))
    assert found.labels == ("zebra", "x")


def test_held_out_rows_of_labels_that_were_never_trained_stay_and_are_counted() -> None:
    found = curate(Material(rows(distinct(90) + distinct(10, "fresh", "fresh")), rows([])), SHAPE, plan(), ("x",))
    assert found.facts["labels_unseen"] == {"fresh": 10}
    assert found.eval.rows.height == 20
    assert found.facts["held_out_rows_without_answer"] == 10


def test_the_old_hold_out_is_a_stable_fifth_by_text_and_is_never_rehearsed() -> None:
    old = rows(distinct(500, prefix="old"), "o")
    found = curate(Material(rows(distinct(50), first=1000), old), SHAPE, plan(), ())
    expected = {f"old {i}" for i in range(500) if bucket(f"old {i}") == 0}
    assert texts(found.holdout.rows) == expected
    assert 70 <= len(expected) <= 130
    assert found.train.rows.height == 40 + 500 - len(expected)


def test_a_registered_hold_out_takes_the_place_of_the_fifth() -> None:
    old = rows(distinct(100, prefix="old"), "o")
    holdout = [rows(distinct(40, prefix="kept"), "h")]
    found = curate(Material(rows(distinct(50), first=1000), old, holdout=holdout), SHAPE, plan(), ())
    assert texts(found.holdout.rows) == {f"kept {i}" for i in range(40)}
    assert found.facts["replay_rows"] == 100


def test_a_text_the_champion_was_trained_on_does_not_judge_forgetting() -> None:
    old = rows(distinct(500, prefix="old"), "o")
    taught = frozenset(f"old {i}" for i in range(250))
    found = curate(Material(rows(distinct(50), first=1000), old, taught=taught), SHAPE, plan(), ())
    assert not texts(found.holdout.rows) & taught
    assert found.holdout.drops.counts["the champion was trained on it"] > 20


def test_max_rows_keeps_the_newest_new_rows_and_leaves_what_is_left_to_rehearsal() -> None:
    old = rows(distinct(500, prefix="old"), "o")
    material = Material(rows(distinct(100), first=1000), old)
    narrow = curate(material, SHAPE, plan(max_rows=50), ())
    assert narrow.train.rows["row_id"].to_list() == [f"e{i}" for i in range(30, 80)]
    wide = curate(material, SHAPE, plan(max_rows=100), ())
    assert (wide.facts["new_rows"], wide.facts["replay_rows"]) == (80, 20)


def test_too_few_new_rows_are_refused_with_the_count() -> None:
    with pytest.raises(TooFewRowsError, match="19 different labelled texts"):
        curate(Material(rows(distinct(MIN_NEW_ROWS - 1)), rows([])), SHAPE, plan(), ())


@given(st.dictionaries(st.text("abcdef", min_size=1), st.integers(1, 50), min_size=1, max_size=8), st.integers(0, 300))
def test_a_stratified_allocation_adds_up_and_never_asks_for_more_than_there_is(
    counts: dict[str, int], size: int
) -> None:
    found = allocate(counts, size)
    assert sum(found.values()) == min(size, sum(counts.values()))
    assert all(0 <= found[name] <= counts[name] for name in counts)
    if size >= len(counts):
        assert all(found[name] >= 1 for name in counts)


def test_the_rehearsal_is_the_same_for_a_seed_and_another_for_another_seed() -> None:
    frame = rows(distinct(300) + distinct(30, "y", "rare"))
    first, again, other = (rehearsal_rows(frame, 50, seed)["row_id"].to_list() for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert rehearsal_rows(frame, 50, 0)["label"].value_counts().sort("label")["count"].to_list() == [45, 5]


@pytest.mark.parametrize(("given_", "size"), [(0.5, 50), (1, 100), (0, 0), (30, 30), ({"share": 0.8, "rows": 10}, 10)])
def test_the_rehearsal_is_given_as_a_share_or_as_a_number_of_rows(given_: Any, size: int) -> None:
    assert Rehearsal.model_validate(given_).size(100) == size


def test_several_input_columns_are_rendered_as_named_lines() -> None:
    shape = Shape(("channel", "text"), "intent_true", ("age",), completion=False)
    labelled = pl.DataFrame(
        {"event_id": ["a"], "seq": [0], "ts": [START], "channel": ["web"], "text": ["hi"], "age": ["old"],
         "intent_true": ["x"]},
    )  # fmt: skip
    found = rows_of_events(labelled, shape, "events", Drops())
    assert found["text"].to_list() == ["channel: web\ntext: hi"]
    assert found["protected_age"].to_list() == ["old"]


def test_rows_without_text_or_label_are_dropped_and_counted() -> None:
    drops = Drops()
    frame = pl.DataFrame({"text": ["a", None, " ", "b"], "label": ["x", "x", "x", None]})
    assert rows_of_dataset(frame, SHAPE, "d", drops)["row_id"].to_list() == ["d:0"]
    assert drops.counts == {"text or label missing": 3}


def test_a_dataset_without_the_needed_columns_is_refused_with_what_it_has() -> None:
    with pytest.raises(DatasetError, match=r"its columns are \['words', 'label'\]"):
        rows_of_dataset(pl.DataFrame({"words": ["a"], "label": ["x"]}), SHAPE, "d", Drops())


@given(
    new=st.lists(st.integers(-1, 9), min_size=20, max_size=120), old=st.lists(st.integers(-1, 9), max_size=60),
    share=st.floats(0, 1),
)  # fmt: skip
def test_no_person_is_ever_both_trained_on_and_held_out(new: list[int], old: list[int], share: float) -> None:
    def of(people: list[int], prefix: str, first: int) -> pl.DataFrame:
        frame = rows([(f"{prefix} {i}", "xy"[i % 2]) for i in range(len(people))], prefix, first)
        return frame.with_columns(pl.Series("subject", [f"p{p}" if p >= 0 else None for p in people], pl.String))

    material = Material(of(new, "new", 1000), of(old, "old", 0))
    try:
        found = curate(material, SHAPE, plan({"share": share}), ("x", "y"))
    except TooFewRowsError:
        return
    held = {*found.eval.rows["subject"].drop_nulls(), *found.holdout.rows["subject"].drop_nulls()}
    assert not held & {*found.train.rows["subject"].drop_nulls()}
    assert found.train.rows["ts"].dt.timestamp().max() <= found.eval.rows["ts"].dt.timestamp().min()  # type: ignore[operator]
    parts = (found.train, found.eval, found.holdout)
    assert sum(p.rows.height + sum(p.drops.counts.values()) for p in parts) == len(new) + len(old)


def test_persons_who_write_all_the_time_leave_rows_on_both_sides() -> None:
    people = [f"p{i % 40}" for i in range(400)]
    frame = rows(distinct(400)).with_columns(pl.Series("subject", people))
    found = curate(Material(frame, rows([])), SHAPE, plan(), ())
    assert 30 <= found.eval.rows.height <= 50
    assert found.train.rows.height >= 140
    assert found.train.drops.counts["the person is on the other side of the split"] == (
        400 - found.train.rows.height - found.eval.rows.height
    )


def test_a_correction_of_what_the_champion_learned_is_trained_on_and_never_held_out() -> None:
    new = rows(distinct(100), first=1000)
    corrected = rows(distinct(10, "y", "old"), "o").with_columns(ts=pl.lit(START + timedelta(days=9)))
    material = Material(
        pl.concat([corrected, new]), rows([]), taught=frozenset(texts(corrected)),
        corrected=frozenset(corrected["row_id"]),
    )  # fmt: skip
    found = curate(material, SHAPE, plan(), ())
    assert found.eval.rows.height == 20
    assert texts(corrected) <= texts(found.train.rows)


def test_inputs_that_are_named_as_the_trainer_names_its_columns_are_read_as_inputs() -> None:
    frame = pl.DataFrame({"text": ["gone"], "label": ["red"], "intent_true": ["card"]})
    several = Shape(("label", "text"), "intent_true", (), completion=False)
    found = rows_of_dataset(frame, several, "d", Drops())
    assert (found["text"][0], found["label"][0]) == ("label: red\ntext: gone", "card")
    columns = (TableColumn(name="text", type="category"),)
    table = rows_of_dataset(frame, replace(SHAPE, inputs=("text",), table=columns), "d", Drops())
    assert table["text"][0] == '{"text":"gone"}'
