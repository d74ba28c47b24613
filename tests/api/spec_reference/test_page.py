"""docs/spec.md and the JSON Schema say what the models say."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from api.spec_reference.json_schema import spec_schema
from api.spec_reference.page import page
from api.spec_reference.sections import sections
from monitor.spec.columns import ROLES, TYPES, ColumnType, Role
from monitor.spec.parse import parse_spec
from tests.monitor import traffic

ROOT = Path(__file__).parents[3]
KEYS = [key for section in sections() for key in section.keys]


def test_the_committed_page_is_the_one_that_the_models_make() -> None:
    committed = (ROOT / "docs/spec.md").read_text()
    assert committed == page(), "docs/spec.md is out of date; run: make docs"


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.path)
def test_every_key_says_what_it_does_and_gives_an_example_or_its_default(key: Any) -> None:
    assert key.meaning, f"{key.path}: give its Field a description"
    simple = key.value.startswith(("text", "a number", "a whole number", "a duration", "a time", "a change"))
    assert key.example or not simple or key.default.startswith("`"), f"{key.path}: give its Field examples"


def test_every_example_of_a_key_is_accepted_where_it_stands() -> None:
    """Keys of the top level and of monitors: their examples parse in a spec that is otherwise valid."""
    for key in KEYS:
        *above, name = key.path.split(".")
        if above not in ([], ["monitors"]) or name in ("columns", "redact", "traces"):
            continue
        for example in key.example.removeprefix("`").removesuffix("`").split("`, `"):
            document = traffic.document() | {"model": "m"}
            document["monitors"] |= {"windows": ["1d"], "false_alarms": "1 per 30d"}
            target = document if not above else document["monitors"]
            if name == "windows" and "rows" in example:
                document["monitors"]["false_alarms"] = {"alpha": 0.01}
            if name in ("kpi", "fairness", "drift", "monitors", "retrain", "estimate", "task") or not example:
                continue
            target[name] = yaml.safe_load(example)
            parse_spec(document)


def test_roles_and_types_are_explained() -> None:
    assert ROLES.keys() == set(Role.__args__)  # type: ignore[attr-defined]
    assert TYPES.keys() == set(ColumnType.__args__)  # type: ignore[attr-defined]


# --- JSON Schema ------------------------------------------------------------------------------------------------------

VALID = [
    {},
    {"monitors": {"windows": {"rows": 500}, "false_alarms": {"alpha": 0.01}}},
    {"monitors": {"drift": {"floors": {"amount": "0.05 std"}, "must_see": {"amount": 0.02}}}},
    {"retention": "30d", "redact": {"region": ["email", {"name": "order", "pattern": "ORD"}]}},
    {"retrain": {
        "when": [
            "drift", {"kpi": "estimated"}, {"new_outcomes": 5}, {"new_classes": {"per": "7d"}},
            {"cron": "0 3 * * 0", "timezone": "Europe/Berlin"},
        ],
        "allowed_hours": {"hours": "22:00-06:00", "days": "mon-fri"}, "worse_by": 1,
        "recipe": {"base_model": "/m", "task": "sequence_classification", "replay": 0.5},
    }},
    {"traces": {"service": "bot", "columns": {"amount": ["a", "b"]}}},
]  # fmt: skip
WRONG = [
    {"modell": "x"}, {"task": "guess"}, {"model": "Upper"}, {"columns": {}},
    {"columns": {"9a": {"role": "input", "type": "text"}}},
    {"columns": {"a": {"role": "inputs", "type": "text"}}}, {"monitors": {"windws": ["1d"]}},
    {"monitors": {"windows": ["1x"]}}, {"monitors": {"kpi": [{"metric": "accuracy", "mn": 1}]}},
    {"retention": "a while"}, {"retrain": {"when": ["drift"], "recipe": {"base_model": "/m", "epoch": 3}}},
]  # fmt: skip


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(spec_schema())


@pytest.mark.parametrize("change", VALID, ids=str)
def test_the_schema_accepts_what_the_service_accepts(change: dict[str, Any]) -> None:
    document = traffic.document() | change
    assert [error.message for error in Draft202012Validator(spec_schema()).iter_errors(document)] == []


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_the_schema_refuses_a_misspelt_key_and_a_value_of_another_form(change: dict[str, Any]) -> None:
    assert list(Draft202012Validator(spec_schema()).iter_errors(traffic.document() | change))


def test_every_key_has_a_hover_text_in_an_editor() -> None:
    schema = spec_schema()
    for name, part in (("", schema), *schema["$defs"].items()):
        for key, value in part.get("properties", {}).items():
            assert value.get("description") or "$ref" in value or name in ("Recipe", "TableRecipe"), f"{name}.{key}"
