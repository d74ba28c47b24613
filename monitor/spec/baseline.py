"""Which rows make up the reference: the spec key `baseline`."""

import re
from typing import Final

from pydantic import Field, ValidationInfo, model_validator

from monitor.spec.base import KeyProblem, SpecPart, is_new
from monitor.spec.event_times import Moment

MAX_ROWS: Final = 999_999_999  # of a reference or a window; more never arrive
MIN_ROWS: Final = 100  # of a reference or a window; on fewer no encoder of a text can be fitted


class TimeRange(SpecPart):
    """Rows with a timestamp from `from` up to, but not including, `to`."""

    from_: Moment = Field(alias="from", description="time of the first rows", examples=["2026-01-01T00:00:00Z"])
    to: Moment = Field(
        description="end of the range; rows of this very time are outside", examples=["2026-03-01T00:00:00Z"]
    )

    @model_validator(mode="after")
    def _some_time(self, info: ValidationInfo) -> "TimeRange":
        if is_new(info) and self.to <= self.from_:
            order = "is the time of `from`" if self.to == self.from_ else "is before `from`"
            raise KeyProblem(("to",), f"{order}, so the range holds no time; give a later one")
        return self


class Baseline(SpecPart):
    """`{rows: first 5000}`, the first rows that a version served; `{range: {from, to}}`; or `{dataset: name}`."""

    rows: str | None = Field(
        None, description="the first rows that a version served, at least 100; nothing is judged before they are there",
        examples=["first 5000"],
    )  # fmt: skip
    range: TimeRange | None = Field(None, description="the rows of a period that is known to be good")
    dataset: str | None = Field(
        None, description="a data set that was registered for this model; windows are judged from the first one on",
        examples=["training-2026"],
    )  # fmt: skip

    @model_validator(mode="after")
    def _one(self, info: ValidationInfo) -> "Baseline":
        if sum(v is not None for v in (self.rows, self.range, self.dataset)) != 1:
            raise ValueError("give exactly one of rows, range, dataset, such as {rows: first 5000}")
        if self.rows is not None and not re.fullmatch(r"first [1-9][0-9]*", self.rows):
            raise ValueError(f"rows is {self.rows[:60]!r}; write `first N`, such as `first 5000`")
        if self.rows is not None and is_new(info) and len(self.rows) > len(f"first {MAX_ROWS}"):
            raise KeyProblem(("rows",), f"is {self.rows[:60]!r}; a reference has at most {MAX_ROWS:,} rows")
        if self.first_rows is not None and is_new(info) and self.first_rows < MIN_ROWS:
            raise KeyProblem(
                ("rows",),
                f"is {self.rows!r}; a reference needs at least {MIN_ROWS} rows, and about 1,000 to show more than "
                "large changes: write `first 1000`",
            )
        return self

    @property
    def first_rows(self) -> int | None:
        return int(self.rows.split()[1]) if self.rows else None
