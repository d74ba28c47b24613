"""The causes of one fairness metric on some rows, as a document that is stored and shown."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

import polars as pl

from core.errors import InvalidError
from monitor.fairness.causes.find import GapQuestion, disparity_causes, worst_pair
from monitor.fairness.causes.groups import ROW_RATES
from monitor.fairness.causes.wording import sentences
from monitor.fairness.grouping import banded, group_name, grouped_by, named_groups
from monitor.metric_names import check_metrics
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import FairnessRule
from monitor.windows.group_counts import counted_rows, fairness_readings
from monitor.windows.judge import labelled_rows
from monitor.windows.readings import Reading
from monitor.windows.stored_levels import comparable, with_levels

MOST_ROWS: Final = 100_000
_SAID: Final = pl.col("prediction").cast(pl.Float64, strict=False)
_ERROR: Final = _SAID - pl.col("outcome").cast(pl.Float64, strict=False)
NUMBERS: Final[Mapping[str, pl.Expr]] = {  # rates of a regression: what they are the mean of
    "mean_prediction": _SAID, "mean_error": _ERROR, "mean_absolute_error": _ERROR.abs(),
}  # fmt: skip
DIVIDED_BY: Final = ("number", "category", "boolean", "text")  # types of inputs that have levels


def rule_of(spec: ModelSpec, metric: str, by: str, given: Sequence[str] = ()) -> FairnessRule:
    """The rule of a spec for a metric and a grouping, or one for this question alone; of that grouping, without limits.

    Args:
        metric: as a rule names it, or as its values are stored.
        by: a protected column, or several as `sex & race`.

    Raises:
        InvalidError: the metric does not exist or does not fit, or a column is none that may be asked for.
    """
    for rule in spec.monitors.fairness:
        same = [one for one in rule.groupings if grouped_by(one) == by and metric in (rule.metric, rule.name)]
        if same:
            alone = {"by": same[0], "depth": len(same[0]), "min": None, "max": None}
            found = rule.model_copy(update=alone)
            break
    else:
        columns = tuple(by.split(" & "))
        found = FairnessRule(metric=metric, by=columns).model_copy(update={"depth": len(columns)})
    if given:
        found = found.model_copy(update={"given": tuple(given)})
    for name in found.by:
        if name not in spec.with_role("protected"):
            known = ", ".join(spec.with_role("protected")) or "none is declared"
            words = f"by is {name!r}, which is no column with role protected; such columns: {known}"
            raise InvalidError(words, field="by", value=name)
    for name in found.given:
        if name not in spec.columns or spec.columns[name].role not in ("input", "segment"):
            fitting = ", ".join(spec.with_role("input", "segment")) or "none is declared"
            raise InvalidError(
                f"given names {name!r}, which is no column with role input or segment; such columns: {fitting}",
                field="given", value=name,
            )  # fmt: skip
    check_metrics(spec.model_copy(update={"monitors": spec.monitors.model_copy(update={"fairness": (found,)})}))
    return found


def period_causes(
    site: Site, current: CurrentSpec, rule: FairnessRule, since: datetime | None, until: datetime | None
) -> dict[str, Any]:
    """The causes of a metric among the events of a period, of which at most 100,000, evenly spread, are read."""
    rows = site.events.scan(current.model.name, from_ts=since, to_ts=until)
    if since is not None:
        rows = rows.filter(pl.col("ts") >= since)
    if until is not None:
        rows = rows.filter(pl.col("ts") < until)
    return causes_of(site, current, rule, rows)


def causes_of(site: Site, current: CurrentSpec, rule: FairnessRule, rows: pl.LazyFrame) -> dict[str, Any]:
    """The causes of a metric among some events.

    Args:
        rule: with one protected column.
        rows: events, in any order.

    Returns:
        `sentences`, and the numbers behind them under `causes`; without them, `reason` says why.
    """
    spec, by = current.spec, grouped_by(rule.by)
    total = int(rows.select(pl.len()).collect().item())
    every = -(-total // MOST_ROWS) or 1
    names = rows.collect_schema().names()
    wanted = ["event_id", "seq", *(n for n in spec.event_columns if n in names)]
    frame = with_levels(spec, rows.select(wanted).sort("seq").gather_every(every).collect())
    absent = [pl.lit(None).alias(n) for n in spec.event_columns if n not in frame.columns]
    frame = frame.with_columns(absent)
    document: dict[str, Any] = {
        "metric": rule.name, "by": by, "given": list(rule.given), "rows": total, "rows_read": frame.height,
        "min_group": rule.min_group,
    }  # fmt: skip
    labelled = labelled_rows(site, current, frame)
    reading = _reading(spec, rule, labelled, frame)
    document |= {
        "value": reading.value, "definition": reading.details.get("definition"),
        "groups": reading.details.get("groups", []), "positive": reading.details.get("positive"),
    }  # fmt: skip
    pair = worst_pair(document["groups"])
    if reading.value is None or isinstance(pair, str):
        return document | {"causes": None, "reason": reading.reason or str(pair), "sentences": []}
    rate, first, second = pair
    asked = GapQuestion(rate, document["positive"], first, second, rule.given, rule.min_group)
    divided = labelled if ROW_RATES[rate].outcome else frame
    columns = {n: c.type for n, c in spec.columns.items() if c.role in ("input", "segment") and c.type in DIVIDED_BY}
    answers = _answers(spec, divided, rate)
    found = disparity_causes(answers, groups_of_rows(spec, divided, rule.by), columns, asked)
    if isinstance(found, str):
        return document | {"causes": None, "reason": found, "sentences": []}
    return document | {"causes": asdict(found), "reason": None, "sentences": list(sentences(found))}


def _reading(spec: ModelSpec, rule: FairnessRule, labelled: pl.DataFrame, frame: pl.DataFrame) -> Reading:
    alone = spec.model_copy(update={"monitors": spec.monitors.model_copy(update={"fairness": (rule,)})})
    found = fairness_readings(alone, counted_rows(spec, labelled, frame), "")
    return next(reading for reading in found if reading.column == grouped_by(rule.by))


def groups_of_rows(spec: ModelSpec, rows: pl.DataFrame, by: Sequence[str]) -> pl.Series:
    """The group of each row, as groups are named beside a metric."""
    edges = {name: spec.columns[name].edges for name in by}
    parts = [
        named_groups(rows[name] if (cut := edges[name]) is None else banded(rows[name], cut)).alias(name) for name in by
    ]
    if len(by) == 1:
        return parts[0]
    return pl.Series([group_name(by, levels) for levels in pl.DataFrame(parts).iter_rows()], dtype=pl.String)


def _answers(spec: ModelSpec, rows: pl.DataFrame, rate: str) -> pl.DataFrame:
    """The rows with `prediction`, and `outcome` and `score` where the rate reads them."""
    named = {"prediction": spec.with_role("prediction")[0]}
    if spec.target is not None and spec.target in rows.columns:
        named["outcome"] = spec.target
    if scores := spec.with_role("score"):
        named["score"] = scores[0]
    found = comparable(spec, rows.with_columns(pl.col(name).alias(role) for role, name in named.items()))
    if rate not in NUMBERS:
        return found
    if "outcome" not in found.columns:
        found = found.with_columns(outcome=pl.lit(None, dtype=pl.Float64))
    return found.with_columns(NUMBERS[rate].alias("score"))
