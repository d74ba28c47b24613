"""The JSON Schema of a spec, with which an editor completes keys and marks mistakes."""

from collections.abc import Iterator
from typing import Any, Final

import yaml

from monitor.spec.model import ModelSpec
from retrain.envelope import Rehearsal
from retrain.train.config import Recipe
from retrain.train.tabular.recipe import TableRecipe

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
TITLE: Final = "Spec of a model watched by Assay"
COLUMN_NAME: Final = r"^[A-Za-z_][A-Za-z0-9_ .-]{0,99}$"


def spec_schema() -> dict[str, Any]:
    """The schema, complete: it refers to no other document.

    What keys must satisfy together (an alpha for windows of rows, a column for each name) it cannot say; the service
    checks that.
    """
    schema = ModelSpec.model_json_schema(by_alias=True)
    definitions: dict[str, Any] = schema["$defs"]
    for model in (Recipe, TableRecipe, Rehearsal):
        own = model.model_json_schema(by_alias=True)
        definitions |= own.pop("$defs", {})
        definitions[model.__name__] = own
    replay = {"anyOf": [{"type": "number", "minimum": 0}, {"$ref": "#/$defs/Rehearsal"}]}
    for name in ("Recipe", "TableRecipe"):
        definitions[name]["properties"]["replay"] = dict(replay)
    either = [{"$ref": "#/$defs/Recipe"}, {"$ref": "#/$defs/TableRecipe"}]
    definitions["Retrain"]["properties"]["recipe"]["anyOf"] = either
    schema["properties"]["columns"]["propertyNames"] = {"pattern": COLUMN_NAME}
    for part in _parts(schema):
        if isinstance(part.get("title"), str):
            del part["title"]  # pydantic's own, such as `Max Gpu Hours`
        if "examples" in part:
            part["examples"] = [_example(text) for text in part["examples"]]
    return {"$schema": DIALECT, "title": TITLE, **{k: v for k, v in schema.items() if k != "description"}}


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every schema within a schema."""
    if isinstance(value, dict):
        yield value
        for name, one in value.items():
            if name in ("properties", "$defs") and isinstance(one, dict):
                for inner in one.values():
                    yield from _parts(inner)
            elif name not in ("default", "examples", "enum", "const"):
                yield from _parts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _parts(one)


def _example(text: Any) -> Any:
    """Examples are written as YAML."""
    if not isinstance(text, str) or not text.startswith(("[", "{")):
        return text
    return yaml.safe_load(text)
