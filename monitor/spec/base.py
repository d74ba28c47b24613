"""The shared base of every part of a spec: it refuses unknown fields, and its values do not change."""

from dataclasses import dataclass
from types import NoneType
from typing import Any, Final, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

Key = tuple[str | int, ...]  # the way to a value of a spec: keys of mappings, and places in lists


class SpecPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and is_new(info) and info.field_name is not None:
            kind = cls.model_fields[info.field_name].annotation
            kinds = set(get_args(kind) or (kind,)) - {NoneType}
            if kinds and kinds <= {int, float}:
                raise ValueError(f"is {str(value).lower()}; give a number")
        return value


NEW: Final = {"new": True}  # the context in which a spec is validated that somebody writes now


def is_new(info: ValidationInfo) -> bool:
    """Whether somebody writes the spec now; a stored one was accepted by an earlier release, and must still load."""
    return info.context is not None and bool(info.context.get("new"))


@dataclass(frozen=True)
class Written:
    """In the annotation of a text: what the text is called, and how it is written."""

    name: str
    example: str


class KeyProblem(ValueError):  # noqa: N818 - one problem among others; the error that lists them is SpecError
    """One value of a spec that does not go with the rest; `key` is its place below the part that is checked."""

    def __init__(self, key: Key, reason: str) -> None:
        super().__init__(reason)
        self.key = key


def written(key: Key) -> str:
    """A key as people write it: `monitors.windows[0]`, `columns.intent.type`, `columns['net amount'].type`."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part and all(c.isalnum() or c in "_-" for c in part):
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text
