"""Flip tests: words and values swapped, the champion asked again, and what is kept of the answers."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.http.auth import COOKIE
from api.processes.worker import drain
from core.clock import ManualClock
from core.settings_train import TrainSettings
from governance.access.api_keys import create_key
from governance.access.roles import Caller, Role
from governance.access.sessions import open_session
from governance.binding.check import check_rows
from monitor.fairness.causes.swap import Swap
from monitor.site import Site
from monitor.spec.parse import SpecError, parse_spec
from retrain import store
from retrain.curate.select import Shape
from retrain.flips import flip_result, flip_rows
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.lending import queued, spec

PAIRS = [("he", "she"), ("Mr", "Ms"), ("his", "her"), ("him", "her"), ("my wife", "my husband"), ("他", "她")]
SWAPPED = [
    ("He said the theme is his; SHE knows Mr Smith", "She said the theme is her; HE knows Ms Smith"),
    ("MR SMITH", "MS SMITH"), ("mr smith", "ms smith"), ("MY WIFE", "MY HUSBAND"), ("My  wife left", "My husband left"),
    ("ask him or her", "ask her or his"), ("He's here, she/he", "She's here, he/she"), ("他说话", "她说话"),
    ("there, Mrs hers heh", None), ("", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), SWAPPED)
def test_terms_are_swapped_as_whole_words_both_ways_with_their_case(text: str, expected: str | None) -> None:
    assert Swap.of(PAIRS)(text) == expected


def test_a_term_is_found_however_its_letters_are_stored_and_its_ends_are_no_letters() -> None:
    swap = Swap.of([("père", "mère"), ("Mr.", "Mrs.")])
    assert swap("le pe\u0300re") == "le mère"
    assert swap("Mr. Lee, mr. Kim") == "Mrs. Lee, mrs. Kim"
    assert (swap.direction("le père"), swap.direction("Mr. Lee and mère")) == ("père to mère", "several terms")


@pytest.mark.parametrize(
    ("pairs", "words"),
    [([("a", "b"), ("b", "c")], "swaps 'b' for 'a' and for 'c'"), ([("a", "A")], "of one term"),
     ([("a", " ")], "with an empty term"), ([("a", "b"), ("a", "c")], "swaps 'a' for 'b' and for 'c'")],
)  # fmt: skip
def test_pairs_that_say_two_things_are_refused(pairs: list[tuple[str, str]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Swap.of(pairs)


def test_a_result_counts_answers_that_change_and_how_far_scores_move() -> None:
    rows = pl.DataFrame({
        "event_id": ["e1", "e2", "e3", "e4"], "direction": ["he to she"] * 3 + ["she to he"],
        "answer_before": ["yes", "yes", "no", "no"], "answer_after": ["no", "yes", "no", "no"],
        "score_before": [0.9, 0.8, 0.7, 0.6], "score_after": [0.2, 0.7, 0.7, 0.6],
    })  # fmt: skip
    found = flip_result(rows)
    assert (found["n"], found["changed"], found["share"]) == (4, 1, 0.25)
    assert (found["low"], found["high"]) == pytest.approx((0.0456, 0.6994), abs=1e-4)  # Wilson's interval of 1 of 4
    assert found["mean_change"] == pytest.approx(-0.2)
    assert [(one["direction"], one["n"]) for one in found["by_direction"]] == [("he to she", 3), ("she to he", 1)]
    assert [one["event_id"] for one in found["examples"]] == ["e1"]
    assert flip_result(rows.clear())["share"] is None


def declared(**flips: Any) -> dict[str, Any]:
    document = spec("lightgbm").document
    document["monitors"]["flips"] = flips
    return document


@pytest.fixture
def small(site: Site) -> Site:
    train = TrainSettings(device="cpu", threads=1, attempts=1)
    return replace(site, settings=site.settings.model_copy(update={"train": train}))


@SQLITE_FIRST
def test_the_champion_is_asked_with_values_swapped_and_the_answers_are_kept(small: Site, clock: ManualClock) -> None:
    run_id = queued(small, clock, "lightgbm")
    with small.database.write() as db:
        store.run(db, run_id).state = "rejected"
    columns = {"purpose": ["car", "school"], "owner": ["true", "false"]}
    world.declare(small, parse_spec(declared(columns=columns, rows=60), new=True))
    with small.database.write() as db:
        row, key = create_key(db, name="op", role=Role.OPERATOR, actor="tester", now=clock.now())
        caller = Caller(row.name, Role.OPERATOR, row.prefix)
        value = open_session(db, caller, small.keys.session, clock.now(), timedelta(hours=1), "key")
    client = TestClient(create_app(small), cookies={COOKIE: value})
    address = f"/api/v1/models/{world.NAME}/fairness/flips"
    asked = client.post(address, headers={"Authorization": f"Bearer {key}"})
    assert (asked.status_code, asked.json()) == (202, {"state": "queued"})
    drain(small, lanes=("explain",))
    (found,) = client.get(address).json()["items"]
    purpose, owner = found["document"]["tests"]
    assert (purpose["test"], purpose["n"], owner["n"]) == ("purpose", 60, 60)
    assert purpose["share"] > 0.5  # the first champion decides by the purpose
    assert owner["share"] < 0.2  # and hardly by who owns a house
    assert {one["direction"] for one in purpose["by_direction"]} == {"car to school", "school to car"}
    with small.database.read() as db:
        assert check_rows(db).ok
        assert len(store.flips(db, store.run(db, run_id).model_id)) == 1


def test_texts_are_swapped_in_inputs_of_type_text_alone() -> None:
    document: dict[str, Any] = {
        "model": "m", "task": "classification", "owner": "o", "purpose": "p",
        "columns": {
            "text": {"role": "input", "type": "text"}, "title": {"role": "input", "type": "category"},
            "answer": {"role": "prediction", "type": "category"}, "truth": {"role": "outcome", "type": "category"},
        },
        "monitors": {"flips": {"terms": [["he", "she"]], "columns": {"title": ["he", "she"]}}},
        "retrain": {"when": ["kpi"], "recipe": {"base_model": "./m", "task": "sequence_classification"}},
    }  # fmt: skip
    document["monitors"]["kpi"] = [{"metric": "accuracy", "min": 0.5}]
    read = parse_spec(document, new=True)
    frame = pl.DataFrame({
        "event_id": ["a", "b", "c"], "text": ["he pays", "it pays", None], "title": ["he", "she", "they"],
    })  # fmt: skip
    terms, title = flip_rows(Shape.of(read, "sequence_classification"), read, frame)
    assert terms.rows.rows() == [("a", "text: he pays\ntitle: he", "text: she pays\ntitle: he", "he to she")]
    assert sorted(zip(title.rows["event_id"], title.rows["direction"], strict=True)) == [
        ("a", "he to she"), ("b", "she to he"),
    ]  # fmt: skip


WRONG = [
    ({}, "monitors.flips: swaps nothing"), ({"terms": [["he", "she"]]}, "no input is a text"),
    ({"columns": {"purposes": ["a", "b"]}}, "names column 'purposes'.*did you mean purpose"),
    ({"columns": {"region": ["north", "south"]}}, "has role protected.*only an input"),
    ({"columns": {"age": ["1", "2"]}}, "type number; only an input of type category"),
    ({"columns": {"purpose": ["car"]}}, "fewer than two values"),
    ({"columns": {"purpose": ["car", "school"]}, "rows": 5}, "rows"),
]  # fmt: skip


@pytest.mark.parametrize(("flips", "words"), WRONG)
def test_flips_that_ask_nothing_are_refused(flips: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        parse_spec(declared(**flips), new=True)


def test_a_model_whose_champion_gives_no_classes_has_no_flips() -> None:
    document = spec("ridge", regression=True).document
    document["monitors"]["flips"] = {"columns": {"purpose": ["car", "school"]}}
    with pytest.raises(SpecError, match=r"retrain\.recipe\.task is tabular_regression; declare a recipe of task"):
        parse_spec(document, new=True)
