"""The records of a run in few words, and what a report leaves out of them."""

from typing import Any

import pytest

from reports.facts import runs
from reports.paths import without_paths
from reports.wording.phrases import brief_words, column_words, held_words, unit_words
from tests.reports.story_runs import EVALUATION


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("/home/x/models/base", "base"),
        ("the base /home/x/models/base/ is missing", "the base base is missing"),
        ("C:\\models\\base", "base"),
        ("support-intents/events", "support-intents/events"),
        ("5/6 rows and/or more", "5/6 rows and/or more"),
        ("https://example.com/a/b", "https://example.com/a/b"),
        ("sha256:00ff", "sha256:00ff"),
    ],
)
def test_only_absolute_paths_are_cut_to_their_last_part(said: str, left: str) -> None:
    assert without_paths(said) == left


def test_labels_are_kept_to_the_letter() -> None:
    record = {"labels": ["/a/b"], "inner": [{"path": "/a/b"}], "n": 3, "none": None}
    assert without_paths(record) == {"labels": ["/a/b"], "inner": [{"path": "b"}], "n": 3, "none": None}


def test_the_teacher_of_a_run_is_told_with_the_rows_it_taught() -> None:
    classes = {
        "of": "champion", "version": "v1", "weight": 0.6, "temperature": 2.0, "rows_taught": 1390,
        "rows_of_outcomes_alone": 91, "agrees_with_outcomes": 0.9718,
    }  # fmt: skip
    tokens = {
        "of": "champion",
        "version": "v1",
        "weight": 1.0,
        "temperature": 1.5,
        "rows_taught": 8,
        "tokens_taught": 90,
    }
    assert dict(runs.training({"teacher": classes}))["Teacher"] == (
        "champion v1, weight 0.6, temperature 2; rows taught: 1,390, 91 of classes that it does not know, "
        "it agrees with 97.2 % of the outcomes"
    )
    assert dict(runs.training({"teacher": tokens}))["Teacher"] == (
        "champion v1, weight 1, temperature 1.5; rows taught: 8"
    )
    assert "Teacher" not in dict(runs.training({"steps": 3}))


def test_champion_and_challenger_stand_side_by_side_with_intervals() -> None:
    new, old = runs.evaluation(EVALUATION)
    assert (new.rows, new.n, new.champion, new.challenger, new.difference) == (
        "new hold-out", "842", "0.741", "0.894", "+0.153",
    )  # fmt: skip
    assert new.difference_interval == "+0.118 to +0.188"
    assert old.difference == "-0.013"


@pytest.mark.parametrize("record", [None, {}, {"loss": None}, {"evaluations": None}, {"recipe": None, "labels": None}])
def test_a_record_with_nothing_in_it_says_nothing(record: dict[str, Any] | None) -> None:
    assert runs.configuration(record, record) == ()
    assert runs.training(record) == ()
    assert runs.losses(record) == ()
    assert runs.evaluation(record) == ()


def test_a_missing_value_is_told_with_its_reason() -> None:
    (line,) = runs.evaluation(
        {
            "evaluations": [
                {"name": "perplexity", "rows": "old", "model": "champion", "value": None, "reason": "no rows"}
            ]
        }
    )
    assert (line.champion, line.challenger, line.n, line.reason) == ("–", "–", "–", "no rows")


def test_where_rows_came_from_is_told_in_words() -> None:
    found = runs.source("train", {
        "filters": ["first part"], "labels": {"a": 1, "b": 2}, "dropped": {"repeats a later text": 4, "empty": 0},
        "sources": [{"table": "m/events", "from_seq": 0, "to_seq": 4800, "delta_version": 11},
                    {"table": "m/outcomes", "outcomes": 4400, "delta_version": 10}],
    })  # fmt: skip
    assert found.origin == "first part; events 0 to 4,799 (table version 11); 4,400 outcomes (table version 10)"
    assert (found.role, found.labels, found.dropped) == ("training", "2", "4 × repeats a later text")
    assert runs.source("external", {}).origin == "not recorded"


def test_decisions_are_told_by_what_fires() -> None:
    quiet = [{"name": "drift", "fire": False, "reason": "no drift"}, {"name": "kpi", "fire": False, "reason": "fine"}]
    loud = [{"name": "drift", "fire": True, "reason": "window to 2026-11-08T14:11:35.085765+00:00 drifted"}, quiet[1]]
    blocked = [{"name": "min_outcomes", "reason": "3 of 200"}]
    assert brief_words("nothing fires: drift: no drift; kpi: fine", quiet) == "nothing fires (drift, kpi)"
    assert brief_words("long", loud) == "drift: window to 2026-11-08 14:11 UTC drifted"
    assert held_words(quiet, blocked) == "min outcomes"
    assert held_words(loud, blocked) == "min outcomes: 3 of 200"


def test_columns_made_from_a_text_have_names_and_units() -> None:
    assert column_words("text.oov") == "text: share of unknown words"
    assert unit_words("text.length", "the column's own") == "characters"
    assert (column_words("amount"), unit_words("amount", "the column's own")) == ("amount", "own unit")
