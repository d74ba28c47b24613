"""Every key of a spec, section by section, as the models declare it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from monitor.spec.forms import Form, field_forms, fields, phrase
from monitor.spec.model import ModelSpec
from retrain.envelope import Rehearsal
from retrain.train.config import Recipe
from retrain.train.mitigation.keys import Mitigation
from retrain.train.tabular.recipe import TableRecipe

RECIPE: Final = "retrain.recipe"
_ENTRY: Final[Mapping[str, str]] = {"columns": "columns.NAME", "redact": "redact.NAME[]"}
_BOUNDS: Final = (("gt", "above"), ("ge", "at least"), ("lt", "below"), ("le", "at most"))


@dataclass(frozen=True)
class SpecKey:
    """One key: its way from the top (`monitors.drift.floors`), what may stand there, and what it does."""

    path: str
    value: str
    unit: str
    default: str
    example: str
    meaning: str


@dataclass(frozen=True)
class Section:
    path: str  # empty for the top level
    about: str
    keys: Sequence[SpecKey]


def sections() -> list[Section]:
    """All sections in the order in which a reader meets them; `retrain.recipe` is typed by what trains."""
    found = list(_sections(ModelSpec, ""))
    at = next(i for i, section in enumerate(found) if section.path == "retrain.envelope")
    recipe = _section(Recipe, RECIPE)
    replay = SpecKey(
        f"{RECIPE}.replay", "a number or a mapping with the keys share, rows", "", "`{share: 1.0}`", "`0.5`",
        "how much of what the champion was trained on is trained again, so that it is not forgotten: a number "
        "up to 1 is a "
        "share, a larger one rows",
    )  # fmt: skip
    table = _section(TableRecipe, RECIPE)
    parts = [
        Section(recipe.path, recipe.about, [*recipe.keys, replay]),
        Section(f"{RECIPE} of a table", table.about, [*table.keys, replay]),
        _section(Mitigation, f"{RECIPE}.mitigation"),
        _section(Rehearsal, f"{RECIPE}.replay"),
    ]
    return [*found[:at], *parts, *found[at:]]


def _sections(model: type[BaseModel], path: str) -> Iterator[Section]:
    yield _section(model, path)
    for name, field in fields(model).items():
        below = f"{path}.{name}" if path else name
        for form, entry in _inner(field_forms(field), _ENTRY.get(below, below)):
            assert form.section is not None
            yield from _sections(form.section, entry)


def _inner(forms: Sequence[Form], path: str) -> Iterator[tuple[Form, str]]:
    """The sections at a key, also those in lists and mappings."""
    for form in forms:
        if form.section is not None:
            yield form, path
        elif form.kind == "list":
            yield from _inner(form.items, path if path.endswith("[]") else f"{path}[]")
        elif form.kind == "mapping":
            yield from _inner(form.items, path)


def _section(model: type[BaseModel], path: str) -> Section:
    about = " ".join((model.__doc__ or "").split("\n\n")[0].split())
    prefix = f"{path}." if path else ""
    return Section(path, about, [_key(f"{prefix}{name}", field) for name, field in fields(model).items()])


def _key(path: str, field: FieldInfo) -> SpecKey:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    possible = field_forms(field)
    example = ", ".join(f"`{example}`" for example in field.examples or ()) or _own_example(possible)
    unit = str(extra.get("unit", ""))
    return SpecKey(path, _value(possible, field), unit, _default(field), example, field.description or "")


def _value(possible: Sequence[Form], field: FieldInfo) -> str:
    bounds = [
        f"{word} {getattr(limit, name):g}"
        for name, word in _BOUNDS
        for limit in field.metadata
        if getattr(limit, name, None) is not None
    ]
    return (
        ", ".join([phrase(possible), *bounds])
        if possible and possible[0].kind in ("number", "whole number")
        else phrase(possible)
    )


def _own_example(possible: Sequence[Form]) -> str:
    """The first choice, where a key has nothing but choices."""
    return f"`{possible[0].choices[0]}`" if possible and possible[0].choices else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined:
        return "none"
    if isinstance(value, BaseModel):
        return "each key's own"
    return f"`{as_yaml(value)}`"


def as_yaml(value: Any) -> str:
    """A default as a spec writes it, in one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {as_yaml(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(as_yaml(one) for one in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
