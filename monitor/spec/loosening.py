"""What a change of a spec loosens: limits that get wider, checks that go, watches that end. Pure.

Specs are compared as documents, where a key that was taken out counts as its default; of those defaults that a document
leaves out, the rules know what they stand for.
Every key of what decides about alarms, runs and promotions has a direction in which it loosens; a key without one
loosens whenever it changes, so that a field of a later release is never loosened unseen. A new name of a monitor is one
monitor less and another more.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from monitor.spec.duration import duration
from monitor.spec.gate_limits import (
    CALIBRATION_MARGIN,
    FORGETTING_MARGIN,
    LATENCY_RATIO,
    LIKELIHOOD,
    REGRESSION_MARGIN,
    ROBUSTNESS_MARGIN,
)
from monitor.spec.model import ModelSpec

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Loosening:
    """One key that would hold less. `before` and `after` are as the specs write them, None where there is none."""

    field: str
    before: Any
    after: Any
    why: str

    def __str__(self) -> str:
        return f"{self.field}: {self.before!r} to {self.after!r} ({self.why})"

    def record(self) -> dict[str, Any]:
        return {"field": self.field, "before": self.before, "after": self.after, "why": self.why}


Rule = Callable[[str, Any, Any], Iterator[Loosening]]


def loosenings(before: ModelSpec, after: ModelSpec) -> tuple[Loosening, ...]:
    """All that `after` loosens of what `before` asks, in the order of its keys."""
    return tuple(_section(_SPEC)("", before.document, after.document))


def _neutral(_field: str, _before: Any, _after: Any) -> Iterator[Loosening]:
    return iter(())


def _any(field: str, before: Any, after: Any) -> Iterator[Loosening]:
    if before != after:
        yield Loosening(field, before, after, "changed, and no direction of it is the stricter one")


def _section(rules: Mapping[str, Rule], other: Rule = _any) -> Rule:
    """Keys of a section, each by its own rule; one that is absent counts as None."""

    def compare(field: str, before: Any, after: Any) -> Iterator[Loosening]:
        old, new = before or {}, after or {}
        for name in dict.fromkeys((*rules, *old, *new)):
            rule = rules.get(name, other)
            yield from rule(f"{field}.{name}" if field else name, old.get(name), new.get(name))

    return compare


def _number(*, wider: bool, absent: float | None = None, of: Callable[[Any], float] = float) -> Rule:
    """A number that loosens as it grows (`wider`) or shrinks. None stands for no limit, or for `absent`."""

    def compare(field: str, before: Any, after: Any) -> Iterator[Loosening]:
        old, new = (absent if value is None else of(value) for value in (before, after))
        if old is None:  # there was no limit
            return
        if new is None:
            yield Loosening(field, before, after, "the limit is gone")
        elif (new > old) if wider else (new < old):
            yield Loosening(field, before, after, "larger" if wider else "smaller")

    return compare


def _seconds(text: str) -> float:
    return duration(text).total_seconds()


def _order(*values: str) -> Rule:
    """One of some values, the strictest first."""

    def compare(field: str, before: Any, after: Any) -> Iterator[Loosening]:
        if before == after:
            return
        if before not in values or after not in values or values.index(after) > values.index(before):
            yield Loosening(field, before, after, f"of {', '.join(values)}, the first is the strictest")

    return compare


def _allowed(field: str, before: Any, after: Any) -> Iterator[Loosening]:
    """A list of what may be used; an empty one allows everything."""
    old, new = set(before or ()), set(after or ())
    if old and (not new or new - old):
        added = ", ".join(sorted(new - old)) if new else "everything"
        yield Loosening(field, before, after, f"allows {added} too")


def _list_asked(*absent: str) -> Rule:
    """A list of what is asked for; none, or an empty one, stands for `absent`."""

    def compare(field: str, before: Any, after: Any) -> Iterator[Loosening]:
        missing = [one for one in before or absent if one not in (after or absent)]
        if missing:
            yield Loosening(field, before, after, f"no more: {', '.join(map(str, missing))}")

    return compare


_asked: Final = _list_asked()


def _watched(field: str, before: Any, after: Any) -> Iterator[Loosening]:
    """The columns that are watched: `all`, or a list."""
    if after in (before, "all"):
        return
    missing = "any but these" if before == "all" else ", ".join(sorted({*before} - {*after}))
    if missing:
        yield Loosening(field, before, after, f"watches no more: {missing}")


def _told(field: str, before: Any, after: Any) -> Iterator[Loosening]:
    """The channels that are told: without a list, all."""
    yield from _watched(field, "all" if before is None else before, "all" if after is None else after)


def _switch(strict: bool) -> Rule:
    def compare(field: str, before: Any, after: Any) -> Iterator[Loosening]:
        if bool(before) is strict and bool(after) is not strict:
            yield Loosening(field, before, after, "switched off" if strict else "switched on")

    return compare


def _by_name(rule: Rule, *, gone: str = "the limit is gone", new: bool = False) -> Rule:
    """A mapping by name: what goes loosens; what comes does where `new` says so."""

    def compare(field: str, before: Any, after: Any) -> Iterator[Loosening]:
        old, now = before or {}, after or {}
        for name, value in old.items():
            if name not in now:
                yield Loosening(f"{field}.{name}", value, None, gone)
            else:
                yield from rule(f"{field}.{name}", value, now[name])
        if new:
            yield from (Loosening(f"{field}.{n}", None, v, "is new") for n, v in now.items() if n not in old)

    return compare


def _change(field: str, before: Any, after: Any) -> Iterator[Loosening]:
    """A smallest change such as `0.05 std` or a share such as `0.02`."""
    old, new = (re.fullmatch(r"([\d.]+)( ?std)?", str(value).strip()) for value in (before, after))
    if old is None or new is None or bool(old[2]) != bool(new[2]):
        yield from _any(field, before, after)
    elif float(new[1]) > float(old[1]):
        yield Loosening(field, before, after, "larger")


def _range(field: str, before: Any, after: Any) -> Iterator[Loosening]:
    if after[0] < before[0] or after[1] > before[1]:
        yield Loosening(field, before, after, "wider")


def _false_alarms(field: str, before: Any, after: Any) -> Iterator[Loosening]:
    """A smaller budget of false alarms needs larger changes to alarm."""
    old, new = _rate(before), _rate(after)
    if old[0] != new[0]:
        yield from _any(field, before, after)
    elif new[1] < old[1]:
        yield Loosening(field, before, after, "fewer false alarms, so that a change must be larger to alarm")


def _rate(value: Any) -> tuple[str, float]:
    if isinstance(value, Mapping):
        return "alpha", float(value["alpha"])
    alarms, period = str(value).split(" per ")
    return "period", float(alarms) / _seconds(period)


def _windows(field: str, before: Any, after: Any) -> Iterator[Loosening]:
    if isinstance(before, list) and isinstance(after, list):
        yield from _asked(field, before, after)
    else:
        yield from _any(field, before, after)


def _covered(named: Callable[[Mapping[str, Any]], str], identity: Sequence[str], parts: Rule) -> Rule:
    """A list of rules: each must be covered by one of the same identity that is at least as strict in every part."""

    def compare(field: str, before: Any, after: Any) -> Iterator[Loosening]:
        new = list(after or ())
        for old in before or ():
            same = [one for one in new if all(one.get(key) == old.get(key) for key in identity)]
            found = [list(parts(f"{field}[{named(old)}]", old, one)) for one in same]
            if not found:
                yield Loosening(f"{field}[{named(old)}]", old, None, "is no more")
            else:
                yield from min(found, key=len)

    return compare


def _floor(field: str, before: Any, after: Any) -> Iterator[Loosening]:
    """What a candidate must reach: for a KPI of which less is better, a larger number asks for less."""
    from monitor.kpi import KPIS  # loads numpy

    kpi = KPIS.get(field.rpartition(".")[2])
    if kpi is None or kpi.higher_is_better is None:
        yield from _any(field, before, after)
    else:
        yield from _number(wider=not kpi.higher_is_better)(field, before, after)


def _disparity(field: str, before: Any, after: Any) -> Iterator[Loosening]:
    """Of a ratio between groups, less is worse; of a difference, more."""
    yield from _number(wider=not field.endswith("_ratio"))(field, before, after)


def _policy(field: str, before: Any, after: Any) -> Iterator[Loosening]:
    if before is None and after is not None:
        yield Loosening(field, None, "a policy", "the model may be retrained")
    elif before is not None and after is not None:
        yield from _section(_RETRAIN)(field, before, after)


def _columns(field: str, before: Any, after: Any) -> Iterator[Loosening]:
    for name, old in (before or {}).items():
        new = (after or {}).get(name)
        if new is None:
            yield Loosening(f"{field}.{name}", old, None, "is no more, and neither are its monitors")
        else:
            yield from _section(_COLUMN)(f"{field}.{name}", old, new)


def _redacted(field: str, before: Any, after: Any) -> Iterator[Loosening]:
    for name, patterns in (before or {}).items():
        yield from _asked(f"{field}.{name}", patterns, (after or {}).get(name))


def _notified(field: str, before: Any, after: Any) -> Iterator[Loosening]:
    """Without the section, every channel is told, of everything."""
    everything = {"channels": None, "severity": "info"}
    yield from _section(_NOTIFY)(field, before or everything, after or everything)


def _attribution(field: str, before: Any, after: Any) -> Iterator[Loosening]:
    if before is not None and after is None:
        yield Loosening(field, "attribution", None, "attributions are watched no more")
    elif before is not None:
        rules = {"rows": _NARROWER, "reference_rows": _NARROWER, "floor": _WIDER, "by": _asked}
        yield from _section(rules)(field, before, after)


def _reasons(field: str, before: Any, after: Any) -> Iterator[Loosening]:
    """Reasons that are declared are owed; their texts, groups and reference population have no stricter direction."""
    if before is not None and after is None:
        yield Loosening(field, "reasons", None, "adverse decisions get no reasons any more")
    elif before is not None:
        yield from _section(_REASONS)(field, before, after)


def _once_set(field: str, before: Any, after: Any) -> Iterator[Loosening]:
    """What only narrows, or only adds, where there was none."""
    if before is not None:
        yield from _any(field, before, after)


def _pause(field: str, before: Any, after: Any) -> Iterator[Loosening]:
    """The least time between two messages: without it that of the installation holds, which is not known here."""
    if before is None and after is not None:
        yield Loosening(field, before, after, "may be longer than the setting of the installation")
    else:
        yield from _number(wider=True, of=_seconds)(field, before, after)


_NARROWER: Final = _number(wider=False)
_WIDER: Final = _number(wider=True)
_COLUMN: Final[Mapping[str, Rule]] = {
    "unit": _neutral, "min": _NARROWER, "max": _WIDER, "edges": _once_set, "positive": _once_set,
}  # fmt: skip
_KPI: Final[Mapping[str, Rule]] = {
    "metric": _neutral, "column": _neutral, "expression": _neutral, "unit": _neutral,
    "min": _NARROWER, "max": _WIDER, "min_rows": _WIDER,
}  # fmt: skip
_FAIRNESS: Final[Mapping[str, Rule]] = {
    "metric": _neutral, "by": _asked, "min": _NARROWER, "max": _WIDER, "min_group": _WIDER, "given": _neutral,
    "positive": _once_set, "compare": _any, "reference": _any, "depth": _number(wider=False, absent=1),
}  # fmt: skip
_MONITORS: Final[Mapping[str, Rule]] = {
    "windows": _windows, "false_alarms": _false_alarms, "phases": _any,
    "drift": _section({
        "columns": _watched, "rule": _any, "thresholds": _by_name(_WIDER), "short_reference": _switch(strict=False),
        "floors": _by_name(_change, gone="another floor than this one holds", new=True),
        "must_see": _by_name(_change),
    }),
    "estimate": _switch(strict=True), "positive_class": _once_set,
    "kpi": _covered(
        lambda rule: " ".join(filter(None, (rule["metric"], rule.get("column")))),
        ("metric", "column", "expression"), _section(_KPI),
    ),
    "attribution": _attribution,
    "flips": _neutral,
    "fairness": _covered(lambda rule: str(rule["metric"]), ("metric",), _section(_FAIRNESS)),
}  # fmt: skip
_ENVELOPE: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(("base_models", "methods", "sources", "licences", "consent"), _allowed),
    "revisions": _by_name(_allowed), "hyperparameters": _by_name(_range),
    "data_window": _number(wider=True, of=_seconds), "min_rows": _NARROWER,
    **dict.fromkeys(
        ("max_rows", "max_synthetic_share", "max_cut_share", "max_gpu_hours", "max_kwh", "max_adapter_mb",
         "max_adapter_parameters", "max_regression", "max_forgetting"), _WIDER,
    ),
    "kpi_floor": _by_name(_floor), "fairness": _by_name(_disparity),
    "compared_by": _list_asked(LIKELIHOOD), "safety_probes": _list_asked("the built-in list"),
    "golden_share": _number(wider=False, absent=1.0),
    "regression_margin": _number(wider=True, absent=REGRESSION_MARGIN),
    "forgetting_margin": _number(wider=True, absent=FORGETTING_MARGIN),
    "calibration_margin": _number(wider=True, absent=CALIBRATION_MARGIN),
    "robustness_margin": _number(wider=True, absent=ROBUSTNESS_MARGIN),
    "max_latency_ratio": _number(wider=True, absent=LATENCY_RATIO),
}  # fmt: skip
_RETRAIN: Final[Mapping[str, Rule]] = {
    # When a run is considered and what it trains stay inside envelope, budget and gates, which are compared.
    "when": _neutral, "recipe": _neutral,
    "cooldown": _number(wider=False, of=_seconds), "worse_by": _number(wider=False, absent=0.5),
    "allowed_hours": _once_set, "min_outcomes": _NARROWER,
    "envelope": _section(_ENVELOPE), "budget": _section({}, other=_WIDER), "gates": _asked,
    "approval": _order("two", "one", "none"),
}  # fmt: skip
_REASONS: Final[Mapping[str, Rule]] = {
    # Fewer reasons, or fewer columns that are kept out of them, tell a person less than the truth. Texts have versions.
    "most": _NARROWER, "exclude": _asked, "reference_rows": _NARROWER, "mutable": _neutral, "budget": _neutral,
}  # fmt: skip
_NOTIFY: Final[Mapping[str, Rule]] = {
    "channels": _told, "severity": _order("info", "warning", "critical"), "runbook": _neutral,
    "cooldown": _pause,
}  # fmt: skip
_SPEC: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(("model", "owner", "purpose", "ack", "history", "explain"), _neutral),
    # What is deleted sooner proves nothing later, and what no longer becomes an event is not watched.
    "retention": _number(wider=False, absent=math.inf, of=_seconds), "traces": _once_set,
    "risk": _order("high", "limited", "minimal"), "columns": _columns, "redact": _redacted,
    "monitors": _section(_MONITORS), "retrain": _policy,
    "notify": _notified, "reasons": _reasons,
}  # fmt: skip
