"""The model spec: what a user declares about one model, checked as a whole before it is accepted."""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

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
    """Everything a user declares about a model."""

    model: Name
    task: Task
    owner: str = Field(min_length=1)
    purpose: str = Field(min_length=1)
    risk: Literal["minimal", "limited", "high"] = "limited"
    columns: Mapping[str, Column] = Field(min_length=1)
    baseline: Baseline
    ack: Literal["log", "lake"] = Field(
        "log", description="where rows are durable when their request is answered: in the log, or in their table"
    )
    redact: Mapping[str, tuple[BuiltInPattern | OwnPattern, ...]] = Field(
        default_factory=dict,
        description="by column: the patterns that are replaced in its texts before they are stored",
    )
    monitors: Monitors = Monitors()
    retrain: Retrain | None = None
    retention: Duration | None = Field(None, description="rows older than this are deleted; without it, rows are kept")
    history: Duration = Field(
        "2d", description="how long replaced files and log entries are kept for readers of old versions"
    )
    traces: Traces | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "ModelSpec":
        for check in _CHECKS:
            check(self)
        return self

    def with_role(self, *roles: str) -> tuple[str, ...]:
        """Names of the columns that have one of the roles, in declared order."""
        return tuple(name for name, column in self.columns.items() if column.role in roles)

    @property
    def encoders(self) -> dict[str, Encoder]:
        """The encoder of each watched text column that names one."""
        chosen = self.monitors.drift.columns
        return {
            name: column.encoder
            for name, column in self.event_columns.items()
            if column.encoder is not None and (chosen == "all" or name in chosen)
        }

    @property
    def event_columns(self) -> dict[str, Column]:
        """Columns that arrive with an event."""
        return {name: c for name, c in self.columns.items() if c.role != "outcome"}

    @property
    def outcome_columns(self) -> dict[str, Column]:
        """Columns that arrive later, with an outcome."""
        return {name: c for name, c in self.columns.items() if c.role == "outcome"}

    @property
    def document(self) -> dict[str, Any]:
        """The spec as plain JSON, with every default written out."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def digest(self) -> str:
        return digest(self.document)


def _check_column_names(spec: ModelSpec) -> None:
    for name in spec.columns:
        if name in BUILT_IN:
            raise ValueError(f"columns.{name}: every event has a built-in field of this name; choose another")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_ .-]{0,99}", name):
            raise ValueError(
                f"columns.{name!r}: a column name starts with a letter or _ and has at most 100 characters: letters, "
                "digits, spaces, dots, hyphens and underscores"
            )


def _check_positive_class(spec: ModelSpec) -> None:
    for name, column in spec.columns.items():
        if column.positive is not None and (column.role != "score" or spec.task != "classification"):
            raise ValueError(
                f"columns.{name}.positive is {column.positive!r}; only a column with role score in a classification "
                "has a positive class, so leave it out"
            )


def _check_single_roles(spec: ModelSpec) -> None:
    for role in ("prediction", "score", "subject"):
        if len(spec.with_role(role)) > 1:
            raise ValueError(
                f"columns: role {role} is given to {', '.join(spec.with_role(role))}; only one may have it"
            )


def _check_prediction(spec: ModelSpec) -> None:
    if not spec.with_role("prediction"):
        raise ValueError("columns: no column has role prediction; give it to the column with the model's answer")
    prediction = spec.columns[spec.with_role("prediction")[0]]
    expected = {"classification": ("category", "boolean"), "regression": ("number",), "generation": ("text",)}
    if prediction.type not in expected[spec.task]:
        types = " or ".join(expected[spec.task])
        raise ValueError(f"task {spec.task} needs a prediction of type {types}, not {prediction.type}")


def _check_budget(spec: ModelSpec) -> None:
    spec.monitors.alpha(spec.monitors.scales[0])  # raises where the budget does not fit the windows


def _check_phases(spec: ModelSpec) -> None:
    if spec.monitors.phases is not None and isinstance(spec.monitors.windows, RowWindow):
        raise ValueError(
            f"monitors.phases is {spec.monitors.phases}, which needs time windows; with windows {{rows: N}}, leave "
            "it out"
        )


def _check_drift_columns(spec: ModelSpec) -> None:
    drift = spec.monitors.drift
    for name in (*(drift.columns if drift.columns != "all" else ()), *drift.floors, *drift.must_see):
        if name not in spec.columns:
            raise ValueError(f"monitors.drift names column {name!r}, which is not declared under columns")


def _check_kpi(spec: ModelSpec) -> None:
    for kpi in spec.monitors.kpi:
        if kpi.min is not None and kpi.max is not None and kpi.min > kpi.max:
            raise ValueError(f"monitors.kpi {kpi.metric}: min {kpi.min} is above max {kpi.max}; swap or correct them")
        if kpi.column is not None and kpi.column not in spec.columns:
            raise ValueError(
                f"monitors.kpi {kpi.metric} names column {kpi.column!r}, which is not declared under columns"
            )


def _check_fairness(spec: ModelSpec) -> None:
    for rule in spec.monitors.fairness:
        for by in rule.by:
            if by not in spec.columns or spec.columns[by].role != "protected":
                raise ValueError(
                    f"monitors.fairness {rule.metric}: by names {by!r}, which is no column with role protected"
                )


def _check_redact(spec: ModelSpec) -> None:
    for name, rules in spec.redact.items():
        column = spec.columns.get(name)
        if column is None:
            raise ValueError(f"redact names column {name!r}, which is not declared under columns")
        if column.type not in ("text", "string", "category"):
            raise ValueError(
                f"redact.{name}: the column has type {column.type}; only columns of type text, string and category can "
                "be redacted"
            )
        if column.role == "subject":
            raise ValueError(f"redact.{name}: a column with role subject is stored as a digest already; leave it out")
        own = [rule.name for rule in rules if isinstance(rule, OwnPattern)]
        if len(set(own)) < len(own):
            raise ValueError(f"redact.{name}: two patterns have the same name; give each pattern its own name")
        if "presidio" in rules:
            check_installed()


def _check_traces(spec: ModelSpec) -> None:
    for name in spec.traces.columns if spec.traces else ():
        if name not in spec.columns:
            raise ValueError(f"traces.columns names column {name!r}, which is not declared under columns")


def _check_retrain(spec: ModelSpec) -> None:
    retrain = spec.retrain
    if retrain is None:
        return
    triggers = {t for t in retrain.when if isinstance(t, str)}
    if "kpi" in triggers and not any(k.min is not None or k.max is not None for k in spec.monitors.kpi):
        raise ValueError("retrain.when has kpi, but no monitors.kpi has a min or max; give one of them a limit")
    if "fairness" in triggers and not spec.monitors.fairness:
        raise ValueError("retrain.when has fairness, but monitors.fairness is empty; add a rule there")
    if not spec.with_role("outcome"):
        raise ValueError("retrain needs a column with role outcome to learn from; declare one under columns")
    base = retrain.recipe.get("base_model")
    if not isinstance(base, str) or not base:
        raise ValueError("retrain.recipe.base_model is missing; give a local folder or a hub id with a revision")
    if retrain.envelope.base_models and base not in retrain.envelope.base_models:
        raise ValueError(f"retrain.recipe.base_model {base!r} is not among retrain.envelope.base_models; add it there")
    if spec.risk == "high" and retrain.approval == "none":
        raise ValueError("risk is high and retrain.approval is none; a high-risk model needs approval one or two")


def _check_retention(spec: ModelSpec) -> None:
    if spec.retention is None:
        return
    windows = spec.monitors.windows
    longest = timedelta(0)
    if not isinstance(windows, RowWindow):
        longest = max((duration(w) for w in windows), default=longest)
    if duration(spec.retention) < max(longest, timedelta(days=1)):
        raise ValueError(
            f"retention is {spec.retention}; give at least 1d and at least the longest window, whose rows must exist "
            "until it is judged"
        )


# What the fields of a spec must satisfy together. The first check that fails is reported, with key, value and fix.
_CHECKS: Final[tuple[Callable[[ModelSpec], None], ...]] = (
    _check_column_names, _check_positive_class, _check_single_roles, _check_prediction, _check_budget, _check_phases,
    _check_drift_columns, _check_kpi, _check_fairness, _check_redact, _check_traces, _check_retrain, _check_retention,
)  # fmt: skip
