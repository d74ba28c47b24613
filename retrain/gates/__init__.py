"""What a challenger must pass before it may become champion: one file per gate, and the table that lists them."""

from collections.abc import Collection
from typing import Final

from retrain.gates import (
    calibration,
    fairness,
    forgetting,
    golden,
    integrity,
    labels,
    latency,
    no_regression,
    robustness,
    safety,
)
from retrain.gates.base import Gate, GateInputs, GateResult

# Judged in every run, for nothing has to be measured for them alone; the others where the rules name them.
ALWAYS: Final = ("no_regression", "fairness", "forgetting", "integrity")
GATES: Final[dict[str, Gate]] = {
    g.name: g
    for g in (
        no_regression.GATE, fairness.GATE, forgetting.GATE, integrity.GATE, golden.GATE, calibration.GATE,
        robustness.GATE, latency.GATE, safety.GATE,
    )
}  # fmt: skip


def judge_all(inputs: GateInputs, named: Collection[str] = ()) -> tuple[GateResult, ...]:
    """Those judged in every run and those named, in the order of the table; none is skipped because another failed."""
    wanted = [gate for gate in GATES.values() if gate.name in ALWAYS or gate.name in named]
    return tuple(labels.checked(gate.judge(inputs), inputs) for gate in wanted)
