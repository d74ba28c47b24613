"""The model spec: what a user declares about a model, checked as a whole before it is accepted."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from core.canonical import digest
from monitor.redact.presidio import check_installed
from monitor.redact.rules import BuiltInPattern, OwnPattern
from monitor.spec.base import SpecPart
from monitor.spec.baseline import Baseline
from monitor.spec.columns import BUILT_IN, Column, Encoder
from monitor.spec.duration import Duration, duration
from monitor.spec.monitors import Monitors, RowWindow
from monitor.spec.retraining import Retrain
from monitor.spec.traces import Traces

Task = Literal["classification", "regression", "generation"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class ModelSpec(SpecPart):
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
    retention: Duration | None = Field(None, description="days that lie further back are deleted; none by default")
    history: Duration = Field(
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
        needed = (
            max((duration(w) for w in windows), default=timedelta(0)) if isinstance(windows, tuple) else timedelta(0)
        )
        if duration(self.retention) < max(needed, timedelta(days=1)):
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
