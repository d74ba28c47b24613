"""The settings of the environment as they are in force here: names, values and meaning, never a secret."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from core.settings import DELIMITER, PREFIX, Settings

HIDDEN: Final = "set, not shown"
# What stands before @ in an address may be a password; what stands after ? may be a key.
_NAMED: Final = re.compile(r"(?<=://)[^/@\s]*@")
_ASKED: Final = re.compile(r"(?<=[^\s])\?[^\s]*")


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable: what it is now, and whether the environment sets it; else it is the default."""

    variable: str
    value: str
    given: bool
    meaning: str


def in_force(settings: Settings) -> list[Setting]:
    return list(_of(settings, PREFIX))


def _of(model: BaseModel, prefix: str) -> Iterator[Setting]:
    for name, field in type(model).model_fields.items():
        value, variable = getattr(model, name), f"{prefix}{name.upper()}"
        given, meaning = name in model.model_fields_set, field.description or ""
        if isinstance(value, BaseModel):
            yield from _of(value, f"{variable}{DELIMITER}")
        elif isinstance(value, Mapping) and get_origin(field.annotation) is Mapping:
            yield from _named(value, variable, meaning)
        else:
            yield Setting(variable, _words(value, field), given, meaning)


def _named(value: Mapping[str, Any], variable: str, meaning: str) -> Iterator[Setting]:
    """Of settings with names of the user's own: one for each name."""
    if not value:
        yield Setting(f"{variable}{DELIMITER}NAME", "none", False, meaning)
    for name, part in value.items():
        own = f"{variable}{DELIMITER}{name.upper()}"
        if isinstance(part, BaseModel):
            yield from _of(part, f"{own}{DELIMITER}")
        else:
            yield Setting(own, HIDDEN if isinstance(part, SecretStr) else _plain(part), True, meaning)


def _words(value: Any, field: FieldInfo) -> str:
    if isinstance(value, SecretStr):
        return HIDDEN
    if value is None or value in ((), ""):
        secret = field.annotation is SecretStr or SecretStr in get_args(field.annotation)
        return "not set" if secret or value is None else "none"
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(_plain(part) for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _ASKED.sub("", _NAMED.sub("", str(value)))
