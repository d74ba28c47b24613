"""Fires on more rows of classes that the champion does not know than chance gives, or on texts of a new kind."""

from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from monitor.spec.retraining import Retrain
from monitor.spec.triggers import NewClasses
from retrain.triggers.base import Condition, NewClassesReading, Trigger, TriggerFinding, TriggerInputs

NAME: Final = "new_classes"
TOPIC: Final = "topic in "
MAX_NAMED: Final = 5
PARTS: Final = 7  # moments within `per` at which the rows of the last `per` begin; days of a week
EPOCH: Final = datetime(2024, 1, 1, tzinfo=UTC)  # a Monday, from which they are counted


def asked(policy: Retrain) -> NewClasses | None:
    return next((t for t in policy.when if isinstance(t, NewClasses)), None)


def wanted(_inputs: TriggerInputs, policy: Retrain) -> bool:
    return asked(policy) is not None


def chance(unknown: int, rows: int, expected: float, old_rows: int) -> float:
    """Probability of at least so many rows of unknown classes, if they come at the rate of the champion's own time.

    Args:
        unknown: rows of classes that the champion does not know, 0..rows.
        rows: labelled rows that were looked at.
        expected: share of rows of unknown classes, 0..1, as `expected_share` estimates it.
        old_rows: rows that it was estimated from; few leave the rate open, and make a large count less surprising.

    Returns:
        0..1; 1 where there is no such row, or where every row is expected to be one.

    Source: the predictive distribution of a rate known from so many rows (beta-binomial).
    """
    from scipy.special import betaln, gammaln, logsumexp

    if unknown == 0 or expected >= 1:
        return 1.0
    a, b = expected * (old_rows + 1), (1 - expected) * (old_rows + 1)
    k = np.arange(unknown, rows + 1, dtype=np.float64)
    ways = gammaln(rows + 1) - gammaln(k + 1) - gammaln(rows - k + 1)
    return float(min(1.0, np.exp(logsumexp(ways + betaln(k + a, rows - k + b) - betaln(a, b)))))


def begins(now: datetime, per: timedelta) -> datetime:
    """Where the rows of the last `per` begin: at the last multiple of a part of `per` before them."""
    part = per / PARTS
    return EPOCH + ((now - per - EPOCH) // part) * part


def allowed(alpha: float, unknown: int, least: int) -> float:
    """Probability from which so many rows start a run, if chance alone may start one in a share `alpha` of all `per`.

    However often is looked: rows that begin at one moment are given an equal part of `alpha` for all looks at them. The
    probability falls only when a further row of an unknown class arrives, so that each number of them has a part of its
    own, 1/(1·2), 1/(2·3), 1/(3·4) and so on, which are 1 together.

    Args:
        unknown: rows of unknown classes, at least `least`.
        least: rows without which nothing starts.
    """
    further = unknown - least + 1
    return alpha / PARTS / (further * (further + 1))


def expected_share(counts: dict[str, int], known: set[str], least: int) -> float | None:
    """The share of rows of unknown classes to expect, from the rows of the champion's own time.

    Args:
        counts: of those rows by class.
        known: classes that the champion knows.
        least: rows from which a class is learned.

    Returns:
        The share of rows whose class the champion does not know, or would not know without that row, since it has so
        few (which estimates the share of classes that were never seen, or too seldom); with one row more, so that it
        is never 0. None without a row.

    Source: Good (1953), after Turing, for the share of what was never seen.
    """
    rows = sum(counts.values())
    if not rows:
        return None
    return (sum(n for name, n in counts.items() if name not in known or n <= least) + 1) / (rows + 1)


def find(inputs: TriggerInputs, policy: Retrain) -> TriggerFinding:
    wanted_rows = asked(policy)
    assert wanted_rows is not None
    declared, reading = wanted_rows.new_classes, inputs.new_classes or NewClassesReading(0, {}, None)
    topics = {column: w for w in inputs.windows if w.verdict == "alarm" for column in w.novel}
    told, conditions, evidence = list[str](), list[Condition](), list[str]()
    unknown = sum(reading.unknown.values())
    p = None if reading.expected is None else chance(unknown, reading.rows, reading.expected, reading.old_rows)
    enough = unknown >= declared.rows
    most = allowed(declared.alpha, unknown, declared.rows) if enough else 0.0
    significant = p is not None and enough and p <= most
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
        words = f"{_counted(reading, unknown, declared.per)}; {_expected(reading, p)}; at most {most:.2g} starts a run"
    return TriggerFinding(NAME, False, f"{words}; no text moved away from the reference", (), tuple(conditions))


def _counted(reading: NewClassesReading, unknown: int, per: str) -> str:
    return f"{unknown} of {reading.rows} labelled rows of the last {per} are of classes that the champion does not know"


def _expected(reading: NewClassesReading, p: float | None) -> str:
    return f"{(reading.expected or 0.0) * reading.rows:.1f} were to be expected, p = {p or 0.0:.2g}"


TRIGGER = Trigger(NAME, "since_training", wanted, find)
