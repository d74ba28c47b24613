"""What a user declares about the model's own events and outcomes, for whoever is trained on them."""

from datetime import date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from governance.provenance.declaration import Consent
from governance.provenance.licences import LicenceError, normalised
from monitor.spec.base import SpecPart, Written, is_new


def _expression(value: str, info: ValidationInfo) -> str:
    if not is_new(info):  # reading the list of licences takes a moment, and a stored one was looked up
        return value
    try:
        return normalised(value)
    except LicenceError as error:
        raise ValueError(error.message) from error


def _as_text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value  # YAML reads one


def _is_day(value: str) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError as error:
        raise ValueError(f"is {value!r}; write a day such as 2027-06-30") from error


Day = Annotated[str, Written("day", "2027-06-30"), BeforeValidator(_as_text), AfterValidator(_is_day)]
Licence = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_expression)]


class EventsProvenance(SpecPart):
    """Where the model's own events come from and what they may be used for."""

    licence: Licence = Field(
        description="their licence, an SPDX expression; LicenseRef-NAME for one that is in no list",
        examples=["LicenseRef-internal", "CC-BY-4.0"],
    )
    consent: Consent = Field(
        description="the basis on which they may be used for training: one of GDPR Article 6 (1), or `not_personal`",
        examples=["contract"],
    )
    collector: str = Field(
        min_length=1, max_length=300, description="the organisation or team that collects them",
        examples=["support of example.com"],
    )  # fmt: skip
    known_biases: tuple[str, ...] = Field(
        min_length=1, description="what they are known to be biased by; `[none known]` is an answer",
        examples=["[customers of the web shop only]"],
    )  # fmt: skip
    expires: Day | None = Field(
        None, description="the last day on which they may be used for training", examples=["2027-06-30"]
    )
