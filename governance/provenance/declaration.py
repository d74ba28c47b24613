"""What must be known of external data and of base models before anything is trained on them."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from core.canonical import digest
from core.errors import InvalidError
from core.text import texts_of, unfit
from governance.provenance.licences import LicenceError, normalised

Consent = Literal[
    "consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests", "not_personal"
]
BASES: Final[tuple[str, ...]] = get_args(Consent)  # GDPR Article 6 (1), and data that is of no person
NOT_PERSONAL: Final = "not_personal"
FIXES: Final[Mapping[str, str]] = {
    "source": "say where it was obtained, such as an address or a contract",
    "licence": "write an SPDX licence expression, such as CC-BY-4.0, or LicenseRef-NAME for one that is in no list",
    "collected": "give {from: 2025-01-01, to: 2025-06-30}, the first and the last day on which it was collected",
    "consent": f"give the basis on which it may be processed: {', '.join(BASES)}",
    "collector": "name the organisation or team that collected it",
    "processing": "list what was done to it, each {step: ..., code: ..., parameters: {...}}; [] if nothing was",
    "known_biases": "list what it is known to be biased by; [none known] is an answer",
    "synthetic_share": "give the share of it that was made rather than observed, 0 to 1",
}


class DeclarationError(InvalidError):
    code = "provenance_declaration"

    def __init__(self, problems: list[dict[str, Any]]) -> None:
        first = problems[0]
        super().__init__(f"{first['field']}: {first['reason']}", field=first["field"], value=first["value"],
                         problems=problems)  # fmt: skip


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)


class Collected(_Part):
    """The first and the last day on which something was collected."""

    first: date = Field(alias="from")
    last: date = Field(alias="to")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first > self.last:
            raise ValueError(f"begins on {self.first} and ends on {self.last}, before that; swap from and to")
        return self


class Processing(_Part):
    """One step of what was done to the data before it came here."""

    step: str = Field(min_length=1, max_length=300)
    code: str | None = Field(None, max_length=300)
    parameters: Mapping[str, Any] = Field(default_factory=dict)


class Declaration(_Part):
    """What a person declares about a dataset or a base model. Every field without a default must be given."""

    source: str = Field(min_length=1, max_length=500)
    licence: str = Field(min_length=1, max_length=1000)
    collected: Collected
    consent: Consent
    collector: str = Field(min_length=1, max_length=300)
    processing: tuple[Processing, ...] = Field(max_length=100)
    known_biases: tuple[str, ...] = Field(min_length=1, max_length=100)
    synthetic_share: float = Field(ge=0, le=1)
    expires: date | None = None  # the last day on which it may be used
    url: str | None = Field(None, max_length=1000, pattern=r"^https?://")

    @field_validator("licence")
    @classmethod
    def _expression(cls, value: str) -> str:
        try:
            return normalised(value)
        except LicenceError as error:
            raise ValueError(error.message) from error

    @field_validator("synthetic_share", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError(f"is {str(value).lower()}; give the share of it that was made, 0 to 1")
        return value

    @field_validator("known_biases")
    @classmethod
    def _said(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not one.strip() for one in value):
            raise ValueError("holds an empty text; write `none known` where nothing is")
        return value

    @property
    def human_share(self) -> float:
        """Share that was observed rather than made."""
        return 1.0 - self.synthetic_share

    @property
    def record(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)

    @property
    def digest(self) -> str:
        return digest(self.record)

    def expired(self, now: datetime) -> bool:
        return self.expires is not None and now.astimezone(UTC).date() > self.expires

    @classmethod
    def of(cls, given: Any) -> Self:
        """Read a declaration.

        Raises:
            DeclarationError: each wrong or missing field with its value and what to write.
        """
        if not isinstance(given, Mapping):
            what = {"field": "provenance", "value": given, "reason": f"is no mapping; give {', '.join(FIXES)}"}
            raise DeclarationError([what])
        if spoilt := [(name, why) for name, text in texts_of(given) if (why := unfit(text))]:
            raise DeclarationError([{"field": n or "provenance", "value": None, "reason": why} for n, why in spoilt])
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise DeclarationError([_problem(one) for one in error.errors(include_url=False)]) from error


def _problem(one: Any) -> dict[str, Any]:
    field = ".".join(map(str, one["loc"])) or "provenance"
    top = str(one["loc"][0]) if one["loc"] else ""
    if one["type"] == "missing":
        return {"field": field, "value": None, "reason": f"is missing; {FIXES.get(top, 'give it')}"}
    value = one["input"] if isinstance(one["input"], str | int | float | bool | None) else None
    if one["type"] == "extra_forbidden":
        known = ", ".join((*FIXES, "expires", "url"))
        return {"field": field, "value": value, "reason": f"is no such field; the fields are {known}"}
    said = str(one["msg"]).removeprefix("Value error, ")
    shown = "" if value is None or one["type"] == "value_error" else f"is {value!r}: "
    fix = "" if one["type"] == "value_error" else f"; {FIXES.get(top, 'correct it')}"
    return {"field": field, "value": value, "reason": f"{shown}{said}{fix}"}
