"""The challenger is not worse than the champion on the same new held-out rows, and reaches the KPI floors.

With `envelope.max_regression` above 0 this is a non-inferiority test with that margin. With 0 no loss may be observed,
and the interval must rule out `envelope.regression_margin`: asking that it rule out every loss would reject every
challenger that is exactly as good (docs/decisions/0034).
"""

from dataclasses import replace

from retrain.envelope import floor_breaches
from retrain.gates.base import MIN_ROWS, Gate, GateInputs, GateResult
from retrain.gates.non_inferiority import judge_loss

NAME = "no_regression"


def judge(inputs: GateInputs) -> GateResult:
    new, limits = inputs.new, inputs.envelope
    found = judge_loss(
        NAME, new, "new", allowed=limits.max_regression, margin=limits.max_regression or limits.regression_margin,
        advice="wait for outcomes",
    )  # fmt: skip
    if new is None or new.rows < MIN_ROWS:
        return found
    evidence = {
        **found.evidence, "max_regression": limits.max_regression, "kpi_floor": dict(limits.kpi_floor),
        "champion_values": dict(new.champion_values), "challenger_values": dict(new.challenger_values),
    }  # fmt: skip
    if found.verdict != "fail" and (missed := floor_breaches(limits, new.challenger_values)):
        return GateResult(NAME, "fail", f"{'; '.join(missed)}; {found.reason}", evidence)
    return replace(found, evidence=evidence)


GATE = Gate(NAME, judge)
