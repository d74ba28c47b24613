"""Which rows make up the reference: the spec key `baseline`."""

import re
from datetime import datetime

from pydantic import Field, model_validator

from monitor.spec.base import SpecPart


class TimeRange(SpecPart):
    """Rows with a timestamp from `from` up to, but not including, `to`."""

    from_: datetime = Field(alias="from", description="time of the first rows", examples=["2026-01-01T00:00:00Z"])
    to: datetime = Field(
        description="end of the range; rows of this very time are outside", examples=["2026-03-01T00:00:00Z"]
    )


class Baseline(SpecPart):
    """`{rows: first 5000}`, the first rows that a version served; `{range: {from, to}}`; or `{dataset: name}`."""

    rows: str | None = Field(
        None, description="the first rows that a version served; nothing is judged before they are there",
        examples=["first 5000"],
    )  # fmt: skip
    range: TimeRange | None = Field(None, description="the rows of a period that is known to be good")
    dataset: str | None = Field(
        None, description="a data set that was registered for this model; windows are judged from the first one on",
        examples=["training-2026"],
    )  # fmt: skip

    @model_validator(mode="after")
    def _one(self) -> "Baseline":
        if sum(v is not None for v in (self.rows, self.range, self.dataset)) != 1:
            raise ValueError("give exactly one of rows, range, dataset, such as {rows: first 5000}")
        if self.rows is not None and not re.fullmatch(r"first [1-9]\d*", self.rows):
            raise ValueError(f"rows is {self.rows!r}; write `first N`, such as `first 5000`")
        return self

    @property
    def first_rows(self) -> int | None:
        return int(self.rows.split()[1]) if self.rows else None
