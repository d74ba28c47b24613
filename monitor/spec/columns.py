"""Columns of a model: role, type, encoder."""

from typing import Literal

from pydantic import Field, model_validator

from monitor.spec.base import SpecPart

Role = Literal["input", "segment", "agent", "prediction", "score", "protected", "subject", "measure", "outcome"]
ColumnType = Literal["number", "category", "text", "string", "boolean", "vector"]

# Present on every event; a column may not take one of these names.
BUILT_IN = ("event_id", "ts", "version", "trace_id", "span_id", "seq", "received_at", "date")


class Encoder(SpecPart):
    """A sentence-transformers model that turns a text into a vector, which is watched in place of the built-in one."""

    model: str = Field(min_length=1, description="a folder, as a path that starts with / or ./, or a hub id")
    revision: str | None = Field(None, description="of a hub id: the commit")

    @property
    def is_path(self) -> bool:
        return self.model.startswith(("/", "./", "../", "~"))

    @model_validator(mode="after")
    def _pinned(self) -> "Encoder":
        if not self.is_path and not self.revision:
            raise ValueError(
                f"model {self.model!r} is a hub id without a revision; add revision: <commit>, or give a folder as a "
                "path that starts with / or ./"
            )
        return self


class Column(SpecPart):
    role: Role
    type: ColumnType
    unit: str | None = None
    encoder: Encoder | None = Field(
        None, description="of a text: a model that turns it into the vectors that are watched; without, a built-in one"
    )
    dimensions: int | None = Field(None, ge=2, le=4096, description="of a vector: how many numbers it has")
    min: float | None = Field(None, description="of a number: a smaller one is a fault of data quality")
    max: float | None = Field(None, description="of a number: a larger one is a fault of data quality")
    positive: str | None = Field(
        None, description="of a score: the class whose probability it is; without, that of the predicted class"
    )

    @model_validator(mode="after")
    def _range(self) -> "Column":
        if (self.min is not None or self.max is not None) and self.type != "number":
            raise ValueError(f"min and max are for columns of type number, not {self.type}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self

    @model_validator(mode="after")
    def _vector(self) -> "Column":
        if self.type == "vector" and self.dimensions is None:
            raise ValueError("a vector needs dimensions: how many numbers it has, such as 384")
        if self.type != "vector" and self.dimensions is not None:
            raise ValueError(f"dimensions are for columns of type vector, not {self.type}")
        if self.type == "vector" and self.role not in ("input", "measure"):
            raise ValueError(f"a vector has role input or measure, not {self.role}")
        if self.encoder is not None and self.type != "text":
            raise ValueError(f"an encoder is for columns of type text, not {self.type}")
        return self
