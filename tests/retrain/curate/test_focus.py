"""A run that was started for new classes alone trains on their rows and few others, and is judged on all."""

from typing import Any

import polars as pl
import pytest

from retrain.curate.curation import Material, curate
from retrain.curate.focus import Focus
from tests.retrain.curate.test_curation import SHAPE, distinct, plan, rows, texts

NEW = {"name": "new_classes", "fire": True, "reason": "why", "evidence": [], "focus": {"classes": ["pin"]}}
OTHER = {"name": "drift", "fire": False, "reason": "why", "evidence": []}


@pytest.mark.parametrize(
    ("findings", "focus"),
    [
        ([NEW, OTHER], Focus(("pin",))),
        ([NEW, OTHER | {"fire": True}], None),  # the run is about more than new classes
        ([NEW | {"fire": False}, OTHER], None), ([OTHER | {"name": "manual", "fire": True}], None), ([], None),
        ([NEW | {"focus": {"classes": [], "from_seq": 40}}], Focus((), 40)),
    ],
)  # fmt: skip
def test_a_run_has_a_focus_where_new_classes_alone_started_it(
    findings: list[dict[str, Any]], focus: Focus | None
) -> None:
    assert Focus.of(findings) == focus


def material(focus: Focus | None) -> Material:
    old = rows(distinct(1000, "card", "old"), "o")
    new = rows([*distinct(400, "card", "new"), *distinct(50, "pin", "pin")], first=1000)  # pin: the last 50 rows
    return Material(new=new, old=old, focus=focus)


def test_its_rows_are_trained_on_beside_as_many_others_and_are_held_out_too() -> None:
    found = curate(material(Focus(("pin",))), SHAPE, plan(), ("card",))
    new = found.train.rows.filter(pl.col("row_id").str.starts_with("e"))
    assert dict(new.group_by("label").len().iter_rows()) == {"pin": 40, "card": 40}
    assert dict(found.eval.rows.group_by("label").len().iter_rows()) == {"pin": 10, "card": 80}
    assert found.train.rows.height - new.height == 4 * 80  # older rows that are trained again
    assert found.train.drops.counts["not among the new classes that the run is for"] == 280
    assert found.facts["focus"] == {"classes": ["pin"], "from_seq": None}
    assert found.labels == ("card", "pin")
    assert not texts(found.train.rows) & (texts(found.eval.rows) | texts(found.holdout.rows))


def test_without_it_a_class_of_the_last_days_is_mostly_held_out() -> None:
    found = curate(material(None), SHAPE, plan(), ("card",))
    assert found.facts["labels_unseen"] == {"pin": 50}
    assert "focus" not in found.facts


def test_a_topic_is_the_rows_from_its_first_event_on_and_an_empty_focus_changes_nothing() -> None:
    topic = curate(material(Focus((), 1400)), SHAPE, plan(), ("card",))
    assert dict(topic.train.rows.group_by("label").len().iter_rows())["pin"] == 40
    empty = curate(material(Focus(("visa",))), SHAPE, plan(), ("card",))
    assert empty.eval.rows.height == curate(material(None), SHAPE, plan(), ("card",)).eval.rows.height
