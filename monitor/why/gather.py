"""What the process that looks is given: bounded, redacted rows of both sides, and how to look at them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import polars as pl

from core.errors import InsufficientDataError
from monitor import store
from monitor.confirm.confirm import AlertContext
from monitor.fairness.grouping import grouped_by
from monitor.redact import presidio
from monitor.redact.columns import every_rule, redacted, redaction_key
from monitor.reference.choose_rows import reference_rows
from monitor.reference.collect import subject_column
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.columns import Column, Role
from monitor.spec.model import ModelSpec
from monitor.tables import Alert, Measurement
from monitor.why.columns import Kind, SetAside
from monitor.why.losses import Lost, of_fairness, of_kpi
from monitor.windows.judge import labelled_rows
from monitor.windows.late_rows import rows_of
from monitor.windows.stored_levels import with_levels

MAX_ROWS: Final = 4_000  # of each side
INPUTS: Final[tuple[Role, ...]] = ("input", "segment", "agent")
GROUPS: Final = ("category", "boolean")  # of protected columns, only shares of groups are told
WHY_NOT: Final[Mapping[str, str]] = {
    "prediction": "it is the model's answer, not an input", "score": "it is the model's score, not an input",
    "measure": "it is measured after the answer, not an input",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Question:
    """Rows of both sides in order of arrival, and what is asked of them."""

    about: Literal["drift", "lost"]
    reference: pl.DataFrame
    window: pl.DataFrame
    kinds: Mapping[str, Kind]
    parts: tuple[str, ...] = ()
    person: str | None = None
    words: str = ""
    among: str = ""
    column: str = ""
    set_aside: tuple[SetAside, ...] = field(default=())
    units: Mapping[str, str] = field(default_factory=dict)


def question(site: Site, alert: Alert, about: AlertContext) -> Question:
    """What to ask about an alert.

    Raises:
        InsufficientDataError: there is nothing that could be compared.
        AppError: the rows cannot be read.
    """
    spec = about.spec
    current = CurrentSpec(about.model, about.window.spec_revision, spec)
    found = reference_rows(site, current, about.reference)
    reference = with_levels(spec, found) if found is not None else pl.DataFrame()
    window = with_levels(spec, rows_of(site, about.model.name, about.window))
    if alert.monitor == "drift":
        return _of_drift(site, spec, alert, reference, window)
    labelled = [labelled_rows(site, current, window), _labelled_reference(site, current, reference)]
    with site.database.read() as db:
        measured = [
            m for m in store.window_measurements(db, about.window.id)
            if (m.monitor, m.metric) == (alert.monitor, alert.metric) and not m.segment
        ]  # fmt: skip
    return _of_lost(site, spec, _lost(spec, alert, measured, window, reference, labelled))


def _labelled_reference(site: Site, current: CurrentSpec, reference: pl.DataFrame) -> pl.DataFrame:
    """Rows of the reference whose outcome is known; a dataset has its outcomes with it."""
    absent = [name for name in current.spec.outcome_columns if name not in reference.columns]
    if absent and "event_id" in reference.columns:
        return labelled_rows(site, current, reference)
    return reference.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)


def _lost(
    spec: ModelSpec, alert: Alert, measured: Sequence[Measurement], window: pl.DataFrame, reference: pl.DataFrame,
    labelled: Sequence[pl.DataFrame],
) -> Lost:  # fmt: skip
    if alert.monitor == "kpi":
        rules = [r for r in spec.monitors.kpi if r.metric == alert.metric and (r.column or "") == alert.column]
        rules = rules or [r for r in spec.monitors.kpi if r.metric == alert.metric]
        if not rules:
            raise InsufficientDataError(f"the spec no longer names {alert.metric}")
        return of_kpi(spec, rules[0], window, reference, labelled)
    for rule in spec.monitors.fairness:
        for by in rule.groupings:
            mine = [m for m in measured if m.column == grouped_by(by)]
            if mine and rule.name == alert.metric and grouped_by(by) == alert.column:
                return of_fairness(spec, rule, by, mine[0].details, window, reference, labelled)
    raise InsufficientDataError("the window has no groups to compare")


def _of_drift(site: Site, spec: ModelSpec, alert: Alert, reference: pl.DataFrame, window: pl.DataFrame) -> Question:
    kinds, aside = dict[str, Kind](), list[SetAside]()
    for name, column in spec.event_columns.items():
        if column.role in WHY_NOT:
            aside.append(SetAside(name, WHY_NOT[column.role]))
        elif column.type in ("string", "texts") and column.role in INPUTS:
            aside.append(SetAside(name, "it is an identifier"))
        elif column.role == "protected" and column.type not in GROUPS:
            aside.append(SetAside(name, "it is protected, and of people only shares of groups are told"))
        elif (kind := _kind(column)) is not None and column.role in (*INPUTS, "protected"):
            kinds[name] = kind
    parts = (*spec.with_role("segment", "agent"), "version")
    return _bounded(
        site, spec, "drift", reference, window, kinds, parts=parts, column=alert.column, set_aside=tuple(aside)
    )


def _of_lost(site: Site, spec: ModelSpec, lost: Lost) -> Question:
    roles = (*INPUTS, *(("prediction",) if lost.tells and spec.task == "classification" else ()))
    found: dict[str, Kind] = {}
    for name, column in spec.event_columns.items():
        kind = _kind(column)
        if kind is not None and kind != "vector" and column.role in roles and name != lost.column:
            found[name] = kind
    if "version" in lost.window.columns and lost.window["version"].n_unique() > 1:
        found["version"] = "category"
    return _bounded(site, spec, "lost", lost.reference, lost.window, found, words=lost.words, among=lost.among)


def _kind(column: Column) -> Kind | None:
    match column.type:
        case "number" | "category" | "text" | "vector":
            return column.type
        case "boolean":
            return "category"
    return None


def _bounded(
    site: Site, spec: ModelSpec, about: Literal["drift", "lost"], reference: pl.DataFrame, window: pl.DataFrame,
    kinds: Mapping[str, Kind], *, parts: tuple[str, ...] = (), words: str = "", among: str = "", column: str = "",
    set_aside: tuple[SetAside, ...] = (),
) -> Question:  # fmt: skip
    """Only the columns that are needed and at most 4,000 rows of each side, with texts and levels redacted."""
    person = subject_column(spec)
    wanted = dict.fromkeys(("event_id", "ts", "lost", *kinds, *parts, *(() if person is None else (person,))))
    units = {name: spec.columns[name].unit or "" for name in kinds if name in spec.columns}
    sides = []
    for side in (reference, window):
        rows = side.select(name for name in wanted if name in side.columns)
        if rows.height > MAX_ROWS:
            chosen = np.random.default_rng(0).choice(rows.height, MAX_ROWS, replace=False)
            rows = rows[np.sort(chosen)]
        rules = tuple(rule for rule in every_rule(spec.redact) if rule != presidio.NAME)
        texts = {name: rules for name in (*kinds, *parts) if rows.schema.get(name) == pl.String}
        sides.append(redacted(rows, texts, redaction_key(site.keys.subject)))
    return Question(about, sides[0], sides[1], kinds, parts, person, words, among, column, set_aside, units)
