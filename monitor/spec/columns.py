"""The columns of a model: their role, type and encoder."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Final, Literal

from pydantic import Field, model_validator

from monitor.spec.base import KeyProblem, SpecPart
from monitor.spec.positive import ClassName

Role = Literal["input", "segment", "agent", "prediction", "score", "protected", "subject", "measure", "outcome"]
ColumnType = Literal["number", "category", "text", "string", "boolean", "vector", "texts"]
References = Literal["accepted", "collected"]

ROLES: Final[Mapping[Role, str]] = {
    "input": "what the model was given; watched for drift",
    "segment": "what windows are broken down by, such as a channel or a country; watched for drift",
    "agent": "the part of a model of models that answered; windows are broken down by it",
    "prediction": "the model's answer; every spec has exactly one",
    "score": "how certain the model was, 0..1; at most one. KPIs before outcomes are estimated from it",
    "protected": "what groups of people are formed by, for fairness",
    "subject": "the person an event is about; stored as a keyed digest only, for erasure. At most one",
    "measure": "a number about the answer, such as its latency or cost; watched for drift",
    "outcome": "what turned out to be true, or how the answer was rated; may arrive later",
}
TYPES: Final[Mapping[ColumnType, str]] = {
    "number": "a finite number",
    "category": "one of some values, such as a code or a name; numbers too, where 1, 1.0 and `1` are one",
    "text": "written language; its words and meaning are watched",
    "string": "an identifier: stored, and not watched",
    "boolean": "true or false; 1 and 0 too",
    "vector": "a list of numbers, such as an embedding",
    "texts": "an outcome that is a list of texts: several references of one answer",
}

# Fields that every event has; no column may take one of these names.
BUILT_IN = ("event_id", "ts", "version", "trace_id", "span_id", "seq", "received_at", "date")


class Encoder(SpecPart):
    """A sentence-transformers model that encodes a text as a vector, in place of the built-in encoder."""

    model: str = Field(
        min_length=1,
        description="a folder, as a path that starts with / or ./; or a hub id",
        examples=["/models/minilm"],
    )
    revision: str | None = Field(
        None,
        description="commit of the hub id; required with a hub id",
        examples=["1110a243fdf4706b3f48f1d95db1a4f5529b4d41"],
    )

    @property
    def is_path(self) -> bool:
        return self.model.startswith(("/", "./", "../", "~"))

    @model_validator(mode="after")
    def _pinned(self) -> "Encoder":
        if not self.is_path and not self.revision:
            raise ValueError(
                f"model {self.model!r} is a hub id without a revision; add revision: <commit>, or give a folder "
                "as a path that starts with / or ./"
            )
        return self


class Column(SpecPart):
    """One column of events or outcomes."""

    role: Role = Field(description="what the column is for; see [roles](#roles)")
    type: ColumnType = Field(description="what its values are; see [types](#types)")
    unit: str | None = Field(None, description="unit of a number, for display", examples=["ms"])
    encoder: Encoder | None = Field(
        None,
        description="for a text: the sentence-transformers model that encodes it as a vector, in a process of its own; "
        "without it, the built-in encoder",
    )
    dimensions: int | None = Field(
        None, ge=2, le=4096, description="for a vector, and required there: how many numbers it has", examples=[384]
    )
    min: float | None = Field(None, description="for a number: a smaller value is a data-quality fault", examples=[0])
    max: float | None = Field(None, description="for a number: a larger value is a data-quality fault", examples=[120])
    references: References | None = Field(
        None,
        description="for texts, and required there: what the list holds. `accepted`: right answers, so an answer that "
        "equals one of them is right. `collected`: answers to the same request by several people or models, the "
        "model's own perhaps among them; an answer is then not compared with itself, so one text equal to it is left "
        "out of its list. In both, the best reference counts",
        examples=["accepted", "collected"],
    )
    positive: ClassName | None = Field(
        None,
        description="for the prediction, its outcome and the score of a classification: the class whose rates fairness "
        "compares, compared as a level, so `True` is `true`; name it in one of them, or the same in all. Required for "
        "fairness between two classes with names; true of true and false, and 1 of 1 and 0, need none. Of a score it "
        "is also the class whose probability the score is; without it, the predicted class",
        examples=["approved"],
    )
    edges: tuple[float, ...] | None = Field(
        None, exclude_if=lambda value: value is None,  # a spec without it keeps its digest
        description="for a protected number: where one group ends and the next begins, ascending; `[18, 25]` makes the "
        "groups `under 18`, `18 to under 25` and `25 and over`. Without it, each number is a group",
        examples=["[18, 25, 40]"],
    )  # fmt: skip
    predicts: str | None = Field(
        None, exclude_if=lambda value: value is None,  # a spec without it keeps its digest
        description="for the prediction: the outcome that it is compared with, which KPIs, fairness, triggers, gates "
        "and retraining use. Without it, the only outcome of the best fitting type; required where several fit",
        examples=["intent_true"],
    )  # fmt: skip

    @model_validator(mode="after")
    def _range(self) -> "Column":
        if (self.min is not None or self.max is not None) and self.type != "number":
            raise ValueError(f"min and max are for columns of type number, not {self.type}; leave them out")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}; swap or correct them")
        return self

    @model_validator(mode="after")
    def _edges(self) -> "Column":
        if self.edges is None:
            return self
        if self.role != "protected" or self.type != "number":
            raise KeyProblem(("edges",), f"are for protected columns of type number, not {self.role} {self.type}")
        if not self.edges or any(a >= b for a, b in pairwise(self.edges)):
            raise KeyProblem(("edges",), f"is {list(self.edges)}; give ascending numbers, such as [18, 25, 40]")
        return self

    @model_validator(mode="after")
    def _references(self) -> "Column":
        if self.type == "texts" and self.role != "outcome":
            raise ValueError(f"a list of texts has role outcome, not {self.role}")
        if self.type == "texts" and self.references is None:
            raise KeyProblem(
                ("references",),
                "is missing; write `references: accepted` if each text of the list is a right answer, or `references: "
                "collected` if they are answers of several people or models, among which the model's own may be",
            )
        if self.type != "texts" and self.references is not None:
            raise ValueError(f"references are for columns of type texts, not {self.type}; leave them out")
        return self

    @model_validator(mode="after")
    def _vector(self) -> "Column":
        if self.type == "vector" and self.dimensions is None:
            raise ValueError("a vector needs dimensions: how many numbers it has, such as 384")
        if self.type != "vector" and self.dimensions is not None:
            raise ValueError(f"dimensions are for columns of type vector, not {self.type}; leave them out")
        if self.type == "vector" and self.role not in ("input", "measure"):
            raise ValueError(f"a vector has role input or measure, not {self.role}")
        if self.encoder is not None and self.type != "text":
            raise ValueError(f"an encoder is for columns of type text, not {self.type}; leave it out")
        return self
