"""Gather the officer's answer: from the stored counts of a period's windows, with the limits that the spec declares."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import combinations
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from core.errors import InvalidError
from monitor.fairness import FAIRNESS, Fairness, FairnessValue
from monitor.fairness.comparisons import RATIO
from monitor.fairness.counts import GroupCounts
from monitor.fairness.grouping import MIN_GROUP, grouped_by
from monitor.fairness.positive import positive_class
from monitor.fairness.rates import SELECTION
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import FairnessRule
from monitor.spec.parse import parse_spec
from monitor.spec.positive import positive_of
from monitor.tables import Alert, Measurement, Model, Window
from monitor.windows.group_counts import shares_of
from monitor.windows.limits import not_judged
from monitor.windows.period_counts import PeriodCounts, period_counts
from monitor.windows.readings import NO_TARGET
from reports import store
from reports.facts.fairness_figures import cell_lines, impact_table, method_words, pair_of
from reports.facts.fairness_gaps import answered, labelled_rows, unmeasured
from reports.facts.group_order import in_order
from reports.facts.measures import finite
from reports.fairness import FOUR_FIFTHS, LEVEL, DisparityLine, FairnessAnswer, Held, HistoryLine
from reports.wording import fairness as wording

DEPTH: Final = 2  # columns in one intersection, where nothing else is asked for
SHOWN: Final[Mapping[str, tuple[str, ...]]] = {  # by task: for every grouping, whether or not the spec declares it
    "classification": ("demographic_parity_difference", "demographic_parity_ratio", "equalized_odds_difference"),
    "regression": ("mean_prediction_difference", "mean_error_difference"),
    "generation": ("refusal_rate_difference", "answer_length_ratio"),
}
GROUP_TYPES: Final = ("category", "boolean")
NO_COUNTS: Final = "no window of the period counted these groups"


@dataclass(frozen=True, slots=True)
class FairnessChoice:
    """What of the answer is asked for; None: what the spec declares."""

    by: str | None = None
    depth: int | None = None
    positive: str | None = None
    metric: str | None = None


def held(value: float | None, low: float | None, high: float | None, rule: FairnessRule | None) -> Held:
    """Whether a limit holds: only an interval that lies wholly on one side of it says so."""
    if rule is None or (rule.min is None and rule.max is None):
        return "no limit" if value is not None else "not measured"
    if value is None:
        return "not measured"
    if low is None or high is None:
        return "cannot say"
    if (rule.max is not None and low > rule.max) or (rule.min is not None and high < rule.min):
        return "beyond"
    inside = (rule.max is None or high <= rule.max) and (rule.min is None or low >= rule.min)
    return "inside" if inside else "cannot say"


def spec_of(db: Session, model: Model, until: datetime) -> ModelSpec:
    """The spec in force at the end of the period; the first one, if none was."""
    revisions = store.spec_revisions(db, model.id)
    in_force = [r for r in revisions if r.created_at <= until] or list(revisions[:1])
    return parse_spec(in_force[-1].document)


def own_values(spec: ModelSpec) -> frozenset[str]:
    """Protected columns whose values are people's own, such as an age in years: no groups that a report may print."""
    return frozenset(
        name
        for name in spec.with_role("protected")
        if spec.columns[name].type not in GROUP_TYPES and spec.columns[name].bands is None
    )


def chosen_columns(spec: ModelSpec, by: str | None) -> tuple[str, ...]:
    """The protected columns that are asked for, in declared order.

    Raises:
        InvalidError: a name is no protected column, or is named twice.
    """
    protected = tuple(spec.with_role("protected"))
    if by is None:
        return protected
    named = [name.strip() for name in by.replace("&", ",").split(",")]
    for at, name in enumerate(named):
        known = ", ".join(protected) or "none is declared"
        if name not in protected:
            raise InvalidError(
                f"by: {name[:100]!r} is no protected column of {spec.model}; name one of: {known}",
                field="by", value=by[:200],
            )  # fmt: skip
        if name in named[:at]:
            raise InvalidError(f"by: names {name!r} twice; name it once", field="by", value=by[:200])
    return tuple(name for name in protected if name in named)


def chosen_depth(columns: Sequence[str], depth: int | None) -> int:
    """Raises InvalidError: more columns in an intersection than there are."""
    if depth is None:
        return min(DEPTH, max(len(columns), 1))
    if depth < 1 or depth > max(len(columns), 1):
        raise InvalidError(
            f"depth: is {depth}, and {len(columns)} protected columns are compared; give 1 to {max(len(columns), 1)}",
            field="depth", value=depth,
        )  # fmt: skip
    return depth


def chosen_groupings(spec: ModelSpec, columns: Sequence[str], depth: int) -> tuple[tuple[str, ...], ...]:
    """Each column alone, then every intersection of up to `depth` of them; named as a rule of the spec names it."""
    named = {frozenset(by): by for rule in spec.monitors.fairness for by in rule.groupings}
    found = (by for size in range(1, depth + 1) for by in combinations(columns, size))
    return tuple(named.get(frozenset(by), by) for by in found)


def history_lines(measured: Iterable[Measurement], windows: Mapping[UUID, Window]) -> tuple[HistoryLine, ...]:
    """The disparity in each window, as it was judged then, in order of time."""
    return tuple(
        HistoryLine(
            window=str(m.window_id), scale=windows[m.window_id].scale, start=m.from_ts, end=m.to_ts,
            value=finite(m.value), low=finite(m.low), high=finite(m.high), reason=m.reason, limit=finite(m.limit),
            n=m.n, alarm=m.alarm, not_judged=not_judged(m.details) if m.value is not None else None,
        )
        for m in sorted(measured, key=lambda m: m.to_ts)
        if m.window_id in windows
    )  # fmt: skip


def alert_ids(alerts: Iterable[Alert], metric: str, by: str) -> tuple[str, ...]:
    return tuple(str(a.id) for a in alerts if (a.monitor, a.metric, a.column) == ("fairness", metric, by))


@dataclass(frozen=True, slots=True)
class _Period:
    """What the answer is made of, read once."""

    spec: ModelSpec
    found: PeriodCounts
    windows: Mapping[UUID, Window]
    measured: Sequence[Measurement]
    alerts: Sequence[Alert]
    since: datetime
    until: datetime

    @property
    def counts(self) -> GroupCounts | None:
        return self.found.counts

    @property
    def counted(self) -> tuple[str, ...]:
        """The windows whose counts are added up, oldest first."""
        return tuple(str(window.id) for window in self.found.windows)


def fairness_answer(
    db: Session, model: Model, spec: ModelSpec, since: datetime, until: datetime,
    choice: FairnessChoice = FairnessChoice(), *, hidden: frozenset[str] = frozenset(), changed: str | None = None,
) -> FairnessAnswer:  # fmt: skip
    """Was it fair over this period, for whom, how sure; from the counts that the windows stored.

    Args:
        spec: in force at the end of the period.
        since, until: windows that lie wholly in it are added up.
        choice: what is asked for.
        hidden: protected columns whose groups are left out.
        changed: what is said instead of an answer, because rows were changed outside Assay; None if none was.

    Raises:
        InvalidError: a field of the choice is wrong; it names field, value and fix.
    """
    asked = chosen_columns(spec, choice.by)
    columns = tuple(name for name in asked if name not in hidden)
    depth = chosen_depth(columns, choice.depth)
    windows = {w.id: w for w in store.windows(db, model.id, since, until)}
    period = _Period(
        spec, period_counts(db, model.id, since, until), windows,
        store.measurements(db, model.id, since, until, ("fairness",)), store.alerts(db, model.id, since, until),
        since, until,
    )  # fmt: skip
    groupings = chosen_groupings(spec, columns, depth)
    lines = tuple(_disparities(period, groupings, choice))
    return _answer(period, model.name, asked, columns, depth, groupings, lines, choice, changed)


def _disparities(
    period: _Period, groupings: Sequence[tuple[str, ...]], choice: FairnessChoice
) -> Iterator[DisparityLine]:
    """Those that the spec declares first, then those of the catalogue that are shown for every grouping.

    Raises:
        InvalidError: the metric that is asked for is none of the catalogue.
    """
    spec, done = period.spec, set[tuple[str, tuple[str, ...]]]()
    declared = {rule.name: rule.metric for rule in spec.monitors.fairness}
    known = {**{name: name for name in FAIRNESS if FAIRNESS[name].task == spec.task}, **declared}
    if choice.metric is not None and choice.metric not in known:
        raise InvalidError(
            f"metric: {choice.metric[:100]!r} is no disparity of a {spec.task}; name one of: "
            f"{', '.join(sorted(known))}",
            field="metric", value=choice.metric[:200],
        )  # fmt: skip
    for rule in spec.monitors.fairness:
        for by in rule.groupings:
            if by in groupings and choice.metric in (None, rule.name):
                done.add((rule.name, by))
                yield _line(period, rule.metric, by, rule, choice)
    shown = (known[choice.metric],) if choice.metric is not None else SHOWN[spec.task]
    for by in groupings:
        yield from (_line(period, metric, by, None, choice) for metric in shown if (metric, by) not in done)


def _line(
    period: _Period, metric: str, by: tuple[str, ...], rule: FairnessRule | None, choice: FairnessChoice
) -> DisparityLine:
    entry, named, name = FAIRNESS[metric], grouped_by(by), metric if rule is None else rule.name
    value = _value(period, entry, by, rule, choice)
    history = history_lines((m for m in period.measured if (m.metric, m.column) == (name, named)), period.windows)
    judged = [h for h in history if h.limit is not None and h.value is not None and h.not_judged is None]
    limit = None if rule is None else rule.min if rule.max is None else rule.max
    unknown = None if value is None or value.membership is None else value.membership.possible
    rate, pair = ("", ()) if value is None else pair_of(value)
    measured = None if value is None else value.value
    low, high = (None, None) if value is None or measured is None else (value.low, value.high)
    return DisparityLine(
        metric=name, by=named, definition=entry.words if value is None else value.definition,
        positive=None if value is None else value.positive, assumed=value is not None and value.source == "assumed",
        declared=rule is not None, value=measured, low=low, high=high,
        reason=NO_COUNTS if value is None else value.reason, unit=entry.unit, n=0 if value is None else value.n,
        limit=limit, limit_word="limit" if limit is None else "min" if rule is not None and rule.max is None else "max",
        verdict=held(measured, low, high, rule), rate=rate, groups=pair, method=method_words(entry),
        possible_low=None if unknown is None else unknown.low, possible_high=None if unknown is None else unknown.high,
        unknown=0 if unknown is None else unknown.unknown,
        reference_line=FOUR_FIFTHS if entry.rates == (SELECTION,) and entry.disparity == RATIO else None,
        windows=len(judged), alarmed=sum(1 for h in judged if h.alarm),
        alerts=alert_ids(period.alerts, name, named), history=history,
    )  # fmt: skip


def _value(
    period: _Period, entry: Fairness, by: tuple[str, ...], rule: FairnessRule | None, choice: FairnessChoice
) -> FairnessValue | None:
    """The disparity over the period; None without counts of these columns."""
    if period.counts is None or not set(by) <= set(period.counts.columns):
        return None
    given = positive_of(period.spec, rule)
    chosen = replace(given, name=choice.positive) if choice.positive is not None else given
    found = entry.compute(
        period.counts, by, positive=chosen.name, key=chosen.key, truth=chosen.truth, assume=chosen.assume,
        min_group=MIN_GROUP if rule is None else rule.min_group, compare=None if rule is None else rule.compare,
        reference=None if rule is None else rule.reference, shares=shares_of(period.spec, by),
    )  # fmt: skip
    if entry.needs_outcome and period.spec.target is None:
        return replace(found, value=None, reason=NO_TARGET, low=None, high=None, pair=None)
    return found


def _shown_class(period: _Period, choice: FairnessChoice) -> tuple[str | None, bool]:
    """The class whose rates the groups are shown with, and whether nobody declared it.

    Raises:
        InvalidError: the class that is asked for does not occur.
    """
    if period.spec.task != "classification":
        return None, False
    declared = positive_of(period.spec)
    if period.counts is None:  # nothing was counted, and what the spec declares is still declared
        return positive_class(declared.name, (), key=declared.key, truth=declared.truth).level, False
    classes = period.counts.classes()
    name = choice.positive if choice.positive is not None else declared.name
    found = positive_class(name, classes, key=declared.key, truth=declared.truth, assume=declared.assume)
    if choice.positive is not None and found.reason is not None:
        known = ", ".join(map(repr, list(classes)[:20])) or "none"
        raise InvalidError(
            f"positive: {choice.positive[:100]!r} is no class of this period; classes: {known}",
            field="positive", value=choice.positive[:200],
        )  # fmt: skip
    return found.level, found.source == "assumed"


def _answer(
    period: _Period, model: str, asked: Sequence[str], columns: Sequence[str], depth: int,
    groupings: Sequence[tuple[str, ...]], lines: tuple[DisparityLine, ...], choice: FairnessChoice, changed: str | None,
) -> FairnessAnswer:  # fmt: skip
    spec, counts = period.spec, period.counts
    positive, assumed = _shown_class(period, choice)
    min_cell = max((rule.min_group for rule in spec.monitors.fairness), default=MIN_GROUP)
    edges = {name: bands for name in columns if (bands := spec.columns[name].bands) is not None}
    counted = [by for by in groupings if counts is not None and set(by) <= set(counts.columns)]
    cells = (
        tuple(
            line
            for by in counted
            for line in cell_lines(in_order(counts.cells(by, positive), edges), min_cell, spec.task)
        )
        if counts is not None
        else ()
    )
    impact = tuple(
        table
        for by in counted
        if positive is not None and spec.task == "classification" and counts is not None
        if (table := impact_table(in_order(counts.cells(by, positive), edges), positive)) is not None
    )
    withheld = tuple(name for name in asked if name not in columns)
    missing = unmeasured(spec, period.found, columns, withheld, lines)
    windows = len(period.counted)
    answer = "cannot say" if changed is not None else wording.answer_of(lines, len(period.found.uncounted))
    sentences = (
        *((wording.class_words(positive, assumed),) if spec.task == "classification" and asked else ()),
        wording.for_whom(lines),
        wording.how_sure(lines, cells, LEVEL, min_cell), wording.what_not(missing),
    )  # fmt: skip
    return FairnessAnswer(
        model=model, start=period.since, end=period.until, answer=answer,
        sentence=changed or wording.first_sentence(
            lines, period.since, period.until, windows, named=bool(asked), uncounted=len(period.found.uncounted)
        ),
        sentences=() if changed is not None else sentences, positive=positive, assumed=assumed,
        classes=() if counts is None else tuple(counts.classes()), level=LEVEL, min_cell=min_cell, depth=depth,
        windows=windows, counted=period.counted, rows=0 if counts is None else answered(counts, spec.task),
        labelled=0 if counts is None else labelled_rows(counts, spec.task), disparities=lines, groups=cells,
        impact=impact,
        not_measured=missing, withheld=withheld,
    )  # fmt: skip
