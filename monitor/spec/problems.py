"""Say what is wrong with a document, in the keys and words of whoever wrote it."""

import difflib
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from monitor.spec.base import Key, KeyProblem, written
from monitor.spec.forms import Form, field_at, fields, forms_at, phrase

MAX_PROBLEMS: Final = 50  # told of one document: each takes time to word, and nobody reads more
WHOLE: Final = "(whole spec)"
_MISSING: Final = object()
_LIMITS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "greater_than": lambda c: f"give more than {c['gt']:g}",
    "greater_than_equal": lambda c: f"give at least {c['ge']:g}",
    "less_than": lambda c: f"give less than {c['lt']:g}",
    "less_than_equal": lambda c: f"give at most {c['le']:g}",
    "too_short": lambda _: "give at least one entry",
    "string_too_short": lambda _: "write a text",
    "string_too_long": lambda c: f"write at most {c['max_length']} characters",
    "finite_number": lambda _: "give a finite number",
    "int_from_float": lambda _: "give a whole number",
}


def problems(
    section: type[BaseModel], document: Mapping[str, Any], error: ValidationError, above: Key = ()
) -> list[dict[str, Any]]:
    """Each wrong key once, in the order in which they were found.

    Args:
        section: the model that refused the document.
        document: what it refused.
        error: its refusal.
        above: the key of the document itself, if it is a part of a spec.

    Returns:
        Dictionaries with `key`, `field` (the key as people write it), `reason` and `value`.
    """
    found: dict[Key, dict[str, Any]] = {}
    errors = error.errors(include_url=False)[:MAX_PROBLEMS]
    reasons = list(_reasons(section, document, errors))
    if not reasons:  # every error is of a form that the value does not have
        key, branches = _placed(document, errors[0])
        at = branches[0][0] if branches else key
        reasons = [(at, _misfit(section, document, at))]
    for key, reason in reasons:
        value = _value(document, key)
        found.setdefault(key, {
            "key": (*above, *key), "field": written((*above, *key)) or WHOLE, "reason": reason,
            "value": shown(value) if key and value is not _MISSING else None,
        })  # fmt: skip
    return list(found.values())


def shown(value: Any) -> str:
    """A value as an error shows it: short, and as YAML writes what it reads as another word."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    return (repr(value) if isinstance(value, str | int | float) else reprlib.repr(value))[:200]


def nearest(name: object, known: Sequence[str]) -> str:
    """`; did you mean X?` for a name that resembles a known one; otherwise nothing."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6) if isinstance(name, str) else []
    return f"; did you mean {close[0]}?" if close else ""


def _reasons(section: type[BaseModel], document: Any, errors: Sequence[ErrorDetails]) -> Iterator[tuple[Key, str]]:
    """A reason for each wrong key. Of a value with several forms, only errors of the form that it has are told."""
    for error in errors:
        key, branches = _placed(document, error)
        if error["type"] == "too_short" and _value(document, key):
            continue  # its entries are wrong, and pydantic counts none of them
        for at, label in branches:
            form = _form(_value(document, at), forms_at(section, at))
            if form is None:
                yield at, _misfit(section, document, at)
                break
            if not _stands_for(label, form):
                break
        else:
            cause = error.get("ctx", {}).get("error")
            yield (*key, *cause.key) if isinstance(cause, KeyProblem) else key, _reason(section, document, key, error)


def _placed(document: Any, error: ErrorDetails) -> tuple[Key, list[tuple[Key, str]]]:
    """The key of an error; and on the way the branches of unions, which no document contains, each with its place."""
    here: Any = document
    key: list[str | int] = []
    branches: list[tuple[Key, str]] = []
    loc = error["loc"]
    for at, part in enumerate(loc):
        if (isinstance(here, Mapping) and part in here) or (
            isinstance(here, list | tuple) and isinstance(part, int) and part < len(here)
        ):
            here = here[part]  # type: ignore[index]  # a key of the mapping, or a place in the list
            key.append(part)
        elif error["type"] == "missing" and at == len(loc) - 1:
            key.append(part)
        else:
            branches.append((tuple(key), str(part)))
    return tuple(key), branches


def _form(value: Any, possible: Sequence[Form]) -> Form | None:
    """The form in which a value is written, whether or not it is right; None if it has none of them."""
    if isinstance(value, Mapping):
        sections = [form for form in possible if form.section is not None]
        shared = [len(set(fields(form.section)) & set(value)) for form in sections if form.section is not None]
        if len(sections) == 1 or any(shared):
            return sections[shared.index(max(shared))]
        return next((form for form in possible if form.kind == "mapping"), None)
    if isinstance(value, list | tuple):
        kinds: tuple[str, ...] = ("list",)
    elif isinstance(value, str):
        kinds = ("text", "time")
    elif isinstance(value, bool):
        kinds = ("boolean",)
    else:
        kinds = ("number", "whole number") if isinstance(value, int | float) else ("time",)
    return next((form for form in possible if form.kind in kinds), None)


def _stands_for(label: str, form: Form) -> bool:
    """Whether pydantic's name of a branch means this form."""
    if form.section is not None:
        return re.search(rf"\b{form.section.__name__}\b", label) is not None
    if form.kind == "list":
        return label.startswith(("tuple", "list"))
    return not label.startswith(("tuple", "list", "literal")) and label.partition("[")[0] not in ("dict", "mapping")


def _reason(section: type[BaseModel], document: Any, key: Key, error: ErrorDetails) -> str:
    kind, value = error["type"], _value(document, key)
    match kind:
        case "missing":
            return f"is missing; {_advice(section, key)}"
        case "extra_forbidden":
            forms = forms_at(section, key[:-1])
            known = [name for form in forms if form.section is not None for name in fields(form.section)]
            return f"is no key of a spec at this place{nearest(key[-1], known)} (keys: {', '.join(known)})"
        case "value_error":
            return str(error["msg"]).removeprefix("Value error, ")
        case "string_pattern_mismatch":
            field = field_at(section, key)
            wanted = field.description if field is not None and field.description else "another spelling"
            return f"{shown(value)} is not spelled as it must be: {wanted}"
    if kind in _LIMITS:
        what = "is empty" if kind.endswith("too_short") else f"is {shown(value)}"
        return f"{what}; {_LIMITS[kind](error.get('ctx', {}))}"
    return _misfit(section, document, key)


def _misfit(section: type[BaseModel], document: Any, key: Key) -> str:
    """A value that has none of its forms: what it is, and what could stand there."""
    value, possible = _value(document, key), forms_at(section, key)
    wanted = f"write {phrase(possible)}{_such(section, key)}"
    choices = [choice for form in possible for choice in form.choices]
    if value is None:
        return f"is empty; {wanted}"
    if isinstance(value, Mapping):
        return f"is a mapping; {wanted}"
    if isinstance(value, list | tuple):
        return f"is a list; {wanted}"
    if (
        isinstance(value, bool | int | float)
        and not choices
        and any(form.kind == "text" and not form.name for form in possible)
    ):
        kind = "a truth value" if isinstance(value, bool) else "a number"
        such = _such(section, key)
        instead = f"write {phrase(possible)}{such}, or put it in quotes" if such else "put it in quotes"
        return f'YAML reads {shown(value)} as {kind}; {instead}: "{shown(value)}"'
    text = str(value) if hasattr(value, "isoformat") else shown(value)
    return f"is {text}; {wanted}{nearest(value, choices)}"


def _such(section: type[BaseModel], key: Key) -> str:
    field = field_at(section, key)
    examples = list(field.examples[:2]) if field and field.examples else []
    examples = examples or [form.example for form in forms_at(section, key) if form.example][:1]
    return f", such as {' or '.join(f'`{e}`' for e in examples)}" if examples else ""


def _advice(section: type[BaseModel], key: Key) -> str:
    field = field_at(section, key)
    if field is not None and field.examples:
        return f"add it, such as `{key[-1]}: {field.examples[0]}`"
    return f"add it: {phrase(forms_at(section, key))}"


def _value(document: Any, key: Key) -> Any:
    for part in key:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return _MISSING
    return document
