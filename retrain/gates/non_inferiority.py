"""The test behind `no_regression` and `forgetting`: the challenger is not worse than the champion by a margin.

It passes when the observed loss is within the limit and the interval rules out a loss of the margin. Of challengers
that are worse by exactly the margin, about one in 40 passes: half of what the two-sided interval leaves out. A loss
beyond the limit fails. In between the rows cannot tell: unknown, with the rows that could.
"""

from dataclasses import asdict
from typing import Any, Final

from retrain.evals.mean_difference import paired_difference
from retrain.gates.base import MIN_ROWS, ComparedScores, GateResult
from retrain.gates.power import Power, power

ONE_IN: Final = 5  # rows of either kind of which one is held out


def judge_loss(
    gate: str, rows: ComparedScores | None, kind: str, *, allowed: float, margin: float, advice: str
) -> GateResult:
    """Judge the loss of a challenger.

    Args:
        gate: name of the gate.
        rows: the compared scores of `kind` rows; None where there are none.
        kind: what the rows are called: `new` or `old`.
        allowed: largest observed loss, in the unit of the score.
        margin: loss that the interval must rule out; one below `allowed` counts as `allowed`.
        advice: what to do where there are too few rows.
    """
    margin = max(margin, allowed)
    if rows is None or rows.rows < MIN_ROWS:
        there = 0 if rows is None else rows.rows
        words = f"{there} {kind} held-out rows, at least {MIN_ROWS} needed; {advice}"
        return GateResult(gate, "unknown", words, {"rows": there})
    if len(set(rows.subjects)) == 1 and rows.subjects[0] is not None:
        words = f"all {rows.rows} {kind} held-out rows are of one subject, which tell of nobody else; {advice}"
        return GateResult(gate, "unknown", words, {"rows": rows.rows})
    found = paired_difference(rows.champion, rows.challenger, subjects=rows.subjects, bounded=rows.bounded)
    seen = power(found, margin=margin, allowed=allowed)
    evidence: dict[str, Any] = {
        "metric": rows.metric, **asdict(found), "allowed": allowed, "margin": margin, "power": asdict(seen),
    }  # fmt: skip
    counted = f"{found.n} {kind} rows" + ("" if found.clusters == found.n else f" of {found.clusters} subjects")
    words = (
        f"{rows.metric} {found.challenger:.4f} against the champion's {found.champion:.4f} on {counted} "
        f"(difference {found.value:+.4f}, 95% interval {found.low:+.4f} to {found.high:+.4f})"
    )
    if found.value < -allowed:
        return GateResult(gate, "fail", f"worse than the champion: {words}; allowed loss {allowed:g}", evidence)
    if found.low <= -margin:
        return GateResult(gate, "unknown", f"{words}: {_too_few(seen, margin)}; {advice}", evidence)
    return GateResult(gate, "pass", f"{words}; allowed loss {allowed:g}; {_missed(seen, margin)}", evidence)


def _too_few(seen: Power, margin: float) -> str:
    return (
        f"a loss of {margin:g} is not ruled out; about {max(seen.rows_needed, seen.rows + 1)} such rows could, and one "
        f"outcome in {ONE_IN} is held out"
    )


def _missed(seen: Power, margin: float) -> str:
    """What a pass could have missed."""
    if seen.detectable_loss == 0:
        return f"a loss of {margin:g} is ruled out; on so few rows only a better challenger passes"
    return (
        f"a loss of {margin:g} is ruled out; a challenger worse by {seen.detectable_loss:.4f} is stopped 4 times in 5, "
        "a smaller loss may be missed"
    )
