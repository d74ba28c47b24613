"""Flip tests: inputs asked again with a term, or a value of a column, in the place of its counterpart."""

from collections.abc import Mapping
from typing import Final

from pydantic import Field, field_validator

from monitor.spec.base import SpecPart

MOST_PAIRS: Final = 200


class Flips(SpecPart):
    """What is swapped in inputs to see whether the champion's answers depend on it; asked with each fairness alert."""

    terms: tuple[tuple[str, str], ...] = Field(
        (), max_length=MOST_PAIRS,
        description="in texts: pairs of terms, each swapped for the other as whole words, the case kept",
        examples=["[[he, she], [Mr, Ms]]"],
    )  # fmt: skip
    columns: Mapping[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="by input of type category or boolean: the values that are put in each other's place",
        examples=["{title: [Mr, Ms]}"],
    )
    rows: int = Field(
        300, ge=20, le=2000, description="events that are asked again, at most, for each test",
        json_schema_extra={"unit": "rows"},
    )  # fmt: skip

    @field_validator("terms")
    @classmethod
    def _terms(cls, value: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        from monitor.fairness.causes.swap import Swap  # a ValueError says which pair, and what to do

        if value:
            Swap.of(value)
        return value
