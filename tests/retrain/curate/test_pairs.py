"""Pairs of answers, from events and from registered datasets."""

import polars as pl
import pytest

from monitor.spec.parse import parse_spec
from retrain.curate.curation import Material, curate
from retrain.curate.select import Drops, Shape, rows_of_dataset, rows_of_events, rows_of_golden
from retrain.envelope import Plan
from retrain.errors import DatasetError, RecipeError
from tests.retrain.pairs import events, spec


def test_pairs_of_events_and_of_datasets_are_what_the_outcome_says() -> None:
    declared = spec("/base")
    shape = Shape.of(declared, "dpo", Plan.of(declared).preference)
    assert (shape.inputs, shape.label, shape.answers) == (("asked",), "better", ("answered", "second"))
    frame = events(20, 0).with_columns(pl.int_range(pl.len()).alias("seq"))
    drops = Drops()
    rows = rows_of_events(frame, shape, "events", drops)
    assert rows.height == 18
    assert drops.counts == {"neither answer is preferred, or no text": 2}
    assert rows["label"].str.starts_with("please bring").all()
    assert rows["rejected"].str.starts_with("we will look").all()
    assert rows["text"].to_list() == frame.filter(pl.col("better") != "both")["asked"].to_list()
    pairs = pl.DataFrame({"prompt": ["a", "b", "c"], "chosen": ["x", "y", "z"], "rejected": ["y", "y", None]})
    found = rows_of_dataset(pairs, shape, "pairs", drops := Drops())
    assert found.select("text", "label", "rejected").rows() == [("a", "x", "y")]
    assert drops.counts == {"the two answers are equal, or one is missing": 2}
    own = rows_of_dataset(frame.drop("seq"), shape, "own", Drops())
    assert own["label"].to_list() == rows["label"].to_list()
    with pytest.raises(DatasetError, match="neither column 'rejected'"):
        rows_of_dataset(pairs.drop("rejected"), shape, "half", Drops())


def test_true_and_false_say_whether_the_prediction_is_preferred() -> None:
    document = spec("/base").document
    document["columns"]["better"] = {"role": "outcome", "type": "boolean"}
    declared = parse_spec(document)
    shape = Shape.of(declared, "dpo", Plan.of(declared).preference)
    better = pl.Series("better", [True, False, None, True])
    frame = events(4, 0).with_columns(better, pl.int_range(pl.len()).alias("seq"))
    rows = rows_of_events(frame, shape, "events", Drops())
    assert rows["label"].to_list() == [frame["answered"][0], frame["second"][1], frame["answered"][3]]


@pytest.mark.parametrize(
    ("preference", "field"),
    [({"other": "answered"}, "other"), ({"other": "nothing"}, "other"), ({"outcome": "second"}, "outcome")],
)
def test_a_preference_that_names_no_fitting_column_is_refused(preference: dict[str, str], field: str) -> None:
    with pytest.raises(RecipeError, match=f"retrain.recipe.preference.{field}: column"):
        Plan.of(spec("/base", **preference))


def test_a_dpo_recipe_without_a_preference_is_refused() -> None:
    document = spec("/base").document
    del document["retrain"]["recipe"]["preference"]
    with pytest.raises(RecipeError, match="preference"):
        Plan.of(parse_spec(document))


def test_every_pair_of_a_prompt_is_learned_and_a_correction_replaces_the_one_it_corrects() -> None:
    """Three answers to each prompt, said in three pairs; the first pair of the first prompt is said anew, turned."""
    declared = spec("/base")
    plan = Plan.of(declared)
    shape = Shape.of(declared, "dpo", plan.preference)
    answers = [("short", "long"), ("long", "rude"), ("short", "rude")]
    said = [(f"prompt {i}", a, b) for i in range(40) for a, b in answers]
    said.append(("Prompt  0", "long", "short"))
    frame = events(len(said), 0).with_columns(
        pl.Series("asked", [p for p, _, _ in said]), pl.Series("answered", [a for _, a, _ in said]),
        pl.Series("second", [b for _, _, b in said]), pl.lit("answered").alias("better"),
        pl.int_range(pl.len()).alias("seq"),
    )  # fmt: skip
    new = rows_of_events(frame, shape, "events", Drops())
    found = curate(Material(new, new.clear()), shape, plan, ())
    train, held = found.train.rows, found.eval.rows
    assert train.height + held.height == 120 - found.train.drops.counts["the prompt is on the other side of the split"]
    assert train.height > 80
    assert not set(train["key"]) & set(held["key"])
    of_first = train.filter(pl.col("key") == "prompt 0").select("label", "rejected").rows()
    of_first = of_first or held.filter(pl.col("key") == "prompt 0").select("label", "rejected").rows()
    assert set(of_first) <= {("long", "short"), ("long", "rude"), ("short", "rude")}
    assert found.train.drops.counts["repeats a later text"] == 1
    by_prompt = train.group_by("key").len()["len"].to_list()
    assert by_prompt.count(3) >= 25
    later = rows_of_events(frame.tail(1), shape, "events", Drops())
    again = curate(Material(pl.concat([new.tail(30), later]), new.head(90)), shape, plan, ())
    old = again.train.rows.filter(pl.col("key") == "prompt 1")
    assert old.height in (0, 3)  # the whole prompt is held out, or none of it
    assert ("short", "long") not in again.train.rows.filter(pl.col("key") == "prompt 0").select(
        "label", "rejected"
    ).rows()


def test_a_golden_set_of_pairs_or_of_written_answers_is_read() -> None:
    declared = spec("/base")
    shape = Shape.of(declared, "dpo", Plan.of(declared).preference)
    pairs = pl.DataFrame({"prompt": ["a"], "chosen": ["x"], "rejected": ["y"]})
    written = pl.DataFrame({"prompt": ["b"], "completion": ["z"]})
    both = [rows_of_golden(frame, shape, "g", Drops()) for frame in (pairs, written)]
    assert [frame.select("text", "label").row(0) for frame in both] == [("a", "x"), ("b", "z")]
    assert ["rejected" in frame.columns for frame in both] == [True, False]
    with pytest.raises(DatasetError, match="chosen"):
        rows_of_golden(pairs.drop("chosen"), shape, "g", Drops())
