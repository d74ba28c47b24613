"""What the champion knew is kept: the loss on the old hold-out stays within `envelope.max_forgetting`.

The observed loss is what the limit holds; that the hold-out is large enough to tell is asked by
`envelope.forgetting_margin`, a loss that the interval must rule out.
"""

from dataclasses import replace

from retrain.gates.base import Gate, GateInputs, GateResult
from retrain.gates.non_inferiority import judge_loss

NAME = "forgetting"


def judge(inputs: GateInputs) -> GateResult:
    limits = inputs.envelope
    found = judge_loss(
        NAME, inputs.old, "old", allowed=limits.max_forgetting, margin=limits.forgetting_margin,
        advice="register a dataset with role holdout",
    )  # fmt: skip
    evidence = {**found.evidence, "max_forgetting": limits.max_forgetting}
    words = f"forgot too much, {found.reason}" if found.verdict == "fail" else found.reason
    return replace(found, reason=words, evidence=evidence)


GATE = Gate(NAME, judge)
