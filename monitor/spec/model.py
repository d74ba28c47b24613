"""The model spec: what a user declares about one model, checked as a whole before it is accepted."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Literal

from pydantic import Field, ValidationInfo, model_validator

from core.canonical import digest
from monitor.redact.presidio import check_installed
from monitor.redact.rules import BuiltInPattern, OwnPattern
from monitor.spec.attribution import check_attribution
from monitor.spec.base import Key, KeyProblem, SpecPart, is_new
from monitor.spec.baseline import Baseline
from monitor.spec.columns import BUILT_IN, Column, Encoder
from monitor.spec.duration import Duration, duration
from monitor.spec.event_times import EventTimes
from monitor.spec.explanation import Explain, check_explanation
from monitor.spec.fairness_checks import check_flips, check_given, check_groups, check_rules
from monitor.spec.monitors import Monitors, RowWindow
from monitor.spec.notify import Notify
from monitor.spec.part import Name, Part
from monitor.spec.positive import check_positive
from monitor.spec.problems import nearest
from monitor.spec.provenance import EventsProvenance
from monitor.spec.reasons import Reasons, check_adverse_output, check_reasons
from monitor.spec.retraining import Retrain
from monitor.spec.target import check_predicts, check_target, target_of
from monitor.spec.traces import Traces

AUTO_REFERENCE_ROWS: Final = 1_000  # rows of an automatic reference when its first window is judged, about
Task = Literal["classification", "regression", "generation"]


class ModelSpec(SpecPart):
    """Everything a user declares about a model."""

    model: Name = Field(
        description="name of the model in addresses, pages and the ledger: lower-case letters, digits, `.`, `_` "
        "and `-`, at "
        "most 63 characters",
        examples=["support-intents"],
    )
    task: Task = Field(description="what the prediction is: a class, a number or a text")
    owner: str = Field(
        min_length=1, description="the person or team that answers for the model", examples=["ml-support@example.com"]
    )
    purpose: str = Field(
        min_length=1, description="what the model is for, in a sentence; reports print it",
        examples=["route customer messages to the right queue"],
    )  # fmt: skip
    part_of: Part | None = Field(
        None, exclude_if=lambda value: value is None,  # a spec without it keeps its digest
        description="for a part of a model of models: the whole, and which of its agents this is; a policy here "
        "retrains this part alone",
        examples=["{model: support-desk, agent: billing}"],
    )  # fmt: skip
    risk: Literal["minimal", "limited", "high"] = Field(
        "limited", description="tier of the EU AI Act; `high` needs an approval for every promotion"
    )
    columns: Mapping[str, Column] = Field(
        min_length=1,
        description="by name: the columns of events and outcomes. A name starts with a letter or `_` and has letters, "
        "digits, spaces, `.`, `-` and `_`, at most 100; a row with an undeclared field is rejected",
        examples=["{intent: {role: prediction, type: category}}"],
    )
    baseline: Literal["auto"] | Baseline = Field(
        "auto",
        description="the reference: the rows that windows are compared with. `auto`: about the first 1,000 rows, "
        "and later ones until the reference supports the block rule",
        examples=["auto", "{rows: first 5000}"],
    )
    ack: Literal["log", "lake"] = Field(
        "log", description="where rows are durable when their request is answered: in the log of this machine, or in "
        "their table, which makes a request wait for a second or two",
    )  # fmt: skip
    redact: Mapping[str, tuple[BuiltInPattern | OwnPattern, ...]] = Field(
        default_factory=dict,
        description="by column: the patterns that are replaced in its texts before they are stored; see "
        "[personal data](ingest.md#personal-data-in-texts)",
        examples=["{text: [email, phone]}"],
    )
    monitors: Monitors = Field(Monitors(), description="what is computed for every window, and when it alarms")
    retrain: Retrain | None = Field(
        None, description="when the model may be retrained, and within which limits; without it, it is not"
    )
    explain: Explain | None = Field(
        None, exclude_if=lambda value: value is None,  # a spec without it keeps its digest
        description="how answers of a model of typed columns are explained; see [explanations](explanations.md)",
    )  # fmt: skip
    retention: Duration | None = Field(
        None, description="rows older than this are deleted; without it, rows are kept", examples=["180d"]
    )
    notify: Notify | None = Field(
        None, description="who is told about alerts, and how; without it, every channel of the installation is told"
    )
    history: Duration = Field(
        "2d", description="how long replaced files and log entries are kept for readers of old versions; longer takes "
        "more disk",
    )  # fmt: skip
    times: EventTimes | None = Field(
        None, exclude_if=lambda value: value is None,  # a spec without it keeps its digest
        description="which times of events are accepted; see [times](ingest.md#times)",
        examples=['{earliest: "1950-01-01T00:00:00Z"}'],
    )  # fmt: skip
    reasons: Reasons | None = Field(
        None, exclude_if=lambda value: value is None,
        description="which decisions are adverse and how their reasons are told; see "
        "[reason codes](explanations.md#reason-codes)",
    )  # fmt: skip
    traces: Traces | None = Field(None, description="how OpenTelemetry spans become events of the model")
    provenance: EventsProvenance | None = Field(
        None, exclude_if=lambda value: value is None,
        description="what the model's own events are; see [provenance](governance.md#provenance)",
    )  # fmt: skip

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> "ModelSpec":
        for check in (*_CHECKS, *(_NEW_CHECKS if is_new(info) else ())):
            check(self)
        if is_new(info) and self.with_role("protected") and self.monitors.positive_class != "declared":
            # A new spec must name the positive class; the part is frozen for its users, and not yet theirs.
            self.__dict__["monitors"] = self.monitors.model_copy(update={"positive_class": "declared"})
        return self

    def with_role(self, *roles: str) -> tuple[str, ...]:
        """Names of the columns that have one of the roles, in declared order."""
        return tuple(name for name, column in self.columns.items() if column.role in roles)

    def with_lengths(self, lengths: Sequence[str]) -> "ModelSpec":
        """The spec with the lengths that `windows: auto` stands for; a spec with lengths of its own stays as it is.

        Its document and digest stay those of the declared spec.
        """
        if self.monitors.windows != "auto":
            return self
        return self.model_copy(update={"monitors": self.monitors.with_lengths(lengths)})

    @property
    def fixed_baseline(self) -> Baseline | None:
        """The reference that the spec fixes; None for `auto`."""
        return self.baseline if isinstance(self.baseline, Baseline) else None

    @property
    def first_rows(self) -> int | None:
        """How many first rows make up the reference; None where their number is not fixed.

        With `baseline: auto` and row windows they are the rows of four windows, at least 1,000.
        """
        if self.fixed_baseline is not None:
            return self.fixed_baseline.first_rows
        windows = self.monitors.window_lengths
        return max(AUTO_REFERENCE_ROWS, 4 * windows.rows) if isinstance(windows, RowWindow) else None

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
    def target(self) -> str | None:
        """The outcome that predictions are compared with, and that a retrain learns; see `monitor.spec.target`."""
        found = target_of(self)
        return None if found is None else found.column

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
            raise KeyProblem(("columns", name), "every event has a built-in field of this name; choose another")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_ .-]{0,99}", name):
            raise KeyProblem(
                ("columns", name),
                "a column name starts with a letter or _ and has at most 100 characters: letters, digits, spaces, "
                "dots, hyphens and underscores; rename the column",
            )


def _check_texts(spec: ModelSpec) -> None:
    for name, column in spec.columns.items():
        if column.type == "texts" and spec.task != "generation":
            raise KeyProblem(
                ("columns", name, "type"),
                f"is texts, which are references of a generated text; the task is {spec.task}, so give one outcome",
            )


def _check_single_roles(spec: ModelSpec) -> None:
    for role in ("prediction", "score", "subject"):
        if len(spec.with_role(role)) > 1:
            names = spec.with_role(role)
            raise KeyProblem(
                ("columns", names[1], "role"), f"role {role} is given to {', '.join(names)}; only one may have it"
            )


def _check_prediction(spec: ModelSpec) -> None:
    if not spec.with_role("prediction"):
        raise KeyProblem(("columns",), "no column has role prediction; give it to the column with the model's answer")
    name = spec.with_role("prediction")[0]
    prediction = spec.columns[name]
    expected = {"classification": ("category", "boolean"), "regression": ("number",), "generation": ("text",)}
    if prediction.type not in expected[spec.task]:
        types = " or ".join(expected[spec.task])
        raise KeyProblem(
            ("columns", name, "type"), f"task {spec.task} needs a prediction of type {types}, not {prediction.type}"
        )


def _check_predicts(spec: ModelSpec) -> None:
    check_predicts(spec)


def _check_target(spec: ModelSpec) -> None:
    check_target(spec)


def _check_budget(spec: ModelSpec) -> None:
    try:
        for scale in spec.monitors.scales:
            spec.monitors.alpha(scale)
    except ValueError as error:  # the budget does not fit the windows
        raise KeyProblem(("monitors", "false_alarms"), str(error)) from error


def _check_phases(spec: ModelSpec) -> None:
    if spec.monitors.phases is not None and isinstance(spec.monitors.window_lengths, RowWindow):
        raise KeyProblem(
            ("monitors", "phases"),
            f"is {spec.monitors.phases}, which needs time windows; with windows {{rows: N}}, leave it out",
        )


def _check_drift_columns(spec: ModelSpec) -> None:
    drift = spec.monitors.drift
    listed = [(("columns", at), name) for at, name in enumerate(drift.columns if drift.columns != "all" else ())]
    by_name = [((key, name), name) for key in ("floors", "must_see") for name in getattr(drift, key)]
    for key, name in (*listed, *by_name):
        if name not in spec.columns:
            raise _undeclared(spec, ("monitors", "drift", *key), name)


def _undeclared(spec: ModelSpec, key: Key, name: str) -> KeyProblem:
    close = nearest(name, tuple(spec.columns))
    return KeyProblem(key, f"names column {name!r}, which is not declared under columns{close}")


def _check_kpi(spec: ModelSpec) -> None:
    for at, kpi in enumerate(spec.monitors.kpi):
        key = ("monitors", "kpi", at)
        if kpi.min is not None and kpi.max is not None and kpi.min > kpi.max:
            raise KeyProblem(key, f"{kpi.metric}: min {kpi.min} is above max {kpi.max}; swap or correct them")
        if kpi.column is not None and kpi.column not in spec.columns:
            raise _undeclared(spec, (*key, "column"), kpi.column)


def _check_positive_class(spec: ModelSpec) -> None:
    check_positive(spec)


def _check_fairness(spec: ModelSpec) -> None:
    check_groups(spec)


def _check_given(spec: ModelSpec) -> None:
    check_given(spec)


def _check_fairness_rules(spec: ModelSpec) -> None:
    check_rules(spec)


def _check_flips(spec: ModelSpec) -> None:
    check_flips(spec)


def _check_redact(spec: ModelSpec) -> None:
    for name, rules in spec.redact.items():
        column = spec.columns.get(name)
        if column is None:
            raise _undeclared(spec, ("redact", name), name)
        if column.type not in ("text", "texts", "string", "category"):
            raise KeyProblem(
                ("redact", name),
                f"the column has type {column.type}; only columns of type text, texts, string and category can be "
                "redacted",
            )
        if column.role == "subject":
            raise KeyProblem(("redact", name), "a column with role subject is stored as a digest already; leave it out")
        own = [rule.name for rule in rules if isinstance(rule, OwnPattern)]
        if len(set(own)) < len(own):
            raise KeyProblem(("redact", name), "two patterns have the same name; give each pattern its own name")
        if "presidio" in rules:
            check_installed()


def _check_attribution(spec: ModelSpec) -> None:
    check_attribution(spec)


def _check_reasons(spec: ModelSpec) -> None:
    check_reasons(spec)


def _check_adverse_output(spec: ModelSpec) -> None:
    check_adverse_output(spec)


def _check_explain(spec: ModelSpec) -> None:
    check_explanation(spec)


def _check_traces(spec: ModelSpec) -> None:
    for name in spec.traces.columns if spec.traces else ():
        if name not in spec.columns:
            raise _undeclared(spec, ("traces", "columns", name), name)


def _check_retrain(spec: ModelSpec) -> None:
    retrain = spec.retrain
    if retrain is None:
        return
    triggers = {t for t in retrain.when if isinstance(t, str)}
    if "kpi" in triggers and not any(k.min is not None or k.max is not None for k in spec.monitors.kpi):
        raise KeyProblem(("retrain", "when"), "has kpi, but no monitors.kpi has a min or max; give one of them a limit")
    if "fairness" in triggers and not spec.monitors.fairness:
        raise KeyProblem(("retrain", "when"), "has fairness, but monitors.fairness is empty; add a rule there")
    if "whole" in triggers and spec.part_of is None:
        raise KeyProblem(("retrain", "when"), "has whole, but the model is no part of another; say which in part_of")
    if not spec.with_role("outcome"):
        raise KeyProblem(("retrain",), "needs a column with role outcome to learn from; declare one under columns")
    base = retrain.recipe.get("base_model")
    if not isinstance(base, str) or not base:
        raise KeyProblem(
            ("retrain", "recipe", "base_model"), "is missing; give a local folder or a hub id with a revision"
        )
    if retrain.envelope.base_models and base not in retrain.envelope.base_models:
        raise KeyProblem(
            ("retrain", "recipe", "base_model"), f"{base!r} is not among retrain.envelope.base_models; add it there"
        )
    if spec.risk == "high" and retrain.approval == "none":
        raise KeyProblem(
            ("retrain", "approval"), "is none and risk is high; a high-risk model needs approval one or two"
        )


def _check_retention(spec: ModelSpec) -> None:
    if spec.retention is None:
        return
    windows = spec.monitors.window_lengths
    longest = timedelta(0)
    if not isinstance(windows, RowWindow):
        longest = max((duration(w) for w in windows), default=longest)
    if duration(spec.retention) < max(longest, timedelta(days=1)):
        raise KeyProblem(
            ("retention",),
            f"is {spec.retention}; give at least 1d and at least the longest window, whose rows must exist until it is "
            "judged",
        )


def _check_part(spec: ModelSpec) -> None:
    if spec.part_of is not None and spec.part_of.model == spec.model:
        raise KeyProblem(("part_of", "model"), f"is {spec.model!r}, the model itself; name the whole it is a part of")


def _check_rows_of_a_window(spec: ModelSpec) -> None:
    windows = spec.monitors.windows
    if not isinstance(windows, RowWindow):
        return
    wanted = [(("kpi", at, "min_rows"), rule.min_rows) for at, rule in enumerate(spec.monitors.kpi)]
    wanted += [(("fairness", at, "min_group"), rule.min_group) for at, rule in enumerate(spec.monitors.fairness)]
    for key, rows in wanted:
        if rows > windows.rows:
            raise KeyProblem(
                ("monitors", *key),
                f"is {rows}, and a window has {windows.rows} rows, so nothing is ever judged; give at "
                f"most {windows.rows}",
            )


# What the fields of a spec must satisfy together. The first check that fails is reported, with key, value and fix.
_CHECKS: Final[tuple[Callable[[ModelSpec], None], ...]] = (
    _check_column_names, _check_texts, _check_single_roles, _check_prediction, _check_predicts, _check_positive_class,
    _check_budget, _check_phases, _check_drift_columns, _check_kpi, _check_fairness, _check_redact, _check_traces,
    _check_retrain, _check_retention, _check_reasons, _check_attribution, _check_explain,
)  # fmt: skip
# The same for a spec that somebody writes now; earlier releases accepted what these refuse.
_NEW_CHECKS: Final[tuple[Callable[[ModelSpec], None], ...]] = (
    _check_target, _check_rows_of_a_window, _check_part, _check_given, _check_fairness_rules, _check_flips,
    _check_adverse_output,
)  # fmt: skip
