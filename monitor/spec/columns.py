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


# Of a probability in whole per cent: its bands are centred on 0, 0.01 ... 1.
_PER_CENT: Final = tuple((2 * at + 1) / 200 for at in range(100))


class Proxy(SpecPart):
    """That a protected column only guesses at membership, and how well: by name, by address, by a model of both."""

    group: str | None = Field(
        None, min_length=1, max_length=64, description="for a number 0..1: the group whose probability it is; the "
        "other group is then everybody else",
        examples=["female"],
    )  # fmt: skip
    shares: Mapping[str, Mapping[str, float]] | None = Field(
        None, description="for a category: by value, the share of its rows that belongs to each group, at most 1 "
        "together. Rows of other values may belong to any group",
        examples=["{Miller: {a: 0.8, b: 0.2}, Garcia: {a: 0.1, b: 0.9}}"],
    )  # fmt: skip

    @property
    def shares_by_value(self) -> Mapping[str, Mapping[str, float]]:
        """By value of the column as it is counted: the share of its rows that belongs to each group."""
        if self.shares is not None:
            return self.shares
        from monitor.fairness.grouping import band_names  # loads numpy

        group = str(self.group)
        names = band_names(_PER_CENT)
        return {name: {group: at / 100, f"not {group}": 1.0 - at / 100} for at, name in enumerate(names)}

    @model_validator(mode="after")
    def _one_form(self) -> "Proxy":
        if (self.group is None) == (self.shares is None):
            raise ValueError("has group and shares, or neither; give `group` for a probability of each row, or "
                             "`shares` for each value of a category")  # fmt: skip
        for value, groups in (self.shares or {}).items():
            outside = [name for name, share in groups.items() if not 0.0 <= share <= 1.0]
            if outside or not groups or sum(groups.values()) > 1.0 + 1e-6:
                raise KeyProblem(("shares", value), f"is {dict(groups)}; give shares 0..1 of its rows, by group, at "
                                 "most 1 together")  # fmt: skip
        if self.shares is not None and len({name for groups in self.shares.values() for name in groups}) < 2:
            raise KeyProblem(("shares",), "names fewer than two groups; name at least two, to compare them")
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
    proxy: Proxy | None = Field(
        None, exclude_if=lambda value: value is None,  # a spec without it keeps its digest
        description="for a protected column that only guesses at membership, such as from a name or an address: how "
        "well. Fairness by it has no value then; what it may be is bounded; see [fairness.md](fairness.md)",
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

    @property
    def bands(self) -> tuple[float, ...] | None:
        """Where one group of a protected number ends and the next begins, with those of a proxy's probability."""
        return _PER_CENT if self.proxy is not None and self.proxy.group is not None else self.edges

    @model_validator(mode="after")
    def _proxy(self) -> "Column":
        if self.proxy is None:
            return self
        fitting = "number" if self.proxy.group is not None else "category"
        if self.role != "protected" or self.type != fitting:
            asks = "group is for protected columns of type number" if fitting == "number" else (
                "shares are for protected columns of type category")  # fmt: skip
            raise KeyProblem(("proxy",), f"does not fit {self.role} {self.type}: {asks}")
        if self.edges is not None:
            raise KeyProblem(("edges",), "is set beside proxy, whose probabilities form no groups; leave it out")
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
