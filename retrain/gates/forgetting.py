"""What the champion knew is kept: the loss on the old hold-out stays within `envelope.max_forgetting`."""

from dataclasses import asdict

from retrain.evals.mean_difference import paired_difference
from retrain.gates.base import MIN_ROWS, Gate, GateInputs, GateResult

NAME = "forgetting"


def judge(inputs: GateInputs) -> GateResult:
    old, limit = inputs.old, inputs.envelope.max_forgetting
    if old is None or old.rows < MIN_ROWS:
        rows = 0 if old is None else old.rows
        words = f"{rows} rows in the old hold-out, at least {MIN_ROWS} needed; register a dataset with role holdout"
        return GateResult(NAME, "unknown", words, {"rows": rows})
    found = paired_difference(old.champion, old.challenger)
    evidence = {"metric": old.metric, **asdict(found), "max_forgetting": limit}
    words = (
        f"{old.metric} {found.challenger:.4f} against the champion's {found.champion:.4f} on {found.n} old rows "
        f"(difference {found.value:+.4f}, 95% interval {found.low:+.4f} to {found.high:+.4f}); allowed loss {limit:g}"
    )
    if found.value < -limit:
        return GateResult(NAME, "fail", f"forgot too much: {words}", evidence)
    return GateResult(NAME, "pass", words, evidence)


GATE = Gate(NAME, judge)
