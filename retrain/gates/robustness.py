"""Typing errors, case, white space and polite phrases cost the challenger no more than the champion, by the margin."""

from dataclasses import asdict
from typing import Final

from retrain.evals.mean_difference import paired_difference
from retrain.gates.base import MIN_ROWS, Gate, GateInputs, GateResult

NAME: Final = "robustness"


def judge(inputs: GateInputs) -> GateResult:
    changed, margin = inputs.changed, inputs.envelope.robustness_margin
    if not inputs.classifies:
        return GateResult(NAME, "not_applicable", "changed texts have no single right completion", {})
    if changed is None or changed.rows < MIN_ROWS or len(set(changed.subjects)) == 1:
        rows = 0 if changed is None else changed.rows
        words = f"{rows} new rows were changed, at least {MIN_ROWS} of several subjects needed; wait for outcomes"
        return GateResult(NAME, "unknown", words, {"rows": rows})
    found = paired_difference(changed.champion, changed.challenger, subjects=changed.subjects)
    evidence = {"metric": changed.metric, **asdict(found), "margin": margin}
    words = (
        f"changed texts move the accuracy by {found.challenger:+.4f}, the champion's by {found.champion:+.4f}, on "
        f"{found.n} new rows (difference {found.value:+.4f}, 95% interval {found.low:+.4f} to {found.high:+.4f})"
    )
    if found.value < -margin:
        return GateResult(NAME, "fail", f"{words}; allowed {margin:g}", evidence)
    if found.low <= -margin:
        words += f": a loss of {margin:g} more than the champion's is not ruled out; wait for rows"
        return GateResult(NAME, "unknown", words, evidence)
    return GateResult(NAME, "pass", f"{words}; a loss of {margin:g} more is ruled out", evidence)


GATE = Gate(NAME, judge)
