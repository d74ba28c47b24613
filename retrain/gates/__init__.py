"""What a challenger must pass before it may become champion: one file per gate, and the table that lists them."""

from typing import Final

from retrain.gates import fairness, forgetting, integrity, labels, no_regression
from retrain.gates.base import Gate, GateInputs, GateResult

GATES: Final[dict[str, Gate]] = {
    g.name: g for g in (no_regression.GATE, fairness.GATE, forgetting.GATE, integrity.GATE)
}


def judge_all(inputs: GateInputs) -> tuple[GateResult, ...]:
    """Every gate, in the order of the table; none is skipped because another failed."""
    return tuple(labels.checked(gate.judge(inputs), inputs) for gate in GATES.values())
