"""Drift, data quality and volume of stored windows at another share of the budget, by their stored p and effects."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

from monitor.detect.rules import parse_changes
from monitor.spec.model import ModelSpec
from monitor.windows.quality import is_above_floor, volume_from_reading
from monitor.windows.rejudged import Case, Rejudged, alpha_of, told

# Floors where none is declared, as `monitor.detect.permutation_statistics` has them in the units that people read.
NUMBER_FLOOR: Final = 0.05  # standard deviations
SHARE_FLOOR: Final = 0.02
RARE_FLOOR: Final = 0.005


def rejudged_drift(case: Case) -> Iterator[Rejudged]:
    if _test(case.old) != _test(case.new):
        case.cannot.append(
            "Drift would be tested otherwise (columns, rule, baseline, windows, phases or must_see differ), so stored "
            "p values do not count; `assay replay` judges rows of a file under a spec."
        )
        return
    old, new = parse_changes(case.old.monitors.drift.floors), parse_changes(case.new.monitors.drift.floors)
    lowered = sorted(name for name in {*old, *new} if _lower(case.new, old, new, name))
    if lowered:
        case.cannot.append(
            f"The floor of {', '.join(lowered[:5])} falls. Of each column only its largest change is stored, so a "
            "window in which a smaller one would alarm as well is not counted."
        )
    for window in case.windows:
        decision = window.decision
        if not decision.get("judged") or decision.get("p") is None:
            continue
        ratio = case.ratio("drift", window.scale)
        if ratio == 1.0 and old == new:
            continue
        alpha = float(decision["alpha"]) * ratio
        did = decision.get("verdict") == "drift"
        would, why = _drifts(decision, alpha, did, old, new)
        words = f"alpha {decision['alpha']:.2g}", f"alpha {alpha:.2g}" + (", other floors" if old != new else "")
        yield Rejudged(
            window.id, window.scale, window.from_ts, window.to_ts, "drift", "p_value", "", did, would, decision["p"],
            window.rows, *words, why,
        )  # fmt: skip


def _test(spec: ModelSpec) -> tuple[Any, ...]:
    """What a stored p depends on."""
    drift, columns = spec.monitors.drift, {n: (c.role, c.type) for n, c in spec.columns.items()}
    return (
        drift.columns, drift.rule, drift.thresholds, drift.must_see, drift.short_reference, spec.monitors.phases,
        spec.monitors.windows, spec.baseline, columns,
    )  # fmt: skip


def _lower(spec: ModelSpec, old: Mapping[str, float], new: Mapping[str, float], column: str) -> bool:
    declared = spec.columns.get(column)
    usual = NUMBER_FLOOR if declared is None or declared.type in ("number", "text", "vector") else SHARE_FLOOR
    return new.get(column, usual) < old.get(column, usual)


def _floor(floors: Mapping[str, float], finding: Mapping[str, Any]) -> float:
    """The floor of a changed column, in the unit of its change; the default of its kind where none is declared."""
    column = str(finding["column"])
    usual = RARE_FLOOR if finding.get("effect") in ("missing", "unseen") else SHARE_FLOOR
    usual = NUMBER_FLOOR if finding.get("unit") == "std" else usual
    return floors.get(column, floors.get(column.rpartition(".")[0], usual))


def _drifts(
    decision: Mapping[str, Any], alpha: float, did: bool, old: Mapping[str, float], new: Mapping[str, float]
) -> tuple[bool | None, str | None]:
    """Whether a window would drift: a column above its floor whose adjusted p is at most alpha."""
    if decision["p"] > alpha:  # the p of the whole test is at most that of any column
        return False, None
    findings = decision.get("columns") or []
    certain = [c for c in findings if c.get("adjusted_p") is not None and c["adjusted_p"] <= alpha]
    above = [_is_above(c, old, new) for c in certain]
    if any(above):
        return True, None
    if any(a is None for a in above):
        return None, "the effect of a changed column is not in the unit of its floor"
    if did and not any(c.get("alarmed") for c in findings):
        return (True, None) if old == new else (None, "drift was spread over many columns, and floors differ")
    return False, None


def _is_above(finding: Mapping[str, Any], old: Mapping[str, float], new: Mapping[str, float]) -> bool | None:
    """Whether a change reaches the new floor of its column."""
    if _floor(old, finding) == _floor(new, finding):
        return bool(finding.get("above_floor"))
    unit = finding.get("unit")
    if (finding.get("effect") == "location" and unit == "std") or unit == "share of rows":
        return abs(float(finding["value"])) >= _floor(new, finding)
    return None


def rejudged_quality(case: Case) -> Iterator[Rejudged]:
    def test(m: Any, alpha: float) -> bool | None:
        p = m.details.get("adjusted_p")
        return p is not None and p <= alpha and is_above_floor(m.value, m.details.get("reference"))

    yield from _tested(case, "quality", test)


def rejudged_volume(case: Case) -> Iterator[Rejudged]:
    def test(m: Any, alpha: float) -> bool | None:
        try:
            found = volume_from_reading(m)
        except KeyError:
            return None
        return found.p is not None and found.changed(alpha)

    yield from _tested(case, "volume", test)


def _tested(
    case: Case, monitor: Literal["quality", "volume"], test: Callable[[Any, float], bool | None]
) -> Iterator[Rejudged]:
    for window in case.windows:
        if case.ratio(monitor, window.scale) == 1.0:
            continue
        before, after = (alpha_of(spec, monitor, window.scale) for spec in (case.old, case.new))
        words = f"alpha {before:.2g}", f"alpha {after:.2g}"
        for m in case.measured.get(window.id, ()):
            if m.monitor == monitor and (m.value is not None or m.alarm):
                would = test(m, after)
                why = None if would is not None else "an earlier release kept less of it"
                yield told(window, monitor, m, bool(m.alarm), would, words, why)
