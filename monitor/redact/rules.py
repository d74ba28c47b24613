"""What a spec may ask for under `redact`: the name of a built-in pattern, or a pattern of its own."""

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from monitor.redact.own import own

BuiltInPattern = Literal["email", "phone", "card", "iban", "secret", "presidio"]


class OwnPattern(BaseModel):
    """A regular expression of the user's own; `name` is the kind in the marker that replaces a find."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,31}$",
        description="kind in the marker that replaces a find: a lower-case letter, then letters, digits and "
        "`_`, at most 32",
        examples=["order"],
    )
    pattern: str = Field(
        min_length=1, max_length=1000, description="regular expression in RE2 syntax", examples=[r"ORD-\d{6}"]
    )

    @model_validator(mode="after")
    def _compiles(self) -> "OwnPattern":
        if self.name in (*get_args(BuiltInPattern), "subject"):
            raise ValueError(f"name {self.name!r} belongs to a built-in pattern; choose another")
        own(self.name, self.pattern)
        return self


RedactionRule = str | OwnPattern
