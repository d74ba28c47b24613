"""Fires on more rows of classes that the champion does not know than chance gives, or on texts of a new kind."""

from typing import Final

from monitor.spec.retraining import Retrain
from monitor.spec.triggers import NewClasses
from retrain.triggers.base import Condition, NewClassesReading, Trigger, TriggerFinding, TriggerInputs

NAME: Final = "new_classes"
TOPIC: Final = "topic in "
MAX_NAMED: Final = 5


def asked(policy: Retrain) -> NewClasses | None:
    return next((t for t in policy.when if isinstance(t, NewClasses)), None)


def wanted(_inputs: TriggerInputs, policy: Retrain) -> bool:
    return asked(policy) is not None


def chance(unknown: int, rows: int, expected: float) -> float:
    """Probability of at least so many rows of unknown classes, if they come at the expected rate.

    Args:
        unknown: rows of classes that the champion does not know, 0..rows.
        rows: labelled rows that were looked at.
        expected: share of rows of unknown classes, 0..1.

    Returns:
        0..1; 1 where there is no such row.

    Source: the one-sided exact binomial test.
    """
    from scipy.special import betainc

    return 1.0 if unknown == 0 else float(betainc(unknown, rows - unknown + 1, expected))


def expected_share(counts: dict[str, int], known: set[str]) -> float | None:
    """The share of rows of unknown classes to expect, from the rows of the champion's own time.

    Args:
        counts: of those rows by class.
        known: classes that the champion knows.

    Returns:
        The share of rows whose class the champion does not know, or of classes that were seen once (which estimates the
        share of classes never seen), the larger; both with one row more, so that it is never 0. None without a row.

    Source: Good (1953), after Turing, for the share of what was never seen.
    """
    rows = sum(counts.values())
    if not rows:
        return None
    unknown = sum(n for name, n in counts.items() if name not in known)
    once = sum(1 for n in counts.values() if n == 1)
    return (max(unknown, once) + 1) / (rows + 1)


def find(inputs: TriggerInputs, policy: Retrain) -> TriggerFinding:
    wanted_rows = asked(policy)
    assert wanted_rows is not None
    declared, reading = wanted_rows.new_classes, inputs.new_classes or NewClassesReading(0, {}, None)
    topics = {column: w for w in inputs.windows if w.verdict == "alarm" for column in w.novel}
    told, conditions, evidence = list[str](), list[Condition](), list[str]()
    unknown = sum(reading.unknown.values())
    p = None if reading.expected is None else chance(unknown, reading.rows, reading.expected)
    significant = p is not None and unknown >= declared.rows and p <= declared.alpha
    if significant:
        ranked = sorted(reading.unknown.items(), key=lambda item: (-item[1], item[0]))
        names = ", ".join(f"{name} ({n})" for name, n in ranked[:MAX_NAMED])
        more = f" and {len(ranked) - MAX_NAMED} more" if len(ranked) > MAX_NAMED else ""
        told.append(f"{_counted(reading, unknown, declared.per)}: {names}{more}; {_expected(reading, p)}")
        conditions += [Condition(name, "on", float(n), f"class {name}") for name, n in ranked]
        evidence += [f"class:{name}" for name, _ in ranked]
    for column, window in topics.items():
        told.append(
            f"{column} moved away from the reference in the window {window.scale} to {window.to_ts.isoformat()}"
        )
        conditions.append(Condition(TOPIC + column, "on", window.drifted.get(column), f"new topics in {column}"))
        evidence.append(window.id)
    judged = reading.expected is not None
    on = {c.key for c in conditions}
    conditions += [
        Condition(key, "unknown" if not key.startswith(TOPIC) and not judged else "off")
        for key in inputs.held.get(NAME, {})
        if key not in on
    ]
    if told:
        focus: dict[str, object] = {"classes": sorted(reading.unknown) if significant else []}
        if topics:
            focus["from_seq"] = min(w.from_seq for w in topics.values())
        return TriggerFinding(NAME, True, "; ".join(told), tuple(evidence), tuple(conditions), focus=focus)
    if p is None:
        words = reading.reason or "no labelled row from the champion's own time says what to expect"
    elif unknown < declared.rows:
        words = f"{_counted(reading, unknown, declared.per)}; {declared.rows} asked for"
    else:
        words = f"{_counted(reading, unknown, declared.per)}; {_expected(reading, p)}, {declared.alpha:g} asked for"
    return TriggerFinding(NAME, False, f"{words}; no text moved away from the reference", (), tuple(conditions))


def _counted(reading: NewClassesReading, unknown: int, per: str) -> str:
    return f"{unknown} of {reading.rows} labelled rows of the last {per} are of classes that the champion does not know"


def _expected(reading: NewClassesReading, p: float | None) -> str:
    return f"{(reading.expected or 0.0) * reading.rows:.1f} were to be expected, p = {p or 0.0:.2g}"


TRIGGER = Trigger(NAME, "since_training", wanted, find)
