"""Pairs of answers, from events and from registered datasets."""

import polars as pl
import pytest

from monitor.spec.parse import parse_spec
from retrain.curate.select import Drops, Shape, rows_of_dataset, rows_of_events
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
