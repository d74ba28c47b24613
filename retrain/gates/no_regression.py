"""The challenger is not worse than the champion on the same new held-out rows, and reaches the KPI floors.

The observed difference is compared with `envelope.max_regression`; the interval is reported with it. Asking that
the whole interval lie above the limit would reject every challenger that is exactly as good.
"""

from dataclasses import asdict

from retrain.envelope import floor_breaches
from retrain.evals.mean_difference import paired_difference
from retrain.gates.base import MIN_ROWS, Gate, GateInputs, GateResult

NAME = "no_regression"


def judge(inputs: GateInputs) -> GateResult:
    new, limit = inputs.new, inputs.envelope.max_regression
    if new is None or new.rows < MIN_ROWS:
        rows = 0 if new is None else new.rows
        return GateResult(NAME, "unknown", f"{rows} new held-out rows, at least {MIN_ROWS} needed", {"rows": rows})
    found = paired_difference(new.champion, new.challenger)
    evidence = {
        "metric": new.metric, **asdict(found), "max_regression": limit, "kpi_floor": dict(inputs.envelope.kpi_floor),
        "champion_values": dict(new.champion_values), "challenger_values": dict(new.challenger_values),
    }  # fmt: skip
    words = (
        f"{new.metric} {found.challenger:.4f} against the champion's {found.champion:.4f} on {found.n} new rows "
        f"(difference {found.value:+.4f}, 95% interval {found.low:+.4f} to {found.high:+.4f})"
    )
    if found.value < -limit:
        return GateResult(NAME, "fail", f"worse than the champion: {words}; allowed loss {limit:g}", evidence)
    if missed := floor_breaches(inputs.envelope, new.challenger_values):
        return GateResult(NAME, "fail", f"{'; '.join(missed)}; {words}", evidence)
    return GateResult(NAME, "pass", words, evidence)


GATE = Gate(NAME, judge)
