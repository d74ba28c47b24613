"""The model spec: what a user declares about a model, checked as a whole before it is accepted."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from core.canonical import digest
from core.errors import InvalidError
from monitor.redact.presidio import check_installed
from monitor.redact.rules import BuiltInPattern, OwnPattern

Role = Literal["input", "segment", "agent", "prediction", "score", "protected", "subject", "measure", "outcome"]
ColumnType = Literal["number", "category", "text", "string", "boolean", "vector"]
Task = Literal["classification", "regression", "generation"]
SpanKind = Literal[
    "llm", "agent", "tool", "chain", "retriever", "reranker", "embedding", "guardrail", "evaluator", "other"
]

# Present on every event; a column may not take one of these names.
BUILT_IN = ("event_id", "ts", "version", "trace_id", "span_id", "seq", "received_at", "date")

_SPAN = re.compile(r"(\d+)\s*(s|m|h|d)")
_UNIT = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def span(text: str) -> timedelta:
    """`30m`, `24h`, `7d` as a time span.

    Raises:
        ValueError: any other form.
    """
    match = _SPAN.fullmatch(text.strip())
    if not match or int(match[1]) == 0:
        raise ValueError(f"{text!r} is not a time span; write a whole number and s, m, h or d, such as 24h")
    return timedelta(**{_UNIT[match[2]]: int(match[1])})


def _span_text(text: str) -> str:
    span(text)
    return text


def _change_text(text: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+)?( ?std)?", text.strip()):
        raise ValueError(f"{text!r} is not a change; write standard deviations such as `0.05 std`, or a share")
    return text


Span = Annotated[str, AfterValidator(_span_text)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Encoder(_Part):
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


class Column(_Part):
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


class RowWindow(_Part):
    rows: int = Field(ge=100, description="rows in each tumbling window")


class TimeRange(_Part):
    from_: datetime = Field(alias="from")
    to: datetime


class Baseline(_Part):
    """`{rows: first 5000}`: the first rows a version served; or `{range: {from, to}}`; or `{dataset: name}`."""

    rows: str | None = None
    range: TimeRange | None = None
    dataset: str | None = None

    @model_validator(mode="after")
    def _one(self) -> "Baseline":
        if sum(v is not None for v in (self.rows, self.range, self.dataset)) != 1:
            raise ValueError("give exactly one of rows, range, dataset")
        if self.rows is not None and not re.fullmatch(r"first [1-9]\d*", self.rows):
            raise ValueError(f"rows is {self.rows!r}; write `first N`, such as first 5000")
        return self

    @property
    def first_rows(self) -> int | None:
        return int(self.rows.split()[1]) if self.rows else None


class AlphaBudget(_Part):
    alpha: float = Field(gt=0, lt=1, description="chance of a false alarm in one window, all columns together")


Change = Annotated[str, AfterValidator(_change_text)]


class Drift(_Part):
    columns: Literal["all"] | tuple[str, ...] = "all"
    rule: Literal["blocks", "row_tests", "thresholds"] = Field(
        "blocks", description="row_tests certifies that rows are independent; thresholds follows a house rule"
    )
    thresholds: Mapping[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="for rule thresholds: limit by statistic, such as {psi: 0.2}"
    )
    floors: Mapping[str, Change] = Field(
        default_factory=dict, description="smallest change that matters: `0.05 std` or a share"
    )
    must_see: Mapping[str, Change] = Field(
        default_factory=dict, description="change that must not be missed, in the same units; else not_enough_data"
    )
    short_reference: bool = Field(
        False, description="accept a reference of 4 windows where 8 are asked for, and the false alarms that may cost"
    )

    @model_validator(mode="after")
    def _rule(self) -> "Drift":
        if (self.rule == "thresholds") != bool(self.thresholds):
            raise ValueError("thresholds and rule: thresholds go together; give both or neither")
        return self


class KpiRule(_Part):
    metric: str = Field(min_length=1, max_length=64)
    column: str | None = Field(None, description="for a KPI of one column, such as latency: which")
    expression: str | None = Field(None, description="for a KPI of your own: what it is, over columns")
    unit: str | None = Field(None, max_length=32, description="of a KPI with an expression, for display")
    min: float | None = None
    max: float | None = None


class FairnessRule(_Part):
    metric: str
    by: tuple[str, ...] = Field(min_length=1)
    max: float | None = None
    min: float | None = None
    min_group: int = Field(30, ge=1, description="groups with fewer rows are reported as too small")


class Monitors(_Part):
    windows: tuple[Span, ...] | RowWindow = ("1d", "7d")
    false_alarms: str | AlphaBudget = "1 per 30d"
    phases: Literal["weekday_weekend", "day_of_week", "hour_of_day"] | None = Field(
        None, description="a season of the traffic: windows are compared with the reference phase by phase"
    )
    drift: Drift = Drift()
    estimate: bool = True
    kpi: tuple[KpiRule, ...] = ()
    fairness: tuple[FairnessRule, ...] = ()

    @field_validator("false_alarms")
    @classmethod
    def _budget(cls, value: str | AlphaBudget) -> str | AlphaBudget:
        if isinstance(value, str) and not re.fullmatch(r"\d+(\.\d+)? per \d+[hd]", value):
            raise ValueError(f"false_alarms is {value!r}; write `1 per 30d` or {{alpha: 0.01}}")
        return value

    @property
    def scales(self) -> tuple[str, ...]:
        """Names of the kinds of window that are judged: their spans, or `500 rows`."""
        return (f"{self.windows.rows} rows",) if isinstance(self.windows, RowWindow) else self.windows

    def alpha(self, scale: str) -> float:
        """False-alarm probability one window of a scale may spend.

        A budget of A alarms per period is shared equally by the scales, and among the windows of one scale that end
        in the period: alpha = A / scales / windows. Expected false alarms = windows x alpha, whatever depends on what.
        """
        if isinstance(self.false_alarms, AlphaBudget):
            return self.false_alarms.alpha
        if isinstance(self.windows, RowWindow):
            raise ValueError("a budget per time needs time windows; with {rows: N} give false_alarms: {alpha: ...}")
        alarms, period = self.false_alarms.split(" per ")
        return float(min(0.5, float(alarms) / len(self.windows) * (span(scale) / span(period))))


class NewOutcomes(_Part):
    new_outcomes: int = Field(ge=1)


class Cron(_Part):
    cron: str

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, value: str) -> str:
        if len(value.split()) != 5:
            raise ValueError(f"cron is {value!r}; write five fields, such as `0 3 * * 0`")
        return value


class Envelope(_Part):
    """Limits a retrain may not leave; people fix them beforehand."""

    max_rows: int = Field(200_000, ge=1)
    max_gpu_hours: float = Field(4.0, gt=0, description="hours of one training run, on GPU or CPU")
    base_models: tuple[str, ...] = ()
    kpi_floor: Mapping[str, float] = Field(default_factory=dict)
    fairness: Mapping[str, float] = Field(default_factory=dict)
    max_forgetting: float = Field(0.04, ge=0, le=1, description="largest loss of the KPI on the old hold-out, share")
    max_regression: float = Field(0.0, ge=0, le=1, description="largest loss of the KPI on new held-out rows, share")


Trigger = Literal["drift", "kpi", "fairness"] | NewOutcomes | Cron


class Retrain(_Part):
    when: tuple[Trigger, ...] = Field(min_length=1)
    cooldown: Span = "24h"
    min_outcomes: int = Field(
        200, ge=10, description="labelled events since the last training set, without which no run starts"
    )
    recipe: Mapping[str, Any]
    envelope: Envelope = Envelope()
    gates: tuple[Literal["no_regression", "fairness", "forgetting", "integrity"], ...] = (
        "no_regression", "fairness", "forgetting", "integrity",
    )  # fmt: skip
    approval: Literal["none", "one", "two"] = "none"


Sources = str | tuple[str, ...]


class Traces(_Part):
    """Which OpenTelemetry spans are this model's events, and where a column finds its value in them."""

    service: str = Field(min_length=1, max_length=255, description="service.name of the resource that sends the spans")
    spans: tuple[SpanKind, ...] = Field(("llm",), min_length=1)
    where: Mapping[str, str] = Field(
        default_factory=dict, description="attributes that a span must have, with their values"
    )
    version: Sources | None = Field(None, description="where the version is found; without, the model that answered")
    columns: Mapping[str, Sources] = Field(
        default_factory=dict, description="fields or attributes of a span, by column; the first that is there counts"
    )


class ModelSpec(_Part):
    model: Name
    task: Task
    owner: str = Field(min_length=1)
    purpose: str = Field(min_length=1)
    risk: Literal["minimal", "limited", "high"] = "limited"
    columns: Mapping[str, Column] = Field(min_length=1)
    baseline: Baseline
    ack: Literal["log", "lake"] = Field("log", description="rows are in the log or in their table when answered")
    redact: Mapping[str, tuple[BuiltInPattern | OwnPattern, ...]] = Field(
        default_factory=dict, description="column -> what is replaced in its texts before they are stored"
    )
    monitors: Monitors = Monitors()
    retrain: Retrain | None = None
    retention: Span | None = Field(None, description="days that lie further back are deleted; none by default")
    history: Span = Field(
        "2d", description="how long replaced files and log entries are kept for readers of old versions"
    )
    traces: Traces | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "ModelSpec":
        for name in self.columns:
            if name in BUILT_IN:
                raise ValueError(f"columns.{name}: this name is built in; choose another")
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_ .-]{0,99}", name):
                raise ValueError(f"columns.{name!r}: a column name starts with a letter and has at most 100 characters")
        for name, column in self.columns.items():
            if column.positive is not None and (column.role != "score" or self.task != "classification"):
                raise ValueError(f"columns.{name}.positive: only the score of a classification has a positive class")
        for role in ("prediction", "score", "subject"):
            if len(self.with_role(role)) > 1:
                raise ValueError(
                    f"columns: role {role} is given to {', '.join(self.with_role(role))}; only one may have it"
                )
        if not self.with_role("prediction"):
            raise ValueError("columns: no column has role prediction; mark what the model answered")
        prediction = self.columns[self.with_role("prediction")[0]]
        expected = {"classification": ("category", "boolean"), "regression": ("number",), "generation": ("text",)}[
            self.task
        ]
        if prediction.type not in expected:
            raise ValueError(
                f"task {self.task} needs a prediction of type {' or '.join(expected)}, not {prediction.type}"
            )
        self.monitors.alpha(self.monitors.scales[0])  # raises where budget and windows contradict each other
        if self.monitors.phases is not None and isinstance(self.monitors.windows, RowWindow):
            raise ValueError("monitors.phases needs windows of time; with {rows: N} leave it out")
        drift = self.monitors.drift
        for name in (*(drift.columns if drift.columns != "all" else ()), *drift.floors, *drift.must_see):
            if name not in self.columns:
                raise ValueError(f"monitors.drift names column {name!r}, which is not declared under columns")
        for kpi in self.monitors.kpi:
            if kpi.min is not None and kpi.max is not None and kpi.min > kpi.max:
                raise ValueError(f"monitors.kpi {kpi.metric}: min {kpi.min} is above max {kpi.max}")
            if kpi.column is not None and kpi.column not in self.columns:
                raise ValueError(
                    f"monitors.kpi {kpi.metric} names column {kpi.column!r}, which is not declared under columns"
                )
        for rule in self.monitors.fairness:
            for by in rule.by:
                if by not in self.columns or self.columns[by].role != "protected":
                    raise ValueError(f"monitors.fairness {rule.metric}: {by!r} is not a column with role protected")
        for name in self.redact:
            self._check_redacted(name)
        for name in self.traces.columns if self.traces else ():
            if name not in self.columns:
                raise ValueError(f"traces.columns names column {name!r}, which is not declared under columns")
        if self.retrain is not None:
            self._check_retrain(self.retrain)
        self._check_retention()
        return self

    def _check_retention(self) -> None:
        if self.retention is None:
            return
        windows = self.monitors.windows
        needed = max((span(w) for w in windows), default=timedelta(0)) if isinstance(windows, tuple) else timedelta(0)
        if span(self.retention) < max(needed, timedelta(days=1)):
            raise ValueError(
                f"retention is {self.retention}; rows must stay for the longest window, and 1d at least, to be judged"
            )

    def _check_redacted(self, name: str) -> None:
        column = self.columns.get(name)
        if column is None:
            raise ValueError(f"redact names column {name!r}, which is not declared under columns")
        if column.type not in ("text", "string", "category"):
            raise ValueError(f"redact.{name}: the column is a {column.type}; only texts, strings and categories are")
        if column.role == "subject":
            raise ValueError(f"redact.{name}: a subject is stored as its digest already; leave it out")
        own = [rule.name for rule in self.redact[name] if isinstance(rule, OwnPattern)]
        if len(set(own)) < len(own):
            raise ValueError(f"redact.{name}: two patterns have the same name; give each its own")
        if "presidio" in self.redact[name]:
            check_installed()

    def _check_retrain(self, retrain: Retrain) -> None:
        wants = {t for t in retrain.when if isinstance(t, str)}
        if "kpi" in wants and not any(k.min is not None or k.max is not None for k in self.monitors.kpi):
            raise ValueError("retrain.when has kpi, but no monitors.kpi has a min or max")
        if "fairness" in wants and not self.monitors.fairness:
            raise ValueError("retrain.when has fairness, but monitors.fairness is empty")
        if not self.with_role("outcome"):
            raise ValueError("retrain needs a column with role outcome to learn from; none is declared")
        base = retrain.recipe.get("base_model")
        if not isinstance(base, str) or not base:
            raise ValueError("retrain.recipe.base_model is missing; give a local folder or a hub id with a revision")
        if retrain.envelope.base_models and base not in retrain.envelope.base_models:
            raise ValueError(f"retrain.recipe.base_model {base!r} is not among retrain.envelope.base_models")
        if self.risk == "high" and retrain.approval == "none":
            raise ValueError("risk is high and retrain.approval is none; a high-risk model needs approval one or two")

    def with_role(self, *roles: str) -> tuple[str, ...]:
        """Names of the columns that have one of the roles, in declared order."""
        return tuple(name for name, column in self.columns.items() if column.role in roles)

    @property
    def encoders(self) -> dict[str, Encoder]:
        """Of the watched text columns that name one."""
        chosen = self.monitors.drift.columns
        return {
            name: column.encoder
            for name, column in self.event_columns.items()
            if column.encoder is not None and (chosen == "all" or name in chosen)
        }

    @property
    def event_columns(self) -> dict[str, Column]:
        return {name: c for name, c in self.columns.items() if c.role != "outcome"}

    @property
    def outcome_columns(self) -> dict[str, Column]:
        return {name: c for name, c in self.columns.items() if c.role == "outcome"}

    @property
    def document(self) -> dict[str, Any]:
        """The spec as plain JSON, with every default written out."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def digest(self) -> str:
        return digest(self.document)


class SpecError(InvalidError):
    """The spec is refused; `problems` lists every field with its value and reason."""

    code = "invalid_spec"


def parse_spec(document: Any) -> ModelSpec:
    """Check a spec given as a mapping.

    Raises:
        SpecError: with every problem found, each naming field, value and reason.
    """
    if not isinstance(document, Mapping):
        raise SpecError(f"a spec is a mapping of fields; got {type(document).__name__}", problems=[])
    try:
        return ModelSpec.model_validate(dict(document))
    except ValidationError as error:
        problems = [
            {
                "field": ".".join(str(part) for part in problem["loc"]) or "(whole spec)",
                "reason": problem["msg"].removeprefix("Value error, "),
                "value": repr(problem.get("input"))[:200] if problem["loc"] else None,
            }
            for problem in error.errors()
        ]
        first = problems[0]
        got = f" (got {first['value']})" if first["value"] else ""
        raise SpecError(f"spec field {first['field']}: {first['reason']}{got}", problems=problems) from error


def load_spec(text: str | bytes) -> ModelSpec:
    """Check a spec given as YAML or JSON text.

    Raises:
        SpecError: not YAML, or a field is wrong.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecError(f"the spec is neither YAML nor JSON: {error}", problems=[]) from error
    return parse_spec(document)
