"""How a value of a spec may be written, read from the types of its models: for errors, the reference page, editors."""

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from monitor.spec.base import Key, Written

FormKind = Literal["text", "number", "whole number", "boolean", "choice", "time", "list", "mapping", "section", "any"]
_SCALARS: Final[Mapping[Any, FormKind]] = {
    str: "text", float: "number", int: "whole number", bool: "boolean", datetime: "time",
}  # fmt: skip


@dataclass(frozen=True)
class Form:
    """One way to write a value; a value may have several.

    Attributes:
        kind: what it is.
        name: what a text is called, such as `duration`.
        example: of a text that has a name.
        choices: of a choice.
        items: the forms of each entry of a list, or of each value of a mapping.
        section: of a section, the model of its keys.
    """

    kind: FormKind
    name: str = ""
    example: str = ""
    choices: tuple[str, ...] = ()
    items: tuple["Form", ...] = ()
    section: type[BaseModel] | None = None


def forms(annotation: Any, metadata: Sequence[Any] = ()) -> tuple[Form, ...]:
    """The ways to write a value of a type, in the order of the type; that it may be absent is none of them."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return forms(arguments[0], (*metadata, *arguments[1:]))
    if origin in (Union, types.UnionType):
        found = [form for argument in arguments if argument is not type(None) for form in forms(argument)]
        return tuple(dict.fromkeys(found))
    if origin is Literal:
        return (Form("choice", choices=tuple(str(a) for a in arguments)),)
    if isinstance(origin, type) and issubclass(origin, tuple | list):
        return (Form("list", items=forms(arguments[0])),)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return (Form("mapping", items=forms(arguments[1])),)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (Form("section", section=annotation),)
    if annotation in _SCALARS:
        called = next((m for m in metadata if isinstance(m, Written)), Written("", ""))
        return (Form(_SCALARS[annotation], name=called.name, example=called.example),)
    return (Form("any"),)


def fields(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a section as a spec writes them, in declared order."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def field_forms(field: FieldInfo) -> tuple[Form, ...]:
    return forms(field.annotation, field.metadata)


def forms_at(section: type[BaseModel], key: Key) -> tuple[Form, ...]:
    """The ways to write the value at a key, below a section; none if nothing may be there."""
    here: tuple[Form, ...] = (Form("section", section=section),)
    for part in key:
        here = tuple(dict.fromkeys(form for one in here for form in _below(one, part)))
    return here


def field_at(section: type[BaseModel], key: Key) -> FieldInfo | None:
    """The field that a key ends in; None for an entry of a list or of a mapping."""
    for form in forms_at(section, key[:-1]) if key else ():
        if form.section is not None and isinstance(key[-1], str) and key[-1] in fields(form.section):
            return fields(form.section)[key[-1]]
    return None


def _below(form: Form, part: str | int) -> Iterator[Form]:
    if form.kind == "any":
        yield form
    elif form.section is not None and isinstance(part, str) and part in fields(form.section):
        yield from field_forms(fields(form.section)[part])
    elif (form.kind == "list" and isinstance(part, int)) or (form.kind == "mapping" and isinstance(part, str)):
        yield from form.items


def phrase(found: Sequence[Form], *, many: bool = False) -> str:
    """Forms in words: `a duration`, `a list of durations, or a mapping with the key rows`."""
    parts = [_phrase(form, many=many) for form in found]
    return " or ".join(parts) if len(parts) < 3 else ", ".join(parts[:-1]) + f" or {parts[-1]}"


def _phrase(form: Form, *, many: bool) -> str:
    match form.kind:
        case "choice":
            listed = ", ".join(f"`{choice}`" for choice in form.choices)
            return listed if len(form.choices) == 1 else f"one of {listed}"
        case "boolean":
            return "`true` or `false`"
        case "any":
            return "any value"
        case "section":
            keys = ", ".join(fields(form.section)) if form.section is not None else ""
            return f"{'mappings' if many else 'a mapping'} with the key{'s' if ',' in keys else ''} {keys}"
        case "list":
            return f"{'lists' if many else 'a list'} of {phrase(form.items, many=True)}"
        case "mapping":
            return f"{'mappings' if many else 'a mapping'} from names to {phrase(form.items, many=True)}"
    name = form.name or form.kind
    return f"{name}s" if many and name != "text" else name if name == "text" else name if many else f"a {name}"
